"""``loihi-deploy energy``: what a saved deployment costs on the chip."""

from __future__ import annotations

from pathlib import Path

import click

from loihi_deploy.cli.arguments import (
    data_option,
    json_option,
    labels_option,
    pixels_option,
    samples_option,
    steps_option,
)
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.presenting import check_source, data_values, deployment_argument, labelled, limit_help
from loihi_deploy.cli.terminal import Terminal, shows_progress


@commands.command(runs_saved=True)
@deployment_argument
@data_option
@samples_option
@labels_option
@pixels_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help=limit_help)
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
    data: str | None,
    samples: str | None,
    labels: str | None,
    pixels: str,
    limit: int,
    coefficients: str,
    steps: int | None,
) -> None:
    """Estimate energy and time of DEPLOYMENT_FILE (.loihi) per sample, by cause; compare limits with the high end."""
    from loihi_deploy.deployment import load

    deployment = load(deployment_file)
    check_source(data, samples, labels, False)
    found = labelled(deployment, data, samples, labels, pixels, limit)
    result = deployment.energy(found.x, steps, coefficients=coefficients, progress=shows_progress())
    figures = {"data": data_values(found), **result.values()}

    def text() -> None:
        click.echo(f"On {found}")
        result.page().show()

    terminal.figures(figures, text)
