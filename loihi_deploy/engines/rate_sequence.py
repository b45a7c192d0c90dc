"""The rate network of a graph over time: what a source with memory computes of a sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.host.neurons import lowpass_factor, numbered
from loihi_deploy.engines.rate_network import rate_batches
from loihi_deploy.ir import Samples, Transform
from loihi_deploy.ir.delays import by_delay
from loihi_deploy.ir.graph import Graph, Population, Projection, Readout

SAMPLES_AT_ONCE = 100
"""Samples whose frames are evaluated at a time."""


def rates_over_time(
    graph: Graph, frames: Mapping[str, NDArray[Any]], hold: int = 1, *, delayed: bool = False
) -> dict[str, NDArray[Any]]:
    """Evaluate the rate network frame by frame, with the state of its synapses and of its recurrent projections.

    A synapse is y[t] = a y[t-1] + (1 - a) x[t], a = exp(-dt / tau), from 0, as `keras_spiking.Lowpass` computes it, and
    a recurrent projection brings what was there one step ago. Delays bring what was there so many steps earlier, and
    `frames_back` what was there so many frames earlier, whatever delays were made of it.

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
    parts = {key: _by_lateness(p, hold) for key, p in projections.items()}
    longest = max((late for found in parts.values() for late, _ in found), default=0)
    past = deque([before] * (1 + longest), maxlen=1 + longest)  # newest first
    sums = {node.name: np.zeros((n, n_frames, node.size), dtype) for node in nodes}
    for step in range(n_frames * hold):
        frame = step // hold
        now: dict[str, NDArray[Any]] = {name: x[:, frame] for name, x in frames.items()}
        for node in nodes:
            total = np.zeros((n, node.size), dtype)
            for key, p in into[node.name]:
                earlier = not p.frames_back and (place[p.pre] >= place[p.post] or (delayed and p.tau > 0))
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


def _by_lateness(projection: Projection, hold: int) -> list[tuple[int, Transform]]:
    """The transform of a projection by the steps, of which a frame has `hold`, that it holds back."""
    if projection.frames_back:
        return [(projection.frames_back * hold, projection.transform)]
    return by_delay(projection.delays, projection.transform)


def rates_of_frames(
    graph: Graph, samples: Samples, dtype: Any = np.float32
) -> Iterator[dict[str, NDArray[Any]]]:
    """`rate_activity` of every frame of some samples, one below the other, some samples at a time.

    Projections with `frames_back` bring what was there at earlier frames; synapses, which smooth, are left out.
    """
    if not graph.holds_frames:
        yield from rate_batches(graph, samples.all_frames(), dtype=dtype)
        return
    unfiltered = replace(graph, projections=tuple(replace(p, tau=0.0) for p in graph.projections))
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        part = samples.take(slice(start, start + SAMPLES_AT_ONCE))
        found = rates_over_time(unfiltered, {name: x.astype(dtype) for name, x in part.arrays.items()})
        yield replace(part, arrays=found, given={}).all_frames()
