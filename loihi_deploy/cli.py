"""The command line: parse, call, print. Exit status 0 on success, 1 where a check fails, 2 on bad input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loihi_deploy import __version__
from loihi_deploy.errors import InputError, LoihiDeployError
from loihi_deploy.options import BACKEND_ALIASES, BACKENDS

if TYPE_CHECKING:
    from loihi_deploy.data import Dataset
    from loihi_deploy.options import DeployOptions


class Commands(click.Group):
    """A group of commands whose errors are one paragraph and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except LoihiDeployError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)


def main() -> None:
    """Entry point of ``loihi-deploy``."""
    commands(prog_name="loihi-deploy")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="loihi-deploy")
def commands() -> None:
    """Deploy trained networks on Intel's Loihi, on an emulator or on the chip."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print figures as JSON.")
board_option = click.option(
    "--board", default="nahuku32", show_default=True, help="Board name, or path of a TOML file."
)
steps_option = click.option(
    "--steps", default=100, show_default=True, type=click.IntRange(1), help="Presentation time."
)
data_option = click.option(
    "--data",
    "data_folder",
    type=click.Path(path_type=Path),
    help="Folder of IDX files (Fashion-MNIST, MNIST), gzipped or not; the bundled Fashion-MNIST subset if not given.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice([*BACKENDS, *BACKEND_ALIASES]),
    default="emulator",
    show_default=True,
    help="Our compiled engine, our plain one, nengo-loihi's emulator (also 'reference'), or the chip.",
)


def deploy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that make a `DeployOptions`."""
    from loihi_deploy.encoders import ENCODERS
    from loihi_deploy.options import NORMALIZATIONS, DeployOptions

    defaults = DeployOptions().as_dict()
    for name, kind, text in (
        ("readout_window", float, "Part of the presentation, its last, that outputs are averaged over."),
        ("bias_correction_steps", int, "Presentation time at which biases are corrected; 0: not at all."),
        ("encoder_rate", float, "Highest firing rate in Hz on the host."),
        ("percentile", float, "Percentile of firing rates that is set to the target."),
        ("target_rate", float, "Firing rate in Hz that each layer is scaled to."),
        (
            "normalization",
            click.Choice([choice for choice in NORMALIZATIONS if choice != "scale_firing_rates"]),
            "How firing rates are set.",
        ),
        (
            "encoder",
            click.Choice(list(ENCODERS)),
            "What turns input into spikes.",
        ),
        ("synapse", float, "Time constant of synapses in seconds."),
        ("neuron", click.Choice(["if", "lif"]), "What a ReLU becomes."),
    ):
        flag = "--" + name.replace("_", "-")
        option = click.option(flag, name, type=kind, default=defaults[name], show_default=True, help=text)
        command = option(command)
    return command


def _options(values: dict[str, Any]) -> DeployOptions:
    from loihi_deploy.options import DeployOptions

    return DeployOptions(**values)


def _dataset(folder: Path | None) -> Dataset:
    from loihi_deploy import data

    return data.fashion_mnist() if folder is None else data.load_idx(folder)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def _load_array(path: Path) -> Any:
    """An array from a .npy file."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError.single("not a readable .npy file", str(path), str(error)) from error


def _samples(folder: Path | None, samples: Path | None, labels: Path | None) -> tuple[Any, Any]:
    """Labelled samples: arrays of the user's own, or a data set's test images."""
    if (samples is None) != (labels is None):
        raise click.UsageError("--samples and --labels go together")
    if samples is not None and labels is not None:
        return _load_array(samples), _load_array(labels)
    data = _dataset(folder)
    return data.x_test, data.y_test


@commands.command()
@data_option
@board_option
@steps_option
@click.option("--epochs", default=12, show_default=True, type=click.IntRange(1), help="Training epochs.")
@click.option("--test-images", type=click.IntRange(1), help="Use only so many test images.")
@click.option(
    "--output",
    default="out",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the report.",
)
@json_option
def demo(
    data_folder: Path | None,
    board: str,
    steps: int,
    epochs: int,
    test_images: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Train a network, deploy it, and compare it with what it came from."""
    from loihi_deploy.demo import run_demo
    from loihi_deploy.report import demo_table

    say = (lambda text: click.echo(text, err=True)) if as_json else click.echo
    result = run_demo(_dataset(data_folder), board, steps, epochs, test_images, output, say)
    if as_json:
        _print_json(result)
    else:
        demo_table(result)
    sys.exit(0 if result["reference_spikes_equal"] else 1)


@commands.command("compile")
@click.argument("model")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The .loihi file to write.")
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="Samples in a .npy file; else training images."
)
@data_option
@board_option
@deploy_options
@click.option(
    "--fix",
    multiple=True,
    metavar="NAME=SHAPE",
    help="Slices of a population: conv1=8x8x16, or a number of cores: dense=2.",
)
@click.option("--max-cores", type=click.IntRange(1), help="Use no more cores than this.")
@click.option("--downgrade", multiple=True, metavar="RULE", help="Warn of a rule instead of obeying it.")
@click.option("--trust", is_flag=True, help="Let code in the model file run (Lambda layers and the like).")
@click.option("--cores", "show_cores", is_flag=True, help="List every core.")
@json_option
def compile_command(
    model: str,
    output: Path | None,
    calibration: Path | None,
    data_folder: Path | None,
    board: str,
    fix: tuple[str, ...],
    max_cores: int | None,
    downgrade: tuple[str, ...],
    trust: bool,
    show_cores: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile MODEL, a saved Keras model (.keras, .h5, SavedModel) or a benchmark's name, and show the core plan."""
    from loihi_deploy.bench import networks as benchmarks
    from loihi_deploy.pipeline import deploy
    from loihi_deploy.report import mapping_report, summary

    plan: dict[str, Any] = {"fix": _fixed(fix), "max_cores": max_cores, "downgrade": downgrade}
    if model in benchmarks.NETWORKS:
        options["normalization"] = "none"  # these come with their firing rates
        deployment = deploy(benchmarks.NETWORKS[model](), board, options=_options(options), **plan)
    else:
        from loihi_deploy.frontends.saved_models import load_keras_model

        source = load_keras_model(model, trust)
        samples = None
        if options["normalization"] != "none":
            samples = _load_array(calibration) if calibration else _dataset(data_folder).x_train[:500]
        deployment = deploy(source, board, samples, _options(options), **plan)
    if output is not None:
        deployment.save(output)
    figures = summary(deployment.program, deployment.mapping)
    if as_json:
        _print_json(figures)
    else:
        mapping_report(figures, deployment.mapping, show_cores)
        if output is not None:
            click.echo(f"Written to {output}")


def _fixed(entries: tuple[str, ...]) -> dict[str, Any]:
    """What --fix says, for `map_to_cores`."""
    fixed: dict[str, Any] = {}
    for entry in entries:
        name, _, shape = entry.rpartition("=")
        numbers = shape.split("x")
        if not name or not all(number.isdigit() for number in numbers):
            raise click.UsageError(f"--fix {entry}: give NAME=HEIGHTxWIDTHxCHANNELS or NAME=CORES")
        fixed[name] = int(shape) if len(numbers) == 1 else tuple(map(int, numbers))
    return fixed


@commands.command()
@click.argument("deployment_file", type=click.Path(path_type=Path))
@click.argument("samples", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write the outputs to this .npy file.")
@steps_option
@backend_option
@json_option
def run(
    deployment_file: Path, samples: Path, output: Path | None, steps: int, backend: Any, as_json: bool
) -> None:
    """Run DEPLOYMENT_FILE (.loihi) on SAMPLES, an array of inputs in a .npy file."""
    import io

    import numpy as np

    from loihi_deploy.deployment import load
    from loihi_deploy.files import write_file
    from loihi_deploy.report import counters_table, counters_values, encoder_values

    deployment = load(deployment_file)
    result = deployment.run(_load_array(samples), steps, backend=backend)
    if output is not None:
        stream = io.BytesIO()
        np.save(stream, result.outputs, allow_pickle=False)
        write_file(output, stream.getvalue())
    figures = counters_values(result.counters, deployment.program.dt)
    figures["encoder"] = encoder_values(deployment.program, result.counters)
    if as_json:
        _print_json({"outputs": result.outputs.tolist(), "seconds": result.seconds, **figures})
    else:
        counters_table(figures)
        click.echo(
            f"Most active output of each sample: {result.outputs.reshape(len(result.outputs), -1).argmax(1)}"
        )
        if output is not None:
            click.echo(f"Outputs {result.outputs.shape} written to {output}")


@commands.command()
@click.argument("deployment_file", type=click.Path(path_type=Path))
@data_option
@click.option("--samples", type=click.Path(path_type=Path), help="Samples in a .npy file, instead of --data.")
@click.option("--labels", type=click.Path(path_type=Path), help="Their labels in a .npy file.")
@click.option("--limit", type=click.IntRange(1), help="Use only so many samples.")
@click.option("--by-step", is_flag=True, help="Also accuracy after each step of the presentation.")
@steps_option
@backend_option
@json_option
def evaluate(
    deployment_file: Path,
    data_folder: Path | None,
    samples: Path | None,
    labels: Path | None,
    limit: int | None,
    by_step: bool,
    steps: int,
    backend: Any,
    as_json: bool,
) -> None:
    """Accuracy of DEPLOYMENT_FILE (.loihi) on labelled samples: test images, or arrays of your own."""
    from loihi_deploy.deployment import load
    from loihi_deploy.report import counters_table, counters_values, encoder_values

    x, y = _samples(data_folder, samples, labels)
    deployment = load(deployment_file)
    result = deployment.evaluate(x[:limit], y[:limit], steps, backend=backend, by_step=by_step)
    figures = counters_values(result.counters, deployment.program.dt)
    figures["encoder"] = encoder_values(deployment.program, result.counters)
    if as_json:
        _print_json(
            {
                "accuracy": result.accuracy,
                "n_correct": result.n_correct,
                "n_total": result.n_total,
                "steps": steps,
                "backend": backend,
                "seconds": result.seconds,
                **({"accuracy_by_step": result.accuracy_by_step.tolist()} if by_step else {}),
                **figures,
            }
        )
    else:
        counters_table(figures)
        for step in range(10, steps, 10) if by_step else ():
            click.echo(f"{step:4d} steps: {100 * result.accuracy_by_step[step - 1]:.2f} %")
        click.echo(
            f"Accuracy {100 * result.accuracy:.2f} % ({result.n_correct} of {result.n_total}) "
            f"at {steps} steps, {result.seconds:.1f} s"
        )


@commands.command()
@click.argument("deployment_file", type=click.Path(path_type=Path))
@data_option
@click.option("--samples", type=click.Path(path_type=Path), help="Samples in a .npy file, instead of --data.")
@click.option("--labels", type=click.Path(path_type=Path), help="Their labels in a .npy file.")
@click.option(
    "--limit", default=200, show_default=True, type=click.IntRange(1), help="Use only so many samples."
)
@click.option(
    "--reference-samples",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Samples for nengo-loihi's emulator.",
)
@steps_option
@json_option
def verify(
    deployment_file: Path,
    data_folder: Path | None,
    samples: Path | None,
    labels: Path | None,
    limit: int,
    reference_samples: int,
    steps: int,
    as_json: bool,
) -> None:
    """Show accuracy and firing rates after each stage on the way to the chip, and what to do about the largest loss."""
    from dataclasses import asdict

    from loihi_deploy.deployment import load
    from loihi_deploy.report import verification_tables

    deployment = load(deployment_file)
    x, y = _samples(data_folder, samples, labels)
    result = deployment.verify(x[:limit], y[:limit], steps, reference_samples=reference_samples)
    if as_json:
        _print_json(asdict(result))
    else:
        verification_tables(asdict(result))


@commands.command()
@click.argument("deployment_file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The report to write: .html, .txt or .json.",
)
def report(deployment_file: Path, output: Path) -> None:
    """Write a report on DEPLOYMENT_FILE (.loihi): layers, cores, rounding errors, encoder, warnings."""
    from loihi_deploy.deployment import load

    load(deployment_file).report(output)
    click.echo(f"Written to {output}")


@commands.command()
@click.argument("names", nargs=-1)
@json_option
def boards(names: tuple[str, ...], as_json: bool) -> None:
    """List the known boards, or those in NAMES (names or paths of board files)."""
    from dataclasses import asdict

    from loihi_deploy.chip.boards import board_names, load_board
    from loihi_deploy.report import boards_table

    found = [load_board(name) for name in names or board_names()]
    if as_json:
        _print_json([{**asdict(board), "n_cores": board.n_cores} for board in found])
    else:
        boards_table(found)


@commands.command()
@click.option("--network", "networks", multiple=True, help="Only these benchmark networks.")
@click.option("--batch", type=click.IntRange(1), help="Samples in a run.")
@click.option("--threads", type=click.IntRange(1), help="Threads; every core of the machine if not given.")
@steps_option
@click.option(
    "--repeats", default=5, show_default=True, type=click.IntRange(1), help="Runs of which the best counts."
)
@json_option
def bench(
    networks: tuple[str, ...],
    batch: int | None,
    threads: int | None,
    steps: int,
    repeats: int,
    as_json: bool,
) -> None:
    """Measure our emulator against nengo-loihi's and NengoDL's, side by side, on equal spikes."""
    from loihi_deploy import bench as benchmarking

    rows = benchmarking.bench(
        networks or None,
        batch,
        threads,
        steps=steps,
        repeats=repeats,
        say=lambda text: click.echo(text, err=True),
    )
    if as_json:
        _print_json(rows)
    else:
        from rich.console import Console

        Console().print(benchmarking.table(rows))
    sys.exit(0 if all(row["spikes_equal"] is not False for row in rows) else 1)
