"""Read one array from a file that a user names: .npy, .npz with a key, CSV, or a single IDX file."""

from __future__ import annotations

import csv
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.data.idx import IDX_MAGIC, read_idx_file
from loihi_deploy.errors import DataError, Problem

FORMS = ".npy, .npz with file.npz:key, .csv, an IDX file, an IDX folder or a folder of images by class"
"""What may be named where samples are asked for, for messages."""
LABEL_COLUMNS = ("label", "labels", "class", "target", "y")
"""Headers of the column of a CSV file that holds the labels; capitals do not count."""
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, MemoryError)


def split_key(name: str) -> tuple[Path, str | None]:
    """The path and the key of ``file.npz:key``; no key where there is none."""
    path, colon, key = name.rpartition(":")
    if colon and path.lower().endswith(".npz") and not os.path.exists(name):
        return Path(path), key
    return Path(name), None


def read_arrays(name: str) -> dict[str, NDArray[Any]]:
    """Every array that a file names, by key; a file that holds a single one names it ``""``.

    Parameters
    ----------
    name : str
        Path of a .npy, .npz, .csv or IDX file, or ``file.npz:key`` for one array of several. A CSV file has a row for
        each sample; where its first row is a header, a column of `LABEL_COLUMNS` becomes an array ``"y"`` beside
        ``"x"``.

    Returns
    -------
    dict of arrays
        Of numbers or booleans, each with at least one dimension.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another kind, or holds something else than numbers.
    """
    path, key = split_key(name)
    if not os.path.isfile(path):
        raise DataError.single("no such file or folder", name, remedy=f"Give one of: {FORMS}")
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv", ".txt"):
        arrays = _read_csv(path, "\t" if ending == ".tsv" else ",")
    elif ending in (".npy", ".npz"):
        arrays = read_numpy(path, key)
    elif _is_idx(path):
        arrays = {"": read_idx_file(path)}
    else:
        raise DataError.single("not a kind of data file", name, ending, remedy=f"Give one of: {FORMS}")
    problems = []
    for each, array in arrays.items():
        where = f"{name}:{each}" if each and key is None else name
        if array.dtype.kind not in "biuf":
            problems.append(Problem("not an array of numbers", where, f"dtype {array.dtype}"))
        elif array.ndim == 0:
            problems.append(Problem("a single number, not one entry for each sample", where, str(array)))
    if problems:
        raise DataError(f"Cannot use the data in {path}", problems)
    return arrays


def read_numpy(path: Path, key: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a .npy or .npz file, or the one of a key, whatever they hold; a DataError where there are none."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"": content}
            if key is not None and key not in content.files:
                raise DataError.single(
                    "no array of that name", str(path), key, ", ".join(content.files), "Give one of those"
                )
            return {each: np.asarray(content[each]) for each in ([key] if key is not None else content.files)}
    except DataError:
        raise
    except (*_UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        raise DataError.single(
            f"not a readable {path.suffix} file",
            str(path),
            str(error).split("\n")[0] or type(error).__name__,
            remedy="Write it with numpy.save or numpy.savez, without Python objects",
        ) from error


def _is_idx(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    return start[:3] == IDX_MAGIC or (start[:2] == b"\x1f\x8b" and "idx" in path.name)


def _read_csv(path: Path, delimiter: str) -> dict[str, NDArray[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [
                (number, row) for number, row in enumerate(csv.reader(file, delimiter=delimiter), 1) if row
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError.single(f"cannot be read: {error}", str(path)) from error
    header = None
    if lines and not any(_is_number(cell) for cell in lines[0][1]):
        header = [cell.strip().lower() for cell in lines.pop(0)[1]]
    if not lines:
        raise DataError.single("holds no sample", str(path), remedy="Give a row of numbers for each sample")
    width = len(header or lines[0][1])
    problems = []
    for number, row in lines:
        bad = next((cell for cell in row if not _is_number(cell)), None)
        if len(row) != width:
            problems.append(Problem("another number of columns", f"{path}, line {number}", len(row), width))
        elif bad is not None:
            problems.append(Problem("not a number", f"{path}, line {number}", repr(bad)))
    if problems:
        raise DataError(f"Cannot use the data in {path}", problems[:10])
    cells = [row for _, row in lines]
    labels = [i for i, title in enumerate(header or ()) if title in LABEL_COLUMNS]
    if not labels:
        return {"": _numbers(cells)}
    others = [i for i in range(width) if i not in labels]
    arrays = {"y": _numbers([[row[labels[0]]] for row in cells])[:, 0]}
    return {"x": _numbers([[row[i] for i in others] for row in cells]), **arrays} if others else arrays


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: list[list[str]]) -> NDArray[Any]:
    """Integers where every cell is written as one, floats otherwise."""
    whole = all(_INTEGER.fullmatch(cell) for row in cells for cell in row)
    return np.array([[(int if whole else float)(cell) for cell in row] for row in cells])
