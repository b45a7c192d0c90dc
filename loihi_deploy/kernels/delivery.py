"""Spikes as events: a spike adds its row of weights to the accumulators of its targets, in compiled code.

A transform is laid out so that the weights of one input lie in long contiguous runs that meet contiguous runs of
targets:

- dense: one run, the column of the matrix.
- sparse: the entries of the column, with their target indices.
- convolution: kernels are shared, never expanded. Along an axis an input at position y meets the outputs
  oy = first, first + 1, ... through the taps i = y + pad - oy * stride, which fall by the stride. Taps are therefore
  stored by phase (i mod stride), each phase falling, so that neighbouring outputs meet neighbouring taps: one spike
  is a few runs of (outputs in a row) x (channels) where there are no groups.

`geometry` holds indices (int32), `weights` the values; `table` has one row of `FIELDS` numbers for each projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loihi_deploy.graph import Conv2D, Dense, Sparse, Transform

BLOCK = 256
"""Neurons in a block: the unit in which activity is noted, so that silent parts can be passed over."""

DENSE, SPARSE, CONV = 0, 1, 2
KIND, GEOMETRY, WEIGHTS, OUT_SIZE = 0, 1, 2, 3
IN_WIDTH, IN_CHANNELS, KERNEL_H, KERNEL_W, OUT_WIDTH, OUT_CHANNELS, GROUP_IN, GROUP_OUT, ROWS = (
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
)
FIELDS = 13

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}
# Without numba's runtime ("_nrt") nothing is allocated and no references are counted: for every array that a function
# takes, counting costs as much as a short run of weights. Working memory is therefore handed in.
compiled = njit(cache=True, **_OPTIONS)
"""How a kernel is compiled: kept on disk, without the interpreter's lock."""
inlined = njit(forceinline=True, **_OPTIONS)
"""How the parts of a kernel are compiled."""


@dataclass(frozen=True)
class Layout:
    """Projections as three arrays; see the module's text."""

    table: NDArray[np.int64]
    geometry: NDArray[np.int32]
    weights: NDArray[Any]


def layout(transforms: Sequence[Transform], dtype: Any) -> Layout:
    """Lay out transforms one behind the other, their weights in one array of `dtype`."""
    table = np.zeros((len(transforms), FIELDS), np.int64)
    geometry: list[NDArray[np.int32]] = []
    weights: list[NDArray[Any]] = []
    n_geometry = n_weights = 0
    for row, transform in zip(table, transforms, strict=True):
        fields, indices, values = _laid_out(transform)
        row[:] = fields
        row[GEOMETRY], row[WEIGHTS] = n_geometry, n_weights
        geometry.append(indices)
        weights.append(values.astype(dtype, copy=False).ravel())
        n_geometry += indices.size
        n_weights += values.size
    return Layout(
        table,
        np.concatenate([*geometry, np.zeros(1, np.int32)]),
        np.concatenate([*weights, np.zeros(1, dtype)]),
    )


def block_marks(n: int) -> NDArray[np.uint8]:
    """Room for a mark on each block of `n` accumulators."""
    return np.zeros(n // BLOCK + 1, np.uint8)


def _laid_out(transform: Transform) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Fields, indices and reordered values of one transform."""
    fields = np.zeros(FIELDS, np.int64)
    fields[OUT_SIZE] = transform.out_size
    if isinstance(transform, Dense):
        fields[KIND] = DENSE
        return fields, np.zeros(0, np.int32), np.ascontiguousarray(transform.weights.T)
    if isinstance(transform, Sparse):
        fields[KIND] = SPARSE
        rows = np.repeat(np.arange(transform.out_size), np.diff(transform.indptr))
        order = np.argsort(transform.indices, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(transform.indices, minlength=transform.in_size))])
        fields[ROWS] = transform.in_size + 1
        return fields, np.concatenate([starts, rows[order]]).astype(np.int32), transform.data[order]
    return _laid_out_convolution(transform, fields)


def _laid_out_convolution(
    conv: Conv2D, fields: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    fields[KIND] = CONV
    fields[IN_WIDTH], fields[IN_CHANNELS] = conv.in_shape[1:]
    fields[KERNEL_H], fields[KERNEL_W] = conv.kernel.shape[:2]
    fields[OUT_WIDTH], fields[OUT_CHANNELS] = conv.out_shape[1:]
    group_in, group_out = conv.kernel.shape[2], conv.kernel.shape[3] // conv.groups
    fields[GROUP_IN], fields[GROUP_OUT] = group_in, group_out
    indices, orders = [], []
    for axis in (0, 1):
        size, stride = conv.kernel.shape[axis], conv.strides[axis]
        order = [tap for phase in range(stride) for tap in range(size - 1, -1, -1) if tap % stride == phase]
        place = {tap: position for position, tap in enumerate(order)}
        padded = np.arange(conv.in_shape[axis]) + conv.padding[axis]
        first = np.maximum(0, -((size - 1 - padded) // stride))
        count = np.maximum(0, np.minimum(conv.out_shape[axis] - 1, padded // stride) - first + 1)
        taps = [place[y - o * stride] if n else 0 for y, o, n in zip(padded, first, count, strict=True)]
        indices += [first, count, np.array(taps)]
        orders.append(order)
    fields[ROWS] = conv.in_shape[0]
    kernel = conv.kernel[orders[0]][:, orders[1]]
    kernel = kernel.reshape(*kernel.shape[:2], group_in, conv.groups, group_out)
    return fields, np.concatenate(indices).astype(np.int32), kernel.transpose(3, 2, 0, 1, 4)


@inlined
def _add_run(acc, first, weights, start, n, scale):  # type: ignore[no-untyped-def]
    # Unsigned, because an index that might be negative keeps the loop from being vectorized; no slices, because each
    # costs more than a short run.
    target, source = np.uint64(first), np.uint64(start)
    for k in range(np.uint64(n)):
        acc[target + k] += weights[source + k] * scale


@inlined
def deliver(fields, geometry, weights, index, scale, acc, offset, touched):  # type: ignore[no-untyped-def]
    """Add ``scale`` times the weights of input `index` to the accumulators that begin at `offset`.

    Marks the blocks that changed in `touched`; returns the number of weights added.
    """
    kind = fields[KIND]
    base = fields[WEIGHTS]
    indices = fields[GEOMETRY]
    if kind == DENSE:
        n = fields[OUT_SIZE]
        _add_run(acc, offset, weights, base + index * n, n, scale)
        _touch(touched, offset, n)
        return n
    if kind == SPARSE:
        targets = indices + fields[ROWS]
        first, last = np.int64(geometry[indices + index]), np.int64(geometry[indices + index + 1])
        for k in range(first, last):
            target = offset + geometry[targets + k]
            acc[target] += weights[base + k] * scale
            touched[target // BLOCK] = 1
        return last - first

    height, width, channels = fields[ROWS], fields[IN_WIDTH], fields[IN_CHANNELS]
    pixel = np.int64(
        np.uint32(index) // np.uint32(channels)
    )  # unsigned and short: divisions are the costly part here
    channel = index - pixel * channels
    y = np.int64(np.uint32(pixel) // np.uint32(width))
    row = indices + y
    column = indices + 3 * height + (pixel - y * width)
    first_y, n_y, tap_y = geometry[row], geometry[row + height], geometry[row + 2 * height]
    first_x, n_x, tap_x = geometry[column], geometry[column + width], geometry[column + 2 * width]
    if n_x == 0:
        return 0
    out_width, out_channels, group_out = fields[OUT_WIDTH], fields[OUT_CHANNELS], fields[GROUP_OUT]
    start = base + ((channel * fields[KERNEL_H] + tap_y) * fields[KERNEL_W] + tap_x) * group_out
    target = offset + (first_y * out_width + first_x) * out_channels
    if group_out < out_channels:
        target += np.int64(np.uint32(channel) // np.uint32(fields[GROUP_IN])) * group_out
    for _ in range(n_y):
        if group_out == out_channels:
            _add_run(acc, target, weights, start, n_x * out_channels, scale)
        else:
            for j in range(n_x):
                _add_run(acc, target + j * out_channels, weights, start + j * group_out, group_out, scale)
        _touch(touched, target, (n_x - 1) * out_channels + group_out)
        start += fields[KERNEL_W] * group_out
        target += out_width * out_channels
    return n_y * n_x * group_out


@inlined
def _touch(touched, first, n):  # type: ignore[no-untyped-def]
    for block in range(first // BLOCK, (first + n - 1) // BLOCK + 1):
        touched[block] = 1


@inlined
def list_spikes(spiked, first, n, out, place, n_out):  # type: ignore[no-untyped-def]
    """Append to the list that begins at ``out[place]`` the numbers, from `first` on, of bytes that are not 0.

    Looks at ``spiked[first : first + n]``; `n` is a multiple of 8, and the list needs room for one number more than
    there are. Returns the new length of the list, which was `n_out`.
    """
    words = spiked[first : first + n].view(np.uint64)
    for w in range(words.size):
        if words[w] != 0:
            for k in range(8 * w, 8 * w + 8):
                out[place + n_out] = (
                    k  # overwritten by the next one where there is no spike: cheaper than a branch
                )
                n_out += spiked[first + k] != 0
    return n_out
