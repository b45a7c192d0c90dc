"""The picture of an exploration: what was tried, and what nothing beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loihi_deploy.report.drawing import COLOURS, new_figure


def front(
    tried: Sequence[Mapping[str, float]],
    best: Sequence[tuple[str, Mapping[str, float]]],
    axes: Sequence[tuple[str, str]],
) -> Any:
    """Points by two figures, the front in colour.

    Parameters
    ----------
    tried : sequence of dict
        Figures of everything that was tried.
    best : sequence of (name, figures)
    axes : sequence of (figure, title)
        What lies on the vertical axis, on the horizontal one, and is written beside each point of the front.
    """
    (y, y_title), (x, x_title) = axes[:2]
    figure, plot = new_figure(3.4)
    there = [point for point in tried if x in point and y in point]
    plot.scatter(
        [point[x] for point in there], [point[y] for point in there], s=14, color=COLOURS[7], alpha=0.5, lw=0
    )
    line = sorted((point[x], point[y]) for _, point in best if x in point)
    plot.plot(*zip(*line, strict=True) if line else ([], []), color=COLOURS[0], lw=0.8, alpha=0.6)
    plot.scatter(*zip(*line, strict=True) if line else ([], []), s=26, color=COLOURS[0], zorder=3)
    for name, point in best:
        if x not in point:
            continue
        text = name if len(axes) < 3 or axes[2][0] not in point else f"{name} ({point[axes[2][0]]:.4g})"
        plot.annotate(text, (point[x], point[y]), (4, 4), textcoords="offset points", fontsize=8)
    plot.set_xlabel(x_title)
    plot.set_ylabel(y_title)
    if len(axes) > 2:
        plot.set_title(f"Names of points, and {axes[2][1]}", loc="left")
    return figure
