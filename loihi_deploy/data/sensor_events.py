"""Events as frames: what a spiking sensor sends, for networks deployed with ``encoder="events"``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError, Problem

MOST = 2**31 - 1
"""Of a size of frames."""
Size = Annotated[int, Range(1, MOST)]


@checked
def spike_frames(
    events: Any,
    shape: Sequence[Size],
    *,
    n_samples: Size | None = None,
    n_steps: Size | None = None,
) -> NDArray[np.bool_]:
    """Frames, one for each step, of a list of spikes.

    Parameters
    ----------
    events : (n_events, 3) int array
        Sample, step and neuron (the flat index into `shape`) of each spike, from 0.
    shape : tuple of int
        Of a frame.
    n_samples, n_steps : int, optional
        As many as the events need, if not given.

    Returns
    -------
    (n_samples, n_steps, *shape) bool array
        Several spikes of one neuron in a step are one.

    Raises
    ------
    InputError
        If there is no event, or one lies outside.
    """
    rows = _array("events", events)
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iu" or not len(rows):
        raise InputError.single(
            "not a list of spikes",
            "events",
            f"{rows.dtype} {rows.shape}",
            "(n_events, 3) integers, at least one",
        )
    sizes = (
        int(rows[:, 0].max()) + 1 if n_samples is None else n_samples,
        int(rows[:, 1].max()) + 1 if n_steps is None else n_steps,
        prod(map(int, shape)),
    )
    _refuse_outside(("sample", "step", "neuron"), rows, sizes)
    _refuse_large(sizes)
    frames = np.zeros(sizes, bool)
    frames[tuple(rows.T)] = True
    return frames.reshape(*sizes[:2], *shape)


@checked
def camera_frames(
    t: Any,
    x: Any,
    y: Any,
    polarity: Any,
    shape: Sequence[Size],
    *,
    bin_width: Annotated[float, Range(0.0, 1e300)],
    n_steps: Size | None = None,
) -> NDArray[np.bool_]:
    """Frames of an event camera, one for each bin of time, with a channel for each polarity.

    Parameters
    ----------
    t : (n_events,) array
        Times in the unit of `bin_width`; the first bin begins with the earliest.
    x, y : (n_events,) int arrays
        Columns and rows, from 0.
    polarity : (n_events,) array
        0 (or False, or -1) for darker, 1 for brighter.
    shape : (int, int)
        Height and width.
    bin_width : float
        What becomes one step.
    n_steps : int, optional
        Later events are left out; as many as there are, if not given.

    Returns
    -------
    (1, n_steps, height, width, 2) bool array

    Raises
    ------
    InputError
        If arrays have different lengths or no event, or an event lies outside.
    """
    given = {"t": t, "x": x, "y": y, "polarity": polarity}
    times, columns, rows, signs = (_array(name, values) for name, values in given.items())
    if len(shape) != 2:
        raise InputError.single("not a height and a width", "shape", tuple(shape))
    lengths = {name: values.shape for name, values in zip("txyp", (times, columns, rows, signs), strict=True)}
    if len(set(lengths.values())) > 1 or times.ndim != 1 or not len(times):
        raise InputError.single(
            "not a list of events", "t, x, y, polarity", lengths, "(n_events,) each, at least one"
        )
    if not bin_width > 0:
        raise InputError.single("not a width of bins", "bin_width", bin_width, "above 0")
    if not np.isfinite(times).all():
        raise InputError.single("times are not finite", "t", int((~np.isfinite(times)).sum()))
    if not np.isin(signs, (-1, 0, 1)).all():
        raise InputError.single("not a polarity", "polarity", np.unique(signs)[:5].tolist(), "-1 or 0, and 1")
    steps = np.floor((times - times.min()) / float(bin_width)).astype(np.int64)
    if n_steps is not None:
        kept = steps < n_steps
        steps, columns, rows, signs = steps[kept], columns[kept], rows[kept], signs[kept]
    for name, values in (("x", columns), ("y", rows)):
        if values.dtype.kind not in "iu":
            raise InputError.single("not whole numbers", name, values.dtype)
    places = np.stack([steps, rows, columns, signs > 0], axis=1).astype(np.int64)
    sizes = (int(steps.max()) + 1 if n_steps is None else n_steps, *map(int, shape), 2)
    _refuse_outside(("step", "y", "x", "polarity"), places, sizes)
    _refuse_large(sizes)
    frames = np.zeros((1, *sizes), bool)
    frames[0][tuple(places.T)] = True
    return frames


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    """Real numbers."""
    try:
        found = np.asarray(values)
    except Exception as error:  # whatever an array-like of another package raises
        raise InputError.single("not an array", name, f"{type(values).__name__}: {error}") from error
    if found.dtype.kind not in "biuf":
        raise InputError.single("not numbers", name, found.dtype, "real numbers")
    return found


def _refuse_large(sizes: Iterable[int]) -> None:
    if prod(sizes) > MOST:
        raise InputError.single("frames of too many values", "shape", tuple(sizes), f"{MOST} values")


def _refuse_outside(names: tuple[str, ...], rows: NDArray[Any], sizes: tuple[int, ...]) -> None:
    problems = [
        Problem("an event lies outside", name, int(rows[beyond, k][0]), f"0 to {size - 1}")
        for k, (name, size) in enumerate(zip(names, sizes, strict=True))
        if (beyond := (rows[:, k] < 0) | (rows[:, k] >= size)).any()
    ]
    if problems:
        raise InputError("The events do not fit", problems)
