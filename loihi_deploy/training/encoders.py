"""A layer that learns how to turn real values into spikes."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.frontends.compat import import_tensorflow
from loihi_deploy.frontends.saved_models import signs_class

NAME = "encoder"
MOST_FILTERS = 2**16
Seed = Annotated[int, Range(0, 2**31)]


@checked
def with_encoder(model: Any, filters: int = 2, signed: bool = False, seed: Seed = 0) -> Any:
    """Put a 1x1 convolution, to be trained and to run on the host, in front of a Keras model for images.

    Deployed with ``encoder='auto'`` or 'first_layer', its neurons turn pixels into spikes, and every layer of `model`
    stays on chip.

    Parameters
    ----------
    model : tf.keras.Model
        With one input, (height, width, channels). What the encoder gives has another number of channels, so the model
        is built again, with new weights.
    filters : int
        Neurons for each pixel. For colours nengo-loihi's example takes 4; 6 could be an on and an off neuron for each
        channel.
    signed : bool
        Weights are +1 and -1, so that the host only adds: the gain of the firing rates goes into the threshold. As
        many different patterns of signs as there are, each followed by its opposite. They stay as they are; what each
        filter learns is its bias.
    seed : int
        Of the first values of the biases, with `signed`; Keras draws all others.

    Returns
    -------
    tf.keras.Model
        Not compiled.

    Raises
    ------
    InputError
        If the model has several inputs, or no images as input, or if there is not at least one filter.
    MissingExtraError
        If TensorFlow is not installed.
    """
    tf = import_tensorflow("Building a Keras model")
    problems = []
    inputs = getattr(model, "inputs", None) or []
    shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        found = ", ".join(map(str, shapes)) or "a model that is not built"
        problems.append(
            Problem("an encoder needs one input of images", "model", found, "(height, width, channels)")
        )
    if not 1 <= filters <= MOST_FILTERS:
        problems.append(Problem("not a number of filters", "filters", filters, f"1 to {MOST_FILTERS}"))
    if problems:
        raise InputError("Cannot put an encoder in front", problems)
    keras = tf.keras
    (shape,) = shapes
    options: dict[str, Any] = {}
    if signed:
        rng = np.random.default_rng(seed)
        options = {
            "kernel_initializer": keras.initializers.Constant(_signs(shape[2], filters)),
            "kernel_constraint": signs_class()(),
            "bias_initializer": keras.initializers.Constant(rng.uniform(-0.5, 0.5, filters)),
        }
    encoder = keras.layers.Conv2D(filters, 1, activation="relu", name=NAME, **options)
    rest = type(model).from_config(_with_channels(model, filters))
    return keras.Sequential([keras.layers.Input(shape, name=inputs[0].name), encoder, rest])


def _signs(channels: int, filters: int) -> NDArray[np.float32]:
    """A kernel (1, 1, channels, filters) of signs: each pattern next to its opposite, then all of them again."""
    halves = [(1, *rest) for rest in product((1, -1), repeat=channels - 1)]
    patterns = [pattern for half in halves for pattern in (half, tuple(-sign for sign in half))]
    return np.array([patterns[i % len(patterns)] for i in range(filters)], np.float32).T[None, None]


def _with_channels(model: Any, channels: int) -> dict[str, Any]:
    """The model's configuration for inputs of another number of channels."""
    config: dict[str, Any] = model.get_config()
    config.pop("build_input_shape", None)
    for layer in config["layers"]:
        if "batch_input_shape" in layer["config"]:
            layer["config"]["batch_input_shape"] = (*layer["config"]["batch_input_shape"][:3], channels)
    return config
