"""From filtered, decoded values to a network's answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.graph import Graph, Readout


def window_steps(steps: int, window: float) -> int:
    """Steps that an answer is averaged over: the fraction `window` of a presentation, at least one step."""
    return max(1, round(window * steps))


def answers(
    readout: Graph, traces: Mapping[str, NDArray[np.float64]], window: float
) -> dict[str, NDArray[np.float64]]:
    """Average each readout over the last part of the presentation, add its bias, apply its activation.

    Parameters
    ----------
    readout : Graph
    traces : dict of (n, steps, size) arrays
        Filtered, decoded values.
    window : float
        Fraction of the presentation, 0..1.

    Returns
    -------
    dict of (n, *shape) arrays
    """
    return {
        node.name: _activation(
            node, traces[node.name][:, -window_steps(traces[node.name].shape[1], window) :].mean(axis=1)
        ).reshape(-1, *node.shape)
        for node in readout.readouts
    }


def answers_by_step(node: Readout, trace: NDArray[np.float64], window: float) -> NDArray[np.float64]:
    """What `answers` would give had the presentation ended after each of its steps.

    Parameters
    ----------
    node : Readout
    trace : (n, steps, size) array
    window : float

    Returns
    -------
    (n, steps, size) array
        Before the activation, which changes no decision.
    """
    steps = trace.shape[1]
    total = np.concatenate([np.zeros_like(trace[:, :1]), np.cumsum(trace, axis=1)], axis=1)
    width = np.array([window_steps(k, window) for k in range(1, steps + 1)])
    end = np.arange(1, steps + 1)
    return (total[:, end] - total[:, end - width]) / width[:, None] + node.bias


def _activation(node: Readout, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    values = mean + node.bias
    if node.activation == "softmax":
        exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
        values = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return values
