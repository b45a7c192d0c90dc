"""Host neurons against the step functions of Nengo and nengo-loihi, and the compiled ones against both."""

import numpy as np
import pytest

from loihi_deploy.graph import Dense, Graph, Input, NeuronModel, Population, Projection
from loihi_deploy.host import neurons, reference
from loihi_deploy.host.encoder import Encoder

DT = 0.001
STEPS = 300
MODELS = [
    NeuronModel("if"),
    NeuronModel("if", discretized=True),
    NeuronModel("lif", 0.02, 0.002),
    NeuronModel("lif", 0.013, 0.0),
    NeuronModel("lif", 0.02, 0.0027),
    NeuronModel("lif", 0.02, 0.002, discretized=True),
    NeuronModel("lif", 0.013, 0.0014, discretized=True),
]


def nengo_type(model):
    nengo = pytest.importorskip("nengo")
    if not model.discretized:
        return (
            nengo.SpikingRectifiedLinear() if model.kind == "if" else nengo.LIF(model.tau_rc, model.tau_ref)
        )
    loihi = pytest.importorskip("nengo_loihi.neurons")
    if model.kind == "if":
        return loihi.LoihiSpikingRectifiedLinear()
    return loihi.LoihiLIF(model.tau_rc, model.tau_ref)


def currents(model, size, changing):
    rng = np.random.default_rng(size)
    scale = 1500 if model.kind == "if" else 8
    j = rng.uniform(-0.2, 1, (STEPS if changing else 1, size)) * scale
    return np.broadcast_to(j, (STEPS, size))


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("changing", [False, True])
def test_steps_are_those_of_nengo(model, changing):
    nengo_neuron = nengo_type(model)
    j = currents(model, 200, changing)
    voltage = np.random.default_rng(1).random(200)
    state = {"voltage": voltage.copy()}
    if model.kind == "lif":
        state["refractory_time"] = np.zeros(200)
    refractory_time = np.zeros(200)
    output = np.zeros(200)
    total = 0
    for t in range(STEPS):
        nengo_neuron.step(DT, j[t], output, **state)
        spikes = neurons.step(model, DT, j[t], voltage, refractory_time)
        assert (spikes == output * DT).all()
        assert (voltage == state["voltage"]).all()
        total += spikes.sum()
    assert total > 1000


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_compiled_encoder_equals_numpy(model, tau):
    rng = np.random.default_rng(0)
    scale = 1500 if model.kind == "if" else 8
    population = Population(
        "p", (50,), model, rng.uniform(0.5, 1, 50), rng.random(50) * scale / 2, initial_voltage=rng.random(50)
    )
    weights = Dense(rng.uniform(-0.2, 1, (50, 3)) * scale)
    graph = Graph((Input("x", (3,)),), (population,), (Projection("x", "p", weights, tau),))
    x = {"x": rng.random((4, 5, 3))}
    spikes, lost, state = reference.encode(graph, x, STEPS)
    encoder = Encoder(graph)
    arrays, n_lost = encoder.start(4), np.zeros(1, np.int64)
    events = encoder.run(encoder.together(x), 0, STEPS, STEPS // 5, arrays, n_lost)
    assert (events.to_dense()["p"] == spikes["p"]).all()
    assert spikes["p"].any(axis=1).mean() > 0.8
    assert n_lost[0] == lost["p"]
    for name, array in encoder.save(arrays).arrays.items():
        if not name.endswith("refractory_time"):  # what is left of it does not matter once it has passed
            np.testing.assert_allclose(array, state.arrays[name], rtol=1e-9, atol=1e-9)


def test_an_encoder_is_one_layer():
    neuron = NeuronModel("if")
    two = tuple(Population(name, (1,), neuron, np.ones(()), np.zeros(1)) for name in "ab")
    weights = Dense(np.ones((1, 1)))
    graph = Graph((Input("x", (1,)),), two, (Projection("x", "a", weights), Projection("a", "b", weights)))
    with pytest.raises(ValueError, match="a->b"):
        Encoder(graph)
