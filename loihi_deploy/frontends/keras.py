"""Keras models, functional or sequential, of legacy Keras and of Keras 3, without importing either."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder, stored_shape
from loihi_deploy.frontends.chip_activations import chip_activations
from loihi_deploy.frontends.keras_graph import (
    Key,
    all_layers,
    calls,
    history,
    is_model,
    key,
    listed,
    model_outputs,
    node_inputs,
    output_type,
)
from loihi_deploy.frontends.keras_layers import (
    HANDLERS,
    MOVING_LAYERS,
    OVER_TIME,
    RELU_REMEDY,
    UNCHANGED,
    activated,
    activation_name,
    deviations,
    refusal,
    type_name,
)
from loihi_deploy.frontends.keras_ops import applied_operation, operation_name, symbol
from loihi_deploy.frontends.keras_time import OVER_FRAMES, fewer_answers, in_time, other_frames, settled
from loihi_deploy.frontends.keras_windows import values
from loihi_deploy.frontends.layouts import image_layout
from loihi_deploy.frontends.tensor_functions import MOVING
from loihi_deploy.frontends.tensors import Tensor, Time, UnsupportedLayerError
from loihi_deploy.frontends.tracing import is_code, trace
from loihi_deploy.ir import Graph, NeuronModel
from loihi_deploy.options import DeployOptions

Path = tuple[Key, ...]
OVER_TIME_ONLY = ("LMU", "Masking", "RNN", "SimpleRNN", "TimeDistributed")
"""Layers that make the first axis of a model's inputs time."""
SAME_RANGE = MOVING_LAYERS | {"CenterCrop", "InputLayer", "Masking", "RandomCrop", "Resizing"}
"""Layers behind which values are about as large as before them."""


def convert_keras(model: Any, options: DeployOptions) -> Graph:
    """Convert a Keras model; see `loihi_deploy.frontends.convert`."""
    builder = walk_keras(model, options).builder
    others = {layer.settings["dt"] for layer in chip_activations(model)} - {options.dt}
    if others:
        builder.problems.append(
            Problem(
                "trained for steps of another length",
                "dt",
                options.dt,
                " or ".join(f"{dt:g}" for dt in sorted(others)),
                f"Use DeployOptions(dt={min(others):g})",
            )
        )
    return builder.graph(options.dt)


def walk_keras(model: Any, options: DeployOptions) -> KerasWalk:
    """Evaluate a Keras model as affine expressions."""
    builder = GraphBuilder(f"Keras model {model.name!r}", options.synapse, in_frames=True)
    outputs = model_outputs(model)
    layers = list(all_layers(model))
    shapes = [tuple(tensor.shape)[1:] for tensor in listed(model.inputs)]
    unknown_length = any(shape[:1] == (None,) and None not in shape[1:] for shape in shapes)
    leading = 2 if unknown_length or any(_is_over_time(layer) for layer in layers) else 1
    lengths = {shape[0] for shape in shapes} - {None} if leading == 2 else set()
    time = Time(lengths.pop() if len(lengths) == 1 else None)
    channels_first = any(getattr(layer, "data_format", None) == "channels_first" for layer in layers)
    inputs = {}
    for tensor in listed(model.inputs):
        name, shape = history(tensor)[0].name, tuple(tensor.shape)[leading:]
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
        inputs[key(tensor)] = Tensor(
            builder.input(builder.unique(name), stored, layout.order), shape, leading, time=time
        )
    walk = KerasWalk(builder, NeuronModel("if"), leading)
    expressions = walk.model(outputs, inputs)
    first_frame = max(tensor.time.first for tensor in expressions)
    for output, tensor in zip(outputs, expressions, strict=True):
        name = history(output)[0].name
        if tensor.leading == 2 and max(tensor.time.every, tensor.time.pooled) > 1:
            walk.report(fewer_answers(tensor), history(output)[0])
        over_frames = tensor.over_time or ("each" if tensor.leading == 2 else "")
        if over_frames != "last" and tensor.time.first < first_frame:
            walk.report(other_frames(tensor, first_frame), history(output)[0])
        builder.readout(
            *(name, tensor.affine, tensor.shape, tensor.host),
            *(output_type(output), over_frames, first_frame),
        )
    return walk


def rescaling(model: Any) -> float:
    """What a model of one input multiplies samples by, before anything else: 1 where it does not do so.

    In a layer `Rescaling` or `Normalization`; the median, where elements have a factor each.
    """
    own = (layer for layer in all_layers(model) if not is_model(layer) and type_name(layer) not in SAME_RANGE)
    first: Any = next(own, None)
    if type_name(first) == "TimeDistributed":
        first = first.layer
    if len(listed(model.inputs)) > 1 or type_name(first) not in ("Normalization", "Rescaling"):
        return 1.0
    if type_name(first) == "Rescaling":
        return float(np.median(np.abs(values(first.scale))))
    deviation = float(np.median(deviations(first)))
    return deviation if getattr(first, "invert", False) else 1 / deviation


def _is_over_time(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras_spiking") or type_name(layer) in OVER_TIME_ONLY


class KerasWalk:
    """Evaluates a model layer by layer on affine expressions.

    Attributes
    ----------
    leading : int
        Axes in front of a frame's, or a sample's, own: 2 in models over time.
    sites : dict from path to (name, order)
        Which call of which layer (within which calls of nested models) made each population, and how it is stored.
    read_last : set of str
        Populations behind a last step: the model has what they say at the last frame only.
    times : dict of Time
        At which frames the model has what populations say, by name.
    """

    def __init__(self, builder: GraphBuilder, neuron: NeuronModel, leading: int = 1) -> None:
        self.builder = builder
        self.leading = leading
        self.neuron = neuron
        self.sites: dict[Path, tuple[str, NDArray[np.intp] | None]] = {}
        self.read_last: set[str] = set()
        self.times: dict[str, Time] = {}
        self._owners: list[Any] = []
        self._traced: list[Any] = []  # kept alive, since keys are their ids

    def model(self, outputs: list[Any], known: dict[Key, Tensor], path: Path = ()) -> list[Tensor]:
        """Expressions of `outputs`, given those of the model's inputs."""
        for layer, node in calls(outputs, set(known)):
            tensors = [known[key(tensor)] for tensor in node_inputs(node)]
            results = self.call(layer, node, tensors, path)
            known.update(zip(map(key, listed(node.outputs)), results, strict=True))
        return [known[key(output)] for output in outputs]

    def call(self, layer: Any, node: Any, tensors: list[Tensor], path: Path) -> list[Tensor]:
        """Expressions of one call's outputs."""
        path = (*path, key(listed(node.outputs)[0]))
        if is_model(layer):
            inputs = dict(zip(map(key, listed(layer.inputs)), tensors, strict=True))
            return self.model(model_outputs(layer), inputs, path)
        if is_code(layer):
            return self.traced(layer, node, tensors, path)
        if type_name(layer) == "TimeDistributed" and is_model(layer.layer):
            per_step = [replace(tensor, leading=1) for tensor in in_time(layer, tensors, self.builder)]
            inner = dict(zip(map(key, listed(layer.layer.inputs)), per_step, strict=True))
            made = self.model(model_outputs(layer.layer), inner, path)
            return [replace(tensor, leading=2) for tensor in made]
        tensors = [self.followed(tensor, layer) for tensor in tensors]
        try:
            return [self.activated(tensor, layer, path) for tensor in self.linear(layer, node, tensors)]
        except UnsupportedLayerError as reason:
            self.report(reason, layer)
        except InputError as error:
            where = f"layer {layer.name!r} ({type(layer).__name__})"
            self.builder.problems.extend(replace(problem, where=where) for problem in error.problems)
        return [_unknown(output, tensors) for output in listed(node.outputs)]

    def traced(self, layer: Any, node: Any, tensors: list[Tensor], path: Path) -> list[Tensor]:
        """Expressions of the outputs of a layer of the user's own, from the functions that it calls."""
        try:
            inputs, outputs = trace(layer, node)
        except UnsupportedLayerError as reason:
            self.report(reason, layer)
            return [_unknown(output, tensors) for output in listed(node.outputs)]
        self._traced.append((inputs, outputs))
        self._owners.append(layer)
        made = self.model(outputs, dict(zip(map(key, inputs), tensors, strict=True)), path)
        self._owners.pop()
        return made

    def report(self, reason: UnsupportedLayerError, layer: Any) -> None:
        """Keep what is wrong with a layer, once."""
        problem = reason.problem(self._owners[0] if self._owners else layer)
        if problem not in self.builder.problems:
            self.builder.problems.append(problem)

    def followed(self, tensor: Tensor, layer: Any) -> Tensor:
        """A tensor that `layer` is applied to: what the host computes at the end cannot stand before it."""
        if tensor.host == "linear" or _may_follow(tensor.host, layer):
            return tensor
        reason = UnsupportedLayerError(
            "the activation has no spiking counterpart, and outside the chip it is computed at the end only",
            tensor.host,
            f"{RELU_REMEDY}, and {tensor.host} in the last layer only",
        )
        self.report(reason, tensor.host_layer)
        return replace(tensor, host="linear")

    def activated(self, tensor: Tensor, layer: Any, path: Path) -> Tensor:
        """A layer's output behind its activation."""
        n_populations = len(self.builder.populations)
        # functions in a layer of the user's own have names that are counted anew in every trace
        is_function = bool(symbol(layer)) or not hasattr(layer, "weights")
        owner = self._owners[0] if self._owners and is_function else layer
        if activation_name(tensor.activation) != "linear" or tensor.windows is not None:
            tensor = settled(layer, tensor, self.builder)
        tensor = activated(tensor, layer, self.builder, self.neuron, owner.name)
        for name in self.builder.populations[n_populations:]:
            self.sites[path] = (name, tensor.affine.order)
            self.times[name] = tensor.time
            if tensor.over_time:
                self.read_last.add(name)
        return tensor

    def linear(self, layer: Any, node: Any, tensors: list[Tensor]) -> list[Tensor]:
        """What a layer computes before its activation."""
        name, function = type_name(layer), symbol(layer)
        if any(tensor.pieces for tensor in tensors) and operation_name(function) not in ("sum", "mean"):
            raise UnsupportedLayerError(
                "tensors stacked in front of the batch can only be summed over",
                remedy="Stack along another axis",
            )
        if not function and name not in (HANDLERS if tensors[0].leading == 1 else HANDLERS | OVER_FRAMES):
            raise refusal(layer)
        over_time = tensors[0].leading == 2
        if over_time:
            tensors = in_time(layer, tensors, self.builder)
        if function:
            made = applied_operation(layer, node, tensors)
        elif over_time and name in OVER_FRAMES:
            made = [OVER_FRAMES[name](layer, tensors, self.builder)]
        elif over_time and name not in OVER_TIME:
            raise mixes_steps(name)
        else:
            made = [HANDLERS[name](layer, tensors)]
        for tensor in made if over_time else []:
            if tensor.over_time == "last" and tensor.time.every > 1:
                self.builder.n_frames = tensor.time.n_frames
        return made


def mixes_steps(name: str) -> UnsupportedLayerError:
    """Why a layer that looks at several steps cannot be converted."""
    if name in ("GlobalMaxPooling1D", "MaxPooling1D"):
        remedy = "Use GlobalAveragePooling1D, and train the network on"
    elif name.endswith("1D"):
        remedy = "Use Conv1D(padding='causal') over time, and AveragePooling1D"
    else:
        remedy = "Wrap it in TimeDistributed"
    return UnsupportedLayerError("the layer mixes the steps of a sequence", name, remedy)


def _may_follow(activation: str, layer: Any) -> bool:
    """Whether a layer may stand behind an activation of the host, since it would do the same before it."""
    name = type_name(layer)
    moves = name in MOVING_LAYERS or operation_name(symbol(layer)) in MOVING
    return name in UNCHANGED or (activation != "softmax" and moves)


def _unknown(output: Any, tensors: list[Tensor]) -> Tensor:
    """A stand-in of the right shape behind a refused layer, so that the layers after it are looked at too."""
    leading, time = tensors[0].leading, Time(tensors[0].time.n_frames)
    shape = tuple(int(n or 1) for n in tuple(output.shape)[leading:])
    return Tensor(Affine({}, np.zeros(prod(shape)), stored_shape(shape)), shape, leading, time=time)
