"""``loihi-deploy energy``: what a saved deployment costs on the chip."""

from __future__ import annotations

from pathlib import Path

import click

from loihi_deploy.cli.arguments import (
    json_option,
    steps_option,
)
from loihi_deploy.cli.given import Given, data_options, data_values
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.presenting import deployment_argument
from loihi_deploy.cli.terminal import Terminal, shows_progress


@commands.command(runs_saved=True)
@deployment_argument
@data_options(limit=20)
@click.option(
    "--coefficients",
    default="sanafe2025",
    show_default=True,
    metavar="SET",
    help="What work costs: sanafe2025 (regressed on silicon), davies2018 (calculated before), or a TOML file.",
)
@steps_option
@json_option
@click.pass_obj
def energy(
    terminal: Terminal,
    deployment_file: Path,
    given: Given,
    coefficients: str,
    steps: int | None,
) -> None:
    """Estimate energy and time of DEPLOYMENT_FILE (.loihi) per sample, by cause; compare limits with the high end."""
    from loihi_deploy.deployment import load

    deployment = load(deployment_file)
    given.check()
    found = given.read(deployment)
    result = deployment.energy(found.x, steps, coefficients=coefficients, progress=shows_progress())
    figures = {"data": data_values(found), **result.values()}

    def text() -> None:
        click.echo(f"On {found}")
        result.page().show()

    terminal.figures(figures, text)
