"""Normalization changes firing rates and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import InputError, NormalizationError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.normalize import (
    calibration_rates,
    normalize,
    scale_firing_rates,
    with_input_ranges,
    with_leaky_neurons,
)


def network(seed=0):
    """Input 4x4x1 -> 1x1 convolution -> 3x3 convolution -> dense -> readout, random."""
    rng = np.random.default_rng(seed)
    return Graph(
        (Input("x", (4, 4, 1)),),
        (
            Population("e", (4, 4, 2), NeuronModel(), 1.0, rng.uniform(0, 0.2, 32)),
            Population("c", (2, 2, 3), NeuronModel(), 1.0, rng.uniform(0, 0.2, 12)),
            Population("d", (5,), NeuronModel(), 1.0, rng.uniform(0, 0.2, 5)),
        ),
        (
            Projection("x", "e", Conv2D(rng.normal(size=(1, 1, 1, 2)), (1, 1), (0, 0), (4, 4, 1), (4, 4, 2))),
            Projection(
                "e", "c", Conv2D(rng.normal(size=(3, 3, 2, 3)), (1, 1), (0, 0), (4, 4, 2), (2, 2, 3)), 0.005
            ),
            Projection("c", "d", Dense(rng.normal(size=(5, 12))), 0.005),
            Projection("d", "y", Dense(rng.normal(size=(2, 5))), 0.005),
        ),
        (Readout("y", (2,), rng.normal(size=2)),),
    )


X = np.random.default_rng(1).uniform(0, 1, (50, 4, 4, 1))


def test_neurons_whose_curve_does_not_scale_keep_their_rates():
    leaky = NeuronModel("lif", 0.02, 0.002)
    graph = network()
    populations = tuple(
        replace(p, neuron=leaky, bias=p.bias + 5) if p.name == "c" else p for p in graph.populations
    )
    graph = replace(graph, populations=populations)
    before, after = (rate_activity(g, {"x": X.reshape(len(X), -1)}) for g in (graph, normalize(graph, X)))
    np.testing.assert_allclose(after["c"], before["c"], rtol=1e-5)
    assert before["c"].max() > 0
    assert abs(after["d"].max() / before["d"].max() - 1) > 0.1


@pytest.mark.parametrize(
    ("values", "scale", "signed"),
    [([0.0, 0.0], 1.0, False), ([0.0, 3.0], 3.0, False), ([-4.0, 3.0], 4.0, True), ([-2.0, 3.0], 3.0, True)],
)
def test_the_range_of_an_input_is_that_of_its_samples(values, scale, signed):
    x = np.resize(values, (2, 4, 4, 1))
    (node,) = with_input_ranges(network(), x).inputs
    assert (node.scale, node.signed, node.calibrated) == (scale, signed, (min(values), max(values)))


def outputs(graph, x=X):
    return rate_activity(graph, {"x": x.reshape(len(x), -1)})["y"]


@given(st.integers(0, 50), st.floats(1, 1000), st.floats(60, 100))
def test_the_function_is_unchanged_and_the_percentile_is_the_target(seed, target, percentile):
    graph = network(seed)
    if 0 in calibration_rates(graph, X, percentile).values():
        return
    scaled = normalize(graph, X, target, percentile)
    np.testing.assert_allclose(outputs(scaled), outputs(graph), rtol=1e-9, atol=1e-9)
    rates = calibration_rates(scaled, X, percentile)
    assert [rates["c"], rates["d"]] == pytest.approx([target, target], rel=1e-4)


def test_a_target_for_each_layer():
    scaled = normalize(network(), X, {"c": 50.0, "d": 100.0}, 100.0)
    found = calibration_rates(scaled, X, 100.0)
    assert [found[name] for name in "cd"] == pytest.approx([50, 100], rel=1e-4)


def test_scale_firing_rates_as_the_converter():
    graph = network()
    scaled = scale_firing_rates(graph, {"c": 100.0})
    before, after = (rate_activity(g, {"x": X.reshape(50, -1)}) for g in (graph, scaled))
    np.testing.assert_allclose(after["c"], 100 * before["c"])
    np.testing.assert_allclose(after["d"], before["d"], rtol=1e-9)
    np.testing.assert_allclose(outputs(scale_firing_rates(graph, 7.0)), outputs(graph), rtol=1e-9)


def test_the_graph_given_is_untouched():
    graph = network()
    digest = graph.digest
    normalize(graph, X)
    del graph.__dict__["digest"]
    assert graph.digest == digest


def test_input_magnitude_is_recorded_for_the_encoder():
    scaled = normalize(network(), 3 * X, percentile=100)
    assert scaled.inputs[0].scale == pytest.approx(3 * X.max())


def test_bad_scales_and_silent_layers_are_all_named():
    with pytest.raises(NormalizationError) as caught:
        scale_firing_rates(network(), {"c": -1.0, "nowhere": 2.0, "d": np.inf})
    assert len(caught.value.problems) == 3
    with pytest.raises(NormalizationError, match="never fires"):
        normalize(network(), np.full((3, 4, 4, 1), -1e6) * np.array([1, -1]).mean() - 1e9)


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        (np.zeros((0, 4, 4, 1)), "no sample"),
        (np.zeros((3, 5, 4, 1)), "wrong shape"),
        (np.full((3, 4, 4, 1), np.nan), "not finite"),
        (np.full((3, 4, 4, 1), np.inf), "not finite"),
        (np.array(["a"]), "not numbers"),
        ({"z": X}, "inputs do not match"),
    ],
)
def test_bad_calibration_data(x, problem):
    with pytest.raises(InputError, match=problem):
        normalize(network(), x)


def test_leaky_neurons_leave_the_rate_network_as_it_was():
    graph = normalize(network(), X, 100.0)
    leaky = with_leaky_neurons(graph, "first_layer")
    assert [p.neuron.kind for p in leaky.populations] == ["if", "lif", "lif"]
    np.testing.assert_allclose(outputs(leaky), outputs(graph), rtol=1e-9, atol=1e-9)


def test_host_neurons_never_need_more_than_a_spike_per_step():
    graph = normalize(network(), X, encoder_rate=5000.0)
    rates = rate_activity(graph, {"x": X.reshape(50, -1)})["e"]
    assert rates.max() == pytest.approx(1 / graph.dt, rel=1e-6)


@pytest.mark.parametrize("percentile", [90.0, 99.5])
def test_the_fastest_host_neurons_may_spike_in_each_step_so_that_the_others_say_more(percentile):
    graph = normalize(network(), X, encoder_percentile=percentile)
    rates = rate_activity(graph, {"x": X.reshape(50, -1)})["e"]
    assert np.percentile(rates[rates > 0], percentile) == pytest.approx(1 / graph.dt, rel=1e-6)
    beyond = np.maximum(rates - 1 / graph.dt, 0).sum() / rates.sum()
    host, *others = graph.populations
    assert host.saturating == pytest.approx(beyond)
    assert 1e-5 < beyond < 0.2
    assert [population.saturating for population in others] == [0.0, 0.0]
    np.testing.assert_allclose(outputs(graph), outputs(normalize(network(), X)), rtol=1e-9, atol=1e-9)
