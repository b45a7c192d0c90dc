"""Samples of several frames from one end to the other, on small networks over time."""

import re

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
W1, W2, W3 = (RNG.normal(size=shape) / np.sqrt(shape[1]) for shape in ((30, 8), (20, 30), (3, 20)))

BIAS = -np.mean(np.maximum(np.maximum(RNG.uniform(0, 1, (500, 8)) @ W1.T, 0) @ W2.T, 0) @ W3.T, axis=0)
"""So that every class is decided for."""


def network():
    """Input 8 -> dense 30 -> dense 20 -> three classes: a function of each frame."""
    return Graph(
        (Input("frame", (8,)),),
        (
            Population("first", (30,), NeuronModel(), 1.0, np.zeros(30)),
            Population("second", (20,), NeuronModel(), 1.0, np.zeros(20)),
        ),
        (
            Projection("frame", "first", Dense(W1)),
            Projection("first", "second", Dense(W2), 0.003),
            Projection("second", "classes", Dense(W3), 0.003),
        ),
        (Readout("classes", (3,), BIAS),),
    )


def frames(n, n_frames):
    return np.random.default_rng(n_frames).uniform(0, 1, (n, n_frames, 8))


@pytest.mark.parametrize(("n_frames", "steps"), [(1, 100), (28, 112), (30, 120), (50, 100), (130, 130)])
def test_any_number_of_frames_is_deployed_and_run_by_default(n_frames, steps):
    x = frames(6, n_frames)
    deployment = ld.deploy(network(), calibration=x)
    assert deployment.run(x).counters.sample_steps == 6 * steps
    assert deployment.evaluate(x, np.zeros(6, int)).counters.sample_steps == 6 * steps
    assert deployment.predict(x).shape == (6, 3)


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
    deployment = ld.deploy(network(), calibration=x, options=ld.DeployOptions(steps_per_frame=3))
    assert deployment.run(x).counters.sample_steps == 4 * 21
    assert deployment.run(x, steps_per_frame=2).counters.sample_steps == 4 * 14
    assert deployment.run(x, 28).counters.sample_steps == 4 * 28
    assert deployment.run(x[:, 0]).counters.sample_steps == 4 * 100  # samples that stand still


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


def declared(readout):
    return ld.deploy(network(), calibration=frames(40, 6), options=ld.DeployOptions(readout=readout))


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
    x = frames(40, 6) * np.random.default_rng(5).uniform(
        0, 1, (40, 1, 8)
    )  # samples that differ, frame by frame alike
    y = frame_values(x).mean(axis=1).argmax(axis=1)
    deployment = declared("mean")
    found = deployment.tune(x, y, max_steps=300, max_drop=0.1)
    assert found.steps % 6 == 0
    assert found.rate_accuracy == 1
    assert found.accuracy == deployment.evaluate(x, y, found.steps).accuracy >= 0.9
    with pytest.raises(InputError, match="not a step for each frame") as refusal:
        deployment.tune(x, y, max_steps=5)
    assert "Allow 6" in str(refusal.value)
    deployment.tune(x, y, max_steps=6, max_drop=1.0)
