"""Figures as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from loihi_deploy.chip.hardware import Board


def _table(title: str, columns: Iterable[str], left: int = 1) -> Table:
    """A table whose first `left` columns hold names, the others figures."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=index < left)
    return table


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


def layers_table(values: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `summary` gave: a row for each layer, cores and chips, and every warning."""
    rates = any("firing_rate" in layer for layer in values["layers"])
    columns = ["layer", "place", "shape", "neurons", "cores", "weights", "rounding error"]
    table = _table(f"Layers on {values['board']}", columns + ["firing rate"] * rates, left=2)
    for layer in values["layers"]:
        row = [
            layer["name"],
            layer["place"],
            _shape(layer["shape"]),
            f"{layer['neurons']:,}",
            str(layer["cores"] or ""),
            f"{layer['weights']:,}" if "weights" in layer else "",
            _percent(layer.get("weight_rms_error")),
        ]
        table.add_row(*row, *([f"{layer['firing_rate']:.1f} Hz"] if rates else []))
    console = console or Console(highlight=False)
    console.print(table)
    shared = sum(layer["cores"] for layer in values["layers"]) > values["n_cores"]
    console.print(
        f"{values['n_neurons']:,} neurons on {values['n_cores']} cores of {values['n_chips']} chip(s)"
        + ("; some cores hold parts of several layers" if shared else "")
    )
    if values["never_wraps"]:
        console.print(
            f"No accumulator can overflow, whatever the input, in {', '.join(values['never_wraps'])}"
        )
    cost = values["encoder"]
    sent = f", {cost['spikes_per_sample']:,.1f} spikes per sample" if "spikes_per_sample" in cost else ""
    console.print(
        f"Encoder ({', '.join(cost['neurons'])}): {cost['multiplies_per_frame']:,} multiplies and "
        f"{cost['additions_per_frame']:,} additions per frame, {cost['multiplies_per_step']:,} and "
        f"{cost['additions_per_step']:,} per step{sent}"
    )
    for warning in values["warnings"]:
        console.print(f"Warning: {warning}", style="yellow")


def counters_table(values: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `counters_values` gave: a row for each population."""
    columns = ["population", "firing rate", "spikes", "synaptic events", "overflows", "lost spikes"]
    table = _table(f"Activity over {values['samples']:,} samples", columns)
    for name, counts in values["populations"].items():
        table.add_row(
            name,
            f"{counts['firing_rate']:.1f} Hz",
            *(f"{counts[key]:,}" for key in ("spikes", "synaptic_events", "overflows", "lost_spikes")),
        )
    (console or Console(highlight=False)).print(table)


def boards_table(boards: Iterable[Board]) -> None:
    """Print the boards: chips, cores and where they are described."""
    table = _table("Boards", ["board", "chips", "cores", "description"])
    for board in boards:
        table.add_row(board.name, str(board.n_chips), f"{board.n_cores:,}", board.description)
    table.columns[-1].justify = "left"
    Console().print(table)


def demo_table(values: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the result of the demonstration: accuracies side by side, then the layers."""
    console = console or Console(highlight=False)
    table = _table(
        f"{values['data']}, {values['n_test']:,} test images", ["network", "accuracy", "images", "seconds"]
    )
    for row in values["comparison"]:
        table.add_row(
            row["network"], _percent(row["accuracy"]), f"{row['images']:,}", f"{row['seconds']:.1f}"
        )
    console.print(table)
    equal = "identical" if values["reference_spikes_equal"] else "DIFFERENT"
    console.print(
        f"Spikes of our engine and of nengo-loihi's emulator on {values['reference_samples']} images, "
        f"{values['steps']} steps: {equal}"
    )
    console.print()
    layers_table(values, console)


def verification_tables(values: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a `Verification` as plain values: a row for each stage, then one for each layer of each stage."""
    console = console or Console(highlight=False)
    stages = values["stages"]
    table = _table("Stages", ["stage", "samples", "accuracy", "decides as the rate network"])
    for stage in stages:
        table.add_row(
            stage["name"], str(stage["n_samples"]), _percent(stage["accuracy"]), _percent(stage["agreement"])
        )
    console.print(table)
    columns = ["layer", "stage", "correlation", "relative error", "silent", "saturated"]
    table = _table("Firing rates beside the rate network's", columns, left=2)
    for name in dict.fromkeys(layer["name"] for layer in stages[0]["layers"]):
        for stage in stages[1:]:
            for layer in stage["layers"]:
                if layer["name"] == name:
                    table.add_row(
                        name,
                        stage["name"],
                        f"{layer['correlation']:.4f}",
                        *(_percent(layer[key]) for key in ("relative_error", "silent", "saturated")),
                    )
    console.print(table)
    for name, count in values["overflows"].items():
        if count:
            console.print(f"{name}: {count:,} accumulators wrapped around", style="yellow")
    for remedy in values["remedies"]:
        console.print(remedy)
