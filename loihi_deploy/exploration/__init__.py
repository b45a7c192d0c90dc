"""Search for the deployment that costs least: many trials on the emulator, and what none of them beats."""

from loihi_deploy.exploration.outcome import Exploration, Point
from loihi_deploy.exploration.search import explore

__all__ = ["Exploration", "Point", "explore"]
