"""A deployment as a Nengo network in floats: to look at, to extend, and to run in Nengo, NengoDL and nengo-loihi.

It is the network at the firing rates that it was deployed with, cut into host and chip. Its weights are not rounded:
each simulator does that in its own way (nengo-loihi, and `loihi_deploy.Simulator` with it, scale block by block), so
integers differ from those of the deployment by design, and outputs by the noise of spikes.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem, missing_extra
from loihi_deploy.ir import (
    Conv2D,
    Graph,
    HostMap,
    Input,
    NeuronModel,
    PartitionedGraph,
    Projection,
    Transform,
    samples_for,
)
from loihi_deploy.stages.partition import partition

MOSTLY_EMPTY = 0.25
"""A matrix with fewer entries than this part stays a sparse one."""


@checked
def to_nengo(deployment: Deployment, x: Any = None) -> Any:
    """Make a Nengo network of a deployment.

    Parameters
    ----------
    deployment : Deployment
        Of a source in floats: integers alone, as of netx, have none.
    x : array or mapping of arrays, optional
        A sample, as for `Deployment.run`, whose first frame the inputs then give; else they give zeros.

    Returns
    -------
    nengo.Network
        An ensemble for each population, an object for each input and output, labelled with their names.
        ``network.inputs`` has the input nodes by name, whose ``output`` can be set, ``network.readouts`` the probes of
        the outputs. Where nengo-loihi is installed, ``on_chip`` of the host's ensembles is False.

    Raises
    ------
    InputError
        If there are no floats, or neurons that Nengo has not (time to first spike).
    MissingExtraError
        If Nengo, or nengo-loihi for its own neurons, is not installed.

    Warns
    -----
    LoihiDeployWarning
        Where the host applies an activation to averaged outputs, which the network does not.

    Examples
    --------
    >>> import nengo
    >>> network = loihi_deploy.export.to_nengo(deployment, x[:1])  # doctest: +SKIP
    >>> with nengo.Simulator(network) as simulator:  # doctest: +SKIP
    ...     simulator.run(0.1)
    """
    if not deployment.graph.populations:
        raise InputError.single("integers alone, without the floats that they stand for", "deployment")
    cut = partition(deployment.graph, deployment.options.encoder, deployment.options.encoder_rate)
    problems = [
        Problem("neurons that Nengo has not", p.name, p.neuron.kind)
        for p in cut.encoder.populations
        if p.neuron.kind == "ttfs"
    ]
    problems += [
        Problem("a memory of frames, which Nengo's steps know nothing of", node.name)
        for node in cut.encoder.inputs
        if node.remembers
    ]
    problems += deployment.program.delay_problems("Nengo", readout=True)
    if problems:
        raise InputError("The network cannot be a Nengo network", problems)
    values = {} if x is None else samples_for(deployment.graph, x).first_frames()
    network, nodes, probes = nengo_network(whole(cut), {name: rows[0] for name, rows in values.items()})
    network.inputs, network.readouts = nodes, probes
    _put_on_chip(network, {p.name for p in cut.encoder.populations})
    for readout in cut.readout.readouts:
        if readout.activation != "linear":
            problem = Problem(f"{readout.activation} of averaged outputs is left to the caller", readout.name)
            warnings.warn(LoihiDeployWarning(problem), stacklevel=2)
    return network


def whole(cut: PartitionedGraph) -> Graph:
    """Host and chip as one graph; a spike of everyone stands for 1 / dt, as where it was cut."""
    encoders = tuple(replace(p, amplitude=1.0, adds_only=False) for p in cut.encoder.populations)
    return Graph(
        cut.encoder.inputs,
        (*encoders, *cut.chip.populations),
        (*cut.encoder.projections, *cut.chip.projections, *cut.readout.projections),
        cut.readout.readouts,
        cut.encoder.dt,
    )


def _put_on_chip(network: Any, host: set[str]) -> None:
    """Say to nengo-loihi, where it is installed, which ensembles run on the host."""
    if importlib.util.find_spec("nengo_loihi") is None:
        return
    importlib.import_module("nengo_loihi").add_params(network)
    for ensemble in network.all_ensembles:
        network.config[ensemble].on_chip = ensemble.label not in host


def nengo_network(
    graph: Graph, values: dict[str, NDArray[Any]] | None = None
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Make a Nengo network of a graph.

    Parameters
    ----------
    graph : Graph
    values : dict of (size,) arrays, optional
        What the inputs give, by name, stored as the graph has them; zeros if nothing is said.

    Returns
    -------
    network : nengo.Network
    nodes : dict
        Input nodes by name.
    probes : dict
        Probes of the readouts by name.

    Raises
    ------
    MissingExtraError
        If Nengo is not installed, or nengo-loihi for its neurons.
    """
    try:
        import nengo
    except ImportError as error:
        raise missing_extra("nengo", "A Nengo network") from error
    values = values or {}
    nodes, ends, probes = {}, {}, {}
    with nengo.Network(seed=0) as network:
        for given in graph.origins:
            value = values.get(given.name, np.zeros(given.size))
            nodes[given.name] = nengo.Node(np.asarray(value, np.float64).reshape(-1), label=given.name)
        for node in graph.inputs:
            ends[node.name] = _prepared(nodes[node.given.name], node)
        for p in graph.populations:
            initial = np.zeros(p.size) if p.initial_voltage is None else p.initial_voltage
            ensemble = nengo.Ensemble(
                p.size,
                1,
                neuron_type=_neuron_type(p.neuron, p.amplitude, initial),
                gain=np.ones(p.size),
                bias=p.bias,
                label=p.name,
            )
            ends[p.name] = ensemble.neurons
        for readout in graph.readouts:
            ends[readout.name] = nengo.Node(size_in=readout.size, label=readout.name)
            if readout.bias.any():
                constant = nengo.Node(readout.bias, label=f"{readout.name} bias")
                nengo.Connection(constant, ends[readout.name], synapse=None)
            probes[readout.name] = nengo.Probe(ends[readout.name])
        gains = {p.name: p.gain for p in graph.populations}
        for projection in graph.projections:
            nengo.Connection(
                ends[projection.pre],
                ends[projection.post],
                transform=_transform(projection, gains.get(projection.post, np.ones(()))),
                synapse=projection.tau or None,
            )
    return network, nodes, probes


def _prepared(node: Any, wanted: Input) -> Any:
    """What the host computes of an input node; the node itself where that is nothing."""
    steps = [step for step in wanted.before if isinstance(step, HostMap)]
    if not steps:
        return node
    import nengo

    def function(t: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
        values = x[None]
        for step in steps:
            values = step.apply(values)
        return np.asarray(values[0])

    made = nengo.Node(function, size_in=node.size_out, size_out=wanted.size, label=wanted.name)
    nengo.Connection(node, made, synapse=None)
    return made


def _neuron_type(neuron: NeuronModel, amplitude: float, voltage: NDArray[np.float64]) -> Any:
    import nengo

    state = {"voltage": nengo.dists.Choice([0]) if not voltage.any() else voltage}
    if neuron.kind == "poisson":
        return nengo.PoissonSpiking(nengo.RectifiedLinear(), amplitude=amplitude)
    if not neuron.discretized:
        if neuron.kind == "if":
            return nengo.SpikingRectifiedLinear(amplitude=amplitude, initial_state=state)
        return nengo.LIF(neuron.tau_rc, neuron.tau_ref, amplitude=amplitude, initial_state=state)
    try:
        import nengo_loihi.neurons as loihi_neurons
    except ImportError as error:
        raise missing_extra("nengo-loihi", "A Nengo network with its neurons") from error
    if neuron.kind == "if":
        return loihi_neurons.LoihiSpikingRectifiedLinear(amplitude=amplitude, initial_state=state)
    return loihi_neurons.LoihiLIF(neuron.tau_rc, neuron.tau_ref, amplitude=amplitude, initial_state=state)


def _transform(projection: Projection, gain: NDArray[np.float64]) -> Any:
    import nengo

    transform: Transform = projection.transform
    transform = transform.scaled_rows(gain) if gain.ndim else transform.with_values(transform.values * gain)
    if isinstance(transform, Conv2D) and (padding := _named_padding(transform)) is not None:
        return nengo.Convolution(
            n_filters=transform.out_shape[2],
            input_shape=transform.in_shape,
            kernel_size=transform.kernel.shape[:2],
            strides=transform.strides,
            padding=padding,
            init=transform.kernel,
        )
    matrix = transform.csr()
    if matrix.data.size < MOSTLY_EMPTY * matrix.out_size * matrix.in_size:
        places = np.stack([matrix.rows, matrix.indices], axis=1)
        return nengo.Sparse((matrix.out_size, matrix.in_size), indices=places, init=matrix.data)
    return matrix.toarray()


def _named_padding(conv: Conv2D) -> str | None:
    """``valid`` or ``same``, as Nengo means them; None for another padding, and for groups."""
    if conv.groups > 1:
        return None
    found = None
    for name in ("same", "valid"):
        fits = True
        for axis in (0, 1):
            size, taps, stride = conv.in_shape[axis], conv.kernel.shape[axis], conv.strides[axis]
            out = -(-size // stride) if name == "same" else (size - taps) // stride + 1
            before = max((out - 1) * stride + taps - size, 0) // 2 if name == "same" else 0
            fits &= (out, before) == (conv.out_shape[axis], conv.padding[axis])
        found = name if fits else found
    return found
