"""What a file is, told by its first bytes and not by its name; and what takes it, where this is the wrong place."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal, get_args

from loihi_deploy.errors import Problem

Kind = Literal[
    "loihi",
    "keras",
    "hdf5",
    "saved_model",
    "exported",
    "frozen",
    "checkpoint",
    "tflite",
    "onnx",
    "nir",
    "torch",
    "arrays",
    "picture",
    "config",
    "folder",
    "missing",
    "unknown",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ASK_FOR_KERAS = "Give the Keras model that it was made of, saved with model.save('model.keras')"
_RUN = "Run it with loihi_deploy.load(path).run(x), or with the commands run, evaluate, verify and report"
_COMPILE = "Make a deployment of it first: loihi-deploy compile MODEL -o net.loihi, or loihi_deploy.deploy(path, ...)"
_WEIGHTS = "Save the whole model, with its layers: model.save('model.keras')"
_EXPORT = "Export the network to ONNX, which is read: torch.onnx.export(model, example_inputs, 'net.onnx')"
WHAT: dict[Kind, tuple[str, str]] = {
    "loihi": ("a deployment, which is compiled already", _RUN),
    "keras": ("a Keras model", _COMPILE),
    "hdf5": ("an HDF5 file, as of a Keras model, its weights, a network of lava-dl or a NIR graph", _COMPILE),
    "saved_model": ("a Keras model saved as a SavedModel folder", _COMPILE),
    "exported": ("a TensorFlow program without its Keras layers (SavedModel)", _ASK_FOR_KERAS),
    "frozen": ("a TensorFlow program without its Keras layers (.pb)", _ASK_FOR_KERAS),
    "checkpoint": ("weights without the model (TensorFlow checkpoint)", _WEIGHTS),
    "tflite": ("a TensorFlow Lite model", _ASK_FOR_KERAS),
    "onnx": ("an ONNX model", _COMPILE),
    "nir": ("a damaged NIR graph", "Write the file again with nir.write"),
    "torch": ("a PyTorch file, which only its author's program can read", _EXPORT),
    "arrays": (
        "an array of numbers, not a network",
        "Give it as samples: calibration, --calibration or --samples",
    ),
    "picture": ("a picture, not a network", "Give it as samples: calibration, --calibration or --samples"),
    "config": ("a model's layers without its weights (JSON)", _WEIGHTS),
    "folder": ("a folder without a model", "Give a file that model.save() wrote, or a SavedModel folder"),
    "missing": ("no such file", "Give a file that model.save() wrote"),
    "unknown": ("a file of an unknown kind", "Give a file that model.save() wrote"),
}
"""For each kind what the file is, and what to do with it where it cannot be read."""

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (4, b"TFL3", "tflite"),
    (0, b"\x93NUMPY", "arrays"),
    (0, b"\x89PNG", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
)


def file_kind(path: str | os.PathLike[str]) -> Kind:
    """What kind of file, or folder, it is.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        One of `KINDS`: 'missing' where there is no such file, or where it cannot be read.
    """
    path = Path(path)
    if os.path.isdir(path):  # which takes names that no file can have
        return _folder_kind(path)
    if os.path.isfile(f"{path}.index"):
        return "checkpoint"
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return "missing"
    for offset, signature, kind in _SIGNATURES:
        if start[offset:].startswith(signature):
            return kind
    if start.startswith(b"PK"):
        return _archive_kind(path)
    if start.lstrip().startswith(b"{"):
        return "config"
    by_name: dict[str, Kind] = {
        ".onnx": "onnx",
        ".nir": "nir",
        ".pt": "torch",
        ".pth": "torch",
        ".index": "checkpoint",
        ".pb": "frozen",
    }
    return by_name.get(path.suffix.lower(), "unknown")


def _folder_kind(path: Path) -> Kind:
    names = {entry.name for entry in path.iterdir()}
    if "saved_model.pb" in names:
        return "saved_model" if "keras_metadata.pb" in names else "exported"
    return "checkpoint" if "checkpoint" in names else "folder"


def _archive_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return "unknown"
    if "manifest.json" in names:
        return "loihi"
    if "config.json" in names and "metadata.json" in names:
        return "keras"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    return "arrays" if names and all(name.endswith(".npy") for name in names) else "unknown"


def wrong_kind(path: str | os.PathLike[str]) -> Problem:
    """Say what a file is, and what takes it, where something else was wanted."""
    path = Path(path)
    if path.name == "saved_model.pb":
        remedy = f"Give the folder: {path.parent}"
        return Problem("the program of a SavedModel folder", os.fspath(path), remedy=remedy)
    what, remedy = WHAT[file_kind(path)]
    return Problem(what, os.fspath(path), remedy=remedy)
