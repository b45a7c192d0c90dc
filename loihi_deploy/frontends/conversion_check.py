"""Does a converted graph compute what its source computes? Asked of the rate network, before any spike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.rate_network import is_feedforward, rate_activity
from loihi_deploy.engines.rate_sequence import rates_over_time
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
from loihi_deploy.ir import Graph, Readout, Samples, samples_for
from loihi_deploy.options import DeployOptions

References = Iterator[tuple[str, NDArray[Any]]]
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
        Samples as for `Deployment.run`; the first `n_samples` are used. Of sequences every frame is compared where the
        source is a Keras model, with what it remembers, else the first one.
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
    if samples.lengths is not None:
        samples = samples.take_frames(int(samples.lengths.min()))
    flat = samples.first_frames()
    rtol = RTOL
    if not is_feedforward(graph):
        return False
    if any(is_instance(source, package, "Model") for package in ("keras", "tf_keras")):
        from loihi_deploy.frontends.keras import walk_keras

        walk = walk_keras(source, DeployOptions(synapse=0.0))
        references = _keras_references(source, walk, graph, samples)
        rtol = _tolerance(source)
        if references is not None and walk.leading == 2:
            own = _with_own_synapses(graph, walk.builder.graph(graph.dt))
            frames = {name: values.astype(np.float64) for name, values in samples.arrays.items()}
            activity = _as_read(graph, rates_over_time(own, frames), walk)
            _compare(graph, activity, references, rtol)
            return True
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
    _compare(graph, activity, references, rtol)
    return True


def _with_own_synapses(graph: Graph, walked: Graph) -> Graph:
    """The graph with the synapses of its source alone, and none that converting it added."""
    pairs = zip(graph.projections, walked.projections, strict=True)
    return replace(graph, projections=tuple(replace(ours, tau=theirs.tau) for ours, theirs in pairs))


def _as_read(graph: Graph, activity: dict[str, NDArray[Any]], walk: Any) -> dict[str, NDArray[Any]]:
    """Activities of every frame that the source has, as rows, and readouts as it reads frames.

    Of the populations in ``walk.read_last`` it has the last frame alone, of others those in ``walk.times``.
    """
    read: dict[str, NDArray[Any]] = {}
    for name, values in activity.items():
        over_frames = getattr(graph.nodes[name], "over_frames", "last" if name in walk.read_last else "each")
        if name in walk.times and over_frames == "each":
            values = values[:, walk.times[name].first :: walk.times[name].every]
        if isinstance(graph.nodes[name], Readout):
            values = values[:, graph.first_frame :]
        if over_frames == "mean":
            read[name] = values.mean(axis=1)
        elif over_frames == "last":
            read[name] = values[:, -1]
        else:
            read[name] = values.reshape(-1, values.shape[2])
    return read


def _compare(graph: Graph, activity: dict[str, NDArray[Any]], references: References, rtol: float) -> None:
    """Compare what was found with what is wanted, layer by layer; see `check_conversion`."""
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


def _keras_references(model: Any, walk: Any, graph: Graph, samples: Samples) -> References | None:
    """Values of each population's layer and of each output, in the order in which the model computes them.

    Of models over time those of every frame, one below the other.
    """
    tf = sys.modules.get("tensorflow")
    first = any(node.channels_first for node in graph.inputs)
    if first and tf is not None and not tf.config.list_physical_devices("GPU"):
        return None
    values: dict[Key, Any] = {}
    origins = {node.given.name: node.given for node in graph.inputs}
    for tensor, node in zip(listed(model.inputs), origins.values(), strict=True):
        given = samples.given[node.name].astype(np.float32)
        sample = given.reshape(*given.shape[:2], *node.shape)
        if node.channels_first:
            sample = np.moveaxis(sample, -1, 2)
        values[key(tensor)] = sample if walk.leading == 2 else sample[:, 0]
    return _evaluated(model, walk, values, graph)


def _tolerance(model: Any) -> float:
    """`RTOL`, or some roundings of the coarsest type that a layer computes in."""
    types = {str(getattr(layer, "compute_dtype", "float32")) for layer in all_layers(model)}
    return max([RTOL, *(ROUNDINGS * EPSILON[name] for name in types & set(EPSILON))])


def _evaluated(model: Any, walk: Any, values: dict[Key, Any], graph: Graph) -> References:
    for path, value in _layer_values(model, values, ()):
        if path in walk.sites:
            name, order = walk.sites[path]
            wanted = _rows(value, 1 if name in walk.read_last else walk.leading)
            yield name, wanted if order is None else wanted[:, np.argsort(order)]
    for output, readout in zip(model_outputs(model), graph.readouts, strict=True):
        yield readout.name, _rows(values[key(output)], 2 if readout.over_frames == "each" else 1)


def _rows(value: Any, leading: int) -> NDArray[np.float64]:
    """Values of samples, or of every frame of them, one below the other."""
    found = np.asarray(value).astype(np.float64)
    return found.reshape(int(np.prod(found.shape[:leading])), -1)


def _lowpass(layer: Any, value: Any) -> NDArray[np.float32]:
    """What `keras_spiking.Lowpass` makes of the steps of a sequence, from 0."""
    cell, x = layer.layer.cell, np.asarray(value)
    a = np.exp(-cell.dt / np.asarray(cell.tau).ravel()[0])
    level, levels = np.zeros_like(x[:, 0]), np.zeros_like(x)
    for step in range(x.shape[1]):
        level = a * level + (1 - a) * x[:, step]
        levels[:, step] = level
    return levels


def _alpha(layer: Any, value: Any) -> NDArray[np.float32]:
    """What `keras_spiking.Alpha` makes of the steps of a sequence, from 0: its differential equation, held."""
    cell, x = layer.layer.cell, np.asarray(value)
    ratio = cell.dt / float(np.asarray(cell.tau).ravel()[0])
    a = np.exp(-ratio)
    speed, level, levels = np.zeros_like(x[:, 0]), np.zeros_like(x[:, 0]), np.zeros_like(x)
    for step in range(x.shape[1]):  # the speed in levels for each time constant
        speed, level = (
            a * ((1 - ratio) * speed - ratio * level + ratio * x[:, step]),
            a * (ratio * speed + (1 + ratio) * level) + (1 - a * (1 + ratio)) * x[:, step],
        )
        levels[:, step] = level
    return levels


FILTERS: dict[str, Callable[[Any, Any], Any]] = {
    "Alpha": _alpha,
    "Lowpass": _lowpass,
    "SpikingActivation": lambda layer, value: layer.activation(value),
}
"""The rates that spikes, and filtered spikes, stand for."""


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
        elif type_name(layer) in FILTERS:
            results = [FILTERS[type_name(layer)](layer, positional[0])]
            if not layer.return_sequences:
                results = [results[0][:, -1]]
        elif type_name(layer) == "Masking":
            results = [positional[0]]  # what is masked was cut off
        else:
            results = listed(layer(*positional, **(named | after_training(layer))))
        values.update(zip(map(key, made), results, strict=True))
        yield (*path, key(made[0])), results[0]
