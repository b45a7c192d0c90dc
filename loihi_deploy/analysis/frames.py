"""How sequences are presented and read, and what a rate network makes of the frames that are read.

Static samples are sequences of one frame here: everything holds for them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.options import DeployOptions

FRAMES_AT_ONCE = 100
"""Frames that a rate network is evaluated on at a time."""


def presentation_steps(options: DeployOptions, samples: Samples) -> int:
    """Steps of a presentation of which nothing else is said: those deployed for, or 100 rounded up to whole frames."""
    if not samples.static and options.steps_per_frame is not None:
        return samples.n_frames * options.steps_per_frame
    if samples.n_frames == 1 and isinstance(options.steps, int):
        return options.steps
    return RunOptions().total_steps(samples.n_frames)


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


def reading_of(graph: Graph, options: DeployOptions) -> str:
    """How sequences are read: as the options say, else the source."""
    if options.readout != "auto" or not graph.readouts:
        return options.readout
    return graph.readouts[0].over_frames


def read_window(graph: Graph, options: DeployOptions, samples: Samples) -> float:
    """The last part of a presentation that outputs are averaged over, 0..1."""
    parts = {} if samples.static else {"mean": 1.0, "last": 1 / samples.n_frames}
    return parts.get(reading_of(graph, options), options.readout_window)


def reading_problems(source: Graph, options: DeployOptions, samples: Samples) -> Iterator[Problem]:
    """Why nobody knows what the source makes of these samples: there is nothing to compare with.

    Parameters
    ----------
    source : Graph
        The network as it was converted.
    options : DeployOptions
        It is deployed with.
    samples : Samples
    """
    if samples.n_frames == 1:
        return
    found = f"{samples.n_frames} frames"
    remedy = "Say how they are read: DeployOptions(readout='mean') is the mean over all frames, 'last' the last one, "
    remedy += (
        "'window' the readout window, which deployment.with_readout_window(1.0) says without deploying anew"
    )
    reading = reading_of(source, options)
    if reading == "each":
        yield Problem(
            "the source gives an answer for every frame, and runs give one for all", "x", found, None, remedy
        )
    elif reading in ("", "auto"):
        yield Problem("the source does not say how frames are read", "x", found, None, remedy)
    if options.readout == "auto" and reading in ("mean", "last", "each"):
        known = {0.0, options.synapse, *options.layer_synapses.values()}
        memory = max((p.tau for p in source.projections if p.tau not in known), default=0.0)
        if memory:
            yield Problem(
                "a synapse of the source keeps earlier frames, of which the rate network knows nothing",
                "x",
                f"{memory:g} s",
                remedy="Compare decisions of `run` with those of the source",
            )


def read_rates(graph: Graph, samples: Samples, window: float) -> dict[str, NDArray[np.float32]]:
    """Evaluate the rate network on every frame, and average over the frames that are read.

    Parameters
    ----------
    graph : Graph
        Without recurrent projections.
    samples : Samples
    window : float
        The last part of the presentation that is read; frames count by the part of them that lies in it.

    Returns
    -------
    dict of (n, size) arrays
        Means of the rates in Hz of each population, and of the values of each readout before its activation.

    Raises
    ------
    InputError
        If the network is recurrent.
    """
    n_frames = samples.n_frames
    ends = np.arange(1, n_frames + 1) / n_frames
    weights = np.clip((ends - (1 - window)) * n_frames, 0, 1)
    weights = (weights / weights.sum()).astype(np.float32)
    at_once = max(1, FRAMES_AT_ONCE // n_frames)
    parts: list[dict[str, NDArray[np.float32]]] = []
    for start in range(0, len(samples), at_once):
        part = samples.take(slice(start, start + at_once))
        frames = {name: values.astype(np.float32) for name, values in part.all_frames().items()}
        found = rate_activity(graph, frames)
        parts.append(
            {
                name: np.einsum("f,nfk->nk", weights, values.reshape(len(part), n_frames, -1))
                if n_frames > 1
                else values
                for name, values in found.items()
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def has_decisions(source: Graph, samples: Samples, options: DeployOptions) -> bool:
    """Whether `rate_decisions` gives any: not where the source is recurrent, in integers, or read as nobody knows."""
    unknown = not source.readouts or not source.populations or source.is_recurrent
    return not unknown and next(reading_problems(source, options, samples), None) is None


def rate_decisions(source: Graph, samples: Samples, options: DeployOptions) -> NDArray[np.int64]:
    """Classes (n,) that the source decides for, as a rate network over the frames that are read.

    Raises
    ------
    InputError
        If the samples are sequences, and nobody knows how the source reads them.
    """
    if problems := list(reading_problems(source, options, samples)):
        raise InputError("The source cannot be evaluated on these samples", problems)
    values = read_rates(source, samples, read_window(source, options, samples))
    return source.readouts[0].classes(values[source.readouts[0].name])
