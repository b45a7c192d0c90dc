"""From filtered, decoded values to a network's answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Graph, Readout


def window_steps(steps: int, window: float) -> int:
    """Steps that an answer is averaged over: the fraction `window` of a presentation, at least one step."""
    return max(1, round(window * steps))


def answers(readout: Graph, trace: NDArray[np.float64], window: float) -> dict[str, NDArray[np.float64]]:
    """Average each readout over the last part of the presentation, add its bias, apply its activation.

    Parameters
    ----------
    readout : Graph
    trace : (n, steps, total size) array
        Filtered, decoded values of all readouts side by side.
    window : float
        Fraction of the presentation, 0..1.

    Returns
    -------
    dict of (n, *shape) arrays
    """
    return {node.name: node.activated(values) for node, values in _decoded(readout, trace, window)}


def decisions(readout: Graph, trace: NDArray[np.float64], window: float) -> NDArray[np.int64]:
    """Classes (n,) that the first readout decides for; the arguments are those of `answers`."""
    node, values = next(_decoded(readout, trace, window))
    return node.classes(values)


def _decoded(
    readout: Graph, trace: NDArray[np.float64], window: float
) -> Iterator[tuple[Readout, NDArray[np.float64]]]:
    means = trace[:, -window_steps(trace.shape[1], window) :].mean(axis=1)
    first = 0
    for node in readout.readouts:
        yield node, means[:, first : first + node.size] + node.bias
        first += node.size


def decisions_by_step(readout: Graph, trace: NDArray[np.float64], window: float) -> NDArray[np.int64]:
    """Classes that the first readout would decide for, had the presentation ended after each of its steps.

    Parameters
    ----------
    readout : Graph
    trace : (n, steps, total size) array
    window : float

    Returns
    -------
    (n, steps) int64 array
    """
    node = readout.readouts[0]
    n, steps = trace.shape[:2]
    total = np.zeros((n, steps + 1, node.size))
    np.cumsum(trace[:, :, : node.size], axis=1, out=total[:, 1:])
    end = np.arange(1, steps + 1)
    width = np.array([window_steps(k, window) for k in range(1, steps + 1)])
    values = (total[:, end] - total[:, end - width]) / width[:, None] + node.bias
    return node.classes(values)
