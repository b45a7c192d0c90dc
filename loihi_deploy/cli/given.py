"""The options that name data for a saved deployment, once for all commands, and what they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from loihi_deploy.cli.arguments import labels_option, pixels_option, samples_option
from loihi_deploy.data.arrays import FORMS
from loihi_deploy.data.named import (
    BUNDLED,
    Form,
    NamedSamples,
    check_named,
    read_labelled,
    read_labels,
    read_samples,
)
from loihi_deploy.errors import InputError

if TYPE_CHECKING:
    from loihi_deploy.deployment import Deployment

LABELLED = (
    "a folder of images by class, IDX files, .npz with x and y, .csv with a column 'label', or "
    f"{' or '.join(BUNDLED)}"
)
"""What holds samples and their labels."""


@dataclass(frozen=True)
class Given:
    """What a command was told of data.

    Parameters
    ----------
    data : str or None
        What holds samples and labels.
    samples, labels : str or None
        Where each of them stands by itself.
    pixels : str
        Range of pixels that the network was trained on.
    limit : int or None
        Most samples to use.
    """

    data: str | None
    samples: str | None
    labels: str | None
    pixels: str
    limit: int | None

    def __bool__(self) -> bool:
        return not (self.data is self.samples is self.labels is None)

    def check(self, need_labels: bool = False) -> None:
        """Refuse options that name no data, data twice, or what is not there, before the work begins."""
        if self.data is not None and (self.samples is not None or self.labels is not None):
            raise click.UsageError("Give either --data or --samples and --labels.")
        if self.labels is not None and self.samples is None:
            raise click.UsageError("--samples and --labels go together.")
        if self.samples is not None and self.labels is None and need_labels:
            raise click.UsageError("--samples and --labels go together; --data DATA holds both.")
        if not self:
            raise InputError.single(
                "no data to run on",
                "--data",
                remedy=f"Give --data DATA ({LABELLED}), or --samples DATA --labels FILE ({FORMS})",
            )
        check_named(*(name for name in (self.data, self.samples, self.labels) if name is not None))

    def read(self, deployment: Deployment) -> NamedSamples:
        """The samples that the options name, with their labels if there are any."""
        return self.read_as(graph_form(deployment.graph, self.pixels))

    def read_as(self, form: Form) -> NamedSamples:
        """The same, for a network that takes samples of this form."""
        if self.data is not None:
            return read_labelled(self.data, form, self.limit)
        assert self.samples is not None  # see check
        labels = None if self.labels is None else read_labels(self.labels)
        return read_samples(self.samples, form, self.limit, labels=labels)


def data_options(limit: int | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that name data; the command takes them as one argument, `given`. `limit` is its default."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def collected(*args: Any, **values: Any) -> Any:
            names = ("data", "samples", "labels", "pixels", "limit")
            return command(*args, given=Given(*(values.pop(name) for name in names)), **values)

        for option in (
            click.option(
                "--limit",
                default=limit,
                show_default=limit is not None,
                type=click.IntRange(1),
                help="Use only so many samples, evenly spaced.",
            ),
            pixels_option,
            labels_option,
            samples_option,
            click.option(
                "--data",
                metavar="DATA",
                help=f"Samples with labels: {LABELLED}, which is bundled.",
            ),
        ):
            collected = option(collected)
        return collected

    return add


def graph_form(graph: Any, pixels: str) -> Form:
    """What the inputs of a graph take."""
    shapes = {
        node.name: (node.shape[-1], *node.shape[:-1]) if node.channels_first else node.shape
        for node in graph.inputs
    }
    return Form(shapes, any(node.channels_first for node in graph.inputs), pixels)


def data_values(samples: NamedSamples) -> dict[str, Any]:
    """What samples were used, for JSON."""
    return {"name": samples.name, "samples": samples.n, "of": samples.n_there}
