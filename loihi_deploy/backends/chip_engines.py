"""What can run the chip part of a program: the same integers in, the same spikes out, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.engines.chip.plain import Biases
from loihi_deploy.ir.program import Program
from loihi_deploy.results import ChipState, Simulation

Spikes = Mapping[str, NDArray[np.bool_]]
Record = Mapping[str, tuple[str, ...]]


class Engine(Protocol):
    """The chip part of a program.

    A new one is a class with these two, and one more line in `ENGINES`; ``tests/conformance/test_engines.py`` says what
    it must do.
    """

    continues: bool
    """Whether it can start from a state, and returns the last one."""

    def simulate(
        self,
        program: Program,
        spikes: Spikes,
        steps: int,
        record: Record,
        state: ChipState | None = None,
        seed: int = 0,
        biases: Biases | None = None,
    ) -> Simulation:
        """Run some steps; see `loihi_deploy.engines.chip.plain.simulate` for the arguments."""


class Plain:
    """Line by line in numpy."""

    continues = True
    simulate = staticmethod(plain.simulate)


class Compiled:
    """In compiled code; encoder and readout have a faster way to it in `loihi_deploy.backends.line`."""

    continues = True
    simulate = staticmethod(compiled.simulate)


class NengoLoihi:
    """nengo-loihi's emulator, each sample from rest.

    Parameters
    ----------
    mapping : Mapping
        The program's cores.
    """

    continues = False

    def __init__(self, mapping: Any) -> None:
        self._mapping = mapping

    def simulate(
        self,
        program: Program,
        spikes: Spikes,
        steps: int,
        record: Record,
        state: ChipState | None = None,
        seed: int = 0,
        biases: Biases | None = None,
    ) -> Simulation:
        """Run on it; there is no state to start from."""
        from loihi_deploy.backends import nengo_loihi

        return nengo_loihi.simulate(program, self._mapping, spikes, steps, record, seed=seed, biases=biases)


class Hardware(NengoLoihi):
    """The chip, through nengo-loihi and NxSDK; each sample from rest."""

    def simulate(
        self,
        program: Program,
        spikes: Spikes,
        steps: int,
        record: Record,
        state: ChipState | None = None,
        seed: int = 0,
        biases: Biases | None = None,
    ) -> Simulation:
        """Run on it; there is no state to start from."""
        from loihi_deploy.backends.board import simulate_on_board

        return simulate_on_board(program, self._mapping, spikes, steps, record, seed=seed, biases=biases)


ENGINES: Mapping[str, Callable[[Any], Engine]] = {
    "emulator": lambda mapping: Compiled(),
    "numpy": lambda mapping: Plain(),
    "nengo_loihi": NengoLoihi,
    "hardware": Hardware,
}
"""Engines by the name of their backend, made for a mapping of the program."""
