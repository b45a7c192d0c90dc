"""Files of event cameras: AEDAT, nengo-loihi's ``.events`` and numpy's ``.npy``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.data.aedat_files import VERSIONS, read_aedat, words_of
from loihi_deploy.data.arrays import read_numpy
from loihi_deploy.errors import DataError

NAMES = {
    "t": ("t", "ts", "time", "timestamp"),
    "x": ("x",),
    "y": ("y",),
    "polarity": ("p", "polarity", "on", "pol"),
}
"""What the fields of an array may be called."""
KNOWN = f".aedat or .aedat4 (version {VERSIONS}), .events or .npy"
LARGEST = 2**31
"""Of columns, rows and polarities."""


class CameraEvents(NamedTuple):
    """Events of a camera in the order of their times: what `camera_frames` takes.

    Parameters
    ----------
    t : (n_events,) array
        Times; in microseconds, but for those of ``.npy`` files, which are as they stand there.
    x, y : (n_events,) int arrays
        Columns and rows, from 0.
    polarity : (n_events,) int array
        0 for darker, 1 for brighter.
    """

    t: NDArray[Any]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    polarity: NDArray[np.int64]


@checked
def read_events(path: str | os.PathLike[str]) -> CameraEvents:
    """Read the events of a camera from a file.

    Parameters
    ----------
    path : path
        ``.aedat`` or ``.aedat4``: AEDAT 2.0 of a DAVIS camera, 3.1, or 4.0, for which the extra ``events`` is needed;
        images between the events, and events of the trigger input, are left out. ``.events``: as nengo-loihi reads and
        writes it (``nengo_loihi.dvs``). ``.npy``: an array with the fields t, x, y and p, or numbers (n_events, 4) in
        this order.

    Returns
    -------
    CameraEvents
        For ``camera_frames(*read_events(path), shape=..., bin_width=...)``.

    Raises
    ------
    DataError
        If the file cannot be read, is of another kind or version, is cut off, or holds what no camera sees.
    MissingExtraError
        For AEDAT 4.0 where the package aedat is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _READERS:
        remedy = "Convert it, or read it with its own library and give the arrays to camera_frames"
        raise DataError.single(
            "not a kind of event file that is read", str(path), kind or "no ending", KNOWN, remedy
        )
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError.single("cannot be read", str(path), reason) from error
    t, x, y, polarity = _READERS[kind](path, content)
    order = np.argsort(t, kind="stable")
    places = (np.asarray(values)[order].astype(np.int64) for values in (x, y, polarity))
    return CameraEvents(np.asarray(t)[order], *places)


def _read_nengo_loihi(path: Path, content: bytes) -> tuple[Any, ...]:
    """nengo-loihi 1.1.0, ``dvs.py``: row, polarity and kind; column; time. Events of the trigger input are left out."""
    address, t = words_of(path, content, "<u4").T
    seen = address & 1 == 0
    address, t = address[seen], t[seen]
    return t, address >> 17, (address & 0xFFFF) >> 2, address >> 1 & 1


def _read_npy(path: Path, content: bytes) -> tuple[Any, ...]:
    array = read_numpy(path).get("", np.empty(0))  # an archive has names
    columns = _columns(array)
    if columns is None:
        raise DataError.single(
            "not an array of events",
            str(path),
            f"{array.dtype} {array.shape}",
            "fields t, x, y, p, or numbers (n_events, 4)",
        )
    bad = ~np.isfinite(columns[0])
    for values in columns[1:]:
        bad |= ~((np.abs(values) < LARGEST) & (values == np.floor(values)))
    if bad.any():
        found = f"{bad.sum()} of {len(bad)} events"
        what = "times that are not finite, or places that are not whole numbers"
        raise DataError.single(what, str(path), found, remedy="Take these events out of the array")
    return columns


def _columns(array: NDArray[Any]) -> tuple[NDArray[Any], ...] | None:
    """t, x, y and polarity of an array, or None where it is none of events."""
    columns = None
    if array.dtype.names and array.ndim == 1:
        found = [next((n for n in names if n in array.dtype.names), None) for names in NAMES.values()]
        if None not in found:
            columns = tuple(array[name] for name in found)
    elif array.ndim == 2 and array.shape[1] == 4:
        columns = tuple(array.T)
    if columns is None or not all(v.ndim == 1 and v.dtype.kind in "biuf" for v in columns):
        return None
    return columns


_READERS = {".aedat": read_aedat, ".aedat4": read_aedat, ".events": _read_nengo_loihi, ".npy": _read_npy}
