"""Operators and functions applied to Keras tensors: ``x + y``, ``2 * x``, ``tf.nn.relu(x)``, ``x[:, 1:]``."""

from __future__ import annotations

import inspect
from typing import Any

from loihi_deploy.frontends.keras_graph import call_arguments, key, node_inputs
from loihi_deploy.frontends.tensor_functions import ALIASES, FUNCTIONS, NAMES
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError


def symbol(layer: Any) -> str:
    """What TensorFlow, or Keras 3, calls the function that a layer of the model stands for; '' for a layer proper.

    Legacy Keras wraps functions in layers with a `symbol` ("math.add"), Keras 3 has a class for each ("Add").
    """
    if type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda"):
        return str(layer.symbol)
    return type(layer).__name__ if type(layer).__module__.startswith("keras.src.ops.") else ""


def operation_name(name: str) -> str:
    """The name in `FUNCTIONS` of what TensorFlow or Keras 3 calls `name`."""
    plain = name.rpartition(".")[2].replace("_", "").lower()
    return NAMES.get(plain, plain)


def applied_operation(layer: Any, node: Any, tensors: list[Tensor]) -> list[Tensor]:
    """The outputs of a call of a function, with `tensors` in place of the symbolic ones.

    Raises
    ------
    UnsupportedLayerError
        If the function is not linear, or is called in a way that is not known.
    """
    name = operation_name(symbol(layer))
    if name not in FUNCTIONS:
        raise UnsupportedLayerError(
            "the function has no counterpart on the chip",
            symbol(layer),
            "Use functions and layers that are linear, and ReLU, or apply it to the samples beforehand",
        )
    function = FUNCTIONS[name]
    known = dict(zip(map(key, node_inputs(node)), tensors, strict=True))
    positional, named = call_arguments(node, known)
    while positional and positional[-1] is None:  # as the name, which TensorFlow hands on
        positional.pop()
    named = {ALIASES.get(argument, argument): value for argument, value in named.items()}
    parameters = inspect.signature(function).parameters
    if not hasattr(node, "call_args"):  # Keras 3 keeps what is no tensor in the operation
        kept = {ALIASES.get(argument, argument): value for argument, value in vars(layer).items()}
        named = {argument: value for argument, value in kept.items() if argument in parameters} | named
    named = {argument: value for argument, value in named.items() if value is not None and argument != "name"}
    try:
        bound = inspect.signature(function).bind(*positional, **named)
    except TypeError as error:
        raise UnsupportedLayerError(
            "called with arguments that are not known here",
            f"{symbol(layer)}: {error}",
            "Use the Keras layer that does the same",
        ) from error
    result = function(*bound.args, **bound.kwargs)
    return result if isinstance(result, list) else [result]
