"""The spiking network in floats, against Nengo."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.engines.host.neurons import initial_voltage, step
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.spiking_network import spiking_outputs, spiking_rates
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
    x[:, :, ::3], x[:, :, 1::5] = 1, 0
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


def test_delays_are_those_of_chains_of_neurons_that_repeat_a_spike():
    """Of each neuron its own, and a layer's own spikes; chains of neurons take a step for each of theirs."""
    rng = np.random.default_rng(0)
    weights, own = rng.uniform(0, 0.004, (3, 4)), 0.001 * np.eye(3)
    repeat = NeuronModel("if", discretized=True)

    def population(name, n, gain=100.0, neuron=None):
        start = rng.random(n) if neuron is None else None
        return Population(
            name, (n,), neuron or NeuronModel(), gain, np.zeros(n), 0.001 if neuron else 1.0, start
        )

    first, second = population("a", 4), population("b", 3)
    ends = Readout("y", (3,), np.zeros(3)), Readout("late", (4,), np.zeros(4))
    drive = Projection("x", "a", Dense(np.eye(4)))
    out = Projection("b", "y", Dense(np.eye(3)), 0.005)
    delayed = Graph(
        (Input("x", (4,)),),
        (first, second),
        (
            *(drive, Projection("a", "b", Dense(weights), 0.003, delays=[0, 2, 1, 2])),
            *(Projection("b", "b", Dense(own), 0.003, delays=1), out),
            Projection("a", "late", Dense(np.eye(4)), delays=2),
        ),
        ends,
    )
    chain = [population(name, 4, 2000.0, repeat) for name in ("one", "two")]
    chain.append(population("back", 3, 2000.0, repeat))
    late = [np.where(np.isin([0, 2, 1, 2], k), weights, 0) for k in range(3)]
    relayed = Graph(
        (Input("x", (4,)),),
        (first, *chain, second),
        (
            *(drive, Projection("a", "one", Dense(0.001 * np.eye(4))), Projection("one", "two", Dense(np.eye(4)))),
            Projection("a", "b", Dense(late[0]), 0.003),
            Projection("one", "b", Dense(1000 * late[1]), 0.003),
            Projection("two", "b", Dense(1000 * late[2]), 0.003),
            Projection("b", "back", Dense(0.001 * np.eye(3))),
            *(Projection("back", "b", Dense(1000 * own), 0.003), out),
            Projection("two", "late", Dense(1000 * np.eye(4))),
        ),
        ends,
    )  # fmt: skip
    x = {"x": rng.uniform(0, 4, (3, 2, 4))}
    for flush in (0, 5):
        found, wanted = (spiking_rates(graph, x, STEPS, 0.5, flush=flush) for graph in (delayed, relayed))
        assert (found["b"] == wanted["b"]).all()
        assert found["b"].any()
        outputs = [spiking_outputs(graph, x, STEPS, 0.5, flush=flush) for graph in (delayed, relayed)]
        np.testing.assert_allclose(*outputs, rtol=1e-9)
    turned = [replace(graph, readouts=graph.readouts[::-1]) for graph in (delayed, relayed)]
    np.testing.assert_allclose(*(spiking_outputs(graph, x, STEPS, 0.2) for graph in turned), rtol=1e-9)


MODELS = [
    NeuronModel(),
    NeuronModel(discretized=True),
    NeuronModel("lif", 0.02, 0.0023),
    NeuronModel("lif", 0.013, 0.002, discretized=True),
]


def drawn_network(rng):
    """Three populations of drawn kinds with ways forward and back, two inputs and readouts; dt is no millisecond."""
    shapes, dt = {"a": (2, 3, 4), "b": (11,), "c": (3,)}, 0.002
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()} | {"x": 6, "z": 2, "y": 2, "w": 5}
    populations = []
    for name, shape in shapes.items():
        neuron, size = MODELS[rng.integers(len(MODELS))], sizes[name]
        scale = 150 if neuron.kind == "if" else 5
        gain, bias = rng.uniform(0.5, 1.5, size) * scale, rng.uniform(-0.3, 0.8, size) * scale
        start = rng.uniform(-0.5, 1, size) if rng.random() < 0.7 else None
        populations.append(Population(name, shape, neuron, gain, bias, rng.uniform(0.001, 0.004), start))
    ways = ["xa", "xa", "za", "zb", "ab", "ab", "bb", "ca", "bc", "ac", "by", "cy", "cy", "aw", "bw"]
    projections = []
    for pre, post in ways:
        weights = rng.normal(size=(sizes[post], sizes[pre])) / np.sqrt(sizes[pre])
        transform = Dense(weights) if rng.random() < 0.5 else Dense(weights * (weights > 0)).csr()
        late = None
        if pre in shapes and rng.random() < 0.6:
            late = rng.integers(0, 4, sizes[pre]) if rng.random() < 0.5 else int(rng.integers(1, 5))
        tau = float(rng.choice([0.0, 0.004, 0.01]))
        projections.append(Projection(pre, post, transform, tau, delays=late))
    readouts = Readout("y", (2,), rng.normal(size=2), "tanh"), Readout("w", (5,), np.zeros(5))
    return Graph((Input("x", (6,)), Input("z", (2,))), tuple(populations), tuple(projections), readouts, dt)


def stepped(graph, frames, hold, flush):
    """Spikes by population and the first readout's values at every step, of one sample: (steps, size) each."""
    steps = len(frames["x"]) * hold + flush
    kept = {
        p.name: np.zeros((steps + 9, p.size)) for p in graph.populations
    }  # from nine steps before the first one
    voltage = {p.name: initial_voltage(p, graph.dt)[None].copy() for p in graph.populations}
    left = {p.name: np.zeros((1, p.size)) for p in graph.populations}
    filtered = [np.zeros(p.transform.out_size) for p in graph.projections]
    trace = np.zeros((steps, 2))

    def total(name, t):
        found = np.zeros(graph.nodes[name].size)
        newest = t if name in ("y", "w") else t - 1
        for k, p in enumerate(graph.projections):
            if p.post != name:
                continue
            a = np.exp(-graph.dt / p.tau) if p.tau else 0.0
            if p.pre in frames:
                x = p.transform.csr().toarray() @ frames[p.pre][min(t // hold, len(frames["x"]) - 1)]
                found += filtered[k] if p.tau else x
                filtered[k] = a * filtered[k] + (1 - a) * x
            else:
                late = np.zeros(p.transform.in_size, int) + (0 if p.delays is None else p.delays)
                said = kept[p.pre][newest - late + 9, np.arange(p.transform.in_size)]
                spikes = said * graph.nodes[p.pre].amplitude / graph.dt
                filtered[k] = a * filtered[k] + (1 - a) * (p.transform.csr().toarray() @ spikes)
                found += filtered[k]
        return found

    for t in range(steps):
        for p in graph.populations:
            j = p.currents(total(p.name, t)[None])
            kept[p.name][t + 9] = step(p.neuron, graph.dt, j, voltage[p.name], left[p.name], hold)[0]
        trace[t] = total("y", t)
    return {name: array[9:] for name, array in kept.items()}, trace


@pytest.mark.parametrize("seed", range(8))
def test_drawn_networks_are_those_of_a_loop_over_populations(seed):
    rng = np.random.default_rng(seed)
    graph, hold = drawn_network(rng), int(rng.choice([5, 9, 20]))
    window, flush = [0.3, 1.0, None][seed % 3], int(rng.choice([0, 4]))
    inputs = {"x": rng.random((10, 3, 6)), "z": rng.random((10, 3, 2)) - 0.5}
    inputs["x"][:, 1] = 0
    width = window_steps(3 * hold, window, hold)
    found = spiking_rates(graph, inputs, 3 * hold, window, flush=flush)
    outputs = spiking_outputs(graph, inputs, 3 * hold, window, flush=flush)
    for sample in (0, 9):
        spikes, trace = stepped(graph, {name: x[sample] for name, x in inputs.items()}, hold, flush)
        for name, array in spikes.items():
            np.testing.assert_allclose(found[name][sample], array[-width:].mean(axis=0) / graph.dt, atol=1e-6)
            assert array.any()
        expected = np.tanh(trace[-width:].mean(axis=0) + graph.readouts[0].bias)
        np.testing.assert_allclose(outputs[sample], expected, rtol=1e-6, atol=1e-6)
