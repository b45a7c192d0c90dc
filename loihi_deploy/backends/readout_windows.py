"""What a readout says for several windows, from one run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.job import checked_job
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.engines.host.readout import means_of_last, window_steps
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program


def values_by_window(
    program: Program, samples: Samples, options: RunOptions, windows: Sequence[float]
) -> NDArray[np.float64]:
    """Values of the first readout, before its activation, had outputs been averaged over each of some windows.

    Parameters
    ----------
    program : Program
    samples : Samples
        All with as many frames.
    options : RunOptions
        But for its window.
    windows : sequence of float
        Last parts of the presentation, 0..1.

    Returns
    -------
    (n_windows, n, size) float64 array
    """
    job = checked_job(program, samples, options)
    shown, first_frame = job.asked.steps - options.flush, program.readout.first_frame
    widths = [window_steps(shown, window, job.asked.hold, first_frame) for window in windows]
    node = program.readout.readouts[0]
    values = np.zeros((len(widths), len(samples), node.size))
    for part, chunk in job.chunks():
        for row, width in enumerate(widths):
            values[row, part] = means_of_last(program.readout, chunk.trace, width)
    return values
