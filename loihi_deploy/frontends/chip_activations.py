"""The chip's neurons as a Keras layer: what they make of their input on average, for training.

Inputs are in thresholds, outputs in spikes per step, both divided by `scale`. Curves, for a constant input j:

- 'mean': j / (1 + j / 2), at most 1. An integrate-and-fire neuron that is reset loses half of what a step brings, on
  average over phases and fluctuations: its period is 1 / j + 1 / 2.
- 'loihi_if': 1 / ceil(1 / j), the rate of nengo-loihi's ``LoihiSpikingRectifiedLinear``.
- 'loihi_lif': the rate of its ``LoihiLIF``, whose period is a whole number of steps, too.
- 'soft_lif': LIF with the smooth onset of Hunsberger & Eliasmith 2015, arXiv 1510.08829, equation 4.
- 'lif': the LIF curve, whose steep onset has its derivative clipped.

Steps of a curve are taken in the forward pass and have the derivative of a smooth curve through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.frontends.keras_graph import all_layers
from loihi_deploy.ir import NeuronModel

CURVES = ("mean", "loihi_if", "loihi_lif", "soft_lif", "lif")
SMALLEST = 1e-6
"""Inputs over the threshold below this count as none."""


def chip_activations(model: Any) -> Iterator[Any]:
    """The chip's neurons in a model, as layers of their own and as activations of other layers."""
    for layer in all_layers(model):
        for found in (layer, getattr(layer, "activation", None)):
            if hasattr(found, "chip_neuron"):
                yield found


@cache
def chip_activation_class(keras: Any) -> Any:
    """Make the layer for one of the two Kerases; from then on it can load models that contain it.

    Parameters
    ----------
    keras : module
        ``tf_keras``, ``tf.keras`` or ``keras`` (on TensorFlow).
    """
    import tensorflow as tf

    layer_class: Any = keras.layers.Layer

    class ChipActivation(layer_class):  # type: ignore[misc]
        """Spiking neurons of the chip, by their rates.

        Parameters
        ----------
        curve : {'mean', 'loihi_if', 'loihi_lif', 'soft_lif', 'lif'}
            See the module. Steps and noise are for training; afterwards the layer gives the curve that the rate network
            of a deployment has: 'mean' as it is, for 'loihi_if' the rectified line, for the others that of LIF neurons.
        scale : float
            Multiplies inputs and divides outputs.
        levels : int
            For 'mean': rates are rounded to so many levels in training; 0 for none.
        noise : float
            Standard deviation of noise on the rates of active neurons in training, in spikes per step (Hunsberger &
            Eliasmith 2016, arXiv 1611.05141, section 2.2).
        tau_rc, tau_ref, dt : float
            Seconds.
        sigma : float
            Width of the onset of 'soft_lif', in thresholds.
        steepest : float
            For 'lif': the largest derivative, in spikes per step and threshold.
        """

        def __init__(
            self,
            curve: str = "mean",
            scale: float = 1.0,
            levels: int = 0,
            noise: float = 0.0,
            tau_rc: float = 0.02,
            tau_ref: float = 0.002,
            dt: float = 0.001,
            sigma: float = 0.02,
            steepest: float = 1.0,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.settings: dict[str, Any] = {
                "curve": curve,
                "scale": float(scale),
                "levels": int(levels),
                "noise": float(noise),
                "tau_rc": float(tau_rc),
                "tau_ref": float(tau_ref),
                "dt": float(dt),
                "sigma": float(sigma),
                "steepest": float(steepest),
            }
            _check(self.settings)

        def call(self, inputs: Any, training: Any = None) -> Any:
            settings = self.settings
            j = settings["scale"] * inputs
            rates = (_trained if training else _plain)(tf, j, settings)
            if training and settings["noise"]:
                noise = tf.random.normal(tf.shape(rates), stddev=settings["noise"], dtype=rates.dtype)
                rates = tf.where(rates > 0, tf.clip_by_value(rates + noise, 0.0, 1.0), rates)
            return rates / settings["scale"]

        def chip_neuron(self) -> tuple[NeuronModel, float, float]:
            """The neuron on chip, its gain, and what its spikes stand for times dt."""
            settings = self.settings
            dt, scale = settings["dt"], settings["scale"]
            curve = settings["curve"]
            if curve in ("mean", "loihi_if"):
                neuron = NeuronModel("if", discretized=True, step=dt if curve == "mean" else 0.0)
                return neuron, scale / dt, dt / scale
            times = settings["tau_rc"], settings["tau_ref"]
            return NeuronModel("lif", *times, discretized=curve == "loihi_lif"), scale, dt / scale

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self.settings}

    made = keras.saving.register_keras_serializable(package="loihi_deploy")(ChipActivation)
    made.__module__ = __name__  # not that of the function
    return made


def _check(settings: dict[str, Any]) -> None:
    problems = []
    if settings["curve"] not in CURVES:
        problems.append(Problem("unknown curve", "curve", settings["curve"], " or ".join(CURVES)))
    for name in ("scale", "tau_rc", "dt", "sigma", "steepest"):
        if not 0 < settings[name] < np.inf:
            problems.append(Problem("out of range", name, settings[name], "above 0"))
    for name in ("levels", "noise", "tau_ref"):
        if not 0 <= settings[name] < np.inf:
            problems.append(Problem("out of range", name, settings[name], "0 or more"))
    if problems:
        raise InputError("Not neurons of the chip", problems)


def _stepped(tf: Any, value: Any, smooth: Any) -> Any:
    """`value`, with the derivative of `smooth`."""
    return smooth + tf.stop_gradient(value - smooth)


def _mean(tf: Any, j: Any) -> Any:
    j = tf.nn.relu(j)
    return tf.minimum(j / (1 + 0.5 * j), 1.0)


def _lif(tf: Any, over: Any, settings: dict[str, Any], lost: float = 0.0) -> Any:
    """Rates in spikes per step of LIF neurons with inputs `over` the threshold; `lost` steps are added to a period."""
    period = settings["tau_ref"] + settings["tau_rc"] * tf.math.log1p(1 / tf.maximum(over, SMALLEST))
    return tf.where(over > SMALLEST, settings["dt"] / (period + lost * settings["dt"]), tf.zeros_like(over))


def _plain(tf: Any, j: Any, settings: dict[str, Any]) -> Any:
    if settings["curve"] == "mean":
        return _mean(tf, j)
    return tf.nn.relu(j) if settings["curve"] == "loihi_if" else _lif(tf, j - 1, settings)


def _trained(tf: Any, j: Any, settings: dict[str, Any]) -> Any:
    curve, dt = settings["curve"], settings["dt"]
    if curve == "mean":
        rates, levels = _mean(tf, j), settings["levels"]
        return _stepped(tf, tf.floor(rates * levels + 0.5) / levels, rates) if levels else rates
    if curve == "loihi_if":
        driven = tf.maximum(j, SMALLEST)
        rates = tf.where(j > 0, 1 / tf.math.ceil(1 / driven), tf.zeros_like(j))
        return _stepped(tf, rates, tf.nn.relu(j) / (1 + 0.5 * tf.nn.relu(j)))
    if curve == "lif":
        return _clipped_lif(tf, j - 1, settings)
    soft = settings["sigma"] * tf.nn.softplus((j - 1) / settings["sigma"])
    if curve == "soft_lif":
        return _lif(tf, soft, settings)
    # nengo-loihi 1.1.0, neurons.py: the refractory period in whole steps, the decay of a step in 12 bits
    decay = np.round(-np.expm1(-dt / settings["tau_rc"]) * (2**12 - 1)) / (2**12 - 1)
    rounded = {
        **settings,
        "tau_ref": dt * np.round(settings["tau_ref"] / dt),
        "tau_rc": float(-dt / np.log1p(-decay)),
    }
    exact = _lif(tf, j - 1, rounded)
    steps = tf.math.ceil(1 / tf.maximum(exact, SMALLEST))
    rates = tf.where(exact > 0, 1 / steps, tf.zeros_like(exact))
    return _stepped(tf, rates, _lif(tf, soft, rounded, lost=0.5))


def _clipped_lif(tf: Any, over: Any, settings: dict[str, Any]) -> Any:
    """The LIF curve with its derivative, at most `steepest`."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def rates(over: Any) -> tuple[Any, Any]:
        value = _lif(tf, over, settings)
        driven = tf.maximum(over, SMALLEST)
        slope = tf.square(value) * settings["tau_rc"] / settings["dt"] / (driven * (driven + 1))
        return value, lambda upstream: upstream * tf.minimum(slope, settings["steepest"])

    return rates(over)
