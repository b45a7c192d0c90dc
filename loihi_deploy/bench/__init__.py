"""Speed and memory of the emulator, side by side with what there was before."""

from loihi_deploy.bench.measuring import bench
from loihi_deploy.bench.table import table

__all__ = ["bench", "table"]
