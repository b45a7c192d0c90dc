"""Networks of NengoDL's Converter as plain Nengo networks, by way of this package's own conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nengo
import nengo_loihi
import numpy as np

from loihi_deploy.frontends import convert
from loihi_deploy.ir import Conv2D, Dense, PartitionedGraph, Population, Projection, Transform
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.partition import partition


@dataclass(frozen=True)
class Converted:
    """A network, and the objects of the Converter that objects of it stand for.

    Parameters
    ----------
    network : nengo.Network
    stands_for : dict
        Nodes and probes of the network by those of the Converter.
    """

    network: nengo.Network
    stands_for: Mapping[Any, Any]


def is_converter(source: Any) -> bool:
    """Whether it is a `nengo_dl.Converter`; does not import NengoDL."""
    return any(
        cls.__module__.startswith("nengo_dl.") and cls.__name__ == "Converter" for cls in type(source).__mro__
    )


def converted(converter: Any, dt: float) -> Converted:
    """Convert a Converter's network.

    Raises
    ------
    ConversionError, PartitionError
        With every layer that has no counterpart on the chip.
    """
    graph = convert(converter, DeployOptions(dt=dt, normalization="none"))
    network, nodes, probes = network_of(partition(graph))
    inputs = zip(converter.inputs.values(), (nodes[one.name] for one in graph.inputs), strict=True)
    outputs = zip(converter.outputs.values(), (probes[one.name] for one in graph.readouts), strict=True)
    return Converted(network, {**dict(inputs), **dict(outputs)})


def network_of(
    partitioned: PartitionedGraph,
) -> tuple[nengo.Network, dict[str, nengo.Node], dict[str, nengo.Probe]]:
    """Build a Nengo network: its encoder on the host, its other populations on chip, its readouts as nodes.

    Returns
    -------
    (nengo.Network, dict, dict)
        The network, its input nodes and the probes of its readouts by name.
    """
    with nengo.Network(label="converted", seed=0) as network:
        nengo_loihi.add_params(network)
        nodes = {
            one.name: nengo.Node(np.zeros(one.size), label=one.name) for one in partitioned.encoder.inputs
        }
        senders: dict[str, Any] = dict(nodes)
        for population in (*partitioned.encoder.populations, *partitioned.chip.populations):
            on_chip = population in partitioned.chip.populations
            ensemble = _ensemble(population, on_chip=on_chip)
            network.config[ensemble].on_chip = on_chip
            senders[population.name] = ensemble.neurons
        for projection in (*partitioned.encoder.projections, *partitioned.chip.projections):
            _connect(senders[projection.pre], senders[projection.post], projection)
        probes = {}
        for readout in partitioned.readout.readouts:
            decoded = nengo.Node(size_in=readout.size)
            biased = nengo.Node(
                lambda t, x, bias=readout.bias: x + bias, size_in=readout.size, label=readout.name
            )
            nengo.Connection(decoded, biased, synapse=None)
            for projection in partitioned.readout.into(readout.name):
                _connect(senders[projection.pre], decoded, projection)
            probes[readout.name] = nengo.Probe(biased)
    return network, nodes, probes


def _ensemble(population: Population, *, on_chip: bool) -> nengo.Ensemble:
    model = population.neuron
    voltage = np.zeros(population.size) if population.initial_voltage is None else population.initial_voltage
    settings: dict[str, Any] = {"initial_state": {"voltage": voltage}}
    if model.kind == "lif":
        settings.update(tau_rc=model.tau_rc, tau_ref=model.tau_ref)
        kind = nengo_loihi.LoihiLIF if model.discretized and not on_chip else nengo.LIF
    else:
        discretized = model.discretized and not on_chip
        kind = nengo_loihi.LoihiSpikingRectifiedLinear if discretized else nengo.SpikingRectifiedLinear
    return nengo.Ensemble(
        population.size,
        1,
        neuron_type=kind(**settings),
        gain=np.broadcast_to(population.gain, population.size),
        bias=population.bias,
        label=population.name,
    )


def _connect(pre: Any, post: Any, projection: Projection) -> None:
    synapse = nengo.Lowpass(projection.tau) if projection.tau else None
    nengo.Connection(pre, post, transform=_transform(projection.transform, post), synapse=synapse)


def _transform(transform: Transform, post: Any) -> Any:
    """A transform as Nengo has it; sparse where Nengo has no such convolution, or gains differ."""
    if isinstance(transform, Dense):
        return transform.weights
    one_gain = isinstance(post, nengo.ensemble.Neurons) and np.ptp(post.ensemble.gain) == 0
    if isinstance(transform, Conv2D) and one_gain and (padding := _padding(transform)):
        return nengo.Convolution(
            transform.out_shape[2],
            transform.in_shape,
            kernel_size=transform.kernel.shape[:2],
            strides=transform.strides,
            padding=padding,
            init=transform.kernel,
        )
    matrix = transform.csr().tocoo()
    return nengo.Sparse(matrix.shape, init=matrix)


def _padding(conv: Conv2D) -> str | None:
    """Nengo's name for the padding of a convolution."""
    if conv.groups != 1:
        return None
    sizes = list(
        zip(conv.in_shape, conv.kernel.shape, conv.strides, conv.padding, conv.out_shape, strict=False)
    )[:2]
    if all(before == 0 and out == (n - kernel) // stride + 1 for n, kernel, stride, before, out in sizes):
        return "valid"
    if all(
        out == -(-n // stride) and before == max((out - 1) * stride + kernel - n, 0) // 2
        for n, kernel, stride, before, out in sizes
    ):
        return "same"
    return None
