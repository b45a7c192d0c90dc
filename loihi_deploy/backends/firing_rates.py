"""Firing rates of every neuron, measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.job import checked_job
from loihi_deploy.backends.lengths import joined_rates
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.threads import in_order
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.samples import held


def firing_rates(
    program: Program,
    samples: Samples,
    steps: int,
    window: float | None,
    kept: Collection[str] = (),
    delays: Mapping[str, int] | None = None,
    first_sample: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Mean firing rates over the last part of a presentation, on the fast engine.

    A population hears of a frame some steps after it is shown: where it is said how many, its window is so much later,
    and the last frame is held for as long as the latest needs.

    Spikes are counted while they are listed, step by step; nothing of the size of a presentation is kept.

    Parameters
    ----------
    program : Program
    samples : Samples
    steps : int
        Of all frames.
    window : float or None
        The last part of the presentation that counts, 0..1; None is the last frame.
    kept : collection of str
        Populations whose spikes count again in every later step.
    delays : dict of int, optional
        Steps by population; none if not given.
    first_sample : int
        Number of the first sample, where the samples are a part of more: random spikes depend on it.

    Returns
    -------
    dict of (n, size) float32 arrays
        In Hz, for each population, encoders included.
    """
    if samples.lengths is not None:
        hold = steps // samples.n_frames
        return joined_rates(
            [
                (
                    which,
                    firing_rates(program, part, hold * part.n_frames, window, kept, delays, first_sample),
                )
                for which, part in samples.of_equal_length()
            ]
        )
    delays = {} if delays is None else delays
    flush = max(delays.values(), default=0)
    job = checked_job(
        program, samples, RunOptions(steps, flush=flush, progress=False, first_sample=first_sample)
    )
    length = window_steps(steps, window, job.asked.hold, program.readout.first_frame)
    ends = {name: steps + delays.get(name, 0) for name in program.nodes}
    windows = {name: (end - length, end) for name, end in ends.items()}

    def counted(part: slice) -> dict[str, NDArray[np.int64]]:
        inputs, hold = held(samples.take(part).arrays, job.asked.hold, flush)
        return job.line.spike_counts(inputs, job.asked.steps, hold, windows, kept, job.numbers(part))

    parts = in_order(counted, job.asked.parts, job.asked.threads)
    found = [counts for _, counts in parts]
    dt, divisor = np.float32(program.dt), np.float32(length)
    return {
        name: np.concatenate([counts[name] for counts in found]).astype(np.float32) / divisor / dt
        for name in program.nodes
    }
