"""Speed and memory of the emulator, side by side with what there was before."""

from loihi_deploy.bench.speed import bench
from loihi_deploy.bench.table import table

__all__ = ["bench", "table"]
