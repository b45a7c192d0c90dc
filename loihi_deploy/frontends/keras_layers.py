"""What each Keras layer is as an affine map: one function for each, by the layer's type name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine, GraphBuilder
from loihi_deploy.frontends.keras_ops import symbol
from loihi_deploy.frontends.keras_windows import (
    average_pooling,
    channels_last,
    conv,
    conv_transpose,
    depthwise_conv,
    global_average_pooling,
    global_max_pooling,
    max_pooling,
    separable_conv,
    sizes,
    spatial_part,
    values,
)
from loihi_deploy.frontends.layouts import image_layout
from loihi_deploy.frontends.resampling import resampled
from loihi_deploy.frontends.tensors import (
    HostActivation,
    Saturating,
    Tensor,
    UnsupportedLayerError,
    concatenated,
    contracted,
    elementwise,
    last_step,
    moved,
    summed,
)
from loihi_deploy.ir import NeuronModel, linear

Handler = Callable[[Any, list[Tensor]], Tensor]

FRAMEWORKS = ("keras", "keras_lmu", "tf_keras", "keras_spiking", "tensorflow", "loihi_deploy")
RELU_REMEDY = "Train the network with ReLU in this place"
SWAP_REMEDY = (
    "loihi_deploy.training.with_chip_layers(model) puts average pooling and ReLU in their place, with the same weights:"
    " train it on for some epochs"
)


def type_name(layer: Any) -> str:
    """The type of a layer that Keras defines itself; '' for others: a subclass may compute something else."""
    return type(layer).__name__ if _package(type(layer)) in FRAMEWORKS else ""


def _package(definition: Any) -> str:
    return str(getattr(definition, "__module__", "")).partition(".")[0]


def activation_name(activation: Any) -> str:
    """``'relu'`` for any of Keras' ways to say so; ``'linear'`` for none."""
    if activation is None or isinstance(activation, str):
        return activation or "linear"
    if isinstance(activation, Saturating):
        return f"relu up to {activation.high:g}"
    if type_name(activation) == "ReLU" and _is_plain(activation):
        return "relu"
    name = str(getattr(activation, "__name__", type(activation).__name__))
    return name if _package(activation) in FRAMEWORKS else f"{name} (not of Keras)"


def is_softmax(function: Any) -> bool:
    """Whether a function or layer computes nothing but a softmax of a vector."""
    if type_name(function) in ("Activation", "Softmax"):
        return type_name(function) == "Softmax" or activation_name(function.activation) == "softmax"
    return activation_name(function).startswith("softmax")


def activated(tensor: Tensor, layer: Any, builder: GraphBuilder, neuron: NeuronModel, name: str) -> Tensor:
    """Apply the pending activation, or maximum, of a layer's tensor; `name` is that of the neurons."""
    if tensor.windows is not None:
        return _pooled_by_host(tensor, layer, builder, name)
    plain = replace(tensor, activation=None)
    if isinstance(tensor.activation, Saturating):
        return _held(plain, tensor.activation.high, layer, builder, name)
    gain, amplitude = 1.0, 1.0
    kind = activation_name(tensor.activation)
    if hasattr(tensor.activation, "chip_neuron"):
        kind = "relu"
        neuron, gain, amplitude = tensor.activation.chip_neuron()
    if kind == "linear":
        return plain
    if kind in ("softmax", "softmax_v2", "sigmoid", "tanh"):
        known: dict[str, HostActivation] = {"sigmoid": "sigmoid", "tanh": "tanh"}
        return replace(plain, host=known.get(kind, "softmax"), host_layer=layer)
    if kind == "relu6":
        return _held(plain, 6.0, layer, builder, name)
    if kind != "relu":
        remedy = RELU_REMEDY + "; at the end, use a linear output and a loss with from_logits=True"
        raise UnsupportedLayerError("the activation has no spiking counterpart", kind, remedy)
    if tensor.over_time == "mean":
        raise UnsupportedLayerError(
            "neurons behind an average over time",
            remedy="Average the outputs over time at the end of the network only",
        )
    currents = tensor.affine
    if currents.order is None and len(tensor.shape) > 1:
        currents = currents.ordered(None, linear.image_shape(tensor.shape))
    name = builder.unique(name)
    affine = builder.population(name, currents, neuron, gain, 0.0, amplitude)
    if tensor.coming_back is not None:
        builder.coming_back(name, linear.as_matrix(tensor.coming_back), tensor.time.every)
    return replace(plain, affine=affine, coming_back=None)


def _held(tensor: Tensor, high: float, layer: Any, builder: GraphBuilder, name: str) -> Tensor:
    """A rectifier that saturates: computed by the host, where nothing but the input stands before it."""
    if builder.input_of(tensor.affine) is None or tensor.over_time:
        raise UnsupportedLayerError(
            "a rectifier that saturates, behind other neurons",
            f"max_value={high:g}",
            f"Neurons saturate gradually, by their refractory period, not at a bound: {_swap_remedy(layer)}",
        )
    name = builder.unique(name)
    return replace(tensor, affine=builder.derived_input(name, tensor.affine, tensor.affine, None, high))


def maximum_refused(layer: Any) -> UnsupportedLayerError:
    """Why a maximum cannot be computed behind neurons."""
    return UnsupportedLayerError(
        "a maximum over neurons cannot be computed by synapses", type_name(layer), _swap_remedy(layer)
    )


def _swap_remedy(layer: Any) -> str:
    return (
        "use AveragePooling2D or ReLU layers in its place, and train it on" if symbol(layer) else SWAP_REMEDY
    )


def _pooled_by_host(tensor: Tensor, layer: Any, builder: GraphBuilder, name: str) -> Tensor:
    """A pending maximum over windows: computed by the host, where nothing but the input stands before it."""
    if builder.input_of(tensor.affine) is None or tensor.over_time:
        raise maximum_refused(layer)
    windows = np.asarray(tensor.windows)
    layout = image_layout(windows.shape[:-1], channels_last(layer))
    rows = windows.reshape(-1, windows.shape[-1])
    if tensor.affine.order is not None:
        rows = np.where(rows < 0, -1, tensor.affine.order[rows])
    if layout.order is not None:
        placed = np.empty_like(rows)
        placed[layout.order] = rows
        rows = placed
    made = Affine({}, np.zeros(len(rows)), layout.shape, layout.order)
    affine = builder.derived_input(builder.unique(name), tensor.affine, made, rows, np.inf)
    return replace(tensor, affine=affine, shape=tuple(windows.shape[:-1]), windows=None)


def _is_plain(relu: Any) -> bool:
    return relu.max_value is None and not relu.negative_slope and not relu.threshold


def _same(layer: Any, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


# -- weights and normalization ---------------------------------------------------------------------


def _dense(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = replace(contracted(inputs[0], values(layer.kernel)), activation=layer.activation)
    return elementwise(x, offset=values(layer.bias)) if layer.use_bias else x


def _batch_normalization(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    axes = [x.axis(axis) for axis in np.atleast_1d(layer.axis)]
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    deviation = np.sqrt(values(layer.moving_variance) + layer.epsilon)
    factor = (values(layer.gamma) if layer.scale else 1.0) / deviation
    offset = (values(layer.beta) if layer.center else 0.0) - factor * values(layer.moving_mean)
    return elementwise(x, factor.reshape(shape), offset.reshape(shape))


def deviations(layer: Any) -> NDArray[np.float64]:
    """The standard deviations that a layer `Normalization` divides by."""
    variance = values(layer.variance)[0] if np.ndim(layer.variance) else values(layer.variance)
    return np.maximum(np.sqrt(variance), 1e-7)  # Keras' epsilon


def _normalization(layer: Any, inputs: list[Tensor]) -> Tensor:
    mean = values(layer.mean)[0] if np.ndim(layer.mean) else values(layer.mean)
    deviation = deviations(layer)
    if getattr(layer, "invert", False):
        return elementwise(inputs[0], deviation, mean)
    return elementwise(inputs[0], 1 / deviation, -mean / deviation)


def _rescaling(layer: Any, inputs: list[Tensor]) -> Tensor:
    return elementwise(inputs[0], values(layer.scale), values(layer.offset))


# -- shapes ---------------------------------------------------------------------------------------


def _flatten(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    indices = x.indices()
    if not channels_last(layer) and len(x.shape) > 1:
        indices = np.moveaxis(indices, 0, -1)  # Keras puts channels last before it flattens
    return moved(x, indices.ravel())


def _reshape(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    target = tuple(layer.target_shape)[x.leading - 1 :]
    return moved(x, x.indices().reshape(target))


def _permute(layer: Any, inputs: list[Tensor]) -> Tensor:
    return moved(inputs[0], inputs[0].indices().transpose([axis - 1 for axis in layer.dims]))


def _repeat_vector(layer: Any, inputs: list[Tensor]) -> Tensor:
    return moved(inputs[0], np.tile(inputs[0].indices(), (layer.n, 1)))


def _margins(value: Any, rank: int) -> list[tuple[int, int]]:
    """Before and after, for each dimension: of one dimension Keras keeps a single pair."""
    pairs = [value] if rank == 1 and np.ndim(value) == 1 else value
    return [(int(before), int(after)) for before, after in pairs]


def _zero_padding(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    margins = _margins(layer.padding, len(x.shape) - 1)
    around = [*margins, (0, 0)] if channels_last(layer) else [(0, 0), *margins]
    return moved(x, np.pad(x.indices(), around, constant_values=-1))


def _cropping(layer: Any, inputs: list[Tensor]) -> Tensor:
    x, last = inputs[0], channels_last(layer)
    kept = [
        slice(before, size - after)
        for (before, after), size in zip(
            _margins(layer.cropping, len(x.shape) - 1), spatial_part(x.shape, last), strict=True
        )
    ]
    return moved(x, x.indices()[tuple([*kept, slice(None)] if last else [slice(None), *kept])])


def _up_sampling(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    if getattr(layer, "interpolation", "nearest") != "nearest":
        return resampled(layer, inputs)
    indices = x.indices()
    for axis, factor in enumerate(sizes(layer.size, len(x.shape) - 1)):
        indices = np.repeat(indices, factor, axis=axis if channels_last(layer) else axis + 1)
    return moved(x, indices)


# -- several inputs -------------------------------------------------------------------------------


def _add(layer: Any, inputs: list[Tensor]) -> Tensor:
    return summed(inputs, [1.0] * len(inputs))


def _subtract(layer: Any, inputs: list[Tensor]) -> Tensor:
    return summed(inputs, [1.0, -1.0])


def _average(layer: Any, inputs: list[Tensor]) -> Tensor:
    return summed(inputs, [1 / len(inputs)] * len(inputs))


def _concatenate(layer: Any, inputs: list[Tensor]) -> Tensor:
    return concatenated(inputs, inputs[0].axis(layer.axis))


# -- activations and neurons ----------------------------------------------------------------------


def _activation(layer: Any, inputs: list[Tensor]) -> Tensor:
    return replace(inputs[0], activation=layer.activation)


def _chip_activation(layer: Any, inputs: list[Tensor]) -> Tensor:
    return replace(inputs[0], activation=layer)


def _relu(layer: Any, inputs: list[Tensor]) -> Tensor:
    if layer.negative_slope or layer.threshold:
        raise UnsupportedLayerError("a rectifier with a slope or a threshold", remedy=RELU_REMEDY)
    saturates = layer.max_value is not None
    return replace(inputs[0], activation=Saturating(float(layer.max_value)) if saturates else "relu")


def _softmax(layer: Any, inputs: list[Tensor]) -> Tensor:
    if np.ndim(layer.axis) or inputs[0].axis(layer.axis) != len(inputs[0].shape) - 1:
        raise UnsupportedLayerError("softmax along other axes than the last", layer.axis, "Use axis=-1")
    return replace(inputs[0], activation="softmax")


def _spiking_activation(layer: Any, inputs: list[Tensor]) -> Tensor:
    name = activation_name(layer.activation)
    if name != "relu":
        remedy = 'Use SpikingActivation("relu"), and train the network with it'
        raise UnsupportedLayerError("spikes whose rate is not rectified linear", name, remedy)
    return replace(given_step(layer, inputs[0]), activation=layer.activation)


def _lowpass(layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    try:
        filtered = x.affine.filtered(time_constant(layer))
    except ValueError:
        raise two_synapses() from None
    return given_step(layer, replace(x, affine=filtered))


def time_constant(layer: Any) -> float:
    """The time constant in seconds of a filter of keras_spiking, one for all its elements."""
    cell = layer.layer.cell
    tau = values(cell.tau).ravel()
    if not np.allclose(tau, tau[0]):
        raise UnsupportedLayerError(
            "a time constant for each element",
            f"{tau.min():g} to {tau.max():g} s",
            "Set trainable=False on the layer before training",
        )
    if np.any(values(cell.initial_level)):
        raise UnsupportedLayerError(
            "a synapse that does not start at 0", remedy="Set trainable=False on the layer before training"
        )
    return float(tau[0])


def two_synapses() -> UnsupportedLayerError:
    """Why a filter behind a filter cannot be converted."""
    return UnsupportedLayerError(
        "two synapses in a row", remedy="Use one Lowpass between two SpikingActivation layers"
    )


def given_step(layer: Any, x: Tensor) -> Tensor:
    """Every step, or the last one, as a layer of keras_spiking gives it."""
    if layer.return_state or layer.time_major:
        raise UnsupportedLayerError("return_state or time_major", remedy="Leave both at False")
    return x if layer.return_sequences else last_step(x)


def _time_distributed(layer: Any, inputs: list[Tensor]) -> Tensor:
    inner = layer.layer
    per_step = [replace(x, leading=1) for x in inputs]
    handler = HANDLERS.get(type_name(inner))
    if handler is None:
        raise refusal(inner)
    return replace(handler(inner, per_step), leading=2)


AUGMENTATION = (
    *("AugMix", "CutMix", "Equalization", "MixUp", "RandAugment", "RandomBrightness"),
    *("RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomErasing", "RandomFlip"),
    *(
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHeight",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
    ),
    *("RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
    *("RandomTranslation", "RandomWidth", "RandomZoom", "Solarization"),
)
"""Layers that change samples in training and leave them as they are afterwards."""

HANDLERS: dict[str, Handler] = {
    "Activation": _activation,
    "Add": _add,
    "Average": _average,
    "BatchNormalization": _batch_normalization,
    "BatchNormalizationV1": _batch_normalization,
    "CenterCrop": resampled,
    "ChipActivation": _chip_activation,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "Flatten": _flatten,
    "Lowpass": _lowpass,
    "Normalization": _normalization,
    "Permute": _permute,
    "RandomCrop": resampled,
    "ReLU": _relu,
    "RepeatVector": _repeat_vector,
    "Rescaling": _rescaling,
    "Resizing": resampled,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "SpikingActivation": _spiking_activation,
    "Subtract": _subtract,
    "SyncBatchNormalization": _batch_normalization,
    "TimeDistributed": _time_distributed,
    **{f"AveragePooling{n}D": average_pooling for n in (1, 2, 3)},
    **{f"Conv{n}D": conv for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": conv_transpose for n in (1, 2, 3)},
    **{f"Cropping{n}D": _cropping for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": depthwise_conv for n in (1, 2)},
    **{f"GlobalAveragePooling{n}D": global_average_pooling for n in (1, 2, 3)},
    **{f"GlobalMaxPooling{n}D": global_max_pooling for n in (1, 2, 3)},
    **{f"MaxPooling{n}D": max_pooling for n in (1, 2, 3)},
    **{f"SeparableConv{n}D": separable_conv for n in (1, 2)},
    **{f"UpSampling{n}D": _up_sampling for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": _zero_padding for n in (1, 2, 3)},
    # these act in training only
    "ActivityRegularization": _same,
    "AlphaDropout": _same,
    "Dropout": _same,
    "GaussianDropout": _same,
    "GaussianNoise": _same,
    "Identity": _same,
    **dict.fromkeys(AUGMENTATION, _same),
    **{f"SpatialDropout{n}D": _same for n in (1, 2, 3)},
}

OVER_TIME = frozenset(
    {name for name, handler in HANDLERS.items() if handler in (_same, _batch_normalization)}
    | {
        "Activation",
        "Add",
        "Average",
        "ChipActivation",
        "Concatenate",
        "Dense",
        "GlobalAveragePooling1D",
        "Lowpass",
        "ReLU",
    }
    | {"Rescaling", "Reshape", "Softmax", "SpikingActivation", "Subtract", "TimeDistributed"}
)
"""Layers that treat every step of a sequence alike (`GlobalAveragePooling1D` averages over the steps)."""

UNCHANGED = frozenset(name for name, handler in HANDLERS.items() if handler is _same)
"""Layers that act in training only."""
MOVING_LAYERS = UNCHANGED | {
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Flatten",
    "Permute",
    "RepeatVector",
    "Reshape",
}
"""Layers that only move elements, so that they may stand behind what is computed for each element."""

REFUSED: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("LSTM", "GRU", "RNN", "StackedRNNCells", "ConvLSTM", "Bidirectional"),
        "gated and recurrent layers have no spiking counterpart",
        "Give the network memory that can be kept: SimpleRNN(activation='relu') or Conv1D(padding='causal'), "
        "keras_lmu.LMU as its first layer, synapses (keras_spiking.Lowpass), or recurrent neurons in Nengo",
    ),
    (
        ("SimpleRNN", "LMU"),
        "a memory behind the last step of a sequence, which has no steps",
        "Give the layers in front of it return_sequences=True",
    ),
    (
        ("Multiply", "Dot", "Attention", "AdditiveAttention", "MultiHeadAttention"),
        "products of activities cannot be computed by synapses",
        "Use Add, Concatenate or convolutions; over time Conv1D(padding='causal') or keras_lmu.LMU",
    ),
    (
        ("Maximum", "Minimum"),
        "a maximum or minimum of activities cannot be computed by synapses",
        "Use Add or Average",
    ),
    (
        ("LayerNormalization", "GroupNormalization", "UnitNormalization"),
        "the normalization depends on the sample",
        "Use BatchNormalization, which is linear once it is trained",
    ),
    (
        ("LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"),
        "the activation has no spiking counterpart",
        SWAP_REMEDY,
    ),
)


def refusal(layer: Any) -> UnsupportedLayerError:
    """Why a layer without a handler cannot be converted."""
    name = type_name(layer)
    if not name:
        return UnsupportedLayerError(
            "a layer that is not Keras' own", type(layer).__name__, "Use layers that Keras defines"
        )
    stem = name.removesuffix("1D").removesuffix("2D").removesuffix("3D")
    for names, reason, remedy in REFUSED:
        if stem in names:
            return UnsupportedLayerError(reason, name, remedy)
    return UnsupportedLayerError(
        "the layer has no counterpart on the chip", name, "Take it out, or apply it to the samples beforehand"
    )
