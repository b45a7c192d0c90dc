"""How sequences are presented and read: steps, and the rate network over the frames that are read."""

from __future__ import annotations

from dataclasses import replace

from loihi_deploy.ir import Samples
from loihi_deploy.options import DeployOptions


def correction_steps(options: DeployOptions, samples: Samples) -> int:
    """Steps at which the integer network is measured on calibration data; 0 where it is not to be corrected.

    ``options.bias_correction_steps`` for static samples. For sequences ``options.steps_per_frame`` for each frame, or
    as many for each as make `bias_correction_steps` at least.
    """
    steps, n_frames = options.bias_correction_steps, samples.n_frames
    if steps and not samples.static and options.steps_per_frame is not None:
        return n_frames * options.steps_per_frame
    return n_frames * -(-steps // n_frames)


def measuring_steps(options: DeployOptions, samples: Samples) -> int:
    """`correction_steps`, or those of the default options where nothing is to be corrected."""
    steps = options.bias_correction_steps or DeployOptions.bias_correction_steps
    return correction_steps(replace(options, bias_correction_steps=steps), samples)
