"""One time step of every compartment on the chip, in compiled code.

Notation and order are those of nengo-loihi 1.1.0, ``emulator/interface.py``: spikes of the last step arrive and add
their rows of weights to q, the synaptic input of the step (21 bits and sign); u is the current (23 bits and sign), u2
the current with the bias, v the voltage. Spikes where v > threshold; v and the refractory counter are reset.

This is the second compiled chip beside `loihi_deploy.engines.chip.kernels`, and both are right. That one runs programs:
a setting holds for a whole population, weights are kernels of layers that never change, and samples run side by side.
This one runs what nengo-loihi's builder makes: settings for each compartment, axons that reach any rows of any block,
weights that learning rewrites between two steps. One for both would read a table of settings for every compartment in
the loop that others' samples wait for.
"""

from __future__ import annotations

import numpy as np

from loihi_deploy.engines.kept_code import compiled, inlined

Q_HALF = 1 << 21
U_HALF = 1 << 23


@inlined
def _deliver(source, links, axons, rows, row_targets, weights, q):  # type: ignore[no-untyped-def]
    """Add the weights of every synapse of one source (a compartment or an input) to q."""
    for link in range(links[source], links[source + 1]):
        row, base = axons[link, 0], axons[link, 1]
        start, n, first = rows[row, 0], rows[row, 1], rows[row, 2]
        values = weights[start : start + n]
        if first >= 0:  # targets lie side by side
            targets = q[base + first : base + first + n]
            for k in range(n):
                targets[k] += values[k]
        else:
            indices = row_targets[start : start + n]
            for k in range(n):
                q[base + indices[k]] += values[k]


@compiled
def run(  # type: ignore[no-untyped-def]
    event_starts,
    events,
    links,
    axons,
    rows,
    row_targets,
    weights,
    constants,
    noise,
    noise_at_u,
    q,
    state,
    spiked,
    spike_index,
    v_index,
    u_index,
    spike_out,
    v_out,
    u_out,
):
    """Advance by a step for each interval of `event_starts`; the arrays are those of the modules layout and chip.

    Returns
    -------
    (int, int, int)
        Times that q, u and u2 wrapped around.
    """
    n = q.size
    u, v, refractory = state[0], state[1], state[2]
    bias, vth, v_min, v_max = constants[0], constants[1], constants[2], constants[3]
    keep_u, keep_v, delay = constants[4], constants[5], constants[6]
    wrapped_q, wrapped_u, wrapped_u2 = 0, 0, 0
    for t in range(event_starts.size - 1):
        q[:] = 0
        for i in range(n):
            if spiked[i]:
                _deliver(i, links, axons, rows, row_targets, weights, q)
        for k in range(event_starts[t], event_starts[t + 1]):
            _deliver(events[k], links, axons, rows, row_targets, weights, q)

        noisy = t < noise.shape[0]
        for i in range(n):
            added = np.int64(noise[t, i]) if noisy else 0
            q0 = q[i] + (0 if noise_at_u[i] else added)
            q1 = ((q0 + Q_HALF) & (2 * Q_HALF - 1)) - Q_HALF
            wrapped_q += q1 != q0
            size = (abs(np.int64(u[i])) * keep_u[i]) >> 12
            u0 = (size if u[i] > 0 else -size) + q1
            u1 = ((u0 + U_HALF) & (2 * U_HALF - 1)) - U_HALF
            wrapped_u += u1 != u0
            u[i] = u1
            w0 = u1 + bias[i] + (added if noise_at_u[i] else 0)
            w1 = ((w0 + U_HALF) & (2 * U_HALF - 1)) - U_HALF
            wrapped_u2 += w1 != w0
            size = (abs(np.int64(v[i])) * keep_v[i]) >> 12
            v1 = min(max((size if v[i] > 0 else -size) + w1, v_min[i]), v_max[i])
            waiting = refractory[i]
            if waiting > 0:
                v1 = 0
            fires = v1 > vth[i]
            v[i] = 0 if fires else v1
            waiting = delay[i] if fires else waiting
            refractory[i] = max(waiting - 1, 0)
            spiked[i] = fires

        for k in range(spike_index.size):
            spike_out[t, k] = spiked[spike_index[k]]
        for k in range(v_index.size):
            v_out[t, k] = v[v_index[k]]
        for k in range(u_index.size):
            u_out[t, k] = u[u_index[k]]
    return wrapped_q, wrapped_u, wrapped_u2
