"""A program laid out on the cores of a board, and its figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.checks import check_fields
from loihi_deploy.ir.content import Content
from loihi_deploy.mapping.core_plan import mapping_page
from loihi_deploy.mapping.placement import tile_hops
from loihi_deploy.mapping.plan import Core, PopulationPlan, whole_cores
from loihi_deploy.mapping.rules import CORE_RULES
from loihi_deploy.tables import Page, Shown

COUNTED_EVER = ("compartments", "in_axons", "out_axon_slots", "synapse_words", "destinations")
"""What every version counts on a core; what others count is in their files alone."""
_PARTS = ("cores", "populations", "chips")

MOST_HZ = 1e12
"""Firing rates are below; they add up to finite sums."""


@dataclass(frozen=True, eq=False)
class Mapping(Shown, Content):
    """A program laid out on the cores of a board.

    Parameters
    ----------
    program_digest : str
        Digest of the program.
    board_data : dict
        The board, as plain values.
    cores : tuple of Core
        By chip and number; on each chip the numbers run from 0 without gaps.
    populations : tuple of PopulationPlan
    flows : (n, 5) int64 array
        From core (index into `cores`; -1 - k for spike source k), to core, output axons, slots that they take within a
        chip, and neurons: each spike of these is one message.
    senders : tuple of str
        The population or spike source of each flow.
    warnings : tuple of str
        Rules that are broken where that was allowed.
    rates : dict of float or None
        Firing rates that it was placed by.
    """

    program_digest: str
    board_data: MappingOf[str, Any]
    cores: tuple[Core, ...]
    populations: tuple[PopulationPlan, ...]
    flows: NDArray[np.int64]
    senders: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    rates: MappingOf[str, float] | None = None

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        board = self.board
        n_chips = max(board.n_chips, len(self.cores))  # more than the board has, where that rule only warns
        for core in self.cores:
            missing = [name for name in COUNTED_EVER if name not in core.usage]
            if missing:
                yield Problem("usage is missing", f"chip {core.chip}, core {core.number}", ", ".join(missing))
            if not (0 <= core.chip < n_chips and 0 <= core.number < board.chip.n_cores and core.slices):
                yield Problem("no such core, or nothing on it", f"chip {core.chip}", core.number)
        if len({frozenset(plan.bounds) for plan in self.populations}) > 1:
            yield Problem("populations have different kinds of bounds", "populations")
        if len({(core.chip, core.number) for core in self.cores}) < len(self.cores):
            yield Problem("a core stands there twice", "cores")
        if self.flows.ndim != 2 or self.flows.shape != (len(self.senders), 5):
            yield Problem("flows do not fit their senders", "flows", self.flows.shape, (len(self.senders), 5))
        elif len(self.flows):
            pre, post = self.flows[:, 0], self.flows[:, 1]
            if max(pre.max(), post.max()) >= len(self.cores) or post.min() < 0 or self.flows[:, 2:].min() < 0:
                yield Problem("flows between cores that are not there", "flows")
        for name, rate in (self.rates or {}).items():
            if not 0 <= rate <= MOST_HZ:
                yield Problem("not a firing rate", name, rate, f"0 to {MOST_HZ:g} Hz")

    @cached_property
    def board(self) -> Board:
        """The board it was made for."""
        return Board.from_dict(self.board_data)

    @property
    def n_cores(self) -> int:
        """Cores in use."""
        return len(self.cores)

    @property
    def n_chips(self) -> int:
        """Chips in use."""
        return len({core.chip for core in self.cores})

    @property
    def bound(self) -> int:
        """Cores that any plan needs at least, populations sharing cores as they like."""
        totals = [
            sum(plan.bounds[name] for plan in self.populations)
            for name in (self.populations[0].bounds if self.populations else ())
        ]
        return whole_cores(max(totals, default=0.0))

    def values(self) -> dict[str, Any]:
        """Every figure as plain values.

        Returns
        -------
        dict
            'board', 'n_cores', 'n_chips', 'bound' (cores that any plan needs at least); 'mesh', the rows and columns of
            tiles on a chip and the cores of a tile; 'limits' of a core;
            'populations', 'chips' and 'cores', lists of dicts; 'messages' per spike of every neuron, or in Hz where the
            mapping was made with firing rates: in all, across chips, and their mean hops within chips; 'free', what the
            fullest core leaves of each limit; 'warnings'.
        """
        board = self.board
        messages = _messages(self)
        within, hops = _hops(self, board)
        # a mapping that was saved before there was a rule has not counted what it bounds
        limits = {
            rule.name: rule.limit(board)
            for rule in CORE_RULES
            if all(rule.name in core.usage for core in self.cores)
        }
        return {
            "board": board.name,
            "n_cores": self.n_cores,
            "n_chips": self.n_chips,
            "bound": self.bound,
            "mesh": {
                "rows": board.chip.mesh_rows,
                "columns": board.chip.mesh_columns,
                "cores_per_tile": board.chip.cores_per_tile,
            },
            "limits": limits,
            "free": {
                name: limit - max((core.usage.get(name, 0) for core in self.cores), default=0)
                for name, limit in limits.items()
            },
            "messages": {
                "unit": "Hz" if self.rates is not None else "per spike of every neuron",
                "total": float(messages.sum()),
                "between_chips": float(messages[~within].sum()),
                "mean_hops": float(
                    (messages * hops)[within].sum() / max(float(messages[within].sum()), 1e-300)
                ),
            },
            "populations": [_population_values(plan) for plan in self.populations],
            "chips": _chip_values(self, messages),
            "cores": [_core_values(k, core, board) for k, core in enumerate(self.cores)],
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        """`values` as JSON."""
        return json.dumps(self.values(), indent=2, allow_nan=False) + "\n"

    def to_csv(self, part: Literal["cores", "populations", "chips"] = "cores") -> str:
        """One of the lists of `values` as CSV, with a header; each entry of a dict in it is a column of its own.

        Raises
        ------
        InputError
            If there is no such list.
        """
        if part not in _PARTS:
            raise InputError.single("no such part of a mapping", "part", part, " or ".join(_PARTS))
        rows = [_flat(row) for row in self.values()[part]]
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def page(self, cores: bool = False) -> Page:
        """The same as tables: populations, chips, the limits of a core, and every core if `cores`."""
        return mapping_page(self.values(), cores)

    def cores_of(self, population: str) -> tuple[int, ...]:
        """Indices into `cores` of those that hold some of a population."""
        return tuple(
            number
            for number, core in enumerate(self.cores)
            if any(piece.population == population for piece in core.slices)
        )


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


def _population_values(plan: PopulationPlan) -> dict[str, Any]:
    return {
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
