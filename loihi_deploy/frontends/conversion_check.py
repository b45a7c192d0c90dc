"""Does a converted graph compute what its source computes? Asked of the rate network, before any spike."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.rate_network import is_feedforward, rate_activity
from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.compat import is_instance
from loihi_deploy.frontends.keras_graph import (
    Key,
    all_layers,
    call_arguments,
    calls,
    is_model,
    key,
    listed,
    model_outputs,
)
from loihi_deploy.frontends.keras_layers import type_name
from loihi_deploy.frontends.resampling import after_training
from loihi_deploy.ir import Graph, Readout, samples_for
from loihi_deploy.options import DeployOptions

RTOL = 1e-4
"""Largest difference, relative to the layer's largest value: float32 sums in another order stay well below it."""


EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Spacing of numbers at 1 (IEEE 754-2019, table 3.5; bfloat16 has 8 bits of precision)."""
ROUNDINGS = 10
"""How many such spacings the layers of a network may add up."""


def check_conversion(source: Any, graph: Graph, x: Any, n_samples: int = 4) -> bool:
    """Compare the graph's rate network with its source, layer by layer.

    Parameters
    ----------
    source : tf.keras.Model, nengo_dl.Converter, nengo.Network or Graph
    graph : Graph
        What `convert` made of it; its firing rates may have been scaled since.
    x : array or mapping of arrays
        Samples as for `Deployment.run`; the first frame of the first `n_samples` is used.
    n_samples : int

    Returns
    -------
    bool
        False where there is nothing to compare with: networks with recurrent connections, Converter networks with
        parts left to TensorFlow, and convolutions with channels first where TensorFlow has no GPU.

    Raises
    ------
    ConversionError
        Naming the first layer that differs.
    """
    samples = samples_for(graph, x).take(slice(n_samples))
    flat = samples.first_frames()
    rtol = RTOL
    if not is_feedforward(graph):
        return False
    if any(is_instance(source, package, "Model") for package in ("keras", "tf_keras")):
        references = _keras_references(source, graph, {name: x[:, 0] for name, x in samples.given.items()})
        rtol = _tolerance(source)
    elif is_instance(source, "nengo_dl", "Converter") or is_instance(source, "nengo", "Network"):
        from loihi_deploy.frontends.nengo_rates import nengo_references

        references = nengo_references(source, graph, flat)
    elif is_instance(source, "onnx", "ModelProto"):
        from loihi_deploy.frontends.onnx_models import onnx_references

        references = onnx_references(source, graph, {name: x[:, 0] for name, x in samples.given.items()})
    else:
        return False
    if references is None:
        return False
    activity = rate_activity(graph, {name: values.astype(np.float64) for name, values in flat.items()})
    for name, wanted in references:
        node = graph.nodes[name]
        found = activity[name] * getattr(node, "amplitude", 1.0)
        if isinstance(node, Readout):
            found = node.activated(found).reshape(len(found), -1)
        largest = float(np.abs(wanted).max(initial=0.0))
        difference = float(np.abs(found - wanted).max(initial=0.0))
        if not difference <= rtol * largest + 1e-6:
            raise ConversionError(
                "The converted network does not compute what the trained one computes",
                Problem(
                    "activities differ",
                    f"layer {name!r}",
                    f"{difference:.3g}, with values up to {largest:.3g}",
                    f"{rtol * largest + 1e-6:.3g}",
                    "Check that the layer has not changed since the conversion; if it has not, report this",
                ),
            )
    return True


References = Iterator[tuple[str, NDArray[Any]]]


def _keras_references(model: Any, graph: Graph, flat: dict[str, NDArray[Any]]) -> References | None:
    """Values of each population's layer and of each output, in the order in which the model computes them."""
    from loihi_deploy.frontends.keras import walk_keras

    walk = walk_keras(model, DeployOptions())
    tf = sys.modules.get("tensorflow")
    first = any(node.channels_first for node in graph.inputs)
    if first and tf is not None and not tf.config.list_physical_devices("GPU"):
        return None
    values: dict[Key, Any] = {}
    origins = {node.given.name: node.given for node in graph.inputs}
    for tensor, node in zip(listed(model.inputs), origins.values(), strict=True):
        sample = flat[node.name].astype(np.float32).reshape(-1, *node.shape)
        if node.channels_first:
            sample = np.moveaxis(sample, -1, 1)
        leading = len(tuple(tensor.shape)) - len(node.shape)
        values[key(tensor)] = sample[:, None] if leading == 2 else sample
    return _evaluated(model, walk, values, graph)


def _tolerance(model: Any) -> float:
    """`RTOL`, or some roundings of the coarsest type that a layer computes in."""
    types = {str(getattr(layer, "compute_dtype", "float32")) for layer in all_layers(model)}
    return max([RTOL, *(ROUNDINGS * EPSILON[name] for name in types & set(EPSILON))])


def _evaluated(model: Any, walk: Any, values: dict[Key, Any], graph: Graph) -> References:
    for path, value in _layer_values(model, values, ()):
        if path in walk.sites:
            name, order = walk.sites[path]
            wanted = np.asarray(value).astype(np.float64).reshape(len(value), -1)
            yield name, wanted if order is None else wanted[:, np.argsort(order)]
    for output, readout in zip(model_outputs(model), graph.readouts, strict=True):
        value = np.asarray(values[key(output)]).astype(np.float64)
        yield readout.name, value.reshape(len(value), -1)


def _layer_values(model: Any, values: dict[Key, Any], path: tuple[Key, ...]) -> Iterator[tuple[Any, Any]]:
    """Call the layers one after the other; fills `values`, yields the first output of every call."""
    outputs = model_outputs(model)
    for layer, node in calls(outputs, set(values)):
        made = listed(node.outputs)
        positional, named = call_arguments(node, values)
        if is_model(layer):
            inner = dict(zip(map(key, listed(layer.inputs)), listed(positional[0]), strict=True))
            yield from _layer_values(layer, inner, (*path, key(made[0])))
            results = [inner[key(output)] for output in model_outputs(layer)]
        elif type_name(layer) in ("SpikingActivation", "Lowpass"):
            # the rates that spikes and filtered spikes stand for
            value = positional[0]
            results = [layer.activation(value) if type_name(layer) == "SpikingActivation" else value]
            if not layer.return_sequences:
                results = [results[0][:, -1]]
        else:
            results = listed(layer(*positional, **(named | after_training(layer))))
        values.update(zip(map(key, made), results, strict=True))
        yield (*path, key(made[0])), results[0]
