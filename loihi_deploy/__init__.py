"""Deploy networks trained with Keras or NengoDL on Intel's Loihi: in fixed point, split over cores, chips and boards.

Public names are loaded on first use: importing the package imports no framework and no compiled code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loihi_deploy import data, errors
    from loihi_deploy.analysis.calibrate import balance
    from loihi_deploy.bench import networks as benchmarks
    from loihi_deploy.chip.boards import board_names, load_board
    from loihi_deploy.chip.hardware import Board
    from loihi_deploy.deployment import Deployment, load
    from loihi_deploy.frontends import convert
    from loihi_deploy.ir import Graph, PartitionedGraph
    from loihi_deploy.ir.program import Program
    from loihi_deploy.mapping import Mapping, map_to_cores
    from loihi_deploy.options import DeployOptions
    from loihi_deploy.pipeline import deploy
    from loihi_deploy.results import Counters, Evaluation, RunResult
    from loihi_deploy.simulator import Simulator
    from loihi_deploy.stages.equalize import equalize
    from loihi_deploy.stages.normalize import normalize, scale_firing_rates
    from loihi_deploy.stages.partition import partition
    from loihi_deploy.stages.quantize import quantize

__version__ = "0.1.0"

__all__ = [
    "Board",
    "Counters",
    "DeployOptions",
    "Deployment",
    "Evaluation",
    "Graph",
    "Mapping",
    "PartitionedGraph",
    "Program",
    "RunResult",
    "Simulator",
    "balance",
    "benchmarks",
    "board_names",
    "convert",
    "data",
    "deploy",
    "equalize",
    "errors",
    "load",
    "load_board",
    "map_to_cores",
    "normalize",
    "partition",
    "quantize",
    "scale_firing_rates",
]

_HOMES = {
    "Board": "chip.hardware",
    "Counters": "results",
    "DeployOptions": "options",
    "Deployment": "deployment",
    "Evaluation": "results",
    "Graph": "ir",
    "Mapping": "mapping",
    "PartitionedGraph": "ir",
    "Program": "ir.program",
    "RunResult": "results",
    "Simulator": "simulator",
    "balance": "analysis.calibrate",
    "board_names": "chip.boards",
    "convert": "frontends",
    "deploy": "pipeline",
    "equalize": "stages.equalize",
    "load": "deployment",
    "load_board": "chip.boards",
    "map_to_cores": "mapping",
    "normalize": "stages.normalize",
    "partition": "stages.partition",
    "quantize": "stages.quantize",
    "scale_firing_rates": "stages.normalize",
}


_MODULES = {"benchmarks": "bench.networks", "data": "data", "errors": "errors"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
