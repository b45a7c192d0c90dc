"""Events as frames: what a spiking sensor sends, for networks deployed with ``encoder="events"``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.errors import InputError, Problem


def spike_frames(
    events: ArrayLike,
    shape: tuple[int, ...],
    *,
    n_samples: int | None = None,
    n_steps: int | None = None,
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
    rows = np.asarray(events)
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
        int(np.prod(shape)),
    )
    _refuse_outside(("sample", "step", "neuron"), rows, sizes)
    frames = np.zeros(sizes, bool)
    frames[tuple(rows.T)] = True
    return frames.reshape(*sizes[:2], *shape)


def camera_frames(
    t: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    polarity: ArrayLike,
    shape: tuple[int, int],
    *,
    bin_width: float,
    n_steps: int | None = None,
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
    times, columns, rows, signs = (np.asarray(values) for values in (t, x, y, polarity))
    lengths = {name: values.shape for name, values in zip("txyp", (times, columns, rows, signs), strict=True)}
    if len(set(lengths.values())) > 1 or times.ndim != 1 or not len(times):
        raise InputError.single(
            "not a list of events", "t, x, y, polarity", lengths, "(n_events,) each, at least one"
        )
    if not (np.isfinite(bin_width) and bin_width > 0):
        raise InputError.single("not a width of bins", "bin_width", bin_width, "above 0")
    if not np.isfinite(times).all():
        raise InputError.single("times are not finite", "t", int((~np.isfinite(times)).sum()))
    if not np.isin(signs, (-1, 0, 1)).all():
        raise InputError.single("not a polarity", "polarity", np.unique(signs)[:5].tolist(), "-1 or 0, and 1")
    steps = np.floor((times - times.min()) / bin_width).astype(np.int64)
    if n_steps is not None:
        kept = steps < n_steps
        steps, columns, rows, signs = steps[kept], columns[kept], rows[kept], signs[kept]
    places = np.stack([steps, rows, columns, signs > 0], axis=1).astype(np.int64)
    sizes = (int(steps.max()) + 1 if n_steps is None else n_steps, *shape, 2)
    _refuse_outside(("step", "y", "x", "polarity"), places, sizes)
    frames = np.zeros((1, *sizes), bool)
    frames[0][tuple(places.T)] = True
    return frames


def _refuse_outside(names: tuple[str, ...], rows: NDArray[Any], sizes: tuple[int, ...]) -> None:
    problems = [
        Problem("an event lies outside", name, int(rows[beyond, k][0]), f"0 to {size - 1}")
        for k, (name, size) in enumerate(zip(names, sizes, strict=True))
        if (beyond := (rows[:, k] < 0) | (rows[:, k] >= size)).any()
    ]
    if problems:
        raise InputError("The events do not fit", problems)
