"""Spikes as input: what is given is what reaches the chip, on every backend."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.data import camera_frames, spike_frames
from loihi_deploy.errors import InputError
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

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 2, 4))
SPIKES = RNG.random((3, 40, 6, 6, 2)) < 0.1


def network():
    return Graph(
        (Input("camera", (6, 6, 2)),),
        (
            Population("conv", (4, 4, 4), NeuronModel(), 1.0, np.zeros(1)),
            Population("dense", (12,), NeuronModel(), 1.0, np.zeros(1)),
        ),
        (
            Projection("camera", "conv", Conv2D(KERNEL, (1, 1), (0, 0), (6, 6, 2), (4, 4, 4))),
            Projection("conv", "dense", Dense(RNG.normal(size=(12, 64)) / 8), 0.003),
            Projection("dense", "classes", Dense(RNG.normal(size=(3, 12))), 0.003),
        ),
        (Readout("classes", (3,), np.zeros(3)),),
    )


@pytest.fixture(scope="module")
def deployment():
    return ld.deploy(
        network(), calibration=SPIKES, options=ld.DeployOptions(encoder="events", readout="mean", flush=0)
    )


@pytest.mark.parametrize("backend", ["emulator", "numpy", "nengo_loihi"])
def test_spikes_reach_the_chip_as_they_are(deployment, backend):
    record = {"camera_events": ["spikes"], "conv": ["spikes", "v"]}
    found = deployment.run(SPIKES, record=record, backend=backend)
    assert (found.recorded["camera_events"]["spikes"] == SPIKES.reshape(3, 40, 72)).all()
    ours = deployment.run(SPIKES, record=record)
    for variable in ("spikes", "v"):
        assert (found.recorded["conv"][variable] == ours.recorded["conv"][variable]).all()
    assert ours.recorded["conv"]["spikes"].any()
    assert ours.counters.populations["camera_events"].spikes == SPIKES.sum()
    assert ours.counters.populations["camera_events"].lost_spikes == 0


def test_a_spike_stands_for_a_value_of_one(deployment):
    """Where spikes come in every step, the layer behind fires as the rate network does for a value of 1."""
    steady = np.tile(RNG.random((5, 1, 6, 6, 2)) < 0.4, (1, 300, 1, 1, 1))
    ideal = read_rates(deployment.graph, samples_for(deployment.graph, steady), 1.0)["conv"]
    found = deployment.run(steady, record=["conv"]).recorded["conv"]["spikes"][:, 50:].mean(axis=1) * 1000
    slow = ideal < 300  # faster neurons lose what is beyond the threshold
    assert slow.sum() > 50
    np.testing.assert_allclose(found[slow], ideal[slow], atol=60)
    assert np.corrcoef(found[slow], ideal[slow])[0, 1] > 0.97


def test_streams_take_events(deployment):
    deployment = ld.deploy(
        network(), calibration=SPIKES, options=ld.DeployOptions(encoder="events", readout="each")
    )
    whole = deployment.run(SPIKES[:1], by_frame=True).by_frame["classes"][0]
    with deployment.stream() as stream:
        answers = [answer for answer in map(stream.step, SPIKES[0]) if answer.frame is not None]
    assert [answer.frame for answer in answers] == list(range(len(SPIKES[0]) - answers[0].late))
    assert all((answer.outputs == whole[answer.frame]).all() for answer in answers)


@pytest.mark.follows(
    "Use shorter bins, or an encoder for values: DeployOptions(encoder='auto')",
    "Use steps_per_frame=1: a frame holds the spikes of one step",
)
def test_what_is_no_spike_is_refused(deployment):
    for value in (0.5, -1.0, 2.0):
        values = SPIKES.astype(float)
        values[1, 3, 2, 2, 0] = value
        with pytest.raises(InputError, match="values that are no spikes"):
            deployment.run(values)
    with pytest.raises(InputError, match="Use steps_per_frame=1"):
        deployment.run(SPIKES, steps_per_frame=2)
    deployment.run(SPIKES, steps_per_frame=1)
    two_steps = SPIKES.reshape(3, 20, 2, 6, 6, 2)
    counts = two_steps.sum(axis=2).astype(float)
    with pytest.raises(InputError, match=r"found 2\.0, allowed 0 or 1"):
        deployment.run(counts)
    deployment.run(SPIKES)
    ld.deploy(network(), calibration=counts, options=ld.DeployOptions(encoder="auto")).run(counts)


def test_lists_of_spikes_become_frames():
    events = np.argwhere(SPIKES.reshape(3, 40, 72))
    assert (spike_frames(events, (6, 6, 2), n_samples=3, n_steps=40) == SPIKES).all()
    assert spike_frames(np.array([[1, 4, 2], [1, 4, 2]]), (5,)).sum() == 1
    assert spike_frames(np.array([[1, 4, 2]]), (5,)).shape == (2, 5, 5)
    for bad, what in (
        (np.array([[0, 0, 5]]), "neuron: an event lies outside"),
        (np.array([[0, -1, 0]]), "step: an event lies outside"),
        (np.array([[0.0, 1.0, 0.0]]), "not a list of spikes"),
        (np.zeros((0, 3), int), "not a list of spikes"),
    ):
        with pytest.raises(InputError, match=what):
            spike_frames(bad, (5,))


def test_events_of_a_camera_become_frames():
    t, x, y, p = [100, 1099, 1100, 5200], [0, 3, 3, 1], [0, 2, 2, 1], [1, 0, 1, -1]
    frames = camera_frames(t, x, y, p, (4, 5), bin_width=1000)
    assert frames.shape == (1, 6, 4, 5, 2)
    assert np.argwhere(frames[0]).tolist() == [[0, 0, 0, 1], [0, 2, 3, 0], [1, 2, 3, 1], [5, 1, 1, 0]]
    assert camera_frames(t, x, y, p, (4, 5), bin_width=1000, n_steps=2).sum() == 3
    for changed, what in (
        ({"x": [0, 5, 3, 1]}, "x: an event lies outside"),
        ({"y": [0, 2, 2]}, "not a list of events"),
        ({"polarity": [1, 0, 2, 0]}, "not a polarity"),
        ({"bin_width": 0.0}, "not a width of bins"),
        ({"t": [0.0, np.nan, 1.0, 2.0]}, "times are not finite"),
    ):
        arguments = {"t": t, "x": x, "y": y, "polarity": p, "shape": (4, 5), "bin_width": 1000, **changed}
        with pytest.raises(InputError, match=what):
            camera_frames(**arguments)
