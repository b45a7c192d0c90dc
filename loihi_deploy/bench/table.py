"""Measurements as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {
    "network": "network",
    "batch": "batch",
    "threads": "threads",
    "spikes_per_step": "spikes/step",
    "steps_per_s": "steps/s",
    "reference_steps_per_s": "nengo-loihi",
    "ratio": "ratio",
    "spikes_equal": "equal",
    "nengo_dl_steps_per_s": "NengoDL",
    "nengo_dl_ratio": "ratio",
    "ns_per_neuron_update": "ns/neuron",
    "ns_per_synaptic_event": "ns/event",
    "peak_memory_mb": "MB",
    "build_s": "build s",
    "reference_build_s": "nengo-loihi build s",
}


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """What `bench` gave, for a terminal."""
    from rich.table import Table

    result = Table()
    for key, title in COLUMNS.items():
        result.add_column(title, justify="left" if key == "network" else "right")
    for row in rows:
        result.add_row(*(_text(row[key]) for key in COLUMNS))
    return result


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
