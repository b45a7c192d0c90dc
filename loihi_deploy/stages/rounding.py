"""Rounding of weights that keeps each neuron's mean input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Conv2D, Dense, Transform


def round_keeping_means(
    values: NDArray[np.float64], transform: Transform, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Round weights up or down so that the rounding errors of a neuron's inputs cancel on average.

    Weights of the most active inputs are rounded first; what their rounding adds to or takes from the mean input is
    made up for by the next ones, each by half a unit at most (error diffusion along the fan-in).

    Parameters
    ----------
    values : array
        Weights in units of the rounding step, laid out as ``transform.values``.
    transform : Dense, Conv2D or Sparse
        Whose weights they are; those of a sparse one are rounded to the nearest.
    rates : (in_size,) array
        Mean firing rates of the inputs; a convolution counts with the mean of each channel.

    Returns
    -------
    array of whole numbers, shaped as `values`
    """
    if isinstance(transform, Dense):
        return _diffused(values.T, np.broadcast_to(rates[:, None], values.T.shape)).T
    if isinstance(transform, Conv2D):
        height, width, group_in, out = transform.kernel.shape
        of_channel = rates.reshape(-1, transform.in_shape[2]).mean(axis=0)
        group = np.arange(out) // (out // transform.groups)
        seen = of_channel[group * group_in + np.arange(group_in)[:, None]]  # group_in, out
        weights = values.reshape(height * width * group_in, out)
        return _diffused(weights, np.tile(seen, (height * width, 1))).reshape(values.shape)
    return np.round(values)


def _diffused(weights: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round (n_in, n_out) weights with input rates of the same shape."""
    rounded = np.round(weights)
    error = np.zeros(weights.shape[1])
    for i in np.argsort(-rates.mean(axis=1), kind="stable"):
        active = rates[i] > 0
        wanted = np.divide(error, rates[i], out=np.zeros_like(error), where=active)
        rounded[i] = np.round(weights[i] - np.clip(wanted, -0.5, 0.5))
        error += rates[i] * (rounded[i] - weights[i])
    return rounded
