"""What can run the chip part of a program: the same integers in, the same spikes out, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.engines.chip.plain import Biases, n_samples
from loihi_deploy.ir.program import Program
from loihi_deploy.results import ChipState, Simulation

if TYPE_CHECKING:
    from loihi_deploy.backends.preflight import OnBoard


@dataclass(frozen=True)
class ChipRun:
    """Some steps of the chip part; the fields are the arguments of `loihi_deploy.engines.chip.plain.simulate`."""

    program: Program
    spikes: Mapping[str, NDArray[np.bool_]]
    steps: int
    record: Mapping[str, tuple[str, ...]]
    state: ChipState | None = None
    seed: int = 0
    biases: Biases | None = None


class Engine(Protocol):
    """The chip part of a program.

    A new one is a class with these three, and one more line in `ENGINES`; ``tests/conformance/test_engines.py`` says
    what it must do.
    """

    continues: bool
    """Whether it can start from a state, and returns the last one."""
    counts_wraps: bool
    """Whether it counts accumulators that wrap around, and tells which was the first."""

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps."""


class Plain:
    """Line by line in numpy."""

    continues = counts_wraps = True

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps."""
        return plain.simulate(run.program, run.spikes, run.steps, run.record, run.state, run.seed, run.biases)


class Compiled:
    """In compiled code; encoder and readout have a faster way to it in `loihi_deploy.backends.line`."""

    continues = counts_wraps = True

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps."""
        return compiled.simulate(
            run.program, run.spikes, run.steps, run.record, run.state, run.seed, run.biases
        )


class NengoLoihi:
    """nengo-loihi's emulator, each sample from rest.

    Parameters
    ----------
    mapping : Mapping
        The program's cores.
    """

    continues = False
    counts_wraps = True

    def __init__(self, mapping: Any) -> None:
        self._mapping = mapping

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps; there is no state to start from."""
        from loihi_deploy.backends import nengo_loihi

        return nengo_loihi.simulate(
            *(run.program, self._mapping, run.spikes, run.steps, run.record), seed=run.seed, biases=run.biases
        )


class Hardware:
    """The chip, through nengo-loihi and NxSDK.

    Parameters
    ----------
    mapping : Mapping
        The program's cores.
    how : OnBoard, optional
        How samples are presented; a load for each if not given.
    """

    continues = counts_wraps = False

    def __init__(self, mapping: Any, how: OnBoard | None = None) -> None:
        self._mapping, self._how = mapping, how

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps; there is no state to start from."""
        from loihi_deploy.backends.board import simulate_on_board

        arguments = run.program, self._mapping, run.spikes, run.steps, run.record
        return simulate_on_board(*arguments, seed=run.seed, biases=run.biases, how=self._how)


class InARow:
    """Another engine, with the samples one after the other and some steps without input behind each.

    What a board does that is loaded once and not reset. Counts are those of all steps.

    Parameters
    ----------
    engine : Engine
    gap : int
        Steps behind each sample.
    """

    continues = False

    def __init__(self, engine: Engine, gap: int) -> None:
        self._engine, self._gap, self.counts_wraps = engine, gap, engine.counts_wraps
        self._state: ChipState | None = None

    def simulate(self, run: ChipRun) -> Simulation:
        """Run some steps of each sample, from where the last call ended."""
        n, period = n_samples(run.spikes, run.biases or {}), run.steps + self._gap
        in_a_row = {}
        for name, array in run.spikes.items():
            padded = np.zeros((n, period, array.shape[2]), bool)
            padded[:, : run.steps] = array
            in_a_row[name] = padded.reshape(1, n * period, -1)
        dense = {name: tuple({*variables, "spikes"} - {"events"}) for name, variables in run.record.items()}
        found = self._engine.simulate(
            replace(run, spikes=in_a_row, steps=n * period, record=dense, state=self._state)
        )
        self._state = found.state
        recorded: dict[str, dict[str, NDArray[Any]]] = {}
        for name, variables in run.record.items():
            values = {
                key: array.reshape(n, period, -1)[:, : run.steps]
                for key, array in found.recorded[name].items()
            }
            values["events"] = np.argwhere(values["spikes"])
            recorded[name] = {variable: values[variable] for variable in variables}
        wrap = found.first_wrap
        first_wrap = wrap and (wrap[1] // period, wrap[1] % period, wrap[2])
        return Simulation(recorded, found.counts, first_wrap=first_wrap)


ENGINES: Mapping[str, Callable[[Any], Engine]] = {
    "emulator": lambda mapping: Compiled(),
    "numpy": lambda mapping: Plain(),
    "nengo_loihi": NengoLoihi,
    "hardware": Hardware,
}
"""Engines by the name of their backend, made for a mapping of the program."""
