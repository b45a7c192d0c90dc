"""Encoder, chip and readout of a program, for the compiled engine and for any other."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chip_engines import ChipRun, Engine
from loihi_deploy.backends.chunk import Chunk, Wanted, recorded_spikes
from loihi_deploy.backends.halves import Halves, halves
from loihi_deploy.engines.activity import Meter
from loihi_deploy.engines.chip import kernels as columns
from loihi_deploy.engines.chip.compiled import Engine as ChipEngine
from loihi_deploy.engines.chip.compiled import Recording, engine
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host.biases import biases
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.engines.spike_counts import SpikeCounter
from loihi_deploy.ir.program import Program
from loihi_deploy.results import HostState, PopulationCounts, Recorded, RunState

BLOCK_BYTES = 1 << 23
"""Room for lists of spikes, for each thread: longer presentations are cut into blocks of steps."""
NOTHING = Wanted({}, {})


@dataclass(frozen=True)
class _Plan:
    """What `Line.present` does for what is wanted.

    Parameters
    ----------
    wanted : Wanted
    recording : Recording
        Of the chip, as arrays.
    listed : Wanted
        What is made of lists of spikes: 'events' of the chip, and all of the host.
    watched : dict of int
        Sizes of the populations on chip whose spikes are listed.
    decoders : (Decoder, Decoder)
        Of the host's spikes and of the watched populations'.
    lists, lists_sent : bool
        Whether lists of the chip, and of the host, are kept.
    n_host : int
        Neurons of the host.
    width : int
        Neurons whose spikes are listed.
    everyone : bool
        Whether the spikes of every population on chip are listed.
    """

    wanted: Wanted
    recording: Recording
    listed: Wanted
    watched: Mapping[str, int]
    decoders: tuple[Decoder, Decoder]
    lists: bool
    lists_sent: bool
    n_host: int
    width: int
    everyone: bool


class _Arrays(NamedTuple):
    """State of a batch while it runs."""

    encoder: tuple[NDArray[Any], ...]
    chip: columns.State
    decoders: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    rng: np.random.RandomState | None


class Line:
    """The three parts of a program, laid out for the compiled loops.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.encoder = Encoder(program.encoder, program.host_limit)
        self.on_chip = {p.name: p.size for p in program.populations}
        self.sizes = {**self.encoder.sizes, **self.on_chip}
        decoded = {projection.pre for projection in program.readout.projections}
        self.decoded = tuple(name for name in self.on_chip if name in decoded)
        self.n_outputs = sum(node.size for node in program.readout.readouts)

        self._threads = threading.local()
        self._decoders: dict[tuple[str, ...], Decoder] = {}
        self._last_plan: _Plan | None = None

    @cached_property
    def chip(self) -> ChipEngine:
        """The chip part, laid out for the compiled loop when that first runs it."""
        return engine(self.program)

    def _decoder(self, columns: Mapping[str, int]) -> Decoder:
        """The decoder of events of these populations, laid out once."""
        key = tuple(columns)
        if key not in self._decoders:
            self._decoders[key] = Decoder(self.program, columns)
        return self._decoders[key]

    def _room(self, size: int) -> NDArray[np.int32]:
        """Memory for the host's spikes, the thread's own: to get it anew for each chunk takes as long as some steps."""
        made: NDArray[np.int32] | None = getattr(self._threads, "room", None)
        if made is None or made.size < size:
            made = self._threads.room = np.empty(size, np.int32)
        return made

    def _chip_at_rest(self, n: int) -> columns.State:
        """The chip's arrays, the thread's own as well: what is kept of them is copied."""
        used = self._threads.chip = self.chip.start(n, getattr(self._threads, "chip", None))
        return used

    def present(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        hold: int,
        wanted: Wanted,
        seed: int,
        state: RunState | None,
        keep_state: bool,
        numbers: NDArray[np.int64] | None = None,
        meter: Meter | None = None,
    ) -> Chunk:
        """Present samples on the compiled engine.

        Parameters
        ----------
        inputs : dict of (n, n_frames, size) arrays
        steps, hold : int
            Steps of the presentation, and how many of them each frame is shown.
        wanted : Wanted
        seed : int
        state : RunState or None
            From which to continue.
        keep_state : bool
            Whether the state after the last step is returned.
        numbers : (n,) int array, optional
            Those of the samples in the run, which random spikes depend on; from 0 on if not given.
        meter : Meter, optional
            Counts what the cores do; `wanted` records just what it needs, which is not returned.
        """
        encoder, chip, plan = self.encoder, self.chip, self._plan(wanted, meter is not None)
        frames = encoder.together(inputs)
        n = len(frames)
        arrays = self._arrays(plan, n, state, numbers, seed)
        trace = np.zeros((n, steps, self.n_outputs))
        spikes = np.zeros((n, steps, plan.recording.n_spikes), bool)
        values = np.zeros((n, steps, plan.recording.n_values), np.int32)
        counts = chip.empty_counts(n)
        sent, lost = encoder.none(), encoder.none()
        lists: list[tuple[int, Events]] = []
        drive, clipped = biases(self.program, inputs)
        blocks = _blocks(steps, n * plan.width, BLOCK_BYTES)
        activity = room = None
        if meter is not None:  # every spike is listed: memory for silent neurons is reserved, not taken
            activity, blocks = meter.start(n), [(0, steps)]
            room = meter.room(n * steps * sum(plan.watched.values()))
        for first, length in blocks:
            sent_room = None if plan.lists_sent else self._room(n * length * plan.n_host)
            emitted = encoder.run(frames, first, length, hold, arrays.encoder, lost, sent_room, sent)
            noise = chip.noise_values(arrays.rng, length)
            told = plan.recording, (spikes, values), counts
            out = chip.run(emitted, arrays.chip, first, length, noise, plan.watched, *told, drive, hold, room)
            plan.decoders[0].run(emitted, arrays.decoders[0], trace, first)
            plan.decoders[1].run(out, arrays.decoders[1], trace, first)
            if meter is not None and activity is not None:
                activity = meter.count(activity, emitted, out, values)
            if plan.lists:
                lists.append((first, out))
            if plan.lists_sent:
                lists.append((first, emitted))

        if not keep_state:  # what waits at the end is never sent
            encoder.lose_unsent(arrays.encoder, lost)
        recorded: Recorded = {}
        if wanted.variables and meter is None:
            found = recorded_spikes(plan.listed, self.sizes, lists, n, steps)
            for key, part in plan.recording.columns.items():
                found[key] = (spikes if key[1] == "spikes" else values)[:, :, part]
            recorded = _in_order(wanted, found)
        on_chip, first_wrap = chip.totals(counts)
        return Chunk(
            trace,
            {**self._host_counts(sent, lost), **_with_clipped(on_chip, clipped)},
            recorded,
            first_wrap,
            self._end(plan, arrays) if keep_state else None,
            activity,
        )

    @cached_property
    def halves(self) -> Halves | None:
        """The chip part cut in two, for one sample on two threads; None where that would not help."""
        return halves(self.program)

    def present_one(
        self,
        cut: Halves,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        hold: int,
        seed: int,
        numbers: NDArray[np.int64] | None,
    ) -> Chunk:
        """Present one sample, from rest, on two threads; nothing is recorded. For the arguments see `present`."""
        encoder, plan = self.encoder, self._plan(NOTHING, False)
        frames, arrays, decoder = encoder.together(inputs), encoder.start(1, numbers, seed), plan.decoders[1]
        filters, trace = decoder.start(1), np.zeros((1, steps, self.n_outputs))
        sent, lost = encoder.none(), encoder.none()
        drive, clipped = biases(self.program, inputs)

        def encode(first: int, n: int) -> Events:
            room = self._room(n * plan.n_host)
            return encoder.run(frames, first, n, hold, arrays, lost, room, sent)

        def decode(first: int, out: Events) -> None:
            decoder.run(out, filters, trace, first)

        counts, first_wrap = cut.run(steps, hold, drive, plan.watched, encode, decode)
        encoder.lose_unsent(arrays, lost)
        return Chunk(
            trace, {**self._host_counts(sent, lost), **_with_clipped(counts, clipped)}, {}, first_wrap
        )

    def spike_counts(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        hold: int,
        counted: Mapping[str, tuple[int, int]],
        kept: Collection[str] = (),
        numbers: NDArray[np.int64] | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Spikes of every neuron from some step on, of samples that start from rest, on the compiled engine.

        Parameters
        ----------
        inputs : dict of (n, n_frames, size) arrays
        steps, hold : int
            As for `present`.
        counted : dict of (int, int)
            First step whose spikes count, and the one behind the last, by population.
        kept : collection of str
            Populations whose first spike counts again in every later step, and no other.
        numbers : (n,) int array, optional
            As for `present`.

        Returns
        -------
        dict of (n, size) arrays
            By population, encoders included.
        """
        encoder, chip, plan = self.encoder, self.chip, self._plan(NOTHING, True)
        frames = encoder.together(inputs)
        n = len(frames)
        arrays = self._arrays(plan, n, None, numbers, 0)
        recorded = plan.recording, (np.zeros((n, steps, 0), bool), np.zeros((n, steps, 0), np.int32))
        lost = np.zeros(len(encoder.sizes), np.int64)
        drive, _ = biases(self.program, inputs)
        counters = [SpikeCounter(sizes, n, steps, counted, kept) for sizes in (encoder.sizes, plan.watched)]
        for first, length in _blocks(steps, n * plan.width, BLOCK_BYTES):
            room = self._room(n * length * plan.n_host)
            emitted = encoder.run(frames, first, length, hold, arrays.encoder, lost, room)
            noise = chip.noise_values(arrays.rng, length)
            out = chip.run(
                *(emitted, arrays.chip, first, length, noise, plan.watched),
                *(*recorded, chip.empty_counts(n), drive, hold),
            )
            for counter, events in zip(counters, (emitted, out), strict=True):
                counter.add(events, first)
        return counters[0].by_population() | counters[1].by_population()

    def _plan(self, wanted: Wanted, everyone: bool) -> _Plan:
        """What follows from what is wanted, which chunk after chunk is the same."""
        wanted = wanted if wanted.variables else NOTHING  # the same for every run that records nothing
        last = self._last_plan
        if last is not None and last.wanted is wanted and last.everyone == everyone:
            return last
        chip = self.chip.sizes
        on_chip = {name: variables for name, variables in wanted.variables.items() if name in chip}
        of_events = [name for name in chip if "events" in on_chip.get(name, ())]
        watched = {
            name: size for name, size in chip.items() if everyone or name in (*self.decoded, *of_events)
        }
        listed = {
            name: ("events",) if name in chip else variables for name, variables in wanted.variables.items()
        }
        plan = _Plan(
            wanted,
            self.chip.recording(on_chip, wanted.neurons),
            Wanted(listed, wanted.neurons),
            watched,
            (self._decoder(self.encoder.sizes), self._decoder(watched)),
            bool(of_events),
            len(on_chip) < len(wanted.variables),
            n_host := sum(self.encoder.sizes.values()),
            n_host + sum(watched.values()),
            everyone,
        )
        self._last_plan = plan
        return plan

    def _arrays(
        self, plan: _Plan, n: int, state: RunState | None, numbers: NDArray[np.int64] | None, seed: int
    ) -> _Arrays:
        """State of `n` samples, from rest or as it was left."""
        rng = np.random.RandomState(seed) if self.chip.is_noisy else None
        if state is None:
            return _Arrays(
                self.encoder.start(n, numbers, seed),
                self._chip_at_rest(n),
                [decoder.start(n) for decoder in plan.decoders],
                rng,
            )
        if rng is not None and state.chip.noise is not None:
            rng.set_state(state.chip.noise)
        return _Arrays(
            self.encoder.load(state.encoder, n),
            self.chip.load(state.chip, n),
            [decoder.load(state.readout, n) for decoder in plan.decoders],
            rng,
        )

    def _end(self, plan: _Plan, arrays: _Arrays) -> RunState:
        """The state that the arrays hold."""
        readout: dict[str, NDArray[np.float64]] = {}
        for decoder, filters in zip(plan.decoders, arrays.decoders, strict=True):
            readout |= decoder.save(filters)
        noise = None if arrays.rng is None else tuple(arrays.rng.get_state(legacy=True))
        return RunState(
            self.encoder.save(arrays.encoder),
            self.chip.save(arrays.chip, noise),
            HostState(readout),
            self.program.digest,
        )

    def present_on(
        self,
        other: Engine,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        hold: int,
        wanted: Wanted,
        seed: int,
        state: RunState | None,
        keep_state: bool,
        numbers: NDArray[np.int64] | None = None,
    ) -> Chunk:
        """Present samples on another engine of the chip part, between the same encoder and readout; see `present`."""
        frames = self.encoder.together(inputs)
        n, n_frames = frames.shape[:2]
        encoder = self.encoder
        arrays = encoder.load(state.encoder, n) if state else encoder.start(n, numbers, seed)
        sent, lost = encoder.none(), encoder.none()
        emitted = self.encoder.run(frames, 0, steps, hold, arrays, lost, sent=sent)
        if not keep_state:
            self.encoder.lose_unsent(arrays, lost)
        dense = emitted.to_dense()
        record = {
            name: tuple({*wanted.variables.get(name, ()), *(["spikes"] if name in self.decoded else [])})
            for name in self.on_chip
        }
        arriving = {source.name: dense[source.name] for source in self.program.sources}
        drive, clipped = biases(self.program, inputs)
        if (
            steps != n_frames * hold
        ):  # the last frame is held a part of its steps: other engines know whole ones
            drive = {name: np.repeat(values, hold, axis=1)[:, :steps] for name, values in drive.items()}
        before = state.chip if state else None
        simulation = other.simulate(ChipRun(self.program, arriving, steps, record, before, seed, drive))
        out = Events.from_dense(
            {name: simulation.recorded[name]["spikes"] for name in self.decoded}, n, steps
        )
        trace = np.zeros((n, steps, self.n_outputs))
        saved: dict[str, NDArray[np.float64]] = {}
        for events in (emitted, out):
            decoder = self._decoder(events.sizes)
            filters = decoder.load(state.readout, n) if state else decoder.start(n)
            decoder.run(events, filters, trace)
            saved |= decoder.save(filters)
        found = recorded_spikes(wanted, self.sizes, [(0, emitted)], n, steps)
        for name, variables in simulation.recorded.items():
            neurons = wanted.of(name, self.sizes[name])
            for variable, values in variables.items():
                found[name, variable] = (
                    values[np.isin(values[:, 2], neurons)] if variable == "events" else values[:, :, neurons]
                )
        end = None
        if keep_state and simulation.state is not None:
            end = RunState(self.encoder.save(arrays), simulation.state, HostState(saved), self.program.digest)
        counts = {**self._host_counts(sent, lost), **_with_clipped(simulation.counts, clipped)}
        return Chunk(trace, counts, _in_order(wanted, found), simulation.first_wrap, end)

    def _host_counts(self, sent: NDArray[np.int64], lost: NDArray[np.int64]) -> dict[str, PopulationCounts]:
        return {
            name: PopulationCounts(size, n_sent, lost_spikes=n_lost)
            for (name, size), n_sent, n_lost in zip(
                self.encoder.sizes.items(), sent.tolist(), lost.tolist(), strict=True
            )
        }


@lru_cache(maxsize=8)
def _blocks(steps: int, n_neurons: int, bytes_of_block: int) -> list[tuple[int, int]]:
    """First steps, and numbers of steps, whose lists of spikes are made together."""
    size = max(1, bytes_of_block // (4 * max(n_neurons, 1)))
    return [(first, min(size, steps - first)) for first in range(0, steps, size)]


def _with_clipped(
    counts: Mapping[str, PopulationCounts], clipped: Mapping[str, int]
) -> Mapping[str, PopulationCounts]:
    if not clipped:
        return counts
    return {
        name: replace(count, clipped_biases=clipped[name]) if name in clipped else count
        for name, count in counts.items()
    }


def _in_order(wanted: Wanted, found: Mapping[tuple[str, str], NDArray[Any]]) -> Recorded:
    return {
        name: {variable: found[name, variable] for variable in variables}
        for name, variables in wanted.variables.items()
    }


@lru_cache(maxsize=4)
def line(program: Program) -> Line:
    """The line of a program, laid out once."""
    return Line(program)
