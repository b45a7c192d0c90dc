"""Firing rates found on the integer network, and the ways to set them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis import calibrate
from loihi_deploy.analysis.calibrate import balance_thresholds, search_rates
from loihi_deploy.engines.rate_network import rate_activity, rate_outputs
from loihi_deploy.errors import InputError, LoihiDeployWarning, NormalizationError
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    samples_for,
)

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (60, 20))


def network():
    """Input -> 'a' -> 'b' -> 'c' -> readout, dense; an on/off encoder comes in front."""
    rng = np.random.default_rng(2)
    return Graph(
        (Input("x", (20,)),),
        tuple(Population(n, (30,), NeuronModel(), 1.0, rng.uniform(0, 0.2, 30)) for n in "abc"),
        (
            Projection("x", "a", Dense(rng.normal(size=(30, 20)))),
            Projection("a", "b", Dense(rng.normal(size=(30, 30)) / 4), 0.003),
            Projection("b", "c", Dense(rng.normal(size=(30, 30)) / 4), 0.003),
            Projection("c", "y", Dense(rng.normal(size=(5, 30)) / 4), 0.003),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )


def highest_rates(graph, percentile):
    rates = rate_activity(graph, {"x": X})
    return [float(np.percentile(rates[n][rates[n] > 0], percentile)) for n in "abc"]


def test_every_normalization_keeps_the_function_and_runs():
    expected = rate_outputs(network(), {"x": X})["y"]
    for name in ("percentile", "maximum", "thresholds", "search", "scale_firing_rates"):
        options = ld.DeployOptions(normalization=name, scale_firing_rates=100.0)
        deployment = ld.deploy(network(), "loihi", X, options)
        np.testing.assert_allclose(
            rate_outputs(deployment.graph, {"x": X})["y"], expected, rtol=1e-4, atol=1e-5
        )
        outputs = deployment.run(X, 200).outputs
        assert np.corrcoef(outputs.ravel(), expected.ravel())[0, 1] > 0.97, name


def test_maximum_and_percentile():
    maximum = ld.deploy(network(), "loihi", X, ld.DeployOptions(normalization="maximum", target_rate=300.0))
    assert highest_rates(maximum.graph, 100) == pytest.approx([300] * 3, rel=1e-4)
    percentile = ld.DeployOptions(normalization="percentile", percentile=90.0, target_rate=200.0)
    assert highest_rates(ld.deploy(network(), "loihi", X, percentile).graph, 90) == pytest.approx(
        [200] * 3, rel=1e-4
    )


def test_scale_firing_rates_for_each_layer():
    options = ld.DeployOptions(normalization="scale_firing_rates", scale_firing_rates={"a": 50.0, "c": 20.0})
    with pytest.warns(LoihiDeployWarning, match="b: its fastest neurons spike 0.46 times in 100 steps"):
        scaled = ld.deploy(network(), "loihi", X, options).graph
    before, after = rate_activity(network(), {"x": X}), rate_activity(scaled, {"x": X})
    for name, factor in (("a", 50), ("b", 1), ("c", 20)):
        np.testing.assert_allclose(after[name], factor * before[name], rtol=1e-9, atol=1e-9)


def test_balanced_thresholds_give_the_integer_network_its_rates():
    options = ld.DeployOptions(
        normalization="thresholds", percentile=95.0, target_rate=100.0, bias_correction_steps=200
    )
    graph = ld.deploy(network(), "loihi", X, options).graph
    program = ld.quantize(ld.partition(graph))
    rates = backends.firing_rates(program, samples_for(graph, X), 200, 0.5)
    for name in "abc":
        found = np.percentile(rates[name][rates[name] > 0], 95.0)
        assert found == pytest.approx(100, rel=0.15)


def test_a_search_is_no_worse_than_where_it_starts():
    expected = rate_outputs(network(), {"x": X})["y"]

    def error(normalization):
        options = ld.DeployOptions(normalization=normalization, bias_correction_steps=50)
        outputs = ld.deploy(network(), "loihi", X, options).run(X, 50).outputs
        wrong = (outputs.argmax(axis=1) != expected.argmax(axis=1)).mean()
        return wrong, np.square(outputs - expected).mean()

    assert error("search") <= error("percentile")


def test_synapses_of_chosen_layers():
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(layer_synapses={"b": 0.01, "y": 0.0}))
    taus = {p.post: p.tau for p in deployment.graph.projections}
    assert taus == {"a": 0.0, "b": 0.01, "c": 0.003, "y": 0.0}
    with pytest.raises(NormalizationError, match="nowhere"):
        ld.deploy(network(), "loihi", X, ld.DeployOptions(layer_synapses={"nowhere": 0.01}))
    with pytest.raises(InputError, match="layer_synapses"):
        ld.DeployOptions(layer_synapses={"b": -1.0})


def test_balancing_samples_with_frames():
    kernel = np.ones((1, 1, 1, 1))
    graph = Graph(
        (Input("x", (4, 4, 1)),),
        (
            Population("e", (4, 4, 1), NeuronModel(), 1.0, 0.0),
            Population("d", (6,), NeuronModel(), 1.0, 0.1),
        ),
        (
            Projection("x", "e", Conv2D(kernel, (1, 1), (0, 0), (4, 4, 1), (4, 4, 1))),
            Projection("e", "d", Dense(RNG.normal(size=(6, 16))), 0.003),
            Projection("d", "y", Dense(RNG.normal(size=(2, 6))), 0.003),
        ),
        (Readout("y", (2,), np.zeros(2)),),
    )
    frames = RNG.uniform(0, 1, (10, 4, 4, 4, 1))
    deployment = ld.deploy(graph, "loihi", frames, ld.DeployOptions(bias_correction_steps=100, flush=0))
    assert deployment.run(frames, steps_per_frame=10).counters.sample_steps == 400


def test_corrections_are_those_of_the_usual_options_where_nothing_is_said():
    cut = ld.partition(ld.normalize(network(), X))
    usual = ld.DeployOptions()
    said = ld.correct_biases(cut, X, usual.bias_correction_steps, usual.readout_window, "loihi", 8, None, 0)
    assert ld.correct_biases(cut, X) == said
    assert ld.correct_biases(cut, X, usual.bias_correction_steps + 1) != said


@pytest.mark.parametrize("way", [balance_thresholds, search_rates])
def test_only_layers_on_chip_that_can_be_scaled_are(way):
    graph = ld.normalize(network(), X, 400.0, encoder="first_layer")
    stepped = replace(graph.populations[2], neuron=NeuronModel(discretized=True))
    graph = replace(graph, populations=(*graph.populations[:2], stepped))
    options = ld.DeployOptions(encoder="first_layer", target_rate=150.0, bias_correction_steps=20)
    found = way(graph, samples_for(graph, X), options, "loihi")
    changed = [a != b for a, b in zip(graph.populations, found.populations, strict=True)]
    assert changed[0] is changed[2] is False
    assert changed[1] or way is search_rates
    if way is balance_thresholds:
        program = ld.quantize(ld.partition(found, "first_layer"))
        rates = backends.firing_rates(program, samples_for(graph, X), 20, 0.5)["b"]
        assert np.percentile(rates[rates > 0], options.percentile) == pytest.approx(150, rel=0.4)


@pytest.mark.parametrize(("depth", "rounds"), [(1, 2), (2, 2), (5, 5)])
def test_a_round_for_each_layer_that_is_held_against_rates_of_its_own(monkeypatch, depth, rounds):
    """Sequences: a layer is put right once those in front of it are."""
    names = [f"layer{k}" for k in range(depth + 1)]  # the first one is the host's
    graph = Graph(
        (Input("frame", (4,)),),
        tuple(Population(name, (4,), NeuronModel(), 100.0, np.zeros(4)) for name in names),
        tuple(
            Projection(pre, post, Dense(np.eye(4)), 0.003 if pre != "frame" else 0.0)
            for pre, post in pairwise(["frame", *names, "y"])
        ),
        (Readout("y", (4,), np.zeros(4), over_frames="mean"),),
    )
    done = []
    monkeypatch.setattr(calibrate, "correct", lambda original, *rest: done.append(1) or original)
    x = np.random.default_rng(0).uniform(0, 1, (3, 5, 4))
    options = ld.DeployOptions(steps_per_frame=2, encoder="first_layer")
    ld.deploy(graph, "loihi", x, options)
    assert len(done) == rounds
