"""A graph as a Nengo network, and NengoDL running it: what a user would otherwise run on a CPU."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import missing_extra
from loihi_deploy.frontends import import_nengo_dl
from loihi_deploy.ir import Conv2D, Graph, NeuronModel, Projection, Transform


def nengo_network(graph: Graph) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Make a Nengo network of a graph whose convolutions have no padding and no groups.

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
        If Nengo or nengo-loihi is not installed.
    """
    try:
        import nengo
    except ImportError as error:
        raise missing_extra("nengo", "Comparing with Nengo") from error
    nodes, ends, probes = {}, {}, {}
    with nengo.Network(seed=0) as network:
        for node in graph.inputs:
            nodes[node.name] = ends[node.name] = nengo.Node(np.zeros(node.size), label=node.name)
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


def predict_seconds(graph: Graph, x: NDArray[np.float64], steps: int, repeats: int) -> float:
    """Seconds that ``nengo_dl.Simulator.predict`` takes for samples (n, size), the best of several calls.

    Raises
    ------
    MissingExtraError
        If NengoDL is not installed.
    """
    nengo_dl = import_nengo_dl("Comparing with NengoDL")
    network, nodes, _ = nengo_network(graph)
    with network:
        nengo_dl.configure_settings(trainable=False, stateful=False, keep_history=False)
    (node,) = nodes.values()
    data = {node: np.repeat(x[:, None], steps, axis=1).astype(np.float32)}
    seconds = []
    with np.errstate(all="ignore"), warnings.catch_warnings():  # of rates and intercepts that nobody uses
        warnings.simplefilter("ignore", UserWarning)
        made = nengo_dl.Simulator(network, minibatch_size=len(x), progress_bar=False)
    with made as simulator:
        simulator.predict(data, verbose=0)  # builds TensorFlow's graph
        for _ in range(repeats):
            start = time.perf_counter()
            simulator.predict(data, verbose=0)
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def _neuron_type(neuron: NeuronModel, amplitude: float, voltage: NDArray[np.float64]) -> Any:
    import nengo

    state = {"voltage": nengo.dists.Choice([0]) if not voltage.any() else voltage}
    if not neuron.discretized:
        if neuron.kind == "if":
            return nengo.SpikingRectifiedLinear(amplitude=amplitude, initial_state=state)
        return nengo.LIF(neuron.tau_rc, neuron.tau_ref, amplitude=amplitude, initial_state=state)
    try:
        import nengo_loihi.neurons as loihi_neurons
    except ImportError as error:
        raise missing_extra("nengo-loihi", "Comparing with Nengo") from error
    if neuron.kind == "if":
        return loihi_neurons.LoihiSpikingRectifiedLinear(amplitude=amplitude, initial_state=state)
    return loihi_neurons.LoihiLIF(neuron.tau_rc, neuron.tau_ref, amplitude=amplitude, initial_state=state)


def _transform(projection: Projection, gain: NDArray[np.float64]) -> Any:
    import nengo

    transform: Transform = projection.transform
    transform = transform.scaled_rows(gain) if gain.ndim else transform.with_values(transform.values * gain)
    if isinstance(transform, Conv2D):
        return nengo.Convolution(
            n_filters=transform.out_shape[2],
            input_shape=transform.in_shape,
            kernel_size=transform.kernel.shape[:2],
            strides=transform.strides,
            init=transform.kernel,
        )
    return transform.csr().toarray()
