"""How short a presentation may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Samples
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.tables import Page, Shown, percent

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
        Accuracy for each presentation time from one step on, by readout window.
    """

    steps: int
    readout_window: float
    accuracy: float
    rate_accuracy: float
    accuracy_by_step: Mapping[float, NDArray[np.float64]]

    def page(self) -> Page:
        """The presentation that was found."""
        return Page(
            (
                f"{self.steps} steps, outputs averaged over the last {percent(self.readout_window)}: accuracy "
                f"{percent(self.accuracy)}; {percent(self.rate_accuracy)} of the rate network",
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
        If no presentation up to `max_steps` is near enough, or `max_steps` is not positive.
    """
    if max_steps < 1:
        raise InputError.single("not a presentation time", "max_steps", max_steps, "1 or more")
    found = {
        window: backends.evaluate(
            program, samples, labels, RunOptions(max_steps, readout_window=window), by_step=True
        ).accuracy_by_step
        for window in WINDOWS
    }
    goal = rate_accuracy - max_drop
    best: tuple[int, float, float] | None = None
    for window, accuracy in found.items():
        worst_from = np.minimum.accumulate(accuracy[::-1])[::-1]
        reached = np.flatnonzero(worst_from >= goal)
        if len(reached):
            candidate = (int(reached[0]) + 1, -float(accuracy[reached[0]]), window)
            best = candidate if best is None else min(best, candidate)
    if best is None:
        window, accuracy = max(found.items(), key=lambda item: float(item[1][-1]))
        raise InputError(
            "No presentation is short enough",
            Problem(
                "accuracy stays below the goal",
                f"max_steps={max_steps}, max_drop={max_drop:g}",
                f"{100 * accuracy[-1]:.2f} % at the end, with a window of {window:g}",
                f"{100 * goal:.2f} %",
                "Allow more steps or a larger drop",
            ),
        )
    steps, negative, window = best
    return Tuning(steps, window, -negative, rate_accuracy, found)
