"""Measurements as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loihi_deploy.tables import Page, Table

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
    "floor_ns_per_neuron": "arithmetic alone, ns per neuron update",
    "floor_ns_per_event": "arithmetic alone, ns per synaptic event",
    "ratio_to_floor": "time of a run / of its arithmetic",
    "peak_memory_mb": "peak memory, MB",
    "build_s": "build, s",
    "reference_build_s": "nengo-loihi build, s",
}
PARTS = "neurons", "events", "listing", "other", "encoder", "readout", "python"
"""Of a step of one sample."""


def table(rows: Iterable[Mapping[str, Any]]) -> Page:
    """What `bench` gave: a column for each network and batch, a row for each figure."""
    measured = list(rows)
    columns = ("", *(f"{row['network']} × {row['batch']}" for row in measured))
    figures = ((title, *(_text(row[key]) for row in measured)) for key, title in FIGURES.items())
    parts = ((part, *(_text(row["parts"][part] / 1000) for row in measured)) for part in PARTS)
    return Page(
        (
            Table("Speed and memory", columns, tuple(figures)),
            Table("Where the time goes: microseconds of a step of one sample alone", columns, tuple(parts)),
        )
    )


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
