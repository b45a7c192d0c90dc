"""HDF5 files from elsewhere as numpy values.

Nothing of a file runs, and no other file is opened for it: links and data kept elsewhere are refused.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from loihi_deploy.errors import ConversionError, Problem, missing_extra

MAX_VALUES = 1 << 27
"""Most numbers that a data set may hold."""
MAX_PACKED = 1100
"""Most bytes that a byte of a file can stand for: what its compression reaches at best is about 1,030."""
Values = dict[str, Any]
"""Arrays, numbers as Python numbers, texts and, for groups, more of them, by name."""


def import_h5py(feature: str, extra: str) -> Any:
    """Import h5py; MissingExtraError where it is not installed."""
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise missing_extra("h5py", feature, extra) from error


@dataclass
class Reader:
    """Reads files of one kind.

    Parameters
    ----------
    h5py : module
    remedy : str
        What to do about a damaged file.
    wanted : tuple of str
        What is read of the file's top level.
    depth : int
        How deep groups may lie in each other.
    unread : tuple of str
        Names of groups, wherever they stand, that are passed over.
    """

    h5py: Any
    remedy: str
    wanted: tuple[str, ...]
    depth: int = 4
    unread: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: str | os.PathLike[str]) -> Values:
        """Everything that is wanted; adds to `problems`.

        Raises
        ------
        ConversionError
            If the file is damaged.
        """
        try:
            with self.h5py.File(path, "r") as file:
                return self._group(file, "", 0)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            detail = str(error).strip().split("\n")[0][:300]
            raise ConversionError(
                "The file cannot be read", Problem("damaged", os.fspath(path), detail, remedy=self.remedy)
            ) from error

    def _group(self, group: Any, where: str, depth: int) -> Values:
        """The values of a group and of those in it."""
        found = Values()
        for key in group:
            if (not depth and key not in self.wanted) or key in self.unread:
                continue
            place = f"{where}/{key}".lstrip("/")
            if not isinstance(group.get(key, getlink=True), self.h5py.HardLink):
                self._problem("a link, which is not followed", place)
                continue
            item = group[key]
            if isinstance(item, self.h5py.Group) and depth < self.depth:
                found[key] = self._group(item, place, depth + 1)
            elif isinstance(item, self.h5py.Dataset):
                value = self._value(item, place)
                if value is not None:
                    found[key] = value
            else:
                self._problem("neither numbers nor text", place)
        return found

    def _problem(self, what: str, place: str, value: object = None, limit: object = None) -> None:
        self.problems.append(Problem(what, place, value, limit, self.remedy))

    def _value(self, item: Any, place: str) -> Any:
        """An array, a number or a text; None where something is wrong with it."""
        if item.is_virtual or item.external:
            return self._problem("data that are kept in another file", place)
        size = prod(item.shape) if item.shape is not None else 0
        if item.shape is None or size == 0:
            return self._problem("no values", place, item.shape)
        stored = item.id.get_storage_size()
        if size > MAX_VALUES or size * item.dtype.itemsize > stored * MAX_PACKED:
            what = "more numbers are claimed than the file can hold, or than a network has"
            return self._problem(what, place, f"{item.shape}, {stored:,} bytes", f"{MAX_VALUES:,} numbers")
        text = item.dtype.kind == "S" or (
            item.dtype.kind == "O" and self.h5py.check_string_dtype(item.dtype) is not None
        )
        if text:
            texts = [
                value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                for value in np.asarray(item[()]).ravel()
            ]
            return texts[0] if size == 1 else np.array(texts).reshape(item.shape)
        if item.dtype.kind not in "biuf":
            return self._problem("neither numbers nor text", place, item.dtype)
        value = np.asarray(item[()])
        if not np.isfinite(value).all():
            bad = int((~np.isfinite(value)).sum())
            return self._problem("values are not finite", place, f"{bad} NaN or infinite values")
        return value
