"""A network made ready for a board, as one value: run it, evaluate it, save it and load it again."""

from loihi_deploy.deployment.deployment import Deployment
from loihi_deploy.deployment.loading import SAVED_TYPES, load

__all__ = ["SAVED_TYPES", "Deployment", "load"]
