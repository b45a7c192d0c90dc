"""The fast engine: a program laid out for the compiled loop.

Populations lie one behind the other in the arrays of state, each from a multiple of `BLOCK` on; what fills up the last
block never receives anything and never spikes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines import aligned
from loihi_deploy.engines.chip import kernels as k
from loihi_deploy.engines.chip.overflow import Bounds, accumulator_bounds, common_shift
from loihi_deploy.engines.chip.plain import Biases, Record, arrival_delays, initial_state, n_samples
from loihi_deploy.engines.delivery import BLOCK, layout, room_for_words
from loihi_deploy.engines.events import Events
from loihi_deploy.errors import BackendError, Problem
from loihi_deploy.ir.delays import by_delay
from loihi_deploy.ir.program import Compartments, Noise, Program, Synapses
from loihi_deploy.results import ChipState, PopulationCounts, Simulation

INT16_MAX = 2**15 - 1


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
        self._threads = threading.local()
        self._known_places: dict[tuple[tuple[str, ...], ...], tuple[NDArray[np.int64], ...]] = {}
        self.bounds = accumulator_bounds(program)
        _check_widths(self.bounds)
        self.is_noisy = any(p.noise is not None for p in program.populations)
        self.sizes = {p.name: p.size for p in program.populations}
        self._initial_voltages = [
            (p.name, p.initial_voltage) for p in program.populations if p.initial_voltage is not None
        ]
        self._order = list(self.sizes)
        padded = [-(-size // BLOCK) * BLOCK for size in self.sizes.values()]
        ends = np.cumsum([0, *padded])
        self._first = dict(zip(self._order, ends.tolist(), strict=False))
        self.n_places = int(ends[-1])
        self._shifts = {name: common_shift(program, name) for name in self._order}
        self._parts = {s: by_delay(s.delays, s.transform) for s in program.synapses}
        sources, self.n_pending, n_source_places = _laid_out_sources(program)
        populations, self._n_spike_places = self._laid_out_populations(n_source_places)
        bias = aligned.zeros(self.n_places, np.int32)
        for p in program.populations:
            bias[self.part(p.name)] = p.bias
        parts = [(s, *part) for name in self._order for s in self._into(name) for part in self._parts[s]]
        laid_out = layout([transform for _, _, transform in parts], np.int8)
        nodes = [source.name for source in program.sources] + self._order
        self._lines = sorted(
            dict.fromkeys((s.pre, delay) for s, delay, _ in parts if delay),
            key=lambda line: nodes.index(line[0]),
        )
        lines, self.n_held_back, self._n_spike_places = self._laid_out_lines(nodes, self._n_spike_places)
        line_nodes = {line: len(nodes) + k for k, line in enumerate(self._lines)}
        projections = [
            (line_nodes.get((s.pre, delay), nodes.index(s.pre)), s.shift - self._shifts[s.post])
            for s, delay, _ in parts
        ]
        self.network = k.Network(
            populations,
            sources,
            laid_out.table,
            laid_out.geometry,
            laid_out.weights,
            np.array(projections, np.int64).reshape(-1, 2),
            bias,
            np.concatenate(
                [sources[:, k.SOURCE_SPIKES_FIRST], populations[:, k.SPIKES_FIRST], self._line_places]
            ),
            lines,
            _groups(program, [nodes.index(name) - len(program.sources) for name, _ in self._lines]),
        )
        driven = [self.sizes[b.population] for b in program.bias_inputs]
        columns = np.cumsum([0, *driven])[: len(driven)]
        numbers = [self._order.index(b.population) for b in program.bias_inputs]
        self._driven = np.array([*zip(numbers, columns, driven, strict=True)], np.int64).reshape(-1, 3)
        arithmetic = program.arithmetic
        widths = arithmetic.decay_bits, arithmetic.accumulator_bits, arithmetic.current_bits
        self.kernel = k.simulate_with(*widths)

    def _into(self, name: str) -> list[Synapses]:
        """Synapses into a population, in the order in which they are delivered."""
        return sorted(self.program.into(name), key=lambda s: -s.shift)

    def _laid_out_lines(self, nodes: list[str], place: int) -> tuple[NDArray[np.int64], int, int]:
        """The table of delay lines, whose lists begin at `place`, the room for what they hold, and where these end."""
        table = np.zeros((len(self._lines), k.LINE_FIELDS), np.int64)
        self._line_places = np.zeros(len(self._lines), np.int64)
        first = 0
        for number, (row, (name, delay)) in enumerate(zip(table, self._lines, strict=True)):
            size = -(-self.program.nodes[name].size // 8) * 8
            row[:] = nodes.index(name), delay, first, size
            first += size * delay
            self._line_places[number] = place
            place += size
        return table, first, place

    def _laid_out_populations(self, place: int) -> tuple[NDArray[np.int64], int]:
        """The table of populations, whose lists of spikes begin at `place`, and where these end."""
        program = self.program
        table = np.zeros((len(self._order), k.POPULATION_FIELDS), np.int64)
        n_noisy = n_projections = 0
        for row, p in zip(table, program.populations, strict=True):
            n_into = sum(len(self._parts[s]) for s in program.into(p.name))
            settings = {
                **self._settings(p),
                k.FIRST: self._first[p.name],
                k.SIZE: p.size,
                k.NOISE_FIRST: n_noisy,
                k.SPIKES_FIRST: place,
                k.FIRST_PROJECTION: n_projections,
                k.N_PROJECTIONS: n_into,
            }
            for column, value in settings.items():
                row[column] = value
            n_noisy += p.size if p.noise is not None else 0
            n_projections += n_into
            place += -(-p.size // BLOCK) * BLOCK
        return table, place

    def _settings(self, p: Compartments) -> dict[int, int]:
        """What the loop reads of a population, and which of its ways can be taken."""
        arithmetic, bounds, shift = self.program.arithmetic, self.bounds[p.name], self._shifts[p.name]
        factor_v = arithmetic.voltage_factor(p.decay_v)
        keeps_voltage = factor_v == 1 << arithmetic.decay_bits
        heaviest = max(
            (
                int(np.abs(s.transform.values.astype(np.int64)).max(initial=0)) << (s.shift - shift)
                for s in self.program.into(p.name)
            ),
            default=0,
        )
        return {
            k.FACTOR_U: arithmetic.current_factor(p.decay_u),
            k.FACTOR_V: factor_v,
            k.THRESHOLD: p.threshold,
            k.REFRACTORY: p.refractory,
            k.V_MIN: p.v_min,
            k.V_MAX: p.v_max,
            k.SHIFT: shift,
            k.FITTING: _fitting(p, bounds, heaviest << shift),
            k.PLAIN_VOLTAGE: p.refractory <= 1 and keeps_voltage and p.threshold < p.v_max,
            k.LOSS_V: _loss(p, (1 << arithmetic.decay_bits) - factor_v, arithmetic.largest_v_max),
            k.NARROW: bounds.mantissas[0] >= -INT16_MAX and bounds.mantissas[1] <= INT16_MAX,
            k.BUDGET: INT16_MAX // max(heaviest, 1),
            k.NOISE_AT: _noise_place(p.noise),
        }

    def part(self, name: str) -> slice:
        """Where a population lies in the arrays of state."""
        return slice(self._first[name], self._first[name] + self.sizes[name])

    def _pending_parts(self) -> Iterable[tuple[str, slice, tuple[int, int], int]]:
        for row, source in zip(self.network.sources.tolist(), self.program.sources, strict=True):
            delay, first, size, _ = row
            yield source.name, slice(first, first + delay * size), (delay, size), source.size

    def _line_parts(self) -> Iterable[tuple[str, slice, tuple[int, int], int]]:
        for row, (name, delay) in zip(self.network.lines.tolist(), self._lines, strict=True):
            first, size = row[k.LINE_FIRST], row[k.LINE_SIZE]
            yield name, slice(first, first + delay * size), (delay, size), self.program.nodes[name].size

    def start(self, n: int, used: k.State | None = None) -> k.State:
        """Arrays of a batch of `n` samples at rest: those of an earlier one that is no longer `used`, if given."""
        arrays = self._new_state(n) if used is None or len(used.u) != n else used
        for array in arrays:
            array.fill(0)
        arrays.moving.fill(k.HAS_CHANGED)
        for name, voltage in self._initial_voltages:
            arrays.v[:, self.part(name)] = voltage
        return arrays

    def _new_state(self, n: int) -> k.State:
        shape = n, self.n_places
        u, v = aligned.zeros((2, *shape), np.int32)
        refractory, spiked = aligned.zeros((2, *shape), np.uint8)
        widths = self.n_pending, self.n_held_back, self.n_places // BLOCK
        return k.State(u, v, refractory, spiked, *(np.zeros((n, width), np.uint8) for width in widths))

    def load(self, state: ChipState, n: int) -> k.State:
        """Arrays of a batch of `n` samples from their state."""
        arrays = self.start(n)
        arrays.moving[:] = k.HAS_CURRENT | k.HAS_WIDE | k.HAS_CHANGED
        for name in self._order:
            arrays.u[:, self.part(name)] = state.u[name]
            arrays.v[:, self.part(name)] = state.v[name]
            arrays.refractory[:, self.part(name)] = state.refractory[name]
            arrays.spiked[:, self.part(name)] = state.spikes[name]
        for name, part, shape, size in self._pending_parts():
            lines = np.zeros((n, *shape), np.uint8)
            lines[:, :, :size] = state.pending[name]
            arrays.pending[:, part] = lines.reshape(n, shape[0] * shape[1])
        for name, part, shape, size in self._line_parts():
            lines = np.zeros((n, *shape), np.uint8)
            lines[:, :, :size] = state.delayed[name][:, -shape[0] :]
            arrays.held_back[:, part] = lines.reshape(n, shape[0] * shape[1])
        return arrays

    def save(self, arrays: k.State, noise: tuple[Any, ...] | None) -> ChipState:
        """The state that the arrays hold."""

        def parts(array: NDArray[Any], dtype: Any) -> dict[str, NDArray[Any]]:
            return {name: array[:, self.part(name)].astype(dtype) for name in self._order}

        pending = {
            name: arrays.pending[:, part].reshape(len(arrays.u), *shape)[:, :, :size].astype(bool)
            for name, part, shape, size in self._pending_parts()
        }
        delayed: dict[str, NDArray[np.bool_]] = {}
        # of the lines of a sender the longest holds all that the others do
        for name, part, shape, size in self._line_parts():
            if name not in delayed or delayed[name].shape[1] < shape[0]:
                rows = arrays.held_back[:, part].reshape(len(arrays.u), *shape)
                delayed[name] = rows[:, :, :size].astype(bool)
        return ChipState(
            parts(arrays.u, np.int32),
            parts(arrays.v, np.int32),
            parts(arrays.refractory, np.int32),
            parts(arrays.spiked, bool),
            pending,
            noise,
            delayed,
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
                    number = self._order.index(name)
                    rows.append((variables[variable], width[dense], n_chosen, len(indices), number))
                    width[dense] += len(indices)
            n_chosen += len(indices)
        table = np.array(rows, np.int64).reshape(-1, k.RECORD_FIELDS)
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
        arrays: k.State,
        first_step: int,
        steps: int,
        noise: NDArray[np.int32],
        watched: Mapping[str, int],
        recording: Recording,
        recorded: tuple[NDArray[np.bool_], NDArray[np.int32]],
        counts: NDArray[np.int64],
        biases: Biases | None = None,
        hold: int = 1,
        room: NDArray[np.int32] | None = None,
    ) -> Events:
        """Run a batch for some steps, changing `arrays` in place; holds no lock of the interpreter meanwhile.

        Parameters
        ----------
        events : Events
            What the host sends in these steps; the sources are among its populations.
        arrays : k.State
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
        room : int32 array, optional
            Memory for the spikes that are returned; see `Events.empty`.
        """
        n = len(arrays.u)
        out = Events.empty(watched, n, steps, room)
        taken = [(biases or {})[b.population] for b in self.program.bias_inputs]
        columns, nodes = self._places(tuple(events.sizes), tuple(watched))
        arriving = k.Arriving(
            columns,
            events.counts,
            events.indices,
            noise,
            self._driven,
            np.concatenate(taken, axis=2) if taken else np.zeros((n, 1, 0), np.int32),
            hold,
        )
        wanted = k.Wanted(
            counts,
            nodes,
            out.counts,
            out.indices,
            recording.table,
            recording.chosen,
            recorded[0].view(np.uint8),
            recorded[1],
        )
        memory = self._memory(steps, len(events.sizes))
        self.kernel(*self.network, *arrays, *arriving, *wanted, *memory, first_step, steps)
        if self._lines:
            for _, part, shape, _ in self._line_parts():
                # the oldest row first, with which the next run begins
                rows = arrays.held_back[:, part].reshape(n, *shape)
                arrays.held_back[:, part] = np.roll(rows, -(steps % shape[0]), axis=1).reshape(n, -1)
        return out

    def _places(self, columns: tuple[str, ...], watched: tuple[str, ...]) -> tuple[NDArray[np.int64], ...]:
        """Of each source the column among the host's events, and the numbers of populations; found once."""
        if (columns, watched) not in self._known_places:
            self._known_places[columns, watched] = (
                np.array([columns.index(s.name) for s in self.program.sources], np.int64),
                np.array([self._order.index(name) for name in watched], np.int64),
            )
        return self._known_places[columns, watched]

    def _memory(self, steps: int, n_columns: int) -> k.Memory:
        """The thread's own working memory, used for run after run."""
        made: k.Memory | None = getattr(self._threads, "memory", None)
        if made is None or made.starts.shape[0] < steps or made.starts.shape[1] != n_columns:
            made = self._threads.memory = self._new_memory(steps, n_columns)
        return made

    def _new_memory(self, steps: int, n_columns: int) -> k.Memory:
        n, blocks = self.n_places, self.n_places // BLOCK
        membrane = aligned.zeros(n, np.int32)
        membrane[:] = self.network.bias
        return k.Memory(
            aligned.zeros(n, np.int16),
            aligned.zeros(n, np.int32),
            aligned.zeros(n, np.int32),
            membrane,
            np.zeros(blocks, np.uint8),
            np.empty((k.AT_A_TIME + 1) * self._n_spike_places, np.int32),
            np.zeros((k.AT_A_TIME + 1, len(self.network.spikes_first)), np.int64),
            np.zeros((k.AT_A_TIME + 1, len(self.network.spikes_first)), np.int64),
            room_for_words(self._n_spike_places),
            np.zeros((steps, n_columns), np.int64),
        )

    def empty_counts(self, n: int) -> NDArray[np.int64]:
        """Counts of `n` samples before the first step."""
        return np.zeros((n, len(self._order), k.COUNT_FIELDS), np.int64)

    def totals(
        self, counts: NDArray[np.int64]
    ) -> tuple[dict[str, PopulationCounts], tuple[int, int, str] | None]:
        """Counts summed over samples; sample, step and population of the first accumulator that wrapped around."""
        total = (counts[0] if len(counts) == 1 else counts.sum(axis=0)).tolist()
        found = {
            name: PopulationCounts(size, *row[: k.FIRST_WRAP])
            for (name, size), row in zip(self.sizes.items(), total, strict=True)
        }
        if not any(row[k.FIRST_WRAP] for row in total):
            return found, None
        behind = counts[:, :, k.FIRST_WRAP]
        wrapped = [(s, int(behind[s, p]) - 1, p) for s, p in np.argwhere(behind).tolist()]
        sample, step, population = min(wrapped)
        return found, (sample, step, self._order[population])


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
    found, first_wrap = chip.totals(counts)
    return Simulation(results, found, end, first_wrap)


def _laid_out_sources(program: Program) -> tuple[NDArray[np.int64], int, int]:
    """The table of sources, the room for pending spikes, and that for lists of spikes."""
    delays = arrival_delays(program)
    table = np.zeros((len(program.sources), k.SOURCE_FIELDS), np.int64)
    place = n_pending = 0
    for row, source in zip(table, program.sources, strict=True):
        size = -(-source.size // 8) * 8
        row[:] = delays[source.name], n_pending, size, place
        n_pending += size * delays[source.name]
        place += size
    return table, n_pending, place


def _groups(program: Program, lines: list[int]) -> NDArray[np.int64]:
    """The table of populations that are stepped together: those between the ends of a way back.

    `lines` has the number of the population before each delay line, in rising order; sources have negative ones.
    """
    order = {p.name: i for i, p in enumerate(program.populations)}
    first = list(range(len(order)))
    """The earliest population that each has a way back to."""
    for synapses in program.synapses:
        if synapses.pre in order:
            pre = order[synapses.pre]
            first[pre] = min(first[pre], order[synapses.post])
    groups: list[tuple[int, int]] = []
    for i, begin in enumerate(first):
        while groups and groups[-1][1] > begin:
            begin = min(begin, groups.pop()[0])
        groups.append((begin, i + 1))
    ends = np.searchsorted(lines, [0, *(end for _, end in groups)])
    parts = [(0, 0), *groups]
    return np.array(
        [(*part, *line) for part, line in zip(parts, zip([0, *ends], ends, strict=False), strict=True)],
        np.int64,
    )


def _check_widths(bounds: Mapping[str, Bounds]) -> None:
    """Refuse sums that could pass the 32 bits they are added in, so that a wrap would not be seen."""
    limit = np.iinfo(np.int32)
    problems = [
        Problem(
            "its synaptic input can become larger than the compiled engine adds up",
            f"layer '{name}'",
            f"{bound.q[0]:,} to {bound.q[1]:,}",
            f"{limit.min:,} to {limit.max:,}",
            "Use backend='numpy', which adds in 64 bits",
        )
        for name, bound in bounds.items()
        if bound.q[0] < limit.min or bound.q[1] > limit.max
    ]
    if problems:
        raise BackendError("Cannot run the program on the compiled engine", problems)


def _loss(p: Compartments, loss: int, largest_v: int) -> int:
    """What v loses in a step, where that times v fits in 32 bits, rounding included, and no spike is at its highest.

    -1 else. Voltages to begin with may be above `p.v_max`, and up to `largest_v`.
    """
    fits = max(-p.v_min, largest_v) * loss < 2**31 - 2**16
    return loss if fits and p.threshold < p.v_max else -1


def _fitting(p: Compartments, bounds: Bounds, heaviest: int) -> int:
    """How many spikes, of at most so much each, may reach a block of small currents without a wrap in it."""
    if p.noise is not None:
        return -1
    if bounds.never_wraps:
        return int(np.iinfo(np.int64).max)
    arithmetic = bounds.arithmetic
    small = 1 << (31 - arithmetic.decay_bits)
    bias = max(bounds.u2[1] - bounds.u[1], bounds.u[0] - bounds.u2[0])
    most = min(1 << arithmetic.accumulator_bits, (1 << arithmetic.current_bits) - small - bias) - 1
    return most // max(heaviest, 1)


def _noise_place(noise: Noise | None) -> int:
    if noise is None:
        return k.NO_NOISE
    return k.NOISE_AT_MEMBRANE if noise.at_membrane else k.NOISE_IN_Q
