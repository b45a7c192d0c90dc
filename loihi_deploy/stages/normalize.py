"""Firing rates from calibration data.

Multiplying a population's gain and bias by s and dividing its amplitude by s multiplies its firing rates by s. For
rectified linear neurons nothing else changes: the rate network computes the same function. Others, leaky ones and those
of nengo-loihi, have a curve that a network was trained with: they keep their gains unless a scale is given by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from loihi_deploy.checked import Range, checked
from loihi_deploy.encoders import encoder_populations
from loihi_deploy.engines.rate_sequence import rates_of_frames
from loihi_deploy.errors import NormalizationError, Problem
from loihi_deploy.ir import Graph, NeuronModel, Samples, samples_for
from loihi_deploy.options import ENCODER_RATE, PERCENTILE, TARGET_RATE, Percentile, Rate

LIF_OFFSET = 0.75
"""Input of a leaky neuron that stands for the zero of a rectified linear one; chosen by experiment."""


@checked
def scale_firing_rates(graph: Graph, scale: float | Mapping[str, float]) -> Graph:
    """Multiply firing rates by a factor, as `nengo_dl.Converter` does with its argument of this name.

    Parameters
    ----------
    graph : Graph
    scale : float or dict
        One factor for every population, or one by population name (others stay as they are).

    Returns
    -------
    Graph

    Raises
    ------
    NormalizationError
        Listing unknown populations and factors that are not positive.
    """
    names = [population.name for population in graph.populations]
    factors = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(names, float(scale))
    problems = [
        Problem("no such population", str(name), remedy=f"The populations are {', '.join(names)}")
        for name in factors
        if name not in names
    ]
    problems += [
        Problem("a firing rate scale must be positive", str(name), factor)
        for name, factor in factors.items()
        if not 0 < factor < np.inf
    ]
    if problems:
        raise NormalizationError("Cannot scale firing rates", problems)
    populations = tuple(
        population.rescaled(factors.get(population.name, 1.0)) for population in graph.populations
    )
    return replace(graph, populations=populations)


def calibration_rates(graph: Graph, x: Any, percentile: float | Mapping[str, float]) -> dict[str, float]:
    """The given percentile, of all or by name, of each population's firing rates (Hz) over neurons and samples.

    Only neurons that fire count: those silent for a sample say nothing about how fast the layer's code runs.
    """
    samples = samples_for(graph, x)
    rates: dict[str, list[Any]] = {population.name: [] for population in graph.populations}
    # summed in double precision, kept in single: so the scales do not depend on the order in which a machine adds up
    for batch in rates_of_frames(graph, samples, np.float64):
        for name, found in rates.items():
            found.append(batch[name][batch[name] > 0].astype(np.float32))
    percentiles = percentile if isinstance(percentile, Mapping) else dict.fromkeys(rates, percentile)
    return {
        name: float(np.percentile(np.concatenate(found), percentiles[name])) if any(map(len, found)) else 0.0
        for name, found in rates.items()
    }


@checked
def normalize(
    graph: Graph,
    calibration: Any,
    target_rate: Rate | Mapping[str, Rate] = TARGET_RATE,
    percentile: Percentile = PERCENTILE,
    encoder: str = "auto",
    encoder_rate: Rate = ENCODER_RATE,
    encoder_percentile: Percentile = 100.0,
) -> Graph:
    """Scale rectified linear populations so that a percentile of their firing rates on calibration data is the target.

    Populations with another rate curve (see `NeuronModel.scales`) keep their gains.

    Parameters
    ----------
    graph : Graph
    calibration : array, mapping of arrays or Samples
        (n, *input_shape).
    target_rate : float or dict
        In Hz; one for all, or by population name (the default for others).
    percentile : float
        0..100; see Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682, who chose 99.9.
    encoder : str
        As for `partition`.
    encoder_rate : float
        In Hz: what `encoder_percentile` of the rates of populations that run on the host becomes, or 1 / dt where that
        is less.
    encoder_percentile : float
        0..100. What lies beyond one spike in a step is lost, see `Population.saturating`.

    Returns
    -------
    Graph
        With rescaled populations; the largest magnitude of each input, and whether it has values below 0, are recorded
        for an encoder put in front; its range, for a warning where a run leaves it.

    Raises
    ------
    NormalizationError
        If a population never fires on the calibration data: no scale can be found for it.
    InputError
        If the samples do not fit the network.
    """
    samples = samples_for(graph, calibration)
    rectified = {population.name for population in graph.populations if population.neuron.scales}
    host = encoder_populations(graph, encoder)
    percentiles = {name: encoder_percentile if name in host else percentile for name in graph.nodes}
    measured = {
        name: rate
        for name, rate in calibration_rates(graph, samples, percentiles).items()
        if name in rectified
    }
    silent = [name for name, rate in measured.items() if rate == 0]
    if silent:
        raise NormalizationError(
            "Cannot set firing rates from the calibration data",
            [
                Problem(
                    "never fires on the calibration data",
                    name,
                    remedy="Give calibration samples that reach it, or keep the source's own gains with "
                    "DeployOptions(normalization='none')",
                )
                for name in silent
            ],
        )
    targets = dict(target_rate) if isinstance(target_rate, Mapping) else dict.fromkeys(measured, target_rate)
    targets.update(dict.fromkeys(host, min(encoder_rate, 1 / graph.dt)))
    factors = {name: float(targets.get(name, TARGET_RATE)) / rate for name, rate in measured.items()}
    scaled = with_input_ranges(scale_firing_rates(graph, factors), samples)
    return _saturating(scaled, samples, host & factors.keys()) if encoder_percentile < 100 else scaled


def _saturating(graph: Graph, samples: Samples, names: Set[str]) -> Graph:
    """The graph with the part of spikes that lies beyond one in a step, of the populations named."""
    beyond, total = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for batch in rates_of_frames(graph, samples, np.float64):
        for name in names:
            beyond[name] += float(np.maximum(batch[name] - 1 / graph.dt, 0).sum())
            total[name] += float(batch[name].sum())
    return replace(
        graph,
        populations=tuple(
            replace(p, saturating=beyond[p.name] / total[p.name]) if p.name in names else p
            for p in graph.populations
        ),
    )


def with_input_ranges(graph: Graph, calibration: Any) -> Graph:
    """Record the largest magnitude of each input, and whether it has values below 0, for an encoder put in front.

    Parameters
    ----------
    graph : Graph
    calibration : array, mapping of arrays or Samples
        (n, *input_shape).
    """
    frames = samples_for(graph, calibration).all_frames()
    inputs = []
    for node in graph.inputs:
        values = frames[node.name]
        low, high = float(values.min()), float(values.max())
        magnitude = max(-low, high) or 1.0
        inputs.append(replace(node, scale=magnitude, signed=low < 0, calibrated=(low, high)))
    return replace(graph, inputs=tuple(inputs))


@checked
def with_leaky_neurons(
    graph: Graph,
    encoder: str = "auto",
    tau_rc: Annotated[float, Range(1e-6, 10.0)] = 0.02,
    tau_ref: Annotated[float, Range(0.0, 10.0)] = 0.0,
) -> Graph:
    """Let leaky integrate-and-fire neurons stand in for the rectified linear ones of the chip.

    A leaky neuron far above its threshold of 1 fires at about ``(input - 1/2) / tau_rc``; near it, the fluctuations of
    a spiking input smooth its steep onset. So a rectified linear neuron with input a (in Hz) becomes a leaky one with
    input ``LIF_OFFSET + tau_rc * a``. The rate network stays what it was.

    Parameters
    ----------
    graph : Graph
        With its firing rates set: rates of leaky neurons are not scaled any more.
    encoder : str
        As for `partition`: neurons on the host stay what they are, and so do leaky ones.
    tau_rc, tau_ref : float
        Membrane time constant and refractory period in seconds.
    """
    host = encoder_populations(graph, encoder)
    leaky = NeuronModel("lif", tau_rc, tau_ref, relu_offset=LIF_OFFSET)
    populations = tuple(
        replace(p, neuron=leaky, gain=p.gain * tau_rc, bias=p.bias * tau_rc + LIF_OFFSET)
        if p.name not in host and p.neuron.kind == "if" and not p.neuron.step
        else p
        for p in graph.populations
    )
    return replace(graph, populations=populations)


def with_synapses(graph: Graph, taus: Mapping[str, float]) -> Graph:
    """Give the projections of spikes into chosen populations and readouts another time constant.

    Parameters
    ----------
    graph : Graph
    taus : dict
        Seconds, by the name of the population or readout that the projections end in.

    Raises
    ------
    NormalizationError
        Listing every name that the network does not have.
    """
    inputs = {node.name for node in graph.inputs}
    targets = graph.nodes.keys() - inputs
    problems = [
        Problem("no such population or readout", name, remedy=f"There are {', '.join(sorted(targets))}")
        for name in taus
        if name not in targets
    ]
    if problems:
        raise NormalizationError("Cannot set synapses", problems)
    projections = tuple(
        replace(p, tau=float(taus[p.post])) if p.post in taus and p.pre not in inputs else p
        for p in graph.projections
    )
    return replace(graph, projections=projections)
