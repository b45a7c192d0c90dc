"""From a rate network to one that is trained with the chip's neurons: the same weights, other activations."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.frontends.chip_activations import chip_activation_class
from loihi_deploy.frontends.keras_graph import calls, history, is_model, key, model_outputs, node_inputs
from loihi_deploy.frontends.keras_layers import activation_name, type_name
from loihi_deploy.options import Percentile
from loihi_deploy.training.onchip import kernel, on_chip
from loihi_deploy.training.trainable import keras_with, samples_of

NORMALIZATIONS = ("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization")
DROPOUTS = (
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
)
LARGEST = 1.5
"""Input, in thresholds per step, that the fast neurons of a layer are scaled to; chosen by experiment."""


def folded(model: Any) -> Any:
    """Fold batch normalization into the convolution or dense layer before it, and leave dropout out.

    What a batch norm follows directly gets its factor and offset; what is left of it, and of dropout, is an activation
    that does nothing. The network computes the same.

    Parameters
    ----------
    model : Keras model
        Of Keras 3 or legacy Keras, without nested models.

    Returns
    -------
    Keras model
        A new one, not compiled.

    Raises
    ------
    InputError
        Naming batch norms that cannot be folded: behind something else, or behind a layer that something else reads.
    """
    keras = keras_with(model)
    readers: dict[int, list[Any]] = {}
    before: dict[int, Any] = {}
    for layer, node in calls(model_outputs(model), {key(tensor) for tensor in model.inputs}):
        for tensor in node_inputs(node):
            readers.setdefault(id(history(tensor)[0]), []).append(layer)
            before[id(layer)] = history(tensor)[0]
    norms = {id(layer): layer for layer in model.layers if type_name(layer) in NORMALIZATIONS}
    problems, norm_of = [], {}
    for norm in norms.values():
        source = before[id(norm)]
        plain = kernel(source) is not None and activation_name(source.activation) == "linear"
        if plain and len(readers[id(source)]) == 1 and len(source._inbound_nodes) == 1:
            norm_of[id(source)] = norm
        else:
            problems.append(
                Problem(
                    "batch normalization that no weights can take up",
                    f"layer {norm.name!r}",
                    f"behind {source.name!r}",
                    "right behind a convolution or a dense layer without activation, which nothing else reads",
                    "Move it there, or train without it",
                )
            )
    nested = [layer for layer in model.layers if is_model(layer)]
    problems += [
        Problem("a model within the model", layer.name, remedy="Put its layers in its place")
        for layer in nested
    ]
    if problems:
        raise InputError("Cannot fold the model's batch normalization", problems)

    def rebuilt(layer: Any) -> Any:
        if id(layer) in norms or type_name(layer) in DROPOUTS:
            return keras.layers.Activation("linear", name=layer.name)
        config = layer.get_config()
        if id(layer) in norm_of:
            config["use_bias"] = True
        return type(layer).from_config(config)

    made = keras.models.clone_model(model, clone_function=rebuilt)
    for old in model.layers:
        new = made.get_layer(old.name)
        if id(old) in norm_of:
            new.set_weights(_folded(old, norm_of[id(old)]))
        elif old.weights and id(old) not in norms and type_name(old) not in DROPOUTS:
            new.set_weights(old.get_weights())
    return made


def _folded(layer: Any, norm: Any) -> list[NDArray[Any]]:
    """Weights of a layer that does what it and the batch norm behind it do."""
    values = {name: np.asarray(getattr(norm, f"moving_{name}").numpy()) for name in ("mean", "variance")}
    gamma = np.asarray(norm.gamma.numpy()) if norm.scale else np.ones_like(values["mean"])
    beta = np.asarray(norm.beta.numpy()) if norm.center else np.zeros_like(values["mean"])
    factor = gamma / np.sqrt(values["variance"] + norm.epsilon)
    weights = np.asarray(kernel(layer).numpy())
    bias = np.asarray(layer.bias.numpy()) if layer.use_bias else np.zeros_like(factor)
    shape = (*weights.shape[2:], 1, 1) if "Depthwise" in type_name(layer) else ()
    each = factor.reshape(weights.shape[2:]) if shape else factor
    return [weights * each, beta + factor * (bias - values["mean"])]


@checked
def with_chip_neurons(
    model: Any,
    x: Any,
    *,
    encoder: str = "auto",
    levels: Annotated[int, Range(0, 2**16)] = 32,
    percentile: Percentile = 99.9,
    largest: Annotated[float, Range(1e-6, 1e6)] = LARGEST,
    noise: Annotated[float, Range(0.0, 1e6)] = 0.0,
) -> Any:
    """Put the chip's neurons, with the 'mean' curve of `ChipActivation`, in the place of the ReLUs on chip.

    Each layer's scale is such that a percentile of its activities on samples is `largest` spikes per step for neurons
    without limit.

    Parameters
    ----------
    model : Keras model
        With ReLU activations; see `folded`.
    x : (n, *input_shape) array
        Some hundred samples.
    encoder : str
        As for `partition`: neurons on the host stay what they are.
    levels, noise
        As for `ChipActivation`.
    percentile : float
        0..100, of activities above 0.
    largest : float
        Spikes per step.

    Returns
    -------
    Keras model
        A new one with the same weights, not compiled.

    Raises
    ------
    ConversionError
        If the model cannot be put on chip.
    InputError
        If a layer on chip is silent on the samples.
    """
    keras = keras_with(model)
    _, populations = on_chip(model, encoder)
    x = samples_of(model, x)
    watch = keras.Model(model.inputs[0], [population.tensor for population in populations])
    rows = [watch(np.asarray(x[i : i + 100], np.float32), training=False) for i in range(0, len(x), 100)]
    scales: dict[int, float] = {}
    silent = []
    for index, population in enumerate(populations):
        found = np.concatenate(
            [np.asarray(row[index] if isinstance(row, (list, tuple)) else row).ravel() for row in rows]
        )
        if not (found > 0).any():
            silent.append(Problem("never active on the samples", population.name))
            continue
        scale = largest / float(np.percentile(found[found > 0], percentile))
        scales[id(population.layer)] = min(scale, scales.get(id(population.layer), np.inf))
    if silent:
        raise InputError("Cannot set the scale of the chip's neurons", silent)
    chip_activation = chip_activation_class(keras)

    def rebuilt(layer: Any) -> Any:
        if id(layer) not in scales:
            return type(layer).from_config(layer.get_config())
        settings = {"scale": scales[id(layer)], "levels": levels, "noise": noise}
        if type_name(layer) in ("Activation", "ReLU"):
            return chip_activation(name=layer.name, **settings)
        config = layer.get_config() | {
            "activation": chip_activation(name=f"{layer.name}_neurons", **settings)
        }
        return type(layer).from_config(config)

    made = keras.models.clone_model(model, clone_function=rebuilt)
    for old in model.layers:
        if old.weights:
            made.get_layer(old.name).set_weights(old.get_weights())
    return made
