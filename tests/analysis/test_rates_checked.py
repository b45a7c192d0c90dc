"""What is told of a layer's rates: both sides of every bound, and the figures that are advised."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis.calibration_checks import _layer_problems, function_problems, output_difference
from loihi_deploy.analysis.frames import FRAMES_AT_ONCE, Reading, read_rates
from loihi_deploy.analysis.presentation import _Judge
from loihi_deploy.analysis.stage_runs import StageRuns, _joined, stage_values
from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import NormalizationError
from loihi_deploy.ir import Dense, NeuronModel, Population, Readout, samples_for
from tests.sequences import W3, frames, network

LAYER = Population("a", (101,), NeuronModel(), 1.0, 0.0)
STEPPED, LEAKY = NeuronModel(discretized=True), NeuronModel("lif", 0.02, 0.002)


def told(rates, layer=LAYER, shown=1000, on_host=False, **options):
    rates = np.asarray(rates, np.float32)
    return list(_layer_problems(layer, rates, 0.001, shown, on_host, ld.DeployOptions(**options)))


def beyond(extra):
    """A hundred neurons that fire in every step, and one that would have to fire more often."""
    return np.append(np.full(100, 1000.0), 1000.0 + extra)


@pytest.mark.parametrize(("on_host", "few", "many"), [(False, 1000, 1100), (True, 95, 115)])
def test_a_hundredth_of_spikes_may_be_lost_on_chip_and_a_thousandth_on_the_host(on_host, few, many):
    assert told(beyond(few), on_host=on_host) == []
    (problem,) = told(beyond(many), on_host=on_host)
    share = many / (101_000 + many)
    assert (
        problem.what
        == f"would have to fire more than once in a step: {100 * share:.2g} % of its spikes are lost"
    )
    assert problem.limit == "1000 Hz"


def test_rates_that_were_chosen_for_what_the_chip_makes_of_them_are_not_told_of():
    for options in ({"normalization": "thresholds"}, {"normalization": "search"}, {"steps": 20}):
        assert told(beyond(5000), **options) == []
        assert len(told(beyond(5000), on_host=True, **options)) == 1
    meant = replace(LAYER, saturating=0.05)
    assert told(beyond(5000), meant, on_host=True) == []
    assert len(told(beyond(7000), meant, on_host=True)) == 1
    assert len(told(beyond(5000), meant)) == 1


@pytest.mark.parametrize(
    ("rate", "steps", "n"), [(30.0, 100, 0), (29.9, 100, 1), (3.0, 1000, 0), (2.99, 1000, 1)]
)
def test_three_spikes_of_the_fastest_neurons_are_enough(rate, steps, n):
    problems = told(np.full(101, rate), shown=steps)
    assert len(problems) == n
    for problem in problems:
        assert problem.what == f"its fastest neurons spike {rate * steps / 1000:.2g} times in {steps} steps"
        assert problem.limit == f"{3000 / steps:.3g} Hz or more"


def test_only_neurons_that_fire_count_and_the_fastest_are_a_percentile_of_them():
    rates = np.concatenate([np.zeros(1000), np.linspace(0.05, 5.9, 100)])
    assert told(rates, percentile=55.0) == []
    (problem,) = told(rates, percentile=50.0)
    assert problem.value == f"{np.percentile(rates[1000:], 50.0):.3g} Hz"
    assert told(rates, on_host=True, percentile=50.0) == []
    assert len(told(rates, on_host=True, encoder_percentile=50.0)) == 1
    assert [p.what for p in told(np.zeros(5))] == ["never fires on the calibration data"]


def test_the_scale_that_is_advised_brings_the_fastest_to_the_goal():
    slow = np.full(101, 10.0)
    (problem,) = told(slow, shown=100)
    assert problem.remedy == f"Use a target_rate of {70 * 700:.3g}"
    (problem,) = told(slow, shown=100, target_rate=20.0)
    assert problem.remedy == "Use a target_rate of 1.4e+03"
    (problem,) = told(slow, shown=100, on_host=True, normalization="none")
    assert "scale_firing_rates={'a': 100, ...})" in problem.remedy
    assert problem.remedy.endswith(", or normalization='percentile'")
    (problem,) = told(slow, shown=100, on_host=True, normalization="none", encoder_rate=500.0)
    assert "{'a': 50, ...}" in problem.remedy
    scales = {"normalization": "scale_firing_rates"}
    for given, scale in (({"a": 2.0}, 140), ({"b": 2.0}, 70), (3.0, 210)):
        (problem,) = told(slow, shown=100, scale_firing_rates=given, **scales)
        assert f"{{'a': {scale}, ...}}" in problem.remedy
    (problem,) = told(slow, replace(LAYER, neuron=STEPPED), shown=100)
    assert "{'a': 70, ...}" in problem.remedy
    assert "percentile" not in problem.remedy


def test_leaky_neurons_are_given_time():
    layer = replace(LAYER, neuron=LEAKY)
    (problem,) = told(np.full(101, 10.0), layer, shown=100)
    assert problem.remedy == "Present samples for 300 steps"
    (problem,) = told(np.full(101, 4000.0), layer)
    assert problem.remedy == "Use a step, dt, of 0.0003 s"
    in_its_place = replace(LAYER, neuron=replace(LEAKY, relu_offset=1.0))
    assert told(np.full(101, 10.0), in_its_place, shown=100)[0].remedy.startswith("Use a target_rate")


def test_outputs_differ_relative_to_the_sources():
    x = samples_for(network(), frames(9, 1))
    source = network()
    moved = replace(source, readouts=(replace(source.readouts[0], bias=np.array([0.0, 0.4, 0.0])),))
    values = rate_outputs(source, x.all_frames())["classes"]
    relative, decisions = output_difference(source, moved, x)
    assert relative == pytest.approx(np.sqrt(9 * 0.16 / np.square(values).sum()), rel=1e-5)
    assert decisions == ((values + np.array([0, 0.4, 0])).argmax(axis=1) != values.argmax(axis=1)).mean() > 0
    assert output_difference(source, source, x) == (0, 0)


@pytest.mark.parametrize(("share", "same"), [(0.9e-3, True), (1.1e-3, False)])
def test_a_thousandth_of_the_outputs_is_the_same_function(share, same):
    source, x = network(), frames(210, 1)[:, 0]
    x[199:] *= 100  # two hundred are looked at
    samples = samples_for(source, x)
    values = rate_outputs(source, samples.all_frames())["classes"][:200]
    bias = np.array([share * np.sqrt(np.square(values, dtype=np.float64).sum() / 200), 0, 0])
    moved = replace(source, readouts=(replace(source.readouts[0], bias=bias),))
    assert output_difference(source, moved, samples)[0] == pytest.approx(share, rel=1e-3)
    if same:
        assert list(function_problems(source, moved, samples, ld.DeployOptions())) == []
    else:
        with pytest.raises(NormalizationError, match="no longer computes"):
            list(function_problems(source, moved, samples, ld.DeployOptions()))


def test_frames_are_evaluated_some_at_a_time_and_all_of_them():
    n_frames = 7
    x = frames(2 * FRAMES_AT_ONCE // n_frames + 3, n_frames)
    samples = samples_for(network(), x)
    found = read_rates(network(), samples, 1.0)["classes"]
    each = [rate_outputs(network(), {"frame": x[:, k]})["classes"] for k in range(n_frames)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


# What is judged


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_program_is_judged_in_the_window_that_comes_closest(n_outputs):
    graph = network()
    if n_outputs == 1:
        last = replace(graph.projections[-1], transform=Dense(W3[:1]))
        graph = replace(
            graph,
            projections=(*graph.projections[:-1], last),
            readouts=(Readout("classes", (1,), np.zeros(1)),),
        )
    x = frames(30, 1)[:, 0]
    made = ld.deploy(graph, calibration=x, options=ld.DeployOptions(bias_correction_steps=0))
    samples, wanted = samples_for(graph, x), rate_outputs(graph, {"frame": x})["classes"]
    labels = None if n_outputs == 1 else np.roll(wanted.argmax(axis=1), 1)
    judge, windows = _Judge(graph, samples, labels), (0.2, 0.5, 1.0)
    found = judge(made.program, ld.DeployOptions(steps=20), windows)
    each = {w: judge(made.program, ld.DeployOptions(steps=20), (w,)) for w in windows}
    assert found == min(each.values(), key=lambda one: one.distance)
    assert {w: one.window for w, one in each.items()} == {w: w for w in windows}
    for window, one in each.items():
        outputs = made.with_readout_window(window).run(x, 20).outputs
        if n_outputs == 1:
            error = np.sqrt(np.square(outputs.ravel() - wanted.ravel()).sum() / np.square(wanted).sum())
            assert one.drop == one.distance == pytest.approx(error, rel=1e-5)
        else:
            right = [(values.argmax(axis=1) == labels).mean() for values in (wanted, outputs)]
            assert one.drop == pytest.approx(right[0] - right[1])


def test_stages_of_parts_are_those_of_the_whole():
    graph = network("mean")
    parts = ld.partition(ld.normalize(graph, frames(9, 2)))
    program = ld.quantize(parts)
    runs = StageRuns(graph, graph, program, 20, Reading(1.0, 3), ld.DeployOptions(readout="mean"))
    samples = samples_for(graph, frames(9, 2))
    whole = stage_values(runs, samples, None)
    joined = _joined([runs(samples.take(slice(0, 4)), 0), runs(samples.take(slice(4, 9)), 4)])
    for stage, outputs in whole.outputs.items():
        np.testing.assert_allclose(joined.outputs[stage], outputs, rtol=1e-5, atol=1e-7)
        for name, rates in whole.rates[stage].items():
            np.testing.assert_allclose(joined.rates[stage][name], rates, rtol=1e-5, atol=1e-4)
    assert joined.counters == whole.counters
    assert joined.ranges == whole.ranges
    run = backends.run(program, samples, RunOptions(20, readout_window=1.0, flush=3))
    np.testing.assert_array_equal(whole.outputs["integer program"], run.outputs.reshape(9, -1))


@pytest.mark.parametrize(("dt", "goal"), [(0.001, 700.0), (0.002, 350.0), (0.0005, 700.0)])
def test_rates_on_chip_are_to_reach_the_usual_ones_or_seven_spikes_in_ten_steps(dt, goal):
    rates = np.full(101, 10.0, np.float32)
    (problem,) = _layer_problems(LAYER, rates, dt, 50, False, ld.DeployOptions())
    assert problem.remedy == f"Use a target_rate of {goal / 10 * 700:.3g}"
    by_hand = ld.DeployOptions(normalization="none")
    (problem,) = _layer_problems(LAYER, rates, dt, 50, True, by_hand)
    assert f"'a': {min(1000.0, 1 / dt) / 10:.3g}," in problem.remedy
