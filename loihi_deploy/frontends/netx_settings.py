"""What the settings of a layer in lava-dl's files stand for: shapes, weights, neurons and delays, checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.netx_file import Layer
from loihi_deploy.ir.program import Compartments

STATE_SHIFT = 6
"""Bits that weights, biases and thresholds of a file are shifted by (Lava's ``act_shift``, ``bias_exp``)."""
NEURONS = ("LOIHI", "CUBA")
OTHER_NEURONS = "the chip has current-based leaky neurons only: LOIHI or CUBA"


def laid_out(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values of neurons, channels first in the file, as a layer is laid out."""
    if len(shape) < 3:
        return values
    return values.reshape(shape[-1], *shape[:-1]).transpose(1, 2, 0).ravel()


def layer_shape(layer: Layer) -> tuple[int, ...]:
    """(height, width, channels), or (n,) where only one axis is longer than 1 or there is only one."""
    given = np.atleast_1d(whole_numbers(layer, "shape")).ravel()
    if len(given) not in (1, 3) or given.min() < 1 or np.prod(given.astype(float)) > 1 << 27:
        raise ConversionError.single("not a shape", layer.name, tuple(given.tolist())[:4])
    channels, *image = (int(n) for n in given)
    if layer.kind in ("conv", "pool") or (image and given.max() < np.prod(given)):
        return (*image, channels)
    return (int(np.prod(given)),)


def whole_numbers(layer: Layer, key: str, usual: int | None = None) -> NDArray[np.int64]:
    """Whole numbers of a layer."""
    value = layer.values.get(key, usual)
    if value is None or isinstance(value, (str, dict)):
        raise ConversionError.single(f"no {key}", layer.name, remedy="Write the file again with export_hdf5")
    exact = np.asarray(value, np.float64)
    if (exact != np.round(exact)).any() or (np.abs(exact) >= 1 << 31).any():
        worst = exact[exact != np.round(exact)][:1]
        raise ConversionError.single(
            f"{key} of a layer that are no whole numbers",
            layer.name,
            worst.tolist() or "beyond 31 bits",
            remedy="Export the network with the quantization that it was trained with (pre_hook_fx)",
        )
    return exact.astype(np.int64)


def pair_of(layer: Layer, key: str, usual: int) -> tuple[int, int]:
    """A setting for the two axes of an image."""
    values = whole_numbers(layer, key, usual).ravel()
    low = 0 if key == "padding" else 1
    if len(values) not in (1, 2) or values.min() < low or values.max() > 1 << 12:
        raise ConversionError.single(f"not a {key}", layer.name, values.tolist()[:4])
    return int(values[0]), int(values[-1])


def as_mantissas(
    layer: Layer, key: str, weights: NDArray[Any], chip: Arithmetic
) -> tuple[NDArray[np.int8], int]:
    """Mantissas and shift that stand for weights shifted by 6 bits."""
    for shift in sorted(chip.weight_shifts, reverse=True):
        unit = 1 << (shift - STATE_SHIFT)
        if not (weights % unit).any() and np.abs(weights).max() <= chip.weight_limit * unit:
            return (weights // unit).astype(np.int8), shift
    raise ConversionError.single(
        f"{key} beyond 8 bits with their sign",
        layer.name,
        f"{weights.min()} to {weights.max()}",
        f"even numbers from -{2 * chip.weight_limit} to {2 * chip.weight_limit}, any up to {chip.weight_limit}",
    )


def setting(layer: Layer, key: str, usual: int | None = None) -> int:
    """A whole number of a layer's neurons."""
    neuron = Layer(f"{layer.name}, neuron", "", layer.values.get("neuron", {}))
    values = whole_numbers(neuron, key, usual).ravel()
    if len(values) != 1:
        raise ConversionError.single(f"more than one {key}", neuron.name, len(values))
    return int(values[0])


def neuron_problems(layer: Layer) -> Iterator[Problem]:
    """Neurons that the chip has not."""
    neuron = layer.values.get("neuron")
    if neuron is None:
        if layer.kind in ("conv", "pool", "dense_rec"):
            yield Problem("a layer without neurons", layer.name)
        return
    if not isinstance(neuron, dict) or neuron.get("type") not in NEURONS:
        found = neuron.get("type", "none") if isinstance(neuron, dict) else "none"
        yield Problem("neurons that the chip has not", layer.name, found, OTHER_NEURONS)
        return
    for key, what in (
        ("gradedSpike", "spikes that carry values"),
        ("messageBits", "spikes that carry values"),
        ("wgtExp", "a weight exponent other than 0"),
        ("weight_exp", "a weight exponent of the normalization other than 0"),
    ):
        value = neuron.get(key, 0)
        if isinstance(value, (str, dict)) or np.any(value):
            yield Problem(what, layer.name, str(value)[:40], "0")
    if isinstance(layer.values.get("weight"), dict):
        yield Problem("complex weights", layer.name)


def never_spikes(layer: Layer, chip: Arithmetic) -> bool:
    """Whether a layer has no neurons, or the highest threshold and neither leak nor filter."""
    if "neuron" not in layer.values:
        return True
    highest = setting(layer, "vThMant") >= chip.threshold_mantissa_max
    return highest and setting(layer, "vDecay") == 0 and setting(layer, "iDecay") == 1 << chip.decay_bits


def as_compartments(
    layer: Layer, shape: tuple[int, ...], bias: NDArray[Any], chip: Arithmetic
) -> Compartments:
    """The neurons of a layer."""
    if "neuron" not in layer.values:
        raise ConversionError.single("neither neurons nor the last layer", layer.name)
    full = 1 << chip.decay_bits
    current, voltage = setting(layer, "iDecay"), setting(layer, "vDecay")
    problems = [
        Problem(f"{key} that the chip has not", layer.name, value, f"{low} to {high}")
        for key, value, low, high in (
            ("iDecay", current, chip.current_decay_offset, full),
            ("vDecay", voltage, chip.voltage_decay_offset, chip.decay_max),
            ("vThMant", setting(layer, "vThMant"), 0, chip.threshold_mantissa_max),
        )
        if not low <= value <= high
    ]
    limit = chip.bias_mantissa_max << chip.max_bias_exponent
    if np.abs(bias).max() > limit:
        problems.append(Problem("biases that the chip has not", layer.name, int(np.abs(bias).max()), limit))
    if problems:
        raise ConversionError("The network has parts that the chip has not", problems)
    v_max = chip.largest_v_max
    return Compartments(
        layer.name,
        shape,
        current - chip.current_decay_offset,
        voltage - chip.voltage_decay_offset,
        setting(layer, "vThMant") << STATE_SHIFT,
        bias,
        setting(layer, "refDelay", 1),
        v_min=setting(layer, "vMin", -v_max),
        v_max=setting(layer, "vMax", v_max),
        initial_voltage=_at_start(layer, shape),
    )


def _at_start(layer: Layer, shape: tuple[int, ...]) -> NDArray[np.int32] | None:
    """Voltages at the start, where a layer says them."""
    neuron = layer.values["neuron"]
    if "vInit" not in neuron:
        return None
    values = whole_numbers(Layer(f"{layer.name}, neuron", "", neuron), "vInit").ravel()
    if values.size != int(np.prod(shape)):
        raise ConversionError.single("voltages do not fit", layer.name, values.shape, shape)
    return laid_out(values, shape).astype(np.int32)


def delays_of(layer: Layer, shape: tuple[int, ...], longest: int) -> NDArray[np.int64]:
    """Steps that each neuron's spikes are under way for, on top of the one of every synapse: (size,)."""
    given = whole_numbers(layer, "delay", 0).ravel()
    if given.min() < 0 or given.max() > longest:
        raise ConversionError.single(
            "delays beyond the chip's", layer.name, int(given.max()), f"0 to {longest}"
        )
    size = int(np.prod(shape))
    if len(given) in (1, shape[-1]):
        return np.broadcast_to(given, shape).ravel()
    if len(given) != size:
        raise ConversionError.single(
            "delays are not those of the layer's neurons", layer.name, len(given), size
        )
    return laid_out(given, shape)
