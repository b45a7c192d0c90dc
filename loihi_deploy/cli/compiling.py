"""``loihi-deploy compile``: from a saved model to a deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli import settings
from loihi_deploy.cli.arguments import (
    FIX,
    board_option,
    by_name,
    calibration_samples_option,
    deploy_options,
    given_ones,
    json_option,
    options_from,
    pixels_option,
    trust_option,
)
from loihi_deploy.cli.given import data_values, graph_form
from loihi_deploy.cli.group import commands, did_you_mean
from loihi_deploy.cli.outputs import output_option, write_output
from loihi_deploy.cli.terminal import Terminal
from loihi_deploy.data.arrays import FORMS
from loihi_deploy.data.named import BUNDLED, Form, NamedSamples, check_named, read_labels, read_samples
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.file_kinds import file_kind, wrong_kind
from loihi_deploy.files import check_writable, write_file
from loihi_deploy.ir.labels import class_labels
from loihi_deploy.options import DeployOptions

MODEL_KINDS = ("keras", "hdf5", "saved_model", "onnx")
"""Kinds of files that hold a model."""
BY_HAND = ("none", "scale_firing_rates")
"""Normalizations that need no samples."""


@commands.command("compile")
@click.argument("model")
@output_option("The .loihi file to write.")
@click.option(
    "--calibration",
    "--data",
    metavar="DATA",
    help=f"Samples that firing rates are set from: {FORMS}, or {', '.join(BUNDLED)}; training images of a set.",
)
@click.option(
    "--labels",
    metavar="FILE",
    help="Classes of these samples, which --steps is chosen with: .npy, .npz, .csv or an IDX file; those that the data "
    "hold, if not given.",
)
@calibration_samples_option
@pixels_option
@board_option
@deploy_options
@click.option(
    "--fix",
    multiple=True,
    type=FIX,
    metavar="NAME=SHAPE",
    help="Slices of a population: conv1=8x8x16, or a number of cores: dense=2.",
)
@click.option("--max-cores", type=click.IntRange(1), help="Use no more cores than this.")
@click.option("--downgrade", multiple=True, metavar="RULE", help="Warn of a rule instead of obeying it.")
@click.option(
    "--avoid",
    multiple=True,
    metavar="RULE",
    help="Obey a rule that is only warned of, on more cores if need be.",
)
@trust_option
@click.option(
    "--options",
    "options_file",
    metavar="FILE",
    type=Path,
    is_eager=True,
    callback=settings.from_file,
    help="Take everything that is not given here from this TOML file.",
)
@click.option(
    "--write-options",
    metavar="FILE",
    type=Path,
    help="Write the TOML file that makes this deployment again.",
)
@click.option("--cores", "show_cores", is_flag=True, help="List every core.")
@json_option
@click.pass_context
def compile_command(
    ctx: click.Context,
    /,
    model: str,
    output: Path | None,
    calibration: str | None,
    labels: str | None,
    calibration_samples: int,
    pixels: str,
    board: str,
    fix: tuple[tuple[str, Any], ...],
    max_cores: int | None,
    downgrade: tuple[str, ...],
    avoid: tuple[str, ...],
    trust: bool,
    options_file: Path | None,
    write_options: Path | None,
    show_cores: bool,
    **values: Any,
) -> None:
    """Compile MODEL, a saved model or the name of a benchmark network, and show the core plan.

    MODEL is a .keras, .h5 or .onnx file or a SavedModel folder; or a .net file of lava-dl, whose integers stay as they
    are; or a .nir file, of spiking neurons. The last two and benchmark networks, which come with their firing rates,
    need no calibration.
    """
    from loihi_deploy.bench import networks as benchmarks
    from loihi_deploy.chip.boards import load_board
    from loihi_deploy.frontends import opened
    from loihi_deploy.frontends.netx_file import is_netx
    from loihi_deploy.frontends.nir_file import is_nir
    from loihi_deploy.mapping.core_plan import mapping_page
    from loihi_deploy.pipeline import deploy
    from loihi_deploy.report import layers_page, summary

    terminal: Terminal = ctx.obj
    named = model in benchmarks.NETWORKS
    kind = "missing" if named else file_kind(model)
    integers = kind in ("hdf5", "unknown") and is_netx(model)
    spiking = kind in ("hdf5", "nir") and is_nir(model)
    if (named or integers or spiking) and ctx.get_parameter_source(
        "normalization"
    ) is click.core.ParameterSource.DEFAULT:
        values["normalization"] = ctx.params["normalization"] = "none"
    options = options_from(values)
    if write_options is not None:
        check_writable(write_options)
    onto = load_board(board)
    if not named and not integers and not spiking:
        _check_model(model, list(benchmarks.NETWORKS))
    _check_calibration(calibration, labels, options)

    plan: dict[str, Any] = {
        "fix": by_name(fix),
        "max_cores": max_cores,
        "downgrade": downgrade,
        "avoid": avoid,
    }
    samples: NamedSamples | None = None
    with terminal.working(f"Compiling {model}"):
        source = benchmarks.NETWORKS[model]() if named else opened(model, trust)
        if calibration is not None and not integers:
            form = graph_form(source, pixels) if named else keras_form(source, pixels)
            given = None if labels is None else read_labels(labels)
            samples = read_samples(calibration, form, calibration_samples, "train", given)
        classes = samples.y if samples and labels else _classes(source, samples, options)
        x = samples.x if samples else calibration
        deployment = deploy(source, onto, x, options, labels=classes, **plan)
    if output is not None:
        write_output(output, deployment.save)
    if write_options is not None:
        write_file(write_options, settings.as_toml(ctx.command, given_ones(ctx, ctx.params)).encode())

    figures: dict[str, Any] = {
        **summary(deployment.program, deployment.mapping),
        "mapping": deployment.mapping.values(),
        "options": deployment.options.as_dict(),
        "calibration": samples and {**data_values(samples), "labels": classes is not None},
        "output": output and str(output),
    }

    def text() -> None:
        layers = layers_page({**figures, "warnings": []})
        (layers + mapping_page({**figures["mapping"], "warnings": []}, show_cores)).show()
        if samples is not None:
            click.echo(f"Calibrated on {samples}{'' if classes is None else ', with their labels'}")
        if output is not None:
            click.echo(f"Written to {output}")

    terminal.figures(figures, text)


def _check_model(model: str, benchmarks: list[str]) -> None:
    """Refuse what is no saved model, and say what it is."""
    kind = file_kind(model)
    problem = wrong_kind(model)
    if kind == "missing":
        near = did_you_mean(model, benchmarks) or f" Benchmark networks are {', '.join(benchmarks)}"
        remedy = f"{problem.remedy}, or the name of a benchmark network.{near}"
        raise InputError("There is no model to read", replace(problem, remedy=remedy))
    if kind not in MODEL_KINDS:
        raise ConversionError("The file is not a model that can be read", problem)


def _check_calibration(calibration: str | None, labels: str | None, options: DeployOptions) -> None:
    """Refuse, before the model is loaded, to set firing rates from nothing, and labels that decide nothing."""
    if labels is not None and calibration is None:
        raise click.UsageError("--labels are those of the samples: give --calibration, too.")
    if labels is not None and options.steps is None:
        raise click.UsageError(
            "--labels decide nothing without --steps: give --steps auto or a number of steps."
        )
    if labels is not None:
        check_named(labels)
    if calibration is not None:
        check_named(calibration)
    elif options.normalization not in BY_HAND:
        raise InputError.single(
            "firing rates cannot be set without samples of the network's own data",
            "--calibration",
            remedy=f"Give some hundred training samples, --calibration DATA with one of: {FORMS}; or keep the "
            "model's own gains with --normalization none",
        )


def _classes(source: Any, samples: NamedSamples | None, options: DeployOptions) -> Any:
    """The classes that calibration samples bring along, where something is chosen with them; not other values."""
    if samples is None or samples.y is None or options.steps is None:
        return None
    from loihi_deploy.frontends import convert

    graph = convert(source, options)
    return class_labels(samples.y, graph.readouts[0]) if graph.readouts else None


def keras_form(model: Any, pixels: str) -> Form:
    """What a Keras or ONNX model takes; of Keras images have channels first where only that makes 1, 3 or 4."""
    from loihi_deploy.frontends.compat import is_instance
    from loihi_deploy.frontends.nir import nir_input_shapes
    from loihi_deploy.frontends.nir_file import NirNetwork
    from loihi_deploy.frontends.onnx_models import onnx_input_shapes

    if isinstance(model, NirNetwork):
        nir_shapes = nir_input_shapes(model)
        return Form(nir_shapes, any(len(shape) == 3 for shape in nir_shapes.values()), pixels)
    if is_instance(model, "onnx", "ModelProto"):
        onnx_shapes = onnx_input_shapes(model)
        return Form(onnx_shapes, any(len(shape) == 3 for shape in onnx_shapes.values()), pixels)
    shapes = {
        str(tensor.name).split(":")[0]: tuple(tensor.shape[1:])
        for tensor in getattr(model, "inputs", None) or ()
    }
    first = next(iter(shapes.values()), ())
    colours = (1, 3, 4)
    return Form(
        shapes or {"input": ()}, len(first) == 3 and first[-1] not in colours and first[0] in colours, pixels
    )
