"""What all figures have in common: colours that read on light and dark, and how a figure becomes part of a page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from loihi_deploy.errors import missing_extra

INK = "#0a0b0c"
"""Stands for the colour of text, which the page decides."""
COLOURS = ("#4a90d9", "#e0863a", "#4fae6d", "#d0608a", "#8d7ae0", "#b89a3c", "#3fa9a9", "#9a8478", "#7a97b0")
"""Of populations and lines, in order; read on white and on black."""
GOOD, BAD = COLOURS[0], "#d9534f"
WIDTH = 5.2
"""Inches of a figure; pages shrink it."""


def colour(k: int) -> str:
    """The colour of the k-th of something."""
    return COLOURS[k % len(COLOURS)]


def short(name: str, most: int = 18) -> str:
    """A name of at most so many characters, its beginning and its end."""
    half = most // 2
    return name if len(name) <= most else f"{name[: half - 1]}…{name[-(half - 1) :]}"


@contextmanager
def drawn(ink: str | None = None) -> Iterator[None]:
    """While a figure is made: its style; text and axes in `ink`, else as matplotlib is set up.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise missing_extra("matplotlib", "Drawing figures", "report") from error
    style: dict[str, Any] = {
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.0,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "loihi-deploy",
    }
    if ink is not None:
        keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        style |= dict.fromkeys(keys, ink)
    with matplotlib.rc_context(style):
        yield


@cache
def _figure_type() -> Any:
    """Matplotlib's figures, which notebooks show whether or not they use pyplot."""
    from matplotlib import figure

    class Figure(figure.Figure):
        def _repr_png_(self) -> bytes:
            stream = io.BytesIO()
            self.savefig(stream, format="png", dpi=110, facecolor="white")
            return stream.getvalue()

    return Figure


def new_figure(height: float, rows: int = 1, columns: int = 1, **named: Any) -> tuple[Any, Any]:
    """A figure that no window shows, with its axes."""
    figure = _figure_type()(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.subplots(rows, columns, **named)
    for each in axes.ravel() if rows * columns > 1 or named.get("squeeze") is False else [axes]:
        each.patch.set_alpha(0.0)
    return figure, axes


def as_svg(figure: Any, salt: str) -> str:
    """A figure as an SVG element whose text takes the colour of the page; `salt` keeps its ids its own."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(
            stream, format="svg", transparent=True, dpi=110, metadata={"Date": None, "Creator": None}
        )
    text = stream.getvalue()
    element = text[text.index("<svg") :].replace(INK, "currentColor")
    start, _, rest = element.partition(">")
    return f'{start} aria-hidden="true" focusable="false">{rest}'
