"""What a run loses is told: with the layer, the share, the range that was calibrated, and a remedy that helps."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.host import plain
from loihi_deploy.errors import LoihiDeployWarning
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout, samples_for
from loihi_deploy.ir.program import Synapses

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (20, 6))
Y = np.arange(20) % 3
NETWORK = Graph(
    (Input("x", (6,)),),
    tuple(Population(name, (10,), NeuronModel(), 1.0, 0.0) for name in "ab"),
    (
        Projection("x", "a", Dense(RNG.normal(size=(10, 6)))),
        Projection("a", "b", Dense(RNG.normal(size=(10, 10))), 0.003),
        Projection("b", "y", Dense(RNG.normal(size=(3, 10))), 0.003),
    ),
    (Readout("y", (3,), np.zeros(3)),),
)


def deployed(encoder="auto", x=X, **options):
    return ld.deploy(NETWORK, "loihi", x, ld.DeployOptions(encoder=encoder, **options))


DEPLOYMENT = deployed("on_off")


def warned(call):
    """The problems that a call warns of, which are those that its result holds."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = call()
    assert all(isinstance(each.message, LoihiDeployWarning) for each in seen)
    assert all(each.filename == __file__ for each in seen)  # it is whoever called who is told
    assert tuple(each.message.problem for each in seen) == result.warnings
    return result.warnings, result


def test_nothing_is_said_in_range():
    for x in (X, 0.7 * X, 1.05 * X, 0 * X):
        assert warned(lambda x=x: DEPLOYMENT.run(x, 40))[0] == ()


@pytest.mark.parametrize("encoder", ["on_off", "poisson", "ttfs"])
@pytest.mark.follows(
    "Scale the samples as the calibration samples were, or deploy it again with calibration samples like these",
)
def test_spikes_lost_beyond_the_range(encoder):
    deployment = deployed(encoder)
    (problem,), result = warned(lambda: deployment.run(255 * X, 40))
    counts = result.counters.populations
    (layer,) = (name for name, count in counts.items() if count.lost_spikes)
    share = counts[layer].lost_spikes / (counts[layer].spikes + counts[layer].lost_spikes)
    assert share > 0.9
    assert problem.where == f"layer '{layer}'"
    assert f"{100 * share:.1f} % of its spikes" in problem.value
    assert f"{255 * X.min():.4g} to {255 * X.max():.4g}" in problem.value
    assert f"{X.min():.4g} to {X.max():.4g}" in problem.limit
    assert warned(lambda: deployment.evaluate(255 * X, Y, 40))[0] == (problem,)
    # either advice helps
    assert "Scale the samples" in problem.remedy
    assert warned(lambda: deployment.run(X, 40))[0] == ()
    again = deployed(encoder, 255 * X)
    assert warned(lambda: again.run(255 * X, 40))[0] == ()


@pytest.mark.parametrize("encoder", ["on_off", "poisson", "ttfs"])
def test_counts_of_lost_spikes_hold_whatever_the_input(encoder):
    deployment = deployed(encoder)
    samples = samples_for(deployment.graph, 1e29 * X)
    result = backends.run(deployment.program, samples, RunOptions(40))
    _, lost, _ = plain.encode(deployment.program.encoder, samples.arrays, 40)
    assert max(lost.values()) >= 2**32 - 1
    for name, count in lost.items():
        assert result.counters.populations[name].lost_spikes == count
    assert "100.0 % of its spikes" in result.warnings[0].value


def test_spikes_that_are_meant_to_be_lost_are_counted_but_no_news():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deployment = deployed("first_layer", encoder_percentile=80.0)
        result = deployment.run(X, 100)
    count = result.counters.populations["a"]
    assert count.lost_spikes > 0.01 * count.spikes
    (problem,), result = warned(lambda: deployment.run(1.5 * X, 100))
    assert "spikes are lost" in problem.what
    assert result.counters.populations["a"].lost_spikes > count.lost_spikes


def test_values_far_below_the_range():
    (problem,), _ = warned(lambda: DEPLOYMENT.run(0.1 * X, 40))
    assert problem.where == "input 'x'"
    assert "few spikes" in problem.what
    assert problem.limit == f"{X.min():.4g} to {X.max():.4g}"
    again = deployed("on_off", 0.1 * X)
    assert warned(lambda: again.run(0.1 * X, 40))[0] == ()


def test_neurons_that_cannot_lose_spikes_are_told_of_too():
    """Leaky neurons saturate, and count nothing."""
    leaky = tuple(replace(p, neuron=NeuronModel("lif", 0.02, 0.002)) for p in NETWORK.populations)
    options = ld.DeployOptions(encoder="first_layer", target_rate=200.0, encoder_rate=200.0)
    deployment = ld.deploy(replace(NETWORK, populations=leaky), "loihi", 30 * X, options)
    (problem,), result = warned(lambda: deployment.run(3000 * X, 40))
    assert sum(count.lost_spikes for count in result.counters.populations.values()) == 0
    assert problem.where == "input 'x'"
    assert "far beyond" in problem.what


def test_clipped_biases():
    deployment = deployed("bias")
    # neurons driven by biases fire at 200 Hz at most, so the registers hold some multiples of the range
    (problem,), result = warned(lambda: deployment.run(10_000 * X, 40))
    (layer,) = (name for name, count in result.counters.populations.items() if count.clipped_biases)
    count = result.counters.populations[layer]
    assert problem.where == f"layer '{layer}'"
    assert f"{100 * count.clipped_biases / (20 * count.size):.1f} % of them" in problem.value
    assert warned(lambda: deployment.run(X, 40))[0] == ()


@pytest.mark.follows(
    "Lower the firing rate of this layer, so that its weights are smaller beside its threshold",
)
def test_accumulators_that_wrap():
    program = DEPLOYMENT.program
    source = program.sources[0]
    heavy = Synapses(source.name, "b", Dense(np.full((10, source.size), 127, np.int8)), 7)
    strong = replace(program, synapses=(*program.synapses, *[heavy] * 60))
    samples = samples_for(strong.encoder, X)
    result = backends.run(strong, samples, RunOptions(40))
    (problem,) = result.warnings
    count = result.counters.populations["b"]
    assert problem.where == "layer 'b'"
    assert f"{count.overflows_q + count.overflows_u:,} times in 800 steps" == problem.value
    # the advice: smaller weights
    light = replace(heavy, transform=Dense(np.full((10, source.size), 1, np.int8)))
    lighter = replace(program, synapses=(*program.synapses, *[light] * 60))
    assert backends.run(lighter, samples, RunOptions(40)).warnings == ()


def test_the_range_is_saved_and_not_compared(tmp_path):
    DEPLOYMENT.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded.program.encoder.inputs[0].calibrated == (X.min(), X.max())
    node = DEPLOYMENT.graph.inputs[0]
    assert node == replace(node, calibrated=None)


@pytest.mark.follows(
    "Deploy it with calibration samples like these, by which normalization='percentile' sets its firing rates",
)
def test_without_calibration_lost_spikes_are_told_of_all_the_same():
    deployment = ld.deploy(NETWORK, "loihi", options=ld.DeployOptions(encoder="on_off", normalization="none"))
    assert warned(lambda: deployment.run(X, 40))[0] == ()
    (problem,), _ = warned(lambda: deployment.run(255 * X, 40))
    assert problem.limit is None
    assert "of its spikes" in problem.value
    assert problem.remedy.startswith("Deploy it with calibration samples like these")
    for encoder in ("on_off", "first_layer"):
        calibrated = deployed(encoder, 255 * X, normalization="percentile")
        assert warned(lambda d=calibrated: d.run(255 * X, 40))[0] == ()


def by_hand(scale):
    return deployed("first_layer", normalization="scale_firing_rates", scale_firing_rates={"a": scale})


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.follows(
    "Scale the firing rates of this layer once more by …, with scale_firing_rates, or…",
)
def test_spikes_lost_within_the_range():
    """The samples are those of the calibration: to scale them would be wrong, lower rates help."""
    (problem,) = by_hand(2000.0).run(X, 40).warnings
    assert "Scale the samples" not in problem.remedy
    scale = float(re.search(r"once more by ([\d.e-]+),", problem.remedy)[1])
    assert "or deploy it with normalization='percentile'" in problem.remedy
    for lowered in (by_hand(2000.0 * scale), deployed("first_layer", normalization="percentile")):
        result = lowered.run(X, 40)
        assert result.warnings == ()
        assert sum(count.lost_spikes for count in result.counters.populations.values()) == 0
    still = by_hand(5 * 2000.0 * scale).run(X, 40)
    assert sum(count.lost_spikes for count in still.counters.populations.values()) > 0


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_verify_names_lost_inputs_first():
    found = DEPLOYMENT.verify(255 * X, steps=40, reference_samples=0).remedies
    (problem,) = DEPLOYMENT.run(255 * X, 40).warnings
    assert found[0] == str(problem)
    assert "of its spikes, input 'x'" in found[0]
    assert f"calibrated on 'x' {X.min():.4g} to {X.max():.4g}" in found[0]
    assert not any("deploy it with" in remedy for remedy in found[1:])  # trials would be calibrated otherwise
    assert DEPLOYMENT.verify(X, steps=40, reference_samples=0).remedies[0] != found[0]  # what it says
    (low, *_) = DEPLOYMENT.verify(0.1 * X, steps=40, reference_samples=0).remedies
    assert "few spikes carry them" in low


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_verify_names_rates_of_the_host_that_are_too_high_first():
    (first, *rest) = by_hand(2000.0).verify(X, steps=40, reference_samples=0).remedies
    scale = float(re.search(r"once more by ([\d.e-]+),", first)[1])
    assert len(rest) > 1  # other settings are tried
    (first, *_) = by_hand(2000.0 * scale).verify(X, steps=40, reference_samples=0).remedies
    assert "spikes are lost" not in first


def test_warnings_of_evaluations_add():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        low, high = (DEPLOYMENT.evaluate(factor * X, Y, 40) for factor in (0.1, 255))
    assert (low + high).warnings == (*low.warnings, *high.warnings)
    assert (low + low).warnings == low.warnings
