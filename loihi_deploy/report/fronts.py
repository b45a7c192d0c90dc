"""The picture of an exploration: what was tried, and what nothing beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loihi_deploy.report.drawing import COLOURS, new_figure


def front(
    tried: Sequence[Mapping[str, float]],
    best: Sequence[tuple[str, Mapping[str, float]]],
    axes: Sequence[tuple[str, str, str]],
) -> Any:
    """Points by two figures, the front in colour.

    Parameters
    ----------
    tried : sequence of dict
        Figures of everything that was tried.
    best : sequence of (name, figures)
    axes : sequence of (figure, title, unit)
        What lies on the vertical axis, on the horizontal one, and is written beside each point of the front; fractions
        have the unit '%'.
    """
    from matplotlib.ticker import PercentFormatter

    (y, *_), (x, *_) = axes[:2]
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
        text = name
        if len(axes) > 2 and axes[2][0] in point:
            value, unit = point[axes[2][0]], axes[2][2]
            text += f" ({100 * value:.4g} %)" if unit == "%" else f" ({value:.4g} {unit})".replace(" )", ")")
        plot.annotate(text, (point[x], point[y]), (4, 4), textcoords="offset points", fontsize=8)
    for axis, (_, title, unit) in zip((plot.yaxis, plot.xaxis), axes[:2], strict=True):
        axis.set_label_text(f"{title}, {unit}" if unit else title)
        if unit == "%":
            axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    if len(axes) > 2:
        plot.set_title(f"Names of points, and {axes[2][1]}", loc="left")
    return figure
