"""What firing rates do to a network stands in warnings and notes, and what they advise helps."""

import re
import warnings
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.calibration_checks import (
    function_problems,
    input_problems,
    output_difference,
    rate_problems,
)
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import LoihiDeployWarning, NormalizationError
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
from loihi_deploy.stages.normalize import scale_firing_rates

LIF = NeuronModel("lif", 0.02, 0.002)
X = np.random.default_rng(1).uniform(0, 1, (60, 5, 5, 1))


def network(neuron, gain=1.0, bias=0.0, dt=0.001):
    """Input 5x5x1 -> 1x1 convolution (host) -> dense 'a' -> dense 'b' -> four classes."""
    rng = np.random.default_rng(5)
    to_host = Conv2D(np.array([[[[1.0, 0.5]]]]), (1, 1), (0, 0), (5, 5, 1), (5, 5, 2))
    return Graph(
        (Input("x", (5, 5, 1)),),
        (
            Population("host", (5, 5, 2), NeuronModel(), 1.0, 0.1),
            Population("a", (30,), neuron, gain, bias + rng.uniform(0, 0.1, 30)),
            Population("b", (20,), neuron, gain, bias + rng.uniform(0, 0.1, 20)),
        ),
        (
            Projection("x", "host", to_host),
            Projection("host", "a", Dense(rng.normal(size=(30, 50)) / 3), 0.003),
            Projection(
                "a", "b", Dense(rng.normal(size=(20, 30)) / 3 / (30 if neuron.kind == "lif" else 1)), 0.003
            ),
            Projection("b", "y", Dense(rng.normal(size=(4, 20))), 0.003),
        ),
        (Readout("y", (4,), np.zeros(4)),),
        dt,
    )


def deployed(graph, **options):
    """A deployment, and the problems that it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deployment = ld.deploy(graph, "loihi", X, ld.DeployOptions(**options))
    problems = [each.message.problem for each in caught if isinstance(each.message, LoihiDeployWarning)]
    assert [str(problem) for problem in problems] == [
        note for note in deployment.notes if any(str(problem) == note for problem in problems)
    ]  # what is warned of is noted
    return deployment, problems


def decisions(graph):
    return rate_outputs(graph, samples_for(graph, X).first_frames())["y"].argmax(axis=1)


def agreement(deployment, graph, steps=100):
    return deployment.evaluate(X, decisions(graph), steps).accuracy


@pytest.mark.parametrize("neuron", [LIF, replace(LIF, discretized=True), NeuronModel(discretized=True)])
@pytest.mark.parametrize("normalization", ["auto", "percentile", "maximum", "thresholds", "search"])
def test_neurons_with_a_curve_of_their_own_keep_their_gains(neuron, normalization):
    graph = network(neuron, gain=1.0 if neuron.kind == "lif" else 100.0, bias=1.0)
    deployment, _ = deployed(graph, normalization=normalization, encoder="first_layer")
    for name in "ab":
        assert deployment.graph.nodes[name] == graph.nodes[name]
    assert output_difference(graph, deployment.graph, samples_for(graph, X))[0] < 1e-5


@pytest.mark.follows(
    "Leave layers out of scale_firing_rates that are not rectified linear: …",
)
def test_a_scale_for_leaky_neurons_is_warned_of_with_a_figure_and_leaving_them_out_cures_it():
    graph = network(LIF, bias=1.0)
    scales = {"host": 500.0, "a": 3.0, "b": 3.0}
    _, problems = deployed(graph, normalization="scale_firing_rates", scale_firing_rates=scales)
    (changed,) = [problem for problem in problems if "no longer computes" in problem.what]
    relative, share = output_difference(graph, scale_firing_rates(graph, scales), samples_for(graph, X))
    assert changed.value == f"outputs differ by {100 * relative:.1f} %, {100 * share:.1f} % of decisions"
    assert relative > 0.1
    left_out = changed.remedy.partition(": ")[2].split(", ")
    assert left_out == ["a", "b"]
    kept = {name: scale for name, scale in scales.items() if name not in left_out}
    _, problems = deployed(graph, normalization="scale_firing_rates", scale_firing_rates=kept)
    assert not [problem for problem in problems if "no longer computes" in problem.what]


@pytest.mark.follows(
    "Keep the source's own gains with DeployOptions(normalization='none')",
)
def test_a_stage_that_claims_to_keep_the_function_and_does_not_is_an_error():
    graph = network(LIF, bias=1.0)
    changed = scale_firing_rates(graph, 2.0)
    with pytest.raises(NormalizationError, match="normalization='none'"):
        list(function_problems(graph, changed, samples_for(graph, X), ld.DeployOptions()))
    unchanged, _ = deployed(graph, normalization="none")
    assert list(function_problems(graph, unchanged.graph, samples_for(graph, X), ld.DeployOptions())) == []


def test_neurons_that_keep_their_gains_are_advised_a_scale_by_hand():
    """No target rate acts on them."""
    graph = network(NeuronModel(discretized=True))
    _, problems = deployed(graph)
    slow = {p.where: p.remedy for p in problems if "its fastest neurons spike" in p.what}
    assert slow.keys() == {"a", "b"}
    assert all("target_rate" not in remedy and "percentile" not in remedy for remedy in slow.values())
    scales = {name: float(re.search(rf"'{name}': ([\d.e+]+)", remedy)[1]) for name, remedy in slow.items()}
    scales["host"] = 500.0
    _, problems = deployed(graph, normalization="scale_firing_rates", scale_firing_rates=scales)
    assert not [p for p in problems if "its fastest neurons spike" in p.what]


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")  # of runs
@pytest.mark.parametrize("scale", [1.0, 20_000.0])
@pytest.mark.follows(
    "Use DeployOptions(normalization='scale_firing_rates', scale_firing_rates={…: …, ...})…",
    "…, or normalization='percentile'",
)
def test_scales_that_silence_or_saturate_are_named_with_the_scale_that_helps(scale):
    graph = network(NeuronModel())
    deployment, problems = deployed(graph, normalization="scale_firing_rates", scale_firing_rates=scale)
    assert {problem.where for problem in problems} == {"host", "a", "b"}
    assert all(("spike" in p.what) if scale == 1 else ("are lost" in p.what) for p in problems)
    lost = deployment.run(X).counters.populations["host"].lost_spikes
    assert (lost > 0) == (scale > 1)
    helpful = {
        problem.where: float(re.search(rf"'{problem.where}': ([\d.e+]+)", problem.remedy)[1])
        for problem in problems
    }
    better, problems = deployed(graph, normalization="scale_firing_rates", scale_firing_rates=helpful)
    assert problems == []
    assert better.run(X).counters.populations["host"].lost_spikes == 0
    assert agreement(better, graph) >= 0.9
    assert scale > 1 or agreement(deployment, graph) < 0.75
    assert deployed(graph, normalization="percentile")[1] == []


@pytest.mark.parametrize("target", [1.0, 5000.0])
@pytest.mark.follows(
    "Use a target_rate of …",
)
def test_target_rates_out_of_reach_are_named_with_one_that_helps(target):
    graph = network(NeuronModel())
    _, problems = deployed(graph, target_rate=target)
    assert {problem.where for problem in problems} == {"a", "b"}
    advised = {float(re.search(r"target_rate of ([\d.]+)", problem.remedy)[1]) for problem in problems}
    assert len(advised) == 1
    _, problems = deployed(graph, target_rate=advised.pop())
    assert problems == []


@pytest.mark.follows(
    "Present samples for … steps",
    "Use a step, dt, of … s",
)
def test_leaky_neurons_that_fire_too_slowly_need_more_steps_and_too_fast_ones_shorter_steps():
    slow = NeuronModel("lif", 0.4, 0.002)
    graph = network(slow, gain=0.3, bias=0.9)
    _, problems = deployed(graph)
    steps = [int(re.search(r"for (\d+) steps", problem.remedy)[1]) for problem in problems]
    assert steps
    assert min(steps) > 100
    _, problems = deployed(graph, bias_correction_steps=max(steps))
    assert problems == []

    fast = network(NeuronModel("lif", 0.02, 0.0), gain=5.0)
    _, problems = deployed(fast)
    steps = [float(re.search(r"dt, of ([\d.e-]+) s", problem.remedy)[1]) for problem in problems]
    assert steps
    _, problems = deployed(replace(fast, dt=min(steps)), bias_correction_steps=1000)
    assert problems == []


@pytest.mark.follows(
    "Give calibration samples that reach it, or keep the source's own gains with DeployOptions(normalization='none')",
)
def test_a_layer_that_the_calibration_data_do_not_reach():
    graph = network(NeuronModel())
    silent = replace(
        graph, populations=(*graph.populations[:2], replace(graph.populations[2], bias=np.full(20, -300.0)))
    )
    with pytest.raises(NormalizationError, match="never fires") as caught:
        ld.deploy(silent, "loihi", X)
    assert "DeployOptions(normalization='none')" in str(caught.value)
    _, problems = deployed(silent, normalization="none")
    assert "never fires on the calibration data" in {problem.what for problem in problems}
    dark = replace(
        graph, populations=(*graph.populations[:2], replace(graph.populations[2], bias=np.full(20, -30.0)))
    )
    with pytest.raises(NormalizationError, match="Give calibration samples that reach it"):
        ld.deploy(dark, "loihi", 0 * X)
    ld.normalize(dark, 100 * X)  # samples that reach it


def test_the_source_is_kept_for_verification(tmp_path):
    graph = network(NeuronModel())
    deployment, _ = deployed(graph)
    assert deployment.source == graph
    deployment.save(tmp_path / "net.loihi")
    assert ld.load(tmp_path / "net.loihi").source == graph
    with zipfile.ZipFile(tmp_path / "net.loihi") as archive:
        arrays = [archive.read(name) for name in archive.namelist()]
    assert len(set(arrays)) == len(
        arrays
    )  # weights that it shares with the normalized network are there once


@pytest.mark.follows("Give calibration samples that reach it")
def test_calibration_samples_that_reach_a_layer():
    """A layer that only large values wake."""
    graph = network(NeuronModel())
    late = replace(graph.populations[1], bias=np.full(graph.populations[1].size, -0.5))
    graph = replace(graph, populations=(graph.populations[0], late, graph.populations[2]))

    def unreached(x):
        problems = rate_problems(graph, samples_for(graph, x), ld.DeployOptions(), 100)
        return [problem.where for problem in problems if "never fires" in problem.what]

    assert late.name in unreached(0 * X)
    assert late.name not in unreached(1000 * X)


@pytest.mark.parametrize(
    ("rescaling", "largest", "doubted"),
    [
        (1 / 255, 1, True),
        (1 / 255, 255, False),
        (1 / 255, 1.01, False),
        (1 / 30, 1, True),
        (1 / 29.9, 1, False),
        (0.5, 1, False),
        (1.0, 0.01, False),
    ],
)
def test_samples_are_doubted_where_a_model_would_leave_nothing_of_them(rescaling, largest, doubted):
    samples = samples_for(network(LIF), -largest * X / X.max())
    assert bool(list(input_problems(rescaling, samples))) == doubted


def test_the_largest_of_several_inputs_counts():
    given = {"small": np.array([0.5, 0.0]), "large": np.array([0.0, -200.0])}
    assert list(input_problems(1 / 255, SimpleNamespace(given=given))) == []
    given["large"] = np.array([0.0, -1.0])
    assert len(list(input_problems(1 / 255, SimpleNamespace(given=given)))) == 1


def test_nothing_is_said_of_networks_that_go_round_or_decide_nothing():
    samples = samples_for(network(LIF), X)
    source = network(LIF, bias=1.0)
    changed = scale_firing_rates(source, 2.0)
    loop = Projection("b", "b", Dense(np.eye(20)), 0.003)
    by_hand = ld.DeployOptions(normalization="scale_firing_rates")
    assert len(list(function_problems(source, changed, samples, by_hand))) == 1
    for made in (
        lambda graph: replace(graph, projections=(*graph.projections, loop)),
        lambda graph: replace(graph, readouts=(), projections=graph.projections[:-1]),
    ):
        assert list(function_problems(made(source), made(changed), samples, by_hand)) == []
    looped = replace(changed, projections=(*changed.projections, loop))
    assert list(rate_problems(looped, samples, by_hand, 1)) == []
    assert len(list(rate_problems(changed, samples, by_hand, 1))) > 0


def test_outputs_that_should_be_nothing_are_off_by_all_or_nothing():
    samples = samples_for(network(LIF), X)
    source = network(LIF)
    last = replace(source.projections[-1], transform=Dense(np.zeros((4, 20))))
    silent = replace(source, projections=(*source.projections[:-1], last))
    moved = replace(silent, readouts=(replace(source.readouts[0], bias=np.array([0, 1.0, 0, 0])),))
    assert output_difference(silent, silent, samples) == (0.0, 0.0)
    assert output_difference(silent, moved, samples) == (1.0, 1.0)
