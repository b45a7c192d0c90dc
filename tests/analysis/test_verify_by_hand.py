"""A verification put together from what stages give, by hand; and what a report asks of it."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis import tune, verify
from loihi_deploy.analysis.frames import Reading
from loihi_deploy.analysis.latency import LayerLatency, transport_delays
from loihi_deploy.analysis.remedies import Deployed, _agreement
from loihi_deploy.analysis.stage_runs import (
    INTEGER,
    QUANTIZED,
    RATE,
    SPIKING,
    StageRuns,
    StageValues,
    stage_values,
)
from loihi_deploy.analysis.verify import SOURCE, layer_agreements, verify_stages
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.losses import RESCALE
from loihi_deploy.ir import Dense, Readout, samples_for
from tests.sequences import frames, network

X = frames(6, 1)[:, 0]


def sigmoid_network():
    """One output behind a sigmoid: 0.3 of it is no, and 0.3 in front of it is yes."""
    source = network()
    last = replace(source.projections[-1], transform=Dense(np.full((1, 20), 0.001)))
    readout = Readout("classes", (1,), np.zeros(1), activation="sigmoid")
    return replace(source, projections=(*source.projections[:-1], last), readouts=(readout,))


SOURCE_GRAPH = sigmoid_network()
MADE = ld.deploy(SOURCE_GRAPH, calibration=X, options=ld.DeployOptions(bias_correction_steps=0))
SAMPLES = samples_for(MADE.graph, X)
RATES = {"first": np.full((6, 30), 100.0), "second": np.full((6, 20), 50.0)}


def deployed(decisions=(1, 1, 1, 0, 0, 0), program=MADE.program):
    made = Deployed.of(MADE.graph, SOURCE_GRAPH, program, MADE.options, ld.load_board("loihi"), SAMPLES, 10)
    return replace(made, decisions=np.array(decisions))


def verified(monkeypatch, *, counters=None, labels=None, outputs=None, rates=None, ranges=None, **how):
    """What is found where the stages give certain values; how many trials were asked for."""
    asked = []

    def found(runs, samples, client):
        real = stage_values(runs, samples, client)
        given = dict.fromkeys((RATE, SPIKING, QUANTIZED, INTEGER), np.full((6, 1), 0.3)) | (outputs or {})
        of_stage = dict.fromkeys((RATE, SPIKING, QUANTIZED, INTEGER), RATES) | (rates or {})
        return StageValues(given, of_stage, counters or real.counters, ranges or real.ranges)

    monkeypatch.setattr(verify, "stage_values", found)
    monkeypatch.setattr(verify, "trials", lambda made, client: asked.append(made) or [])
    one = how.pop("deployed", None) or deployed()
    return verify_stages(MADE.graph, one, MADE.mapping, labels, how.pop("reference", 0), **how), asked


def test_outputs_of_rate_networks_are_in_front_of_the_activation_and_those_of_spikes_behind_it(monkeypatch):
    found, _ = verified(monkeypatch, labels=np.array([1, 1, 1, 1, 1, 0]))
    assert [(s.name, s.agreement, s.accuracy, s.n_samples) for s in found.stages] == [
        (SOURCE, 1.0, 4 / 6, 6),
        (RATE, 0.5, 5 / 6, 6),
        (SPIKING, 0.5, 1 / 6, 6),
        (QUANTIZED, 0.5, 5 / 6, 6),
        (INTEGER, 0.5, 1 / 6, 6),
    ]
    assert [stage.layers == () for stage in found.stages] == [True, False, False, False, False]
    found, _ = verified(monkeypatch)
    assert [stage.accuracy for stage in found.stages] == [None] * 5


def test_of_labels_of_frames_the_last_one_of_each_sample_counts(monkeypatch):
    labels = np.array([[0, 1], [1, -1], [1, 1], [1, 0], [0, -1], [1, 0]])
    found, _ = verified(monkeypatch, labels=labels)
    assert [stage.accuracy for stage in found.stages] == [1.0, 0.5, 0.5, 0.5, 0.5]


def test_layers_are_held_against_the_rate_network_where_it_has_them(monkeypatch):
    other = {"first": np.full((6, 30), 120.0), "second": RATES["second"], "more": np.ones((6, 3))}
    found, _ = verified(monkeypatch, rates={INTEGER: other})
    (integer,) = (stage for stage in found.stages if stage.name == INTEGER)
    assert [(layer.name, layer.relative_error) for layer in integer.layers] == [
        ("first", pytest.approx(0.2)),
        ("second", 0.0),
    ]


def test_accumulators_that_wrapped_count_those_of_both_kinds(monkeypatch):
    counters = MADE.run(X, 10).counters
    wrapped = {
        name: replace(counts, overflows_q=5 * (name == "first"), overflows_u=2 * (name != "second"))
        for name, counts in counters.populations.items()
    }
    found, _ = verified(monkeypatch, counters=replace(counters, populations=wrapped))
    assert found.overflows == {name: 7 if name == "first" else 2 * (name != "second") for name in wrapped}
    assert any(text.startswith("first: 7 accumulators") for text in found.remedies)


def test_weights_that_are_full_or_nothing_are_parts_of_all(monkeypatch):
    groups = tuple(
        replace(group, n_weights=n, zeroed_weights=z, saturated_weights=s)
        for group, (n, z, s) in zip(MADE.program.scale_groups, ((8, 2, 1), (0, 0, 0)), strict=True)
    )
    made = deployed(program=replace(MADE.program, scale_groups=groups))
    found, _ = verified(monkeypatch, deployed=made)
    assert found.zeroed_weights == {"first": 0.25, "second": 0.0}
    assert found.saturated_weights == {"first": 0.125, "second": 0.0}


def test_changes_are_tried_unless_samples_are_others_than_those_that_were_calibrated(monkeypatch):
    _, asked = verified(monkeypatch)
    assert len(asked) == 1
    assert len(asked[0].samples) == len(asked[0].decisions) == 6
    _, asked = verified(monkeypatch, try_changes=False)
    assert asked == []
    found, asked = verified(monkeypatch, ranges={"frame": (0.0, 50.0)})
    assert asked == []
    assert any(RESCALE in text for text in found.remedies)
    _, asked = verified(monkeypatch, deployed=deployed((0, 0, 0, 0, 0, 0)))  # as the chip decides
    assert asked == []


def test_nengo_loihis_emulator_is_asked_for_some_samples_and_not_where_spikes_are_held_back(
    monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "loihi_deploy.analysis.verify")
    measured = {name: rates[:4] for name, rates in RATES.items()}
    given = []

    def reference(program, samples, options, mapping):
        given.append((len(samples), options.steps, options.readout_window))
        return np.array([1, 1, 1, 1])[: len(samples)], {k: x[: len(samples)] for k, x in measured.items()}

    monkeypatch.setattr(verify, "_reference", reference)
    found, _ = verified(monkeypatch, reference=4)
    assert given == [(4, 10, 0.5)]
    assert [record.getMessage() for record in caplog.records] == [verify.REFERENCE, "other settings"]
    assert (found.stages[-1].name, found.stages[-1].n_samples) == (verify.REFERENCE, 4)
    assert found.stages[-1].agreement == 0.75
    assert any("decides otherwise for 4 samples" in text for text in found.remedies)
    assert not any("left out" in text for text in found.remedies)
    late = replace(MADE.program.synapses[-1], delays=2)
    program = replace(MADE.program, synapses=(*MADE.program.synapses[:-1], late))
    for asked, told in ((4, True), (0, False)):
        found, _ = verified(monkeypatch, reference=asked, deployed=deployed(program=program))
        assert found.stages[-1].name == INTEGER
        assert any("emulator is left out" in text for text in found.remedies) == told
    assert len(given) == 1


def test_neurons_are_silent_that_never_fire_in_any_sample():
    ideal = {"a": np.array([[9.0, 9.0, 0.0, 9.0], [9.0, 9.0, 0.0, 9.0]])}
    found = {"a": np.array([[0.0, 5.0, 0.0, 9.0], [0.0, 0.0, 0.0, 9.0]])}
    (layer,) = layer_agreements(ideal, found, 0.001)
    assert layer.silent == 1 / 3
    (layer,) = layer_agreements({"a": np.array([[9.0], [0.0]])}, {"a": np.zeros((2, 1))}, 0.001)
    assert layer.silent == 1.0  # it fires for one of the samples in the rate network


@pytest.mark.parametrize(("delay", "told"), [(5.0, False), (5.01, True)])
def test_latency_is_told_of_from_half_of_the_presentation_on(delay, told, monkeypatch):
    layers = (LayerLatency("a", 1, 0.0), LayerLatency("b", 2, delay), LayerLatency("c", 2, 1.0))
    monkeypatch.setattr(tune, "latencies", lambda program: layers)
    monkeypatch.setattr(tune, "latency_sentence", lambda program, steps: f"heard late, of {steps}")
    problem = tune._too_short(MADE.program, {0.5: np.full(12, 0.625)}, 0.875, 0.125)
    assert problem.remedy.endswith("; heard late, of 12") == told
    assert problem.remedy.startswith("Allow more steps, or a drop of 0.25, which 12 steps reach")


def test_a_trial_decides_by_outputs_behind_the_activation():
    """Below a half is no, though it is above 0."""
    negative = Dense(np.full((1, 20), -0.001))
    last = replace(MADE.program.readout.projections[-1], transform=negative)
    readout = replace(MADE.program.readout, projections=(*MADE.program.readout.projections[:-1], last))
    program = replace(MADE.program, readout=readout)
    assert _agreement(deployed((0,) * 6), program, 20) == 1.0
    assert _agreement(deployed((1, 0, 0, 0, 0, 0)), program, 20) == 5 / 6


def test_random_encoders_begin_with_the_first_sample_and_rates_are_measured_as_late_as_they_are_read():
    source = network("mean")
    options = ld.DeployOptions(bias_correction_steps=0, encoder="poisson", readout="mean")
    made = ld.deploy(source, calibration=frames(5, 2), options=options)
    samples = samples_for(source, frames(5, 2))
    for flush in (0, 5):
        runs = StageRuns(made.graph, made.graph, made.program, 20, Reading(1.0, flush), options)
        found = runs(samples)
        run = backends.run(made.program, samples, RunOptions(20, readout_window=1.0, flush=flush))
        np.testing.assert_array_equal(found.outputs[INTEGER], run.outputs.reshape(5, -1))
        delays = transport_delays(made.program) if flush else None
        rates = backends.firing_rates(made.program, samples, 20, 1.0, delays=delays)
        np.testing.assert_array_equal(found.rates[INTEGER]["second"], rates["second"])
        later = runs(samples, 1).outputs[INTEGER]
        assert (later != found.outputs[INTEGER]).any()
