"""Reports in files."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from loihi_deploy.errors import OutputError
from loihi_deploy.files import write_file

ENDINGS = (".html", ".json", ".txt")


def write_report(
    path: str | os.PathLike[str],
    values: Mapping[str, Any],
    tables: Callable[[Mapping[str, Any], Console], None],
) -> None:
    """Write figures to a file: as JSON, or as the tables that a terminal shows in text or HTML, by the ending.

    Parameters
    ----------
    path : path
        Ending in .html, .json or .txt.
    values : mapping
        Plain values.
    tables : callable
        Prints `values` on a console.

    Raises
    ------
    OutputError
        If the ending is another, or the path cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise OutputError.single(
            "not a kind of report", str(path), ending, ", ".join(ENDINGS), "Change the ending"
        )
    if ending == ".json":
        text = json.dumps(values, indent=2, allow_nan=False)
    else:
        console = Console(file=io.StringIO(), record=True, width=120, highlight=False)
        tables(values, console)
        text = console.export_html() if ending == ".html" else console.export_text()
    write_file(path, (text.rstrip() + "\n").encode())
