"""What an HDF5 file of lava-dl's network exchange (netx) says, layer by layer, in numpy values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.hdf5 import Reader, Values, import_h5py

DAMAGED = "Write the file again with lava-dl's export_hdf5"
FEATURE = "Reading HDF5 files of lava-dl"


def is_netx(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is, by name or content, one of lava-dl's network exchange."""
    if Path(path).suffix.lower() == ".net":
        return True
    try:
        with import_h5py(FEATURE, "netx").File(path, "r") as file:
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
    reader = Reader(import_h5py(FEATURE, "netx"), DAMAGED, ("layer",))
    found, problems = reader.read(path), reader.problems
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
