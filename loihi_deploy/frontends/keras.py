"""Keras models, functional or sequential, of legacy Keras and of Keras 3, without importing either."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder, stored_shape
from loihi_deploy.frontends.keras_layers import HANDLERS, OVER_TIME, activated, refusal, type_name
from loihi_deploy.frontends.keras_ops import OPERATIONS, operands, operation_name
from loihi_deploy.frontends.layouts import image_layout
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError
from loihi_deploy.graph import Graph, NeuronModel
from loihi_deploy.options import DeployOptions

Key = tuple[int, int, int]  # layer, which of its calls, which of the call's outputs
Path = tuple[Key, ...]

NEURONS = {"if": NeuronModel("if"), "lif": NeuronModel("lif", tau_rc=0.02, tau_ref=0.002)}


def convert_keras(model: Any, options: DeployOptions) -> Graph:
    """Convert a Keras model; see `loihi_deploy.frontends.convert`."""
    return walk_keras(model, options).builder.graph(options.dt)


def walk_keras(model: Any, options: DeployOptions) -> KerasWalk:
    """Evaluate a Keras model as affine expressions."""
    builder = GraphBuilder(f"Keras model {model.name!r}", options.synapse)
    outputs = _outputs(model)
    layers = list(_all_layers(model))
    leading = 2 if any(_is_over_time(layer) for layer in layers) else 1
    channels_first = any(getattr(layer, "data_format", None) == "channels_first" for layer in layers)
    inputs = {}
    for tensor in _listed(model.inputs):
        name, shape = _history(tensor)[0].name, tuple(tensor.shape)[leading:]
        if None in shape:
            problem = Problem(
                "the input has no fixed shape",
                f"layer {name!r}",
                shape,
                remedy="Build the model with an Input of known shape",
            )
            raise ConversionError(f"Cannot convert {builder.source}", problem)
        layout = image_layout(shape, not (channels_first and len(shape) == 3))
        stored = shape if layout.order is None else layout.shape
        inputs[_key(tensor)] = Tensor(
            builder.input(builder.unique(name), stored, layout.order), shape, leading
        )
    walk = KerasWalk(builder, NEURONS[options.neuron])
    expressions = walk.model(outputs, inputs)
    for output, tensor in zip(outputs, expressions, strict=True):
        name = _history(output)[0].name
        builder.readout(name, tensor.affine, "softmax" if tensor.softmax else "linear")
    return walk


def _all_layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if _is_model(layer):
            yield from _all_layers(layer)


def _is_model(layer: Any) -> bool:
    return hasattr(layer, "layers") and hasattr(layer, "inputs")


def _is_over_time(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras_spiking") or type_name(layer) == "TimeDistributed"


class KerasWalk:
    """Evaluates a model layer by layer on affine expressions.

    Attributes
    ----------
    sites : dict from path to (name, order)
        Which call of which layer (within which calls of nested models) made each population, and how it is stored.
    """

    def __init__(self, builder: GraphBuilder, neuron: NeuronModel) -> None:
        self.builder = builder
        self.neuron = neuron
        self.sites: dict[Path, tuple[str, NDArray[np.intp] | None]] = {}

    def model(self, outputs: list[Any], known: dict[Key, Tensor], path: Path = ()) -> list[Tensor]:
        """Expressions of `outputs`, given those of the model's inputs."""
        for layer, node in calls(outputs, set(known)):
            tensors = [known[_key(tensor)] for tensor in _node_inputs(node)]
            results = self.call(layer, node, tensors, path)
            known.update(zip(map(_key, _listed(node.outputs)), results, strict=True))
        return [known[_key(output)] for output in outputs]

    def call(self, layer: Any, node: Any, tensors: list[Tensor], path: Path) -> list[Tensor]:
        """Expressions of one call's outputs."""
        path = (*path, _key(_listed(node.outputs)[0]))
        if _is_model(layer):
            inputs = dict(zip(map(_key, _listed(layer.inputs)), tensors, strict=True))
            return self.model(_outputs(layer), inputs, path)
        try:
            n_populations = len(self.builder.populations)
            tensor = activated(self.linear(layer, node, tensors), layer, self.builder, self.neuron)
            for name in self.builder.populations[n_populations:]:
                self.sites[path] = (name, tensor.affine.order)
            return [tensor]
        except UnsupportedLayerError as reason:
            self.builder.problems.append(reason.problem(layer))
            leading = tensors[0].leading if tensors else 1
            return [_unknown(output, leading) for output in _listed(node.outputs)]

    def linear(self, layer: Any, node: Any, tensors: list[Tensor]) -> Tensor:
        """What a layer computes before its activation."""
        name, operation = type_name(layer), operation_name(layer)
        if (operation not in OPERATIONS) if operation else (name not in HANDLERS):
            raise refusal(layer)
        if any(tensor.softmax for tensor in tensors):
            raise UnsupportedLayerError(
                "softmax is computed outside the chip, so nothing can follow it",
                remedy="Use softmax as the last layer only",
            )
        if operation:
            return OPERATIONS[operation](operands(layer, node, tensors))
        if tensors[0].leading == 2 and name not in OVER_TIME:
            raise UnsupportedLayerError(
                "the layer mixes the steps of a sequence", name, "Wrap it in TimeDistributed"
            )
        return HANDLERS[name](layer, tensors)


def _outputs(model: Any) -> list[Any]:
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
    return _listed(outputs)


def _unknown(output: Any, leading: int) -> Tensor:
    """A stand-in of the right shape behind a refused layer, so that the layers after it are looked at too."""
    shape = tuple(int(n or 1) for n in tuple(output.shape)[leading:])
    return Tensor(Affine({}, np.zeros(prod(shape)), stored_shape(shape)), shape, leading)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _history(tensor: Any) -> tuple[Any, int, int]:
    """The layer that made a symbolic tensor, which of its calls, and which of the call's outputs."""
    layer, node_index, tensor_index = tensor._keras_history
    return layer, node_index, tensor_index


def _key(tensor: Any) -> Key:
    layer, node_index, tensor_index = _history(tensor)
    return id(layer), node_index, tensor_index


def _node(tensor: Any) -> Any:
    layer, node_index, _ = _history(tensor)
    return layer._inbound_nodes[node_index]


def _node_inputs(node: Any) -> list[Any]:
    """The symbolic tensors of a call: `keras_inputs` in legacy Keras, `input_tensors` in Keras 3."""
    return list(node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors)


def calls(outputs: list[Any], known: set[Key]) -> Iterator[tuple[Any, Any]]:
    """Layers and their calls, each behind those that it depends on."""
    done = set(known)
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, expanded = stack.pop()
        if _key(tensor) in done:
            continue
        node = _node(tensor)
        if expanded:
            done.update(map(_key, _listed(node.outputs)))
            yield _history(tensor)[0], node
        else:
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(_node_inputs(node)))
