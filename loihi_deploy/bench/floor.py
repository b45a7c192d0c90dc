"""Where the time of a step goes, and what its arithmetic alone costs on this machine, measured in the same process.

Every part is timed by itself, on one thread, with the spikes of one sample. The floor is the arithmetic alone: as many
neurons updated, in the same types, and the same runs of weights added, with nothing to find and no host.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.line import line
from loihi_deploy.engines import aligned, delivery
from loihi_deploy.engines.chip import kernels as k
from loihi_deploy.engines.chip import loops
from loihi_deploy.engines.chip.compiled import Engine
from loihi_deploy.engines.delivery import BLOCK, block_marks, room_for_words
from loihi_deploy.engines.host.biases import biases
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Recorded

ROUNDS = 9
"""Times that each part is timed; the fastest counts."""


@dataclass(frozen=True)
class Floor:
    """Nanoseconds.

    Parameters
    ----------
    ns_per_neuron, ns_per_event : float
        Of the arithmetic alone: the update of a neuron, the addition of a weight.
    parts : dict of float
        Of a step of one sample, on one thread: 'neurons', 'events' and 'listing' of the chip, its 'other' work, and the
        'encoder' and 'readout' on the host.
    """

    ns_per_neuron: float
    ns_per_event: float
    parts: dict[str, float]


def measure_floor(program: Program, sample: Samples, recorded: Recorded, steps: int) -> Floor:
    """Time the parts of a step.

    Parameters
    ----------
    program : Program
    sample : Samples
        One static sample.
    recorded : dict
        The spikes of that sample, of all sources and populations.
    steps : int
        Of the presentation.
    """
    chip = line(program).chip
    neurons = _fastest(_updates(chip, steps)) / steps
    events, arithmetic, n_events = 0.0, 0.0, 0
    spikes = {name: variables["spikes"][0] for name, variables in recorded.items()}
    for deliver, add, n in _deliveries(chip, spikes):
        events += _fastest(deliver) / steps
        arithmetic += _fastest(add)
        n_events += n
    listing = _fastest(_listing(chip, spikes)) / steps
    encoder, whole_chip, readout = (ns / steps for ns in _stages(program, sample, steps))
    parts = {
        "neurons": neurons,
        "events": events,
        "listing": listing,
        "other": max(0.0, whole_chip - neurons - events - listing),
        "encoder": encoder,
        "readout": readout,
    }
    return Floor(neurons / program.n_compartments, arithmetic / max(n_events, 1), parts)


def _fastest(function: Callable[[], Any]) -> float:
    """Nanoseconds of a call."""
    function()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        function()
        found.append(time.perf_counter_ns() - start)
    return float(min(found))


def _updates(chip: Engine, steps: int) -> Callable[[], Any]:
    """All neurons, updated in every step."""
    n = chip.n_places
    settings = chip.network.populations[0]
    constants = [settings[c] for c in (k.SHIFT, k.THRESHOLD, k.V_MIN)]
    u, v, bias = aligned.zeros((3, n), np.int32)
    q, spiked = aligned.zeros(n, np.int16), aligned.zeros(n, np.uint8)
    update_all = loops.update_with(chip.program.arithmetic.decay_bits)
    return lambda: update_all(u, v, q, bias, spiked, settings[k.FACTOR_U], *constants, steps)


def _deliveries(
    chip: Engine, spikes: dict[str, NDArray[np.bool_]]
) -> list[tuple[Callable[[], Any], Callable[[], Any], int]]:
    """Of every projection, its spikes delivered, the same weights added in the same runs, and their number."""
    network = chip.network
    q, touched = aligned.zeros(chip.n_places, np.int16), block_marks(chip.n_places)
    nodes = [source.name for source in chip.program.sources] + list(chip.sizes)
    found: list[tuple[Callable[[], Any], Callable[[], Any], int]] = []
    for population in network.populations:
        first = int(population[k.FIRST])
        rows = range(
            population[k.FIRST_PROJECTION], population[k.FIRST_PROJECTION] + population[k.N_PROJECTIONS]
        )
        for row in rows:
            sent = np.nonzero(spikes[nodes[network.projections[row, k.PRE]]])[1].astype(np.int32)
            fields = network.table[row]
            runs = _runs(fields.astype(np.int64), network.geometry, sent, first)
            weights = network.geometry, network.weights
            deliver = partial(loops.deliver_all, fields, *weights, sent, q, first, touched)
            add = partial(loops.add_all, *runs, network.weights, q)
            found.append((deliver, add, int(runs[2].sum())))
    return found


def _runs(
    fields: NDArray[np.int64], geometry: NDArray[np.int32], spikes: NDArray[np.int32], first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where the runs of these spikes begin, among accumulators and weights, and how long each is."""
    d = delivery
    number, base = spikes.astype(np.int64), int(fields[d.WEIGHTS])
    if fields[d.KIND] == d.DENSE:
        n = int(fields[d.OUT_SIZE])
        return np.full(len(number), first), base + number * int(fields[d.ROWS]), np.full(len(number), n)
    indices = geometry[fields[d.GEOMETRY] :].astype(np.int64)
    if fields[d.KIND] == d.SPARSE:  # each weight by itself
        counts = indices[number + 1] - indices[number]
        places = np.repeat(indices[number], counts) + _within(counts)
        return first + indices[fields[d.ROWS] + places], base + places, np.ones_like(places)
    pixel, channel = np.divmod(number, fields[d.IN_CHANNELS])
    target, weight, n_y, n_x = indices[pixel[:, None] * d.PIXEL_FIELDS + np.arange(d.PIXEL_FIELDS)].T
    row = _within(n_y)
    target, weight, n_x, channel = (np.repeat(values, n_y) for values in (target, weight, n_x, channel))
    group_out, out_channels = int(fields[d.GROUP_OUT]), int(fields[d.OUT_CHANNELS])
    targets = first + target + row * fields[d.ROW_TARGETS]
    weights = base + channel * fields[d.CHANNEL_WEIGHTS] + weight + row * fields[d.ROW_WEIGHTS]
    if group_out == out_channels:
        return targets, weights, n_x * out_channels
    group_in = fields[d.IN_CHANNELS] * group_out // out_channels
    column = _within(n_x)
    targets += channel // group_in * group_out
    return (
        np.repeat(targets, n_x) + column * out_channels,
        np.repeat(weights, n_x) + column * group_out,
        np.full(len(column), group_out),
    )


def _within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... for each of the counts, one after the other."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts))


def _listing(chip: Engine, spikes: dict[str, NDArray[np.bool_]]) -> Callable[[], Any]:
    """The spikes of all populations, listed in every step."""
    steps = len(next(iter(spikes.values())))
    dense = np.zeros((steps, chip.n_places), np.uint8)
    for name in chip.sizes:
        dense[:, chip.part(name)] = spikes[name]
    words, out = room_for_words(chip.n_places), np.zeros(chip.n_places + BLOCK, np.int32)
    return lambda: loops.list_all(dense, words, out)


def _stages(program: Program, sample: Samples, steps: int) -> tuple[float, float, float]:
    """Nanoseconds that encoder, chip and readout take for the sample."""
    whole = line(program)
    encoder, chip = whole.encoder, whole.chip
    frames, hold = encoder.together(sample.arrays), steps // sample.n_frames
    lost = np.zeros(len(encoder.sizes), np.int64)
    drive, _ = biases(program, sample.arrays)
    recording = chip.recording({})
    nothing = np.zeros((1, steps, 0), bool), np.zeros((1, steps, 0), np.int32)
    watched = {name: chip.sizes[name] for name in whole.decoded}
    noise = chip.noise_values(np.random.RandomState(0) if chip.is_noisy else None, steps)
    trace = np.zeros((1, steps, whole.n_outputs))

    def encode() -> Any:
        return encoder.run(frames, 0, steps, hold, encoder.start(1), lost)

    emitted = encode()

    def step_chip() -> Any:
        counts = chip.empty_counts(1)
        recorded = recording, nothing, counts
        return chip.run(emitted, chip.start(1), 0, steps, noise, watched, *recorded, drive, hold)

    out = step_chip()
    decoders = [(Decoder(program, events.sizes), events) for events in (emitted, out)]

    def decode() -> None:
        for decoder, events in decoders:
            decoder.run(events, decoder.start(1), trace)

    return _fastest(encode), _fastest(step_chip), _fastest(decode)
