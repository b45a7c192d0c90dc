"""Linear maps between populations: `Dense`, `Conv2D` and `Sparse`.

All map flat vectors, the last axis running fastest: an image of shape (height, width, channels) is flattened in that
order. The same classes hold float weights in a `Graph` and int8 mantissas in a `Program`.

Notation: a convolution computes

    y[oy, ox, f] = sum over i, j, c of kernel[i, j, c, f] * x[oy * stride - pad_top + i, ox * stride - pad_left + j, c]

with x = 0 outside the image (the correlation that Keras and Nengo call convolution).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.checks import MAX_SIZE, as_shape, check_fields
from loihi_deploy.ir.content import Content, frozen_array

Shape = tuple[int, ...]

PATCH_BYTES = 1 << 23
"""Room for what the kernels of a convolution read: memory that is used again costs less than new memory."""


def _frozen_weights(values: Any) -> NDArray[Any]:
    """Weights as float64, or as they are where they are integers."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError.single("weights are not numbers", "transform", array.dtype)
    dtype = array.dtype if np.issubdtype(array.dtype, np.integer) else np.float64
    return frozen_array(array, dtype)


@dataclass(frozen=True, eq=False)
class Dense(Content):
    """A matrix.

    Parameters
    ----------
    weights : (out_size, in_size) array
        Float64, or an integer type in a program.
    """

    weights: NDArray[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen_weights(self.weights))
        check_fields(self)
        if self.weights.ndim != 2 or max(self.weights.shape) > MAX_SIZE:
            raise InputError.single("a dense transform needs a matrix", "Dense.weights", self.weights.shape)

    @property
    def in_size(self) -> int:
        """Number of inputs."""
        return int(self.weights.shape[1])

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[0])

    @property
    def values(self) -> NDArray[Any]:
        """The stored weights, whatever their layout."""
        return self.weights

    def with_values(self, values: NDArray[Any]) -> Dense:
        """The same transform with other stored weights of the same shape."""
        return Dense(values)

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Map (n, in_size) to (n, out_size), in the dtype of `x`."""
        return np.asarray(x @ self.weights.T.astype(x.dtype, copy=False))

    def scaled_rows(self, gain: NDArray[np.float64]) -> Dense:
        """Multiply output i by gain[i]; gain has shape (out_size,)."""
        return Dense(self.weights * gain[:, None])

    def csr(self) -> Sparse:
        """The same matrix in compressed rows, zeros left out."""
        rows, columns = np.nonzero(self.weights)
        return Sparse.from_entries(rows, columns, self.weights[rows, columns], self.weights.shape)


@dataclass(frozen=True, eq=False)
class Conv2D(Content):
    """A two-dimensional convolution with one shared kernel.

    Parameters
    ----------
    kernel : (kernel_height, kernel_width, in_channels / groups, out_channels) array
        Float64, or an integer type in a program.
    strides : (int, int)
        Vertical, horizontal.
    padding : (int, int)
        Zeros above the first row and left of the first column; negative where rows or columns are cropped. Below and
        right follow from `out_shape`.
    in_shape, out_shape : (height, width, channels)
    groups : int
        Output channel f sees the input channels of its group f // (out_channels / groups) only.
    """

    kernel: NDArray[Any]
    strides: tuple[int, int]
    padding: tuple[int, int]
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", _frozen_weights(self.kernel))
        for name in ("strides", "padding", "in_shape", "out_shape"):
            object.__setattr__(self, name, as_shape(getattr(self, name)))
        check_fields(self, self._too_large)
        fits = (
            self.kernel.ndim == 4
            and self.groups >= 1
            and self.in_shape[2] == self.kernel.shape[2] * self.groups
            and self.out_shape[2] == self.kernel.shape[3]
            and self.kernel.shape[3] % self.groups == 0
            and min(self.strides) >= 1
            and min(self.in_shape + self.out_shape + self.kernel.shape) >= 1
        )
        if not fits:
            raise InputError.single(
                "kernel, shapes and groups of a convolution do not fit together",
                "Conv2D",
                f"kernel {self.kernel.shape}, in {self.in_shape}, out {self.out_shape}, groups {self.groups}",
            )

    def _too_large(self) -> Iterable[Problem]:
        """Numbers beyond those that spikes are delivered with; see `loihi_deploy.engines.delivery`."""
        height, width, channels = self.in_shape
        if self.kernel.ndim != 4 or min(self.in_shape + self.out_shape + self.strides) < 1:
            return  # refused for that
        read_h, read_w = (
            (self.out_shape[axis] - 1) * self.strides[axis] + self.kernel.shape[axis] for axis in (0, 1)
        )
        padded = (height + max(self.padding[0], 0)) * (width + max(self.padding[1], 0))
        for what, value, limit in (
            ("pixels of the input", height * width, 2**24),
            ("values of the output", prod(self.out_shape), MAX_SIZE),
            ("values of the input times its channels", prod(self.in_shape) * channels, 2**40 - 1),
            ("pixels of the input times its width", height * width * width, 2**40 - 1),
            ("pixels that kernels reach", read_h * read_w, 16 * height * width + 2**16),
            ("pixels with padding", padded, 16 * height * width + 2**16),
            ("cropping", -min(self.padding), 2**24),
        ):
            if value > limit:
                yield Problem(f"convolution too large: {what}", "Conv2D", value, limit)

    @property
    def in_size(self) -> int:
        """Number of inputs."""
        return prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return prod(self.out_shape)

    @property
    def values(self) -> NDArray[Any]:
        """The stored weights, whatever their layout."""
        return self.kernel

    def with_values(self, values: NDArray[Any]) -> Conv2D:
        """The same transform with another kernel of the same shape."""
        return replace(self, kernel=values)

    def _padded(self, x: NDArray[Any]) -> NDArray[Any]:
        """Images (n, height, width, channels) with every position that a kernel reads; rows that none reads cut off."""
        pads, cropped, read = [], [], []
        for axis in (0, 1):
            needed = (self.out_shape[axis] - 1) * self.strides[axis] + self.kernel.shape[axis]
            before = self.padding[axis]
            pads.append((max(before, 0), max(needed - before - self.in_shape[axis], 0)))
            cropped.append(slice(max(-before, 0), None))
            read.append(slice(0, needed))
        padded = np.pad(x[:, cropped[0], cropped[1]], [(0, 0), *pads, (0, 0)])
        return padded[:, read[0], read[1]]

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Map (n, in_size) to (n, out_size), in the dtype of `x`."""
        kernel_h, kernel_w, group_in, out_channels = self.kernel.shape
        kernel = self.kernel.astype(x.dtype, copy=False)
        if group_in == 1 and self.groups > 1:
            return self._depthwise(x, kernel)
        group_out = out_channels // self.groups
        columns = kernel.transpose(2, 0, 1, 3).reshape(-1, out_channels)
        out = np.empty((len(x), *self.out_shape), x.dtype)
        size = max(1, PATCH_BYTES // (prod(self.out_shape[:2]) * columns[:, 0].nbytes))
        patches = np.empty((size, *self.out_shape[:2], group_in, kernel_h, kernel_w), x.dtype)
        for first in range(0, len(x), size):
            images = self._padded(x[first : first + size].reshape(-1, *self.in_shape))
            part = patches[: len(images)]
            for g in range(self.groups):
                inputs = slice(g * group_in, (g + 1) * group_in)
                outputs = slice(g * group_out, (g + 1) * group_out)
                for i, j in np.ndindex(kernel_h, kernel_w):
                    part[..., i, j] = self._read_at(images, i, j)[..., inputs]
                sums = part.reshape(-1, len(columns)) @ columns[:, outputs]
                out[first : first + size, ..., outputs] = sums.reshape(*part.shape[:3], group_out)
        return out.reshape(len(x), self.out_size)

    def _read_at(self, padded: NDArray[Any], i: int, j: int) -> NDArray[Any]:
        """What one weight of the kernel reads for each output position: (n, out_height, out_width, channels)."""
        (height, width, _), (down, right) = self.out_shape, self.strides
        return padded[:, i : i + (height - 1) * down + 1 : down, j : j + (width - 1) * right + 1 : right]

    def _depthwise(self, x: NDArray[Any], kernel: NDArray[Any]) -> NDArray[Any]:
        """`apply` where each channel has a kernel of its own: a loop over channels would take longer than the sums."""
        height, width, _, out_channels = kernel.shape
        windows: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(  # type: ignore[call-overload]
            self._padded(x.reshape(-1, *self.in_shape)), (height, width), axis=(1, 2)
        )
        windows = windows[:, :: self.strides[0], :: self.strides[1]]  # n, oh, ow, channels, kh, kw
        stacked = kernel.reshape(height, width, self.groups, out_channels // self.groups)
        out = np.einsum("nyxcij,ijcm->nyxcm", windows, stacked, optimize=True)
        return np.asarray(out.reshape(-1, self.out_size))

    def scaled_rows(self, gain: NDArray[np.float64]) -> Conv2D | Sparse:
        """Multiply output i by gain[i]; stays a convolution where the gain is the same all over each channel."""
        per_position = gain.reshape(-1, self.out_shape[2])
        if (per_position == per_position[0]).all():
            return self.with_values(self.kernel * per_position[0])
        return self.csr().scaled_rows(gain)

    def taps(self) -> tuple[NDArray[np.intp], ...]:
        """Every (output, input, kernel entry) triple that meets inside the image.

        Returns
        -------
        out_index, in_index, kernel_index : int arrays of one length
            Flat indices into the output, the input and ``kernel.ravel()``.
        """
        spatial = []
        for axis in (0, 1):
            size = self.in_shape[axis]
            out, tap = np.meshgrid(
                np.arange(self.out_shape[axis]), np.arange(self.kernel.shape[axis]), indexing="ij"
            )
            source = out * self.strides[axis] - self.padding[axis] + tap
            inside = (source >= 0) & (source < size)
            spatial.append((out[inside], tap[inside], source[inside]))
        (oy, i, y), (ox, j, x) = spatial
        position_out = (oy[:, None] * self.out_shape[1] + ox).ravel()
        position_in = (y[:, None] * self.in_shape[1] + x).ravel()
        tap_index = (i[:, None] * self.kernel.shape[1] + j).ravel()
        group_in, out_channels = self.kernel.shape[2:]
        filters = np.arange(out_channels)
        channels_in = (filters // (out_channels // self.groups)) * group_in + np.arange(group_in)[:, None]
        entry = np.arange(group_in)[:, None] * out_channels + filters
        shape = (position_out.size, group_in, out_channels)
        out_index = np.broadcast_to(position_out[:, None, None] * out_channels + filters, shape)
        in_index = position_in[:, None, None] * self.in_shape[2] + channels_in
        kernel_index = tap_index[:, None, None] * (group_in * out_channels) + entry
        return out_index.ravel(), in_index.ravel(), kernel_index.ravel()

    def csr(self) -> Sparse:
        """The matrix (out_size, in_size) in compressed rows, with an entry for each of `taps`."""
        out_index, in_index, kernel_index = self.taps()
        shape = (self.out_size, self.in_size)
        return Sparse.from_entries(out_index, in_index, self.kernel.ravel()[kernel_index], shape)


@dataclass(frozen=True, eq=False)
class Sparse(Content):
    """A sparse matrix in compressed rows, columns of a row in rising order, no column twice.

    Parameters
    ----------
    data : (nnz,) array
        Float64, or an integer type in a program.
    indices : (nnz,) int32 array
        Column (input) of each entry.
    indptr : (out_size + 1,) int64 array
        Where each row (output) starts.
    in_size : int
        Number of columns.
    """

    data: NDArray[Any]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    in_size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _frozen_weights(self.data))
        object.__setattr__(self, "indices", frozen_array(self.indices, np.int32))
        object.__setattr__(self, "indptr", frozen_array(self.indptr, np.int64))
        check_fields(self)
        if not self._fits():
            raise InputError.single(
                "indices of a sparse transform are out of range, unsorted or double",
                "Sparse",
                f"{len(self.data)} entries, {len(self.indptr) - 1} rows, {self.in_size} columns",
            )

    def _fits(self) -> bool:
        if not (self.data.ndim == self.indices.ndim == self.indptr.ndim == 1 <= len(self.indptr) <= MAX_SIZE):
            return False
        if self.indptr[0] != 0 or not self.indptr[-1] == len(self.data) == len(self.indices):
            return False
        if (self.indptr[1:] < self.indptr[:-1]).any() or not 0 <= self.in_size <= MAX_SIZE:
            return False
        position = self.rows * self.in_size + self.indices
        inside = ((self.indices >= 0) & (self.indices < self.in_size)).all()
        return bool(inside and (np.diff(position) > 0).all())

    @classmethod
    def from_entries(
        cls, rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], shape: tuple[int, ...]
    ) -> Sparse:
        """Make it from entries in any order; those for the same place are added up.

        Parameters
        ----------
        rows, columns, values : (n,) arrays
        shape : (out_size, in_size)
        """
        out_size, in_size = shape
        position = np.asarray(rows, np.int64) * in_size + columns
        if not (position[1:] > position[:-1]).all():
            order = np.argsort(position, kind="stable")
            position, values = position[order], values[order]
            first = np.flatnonzero(np.concatenate([[True], position[1:] > position[:-1]]))
            if len(first) < len(position):
                values = np.add.reduceat(values, first, dtype=values.dtype)
                position = position[first]
        rows, columns = np.divmod(position, max(in_size, 1))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=out_size))])
        return cls(values, columns, indptr, in_size)

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return len(self.indptr) - 1

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row (output) of each entry: (nnz,)."""
        return np.repeat(np.arange(self.out_size), np.diff(self.indptr))

    @property
    def values(self) -> NDArray[Any]:
        """The stored weights, whatever their layout."""
        return self.data

    def with_values(self, values: NDArray[Any]) -> Sparse:
        """The same transform with other stored weights at the same places."""
        return replace(self, data=values)

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Map (n, in_size) to (n, out_size), in the dtype of `x`."""
        lengths = np.diff(self.indptr)
        order = np.argsort(-lengths, kind="stable")  # the longest rows first
        starts, lengths = self.indptr[order], lengths[order]
        by_input, data = np.ascontiguousarray(x.T), self.data.astype(x.dtype)[:, None]
        sums = np.zeros((self.out_size, len(x)), x.dtype)
        for place in range(lengths.max(initial=0)):  # the entry at this place of every row that has one
            n_rows = int(np.searchsorted(-lengths, -place))
            entries = starts[:n_rows] + place
            sums[:n_rows] += by_input[self.indices[entries]] * data[entries]
        result = np.empty_like(sums)
        result[order] = sums
        return np.ascontiguousarray(result.T)

    def scaled_rows(self, gain: NDArray[np.float64]) -> Sparse:
        """Multiply output i by gain[i]; gain has shape (out_size,)."""
        return self.with_values(self.data * np.repeat(gain, np.diff(self.indptr)))

    def csr(self) -> Sparse:
        """The matrix in compressed rows: itself."""
        return self

    def toarray(self) -> NDArray[Any]:
        """The matrix written out: (out_size, in_size)."""
        full = np.zeros((self.out_size, self.in_size), self.data.dtype)
        full[self.rows, self.indices] = self.data
        return full

    def transposed(self) -> Sparse:
        """The matrix with rows and columns exchanged."""
        return Sparse.from_entries(self.indices, self.rows, self.data, (self.in_size, self.out_size))

    def take_rows(self, rows: NDArray[np.integer[Any]]) -> Sparse:
        """Some of the rows, in the order given."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return Sparse(self.data[entries], self.indices[entries], indptr, self.in_size)

    def without_zeros(self) -> Sparse:
        """The same matrix, nothing stored where it is 0."""
        kept = self.data != 0
        shape = (self.out_size, self.in_size)
        return Sparse.from_entries(self.rows[kept], self.indices[kept], self.data[kept], shape)


Transform = Dense | Conv2D | Sparse
