"""Deployed for a presentation time."""

import re
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.presentation import ENCODER_PERCENTILES, LADDER, RATES
from loihi_deploy.analysis.tune import WINDOWS
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
X, HELD_OUT = RNG.uniform(0, 1, (200, 20)), RNG.uniform(0, 1, (300, 20))


def network(depth=3, outputs=5):
    rng = np.random.default_rng(2)
    names = [f"layer{i}" for i in range(depth)]
    sizes = [20, *[40] * depth]
    projections = []
    for i, (pre, post) in enumerate(zip(["x", *names], [*names, "y"], strict=True)):
        weights = rng.normal(size=(outputs if post == "y" else 40, sizes[i])) / (1 if i == 0 else 4)
        projections.append(Projection(pre, post, Dense(weights), 0.001 if i else 0.0))
    return Graph(
        (Input("x", (20,)),),
        tuple(Population(n, (40,), NeuronModel(), 1.0, rng.uniform(-0.1, 0.3, 40)) for n in names),
        tuple(projections),
        (Readout("y", (outputs,), np.zeros(outputs)),),
    )


def decisions(graph, x):
    return rate_outputs(graph, {"x": x})["y"].argmax(axis=1)


def deployed(graph=None, labels=None, **options):
    return ld.deploy(graph or network(), "loihi", X, ld.DeployOptions(**options), labels=labels)


def test_few_steps_keep_more_decisions_than_without_saying_so():
    graph = network()
    plain = deployed()
    y = decisions(graph, HELD_OUT)
    for steps, least in ((40, 0.8), (10, 0.6)):
        made = deployed(steps=steps)
        found = made.evaluate(HELD_OUT, y).accuracy
        assert found > least
        assert found > plain.evaluate(HELD_OUT, y, steps).accuracy
        assert made.options.steps == steps
        assert made.options.target_rate in {1000 * rate for rate in RATES}
        assert made.options.readout_window in WINDOWS
        assert made.run(X[:2]).counters.sample_steps == 2 * steps
        assert made.run(X[:2], 7).counters.sample_steps == 14  # unless it is said otherwise
    assert plain.run(X[:2]).counters.sample_steps == 200


def test_options_given_by_hand_stay():
    made = deployed(steps=20, target_rate=800.0, bias_correction_steps=30, readout_window=0.45)
    options = made.options
    assert (options.target_rate, options.bias_correction_steps, options.readout_window) == (800.0, 30, 0.45)


def test_options_given_by_hand_stay_where_they_are_the_default_ones():
    usual = ld.DeployOptions()
    names = ("target_rate", "bias_correction_steps", "readout_window", "synapse")
    made = deployed(steps=20, **{name: getattr(usual, name) for name in names})
    assert all(getattr(made.options, name) == getattr(usual, name) for name in names)
    assert usual.given == frozenset()
    assert ld.DeployOptions(balance_steps=100).given == {"bias_correction_steps"}
    assert replace(usual, steps=20).given == {"steps"}
    assert ld.DeployOptions(steps=20, synapse=0.003) == replace(usual, steps=20)


def test_the_fastest_neurons_of_the_encoder_may_spike_in_each_step():
    rng = np.random.default_rng(1)
    heavy = np.where(rng.uniform(size=(200, 20)) < 0.01, 8.0, 1.0) * X  # a few values far above the others
    graph = network(depth=2)
    how = {"encoder": "first_layer", "steps": 10}
    chosen = ld.deploy(graph, "loihi", heavy, ld.DeployOptions(**how))
    slow = ld.deploy(graph, "loihi", heavy, ld.DeployOptions(**how, encoder_percentile=100.0))
    assert chosen.options.encoder_percentile in set(ENCODER_PERCENTILES) - {100.0}
    assert slow.options.encoder_percentile == 100.0
    held_out = np.where(rng.uniform(size=(300, 20)) < 0.01, 8.0, 1.0) * HELD_OUT
    y = decisions(graph, held_out)
    assert chosen.evaluate(held_out, y).accuracy > slow.evaluate(held_out, y).accuracy
    (host,) = chosen.program.encoder.populations
    assert host.saturating > 0


def test_a_stream_starts_from_the_same_voltages_after_each_reset():
    made = deployed(steps=12)
    assert all(population.initial_voltage.any() for population in made.program.populations)
    expected = made.run(X[:4]).outputs
    with made.stream() as stream:
        for x, outputs in zip(X[:4], expected, strict=True):
            np.testing.assert_array_equal(stream.step(x).outputs, outputs)
            stream.reset()
        stream.step(X[0])
        assert (
            stream.step(X[1]).outputs != expected[1]
        ).any()  # without a reset, voltages are those that were left


def test_the_integers_do_not_depend_on_the_window():
    one, other = (deployed(steps=20, target_rate=800.0, readout_window=window) for window in (0.3, 0.9))
    assert one.program == other.program


def test_auto_takes_the_shortest_time_that_loses_no_more_than_allowed():
    graph = network(depth=1)
    y = decisions(graph, X)
    made = deployed(graph, labels=y, steps="auto", max_drop=0.04)
    assert made.options.steps in LADDER
    assert made.evaluate(X, y).accuracy >= 0.96
    for shorter in LADDER[: LADDER.index(made.options.steps)]:
        assert deployed(graph, labels=y, steps=shorter).evaluate(X, y).accuracy < 0.96


def test_auto_is_not_taken_in_by_labels_that_happen_to_fit_the_chip():
    """The source is sure, and mostly right; what is decided otherwise in few steps is expected to cost."""
    graph = network(depth=1)
    short = deployed(graph, steps=LADDER[0])
    ours, theirs = decisions(graph, X), short.run(X).outputs.argmax(axis=1)
    lucky = np.where(np.arange(len(X)) % 2, ours, theirs)
    assert 0.02 < (ours != theirs).mean() < 0.2
    assert short.evaluate(X, lucky).accuracy >= (ours == lucky).mean() - 0.01  # counted, it would do
    assert deployed(graph, labels=lucky, steps="auto", max_drop=0.01).options.steps > LADDER[0]


@pytest.mark.follows(
    "Allow a drop of …",
)
def test_auto_that_cannot_succeed_says_what_would(monkeypatch):
    monkeypatch.setattr("loihi_deploy.analysis.presentation.LADDER", (8, 10))
    with pytest.raises(InputError, match="no presentation time is long enough") as caught:
        deployed(steps="auto", max_drop=0.0)
    assert "decided otherwise (there are no labels)" in str(caught.value)
    drop = float(re.search(r"a drop of (\d\.\d+)", str(caught.value))[1])
    assert deployed(steps="auto", max_drop=drop).options.steps in (8, 10)
    with pytest.raises(InputError, match=r"\d % lost at"):
        deployed(steps="auto", max_drop=0.0, labels=decisions(network(), X))


def test_networks_without_classes_are_judged_by_their_error():
    graph = network(depth=1, outputs=1)
    made = deployed(graph, steps="auto", max_drop=0.2)
    expected = rate_outputs(graph, {"x": X})["y"]
    error = np.sqrt(np.mean((made.run(X).outputs - expected) ** 2) / np.mean(expected**2))
    assert error <= 0.2


@pytest.mark.follows(
    "Present samples for … steps or more",
)
def test_a_time_too_short_for_the_depth_names_the_least_that_works():
    with pytest.raises(InputError, match="too short for the depth") as caught:
        deployed(steps=3)
    least = int(re.search(r"for (\d+) steps or more", str(caught.value))[1])
    assert least == 4
    made = deployed(steps=least)
    assert made.run(X, record=["layer2"]).recorded["layer2"]["spikes"].any()


@pytest.mark.parametrize(
    ("calibration", "labels", "steps", "match"),
    [
        (None, None, 20, "nothing to choose with"),
        (X.reshape(50, 4, 20), None, 20, "steps_per_frame"),
        (X, np.zeros(3, int), 20, "labels do not fit"),
        (X, np.full(200, 5), 20, "labels out of range"),
        (X, None, 0, "not a presentation time"),
        (X, None, True, "steps: not what is expected .found True, allowed whole number or 'auto'"),
        (X, None, 2.5, "steps: not what is expected .found 2.5, allowed whole number or 'auto'"),
        (X, None, "automatic", "not a presentation time"),
    ],
)
def test_what_cannot_be_chosen_with(calibration, labels, steps, match):
    with pytest.raises(InputError, match=match):
        ld.deploy(network(), "loihi", calibration, ld.DeployOptions(steps=steps), labels=labels)
