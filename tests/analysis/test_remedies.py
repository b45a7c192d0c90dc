"""What verification advises, by its text on stages made by hand, and by following it."""

import ast
import re
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.latency import latencies, latency_sentence
from loihi_deploy.analysis.remedies import Trial
from loihi_deploy.analysis.verify import (
    INTEGER,
    QUANTIZED,
    RATE,
    REFERENCE,
    SOURCE,
    SPIKING,
    LayerAgreement,
    Stage,
    remedies,
    worst_layer,
    worst_stage,
)
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.normalize import with_synapses

X = np.random.default_rng(0).uniform(0, 1, (100, 20))


GOOD = LayerAgreement("a", 1.0, 0.1, 0.0, 0.0)


def stages(rate=1.0, spiking=1.0, quantized=1.0, integer=1.0, layers=(GOOD,)):
    found = {
        SOURCE: 1.0,
        RATE: rate,
        SPIKING: spiking,
        QUANTIZED: quantized,
        INTEGER: integer,
        REFERENCE: integer,
    }
    return [Stage(name, None, agreement, 100, layers) for name, agreement in found.items()]


def not_tried():
    raise AssertionError("nothing is lost, so nothing needs to be tried")


def test_a_stage_that_the_chip_does_not_run_is_not_blamed():
    assert list(remedies(stages(spiking=0.5), {}, 0, not_tried)) == []
    assert worst_stage(stages(spiking=0.5, integer=0.9)) == (INTEGER, pytest.approx(0.1))
    assert worst_stage(stages(spiking=0.5, quantized=0.8, integer=0.9)) == (QUANTIZED, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("lost", "name"),
    [
        ({"rate": 0.8, "quantized": 0.8, "integer": 0.8}, RATE),
        ({"quantized": 0.8, "integer": 0.8}, QUANTIZED),
        ({"integer": 0.8}, INTEGER),
    ],
)
def test_the_stage_that_loses_and_the_best_of_what_was_tried(lost, name):
    tried = (Trial("do little", 0.81), Trial("do much", 0.95), Trial("do harm", 0.1))
    first, _ = remedies(stages(**lost), {}, 0, lambda: tried)
    assert first == f"{name} loses most, 20.0 % of decisions: do much, which leaves 5.0 % lost"
    first, _ = remedies(stages(**lost), {}, 0, lambda: tried[::2])
    assert "nothing that was tried gives a quarter of them back: do little; do harm" in first


def test_nengo_loihis_emulator_must_not_differ():
    (only,) = remedies(stages(), {}, 3, not_tried)
    assert "report it" in only


@pytest.mark.parametrize(
    ("layer", "zeroed", "text"),
    [
        (LayerAgreement("b", 0.9, 0.5, 0.4, 0.0), {}, "40 % of neurons silent: its rates are too low"),
        (LayerAgreement("b", 0.9, 0.5, 0.0, 0.2), {}, "20.0 % of neurons saturated: its rates are too high"),
        (LayerAgreement("b", 0.9, 0.5, 0.0, 0.0), {"b": 0.6}, "60 % of its weights are 0"),
        (LayerAgreement("b", 0.9, 0.5, 0.0, 0.0), {"a": 0.6}, "b: relative error of firing rates 50 %"),
    ],
)
def test_the_layer_whose_rates_are_furthest_off(layer, zeroed, text):
    found = worst_layer(stages(layers=(LayerAgreement("a", 1.0, 0.1, 0.9, 0.9), layer)), zeroed)
    assert found.startswith("b: ")
    assert text in found


def network(neuron=NeuronModel(), outlier=1.0, depth=2):  # noqa: B008
    """Input 20 -> `depth` dense layers of 30 -> five classes; on and off neurons come in front."""
    rng = np.random.default_rng(2)
    leaky = neuron.kind == "lif"
    names = [f"layer{i}" for i in range(depth)]
    sizes = [20, *[30] * depth]
    populations = [
        Population(n, (30,), neuron, 3.0 if leaky else 1.0, rng.uniform(0, 0.2, 30)) for n in names
    ]
    projections = []
    for i, (pre, post) in enumerate(zip(["x", *names], [*names, "y"], strict=True)):
        weights = rng.normal(size=(5 if post == "y" else 30, sizes[i])) / (1 if i == 0 else 4)
        if i == 1:
            weights *= 0.02 if leaky else 1.0
            weights[0] *= outlier
        if i == 2:
            weights[:, 0] /= outlier  # the same function
        projections.append(Projection(pre, post, Dense(weights), 0.003 if i else 0.0))
    return Graph(
        (Input("x", (20,)),), tuple(populations), tuple(projections), (Readout("y", (5,), np.zeros(5)),)
    )


def follow(advice, graph, options, steps):
    """The deployment, and the steps, after doing what is advised."""
    change = advice.partition(" % of decisions: ")[2].partition(", which leaves")[0]
    if found := re.fullmatch(r"present samples for (\d+) steps", change):
        return ld.deploy(graph, "loihi", X, options), int(found[1])
    name, value = re.fullmatch(r"deploy it with (\w+)=(.*)", change).groups()
    return ld.deploy(graph, "loihi", X, replace(options, **{name: ast.literal_eval(value)})), steps


def agreement(deployment, graph, steps):
    decisions = rate_outputs(graph, {"x": X})["y"].argmax(axis=1)
    return deployment.evaluate(X, decisions, steps).accuracy


CASES = {
    "too few steps": (network(), {}, 12, INTEGER, "steps"),
    "rates too high, which more steps do not cure": (
        network(),
        {"target_rate": 990.0, "percentile": 60.0, "bias_correction_steps": 0},
        200,
        INTEGER,
        "target_rate",
    ),
    "one channel takes all the bits": (
        network(outlier=50.0),
        {},
        200,
        QUANTIZED,
        "weight_percentile|equalize|rounding",
    ),
    "the function was changed by hand": (
        network(NeuronModel("lif", 0.02, 0.002)),
        {"normalization": "scale_firing_rates", "scale_firing_rates": 0.1},
        200,
        RATE,
        "normalization='percentile'",
    ),
}


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize("case", CASES)
def test_what_is_advised_helps_as_much_as_it_says(case):
    graph, options, steps, stage, change = CASES[case]
    options = ld.DeployOptions(**options)
    deployment = ld.deploy(graph, "loihi", X, options)
    advice = deployment.verify(X, steps=steps, reference_samples=0).remedies[0]
    assert advice.startswith(stage)
    assert re.search(change, advice)
    promised = 1 - float(re.search(r"which leaves ([\d.]+) % lost", advice)[1]) / 100
    better, more_steps = follow(advice, graph, options, steps)
    found = agreement(better, graph, more_steps)
    assert found == pytest.approx(promised)
    assert found > agreement(deployment, graph, steps)


def test_nothing_is_advised_where_nothing_is_lost():
    graph = network()
    deployment = ld.deploy(graph, "loihi", X, ld.DeployOptions(target_rate=100.0))
    found = deployment.verify(X[:20], steps=1000, reference_samples=0)
    assert {stage.agreement for stage in found.stages if stage.name == INTEGER} == {1.0}
    (only,) = found.remedies
    assert only == latency_sentence(deployment.program, 1000)


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_overflows_name_the_layer_whose_rate_cures_them():
    rng = np.random.default_rng(0)
    graph = Graph(
        (Input("x", (20,)),),
        (
            Population("many", (1500,), NeuronModel(), 1.0, 0.0),
            Population("few", (3,), NeuronModel(), 1.0, 0.0),
        ),
        (
            Projection("x", "many", Dense(rng.uniform(0.5, 1, (1500, 20)))),
            Projection("many", "few", Dense(np.ones((3, 1500))), 0.003),
            Projection("few", "y", Dense(np.eye(3)), 0.003),
        ),
        (Readout("y", (3,), np.zeros(3)),),
    )

    def verified(rate):
        scales = {"many": 120.0, "few": rate}
        options = ld.DeployOptions(
            normalization="scale_firing_rates", scale_firing_rates=scales, bias_correction_steps=0
        )
        return ld.deploy(graph, "loihi", X, options).verify(X[:5], steps=50, reference_samples=0)

    found = verified(1.0)
    (advice,) = [remedy for remedy in found.remedies if "wrapped around" in remedy]
    assert advice.startswith(
        f"few: {found.overflows['few']} accumulators wrapped around: lower its firing rate"
    )
    assert sum(verified(0.06).overflows.values()) == 0


def test_verification_with_biases_in_place_of_spikes():
    graph = network()
    deployment = ld.deploy(graph, "loihi", X, ld.DeployOptions(encoder="bias"))
    found = {stage.name: stage for stage in deployment.verify(X[:20], steps=200, reference_samples=0).stages}
    assert found[QUANTIZED].agreement >= 0.95
    assert all(layer.correlation > 0.99 for layer in found[QUANTIZED].layers)


@pytest.mark.parametrize("tau", [0.0, 0.001, 0.003])
def test_latency_is_a_step_for_each_hop_and_the_delays_of_the_synapses(tau):
    graph = with_synapses(network(depth=3), dict.fromkeys(["layer0", "layer1", "layer2", "y"], tau))
    deployment = ld.deploy(graph, "loihi", X)
    delay = 0.0 if tau == 0 else 1 / np.expm1(0.001 / tau)
    found = latencies(deployment.program)
    assert [layer.hops for layer in found] == [1, 2, 3, 3]
    first = 1 + (delay if tau else 0)  # the host's spikes get the network's usual synapse
    expected = [first, first + 1 + delay, first + 2 * (1 + delay), first + 2 * (1 + delay) + delay]
    assert [layer.delay for layer in found] == pytest.approx(expected, rel=2e-3, abs=1e-9)
    sentence = latency_sentence(deployment.program, 30)
    assert sentence.startswith("y first speaks at step 4 of 30")
    assert ("synapse=0.001" in sentence) == (tau > 0.001)


def test_no_layer_speaks_before_the_step_that_is_named():
    graph = network(depth=3)
    still = replace(graph, populations=tuple(replace(p, bias=np.zeros(30)) for p in graph.populations))
    deployment = ld.deploy(still, "loihi", X, ld.DeployOptions(synapse=0.0, bias_correction_steps=0))
    layers = latencies(deployment.program)[:-1]
    recorded = deployment.run(X, 30, record=[layer.name for layer in layers]).recorded
    for layer in layers:
        spoke = recorded[layer.name]["spikes"].any(axis=(0, 2))
        assert not spoke[: layer.hops].any()  # steps 1 to hops
        assert spoke.any()


def test_shorter_synapses_shorten_the_latency_as_the_sentence_says():
    graph = network(depth=3)
    sentence = latency_sentence(ld.deploy(graph, "loihi", X).program, 30)
    step = int(re.search(r"make that step (\d+)", sentence)[1])
    short = dict.fromkeys(["layer0", "layer1", "layer2", "y"], 0.001)
    program = ld.deploy(graph, "loihi", X, ld.DeployOptions(layer_synapses=short)).program
    assert round(max(layer.delay for layer in latencies(program)) + 1) == step
