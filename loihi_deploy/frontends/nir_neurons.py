"""The neurons of NIR in the terms of a graph: threshold 1, or 1 / dt without a leak; voltages count from the reset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.channels_first import UnsupportedError
from loihi_deploy.frontends.nir_file import Node
from loihi_deploy.frontends.nir_shapes import fitting
from loihi_deploy.ir import NeuronModel, Shape

MEMORYLESS = 1 / 64
"""Time constant in steps that leaves nothing from one to the next."""
SUBTRACTIVE = ("subtract", "soft")
"""Words that name a reset by subtraction, in the metadata of a node."""


@dataclass(frozen=True)
class Cell:
    """A neuron of the file in the terms of a graph.

    Parameters
    ----------
    model : NeuronModel
    tau : float
        Of the synapse, in seconds.
    gain, bias : () or (size,) float arrays
        In the file's order.
    """

    model: NeuronModel
    tau: float
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]


def single_value(node: Node, key: str) -> float:
    """The one value that all neurons of a node have."""
    values = node.array(key).ravel()
    if np.ptp(values) > 1e-5 * np.abs(values).max():
        what = f"{key} that differ between neurons ({values.min():.4g} to {values.max():.4g}), where a layer has one"
        raise UnsupportedError(what)
    return float(values[0])


def for_each(node: Node, key: str, shape: Shape, usual: float | None = None) -> NDArray[np.float64]:
    """A value for each neuron, flat in the file's order; () where all have the same."""
    if usual is not None and node.values.get(key) is None:
        return np.array(usual)
    values = node.array(key).reshape(fitting(node, key, shape)).ravel()
    return (
        values[0] if (values == values[0]).all() and key != "delay" else np.broadcast_to(values, prod(shape))
    )


def continuous(tau: float, dt: float) -> float:
    """The time constant whose exact decay over a step is that of the step ``1 - dt / tau``; 0 for nothing left.

    Raises
    ------
    UnsupportedError
        For less than a step.
    """
    left = 1 - dt / tau if tau > 0 else -1.0
    if left < -1e-6:
        raise UnsupportedError(
            f"a time constant of {tau:.4g} s, shorter than a step of {dt:g} s: give the step that the file was made "
            "with, as with DeployOptions(dt=1e-4) for snnTorch"
        )
    return float(-dt / np.log(left)) if left > 1e-9 else 0.0


def cell_of(node: Node, shape: Shape, dt: float) -> Cell:
    """A node's neurons: threshold 1, or 1 / dt without a leak; voltages counted from the reset."""
    said = " ".join(f"{key} {value}" for key, value in node.extra.items()).lower()
    if any(word in said for word in SUBTRACTIVE):
        raise UnsupportedError(
            "a reset by subtraction, in the metadata, which NIR and the chip have not: without that entry it is read "
            "as a reset to v_reset, which loses what v is above the threshold, so that neurons fire less"
        )
    if node.kind == "Threshold":
        threshold, reset = for_each(node, "threshold", shape), np.array(0.0)
    else:
        threshold, reset = for_each(node, "v_threshold", shape), for_each(node, "v_reset", shape, 0.0)
    height = threshold - reset
    if not (height > 0).all():
        raise UnsupportedError("thresholds that are not above the voltage of the reset")
    r = for_each(node, "r", shape, 1.0)
    if node.kind == "IF":
        return Cell(
            NeuronModel("if", discretized=True, below_zero=True), 0.0, r / (height * dt), np.array(0.0)
        )
    key = {"LIF": "tau", "CubaLIF": "tau_mem"}.get(node.kind)
    tau_rc = (continuous(single_value(node, key), dt) if key else 0.0) or MEMORYLESS * dt
    model = NeuronModel("lif", tau_rc=tau_rc, discretized=True, below_zero=True)
    bias = (for_each(node, "v_leak", shape, 0.0) - reset) / height
    if node.kind != "CubaLIF":
        return Cell(model, 0.0, r / height, bias)
    tau = continuous(single_value(node, "tau_syn"), dt)
    return Cell(model, tau, r * for_each(node, "w_in", shape, 1.0) / height, bias)


def step_notes(nodes: Iterable[Node], dt: float) -> list[str]:
    """A doubt about the step: writers that step by another one give it away by r = tau / step."""
    steps = set()
    for node in nodes:
        key = {"LIF": "tau", "CubaLIF": "tau_mem"}.get(node.kind)
        if key and not (node.array("r") == 1).all() and node.array("r").all():
            quotients = np.unique((node.array(key) / node.array("r")).round(9))
            steps |= set(quotients.tolist())
    if len(steps) != 1 or abs((step := steps.pop()) / dt - 1) < 1e-3 or step <= 0:
        return []
    return [
        f"the file's r = tau / {step:g} s look like steps of {step:g} s, where {dt:g} s were given: "
        f"if they are, give DeployOptions(dt={step:g})"
    ]
