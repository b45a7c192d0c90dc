"""Labels for samples: classes, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.graph import Readout


def checked_labels(y: Any, n_samples: int | None, readout: Readout) -> NDArray[np.int64]:
    """Labels as an int array of n_samples.

    Parameters
    ----------
    y : (n_samples,), (n_samples, 1) or one-hot (n_samples, n_classes) array
    n_samples : int or None
        None where the samples are not known; then their number is that of the labels.
    readout : Readout
        What decides between the classes.

    Raises
    ------
    InputError
        If there are more or fewer labels than samples, or labels that are no class.
    """
    labels, n_classes = _array(y), readout.n_classes
    if n_samples is None:
        n_samples = len(labels) if labels.ndim else 0
    problems = []
    if n_classes == 1:
        remedy = "End the network in a sigmoid, or in one output for each class; give values as floats"
        problems.append(Problem("a single value decides between no classes", readout.name, remedy=remedy))
    if labels.shape == (n_samples, n_classes) and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    if labels.shape not in ((n_samples,), (n_samples, 1)):
        problems.append(Problem("labels do not fit the samples", "y", labels.shape, (n_samples,)))
    if not np.issubdtype(labels.dtype, np.integer):
        remedy = "Give class indices, or one-hot vectors of 0 and 1"
        problems.append(Problem("labels must be integers", "y", labels.dtype, remedy=remedy))
    elif n_classes > 1 and labels.size and not (labels.min() >= 0 and labels.max() < n_classes):
        found = f"{labels.min()} to {labels.max()}"
        problems.append(Problem("labels out of range", "y", found, f"0 to {n_classes - 1}"))
    if problems:
        raise InputError("The labels do not fit", problems)
    return labels.reshape(n_samples).astype(np.int64)


def frame_labels(
    y: Any, n_frames: int, lengths: NDArray[np.int64] | None, readout: Readout
) -> NDArray[np.int64]:
    """Labels of frames as an int array (n_samples, n_frames), -1 behind the end of each sample.

    Parameters
    ----------
    y : (n_samples, n_frames) int array, or list of (n_frames,) arrays
        Or one-hot, (n_samples, n_frames, n_classes). What stands behind the end of a sample is not looked at.
    n_frames : int
        Of the longest sample, those that there is an answer to.
    lengths : (n_samples,) int array or None
        Frames of each, where they differ.
    readout : Readout
    """
    ends = np.full(len(y), n_frames) if lengths is None else lengths
    rows = [_to_end(row, end, n_frames, readout) for row, end in zip(y, ends.tolist(), strict=True)]
    one_hot = [
        row.shape == (end, readout.n_classes) and _is_one_hot(row)
        for row, end in zip(rows, ends, strict=True)
    ]
    rows = [row.argmax(axis=1) for row in rows] if all(one_hot) else rows
    wrong = [k for k, row in enumerate(rows) if row.shape != (ends[k],)]
    if wrong:
        short = next((k for k in wrong if rows[k].shape[:1] != (ends[k],)), wrong[0])
        raise InputError.single(
            "not a label for every frame that there is an answer to",
            f"y[{short}]",
            rows[short].shape,
            (int(ends[short]),),
        )
    flat = np.concatenate(rows)
    labels = np.full((len(rows), n_frames), -1, np.int64)
    labels[np.arange(n_frames) < ends[:, None]] = checked_labels(flat, len(flat), readout)
    return labels


def frame_targets(
    y: Any, n_frames: int, lengths: NDArray[np.int64] | None, readout: Readout, kinds: str = "f"
) -> NDArray[np.float64] | None:
    """Values that the outputs of frames should have, (n_samples, n_frames, size), 0 behind the end of each sample.

    Parameters
    ----------
    y : (n_samples, n_frames, *shape) float array, or list of (n_frames, *shape) arrays
    n_frames, lengths, readout
        As for `frame_labels`.
    kinds : str
        Of types of numbers that are values.

    Returns
    -------
    array or None
        None where they have another form, or are one-hot labels.
    """
    ends = np.full(len(y), n_frames) if lengths is None else lengths
    there = np.arange(n_frames) < ends[:, None]
    found = np.zeros((len(y), n_frames, readout.size))
    for k, end in enumerate(ends.tolist()):
        row = _to_end(y[k], end, n_frames, readout)
        if row.shape[:1] != (end,) or row.dtype.kind not in kinds or row.size != end * readout.size:
            return None
        found[k, :end] = row.reshape(end, -1)
    return None if readout.n_classes > 1 and _is_one_hot(found[there]) else found


def _to_end(row: Any, end: int, n_frames: int, readout: Readout) -> NDArray[Any]:
    """What is said of the frames of a sequence, without what is padded behind it.

    Where the first frames have no answer, only as many rows as the longest sequence has answers are padded ones: one
    for each frame would stand at others than it is meant for.
    """
    values = _array(row)
    cut = not readout.first_frame or values.shape[:1] == (n_frames,)
    return values[:end] if cut and values.ndim else values


def are_of_frames(labels: NDArray[Any]) -> bool:
    """Whether checked labels, or values that outputs should have, are those of frames."""
    return labels.ndim == (3 if labels.dtype.kind == "f" else 2)


def class_labels(y: Any, readout: Readout) -> Any:
    """Labels as class numbers, also from one-hot rows; None where they are values that the outputs should have."""
    labels = _array(y)
    if readout.n_classes == 1:
        return None
    if labels.dtype.kind in "biu" and labels.ndim and labels.shape in ((len(labels),), (len(labels), 1)):
        return labels.reshape(-1)
    return labels.argmax(axis=1) if labels.ndim == 2 and _is_one_hot(labels) else None


def _is_one_hot(labels: NDArray[Any]) -> bool:
    """Whether each row has a single 1 among zeros."""
    return (
        labels.shape[1] > 1
        and labels.dtype.kind in "biuf"
        and bool(np.isin(labels, (0, 1)).all())
        and bool((labels.sum(axis=1) == 1).all())
    )


def _array(y: Any) -> NDArray[Any]:
    """Labels as an array of whatever type."""
    try:
        labels = np.asarray(y)
    except Exception as error:  # whatever an array-like of another package raises
        raise InputError.single("labels are not an array", "y", f"{type(y).__name__}: {error}") from error
    if isinstance(y, np.ma.MaskedArray) and y.mask.any():
        raise InputError.single(
            "some labels are masked",
            "y",
            f"{int(y.mask.sum())} masked values",
            remedy="Leave these samples out",
        )
    return labels
