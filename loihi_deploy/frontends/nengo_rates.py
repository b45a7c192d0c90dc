"""The rate network of a Nengo network, run by Nengo itself: one step for each sample, without synapses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nengo
import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.converter import walk_converter
from loihi_deploy.frontends.layouts import is_whole
from loihi_deploy.frontends.nengo_network import walk_network
from loihi_deploy.ir import Graph, NeuronModel
from loihi_deploy.options import DeployOptions

DT = 0.001


def nengo_references(
    source: Any, graph: Graph, flat: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, NDArray[Any]]] | None:
    """Activities of each population, in spikes times amplitude; None where parts are left to TensorFlow."""
    is_converter = not isinstance(source, nengo.Network)
    network = source.net if is_converter else source
    if any(type(node).__name__ == "TensorNode" for node in network.all_nodes):
        return None
    walk = (walk_converter if is_converter else walk_network)(source, DeployOptions())
    order = {name: index for index, name in enumerate(graph.nodes)}
    neurons = sorted(walk.populations, key=lambda obj: order[walk.populations[obj]])
    made: dict[Any, Any] = {}
    with nengo.Network() as rates:
        for node in network.all_nodes:
            output = node.output
            if node in walk.input_names:
                output = _Samples(flat[walk.input_names[node]], walk.layout(node).order)
            made[node] = nengo.Node(output, size_in=node.size_in)
        for obj in neurons:
            gain, bias = walk.drawn[obj]
            ensemble = obj.ensemble
            neuron, amplitude = walk.models[obj]
            with_rates = _ChipRates(neuron, amplitude) if neuron.step else _rate_neuron(ensemble.neuron_type)
            made[ensemble] = nengo.Ensemble(
                obj.size_in,
                ensemble.dimensions,
                radius=ensemble.radius,
                gain=gain,
                bias=bias,
                neuron_type=with_rates,
                **_encoding(walk, ensemble),
            )
            made[obj] = made[ensemble].neurons
        for connection in network.all_connections:
            if connection.pre_obj in made and connection.post_obj in made:
                nengo.Connection(
                    _part(made[connection.pre_obj], connection.pre_slice),
                    _part(made[connection.post_obj], connection.post_slice),
                    transform=connection.transform,
                    synapse=None,
                    seed=walk.parameters.model.seeds[connection],
                    **_decoding(connection),
                )
        probes = [nengo.Probe(made[obj]) for obj in neurons]
    with nengo.Simulator(rates, dt=DT, progress_bar=False, optimize=False) as sim:
        sim.run_steps(len(next(iter(flat.values()))), progress_bar=False)
    found = []
    for obj, probe in zip(neurons, probes, strict=True):
        values, stored = sim.data[probe], walk.known[obj].order
        found.append((walk.populations[obj], values if stored is None else values[:, np.argsort(stored)]))
    return iter(found)


def _encoding(walk: Any, ensemble: Any) -> dict[str, Any]:
    """Encoders and evaluation points, where values are encoded or decoded."""
    built = walk.parameters.model.params.get(ensemble)
    if built is None or not (ensemble in walk.into or ensemble in walk.solved):
        return {}
    points = built.eval_points / ensemble.radius
    return {"encoders": built.encoders, "eval_points": points, "normalize_encoders": False}


def _decoding(connection: Any) -> dict[str, Any]:
    """How values are decoded, where they are."""
    if not isinstance(connection.pre_obj, nengo.Ensemble):
        return {}
    named = ("function", "solver", "eval_points", "scale_eval_points")
    return {name: getattr(connection, name) for name in named}


class _ChipRates(nengo.neurons.NeuronType):  # type: ignore[misc]
    """Neurons that give the rates of the chip's, and no spikes."""

    def __init__(self, neuron: NeuronModel, amplitude: float) -> None:
        super().__init__()
        self.neuron, self.amplitude = neuron, amplitude

    def step(self, dt: float, J: NDArray[Any], output: NDArray[Any]) -> None:  # noqa: N803 as in Nengo
        """Set the output to the rates at input currents J."""
        output[...] = self.amplitude * self.neuron.rates(J)


class _Samples:
    """Output function of a node: sample k at step k, in the order that the node emits."""

    def __init__(self, samples: NDArray[Any], order: NDArray[np.intp] | None) -> None:
        self.samples = np.asarray(samples if order is None else samples[:, order], np.float64)

    def __call__(self, t: float) -> NDArray[np.float64]:
        step = min(max(round(t / DT) - 1, 0), len(self.samples) - 1)
        values: NDArray[np.float64] = self.samples[step]
        return values


def _part(obj: Any, which: Any) -> Any:
    return obj if is_whole(which) else obj[which]


def _rate_neuron(neuron: Any) -> Any:
    amplitude = float(getattr(neuron, "amplitude", 1.0))
    base = getattr(neuron, "base_type", neuron)
    if base is not neuron:
        amplitude *= float(getattr(base, "amplitude", 1.0))
    if hasattr(base, "tau_rc"):
        return nengo.LIFRate(tau_rc=base.tau_rc, tau_ref=base.tau_ref, amplitude=amplitude)
    return nengo.RectifiedLinear(amplitude=amplitude)
