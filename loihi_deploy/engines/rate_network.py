"""The rate network of a graph: what the spiking network approximates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.graph import Graph, Population, Readout


def is_feedforward(graph: Graph) -> bool:
    """Whether every population stands behind those that drive it, but for what it hears of earlier frames."""
    seen = {node.name for node in graph.inputs}
    for population in graph.populations:
        if any(p.pre not in seen and not p.frames_back for p in graph.into(population.name)):
            return False
        seen.add(population.name)
    return True


def rate_activity(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Evaluate the rate network on a batch.

    Parameters
    ----------
    graph : Graph
        Without recurrent projections.
    inputs : dict of (n, size) arrays
        Flat samples for each input; their dtype (float32 or float64) is the dtype of the sums.

    Returns
    -------
    dict of (n, size) arrays
        Firing rates in Hz for each population, real values for each readout (before its activation).

    Raises
    ------
    InputError
        If a population is driven by one that stands behind it: a recurrent network has no rates by one pass.
    """
    activity: dict[str, NDArray[Any]] = dict(inputs)
    n, dtype = next((len(x), x.dtype) for x in inputs.values())
    amplitude = {population.name: population.amplitude for population in graph.populations}
    for node in graph.all_nodes[len(graph.inputs) :]:
        total = np.zeros((n, node.size), dtype)
        for projection in graph.into(node.name):
            if projection.pre not in activity:
                raise InputError(
                    "The rate network cannot be evaluated in one pass",
                    Problem("recurrent projection", projection.name, remedy="Give firing rates by hand"),
                )
            values = activity[projection.pre]
            total += projection.transform.apply(values) * dtype.type(amplitude.get(projection.pre, 1.0))
        if isinstance(node, Population):
            activity[node.name] = node.neuron.rates(node.currents(total))
        elif isinstance(node, Readout):
            activity[node.name] = total + node.bias.astype(dtype)
    return {name: values for name, values in activity.items() if name not in inputs}


def rate_batches(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], batch_size: int = 100, dtype: Any = np.float32
) -> Iterator[dict[str, NDArray[Any]]]:
    """`rate_activity` of a large set, batch by batch; `dtype` is that of the sums."""
    n = len(next(iter(inputs.values())))
    for start in range(0, n, batch_size):
        batch = slice(start, start + batch_size)
        yield rate_activity(graph, {name: x[batch].astype(dtype) for name, x in inputs.items()})


def rate_outputs(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Readouts of the rate network: a dict of (n, size) float32 arrays, before their activation."""
    names = [readout.name for readout in graph.readouts]
    batches = list(rate_batches(graph, inputs))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}
