"""Functions of tensors that are linear, by the names that TensorFlow and Keras 3 give them.

Arguments have TensorFlow's order; `ALIASES` says which names stand for the same argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.keras_windows import averaged, largest, sizes
from loihi_deploy.frontends.tensors import (
    Saturating,
    Tensor,
    UnsupportedLayerError,
    concatenated,
    contracted,
    elementwise,
    mean_of_steps,
    moved,
    rearranged,
    reduced,
    summed,
)
from loihi_deploy.ir import Shape

Function = Callable[..., "Tensor | list[Tensor]"]

PRODUCT = "products of activities cannot be computed by synapses"
MAXIMUM = "a maximum or minimum of activities cannot be computed by synapses"


# -- sums and products ----------------------------------------------------------------------------


def _constant(value: Any, x: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
    """A constant without the batch axis, and the tensor broadcast to what both make together."""
    array = np.asarray(value, np.float64)
    while array.ndim > len(x.shape) and array.shape[0] == 1:
        array = array[0]
    if array.ndim > len(x.shape):
        remedy = "Give one constant for all samples"
        raise UnsupportedLayerError("a constant that differs from sample to sample", array.shape, remedy)
    shape = np.broadcast_shapes(x.shape, array.shape)
    return (x if shape == x.shape else moved(x, np.broadcast_to(x.indices(), shape))), array


def _weighted(first: Any, second: Any, sign: float) -> Tensor:
    """The first plus `sign` times the second; one of them may be constant."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return summed([first, second], [1.0, sign])
    if isinstance(first, Tensor):
        x, constant = _constant(second, first)
        return elementwise(x, offset=sign * constant)
    x, constant = _constant(first, second)
    return elementwise(x, sign, constant)


def _add(x: Any, y: Any) -> Tensor:
    return _weighted(x, y, 1.0)


def _add_all(x: Sequence[Tensor]) -> Tensor:
    return summed(list(x), [1.0] * len(x))


def _subtract(x: Any, y: Any) -> Tensor:
    return _weighted(x, y, -1.0)


def _multiply(x: Any, y: Any) -> Tensor:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        raise UnsupportedLayerError(PRODUCT, remedy="Use sums, or concatenate")
    tensor, constant = _constant(y, x) if isinstance(x, Tensor) else _constant(x, y)
    return elementwise(tensor, constant)


def _divide(x: Any, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        raise UnsupportedLayerError("division by activities", remedy="Divide by constants only")
    tensor, constant = _constant(y, x)
    return elementwise(tensor, 1 / constant)


def _negative(x: Tensor) -> Tensor:
    return elementwise(x, -1.0)


def _bias_add(x: Tensor, bias: Any, data_format: str | None = None) -> Tensor:
    values = np.asarray(bias, np.float64)
    if _channels_last(data_format):
        return elementwise(x, offset=values)
    return elementwise(x, offset=values.reshape(-1, *[1] * (len(x.shape) - 1)))


def _matmul(x: Any, y: Any, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        raise UnsupportedLayerError(PRODUCT, remedy="Multiply by constants only")
    if isinstance(x, Tensor):
        x = _turned(x) if transpose_a else x
        matrix = np.asarray(y, np.float64)
        matrix = np.swapaxes(matrix, -1, -2) if transpose_b else matrix
        if matrix.ndim == 1:
            product = contracted(x, matrix[:, None])
            return moved(product, product.indices()[..., 0])
        return contracted(x, _as_matrix(matrix))
    y = _turned(y) if transpose_b else y
    matrix = _as_matrix(np.asarray(x, np.float64))
    return _turned(contracted(_turned(y), matrix if transpose_a else matrix.T))


def _as_matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        raise UnsupportedLayerError("a product with more than one matrix", values.shape, "Use one matrix")
    return values


def _turned(x: Tensor) -> Tensor:
    return rearranged(x, lambda a: np.swapaxes(a, -1, -2))


def _mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    if x.pieces:
        return elementwise(_sum(x, axis, keepdims), 1 / len(x.pieces))
    axes = [] if axis is None else np.ravel(axis).tolist()
    if x.leading == 2 and 1 in axes and not keepdims:
        others = [other for other in axes if other != 1]
        return mean_of_steps(_mean(x, others) if others else x)
    return reduced(x, _axes(x, axis), keepdims, mean=True)


def _sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    if x.pieces:
        if np.ravel(axis).tolist() != [0] or keepdims:
            raise UnsupportedLayerError("tensors stacked in front of the batch", axis, "Sum over axis 0")
        return _add_all(x.pieces)
    return reduced(x, _axes(x, axis), keepdims, mean=False)


def _axes(x: Tensor, axis: Any) -> list[int]:
    if axis is None:
        raise UnsupportedLayerError(
            "a sum over all samples", remedy="Name the axes to sum over, all but the batch axis"
        )
    return sorted({x.axis(int(number)) for number in np.atleast_1d(axis)})


def _max(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    axes = _axes(x, axis)
    kept = [n for n in range(len(x.shape)) if n not in axes]
    shape = [1 if n in axes else size for n, size in enumerate(x.shape)]
    windows = x.indices().transpose([*kept, *axes]).reshape(*(x.shape[n] for n in kept), -1)
    return replace(x, windows=windows.reshape(*shape, -1) if keepdims else windows)


def _average_pool(
    x: Tensor, size: Any, strides: Any = None, padding: Any = "valid", data_format: str | None = None
) -> Tensor:
    return averaged(x, *_windows(x, size, strides, padding, data_format))


def _max_pool(
    x: Tensor, size: Any, strides: Any = None, padding: Any = "valid", data_format: str | None = None
) -> Tensor:
    return largest(x, *_windows(x, size, strides, padding, data_format))


def _windows(
    x: Tensor, size: Any, strides: Any, padding: Any, data_format: str | None
) -> tuple[bool, Shape, Shape, str]:
    last, rank = _channels_last(data_format), len(x.shape) - 1
    pool, steps = (_spatial(value, rank, last) for value in (size, size if strides is None else strides))
    if not isinstance(padding, str):
        raise UnsupportedLayerError("padding by hand while pooling", padding, "Use ZeroPadding2D")
    return last, pool, steps, padding.lower()


def _spatial(value: Any, rank: int, last: bool) -> tuple[int, ...]:
    """A number for each dimension of the image, of one, or of those of the batch and of channels too."""
    given = [int(n) for n in np.ravel(value)]
    if len(given) == rank + 2:
        given = given[1:-1] if last else given[2:]
    return sizes(given[0] if len(given) == 1 else given, rank)


def _channels_last(data_format: str | None) -> bool:
    return data_format is None or not (data_format == "channels_first" or data_format.startswith("NC"))


# -- moving elements ------------------------------------------------------------------------------


def _same(x: Tensor, dtype: Any = None) -> Tensor:
    kind = str(getattr(dtype, "name", dtype))
    if dtype is not None and not ("float" in kind or "double" in kind or "half" in kind):
        raise UnsupportedLayerError("rounding to whole numbers", kind, "Keep a floating point type")
    return x


def _reshape(x: Tensor, shape: Any) -> Tensor:
    target = [-1 if n is None else int(n) for n in shape]
    if any(n != -1 for n in target[: x.leading]) or len(target) < x.leading:
        raise UnsupportedLayerError("a shape that fixes the number of samples", tuple(target), "Use -1 there")
    return rearranged(x, lambda a: a.reshape(*a.shape[: x.leading], *target[x.leading :]))


def _get_item(x: Tensor, items: Any) -> Tensor:
    given = list(items) if isinstance(items, (list, tuple)) else [items]
    parts = tuple(
        slice(*(item[end] for end in ("start", "stop", "step"))) if isinstance(item, dict) else item
        for item in given
    )
    return rearranged(x, lambda a: a[parts])


def _transpose(x: Tensor, axes: Any = None, conjugate: bool = False) -> Tensor:
    return rearranged(x, lambda a: np.transpose(a, axes))


def _pad(x: Tensor, paddings: Any, mode: str = "constant", constant: Any = 0.0, last: Any = None) -> Tensor:
    if constant is None or isinstance(constant, str):  # TensorFlow 1 has a name in the fourth place
        constant = last or 0.0
    margins = [(int(before), int(after)) for before, after in np.asarray(paddings)]
    way = mode.lower()
    if way != "constant":
        return rearranged(x, lambda a: np.pad(a, margins, mode=way))  # type: ignore[call-overload]
    padded = rearranged(x, lambda a: np.pad(a, margins, constant_values=-1))
    if constant:
        beyond = np.pad(np.zeros(x.shape), margins[x.leading :], constant_values=float(constant))
        padded = elementwise(padded, offset=beyond)
    return padded


def _concatenate(x: Sequence[Tensor], axis: int = 0) -> Tensor:
    return concatenated(list(x), x[0].axis(int(axis)))


def _stack(x: Sequence[Tensor], axis: int = 0) -> Tensor:
    if axis == 0:
        return replace(x[0], pieces=tuple(x))
    parts = [_expand_dims(part, axis) for part in x]
    return _concatenate(parts, axis)


def _expand_dims(x: Tensor, axis: int) -> Tensor:
    return rearranged(x, lambda a: np.expand_dims(a, axis))


def _squeeze(x: Tensor, axis: Any = None) -> Tensor:
    which = None if axis is None or np.size(axis) == 0 else tuple(int(n) for n in np.atleast_1d(axis))
    return rearranged(x, lambda a: np.squeeze(a, which))


def _flip(x: Tensor, axis: Any) -> Tensor:
    return rearranged(x, lambda a: np.flip(a, tuple(int(n) for n in np.atleast_1d(axis))))


def _tile(x: Tensor, repeats: Any) -> Tensor:
    return rearranged(x, lambda a: np.tile(a, repeats))


def _repeat(x: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    return rearranged(x, lambda a: np.repeat(a, repeats, axis))


def _roll(x: Tensor, shift: Any, axis: Any = None) -> Tensor:
    return rearranged(x, lambda a: np.roll(a, shift, axis))


def _move_axis(x: Tensor, source: Any, destination: Any) -> Tensor:
    return rearranged(x, lambda a: np.moveaxis(a, source, destination))


def _swap_axes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    return rearranged(x, lambda a: np.swapaxes(a, axis1, axis2))


def _gather(x: Tensor, indices: Any, axis: int = 0, batch_dims: int = 0) -> Tensor:
    if batch_dims:
        raise UnsupportedLayerError(
            "other elements of each sample", remedy="Take the same ones of every sample"
        )
    return rearranged(x, lambda a: np.take(a, np.asarray(indices, np.int64), axis))


def _split(
    x: Tensor, num_or_size_splits: Any = None, axis: int = 0, indices_or_sections: Any = None
) -> list[Tensor]:
    cuts = indices_or_sections
    if cuts is None:  # TensorFlow gives sizes where numpy and Keras 3 give places
        given = num_or_size_splits
        cuts = int(given) if np.ndim(given) == 0 else np.cumsum(given)[:-1]
    n = len(np.split(np.zeros((2,) * x.leading + x.shape), cuts, axis))
    return [rearranged(x, partial(_part, cuts, axis, i)) for i in range(n)]


def _part(cuts: Any, axis: int, number: int, values: NDArray[np.intp]) -> Any:
    return np.split(values, cuts, axis)[number]


def _unstack(x: Tensor, num: int | None = None, axis: int = 0) -> list[Tensor]:
    size = x.shape[x.axis(int(axis))]
    return [_gather(x, i, axis) for i in range(size)]


# -- activations ----------------------------------------------------------------------------------


def _relu(x: Tensor, negative_slope: float = 0.0, max_value: Any = None, threshold: float = 0.0) -> Tensor:
    if negative_slope or threshold:
        raise UnsupportedLayerError("a rectifier with a slope or a threshold", remedy="Train with ReLU")
    return replace(x, activation="relu" if max_value is None else Saturating(float(max_value)))


def _relu6(x: Tensor) -> Tensor:
    return replace(x, activation=Saturating(6.0))


def _clip(x: Tensor, low: Any, high: Any) -> Tensor:
    if np.ndim(low) or np.ndim(high) or float(low) != 0:
        raise UnsupportedLayerError("values held between bounds", f"{low} to {high}", "Train with ReLU")
    return replace(x, activation=Saturating(float(high)))


def _maximum(x: Any, y: Any) -> Tensor:
    tensor, other = (x, y) if isinstance(x, Tensor) else (y, x)
    if isinstance(other, Tensor) or np.any(np.asarray(other) != 0):
        raise UnsupportedLayerError(MAXIMUM, remedy="Use Add or Average")
    return replace(tensor, activation="relu")


def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    if x.axis(int(axis)) != len(x.shape) - 1:
        raise UnsupportedLayerError("softmax along other axes than the last", axis, "Use axis=-1")
    return replace(x, activation="softmax")


def _sigmoid(x: Tensor) -> Tensor:
    return replace(x, activation="sigmoid")


def _tanh(x: Tensor) -> Tensor:
    return replace(x, activation="tanh")


FUNCTIONS: dict[str, Function] = {
    "add": _add,
    "addn": _add_all,
    "avgpool": _average_pool,
    "avgpool1d": _average_pool,
    "avgpool2d": _average_pool,
    "avgpool3d": _average_pool,
    "biasadd": _bias_add,
    "cast": _same,
    "clip": _clip,
    "concatenate": _concatenate,
    "copy": _same,
    "divide": _divide,
    "expanddims": _expand_dims,
    "flip": _flip,
    "gather": _gather,
    "getitem": _get_item,
    "identity": _same,
    "matmul": _matmul,
    "maximum": _maximum,
    "max": _max,
    "maxpool": _max_pool,
    "maxpool1d": _max_pool,
    "maxpool2d": _max_pool,
    "maxpool3d": _max_pool,
    "mean": _mean,
    "moveaxis": _move_axis,
    "multiply": _multiply,
    "negative": _negative,
    "pad": _pad,
    "relu": _relu,
    "relu6": _relu6,
    "repeat": _repeat,
    "reshape": _reshape,
    "roll": _roll,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "stopgradient": _same,
    "subtract": _subtract,
    "sum": _sum,
    "swapaxes": _swap_axes,
    "tanh": _tanh,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}

NAMES = {
    "averagepool": "avgpool",
    "clipbyvalue": "clip",
    "concat": "concatenate",
    "converttotensor": "identity",
    "dot": "matmul",
    "mul": "multiply",
    "reducemax": "max",
    "reducemean": "mean",
    "reducesum": "sum",
    "reverse": "flip",
    "scalarmul": "multiply",
    "sub": "subtract",
    "take": "gather",
    "truediv": "divide",
    "truedivide": "divide",
}
"""What TensorFlow, or Keras 3, calls the functions of other names, in small letters and without underscores."""

ALIASES = {
    **dict.fromkeys(("a", "features", "input", "input_tensor", "inputs", "logits", "params", "tensor"), "x"),
    **dict.fromkeys(("value", "values", "x1", "scalar"), "x"),
    **dict.fromkeys(("b", "x2"), "y"),
    **dict.fromkeys(("perm",), "axes"),
    **dict.fromkeys(("ksize", "pool_size"), "size"),
    **dict.fromkeys(("newshape",), "shape"),
    **dict.fromkeys(("multiples",), "repeats"),
    "alpha": "negative_slope",
    "clip_value_max": "high",
    "clip_value_min": "low",
    "constant_values": "constant",
    "key": "items",
    "pad_width": "paddings",
    "slice_spec": "items",
    "x_max": "high",
    "x_min": "low",
}

_MOVING = (
    *(_same, _concatenate, _expand_dims, _flip, _gather, _get_item, _move_axis, _repeat, _reshape, _roll),
    *(_split, _squeeze, _stack, _swap_axes, _tile, _transpose, _unstack),
)
MOVING = frozenset(name for name, function in FUNCTIONS.items() if function in _MOVING)
"""Functions that only move elements, so that they may stand behind what is computed for each element."""
