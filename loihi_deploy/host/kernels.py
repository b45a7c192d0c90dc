"""Encoder and readout in compiled code; the arithmetic is that of `loihi_deploy.host.reference`, in float64."""

from __future__ import annotations

import math

import numpy as np

from loihi_deploy.kernels.delivery import compiled, deliver, list_spikes

IF, IF_DISCRETIZED, LIF, LIF_DISCRETIZED = 0, 1, 2, 3


@compiled
def step_if(drive, voltage, spiked):  # type: ignore[no-untyped-def]
    """Spiking rectified linear neurons, all of one population; `drive` is max(J, 0) dt. Returns spikes beyond one."""
    beyond = 0
    for k in range(voltage.size):
        v = voltage[k] + drive[k]
        n = np.floor(v)
        voltage[k] = v - n
        spiked[k] = n > 0
        beyond += np.int64(max(n - 1, 0.0))
    return beyond


@compiled
def step_if_discretized(drive, voltage, spiked):  # type: ignore[no-untyped-def]
    """Spiking rectified linear neurons that lose the overshoot; `drive` is J dt."""
    for k in range(voltage.size):
        v = voltage[k] + drive[k]
        fires = v > 1
        spiked[k] = fires
        voltage[k] = 0 if fires else max(v, 0)


@compiled
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


@compiled
def encode(  # type: ignore[no-untyped-def]
    populations, constants, table, geometry, weights, projections, factors, gain, bias, dt,
    inputs, first_step, steps, hold,
    voltage, refractory_time, filtered,
    counts, indices, lost,
):  # fmt: skip
    """Step the encoder of every sample of a batch; see `Encoder` for the arrays."""
    n_neurons = gain.size
    drive = np.zeros(n_neurons + filtered.shape[1])
    j = np.zeros(n_neurons)
    spiked = np.zeros(n_neurons, np.uint8)
    touched = np.zeros(drive.size // 256 + 2, np.uint8)
    for s in range(inputs.shape[0]):
        frame = -1
        n_out = 0
        for t in range(steps):
            new_frame = (first_step + t) // hold != frame
            if new_frame:
                frame = (first_step + t) // hold
                drive[:] = 0
                for r in range(table.shape[0]):
                    _, first_in, n_in, first_out, _ = projections[r]
                    for i in range(n_in):
                        x = inputs[s, frame, first_in + i]
                        if x != 0:
                            deliver(table[r], geometry, weights, i, x, drive, first_out, touched)
            if new_frame or filtered.shape[1] > 0:
                j[:] = drive[:n_neurons]
                for r in range(table.shape[0]):
                    p, _, _, first_out, n_out_filtered = projections[r]
                    if n_out_filtered > 0:
                        first = populations[p, 0]
                        for k in range(n_out_filtered):
                            y = filtered[s, first_out - n_neurons + k]
                            j[first + k] += y
                            x = drive[first_out + k]
                            filtered[s, first_out - n_neurons + k] = factors[r] * y + (1 - factors[r]) * x
                for k in range(n_neurons):
                    j[k] = j[k] * gain[k] + bias[k]
                for p in range(populations.shape[0]):
                    first, size, kind = populations[p]
                    if kind == IF:
                        for k in range(first, first + size):
                            j[k] = max(j[k], 0.0) * dt
                    elif kind == IF_DISCRETIZED:
                        for k in range(first, first + size):
                            j[k] = j[k] * dt
            for p in range(populations.shape[0]):
                first, size, kind = populations[p]
                part = slice(first, first + size)
                if kind == IF:
                    lost[p] += step_if(j[part], voltage[s, part], spiked[part])
                elif kind == IF_DISCRETIZED:
                    step_if_discretized(j[part], voltage[s, part], spiked[part])
                else:
                    tau_rc, tau_ref, full_step = constants[p]
                    step_lif(
                        j[part], voltage[s, part], refractory_time[s, part], spiked[part],
                        dt, tau_rc, tau_ref, full_step, kind == LIF,
                    )  # fmt: skip
                before = n_out
                n_out = list_spikes(spiked, first, (size + 7) // 8 * 8, indices[s], n_out)
                counts[s, t, p] = n_out - before


@compiled
def decode(  # type: ignore[no-untyped-def]
    table, geometry, weights, projections, factors, dt, counts, indices, filtered, delayed, traces
):  # fmt: skip
    """Filter and decode the spikes of every sample of a batch, adding to `traces`; see `Decoder` for the arrays."""
    x = np.zeros(filtered.shape[1])
    touched = np.zeros(x.size // 256 + 2, np.uint8)
    for s in range(counts.shape[0]):
        position = 0
        for t in range(counts.shape[1]):
            x[:] = 0
            for column in range(counts.shape[2]):
                n = counts[s, t, column]
                for r in range(table.shape[0]):
                    if projections[r, 0] == column:
                        for k in range(position, position + n):
                            deliver(
                                table[r], geometry, weights, indices[s, k], 1.0, x, projections[r, 1], touched
                            )
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
                    traces[s, t, first_trace + k] += y
