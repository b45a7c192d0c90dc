"""Operators and functions applied to Keras tensors: ``x + y``, ``2 * x``, ``tf.nn.relu(x)``, ``x[:, 1:]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from loihi_deploy.frontends.tensors import (
    Tensor,
    UnsupportedLayerError,
    concatenated,
    elementwise,
    moved,
    summed,
)

Operation = Callable[[list[Any]], Tensor]


def operation_name(layer: Any) -> str:
    """Name of the operation that a layer of the model stands for; '' for a layer proper.

    Legacy Keras wraps operations in layers with a `symbol` ("math.add"), Keras 3 has a class for each ("Add").
    """
    if type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda"):
        return str(layer.symbol).rsplit(".", 1)[-1]
    if type(layer).__module__.startswith("keras.src.ops."):
        name = type(layer).__name__
        return {"TrueDivide": "truediv", "GetItem": "getitem", "Concatenate": "concat"}.get(
            name, name.lower()
        )
    return ""


def operands(layer: Any, node: Any, tensors: list[Tensor]) -> list[Any]:
    """Arguments of a call in order, `tensors` in place of the symbolic ones."""
    if hasattr(node, "call_args"):
        given = [*node.call_args, *node.call_kwargs.values()]
    else:
        given = [*node.arguments.args, *node.arguments.kwargs.values()]
        given += [
            getattr(layer, name) for name in ("newshape", "axis", "negative_slope") if hasattr(layer, name)
        ]
    pending = iter(tensors)
    return [_filled(value, pending) for value in given if value is not None]


def _filled(value: Any, pending: Iterator[Tensor]) -> Any:
    if hasattr(value, "_keras_history"):
        return next(pending)
    if isinstance(value, (list, tuple)):
        return [_filled(item, pending) for item in value]
    return value


def _weighted(first: Any, second: Any, sign: float) -> Tensor:
    """The first plus `sign` times the second; one of them may be constant."""
    if not isinstance(first, Tensor):
        return elementwise(second, sign, first)
    if not isinstance(second, Tensor):
        return elementwise(first, offset=sign * np.asarray(second, np.float64))
    return summed([first, second], [1.0, sign])


def _add(given: list[Any]) -> Tensor:
    return _weighted(given[0], given[1], 1.0)


def _subtract(given: list[Any]) -> Tensor:
    return _weighted(given[0], given[1], -1.0)


def _multiply(given: list[Any]) -> Tensor:
    first, second = given[:2]
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        raise UnsupportedLayerError(
            "products of activities cannot be computed by synapses", remedy="Use sums, or concatenate"
        )
    return elementwise(first, second) if isinstance(first, Tensor) else elementwise(second, first)


def _divide(given: list[Any]) -> Tensor:
    first, second = given[:2]
    if isinstance(second, Tensor):
        raise UnsupportedLayerError("division by activities", remedy="Divide by constants only")
    return elementwise(first, 1 / np.asarray(second, np.float64))


def _negative(given: list[Any]) -> Tensor:
    return elementwise(given[0], -1.0)


def _relu(given: list[Any]) -> Tensor:
    x: Tensor = given[0]
    return replace(x, activation="relu")


def _softmax(given: list[Any]) -> Tensor:
    x: Tensor = given[0]
    return replace(x, activation="softmax")


def _reshape(given: list[Any]) -> Tensor:
    x, target = given[:2]
    return moved(x, x.indices().reshape([int(n) for n in target][x.leading :]))


def _concatenate(given: list[Any]) -> Tensor:
    return concatenated(given[0], given[0][0].axis(int(given[1])))


def _get_item(given: list[Any]) -> Tensor:
    x, items = given[:2]
    parts = [
        slice(*(item[end] for end in ("start", "stop", "step"))) if isinstance(item, dict) else item
        for item in items
    ]
    if any(part != slice(None) for part in parts[: x.leading]):
        raise UnsupportedLayerError("a slice of the batch or time axis", remedy="Slice features only")
    return moved(x, np.asarray(x.indices()[tuple(parts[x.leading :])]))


OPERATIONS: dict[str, Operation] = {
    "add": _add,
    "concat": _concatenate,
    "divide": _divide,
    "getitem": _get_item,
    "multiply": _multiply,
    "negative": _negative,
    "relu": _relu,
    "reshape": _reshape,
    "softmax": _softmax,
    "sub": _subtract,
    "subtract": _subtract,
    "truediv": _divide,
}
