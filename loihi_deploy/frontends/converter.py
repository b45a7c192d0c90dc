"""Networks that NengoDL's Converter has made of Keras models."""

from __future__ import annotations

from functools import partial
from typing import Any

import nengo

from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.keras_graph import output_type
from loihi_deploy.frontends.keras_layers import activation_name
from loihi_deploy.frontends.layouts import Layout, convolution_layouts, image_layout
from loihi_deploy.frontends.nengo_network import NetworkWalk
from loihi_deploy.ir import Graph, Shape
from loihi_deploy.options import DeployOptions


def convert_converter(converter: Any, options: DeployOptions) -> Graph:
    """Convert a `nengo_dl.Converter`; see `loihi_deploy.frontends.convert`.

    Populations, inputs and readouts have the names of their Keras layers.
    """
    return walk_converter(converter, options).graph()


def walk_converter(converter: Any, options: DeployOptions) -> NetworkWalk:
    """Evaluate a Converter's network as affine expressions."""
    network, model = converter.net, converter.model
    names: dict[Any, str] = {}
    layers: dict[Any, Any] = {}
    shapes: dict[Any, Shape] = {}
    channels_first = False
    batch_axes = 2 if converter.temporal_model else 1
    for net in (network, *network.all_networks):
        for layer, calls in getattr(net, "layer_map", {}).items():
            channels_first |= getattr(layer, "data_format", None) == "channels_first"
            for index, objects in calls.items():
                shape = layer.get_output_shape_at(index)
                layers.update(dict.fromkeys(objects, layer))
                for obj, one in zip(objects, shape if isinstance(shape, list) else [shape], strict=True):
                    # layers that only reshape share the object of the layer before them
                    names.setdefault(obj, layer.name)
                    shapes.setdefault(obj, tuple(one[batch_axes:]))
    known = {
        obj: image_layout(shape, not (channels_first and len(shape) == 3))
        for obj, shape in shapes.items()
        if len(shape) > 1
    }
    layouts: dict[Any, Layout] = convolution_layouts(network, known)
    inputs = {node: shapes[node] for node in converter.inputs.values()}
    builder = GraphBuilder(f"NengoDL Converter of Keras model {model.name!r}", 0.0)
    walk = NetworkWalk(
        network,
        builder,
        options.dt,
        layouts,
        names,
        inputs,
        rate_neurons=True,
        neuron_synapse=converter.synapse,
        layer_neuron=partial(_layer_neuron, converter, layers),
    )
    for output, probe in zip(model.outputs, converter.outputs.values(), strict=True):
        # of a model over time: an answer for every step, where the output has an axis of them
        every = converter.temporal_model and len(output.shape) > batch_axes
        name, shape = output._keras_history[0].name, tuple(output.shape[batch_axes:])
        walk.readout(probe, name, shape, output_type(output), "each" if every else "")
    return walk


def _layer_neuron(converter: Any, layers: dict[Any, Any], node: Any, activation: Any) -> tuple[Any, float]:
    """Neuron type and scale of firing rates for the activation of a layer that the Converter left to TensorFlow.

    The same rules as the Converter's own: swaps before and after its map from activations to neurons.
    """
    layer = layers.get(node)
    swaps = converter.swap_activations
    neuron = swaps.get(activation, activation)
    if not isinstance(neuron, nengo.neurons.NeuronType):
        neuron = nengo.RectifiedLinear() if activation_name(neuron) == "relu" else None
        neuron = swaps.get(neuron, neuron)
    scale = converter.scale_firing_rates
    if isinstance(scale, dict):
        scale = scale.get(layer)
    return neuron, 1.0 if scale is None else float(scale)
