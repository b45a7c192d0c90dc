"""Host neurons against the step functions of Nengo and nengo-loihi, and the compiled ones against both."""

import numpy as np
import pytest

from loihi_deploy.engines.host import neurons
from loihi_deploy.engines.host import plain as reference
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection

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


ENCODERS = [*MODELS, NeuronModel("poisson"), NeuronModel("ttfs")]


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


@pytest.mark.parametrize("model", ENCODERS, ids=str)
@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_compiled_encoder_equals_numpy(model, tau):
    rng = np.random.default_rng(0)
    scale = 8 if model.kind == "lif" else 1500
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


def encoded(kind, values, steps, **arguments):
    """Spikes (n, steps, size) of neurons whose rates are `values`, (n, size), times the step rate."""
    size = values.shape[1]
    population = Population("p", (size,), NeuronModel(kind), np.array(1 / DT), np.zeros(size))
    graph = Graph((Input("x", (size,)),), (population,), (Projection("x", "p", Dense(np.eye(size))),))
    spikes, lost, _ = reference.encode(graph, {"x": values[:, None]}, steps, **arguments)
    return spikes["p"], lost["p"]


def test_poisson_rates_and_independence():
    values = np.tile([0.0, 0.02, 0.3, 0.9, 1.0], (4, 50))
    spikes, lost = encoded("poisson", values, 4000)
    expected = values * 4000
    sigma = np.sqrt(np.maximum(expected * (1 - values), 1))
    assert (np.abs(spikes.sum(axis=1) - expected) < 5 * sigma).all()
    assert lost == 0
    # neurons, samples and steps do not depend on each other: correlations are those of chance
    half = spikes[:, :, 2::5].astype(float) - 0.3
    flat = half.transpose(0, 2, 1).reshape(-1, 4000)
    correlation = np.corrcoef(flat) - np.eye(len(flat))
    assert np.abs(correlation).max() < 5.5 / np.sqrt(4000)
    lagged = (flat[:, :-1] * flat[:, 1:]).mean(axis=1) / flat.var(axis=1)
    assert np.abs(lagged).max() < 5 / np.sqrt(4000)


def test_poisson_spikes_depend_on_the_number_of_the_sample_and_the_seed():
    values = np.full((6, 20), 0.3)
    whole, _ = encoded("poisson", values, 50)
    part, _ = encoded("poisson", values[:2], 50, first_sample=3)
    assert (part == whole[3:5]).all()
    assert (encoded("poisson", values, 50, seed=1)[0] != whole).any()
    assert (whole[0] != whole[1]).any()


def test_poisson_counts_what_cannot_be_sent():
    assert encoded("poisson", np.array([[1.5, -3.0]]), 10)[1] == 10


def test_one_spike_whose_time_is_the_value():
    values = np.linspace(0, 1, 101)[None]
    spikes, lost = encoded("ttfs", values, 100)
    assert (spikes.sum(axis=1) == (values > 0)).all()
    assert (100 - spikes[0].argmax(axis=0)[1:] == np.arange(1, 101)).all()
    assert lost == 0
    assert encoded("ttfs", np.array([[1.5, -1.0]]), 10)[1] == 1


def test_an_encoder_is_one_layer():
    neuron = NeuronModel("if")
    two = tuple(Population(name, (1,), neuron, np.ones(()), np.zeros(1)) for name in "ab")
    weights = Dense(np.ones((1, 1)))
    graph = Graph((Input("x", (1,)),), two, (Projection("x", "a", weights), Projection("a", "b", weights)))
    with pytest.raises(ValueError, match="a->b"):
        Encoder(graph)
