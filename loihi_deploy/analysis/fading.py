"""Whether what a recurrent population remembers fades, once its weights are rounded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Population
from loihi_deploy.ir.program import Program


def spectral_radius(program: Program, population: Population) -> float:
    """Of a population's recurrence in the chip's integers, around rest: below 1 what was put in fades.

    Its synapse is y' = a y + (1 - a) W r(y + bias) in each step; r are the neurons' rates. The radius is the largest
    magnitude among the eigenvalues of the Jacobian at y = 0, a + (1 - a) W diag(r'(bias)).

    Parameters
    ----------
    program : Program
    population : Population
        Of the graph that the program was made of: its neurons are the program's of this name.
    """
    [group] = [group for group in program.scale_groups if group.population == population.name]
    [chip] = [p for p in program.populations if p.name == population.name]
    threshold = 1 / program.dt if population.neuron.kind == "if" else 1.0
    weights = np.zeros((population.size, population.size))
    for synapses in program.into(population.name):
        if synapses.pre == population.name:
            weights += synapses.transform.csr().toarray().astype(np.float64) * 2.0**synapses.shift
    rescaled = threshold * group.voltage_scale / chip.threshold
    weights *= rescaled * program.dt / group.current_scale
    slopes = _slopes(population, rescaled * chip.bias / group.bias_scale)
    kept = program.arithmetic.current_factor(chip.decay_u) / 2**program.arithmetic.decay_bits
    jacobian = kept * np.eye(population.size) + (1 - kept) * weights * slopes
    return float(np.abs(np.linalg.eigvals(jacobian)).max())


def _slopes(population: Population, bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a little more input does to each neuron's rate while nothing else comes in."""
    step = 1e-4 * max(1.0, float(np.abs(bias).max(initial=0.0)))
    above, below = (population.neuron.rates((bias + by)[None])[0] for by in (step, -step))
    return np.asarray((above - below) / (2 * step), np.float64)
