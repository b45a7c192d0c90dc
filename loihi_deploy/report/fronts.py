"""The picture of an exploration: what was tried, and what nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loihi_deploy.report.drawing import BAD, COLOURS, new_figure

BEYOND = 5.0
"""How far to the right is drawn, in limits: hopeless trials would take all the room. As would a limit far beyond all
trials, which is not drawn."""


def front(
    tried: Sequence[tuple[float, float, bool]],
    named: Sequence[tuple[str, float, float, bool]],
    across: tuple[str, str],
    up: tuple[str, str],
    limit: float | None = None,
) -> Any:
    """Points by two figures, the front in colour.

    Parameters
    ----------
    tried : sequence of (x, y, judged)
        Everything that was tried; `judged` is False where a trial was ended on few samples.
    named : sequence of (text, x, y, best)
        Points with a text beside them; `best` is False for those that are not on the front.
    across, up : (title, unit)
        Of the two axes; fractions have the unit '%'.
    limit : float, optional
        What x is held to: a line. Points far beyond it are not drawn but counted.
    """
    from matplotlib.ticker import PercentFormatter

    figure, plot = new_figure(3.4)
    most = float("inf")
    if limit is not None:
        most = max([BEYOND * limit, *(x for _, x, _, _ in named)])
        if limit <= 2 * max((x for x, _, _ in tried if x <= most), default=0.0):
            plot.axvline(limit, color=BAD, lw=1, ls=":", label="limit")
    for ended, fill, what in ((False, COLOURS[7], "tried"), (True, "none", "ended on few samples")):
        there = [(x, y) for x, y, judged in tried if judged != ended and x <= most]
        if there:
            plot.scatter(*zip(*there, strict=True), s=16, c=fill, edgecolors=COLOURS[7], lw=0.6, label=what)
    for kind, shade, what in ((True, COLOURS[0], "none beats these"), (False, COLOURS[1], "not among these")):
        there = [(x, y) for _, x, y, best in named if best == kind]
        if there:
            plot.scatter(*zip(*there, strict=True), s=30, color=shade, zorder=3, label=what)
    for text, x, y, _ in named:
        plot.annotate(text, (x, y), (4, 4), textcoords="offset points", fontsize=8)
    for axis, (title, unit) in ((plot.xaxis, across), (plot.yaxis, up)):
        axis.set_label_text(f"{title}, {unit}" if unit else title)
        if unit == "%":
            axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    if beyond := sum(x > most for x, _, _ in tried):
        plot.set_title(f"{beyond} of {len(tried)} lie further to the right", loc="left")
    if tried:
        plot.legend(fontsize=7)
    return figure
