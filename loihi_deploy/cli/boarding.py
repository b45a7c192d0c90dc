"""``loihi-deploy preflight``: what stands between a saved deployment and a board."""

from __future__ import annotations

from pathlib import Path

import click

from loihi_deploy.cli.arguments import json_option
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.presenting import deployment_argument
from loihi_deploy.cli.terminal import Terminal


@commands.command(runs_saved=True)
@deployment_argument
@json_option
@click.pass_obj
def preflight(terminal: Terminal, deployment_file: Path) -> int:
    """Say everything that would fail if DEPLOYMENT_FILE (.loihi) ran on a Loihi board; exit status 1 if anything."""
    from loihi_deploy.deployment import load

    found = load(deployment_file).preflight()
    figures = {
        "ready": found.ready,
        "machine": [str(problem) for problem in found.machine],
        "program": [str(problem) for problem in found.program],
        "doubts": [str(problem) for problem in found.doubts],
    }
    terminal.figures(figures, lambda: click.echo(str(found)))
    return 0 if found.ready else 1
