"""Figures kept from an earlier check, and what is different now."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loihi_deploy.analysis.gate.criteria import FIGURES
from loihi_deploy.analysis.gate.measuring import Measured
from loihi_deploy.errors import DataError, InputError, Problem
from loihi_deploy.files import PathOrStream, write_file
from loihi_deploy.tables import by, percent

KIND = "loihi-deploy baseline"
FORMAT = 1
UPDATE = "Make a new one: --update-baseline, or Check.write_baseline in Python"
WORDS = {
    "cores": "cores",
    "neurons": "neurons",
    "firing_rate": "firing rate",
    "weight_rms_error": "rounding error",
    "saturated_weights": "saturated weights",
    "zeroed_weights": "weights that became 0",
    "digest": "integers",
}


@dataclass(frozen=True)
class Baseline:
    """What a check measured, kept in a file.

    Parameters
    ----------
    measured : Measured
    made_with : dict of str
        Versions and options of the deployment, by name.
    """

    measured: Measured
    made_with: Mapping[str, str]

    def write(self, target: PathOrStream) -> None:
        """Write it as JSON.

        Raises
        ------
        OutputError
            If it cannot be written; an existing file is left as it was.
        """
        values = {"kind": KIND, "format": FORMAT, **asdict(self.measured), "made_with": dict(self.made_with)}
        write_file(target, (json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_baseline(path: str | os.PathLike[str]) -> Baseline:
    """Read what `Baseline.write` wrote.

    Raises
    ------
    DataError
        If the file is missing, is no baseline, or one of another version.
    """
    where = str(Path(path))
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError.single("there is no such baseline", where, remedy=UPDATE) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError.single("is no baseline that can be read", where, str(error), remedy=UPDATE) from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise DataError.single("is no baseline", where, remedy=UPDATE)
    if values.get("format") != FORMAT:
        raise DataError.single(
            "is a baseline of another version", where, values.get("format"), FORMAT, remedy=UPDATE
        )
    try:
        figures = {str(name): _finite(value) for name, value in values["figures"].items()}
        layers = {str(name): _layer(layer) for name, layer in values["layers"].items()}
        network = {
            part: {str(name): list(map(int, shape)) for name, shape in values["network"][part].items()}
            for part in ("inputs", "layers", "readouts")
        }
        data = {key: int(values["data"][key]) for key in ("samples", "steps")}
        made_with = {str(name): str(value) for name, value in values["made_with"].items()}
        digest = str(values["data"]["digest"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError.single("is a damaged baseline", where, str(error), remedy=UPDATE) from error
    unknown = sorted(set(figures) - set(FIGURES))
    if unknown:
        raise DataError.single("is a damaged baseline", where, ", ".join(unknown), remedy=UPDATE)
    return Baseline(Measured(figures, layers, network, {**data, "digest": digest}), made_with)


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{value} is no figure")
    return number


def _layer(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept of a layer, as numbers and texts that can be shown."""
    for key in WORDS.keys() & values.keys():
        if not isinstance(values[key], str if key == "digest" else (int, float)):
            raise TypeError(f"{key} is {values[key]!r}")
    return dict(values)


def check_same(before: Measured, now: Measured) -> None:
    """Refuse a baseline of another network, or of other samples.

    Raises
    ------
    InputError
        Naming what differs.
    """
    problems = []
    for part in ("inputs", "layers", "readouts"):
        was, found = before.network[part], now.network[part]
        other = [name for name in {**was, **found} if was.get(name) != found.get(name)]
        if other:
            what = f"it is of another network: {part} differ"
            problems.append(Problem(what, "baseline", _shapes(found, other), _shapes(was, other), UPDATE))
    if now.data is None:
        problems.append(Problem("a baseline is compared on samples, and there are none", "x"))
    elif before.data is not None and before.data["digest"] != now.data["digest"]:
        given, kept = (f"{each.data['samples']} samples" for each in (now, before) if each.data is not None)
        problems.append(Problem("it is of other samples or labels", "baseline", given, kept, UPDATE))
    if problems:
        raise InputError("The baseline cannot be compared with", problems)


def _shapes(nodes: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {by(nodes[name])}" for name in names if name in nodes) or "none"


def changes(before: Baseline, now: Baseline) -> Iterator[tuple[str, str, str, str]]:
    """What differs: where (a layer, or the deployment), what, then and now; as texts."""
    was, found = before.measured, now.measured
    if was.data is not None and found.data is not None and was.data["steps"] != found.data["steps"]:
        yield "deployment", "steps", str(was.data["steps"]), str(found.data["steps"])
    for name in dict.fromkeys([*before.made_with, *now.made_with]):
        then, today = (each.made_with.get(name, "none") for each in (before, now))
        if then != today:
            yield "deployment", name, then, today
    for layer in dict.fromkeys([*was.layers, *found.layers]):
        if layer not in found.layers or layer not in was.layers:
            yield layer, "layer", *(("there", "gone") if layer in was.layers else ("not there", "new"))
            continue
        for key, word in WORDS.items():
            then, today = (_shown(key, each.layers[layer].get(key)) for each in (was, found))
            if then != today:
                yield layer, word, then, today


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "none"
    if key == "firing_rate":
        return f"{value:.2f} Hz"
    if key == "weight_rms_error":
        return percent(value)
    return str(value)[:12] if key == "digest" else f"{value:,}"
