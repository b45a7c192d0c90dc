"""Sequences of different length: what is padded is never presented and never counted."""

import re
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis.latency import answer_delay
from loihi_deploy.backends import RunOptions
from loihi_deploy.errors import AccumulatorOverflowError, InputError, LoihiDeployWarning
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout, samples_for
from tests.sequences import W1, W2, W3, network

LENGTHS = np.array([3, 5, 3, 1, 4, 5])
LISTED = [np.random.default_rng(k).uniform(0, 1, (n, 8)) for k, n in enumerate(LENGTHS)]
PADDED = np.full((6, 7, 8), np.nan)
for row, sequence in zip(PADDED, LISTED, strict=True):
    row[: len(sequence)] = sequence
MASK = np.arange(7) < LENGTHS[:, None]
PER_FRAME = 4


def deployed(over_frames="mean", **options):
    options = ld.DeployOptions(steps_per_frame=PER_FRAME, **options)
    return ld.deploy(network(over_frames), calibration=LISTED, options=options)


WAYS = {
    "listed": LISTED,
    "by name": {"frame": LISTED},
    "sequences": ld.Sequences(LISTED),
    "lengths": ld.Sequences(PADDED, lengths=LENGTHS),
    "mask": ld.Sequences({"frame": PADDED}, mask=MASK),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("over_frames", ["mean", "last", "each"])
def test_each_sequence_gives_what_it_gives_alone(way, over_frames):
    deployment = deployed(over_frames)
    record = {"second": ["spikes", "events"], "first": ["v"]}
    result = deployment.run(WAYS[way], record=record, by_frame=True)
    alone = [
        deployment.run(sequence[None], record=record, by_frame=True, steps_per_frame=PER_FRAME)
        for sequence in LISTED
    ]
    held = answer_delay(deployment.program)
    steps = [n * PER_FRAME + held for n in LENGTHS]
    assert result.counters.samples == 6
    assert result.counters.sample_steps == sum(steps)
    assert result.counters.populations == sum((r.counters for r in alone[1:]), alone[0].counters).populations
    for k, (one, n, m) in enumerate(zip(alone, LENGTHS, steps, strict=True)):
        assert (result.outputs[k] == one.outputs[0]).all()
        assert (result.by_frame["classes"][k, :n] == one.by_frame["classes"][0]).all()
        assert not result.by_frame["classes"][k, n:].any()
        for name, variable in (("second", "spikes"), ("first", "v")):
            found = result.recorded[name][variable][k]
            assert (found[:m] == one.recorded[name][variable][0]).all()
            assert not found[m:].any()
        events = result.recorded["second"]["events"]
        assert (events[events[:, 0] == k][:, 1:] == one.recorded["second"]["events"][:, 1:]).all()


def test_all_ways_to_say_it_are_calibrated_alike():
    options = ld.DeployOptions(steps_per_frame=PER_FRAME)
    programs = [ld.deploy(network("mean"), calibration=x, options=options).program for x in WAYS.values()]
    assert len({program.digest for program in programs}) == 1


def test_labels_are_of_sequences_or_of_frames():
    y = np.array([0, 1, 2, 0, 1, 2])
    deployment = deployed("mean")
    found = deployment.evaluate(LISTED, y, by_frame=True, by_step=True)
    decided = deployment.run(LISTED).outputs.argmax(axis=1)
    assert found.n_correct == (decided == y).sum()
    assert found.n_total == 6
    assert found.n_total_by_frame.tolist() == [6, 5, 5, 3, 2]
    assert found.n_correct_by_step[-1] == found.n_correct
    values = [np.maximum(np.maximum(x @ W1.T, 0) @ W2.T, 0) @ W3.T for x in LISTED]
    exact = np.array([value.mean(axis=0).argmax() for value in values])
    assert deployment.rate_accuracy(LISTED, exact) == 1
    assert deployment.check(LISTED, exact, ld.Criteria(max_drop=1.0)).passed
    of_frames = [value.argmax(axis=1) for value in values]
    deployment = deployed("each")
    assert deployment.rate_accuracy(LISTED, of_frames) == 1
    found = deployment.evaluate(LISTED, of_frames)
    by_frame = deployment.predict(LISTED).argmax(axis=2)
    assert found.n_total == LENGTHS.sum()
    assert found.n_correct == sum((by_frame[k, :n] == of_frames[k]).sum() for k, n in enumerate(LENGTHS))
    padded_labels = np.full((6, 5), -7)
    for row, labels in zip(padded_labels, of_frames, strict=True):
        row[: len(labels)] = labels
    again = deployment.evaluate(ld.Sequences(PADDED, LENGTHS), padded_labels)
    assert (again.n_correct, again.n_total) == (found.n_correct, found.n_total)


@pytest.mark.follows("Ask for by_frame, or present them with reset=True")
def test_sequences_follow_each_other_without_a_reset():
    deployment = deployed("mean", flush=0)
    result = deployment.run(LISTED, reset=False, record=["second"])
    whole = deployment.run(np.concatenate(LISTED)[None], record=["second"], steps_per_frame=PER_FRAME)
    spikes = whole.recorded["second"]["spikes"][0]
    first = 0
    for k, n in enumerate(LENGTHS):
        m = n * PER_FRAME
        assert (result.recorded["second"]["spikes"][k, :m] == spikes[first : first + m]).all()
        first += m
    y = result.outputs.argmax(axis=1)
    assert deployment.evaluate(LISTED, y, reset=False).accuracy == 1
    with pytest.raises(InputError, match="by_step"):
        deployment.evaluate(LISTED, y, reset=False, by_step=True)
    deployment.evaluate(LISTED, y, reset=False, by_frame=True)
    deployment.evaluate(LISTED, y, by_step=True)


def test_energy_and_verification_know_lengths():
    deployment = deployed("mean")
    energy = deployment.evaluate(LISTED, np.zeros(6, int), energy=True).energy
    assert energy.total.high > 0
    found = deployment.verify(LISTED, reference_samples=0)
    assert {stage.n_samples for stage in found.stages} == {6}


HOLES = MASK.copy()
HOLES[1, 2] = False
BAD = {
    "beyond": (
        lambda: ld.Sequences(PADDED, lengths=[3, 5, 3, 1, 4, 8]),
        r"lengths\[5\].*not as long.*found 8.*1 to 7",
    ),
    "none": (lambda: ld.Sequences(PADDED, lengths=[3, 0, 3, 1, 4, 5]), r"lengths\[1\].*without a frame"),
    "no whole": (lambda: ld.Sequences(PADDED, lengths=[3.5] * 6), "not a number of frames"),
    "few": (lambda: ld.Sequences(PADDED, lengths=[3, 4]), "as many lengths as samples"),
    "holes": (lambda: ld.Sequences(PADDED, mask=HOLES), r"mask\[1\].*holes"),
    "mask": (lambda: ld.Sequences(PADDED, mask=MASK * 2), "not a mask"),
    "a mask of fewer frames": (lambda: ld.Sequences(PADDED, mask=MASK[:, :2]), r"mask: not a mask of these"),
    "a mask of more frames": (
        lambda: ld.Sequences(LISTED, mask=np.pad(MASK, [(0, 0), (0, 1)])),
        r"found \(6, 8\), allowed \(6, 5\)",
    ),
    "both": (lambda: ld.Sequences(PADDED, lengths=LENGTHS, mask=MASK), "together with a mask"),
    "neither": (lambda: ld.Sequences(PADDED), "nobody says how long"),
    "features": (lambda: [*LISTED[:5], LISTED[5][:, :7]], r"frame\[5\].*more than their length"),
    "other features": (lambda: [x[:, :7] for x in LISTED], "wrong shape"),
    "empty": (lambda: [*LISTED[:5], LISTED[5][:0]], r"lengths\[5\].*without a frame"),
    "NaN": (
        lambda: [*LISTED[:5], np.where(np.arange(5)[:, None] == 3, np.nan, LISTED[5])],
        r"first at \[5, 3, 0\]",
    ),
    "one frame": (lambda: ld.Sequences([x[0] for x in LISTED], lengths=LENGTHS), "wrong shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sequences_are_refused(case):
    make, what = BAD[case]
    deployment = deployed("mean")
    with pytest.raises(InputError) as refusal:
        deployment.run(make())
    assert re.search(what, str(refusal.value).replace("\n", " ")), str(refusal.value)


@pytest.mark.follows("Continue sequences of one length, or present them with reset=False")
def test_states_of_sequences_of_different_length_are_refused():
    with pytest.raises(InputError, match="state of sequences of different length"):
        deployed("mean").run(LISTED, return_state=True)
    deployed("mean").run(LISTED, return_state=True, reset=False)
    deployed("mean").run(PADDED[:, :2][LENGTHS > 1], return_state=True)


def test_random_spikes_are_those_of_the_sample_whatever_its_length():
    deployment = deployed("mean", encoder="poisson", bias_correction_steps=0, flush=0)
    [encoder] = deployment.program.encoder.populations
    longest = np.stack([np.resize(sequence, (5, 8)) for sequence in LISTED])
    whole = deployment.run(longest, record=[encoder.name], seed=3).recorded[encoder.name]["spikes"]
    found = deployment.run(LISTED, record=[encoder.name], seed=3).recorded[encoder.name]["spikes"]
    for k, n in enumerate(LENGTHS):
        m = n * PER_FRAME
        assert (found[k, :m] == whole[k, :m]).all()
        assert found[k, :m].any()


@pytest.mark.parametrize("reset", [True, False])
def test_an_overflow_names_the_sample_among_all(reset):
    graph = Graph(
        (Input("frame", (8,)),),
        (
            Population("first", (200,), NeuronModel(), 1.0, np.zeros(200)),
            Population("second", (3,), NeuronModel(), 1.0, np.zeros(3)),
        ),
        (
            Projection("frame", "first", Dense(np.ones((200, 8)))),
            Projection("first", "second", Dense(np.ones((3, 200)))),
            Projection("second", "classes", Dense(np.eye(3)), 0.003),
        ),
        (Readout("classes", (3,), np.zeros(3), over_frames="mean"),),
    )
    program = ld.deploy(graph, calibration=LISTED, options=ld.DeployOptions(bias_correction_steps=0)).program
    [all_at_once] = program.into("second")
    strongest = replace(all_at_once, transform=Dense(np.full((3, 200), 127, np.int8)), shift=7)
    program = replace(program, synapses=tuple(strongest if s is all_at_once else s for s in program.synapses))
    silent = [np.where(k == 4, 1.0, 0.0) * np.ones((n, 8)) for k, n in enumerate(LENGTHS)]
    samples = samples_for(graph, silent)
    options = RunOptions(steps_per_frame=PER_FRAME, on_overflow="raise", stream=not reset)
    with pytest.raises(AccumulatorOverflowError, match="of sample 4"):
        backends.run(program, samples, options)


@pytest.mark.follows("Present them with reset=True")
def test_values_of_sequences_that_follow_each_other_are_refused():
    """They were compared with outputs of sequences that each start from rest."""
    deployment = deployed("mean")
    with pytest.raises(InputError, match="values for sequences of different length"):
        deployment.evaluate(LISTED, np.full((6, 3), 0.5), reset=False)
    deployment.evaluate(LISTED, np.full((6, 3), 0.5))


def test_what_is_lost_is_told_once_for_all_lengths():
    deployment = deployed("mean", encoder="on_off")
    bright = [20 * sequence for sequence in LISTED]
    with pytest.warns(LoihiDeployWarning):
        result = deployment.run(bright)
    with pytest.warns(LoihiDeployWarning):
        evaluation = deployment.evaluate(bright, np.zeros(6, int))
    assert result.warnings == evaluation.warnings
    [lost] = [problem for problem in result.warnings if "spikes are lost" in problem.what]
    counts = result.counters.populations[deployment.program.encoder.populations[0].name]
    share = counts.lost_spikes / (counts.spikes + counts.lost_spikes)
    assert f"{100 * share:.1f} % of its spikes" in lost.value


@pytest.mark.follows("Ask for by_frame, or give one for each sample")
@pytest.mark.parametrize("labels", [np.zeros((6, 2), int), np.full((6, 2, 3), 0.5)])
def test_labels_of_frames_are_not_counted_after_steps(labels):
    deployment, frames = deployed("each"), np.stack([np.resize(x, (2, 8)) for x in LISTED])
    with pytest.raises(InputError, match="by_step: labels of frames"):
        deployment.evaluate(frames, labels, by_step=True)
    deployment.evaluate(frames, labels, by_frame=True)
    deployment.evaluate(frames, labels[:, 0], by_step=True)
