"""Host neurons, one step at a time, in the operations and the order of Nengo 4.1 and nengo-loihi 1.1.

Threshold 1, resting and lowest voltage 0. J is the input current, v the voltage.

- 'if', Nengo's ``SpikingRectifiedLinear``: v += max(J, 0) dt; n = floor(v) spikes; v -= n. A voltage that starts below
  0, for which Nengo has negative spikes, rises to the threshold first
- 'if' discretized, nengo-loihi's ``LoihiSpikingRectifiedLinear``: v += J dt; a spike where v > 1;
  v = 0 there, and where v < 0
  Where they add only (`Population.adds_only`): v += max(J / gain, 0), a spike where v >= 1 / (gain dt), which v is then
  lowered by. Spikes beyond one, which cannot be sent, are counted by a division
- 'lif', Nengo's ``LIF``: sub-step spike times and refractory periods
- 'lif' discretized, nengo-loihi's ``LoihiLIF``: time constants rounded as on chip, no sub-step times

Two more have other states in the place of voltage and refractory time:

- 'poisson': a spike with probability J dt. The place of v holds a Weyl sequence, v += WEYL modulo 2^52, which starts at
  a hash of seed, sample, population and neuron; SplitMix64's finalizer (Steele et al. 2014,
  doi:10.1145/2714064.2660195) makes a uniform number of it. Samples can so be worked off in any order
- 'ttfs', time to first spike: one spike, in the first step t >= round((1 - J dt) T) of a presentation of T steps. The
  place of v counts steps, that of the refractory time is 1 after the spike
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Graph, NeuronModel, Population, Projection

WEYL = 2783377641436327.0
"""2^52 divided by the golden ratio, made odd: the step of the sequence behind random spikes."""
WEYL_MODULUS = 2.0**52
UNIFORM_BITS = 53
MOST_SPIKES = 2.0**32
"""Spikes of a neuron in a step that are counted, so that sums of lost ones stay within 64 bits whatever the input."""
ONE = 1 + 1e-6
"""What exceeds this is more than one: rates scaled to 1 / dt may come out a little above it."""


def effective_taus(neuron: NeuronModel, dt: float) -> tuple[float, float]:
    """Time constants (tau_rc, tau_ref) that a leaky neuron has when stepped by `dt`, in seconds."""
    if not neuron.discretized:
        return neuron.tau_rc, neuron.tau_ref
    decay = np.round(-np.expm1(-dt / neuron.tau_rc) * 4095) / 4095
    return float(-dt / np.log1p(-decay)), float(dt * np.round(neuron.tau_ref / dt))


def lowpass_factor(tau: float, dt: float) -> float:
    """Give the factor a of a lowpass filter y[t] = a y[t-1] + (1 - a) x[t]; 0 where there is no filter."""
    return float(np.exp(-dt / tau)) if tau > 0 else 0.0


def summed_threshold(population: Population, dt: float) -> float:
    """Give the threshold of neurons that add only: what the summed input reaches when a spike is due."""
    return float(1 / (population.gain * dt))


def initial_voltage(population: Population, dt: float) -> NDArray[np.float64]:
    """Voltages at the start: (size,)."""
    initial = 0.0 if population.initial_voltage is None else population.initial_voltage
    threshold = summed_threshold(population, dt) if population.adds_only else 1.0
    return np.broadcast_to(initial, (population.size,)).astype(np.float64) * threshold


def initial_voltages(
    population: Population, dt: float, numbers: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """What stands in the place of voltages at the start: (n, size), for the n samples of these numbers."""
    if population.neuron.kind == "poisson":
        key = _mixed(np.uint64((seed << 32 | zlib.crc32(population.name.encode())) & (1 << 64) - 1))
        sample = _mixed(key + numbers.astype(np.uint64))
        keys = _mixed(sample[:, None] + np.arange(population.size, dtype=np.uint64))
        return np.asarray((keys >> np.uint64(12)), dtype=np.float64)
    return np.tile(initial_voltage(population, dt), (len(numbers), 1))


def _mixed(x: Any) -> Any:
    """SplitMix64's finalizer."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def step(
    neuron: NeuronModel,
    dt: float,
    j: NDArray[Any],
    voltage: NDArray[Any],
    refractory_time: NDArray[Any],
    presentation: int = 1,
) -> NDArray[Any]:
    """Advance neurons by one step, the state in place; returns the number of spikes of each.

    `presentation` is its length in steps, which a spike's time is part of. A number of spikes above one stands for what
    a neuron cannot send.
    """
    if neuron.kind == "poisson":
        voltage += WEYL
        voltage[voltage >= WEYL_MODULUS] -= WEYL_MODULUS
        uniform = (_mixed(voltage.astype(np.uint64)) >> np.uint64(64 - UNIFORM_BITS)) / 2.0**UNIFORM_BITS
        probability = np.maximum(j, 0) * dt
        return np.asarray(
            np.where(probability > ONE, np.minimum(np.ceil(probability), MOST_SPIKES), uniform < probability)
        )
    if neuron.kind == "ttfs":
        value = j * dt
        fires = (refractory_time == 0) & (voltage >= np.rint((1 - value) * presentation)) & (value > 0)
        voltage += 1
        refractory_time[fires] = 1
        return np.asarray(np.where(fires & (value > ONE), np.minimum(np.ceil(value), MOST_SPIKES), fires))
    if neuron.kind == "if" and not neuron.discretized:
        voltage += np.maximum(j, 0) * dt
        n_spikes = np.maximum(np.floor(voltage), 0)
        voltage -= n_spikes
        return np.asarray(np.minimum(n_spikes, MOST_SPIKES))
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


def step_adding(total: NDArray[Any], voltage: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Advance neurons that add only by one step, the voltage in place; returns the number of spikes of each."""
    voltage += np.maximum(total, 0)
    fires = voltage >= threshold
    voltage[fires] -= threshold
    n_spikes = fires.astype(np.float64)
    beyond = voltage >= threshold
    more = np.floor(voltage[beyond] / threshold)
    voltage[beyond] = np.maximum(voltage[beyond] - more * threshold, 0)
    n_spikes[beyond] += more
    return np.asarray(np.minimum(n_spikes, MOST_SPIKES))


def numbered(graph: Graph) -> dict[str, Projection]:
    """Projections by a key of their own: there can be two between the same populations."""
    return {f"{p.name} {number}": p for number, p in enumerate(graph.projections)}


def starts(sizes: Iterable[int]) -> list[int]:
    """Where parts of the given sizes begin when laid one behind the other."""
    return [0, *np.cumsum(list(sizes)).tolist()][:-1]
