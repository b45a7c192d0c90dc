"""The fast engine: a program laid out for the compiled loop.

Populations lie one behind the other in the arrays of state, each from a multiple of `BLOCK` on; what fills up the last
block never receives anything and never spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.chip import kernels as k
from loihi_deploy.engines.chip.overflow import accumulator_bounds, common_shift
from loihi_deploy.engines.chip.plain import Biases, Record, arrival_delays, initial_state, n_samples
from loihi_deploy.engines.delivery import BLOCK, layout
from loihi_deploy.engines.events import Events
from loihi_deploy.ir.program import Noise, Program
from loihi_deploy.results import ChipState, PopulationCounts, Simulation

INT16_MAX = 2**15 - 1


@dataclass(frozen=True)
class ChipArrays:
    """State of a batch, changed in place: (n, ...) arrays."""

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    refractory: NDArray[np.uint8]
    spiked: NDArray[np.uint8]
    pending: NDArray[np.uint8]


@dataclass(frozen=True)
class Recording:
    """What a run records, laid out: one table for the loop, and where each variable lies in the results."""

    table: NDArray[np.int64]
    chosen: NDArray[np.int64]
    columns: Mapping[tuple[str, str], slice]
    n_spikes: int
    n_values: int


class Engine:
    """A program laid out for the compiled loop.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bounds = accumulator_bounds(program)
        self.is_noisy = any(p.noise is not None for p in program.populations)
        self.sizes = {p.name: p.size for p in program.populations}
        self._order = list(self.sizes)
        padded = [-(-size // BLOCK) * BLOCK for size in self.sizes.values()]
        ends = np.cumsum([0, *padded])
        self._first = dict(zip(self._order, ends.tolist(), strict=False))
        self.n_places = int(ends[-1])
        nodes = [source.name for source in program.sources] + self._order

        delays = arrival_delays(program)
        self._sources = np.zeros((len(program.sources), k.SOURCE_FIELDS), np.int64)
        place = self.n_pending = 0
        for row, source in zip(self._sources, program.sources, strict=True):
            size = -(-source.size // 8) * 8
            row[:] = delays[source.name], self.n_pending, size, place
            self.n_pending += size * delays[source.name]
            place += size + 8

        synapses = [s for name in self._order for s in sorted(program.into(name), key=lambda s: -s.shift)]
        shifts = {name: common_shift(program, name) for name in self._order}
        laid_out = layout([s.transform for s in synapses], np.int8)
        projections = [(nodes.index(s.pre), s.shift - shifts[s.post]) for s in synapses]

        arithmetic = program.arithmetic
        populations = np.zeros((len(self._order), k.POPULATION_FIELDS), np.int64)
        bias = np.zeros(self.n_places, np.int32)
        n_noisy = n_projections = 0
        for row, p in zip(populations, program.populations, strict=True):
            into = program.into(p.name)
            bounds = self.bounds[p.name]
            factor_v = arithmetic.voltage_factor(p.decay_v)
            keeps_voltage = factor_v == 1 << arithmetic.decay_bits
            plain = p.noise is None and p.refractory <= 1 and keeps_voltage and bounds.never_wraps
            heaviest = max(
                (
                    int(np.abs(s.transform.values.astype(np.int64)).max(initial=0))
                    << (s.shift - shifts[p.name])
                    for s in into
                ),
                default=0,
            )
            settings = {
                k.FIRST: self._first[p.name],
                k.SIZE: p.size,
                k.FACTOR_U: arithmetic.current_factor(p.decay_u),
                k.FACTOR_V: factor_v,
                k.THRESHOLD: p.threshold,
                k.REFRACTORY: p.refractory,
                k.V_MIN: p.v_min,
                k.V_MAX: p.v_max,
                k.SHIFT: shifts[p.name],
                k.PLAIN_CURRENT: p.noise is None and bounds.current_fits,
                k.PLAIN_VOLTAGE: plain,
                k.NARROW: bounds.mantissas[0] >= -INT16_MAX and bounds.mantissas[1] <= INT16_MAX,
                k.BUDGET: INT16_MAX // max(heaviest, 1),
                k.NOISE_AT: _noise_place(p.noise),
                k.NOISE_FIRST: n_noisy,
                k.SPIKES_FIRST: place,
                k.FIRST_PROJECTION: n_projections,
                k.N_PROJECTIONS: len(into),
            }
            for column, value in settings.items():
                row[column] = value
            bias[self.part(p.name)] = p.bias
            n_noisy += p.size if p.noise is not None else 0
            n_projections += len(into)
            place += -(-p.size // BLOCK) * BLOCK + 8
        self._bias = bias
        widths = arithmetic.decay_bits, arithmetic.accumulator_bits, arithmetic.current_bits
        self._simulate = k.simulate_with(*widths)
        driven = [self.sizes[b.population] for b in program.bias_inputs]
        columns = np.cumsum([0, *driven])[: len(driven)]
        firsts = [self._first[b.population] for b in program.bias_inputs]
        self._driven = np.array([*zip(firsts, columns, driven, strict=True)], np.int64).reshape(-1, 3)
        self._n_spike_places = place
        self._spikes_first = np.concatenate(
            [self._sources[:, k.SOURCE_SPIKES_FIRST], populations[:, k.SPIKES_FIRST]]
        )
        self._constants = (
            *(populations, self._sources, laid_out.table, laid_out.geometry, laid_out.weights),
            *(np.array(projections, np.int64).reshape(-1, 2), bias),
        )

    def part(self, name: str) -> slice:
        """Where a population lies in the arrays of state."""
        return slice(self._first[name], self._first[name] + self.sizes[name])

    def _pending_parts(self) -> Iterable[tuple[str, slice, tuple[int, int], int]]:
        for row, source in zip(self._sources.tolist(), self.program.sources, strict=True):
            delay, first, size, _ = row
            yield source.name, slice(first, first + delay * size), (delay, size), source.size

    def start(self, n: int) -> ChipArrays:
        """Arrays of a batch of `n` samples at rest."""
        shape = n, self.n_places
        arrays = ChipArrays(
            np.zeros(shape, np.int32),
            np.zeros(shape, np.int32),
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.uint8),
            np.zeros((n, self.n_pending), np.uint8),
        )
        for p in self.program.populations:
            if p.initial_voltage is not None:
                arrays.v[:, self.part(p.name)] = p.initial_voltage
        return arrays

    def load(self, state: ChipState, n: int) -> ChipArrays:
        """Arrays of a batch of `n` samples from their state."""
        arrays = self.start(n)
        for name in self._order:
            arrays.u[:, self.part(name)] = state.u[name]
            arrays.v[:, self.part(name)] = state.v[name]
            arrays.refractory[:, self.part(name)] = state.refractory[name]
            arrays.spiked[:, self.part(name)] = state.spikes[name]
        for name, part, shape, size in self._pending_parts():
            lines = np.zeros((n, *shape), np.uint8)
            lines[:, :, :size] = state.pending[name]
            arrays.pending[:, part] = lines.reshape(n, shape[0] * shape[1])
        return arrays

    def save(self, arrays: ChipArrays, noise: tuple[Any, ...] | None) -> ChipState:
        """The state that the arrays hold."""

        def parts(array: NDArray[Any], dtype: Any) -> dict[str, NDArray[Any]]:
            return {name: array[:, self.part(name)].astype(dtype) for name in self._order}

        pending = {
            name: arrays.pending[:, part].reshape(len(arrays.u), *shape)[:, :, :size].astype(bool)
            for name, part, shape, size in self._pending_parts()
        }
        return ChipState(
            parts(arrays.u, np.int32),
            parts(arrays.v, np.int32),
            parts(arrays.refractory, np.int32),
            parts(arrays.spiked, bool),
            pending,
            noise,
        )

    def recording(self, record: Record, neurons: Mapping[str, NDArray[np.int64]] | None = None) -> Recording:
        """Lay out what is to be recorded of the dense variables 'spikes', 'u', 'v'.

        Parameters
        ----------
        record : dict of iterables
            Variables by population.
        neurons : dict of int arrays, optional
            Which neurons of a population; all where nothing is said.
        """
        variables = {"spikes": k.RECORD_SPIKES, "u": k.RECORD_U, "v": k.RECORD_V}
        rows, chosen, columns = [], [np.zeros(0, np.int64)], {}
        n_chosen = 0
        width = {True: 0, False: 0}
        for name in record:
            indices = np.asarray((neurons or {}).get(name, np.arange(self.sizes[name])), np.int64)
            chosen.append(indices + self._first[name])
            for variable in record[name]:
                if variable in variables:
                    dense = variable == "spikes"
                    columns[name, variable] = slice(width[dense], width[dense] + len(indices))
                    rows.append((variables[variable], width[dense], n_chosen, len(indices)))
                    width[dense] += len(indices)
            n_chosen += len(indices)
        table = np.array(rows, np.int64).reshape(-1, 4)
        return Recording(table, np.concatenate(chosen), columns, width[True], width[False])

    def noise_values(self, rng: np.random.RandomState | None, steps: int) -> NDArray[np.int32]:
        """Noise of the noisy populations, (steps, n); as in nengo-loihi every compartment draws, noisy or not."""
        program = self.program
        if rng is None:
            return np.zeros((steps, 0), np.int32)
        draws = rng.randint(-127, 128, size=(steps, program.n_compartments), dtype=np.int32)
        ends = dict(zip(self._order, np.cumsum(list(self.sizes.values())).tolist(), strict=True))
        values = [
            (draws[:, ends[p.name] - p.size : ends[p.name]] + 64 * p.noise.offset)
            * 2.0 ** (p.noise.exponent - 7)
            for p in program.populations
            if p.noise is not None
        ]
        return np.asarray(np.concatenate(values, axis=1), dtype=np.int32)

    def run(
        self,
        events: Events,
        arrays: ChipArrays,
        first_step: int,
        steps: int,
        noise: NDArray[np.int32],
        watched: Mapping[str, int],
        recording: Recording,
        recorded: tuple[NDArray[np.bool_], NDArray[np.int32]],
        counts: NDArray[np.int64],
        biases: Biases | None = None,
        hold: int = 1,
    ) -> Events:
        """Run a batch for some steps, changing `arrays` in place; holds no lock of the interpreter meanwhile.

        Parameters
        ----------
        events : Events
            What the host sends in these steps; the sources are among its populations.
        arrays : ChipArrays
        first_step, steps : int
            Steps ``first_step .. first_step + steps - 1`` of the run.
        noise : (steps, n) int32 array
            From `noise_values`.
        watched : dict of int
            Sizes of the populations whose spikes are returned.
        recording : Recording
        recorded : arrays (n, all steps, recording.n_spikes) bool and (n, all steps, recording.n_values) int32
            Filled for these steps.
        counts : (n, n_populations, COUNT_FIELDS) int64 array
            Added to; see the kernels.
        biases : dict of (n, n_frames, size) int32 arrays, optional
            Of the populations that take them from the input.
        hold : int
            Steps that a frame of them is there.
        """
        out = Events.empty(watched, len(arrays.u), steps)
        taken = [(biases or {})[b.population] for b in self.program.bias_inputs]
        self._simulate(
            *self._constants,
            np.array([self._order.index(name) for name in watched], np.int64),
            *(arrays.u, arrays.v, arrays.refractory, arrays.spiked, arrays.pending),
            np.array([list(events.sizes).index(s.name) for s in self.program.sources], np.int64),
            *(events.counts, events.indices, noise, self._driven),
            np.concatenate(taken, axis=2) if taken else np.zeros((len(arrays.u), 1, 0), np.int32),
            *(hold, first_step, steps),
            *(counts, out.counts, out.indices, recording.table, recording.chosen),
            *(recorded[0].view(np.uint8), recorded[1]),
            *self._working_memory(steps, len(events.sizes)),
        )
        return out

    def _working_memory(self, steps: int, n_columns: int) -> tuple[NDArray[Any], ...]:
        """What the loop needs beside the state: accumulators, noise, marks on blocks, and lists of spikes."""
        n, blocks = self.n_places, self.n_places // BLOCK
        return (
            self._spikes_first,
            *(np.zeros(n, np.int16), np.zeros(n, np.int32), np.zeros(n, np.int32), self._bias.copy()),
            *(np.zeros(blocks, np.uint8), np.zeros(blocks, np.uint8)),
            np.empty((2, self._n_spike_places), np.int32),  # of the last step and of this one
            np.zeros((2, len(self._spikes_first)), np.int64),
            np.zeros((steps, n_columns), np.int64),
        )

    def empty_counts(self, n: int) -> NDArray[np.int64]:
        """Counts of `n` samples before the first step."""
        counts = np.zeros((n, len(self._order), k.COUNT_FIELDS), np.int64)
        counts[:, :, k.FIRST_WRAP] = -1
        return counts

    def population_counts(self, counts: NDArray[np.int64]) -> dict[str, PopulationCounts]:
        """Sum counts over samples."""
        total = counts.sum(axis=0)
        return {
            name: PopulationCounts(
                self.sizes[name],
                *(int(row[column]) for column in (k.SPIKES, k.EVENTS, k.WRAPS_Q, k.WRAPS_U)),
            )
            for name, row in zip(self._order, total, strict=True)
        }


@lru_cache(maxsize=4)
def engine(program: Program) -> Engine:
    """The engine of a program, laid out once."""
    return Engine(program)


def simulate(
    program: Program,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    record: Record | None = None,
    state: ChipState | None = None,
    seed: int = 0,
    biases: Biases | None = None,
) -> Simulation:
    """Run the chip part of a program: what `loihi_deploy.engines.chip.plain.simulate` does, fast."""
    n = n_samples(spikes, biases or {})
    hold = next((steps // frames.shape[1] for frames in (biases or {}).values()), 1)
    state = state or initial_state(program, n, seed)
    chip = engine(program)
    arrays = chip.load(state, n)
    rng = None
    if state.noise is not None:
        rng = np.random.RandomState()
        rng.set_state(state.noise)
    wanted = {name: tuple(variables) for name, variables in (record or {}).items()}
    recording = chip.recording(wanted)
    recorded = (
        np.zeros((n, steps, recording.n_spikes), bool),
        np.zeros((n, steps, recording.n_values), np.int32),
    )
    counts = chip.empty_counts(n)
    watched = {name: chip.sizes[name] for name, variables in wanted.items() if "events" in variables}
    sent = Events.from_dense({s.name: spikes[s.name] for s in program.sources}, n, steps)
    noise = chip.noise_values(rng, steps)
    out = chip.run(sent, arrays, 0, steps, noise, watched, recording, recorded, counts, biases, hold)
    triples = out.triples()
    results = {
        name: {
            variable: triples[name]
            if variable == "events"
            else recorded[variable != "spikes"][:, :, recording.columns[name, variable]]
            for variable in variables
        }
        for name, variables in wanted.items()
    }
    end = chip.save(arrays, None if rng is None else tuple(rng.get_state(legacy=True)))
    return Simulation(results, chip.population_counts(counts), end)


def _noise_place(noise: Noise | None) -> int:
    if noise is None:
        return k.NO_NOISE
    return k.NOISE_AT_MEMBRANE if noise.at_membrane else k.NOISE_IN_Q
