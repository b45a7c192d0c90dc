"""The rate network of a graph over time: what a source with memory computes of a sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.host.neurons import lowpass_factor, numbered
from loihi_deploy.ir.delays import by_delay
from loihi_deploy.ir.graph import Graph, Population, Readout


def rates_over_time(
    graph: Graph, frames: Mapping[str, NDArray[Any]], hold: int = 1, *, delayed: bool = False
) -> dict[str, NDArray[Any]]:
    """Evaluate the rate network frame by frame, with the state of its synapses and of its recurrent projections.

    A synapse is y[t] = a y[t-1] + (1 - a) x[t], a = exp(-dt / tau), from 0, as `keras_spiking.Lowpass` computes it, and
    a recurrent projection brings what was there one step ago. Delays bring what was there so many steps earlier.

    Parameters
    ----------
    graph : Graph
    frames : dict of (n, n_frames, size) arrays
        By input; their dtype (float32 or float64) is the dtype of the sums.
    hold : int
        Steps that each frame is there for.
    delayed : bool
        Whether what a synapse filters is there one step later, as in Nengo.

    Returns
    -------
    dict of (n, n_frames, size) arrays
        Means over the steps of each frame: rates in Hz of each population, and values of each readout before its
        activation.
    """
    n, n_frames = next(iter(frames.values())).shape[:2]
    dtype = np.result_type(*frames.values())
    nodes = graph.all_nodes[len(graph.inputs) :]
    place = {node.name: k for k, node in enumerate(graph.all_nodes)}
    projections = numbered(graph)
    into = {node.name: [(key, p) for key, p in projections.items() if p.post == node.name] for node in nodes}
    factor = {key: dtype.type(lowpass_factor(p.tau, graph.dt)) for key, p in projections.items()}
    filtered = {key: np.zeros((n, p.transform.out_size), dtype) for key, p in projections.items()}
    # what each node gives: spikes' rates times what a spike stands for
    before = {node.name: np.zeros((n, node.size), dtype) for node in graph.all_nodes}
    parts = {key: by_delay(p.delays, p.transform) for key, p in projections.items()}
    longest = max((p.most_delay for p in graph.projections), default=0)
    past = deque([before] * (1 + longest), maxlen=1 + longest)  # newest first
    sums = {node.name: np.zeros((n, n_frames, node.size), dtype) for node in nodes}
    for step in range(n_frames * hold):
        frame = step // hold
        now: dict[str, NDArray[Any]] = {name: x[:, frame] for name, x in frames.items()}
        for node in nodes:
            total = np.zeros((n, node.size), dtype)
            for key, p in into[node.name]:
                earlier = place[p.pre] >= place[p.post] or (delayed and p.tau > 0)
                arriving = sum(
                    part.apply((past[late + earlier - 1] if late + earlier else now)[p.pre])
                    for late, part in parts[key]
                )
                a = factor[key]
                filtered[key] = a * filtered[key] + (1 - a) * arriving
                total += filtered[key]
            if isinstance(node, Population):
                rates = node.neuron.rates(node.currents(total))
                now[node.name] = rates * dtype.type(node.amplitude)
                sums[node.name][:, frame] += rates
            elif isinstance(node, Readout):
                sums[node.name][:, frame] += total + node.bias.astype(dtype)
        past.appendleft(now)
    return {name: values / dtype.type(hold) for name, values in sums.items()}
