"""How sure a rate network has reason to be of its decisions, and what other decisions cost by that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def odds(
    values: NDArray[Any], right: NDArray[np.int64], known: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """How likely each class is by the values (n, size) that a network decides by: as sure as it has reason to be.

    A softmax of the values times the factor, of 40 from 0.01 to 10, under which the right classes of the samples
    `known` are likeliest (temperature scaling: Guo et al. 2017, arXiv 1706.04599).
    """
    values = np.asarray(values, np.float64)
    if values.shape[1] == 1:  # a single sigmoid
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    values = values - values.max(axis=1, keepdims=True)

    def likelihood(factor: float) -> float:
        scaled = factor * values[known]
        return float(
            (scaled[np.arange(len(known)), right[known]] - np.log(np.exp(scaled).sum(axis=1))).mean()
        )

    scaled = np.exp(max(np.geomspace(0.01, 10, 40).tolist(), key=likelihood) * values)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def expected_losses(odds: NDArray[np.float64], decided: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """What each decision (n,) costs by the odds (n, n_classes): 0 where it is the likeliest.

    A toss-up that goes the other way costs nothing, whatever its label happens to be; so the mean depends less on which
    samples were there than accuracy does.
    """
    return np.asarray(odds.max(axis=1) - odds[np.arange(len(odds)), decided])
