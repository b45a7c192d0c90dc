"""The loops of the engine one by one, over numbers that are there already: what a run cannot take less than.

`update_with` updates neurons and `add_all` adds runs of weights, which is all the arithmetic that there is.
`deliver_all` and `list_all` do what the engine does besides: find the runs of each spike, and find the spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from loihi_deploy.engines.chip.kernels import update_currents, update_voltages
from loihi_deploy.engines.delivery import BLOCK, add_run, deliver_spikes, list_spikes
from loihi_deploy.engines.kept_code import compiled

int32, uint64 = np.int32, np.uint64


@lru_cache
def update_with(decay_bits: int) -> Callable[..., None]:
    """The loop that updates every neuron in every step, for a decay of so many bits: the engine's is made for them."""

    def update_all(u, v, q, bias, spiked, factor, shift, threshold, v_min, steps):  # type: ignore[no-untyped-def]
        """Update every neuron in every step, as where currents flow."""
        for _ in range(steps):
            for b in range(u.size // BLOCK):
                at = uint64(b * BLOCK)
                update_currents(u, q, at, int32(factor), int32(decay_bits), int32(shift & 31))
                update_voltages(u, v, bias, spiked, at, int32(threshold), int32(v_min), True)

    kernel: Callable[..., None] = compiled(update_all)
    return kernel


@compiled
def add_all(targets, starts, lengths, weights, q):  # type: ignore[no-untyped-def]
    """Add runs of weights."""
    for r in range(uint64(lengths.size)):
        add_run(q, uint64(targets[r]), weights, uint64(starts[r]), uint64(lengths[r]), 1)


@compiled
def deliver_all(fields, geometry, weights, spikes, q, first, touched):  # type: ignore[no-untyped-def]
    """Deliver spikes through one projection; returns the number of weights added."""
    return deliver_spikes(fields, geometry, weights, spikes, 0, spikes.size, q, first, touched)


@compiled
def list_all(spiked, words, out):  # type: ignore[no-untyped-def]
    """List the spikes of each step of (steps, n) bytes; returns their number."""
    n_spikes = 0
    for t in range(spiked.shape[0]):
        n_spikes += list_spikes(spiked[t], 0, spiked.shape[1], words, out, 0)
    return n_spikes
