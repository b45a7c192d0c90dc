"""Measurements as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = {
    "threads": "threads",
    "spikes_per_step": "spikes on chip per step",
    "steps_per_s": "steps·samples/s",
    "reference_steps_per_s": "nengo-loihi, steps/s",
    "ratio": "ratio",
    "spikes_equal": "spikes equal",
    "nengo_dl_steps_per_s": "NengoDL, steps·samples/s",
    "nengo_dl_ratio": "ratio",
    "ns_per_neuron_update": "ns per neuron update",
    "ns_per_synaptic_event": "ns per synaptic event",
    "peak_memory_mb": "peak memory, MB",
    "build_s": "build, s",
    "reference_build_s": "nengo-loihi build, s",
}


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """What `bench` gave, for a terminal: a column for each network and batch, a row for each figure."""
    from rich.table import Table

    measured = list(rows)
    result = Table("", *(f"{row['network']}\n× {row['batch']}" for row in measured))
    for column in result.columns[1:]:
        column.justify, column.overflow = "right", "fold"
    for key, title in FIGURES.items():
        result.add_row(title, *(_text(row[key]) for row in measured))
    return result


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
