"""Deploy networks trained with Keras or NengoDL on Intel's Loihi: in fixed point, split over cores, chips and boards.

Public names are loaded on first use: importing the package imports no framework and no compiled code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loihi_deploy import benchmarks, data, errors
    from loihi_deploy.calibration import balance
    from loihi_deploy.deployment import Deployment, deploy, load
    from loihi_deploy.equalization import equalize
    from loihi_deploy.frontends import convert
    from loihi_deploy.graph import Graph, PartitionedGraph
    from loihi_deploy.hardware import Board, board_names, load_board
    from loihi_deploy.mapping import Mapping, map_to_cores
    from loihi_deploy.normalization import normalize, scale_firing_rates
    from loihi_deploy.options import DeployOptions
    from loihi_deploy.partitioning import partition
    from loihi_deploy.program import Program
    from loihi_deploy.quantization import quantize
    from loihi_deploy.results import Counters, Evaluation, RunResult
    from loihi_deploy.simulator import Simulator

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
    "Board": "hardware",
    "Counters": "results",
    "DeployOptions": "options",
    "Deployment": "deployment",
    "Evaluation": "results",
    "Graph": "graph",
    "Mapping": "mapping",
    "PartitionedGraph": "graph",
    "Program": "program",
    "RunResult": "results",
    "Simulator": "simulator",
    "balance": "calibration",
    "benchmarks": "",
    "board_names": "hardware",
    "convert": "frontends",
    "data": "",
    "deploy": "deployment",
    "equalize": "equalization",
    "errors": "",
    "load": "deployment",
    "load_board": "hardware",
    "map_to_cores": "mapping",
    "normalize": "normalization",
    "partition": "partitioning",
    "quantize": "quantization",
    "scale_firing_rates": "normalization",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _HOMES[name]:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
