"""The rate network of a graph: what the spiking network approximates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.graph import Graph, Population, Readout


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
    graph: Graph, inputs: Mapping[str, NDArray[Any]], batch_size: int = 100
) -> Iterator[dict[str, NDArray[Any]]]:
    """`rate_activity` of a large set, batch by batch, in float32."""
    n = len(next(iter(inputs.values())))
    for start in range(0, n, batch_size):
        batch = slice(start, start + batch_size)
        yield rate_activity(graph, {name: x[batch].astype(np.float32) for name, x in inputs.items()})


def rate_outputs(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Readouts of the rate network: a dict of (n, size) float32 arrays, before their activation."""
    names = [readout.name for readout in graph.readouts]
    batches = list(rate_batches(graph, inputs))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def flat_inputs(graph: Graph, x: Any) -> dict[str, NDArray[Any]]:
    """Check samples against the graph's inputs and flatten them.

    Parameters
    ----------
    graph : Graph
    x : array or mapping of arrays
        (n, *shape), or (n, n_frames, *shape), or with flat shapes; a mapping by input name where there are several
        inputs.

    Returns
    -------
    dict of (n, n_frames, size) float arrays
        One frame for static samples.

    Raises
    ------
    InputError
        Wrong names, shapes or numbers of samples, no sample at all, NaN or infinite values: all at once.
    """
    given = dict(x) if isinstance(x, Mapping) else {graph.inputs[0].name: x}
    problems = []
    if set(given) != {node.name for node in graph.inputs}:
        names = ", ".join(node.name for node in graph.inputs)
        raise InputError(
            "The samples do not fit the network",
            Problem(
                "inputs do not match", "x", ", ".join(map(str, given)), names, "Give one array for each input"
            ),
        )
    flat = {}
    for node in graph.inputs:
        try:
            values = np.asarray(given[node.name])
            if values.dtype != np.float32:
                values = values.astype(np.float64)
        except (TypeError, ValueError):
            problems.append(Problem("samples are not numbers", node.name, type(given[node.name]).__name__))
            continue
        given_shape = node.shape
        if node.channels_first:
            given_shape = (node.shape[-1], *node.shape[:-1])
        shapes = [given_shape, (node.size,)]
        if node.shape and node.shape[-1] == 1:
            shapes.append(node.shape[:-1])  # images without their single channel
        if values.ndim >= 1 and len(values) == 0:
            problems.append(
                Problem("there is no sample", node.name, values.shape, remedy="Give at least one sample")
            )
        elif values.ndim >= 1 and values.shape[1:] in shapes:
            flat[node.name] = values.reshape(len(values), 1, node.size)
        elif values.ndim >= 2 and values.shape[2:] in shapes and values.shape[1] > 0:
            flat[node.name] = values.reshape(len(values), values.shape[1], node.size)
        else:
            wanted = f"(n, {', '.join(map(str, given_shape))})"
            problems.append(Problem("wrong shape", node.name, values.shape, wanted, "Reshape the samples"))
            continue
        if node.channels_first:
            images = flat[node.name].reshape(*flat[node.name].shape[:2], *given_shape)
            flat[node.name] = np.moveaxis(images, 2, -1).reshape(flat[node.name].shape)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            problems.append(Problem("samples are not finite", node.name, f"{bad} NaN or infinite values"))
    if len({values.shape[:2] for values in flat.values()}) > 1:
        found = ", ".join(f"{name}: {values.shape[:2]}" for name, values in flat.items())
        problems.append(Problem("inputs have different numbers of samples or frames", "x", found))
    if problems:
        raise InputError("The samples do not fit the network", problems)
    return flat
