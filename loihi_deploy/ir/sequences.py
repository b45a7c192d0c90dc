"""Sequences of different length: padded, with the length of each, so that what is padded is never presented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.collecting import masked_problem


class Sequences:
    """Sequences of different length, to be given wherever samples are taken.

    A list of arrays (n_frames, *input_shape), one for each sequence, needs none of this: it is taken as it is.

    Parameters
    ----------
    x : array, list of arrays, or mapping of arrays
        (n_samples, most_frames, *input_shape), padded at the end with anything; or a list of (n_frames, *input_shape).
        For several inputs a mapping by their names, all of the same lengths.
    lengths : (n_samples,) int array, optional
        Frames of each sequence, 1 or more.
    mask : (n_samples, most_frames) bool array, optional
        In place of lengths: True for frames, False for what is padded behind them.

    Raises
    ------
    InputError
        Lengths beyond the array, no frame at all, a mask with holes or of another shape, lengths and mask together.
    """

    def __init__(self, x: Any, lengths: Any = None, mask: Any = None) -> None:
        if lengths is not None and mask is not None:
            raise InputError.single("given together with a mask", "lengths", remedy="Give one of them")
        self.mask_frames: int | None = None
        if mask is not None:
            lengths = _lengths_of(mask)
            self.mask_frames = np.shape(mask)[1]
        if lengths is None:
            found = [_listed_lengths(values) for values in (x.values() if isinstance(x, Mapping) else [x])]
            lengths = found[0] if found else None
            if lengths is None or any(other is None or other.tolist() != lengths.tolist() for other in found):
                raise InputError.single(
                    "nobody says how long the sequences are",
                    "lengths",
                    remedy="Give lengths, a mask, or a list with an array for each sequence",
                )
        self.x = x
        self.lengths = _whole_numbers(lengths)

    def __len__(self) -> int:
        return len(self.lengths)


def as_sequences(x: Any) -> Any:
    """`Sequences` of a list, or mapping of lists, of arrays with different numbers of frames; `x` where it is none."""
    values = list(x.values()) if isinstance(x, Mapping) else [x]
    lengths = [_listed_lengths(each) for each in values]
    ragged = [found is not None and len(set(found.tolist())) > 1 for found in lengths]
    return Sequences(x) if ragged and all(ragged) and _are_one_input_each(x) else x


def _are_one_input_each(x: Any) -> bool:
    """Whether a list holds sequences, and not an array for each of several inputs: those have as many axes or more."""
    return isinstance(x, Mapping) or len({np.shape(item)[1:] for item in x}) <= 1 or np.ndim(x[0]) <= 2


def padded(name: str, values: Any, sequences: Sequences) -> NDArray[Any] | Problem:
    """An input's values as one array, zero behind the end of each sequence, or what is wrong with them."""
    lengths = sequences.lengths
    n, most = len(lengths), int(lengths.max(initial=0))
    masked = masked_problem(name, values)
    if masked is not None:
        return masked
    if isinstance(values, (list, tuple)):
        shapes = [np.shape(item)[1:] for item in values]
        other = next((k for k, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            remedy = "Give every frame of every sequence the same values"
            return Problem("sequences differ in more than their length", f"{name}[{other}]",
                           shapes[other], shapes[0], remedy)  # fmt: skip
        rows = [np.asarray(item) for item in values]
        whole = np.zeros((len(rows), max(map(len, rows)), *shapes[0]), np.result_type(*rows))
        for row, sequence in zip(whole, rows, strict=True):
            row[: len(sequence)] = sequence
        given = [len(sequence) for sequence in rows]
    else:
        whole = np.array(values)
        if whole.ndim < 2:
            return Problem("no sequences", name, whole.shape, "(n_samples, n_frames, ...)")
        given = [whole.shape[1]] * len(whole)
    if len(whole) != n:
        return Problem("as many lengths as samples are needed", "lengths", n, len(whole))
    if sequences.mask_frames not in (None, max(given, default=0)):
        shape = (n, sequences.mask_frames)
        return Problem("not a mask of these sequences", "mask", shape, (n, max(given, default=0)))
    beyond = next((k for k in range(n) if lengths[k] > given[k]), None)
    if beyond is not None:
        return Problem(
            "a sequence is not as long", f"lengths[{beyond}]", int(lengths[beyond]), f"1 to {given[beyond]}"
        )
    whole = whole[:, :most]
    whole[np.arange(most) >= lengths[:, None]] = 0
    return whole


def _listed_lengths(values: Any) -> NDArray[np.int64] | None:
    """Frames of each array of a list; None where it is no list of arrays."""
    if not isinstance(values, (list, tuple)) or not values:
        return None
    if not all(hasattr(item, "shape") and len(item.shape) >= 1 for item in values):
        return None
    return np.array([item.shape[0] for item in values], np.int64)


def _whole_numbers(lengths: Any) -> NDArray[np.int64]:
    found = np.asarray(lengths)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError.single(
            "not a number of frames for each sequence",
            "lengths",
            f"{found.dtype} {found.shape}",
            "(n_samples,) integers",
        )
    if found.size and found.min() < 1:
        empty = int(found.argmin())
        raise InputError.single(
            "a sequence without a frame", f"lengths[{empty}]", int(found[empty]), "1 or more", "Leave it out"
        )
    return found.astype(np.int64)


def _lengths_of(mask: Any) -> NDArray[np.int64]:
    found = np.asarray(mask)
    if found.ndim != 2 or not np.isin(found, (0, 1)).all():
        raise InputError.single(
            "not a mask", "mask", f"{found.dtype} {found.shape}", "(n_samples, most_frames), True or False"
        )
    found = found.astype(bool)
    lengths: NDArray[np.int64] = found.sum(axis=1, dtype=np.int64)
    holes = np.flatnonzero((found != (np.arange(found.shape[1]) < lengths[:, None])).any(axis=1))
    if len(holes):
        raise InputError.single(
            "a mask with holes",
            f"mask[{holes[0]}]",
            "frames behind some that are masked",
            "all frames in front",
            "Cut the masked frames out, and pad at the end",
        )
    return lengths
