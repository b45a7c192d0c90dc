"""How sequences are presented and read, and what a rate network makes of the frames that are read.

Static samples are sequences of one frame here: everything holds for them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.latency import LONGEST_TRANSPORT, answer_delay
from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.engines.rate_sequence import SAMPLES_AT_ONCE, rates_over_time
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions

FRAMES_AT_ONCE = 100
"""Frames that a rate network is evaluated on at a time."""


@dataclass(frozen=True)
class Reading:
    """Which steps of a presentation outputs are averaged over.

    Parameters
    ----------
    window : float or None
        The last part of the frames, 0..1; None is the last frame.
    flush : int
        Steps that the window is later than the frames, which the last one is held longer: the network's latency.
    """

    window: float | None
    flush: int = 0

    def of(self, options: RunOptions) -> RunOptions:
        """The options of a run that is read so."""
        return replace(options, readout_window=self.window, flush=self.flush)


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


def read_window(graph: Graph, options: DeployOptions, samples: Samples) -> float | None:
    """The last part of a presentation that outputs are averaged over, 0..1; None is the last frame."""
    parts = {} if samples.static else {"mean": 1.0, "last": None, "each": None}
    return parts.get(reading_of(graph, options), options.readout_window)


def reading(program: Program, options: DeployOptions, samples: Samples) -> Reading:
    """How samples are read: the window, shifted by the latency of the program where they are sequences.

    Parameters
    ----------
    program : Program
    options : DeployOptions
        With `flush`, where it is not to be the latency.
    samples : Samples
    """
    window = read_window(program.readout, options, samples)
    if not are_sequences(program.readout, options, samples):
        return Reading(window)
    return Reading(window, answer_delay(program) if options.flush is None else options.flush)


def are_sequences(graph: Graph, options: DeployOptions, samples: Samples) -> bool:
    """Whether samples have frames: several, or one where it is known how frames are read."""
    if samples.n_frames > 1:
        return True
    return not samples.static and reading_of(graph, options) in ("mean", "last", "each")


def gives_every_frame(graph: Graph, options: DeployOptions, samples: Samples) -> bool:
    """Whether the source gives an answer for every frame of these samples."""
    return not samples.static and reading_of(graph, options) == "each"


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
    if samples.n_frames > 1 and reading_of(source, options) in ("", "auto"):
        yield Problem(
            "the source does not say how frames are read",
            "x",
            f"{samples.n_frames} frames",
            None,
            "Say how they are read: DeployOptions(readout='mean') is the mean over all frames, 'last' the last one, "
            "'each' every one by itself, 'window' the readout window, which deployment.with_readout_window(1.0) says "
            "without deploying anew",
        )


def synapse_problems(source: Graph, options: DeployOptions) -> Iterator[Problem]:
    """Synapses that remember for as many frames as the source says only where a frame is a step.

    Parameters
    ----------
    source : Graph
        The network as it was converted: of a source that counts in frames, as Keras does.
    options : DeployOptions
        It is deployed with.
    """
    counts_frames = bool(source.readouts) and source.readouts[0].over_frames != ""
    filtered = sorted({p.post for p in _own(source, options).projections if p.tau > 0})
    if counts_frames and filtered and options.steps_per_frame != 1:
        steps = options.steps_per_frame
        yield Problem(
            "synapses of the source count a frame as a step, and on chip they forget by steps",
            ", ".join(filtered),
            "frames of several steps" if steps is None else f"{steps} steps for each frame",
            1,
            "Show frames for a step each: DeployOptions(steps_per_frame=1)",
        )


def has_memory(source: Graph, options: DeployOptions) -> bool:
    """Whether what a network makes of a frame depends on the frames before it.

    By recurrent projections, by delays, or by synapses of its own that are longer than any that only transport spikes.
    """
    return (
        source.is_recurrent
        or source.holds_frames
        or any(p.tau > LONGEST_TRANSPORT or p.delays is not None for p in _own(source, options).projections)
    )


def _own(source: Graph, options: DeployOptions) -> Graph:
    """The network without the synapses that deploying it gave to it."""
    if source.readouts and not source.readouts[0].over_frames:
        given: set[float] = set()
    else:
        given = {options.synapse}
    given |= set(options.layer_synapses.values())
    return replace(
        source, projections=tuple(replace(p, tau=0.0) if p.tau in given else p for p in source.projections)
    )


def frame_weights(samples: Samples, window: float | None, first_frame: int = 0) -> NDArray[np.float64]:
    """What each frame counts in a mean over the frames that are read, (n, n_frames): each row adds up to 1.

    Frames count by the part of them that lies in the last part `window` of a sequence; None is the last frame. Those in
    front of `first_frame`, the first one that there is an answer to, do not count.
    """
    n_frames = samples.n_frames
    lengths = np.full(len(samples), n_frames) if samples.lengths is None else samples.lengths
    read = np.ones(len(lengths)) if window is None else np.minimum(window * lengths, lengths - first_frame)
    ends = np.arange(1, n_frames + 1)
    weights = np.clip(ends - (lengths - read)[:, None], 0, 1) * (ends <= lengths[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def rates_by_frame(
    graph: Graph, samples: Samples, options: DeployOptions | None, hold: int
) -> Iterator[tuple[slice, dict[str, NDArray[np.float32]]]]:
    """Evaluate the rate network on every frame, some samples at a time.

    Parameters
    ----------
    graph : Graph
    samples : Samples
    options : DeployOptions or None
        Where the network has memory, it is evaluated over time, without the synapses that these options gave it.
        Without options every frame is evaluated by itself.
    hold : int
        Steps of a frame, for networks with memory whose synapses are counted in seconds; those of Keras take a frame
        for a step.

    Yields
    ------
    part : slice
        Samples.
    rates : dict of (n, n_frames, size) arrays
        Rates in Hz of each population, and values of each readout before its activation.
    """
    n_frames = samples.n_frames
    several = n_frames > 1 or graph.holds_frames
    over_time = options is not None and several and has_memory(graph, options)
    at_once = SAMPLES_AT_ONCE if over_time else max(1, FRAMES_AT_ONCE // n_frames)
    for start in range(0, len(samples), at_once):
        part = slice(start, min(start + at_once, len(samples)))
        frames = {name: values.astype(np.float32) for name, values in samples.take(part).arrays.items()}
        if over_time and options is not None:
            in_seconds = not (graph.readouts and graph.readouts[0].over_frames)
            own = _own(graph, options)
            held = in_seconds or any(p.delays is not None and not p.frames_back for p in own.projections)
            yield part, rates_over_time(own, frames, hold if held else 1, delayed=in_seconds)
            continue
        m = part.stop - part.start
        found = rate_activity(graph, {name: x.reshape(-1, x.shape[2]) for name, x in frames.items()})
        yield part, {name: values.reshape(m, n_frames, -1) for name, values in found.items()}


def read_rates(
    graph: Graph,
    samples: Samples,
    window: float | None,
    options: DeployOptions | None = None,
    hold: int = 1,
) -> dict[str, NDArray[np.float32]]:
    """Evaluate the rate network on every frame, and average over the frames that are read.

    Parameters
    ----------
    graph, samples, options, hold
        As for `rates_by_frame`.
    window : float or None
        As for `frame_weights`.

    Returns
    -------
    dict of (n, size) arrays
        Means of the rates in Hz of each population, and of the values of each readout before its activation.
    """
    weights = frame_weights(samples, window, graph.first_frame).astype(np.float32)
    parts = [
        {
            name: np.einsum("nf,nfk->nk", weights[part], values) if samples.n_frames > 1 else values[:, 0]
            for name, values in found.items()
        }
        for part, found in rates_by_frame(graph, samples, options, hold)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def has_decisions(source: Graph, samples: Samples, options: DeployOptions) -> bool:
    """Whether `rate_decisions` gives any.

    Not where the source is in integers, or read as nobody knows, or recurrent and samples stand still.
    """
    unknown = not source.readouts or not source.populations or (source.is_recurrent and samples.n_frames == 1)
    return not unknown and next(reading_problems(source, options, samples), None) is None


def rate_decisions(
    source: Graph, samples: Samples, options: DeployOptions, hold: int = 1, *, every_frame: bool = False
) -> NDArray[np.int64]:
    """Classes that the source decides for, as a rate network over the frames that are read.

    Parameters
    ----------
    source : Graph
        The network as it was converted.
    samples : Samples
    options : DeployOptions
        It is deployed with: they say how sequences are read.
    hold : int
        Steps of a frame; see `rates_by_frame`.
    every_frame : bool
        Whether classes are to be given for each frame by itself that there is an answer to, and not for samples, (n,):
        (n, n_frames - first_frame).

    Raises
    ------
    InputError
        If nobody knows what the source makes of such samples; see `reading_problems`.
    """
    readout = source.readouts[0]
    if not every_frame:
        return readout.classes(rate_values(source, samples, options, hold))
    _check_reading(source, samples, options)
    first = source.first_frame
    parts = [found[readout.name][:, first:] for _, found in rates_by_frame(source, samples, options, hold)]
    return readout.classes(np.concatenate(parts))


def rate_values(
    source: Graph, samples: Samples, options: DeployOptions, hold: int = 1
) -> NDArray[np.float32]:
    """Values (n, size) that the source's first readout decides by, before its activation; see `rate_decisions`."""
    _check_reading(source, samples, options)
    window = read_window(source, options, samples)
    return read_rates(source, samples, window, options, hold)[source.readouts[0].name]


def _check_reading(source: Graph, samples: Samples, options: DeployOptions) -> None:
    if problems := list(reading_problems(source, options, samples)):
        raise InputError("The source cannot be evaluated on these samples", problems)
