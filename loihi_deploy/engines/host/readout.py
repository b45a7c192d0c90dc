"""From filtered, decoded values to a network's answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Graph, Readout


def window_steps(steps: int, window: float | None, hold: int = 1, first_frame: int = 0) -> int:
    """Steps that an answer is averaged over.

    Parameters
    ----------
    steps : int
        Of all frames.
    window : float or None
        This last part of them, at least one step; None is the last frame.
    hold : int
        Steps of a frame.
    first_frame : int
        The first one that there is an answer to: those in front of it are never read.
    """
    return hold if window is None else max(1, min(round(window * steps), steps - first_frame * hold))


def answers(readout: Graph, trace: NDArray[np.float64], width: int) -> dict[str, NDArray[np.float64]]:
    """Average each readout over the last steps of the presentation, add its bias, apply its activation.

    Parameters
    ----------
    readout : Graph
    trace : (n, steps, total size) array
        Filtered, decoded values of all readouts side by side.
    width : int
        Steps that are averaged over.

    Returns
    -------
    dict of (n, *shape) arrays
    """
    return {node.name: node.activated(values) for node, values in _decoded(readout, trace, width)}


def means_of_last(readout: Graph, trace: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Values (n, size) of the first readout before its activation; the arguments are those of `answers`."""
    return next(_decoded(readout, trace, width))[1]


def decisions(readout: Graph, trace: NDArray[np.float64], width: int) -> NDArray[np.int64]:
    """Classes (n,) that the first readout decides for; the arguments are those of `answers`."""
    node, values = next(_decoded(readout, trace, width))
    return node.classes(values)


def _decoded(
    readout: Graph, trace: NDArray[np.float64], width: int
) -> Iterator[tuple[Readout, NDArray[np.float64]]]:
    means = np.add.reduce(trace[:, -width:], axis=1)
    means /= float(width)
    first = 0
    for node in readout.readouts:
        end = first + len(node.bias)
        yield node, means[:, first:end] + node.bias
        first = end


def decisions_by_step(
    readout: Graph, trace: NDArray[np.float64], window: float | None, hold: int, flush: int
) -> NDArray[np.int64]:
    """Classes that the first readout would decide for, had the presentation ended after each of its steps.

    Parameters
    ----------
    readout : Graph
    trace : (n, steps, total size) array
    window : float or None
        As for `window_steps`.
    hold, flush : int
        Steps of a frame, and those that the last one is held longer, in every one of these presentations.

    Returns
    -------
    (n, steps) int64 array
    """
    return readout.readouts[0].classes(values_by_step(readout, trace, window, hold, flush))


def values_by_step(
    readout: Graph, trace: NDArray[np.float64], window: float | None, hold: int, flush: int
) -> NDArray[np.float64]:
    """What the first readout would give, (n, steps, size), before its activation; see `decisions_by_step`."""
    node = readout.readouts[0]
    end, width = _windows_by_step(trace.shape[1], window, hold, flush, readout.first_frame)
    return np.asarray(_means(trace[:, :, : node.size], end, width) + node.bias)


@lru_cache
def _windows_by_step(
    steps: int, window: float | None, hold: int, flush: int, first_frame: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The end, and the width, of the window after each step: the same for chunk after chunk of samples."""
    width = [min(window_steps(max(k - flush, 1), window, hold, first_frame), k) for k in range(1, steps + 1)]
    return np.arange(1, steps + 1), np.array(width, np.int64)


def values_by_frame(
    readout: Graph, trace: NDArray[np.float64], window: float | None, hold: int, flush: int
) -> dict[str, NDArray[np.float64]]:
    """What each readout would give, before its activation, had the sequence ended after each of its frames.

    Frames in front of `Graph.first_frame`, to which there is no answer, are left out.

    Parameters
    ----------
    readout : Graph
    trace : (n, n_frames * hold + flush, total size) array
    window : float or None
        As for `window_steps`: None averages over each frame by itself.
    hold, flush : int
        As for `decisions_by_step`: what a frame decodes to is read `flush` steps later.

    Returns
    -------
    dict of (n, n_frames - first_frame, size) arrays
    """
    end = np.arange(hold, trace.shape[1] - flush + 1, hold)[readout.first_frame :]
    width = np.array([window_steps(k, window, hold, readout.first_frame) for k in end.tolist()])
    means = _means(trace, end + flush, width)
    found, first = {}, 0
    for node in readout.readouts:
        found[node.name] = means[:, :, first : first + node.size] + node.bias
        first += node.size
    return found


def _means(
    trace: NDArray[np.float64], end: NDArray[np.int64], width: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Means of a trace over the `width` steps before each `end`."""
    total = np.zeros((len(trace), trace.shape[1] + 1, trace.shape[2]))
    np.cumsum(trace, axis=1, out=total[:, 1:])
    return np.asarray((total[:, end] - total[:, end - width]) / width[:, None])
