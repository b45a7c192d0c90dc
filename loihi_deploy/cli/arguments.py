"""Options that commands share, and those that follow from the fields of `DeployOptions`: nothing is listed twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import wraps
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from loihi_deploy.data.arrays import FORMS
from loihi_deploy.data.named import PIXELS
from loihi_deploy.options import BACKEND_ALIASES, BACKENDS, RENAMED, DeployOptions

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print figures, warnings and errors as JSON."
)
board_option = click.option(
    "--board", default="nahuku32", show_default=True, help="Board name, or path of a TOML file."
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(1),
    help="Steps of presentation, of 1 ms each unless the network says otherwise; if not given, what a deployment was "
    "made for, or 100.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice([*BACKENDS, *BACKEND_ALIASES]),
    default="emulator",
    show_default=True,
    help="Our compiled engine, our plain one, nengo-loihi's emulator (also 'reference'), or the chip.",
)
pixels_option = click.option(
    "--pixels",
    type=click.Choice(list(PIXELS)),
    default="0..1",
    show_default=True,
    help="Range of pixels that the network was trained on, for images from folders, IDX files and bundled sets.",
)
calibration_samples_option = click.option(
    "--calibration-samples",
    default=500,
    show_default=True,
    type=click.IntRange(1),
    help="How many of them are used, evenly spaced.",
)
trust_option = click.option(
    "--trust", is_flag=True, help="Let code in the model file run (Lambda layers and the like)."
)
samples_option = click.option("--samples", metavar="DATA", help=f"Samples alone: {FORMS}.")
labels_option = click.option(
    "--labels", metavar="FILE", help="Their labels, or target values: .npy, .npz, .csv or an IDX file."
)

RESETS: dict[str, Any] = {"load": True, "snip": "snip", "gap": "gap", "none": False}
"""Ways from one sample to the next, as `Deployment.run` knows them."""


def between_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what is done between samples; the command gets it as ``between``, arguments of `Deployment.run`."""

    @wraps(command)
    def collected(*args: Any, reset: str, gap: int, streamed: bool, **values: Any) -> Any:
        return command(*args, between={"reset": RESETS[reset], "gap": gap, "streamed": streamed}, **values)

    for option in (
        click.option("--streamed", is_flag=True, help="On a board: send spikes while it runs, not before."),
        click.option("--gap", default=0, type=click.IntRange(0), help="Those steps, for --reset gap."),
        click.option(
            "--reset",
            default="load",
            show_default=True,
            type=click.Choice(list(RESETS)),
            help="Between samples: a board is loaded anew, or a snip writes its state, which both start from rest; or "
            "there are some steps without input; or nothing is done.",
        ),
    ):
        collected = option(collected)
    return collected


class NamedValue(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """NAME=VALUE, or VALUE alone where that stands for all names; gives (name, value), the name ``""`` for all.

    Parameters
    ----------
    value : callable
        Makes a value of its text; ValueError says that it cannot.
    form : str
        What is expected, for messages.
    alone : bool
        Whether VALUE may stand alone.
    """

    def __init__(self, value: Callable[[str], Any], form: str, alone: bool = False) -> None:
        self.value, self.form, self.alone = value, form, alone
        self.name = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make the pair of a text."""
        name, equals, text = str(value).rpartition("=")
        if bool(name) if equals else self.alone:
            try:
                return name, self.value(text)
            except ValueError:
                pass
        return self.fail(f"{value!r}: give {self.form}", param, ctx)


class OneOf(click.ParamType):  # type: ignore[type-arg]
    """A whole number, a number, or one of some words: whichever of the kinds a text is."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        self.words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        self.numbers = [kind for kind in kinds if kind in (int, float)]
        self.name = "|".join([*(kind.__name__.upper() for kind in self.numbers), *self.words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make the value of a text."""
        if value in self.words:
            return value
        for kind in self.numbers:
            try:
                return kind(value)
            except ValueError:
                continue
        return self.fail(f"{value!r}: give {' or '.join(self.name.split('|'))}", param, ctx)


def _slices(text: str) -> int | tuple[int, ...]:
    """A number of cores, or a shape of slices."""
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})*", text):
        raise ValueError(text)
    numbers = tuple(map(int, text.split("x")))
    return numbers if len(numbers) > 1 else numbers[0]


FIX = NamedValue(_slices, "NAME=HEIGHTxWIDTHxCHANNELS or NAME=CORES")


def by_name(pairs: Iterable[tuple[str, Any]]) -> Any:
    """The values of several NAME=VALUE by name; the one value that stands for all names as it is."""
    values = dict(pairs)
    if "" not in values:
        return values
    if len(values) > 1:
        raise click.UsageError("Give one value for all layers, or NAME=VALUE for each, not both.")
    return values[""]


def deploy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of `DeployOptions`, its help from the docstring."""
    texts = _parameter_texts(DeployOptions.__doc__ or "")
    kinds = get_type_hints(DeployOptions)
    defaults = DeployOptions().as_dict()
    for field in reversed(fields(DeployOptions)):
        choices, text = texts[field.name]
        kind = click.Choice(choices) if choices else kinds[field.name]
        command = _option(field.name, kind, defaults[field.name], text)(command)
    return command


def given_ones(ctx: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given, or that a command chose: all but defaults that nobody named."""
    chosen = {}
    for param in ctx.command.params:
        name = str(param.name)
        by_default = ctx.get_parameter_source(name) is ParameterSource.DEFAULT
        if name in values and not (by_default and values[name] == param.get_default(ctx)):
            chosen[name] = values[name]
    return chosen


def options_from(values: dict[str, Any]) -> DeployOptions:
    """Take what the options of `deploy_options` gave out of `values`; those that nobody gave stay open."""
    kinds = get_type_hints(DeployOptions)
    every = {field.name: values.pop(field.name) for field in fields(DeployOptions)}
    chosen = given_ones(click.get_current_context(), every)
    for name, value in list(chosen.items()):
        if _is_by_name(kinds[name]):
            chosen[name] = by_name(value)
            if not value:
                del chosen[name]
    return DeployOptions(**chosen)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_by_name(kind: Any) -> bool:
    return any(get_origin(each) is get_origin(Mapping[str, float]) for each in _alternatives(kind))


def _option(name: str, kind: Any, default: Any, text: str) -> Callable[..., Any]:
    """The click option for a field of this name, annotation, default and description."""
    flag = "--" + name.replace("_", "-")
    single = [each for each in _alternatives(kind) if each is not NoneType]
    if _is_by_name(kind):
        alone = len(single) > 1
        form = "VALUE or NAME=VALUE" if alone else "NAME=VALUE"
        return click.option(
            flag, name, multiple=True, type=NamedValue(float, form, alone), metavar=form, help=text
        )
    if len(single) > 1:
        return click.option(flag, name, type=OneOf(single), default=default, show_default=True, help=text)
    [only] = single
    if only is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=default, show_default=True, help=text)
    former = ["--" + old.replace("_", "-") for old, new in RENAMED.items() if new == name]
    return click.option(flag, *former, name, type=only, default=default, show_default=True, help=text)


def _parameter_texts(docstring: str) -> dict[str, tuple[list[str], str]]:
    """The choices of each parameter of a numpydoc docstring, and the first sentence about it."""
    section = docstring.partition("Parameters\n")[2].partition("Raises\n")[0]
    texts = {}
    for name, kind, text in re.findall(
        r"^    (\w+) : (.*)\n((?:^(?:        .*)?\n)+)", section, re.MULTILINE
    ):
        choices = re.findall(r"'(\w+)'", kind) if kind.startswith("{") else []
        texts[name] = choices, re.split(r"(?<=\.)\s", " ".join(text.split()))[0]
    return texts
