"""Convolutions for formats that have the same padding on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Conv2D

WIDEST = 64
"""Largest kernel that a convolution with uneven padding is filled up to."""


def even(conv: Conv2D) -> tuple[NDArray[Any], tuple[int, int]] | None:
    """The kernel, square and with zeros around it, and the padding of both sides, that give the same; None if none do.

    The package nir 1.0 takes the first size of a kernel for both when it computes shapes, so kernels are square.
    """
    size = max(conv.kernel.shape[:2])
    for wide in range(size, max(size, WIDEST) + 1):
        fits = [_before(conv, axis, wide) for axis in (0, 1)]
        if None not in fits:
            top, left = (int(before) for before in fits if before is not None)
            kernel = np.zeros((wide, wide, *conv.kernel.shape[2:]), conv.kernel.dtype)
            kernel[top : top + conv.kernel.shape[0], left : left + conv.kernel.shape[1]] = conv.kernel
            return kernel, (conv.padding[0] + top, conv.padding[1] + left)
    return None


def _before(conv: Conv2D, axis: int, wide: int) -> int | None:
    """Zeros in front of a kernel that is filled up to `wide`, so that an even padding gives the size of the output."""
    for before in range(max(0, -conv.padding[axis]), wide - conv.kernel.shape[axis] + 1):
        padding = conv.padding[axis] + before
        out = (conv.in_shape[axis] + 2 * padding - wide) // conv.strides[axis] + 1
        if out == conv.out_shape[axis]:
            return before
    return None
