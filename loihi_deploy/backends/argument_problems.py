"""Checks of single arguments; each yields the problems that it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from loihi_deploy.errors import Problem


def whole_number_problems(
    name: str, value: Any, least: int, most: int | None = None, *, optional: bool = False
) -> Iterator[Problem]:
    """Problems of what must be an int from `least` to `most`; floats are refused even where they are whole."""
    if value is None and optional:
        return
    allowed = f"a whole number, {least} or more" if most is None else f"a whole number, {least} to {most}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        yield Problem("not a whole number", name, shown(value), allowed)
    elif value < least or (most is not None and value > most):
        yield Problem("out of range", name, shown(value), allowed)


def fraction_problems(name: str, value: Any, *, above_zero: bool = False) -> Iterator[Problem]:
    """Problems of what must be a number from 0 to 1."""
    allowed = "a number above 0, up to 1" if above_zero else "a number from 0 to 1"
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number:
        yield Problem("not a number", name, shown(value), allowed)
    elif not 0 <= value <= 1 or (above_zero and value == 0):
        yield Problem("out of range", name, shown(value), allowed)


def choice_problems(
    name: str, value: Any, known: Sequence[str], what: str = "unknown choice"
) -> Iterator[Problem]:
    """Problems of what must be one of some words."""
    if not isinstance(value, str) or value not in known:
        yield Problem(what, name, shown(value), " or ".join(map(repr, known)))


def flag_problems(name: str, value: Any, *, optional: bool = False) -> Iterator[Problem]:
    """Problems of what must be True or False."""
    if not isinstance(value, (bool, np.bool_)) and not (value is None and optional):
        yield Problem("neither True nor False", name, shown(value))


def reset_problems(reset: Any) -> Iterator[Problem]:
    """Problems of what must be True, False or the name of a way to reset."""
    if not isinstance(reset, (bool, np.bool_)) and not (isinstance(reset, str) and reset in ("snip", "gap")):
        yield Problem("not a way to reset", "reset", shown(reset), "True, False, 'snip' or 'gap'")


def shown(value: Any) -> str:
    """A value as far as it is short, else its type."""
    if isinstance(value, (int, np.integer)) and abs(int(value)) >= 10**20:
        return f"an integer of {int(value).bit_length()} bits"
    if isinstance(value, (str, int, float, complex, np.generic)) or value is None:
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    return type(value).__name__
