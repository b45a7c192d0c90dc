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
        callback=checked_output,
        help=f"{text} - is standard output.",
    )


def checked_output(
    ctx: click.Context | None, param: click.Parameter | None, path: Path | None
) -> Path | None:
    """Refuse a path that cannot be written, before the work begins; a callback of options."""
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
