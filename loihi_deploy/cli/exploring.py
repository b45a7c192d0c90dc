"""``loihi-deploy explore``: the deployments of a model that cost least."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loihi_deploy.cli import settings
from loihi_deploy.cli.arguments import (
    NamedValue,
    board_option,
    calibration_samples_option,
    json_option,
    trust_option,
)
from loihi_deploy.cli.compiling import compile_command, keras_form
from loihi_deploy.cli.gating import limit_options
from loihi_deploy.cli.given import Given, data_options, data_values, graph_form
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.terminal import Terminal, shows_progress
from loihi_deploy.data.arrays import FORMS
from loihi_deploy.data.named import check_named, read_labels, read_samples
from loihi_deploy.errors import MissingExtraError
from loihi_deploy.files import check_writable, make_folder, write_file

if TYPE_CHECKING:
    from loihi_deploy.exploration import Exploration

PICTURE, VALUES = "front.png", "exploration.json"
"""What is written beside a file for each point of the front."""


def _choices(text: str) -> Any:
    """LOW:HIGH as a range, A,B,C as choices, anything else as one value."""
    if text.count(":") == 1:
        low, high = (_value(part) for part in text.split(":"))
        return low, high
    return [_value(part) for part in text.split(",")] if "," in text else _value(text)


def _value(text: str) -> Any:
    if not text:
        raise ValueError(text)
    if text in ("true", "false"):
        return text == "true"
    kinds: tuple[Callable[[str], Any], ...] = (int, float)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@commands.command()
@click.argument("model")
@data_options()
@click.option(
    "--calibration",
    metavar="DATA",
    help=f"Samples that firing rates are set from: {FORMS}; if not given, training images of a set, or a quarter of "
    "--data or --samples at most, which nothing else is done with.",
)
@calibration_samples_option
@board_option
@click.option(
    "--space",
    multiple=True,
    type=NamedValue(_choices, "NAME=LOW:HIGH, NAME=A,B or NAME=A"),
    metavar="NAME=VALUES",
    help="What is tried, by the names of the options of compile: steps=8:40, encoder=auto,bias, weight_bits=8.",
)
@click.option(
    "--minimize",
    multiple=True,
    default=("energy", "latency", "cores"),
    show_default=True,
    help="energy, latency, cores, chips, host_spikes, drop, expected_drop, rmse or overflows.",
)
@limit_options
@click.option("--no-overflow", is_flag=True, help="No accumulator may wrap around.")
@click.option(
    "--trials",
    default=60,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="In all, those in --storage included.",
)
@click.option(
    "--storage",
    type=Path,
    help="Keep trials in this file (SQLite), and go on from it where an earlier run ended.",
)
@click.option(
    "--held-out",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0.0, 0.9),
    help="Part of the samples that no choice is made on, for the final figures.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Of the trials.")
@trust_option
@click.option(
    "--output",
    "-o",
    type=Path,
    help=f"Folder for {PICTURE}, {VALUES} and a file for `compile --options` for each point of the front.",
)
@click.option("--save", is_flag=True, help="Also write the deployment of each of these points there.")
@json_option
@click.pass_obj
def explore(
    terminal: Terminal,
    /,
    model: str,
    given: Given,
    calibration: str | None,
    calibration_samples: int,
    board: str,
    space: tuple[tuple[str, Any], ...],
    minimize: tuple[str, ...],
    no_overflow: bool,
    trials: int,
    storage: Path | None,
    held_out: float,
    seed: int,
    trust: bool,
    output: Path | None,
    save: bool,
    **limits: Any,
) -> int:
    """Search for the deployments of MODEL that cost least and hold every limit, on the emulator.

    MODEL is a .keras, .h5 or .onnx file, a SavedModel folder, or the name of a benchmark network. Exit status 1 where
    no trial holds every limit.
    """
    from loihi_deploy import exploration
    from loihi_deploy.analysis.gate import Criteria
    from loihi_deploy.bench import networks as benchmarks
    from loihi_deploy.chip.boards import load_board
    from loihi_deploy.frontends import opened

    if save and output is None:
        raise click.UsageError("--save needs -o: the folder to write to.")
    given.check()
    if calibration is not None:
        check_named(calibration)
    told = {name: value for name, value in limits.items() if value is not None}
    if no_overflow:
        told["no_overflow"] = True
    onto = load_board(board)
    if output is not None:
        check_writable(make_folder(output) / VALUES)
    source = benchmarks.NETWORKS[model]() if model in benchmarks.NETWORKS else opened(model, trust)
    form = (graph_form if model in benchmarks.NETWORKS else keras_form)(source, given.pixels)
    found = given.read_as(form)
    calibrated_on = calibration or given.data or given.samples or ""
    labels = read_labels(given.labels) if calibration is None and given.labels is not None else None
    few = read_samples(calibrated_on, form, calibration_samples, "train", labels)
    if (
        calibration is None and few.name == found.name
    ):  # no training part: samples are for the one or for the other
        calibration_samples = min(calibration_samples, max(1, few.n_there // 4))
        few = read_samples(calibrated_on, form, calibration_samples, "train", labels)
        found = found.without(few)
    with terminal.working(f"Exploring {model}"):
        result = exploration.explore(
            *(source, found.x, found.y, onto),
            calibration=few.x,
            labels=few.y if found.y is not None else None,
            space=dict(space) or None,
            minimize=minimize,
            keep=Criteria(**told) if told else None,
            n_trials=trials,
            storage=storage,
            held_out=held_out,
            seed=seed,
            progress=shows_progress() and not terminal.verbose,
        )
    made_with = {
        "model": model,
        "calibration": calibrated_on,
        "calibration_samples": calibration_samples,
        "pixels": given.pixels,
        "board": board,
        "trust": trust,
    }
    figures = {
        "data": data_values(found),
        "calibration": data_values(few),
        **result.values(),
        "output": output and str(output),
    }
    if output is not None:
        _write(result, output, made_with, figures, save, terminal)

    def text() -> None:
        result.page().show()
        click.echo(f"On {found}; calibrated on {few}")
        if output is not None:
            click.echo(
                f"Written to {output}: loihi-deploy compile --options {output}/NAME.toml makes a point again"
            )

    terminal.figures(figures, text)
    return 0 if result.front else 1


def _write(
    result: Exploration,
    folder: Path,
    made_with: dict[str, Any],
    figures: dict[str, Any],
    save: bool,
    terminal: Terminal,
) -> None:
    """The picture, the values, and a file of options for each point of the front."""
    write_file(folder / VALUES, json.dumps(figures, indent=2).encode())
    for point in result.front:
        text = settings.as_toml(compile_command, made_with) + point.toml()
        write_file(folder / f"{point.name}.toml", text.encode())
        if save:
            result.save(point.name, folder / f"{point.name}.loihi")
    try:
        result.plot().savefig(folder / PICTURE, dpi=150, facecolor="white")
    except MissingExtraError as error:
        terminal.warn(str(error))
