"""Recurrent synapses for layers that are to remember: weights that training through spikes starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np

from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Projection


@checked
def with_recurrence(
    graph: Graph,
    name: str,
    strength: Annotated[float, Range(0.0, 1e3)] = 0.1,
    seed: Annotated[int, Range(0, 2**31)] = 0,
) -> Graph:
    """Let the neurons of a population drive each other, each all of them, through the synapse of their other inputs.

    Weights are drawn at random, and small: no rate network is needed to set them. `SurrogateChip` trains them.

    Parameters
    ----------
    graph : Graph
        With the firing rates that it is to have, which nothing sets for a recurrent network: that of a deployment
        without recurrence (`Deployment.graph`), to be deployed anew with ``normalization='none'``.
    name : str
        Of a population that is to be on chip.
    strength : float
        Root mean square of what all recurrent weights of a neuron add up to, in that of its other inputs' weights.
    seed : int
        Of the weights.

    Returns
    -------
    Graph

    Raises
    ------
    InputError
        If it is no population with inputs of its own, or drives itself already.
    """
    populations = {population.name: population for population in graph.populations}
    drives = graph.into(name) if name in populations else ()
    if not drives:
        raise InputError.single("no population that anything drives", "name", name, ", ".join(populations))
    if any(p.pre == name for p in drives):
        raise InputError.single("drives itself already", "name", name)
    size = populations[name].size
    counts_for = {population.name: population.amplitude for population in graph.populations}
    squares = sum(float(((p.transform.csr().data * counts_for.get(p.pre, 1.0)) ** 2).sum()) for p in drives)
    spread = strength * np.sqrt(squares) / size / counts_for[name]
    weights = np.random.default_rng(seed).normal(0, spread, (size, size))
    return replace(
        graph, projections=(*graph.projections, Projection(name, name, Dense(weights), drives[0].tau))
    )
