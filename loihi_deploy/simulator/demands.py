"""What `Simulator` is called with: arguments of other simulators, models, and what the board has room for."""

from __future__ import annotations

import warnings
from typing import Any

import nengo
from nengo_loihi.builder import Model

from loihi_deploy.chip.hardware import Board
from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.errors import BackendError, InputError, LoihiDeployWarning, MappingError, Problem

TARGETS = {
    "simreal": "Use nengo_loihi.Simulator(network, target='simreal') for the chip in floats",
    "loihi": "For the chip itself use nengo_loihi.Simulator(network, target='loihi')",
}
"""What to do about targets of nengo-loihi that this simulator does not have."""
WITHOUT_EFFECT = {
    "hardware_options": "they are for nengo-loihi's target 'loihi'",
    "device": "the chip is emulated on the CPU",
    "unroll_simulation": "nothing is compiled to TensorFlow",
}
"""Arguments of other simulators that scripts pass, and why they change nothing here."""


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
                "Give its learning rules one time constant",
            )
    if len(blocks) > board.n_cores:
        raise MappingError.single(
            "the network needs more cores than the board has",
            f"board '{board.name}'",
            len(blocks),
            board.n_cores,
            "Use a larger board, or fewer neurons or connections",
        )
