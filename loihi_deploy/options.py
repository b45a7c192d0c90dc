"""How to deploy: every choice that `loihi_deploy.deploy` makes, as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from loihi_deploy.content import Content
from loihi_deploy.errors import InputError, Problem

TARGET_RATE = 500.0
"""Default firing rate in Hz that a percentile of a layer's rates is scaled to."""
PERCENTILE = 99.0
"""Default percentile of a layer's firing rates."""


@dataclass(frozen=True, eq=False)
class DeployOptions(Content):
    """Options of `loihi_deploy.deploy`.

    Parameters
    ----------
    neuron : {'if', 'lif'}
        What a ReLU of a Keras model becomes: integrate-and-fire (spiking rectified linear) or leaky integrate-and-fire
        neurons. Sources that already have spiking neurons keep theirs.
    synapse : float
        Time constant in seconds of the lowpass synapses of a Keras model; 0 for none. Other sources keep theirs.
    dt : float
        Step in seconds for sources that do not have one.
    encoder : {'auto', 'first_layer', 'on_off'}
        What turns input values into spikes on the host: the network's own first layer, or an on and an off neuron for
        each input value (weights +1 and -1), put in front so that the first layer stays on chip. 'auto' takes the first
        layer where it is a 1x1 convolution.
    normalization : {'percentile', 'none'}
        How firing rates are set from calibration data: so that the given percentile of each layer's rates is
        `target_rate`, or not at all (the source's own gains).
    target_rate : float
        Firing rate in Hz.
    percentile : float
        0..100.
    readout_window : float
        Outputs are averaged over this last part of the presentation, 0..1.

    Raises
    ------
    InputError
        Listing every option that is out of range.
    """

    neuron: Literal["if", "lif"] = "if"
    synapse: float = 0.005
    dt: float = 0.001
    encoder: Literal["auto", "first_layer", "on_off"] = "auto"
    normalization: Literal["percentile", "none"] = "percentile"
    target_rate: float = TARGET_RATE
    percentile: float = PERCENTILE
    readout_window: float = 0.5

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "neuron": ("if", "lif"),
            "encoder": ("auto", "first_layer", "on_off"),
            "normalization": ("percentile", "none"),
        }
        ranges = {
            "synapse": (0.0, 10.0),
            "dt": (1e-5, 0.1),
            "target_rate": (1e-3, 1e5),
            "percentile": (50.0, 100.0),
            "readout_window": (1e-6, 1.0),
        }
        problems = []
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                near = get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
                problems.append(Problem("unknown choice", name, value, " or ".join(known), f"Try {near!r}"))
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
                problems.append(Problem("out of range", name, value, f"{low:g} to {high:g}"))
        if problems:
            raise InputError("The options are not usable", problems)

    def as_dict(self) -> dict[str, Any]:
        """The options by name, as plain values."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
