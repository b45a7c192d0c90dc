"""Layers of the user's own, followed through the functions and layers that they call."""

from __future__ import annotations

import sys
from typing import Any

from loihi_deploy.frontends.keras_graph import listed, node_inputs
from loihi_deploy.frontends.keras_layers import type_name
from loihi_deploy.frontends.keras_ops import symbol
from loihi_deploy.frontends.resampling import after_training
from loihi_deploy.frontends.tensors import UnsupportedLayerError


def is_code(layer: Any) -> bool:
    """Whether a layer calls Python code that Keras did not define: a ``Lambda``, or a class of the user's own."""
    return not symbol(layer) and type_name(layer) in ("", "Lambda")


def trace(layer: Any, node: Any) -> tuple[list[Any], list[Any]]:
    """Call a layer's code with symbolic tensors: what stands between them is a model that can be converted.

    Parameters
    ----------
    layer : Keras layer
    node : its call

    Returns
    -------
    (inputs, outputs)
        Symbolic tensors.

    Raises
    ------
    UnsupportedLayerError
        If its code cannot be called so.
    """
    keras = _keras_of(layer)
    given = node_inputs(node)
    try:
        inputs = [keras.Input(shape=tuple(tensor.shape)[1:], dtype=tensor.dtype) for tensor in given]
        argument = inputs if isinstance(_first_argument(node), (list, tuple)) else inputs[0]
        outputs = listed(layer.call(argument, **after_training(layer)))
    except Exception as error:  # whatever the user's code raises for tensors without values
        raise UnsupportedLayerError(
            "the layer's code cannot be followed",
            f"{type(layer).__name__}: {str(error).strip().partition(chr(10))[0][:200]}",
            "Use functions on tensors and layers that Keras defines in it, or in its place",
        ) from error
    if not all(hasattr(output, "_keras_history") for output in outputs):
        raise UnsupportedLayerError(
            "the layer's code cannot be followed",
            type(layer).__name__,
            "Let it return tensors that depend on its input",
        )
    return inputs, outputs


def _keras_of(layer: Any) -> Any:
    for kind in type(layer).__mro__:
        keras = sys.modules.get(kind.__module__.partition(".")[0])
        if hasattr(keras, "Input"):
            return keras
    raise UnsupportedLayerError("a layer that is not Keras' own", type(layer).__name__, "Use layers of Keras")


def _first_argument(node: Any) -> Any:
    positional = node.call_args if hasattr(node, "call_args") else node.arguments.args
    return positional[0] if positional else None
