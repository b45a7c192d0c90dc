"""Encoder and readout in compiled code; the arithmetic is that of `loihi_deploy.engines.host.plain`, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from loihi_deploy.engines.delivery import DENSE, KIND, ROWS, WEIGHTS, add_rows, deliver, list_spikes
from loihi_deploy.engines.host.neurons import MOST_SPIKES, ONE, UNIFORM_BITS, WEYL, WEYL_MODULUS
from loihi_deploy.engines.kept_code import compiled, inlined

IF, IF_DISCRETIZED, LIF, LIF_DISCRETIZED, POISSON, TTFS, IF_ADDING = 0, 1, 2, 3, 4, 5, 6
RECTIFIED = IF, IF_DISCRETIZED, IF_ADDING
UNIFORM_SHIFT = np.uint64(64 - UNIFORM_BITS)
WORTH_GATHERING = 8
"""Steps that a frame is shown from which on it pays to look only at the neurons that it can move."""
UNIFORM_UNIT = 2.0**-UNIFORM_BITS
MIX = (
    np.uint64(30),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(27),
    np.uint64(0x94D049BB133111EB),
    np.uint64(31),
)


@inlined
def _empty(array):  # type: ignore[no-untyped-def]
    for k in range(array.size):
        array[k] = 0


@inlined
def step_if(drive, voltage, spiked):  # type: ignore[no-untyped-def]
    """Spiking rectified linear neurons; `drive` is max(J, 0) dt. `spiked` counts to 255. Returns spikes beyond one."""
    beyond = 0
    for k in range(voltage.size):
        v = voltage[k] + drive[k]
        n = max(np.floor(v), 0.0)
        voltage[k] = v - n
        spiked[k] = np.uint8(min(n, 255.0))
        beyond += int(max(min(n, MOST_SPIKES) - 1, 0.0))
    return beyond


@inlined
def step_if_adding(drive, threshold, voltage, spiked):  # type: ignore[no-untyped-def]
    """Spiking rectified linear neurons with their gain in the threshold. Returns spikes beyond one."""
    any_beyond = False
    for k in range(voltage.size):
        v = voltage[k] + drive[k]
        fires = v >= threshold
        v -= threshold if fires else 0.0
        voltage[k] = v
        spiked[k] = fires
        any_beyond |= v >= threshold
    beyond = 0
    if any_beyond:
        for k in range(voltage.size):
            if voltage[k] >= threshold:
                n = np.floor(voltage[k] / threshold)
                voltage[k] = max(voltage[k] - n * threshold, 0.0)
                beyond += int(min(n + 1, MOST_SPIKES) - 1)
    return beyond


@inlined
def step_if_discretized(drive, voltage, spiked):  # type: ignore[no-untyped-def]
    """Spiking rectified linear neurons that lose the overshoot; `drive` is J dt."""
    for k in range(voltage.size):
        v = voltage[k] + drive[k]
        fires = v > 1
        spiked[k] = fires
        voltage[k] = v if v > 0 and not fires else 0


@inlined
def step_lif(j, voltage, refractory_time, spiked, dt, tau_rc, tau_ref, full_step, substeps):  # type: ignore[no-untyped-def]
    """Leaky neurons; `full_step` is expm1(-dt / tau_rc), `substeps` asks for spike times within the step."""
    for k in range(voltage.size):
        left = refractory_time[k] - dt
        delta_t = min(max(dt - left, 0.0), dt)
        v = voltage[k] - (j[k] - voltage[k]) * (full_step if delta_t == dt else math.expm1(-delta_t / tau_rc))
        fires = v > 1
        spiked[k] = fires
        if fires:
            spike_time = dt + tau_rc * math.log1p(-(v - 1) / (j[k] - 1)) if substeps else dt
            left = tau_ref + spike_time
            v = 0.0
        refractory_time[k] = left
        voltage[k] = max(v, 0.0)


@inlined
def step_poisson(drive, voltage, spiked):  # type: ignore[no-untyped-def]
    """Neurons that spike at random; `drive` is max(J, 0) dt. Returns spikes beyond one."""
    beyond = 0
    for k in range(voltage.size):
        state = voltage[k] + WEYL
        state -= WEYL_MODULUS if state >= WEYL_MODULUS else 0.0
        voltage[k] = state
        x = np.uint64(state)
        x = (x ^ (x >> MIX[0])) * MIX[1]
        x = (x ^ (x >> MIX[2])) * MIX[3]
        x = x ^ (x >> MIX[4])
        spiked[k] = (x >> UNIFORM_SHIFT) * UNIFORM_UNIT < drive[k]
        beyond += int(min(np.ceil(drive[k]), MOST_SPIKES) - 1) if drive[k] > ONE else 0
    return beyond


@inlined
def step_ttfs(drive, voltage, refractory_time, spiked, presentation):  # type: ignore[no-untyped-def]
    """Neurons with one spike in a presentation; `drive` is J dt. Returns spikes beyond one."""
    beyond = 0
    for k in range(voltage.size):
        value = drive[k]
        fires = refractory_time[k] == 0 and value > 0 and voltage[k] >= np.rint((1 - value) * presentation)
        voltage[k] += 1
        spiked[k] = fires
        if fires:
            refractory_time[k] = 1
            beyond += int(min(np.ceil(value), MOST_SPIKES) - 1) if value > ONE else 0
    return beyond


@inlined
def make_drive(kind, gain, bias, dt, total):  # type: ignore[no-untyped-def]
    """Turn summed projections, in place, into what `step` takes: J, for rectified neurons J dt, or a sum alone."""
    if kind == IF_ADDING:
        for k in range(total.size):
            total[k] = max(total[k] + bias[k], 0.0)
        return
    for k in range(total.size):
        total[k] = total[k] * gain[k] + bias[k]
    if kind in (IF, POISSON):
        for k in range(total.size):
            total[k] = max(total[k], 0.0) * dt
    elif kind in (IF_DISCRETIZED, TTFS):
        for k in range(total.size):
            total[k] = total[k] * dt


@inlined
def step(kind, constants, dt, drive, voltage, refractory_time, spiked, presentation):  # type: ignore[no-untyped-def]
    """Step one population; returns spikes beyond one."""
    if kind == IF:
        return step_if(drive, voltage, spiked)
    if kind == IF_ADDING:
        return step_if_adding(drive, constants[0], voltage, spiked)
    if kind == POISSON:
        return step_poisson(drive, voltage, spiked)
    if kind == TTFS:
        return step_ttfs(drive, voltage, refractory_time, spiked, presentation)
    if kind == IF_DISCRETIZED:
        step_if_discretized(drive, voltage, spiked)
    else:
        tau_rc, tau_ref, full_step = constants[0], constants[1], constants[2]
        step_lif(drive, voltage, refractory_time, spiked, dt, tau_rc, tau_ref, full_step, kind == LIF)
    return 0


@inlined
def _gather(kind, threshold, j, voltage, which, kept):  # type: ignore[no-untyped-def]
    """Put together, in place, what rectified neurons that a constant drive can move need; returns how many there are.

    The others neither spike nor change: those without drive between zero and threshold, or, where the overshoot is
    lost, those at zero that are not driven upward. `which` tells the neurons, `kept` has their voltages.
    """
    n = np.uint64(0)
    for k in range(np.uint64(j.size)):
        drive, v = j[k], voltage[k]
        which[n] = k
        kept[n] = v
        j[n] = drive
        rests = (drive <= 0 and v == 0) if kind == IF_DISCRETIZED else (drive == 0 and 0 <= v < threshold)
        n += np.uint64(not rests)
    return np.int64(n)


@inlined
def _scatter(voltage, which, kept, n):  # type: ignore[no-untyped-def]
    """Put voltages back where `_gather` took them from."""
    for k in range(n):
        voltage[which[k]] = kept[k]


@lru_cache
def encode_with(kind_of_all: int | None) -> Callable[..., None]:
    """The kernel for encoders whose neurons are all of this kind, or of any; see `Encoder` for its arrays.

    Where all are of one of the usual kinds, what steps the others is not compiled.
    """
    all_if, all_discretized, all_adding = (kind_of_all == kind for kind in RECTIFIED)

    def encode(  # type: ignore[no-untyped-def]
        populations, constants, table, geometry, weights, projections, factors, gain, bias, dt,
        inputs, first_step, steps, hold,
        voltage, refractory_time, filtered,
        counts, indices, lost, sent,
        drive, j, spiked, touched, words, which, kept, n_moving,
    ):  # fmt: skip
        """Step the encoder of every sample of a batch."""
        n_neurons = gain.size
        gathers = filtered.shape[1] == 0 and hold >= WORTH_GATHERING
        for s in range(inputs.shape[0]):
            frame = -1
            n_out = np.int64(0)
            for t in range(steps):
                new_frame = (first_step + t) // hold != frame
                if new_frame:
                    frame = (first_step + t) // hold
                    _empty(drive)
                    for r in range(table.shape[0]):
                        _, first_in, n_in, first_out, _ = projections[r]
                        for i in range(n_in):
                            x = inputs[s, frame, first_in + i]
                            if x != 0:
                                deliver(table[r], geometry, weights, i, x, drive, first_out, touched)
                if new_frame or filtered.shape[1] > 0:
                    for k in range(n_neurons):
                        j[k] = drive[k]
                    for r in range(table.shape[0]):
                        p, _, _, first_out, n_out_filtered = projections[r]
                        if n_out_filtered > 0:
                            first = populations[p, 0]
                            for k in range(n_out_filtered):
                                y = filtered[s, first_out - n_neurons + k]
                                j[first + k] += y
                                x = drive[first_out + k]
                                filtered[s, first_out - n_neurons + k] = factors[r] * y + (1 - factors[r]) * x
                    for p in range(populations.shape[0]):
                        first, size, kind = populations[p]
                        part = slice(first, first + size)
                        make_drive(kind, gain[part], bias[part], dt, j[part])
                        if gathers and kind in RECTIFIED:
                            if t > 0:
                                _scatter(voltage[s, part], which[part], kept[part], n_moving[p])
                            threshold = constants[p, 0] if kind == IF_ADDING else 1.0
                            n_moving[p] = _gather(
                                kind, threshold, j[part], voltage[s, part], which[part], kept[part]
                            )
                            _empty(spiked[part])
                for p in range(populations.shape[0]):
                    first, size, kind = populations[p]
                    gathered = gathers and kind in RECTIFIED
                    n_stepped = n_moving[p] if gathered else size
                    part = slice(first, first + n_stepped)
                    v = kept[part] if gathered else voltage[s, part]
                    if all_if:
                        lost[p] += step_if(j[part], v, spiked[part])
                    elif all_discretized:
                        step_if_discretized(j[part], v, spiked[part])
                    elif all_adding:
                        lost[p] += step_if_adding(j[part], constants[p, 0], v, spiked[part])
                    else:
                        lost[p] += step(
                            kind, constants[p], dt, j[part], v, refractory_time[s, part], spiked[part], hold
                        )
                    n = list_spikes(spiked, first, (n_stepped + 7) // 8 * 8, words, indices[s], n_out)
                    if gathered:
                        for k in range(n_out, n_out + n):
                            indices[s, k] = which[first + indices[s, k]]
                    counts[s, t, p] = n
                    sent[p] += n
                    n_out += n
            if gathers:
                for p in range(populations.shape[0]):
                    first, size, kind = populations[p]
                    if kind in RECTIFIED:
                        part = slice(first, first + size)
                        _scatter(voltage[s, part], which[part], kept[part], n_moving[p])

    kernel: Callable[..., None] = compiled(encode)
    return kernel


@compiled
def decode(  # type: ignore[no-untyped-def]
    table, geometry, weights, projections, factors, dt,
    counts, indices, filtered, delayed, traces, first_step,
    x, touched,
):  # fmt: skip
    """Decode and filter the spikes of every sample of a batch, adding to `traces`; see `Decoder` for the arrays."""
    for s in range(counts.shape[0]):
        position = 0
        for t in range(counts.shape[1]):
            _empty(x)
            for column in range(counts.shape[2]):
                n = counts[s, t, column]
                for r in range(table.shape[0]):
                    if projections[r, 0] == column:
                        if table[r, KIND] == DENSE:
                            base, row = table[r, WEIGHTS], table[r, ROWS]
                            first, end = np.uint64(position), np.uint64(position + n)
                            add_rows(
                                x, np.uint64(projections[r, 1]), weights, base, row, indices[s], first, end
                            )
                            continue
                        for k in range(position, position + n):
                            number = np.int64(indices[s, k])
                            deliver(table[r], geometry, weights, number, 1.0, x, projections[r, 1], touched)
                position += n
            for r in range(table.shape[0]):
                _, first, size, first_trace, delay, first_delayed = projections[r]
                for k in range(size):
                    now = x[first + k] / dt
                    if delay > 0:  # a line of `delay` steps, oldest first
                        oldest = delayed[s, first_delayed + k]
                        for d in range(delay - 1):
                            place = first_delayed + d * size + k
                            delayed[s, place] = delayed[s, place + size]
                        delayed[s, first_delayed + (delay - 1) * size + k] = now
                        now = oldest
                    y = factors[r] * filtered[s, first + k] + (1 - factors[r]) * now
                    filtered[s, first + k] = y
                    traces[s, first_step + t, first_trace + k] += y


@inlined
def _filter(x, y, factor, total):  # type: ignore[no-untyped-def]
    """Add the filtered values to `total`, and empty the accumulator."""
    for k in range(total.size):
        y[k] = factor * y[k] + (1 - factor) * x[k]
        x[k] = 0
        total[k] += y[k]


@compiled
def simulate_network(  # type: ignore[no-untyped-def]
    populations, constants, groups, factors, table, geometry, weights, pres,
    gain, bias, initial_voltage, dt, frames, hold, traces,
    x, y, total, touched, voltage, refractory_time, spiked, lists, n_spikes, words,
):  # fmt: skip
    """Run a whole network for every sample of a batch, from rest; see `_Network` for the arrays."""
    for s in range(frames.shape[0]):
        for k in range(voltage.size):
            voltage[k] = initial_voltage[k]
        _empty(refractory_time)
        _empty(x)
        _empty(y)
        kept = n_spikes.shape[0]  # steps whose spikes are kept
        for step_kept in range(kept):
            for p in range(n_spikes.shape[1]):
                n_spikes[step_kept, p] = 0
        for t in range(traces.shape[1]):
            now = t % kept
            first_output = 0
            for p in range(populations.shape[0]):
                first, size, kind, first_group, end_group = populations[p]
                newest = t - 1 if kind >= 0 else t
                sums = total[first : first + size]
                _empty(sums)
                for g in range(first_group, end_group):
                    place, _, from_input, first_projection, end_projection = groups[g]
                    xs, ys = x[place : place + size], y[place : place + size]
                    if from_input and t % hold == 0:
                        _empty(xs)
                        for r in range(first_projection, end_projection):
                            for i in range(pres[r, 1]):
                                value = frames[s, t // hold, pres[r, 0] + i]
                                if value != 0:
                                    deliver(table[r], geometry, weights, i, value, x, place, touched)
                    if from_input and factors[g] == 0:
                        for k in range(size):
                            sums[k] += xs[k]
                    elif from_input:
                        for k in range(size):
                            sums[k] += ys[k]
                            ys[k] = factors[g] * ys[k] + (1 - factors[g]) * xs[k]
                    else:
                        for r in range(first_projection, end_projection):
                            pre, seen = pres[r, 0], (newest + kept - pres[r, 2]) % kept
                            for i in range(n_spikes[seen, pre]):
                                number = np.int64(lists[seen, pre, i])
                                value = spiked[seen, populations[pre, 0] + number] * constants[pre, 3]
                                deliver(table[r], geometry, weights, number, value, x, place, touched)
                        _filter(xs, ys, factors[g], sums)
                if kind >= 0:
                    part = slice(first, first + size)
                    make_drive(kind, gain[part], bias[part], dt, sums)
                    state = (voltage[part], refractory_time[part], spiked[now, part])
                    step(kind, constants[p], dt, sums, *state, hold)
                    n_spikes[now, p] = list_spikes(
                        spiked[now], first, (size + 7) // 8 * 8, words, lists[now, p], np.int64(0)
                    )
                else:
                    for k in range(size):
                        traces[s, t, first_output + k] = sums[k]
                    first_output += size
