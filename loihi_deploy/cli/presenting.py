"""``loihi-deploy run``, ``evaluate`` and ``verify``: a saved deployment on samples that have a name."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from loihi_deploy.cli.arguments import (
    RESETS,
    backend_option,
    between_options,
    json_option,
    pixels_option,
    steps_option,
)
from loihi_deploy.cli.given import Given, data_options, data_values, graph_form
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.outputs import output_option, write_output
from loihi_deploy.cli.streaming import answer_frames
from loihi_deploy.cli.terminal import Terminal, shows_progress
from loihi_deploy.data.named import (
    NamedSamples,
    check_named,
    read_samples,
)
from loihi_deploy.errors import BackendError, InputError, missing_extra
from loihi_deploy.files import write_file
from loihi_deploy.ir import samples_for
from loihi_deploy.ir.labels import class_labels

if TYPE_CHECKING:
    from loihi_deploy.deployment import Deployment
    from loihi_deploy.results import Counters, RunResult

USUAL = {"reset": RESETS["load"], "gap": 0, "streamed": False}
"""What is done between samples if nothing is said."""
SHOWN = 10
"""Samples whose outputs are printed one by one."""

deployment_argument = click.argument("deployment_file", type=Path)


@commands.command(runs_saved=True)
@deployment_argument
@click.argument("samples", required=False)
@click.option(
    "--stream",
    is_flag=True,
    help="Take frames from standard input, one in a line (numbers with commas or blanks, or JSON), and answer each in "
    "a line of JSON. An empty line ends a sequence.",
)
@click.option(
    "--steps-per-frame", type=click.IntRange(1), help="How long each frame is shown; in place of --steps."
)
@output_option("Write the outputs to this .npy file.")
@pixels_option
@steps_option
@backend_option
@between_options
@json_option
@click.pass_obj
def run(
    terminal: Terminal,
    deployment_file: Path,
    samples: str | None,
    stream: bool,
    steps_per_frame: int | None,
    output: Path | None,
    pixels: str,
    steps: int | None,
    backend: Any,
    between: dict[str, Any],
) -> None:
    """Run DEPLOYMENT_FILE (.loihi) on SAMPLES: .npy, file.npz:key, .csv, an IDX file or a folder of images."""
    deployment = _load(deployment_file)
    if stream:
        batch = samples is not None or output is not None or steps is not None or backend != "emulator"
        if batch or between != USUAL:
            raise click.UsageError(
                "--stream reads standard input, on the emulator; give it --steps-per-frame only."
            )
        answer_frames(deployment, sys.stdin, click.echo, steps_per_frame)
        return
    if samples is None:
        raise click.UsageError("Missing argument 'SAMPLES'. Give samples, or --stream.")
    check_named(samples)
    check_backend(backend)
    data = read_samples(samples, graph_form(deployment.graph, pixels))
    result = deployment.run(
        *(data.x, steps),
        backend=backend,
        steps_per_frame=steps_per_frame,
        progress=_progress(),
        **between,
    )
    steps = steps_of(result.counters)
    outputs = answers(result)
    if output is not None:
        written = io.BytesIO()
        np.save(written, outputs, allow_pickle=False)
        write_output(output, lambda target: write_file(target, written.getvalue()))
    figures = {
        "data": data_values(data),
        "steps": steps,
        "backend": backend,
        **between,
        "seconds": result.seconds,
        "outputs": outputs.tolist(),
        "output": output and str(output),
        **activity(deployment, result.counters),
    }

    def text() -> None:
        print_activity(figures)
        click.echo(f"{data}, {steps} steps, {result.seconds:.1f} s")
        for line in output_lines(result.outputs):
            click.echo(line)
        if output is not None:
            click.echo(f"Outputs {outputs.shape} written to {output}")

    terminal.figures(figures, text)


def answers(result: RunResult) -> NDArray[Any]:
    """What `predict` gives of the first readout: where the source answers every frame, all of them."""
    return next(iter(result.by_frame.values()), result.outputs)


def output_lines(outputs: Any) -> list[str]:
    """The first outputs, one sample a line: the most active one of several, and the values where they are few."""
    lines = []
    for k, values in enumerate(outputs[:SHOWN].reshape(len(outputs[:SHOWN]), -1)):
        few = "  ".join(f"{value:.4g}" for value in values[:SHOWN]) + ("  ..." if len(values) > SHOWN else "")
        decision = f"most active output {values.argmax()}; " if len(values) > 1 else ""
        lines.append(f"Sample {k}: {decision}{few}")
    if len(outputs) > SHOWN:
        lines.append(f"... and {len(outputs) - SHOWN:,} more samples: -o FILE.npy writes all")
    return lines


@commands.command(runs_saved=True)
@deployment_argument
@data_options()
@click.option("--by-step", is_flag=True, help="Also accuracy after each step of the presentation.")
@click.option("--by-frame", is_flag=True, help="Also accuracy after each frame of sequences.")
@click.option(
    "--energy", is_flag=True, help="Also energy and time on the chip, as `loihi-deploy energy` tells them."
)
@steps_option
@backend_option
@between_options
@json_option
@click.pass_obj
def evaluate(
    terminal: Terminal,
    deployment_file: Path,
    given: Given,
    by_step: bool,
    by_frame: bool,
    energy: bool,
    steps: int | None,
    backend: Any,
    between: dict[str, Any],
) -> int:
    """Accuracy of DEPLOYMENT_FILE (.loihi) on samples with labels; errors where these are values, not classes.

    Labels may be those of frames, (n_samples, n_frames), where the network answers every frame.
    """
    deployment = _load(deployment_file)
    given.check(need_labels=True)
    check_backend(backend)
    found = given.read(deployment)
    classes = as_classes(deployment, found.y)
    about = {"data": data_values(found), "steps": steps, "backend": backend, **between}
    if classes is None and are_classes_of_frames(found):
        classes = found.y
    if classes is None:
        if by_step or by_frame or energy:
            raise click.UsageError(
                "--by-step, --by-frame and --energy go with classes, and these labels are values; "
                "`loihi-deploy energy` takes any."
            )
        _evaluate_values(terminal, deployment, found, about, between)
        return 0
    same_run = energy and backend == "emulator"
    result = deployment.evaluate(
        *(found.x, classes, steps),
        backend=backend,
        by_step=by_step,
        by_frame=by_frame,
        energy=same_run,
        progress=_progress(),
        **between,
    )
    n_steps, first_frame = steps_of(result.counters), deployment.graph.first_frame + 1
    figures = {
        **about,
        "steps": n_steps,
        "accuracy": result.accuracy,
        "n_correct": result.n_correct,
        "n_total": result.n_total,
        "seconds": result.seconds,
        **({"accuracy_by_step": result.accuracy_by_step.tolist()} if by_step else {}),
        **({"accuracy_by_frame": result.accuracy_by_frame.tolist()} if by_frame else {}),
        **activity(deployment, result.counters),
    }
    cost = result.energy
    if energy and not same_run:  # other engines do not count
        cost = deployment.energy(found.x, steps, progress=_progress())
    if cost is not None:
        figures["energy"] = cost.values()

    def text() -> None:
        print_activity(figures)
        if cost is not None:
            cost.page().show()
        for step in range(10, n_steps, 10) if by_step else ():
            click.echo(f"{step:4d} steps: {100 * result.accuracy_by_step[step - 1]:.2f} %")
        for frame, accuracy in enumerate(result.accuracy_by_frame if by_frame else (), first_frame):
            click.echo(f"frame {frame:4d}: {100 * accuracy:.2f} %")
        click.echo(
            f"Accuracy {100 * result.accuracy:.2f} % ({result.n_correct:,} of {result.n_total:,}"
            f"{' frames' * (result.n_total > found.n)}) on {found}, "
            f"at {n_steps} steps, {result.seconds:.1f} s"
        )

    terminal.figures(figures, text)
    return 0


def _evaluate_values(
    terminal: Terminal,
    deployment: Deployment,
    found: NamedSamples,
    about: dict[str, Any],
    between: dict[str, Any],
) -> None:
    """Outputs beside target values: how far they are from each other."""
    from loihi_deploy.analysis.frames import gives_every_frame

    wanted = np.asarray(found.y, np.float64)
    samples, graph = samples_for(deployment.graph, found.x), deployment.graph
    every_frame = gives_every_frame(graph, deployment.options, samples)
    frames = (samples.n_frames - graph.first_frame,) if every_frame else ()
    shape = (found.n, *frames, *graph.readouts[0].shape)
    if wanted.size != prod(shape):
        raise InputError.single(
            "labels are neither classes nor one value for each output",
            "--labels",
            f"{found.y.dtype if found.y is not None else None} {wanted.shape}",
            f"integers ({found.n},) or values {shape}",
            "Give class numbers as integers, or the values that the network shall give",
        )
    result = deployment.run(
        samples, about["steps"], backend=about["backend"], progress=_progress(), **between
    )
    n_steps = steps_of(result.counters)
    error = answers(result).reshape(shape) - wanted.reshape(shape)
    figures = {
        **about,
        "steps": n_steps,
        "n_total": len(wanted),
        "mean_absolute_error": float(np.abs(error).mean()),
        "root_mean_square_error": float(np.sqrt(np.square(error).mean())),
        "standard_deviation_of_targets": float(wanted.std()),
        "seconds": result.seconds,
        **activity(deployment, result.counters),
    }

    def text() -> None:
        print_activity(figures)
        click.echo(
            f"Mean absolute error {figures['mean_absolute_error']:.4g}, root mean square error "
            f"{figures['root_mean_square_error']:.4g} (targets have a standard deviation of "
            f"{figures['standard_deviation_of_targets']:.4g}) on {found}, at {n_steps} steps, "
            f"{result.seconds:.1f} s"
        )

    terminal.figures(figures, text)


@commands.command(runs_saved=True)
@deployment_argument
@data_options(limit=200)
@click.option(
    "--reference-samples",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Samples for nengo-loihi's emulator, which is slow; 0 leaves it out.",
)
@steps_option
@json_option
@click.pass_obj
def verify(
    terminal: Terminal,
    deployment_file: Path,
    given: Given,
    reference_samples: int,
    steps: int | None,
) -> None:
    """Show accuracy and firing rates after each stage on the way to the chip, and what to do about the largest loss.

    Without labels, or with values in their place, decisions are compared and no accuracy is given.
    """
    from loihi_deploy.analysis.frames import presentation_steps
    from loihi_deploy.ir import samples_for

    deployment = _load(deployment_file)
    given.check()
    check_backend("nengo_loihi" if reference_samples else "emulator")
    found = given.read(deployment)
    classes = None if found.y is None else as_classes(deployment, found.y)
    steps = steps or presentation_steps(deployment.options, samples_for(deployment.graph, found.x))
    with terminal.working("Verifying"):
        result = deployment.verify(found.x, classes, steps, reference_samples=reference_samples)
    figures = {"data": data_values(found), "steps": steps, **asdict(result)}

    def text() -> None:
        click.echo(f"On {found}, {steps} steps")
        result.page().show()

    terminal.figures(figures, text)


def _load(path: Path) -> Deployment:
    from loihi_deploy.deployment import load

    return load(path)


def _progress() -> bool:
    """Whether runs show their progress bar."""
    return shows_progress()


def check_backend(backend: str) -> None:
    """Refuse a backend whose packages are not installed, before the work begins."""
    if backend in ("emulator", "numpy"):
        return
    if importlib.util.find_spec("nengo_loihi") is None:
        raise missing_extra("nengo-loihi", f"The {backend} backend")
    if backend == "hardware" and importlib.util.find_spec("nxsdk") is None:
        raise BackendError.single(
            "running on a Loihi board needs Intel's NxSDK, which is not installed here",
            "--backend hardware",
            remedy="Install NxSDK on a host with a Loihi board, or leave --backend out: the emulator gives the same "
            "spikes",
        )


def as_classes(deployment: Deployment, y: Any) -> Any:
    """Labels as class numbers, also from one-hot rows; None where they are values for the outputs."""
    if not deployment.graph.readouts:
        raise InputError.single("there is no readout, so there is nothing to compare with labels", "network")
    return class_labels(y, deployment.graph.readouts[0])


def are_classes_of_frames(found: NamedSamples) -> bool:
    """Whether labels are whole numbers, one for each frame of sequences."""
    given = next(iter(found.x.values())) if isinstance(found.x, Mapping) else found.x
    whole = found.y is not None and found.y.dtype.kind in "iu" and found.y.ndim == 2
    return whole and np.ndim(given) > 2


def steps_of(counters: Counters) -> int:
    """How long each sample was presented."""
    return counters.sample_steps // counters.samples


def activity(deployment: Deployment, counters: Counters) -> dict[str, Any]:
    """Counts of a run, for JSON and for `print_activity`."""
    from loihi_deploy.report import counters_values, encoder_values

    figures = counters_values(counters, deployment.program.dt)
    return {**figures, "encoder": encoder_values(deployment.program, counters)}


def print_activity(figures: dict[str, Any]) -> None:
    """Print the counts of a run."""
    from loihi_deploy.report import counters_page

    counters_page(figures).show()
