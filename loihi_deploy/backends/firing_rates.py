"""Firing rates of every neuron, measured."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.job import checked_job
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.threads import in_order, parts_of
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program


def firing_rates(
    program: Program,
    samples: Samples,
    steps: int,
    window: float,
    kept: Collection[str] = (),
) -> dict[str, NDArray[np.float32]]:
    """Mean firing rates over the last part of a presentation, on the fast engine.

    Spikes are counted while they are listed, step by step; nothing of the size of a presentation is kept.

    Parameters
    ----------
    program : Program
    samples : Samples
    steps : int
    window : float
        The last part of the presentation that counts, 0..1.
    kept : collection of str
        Populations whose spikes count again in every later step.

    Returns
    -------
    dict of (n, size) float32 arrays
        In Hz, for each population, encoders included.
    """
    job = checked_job(program, samples, RunOptions(steps, progress=False))
    length = window_steps(steps, window)

    def counted(part: slice) -> dict[str, NDArray[np.int64]]:
        inputs = samples.take(part).arrays
        return job.line.spike_counts(inputs, steps, steps - length, kept, part.start)

    parts = in_order(counted, parts_of(len(samples), job.chunk_size), job.threads)
    found = [counts for _, counts in parts]
    dt, divisor = np.float32(program.dt), np.float32(length)
    return {
        name: np.concatenate([counts[name] for counts in found]).astype(np.float32) / divisor / dt
        for name in program.nodes
    }
