"""A model with layers that the chip has, in place of those that it has not: to be trained on."""

from __future__ import annotations

import sys
from typing import Any

from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.frontends.keras_graph import is_model, model_outputs
from loihi_deploy.frontends.keras_layers import activation_name, type_name

RECTIFIERS = ("ELU", "LeakyReLU", "PReLU", "ReLU", "ThresholdedReLU")
ACTIVATIONS = (
    "elu",
    "gelu",
    "hard_swish",
    "leaky_relu",
    "mish",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "swish",
)
"""Activations of hidden layers that a ReLU can take the place of."""


def with_chip_layers(model: Any) -> Any:
    """Rebuild a Keras model with average pooling for max pooling, and ReLU for ReLU6 and its kin.

    It has the same weights, and computes something else: train it for some epochs, at a low learning rate, before it is
    deployed. A maximum and a bound are what synapses and integrate-and-fire neurons cannot compute.

    Parameters
    ----------
    model : Keras model
        Functional or sequential, of Keras 3 or of legacy Keras.

    Returns
    -------
    Keras model
        A new one, not compiled; `model` stays as it is.

    Raises
    ------
    InputError
        If it is no Keras model.
    ConversionError
        If its layers cannot be made again, as those of a subclassed model.
    """
    keras = keras_of(model)
    if keras is None:
        remedy = "Give the model itself; loihi_deploy.frontends.opened(path) reads one from a file"
        raise InputError.single("not a Keras model", "model", type(model).__name__, remedy=remedy)
    model_outputs(model)
    pairs: list[tuple[Any, Any]] = []

    def rebuilt(layer: Any) -> Any:
        if is_model(layer):
            return keras.models.clone_model(layer, clone_function=rebuilt)
        pairs.append((layer, _for_chip(keras, layer)))
        return pairs[-1][1]

    try:
        made = keras.models.clone_model(model, clone_function=rebuilt)
    except (TypeError, ValueError) as error:
        raise ConversionError(
            f"Cannot rebuild Keras model {model.name!r}",
            Problem("a layer cannot be made again", value=str(error), remedy="Use layers that Keras defines"),
        ) from error
    for old, new in pairs:
        if type(old) is type(new) and getattr(old, "weights", None):
            new.set_weights(old.get_weights())
    return made


def keras_of(model: Any) -> Any:
    """The Keras that a model is one of; None if it is none."""
    for kind in type(model).__mro__:
        keras = sys.modules.get(kind.__module__.partition(".")[0])
        if keras is not None and kind is getattr(keras, "Model", None):
            return keras
    return None


def _for_chip(keras: Any, layer: Any) -> Any:
    """A layer of the same name and weights, of a kind that the chip has."""
    name, config = type_name(layer), layer.get_config()
    if "MaxPooling" in name:
        return getattr(keras.layers, name.replace("Max", "Average")).from_config(config)
    if name in RECTIFIERS:
        return keras.layers.ReLU(name=layer.name)
    if activation_name(getattr(layer, "activation", None)) in ACTIVATIONS:
        config["activation"] = "relu"
    return type(layer).from_config(config)
