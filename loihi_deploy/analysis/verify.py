"""Where accuracy goes: a network after each stage on its way to the chip, beside the rate network it came from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.rate_network import rate_batches
from loihi_deploy.engines.spiking_network import spiking_outputs, spiking_rates
from loihi_deploy.ir import Graph, Population, Projection, Samples
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.tables import Page, Shown, Table, percent, warned

Rates = Mapping[str, NDArray[Any]]
"""Firing rates in Hz, (n_samples, size), by population."""

logger = logging.getLogger(__name__)

RATE = "rate network, floats"
SPIKING = "spiking network, floats"
QUANTIZED = "rate network, quantized"
INTEGER = "integer program"
REFERENCE = "nengo-loihi's emulator"

SATURATED = 0.9
"""A neuron is saturated where it fires in this part of the steps."""


@dataclass(frozen=True)
class LayerAgreement:
    """Firing rates of one layer at one stage, beside those of the rate network.

    Parameters
    ----------
    name : str
    correlation : float
        Pearson's, over neurons and samples; 1 where both are constant and equal.
    relative_error : float
        Root mean square difference over the root mean square of the rate network's rates.
    silent : float
        Fraction of neurons that never fire, of those that fire in the rate network.
    saturated : float
        Fraction of neurons and samples that fire in nine steps of ten, or more often.
    """

    name: str
    correlation: float
    relative_error: float
    silent: float
    saturated: float


@dataclass(frozen=True)
class Stage:
    """The network after one stage.

    Parameters
    ----------
    name : str
    accuracy : float or None
        Fraction of samples whose class is right; None without labels.
    agreement : float
        Fraction of samples for which it decides as the rate network does.
    n_samples : int
    layers : tuple of LayerAgreement
    """

    name: str
    accuracy: float | None
    agreement: float
    n_samples: int
    layers: tuple[LayerAgreement, ...]


@dataclass(frozen=True)
class Verification(Shown, OneLine):
    """The outcome of `Deployment.verify`.

    Parameters
    ----------
    stages : tuple of Stage
        The rate network first.
    saturated_weights, zeroed_weights : dict of float
        Fractions by population.
    overflows : dict of int
        Accumulators that wrapped around, by population, on the emulator.
    remedies : tuple of str
        The stage and the layer that lose most, and what to try.
    """

    stages: tuple[Stage, ...]
    saturated_weights: Mapping[str, float]
    zeroed_weights: Mapping[str, float]
    overflows: Mapping[str, int]
    remedies: tuple[str, ...]

    def page(self) -> Page:
        """A row for each stage, then one for each layer of each stage, and what to try."""
        stages = tuple(
            (stage.name, str(stage.n_samples), percent(stage.accuracy), percent(stage.agreement))
            for stage in self.stages
        )
        layers = [
            (
                layer.name,
                stage.name,
                f"{layer.correlation:.4f}",
                percent(layer.relative_error),
                percent(layer.silent),
                percent(layer.saturated),
            )
            for name in dict.fromkeys(layer.name for layer in self.stages[0].layers)
            for stage in self.stages[1:]
            for layer in stage.layers
            if layer.name == name
        ]
        wrapped = [
            f"{name}: {count:,} accumulators wrapped around"
            for name, count in self.overflows.items()
            if count
        ]
        columns = ("layer", "stage", "correlation", "relative error", "silent", "saturated")
        return Page(
            (
                Table("Stages", ("stage", "samples", "accuracy", "decides as the rate network"), stages),
                Table("Firing rates beside the rate network's", columns, tuple(layers), names=2),
                *warned(wrapped),
                *self.remedies,
            )
        )


def layer_agreements(expected: Rates, found: Rates, dt: float) -> tuple[LayerAgreement, ...]:
    """Compare firing rates layer by layer; `dt` in seconds says what is saturated."""
    layers = []
    for name, rates in found.items():
        ideal = expected[name]
        power = float(np.sqrt(np.mean(np.square(ideal, dtype=np.float64))))
        error = float(np.sqrt(np.mean(np.square(rates - ideal, dtype=np.float64))))
        fires = ideal.max(axis=0) > 0
        silent = (rates.max(axis=0) == 0) & fires
        layers.append(
            LayerAgreement(
                name,
                _correlation(ideal, rates),
                error / power if power else (0.0 if error == 0 else np.inf),
                float(silent.sum() / max(1, fires.sum())),
                float(np.mean(rates * dt >= SATURATED)),
            )
        )
    return tuple(layers)


def _correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else float(np.array_equal(x, y))


def remedies(
    stages: tuple[Stage, ...], zeroed: Mapping[str, float], overflows: Mapping[str, int]
) -> tuple[str, ...]:
    """Name the stage and the layer that lose most, and one thing to try for each."""
    found = []
    loss, worst = max(
        ((before.agreement - after.agreement, after) for before, after in pairwise(stages)),
        key=lambda pair: pair[0],
    )
    if loss > 0:
        advice = {
            SPIKING: "present samples for more steps",
            QUANTIZED: "look at the rounding errors of the layers' weights",
            INTEGER: "present samples for more steps, or give more calibration samples",
        }.get(worst.name, "report it: this stage must not lose anything")
        found.append(f"{worst.name} loses most, {100 * loss:.1f} % of decisions: {advice}")
    else:
        worst = next(stage for stage in stages if stage.name == INTEGER)
    layer = max(worst.layers, key=lambda each: each.relative_error)
    if layer.silent > 0.1:
        found.append(f"{layer.name}: {100 * layer.silent:.0f} % of neurons silent: raise its rate")
    elif layer.saturated > 0.01:
        found.append(f"{layer.name}: {100 * layer.saturated:.1f} % of neurons saturated: lower its rate")
    else:
        advice_for_layer = "present samples for more steps"
        if zeroed.get(layer.name, 0) > 0.5:
            advice_for_layer = (
                f"{100 * zeroed[layer.name]:.0f} % of its weights are 0: clip its largest weights"
            )
        found.append(
            f"{layer.name}: relative error of firing rates {100 * layer.relative_error:.0f} % ({worst.name}): "
            f"{advice_for_layer}"
        )
    for name, count in overflows.items():
        if count:
            found.append(
                f"{name}: {count} accumulators wrapped around: lower the rates of the layers before it"
            )
    return tuple(found)


def verify_stages(
    graph: Graph,
    uncorrected: Program,
    program: Program,
    mapping: CoreMapping,
    samples: Samples,
    labels: NDArray[np.int64] | None,
    steps: int,
    window: float,
    reference_samples: int,
) -> Verification:
    """Run the network as it is after each stage; see `Deployment.verify`.

    Parameters
    ----------
    graph : Graph
        The normalized float network.
    uncorrected : Program
        It, quantized without corrections.
    program : Program
        What the chip runs.
    mapping : Mapping
        Its cores, for nengo-loihi's emulator.
    samples : Samples
        Static ones.
    labels : (n,) int array or None
    steps : int
    window : float
    reference_samples : int
        Samples for nengo-loihi's emulator; 0 leaves the stage out.
    """
    n = len(samples)
    inputs, still = samples.arrays, samples.first_frames()
    expected, ideal = _rates(graph, still)
    decisions = ideal.argmax(axis=1)

    def stage(name: str, outputs: NDArray[Any], rates: Rates, m: int = n) -> Stage:
        found = outputs.reshape(m, -1).argmax(axis=1)
        return Stage(
            name,
            None if labels is None else float((found == labels[:m]).mean()),
            float((found == decisions[:m]).mean()),
            m,
            layer_agreements({k: x[:m] for k, x in expected.items()}, rates, graph.dt),
        )

    def known(rates: Rates) -> dict[str, NDArray[Any]]:
        return {name: values for name, values in rates.items() if name in expected}

    stages = [stage(RATE, ideal, expected)]
    logger.info(SPIKING)
    spiking = spiking_rates(graph, inputs, steps, window)
    stages.append(stage(SPIKING, spiking_outputs(graph, inputs, steps, window), spiking))
    logger.info(QUANTIZED)
    quantized, outputs = _rates(rate_graph(uncorrected, graph), still)
    stages.append(stage(QUANTIZED, outputs, known(quantized)))
    logger.info(INTEGER)
    options = RunOptions(steps, readout_window=window, progress=False)
    result = backends.run(program, samples, options)
    measured = backends.firing_rates(program, samples, steps, window)
    stages.append(stage(INTEGER, result.outputs, known(measured)))
    m = min(n, reference_samples)
    if m:
        populations = [p.name for p in program.populations]
        on_theirs = replace(options, backend="nengo_loihi", record=populations)
        logger.info(REFERENCE)
        theirs = backends.run(program, samples.take(slice(m)), on_theirs, mapping)
        last = steps - window_steps(steps, window)
        rates = {p: theirs.recorded[p]["spikes"][:, last:].mean(axis=1) / program.dt for p in populations}
        stages.append(stage(REFERENCE, theirs.outputs, known(rates), m))
    groups = program.scale_groups
    zeroed = {g.population: g.zeroed_weights / max(1, g.n_weights) for g in groups}
    overflows = {
        name: counts.overflows_q + counts.overflows_u for name, counts in result.counters.populations.items()
    }
    return Verification(
        tuple(stages),
        {g.population: g.saturated_weights / max(1, g.n_weights) for g in groups},
        zeroed,
        overflows,
        remedies(tuple(stages), zeroed, overflows),
    )


def rate_graph(program: Program, graph: Graph) -> Graph:
    """The rate network that a program's integers stand for: its weights, biases and thresholds in floats again.

    Parameters
    ----------
    program : Program
        Not corrected: corrections of what the chip's neurons lose have no place in a rate network.
    graph : Graph
        The float network it was made from, for the neuron models.
    """
    groups = {group.population: group for group in program.scale_groups}
    populations = [replace(p, amplitude=1.0) for p in program.encoder.populations]
    projections = list(program.encoder.projections)
    for compartments in program.populations:
        group = groups[compartments.name]
        model = graph.nodes[compartments.name]
        assert isinstance(model, Population)  # a program's populations are those of its graph
        threshold = 1 / program.dt if model.neuron.kind == "if" else 1.0
        scale = threshold * group.voltage_scale / compartments.threshold
        offset = model.neuron.relu_offset or 0.0
        bias = (compartments.bias / group.bias_scale - offset) * scale + offset
        populations.append(Population(compartments.name, compartments.shape, model.neuron, np.ones(1), bias))
        for synapses in program.into(compartments.name):
            weights = (synapses.transform.values.astype(np.float64) * 2**synapses.shift) / group.current_scale
            transform = synapses.transform.with_values(weights * scale * program.dt)
            projections.append(Projection(synapses.pre, synapses.post, transform))
    return Graph(
        program.encoder.inputs,
        tuple(populations),
        (*projections, *program.readout.projections),
        program.readout.readouts,
        program.dt,
    )


def _rates(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """Firing rates of every population, and the first readout, of the rate network."""
    batches = list(rate_batches(graph, inputs))
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return {p.name: joined[p.name] for p in graph.populations}, joined[graph.readouts[0].name]
