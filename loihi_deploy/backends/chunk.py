"""What is asked of a run, and what a chunk of its samples gives, whatever the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.events import Events
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Activity, ChipState, HostState, PopulationCounts, Recorded, RunState


def population_sizes(program: Program) -> dict[str, int]:
    """Neurons of every population, encoders included, by name."""
    encoders = {p.name: p.size for p in program.encoder.populations}
    return encoders | {p.name: p.size for p in program.populations}


@dataclass(frozen=True)
class Wanted:
    """What a run records.

    Parameters
    ----------
    variables : dict of tuples of {'spikes', 'u', 'v', 'events'}
        By population or source.
    neurons : dict of int arrays
        Which neurons of it; all where nothing is said.
    """

    variables: Mapping[str, tuple[str, ...]]
    neurons: Mapping[str, NDArray[np.int64]]

    def of(self, name: str, size: int) -> NDArray[np.int64]:
        """The neurons to be recorded of a population of `size`."""
        return self.neurons.get(name, np.arange(size))


class Chunk(NamedTuple):
    """What a chunk of samples gave.

    Parameters
    ----------
    trace : (n, steps, total size) float64 array
        Filtered, decoded values of all readouts side by side.
    counts : dict
        `PopulationCounts` by population, encoders included.
    recorded : dict of dict of arrays
        As in `RunResult`; samples are counted from the chunk's first.
    first_wrap : (int, int, str) or None
        Sample, step and population of the first accumulator that wrapped, where the engine tells.
    state : RunState or None
        After the last step, where it was asked for.
    activity : Activity or None
        What the cores did, where it was asked for.
    """

    trace: NDArray[np.float64]
    counts: Mapping[str, PopulationCounts]
    recorded: Recorded
    first_wrap: tuple[int, int, str] | None = None
    state: RunState | None = None
    activity: Activity | None = None

    def as_samples(self, n: int) -> Chunk:
        """One sample of ``n * steps`` steps as `n` samples."""
        steps = self.trace.shape[1] // n
        recorded = {
            name: {
                variable: _events_as_samples(values, steps)
                if variable == "events"
                else values.reshape(n, steps, -1)
                for variable, values in variables.items()
            }
            for name, variables in self.recorded.items()
        }
        wrap = self.first_wrap
        if wrap is not None:
            wrap = wrap[1] // steps, wrap[1] % steps, wrap[2]
        return self._replace(trace=self.trace.reshape(n, steps, -1), recorded=recorded, first_wrap=wrap)


def _events_as_samples(rows: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    return np.stack([rows[:, 1] // steps, rows[:, 1] % steps, rows[:, 2]], axis=1)


def recorded_spikes(
    wanted: Wanted, sizes: Mapping[str, int], lists: list[tuple[int, Events]], n: int, steps: int
) -> dict[tuple[str, str], NDArray[Any]]:
    """Variables 'spikes' and 'events' from lists of spikes, each with its first step.

    Returns
    -------
    dict of arrays
        By population and variable, for the populations among the lists.
    """
    triples: dict[str, list[NDArray[np.int64]]] = {}
    for first, events in lists:
        for name, rows in events.triples().items():
            if name in wanted.variables:
                triples.setdefault(name, []).append(rows + np.array([0, first, 0]))
    recorded: dict[tuple[str, str], NDArray[Any]] = {}
    for name, parts in triples.items():
        neurons = wanted.of(name, sizes[name])
        rows = np.concatenate(parts)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        if "events" in wanted.variables[name]:
            recorded[name, "events"] = rows[np.isin(rows[:, 2], neurons)]
        if "spikes" in wanted.variables[name]:
            spiked = np.zeros((n, steps, sizes[name]), bool)
            spiked[tuple(rows.T)] = True
            recorded[name, "spikes"] = spiked[:, :, neurons]
    return recorded


def part_of(state: RunState, part: slice) -> RunState:
    """The state of some of the samples."""
    chip = state.chip
    groups = {
        name: {key: array[part] for key, array in getattr(chip, name).items()}
        for name in ("u", "v", "refractory", "spikes", "pending", "delayed")
    }
    return RunState(
        HostState({name: array[part] for name, array in state.encoder.arrays.items()}),
        ChipState(**groups, noise=chip.noise),
        HostState({name: array[part] for name, array in state.readout.arrays.items()}),
        state.program,
    )


def joined(states: list[RunState]) -> RunState:
    """The states of consecutive chunks of samples as one."""

    def together(parts: list[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    groups = {
        name: together([getattr(state.chip, name) for state in states])
        for name in ("u", "v", "refractory", "spikes", "pending", "delayed")
    }
    return RunState(
        HostState(together([state.encoder.arrays for state in states])),
        ChipState(**groups, noise=states[0].chip.noise),
        HostState(together([state.readout.arrays for state in states])),
        states[0].program,
    )
