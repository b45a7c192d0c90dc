"""Normalization changes firing rates and nothing else."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import InputError, NormalizationError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.options import ENCODER_RATE, PERCENTILE, TARGET_RATE
from loihi_deploy.stages.normalize import (
    calibration_rates,
    normalize,
    scale_firing_rates,
    with_input_ranges,
    with_leaky_neurons,
    with_synapses,
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


def layers(*neurons, taus=(0.0, 0.004, 0.006, 0.008)):
    """Input 2 -> 'a' -> 'b' -> 'c' -> readout; 'a' runs on the host with the encoder 'first_layer'."""
    sizes = [2, *range(3, 3 + len(neurons)), 2]
    names = ["x", *"abcdef"[: len(neurons)], "y"]
    rng = np.random.default_rng(0)
    populations = tuple(
        Population(name, (size,), neuron, 2.0, np.arange(1.0, 1 + size), 0.5)
        for name, size, neuron in zip(names[1:], sizes[1:], neurons, strict=False)
    )
    projections = tuple(
        Projection(pre, post, Dense(rng.uniform(0, 1, (sizes[k + 1], sizes[k]))), taus[k])
        for k, (pre, post) in enumerate(pairwise(names))
    )
    return Graph((Input("x", (2,)),), populations, projections, (Readout("y", (2,), np.zeros(2)),))


def test_leaky_neurons_stand_in_for_what_the_chip_would_rectify():
    """Gains and biases by the time constant, and an input of three quarters on top; other neurons stay as they are."""
    leaky, stepped = NeuronModel("lif", 0.01, 0.001), NeuronModel(discretized=True, step=0.001)
    graph = layers(
        NeuronModel(), NeuronModel(), leaky, stepped, NeuronModel(discretized=True), taus=[0.0] * 6
    )
    found = with_leaky_neurons(graph, "first_layer", 0.04, 0.003)
    made = NeuronModel("lif", 0.04, 0.003, relu_offset=0.75)
    assert [p.neuron for p in found.populations] == [NeuronModel(), made, leaky, stepped, made]
    for before, after in zip(graph.populations, found.populations, strict=True):
        if after.neuron == made:
            assert after.gain == pytest.approx(0.04 * 2)
            np.testing.assert_allclose(after.bias, before.bias * 0.04 + 0.75)
        else:
            assert after == before
    assert found.projections == graph.projections
    usual = with_leaky_neurons(graph, "first_layer").populations[1].neuron
    assert (usual.tau_rc, usual.tau_ref) == (0.02, 0.0)
    assert with_leaky_neurons(graph, "on_off").populations[0].neuron.kind == "lif"


def test_synapses_of_spikes_are_those_that_are_given_and_those_of_inputs_stay():
    graph = layers(NeuronModel(), NeuronModel())
    found = with_synapses(graph, {"y": 0.1, "a": 0.2, "b": 0})
    assert [p.tau for p in found.projections] == [0.0, 0.0, 0.1]
    assert replace(found, projections=graph.projections) == graph
    assert with_synapses(graph, {}) == graph
    with pytest.raises(NormalizationError) as caught:
        with_synapses(graph, {"x": 0.1, "a": 0.2, "nowhere": 0.3})
    assert [(p.what, p.where, p.remedy) for p in caught.value.problems] == [
        ("no such population or readout", name, "There are a, b, y") for name in ("x", "nowhere")
    ]


def test_what_is_wrong_with_scales_by_its_whole_text():
    with pytest.raises(NormalizationError) as caught:
        scale_firing_rates(network(), {"c": 0.0, "nowhere": 2.0, "d": np.inf, "e": -1.0})
    assert [(p.what, p.where, p.value, p.remedy) for p in caught.value.problems] == [
        ("no such population", "nowhere", None, "The populations are e, c, d"),
        ("a firing rate scale must be positive", "c", 0.0, ""),
        ("a firing rate scale must be positive", "d", np.inf, ""),
        ("a firing rate scale must be positive", "e", -1.0, ""),
    ]
    assert scale_firing_rates(network(), {"c": 1e-9}).populations[1].gain == 1e-9
    with pytest.raises(NormalizationError) as caught:
        normalize(changed_biases(-1e9), X)
    assert [(p.what, p.where) for p in caught.value.problems] == [
        ("never fires on the calibration data", "c"),
        ("never fires on the calibration data", "d"),
    ]
    assert caught.value.problems[0].remedy == (
        "Give calibration samples that reach it, or keep the source's own gains with "
        "DeployOptions(normalization='none')"
    )


def changed_biases(bias):
    """The network with other biases behind its first layer."""
    graph = network()
    return replace(
        graph, populations=tuple(p if p.name == "e" else replace(p, bias=bias) for p in graph.populations)
    )


def test_rates_are_percentiles_of_those_that_fire_each_layer_by_its_own():
    """Single precision keeps seven digits; batches of a hundred samples are put together."""
    graph, x = network(), np.random.default_rng(5).uniform(-0.5, 1, (230, 4, 4, 1))
    rates = rate_activity(graph, {"x": x.reshape(230, -1)})
    percentiles = {"e": 30.0, "c": 99.0, "d": 50.0}
    found = calibration_rates(graph, x, percentiles)
    assert list(found) == ["e", "c", "d"]
    for name, percentile in percentiles.items():
        fire = rates[name][rates[name] > 0]
        assert fire.size < rates[name].size
        assert found[name] == pytest.approx(np.percentile(fire, percentile), rel=1e-5)
    silent = calibration_rates(changed_biases(-1e9), x, 50.0)
    assert (silent["c"], silent["d"]) == (0.0, 0.0)


def test_targets_that_are_not_given_are_the_usual_one_and_the_host_has_its_own():
    graph = normalize(network(), X, {"c": 77.0}, 90.0, "first_layer", 300.0, 80.0)
    rates = rate_activity(graph, {"x": X.reshape(50, -1)})
    for name, percentile, target in (("e", 80.0, 300.0), ("c", 90.0, 77.0), ("d", 90.0, TARGET_RATE)):
        found = np.percentile(rates[name][rates[name] > 0], percentile)
        assert found == pytest.approx(target, rel=1e-4)
    (node,) = graph.inputs
    assert node.scale == X.max()
    assert node.calibrated == (X.min(), X.max())
    beyond = np.maximum(rates["e"] - 1000, 0).sum() / rates["e"].sum()
    assert graph.populations[0].saturating == pytest.approx(beyond)
    usual = normalize(network(), X)
    rates = rate_activity(usual, {"x": X.reshape(50, -1)})
    assert rates["e"].max() == pytest.approx(ENCODER_RATE, rel=1e-4)
    for name in "cd":
        fire = rates[name][rates[name] > 0]
        assert np.percentile(fire, PERCENTILE) == pytest.approx(TARGET_RATE, rel=1e-4)
    in_front = normalize(network(), X, 60.0, 100.0, "on_off")
    assert rate_activity(in_front, {"x": X.reshape(50, -1)})["e"].max() == pytest.approx(60, rel=1e-4)


def test_a_layer_may_be_silent_for_a_hundred_samples():
    graph = replace(
        layers(NeuronModel()), populations=(replace(layers(NeuronModel()).populations[0], bias=0.0),)
    )
    x = np.random.default_rng(0).uniform(0.1, 1, (230, 2))
    expected = calibration_rates(graph, x[100:], 99.0)
    x[:100] *= -1
    assert calibration_rates(graph, x, 99.0) == expected
    assert expected["a"] > 0
