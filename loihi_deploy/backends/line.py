"""Encoder, chip and readout of a program, for the compiled engine and for any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chip_engines import Engine
from loihi_deploy.backends.chunk import Chunk, Wanted, recorded_spikes
from loihi_deploy.engines.chip import kernels as columns
from loihi_deploy.engines.chip.compiled import engine
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host.biases import biases
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.ir.program import Program
from loihi_deploy.results import HostState, PopulationCounts, Recorded, RunState

BLOCK_BYTES = 1 << 23
"""Room for lists of spikes, for each thread: longer presentations are cut into blocks of steps."""


class Line:
    """The three parts of a program, laid out for the compiled loops.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.encoder = Encoder(program.encoder)
        self.chip = engine(program)
        self.sizes = {**self.encoder.sizes, **self.chip.sizes}
        decoded = {projection.pre for projection in program.readout.projections}
        self.decoded = tuple(name for name in self.chip.sizes if name in decoded)
        self.n_outputs = sum(node.size for node in program.readout.readouts)

        self._decoders: dict[tuple[str, ...], Decoder] = {}

    def _decoder(self, columns: Mapping[str, int]) -> Decoder:
        """The decoder of events of these populations, laid out once."""
        key = tuple(columns)
        if key not in self._decoders:
            self._decoders[key] = Decoder(self.program, columns)
        return self._decoders[key]

    def present(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        wanted: Wanted,
        seed: int,
        state: RunState | None,
        keep_state: bool,
        first_sample: int = 0,
    ) -> Chunk:
        """Present samples on the compiled engine.

        Parameters
        ----------
        inputs : dict of (n, n_frames, size) arrays
            Each frame is shown for ``steps / n_frames`` steps.
        steps : int
        wanted : Wanted
        seed : int
        state : RunState or None
            From which to continue.
        keep_state : bool
            Whether the state after the last step is returned.
        first_sample : int
            Number of the first sample in the run, which random spikes depend on.
        """
        frames = self.encoder.together(inputs)
        n, n_frames = frames.shape[:2]
        encoder, chip = self.encoder, self.chip
        on_chip = {name: variables for name, variables in wanted.variables.items() if name in chip.sizes}
        recording = chip.recording(on_chip, wanted.neurons)
        listed = [name for name in chip.sizes if "events" in on_chip.get(name, ())]
        watched = {name: size for name, size in chip.sizes.items() if name in (*self.decoded, *listed)}
        decoders = self._decoder(encoder.sizes), self._decoder(watched)

        encoder_arrays = encoder.load(state.encoder, n) if state else encoder.start(n, first_sample, seed)
        chip_arrays = chip.load(state.chip, n) if state else chip.start(n)
        decoder_arrays = [d.load(state.readout, n) if state else d.start(n) for d in decoders]
        rng = np.random.RandomState(seed) if chip.is_noisy else None
        if rng is not None and state and state.chip.noise is not None:
            rng.set_state(state.chip.noise)

        trace = np.zeros((n, steps, self.n_outputs))
        spikes = np.zeros((n, steps, recording.n_spikes), bool)
        values = np.zeros((n, steps, recording.n_values), np.int32)
        counts = chip.empty_counts(n)
        sent, lost = np.zeros((2, len(encoder.sizes)), np.int64)
        lists: list[tuple[int, Events]] = []
        width = sum(encoder.sizes.values()) + sum(watched.values())
        drive, clipped = biases(self.program, inputs)
        hold = steps // n_frames
        block = max(1, BLOCK_BYTES // (4 * max(width, 1) * n))
        for first in range(0, steps, block):
            length = min(block, steps - first)
            emitted = encoder.run(frames, first, length, hold, encoder_arrays, lost)
            noise = chip.noise_values(rng, length)
            recorded = (recording, (spikes, values), counts)
            out = chip.run(emitted, chip_arrays, first, length, noise, watched, *recorded, drive, hold)
            for decoder, events, arrays in zip(decoders, (emitted, out), decoder_arrays, strict=True):
                decoder.run(events, arrays, trace, first)
            sent += emitted.counts.sum(axis=(0, 1), dtype=np.int64)
            if listed:
                lists.append((first, out))
            if len(on_chip) < len(wanted.variables):
                lists.append((first, emitted))

        listed_only = Wanted(
            {name: v if name not in chip.sizes else ("events",) for name, v in wanted.variables.items()},
            wanted.neurons,
        )
        found = recorded_spikes(listed_only, self.sizes, lists, n, steps)
        for key, part in recording.columns.items():
            found[key] = (spikes if key[1] == "spikes" else values)[:, :, part]
        end = None
        if keep_state:
            saved = [d.save(arrays) for d, arrays in zip(decoders, decoder_arrays, strict=True)]
            noise_state = None if rng is None else tuple(rng.get_state(legacy=True))
            end = RunState(
                encoder.save(encoder_arrays),
                chip.save(chip_arrays, noise_state),
                HostState(saved[0] | saved[1]),
                self.program.digest,
            )
        return Chunk(
            trace,
            self._host_counts(sent, lost) | _with_clipped(chip.population_counts(counts), clipped),
            _in_order(wanted, found),
            self._first_wrap(counts),
            end,
        )

    def present_on(
        self,
        other: Engine,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        wanted: Wanted,
        seed: int,
        state: RunState | None,
        keep_state: bool,
        first_sample: int = 0,
    ) -> Chunk:
        """Present samples on another engine of the chip part, between the same encoder and readout; see `present`."""
        frames = self.encoder.together(inputs)
        n, n_frames = frames.shape[:2]
        encoder = self.encoder
        arrays = encoder.load(state.encoder, n) if state else encoder.start(n, first_sample, seed)
        lost = np.zeros(len(self.encoder.sizes), np.int64)
        emitted = self.encoder.run(frames, 0, steps, steps // n_frames, arrays, lost)
        dense = emitted.to_dense()
        record = {
            name: tuple({*wanted.variables.get(name, ()), *(["spikes"] if name in self.decoded else [])})
            for name in self.chip.sizes
        }
        arriving = {source.name: dense[source.name] for source in self.program.sources}
        drive, clipped = biases(self.program, inputs)
        before = state.chip if state else None
        simulation = other.simulate(self.program, arriving, steps, record, before, seed, drive)
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
        sent = emitted.counts.sum(axis=(0, 1), dtype=np.int64)
        counts = self._host_counts(sent, lost) | _with_clipped(simulation.counts, clipped)
        return Chunk(trace, counts, _in_order(wanted, found), None, end)

    def _host_counts(self, sent: NDArray[np.int64], lost: NDArray[np.int64]) -> dict[str, PopulationCounts]:
        return {
            name: PopulationCounts(size, int(sent[i]), lost_spikes=int(lost[i]))
            for i, (name, size) in enumerate(self.encoder.sizes.items())
        }

    def _first_wrap(self, counts: NDArray[np.int64]) -> tuple[int, int, str] | None:
        steps = counts[:, :, columns.FIRST_WRAP]
        if steps.size == 0 or steps.max() < 0:
            return None
        wrapped = [(s, int(steps[s, p]), p) for s, p in np.argwhere(steps >= 0).tolist()]
        sample, step, population = min(wrapped)
        return sample, step, list(self.chip.sizes)[population]


def _with_clipped(
    counts: Mapping[str, PopulationCounts], clipped: Mapping[str, int]
) -> dict[str, PopulationCounts]:
    return {name: replace(count, clipped_biases=clipped.get(name, 0)) for name, count in counts.items()}


def _in_order(wanted: Wanted, found: Mapping[tuple[str, str], NDArray[Any]]) -> Recorded:
    return {
        name: {variable: found[name, variable] for variable in variables}
        for name, variables in wanted.variables.items()
    }


@lru_cache(maxsize=4)
def line(program: Program) -> Line:
    """The line of a program, laid out once."""
    return Line(program)
