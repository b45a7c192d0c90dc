"""From floats to the chip's integers, one scale for each population.

For a population with threshold theta (1 / dt for integrate-and-fire, 1 for leaky neurons), float synaptic weights
w = gain * weight * amplitude / dt and integer decays of current and voltage:

    integer weight   = w * current_scale                  mantissa of 7 bits and sign, times 2^shift
    integer bias     = bias * bias_scale                  bias_scale    = current_scale * (sum of a decaying current)
    integer voltage  = v * voltage_scale                  voltage_scale = bias_scale * (sum of a decaying voltage)

`current_scale` starts at (255 / max |w|) * 2^6 and is halved until threshold and biases fit (nengo-loihi 1.1.0,
``builder/discretize.py``). Every projection into the population takes the finest shift that holds its largest weight;
the scale is common, so projections keep their proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.fixed_point import (
    U_BITS,
    U_DECAY_OFFSET,
    bias_mantissa_exponent,
    current_decay,
    decay_magnitude,
    refractory_steps,
    voltage_decay,
)
from loihi_deploy.chip.hardware import Arithmetic, Chip
from loihi_deploy.errors import Problem, QuantizationError
from loihi_deploy.ir import PartitionedGraph, Population, Projection, Transform
from loihi_deploy.ir.program import BiasInput, Compartments, Program, ScaleGroup, SpikeSource, Synapses
from loihi_deploy.stages.rounding import round_keeping_means

NEGLIGIBLE_WEIGHT = 1e-8
"""A population whose largest weight is below this is driven by its bias alone (nengo-loihi's limit)."""
BIAS_ROOM = 2.0
"""Biases taken from the input have room for values up to this multiple of the largest calibration value."""


def quantize(
    partitioned: PartitionedGraph,
    chip: Chip | None = None,
    weight_percentile: float = 100.0,
    rates: Mapping[str, float | NDArray[np.float64]] | None = None,
) -> Program:
    """Turn weights, biases, thresholds and decays into integers.

    Parameters
    ----------
    partitioned : PartitionedGraph
    chip : Chip, optional
        Whose ranges apply; the first-generation Loihi if not given.
    weight_percentile : float
        The percentile of a population's weight magnitudes that becomes the largest mantissa; larger ones are clipped.
    rates : dict of (size,) arrays, optional
        Mean firing rates of sources and populations: weights are then rounded so that the mean input of a neuron is
        kept (`loihi_deploy.stages.rounding`), else to the nearest.

    Returns
    -------
    Program

    Raises
    ------
    QuantizationError
        Listing every population with synapses of different time constants, a refractory period beyond the chip's, a
        threshold that rounds to zero, or a bias out of range.
    """
    arithmetic = (chip or load_board("loihi").chip).arithmetic
    graph = partitioned.chip
    problems: list[Problem] = []
    notes = list(partitioned.notes)
    populations, synapses, groups = [], [], []
    drives = _input_currents(partitioned)
    for population in graph.populations:
        incoming = graph.into(population.name)
        drive = drives.get(population.name, 0.0)
        done = _quantize_population(
            population, incoming, drive, graph.dt, arithmetic, problems, weight_percentile, rates or {}
        )
        if done is not None:
            compartments, quantized, group = done
            populations.append(compartments)
            synapses += quantized
            groups.append(group)
            notes += _warnings(group)
    if problems:
        raise QuantizationError("The network does not fit the chip's integers", problems)
    return Program(
        encoder=partitioned.encoder,
        sources=tuple(SpikeSource(node.name, node.shape) for node in graph.inputs),
        populations=tuple(populations),
        synapses=tuple(synapses),
        readout=partitioned.readout,
        links=partitioned.links,
        scale_groups=tuple(groups),
        dt=graph.dt,
        notes=tuple(notes),
        bias_inputs=tuple(
            BiasInput(
                population.name,
                float(group.bias_scale * population.gain),
                arithmetic.bias_mantissa_max,
                arithmetic.max_bias_exponent,
            )
            for population, group in zip(graph.populations, groups, strict=True)
            if population.name in drives
        ),
    )


def _input_currents(partitioned: PartitionedGraph) -> dict[str, float]:
    """The largest input current, with room, of each population that takes its biases from the input."""
    scales = {node.name: node.scale for node in partitioned.encoder.inputs}
    populations = {population.name: population for population in partitioned.chip.populations}
    currents = {}
    for readout in partitioned.encoder.readouts:
        projections = partitioned.encoder.into(readout.name)
        largest = sum(np.abs(p.transform.csr()).sum(axis=1).max() * scales[p.pre] for p in projections)
        currents[readout.name] = float(BIAS_ROOM * largest * populations[readout.name].gain)
    return currents


def _warnings(group: ScaleGroup) -> list[str]:
    notes = []
    if group.saturated_weights:
        notes.append(f"{group.population}: {group.saturated_weights} of {group.n_weights} weights saturated")
    if group.zeroed_weights > group.n_weights // 2:
        notes.append(
            f"{group.population}: {group.zeroed_weights} of {group.n_weights} weights rounded to zero"
        )
    return notes


def _quantize_population(
    population: Population,
    projections: Sequence[Projection],
    drive: float,
    dt: float,
    limits: Arithmetic,
    problems: list[Problem],
    weight_percentile: float,
    rates: Mapping[str, float | NDArray[np.float64]],
) -> tuple[Compartments, list[Synapses], ScaleGroup] | None:
    """Quantize one population with its synapses; adds to `problems` and returns None where that is impossible."""
    n_problems = len(problems)
    taus = sorted({projection.tau for projection in projections})
    if len(taus) > 1:
        problems.append(
            Problem(
                "synapses of different time constants, but a compartment has one current",
                population.name,
                ", ".join(f"{tau:g} s" for tau in taus),
                remedy="Give all projections into a population the same synapse",
            )
        )
    refractory = refractory_steps(population.neuron.tau_ref, dt)
    if not limits.min_refractory_delay <= refractory <= limits.max_refractory_delay:
        problems.append(
            Problem(
                "refractory delay out of range",
                population.name,
                f"{refractory} steps",
                f"{limits.min_refractory_delay} to {limits.max_refractory_delay}",
                "Choose a shorter refractory period",
            )
        )
    if len(problems) > n_problems:
        return None

    threshold = 1 / dt if population.neuron.kind == "if" else 1.0
    decay_u = current_decay(taus[0] if taus else 0.0, dt)
    decay_v = voltage_decay(population.neuron.tau_rc, dt)
    keeps_currents = np.inf in taus
    u_sum = 1.0 if keeps_currents else float(decay_magnitude(decay_u, offset=U_DECAY_OFFSET))
    v_sum = float(decay_magnitude(decay_v)) if decay_v else 1.0
    weights = [_spike_weights(projection, population, dt) for projection in projections]
    w_max = _largest(weights, weight_percentile)

    bias_max = max(drive, float(np.abs(population.bias).max(initial=0.0)))
    current_scale = _current_scale(bias_max, w_max, threshold, u_sum, v_sum, limits)
    if current_scale is None:
        problems.append(
            Problem(
                "no scale holds threshold and bias at once",
                population.name,
                f"largest bias {bias_max:g}, largest weight {w_max:g}",
                remedy="Lower the bias or the firing rate of this layer",
            )
        )
        return None
    bias_scale = current_scale * u_sum
    voltage_scale = bias_scale * v_sum
    threshold_mantissa = round(threshold * voltage_scale / 2**limits.threshold_shift)
    if not 0 < threshold_mantissa <= limits.threshold_mantissa_max:
        problems.append(
            Problem(
                "threshold out of range",
                population.name,
                threshold_mantissa,
                f"1 to {limits.threshold_mantissa_max}",
                "Weights are too large for the threshold: lower the firing rate of this layer",
            )
        )
        return None

    synapses, saturated, zeroed, squared_error, squared = [], 0, 0, 0.0, 0.0
    mantissa_max = limits.weight_mantissa_max // limits.weight_mantissa_step
    for projection, transform in zip(projections, weights, strict=True):
        exact = transform.values * current_scale
        shift = _finest_shift(np.minimum(np.abs(exact), w_max * current_scale), mantissa_max, limits)
        mantissas = exact / 2**shift
        if projection.pre in rates:
            means = np.broadcast_to(rates[projection.pre], (transform.in_size,))
            rounded = round_keeping_means(mantissas, transform, means)
        else:
            rounded = np.round(mantissas)
        rounded = np.clip(rounded, -mantissa_max, mantissa_max)
        saturated += int((np.abs(mantissas) > mantissa_max + 0.5).sum())
        zeroed += int(((rounded == 0) & (exact != 0)).sum())
        squared_error += float(((rounded * 2**shift - exact) ** 2).sum())
        squared += float((exact**2).sum())
        integers = transform.with_values(rounded.astype(np.int8))
        synapses.append(Synapses(projection.pre, projection.post, integers, shift))

    exact_bias = np.round(population.bias * bias_scale)
    bias_mantissa, bias_exponent = bias_mantissa_exponent(exact_bias, limits.bias_mantissa_max)
    bias = bias_mantissa << bias_exponent
    norm = float(np.sqrt(np.mean((population.bias * bias_scale) ** 2)))
    compartments = Compartments(
        population.name,
        population.shape,
        decay_u,
        decay_v,
        threshold_mantissa << limits.threshold_shift,
        bias,
        refractory,
        v_min=-(2**U_BITS) + 1 if keeps_currents else 0,
        v_max=2**U_BITS - 1,
    )
    group = ScaleGroup(
        population.name,
        current_scale,
        voltage_scale,
        bias_scale,
        weight_rms_error=float(np.sqrt(squared_error / squared)) if squared else 0.0,
        saturated_weights=saturated,
        zeroed_weights=zeroed,
        n_weights=sum(transform.values.size for transform in weights),
        bias_rms_error=float(np.sqrt(np.mean((bias - population.bias * bias_scale) ** 2))) / norm
        if norm
        else 0.0,
    )
    return compartments, synapses, group


def _largest(weights: Sequence[Transform], percentile: float) -> float:
    """The percentile of weight magnitudes, zeros left out; 0 where there is none."""
    magnitudes = np.concatenate([np.abs(t.values).ravel() for t in weights]) if weights else np.zeros(0)
    if percentile >= 100:
        return float(magnitudes.max(initial=0.0))
    magnitudes = magnitudes[magnitudes > 0]
    return float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0


def _spike_weights(projection: Projection, population: Population, dt: float) -> Transform:
    """What a spike adds in total to the neuron's input: gain * weight / dt."""
    transform = projection.transform
    if population.gain.ndim:
        transform = transform.scaled_rows(population.gain)
        return transform.with_values(transform.values / dt)
    return transform.with_values(transform.values * (population.gain / dt))


def _current_scale(
    bias_max: float, w_max: float, threshold: float, u_sum: float, v_sum: float, limits: Arithmetic
) -> float | None:
    """The largest scale of the search at which threshold and biases fit; None where there is none."""
    if w_max > NEGLIGIBLE_WEIGHT:
        start = (limits.weight_mantissa_max + 1) / w_max * 2**limits.weight_shift
        exponents = range(limits.max_weight_exponent, limits.min_weight_exponent - 1, -1)
        candidates = [start * 2.0**exponent for exponent in exponents]
    elif bias_max > 0:
        candidates = [limits.bias_max / (bias_max * u_sum) / 2**k for k in range(2 * U_BITS)]
    else:  # nothing can make it spike: any threshold does
        candidates = [(limits.threshold_max - 1) / (threshold * u_sum * v_sum)]
    for scale in candidates:
        fits = np.round(threshold * scale * u_sum * v_sum) <= limits.threshold_max
        if fits and np.round(bias_max * scale * u_sum) <= limits.bias_max:
            return float(scale)
    return None


def _finest_shift(exact: NDArray[np.float64], mantissa_max: int, limits: Arithmetic) -> int:
    """The smaller of the two shifts whose largest mantissa holds the largest weight, within its rounding."""
    fine = limits.weight_shift
    return fine if np.abs(exact).max(initial=0.0) <= (mantissa_max + 0.5) * 2**fine else fine + 1
