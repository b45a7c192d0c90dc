"""A mapping as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.report.tables import _shape, _table, layers_table


def mapping_report(values: Mapping[str, Any], mapping: CoreMapping, cores: bool = False) -> None:
    """Print the layers, then what they use of the board; every core of it if `cores`."""
    console = Console(highlight=False)
    layers_table(values, console)
    console.print(mapping_tables(mapping, cores))


def mapping_tables(mapping: CoreMapping, cores: bool = False) -> Group:
    """Tables for a terminal: populations, chips, the limits, and each core if wanted; to be printed with rich."""
    values = mapping.values()
    parts: list[Any] = [_population_table(values)]
    if values["n_chips"] > 1:
        parts.append(_chip_table(values))
    parts.append(_limit_table(values))
    if cores:
        parts.append(_core_table(values))
    traffic = values["messages"]
    parts.append(
        Text(
            f"{values['n_cores']:,} cores on {values['n_chips']} chip(s) of {values['board']}; any plan needs "
            f"{values['bound']:,} or more. Messages {traffic['unit']}: {traffic['total']:,.0f}, "
            f"{traffic['between_chips']:,.0f} between chips, {traffic['mean_hops']:.1f} hops within a chip."
        )
    )
    parts += [Text(f"Warning: {warning}", style="yellow") for warning in values["warnings"]]
    return Group(*parts)


def _population_table(values: Mapping[str, Any]) -> Table:
    table = _table(
        f"Populations on {values['board']}",
        ("population", "shape", "slices of", "slices", "cores", "shared", "bound", "bound by"),
    )
    for row in values["populations"]:
        table.add_row(
            row["name"],
            _shape(row["shape"]),
            _shape(row["slice"]),
            str(row["slices"]),
            str(row["cores"]),
            str(row["shared_cores"] or ""),
            str(row["bound"]),
            row["binding"],
        )
    return table


def _chip_table(values: Mapping[str, Any]) -> Table:
    table = _table("Chips", ("chip", "cores", "neurons", "messages out", "messages in"))
    for row in values["chips"]:
        table.add_row(
            str(row["chip"]),
            str(row["cores"]),
            f"{row['neurons']:,}",
            f"{row['messages_out']:,.0f}",
            f"{row['messages_in']:,.0f}",
        )
    return table


def _limit_table(values: Mapping[str, Any]) -> Table:
    table = _table("Limits of a core", ("limit", "allowed", "fullest core", "free there", "mean"))
    for name, limit in values["limits"].items():
        used = [core["usage"][name] for core in values["cores"]]
        most, mean = max(used, default=0), sum(used) / max(len(used), 1)
        table.add_row(name, f"{limit:,}", f"{most:,}", f"{limit - most:,}", f"{mean:,.1f}")
    return table


def _core_table(values: Mapping[str, Any]) -> Table:
    names = ("compartments", "in_axons", "out_axon_slots", "synapse_words", "destinations")
    table = _table("Cores", ("core", "chip", "tile", "holds", *names))
    for row in values["cores"]:
        holds = (
            ", ".join(f"{population}" for population in row["populations"])
            + f" ({' '.join(_shape(box) for box in row['slices'])})"
        )
        table.add_row(
            str(row["core"]),
            str(row["chip"]),
            str(row["tile"]),
            holds,
            *(f"{row['usage'][name]:,}" for name in names),
        )
    return table
