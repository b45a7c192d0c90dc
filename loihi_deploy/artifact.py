"""The ``.loihi`` file: a zip of ``manifest.json`` and ``.npy`` arrays; docs/file_format.md says what is in it.

Nothing is pickled, so reading a file from elsewhere runs no code of it. Whatever a file claims is checked before memory
is taken for it, and every value checks its fields when it is made.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from loihi_deploy.errors import ArtifactError, LoihiDeployError, Problem
from loihi_deploy.files import PathOrStream, write_file, written
from loihi_deploy.ir.checks import type_problems

FORMAT = "loihi_deploy"
VERSION = 2
MAX_MANIFEST = 16 << 20
"""Bytes of a manifest: as parsed values it takes some twenty times as much."""
MAX_UNPACKED = 256 << 20, 20
"""Bytes that the arrays of a file may take, and on top how often the bytes of the file."""
MAX_DEPTH = 24
"""How deep values may lie in each other."""


def write_artifact(path: PathOrStream, content: Mapping[str, Any]) -> None:
    """Write a tree of values to a file; a regular file appears whole or not at all (see `loihi_deploy.files`).

    Parameters
    ----------
    path : path or binary stream
    content : mapping
        Values: dataclasses, mappings with string keys, tuples, lists, arrays, strings, numbers, booleans, None.

    Raises
    ------
    OutputError
        If the path cannot be written.
    """
    arrays: dict[str, bytes] = {}
    tree = _encode(content, arrays)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "digest": tree_digest(tree),
        "arrays": {name: hashlib.sha256(data).hexdigest() for name, data in arrays.items()},
        "content": tree,
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"manifest.json": json.dumps(manifest, allow_nan=False).encode(), **arrays}.items():
            archive.writestr(
                zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED
            )  # no time stamps: same content, same file
    write_file(path, stream.getvalue())


def read_artifact(path: str | os.PathLike[str], types: Iterable[type[Any]]) -> dict[str, Any]:
    """Read what `write_artifact` wrote.

    Parameters
    ----------
    path : path
    types : iterable of dataclasses
        Those that the file may hold.

    Returns
    -------
    dict
        The tree of values, brought to what the format's newest version holds.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, truncated, altered, too large for what it holds, of another format, or of a
        newer version.
    """
    path = Path(path)
    try:
        content = _read(path, {kind.__name__: kind for kind in types})
    except FileNotFoundError as error:
        raise ArtifactError.single("no such file", str(path)) from error
    except ArtifactError:
        raise
    except LoihiDeployError as error:
        raise _damaged(path, "; ".join(map(str, error.problems))) from error
    except Exception as error:  # a file from elsewhere can break anything on the way, memory included
        raise _damaged(path, f"{type(error).__name__}: {error}"[:500]) from error
    if not isinstance(content, dict):
        raise _damaged(path, "the content is not an object")
    return content


def _read(path: Path, types: Mapping[str, type[Any]]) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise _damaged(path, "a name stands twice in the archive")
        manifest = json.loads(_unpacked(archive, "manifest.json", MAX_MANIFEST))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ArtifactError.single("not a saved deployment", str(path), remedy="Give a .loihi file")
        version = manifest.get("version")
        if isinstance(version, int) and version > VERSION:
            raise ArtifactError.single(
                "written by a newer version of loihi_deploy",
                str(path),
                f"format version {version}",
                VERSION,
                "Upgrade with: pip install -U loihi-deploy",
            )
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise _damaged(path, f"format version {version!r}")
        arrays = {}
        room = MAX_UNPACKED[0] + MAX_UNPACKED[1] * path.stat().st_size
        for name, digest in manifest["arrays"].items():
            data = _unpacked(archive, name, room)
            room -= len(data)
            if hashlib.sha256(data).hexdigest() != digest:
                raise _damaged(path, f"array {name} does not have its digest")
            arrays[name] = _array(data)
    if tree_digest(manifest["content"]) != manifest["digest"]:
        raise _damaged(path, "the manifest does not have its digest")
    for older in range(version, VERSION):
        UPGRADES[older](manifest["content"])
    return _decode(manifest["content"], arrays, types, MAX_DEPTH)


def _unpacked(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member's bytes, of which no more than the limit are unpacked whatever the archive says."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in a way that no version of the format has")
    if info.file_size > limit:
        raise ValueError(f"{name} unpacks to {info.file_size} bytes, allowed {limit}")
    with archive.open(info) as stream:
        data = stream.read(limit + 1)
    if len(data) != info.file_size:
        raise ValueError(f"{name} does not have the size that is written")
    return data


def _array(data: bytes) -> NDArray[Any]:
    """The array of a ``.npy`` file: of numbers, as many as its shape says, without copying them."""
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)  # type: ignore[no-untyped-call]
    if version != (1, 0):
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    if dtype.kind not in "biuf" or fortran or dtype.hasobject:
        raise ValueError(f"an array of {dtype}{', by columns' if fortran else ''}")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array of {dtype}{list(shape)} in {len(data) - stream.tell()} bytes")
    return np.frombuffer(data, dtype, math.prod(shape), stream.tell()).reshape(shape)


def _damaged(path: Path, detail: str) -> ArtifactError:
    return ArtifactError(
        "The saved deployment cannot be read",
        Problem("damaged, truncated or altered", str(path), detail, remedy="Save it again from its source"),
    )


def tree_digest(tree: Any) -> str:
    """SHA-256 of a tree in canonical JSON; hexadecimal."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _encode(value: Any, arrays: dict[str, bytes]) -> Any:
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        return {
            "type": type(value).__name__,
            **{name: _encode(getattr(value, name), arrays) for name in names},
        }
    if isinstance(value, np.ndarray):
        data = written(np.save, value, allow_pickle=False)
        name = next(
            (name for name, known in arrays.items() if known == data), f"arrays/{len(arrays):04d}.npy"
        )
        arrays[name] = data  # what two values share is stored once
        return {"array": name}
    if isinstance(value, Mapping):
        return {"type": "dict", "items": [[key, _encode(item, arrays)] for key, item in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a value of type {type(value).__name__} has no place in a .loihi file")


def _decode(tree: Any, arrays: Mapping[str, Any], types: Mapping[str, type[Any]], depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"values lie more than {MAX_DEPTH} deep in each other")
    if isinstance(tree, list):
        return tuple(_decode(item, arrays, types, depth - 1) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "float" in tree:
        return float(tree["float"])
    if tree["type"] == "dict":
        return {key: _decode(item, arrays, types, depth - 1) for key, item in tree["items"]}
    kind = types[tree["type"]]
    values = {name: _decode(item, arrays, types, depth - 1) for name, item in tree.items() if name != "type"}
    problems = list(_stored_problems(kind, values))
    if problems:
        raise ArtifactError("A value of the file cannot be used", problems)
    return kind(**values)


def _stored_problems(kind: type[Any], values: Mapping[str, Any]) -> Iterable[Problem]:
    """Fields of the wrong type, and claimed shapes for which the file holds no values."""
    known = {field.name for field in fields(kind)}
    yield from type_problems(kind, {name: value for name, value in values.items() if name in known})
    shape, bias = values.get("shape"), values.get("bias")
    if isinstance(bias, np.ndarray) and isinstance(shape, tuple):
        numbers = [n for n in shape if isinstance(n, int)]
        if bias.shape != (math.prod(numbers),):
            yield Problem("biases do not fit the shape", str(values.get("name")), bias.shape, shape)


_COMPILED_IN_1 = {
    "weight_mantissa_max": 254,
    "weight_mantissa_step": 2,
    "weight_shift": 6,
    "min_weight_exponent": -7,
    "max_weight_exponent": 0,
    "decay_bits": 12,
    "current_decay_offset": 1,
    "voltage_decay_offset": 0,
    "accumulator_bits": 21,
    "current_bits": 23,
    "max_v_min_exponent": 31,
    "max_v_max_exponent": 7,
}
"""What the engines of version 1 computed with, whatever the chip's file said."""


def _upgrade_1(tree: Any) -> None:
    """Change a tree of version 1 to one of version 2: a program says what arithmetic it was made for.

    It is that of the board in the file, but for the numbers that were compiled into the engines of version 1.
    """
    values = dict(tree["items"])
    if not {"program", "mapping"} <= values.keys():
        return
    chip = dict(dict(values["mapping"]["board_data"]["items"])["chip"]["items"])
    arithmetic = dict(chip["arithmetic"]["items"])
    values["program"]["arithmetic"] = {"type": "Arithmetic", **arithmetic, **_COMPILED_IN_1}
    if arithmetic != {**arithmetic, **_COMPILED_IN_1}:
        values["mapping"]["program_digest"] = ""  # the program's has changed: see `loihi_deploy.load`


UPGRADES: Mapping[int, Callable[[Any], None]] = {1: _upgrade_1}
"""How the tree of a version becomes that of the next, in place; see docs/file_format.md."""
