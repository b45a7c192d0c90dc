"""Networks in ONNX: chains and branches of linear operators, ReLU and pooling.

Every operator has the meaning of https://onnx.ai/onnx/operators. A maximum is made of rectified lines, which are what
the chip has: ``max(a, b) = a + relu(b - a)``, a window of n values with n - 1 of them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import ConversionError, InputError, Problem, missing_extra
from loihi_deploy.frontends.affine import Affine, GraphBuilder, add
from loihi_deploy.frontends.channels_first import (
    UnsupportedError,
    Value,
    depthwise,
    image_of,
    imaged,
    multiplied,
    order_of,
    with_constant,
)
from loihi_deploy.ir import Conv2D, Graph, NeuronModel, Shape, Sparse, linear
from loihi_deploy.options import DeployOptions

DAMAGED = "Export the model again"
REBUILD = "Export the network with operators of these: "


def import_onnx(feature: str = "Reading an ONNX model") -> Any:
    """Import the package onnx.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise missing_extra("onnx", feature, "onnx") from error


def load_onnx(path: str | os.PathLike[str]) -> Any:
    """Read a model; nothing of it runs, and no other file is read for it.

    Parameters
    ----------
    path : path

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ConversionError
        If it is damaged, or keeps its weights in other files.
    MissingExtraError
        If the package onnx is not installed.
    """
    onnx = import_onnx()
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    where = os.fspath(path)
    try:
        model = onnx.load(where, load_external_data=False)
    except (decode_error, OSError, ValueError) as error:
        problem = Problem("damaged, or no ONNX model", where, str(error)[:200], remedy=DAMAGED)
        raise ConversionError("The file cannot be read", problem) from error
    if not model.graph.node or not model.graph.output:
        raise ConversionError("The file cannot be read", Problem("no network", where, remedy=DAMAGED))
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == 1]
    if outside:
        problem = Problem(
            "weights that are kept in another file",
            ", ".join(outside)[:100],
            remedy="Save it as one file: onnx.save(model, path) after onnx.load(path)",
        )
        raise ConversionError("The file holds no whole model", problem)
    return model


def onnx_input_shapes(model: Any) -> dict[str, Shape]:
    """Shapes of a sample by the names of the inputs, channels first."""
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = {}
    for value in model.graph.input:
        if value.name not in constants:
            dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
            if not dims or min(dims) < 1 or len(dims) not in (1, 3):
                raise ConversionError.single(
                    "an input whose samples are neither vectors nor images of a fixed size",
                    value.name,
                    tuple(dims),
                    remedy="Export the model with a fixed input shape: (batch, n) or (batch, channels, height, width)",
                )
            shapes[value.name] = tuple(dims)
    return shapes


def convert_onnx(model: Any, options: DeployOptions) -> Graph:
    """Convert an ONNX model; see `loihi_deploy.frontends.convert`."""
    return _Walk(model, options).graph(options.dt)


def onnx_references(
    model: Any, graph: Graph, given: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, NDArray[Any]]] | None:
    """What the package's own evaluator gives for the outputs of samples (n, size), stored as the graph has them.

    None where it does not compute what the operators mean: before version 14 it normalizes batches as in training.
    """
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if min(versions, default=0) < 14 and any(
        node.op_type == "BatchNormalization" for node in model.graph.node
    ):
        return None
    return _evaluated(model, graph, given)


def _evaluated(
    model: Any, graph: Graph, given: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(model)
    feeds = {}
    for node in graph.origins:
        images = given[node.name].reshape(-1, *node.shape).astype(np.float32)
        feeds[node.name] = np.moveaxis(images, -1, 1) if node.channels_first else images
    samples = [
        evaluator.run(None, {name: values[i : i + 1] for name, values in feeds.items()})
        for i in range(len(next(iter(feeds.values()))))  # a model may be made for one sample at a time
    ]
    for number, readout in enumerate(graph.readouts):
        yield readout.name, np.concatenate([sample[number].reshape(1, -1) for sample in samples])


class _Walk:
    """The operators of a model, one after the other."""

    def __init__(self, model: Any, options: DeployOptions) -> None:
        onnx = import_onnx("Converting an ONNX model")
        self.model, self.builder = model, GraphBuilder(f"ONNX model {model.graph.name!r}", options.synapse)
        self.constants: dict[str, NDArray[Any]] = {}
        self.values: dict[str, Value] = {}
        self._attribute = onnx.helper.get_attribute_value
        self._array = onnx.numpy_helper.to_array
        for tensor in model.graph.initializer:
            self._keep(tensor.name, tensor)
        for name, shape in onnx_input_shapes(model).items():
            image = len(shape) == 3
            stored = (*shape[1:], shape[0]) if image else shape
            order = order_of(stored) if image else None
            self.values[name] = Value(self.builder.input(self.builder.unique(name), stored, order), shape)

    def _keep(self, name: str, tensor: Any) -> None:
        try:
            array = np.asarray(self._array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            problem = Problem("weights that do not fit their shape", name, str(error)[:100], remedy=DAMAGED)
            self.builder.problems.append(problem)
            return
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            self.builder.problems.append(Problem("weights are not finite", name, remedy=DAMAGED))
            return
        self.constants[name] = array

    def graph(self, dt: float) -> Graph:
        """Follow every operator, and give what the outputs are."""
        if not self.builder.problems:
            for node in self.model.graph.node:
                self._follow(node)
        for output in self.model.graph.output:
            value = self.values.get(output.name)
            if value is not None:
                self.builder.readout(output.name, value.affine, value.shape, value.activation)
            elif not self.builder.problems:
                self.builder.problems.append(
                    Problem("an output that nothing makes", output.name, remedy=DAMAGED)
                )
        return self.builder.graph(dt)

    def _follow(self, node: Any) -> None:
        """Keep what an operator makes, or what is wrong with it."""
        name = node.name or (node.output[0] if node.output else node.op_type)
        where = f"operator {name!r} ({node.op_type})"
        try:
            self._apply(node, name, where)
        except UnsupportedError as error:
            self.builder.problems.append(Problem(str(error), where, remedy=error.remedy))
        except (InputError, ValueError, IndexError, TypeError, KeyError) as error:
            detail = str(error).split("\n")[0][:200]
            self.builder.problems.append(
                Problem("settings and shapes do not fit", where, detail, remedy=DAMAGED)
            )

    def _apply(self, node: Any, name: str, where: str) -> None:
        attributes = {item.name: self._attribute(item) for item in node.attribute}
        names = [given for given in node.input if given]
        if node.op_type == "Constant" and "value" in attributes:
            self._keep(node.output[0], attributes["value"])
            return
        if all(given in self.constants for given in names) and node.op_type in _FOLDED and names:
            arrays = [self.constants[given] for given in names]
            self.constants[node.output[0]] = _FOLDED[node.op_type](arrays, attributes)
            return
        handler = _HANDLERS.get(node.op_type)
        if handler is None:
            self.builder.problems.append(
                Problem("an operator that is not read", where, remedy=REBUILD + ", ".join(sorted(_HANDLERS)))
            )
            return
        if not all(given in self.values or given in self.constants for given in names):
            return  # behind an operator that was refused
        given = [self.values.get(item, self.constants.get(item)) for item in names]
        if not isinstance(given[0], Value) and node.op_type not in ("Add", "Mul", "MatMul"):
            raise UnsupportedError("an operator on constants")
        for value in given:
            if isinstance(value, Value) and value.activation != "linear":
                raise UnsupportedError(
                    f"something behind {value.activation}, which the host computes at the end"
                )
        self.values[node.output[0]] = handler(self, name, given, attributes)

    def relu(self, name: str, affine: Affine) -> Affine:
        """Neurons whose rates are the rectified expression."""
        return self.builder.population(self.builder.unique(name), affine, NeuronModel("if"))


def _windows(value: Value, attributes: dict[str, Any], taps: Shape) -> tuple[Shape, Shape, Shape]:
    """Strides, zeros before, and size of the output, of windows of an image."""
    size = image_of(value)
    if attributes.get("ceil_mode"):
        raise UnsupportedError("ceil_mode")
    strides = tuple(attributes.get("strides") or (1, 1))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    pads = tuple(attributes.get("pads") or (0, 0, 0, 0))
    if len(strides) != 2 or len(pads) != 4 or len(taps) != 2 or min(strides) < 1 or min(pads) < 0:
        raise UnsupportedError("windows of other than two dimensions")
    if auto.startswith("SAME"):
        out = tuple(-(-size[axis] // strides[axis]) for axis in (0, 1))
        total = [max((out[a] - 1) * strides[a] + taps[a] - size[a], 0) for a in (0, 1)]
        return strides, tuple((n + (auto == "SAME_LOWER")) // 2 for n in total), out
    if auto == "VALID":
        pads = (0, 0, 0, 0)
    out = tuple((size[a] + pads[a] + pads[a + 2] - taps[a]) // strides[a] + 1 for a in (0, 1))
    return strides, pads[:2], out


def _conv(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value, weights, *rest = given
    height, width, channels = image_of(value)
    groups, rates = int(attributes.get("group", 1)), tuple(attributes.get("dilations") or (1, 1))
    extents = [(n - 1) * rate + 1 for n, rate in zip(weights.shape[2:], rates, strict=True)]
    if max(extents) > 1 << 12:
        raise UnsupportedError("a kernel wider than 4,096 pixels")
    kernel = np.zeros((*extents, *weights.shape[1::-1]))
    kernel[:: rates[0], :: rates[1]] = weights.transpose(2, 3, 1, 0)
    strides, pads, out = _windows(value, attributes, kernel.shape[:2])
    conv = Conv2D(
        kernel,
        (strides[0], strides[1]),
        (pads[0], pads[1]),
        (height, width, channels),
        (out[0], out[1], weights.shape[0]),
        groups,
    )
    made = imaged(value, conv)
    return made if not rest else with_constant(made, np.asarray(rest[0]).reshape(-1, 1, 1), shift=True)


def _gemm(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value, weights, *rest = given
    weights = np.asarray(weights, np.float64)
    if attributes.get("transA"):
        raise UnsupportedError("transA")
    made = multiplied(
        value, (weights if attributes.get("transB") else weights.T) * attributes.get("alpha", 1.0)
    )
    if not rest:
        return made
    return with_constant(
        made, np.asarray(rest[0], np.float64).ravel() * attributes.get("beta", 1.0), shift=True
    )


def _matmul(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    if not isinstance(given[0], Value) or isinstance(given[1], Value):
        raise UnsupportedError("a product of other than values with constant weights behind them")
    return multiplied(given[0], np.asarray(given[1], np.float64).T)


def _sum(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    values = [item for item in given if isinstance(item, Value)]
    shape, *others = {value.shape for value in values}
    if others:
        raise UnsupportedError("a sum of different shapes")
    made = Value(add(value.affine for value in values), shape)
    for constant in given:
        if not isinstance(constant, Value):
            made = with_constant(made, constant, shift=True)
    return made


def _product(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    values = [item for item in given if isinstance(item, Value)]
    constants = [item for item in given if not isinstance(item, Value)]
    if len(values) != 1 or len(constants) != 1:
        raise UnsupportedError("a product of two values that both depend on the input")
    return with_constant(values[0], constants[0], shift=False)


def _difference(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    other = given[1]
    negative = (
        Value(other.affine.scaled(-1.0), other.shape) if isinstance(other, Value) else -np.asarray(other)
    )
    return _sum(walk, name, [given[0], negative], attributes)


def _quotient(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    if isinstance(given[1], Value) or not np.all(given[1]):
        raise UnsupportedError("a division by values, or by 0")
    return with_constant(given[0], 1 / np.asarray(given[1], np.float64), shift=False)


def _relu(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    return Value(walk.relu(name, given[0].affine), given[0].shape, rectified=True)


def _average(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value = given[0]
    height, width, _ = image_of(value)
    taps = tuple(attributes["kernel_shape"]) if "kernel_shape" in attributes else (height, width)
    strides, pads, out = _windows(value, attributes, taps)
    padded = any(attributes.get("pads") or ()) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    if padded and not attributes.get("count_include_pad"):
        raise UnsupportedError("padding that is not counted")
    return imaged(value, depthwise(value, np.full(taps, 1 / prod(taps)), strides, pads, out), value.rectified)


def _maximum(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value = given[0]
    taps = tuple(attributes["kernel_shape"])
    if any(n != 1 for n in attributes.get("dilations") or ()):
        raise UnsupportedError("dilation")
    strides, pads, out = _windows(value, attributes, taps)
    size = image_of(value)
    inside = not any(pads) and all((out[a] - 1) * strides[a] + taps[a] <= size[a] for a in (0, 1))
    if not (inside or value.rectified):
        raise UnsupportedError("padding of values that can be below 0")
    parts = []
    for place in product(*map(range, taps)):
        chosen = np.zeros(taps)
        chosen[place] = 1
        parts.append(imaged(value, depthwise(value, chosen, strides, pads, out)).affine)
    while len(parts) > 1:  # in rounds, so that few stand behind each other
        pairs = [
            add([first, walk.relu(name, add([second, first.scaled(-1.0)]))])
            for first, second in zip(parts[::2], parts[1::2], strict=False)
        ]
        parts = pairs + parts[2 * len(pairs) :]
    return Value(parts[0], (value.shape[0], out[0], out[1]), value.rectified)


def _normalized(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value, scale, bias, mean, variance = given
    factor = np.asarray(scale, np.float64) / np.sqrt(
        np.asarray(variance, np.float64) + attributes.get("epsilon", 1e-5)
    )
    axes = (-1,) + (1,) * (len(value.shape) - 1)
    scaled = with_constant(value, factor.reshape(axes), shift=False)
    return with_constant(scaled, (bias - mean * factor).reshape(axes), shift=True)


def _flattened(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value = given[0]
    if attributes.get("axis", 1) != 1:
        raise UnsupportedError("flattening into the batch")
    return Value(value.affine, (prod(value.shape),), value.rectified)


def _reshaped(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    value = given[0]
    wanted = tuple(int(n) for n in np.asarray(given[1]).ravel()[1:])
    size = prod(value.shape)
    if wanted == value.shape or (len(wanted) == 1 and wanted[0] in (-1, size)):
        return Value(value.affine, value.shape if wanted == value.shape else (size,), value.rectified)
    raise UnsupportedError(f"a new shape other than one axis: {wanted}")


def _concatenated(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    rest, *others = {item.shape[1:] for item in given}
    if others or attributes.get("axis") not in (1, -1 - len(rest)):
        raise UnsupportedError("joining along other than the channels")
    shape = (sum(item.shape[0] for item in given), *rest)
    stored = (*rest, shape[0])
    order = order_of(stored) if rest else None
    size, first, parts = prod(shape), 0, []
    for item in given:
        here = np.arange(item.affine.size) if item.affine.order is None else item.affine.order
        there = np.arange(first, first + len(here))
        there = there if order is None else order[there]
        placed = Sparse.from_entries(there, here, np.ones(len(here)), (size, len(here)))
        moved = linear.as_convolution(placed, item.affine.shape, stored) or placed if rest else placed
        parts.append(item.affine.mapped(moved, stored, order))
        first += len(here)
    return Value(add(parts), shape, all(item.rectified for item in given))


def _same(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
    return given[0]  # type: ignore[no-any-return]


def _activated(kind: str) -> Callable[..., Value]:
    def handler(walk: _Walk, name: str, given: Sequence[Any], attributes: dict[str, Any]) -> Value:
        if kind == "softmax" and (attributes.get("axis", -1) not in (-1, 1) or len(given[0].shape) != 1):
            raise UnsupportedError("softmax along other than the last axis of vectors")
        return Value(given[0].affine, given[0].shape, False, kind)

    return handler


_HANDLERS: dict[str, Callable[..., Value]] = {
    "Add": _sum,
    "AveragePool": _average,
    "BatchNormalization": _normalized,
    "Concat": _concatenated,
    "Conv": _conv,
    "Div": _quotient,
    "Dropout": _same,
    "Flatten": _flattened,
    "Gemm": _gemm,
    "GlobalAveragePool": _average,
    "Identity": _same,
    "MatMul": _matmul,
    "MaxPool": _maximum,
    "Mul": _product,
    "Relu": _relu,
    "Reshape": _reshaped,
    "Sigmoid": _activated("sigmoid"),
    "Softmax": _activated("softmax"),
    "Sub": _difference,
    "Tanh": _activated("tanh"),
}
_FOLDED: dict[str, Callable[..., NDArray[Any]]] = {
    "Identity": lambda arrays, attributes: arrays[0],
    "Reshape": lambda arrays, attributes: arrays[0].reshape(arrays[1].astype(int)),
    "Transpose": lambda arrays, attributes: arrays[0].transpose(attributes.get("perm")),
}
