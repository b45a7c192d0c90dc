"""Whether what a recurrent population remembers still fades once its weights are rounded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.host.neurons import lowpass_factor
from loihi_deploy.errors import Problem
from loihi_deploy.ir import PartitionedGraph, Population
from loihi_deploy.ir.program import Program

FADES = 0.998
"""Spectral radius up to which a source's memory is taken to fade: to a third within 550 steps."""


def spectral_radii(partitioned: PartitionedGraph, program: Program) -> dict[str, tuple[float, float]]:
    """Spectral radii of populations on chip that drive themselves, by name: with weights in floats, and rounded.

    A synapse is y' = a y + (1 - a) W r(y + bias) in each step; r are the neurons' rates. Its Jacobian at y = 0 is
    a + (1 - a) W diag(r'(bias)), whose largest eigenvalue says how what was put in goes on: below 1 it fades.

    Parameters
    ----------
    partitioned : PartitionedGraph
    program : Program
        Made of it. Only neurons whose rates are those of the chip's steps are looked at (`NeuronModel.step`): their
        recurrent weights were decoded, or trained, to remember.
    """
    found = {}
    groups = {group.population: group for group in program.scale_groups}
    compartments = {population.name: population for population in program.populations}
    for population in partitioned.chip.populations:
        own = [p for p in partitioned.chip.into(population.name) if p.pre == population.name]
        rounded = [s for s in program.into(population.name) if s.pre == population.name]
        if not own or not population.neuron.step:
            continue
        slopes = _slopes(population)
        gain = np.broadcast_to(population.gain, (population.size,))[:, None]
        exact = gain * sum(p.transform.csr().toarray() for p in own)
        group, chip = groups[population.name], compartments[population.name]
        unit = _threshold(population, program.dt) * group.voltage_scale / chip.threshold / group.current_scale
        integers = sum(s.transform.csr().toarray().astype(np.float64) * 2.0**s.shift for s in rounded)
        kept = program.arithmetic.current_factor(chip.decay_u) / 2**program.arithmetic.decay_bits
        found[population.name] = (
            _radius(lowpass_factor(own[0].tau, program.dt), exact * slopes),
            _radius(kept, integers * unit * program.dt * slopes),
        )
    return found


def rounding_problems(partitioned: PartitionedGraph, program: Program) -> Iterator[Problem]:
    """Memories that fade in floats and do not once they are rounded."""
    for name, (exact, rounded) in spectral_radii(partitioned, program).items():
        if exact <= FADES and rounded >= 1:
            yield Problem(
                "rounded weights keep what the source forgets: the spectral radius of its recurrence",
                name,
                f"{rounded:.4f}",
                f"below 1, as the source's {exact:.4f}",
                "Store weights in 8 bits, weight_bits=8, or take other encoders: another seed of the network",
            )


def _threshold(population: Population, dt: float) -> float:
    return 1 / dt if population.neuron.kind == "if" else 1.0


def _slopes(population: Population) -> NDArray[np.float64]:
    """What a little more input does to each neuron's rate while nothing else comes in."""
    step = 1e-4 * max(1.0, float(np.abs(population.bias).max(initial=0.0)))
    above, below = (population.neuron.rates((population.bias + by)[None])[0] for by in (step, -step))
    return np.asarray((above - below) / (2 * step), np.float64)


def _radius(kept: float, weights: NDArray[np.float64]) -> float:
    """Of ``kept + (1 - kept) weights``."""
    matrix = kept * np.eye(len(weights)) + (1 - kept) * weights
    return float(np.abs(np.linalg.eigvals(matrix)).max())
