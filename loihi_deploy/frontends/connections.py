"""The linear map of a Nengo connection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.convolutions import convolution
from loihi_deploy.frontends.layouts import Layout, image_layout
from loihi_deploy.ir import Conv2D, Dense, Sparse, Transform, linear


class UnsupportedConnectionError(Exception):
    """A connection that cannot be converted: why, and what to use instead."""

    def __init__(self, what: str, value: object, remedy: str) -> None:
        super().__init__(what)
        self.what, self.value, self.remedy = what, value, remedy


def connection_map(connection: Any, weights: Any, source: Layout, target: Layout) -> Transform | None:
    """The map from one stored vector to another; None is the identity.

    Parameters
    ----------
    connection : nengo.Connection
    weights : array, sparse matrix or None
        The sampled transform; None is the identity.
    source, target : Layout
        How the vectors at both ends are stored.
    """
    if connection.function is not None:
        raise UnsupportedConnectionError(
            "a function is computed on the connection",
            getattr(connection.function, "__name__", None),
            "Use a linear transform and put the non-linearity into neurons",
        )
    from_all = _positions(connection.pre_slice, connection.pre_obj.size_out, source)
    return _mapped(connection, weights, from_all, source, target)


def decoded_map(connection: Any, weights: Any, decoders: NDArray[np.float64], target: Layout) -> Transform:
    """The map from all neurons of an ensemble, in their own order, to what their decoded values are added to.

    Parameters
    ----------
    connection : nengo.Connection
    weights : array, sparse matrix or None
        As for `connection_map`.
    decoders : (size_mid, n_neurons) array
    target : Layout
        How the vector at the end is stored.
    """
    middle = Layout((connection.size_mid,))
    behind = _mapped(connection, weights, np.arange(connection.size_mid), middle, target)
    values = Dense(decoders)
    return values if behind is None else linear.compose(behind, values)


def _mapped(
    connection: Any, weights: Any, from_all: NDArray[np.intp], source: Layout, target: Layout
) -> Transform | None:
    """A connection's transform, of some elements of the one stored vector to its slice of the other."""
    if connection.learning_rule_type is not None:
        raise UnsupportedConnectionError(
            "learning rules are not converted",
            str(connection.learning_rule_type),
            "Train before deploying, or let loihi_deploy.Simulator run it, where PES learns on chip",
        )
    to_all = _positions(connection.post_slice, connection.post_obj.size_in, target)
    name = type(connection.transform).__name__
    if name == "Convolution":
        conv = _convolution(connection.transform, weights)
        before = image_layout(connection.transform.input_shape.shape, connection.transform.channels_last)
        after = image_layout(connection.transform.output_shape.shape, connection.transform.channels_last)
        return _between(conv, from_all, before, to_all, after, source, target)
    if name == "ConvolutionTranspose":
        raise UnsupportedConnectionError(
            "transposed convolutions are not converted", None, "Use nengo.Convolution or a dense transform"
        )
    matrix = None if weights is None else np.asarray(weights) if isinstance(weights, np.ndarray) else weights
    if isinstance(matrix, np.ndarray) and matrix.ndim == 2:
        return _dense(matrix, from_all, to_all, source, target)
    return _sparse(matrix, from_all, to_all, source, target)


def _positions(which: Any, size: int, layout: Layout) -> NDArray[np.intp]:
    """Where the elements of a slice are stored."""
    elements: NDArray[np.intp] = np.arange(size)[which]
    return elements if layout.order is None else layout.order[elements]


def _convolution(transform: Any, kernel: NDArray[Any]) -> Transform:
    spatial = tuple(transform.input_shape.spatial_shape)
    if len(spatial) > 3 or (len(spatial) == 3 and not transform.channels_last):
        raise UnsupportedConnectionError(
            "channels before three dimensions, or more dimensions",
            transform.input_shape.shape,
            "Use channels_last=True, and at most three dimensions",
        )
    groups = getattr(transform, "groups", 1)
    result, _ = convolution(kernel, spatial, tuple(transform.strides), transform.padding, groups)
    return linear.depthwise(result) if isinstance(result, Conv2D) else result


def _between(
    conv: Transform,
    from_all: NDArray[np.intp],
    before: Layout,
    to_all: NDArray[np.intp],
    after: Layout,
    source: Layout,
    target: Layout,
) -> Transform:
    """A convolution between vectors that may be stored in other orders than its images."""
    result: Transform = conv
    taken = from_all if before.order is None else from_all[np.argsort(before.order)]
    size = int(np.prod(source.shape))
    if not _is_range(taken, size):
        result = linear.compose(result, linear.gather(taken, size))
    put = to_all if after.order is None else to_all[np.argsort(after.order)]
    size = int(np.prod(target.shape))
    if not _is_range(put, size):
        result = linear.compose(linear.gather(_inverse(put, size), conv.out_size), result)
    return result


def _dense(
    matrix: NDArray[Any], from_all: NDArray[np.intp], to_all: NDArray[np.intp], source: Layout, target: Layout
) -> Transform:
    in_size, out_size = int(np.prod(source.shape)), int(np.prod(target.shape))
    if len(from_all) == in_size and len(to_all) == out_size:
        weights = np.zeros((out_size, in_size))
        weights[np.ix_(to_all, from_all)] = matrix
        return Dense(weights)
    result: Transform = Dense(matrix)
    if not _is_range(from_all, in_size):
        result = linear.compose(result, linear.gather(from_all, in_size))
    if not _is_range(to_all, out_size):
        result = linear.compose(linear.gather(_inverse(to_all, out_size), matrix.shape[0]), result)
    return result


def _sparse(
    matrix: Any, from_all: NDArray[np.intp], to_all: NDArray[np.intp], source: Layout, target: Layout
) -> Transform | None:
    """Identity, scalar, diagonal and sparse transforms; images that are only moved or scaled stay convolutions."""
    in_size, out_size = int(np.prod(source.shape)), int(np.prod(target.shape))
    if matrix is None or isinstance(matrix, np.ndarray):
        if matrix is None and in_size == out_size == len(from_all) and np.array_equal(from_all, to_all):
            return None
        values = np.broadcast_to(np.float64(1.0) if matrix is None else matrix, (len(from_all),))
        rows, columns = np.arange(len(from_all)), np.arange(len(from_all))
    else:
        entries = matrix.tocoo() if hasattr(matrix, "tocoo") else None
        if entries is None:
            rows, columns = np.asarray(matrix.indices).T
            values = np.broadcast_to(matrix.data, rows.shape)
        else:
            rows, columns, values = entries.row, entries.col, entries.data
    values = np.asarray(values, np.float64)
    stored = Sparse.from_entries(to_all[rows], from_all[columns], values, (out_size, in_size))
    return linear.as_convolution(stored, source.shape, target.shape) or linear.as_matrix(stored)


def _is_range(positions: NDArray[np.intp], size: int) -> bool:
    return np.array_equal(positions, np.arange(size))


def _inverse(positions: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """For each of `size` places, which element is put there; -1 where none is."""
    inverse = np.full(size, -1)
    inverse[positions] = np.arange(len(positions))
    return inverse
