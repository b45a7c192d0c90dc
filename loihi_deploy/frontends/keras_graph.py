"""The structure of a Keras model: its layers, their calls, and the symbolic tensors between them.

Legacy Keras and Keras 3 keep the same structure under slightly different names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from loihi_deploy.errors import ConversionError, Problem

Key = tuple[int, int, int]  # layer, which of its calls, which of the call's outputs


def all_layers(model: Any) -> Iterator[Any]:
    """Every layer, also of nested models."""
    for layer in model.layers:
        yield layer
        if is_model(layer):
            yield from all_layers(layer)


def is_model(layer: Any) -> bool:
    """Whether a layer is a nested model."""
    return hasattr(layer, "layers") and hasattr(layer, "inputs")


def model_outputs(model: Any) -> list[Any]:
    """The symbolic outputs; ConversionError where the model has none."""
    try:
        outputs = model.outputs
    except (AttributeError, ValueError):
        outputs = None
    if not outputs:
        raise ConversionError(
            f"Cannot convert Keras model {model.name!r}",
            Problem(
                "its layers and their order are not known",
                value=type(model).__name__,
                remedy="Use a functional model, or a Sequential one that starts with an Input layer",
            ),
        )
    return listed(outputs)


def output_type(output: Any) -> Literal["float16", "float32", "float64"]:
    """The type that predictions of a symbolic output have; float32 where numpy does not know it (bfloat16)."""
    name = str(getattr(output.dtype, "name", output.dtype))
    return "float16" if name == "float16" else "float64" if name == "float64" else "float32"


def listed(value: Any) -> list[Any]:
    """A list of one or more values."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def history(tensor: Any) -> tuple[Any, int, int]:
    """The layer that made a symbolic tensor, which of its calls, and which of the call's outputs."""
    layer, node_index, tensor_index = tensor._keras_history
    return layer, node_index, tensor_index


def key(tensor: Any) -> Key:
    """What tells a symbolic tensor from others."""
    layer, node_index, tensor_index = history(tensor)
    return id(layer), node_index, tensor_index


def _node(tensor: Any) -> Any:
    layer, node_index, _ = history(tensor)
    return layer._inbound_nodes[node_index]


def node_inputs(node: Any) -> list[Any]:
    """The symbolic tensors of a call: `keras_inputs` in legacy Keras, `input_tensors` in Keras 3."""
    return list(node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors)


def calls(outputs: list[Any], known: set[Key]) -> Iterator[tuple[Any, Any]]:
    """Layers and their calls, each behind those that it depends on."""
    done = set(known)
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, expanded = stack.pop()
        if key(tensor) in done:
            continue
        node = _node(tensor)
        if expanded:
            done.update(map(key, listed(node.outputs)))
            yield history(tensor)[0], node
        else:
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(node_inputs(node)))


def call_arguments(node: Any, values: dict[Key, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments of a call, with values in place of symbolic tensors."""

    def filled(argument: Any) -> Any:
        if hasattr(argument, "_keras_history"):
            return values[key(argument)]
        if isinstance(argument, (list, tuple)):
            return type(argument)(filled(item) for item in argument)
        return argument

    legacy = hasattr(node, "call_args")
    positional = node.call_args if legacy else node.arguments.args
    named = node.call_kwargs if legacy else node.arguments.kwargs
    return [filled(item) for item in positional], {name: filled(item) for name, item in named.items()}
