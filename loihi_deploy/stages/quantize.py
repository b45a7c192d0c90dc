"""From floats to the chip's integers, one scale for each population.

For a population with threshold theta (1 / dt for integrate-and-fire, 1 for leaky neurons), float synaptic weights
w = gain * weight * amplitude / dt and integer decays of current and voltage:

    integer weight   = w * current_scale                  mantissa of 7 bits and sign, times 2^shift
    integer bias     = bias * bias_scale                  bias_scale    = current_scale * (sum of a decaying current)
    integer voltage  = v * voltage_scale                  voltage_scale = bias_scale * (sum of a decaying voltage)

`current_scale` starts at (255 / max |w|) * 2^6, on Loihi, and is halved until threshold and biases fit (nengo-loihi
1.1.0, ``builder/discretize.py``). Every projection into the population takes the finest shift that holds its largest
weight; the scale is common, so projections keep their proportions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.fixed_point import (
    bias_mantissa_exponent,
    current_decay,
    decay_magnitude,
    refractory_steps,
    voltage_decay,
)
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.errors import Problem, QuantizationError
from loihi_deploy.ir import PartitionedGraph, Population, Projection, Sparse, Transform
from loihi_deploy.ir.program import BiasInput, Compartments, Program, ScaleGroup, SpikeSource, Synapses
from loihi_deploy.options import Percentile
from loihi_deploy.stages.rounding import Levels, least_squares_clip, round_keeping_means

NEGLIGIBLE_WEIGHT = 1e-8
"""A population whose largest weight is below this is driven by its bias alone (nengo-loihi's limit)."""
BIAS_ROOM = 2.0
"""Biases taken from the input have room for values up to this multiple of the largest calibration value."""


@checked
def quantize(
    partitioned: PartitionedGraph,
    board: BoardLike = "loihi",
    weight_percentile: Percentile = 100.0,
    rates: Mapping[str, float | NDArray[np.float64]] | None = None,
    weight_bits: int = 8,
) -> Program:
    """Turn weights, biases, thresholds and decays into integers.

    Parameters
    ----------
    partitioned : PartitionedGraph
    board : str, path, Board or Chip
        As for `map_to_cores`; its chip's ranges apply.
    weight_percentile : float
        The percentile of a population's weight magnitudes that becomes the largest mantissa; larger ones are clipped.
    rates : dict of (size,) arrays, optional
        Mean firing rates of sources and populations (what `loihi_deploy.mean_rates` gives): weights are then rounded so
        that the mean input of a neuron is kept (`loihi_deploy.stages.rounding`), else to the nearest.
    weight_bits : {8, 6, 5, 4, 3, 2}
        Bits of a stored weight, sign included. With fewer than 8 the weights of a population are clipped where the
        squared error of rounding is least, unless `weight_percentile` says where.

    Returns
    -------
    Program

    Raises
    ------
    QuantizationError
        Listing every population with synapses of different time constants, a refractory period beyond the chip's, a
        threshold that rounds to zero, or a bias out of range.
    """
    arithmetic = as_board(board).chip.arithmetic
    graph = partitioned.chip
    problems: list[Problem] = []
    notes = list(partitioned.notes)
    populations, synapses, groups = [], [], []
    drives = _input_currents(partitioned)
    for population in graph.populations:
        incoming = graph.into(population.name)
        drive = drives.get(population.name, 0.0)
        done = _quantize_population(
            population,
            incoming,
            drive,
            graph.dt,
            arithmetic,
            problems,
            weight_percentile,
            rates or {},
            weight_bits,
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
        populations=_with_floor(populations, arithmetic),
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
        arithmetic=arithmetic,
        frame_steps=graph.frame_steps,
    )


def _with_floor(populations: Sequence[Compartments], limits: Arithmetic) -> tuple[Compartments, ...]:
    """One lower bound of the voltage for all that are charged at the start: cores have few settings of it.

    The power of two that holds a whole threshold, and every initial voltage, below zero.
    """
    charged = [p for p in populations if p.initial_voltage is not None]
    if not charged:
        return tuple(populations)
    depth = max(max(p.threshold, -int(p.initial_voltage.min())) for p in charged)  # type: ignore[union-attr]
    v_min = 1 - (1 << min(depth.bit_length(), limits.current_bits, limits.max_v_min_exponent))
    return tuple(replace(p, v_min=min(p.v_min, v_min)) for p in populations)


def _input_currents(partitioned: PartitionedGraph) -> dict[str, float]:
    """The largest input current, with room, of each population that takes its biases from the input."""
    scales = {node.name: node.scale for node in partitioned.encoder.inputs}
    populations = {population.name: population for population in partitioned.chip.populations}
    currents = {}
    for readout in partitioned.encoder.readouts:
        projections = partitioned.encoder.into(readout.name)
        largest = sum(_largest_row_sum(p.transform.csr()) * scales[p.pre] for p in projections)
        currents[readout.name] = float(BIAS_ROOM * largest * populations[readout.name].gain)
    return currents


def _largest_row_sum(matrix: Sparse) -> float:
    """The largest sum of magnitudes into one output."""
    return float(np.bincount(matrix.rows, np.abs(matrix.data), minlength=1).max())


def _warnings(group: ScaleGroup) -> list[str]:
    notes = []
    if group.saturated_weights:
        notes.append(f"{group.population}: {group.saturated_weights} of {group.n_weights} weights saturated")
    if group.zeroed_weights > group.n_weights // 2:
        notes.append(
            f"{group.population}: {group.zeroed_weights} of {group.n_weights} weights rounded to zero"
        )
    return notes


@dataclass(frozen=True)
class _Dynamics:
    """A population's neurons and synapses before its weights are rounded.

    `current_sum` and `voltage_sum` are what a decaying current and voltage of 1 add up to; `weights` count per spike.
    """

    population: Population
    threshold: float
    decay_u: int
    decay_v: int
    refractory: int
    current_sum: float
    voltage_sum: float
    keeps_currents: bool
    weights: tuple[Transform, ...]


@dataclass(frozen=True)
class _Scales:
    """Integer per float: of synaptic weights, of biases, of voltages."""

    current: float
    bias: float
    voltage: float


def _quantize_population(
    population: Population,
    projections: Sequence[Projection],
    drive: float,
    dt: float,
    limits: Arithmetic,
    problems: list[Problem],
    weight_percentile: float,
    rates: Mapping[str, float | NDArray[np.float64]],
    weight_bits: int,
) -> tuple[Compartments, list[Synapses], ScaleGroup] | None:
    """Quantize one population with its synapses; adds to `problems` and returns None where that is impossible."""
    found = list(_problems(population, projections, dt, limits))
    problems += found
    if found:
        return None
    dynamics = _dynamics(population, projections, dt, limits)
    levels = Levels(limits.weight_limit, weight_bits)
    w_max = levels.room * _largest(dynamics.weights, weight_percentile, levels)
    bias_max = max(drive, float(np.abs(population.bias).max(initial=0.0)))
    scales = _scales(dynamics, w_max, bias_max, limits)
    if isinstance(scales, Problem):
        problems.append(scales)
        return None
    compartments = _compartments(dynamics, scales, limits)
    synapses, rounding = _synapses(
        projections, dynamics.weights, scales.current, w_max, limits, rates, levels
    )
    exact = population.bias * scales.bias
    norm = float(np.sqrt(np.mean(exact**2)))
    group = ScaleGroup(
        population.name,
        scales.current,
        scales.voltage,
        scales.bias,
        bias_rms_error=float(np.sqrt(np.mean((compartments.bias - exact) ** 2))) / norm if norm else 0.0,
        **rounding,
    )
    return compartments, synapses, group


def _problems(
    population: Population, projections: Sequence[Projection], dt: float, limits: Arithmetic
) -> Iterator[Problem]:
    """What a compartment cannot be, whatever its scale."""
    taus = sorted({projection.tau for projection in projections})
    if len(taus) > 1:
        yield Problem(
            "synapses of different time constants, but a compartment has one current",
            population.name,
            ", ".join(f"{tau:g} s" for tau in taus),
            remedy="Give all projections into it the same synapse, as with "
            f"DeployOptions(layer_synapses={{{population.name!r}: {taus[-1]:g}}})",
        )
    refractory = refractory_steps(population.neuron.tau_ref, dt)
    if not limits.min_refractory_delay <= refractory <= limits.max_refractory_delay:
        yield Problem(
            "refractory delay out of range",
            population.name,
            f"{refractory} steps",
            f"{limits.min_refractory_delay} to {limits.max_refractory_delay}",
            f"Choose a refractory period of {(limits.max_refractory_delay - 1) * dt:g} s or less",
        )


def _dynamics(
    population: Population, projections: Sequence[Projection], dt: float, limits: Arithmetic
) -> _Dynamics:
    tau = projections[0].tau if projections else 0.0
    decay_u = current_decay(tau, dt, limits)
    decay_v = voltage_decay(population.neuron.tau_rc, dt, limits)
    return _Dynamics(
        population,
        1 / dt if population.neuron.kind == "if" else 1.0,
        decay_u,
        decay_v,
        refractory_steps(population.neuron.tau_ref, dt),
        1.0 if tau == np.inf else _sum_of_decay(limits.current_factor(decay_u), limits),
        1.0 if population.neuron.tau_rc == np.inf else _sum_of_decay(limits.voltage_factor(decay_v), limits),
        tau == np.inf,
        tuple(spike_weights(projection, population, dt) for projection in projections),
    )


def _scales(dynamics: _Dynamics, w_max: float, bias_max: float, limits: Arithmetic) -> _Scales | Problem:
    """The largest scale of the search at which threshold and biases fit; a problem where there is none."""
    name, total = dynamics.population.name, dynamics.current_sum * dynamics.voltage_sum
    if w_max > NEGLIGIBLE_WEIGHT:
        start = (limits.weight_mantissa_max + 1) / w_max * 2**limits.weight_shift
        exponents = range(limits.max_weight_exponent, limits.min_weight_exponent - 1, -1)
        candidates = [start * 2.0**exponent for exponent in exponents]
    elif bias_max > NEGLIGIBLE_WEIGHT:
        candidates = [limits.bias_max / (bias_max * dynamics.current_sum) / 2**k for k in range(64)]
    else:  # nothing can make it spike: any threshold does
        candidates = [(limits.threshold_max - 1) / (dynamics.threshold * total)]
    over = [
        (
            np.round(dynamics.threshold * scale * total) / limits.threshold_max,
            np.round(bias_max * scale * dynamics.current_sum) / limits.bias_max,
        )
        for scale in candidates
    ]
    found = next((i for i, excess in enumerate(over) if max(excess) <= 1), None)
    if found is None:
        threshold_excess, bias_excess = over[-1]
        if threshold_excess > 1:
            return Problem(
                "weights too small beside the threshold",
                name,
                f"{w_max / dynamics.threshold:.2g} of the threshold",
                f"{w_max / dynamics.threshold * threshold_excess:.2g} or more",
                f"Raise the firing rate of this layer {_times(threshold_excess)}",
            )
        return Problem(
            "weights too small beside the biases",
            name,
            f"{w_max / bias_max:.2g} of the largest bias",
            f"{w_max / bias_max * bias_excess:.2g} or more",
            f"Lower the firing rates of the layers before it {_times(bias_excess)}: their spikes then count for more",
        )
    scale = candidates[found]
    mantissa = dynamics.threshold * scale * total / 2**limits.threshold_shift
    if round(mantissa) < 1:
        return Problem(
            f"threshold out of range, too low beside the {'biases' if found else 'weights'}",
            name,
            f"{mantissa:.2g}",
            f"1 to {limits.threshold_mantissa_max}",
            f"Lower the firing rate of this layer {_times(1 / mantissa)}",
        )
    return _Scales(scale, scale * dynamics.current_sum, scale * total)


def _compartments(dynamics: _Dynamics, scales: _Scales, limits: Arithmetic) -> Compartments:
    population = dynamics.population
    mantissa = round(dynamics.threshold * scales.voltage / 2**limits.threshold_shift)
    threshold = mantissa << limits.threshold_shift
    voltage = None if population.initial_voltage is None else np.round(population.initial_voltage * threshold)
    bias, exponent = bias_mantissa_exponent(np.round(population.bias * scales.bias), limits.bias_mantissa_max)
    return Compartments(
        population.name,
        population.shape,
        dynamics.decay_u,
        dynamics.decay_v,
        threshold,
        bias << exponent,
        dynamics.refractory,
        v_min=-(1 << min(limits.current_bits, limits.max_v_min_exponent)) + 1
        if dynamics.keeps_currents or population.neuron.below_zero
        else 0,
        v_max=limits.largest_v_max,
        initial_voltage=None if voltage is None else voltage.astype(np.int32),
    )


def _synapses(
    projections: Sequence[Projection],
    weights: Sequence[Transform],
    scale: float,
    w_max: float,
    limits: Arithmetic,
    rates: Mapping[str, float | NDArray[np.float64]],
    levels: Levels,
) -> tuple[list[Synapses], dict[str, Any]]:
    """Rounded weights of every projection, and what the rounding cost: fields of `ScaleGroup`."""
    synapses, saturated, zeroed, squared_error, squared = [], 0, 0, 0.0, 0.0
    unit, mantissa_max = levels.unit, levels.largest * levels.unit
    for projection, transform in zip(projections, weights, strict=True):
        exact = transform.values * scale
        shift = _finest_shift(np.minimum(np.abs(exact), w_max * scale), mantissa_max + (unit - 1) / 2, limits)
        mantissas = exact / 2**shift
        if projection.pre in rates:
            means = np.broadcast_to(rates[projection.pre], (transform.in_size,))
            rounded = unit * round_keeping_means(mantissas / unit, transform, means)
        else:
            rounded = unit * np.round(mantissas / unit)
        rounded = np.clip(rounded, -mantissa_max, mantissa_max)
        saturated += int((np.abs(mantissas) > (mantissa_max + 0.5 * unit) * (1 + 1e-9)).sum())
        zeroed += int(((rounded == 0) & (exact != 0)).sum())
        squared_error += float(((rounded * 2**shift - exact) ** 2).sum())
        squared += float((exact**2).sum())
        integers = transform.with_values(rounded.astype(np.int8))
        synapses.append(
            Synapses(
                *(projection.pre, projection.post, integers, shift, levels.stored_bits), projection.delays
            )
        )
    return synapses, {
        "weight_rms_error": float(np.sqrt(squared_error / squared)) if squared else 0.0,
        "saturated_weights": saturated,
        "zeroed_weights": zeroed,
        "n_weights": sum(transform.values.size for transform in weights),
    }


def _largest(weights: Sequence[Transform], percentile: float, levels: Levels) -> float:
    """The percentile of weight magnitudes, zeros left out; 0 where there is none.

    The largest one, where nothing else is asked for; with few levels the one at which rounding errs least.
    """
    magnitudes = np.concatenate([np.abs(t.values).ravel() for t in weights]) if weights else np.zeros(0)
    if percentile >= 100:
        largest = float(magnitudes.max(initial=0.0))
        return largest if levels.stored_bits is None else least_squares_clip(magnitudes, largest, levels)
    magnitudes = magnitudes[magnitudes > 0]
    return float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0


def spike_weights(projection: Projection, population: Population, dt: float) -> Transform:
    """What a spike adds in total to the neuron's input: gain * weight / dt."""
    transform = projection.transform
    if population.gain.ndim:
        transform = transform.scaled_rows(population.gain)
        return transform.with_values(transform.values / dt)
    return transform.with_values(transform.values * (population.gain / dt))


def _times(factor: float) -> str:
    """A factor that is enough, in two digits, as a phrase."""
    unit = 10.0 ** (np.floor(np.log10(factor)) - 1)
    return f"{np.ceil(factor / unit) * unit:g}-fold or more"


def level_step(largest: float, limits: Arithmetic, levels: Levels) -> float:
    """What a level of a stored weight stands for, where `largest` is the weight that few bits are clipped at.

    So it is unless a population's threshold or biases need a smaller scale. The largest weight has the largest exponent
    then, and so have the others of its projection.
    """
    most = (limits.weight_mantissa_max + 1) / limits.weight_mantissa_step
    return float(levels.unit * levels.room * largest / most)


def _finest_shift(exact: NDArray[np.float64], mantissa_max: float, limits: Arithmetic) -> int:
    """The smallest shift whose largest mantissa holds the largest weight, within its rounding."""
    largest = np.abs(exact).max(initial=0.0)
    fitting = (shift for shift in limits.weight_shifts if largest <= (mantissa_max + 0.5) * 2**shift)
    return next(fitting, limits.weight_shifts[-1])


def _sum_of_decay(factor: int, limits: Arithmetic) -> float:
    """The sum of a decaying value, relative to its start; 1 where nothing decays."""
    keeps = factor == 1 << limits.decay_bits
    return 1.0 if keeps else float(decay_magnitude(factor, limits.decay_bits))
