"""Networks that NengoDL's Converter has made of Keras models."""

from __future__ import annotations

from typing import Any

from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.layouts import Layout, convolution_layouts, image_layout
from loihi_deploy.frontends.nengo_network import NetworkWalk
from loihi_deploy.graph import Graph, Shape
from loihi_deploy.options import DeployOptions


def convert_converter(converter: Any, options: DeployOptions) -> Graph:
    """Convert a `nengo_dl.Converter`; see `loihi_deploy.frontends.convert`.

    Populations, inputs and readouts have the names of their Keras layers.
    """
    network, model = converter.net, converter.model
    names: dict[Any, str] = {}
    shapes: dict[Any, Shape] = {}
    channels_first = False
    batch_axes = 2 if converter.temporal_model else 1
    for net in (network, *network.all_networks):
        for layer, calls in getattr(net, "layer_map", {}).items():
            channels_first |= getattr(layer, "data_format", None) == "channels_first"
            for index, objects in calls.items():
                shape = layer.get_output_shape_at(index)
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
    walk = NetworkWalk(network, builder, options.dt, layouts, names, inputs, rate_neurons=True)
    for output, probe in zip(model.outputs, converter.outputs.values(), strict=True):
        walk.readout(probe, output._keras_history[0].name)
    return walk.graph()
