"""Correcting a quantized network for what the chip's neurons do differently, from calibration data.

A neuron that is reset loses what exceeded the threshold, so it fires at 1 / (whole steps), more slowly than the
rectified line says; rounded weights, the steps until the first spike and the time that spikes take through the layers
shift rates as well. All of it is measured on the integer network and put right to first order where it does no harm to
anything else: in what a layer's spikes count for, and in the biases of the layers that they drive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Graph, PartitionedGraph, Population, Projection

Rates = Mapping[str, NDArray[Any]]
"""Firing rates in Hz, (n_samples, size), by population."""


def correct(
    original: PartitionedGraph,
    current: PartitionedGraph,
    measured: Rates,
    intended: Rates | None = None,
) -> PartitionedGraph:
    """Scale what each population's spikes count for, and shift the biases of what they drive.

    Each population on chip is compared with what the rate network makes of the *measured* rates of its inputs, so that
    the errors of one layer are not counted again in the next. The factor s minimises the squared error of
    ``s * measured`` against that; every projection out of the population is multiplied by s. The mean error that is
    left is added, through the projection's weights, to the bias of its target (bias correction: Nagel et al. 2019,
    arXiv 1906.04721, section 4.2). Populations whose neuron model is the discretized one were trained with the chip's
    own rates and need no correction, and those that hear what they said of earlier frames get none: what is added to
    their input comes back, and adds up, with every frame.

    Corrections change rates, and so what there is to correct: repeat it with the result as `current`.

    Parameters
    ----------
    original : PartitionedGraph
        Without corrections.
    current : PartitionedGraph
        As it was when rates were measured.
    measured : dict of arrays
        Rates of the integer network in steady state, encoders included, and values of the inputs.
    intended : dict of arrays, optional
        Mean rates that the rate network's populations have over a sequence: what they are compared with in place of
        what the rate network makes of measured mean rates, as the mean of rates is not the rate at the mean input.

    Returns
    -------
    PartitionedGraph
        `original` with corrections.
    """
    # in double precision: with less, the integers would depend on the order in which a machine adds up
    measured = {name: np.asarray(rates, np.float64) for name, rates in measured.items()}
    if intended is not None:
        intended = {name: np.asarray(rates, np.float64) for name, rates in intended.items()}
    factors: dict[str, float] = {}
    missing: dict[str, NDArray[Any]] = {}
    for population in current.chip.populations:
        if population.neuron.discretized or _hears_itself(current.chip, population):
            continue
        if intended is not None and population.name in intended:
            expected = intended[population.name]
        else:
            projections = (*current.chip.into(population.name), *current.encoder.into(population.name))
            expected = _rates(population, projections, measured)
        rates = measured[population.name]
        factors[population.name] = factor = _factor(expected, rates)
        missing[population.name] = (expected - factor * rates).mean(axis=0, dtype=np.float64)

    def scaled(graph: Graph) -> tuple[Projection, ...]:
        return tuple(
            replace(p, transform=p.transform.with_values(p.transform.values * factors.get(p.pre, 1.0)))
            for p in graph.projections
        )

    def shift(graph: Graph, name: str, size: int) -> NDArray[np.float64]:
        total = np.zeros(size)
        for projection in graph.into(name):
            if projection.pre in missing:
                total += projection.transform.apply(missing[projection.pre][None])[0]
        return total

    chip, readout = original.chip, original.readout
    return replace(
        original,
        chip=replace(
            chip,
            populations=tuple(
                replace(p, bias=p.bias + p.gain * shift(chip, p.name, p.size)) for p in chip.populations
            ),
            projections=scaled(chip),
        ),
        readout=replace(
            readout,
            readouts=tuple(
                replace(r, bias=r.bias + shift(readout, r.name, r.size)) for r in readout.readouts
            ),
            projections=scaled(readout),
        ),
    )


def _hears_itself(chip: Graph, population: Population) -> bool:
    """Whether what a population said of earlier frames arrives at it."""
    return any(p.frames_back and p.pre == population.name for p in chip.into(population.name))


def _rates(population: Population, projections: Iterable[Projection], inputs: Rates) -> NDArray[np.float64]:
    """What a population makes of the mean rates of its inputs."""
    total = np.zeros((1, population.size))
    for projection in projections:
        total = total + projection.transform.apply(inputs[projection.pre])
    return population.neuron.rates(population.currents(total))


def _factor(expected: NDArray[Any], measured: NDArray[Any]) -> float:
    """The factor on measured rates that fits them to the expected ones; 1 where nothing fires."""
    power = float(np.vdot(measured, measured))
    factor = float(np.vdot(expected, measured)) / power if power else 1.0
    return factor if factor > 0 else 1.0
