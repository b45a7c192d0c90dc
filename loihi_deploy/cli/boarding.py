"""``loihi-deploy preflight`` and ``selftest``: what keeps a deployment from a board, and whether one computes right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli.arguments import (
    backend_option,
    between_options,
    board_option,
    json_option,
    steps_option,
)
from loihi_deploy.cli.given import Given, data_options
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.outputs import output_option, write_output
from loihi_deploy.cli.presenting import check_backend, deployment_argument
from loihi_deploy.cli.terminal import Terminal


@commands.command(runs_saved=True)
@deployment_argument
@data_options()
@steps_option
@between_options
@json_option
@click.pass_obj
def preflight(
    terminal: Terminal,
    /,
    deployment_file: Path,
    given: Given,
    steps: int | None,
    between: dict[str, Any],
) -> int:
    """Say everything that would fail if DEPLOYMENT_FILE (.loihi) ran on a Loihi board; exit status 1 if anything.

    With labelled samples, also what accuracy each way to reset the chip between samples leaves, on the emulator.
    """
    from loihi_deploy.deployment import load
    from loihi_deploy.ir import samples_for

    deployment = load(deployment_file)
    resets, n_frames = None, 1
    if given:
        given.check(need_labels=True)
        read = given.read(deployment)
        ways: dict[str, Any] = {"gaps": ()} if deployment.program.bias_inputs else {}  # biases take loads
        resets = deployment.compare_resets(read.x, read.y, steps, **ways)
        n_frames = samples_for(deployment.graph, read.x).n_frames
    found = deployment.preflight(n_frames, **between)
    figures = found.values() | {"resets": resets and resets.values()}

    def text() -> None:
        click.echo(str(found))
        if resets is not None:
            resets.page().show()

    terminal.figures(figures, text)
    return 0 if found.ready else 1


@commands.command(runs_saved=True)
@board_option
@backend_option
@output_option("Write the report to this .json file.")
@click.option(
    "--export",
    "folder",
    type=Path,
    help="Run nothing, but write a folder that tests a board where NxSDK is, and this package is not.",
)
@json_option
@click.pass_obj
def selftest(terminal: Terminal, board: str, backend: Any, output: Path | None, folder: Path | None) -> int:
    """Run small networks on a backend and compare every spike with the emulator's; exit status 1 where any differs."""
    from loihi_deploy.bench.selftest import selftest as run_selftest
    from loihi_deploy.bench.selftest import to_selftest_folder

    if folder is not None:
        if output is not None or backend != "emulator":
            raise click.UsageError("--export runs nothing: it goes without --output and --backend.")
        to_selftest_folder(folder, board)
        script = folder / "selftest.py"
        text = f"Written to {folder}; on the machine with the board: python {script} -o report.json"
        terminal.figures({"output": str(folder)}, lambda: click.echo(text))
        return 0
    check_backend(backend)
    with terminal.working(f"Testing backend {backend}"):
        found = run_selftest(backend, board)
    if output is not None:
        write_output(output, found.save)
    terminal.figures(found.values(), lambda: found.page().show())
    return 0 if found.passed else 1
