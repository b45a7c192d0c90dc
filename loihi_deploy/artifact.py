"""The ``.loihi`` file: a zip of ``manifest.json`` and ``.npy`` arrays.

``manifest.json`` is an object with

- ``format``: ``"loihi_deploy"``; ``version``: an integer, raised when an older reader could not read the file;
- ``arrays``: SHA-256 of each array file by name; ``digest``: SHA-256 of ``content`` in canonical JSON;
- ``content``: the tree of values. An object with ``"type"`` is a value of that type, with its fields; one with
  ``"array"`` is the array in the file of that name; one with ``"float"`` is a float that JSON lacks (``"inf"``).

Nothing is pickled, so reading a file from elsewhere runs no code of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loihi_deploy.errors import ArtifactError, InputError, Problem
from loihi_deploy.files import PathOrStream, write_file

FORMAT = "loihi_deploy"
VERSION = 2


def write_artifact(path: PathOrStream, content: Mapping[str, Any]) -> None:
    """Write a tree of values to a file; a regular file appears whole or not at all (see `loihi_deploy.files`).

    Parameters
    ----------
    path : path or binary stream
    content : mapping
        Values: dataclasses, mappings with string keys, tuples, lists, arrays, strings, numbers, booleans,
        None.

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
        "digest": _tree_digest(tree),
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

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, truncated, altered, of another format, or of a newer version.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise ArtifactError.single("not a saved deployment", str(path), remedy="Give a .loihi file")
            version = manifest.get("version")
            if not isinstance(version, int) or version > VERSION:
                raise ArtifactError.single(
                    "written by a newer version of loihi_deploy",
                    str(path),
                    f"format version {version}",
                    VERSION,
                    "Upgrade with: pip install -U loihi-deploy",
                )
            arrays = {}
            for name, digest in manifest["arrays"].items():
                data = archive.read(name)
                if hashlib.sha256(data).hexdigest() != digest:
                    raise _damaged(path, f"array {name} does not have its digest")
                arrays[name] = np.load(io.BytesIO(data), allow_pickle=False)
            if _tree_digest(manifest["content"]) != manifest["digest"]:
                raise _damaged(path, "the manifest does not have its digest")
            known = {kind.__name__: kind for kind in types}
            for older in range(version, VERSION):
                UPGRADES[older](manifest["content"])
            content = _decode(manifest["content"], arrays, known)
    except FileNotFoundError as error:
        raise ArtifactError.single("no such file", str(path)) from error
    except (OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        if isinstance(error, ArtifactError):
            raise
        detail = "; ".join(map(str, error.problems)) if isinstance(error, InputError) else str(error)
        raise _damaged(path, detail) from error
    if not isinstance(content, dict):
        raise _damaged(path, "the content is not an object")
    return content


def _damaged(path: Path, detail: str) -> ArtifactError:
    return ArtifactError(
        "The saved deployment cannot be read",
        Problem("damaged, truncated or altered", str(path), detail, remedy="Save it again from its source"),
    )


def _tree_digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _encode(value: Any, arrays: dict[str, bytes]) -> Any:
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        return {
            "type": type(value).__name__,
            **{name: _encode(getattr(value, name), arrays) for name in names},
        }
    if isinstance(value, np.ndarray):
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=False)
        data = stream.getvalue()
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


def _decode(tree: Any, arrays: Mapping[str, Any], types: Mapping[str, type[Any]]) -> Any:
    if isinstance(tree, list):
        return tuple(_decode(item, arrays, types) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "float" in tree:
        return float(tree["float"])
    if tree["type"] == "dict":
        return {key: _decode(item, arrays, types) for key, item in tree["items"]}
    kind = types[tree["type"]]
    return kind(**{name: _decode(item, arrays, types) for name, item in tree.items() if name != "type"})


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
