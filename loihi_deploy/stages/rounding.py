"""The levels of stored weights, where few of them are clipped, and rounding that keeps each neuron's mean input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Conv2D, Dense, Transform

CLIPS = np.linspace(0.05, 1.0, 77)
"""Parts of the largest weight that few bits are tried to be clipped at."""


@dataclass(frozen=True)
class Levels:
    """The values that a stored weight can have: ``-largest .. largest`` times `unit` of the widest format.

    With as many bits as the chip has, or more, these are all of the chip's, up to its `limit`.
    """

    limit: int
    bits: int

    @property
    def most_bits(self) -> int:
        """Bits of the chip's widest weights, sign included."""
        return self.limit.bit_length() + 1

    @property
    def largest(self) -> int:
        """The largest level."""
        return self.limit if self.stored_bits is None else int(2 ** (self.bits - 1) - 1)

    @property
    def unit(self) -> int:
        """What a level stands for among the chip's mantissas."""
        return int(2 ** max(self.most_bits - self.bits, 0))

    @property
    def room(self) -> float:
        """What the largest weight is multiplied by so that it becomes the largest level; 1 with all bits."""
        return 1.0 if self.stored_bits is None else 2 ** (self.bits - 1) / self.largest

    @property
    def stored_bits(self) -> int | None:
        """Bits as a program says it: None for all."""
        return None if self.bits >= self.most_bits else self.bits


def least_squares_clip(magnitudes: NDArray[np.float64], largest: float, levels: Levels) -> float:
    """The magnitude to clip at for which the squared error of rounding is least, of those tried."""

    def error(clip: float) -> float:
        rounded = np.minimum(np.round(magnitudes * (levels.largest / clip)), levels.largest)
        return float(np.square(rounded * (clip / levels.largest) - magnitudes).sum())

    return min((float(part * largest) for part in CLIPS), key=error) if largest else 0.0


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
