from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout


def small_graph(**changes):
    rng = np.random.default_rng(0)
    graph = Graph(
        (Input("x", (2, 3)),),
        (
            Population("a", (4,), NeuronModel(), 2.0, np.arange(4.0)),
            Population("b", (3,), NeuronModel("lif", 0.02, 0.002), np.ones(3), np.zeros(3), amplitude=0.5),
        ),
        (
            Projection("x", "a", Dense(rng.normal(size=(4, 6)))),
            Projection("a", "b", Dense(rng.normal(size=(3, 4))), 0.01),
            Projection("b", "out", Dense(rng.normal(size=(2, 3))), 0.01),
        ),
        (Readout("out", (2,), np.array([1.0, -1.0])),),
    )
    return replace(graph, **changes)


def test_every_inconsistency_is_told_at_once():
    bad = Projection("nobody", "a", Dense(np.full((5, 2), np.nan)), -1.0)
    silent = Population("a", (4,), NeuronModel(), np.ones(2), np.full(4, np.inf), amplitude=0.0)
    with pytest.raises(InputError) as caught:
        small_graph(projections=(bad,), populations=(silent, silent))
    told = " ".join(problem.what for problem in caught.value.problems)
    for part in (
        "two things",
        "no such population",
        "does not fit",
        "not finite",
        "time constant",
        "gains",
        "amplitude",
    ):
        assert part in told


@pytest.mark.parametrize(
    "arguments",
    [("if", 0.02, 0.0), ("if", np.inf, 0.002), ("lif", np.inf, 0.002), ("lif", 0.02, -1.0), ("relu",)],
)
def test_neuron_models_are_those_of_the_chip(arguments):
    with pytest.raises(InputError):
        NeuronModel(*arguments)


@given(st.floats(5.0, 400.0))  # below, the threshold and the input differ by less than float64 resolves
def test_input_for_rate_inverts_the_rate_curve(rate):
    for model in (NeuronModel(), NeuronModel("lif", 0.02, 0.002)):
        assert model.rates(np.array([model.input_for_rate(rate)]))[0] == pytest.approx(rate, rel=1e-6)


def test_rescaling_keeps_what_rectified_neurons_stand_for():
    population = small_graph().populations[0]
    scaled = population.rescaled(8.0)
    x = np.random.default_rng(0).normal(size=(5, 4))
    before = population.neuron.rates(population.currents(x)) * population.amplitude
    after = scaled.neuron.rates(scaled.currents(x)) * scaled.amplitude
    assert (before == after).all()


def test_rate_activity_is_the_network_written_out():
    graph = small_graph()
    x = np.random.default_rng(1).normal(size=(5, 6))
    weights = [projection.transform.weights for projection in graph.projections]
    a = np.maximum(2 * (x @ weights[0].T) + np.arange(4.0), 0)
    b = graph.populations[1].neuron.rates(a @ weights[1].T)
    activity = rate_activity(graph, {"x": x})
    assert np.allclose(activity["a"], a)
    assert np.allclose(activity["b"], b)
    assert np.allclose(activity["out"], 0.5 * b @ weights[2].T + [1, -1])


def test_recurrent_networks_have_no_rates_by_one_pass():
    graph = small_graph()
    recurrent = Projection("b", "a", Dense(np.ones((4, 3))))
    with pytest.raises(InputError, match="recurrent"):
        rate_activity(replace(graph, projections=(*graph.projections, recurrent)), {"x": np.ones((1, 6))})
