"""What writers of files for other simulators share: how large a matrix may get, and what is said of losses."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

from loihi_deploy.errors import LoihiDeployWarning, Problem
from loihi_deploy.ir import Transform

MAX_MATRIX = 1 << 27
"""Most weights of a matrix that is written out."""
SHOWN = 4
"""Populations that a warning names."""


def matrix_problems(name: str, transform: Transform) -> Iterator[Problem]:
    """A problem where a transform is too large to be written out as a matrix."""
    size = transform.in_size * transform.out_size
    if size > MAX_MATRIX:
        yield Problem("a matrix too large to be written out", name, size, MAX_MATRIX)


def warn_of_losses(who: str, losses: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Warn the caller of a writer of what others do otherwise.

    Parameters
    ----------
    who : str
        Who they are.
    losses : iterable of (str, list of str)
        What they do, and the populations concerned; where there are none, nothing is said.
    """
    for what, names in losses:
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            problem = Problem(f"{who} will differ: {what}", ", ".join(names[:SHOWN]) + more)
            warnings.warn(LoihiDeployWarning(problem), stacklevel=3)
