"""Corrections measured on the integer network."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.bias_correction import correct

IF = NeuronModel()
RNG = np.random.default_rng(0)
MEASURED_INPUT = RNG.uniform(0, 100, (30, 5))


def parts(neuron=IF):
    """Input -> e (host) -> a -> b -> readout, dense."""
    sizes = {"x": 5, "e": 5, "a": 6, "b": 4, "y": 3}
    chain = list(sizes)
    rng = np.random.default_rng(1)
    graph = Graph(
        (Input("x", (5,)),),
        tuple(Population(n, (sizes[n],), neuron, 2.0, rng.uniform(0, 1, sizes[n]), 0.5) for n in "eab"),
        tuple(
            Projection(
                pre, post, Dense(rng.normal(size=(sizes[post], sizes[pre]))), 0.005 if pre != "x" else 0
            )
            for pre, post in pairwise(chain)
        ),
        (Readout("y", (3,), np.zeros(3)),),
    )
    return ld.partition(graph, "first_layer")


def ideal_rates(cut, name, rates):
    """What a population would do with these rates of the one before it."""
    population = cut.chip.nodes[name]
    (projection,) = cut.chip.into(name)
    return population.neuron.rates(population.currents(projection.transform.apply(rates)))


def measured(cut, slow_a=1.0, slow_b=1.0):
    a = ideal_rates(cut, "a", MEASURED_INPUT) / slow_a
    return {"e": MEASURED_INPUT, "a": a, "b": ideal_rates(cut, "b", a) / slow_b}


def weights(cut):
    return {p.name: p.transform.values for p in (*cut.chip.projections, *cut.readout.projections)}


def test_ideal_rates_change_nothing():
    before = parts()
    after = correct(before, before, measured(before))
    for name, values in weights(after).items():
        np.testing.assert_allclose(values, weights(before)[name])
    for p, q in zip(before.chip.populations, after.chip.populations, strict=True):
        np.testing.assert_allclose(q.bias, p.bias, atol=1e-9)


def test_slow_neurons_count_for_more_and_their_targets_are_not_blamed():
    before = parts()
    after = correct(before, before, measured(before, slow_a=1.25))
    factors = {name: values / weights(before)[name] for name, values in weights(after).items()}
    np.testing.assert_allclose(factors["e->a"], 1)
    np.testing.assert_allclose(factors["a->b"], 1.25)
    np.testing.assert_allclose(factors["b->y"], 1)


def test_a_second_round_starts_from_the_original():
    before = parts()
    once = correct(before, before, measured(before, 1.25, 1.1))
    twice = correct(before, once, measured(once, 1.25, 1.1))
    for name, values in weights(twice).items():
        np.testing.assert_allclose(values, weights(once)[name])


def test_the_mean_error_that_is_left_goes_into_the_biases_of_the_targets():
    before = parts()
    found = measured(before)
    found["a"] = np.maximum(found["a"] - RNG.uniform(0, 20, 6), 0)
    after = correct(before, before, found)

    def mean_input(cut, rates):
        population = cut.chip.nodes["b"]
        return population.currents(cut.chip.into("b")[0].transform.apply(rates)).mean(axis=0)

    ideal = ideal_rates(before, "a", MEASURED_INPUT)
    np.testing.assert_allclose(mean_input(after, found["a"]), mean_input(before, ideal))


@pytest.mark.parametrize("silent", ["a", "b"])
def test_a_silent_population_keeps_its_weights(silent):
    before = parts()
    found = measured(before)
    found[silent] = np.zeros_like(found[silent])
    after = correct(before, before, found)
    (name,) = [name for name in weights(before) if name.startswith(f"{silent}->")]
    np.testing.assert_allclose(weights(after)[name], weights(before)[name])


def test_neurons_trained_with_the_chips_own_rates_are_left_alone():
    before = parts(replace(IF, discretized=True))
    after = correct(before, before, measured(before, 1.25, 1.25))
    assert after == before


def test_corrected_outputs_are_closer_to_the_rate_network():
    from loihi_deploy.engines.rate_network import rate_outputs

    rng = np.random.default_rng(2)
    graph = Graph(
        (Input("x", (20,)),),
        tuple(Population(n, (60,), NeuronModel(), 1.0, rng.uniform(0, 0.2, 60)) for n in "ab"),
        (
            Projection("x", "a", Dense(rng.normal(size=(60, 20)))),
            Projection("a", "b", Dense(rng.normal(size=(60, 60)) / 5), 0.003),
            Projection("b", "y", Dense(rng.normal(size=(5, 60)) / 5), 0.003),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )
    x = rng.uniform(0, 1, (200, 20))
    expected = rate_outputs(graph, {"x": x[100:]})["y"]

    def error(steps):
        deployment = ld.deploy(graph, "loihi", x[:100], ld.DeployOptions(bias_correction_steps=steps))
        return np.sqrt(np.mean((deployment.run(x[100:], 100).outputs - expected) ** 2))

    assert error(100) < 0.7 * error(0)


def test_neurons_that_hear_what_they_said_of_earlier_frames_are_left_as_they_are():
    """What is added to their input would come back with every frame; those before and behind them are corrected."""
    without = parts()
    own = Projection("a", "a", Dense(0.1 * np.eye(6)), 0.005, frames_back=1)
    before = replace(without, chip=replace(without.chip, projections=(*without.chip.projections, own)))
    rates = measured(without, slow_a=1.25, slow_b=1.25)
    factors = {
        name: values / weights(before)[name]
        for name, values in weights(correct(before, before, rates)).items()
        if name != "a->a"
    }
    np.testing.assert_allclose(factors["a->b"], 1)
    np.testing.assert_allclose(factors["b->y"], 1.25)
    after = correct(before, before, rates).chip
    np.testing.assert_allclose(after.nodes["a"].bias, before.chip.nodes["a"].bias)
    np.testing.assert_allclose(after.nodes["b"].bias, before.chip.nodes["b"].bias)


def test_rates_that_were_meant_are_what_a_population_is_compared_with():
    """Of those that are named; the others are compared with what the rate network makes of measured ones."""
    before = parts()
    rates = measured(before)
    meant = {"a": 1.5 * rates["a"]}
    after = correct(before, before, rates, meant)
    factors = {name: values / weights(before)[name] for name, values in weights(after).items()}
    np.testing.assert_allclose(factors["a->b"], 1.5)
    np.testing.assert_allclose(factors["b->y"], 1)
    nothing = correct(before, before, rates, {"a": 0 * rates["a"]})
    np.testing.assert_allclose(weights(nothing)["a->b"], weights(before)["a->b"])  # no factor below or at 0
    lost = (0 - rates["a"]).mean(axis=0)
    (projection,) = before.chip.into("b")
    b = before.chip.nodes["b"]
    np.testing.assert_allclose(
        nothing.chip.nodes["b"].bias, b.bias + b.gain * projection.transform.weights @ lost
    )


def test_readouts_get_the_mean_error_of_what_they_decode():
    before = parts()
    found = measured(before)
    found["b"] = np.maximum(found["b"] - RNG.uniform(0, 20, 4), 0)
    after = correct(before, before, found)
    ideal = ideal_rates(before, "b", found["a"])

    def decoded(cut, rates):
        (projection,), (readout,) = cut.readout.projections, cut.readout.readouts
        return (projection.transform.apply(rates) + readout.bias).mean(axis=0)

    np.testing.assert_allclose(decoded(after, found["b"]), decoded(before, ideal))
    factor = np.vdot(ideal, found["b"]) / np.vdot(found["b"], found["b"])
    assert factor > 1.01
    np.testing.assert_allclose(weights(after)["b->y"], factor * weights(before)["b->y"])
    assert after.encoder == before.encoder
    assert after.links == before.links


def test_rates_of_single_precision_are_summed_in_double():
    before = parts()
    rates = {name: values.astype(np.float32) for name, values in measured(before, 1.1, 1.2).items()}
    as_double = {name: values.astype(np.float64) for name, values in rates.items()}
    meant = {"b": rates["b"]}
    assert correct(before, before, rates, meant) == correct(before, before, as_double, {"b": as_double["b"]})


def test_values_that_are_bias_currents_count_for_what_they_drive():
    """The first population is on chip, and takes the input's values by the encoder's projection."""
    graph = Graph(
        (Input("x", (3,), signed=False),),
        (Population("a", (4,), IF, 1.0, 0.0),),
        (
            Projection("x", "a", Dense(RNG.uniform(0, 1, (4, 3)))),
            Projection("a", "y", Dense(RNG.uniform(0, 1, (2, 4))), 0.005),
        ),
        (Readout("y", (2,), np.zeros(2)),),
    )
    before = ld.partition(graph, "bias")
    x = RNG.uniform(0, 1, (20, 3))
    front = before.chip.nodes["x_bias"]
    (values,) = before.encoder.projections
    exact = front.neuron.rates(front.currents(values.transform.apply(x)))
    (onward,) = before.chip.projections
    a = before.chip.nodes["a"]
    rates = {"x": x, "x_bias": exact / 1.25}
    rates["a"] = a.neuron.rates(a.currents(onward.transform.apply(rates["x_bias"])))
    after = correct(before, before, rates)
    np.testing.assert_allclose(after.chip.projections[0].transform.values, 1.25 * onward.transform.values)
    np.testing.assert_allclose(
        after.readout.projections[0].transform.values, before.readout.projections[0].transform.values
    )
