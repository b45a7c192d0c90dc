"""``loihi-deploy demo``, ``boards`` and ``bench``."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli.arguments import board_option, json_option
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.presenting import check_backend
from loihi_deploy.cli.terminal import Terminal
from loihi_deploy.errors import missing_extra

steps_option = click.option(
    "--steps", default=100, show_default=True, type=click.IntRange(1), help="Steps of presentation."
)


@commands.command()
@click.option(
    "--data",
    default="fashion-mnist",
    show_default=True,
    help="fashion-mnist, a bundled subset, or a folder of IDX files, gzipped or not.",
)
@board_option
@steps_option
@click.option("--epochs", default=12, show_default=True, type=click.IntRange(1), help="Training epochs.")
@click.option("--test-images", type=click.IntRange(1), help="Use only so many test images.")
@click.option(
    "--output",
    "-o",
    default="out",
    show_default=True,
    type=Path,
    help="Folder for the report.",
)
@json_option
@click.pass_obj
def demo(
    terminal: Terminal,
    data: str,
    board: str,
    steps: int,
    epochs: int,
    test_images: int | None,
    output: Path,
) -> int:
    """Train a network, deploy it, and compare it with what it came from."""
    from loihi_deploy.chip.boards import load_board
    from loihi_deploy.data import load_idx
    from loihi_deploy.data.named import BUNDLED
    from loihi_deploy.demo import run_demo
    from loihi_deploy.report import demo_page

    if importlib.util.find_spec("tensorflow") is None:
        raise missing_extra("tensorflow", "Training the network of the demonstration")
    check_backend("nengo_loihi")
    load_board(board)
    images = BUNDLED[data]() if data in BUNDLED else load_idx(data)
    result = run_demo(images, board, steps, epochs, test_images, output, terminal.say)
    page = demo_page({**result, "warnings": []})  # which the terminal shows
    terminal.figures(result, page.show)
    return 0 if result["reference_spikes_equal"] else 1


@commands.command()
@click.argument("names", nargs=-1)
@json_option
@click.pass_obj
def boards(terminal: Terminal, names: tuple[str, ...]) -> None:
    """List the known boards, or those in NAMES (names or paths of board files)."""
    from loihi_deploy.chip.boards import board_names, load_board
    from loihi_deploy.report import boards_page

    found = [load_board(name) for name in names or board_names()]
    terminal.figures(
        {"boards": [{**asdict(board), "n_cores": board.n_cores} for board in found]},
        lambda: boards_page(found).show(),
    )


@commands.command()
@click.option("--network", "networks", multiple=True, help="Only these benchmark networks.")
@click.option("--batch", type=click.IntRange(1), help="Samples in a run.")
@click.option("--threads", type=click.IntRange(1), help="Threads; every core of the machine if not given.")
@steps_option
@click.option(
    "--repeats", default=5, show_default=True, type=click.IntRange(1), help="Runs of which the best counts."
)
@json_option
@click.pass_obj
def bench(
    terminal: Terminal,
    networks: tuple[str, ...],
    batch: int | None,
    threads: int | None,
    steps: int,
    repeats: int,
) -> int:
    """Measure our emulator against nengo-loihi's and NengoDL's, side by side, on equal spikes."""
    from loihi_deploy import bench as benchmarking

    check_backend("nengo_loihi")
    rows: list[dict[str, Any]] = benchmarking.bench(
        networks or None,
        batch,
        threads,
        steps=steps,
        repeats=repeats,
        say=lambda text: click.echo(text, err=True),
    )

    terminal.figures({"rows": rows}, lambda: benchmarking.table(rows).show())
    return 0 if all(row["spikes_equal"] is not False for row in rows) else 1
