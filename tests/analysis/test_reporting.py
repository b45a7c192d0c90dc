"""What a report says of samples: which of them are looked at, and each figure beside a run."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.latency import latencies
from loihi_deploy.analysis.reporting import (
    OUTPUT_STEPS,
    _finite,
    _raster,
    _shorter,
    _without_padding,
    accuracy_values,
    confusion,
    rate_values,
    sample_values,
    stage_values,
)
from loihi_deploy.analysis.weight_values import weight_values
from loihi_deploy.data.named import evenly
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Graph, samples_for
from loihi_deploy.report import pictures
from loihi_deploy.stages.quantize import spike_weights
from tests.sequences import frames, network

X = frames(60, 1)[:, 0]
MADE = ld.deploy(network("mean"), calibration=X, options=ld.DeployOptions(bias_correction_steps=0))
SAMPLES = samples_for(MADE.graph, X)
PARTS = MADE._reported()


def recorded(x, steps):
    """Spikes of both layers, (n, steps, size) each."""
    run = MADE.run(x, steps, record=["first", "second"])
    return {name: run.recorded[name]["spikes"] for name in ("first", "second")}


def test_firing_rates_are_those_of_fifty_samples_evenly_spaced():
    found = rate_values(PARTS, SAMPLES, 20)
    assert found["samples"] == 50
    for name, spikes in recorded(X[evenly(60, 50)], 20).items():
        layer, rates = found["layers"][name], 1000 * spikes.mean(axis=1)
        means = rates.mean(axis=0)
        assert layer["neurons"] == len(means)
        assert layer["mean"] == pytest.approx(means.mean(), rel=1e-5)
        assert layer["highest"] == pytest.approx(rates.max(), rel=1e-5)
        assert layer["silent"] == (~spikes.any(axis=(0, 1))).sum()
        assert layer["saturated"] == pytest.approx((rates >= 899.9).mean())
        assert len(layer["counts"]) == 24
        assert (layer["edges"][0], layer["edges"][-1]) == (0, pytest.approx(means.max(), rel=1e-5))
        assert sum(layer["counts"]) == len(means)
        np.testing.assert_allclose(np.diff(layer["edges"]), means.max() / 24, rtol=1e-5)


def test_rates_of_silence_have_a_range_of_their_own():
    silent = rate_values(PARTS, samples_for(MADE.graph, 0 * X[:2]), 5)["layers"]["first"]
    assert (silent["mean"], silent["highest"], silent["silent"]) == (0, 0, 30)
    assert silent["edges"][-1] == 1.0


def test_decisions_are_counted_by_class_and_labels_of_nothing_are_left_out():
    y = np.arange(60) % 3
    decided = MADE.run(X, 20).outputs.argmax(axis=1)
    wanted = [[((y == a) & (decided == b)).sum() for b in range(3)] for a in range(3)]
    assert confusion(PARTS, SAMPLES, y, 20).tolist() == wanted
    y[:30] = -1
    wanted = [[((y == a) & (decided == b)).sum() for b in range(3)] for a in range(3)]
    assert confusion(PARTS, SAMPLES, y, 20).tolist() == wanted


@pytest.mark.parametrize("labelled", [True, False])
def test_stages_are_those_of_twenty_samples(labelled):
    y = MADE.run(X, 20).outputs.argmax(axis=1)
    which = evenly(60, 20)
    found = stage_values(PARTS, SAMPLES, y if labelled else None, 20)
    assert found["samples"] == len(which) == 20
    verified = MADE.verify(X[which], y[which] if labelled else None, 20, reference_samples=0)
    assert [(s["name"], s["accuracy"], s["agreement"]) for s in found["stages"]] == [
        (s.name, s.accuracy, s.agreement) for s in verified.stages
    ]
    assert not [text for text in found["advice"] if "loses most" in text]  # nothing is tried


def test_energy_is_that_of_some_samples_and_everything_is_measured_over_all_steps():
    values = MADE.report_values(X, np.zeros(60, int), 12)
    some = X[evenly(60, 20)]
    assert values["energy"] == MADE.energy(some, 12).values()
    assert values["data"] == {"samples": 60, "frames": 1, "steps": 12, "labelled": True}
    assert [row["first_step"] for row in values["latency"]] == [
        layer.hops + 1 for layer in latencies(MADE.program)
    ]
    counters = MADE.run(X, 12).counters
    assert sum(v["spikes"] for v in values["activity"]["populations"].values()) == sum(
        counts.spikes for counts in counters.populations.values()
    )


@pytest.mark.parametrize("index", [0, 7, 59])
def test_a_sample_is_told_of_from_its_input_to_its_outputs(index):
    y = np.arange(60) % 3
    found = sample_values(PARTS, SAMPLES, y, 10, index)
    assert (found["index"], found["label"], found["steps"]) == (index, y[index], 10)
    (given,) = found["inputs"].values()
    assert given["shape"] == [8]
    np.testing.assert_allclose(given["frames"], X[index : index + 1])
    outputs = [MADE.run(X[index : index + 1], k).outputs[0].tolist() for k in range(1, 11)]
    assert found["output_steps"] == list(range(1, 11))
    assert found["outputs_by_step"] == outputs
    assert found["outputs"] == outputs[-1]
    assert found["decision"] == np.argmax(outputs[-1])
    for name, spikes in recorded(X[index : index + 1], 10).items():
        steps, places = np.nonzero(spikes[0])
        assert (found["raster"][name]["steps"], found["raster"][name]["places"]) == (
            steps.tolist(),
            places.tolist(),
        )
    assert sample_values(PARTS, SAMPLES, None, 10)["label"] is None


def test_a_shorter_sequence_is_shown_without_what_is_padded_behind_it():
    one = samples_for(MADE.graph, ld.Sequences(frames(2, 3), lengths=[2, 3])).take(slice(0, 1))
    cut, steps = _without_padding(one, 60)
    assert (cut.n_frames, steps) == (2, 40)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (10, list(range(1, 11))), (25, list(range(1, 26))), (100, list(range(4, 101, 4)))],
)
def test_outputs_are_given_for_up_to_twenty_five_presentation_times_the_whole_one_last(steps, expected):
    found = list(_shorter(SAMPLES, steps))
    assert [k for k, _ in found] == expected
    assert all(part is SAMPLES for _, part in found)
    assert len(list(_shorter(SAMPLES, 60))) == OUTPUT_STEPS
    moving = samples_for(MADE.graph, frames(2, 3))
    assert [(k, part.n_frames) for k, part in _shorter(moving, 60)] == [(20, 1), (40, 2), (60, 3)]


def test_of_large_layers_some_neurons_are_shown_evenly_spaced():
    size = 300
    events = np.array([[0, 3, 0], [0, 3, 1], [0, 4, 2], [0, 9, size - 2], [0, 9, size - 1]])
    assert _raster(events, size) == {
        "neurons": size,
        "shown": 150,
        "spikes": 5,
        "steps": [3, 4, 9],
        "places": [0, 1, 149],
    }
    assert _raster(events[:3], 3)["places"] == [0, 1, 2]


def test_numbers_that_are_not_finite_are_left_out():
    given = {"a": np.inf, "b": np.nan, "c": 1.5, "d": "x", "e": 3}
    assert _finite(given) == {"a": None, "b": None, "c": 1.5, "d": "x", "e": 3}


def test_figures_show_what_they_are_asked_for(monkeypatch):
    pytest.importorskip("matplotlib")
    shown = {}
    for name in ("raster", "rates", "accuracy_by_step", "cores"):
        monkeypatch.setattr(pictures, name, lambda *a, of=name, **k: shown.update({of: (a, k)}))
    plot = MADE.plot
    for sample in (0, 59):
        plot.raster(X, 10, sample)
        ((values,), _) = shown["raster"]
        assert values == sample_values(PARTS, SAMPLES, None, 10, sample)
    plot.raster(X, 10)
    assert shown["raster"][0][0]["index"] == 0
    with pytest.raises(InputError, match="0 to 59"):
        plot.raster(X, 10, 60)
    with pytest.raises(InputError, match="no such sample"):
        plot.raster(X, 10, -1)
    plot.rates(X)
    assert shown["rates"] == ((rate_values(PARTS, SAMPLES, 100)["layers"],), {})
    plot.accuracy_by_step(X, np.zeros(60, int), 7)
    assert len(shown["accuracy_by_step"][0][0]["by_step"]) == 7
    with pytest.raises(InputError, match="labels"):
        plot.accuracy_by_step(X, None, 7)
    plot.cores()
    assert shown["cores"][1] == {"kind": "population"}
    plot.cores("in_axons")
    assert shown["cores"][1] == {"kind": "in_axons"}


def test_what_measures_prints_nothing(capsys):
    y = np.zeros(60, int)
    MADE.report_values(X[:4], y[:4], 5)
    MADE.verify(X[:4], y[:4], 5, reference_samples=0)
    MADE.energy(X[:4], 5)
    MADE.check(X[:4], y[:4], ld.Criteria(min_accuracy=0.0), steps=5)
    MADE.tune(X[:4], y[:4], max_steps=5, max_drop=1.0)
    MADE.tune(frames(4, 3), y[:4], max_steps=6, max_drop=1.0)
    ld.deploy(network("mean"), calibration=X, options=ld.DeployOptions(normalization="search"))
    assert capsys.readouterr() == ("", "")


def test_a_presentation_has_the_window_of_the_deployment():
    whole = replace(PARTS, options=replace(PARTS.options, readout_window=1.0))
    for parts, window in ((PARTS, 0.5), (whole, 1.0)):
        options = parts.run_options(20, SAMPLES)
        assert (options.steps, options.readout_window, options.flush) == (20, window, 0)
        assert options.progress is False


# Sequences


@pytest.fixture(scope="module")
def each():
    options = ld.DeployOptions(readout="each", steps_per_frame=20, bias_correction_steps=0)
    return ld.deploy(network(), calibration=frames(6, 5), options=options)


@pytest.mark.parametrize("lengths", [None, [5, 3, 4, 5, 2, 5]])
def test_labels_of_frames_are_counted_frame_by_frame(each, lengths):
    x = frames(6, 5) if lengths is None else ld.Sequences(frames(6, 5), lengths=lengths)
    lasting = np.array(lengths or [5] * 6)
    y = each.predict(x).argmax(axis=2)
    wrong = y.copy()
    wrong[0, 0] = (y[0, 0] + 1) % 3
    labels = np.where(np.arange(5) < lasting[:, None], wrong, -1)
    samples, parts = samples_for(each.graph, x), each._reported()
    values, result = accuracy_values(parts, samples, labels, 100)
    assert (values["counted"], values["n_total"], values["n_correct"]) == (
        "frames",
        lasting.sum(),
        lasting.sum() - 1,
    )
    assert values["value"] == result.accuracy == values["n_correct"] / values["n_total"]
    assert values["by_frame"] == [1 - 1 / 6, 1.0, 1.0, 1.0, 1.0]
    assert values["rate_network"] == each.rate_accuracy(x, wrong)
    counted = confusion(parts, samples, labels, 100)
    assert (counted.sum(), np.trace(counted)) == (lasting.sum(), lasting.sum() - 1)
    assert counted[wrong[0, 0], y[0, 0]] == 1
    stages = each.verify(x, wrong, 100, reference_samples=0).stages
    assert stages[-1].accuracy == 1  # what counts is the last frame of each
    first = sample_values(parts, samples, labels, 100)
    assert (first["label"], first["steps"], first["output_steps"]) == (None, 100, [20, 40, 60, 80, 100])
    second = sample_values(parts, samples, labels, 100, 1)
    assert second["steps"] == 20 * lasting[1]
    assert second["outputs_by_step"][-1] == second["outputs"]


def test_labels_of_sequences_are_counted_after_each_frame():
    made = ld.deploy(network("mean"), calibration=frames(20, 4), options=ld.DeployOptions(steps_per_frame=6))
    x, y = frames(20, 4), made.run(frames(20, 4)).outputs.argmax(axis=1)
    values, _ = accuracy_values(made._reported(), samples_for(made.graph, x), y, 24)
    assert (values["counted"], values["n_total"], values["n_correct"]) == ("samples", 20, 20)
    assert values["by_frame"] == made.evaluate(x, y, by_frame=True).accuracy_by_frame.tolist()
    assert "by_step" not in values
    still, _ = accuracy_values(MADE._reported(), SAMPLES, np.zeros(60, int), 8)
    assert len(still["by_step"]) == 8
    assert "by_frame" not in still
    assert still["rate_network"] == MADE.rate_accuracy(X, np.zeros(60, int))


@pytest.mark.parametrize(("n_frames", "steps", "wanted"), [(0, 24, 2), (4, 24, 3), (0, 24, 9)])
def test_nengo_loihis_emulator_has_the_same_rates_in_the_same_steps(n_frames, steps, wanted):
    pytest.importorskip("nengo_loihi")
    x = frames(3, 4) if n_frames else frames(3, 1)[:, 0]
    options = ld.DeployOptions(bias_correction_steps=0, readout_window=0.3)
    made = ld.deploy(network("mean"), calibration=x, options=options)
    x = x[: max(min(wanted, 3), 2)]
    found = made.verify(x, steps=steps, reference_samples=wanted)
    integer, reference = found.stages[-2:]
    assert reference.n_samples == len(x)
    assert reference.agreement == integer.agreement
    ours = {layer.name: layer for layer in integer.layers}
    assert {layer.name for layer in reference.layers} == {"first", "second"}
    for layer in reference.layers:
        assert layer.relative_error == pytest.approx(ours[layer.name].relative_error)
        assert layer.correlation == pytest.approx(ours[layer.name].correlation)
        assert (layer.silent, layer.saturated) == (ours[layer.name].silent, ours[layer.name].saturated)


# Distributions of weights


def test_weights_are_counted_before_and_after_rounding_between_the_same_edges():
    found = weight_values(MADE.graph, MADE.program, MADE.options)
    cut = ld.partition(MADE.graph)
    assert list(found) == [group.population for group in MADE.program.scale_groups] == ["first", "second"]
    for group in MADE.program.scale_groups:
        values = found[group.population]
        (synapses,) = MADE.program.into(group.population)
        (projection,) = cut.chip.into(group.population)
        before = spike_weights(projection, cut.chip.nodes[group.population], MADE.program.dt).values
        after = synapses.transform.values * 2.0**synapses.shift / group.current_scale
        np.testing.assert_allclose(after, before, atol=1.01 * 2.0**synapses.shift / group.current_scale)
        largest = max(np.abs(before).max(), np.abs(after).max())
        np.testing.assert_allclose(values["edges"], np.linspace(-largest, largest, 49))
        assert values["before"] == np.histogram(before, values["edges"])[0].tolist()
        assert values["after"] == np.histogram(after, values["edges"])[0].tolist()
        error = np.sqrt(np.square(after - before).mean() / np.square(before).mean())
        assert values["rms_error"] == pytest.approx(error) == pytest.approx(group.weight_rms_error, rel=1e-6)


def test_layers_whose_weights_have_no_counterpart_are_left_out():
    nothing = Graph((), (), ())
    assert weight_values(nothing, MADE.program, MADE.options) == {}
    into_first = replace(MADE.program, synapses=MADE.program.into("first"))
    assert list(weight_values(MADE.graph, into_first, MADE.options)) == ["first"]
    (synapses,) = MADE.program.into("second")
    fewer = replace(synapses, transform=synapses.transform.csr())
    assert len(fewer.transform.values) < synapses.transform.values.size
    with_fewer = replace(MADE.program, synapses=(*into_first.synapses, fewer))
    assert list(weight_values(MADE.graph, with_fewer, MADE.options)) == ["first"]
