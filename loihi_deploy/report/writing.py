"""Reports in files."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loihi_deploy.errors import OutputError, missing_extra
from loihi_deploy.files import check_writable, write_file
from loihi_deploy.report.sheets import reports_page
from loihi_deploy.tables import WIDTH

ENDINGS = (".html", ".json", ".txt")


def check_report(path: str | os.PathLike[str]) -> None:
    """Refuse a report that could not be written, before any work begins.

    Raises
    ------
    OutputError
        If the ending is none of a report, or the path cannot be written.
    MissingExtraError
        If HTML is asked for and jinja2 or matplotlib is not installed.
    """
    if _ending(path) == ".html":
        for package in ("jinja2", "matplotlib"):
            if importlib.util.find_spec(package) is None:
                raise missing_extra(package, "A report as HTML", "report")
    check_writable(path)


def write_reports(path: str | os.PathLike[str], reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the values of a report, or those of several side by side, to a file.

    Parameters
    ----------
    path : path
        Ending in .html, .json or .txt.
    reports : dict
        Values of `Deployment.report_values`, by name.

    Raises
    ------
    OutputError
        If the ending is another, or the path cannot be written.
    MissingExtraError
        If HTML is asked for and jinja2 or matplotlib is not installed.
    """
    ending = _ending(path)
    if ending == ".json":
        several = {"report_version": next(iter(reports.values()))["report_version"], "reports": reports}
        text = json.dumps(
            several if len(reports) > 1 else next(iter(reports.values())), indent=1, allow_nan=False
        )
    elif ending == ".html":
        from loihi_deploy.report.document import document

        text = document("Deployment on Loihi" if len(reports) == 1 else " and ".join(reports), reports)
    else:
        text = reports_page(reports).as_text(WIDTH)
    write_file(path, f"{text}\n".encode())


def _ending(path: str | os.PathLike[str]) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise OutputError.single("not a path", value=type(path).__name__, remedy="Give the path of a file")
    ending = Path(os.fsdecode(path)).suffix.lower()
    if ending not in ENDINGS:
        raise OutputError.single(
            "not a kind of report", str(path), ending, ", ".join(ENDINGS), "Change the ending"
        )
    return ending
