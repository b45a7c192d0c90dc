"""What a report is made of, beside its figures: connections, limits of what is shown, warnings, parts of a cluster."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import host_link, reporting, stage_runs
from loihi_deploy.analysis.host_link import encoder_rate, with_limit
from loihi_deploy.analysis.reporting import _raster, measured_values, report_values
from loihi_deploy.analysis.stage_runs import INTEGER, StageValues, stage_values
from loihi_deploy.analysis.weight_values import weight_values
from loihi_deploy.backends import cluster
from loihi_deploy.errors import InputError, LoihiDeployWarning
from loihi_deploy.ir import Dense, Projection, Readout, samples_for
from loihi_deploy.results import Counters, PopulationCounts
from tests.sequences import frames, network

X = frames(60, 1)[:, 0]
MADE = ld.deploy(network("mean"), calibration=X, options=ld.DeployOptions(bias_correction_steps=0))
PARTS = MADE._reported()


def test_a_report_without_samples_tells_of_the_network_and_its_wires():
    found = report_values(PARTS, {"numpy": "1"}, "do it again")
    (host,) = MADE.program.sources
    assert found["edges"] == [
        ["frame", host.name],
        [host.name, "first"],
        ["first", "second"],
        ["second", "classes"],
    ]
    assert (found["inputs"], found["readouts"]) == ({"frame": [8]}, {"classes": [3]})
    assert (found["command"], found["provenance"]) == ("do it again", {"numpy": "1"})
    assert found["digest"] == MADE.program.digest
    assert found["options"]["bias_correction_steps"] == 0
    assert found["n_board_chips"] == MADE.mapping.board.n_chips == 32
    assert "accuracy" not in found
    assert found["report_version"] == 1
    scaled = replace(PARTS, options=replace(PARTS.options, layer_synapses={"second": 0.002}))
    assert type(report_values(scaled, {}, "")["options"]["layer_synapses"]) is dict


def with_classes(n):
    source = network("mean")
    to_classes = source.projections[-1]
    last = replace(to_classes, transform=Dense(np.resize(to_classes.transform.weights, (n, 20))))
    readout = Readout("classes", (n,), np.zeros(n))
    source = replace(source, projections=(*source.projections[:-1], last), readouts=(readout,))
    return ld.deploy(source, calibration=X, options=ld.DeployOptions(bias_correction_steps=0))


@pytest.mark.parametrize(("n", "shown"), [(50, True), (51, False)])
def test_a_confusion_matrix_is_given_for_up_to_fifty_classes(n, shown, monkeypatch):
    monkeypatch.setattr(reporting, "estimate", lambda *_: SimpleNamespace(values=dict))
    made = with_classes(n)
    samples = samples_for(made.graph, X[:4])
    found = measured_values(made._reported(), samples, np.arange(4), 5)
    assert ("confusion" in found["accuracy"]) == shown
    assert found["data"] == {"samples": 4, "frames": 1, "steps": 5, "labelled": True}
    without = measured_values(made._reported(), samples, None, 5)
    assert "accuracy" not in without
    assert without["data"]["labelled"] is False
    assert "stages" in without


def test_stages_are_left_out_where_the_source_says_nothing_of_such_samples(monkeypatch):
    monkeypatch.setattr(reporting, "estimate", lambda *_: SimpleNamespace(values=dict))
    made = ld.deploy(network(), calibration=frames(4, 3), options=ld.DeployOptions(bias_correction_steps=0))
    found = measured_values(made._reported(), samples_for(made.graph, frames(4, 3)), None, 6)
    assert "stages" not in found
    assert found["data"] == {"samples": 4, "frames": 3, "steps": 6, "labelled": False}
    found = measured_values(made._reported(), samples_for(made.graph, frames(4, 3)), np.zeros(4, int), 6)
    assert "rate_network" not in found["accuracy"]


def test_what_a_run_lost_is_warned_of_and_stands_in_the_report(monkeypatch):
    monkeypatch.setattr(reporting, "estimate", lambda *_: SimpleNamespace(values=dict))
    with pytest.warns(LoihiDeployWarning, match="beyond|outside|calibr") as caught:
        found = report_values(PARTS, {}, "", samples_for(MADE.graph, 50 * X[:3]), None, 6)
    told = {str(each.message) for each in caught}
    assert set(found["warnings"]) & told
    assert found["warnings"][: len(found["mapping"]["warnings"])] == found["mapping"]["warnings"]


def test_a_layer_of_as_many_neurons_as_are_shown_is_shown_as_a_whole():
    events = np.array([[0, 1, 0], [0, 2, 149]])
    assert _raster(events, 150)["places"] == [0, 149]
    assert _raster(events, 151)["shown"] == 150
    assert _raster(np.zeros((0, 3), np.int64), 4) == {
        "neurons": 4,
        "shown": 4,
        "spikes": 0,
        "steps": [],
        "places": [],
    }


# Weights


def test_layers_of_which_any_projection_has_no_counterpart_are_left_out():
    """One of two projections into a layer was stored without its zeros."""
    source = network("mean")
    loop = Projection("second", "second", Dense(0.1 * np.eye(20) + 0.01), 0.003)
    source = replace(source, projections=(*source.projections, loop))
    options = ld.DeployOptions(bias_correction_steps=0, normalization="none")
    made = ld.deploy(source, calibration=frames(6, 3), options=options)
    assert list(weight_values(made.graph, made.program, made.options)) == ["first", "second"]
    synapses = list(made.program.synapses)
    which = next(k for k, s in enumerate(synapses) if s.pre == s.post == "second")
    synapses[which] = replace(synapses[which], transform=Dense(np.eye(20, dtype=np.int8)).csr())
    fewer = replace(made.program, synapses=tuple(synapses))
    assert list(weight_values(made.graph, fewer, made.options)) == ["first"]


# Parts of a cluster


def test_samples_are_shared_in_hundreds_each_with_its_number(monkeypatch):
    given = []

    def runs(samples, first=0):
        given.append((len(samples), first))
        numbers = samples.first_frames()["frame"][:, :1]
        counts = Counters(len(samples), 0, {"a": PopulationCounts(1)})
        rates = {"one": {"a": numbers}, "other": {"a": 2 * numbers, "b": 3 * numbers}}
        return StageValues(
            {INTEGER: numbers}, rates, counts, {"frame": (float(numbers.min()), float(numbers.max()))}
        )

    @contextmanager
    def progress_bar(shown, n):
        told.append((shown, n))
        yield told.append

    told = []
    monkeypatch.setattr(stage_runs, "progress_bar", progress_bar)
    monkeypatch.setattr(
        cluster, "results", lambda client, function, calls: (function(*call) for call in calls)
    )
    samples = samples_for(MADE.graph, np.arange(210.0)[:, None] * np.ones(8))
    found = stage_values(runs, samples, object())
    assert given == [(100, 0), (100, 100), (10, 200)]
    assert told == [(None, 210), 100, 100, 10]
    assert found.outputs[INTEGER].ravel().tolist() == list(range(210))
    assert found.rates["other"]["b"].ravel().tolist() == [3 * k for k in range(210)]
    assert found.rates["one"]["a"].ravel().tolist() == list(range(210))
    assert found.counters.samples == 210
    assert found.ranges == {"frame": (0.0, 209.0)}
    given.clear()
    stage_values(runs, samples)
    assert given == [(210, 0)]
    assert stage_runs.PART == 100


# What the host sends


def test_two_hundred_samples_evenly_spaced_say_what_rate_keeps_a_limit(monkeypatch):
    """99 of 100 of them send no more than nine tenths of it on average, on the chip that gets most."""
    seen = []

    def counted(program, mapping, samples, hold, flush=0):
        seen.append((samples.given["frame"].ravel()[::8].tolist(), hold))
        found = np.zeros((len(samples), 2, 2))
        found[:, 0, 1] = 2 * np.arange(len(samples))  # on average as many as its number
        return found

    monkeypatch.setattr(host_link, "messages", counted)
    many = samples_for(MADE.graph, np.arange(400.0)[:, None] * np.ones(8))
    options = replace(MADE.options, max_host_spikes=20)
    found = encoder_rate(MADE.program, MADE.mapping, many, options)
    assert found == pytest.approx(1000 * 0.9 * 20 / np.percentile(np.arange(200), 99))
    ((numbers, hold),) = seen
    assert (len(numbers), hold) == (200, 100)
    assert np.allclose(np.diff(numbers), 2, atol=1)


def test_a_limit_that_a_single_spike_just_keeps():
    costs = int(host_link.messages_of_spikes(MADE.program, MADE.mapping).max())
    program, mapping = with_limit(MADE.program, MADE.mapping, costs)
    assert program.host_limit.spikes == costs
    assert mapping.program_digest == program.digest
    wide = np.full((1, MADE.program.sources[0].size), 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(host_link, "messages_of_spikes", lambda *_: wide)
        assert with_limit(MADE.program, MADE.mapping, 3)[0].host_limit.spikes == 3
        with pytest.raises(InputError, match="3 or more"):
            with_limit(MADE.program, MADE.mapping, 2)


def test_rows_of_an_image_are_taken_where_they_take_fewer_messages_and_no_more_cores(monkeypatch):
    mapping, other = SimpleNamespace(n_cores=5), SimpleNamespace(n_cores=5)
    monkeypatch.setattr(host_link, "slices_of_rows", lambda *_: {"conv": (1, 6, 8)})
    costs = {id(mapping): 10, id(other): 9}
    monkeypatch.setattr(host_link, "messages_of_spikes", lambda program, one: np.array([[costs[id(one)], 1]]))

    def taken():
        return host_link.fewer_messages(None, mapping, lambda rows: other)

    assert taken() is other
    other.n_cores = 6
    assert taken() is mapping
    other.n_cores, costs[id(other)] = 4, 10
    assert taken() is mapping
    monkeypatch.setattr(host_link, "slices_of_rows", lambda *_: {})
    costs[id(other)] = 1
    assert taken() is mapping


def test_the_most_messages_are_those_of_the_busiest_step_and_none_are_none(monkeypatch):
    samples = samples_for(MADE.graph, X[:2])
    assert host_link.messages(MADE.program, MADE.mapping, samples, 7).shape == (2, 7, 1)
    for sent, most in (([[3, 7], [5, 1]], 7), ([[0, 0]], 0)):
        monkeypatch.setattr(host_link, "messages", lambda *_, sent=sent: np.array(sent))
        assert host_link.highest(MADE.program, MADE.mapping, samples, 7, 0) == most
    monkeypatch.setattr(host_link, "messages", lambda *_: np.zeros((2, 7, 1)))
    assert (
        encoder_rate(MADE.program, MADE.mapping, samples, replace(MADE.options, max_host_spikes=1)) == 1000.0
    )


def test_what_is_decided_by_a_single_output_is_decided_behind_its_activation():
    """Outputs are above 0 and below a half: no."""
    source = network("mean")
    last = replace(source.projections[-1], transform=Dense(np.full((1, 20), -0.001)))
    readout = Readout("classes", (1,), np.zeros(1), activation="sigmoid")
    source = replace(source, projections=(*source.projections[:-1], last), readouts=(readout,))
    made = ld.deploy(source, calibration=X, options=ld.DeployOptions(bias_correction_steps=0))
    samples = samples_for(made.graph, X[:5])
    found = reporting.confusion(made._reported(), samples, np.array([0, 1, 1, 0, 1]), 20)
    assert found.tolist() == [[2, 0], [3, 0]]
    assert reporting.sample_values(made._reported(), samples, None, 20)["decision"] == 0


def test_weights_that_are_all_zero_have_bars_from_one_to_the_other():
    none = np.zeros((20, 30))
    to_second = replace(MADE.graph.projections[1], transform=Dense(none))
    graph = replace(MADE.graph, projections=(MADE.graph.projections[0], to_second, MADE.graph.projections[2]))
    synapses = replace(MADE.program.synapses[1], transform=Dense(none.astype(np.int8)))
    program = replace(MADE.program, synapses=(MADE.program.synapses[0], synapses))
    found = weight_values(graph, program, MADE.options)["second"]
    np.testing.assert_allclose(found["edges"], np.linspace(-1, 1, 49))
    assert (found["before"], found["after"], found["rms_error"]) == (found["after"], found["before"], 0.0)
    assert found["before"][24] == 600


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_edges_take_in_all_weights_before_and_after(gain):
    """Of a layer whose integers stand for twice, or half, of what the graph says."""
    to_second = MADE.graph.projections[1]
    scaled = replace(to_second, transform=Dense(gain * to_second.transform.weights))
    graph = replace(MADE.graph, projections=(MADE.graph.projections[0], scaled, MADE.graph.projections[2]))
    plain = weight_values(MADE.graph, MADE.program, MADE.options)["second"]
    found = weight_values(graph, MADE.program, MADE.options)["second"]
    assert found["edges"][-1] == pytest.approx(max(gain, 1.0) * plain["edges"][-1], rel=0.01)
    assert sum(found["before"]) == sum(found["after"]) == 600
    assert found["rms_error"] == pytest.approx(abs(1 - 1 / gain), rel=0.02)
