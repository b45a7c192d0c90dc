"""The figures of a mapping as tables: populations, chips, what a core has room for, and each core if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loihi_deploy.tables import Page, Table, by, warned


def mapping_page(values: Mapping[str, Any], cores: bool = False) -> Page:
    """Show what `Mapping.values` gave; every core if `cores`."""
    parts = [_population_table(values)]
    if values["n_chips"] > 1:
        parts.append(_chip_table(values))
    parts.append(_limit_table(values))
    if cores:
        parts.append(_core_table(values))
    traffic = values["messages"]
    text = (
        f"{values['n_cores']:,} cores on {values['n_chips']} chip(s) of {values['board']}; any plan needs "
        f"{values['bound']:,} or more. Messages {traffic['unit']}: {traffic['total']:,.0f}, "
        f"{traffic['between_chips']:,.0f} between chips, {traffic['mean_hops']:.1f} hops within a chip."
    )
    return Page((*parts, text, *warned(values["warnings"])))


def _population_table(values: Mapping[str, Any]) -> Table:
    columns = ("population", "shape", "slices of", "slices", "cores", "shared", "bound", "bound by")
    rows = tuple(
        (
            row["name"],
            by(row["shape"]),
            by(row["slice"]),
            str(row["slices"]),
            str(row["cores"]),
            str(row["shared_cores"] or ""),
            str(row["bound"]),
            row["binding"],
        )
        for row in values["populations"]
    )
    return Table(f"Populations on {values['board']}", columns, rows)


def _chip_table(values: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            str(row["chip"]),
            str(row["cores"]),
            f"{row['neurons']:,}",
            f"{row['messages_out']:,.0f}",
            f"{row['messages_in']:,.0f}",
        )
        for row in values["chips"]
    )
    return Table("Chips", ("chip", "cores", "neurons", "messages out", "messages in"), rows)


def _limit_table(values: Mapping[str, Any]) -> Table:
    rows = []
    for name, limit in values["limits"].items():
        used = [core["usage"][name] for core in values["cores"]]
        most, mean = max(used, default=0), sum(used) / max(len(used), 1)
        rows.append((name, f"{limit:,}", f"{most:,}", f"{limit - most:,}", f"{mean:,.1f}"))
    columns = ("limit", "allowed", "fullest core", "free there", "mean")
    return Table("Limits of a core", columns, tuple(rows))


def _core_table(values: Mapping[str, Any]) -> Table:
    names = ("compartments", "in_axons", "out_axon_slots", "synapse_words", "destinations")
    rows = tuple(
        (
            str(row["core"]),
            f"{', '.join(row['populations'])} ({' '.join(by(box) for box in row['slices'])})",
            str(row["chip"]),
            str(row["tile"]),
            *(f"{row['usage'][name]:,}" for name in names),
        )
        for row in values["cores"]
    )
    return Table("Cores", ("core", "holds", "chip", "tile", *names), rows, names=2)
