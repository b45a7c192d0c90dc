"""What each Keras layer is as an affine map: one function for each, by the layer's type name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder
from loihi_deploy.graph import Conv2D, Dense, NeuronModel, Shape, linear


@dataclass(frozen=True)
class Tensor:
    """A Keras tensor: an affine expression and its shape without the batch axis.

    Parameters
    ----------
    affine : Affine
    shape : tuple of int
        As Keras has it.
    softmax : bool
        Whether a softmax stands behind the expression.
    activation : callable or None
        An activation that is still to be applied.
    """

    affine: Affine
    shape: Shape
    softmax: bool = False
    activation: Any = None


class UnsupportedLayerError(Exception):
    """A layer that cannot be converted: why, and what to use instead."""

    def __init__(self, what: str, value: object = None, remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.value, self.remedy = what, value, remedy

    def problem(self, layer: Any) -> Problem:
        """What is reported about the layer."""
        where = f"layer {layer.name!r} ({type(layer).__name__})"
        return Problem(self.what, where, self.value, remedy=self.remedy)


Handler = Callable[[Any, list[Tensor]], Tensor]


def values(variable: Any) -> NDArray[np.float64]:
    """A variable's value."""
    return np.asarray(variable, np.float64)


def type_name(layer: Any) -> str:
    """The type of a layer that Keras defines itself; '' for others: a subclass may compute something else."""
    package = type(layer).__module__.partition(".")[0]
    return type(layer).__name__ if package in ("keras", "tf_keras", "keras_spiking", "tensorflow") else ""


def activation_name(activation: Any) -> str:
    """``'relu'`` for any of Keras' ways to say so; ``'linear'`` for none."""
    return "linear" if activation is None else str(getattr(activation, "__name__", activation))


def is_softmax(function: Any) -> bool:
    """Whether a function or layer computes nothing but a softmax of a vector."""
    if type_name(function) in ("Activation", "Softmax"):
        return type_name(function) == "Softmax" or activation_name(function.activation) == "softmax"
    return activation_name(function).startswith("softmax")


def spiking(tensor: Tensor, layer: Any, builder: GraphBuilder, neuron: NeuronModel) -> Tensor:
    """Apply the pending activation of a tensor."""
    name = activation_name(tensor.activation)
    plain = replace(tensor, activation=None)
    if name == "linear":
        return plain
    if name == "softmax":
        if len(tensor.shape) != 1:
            raise UnsupportedLayerError(
                "softmax of an image", tensor.shape, "Apply softmax to a vector, at the end"
            )
        return replace(plain, softmax=True)
    if name == "relu":
        return replace(plain, affine=builder.population(builder.unique(layer.name), tensor.affine, neuron))
    raise UnsupportedLayerError(
        "the activation has no spiking counterpart", name, "Train the network with ReLU in this place"
    )


def _dense(layer: Any, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    kernel = values(layer.kernel)
    shape = (*x.shape[:-1], kernel.shape[1])
    affine = x.affine.ordered(None, x.affine.shape)
    if len(x.shape) == 1:
        affine = affine.mapped(Dense(kernel.T), shape)
    else:
        affine = affine.mapped(linear.pointwise(kernel.T, x.shape), linear.image_shape(shape))
    if layer.use_bias:
        affine = affine.shifted(np.tile(values(layer.bias), affine.size // kernel.shape[1]))
    return Tensor(affine, shape, activation=layer.activation)


def _conv2d(layer: Any, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    if layer.data_format != "channels_last":
        raise UnsupportedLayerError("channels_first", layer.data_format, "Use channels_last")
    if tuple(layer.dilation_rate) != (1, 1) or layer.groups != 1:
        raise UnsupportedLayerError("dilation and groups", layer.groups, "Use plain convolutions")
    kernel = values(layer.kernel)
    height, width, channels = x.shape
    strides = tuple(layer.strides)
    out_hw, padding = [], []
    for size, taps, stride in zip((height, width), kernel.shape[:2], strides, strict=True):
        if layer.padding == "same":
            out = -(-size // stride)
            padding.append(max((out - 1) * stride + taps - size, 0) // 2)
        else:
            out = (size - taps) // stride + 1
            padding.append(0)
        out_hw.append(out)
    shape = (out_hw[0], out_hw[1], kernel.shape[3])
    conv = Conv2D(kernel, strides, (padding[0], padding[1]), (height, width, channels), shape)
    affine = x.affine.ordered(None, (height, width, channels)).mapped(conv, shape)
    if layer.use_bias:
        affine = affine.shifted(np.tile(values(layer.bias), shape[0] * shape[1]))
    return Tensor(affine, shape, activation=layer.activation)


def _activation(layer: Any, inputs: list[Tensor]) -> Tensor:
    return replace(inputs[0], activation=layer.activation)


def _relu(layer: Any, inputs: list[Tensor]) -> Tensor:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise UnsupportedLayerError("only the plain rectifier has a spiking counterpart", remedy="Use ReLU()")

    def relu() -> None: ...

    return replace(inputs[0], activation=relu)


def _softmax(layer: Any, inputs: list[Tensor]) -> Tensor:
    if layer.axis != -1 or len(inputs[0].shape) != 1:
        raise UnsupportedLayerError(
            "softmax of an image", inputs[0].shape, "Apply softmax to a vector, at the end"
        )
    return replace(inputs[0], softmax=True)


def _flatten(layer: Any, inputs: list[Tensor]) -> Tensor:
    return replace(inputs[0], shape=(inputs[0].affine.size,))


def _same(layer: Any, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


HANDLERS: dict[str, Handler] = {
    "Activation": _activation,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "Dropout": _same,
    "Flatten": _flatten,
    "ReLU": _relu,
    "Softmax": _softmax,
}
