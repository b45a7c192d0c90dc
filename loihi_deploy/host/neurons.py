"""Host neurons, one step at a time, in the operations and the order of Nengo 4.1 and nengo-loihi 1.1.

Threshold 1, resting and lowest voltage 0. J is the input current, v the voltage.

- 'if', Nengo's ``SpikingRectifiedLinear``: v += max(J, 0) dt; n = floor(v) spikes; v -= n
- 'if' discretized, nengo-loihi's ``LoihiSpikingRectifiedLinear``: v += J dt; a spike where v > 1;
  v = 0 there, and where v < 0
- 'lif', Nengo's ``LIF``: sub-step spike times and refractory periods
- 'lif' discretized, nengo-loihi's ``LoihiLIF``: time constants rounded as on chip, no sub-step times
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.graph import NeuronModel, Population


def effective_taus(neuron: NeuronModel, dt: float) -> tuple[float, float]:
    """Time constants (tau_rc, tau_ref) that a leaky neuron has when stepped by `dt`, in seconds."""
    if not neuron.discretized:
        return neuron.tau_rc, neuron.tau_ref
    decay = np.round(-np.expm1(-dt / neuron.tau_rc) * 4095) / 4095
    return float(-dt / np.log1p(-decay)), float(dt * np.round(neuron.tau_ref / dt))


def lowpass_factor(tau: float, dt: float) -> float:
    """Give the factor a of a lowpass filter y[t] = a y[t-1] + (1 - a) x[t]; 0 where there is no filter."""
    return float(np.exp(-dt / tau)) if tau > 0 else 0.0


def initial_voltage(population: Population) -> NDArray[np.float64]:
    """Voltages at the start: (size,)."""
    initial = 0.0 if population.initial_voltage is None else population.initial_voltage
    return np.broadcast_to(initial, (population.size,)).astype(np.float64)


def step(
    neuron: NeuronModel, dt: float, j: NDArray[Any], voltage: NDArray[Any], refractory_time: NDArray[Any]
) -> NDArray[Any]:
    """Advance neurons by one step, the state in place; returns the number of spikes of each."""
    if neuron.kind == "if" and not neuron.discretized:
        voltage += np.maximum(j, 0) * dt
        n_spikes = np.floor(voltage)
        voltage -= n_spikes
        return np.asarray(n_spikes)
    if neuron.kind == "if":
        voltage += j * dt
        spiked = voltage > 1
        voltage[voltage < 0] = 0
        voltage[spiked] = 0
        return spiked.astype(voltage.dtype)
    tau_rc, tau_ref = effective_taus(neuron, dt)
    refractory_time -= dt
    delta_t = np.clip(dt - refractory_time, 0, dt)
    voltage -= (j - voltage) * np.expm1(-delta_t / tau_rc)
    spiked = voltage > 1
    spike_time = np.full(int(spiked.sum()), dt)
    if not neuron.discretized:
        spike_time += tau_rc * np.log1p(-(voltage[spiked] - 1) / (j[spiked] - 1))
    voltage[voltage < 0] = 0
    voltage[spiked] = 0
    refractory_time[spiked] = tau_ref + spike_time
    return spiked.astype(voltage.dtype)


def starts(sizes: Iterable[int]) -> list[int]:
    """Where parts of the given sizes begin when laid one behind the other."""
    return [0, *np.cumsum(list(sizes)).tolist()][:-1]
