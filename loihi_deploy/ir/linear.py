"""Algebra of linear maps: what stands between two spiking populations becomes one `Transform`.

`compose` and `add` keep a convolution wherever the result is one with a single shared kernel, and fall back to
a matrix otherwise; both are exact up to rounding in float64.

Two convolutions h = inner(x), y = outer(h) with strides s1, s2 and paddings p1, p2 are one convolution with

    kernel[i2 * s1 + i1] = sum of inner.kernel[i1] * outer.kernel[i2],  stride s1 * s2,  padding p1 + s1 * p2

as long as every h that `outer` reads beyond the edge of h, where it must see 0, is 0 by this formula too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError
from loihi_deploy.ir.transforms import Conv2D, Dense, Shape, Sparse, Transform

MOST_ENTRIES = 50_000_000  # of a convolution written out as a matrix: 600 MB
PRODUCTS_AT_ONCE = 1 << 22  # of a product of sparse matrices, in memory
MOSTLY_FULL = 0.5  # a matrix with a larger share of entries is stored densely


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """(height, width, channels) in the same flat order: (n,) is one position, (time, c) has height 1."""
    if len(shape) <= 3:
        height, width, channels = (1,) * (3 - len(shape)) + tuple(shape)
        return height, width, channels
    return 1, prod(shape[:-1]), shape[-1]


def pointwise(matrix: NDArray[Any], shape: Shape) -> Transform:
    """Apply one matrix (out_channels, in_channels) to the last axis at every position of `shape`."""
    height, width, channels = image_shape(shape)
    if height * width == 1:
        return Dense(matrix)
    out_shape = (height, width, matrix.shape[0])
    return Conv2D(matrix.T[None, None], (1, 1), (0, 0), (height, width, channels), out_shape)


def scale_channels(factors: NDArray[Any], shape: Shape) -> Transform:
    """Multiply the last axis of `shape` by `factors`, one for each channel."""
    height, width, channels = image_shape(shape)
    factors = np.broadcast_to(np.asarray(factors, np.float64), (channels,))
    if height * width == 1:
        return Sparse(factors, np.arange(channels), np.arange(channels + 1), channels)
    size = (height, width, channels)
    return Conv2D(factors[None, None, None], (1, 1), (0, 0), size, size, groups=channels)


def scale(factors: NDArray[Any], shape: Shape) -> Transform:
    """Multiply every element of `shape` by its own factor, flat; a convolution where channels share theirs."""
    channels = image_shape(shape)[2]
    per_position = factors.reshape(-1, channels)
    if (per_position == per_position[0]).all():
        return scale_channels(per_position[0], shape)
    return Sparse(factors, np.arange(factors.size), np.arange(factors.size + 1), factors.size)


def identity(shape: Shape) -> Transform:
    """Every element onto itself."""
    return scale_channels(np.ones(1), shape)


def gather(indices: NDArray[np.intp], in_size: int) -> Sparse:
    """Output i is input indices[i], or 0 where indices[i] is negative."""
    indices = np.ravel(indices)
    found = indices >= 0
    indptr = np.concatenate([[0], np.cumsum(found)])
    return Sparse(np.ones(int(found.sum())), indices[found], indptr, in_size)


def compose(outer: Transform, inner: Transform) -> Transform:
    """The map that applies `inner` first, then `outer`."""
    if isinstance(outer, Conv2D) and isinstance(inner, Conv2D):
        merged = _merge(outer, inner)
        if merged is not None:
            return merged
    if isinstance(outer, Dense):
        if isinstance(inner, Dense):
            return Dense(outer.weights @ inner.weights)
        return as_matrix(_matrix(inner).transposed().apply(outer.weights))
    if isinstance(inner, Dense):
        return as_matrix(_matrix(outer).apply(inner.weights.T).T)
    return as_matrix(_product(_matrix(outer), _matrix(inner)))


def add(first: Transform, second: Transform) -> Transform:
    """The sum of two maps between the same vectors."""
    if isinstance(first, Conv2D) and isinstance(second, Conv2D):
        same = ("in_shape", "out_shape", "strides")
        if all(getattr(first, name) == getattr(second, name) for name in same):
            return _add_kernels(first, second)
    if isinstance(first, Dense) and isinstance(second, Dense):
        return Dense(first.weights + second.weights)
    if isinstance(first, Dense) or isinstance(second, Dense):
        return as_matrix(_matrix(first).toarray() + _matrix(second).toarray())
    one, other = _matrix(first), _matrix(second)
    rows, columns, values = (
        np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("rows", "indices", "data")
    )
    return as_matrix(Sparse.from_entries(rows, columns, values, (one.out_size, one.in_size)))


def _product(outer: Sparse, inner: Sparse) -> Sparse:
    """The matrix product: every entry of `outer` meets a row of `inner`."""
    lengths = np.diff(inner.indptr)[outer.indices]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    parts = []
    first = 0
    while first < outer.out_size:  # as many rows at a time as there is room for
        room = ends[outer.indptr[first]] + PRODUCTS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(ends[outer.indptr], room, side="right")) - 1)
        entries = slice(outer.indptr[first], outer.indptr[last])
        many = lengths[entries]
        begin = inner.indptr[outer.indices[entries]] - (ends[entries] - ends[entries.start])
        source = np.arange(many.sum()) + np.repeat(begin, many)
        rows = np.repeat(outer.rows[entries] - first, many)
        values = np.repeat(outer.data[entries], many) * inner.data[source]
        shape = (last - first, inner.in_size)
        parts.append(Sparse.from_entries(rows, inner.indices[source], values, shape))
        first = last
    data, indices = (np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "indices"))
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    return Sparse(data, indices, np.concatenate([[0], np.cumsum(counts)]), inner.in_size)


def as_matrix(matrix: NDArray[Any] | Sparse) -> Dense | Sparse:
    """A matrix as `Dense` where more than half of its entries differ from zero, as `Sparse` otherwise."""
    if isinstance(matrix, np.ndarray):
        full = np.count_nonzero(matrix) > MOSTLY_FULL * matrix.size
        return Dense(matrix) if full else Dense(matrix).csr()
    matrix = matrix.without_zeros()
    full = matrix.data.size > MOSTLY_FULL * matrix.out_size * matrix.in_size
    return Dense(matrix.toarray()) if full else matrix


def as_convolution(matrix: Sparse, in_shape: Shape, out_shape: Shape) -> Conv2D | None:
    """A matrix that moves an image and mixes its channels, as a 1x1 convolution; None if it is none.

    Padding, cropping, concatenation of channels and scaling of channels are such matrices.
    """
    if len(in_shape) != 3 or len(out_shape) != 3 or not matrix.data.size:
        return None
    out_y, out_x, out_channel = np.unravel_index(matrix.rows, out_shape)
    in_y, in_x, in_channel = np.unravel_index(matrix.indices, in_shape)
    kernel = np.zeros((1, 1, in_shape[2], out_shape[2]))
    kernel[0, 0, in_channel, out_channel] = matrix.data
    padding = (int(out_y[0] - in_y[0]), int(out_x[0] - in_x[0]))
    conv = depthwise(Conv2D(kernel, (1, 1), padding, in_shape, out_shape))
    return conv if conv.csr().without_zeros() == matrix.without_zeros() else None


def depthwise(conv: Conv2D) -> Conv2D:
    """The same convolution with one group for each channel, where it does not mix channels."""
    rows, columns, channels, filters = conv.kernel.shape
    if conv.groups > 1 or channels == 1 or filters % channels:
        return conv
    per_channel = filters // channels
    mixing = np.kron(np.eye(channels), np.ones(per_channel)) == 0
    if conv.kernel[:, :, mixing].any():
        return conv
    kernel = conv.kernel[:, :, np.arange(filters) // per_channel, np.arange(filters)]
    return replace(conv, kernel=kernel.reshape(rows, columns, 1, filters), groups=channels)


def _matrix(transform: Transform) -> Sparse:
    """The transform written out as a matrix, if that is of a reasonable size."""
    if isinstance(transform, Conv2D):
        n_entries = transform.out_size * prod(transform.kernel.shape[:3])
        if n_entries > MOST_ENTRIES:
            raise InputError.single(
                "linear layers in a row that are no single convolution, and too large for a matrix",
                f"convolution from {transform.in_shape} to {transform.out_shape}",
                n_entries,
                MOST_ENTRIES,
                "Put a ReLU between them, or use padding='valid' in the second one",
            )
    return transform.csr()


def _merge(outer: Conv2D, inner: Conv2D) -> Conv2D | None:
    """The composition as one convolution, or None where it is none."""
    if outer.in_shape != inner.out_shape:
        if outer.in_shape[2] != inner.out_shape[2]:
            return None
        if _is_pointwise(inner):
            inner = _reshaped(inner, outer.in_shape[:2])
        elif _is_pointwise(outer):
            outer = _reshaped(outer, inner.out_shape[:2])
        else:
            return None
    if _edge_matters(outer, inner, 0) or _edge_matters(outer, inner, 1):
        return None
    groups = gcd(outer.groups, inner.groups)
    first = _grouped(inner, groups)  # group, kernel height, kernel width, in, middle
    second = _grouped(outer, groups)  # group, kernel height, kernel width, middle, out
    stride = inner.strides
    rows, columns = second.shape[1:3]
    height = (rows - 1) * stride[0] + first.shape[1]
    width = (columns - 1) * stride[1] + first.shape[2]
    kernel = np.zeros((groups, height, width, first.shape[3], second.shape[4]))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            product = np.matmul(first, second[:, i, j][:, None, None])
            kernel[:, top : top + first.shape[1], left : left + first.shape[2]] += product
    merged = Conv2D(
        np.moveaxis(kernel, 0, 3).reshape(height, width, kernel.shape[3], -1),
        (stride[0] * outer.strides[0], stride[1] * outer.strides[1]),
        (
            inner.padding[0] + stride[0] * outer.padding[0],
            inner.padding[1] + stride[1] * outer.padding[1],
        ),
        inner.in_shape,
        outer.out_shape,
        groups,
    )
    return _trimmed(merged)


def _is_pointwise(conv: Conv2D) -> bool:
    return (
        conv.kernel.shape[:2] == conv.strides == (1, 1)
        and conv.padding == (0, 0)
        and conv.in_shape[:2] == conv.out_shape[:2]
    )


def _reshaped(conv: Conv2D, size: tuple[int, int]) -> Conv2D:
    """A 1x1 convolution over the same positions in other rows and columns."""
    return replace(conv, in_shape=(*size, conv.in_shape[2]), out_shape=(*size, conv.out_shape[2]))


def _edge_matters(outer: Conv2D, inner: Conv2D, axis: int) -> bool:
    """Whether `outer` reads beyond the edge of `inner`'s output where `inner`, continued, is not 0."""
    out = np.arange(outer.out_shape[axis])[:, None] * outer.strides[axis]
    read = np.unique(out - outer.padding[axis] + np.arange(outer.kernel.shape[axis]))
    read = read[(read < 0) | (read >= inner.out_shape[axis])]
    source = read[:, None] * inner.strides[axis] - inner.padding[axis] + np.arange(inner.kernel.shape[axis])
    return bool(((source >= 0) & (source < inner.in_shape[axis])).any())


def _regrouped(conv: Conv2D, groups: int) -> NDArray[Any]:
    """The kernel for fewer groups (a divisor of `conv.groups`), filled up with zeros."""
    ratio = conv.groups // groups
    group_in, group_out = conv.kernel.shape[2], conv.kernel.shape[3] // conv.groups
    kernel = np.zeros((*conv.kernel.shape[:2], group_in * ratio, conv.kernel.shape[3]))
    for group in range(conv.groups):
        first_in, first_out = (group % ratio) * group_in, group * group_out
        block = slice(first_out, first_out + group_out)
        kernel[:, :, first_in : first_in + group_in, block] = conv.kernel[..., block]
    return kernel


def _grouped(conv: Conv2D, groups: int) -> NDArray[Any]:
    """The kernel as (groups, kernel height, kernel width, in, out)."""
    kernel = _regrouped(conv, groups)
    return np.moveaxis(kernel.reshape(*kernel.shape[:3], groups, -1), 3, 0)


def _trimmed(conv: Conv2D) -> Conv2D:
    """The same convolution without the kernel rows and columns that never meet the image."""
    bounds: list[tuple[int, int]] = []
    for axis in (0, 1):
        out = np.arange(conv.out_shape[axis])[:, None] * conv.strides[axis]
        source = out - conv.padding[axis] + np.arange(conv.kernel.shape[axis])
        used = np.flatnonzero(((source >= 0) & (source < conv.in_shape[axis])).any(axis=0))
        bounds.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, 1))
    (top, bottom), (left, right) = bounds
    return replace(
        conv,
        kernel=conv.kernel[top:bottom, left:right],
        padding=(conv.padding[0] - top, conv.padding[1] - left),
    )


def without_empty_edges(conv: Conv2D) -> Conv2D:
    """The same convolution without outer rows and columns of the kernel that are 0."""
    bounds = []
    for axis in (0, 1):
        used = np.flatnonzero(conv.kernel.any(axis=tuple({0, 1, 2, 3} - {axis})))
        bounds.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, 1))
    (top, bottom), (left, right) = bounds
    padding = conv.padding[0] - top, conv.padding[1] - left
    return replace(conv, kernel=conv.kernel[top:bottom, left:right], padding=padding)


def _add_kernels(first: Conv2D, second: Conv2D) -> Conv2D:
    groups = gcd(first.groups, second.groups)
    padding = [max(first.padding[axis], second.padding[axis]) for axis in (0, 1)]
    size = [
        max(conv.kernel.shape[axis] - conv.padding[axis] for conv in (first, second)) + padding[axis]
        for axis in (0, 1)
    ]
    kernel = np.zeros((*size, first.in_shape[2] // groups, first.out_shape[2]))
    for conv in (first, second):
        top, left = padding[0] - conv.padding[0], padding[1] - conv.padding[1]
        height, width = conv.kernel.shape[:2]
        kernel[top : top + height, left : left + width] += _regrouped(conv, groups)
    return replace(first, kernel=kernel, padding=(padding[0], padding[1]), groups=groups)


def total(transforms: Sequence[Transform]) -> Transform:
    """The sum of one or more maps."""
    result = transforms[0]
    for transform in transforms[1:]:
        result = add(result, transform)
    return result
