"""The spiking network in floats, against Nengo."""

import numpy as np
import pytest

from loihi_deploy.engines.spiking_network import spiking_outputs
from loihi_deploy.export.nengo import nengo_network
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

STEPS = 60


def network(neuron, input_tau=0.0):
    """Convolution, convolution and a dense layer, which is recurrent, with synapses of several time constants."""
    rng = np.random.default_rng(0)
    scale = 200 if neuron.kind == "if" else 4

    def population(name, shape):
        size = int(np.prod(shape))
        gain = rng.uniform(0.5, 1.5, size) * scale
        return Population(
            name, shape, neuron, gain, rng.uniform(-0.1, 0.5, size) * scale, 1 / scale, rng.random(size)
        )

    shapes = [(6, 6, 1), (6, 6, 2), (2, 2, 3)]
    convolutions = [
        Conv2D(rng.normal(0, 1, (k, k, a[2], b[2])), (s, s), (0, 0), a, b)
        for k, s, a, b in ((1, 1, *shapes[:2]), (3, 2, *shapes[1:]))
    ]
    dense, recurrent, out, late = (
        Dense(rng.normal(0, 0.5, s)) for s in ((10, 12), (10, 10), (4, 10), (4, 12))
    )
    return Graph(
        (Input("x", shapes[0]),),
        (population("a", shapes[1]), population("b", shapes[2]), population("c", (10,))),
        (
            Projection("x", "a", convolutions[0], input_tau),
            Projection("a", "b", convolutions[1], 0.005),
            Projection("b", "c", dense, 0.01),
            Projection("c", "c", recurrent, 0.003),
            Projection("c", "out", out, 0.02),
            Projection("b", "out", late, 0.005),
        ),
        (Readout("out", (4,), np.zeros(4)),),
    )


# Nengo computes highest rates and intercepts, which nobody uses, of neurons whose bias alone makes them fire
@pytest.mark.filterwarnings("ignore:Non-finite values detected:UserWarning")
@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero) encountered:RuntimeWarning")
@pytest.mark.parametrize("discretized", [False, True])
@pytest.mark.parametrize("kind", ["if", "lif"])
@pytest.mark.parametrize("input_tau", [0.0, 0.01])
def test_equals_nengo(kind, discretized, input_tau):
    nengo = pytest.importorskip("nengo")
    pytest.importorskip("nengo_loihi")
    neuron = NeuronModel("if", discretized=discretized)
    if kind == "lif":
        neuron = NeuronModel("lif", 0.02, 0.002, discretized)
    graph = network(neuron, input_tau)
    x = np.random.default_rng(1).random((2, 3, 36))
    ours = spiking_outputs(graph, {"x": x}, STEPS, window=0.5)
    for sample in range(2):
        model, nodes, probes = nengo_network(graph)
        nodes["x"].output = lambda t, x=x[sample]: x[min(int((t - 0.0005) / 0.001) // (STEPS // 3), 2)]
        # Nengo's synapse into the output node takes one step more than our readout
        with nengo.Simulator(model, progress_bar=False) as longer:
            longer.run_steps(STEPS + 1)
        expected = longer.data[probes["out"]][-STEPS // 2 :].mean(axis=0)
        np.testing.assert_allclose(ours[sample], expected, rtol=1e-6, atol=1e-9)
        assert np.abs(expected).max() > 0.1


def test_threads_change_nothing():
    graph = network(NeuronModel("if"))
    x = {"x": np.random.default_rng(1).random((20, 2, 36))}
    assert (spiking_outputs(graph, x, STEPS, threads=1) == spiking_outputs(graph, x, STEPS, threads=3)).all()
