"""Networks of NengoDL's Converter as plain Nengo networks, by way of this package's own conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nengo
import nengo_loihi
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.frontends.converter import walk_converter
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
    layer_probes : dict of LayerProbe
        How what is probed of a layer is to be read, by the Converter's probe.
    input_orders : dict of int arrays
        Where the elements of an input stand that the network stores in another order, by the Converter's node.
    """

    network: nengo.Network
    stands_for: Mapping[Any, Any]
    layer_probes: Mapping[Any, LayerProbe]
    input_orders: Mapping[Any, NDArray[np.intp]]


@dataclass(frozen=True)
class LayerProbe:
    """A probe of a population, in the units and the order of the Converter's layer.

    Parameters
    ----------
    amplitude : float
        What the layer's value of a spike is times.
    order : (size,) int array or None
        Where the layer's elements stand in the population; None: in its order.
    """

    amplitude: float
    order: NDArray[np.intp] | None

    def read(self, values: NDArray[Any]) -> NDArray[Any]:
        """Probed values, (..., size), as the layer has them."""
        result: NDArray[Any] = self.amplitude * (values if self.order is None else values[..., self.order])
        return result


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
    InputError
        With every probe of something that is no layer of neurons.
    """
    walk = walk_converter(converter, DeployOptions(dt=dt, normalization="none"))
    graph = walk.graph()
    network, nodes, probes, neurons = network_of(partition(graph))
    inputs = zip(converter.inputs.values(), (nodes[one.name] for one in graph.inputs), strict=True)
    outputs = zip(converter.outputs.values(), (probes[one.name] for one in graph.readouts), strict=True)
    stands_for = {**dict(inputs), **dict(outputs)}
    populations = {population.name: population for population in graph.populations}
    layer_probes, problems = {}, []
    for probe in converter.net.all_probes:
        if probe in stands_for:
            continue
        name = walk.reserved.get(probe.target)
        if name not in populations or probe.attr != "output":
            problems.append(
                Problem(
                    f"'{probe.attr}' of something that is no layer of neurons on the chip",
                    f"probe {probe}",
                    str(probe.target),
                    ", ".join(populations),
                    "Probe the output of one of these layers",
                )
            )
            continue
        with network:
            own = nengo.Probe(neurons[name], synapse=probe.synapse, sample_every=probe.sample_every)
        stands_for[probe] = own
        layer_probes[probe] = LayerProbe(populations[name].amplitude, walk.layout(probe.target).order)
    if problems:
        raise InputError("Cannot probe the Converter's network", problems)
    orders = {node: walk.layout(node).order for node in converter.inputs.values()}
    input_orders = {node: order for node, order in orders.items() if order is not None}
    return Converted(network, stands_for, layer_probes, input_orders)


def network_of(
    partitioned: PartitionedGraph,
) -> tuple[nengo.Network, dict[str, nengo.Node], dict[str, nengo.Probe], dict[str, Any]]:
    """Build a Nengo network: its encoder on the host, its other populations on chip, its readouts as nodes.

    Returns
    -------
    (nengo.Network, dict, dict, dict)
        The network, its input nodes, the probes of its readouts, and the neurons of its populations, by name.
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
    return network, nodes, probes, senders


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
    matrix = transform.csr()
    shape = (matrix.out_size, matrix.in_size)
    return nengo.Sparse(shape, init=coo_matrix((matrix.data, (matrix.rows, matrix.indices)), shape))


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
