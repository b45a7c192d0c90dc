"""``loihi-deploy report``: what there is to say of a saved deployment, or of several side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loihi_deploy.cli.arguments import (
    json_option,
    steps_option,
)
from loihi_deploy.cli.given import Given, data_options
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.outputs import output_option
from loihi_deploy.cli.presenting import as_classes
from loihi_deploy.cli.terminal import Terminal

if TYPE_CHECKING:
    from loihi_deploy.deployment import Deployment


@commands.command(runs_saved=True)
@click.argument("deployment_files", type=Path, nargs=-1, required=True)
@data_options(limit=200)
@steps_option
@output_option("The report to write: .html, .txt or .json; the terminal if not given.")
@json_option
@click.pass_obj
def report(
    terminal: Terminal,
    deployment_files: tuple[Path, ...],
    given: Given,
    steps: int | None,
    output: Path | None,
) -> None:
    """Report on DEPLOYMENT_FILES (.loihi): layers and cores; with samples also accuracy, firing rates, energy and more.

    Several files stand side by side, with what differs marked.

    HTML needs the packages of the extra 'report'; the terminal, .txt and .json need none.
    """
    from loihi_deploy.deployment import load
    from loihi_deploy.report import check_report, reports_page, write_reports

    if output is not None:
        check_report(output)
    if given:
        given.check()
    command = (
        shlex.join(["loihi-deploy", *sys.argv[1:]]) if sys.argv[1:2] == ["report"] else "loihi-deploy report"
    )
    reports: dict[str, Any] = {}
    with terminal.working("Measuring"):
        for k, path in enumerate(deployment_files):
            deployment = load(path)
            x = y = None
            if given:
                found = given.read(deployment)
                x, y = found.x, _labels(terminal, deployment, found.y)
            name = str(path) if str(path) not in reports else f"{path} ({k + 1})"
            reports[name] = deployment.report_values(x, y, steps, command=command)
    if output is not None:
        write_reports(output, reports)
        terminal.figures({"output": str(output)}, lambda: click.echo(f"Written to {output}"))
        return
    if len(reports) > 1:
        terminal.warn(*(f"{name}: {text}" for name, values in reports.items() for text in values["warnings"]))
    figures = next(iter(reports.values())) if len(reports) == 1 else {"reports": reports}
    shown = {name: {**values, "warnings": []} for name, values in reports.items()}
    terminal.figures(figures, lambda: reports_page(shown).show())


def _labels(terminal: Terminal, deployment: Deployment, y: Any) -> Any:
    """Labels that decisions are counted on: of samples, or of frames; None where they are values, which is said."""
    if y is None or (classes := as_classes(deployment, y)) is not None:
        return None if y is None else classes
    if y.dtype.kind in "biu" and deployment.graph.readouts[0].n_classes > 1:
        return y
    terminal.warn(
        "The labels are values, so the report has no accuracy; loihi-deploy evaluate says how far outputs are off"
    )
    return None
