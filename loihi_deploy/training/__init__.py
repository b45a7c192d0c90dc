"""Training networks that are meant for the chip."""

from loihi_deploy.training.encoders import with_encoder
from loihi_deploy.training.recipes import train_convnet

__all__ = ["train_convnet", "with_encoder"]
