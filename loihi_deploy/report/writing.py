"""Reports in files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loihi_deploy.errors import OutputError
from loihi_deploy.files import write_file
from loihi_deploy.tables import WIDTH, Page

ENDINGS = (".html", ".json", ".txt")


def write_report(path: str | os.PathLike[str], values: Mapping[str, Any], page: Page) -> None:
    """Write figures to a file: as JSON, or as tables in text or HTML, by the ending.

    Parameters
    ----------
    path : path
        Ending in .html, .json or .txt.
    values : mapping
        Plain values, for JSON.
    page : Page
        The same for people.

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
        text = page.document("Deployment on Loihi") if ending == ".html" else page.as_text(WIDTH)
    write_file(path, f"{text}\n".encode())
