"""Voltages at the start of a presentation, for inputs that stand still.

From rest a neuron's first spike comes half a period late on average, and biases act from the first step on while spikes
of the input need a step for each hop: neurons with positive biases fire too early, slow ones not at all. A voltage of

    threshold * (1/2 - delay * bias of a step)

at the start mends both: half a threshold of advance, less what the bias will have added before the input is there; the
delay is a step for each hop, a / (1 - a) for each synapse, a = exp(-dt / tau), and what the synapse itself holds spikes
back. A leaky neuron's voltage goes from v towards its bias b in the meantime, so it starts where that brings it to 1/2.

In an image the neurons of each square of four start at quarters of a threshold, 1/8 to 7/8 in the place of 1/2: they
have about the same input, and so do not spike all at once. What averages over them, as pooling does, counts four times
as finely.

Sequences gain nothing: their state is kept from frame to frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import PartitionedGraph, Population

QUARTERS = np.array([[1, 5], [7, 3]]) / 8
"""Where the neurons of a square of four start, in thresholds: those that touch are far apart."""
LOWEST, HIGHEST = -1.0, 1.0
"""Bounds of a voltage at the start, in thresholds."""


def with_initial_voltages(partitioned: PartitionedGraph) -> PartitionedGraph:
    """Charge the neurons on chip for static inputs.

    Parameters
    ----------
    partitioned : PartitionedGraph

    Returns
    -------
    PartitionedGraph
        With initial voltages on chip, which `quantize` turns into integers. There voltages may fall below 0, too, so
        that inhibition before excitation is not lost.
    """
    chip = partitioned.chip
    links = {link.population: link.delay for link in partitioned.links if link.kind == "to_chip"}
    delays = {node.name: 0.0 for node in chip.inputs}
    populations = []
    for population in chip.populations:
        arriving = [
            delays[p.pre] + links.get(p.pre, 1) + p.most_delay + _filter_delay(p.tau, chip.dt)
            for p in chip.into(population.name)
            if p.pre in delays
        ]
        delays[population.name] = max(arriving, default=0.0)
        populations.append(_charged(population, delays[population.name], chip.dt))
    return replace(partitioned, chip=replace(chip, populations=tuple(populations)))


def _filter_delay(tau: float, dt: float) -> float:
    """Mean delay in steps of a lowpass synapse; none where currents stay."""
    return 1 / float(np.expm1(dt / tau)) if 0 < tau < np.inf else 0.0


def _charged(population: Population, delay: float, dt: float) -> Population:
    start = _starts(population.shape)
    if population.neuron.kind == "if":
        voltage = start - delay * population.bias * dt
    else:
        left = float(np.exp(-delay * dt / population.neuron.tau_rc))
        voltage = (start - population.bias * (1 - left)) / left
    return replace(population, initial_voltage=np.clip(voltage, LOWEST, HIGHEST))


def _starts(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Voltages at the start without biases: (size,)."""
    if len(shape) != 3 or min(shape[:2]) < 2:
        return np.full(int(np.prod(shape)), 0.5)
    height, width, channels = shape
    tiled = np.tile(QUARTERS, (-(-height // 2), -(-width // 2)))[:height, :width]
    return tiled.repeat(channels)
