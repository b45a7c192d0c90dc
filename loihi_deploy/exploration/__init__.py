"""Search for the deployment that costs least: many trials on the emulator, and what none of them beats."""

from loihi_deploy.exploration.explorer import explore
from loihi_deploy.exploration.outcome import Exploration, Point

__all__ = ["Exploration", "Point", "explore"]
