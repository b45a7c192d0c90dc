"""``loihi-deploy export``: a saved deployment for other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli.arguments import json_option, pixels_option, samples_option, steps_option
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.presenting import deployment_argument
from loihi_deploy.cli.terminal import Terminal
from loihi_deploy.errors import InputError
from loihi_deploy.options import DEFAULT_STEPS

ENDINGS = {"": "board", ".net": "netx", ".nir": "nir"}
"""Formats that the ending of a path tells."""


@commands.command("export", runs_saved=True)
@deployment_argument
@click.option("--output", "-o", type=Path, required=True, help="File or folder to write.")
@click.option(
    "--to",
    "form",
    type=click.Choice(["board", "netx", "nir", "sanafe"]),
    help="What to write, where the ending of the path does not say it.",
)
@samples_option
@pixels_option
@steps_option
@json_option
@click.pass_obj
def export_command(
    terminal: Terminal,
    deployment_file: Path,
    output: Path,
    form: str | None,
    samples: str | None,
    pixels: str,
    steps: int | None,
) -> None:
    """Write DEPLOYMENT_FILE (.loihi) for another tool.

    board: a folder with a script that runs the network on a Loihi board, on Python 3.6 to 3.8, without this package.

    netx: a network for Lava and Loihi 2, of a chain of layers.

    nir: a graph for other simulators, its floats the chip's integers.

    sanafe: a folder with architecture, network and a script for SANA-FE, with the first sample of --samples.
    """
    from loihi_deploy import export
    from loihi_deploy.deployment import load

    form = form or ENDINGS.get(output.suffix.lower())
    if form is None:
        raise InputError.single(
            "the ending does not say what to write", "--output", str(output), ", ".join(ENDINGS), "Give --to"
        )
    if samples is not None and form != "sanafe":
        raise InputError.single("only --to sanafe takes a sample", "--samples", samples)
    deployment = load(deployment_file)
    writers: dict[str, Callable[[], Any]] = {
        "board": lambda: export.to_board_runner(deployment, output),
        "netx": lambda: export.to_netx(deployment, output),
        "nir": lambda: export.to_nir(deployment, output),
        "sanafe": lambda: _to_sanafe(deployment, output, samples, pixels, steps),
    }
    writers[form]()
    figures = {"output": str(output), "format": form}
    terminal.figures(figures, lambda: click.echo(f"Written to {output} ({form})"))


def _to_sanafe(deployment: Any, folder: Path, samples: str | None, pixels: str, steps: int | None) -> None:
    from loihi_deploy.cli.given import graph_form
    from loihi_deploy.data.named import read_samples
    from loihi_deploy.export import to_sanafe

    if samples is None:
        raise InputError.single("--to sanafe needs a sample", "--samples", remedy="Give --samples DATA")
    x = read_samples(samples, graph_form(deployment.graph, pixels), 1).x
    to_sanafe(deployment, x, folder, steps or DEFAULT_STEPS)
