"""What `Simulator` is called with: arguments of other simulators, models, and what the board has room for."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import nengo
from nengo_loihi.builder import Model

from loihi_deploy.chip.hardware import Board
from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.errors import BackendError, InputError, LoihiDeployWarning, MappingError, Problem
from loihi_deploy.options import BACKEND_ALIASES

ON_THE_CHIP = "For the chip itself use nengo_loihi.Simulator(network, target='loihi')"
TARGETS = {
    "simreal": "Use nengo_loihi.Simulator(network, target='simreal') for the chip in floats",
    "loihi": ON_THE_CHIP,
}
"""What to do about targets of nengo-loihi that this simulator does not have."""
WITHOUT_EFFECT = {
    "hardware_options": "they are for nengo-loihi's target 'loihi'",
    "device": "the chip is emulated on the CPU",
    "unroll_simulation": "nothing is compiled to TensorFlow",
}
"""Arguments of other simulators that scripts pass, and why they change nothing here."""
_RUN = "Run it with data={node: values} and minibatch_size=n, and read sim.data[probe]"
_TRAIN = "Do that in nengo_dl.Simulator, call its freeze_params(network), and simulate the network"
_TIME = "Measure run() with time.perf_counter()"
NOT_HERE = {
    "predict": _RUN,
    "predict_on_batch": _RUN,
    "evaluate": _RUN,
    "compile": _TRAIN,
    "fit": _TRAIN,
    "train": _TRAIN,
    "loss": _TRAIN,
    "load_params": _TRAIN,
    "save_params": _TRAIN,
    "freeze_params": _TRAIN,
    "get_nengo_params": _TRAIN,
    "check_gradients": _TRAIN,
    "keras_model": _TRAIN,
    "timers": _TIME,
}
"""What other simulators have, and what does its work here."""


class NotHereError(BackendError, AttributeError):
    """Something that another simulator has and this one has not."""


def missing_attribute(name: str) -> AttributeError:
    """The error for an attribute that a `Simulator` has not."""
    if name in NOT_HERE:
        return NotHereError.single(
            "only other simulators have it", f"Simulator.{name}", remedy=NOT_HERE[name]
        )
    return AttributeError(f"'Simulator' object has no attribute {name!r}")


def check_backend(backend: Any, known: Collection[str]) -> str:
    """The name of a backend for networks of Nengo.

    Raises
    ------
    BackendError
        If it is none: another argument, where other simulators take it in this place.
    """
    name = BACKEND_ALIASES.get(backend, backend) if isinstance(backend, str) else None
    if name in known:
        return str(name)
    remedy = "Use one of these, and give what other simulators take behind model by name: precompute=True"
    if name == "hardware":
        remedy = ON_THE_CHIP
    raise BackendError.single(
        "no such backend for networks of Nengo", "backend", repr(backend), ", ".join(known), remedy
    )


def check_target(target: Any) -> None:
    """Refuse a target of nengo-loihi other than the chip's integers.

    Raises
    ------
    BackendError
    """
    if target not in (None, "sim"):
        remedy = TARGETS.get(str(target), "Leave it out")
        raise BackendError.single("no such target", "target", repr(target), "'sim'", remedy)


def warn_without_effect(**given: Any) -> None:
    """Warn the caller of `Simulator` of each argument in `WITHOUT_EFFECT` that says something."""
    for name, value in given.items():
        if value:
            problem = Problem(f"has no effect: {WITHOUT_EFFECT[name]}", name, value, remedy="Leave it out")
            warnings.warn(LoihiDeployWarning(problem), stacklevel=3)


def check_model(model: Any, *, on_chip: bool) -> None:
    """Refuse a model to build into that is not of the kind that the network needs.

    Raises
    ------
    InputError
    """
    wanted = Model if on_chip else nengo.builder.Model
    if model is not None and not isinstance(model, wanted):
        where = "with ensembles on chip" if on_chip else "with nothing on chip"
        raise InputError.single(
            f"not the model of a network {where}",
            "model",
            f"{type(model).__module__}.{type(model).__name__}",
            f"{wanted.__module__}.{wanted.__name__}",
        )


def check_board(blocks: Any, board: Board) -> None:
    """Check that blocks of nengo-loihi, one to a core, fit a board.

    Raises
    ------
    BackendError
        If nengo-loihi, which made them, knows another chip.
    MappingError
        If they do not fit.
    """
    chip = board.chip
    foreign = nengo_loihi_problems(chip.arithmetic, builds=True)
    if foreign:
        raise BackendError("nengo-loihi, which builds the blocks, has other numbers than this chip", foreign)
    for block in blocks:
        rules = {(s.tracing_tau, s.tracing_mag) for s in block.synapses if s.learning}
        if len(rules) > chip.core.max_stdp_profiles:
            raise MappingError.single(
                "too many learning rules with traces of their own on one core",
                f"block '{block.label}'",
                len(rules),
                chip.core.max_stdp_profiles,
                "Set on_chip = False for the ensemble that it learns from",
            )
    if len(blocks) > board.n_cores:
        raise MappingError.single(
            "the network needs more cores than the board has",
            f"board '{board.name}'",
            len(blocks),
            board.n_cores,
            "Use a larger board, or fewer neurons or connections",
        )
