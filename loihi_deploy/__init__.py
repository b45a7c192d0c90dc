"""Deploy networks trained with Keras or NengoDL on Intel's Loihi: in fixed point, split over cores, chips and boards.

Public names are loaded on first use: importing the package imports no framework and no compiled code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for editors and type checkers; a test compares
    from loihi_deploy import analysis as analysis
    from loihi_deploy import backends as backends
    from loihi_deploy import bench as bench
    from loihi_deploy import chip as chip
    from loihi_deploy import data as data
    from loihi_deploy import encoders as encoders
    from loihi_deploy import engines as engines
    from loihi_deploy import errors as errors
    from loihi_deploy import exploration as exploration
    from loihi_deploy import export as export
    from loihi_deploy import frontends as frontends
    from loihi_deploy import ir as ir
    from loihi_deploy import mapping as mapping
    from loihi_deploy import report as report
    from loihi_deploy import simulator as simulator
    from loihi_deploy import stages as stages
    from loihi_deploy import training as training
    from loihi_deploy.analysis.calibrate import correct_biases as balance  # noqa: F401 - its former name
    from loihi_deploy.analysis.calibrate import correct_biases as correct_biases
    from loihi_deploy.analysis.calibrate import mean_rates as mean_rates
    from loihi_deploy.analysis.energy import Energy as Energy
    from loihi_deploy.analysis.gate import Check as Check
    from loihi_deploy.analysis.gate import Criteria as Criteria
    from loihi_deploy.analysis.tune import Tuning as Tuning
    from loihi_deploy.analysis.verify import Verification as Verification
    from loihi_deploy.bench import networks as _networks
    from loihi_deploy.chip.boards import board_names as board_names
    from loihi_deploy.chip.boards import load_board as load_board
    from loihi_deploy.chip.hardware import Board as Board
    from loihi_deploy.chip.hardware import Chip as Chip
    from loihi_deploy.deployment import Deployment as Deployment
    from loihi_deploy.deployment import load as load
    from loihi_deploy.exploration import Exploration as Exploration
    from loihi_deploy.exploration import explore as explore
    from loihi_deploy.frontends import convert as convert
    from loihi_deploy.ir import Graph as Graph
    from loihi_deploy.ir import PartitionedGraph as PartitionedGraph
    from loihi_deploy.ir import Sequences as Sequences
    from loihi_deploy.ir.program import Program as Program
    from loihi_deploy.legendre import ChipMemory as ChipMemory
    from loihi_deploy.legendre import chip_memory as chip_memory
    from loihi_deploy.mapping import Mapping as Mapping
    from loihi_deploy.mapping import map_to_cores as map_to_cores
    from loihi_deploy.options import DeployOptions as DeployOptions
    from loihi_deploy.pipeline import deploy as deploy
    from loihi_deploy.results import Counters as Counters
    from loihi_deploy.results import Evaluation as Evaluation
    from loihi_deploy.results import RunResult as RunResult
    from loihi_deploy.simulator import Simulator as Simulator
    from loihi_deploy.stages.equalize import equalize as equalize
    from loihi_deploy.stages.frame_delays import with_frame_delays as with_frame_delays
    from loihi_deploy.stages.normalize import normalize as normalize
    from loihi_deploy.stages.normalize import scale_firing_rates as scale_firing_rates
    from loihi_deploy.stages.normalize import with_leaky_neurons as with_leaky_neurons
    from loihi_deploy.stages.partition import partition as partition
    from loihi_deploy.stages.quantize import quantize as quantize

    benchmarks = _networks

__version__ = "0.1.0"

# Every public name, and where it lives: "module:name", or "module" where the name stands for a module itself.
# docs/api.md describes each of them; a test compares.
PUBLIC_NAMES = {
    "Board": "chip.hardware:Board",
    "Check": "analysis.gate:Check",
    "Chip": "chip.hardware:Chip",
    "ChipMemory": "legendre:ChipMemory",
    "Counters": "results:Counters",
    "Criteria": "analysis.gate:Criteria",
    "DeployOptions": "options:DeployOptions",
    "Deployment": "deployment:Deployment",
    "Energy": "analysis.energy:Energy",
    "Evaluation": "results:Evaluation",
    "Exploration": "exploration:Exploration",
    "Graph": "ir:Graph",
    "Mapping": "mapping:Mapping",
    "PartitionedGraph": "ir:PartitionedGraph",
    "Program": "ir.program:Program",
    "RunResult": "results:RunResult",
    "Sequences": "ir:Sequences",
    "Simulator": "simulator:Simulator",
    "Tuning": "analysis.tune:Tuning",
    "Verification": "analysis.verify:Verification",
    "analysis": "analysis",
    "backends": "backends",
    "balance": "analysis.calibrate:correct_biases",
    "bench": "bench",
    "benchmarks": "bench.networks",
    "board_names": "chip.boards:board_names",
    "chip": "chip",
    "chip_memory": "legendre:chip_memory",
    "convert": "frontends:convert",
    "correct_biases": "analysis.calibrate:correct_biases",
    "data": "data",
    "deploy": "pipeline:deploy",
    "encoders": "encoders",
    "engines": "engines",
    "equalize": "stages.equalize:equalize",
    "errors": "errors",
    "exploration": "exploration",
    "explore": "exploration:explore",
    "export": "export",
    "frontends": "frontends",
    "ir": "ir",
    "load": "deployment:load",
    "load_board": "chip.boards:load_board",
    "map_to_cores": "mapping:map_to_cores",
    "mapping": "mapping",
    "mean_rates": "analysis.calibrate:mean_rates",
    "normalize": "stages.normalize:normalize",
    "partition": "stages.partition:partition",
    "quantize": "stages.quantize:quantize",
    "report": "report",
    "scale_firing_rates": "stages.normalize:scale_firing_rates",
    "simulator": "simulator",
    "stages": "stages",
    "training": "training",
    "with_frame_delays": "stages.frame_delays:with_frame_delays",
    "with_leaky_neurons": "stages.normalize:with_leaky_neurons",
}

__all__ = sorted(PUBLIC_NAMES)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = PUBLIC_NAMES[name].partition(":")
    value = import_module(f"{__name__}.{module}")
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
