"""Firing rates of every neuron, measured."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.request import RunOptions
from loihi_deploy.backends.running import run
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.threads import parts_of
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program

RECORDING_BYTES = 1 << 27
"""Room for the spikes of the samples that are run at a time."""


def firing_rates(
    program: Program,
    samples: Samples,
    steps: int,
    window: float,
    kept: Collection[str] = (),
) -> dict[str, NDArray[np.float32]]:
    """Mean firing rates over the last part of a presentation, on the fast engine.

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
    names = list(program.nodes)
    size = sum(node.size for node in program.nodes.values())
    at_once = max(1, RECORDING_BYTES // (size * steps))
    last = steps - window_steps(steps, window)
    options = RunOptions(steps, record=names, progress=False)
    parts = []
    for part in parts_of(len(samples), at_once):
        recorded = run(program, samples.take(part), options).recorded
        spikes = {name: recorded[name]["spikes"] for name in names}
        spikes |= {name: np.logical_or.accumulate(spikes[name], axis=1) for name in kept}
        parts.append({name: spikes[name][:, last:].mean(axis=1, dtype=np.float32) for name in names})
    dt = np.float32(program.dt)
    return {name: np.concatenate([part[name] for part in parts]) / dt for name in names}
