"""What an HDF5 file of lava-dl's network exchange (netx) says, layer by layer, in numpy values.

Nothing of a file runs, and no other file is opened for it: links and data kept elsewhere are refused.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from loihi_deploy.errors import ConversionError, Problem, missing_extra

MAX_VALUES = 1 << 27
"""Most numbers that a data set may hold."""
MAX_PACKED = 1100
"""Most bytes that a byte of a file can stand for: what its compression reaches at best is about 1,030."""
DAMAGED = "Write the file again with lava-dl's export_hdf5"
Values = dict[str, Any]
"""Arrays, numbers as Python numbers, texts and, for groups, more of them, by name."""


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise missing_extra("h5py", "Reading HDF5 files of lava-dl", "netx") from error


def is_netx(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is, by name or content, one of lava-dl's network exchange."""
    if Path(path).suffix.lower() == ".net":
        return True
    try:
        with _h5py().File(path, "r") as file:
            return "layer" in file and "model_config" not in file.attrs
    except OSError:
        return False


@dataclass(frozen=True)
class Layer:
    """A layer of the file.

    Parameters
    ----------
    name : str
        ``layer 3``.
    kind : str
        ``dense``, ``conv``, ``flatten``, ...
    values : dict
        Everything else that stands there.
    """

    name: str
    kind: str
    values: Values


def read_layers(path: str | os.PathLike[str]) -> list[Layer]:
    """Read the layers of a file, in order.

    Parameters
    ----------
    path : path

    Raises
    ------
    ConversionError
        With everything that cannot be read.
    MissingExtraError
        If h5py is not installed.
    """
    problems: list[Problem] = []
    try:
        with _h5py().File(path, "r") as file:
            found = _group(file, "", problems, wanted=("layer",))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        detail = str(error).strip().split("\n")[0][:300]
        raise ConversionError(
            "The file cannot be read", Problem("damaged", os.fspath(path), detail, remedy=DAMAGED)
        ) from error
    groups = found.get("layer")
    layers = []
    if not problems and not (isinstance(groups, dict) and groups):
        problems.append(Problem("no layers in the file", os.fspath(path), remedy=DAMAGED))
    elif isinstance(groups, dict) and not problems:
        if set(groups) != {str(number) for number in range(len(groups))}:
            problems.append(
                Problem("layers are not numbered from 0", "layer", ", ".join(groups)[:100], remedy=DAMAGED)
            )
        else:
            layers = list(_layers(groups, problems))
    if problems:
        raise ConversionError("The file is no network of lava-dl that can be read", problems)
    return layers


def _layers(groups: Values, problems: list[Problem]) -> Iterator[Layer]:
    for number in range(len(groups)):
        group, name = groups[str(number)], f"layer {number}"
        kind = group.get("type") if isinstance(group, dict) else None
        if not isinstance(kind, str):
            problems.append(Problem("a layer without a type", name, remedy=DAMAGED))
        else:
            yield Layer(name, kind, {key: value for key, value in group.items() if key != "type"})


def _group(
    group: Any, where: str, problems: list[Problem], wanted: tuple[str, ...] | None = None, depth: int = 0
) -> Values:
    """The values of a group and of those in it."""
    h5py, found = _h5py(), Values()
    for key in group:
        if wanted is not None and key not in wanted:
            continue
        place = f"{where}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            problems.append(Problem("a link, which is not followed", place, remedy=DAMAGED))
            continue
        item = group[key]
        if isinstance(item, h5py.Group) and depth < 4:
            found[key] = _group(item, place, problems, depth=depth + 1)
        elif isinstance(item, h5py.Dataset):
            value = _value(item, place)
            if isinstance(value, Problem):
                problems.append(value)
            else:
                found[key] = value
        else:
            problems.append(Problem("neither numbers nor text", place, remedy=DAMAGED))
    return found


def _value(item: Any, place: str) -> Any:
    """An array, a number or a text; or what is wrong with it."""
    if item.is_virtual or item.external:
        return Problem("data that are kept in another file", place, remedy=DAMAGED)
    size = prod(item.shape) if item.shape is not None else 0
    if item.shape is None or size == 0:
        return Problem("no values", place, item.shape, remedy=DAMAGED)
    stored = item.id.get_storage_size()
    if size > MAX_VALUES or size * item.dtype.itemsize > stored * MAX_PACKED:
        what = "more numbers are claimed than the file can hold, or than a network has"
        return Problem(what, place, f"{item.shape}, {stored:,} bytes", f"{MAX_VALUES:,} numbers", DAMAGED)
    text = item.dtype.kind == "S" or (
        item.dtype.kind == "O" and _h5py().check_string_dtype(item.dtype) is not None
    )
    if text and size == 1:
        value = np.asarray(item[()]).reshape(-1)[0]
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    if item.dtype.kind not in "biuf":
        return Problem("neither numbers nor text", place, item.dtype, remedy=DAMAGED)
    value = np.asarray(item[()])
    if not np.isfinite(value).all():
        bad = int((~np.isfinite(value)).sum())
        return Problem("values are not finite", place, f"{bad} NaN or infinite values", remedy=DAMAGED)
    return value
