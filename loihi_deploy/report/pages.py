"""Plain values as pages of tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loihi_deploy.chip.hardware import Board
from loihi_deploy.tables import Page, Table, by, percent, warned


def layers_page(values: Mapping[str, Any]) -> Page:
    """Show what `summary` gave: a row for each layer, cores and chips, and every warning."""
    rates = any("firing_rate" in layer for layer in values["layers"])
    columns = ("layer", "place", "shape", "neurons", "cores", "weights", "rounding error")
    rows = [
        (
            layer["name"],
            layer["place"],
            by(layer["shape"]),
            f"{layer['neurons']:,}",
            str(layer["cores"] or ""),
            f"{layer['weights']:,}" if "weights" in layer else "",
            percent(layer.get("weight_rms_error")),
            *([f"{layer['firing_rate']:.1f} Hz"] if rates else []),
        )
        for layer in values["layers"]
    ]
    table = Table(f"Layers on {values['board']}", (*columns, *["firing rate"] * rates), tuple(rows), names=2)
    shared = sum(layer["cores"] for layer in values["layers"]) > values["n_cores"]
    texts = [
        f"{values['n_neurons']:,} neurons on {values['n_cores']} cores of {values['n_chips']} chip(s)"
        + ("; some cores hold parts of several layers" if shared else "")
    ]
    if values["never_wraps"]:
        names = ", ".join(values["never_wraps"])
        texts.append(f"No accumulator can overflow, whatever the input, in {names}")
    cost = values["encoder"]
    sent = f", {cost['spikes_per_sample']:,.1f} spikes per sample" if "spikes_per_sample" in cost else ""
    texts.append(
        f"Encoder ({', '.join(cost['neurons'])}): {cost['multiplies_per_frame']:,} multiplies and "
        f"{cost['additions_per_frame']:,} additions per frame, {cost['multiplies_per_step']:,} and "
        f"{cost['additions_per_step']:,} per step{sent}"
    )
    return Page((table, *texts, *warned(values["warnings"])))


def counters_page(values: Mapping[str, Any]) -> Page:
    """Show what `counters_values` gave: a row for each population."""
    columns = ("population", "firing rate", "spikes", "synaptic events", "overflows", "lost spikes")
    rows = tuple(
        (
            name,
            "?" if counts["firing_rate"] is None else f"{counts['firing_rate']:.1f} Hz",
            *(
                "?" if counts[key] is None else f"{counts[key]:,}"
                for key in ("spikes", "synaptic_events", "overflows", "lost_spikes")
            ),
        )
        for name, counts in values["populations"].items()
    )
    return Page((Table(f"Activity over {values['samples']:,} samples", columns, rows),))


def boards_page(boards: Iterable[Board]) -> Page:
    """Show boards: what they are, their chips and cores."""
    rows = tuple(
        (board.name, board.description, str(board.n_chips), f"{board.n_cores:,}") for board in boards
    )
    return Page((Table("Boards", ("board", "description", "chips", "cores"), rows, names=2),))


def demo_page(values: Mapping[str, Any]) -> Page:
    """Show the result of the demonstration: accuracies side by side, then the layers."""
    rows = tuple(
        (row["network"], percent(row["accuracy"]), f"{row['images']:,}", f"{row['seconds']:.1f}")
        for row in values["comparison"]
    )
    title = f"{values['data']}, {values['n_test']:,} test images"
    equal = "identical" if values["reference_spikes_equal"] else "DIFFERENT"
    text = (
        f"Spikes of our engine and of nengo-loihi's emulator on {values['reference_samples']} images, "
        f"{values['steps']} steps: {equal}"
    )
    return Page((Table(title, ("network", "accuracy", "images", "seconds"), rows), text)) + layers_page(
        values
    )
