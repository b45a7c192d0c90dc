"""How short a presentation may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.frames import Reading
from loihi_deploy.analysis.latency import LayerLatency, latencies, latency_sentence
from loihi_deploy.backends import RunOptions
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Samples
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.tables import Page, Shown, Table, percent

WINDOWS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Readout windows that are tried, as parts of the presentation."""


@dataclass(frozen=True)
class Tuning(Shown, OneLine):
    """The outcome of `Deployment.tune`.

    Parameters
    ----------
    steps : int
        The shortest presentation from which on accuracy stays within the drop.
    readout_window : float
        The last part of it that outputs are averaged over, 0..1.
    accuracy : float
        There, on the samples given.
    rate_accuracy : float
        Of the rate network.
    accuracy_by_step : dict of arrays
        Accuracy for each presentation time from one step on, by readout window; nothing for sequences.
    latency : tuple of LayerLatency
        When each layer on chip, and the readout, hears of the input.
    """

    steps: int
    readout_window: float
    accuracy: float
    rate_accuracy: float
    accuracy_by_step: Mapping[float, NDArray[np.float64]]
    latency: tuple[LayerLatency, ...]

    def page(self) -> Page:
        """The presentation that was found."""
        rows = tuple((layer.name, str(layer.hops), f"{layer.delay:.1f}") for layer in self.latency)
        return Page(
            (
                f"{self.steps} steps, outputs averaged over the last {percent(self.readout_window)}: accuracy "
                f"{percent(self.accuracy)}; {percent(self.rate_accuracy)} of the rate network",
                Table("Steps until a layer hears of the input", ("layer", "at first", "on average"), rows),
            )
        )


def shortest_presentation(
    program: Program,
    samples: Samples,
    labels: NDArray[np.int64],
    rate_accuracy: float,
    max_steps: int,
    max_drop: float,
) -> Tuning:
    """Find the shortest presentation, and its readout window, whose accuracy is near the rate network's.

    Near is: at most `max_drop` below, there and for every longer presentation up to `max_steps`.

    Raises
    ------
    InputError
        If no presentation up to `max_steps` is near enough.
    """
    curves = {
        window: backends.evaluate(
            program, samples, labels, RunOptions(max_steps, readout_window=window), by_step=True
        ).accuracy_by_step
        for window in WINDOWS
    }
    best = shortest(curves, rate_accuracy - max_drop)
    if best is None:
        raise InputError(
            "No presentation is long enough", _too_short(program, curves, rate_accuracy, max_drop)
        )
    steps, window = best
    accuracy = float(curves[window][steps - 1])
    return Tuning(steps, window, accuracy, rate_accuracy, curves, latencies(program))


def shortest_for_each_frame(
    program: Program,
    samples: Samples,
    labels: NDArray[np.int64],
    rate_accuracy: float,
    max_steps: int,
    max_drop: float,
    reading: Reading,
) -> Tuning:
    """Find how few steps for each frame of a sequence keep accuracy; see `shortest_presentation`.

    Parameters
    ----------
    max_steps : int
        Of a whole presentation.
    reading : Reading
        How they are read.

    Raises
    ------
    InputError
        If no number of steps is near enough.
    """
    n_frames = samples.n_frames
    only = program.frame_steps  # delays were made for
    most, least = max_steps // n_frames, n_frames * (only or 1)
    if max_steps < least:
        raise InputError.single(
            "not a step for each frame" if only is None else "the network's delays were made for more",
            "max_steps",
            max_steps,
            f"{least} or more",
            f"Allow {least}",
        )
    tried: Iterable[float] = sorted(
        {*range(1, min(most, 5) + 1), *(most * 2 ** -(k / 2) // 1 or 1 for k in range(8))}
    )
    if only is not None:
        most, tried = only, (only,)
    accuracies = {
        int(per_frame): backends.evaluate(
            program,
            samples,
            labels,
            reading.of(RunOptions(steps_per_frame=int(per_frame), progress=False)),
        ).accuracy
        for per_frame in tried
    }
    goal = rate_accuracy - max_drop
    good: list[int] = []
    for per_frame in sorted(accuracies, reverse=True):
        if accuracies[per_frame] < goal:
            break
        good.append(per_frame)
    if not good:
        drop = np.ceil((rate_accuracy - accuracies[most]) * 1e4) / 1e4
        raise InputError.single(
            "accuracy stays below the goal",
            f"max_steps={max_steps}, max_drop={max_drop:g}",
            f"{100 * accuracies[most]:.2f} % at {most} steps for each of {n_frames} frames",
            f"{100 * goal:.2f} %",
            f"Allow more steps, or a drop of {drop:g}, which {most} steps for each frame reach",
        )
    found = good[-1]
    window = 1 / n_frames if reading.window is None else reading.window
    return Tuning(found * n_frames, window, accuracies[found], rate_accuracy, {}, latencies(program))


def shortest(curves: Mapping[float, NDArray[np.float64]], goal: float) -> tuple[int, float] | None:
    """The shortest presentation from which on accuracy stays at the goal, and its window.

    Of several windows the one that is more accurate there, and of equal ones the shortest; None where none stays.
    """
    found = []
    for window, accuracy in curves.items():
        worst_from = np.minimum.accumulate(accuracy[::-1])[::-1]
        reached = np.flatnonzero(worst_from >= goal)
        if len(reached):
            found.append((int(reached[0]) + 1, -float(accuracy[reached[0]]), window))
    if not found:
        return None
    steps, _, window = min(found)
    return steps, window


def _too_short(
    program: Program, curves: Mapping[float, NDArray[np.float64]], rate_accuracy: float, max_drop: float
) -> Problem:
    steps = len(next(iter(curves.values())))
    window, last = max(((window, float(curve[-1])) for window, curve in curves.items()), key=lambda p: p[1])
    drop = np.ceil((rate_accuracy - last) * 1e4) / 1e4
    remedy = f"Allow more steps, or a drop of {drop:g}, which {steps} steps reach"
    heard = max(layer.delay for layer in latencies(program)) + 1
    if heard > steps / 2:
        remedy = f"{remedy}; {latency_sentence(program, steps)}"
    return Problem(
        "accuracy stays below the goal",
        f"max_steps={steps}, max_drop={max_drop:g}",
        f"{100 * last:.2f} % at the end, with a window of {window:g}",
        f"{100 * (rate_accuracy - max_drop):.2f} %",
        remedy,
    )
