"""The figures of a mapping as tables: populations, chips, what a core has room for, and each core if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loihi_deploy.tables import Page, Table, by, percent, warned

AMOUNTS = (
    "compartments",
    "in_axons",
    "pop16_in_axons",
    "out_axon_slots",
    "synapse_words",
    "accumulators",
    "destinations",
)
"""Limits of what slices of a core take together. The others are of sizes and of numbers of kinds, which may be reached
while the core has room."""


def mapping_page(values: Mapping[str, Any], cores: bool) -> Page:
    """Show what `Mapping.values` gave; every core if `cores`."""
    parts = [_population_table(values)]
    if values["n_chips"] > 1:
        parts.append(_chip_table(values))
    parts.append(limit_table(values))
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


def limit_rows(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What cores have, and what layers ask for.

    A row for each limit: 'what'; 'used', 'limit' and 'share' of the fullest core, whether that is 'exceeded', and the
    'mean' of all cores; 'needed', the cores that all layers need for it together, whatever the plan, None where that is
    not bounded; whether it is the 'binding' one, for which most are needed; and whether it 'adds_up', as `AMOUNTS` do.

    Parameters
    ----------
    values : dict
        From ``Mapping.values()``.
    """
    needed: dict[str, float] = {}
    for population in values["populations"]:
        for name, share in population["bounds"].items():
            needed[name] = needed.get(name, 0.0) + share
    binding = max(needed, key=lambda name: needed[name], default="")
    rows = []
    for name, limit in values["limits"].items():
        used = limit - values["free"][name]
        share = used / limit if limit else float(used > 0)
        rows.append(
            {
                "what": name.replace("_", " "),
                "used": used,
                "limit": limit,
                "share": share,
                "mean": sum(core["usage"][name] for core in values["cores"]) / max(len(values["cores"]), 1),
                "exceeded": used > limit,
                "needed": needed.get(name),
                "binding": name == binding,
                "adds_up": name in AMOUNTS,
            }
        )
    return rows


def limit_table(values: Mapping[str, Any]) -> Table:
    """Limits of a core, the fullest core and the mean of all beside them, and the cores that they ask for."""
    rows = tuple(
        (
            row["what"],
            f"{row['limit']:,}",
            f"{row['used']:,}",
            percent(row["share"]),
            f"{row['mean']:,.1f}",
            "" if row["needed"] is None else f"{row['needed']:.1f}",
            "exceeded" if row["exceeded"] else "binding" * row["binding"],
        )
        for row in limit_rows(values)
        if row["used"] or row["limit"]
    )
    columns = ("limit", "allowed", "fullest", "used", "mean", "cores", "")
    return Table(
        "Limits of a core, the fullest core, the mean of all, and cores that layers need", columns, rows
    )


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
