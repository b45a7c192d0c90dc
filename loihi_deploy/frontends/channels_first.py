"""Expressions whose framework has channels first, as ONNX and NIR do: what linear operators make of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine
from loihi_deploy.ir import Conv2D, Dense, Shape, linear


@dataclass(frozen=True)
class Value:
    """What a name stands for.

    Parameters
    ----------
    affine : Affine
        Images are stored as (height, width, channels).
    shape : tuple of int
        As the framework has it, without the batch.
    rectified : bool
        Whether nothing of it can be below 0.
    activation : str
        What is left for the host to do.
    """

    affine: Affine
    shape: Shape
    rectified: bool = False
    activation: Any = "linear"


class UnsupportedError(Exception):
    """An operator that the chip has not, or with settings that it has not: what, and the settings."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


def order_of(stored: Shape) -> NDArray[np.intp]:
    """Where element i of (channels, height, width) stands in (height, width, channels)."""
    return np.moveaxis(np.arange(prod(stored)).reshape(stored), -1, 0).ravel()


def image_of(value: Value) -> tuple[int, int, int]:
    """(height, width, channels); UnsupportedError for values that are no images."""
    if len(value.shape) != 3:
        raise UnsupportedError(f"needs images, not values of shape {value.shape}")
    channels, height, width = value.shape
    return height, width, channels


def imaged(value: Value, conv: Conv2D, rectified: bool = False) -> Value:
    """What a convolution makes of images."""
    height, width, channels = conv.out_shape
    return Value(
        value.affine.mapped(conv, conv.out_shape, order_of(conv.out_shape)),
        (channels, height, width),
        rectified,
    )


def depthwise(value: Value, taps: NDArray[np.float64], strides: Shape, pads: Shape, out: Shape) -> Conv2D:
    """One kernel for every channel."""
    height, width, channels = image_of(value)
    kernel = np.repeat(taps[:, :, None, None], channels, axis=3)
    return Conv2D(
        kernel,
        (strides[0], strides[1]),
        (pads[0], pads[1]),
        (height, width, channels),
        (out[0], out[1], channels),
        channels,
    )


def multiplied(value: Value, weights: NDArray[np.float64]) -> Value:
    """Values (n,) times a matrix (outputs, n)."""
    if len(value.shape) != 1 or weights.ndim != 2:
        raise UnsupportedError(
            f"a product of shapes {value.shape} and {weights.shape}: flatten the values first"
        )
    stored = weights
    if value.affine.order is not None:
        stored = np.empty_like(weights)
        stored[:, value.affine.order] = weights
    return Value(value.affine.mapped(Dense(stored), (len(weights),)), (len(weights),))


def with_constant(value: Value, constant: NDArray[Any], shift: bool) -> Value:
    """The values plus, or times, a constant that is broadcast."""
    constant = np.asarray(constant, np.float64)
    if constant.ndim > len(value.shape) and constant.shape[0] == 1:
        constant = constant.reshape(constant.shape[1:])
    full = np.broadcast_to(constant, value.shape).ravel()
    stored = full
    if value.affine.order is not None:
        stored = np.empty_like(full)
        stored[value.affine.order] = full
    affine = value.affine
    if shift:
        return Value(affine.shifted(stored), value.shape)
    return Value(affine.mapped(linear.scale(stored, affine.shape), affine.shape, affine.order), value.shape)
