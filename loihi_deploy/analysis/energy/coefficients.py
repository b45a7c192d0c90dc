"""Sets of energy and time coefficients, read from ``hardware_configs/energy/*.toml``.

Every number stands there as ``name = { value = 24.0, source = "where from", trust = "how far" }``; the keys are the
field names of `Coefficients`.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loihi_deploy.checked import checked
from loihi_deploy.chip.boards import config_folder, read_toml
from loihi_deploy.errors import EnergyConfigError, Problem

KINDS = ("shared", "dense", "sparse")
"""Kinds of synapses: sets of weights that a convolution shares; weights to consecutive compartments, without indices;
weights with an index each."""


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """What each kind of work costs: picojoules (`_pj`), nanoseconds (`_ns`), microseconds (`_us`), milliwatts (`_mw`).

    Attributes
    ----------
    name, description : str
        The file's name without ``.toml``, and one line for people.
    access_pj, access_ns : float
        Of every compartment in every step.
    update_pj, update_ns : float
        On top, where the compartment's state is updated.
    spike_pj, spike_ns : float
        Of a spike, apart from its messages.
    message_out_pj, message_out_ns : float
        Of the message of a spike to one core.
    message_in_pj, message_in_ns : float
        Of a message at the core that it reaches.
    shared_synapse_pj, shared_synapse_ns, dense_synapse_pj, ... : float
        Of a synapse that a message reads, by kind: see `KINDS`.
    hop_east_west_pj, hop_north_south_pj : float
        Of a message from one tile to the next.
    learning_pj, learning_ns : float
        Of a synapse that learns, each time.
    barrier_tiles, barrier_us : tuple of float
        Synchronization at the end of a step: from so many tiles in use on, and how long it takes.
    barrier_is_line : float
        1 where a line connects those points, 0 where each holds up to the next.
    static_mw : float
        Power of a chip that does nothing.
    chip_barrier_low_us, chip_barrier_high_us : float
        Synchronization between chips at the end of a step, where there are several.
    energy_low, energy_high, time_low, time_high : float
        Factors from an estimate to the ends of its range.
    """

    name: str
    description: str
    access_pj: float
    access_ns: float
    update_pj: float
    update_ns: float
    spike_pj: float
    spike_ns: float
    message_out_pj: float
    message_out_ns: float
    message_in_pj: float
    message_in_ns: float
    shared_synapse_pj: float
    shared_synapse_ns: float
    dense_synapse_pj: float
    dense_synapse_ns: float
    sparse_synapse_pj: float
    sparse_synapse_ns: float
    hop_east_west_pj: float
    hop_north_south_pj: float
    learning_pj: float
    learning_ns: float
    barrier_tiles: tuple[float, ...]
    barrier_us: tuple[float, ...]
    barrier_is_line: float
    static_mw: float
    chip_barrier_low_us: float
    chip_barrier_high_us: float
    energy_low: float
    energy_high: float
    time_low: float
    time_high: float

    @property
    def synapse_pj(self) -> tuple[float, ...]:
        """Of a synapse, in the order of `KINDS`."""
        return self.shared_synapse_pj, self.dense_synapse_pj, self.sparse_synapse_pj

    @property
    def synapse_ns(self) -> tuple[float, ...]:
        """Of a synapse, in the order of `KINDS`."""
        return self.shared_synapse_ns, self.dense_synapse_ns, self.sparse_synapse_ns

    def barrier_ns(self, tiles: int) -> float:
        """Synchronization of a step with so many tiles in use on a chip."""
        if self.barrier_is_line:
            return 1000 * float(np.interp(tiles, self.barrier_tiles, self.barrier_us))
        position = max(0, int(np.searchsorted(self.barrier_tiles, tiles, side="right")) - 1)
        return 1000 * self.barrier_us[position]


LISTS = ("barrier_tiles", "barrier_us")


def coefficient_sets() -> tuple[str, ...]:
    """Names of the sets that come with the package."""
    return tuple(sorted(path.stem for path in (config_folder() / "energy").glob("*.toml")))


@checked
def load_coefficients(name_or_path: str | os.PathLike[str]) -> Coefficients:
    """Load a set by name, or from a file of the user's own.

    Parameters
    ----------
    name_or_path : str or Path
        One of `coefficient_sets`, or the path of a file (a ``Path``, or a string that ends in ``.toml`` or has a folder
        in it).

    Raises
    ------
    EnergyConfigError
        No such set or file, or missing, unknown, negative or otherwise wrong entries; all of them are named.
    """
    path = Path(name_or_path)
    if not (isinstance(name_or_path, Path) or path.suffix == ".toml" or len(path.parts) > 1):
        if name_or_path not in coefficient_sets():
            raise EnergyConfigError.single(
                "no such set of coefficients",
                "coefficients",
                name_or_path,
                ", ".join(coefficient_sets()),
                "A file of your own is given by its path",
            )
        path = config_folder() / "energy" / f"{name_or_path}.toml"
    table = read_toml(path, EnergyConfigError)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    names = [spec.name for spec in fields(Coefficients) if spec.name not in ("name", "description")]
    for key in table.keys() - {*names, "description"}:
        near = difflib.get_close_matches(key, names, 1)
        meant = f"Did you mean '{near[0]}'? " if near else ""
        problems.append(
            Problem("unknown key", f"{path}, key '{key}'", remedy=f"{meant}Correct the key or remove it")
        )
    for key in names:
        if key not in table:
            remedy = f'Add {key} = {{ value = …, source = "…", trust = "…" }}'
            problems.append(Problem("missing", f"{path}, key '{key}'", remedy=remedy))
            continue
        values[key] = _value(table[key], key, f"{path}, key '{key}'", problems)
    description = table.get("description")
    if not isinstance(description, str) or not description.strip():
        problems.append(Problem("missing", f"{path}, key 'description'", remedy='Add description = "…"'))
    if not problems:
        problems += _between(values, path)
    if problems:
        raise EnergyConfigError(f"Cannot use the coefficients in {path}", problems)
    return Coefficients(name=path.stem, description=str(description), **values)


def _value(entry: Any, key: str, where: str, problems: list[Problem]) -> Any:
    """The number, or the numbers, of an entry; adds to `problems` whatever is wrong with it."""
    kind = "<list of numbers>" if key in LISTS else "<number>"
    if not isinstance(entry, Mapping) or set(entry) != {"value", "source", "trust"}:
        allowed = f'{{ value = {kind}, source = "<where from>", trust = "<how far>" }}'
        problems.append(Problem("wrong entry", where, repr(entry), allowed))
        return None
    for text in ("source", "trust"):
        if not isinstance(entry[text], str) or not entry[text].strip():
            problems.append(Problem(f"no {text}", where, repr(entry[text]), "a text, not empty"))
    numbers = entry["value"] if key in LISTS else [entry["value"]]
    if not isinstance(numbers, list) or not numbers or not all(type(n) in (int, float) for n in numbers):
        problems.append(Problem("value of the wrong type", where, repr(entry["value"]), kind))
        return None
    if any(n < 0 or not math.isfinite(n) for n in numbers):
        problems.append(Problem("not a cost", where, entry["value"], "0 or more, finite"))
    return tuple(map(float, numbers)) if key in LISTS else float(numbers[0])


def _between(values: Mapping[str, Any], path: Path) -> list[Problem]:
    """What is wrong between numbers that are right alone."""
    problems = []
    tiles = values["barrier_tiles"]
    if len(tiles) != len(values["barrier_us"]):
        problems.append(
            Problem(
                "not a time for each number of tiles",
                f"{path}, key 'barrier_us'",
                len(values["barrier_us"]),
                len(tiles),
            )
        )
    if any(a >= b for a, b in pairwise(tiles)):
        problems.append(Problem("not rising", f"{path}, key 'barrier_tiles'", list(tiles)))
    if values["chip_barrier_low_us"] > values["chip_barrier_high_us"]:
        where = f"{path}, key 'chip_barrier_low_us'"
        allowed = f"up to chip_barrier_high_us = {values['chip_barrier_high_us']}"
        problems.append(Problem("range is empty", where, values["chip_barrier_low_us"], allowed))
    for key, low in (("energy_low", True), ("time_low", True), ("energy_high", False), ("time_high", False)):
        if (values[key] > 1) if low else (values[key] < 1):
            allowed = "up to 1" if low else "at least 1"
            problems.append(
                Problem("the estimate is out of its range", f"{path}, key '{key}'", values[key], allowed)
            )
    return problems
