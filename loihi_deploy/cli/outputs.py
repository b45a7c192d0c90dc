"""Where a command writes: checked before the work begins, ``-`` for standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loihi_deploy.errors import OutputError
from loihi_deploy.files import PathOrStream, check_writable

STANDARD_OUTPUT = Path("-")


def output_option(text: str) -> Callable[..., Any]:
    """The option --output, -o."""
    return click.option(
        "--output",
        "-o",
        type=Path,
        callback=_checked,
        help=f"{text} - is standard output.",
    )


def _checked(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path != STANDARD_OUTPUT:
        check_writable(path)
    return path


def write_output(path: Path, write: Callable[[PathOrStream], Any]) -> None:
    """Let `write` write to a path or, for ``-``, to standard output."""
    if path != STANDARD_OUTPUT:
        write(path)
    elif sys.stdout is None:
        raise OutputError.single("is closed", "standard output", remedy="Give a path")
    else:
        sys.stdout.flush()
        write(sys.stdout.buffer)
