"""What activities cost in training."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import EventPenalty, RateRange, energy_costs, event_costs
from loihi_deploy.training.penalties import EVENTS, fan_outs
from tests.training.small import task, trained

X, Y = task()


@pytest.mark.parametrize("version", [2, 3])
def test_a_regularizer_brings_the_percentile_into_the_range(version):
    k = import_keras(version)
    k.utils.set_random_seed(0)
    layers = k.layers
    wanted = RateRange(80.0, 120.0, percentile=99.0, weight=10.0)
    model = k.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(40, activation="relu", name="hidden", activity_regularizer=wanted),
            layers.Dense(3),
        ]
    )
    watch = k.Model(model.inputs[0], model.get_layer("hidden").output)

    def fast():
        return float(np.percentile(np.asarray(watch(X)), 99.0))

    assert fast() < 10
    model.compile(k.optimizers.Adam(0.03), k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, batch_size=100, epochs=25, verbose=0)
    assert 75 < fast() < 125
    deployment = ld.deploy(model, "loihi", X[:100], ld.DeployOptions(normalization="none"))
    rates = deployment.run(X[:100], 200).counters.firing_rate("hidden", 0.001)
    assert rates > 1  # ReLU activities are Hz where no gains are set


def test_the_percentile_is_that_of_numpy():
    values = np.random.default_rng(0).uniform(0, 1, (50, 101)).astype(np.float32)
    for percentile in (50.0, 90.0, 99.9, 100.0):
        fast = np.percentile(values, percentile)
        cost = float(RateRange(2.0, 4.0, percentile)(values))
        assert cost == pytest.approx(50 * ((2 - fast) / 3) ** 2, rel=2e-3)
    assert float(RateRange(0.5, 1.5, 99.0)(values)) == 0


def test_costs_count_what_a_run_counts():
    model = trained(epochs=3)
    graph = convert(model)
    program = ld.deploy(model, "loihi", X[:100], ld.DeployOptions(encoder="on_off")).program
    fan = fan_outs(graph)
    assert fan["conv2"] == 0
    counts = ld.deploy(model, "loihi", X[:100]).run(X[:5], 50).counters.populations
    assert counts["conv2"].synaptic_events == pytest.approx(8 * counts["relu1"].spikes, rel=0.05)
    assert fan["relu1"] == 8
    assert {p.name for p in program.populations} == set(fan)
    assert event_costs(graph, 2.0)["relu1"] == pytest.approx(2 * fan["relu1"] / EVENTS)
    joules = energy_costs(graph, 1.0)
    assert joules["relu1"] > joules["conv2"] > 0
    spikes = np.ones((4, 6, 6, 6), np.float32) * 0.5
    assert float(EventPenalty(0.1, 20, 2.0)(spikes)) == pytest.approx(4 * 0.1 * 20 * 2 * 108, rel=1e-5)


def test_an_encoder_is_measured_by_its_own_fast_neurons():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(size=(12, 5, 5, 4)), 0).astype(np.float32)  # so few that all count
    penalty = EventPenalty(0.1, 20, percentile=90.0)
    for factor in (1.0, 7.0):  # the deployment sets rates anew
        each = tf.constant(factor * values)
        fast = np.percentile(each[each > 0], 90.0)
        with tf.GradientTape() as tape:
            tape.watch(each)
            cost = penalty(each)
        assert float(cost) == pytest.approx(0.1 * 20 * np.minimum(each / fast, 1).sum(), rel=5e-3)
        slope = tape.gradient(cost, each)
        assert float(tf.reduce_sum(slope * each)) == pytest.approx(0, abs=1e-2 * float(cost))
        assert (np.asarray(slope)[values == 0] >= 0).all()
    assert float(penalty(tf.zeros((3, 4)))) == 0


def test_what_is_no_range():
    with pytest.raises(InputError) as caught:
        RateRange(5.0, 1.0, percentile=101.0, weight=0.0)
    assert [problem.where for problem in caught.value.problems] == ["low, high", "percentile", "weight"]
    with pytest.raises(InputError, match="steps"):
        EventPenalty(1.0, -1)


def test_a_saved_regularizer_is_read_again():
    one = RateRange(5.0, 10.0, 99.0, 2.0, 3.0)
    assert RateRange(**one.get_config()).get_config() == one.get_config()
    for two in (EventPenalty(5.0, 10, 2.0), EventPenalty(5.0, 10, percentile=99.5)):
        assert EventPenalty(**two.get_config()).get_config() == two.get_config()
