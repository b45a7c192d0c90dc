"""The rate network of a Nengo network, run by Nengo itself: one step for each sample, without synapses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nengo
import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.converter import walk_converter
from loihi_deploy.frontends.nengo_network import walk_network
from loihi_deploy.graph import Graph
from loihi_deploy.options import DeployOptions


def nengo_references(
    source: Any, graph: Graph, flat: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, NDArray[Any]]] | None:
    """Activities of each population, in spikes times amplitude; None where parts are left to TensorFlow."""
    is_converter = not isinstance(source, nengo.Network)
    network = source.net if is_converter else source
    if any(type(node).__name__ == "TensorNode" for node in network.all_nodes):
        return None
    walk = (walk_converter if is_converter else walk_network)(source, DeployOptions())
    places = {id(obj): index for index, obj in enumerate(network.all_objects)}
    rates = network.copy()
    copies = rates.all_objects
    dt = 0.001
    with rates:
        for connection in rates.all_connections:
            connection.synapse = None
        for ensemble in rates.all_ensembles:
            ensemble.neuron_type = _rate_neuron(ensemble.neuron_type)
        for node, name in walk.input_names.items():
            copies[places[id(node)]].output = _Samples(_given(flat[name], walk.layout(node).order), dt)
        probes = {
            neurons: nengo.Probe(copies[places[id(neurons.ensemble)]].neurons) for neurons in walk.populations
        }
    with nengo.Simulator(rates, dt=dt, progress_bar=False, optimize=False) as sim:
        sim.run_steps(len(next(iter(flat.values()))), progress_bar=False)
    found = []
    for neurons, name in walk.populations.items():
        values, order = sim.data[probes[neurons]], walk.known[neurons].order
        found.append((name, values if order is None else values[:, np.argsort(order)]))
    return iter(sorted(found, key=lambda item: list(graph.nodes).index(item[0])))


class _Samples:
    """Output function of a node: sample k at step k."""

    def __init__(self, samples: NDArray[Any], dt: float) -> None:
        self.samples = samples
        self.dt = dt

    def __call__(self, t: float) -> NDArray[Any]:
        step = min(max(round(t / self.dt) - 1, 0), len(self.samples) - 1)
        return np.asarray(self.samples[step], np.float64)


def _given(samples: NDArray[Any], order: NDArray[np.intp] | None) -> NDArray[Any]:
    """Stored samples in the order that the node emits."""
    return samples if order is None else samples[:, order]


def _rate_neuron(neuron: Any) -> Any:
    amplitude = float(getattr(neuron, "amplitude", 1.0))
    base = getattr(neuron, "base_type", neuron)
    if base is not neuron:
        amplitude *= float(getattr(base, "amplitude", 1.0))
    if hasattr(base, "tau_rc"):
        return nengo.LIFRate(tau_rc=base.tau_rc, tau_ref=base.tau_ref, amplitude=amplitude)
    return nengo.RectifiedLinear(amplitude=amplitude)
