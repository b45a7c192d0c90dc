"""Convolutions of one to three dimensions, as TensorFlow and Nengo define their output sizes and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Conv2D, Shape, Sparse, Transform, linear


def window_geometry(size: int, taps: int, stride: int, padding: str) -> tuple[int, int]:
    """Output size and zeros before the first input along one axis.

    Parameters
    ----------
    size : int
        Input size.
    taps : int
        Extent of the kernel, dilation included.
    stride : int
    padding : {'valid', 'same', 'causal'}
        'same' puts the odd zero behind; 'causal' puts all of them before.
    """
    if padding == "same":
        out = -(-size // stride)
        return out, max((out - 1) * stride + taps - size, 0) // 2
    if padding == "causal":
        return (size - 1) // stride + 1, taps - 1
    return (size - taps) // stride + 1, 0


def convolution(
    kernel: NDArray[Any], spatial: Shape, strides: Shape, padding: str, groups: int = 1
) -> tuple[Transform, Shape]:
    """A convolution of channels-last vectors, and the spatial shape of its output.

    Parameters
    ----------
    kernel : (*taps, in_channels / groups, out_channels) array
    spatial, strides : tuple of int
        One number for each of one to three dimensions.
    padding : {'valid', 'same', 'causal'}
    groups : int
    """
    taps = kernel.shape[:-2]
    axes = zip(spatial, taps, strides, strict=True)
    geometry = [window_geometry(size, extent, stride, padding) for size, extent, stride in axes]
    out, pads = tuple(size for size, _ in geometry), tuple(before for _, before in geometry)
    if len(spatial) < 3:
        return _conv2d(kernel, spatial, strides, pads, out, groups), out

    planes = [_conv2d(plane, spatial[1:], strides[1:], pads[1:], out[1:], groups).csr() for plane in kernel]
    out_size, in_size = planes[0].out_size, planes[0].in_size
    rows, columns, weights = [], [], []
    for depth in range(out[0]):
        for tap, plane in enumerate(planes):
            source = depth * strides[0] - pads[0] + tap
            if 0 <= source < spatial[0]:
                rows.append(plane.rows + depth * out_size)
                columns.append(plane.indices.astype(np.int64) + source * in_size)
                weights.append(plane.data)
    shape = (out[0] * out_size, spatial[0] * in_size)
    entries = (np.concatenate(rows), np.concatenate(columns), np.concatenate(weights))
    return linear.as_matrix(Sparse.from_entries(*entries, shape=shape)), out


def _conv2d(
    kernel: NDArray[Any], spatial: Shape, strides: Shape, pads: Shape, out: Shape, groups: int
) -> Conv2D:
    if len(spatial) == 1:
        kernel, spatial, strides, pads, out = (
            kernel[None],
            (1, *spatial),
            (1, *strides),
            (0, *pads),
            (1, *out),
        )
    return Conv2D(
        kernel,
        (strides[0], strides[1]),
        (pads[0], pads[1]),
        (spatial[0], spatial[1], kernel.shape[2] * groups),
        (out[0], out[1], kernel.shape[3]),
        groups,
    )


def dilated(kernel: NDArray[Any], rates: Shape) -> NDArray[Any]:
    """A kernel with zeros between its taps."""
    taps = kernel.shape[: len(rates)]
    extents = [(n - 1) * rate + 1 for n, rate in zip(taps, rates, strict=True)]
    result = np.zeros((*extents, *kernel.shape[len(rates) :]))
    result[tuple(slice(None, None, rate) for rate in rates)] = kernel
    return result
