"""A mapping in figures: plain values, text for JSON and CSV, and tables for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Board
from loihi_deploy.mapping.placement import tile_hops
from loihi_deploy.mapping.plan import Core, Mapping
from loihi_deploy.mapping.resources import CORE_RULES

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Part = Literal["cores", "populations", "chips"]


def mapping_values(mapping: Mapping) -> dict[str, Any]:
    """Everything about a mapping as plain values.

    Returns
    -------
    dict
        'board', 'n_cores', 'n_chips', 'bound' (cores that any plan needs at least); 'limits' of a core; 'populations',
        'chips' and 'cores', lists of dicts; 'messages' per spike of every neuron, or in Hz where the mapping was made
        with firing rates: in all, across chips, and their mean hops within chips; 'free', what the fullest core leaves
        of each limit; 'warnings'.
    """
    board = mapping.board
    messages = _messages(mapping)
    within, hops = _hops(mapping, board)
    limits = {rule.name: rule.limit(board) for rule in CORE_RULES}
    return {
        "board": board.name,
        "n_cores": mapping.n_cores,
        "n_chips": mapping.n_chips,
        "bound": mapping.bound,
        "limits": limits,
        "free": {
            name: limit - max((core.usage[name] for core in mapping.cores), default=0)
            for name, limit in limits.items()
        },
        "messages": {
            "unit": "Hz" if mapping.rates is not None else "per spike of every neuron",
            "total": float(messages.sum()),
            "between_chips": float(messages[~within].sum()),
            "mean_hops": float((messages * hops)[within].sum() / max(float(messages[within].sum()), 1e-300)),
        },
        "populations": _population_values(mapping),
        "chips": _chip_values(mapping, messages),
        "cores": [_core_values(k, core, board) for k, core in enumerate(mapping.cores)],
        "warnings": list(mapping.warnings),
    }


def mapping_json(mapping: Mapping) -> str:
    """`mapping_values` as JSON."""
    return json.dumps(mapping_values(mapping), indent=2, allow_nan=False) + "\n"


def mapping_csv(mapping: Mapping, part: Part = "cores") -> str:
    """One of the lists of `mapping_values` as CSV, with a header; each entry of a dict in it is a column of its own."""
    rows = [_flat(row) for row in mapping_values(mapping)[part]]
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(row: MappingOf[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update({f"{key}_{name}": item for name, item in value.items()})
        elif isinstance(value, list):
            flat[key] = " ".join(_shape(item) if isinstance(item, list) else str(item) for item in value)
        else:
            flat[key] = value
    return flat


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _messages(mapping: Mapping) -> NDArray[np.float64]:
    """Messages of each flow between cores; those from the host count 0."""
    flows = mapping.flows
    messages = np.where(flows[:, 0] >= 0, flows[:, 4], 0).astype(np.float64)
    if mapping.rates is not None:
        for k, (pre, populations) in enumerate(zip(flows[:, 0], mapping.senders, strict=True)):
            messages[k] *= mapping.rates[populations] if pre >= 0 else 0.0
    return messages


def _hops(mapping: Mapping, board: Board) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """For each flow, whether it stays on a chip, and the hops between its tiles if so."""
    chip = np.array([core.chip for core in mapping.cores], dtype=np.int64)
    tile = np.array([core.number for core in mapping.cores], dtype=np.int64) // board.chip.cores_per_tile
    if not len(chip):
        return np.zeros(0, bool), np.zeros(0, np.int64)
    pre, post = np.maximum(mapping.flows[:, 0], 0), mapping.flows[:, 1]
    return chip[pre] == chip[post], tile_hops(board.chip)[tile[pre], tile[post]]


def _population_values(mapping: Mapping) -> list[dict[str, Any]]:
    return [
        {
            "name": plan.name,
            "shape": list(plan.shape),
            "neurons": int(np.prod(plan.shape)),
            "slice": list(plan.slice_shape),
            "slices": plan.n_slices,
            "cores": plan.n_cores,
            "shared_cores": plan.n_shared,
            "bound": plan.bound,
            "binding": plan.binding,
            "bounds": {name: share / 1000 for name, share in plan.bounds.items()},
        }
        for plan in mapping.populations
    ]


def _chip_values(mapping: Mapping, messages: NDArray[np.float64]) -> list[dict[str, Any]]:
    chip_of = np.array([core.chip for core in mapping.cores], dtype=np.int64)
    flows, inside = mapping.flows, mapping.flows[:, 0] >= 0
    pre = np.where(inside, chip_of[np.maximum(flows[:, 0], 0)], -1) if len(chip_of) else flows[:, 0]
    post = chip_of[flows[:, 1]]
    values = []
    for chip in sorted({core.chip for core in mapping.cores}):
        cores = [core for core in mapping.cores if core.chip == chip]
        values.append(
            {
                "chip": chip,
                "cores": len(cores),
                "neurons": sum(core.n_neurons for core in cores),
                "synapse_words": sum(core.usage["synapse_words"] for core in cores),
                "messages_out": float(messages[(pre == chip) & (post != chip)].sum()),
                "messages_in": float(messages[inside & (pre != chip) & (post == chip)].sum()),
            }
        )
    return values


def _core_values(number: int, core: Core, board: Board) -> dict[str, Any]:
    return {
        "core": number,
        "chip": core.chip,
        "number": core.number,
        "tile": core.number // board.chip.cores_per_tile,
        "populations": list(core.populations),
        "slices": [[b - a for a, b in zip(piece.start, piece.stop, strict=True)] for piece in core.slices],
        "neurons": core.n_neurons,
        "usage": dict(core.usage),
    }


def mapping_tables(mapping: Mapping, cores: bool = False) -> Group:
    """Tables for a terminal: populations, chips, the limits, and each core if wanted; to be printed with rich."""
    from rich.console import Group
    from rich.text import Text

    values = mapping_values(mapping)
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


def _table(title: str, columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    return table


def _population_table(values: MappingOf[str, Any]) -> Table:
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


def _chip_table(values: MappingOf[str, Any]) -> Table:
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


def _limit_table(values: MappingOf[str, Any]) -> Table:
    table = _table("Limits of a core", ("limit", "allowed", "fullest core", "free there", "mean"))
    for name, limit in values["limits"].items():
        used = [core["usage"][name] for core in values["cores"]]
        most, mean = max(used, default=0), sum(used) / max(len(used), 1)
        table.add_row(name, f"{limit:,}", f"{most:,}", f"{limit - most:,}", f"{mean:,.1f}")
    return table


def _core_table(values: MappingOf[str, Any]) -> Table:
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
