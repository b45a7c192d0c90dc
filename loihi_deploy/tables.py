"""Tables as values, and the forms in which they are shown: text for terminals and pipes, HTML for notebooks and files.

Nothing is ever cut: a table that is wider than there is room for becomes a list.
"""

from __future__ import annotations

import html
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH = 120
"""Columns of text where there is no terminal to ask."""
NOTEBOOK = """
.loihi-deploy caption, .loihi-deploy th, .loihi-deploy td { text-align: left; padding: .1em .6em; }
.loihi-deploy caption { font-weight: bold; padding-top: .6em; }
.loihi-deploy .figure { text-align: right; white-space: nowrap; }
.loihi-deploy p { margin: .3em 0; }
"""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuples of str
        A cell for each column; '' where there is nothing to say.
    names : int
        Columns that hold names, from the left; the others hold figures.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1

    def as_text(self, width: int) -> str:
        """The table in at most `width` columns, else a list with an entry for each row."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        if sum(widths) + 2 * (len(widths) - 1) > width:
            return self._as_list()

        def text(cells: Sequence[str]) -> str:
            padded = (
                cell.ljust(size) if index < self.names else cell.rjust(size)
                for index, (cell, size) in enumerate(zip(cells, widths, strict=True))
            )
            return "  ".join(padded).rstrip()

        rule = "  ".join("─" * size for size in widths)
        return "\n".join([self.title, text(self.columns), rule, *map(text, self.rows)])

    def _as_list(self) -> str:
        """The same as a list."""
        lines = [self.title]
        longest = max(map(len, self.columns[self.names :]), default=0)
        for row in self.rows:
            lines.append(" · ".join(filter(None, row[: self.names])))
            cells = zip(self.columns[self.names :], row[self.names :], strict=True)
            lines += [f"  {column.ljust(longest)}  {cell}" for column, cell in cells if cell]
        return "\n".join(lines)

    def as_html(self) -> str:
        """The table as an HTML element."""

        def line(kind: str, cells: Iterable[str]) -> str:
            classes = ("" if index < self.names else ' class="figure"' for index in range(len(self.columns)))
            return "".join(
                f"<{kind}{c}>{html.escape(cell)}</{kind}>" for c, cell in zip(classes, cells, strict=True)
            )

        head = (
            f"<caption>{html.escape(self.title)}</caption><thead><tr>{line('th', self.columns)}</tr></thead>"
        )
        body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in self.rows)
        return f"<table>{head}<tbody>\n{body}\n</tbody></table>"


@dataclass(frozen=True)
class Page:
    """Tables and paragraphs, one after the other; a paragraph that begins with 'Warning: ' is one.

    Parameters
    ----------
    parts : tuple of Table or str
    """

    parts: tuple[Table | str, ...]

    def __add__(self, other: Page) -> Page:
        return Page(self.parts + other.parts)

    def as_text(self, width: int | None = None, wrapped: bool = False) -> str:
        """Text for a terminal of `width` columns; for this one, or `WIDTH` columns, if not given.

        Paragraphs are lines of their own, however long, or `wrapped` between words.
        """
        width = width or shutil.get_terminal_size((WIDTH, 0)).columns
        text = ""
        for before, part in zip((None, *self.parts), self.parts, strict=False):
            if before is not None:
                text += "\n" if isinstance(before, str) and isinstance(part, str) else "\n\n"
            if isinstance(part, Table):
                text += part.as_text(width)
            else:
                text += _wrapped(part, width) if wrapped else part
        return text

    def as_html(self) -> str:
        """HTML to be put into a page."""
        return "\n".join(
            part.as_html() if isinstance(part, Table) else _paragraph(part) for part in self.parts
        )

    def show(self) -> None:
        """Print it; on a terminal paragraphs are wrapped between words."""
        print(self.as_text(wrapped=sys.stdout is not None and sys.stdout.isatty()))


class Shown:
    """Base of what people look at: `print` and notebooks show its `page`."""

    def page(self) -> Page:
        """What there is to see, as tables and paragraphs."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.page().as_text()

    def _repr_html_(self) -> str:
        return f'<style>{NOTEBOOK}</style><div class="loihi-deploy">\n{self.page().as_html()}\n</div>'


def _wrapped(text: str, width: int) -> str:
    """Every line of a text in lines of at most `width` columns, cut between words only."""
    lines = (
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join(lines)


def _paragraph(text: str) -> str:
    kind = ' class="warning"' if text.startswith("Warning: ") else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def percent(fraction: float | None) -> str:
    """A fraction in per cent, with two digits; '' for None."""
    return "" if fraction is None else f"{100 * fraction:.2f} %"


PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def with_unit(value: float, unit: str) -> str:
    """Three digits and a prefix: ``91.2 µJ``."""
    scale, prefix = next((row for row in PREFIXES if value >= row[0]), PREFIXES[-1] if value else PREFIXES[0])
    return f"{value / scale:.3g} {prefix}{unit}"


def by(shape: Iterable[int]) -> str:
    """A shape: ``12×12×16``."""
    return "×".join(map(str, shape))


def warned(warnings: Iterable[object]) -> tuple[str, ...]:
    """A paragraph for each warning."""
    return tuple(f"Warning: {warning}" for warning in warnings)
