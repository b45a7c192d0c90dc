"""What a run lost, said so that it can be put right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from loihi_deploy.errors import Problem
from loihi_deploy.ir import Input, Population, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Counters

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest value, by input."""
LOST = 0.01
"""Part of a layer's spikes, or of its biases, from which on their loss is told; counters have every one."""
FAR_BEYOND, FAR_BELOW = 2.0, 0.2
"""Largest magnitude of an input, as a multiple of the calibrated one, that is told: rates saturate, or hardly fire."""

IN_RANGE = 1.001
"""Largest magnitude, as a multiple of the calibrated one, that still counts as calibrated."""

RESCALE = "Scale the samples as the calibration samples were, or deploy it again with calibration samples like these"
CALIBRATE = (
    "Deploy it with calibration samples like these, by which normalization='percentile' sets its firing rates"
)


def input_ranges(samples: Samples) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each input."""
    arrays = samples.arrays if samples.lengths is None else samples.all_frames()
    return {name: (float(values.min()), float(values.max())) for name, values in arrays.items()}


def may_have_lost(program: Program, counters: Counters) -> bool:
    """Whether `losses` can find anything; to look for the ranges of inputs takes longer."""
    for count in counters.populations.values():
        if count.lost_spikes or count.clipped_biases or count.overflows_q or count.overflows_u:
            return True
    return any(node.calibrated is not None for node in program.encoder.inputs)


def joined_ranges(ranges: Ranges, others: Ranges) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each input in either."""
    return {
        name: (min(low, others[name][0]), max(high, others[name][1])) for name, (low, high) in ranges.items()
    }


def losses(program: Program, ranges: Ranges, n_frames: int, counters: Counters) -> Iterator[Problem]:
    """What a run lost, first of its input.

    Parameters
    ----------
    program : Program
    ranges : dict of (float, float)
        Of the samples, by input: see `input_ranges`.
    n_frames : int
        Of all samples.
    counters : Counters
        Of the run.
    """
    yield from input_losses(program, ranges, n_frames, counters)
    for p in program.populations:
        count = counters.populations[p.name]
        wraps = count.overflows_q + count.overflows_u
        if wraps:
            yield Problem(
                "accumulators wrapped around, which turns large sums into sums of the other sign",
                f"layer '{p.name}'",
                f"{wraps:,} times in {counters.sample_steps:,} steps",
                remedy="Lower the firing rate of this layer, so that its weights are smaller beside its threshold",
            )


def input_losses(program: Program, ranges: Ranges, n_frames: int, counters: Counters) -> Iterator[Problem]:
    """What a run lost of its input; samples outside the calibrated range get the remedy `RESCALE`."""
    lossy: set[str] = set()
    for problem, inputs in _lost_in_front(program, ranges, n_frames, counters):
        yield problem
        lossy |= inputs
    for node in program.encoder.inputs:
        if node.calibrated is None or node.name in lossy:
            continue
        found = ranges[node.name]
        reach, usual = _reach(found), _reach(node.calibrated)
        if reach > FAR_BEYOND * usual:
            what = "values far beyond those that firing rates were set for, which cannot rise so far"
        elif 0 < reach < FAR_BELOW * usual:
            what = "values far below those that firing rates were set for, so that few spikes carry them"
        else:
            continue
        yield Problem(what, f"input '{node.name}'", _text(found), _text(node.calibrated), RESCALE)


def _lost_in_front(
    program: Program, ranges: Ranges, n_frames: int, counters: Counters
) -> Iterator[tuple[Problem, set[str]]]:
    """Spikes and biases lost by the layers that take input values, each with the inputs concerned."""
    driven = {b.population for b in program.bias_inputs}
    for name, count in counters.populations.items():
        if not (count.clipped_biases or count.lost_spikes):
            continue
        meant = 0.0
        if name in driven:
            share = count.clipped_biases / (n_frames * count.size)
            what = "biases taken from the input are clipped: their registers end there"
            part = f"{100 * share:.1f} % of them"
        else:
            share = count.lost_spikes / max(1, count.spikes + count.lost_spikes)
            meant = _saturating(program, name)
            what = "spikes are lost: one for each neuron and step reaches the chip"
            part = f"{100 * share:.1f} % of its spikes"
        if share - meant < LOST:
            continue
        inputs: dict[str, Input] = {
            node.name: node
            for node in program.encoder.inputs
            for projection in program.encoder.into(name)
            if projection.pre == node.name
        }
        found = "; ".join(f"input '{i}' {_text(ranges[i])}" for i in inputs)
        limits = [f"'{i}' {_text(node.calibrated)}" for i, node in inputs.items() if node.calibrated]
        limit = f"calibrated on {', '.join(limits)}" if limits else None
        outside = any(
            node.calibrated and _reach(ranges[i]) > IN_RANGE * _reach(node.calibrated)
            for i, node in inputs.items()
        )
        remedy = RESCALE if outside else _lower_rates(program, ranges, name) if limits else CALIBRATE
        yield Problem(what, f"layer '{name}'", f"{part}, {found}", limit, remedy), set(inputs)


def _lower_rates(program: Program, ranges: Ranges, name: str) -> str:
    """What helps where samples are as they should be, and a layer would have to fire more than once in a step."""
    population = program.encoder.nodes[name]
    if not isinstance(population, Population):  # driven by biases, on chip
        return CALIBRATE
    most = np.zeros((1, population.size))  # of the sum of inputs, whatever values of their ranges they have
    for projection in program.encoder.into(name):
        low, high = (np.full((1, projection.transform.in_size), end) for end in ranges[projection.pre])
        values = projection.transform.values
        most += projection.transform.with_values(np.maximum(values, 0)).apply(high)
        most += projection.transform.with_values(np.minimum(values, 0)).apply(low)
    scale = 0.99 / (float(population.currents(most).max()) * program.dt)
    return (
        f"Scale the firing rates of this layer once more by {scale:.2g}, with scale_firing_rates, or deploy it with "
        "normalization='percentile', which sets them to encoder_rate at most"
    )


def _saturating(program: Program, name: str) -> float:
    """The part of a population's spikes that is meant to be lost."""
    node = program.encoder.nodes.get(name)
    return node.saturating if isinstance(node, Population) else 0.0


def _reach(interval: tuple[float, float]) -> float:
    return max(map(abs, interval))


def _text(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4g} to {interval[1]:.4g}"
