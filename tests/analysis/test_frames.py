"""Samples of several frames from one end to the other, on small networks over time."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import calibrate
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.analysis.latency import answer_delay
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError
from loihi_deploy.ir import samples_for
from tests import sequences
from tests.sequences import W1, W2, W3, frames

BIAS = -np.mean(np.maximum(np.maximum(frames(500, 1)[:, 0] @ W1.T, 0) @ W2.T, 0) @ W3.T, axis=0)
"""So that every class is decided for."""


def network():
    return sequences.network(bias=BIAS)


@pytest.mark.parametrize(("n_frames", "steps"), [(1, 100), (28, 112), (30, 120), (50, 100), (130, 130)])
def test_any_number_of_frames_is_deployed_and_run_by_default(n_frames, steps):
    x = frames(6, n_frames)
    deployment = ld.deploy(network(), calibration=x)
    held = answer_delay(deployment.program) if n_frames > 1 else 0
    assert deployment.run(x).counters.sample_steps == 6 * (steps + held)
    assert deployment.evaluate(x, np.zeros(6, int)).counters.sample_steps == 6 * (steps + held)
    assert deployment.predict(x).shape == (6, 3)


def test_a_search_is_judged_by_what_is_corrected_as_the_deployment_is(monkeypatch):
    given, made = [], calibrate.correct_biases

    def kept(*args, **how):
        chosen = inspect.signature(made).bind(*args, **how).arguments
        given.append((chosen["steps"], chosen["readout_window"], chosen["intended"] is None, chosen["flush"]))
        return made(*args, **how)

    monkeypatch.setattr(calibrate, "correct_biases", kept)
    options = ld.DeployOptions(normalization="search", readout="mean", bias_correction_steps=12)
    ld.deploy(network(), calibration=frames(12, 6), options=options)
    assert len(given) > 2
    assert set(given) == {(12, 1.0, False, None)}


def test_bias_correction_helps_where_rates_change_from_frame_to_frame():
    """The mean rate of a layer over frames is not its rate for the mean frame."""
    x = np.where(np.random.default_rng(3).random((60, 10, 8)) < 0.4, 1.0, 0.0)
    source = network()
    exact = np.mean([rate_outputs(source, {"frame": x[:, k]})["classes"] for k in range(10)], axis=0)

    def error(steps):
        options = ld.DeployOptions(bias_correction_steps=steps, readout="mean", steps_per_frame=10)
        outputs = ld.deploy(source, calibration=x[:30], options=options).run(x[30:]).outputs
        return np.sqrt(np.mean((outputs - exact[30:]) ** 2))

    assert error(100) < error(0)


def test_calibration_of_every_kind_takes_any_number_of_frames():
    x = frames(6, 7)
    for options in (
        {"normalization": "thresholds"},
        {"normalization": "search"},
        {"bias_correction_steps": 0},
        {"bias_correction_steps": 5},
        {"rounding": "mean"},
    ):
        assert ld.deploy(network(), calibration=x, options=ld.DeployOptions(**options)).run(x).outputs.any()


def test_a_deployment_knows_how_long_frames_are_shown():
    x = frames(4, 7)
    deployment = ld.deploy(network(), calibration=x, options=ld.DeployOptions(steps_per_frame=3, flush=0))
    assert deployment.run(x).counters.sample_steps == 4 * 21
    assert deployment.run(x, steps_per_frame=2).counters.sample_steps == 4 * 14
    assert deployment.run(x, 28).counters.sample_steps == 4 * 28
    assert deployment.run(x[:, 0]).counters.sample_steps == 4 * 100  # samples that stand still


@pytest.mark.follows(
    "Use steps=…, or steps_per_frame=…",
)
def test_steps_that_are_no_multiple_name_steps_that_are():
    x = frames(4, 7)
    deployment = ld.deploy(network(), calibration=x)
    with pytest.raises(InputError, match="a multiple of the 7 frames") as refusal:
        deployment.run(x, 100)
    steps, per_frame = re.search(r"Use steps=(\d+), or steps_per_frame=(\d+)", str(refusal.value)).groups()
    expected = deployment.run(x, int(steps))
    assert (deployment.run(x, steps_per_frame=int(per_frame)).outputs == expected.outputs).all()


def test_steps_and_steps_per_frame_are_not_both_given():
    x = frames(4, 7)
    deployment = ld.deploy(network(), calibration=x)
    with pytest.raises(InputError, match="given together with steps_per_frame"):
        deployment.run(x, 70, steps_per_frame=10)
    with pytest.raises(InputError, match="given together with steps_per_frame"):
        ld.DeployOptions(steps=20, steps_per_frame=10)
    with pytest.raises(InputError, match=r"out of range.*steps_per_frame|steps_per_frame: out of range"):
        ld.DeployOptions(steps_per_frame=0)


def test_a_run_without_resets_has_a_name_of_its_own():
    x = frames(4, 5)
    deployment = ld.deploy(network(), calibration=x)
    without = deployment.run(x, reset=False).outputs
    assert (without == deployment.run(x, stream=True).outputs).all()
    assert (without[1:] != deployment.run(x).outputs[1:]).any()
    assert (without[0] == deployment.run(x).outputs[0]).all()


def frame_values(x):
    """What the network makes of each frame, (n, n_frames, 3)."""
    return np.maximum(np.maximum(x @ W1.T, 0) @ W2.T, 0) @ W3.T + BIAS


def declared(readout, **options):
    options = ld.DeployOptions(readout=readout, **options)
    return ld.deploy(network(), calibration=frames(40, 6), options=options)


def test_accuracy_of_the_rate_network_is_that_over_the_frames_that_are_read():
    x = frames(40, 6)
    values = frame_values(x)
    for readout, read in (("mean", slice(0, 6)), ("last", slice(5, 6)), ("window", slice(3, 6))):
        y = values[:, read].mean(axis=1).argmax(axis=1)
        assert len(set(y)) > 1
        assert declared(readout).rate_accuracy(x, y) == 1
    first = values[:, 0].argmax(axis=1)
    assert (
        declared("mean").rate_accuracy(x, first) == (values.mean(axis=1).argmax(axis=1) == first).mean() < 1
    )


def test_what_is_read_is_what_is_declared():
    x = frames(5, 6)
    long = {readout: declared(readout).run(x, steps_per_frame=200).outputs for readout in ("mean", "last")}
    values = frame_values(x)
    for readout, expected in (("mean", values.mean(axis=1)), ("last", values[:, -1])):
        errors = {name: np.abs(outputs - expected).mean() for name, outputs in long.items()}
        assert min(errors, key=errors.get) == readout


@pytest.mark.follows(
    "Say how they are read: DeployOptions(readout='mean') is the mean over all frames, 'last' the last one…",
)
def test_where_nobody_says_how_frames_are_read_nothing_is_compared():
    x, y = frames(40, 6), np.zeros(40, int)
    deployment = ld.deploy(network(), calibration=x)
    for call in (deployment.rate_accuracy, deployment.verify, deployment.tune):
        with pytest.raises(InputError, match="does not say how frames are read"):
            call(x, y)
    deployment.evaluate(x, y)
    # either remedy
    expected = declared("mean").rate_accuracy(x, y)
    assert deployment.with_readout_window(1.0).rate_accuracy(x, y) == expected
    assert deployment.rate_accuracy(x[:, 0], y) == deployment.rate_accuracy(x[:, :1], y)


def test_sequences_are_verified_stage_by_stage():
    x = frames(20, 6)
    y = frame_values(x).mean(axis=1).argmax(axis=1)
    found = declared("mean").verify(x, y, 120, reference_samples=1)
    stages = {stage.name: stage for stage in found.stages}
    assert stages["source, floats"].accuracy == stages["rate network, floats"].accuracy == 1
    integer = stages["integer program"]
    assert integer.accuracy == declared("mean").evaluate(x, y, 120).accuracy
    assert all(layer.correlation > 0.9 for layer in integer.layers)


def test_few_steps_for_each_frame_are_found():
    x = frames(40, 6)
    y = frame_values(x).mean(axis=1).argmax(axis=1)
    deployment = declared("mean", bias_correction_steps=300)  # for as long as they are presented
    found = deployment.tune(x, y, max_steps=300, max_drop=0.1)
    assert found.steps % 6 == 0
    assert found.rate_accuracy == 1
    assert found.accuracy == deployment.evaluate(x, y, found.steps).accuracy >= 0.9
    with pytest.raises(InputError, match="not a step for each frame") as refusal:
        deployment.tune(x, y, max_steps=5)
    assert "Allow 6" in str(refusal.value)
    deployment.tune(x, y, max_steps=6, max_drop=1.0)


def test_windows_are_as_late_as_the_network_and_the_last_frame_is_held_as_long():
    """The last frame's spikes reach the readout behind the end of the sequence."""
    x = frames(40, 4) * np.random.default_rng(1).uniform(0, 1, (40, 4, 1))
    exact = frame_values(x)[:, 3]
    for per_frame in (8, 16, 32):
        late, early = (declared("last", steps_per_frame=per_frame, flush=flush) for flush in (None, 0))
        # two hops of a step, and three synapses of 3 ms: a / (1 - a) steps each, a = exp(-1 / 3)
        held = answer_delay(late.program)
        assert held == round(2 + 3 * 2.5277)
        assert late.run(x).counters.sample_steps == 40 * (4 * per_frame + held)
        assert early.run(x).counters.sample_steps == 40 * 4 * per_frame
        errors = [np.square(deployment.run(x).outputs - exact).mean() for deployment in (late, early)]
        assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("backend", ["emulator", "numpy", "nengo_loihi"])
@pytest.mark.parametrize("encoder", ["on_off", "bias"])
def test_the_last_frame_is_held_on_every_backend(backend, encoder):
    x = frames(2, 3)
    options = ld.DeployOptions(steps_per_frame=4, flush=6, encoder=encoder, readout="mean")
    deployment = ld.deploy(network(), calibration=x, options=options)
    record = {"second": ["spikes", "v"]}
    ours = deployment.run(x, record=record)
    theirs = deployment.run(x, record=record, backend=backend)
    by_hand = np.concatenate([x, x[:, 2:], x[:, 2:]], axis=1)
    held = ld.deploy(network(), calibration=x, options=options).run(by_hand, record=record, backend=backend)
    for variable in ("spikes", "v"):
        wanted = held.recorded["second"][variable][:, :18]
        assert wanted.shape[1] == ours.recorded["second"][variable].shape[1] == 3 * 4 + 6
        assert (theirs.recorded["second"][variable] == wanted).all()
        assert (ours.recorded["second"][variable] == wanted).all()


def test_samples_in_a_row_are_held_each():
    """Without a reset, a sample follows the other after its flush, whether that is a whole frame or not."""
    x = frames(3, 4)
    for flush in (0, 2, 4, 5):
        options = ld.DeployOptions(steps_per_frame=2, flush=flush, readout="mean")
        deployment = ld.deploy(network(), calibration=x, options=options)
        ours = deployment.run(x, reset=False, record=["second"]).recorded["second"]["spikes"]
        by_step = np.repeat(x, 2, axis=1)
        by_step = np.concatenate([by_step, np.repeat(by_step[:, -1:], flush, axis=1)], axis=1)
        flat = by_step.reshape(1, -1, 8)
        whole = deployment.with_readout_window(1.0).run(flat, steps_per_frame=1, record=["second"])
        spikes = whole.recorded["second"]["spikes"][:, : flat.shape[1]]
        assert (ours.reshape(1, -1, 20) == spikes).all()


def test_there_is_an_answer_after_each_frame():
    x, y = frames(10, 5), np.arange(10) % 3
    deployed = declared("mean", steps_per_frame=6)
    by_frame = {}
    for readout in ("mean", "last", "each", "window"):
        deployment = replace(deployed, options=replace(deployed.options, readout=readout))
        result = deployment.run(x, by_frame=True)
        by_frame[readout] = result.by_frame["classes"]
        assert by_frame[readout].shape == (10, 5, 3)
        np.testing.assert_allclose(by_frame[readout][:, -1], result.outputs, rtol=1e-9, atol=1e-12)
        found = deployment.evaluate(x, y, by_frame=True)
        decided = by_frame[readout].argmax(axis=2)
        assert (found.n_correct_by_frame == (decided == y[:, None]).sum(axis=0)).all()
        assert (found.n_total_by_frame == 10).all()
        assert (found.accuracy_by_frame == found.n_correct_by_frame / 10).all()
        assert found.n_correct == (result.outputs.argmax(axis=1) == y).sum()
    assert (by_frame["last"] == by_frame["each"]).all()
    so_far = np.cumsum(by_frame["each"], axis=1) / np.arange(1, 6)[:, None]
    np.testing.assert_allclose(by_frame["mean"], so_far, atol=1e-12)
    np.testing.assert_allclose(by_frame["window"][:, 3], by_frame["each"][:, 2:4].mean(axis=1), atol=1e-12)
    assert deployed.run(x).by_frame == {}
    assert deployed.evaluate(x, y).accuracy_by_frame.size == 0


def test_labels_of_frames_are_counted_where_the_source_answers_every_frame():
    x = frames(20, 6)
    y = frame_values(x).argmax(axis=2)
    assert len(set(y.ravel().tolist())) > 1
    deployment = declared("each", steps_per_frame=30)
    assert deployment.rate_accuracy(x, y) == 1
    found = deployment.evaluate(x, y)
    decided = deployment.predict(x).argmax(axis=2)
    assert deployment.predict(x).shape == (20, 6, 3)
    assert found.n_total == 120
    assert found.n_correct == (decided == y).sum() > 60
    other = declared("mean", steps_per_frame=5)
    with pytest.raises(InputError, match="labels do not fit"):
        other.evaluate(x, y)
    with pytest.raises(InputError, match="not a label for every frame"):
        deployment.evaluate(x, y[:, :5])


def test_memory_in_synapses_is_part_of_the_rate_network():
    """A slow synapse of the source is evaluated over time; what deploying it added is not."""
    slow = replace(
        network(),
        projections=tuple(replace(p, tau=0.05 if p.pre == "first" else p.tau) for p in network().projections),
        readouts=(replace(network().readouts[0], over_frames="last"),),
    )
    x = frames(30, 12)
    a = np.exp(-1 / 50)
    hidden = np.maximum(x @ W1.T, 0)
    filtered, state = [], np.zeros((30, 30))
    for k in range(12):
        state = a * state + (1 - a) * hidden[:, k]
        filtered.append(state)
    last = np.maximum(filtered[-1] @ W2.T, 0) @ W3.T + BIAS
    y = last.argmax(axis=1)
    deployment = ld.deploy(slow, calibration=x, options=ld.DeployOptions(steps_per_frame=1))
    assert deployment.rate_accuracy(x, y) == 1
    memoryless = frame_values(x)[:, -1].argmax(axis=1)
    assert (memoryless != y).any()
    # memory is no latency
    assert answer_delay(deployment.program) < 12


def test_checks_of_sequences_tell_the_drop():
    x = frames(30, 6)
    y = frame_values(x).mean(axis=1).argmax(axis=1)
    deployment = declared("mean", bias_correction_steps=300)
    found = deployment.check(x, y, ld.Criteria(max_drop=0.5), steps=300)
    drop = deployment.rate_accuracy(x, y) - deployment.evaluate(x, y, 300).accuracy
    assert found.passed
    assert [verdict.value for verdict in found.verdicts if verdict.figure == "drop"] == [drop]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5])
@pytest.mark.parametrize("window", [1.0, None])
def test_what_is_read_is_the_mean_over_the_frames_of_the_window(n_frames, window):
    """The whole presentation, or its last frame."""
    source, x = network(), frames(4, n_frames)
    found = read_rates(source, samples_for(source, x), window)["classes"]
    by_frame = [rate_outputs(source, {"frame": x[:, k]})["classes"] for k in range(n_frames)]
    wanted = np.mean(by_frame, axis=0) if window else by_frame[-1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert n_frames == 1 or np.abs(by_frame[0] - wanted).max() > 0.01
