"""One contract for every encoder: it runs, the same every time and on every engine, and keeps the answers."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.encoders import ENCODERS
from loihi_deploy.engines.host import plain as host_reference
from loihi_deploy.engines.host.biases import biases
from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import BackendError, InputError, PartitionError
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Samples,
    samples_for,
)
from loihi_deploy.report import encoder_values

STEPS = 60
N = 100
# How much accuracy may be lost on the task below, where a class at random is right in a third of the cases.
DROP = {"auto": 0.03, "first_layer": 0.03, "on_off": 0.03, "bias": 0.03, "poisson": 0.04, "ttfs": 0.12}
VALUES = [name for name in ENCODERS if name != "events"]  # which takes spikes: see test_events.py
everywhere = pytest.mark.parametrize("encoder", VALUES)


def network(signed=False, seed=0):
    """Input 6x6x1 -> 1x1 convolution -> 3x3 convolution -> dense -> three classes."""
    rng = np.random.default_rng(seed)
    to_encoder = Conv2D(np.array([[[[1.0, -1.0 if signed else 0.6]]]]), (1, 1), (0, 0), (6, 6, 1), (6, 6, 2))
    to_conv = Conv2D(rng.normal(size=(3, 3, 2, 8)), (1, 1), (0, 0), (6, 6, 2), (4, 4, 8))
    return Graph(
        (Input("image", (6, 6, 1)),),
        (
            Population("encoder", (6, 6, 2), NeuronModel(), 1.0, 0.01),
            Population("conv", (4, 4, 8), NeuronModel(), 1.0, 0.05),
            Population("dense", (20,), NeuronModel(), 1.0, rng.uniform(0, 0.1, 20)),
        ),
        (
            Projection("image", "encoder", to_encoder),
            Projection("encoder", "conv", to_conv, 0.003),
            Projection("conv", "dense", Dense(rng.normal(size=(20, 128)) / 5), 0.003),
            Projection("dense", "classes", Dense(rng.normal(size=(3, 20))), 0.003),
        ),
        (Readout("classes", (3,), np.zeros(3)),),
    )


def samples(signed=False, n=N, seed=1):
    return np.random.default_rng(seed).uniform(-1 if signed else 0, 1, (n, 6, 6, 1))


def task(signed, n, seed):
    """The left half, the upper half or a triangle, seen through noise, and which of them it is."""
    row, column = np.mgrid[:6, :6]
    patterns = np.stack([column < 3, row < 3, row + column > 5])[..., None] * 1.0
    y = np.random.default_rng(seed).integers(0, 3, n)
    return 0.5 * (2 * patterns[y] - 1 if signed else patterns[y]) + 0.5 * samples(signed, n, seed), y


def trained(graph, x, y):
    """The graph with a readout fitted to labels by least squares."""
    rates = rate_activity(graph, {"image": x.reshape(len(x), -1)})["dense"]
    weights = np.linalg.lstsq(np.c_[rates, np.ones(len(x))], np.eye(3)[y], rcond=None)[0]
    *others, _ = graph.projections
    return replace(
        graph,
        projections=(*others, Projection("dense", "classes", Dense(weights[:-1].T), 0.003)),
        readouts=(Readout("classes", (3,), weights[-1]),),
    )


def deployed(encoder, signed=False, **options):
    options = ld.DeployOptions(encoder=encoder, **options)
    return ld.deploy(network(signed), "loihi", samples(signed), options)


@pytest.fixture(scope="module")
def deployments():
    return {encoder: deployed(encoder) for encoder in VALUES}


def run(deployment, x, backend="emulator", **arguments):
    names = [p.name for p in (*deployment.program.encoder.populations, *deployment.program.populations)]
    options = RunOptions(STEPS, backend, record=names, **arguments)
    return backends.run(deployment.program, samples_for(deployment.graph, x), options, deployment.mapping)


def assert_same(ours, expected):
    for name, variables in expected.recorded.items():
        assert (ours.recorded[name]["spikes"] == variables["spikes"]).all(), name
    assert ours.counters == expected.counters
    assert (ours.outputs == expected.outputs).all()


@everywhere
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("neuron", ["if", "lif"])
def test_accuracy_survives(encoder, signed, neuron):
    x, y = task(signed, 200, seed=1)
    graph = trained(network(signed), x, y)
    options = ld.DeployOptions(encoder=encoder, neuron=neuron, equalize=False)  # the encoder alone
    deployment = ld.deploy(graph, "loihi", x[:100], options)
    x, y = task(signed, 200, seed=2)
    rate_accuracy = deployment.rate_accuracy(x, y)
    assert rate_accuracy > 0.9
    assert deployment.evaluate(x, y, steps=100).accuracy >= rate_accuracy - DROP[encoder]


@everywhere
@pytest.mark.parametrize("backend", ["numpy", "nengo_loihi"])
def test_every_engine_gives_the_same(deployments, encoder, backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    x = samples(n=3, seed=3)
    expected = run(deployments[encoder], x)
    assert expected.counters.populations["dense"].spikes > 50
    assert_same(run(deployments[encoder], x, backend), expected)


@everywhere
def test_threads_and_chunks_change_nothing(deployments, encoder):
    x = samples(n=7, seed=3)
    expected = run(deployments[encoder], x, threads=1, chunk_size=7)
    assert_same(run(deployments[encoder], x, threads=3, chunk_size=2), expected)


@everywhere
def test_saved_and_loaded(deployments, encoder, tmp_path):
    deployments[encoder].save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployments[encoder]
    x = samples(n=2)
    assert_same(run(loaded, x), run(deployments[encoder], x))


@everywhere
def test_compiled_encoder_equals_the_plain_one(deployments, encoder):
    program = deployments[encoder].program
    x = samples(n=4, seed=5)
    inputs = samples_for(program.encoder, x).arrays
    spikes, lost, _ = host_reference.encode(program.encoder, inputs, STEPS)
    result = run(deployments[encoder], x)
    for name, expected in spikes.items():
        assert (result.recorded[name]["spikes"] == expected).all()
        assert result.counters.populations[name].lost_spikes == lost[name] == 0


@pytest.mark.parametrize("encoder", [name for name in VALUES if name != "ttfs"])
@pytest.mark.parametrize("backend", ["emulator", "numpy", "nengo_loihi"])
def test_frames(deployments, encoder, backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    deployment = deployments[encoder]
    x = samples(n=6, seed=4).reshape(2, 3, 6, 6, 1)
    expected = run(deployment, x, "numpy")
    assert_same(run(deployment, x, backend), expected)
    still = run(deployment, x[:, :1].repeat(3, axis=1), "numpy")
    assert (still.outputs != expected.outputs).any()


@pytest.mark.parametrize("encoder", [name for name in VALUES if name != "ttfs"])
def test_a_stream_can_be_cut_anywhere(deployments, encoder):
    x = samples(n=5, seed=4)
    expected = run(deployments[encoder], x, stream=True, chunk_size=5)
    assert_same(run(deployments[encoder], x, stream=True, chunk_size=2), expected)
    assert_same(run(deployments[encoder], x, "numpy", stream=True, chunk_size=2), expected)


def test_a_single_spike_encodes_no_frames_and_no_stream(deployments):
    with pytest.raises(InputError, match="another encoder"):
        run(deployments["ttfs"], samples(n=6).reshape(2, 3, 6, 6, 1))
    with pytest.raises(InputError, match="stream"):
        run(deployments["ttfs"], samples(n=6), stream=True)


def test_random_spikes_depend_on_the_seed(deployments):
    x = samples(n=2)
    one, two = (run(deployments["poisson"], x, seed=seed).recorded["encoder"]["spikes"] for seed in (0, 1))
    assert (one != two).any()


def test_each_value_sends_at_most_one_spike(deployments):
    spikes = run(deployments["ttfs"], samples(n=3)).recorded["encoder"]["spikes"]
    assert spikes.sum(axis=1).max() == 1


def test_bias_sends_no_spikes(deployments):
    program = deployments["bias"].program
    assert program.sources == ()
    assert program.encoder.populations == ()
    assert {"image_bias", "encoder"} <= set(program.nodes)


def test_biases_are_values_in_the_chips_ranges(deployments):
    program = deployments["bias"].program
    (bias_input,) = program.bias_inputs
    x = np.linspace(0, 3, 36).reshape(1, 1, 36)
    found, clipped = biases(program, {"image": x})
    exact = x * bias_input.scale
    limit = 4095 << 7
    inside = exact <= limit
    assert clipped == {"image_bias": int((~inside).sum())}
    assert clipped["image_bias"] > 0
    assert (found["image_bias"][~inside] == limit).all()
    np.testing.assert_allclose(found["image_bias"][inside], exact[inside], rtol=1 / 4000, atol=1)
    counters = run(deployments["bias"], x.reshape(1, 6, 6, 1)).counters
    assert counters.populations["image_bias"].clipped_biases == clipped["image_bias"]


def test_off_neurons_only_where_they_are_needed(deployments):
    assert deployments["bias"].program.nodes["image_bias"].size == 36
    assert deployed("bias", signed=True).program.nodes["image_bias"].size == 72
    with pytest.raises(InputError, match="below 0"):
        run(deployments["bias"], samples(signed=True, n=2))


def test_bias_rates_are_the_values(deployments):
    program = deployments["bias"].program
    x = np.linspace(0, 1, 36).reshape(1, 1, 36)
    result = backends.run(
        program, Samples({"image": x}, static=True), RunOptions(1000, record=["image_bias"])
    )
    rates = result.recorded["image_bias"]["spikes"].mean(axis=1)[0] * 1000
    calibrated = 200 / np.abs(samples()).max()
    expected = 1000 / np.ceil(1000 / np.maximum(x[0, 0] * calibrated, 1e-3) + 1e-3)  # after whole steps
    assert np.abs(rates - expected).max() <= 2


@pytest.mark.parametrize("encoder", ["auto", "poisson"])
def test_cost(deployments, encoder):
    deployment = deployments[encoder]
    x = samples(n=5)
    counters = run(deployment, x).counters
    values = encoder_values(deployment.program, counters)
    # 36 pixels times two filters, of which one has weight 1; a gain and a bias for each of 72 neurons
    assert values["multiplies_per_frame"] == 36 + 72
    assert values["additions_per_frame"] == 72 + 72
    assert values["additions_per_step"] == 72
    assert values["random_numbers_per_step"] == (72 if encoder == "poisson" else 0)
    assert values["spikes_per_sample"] == counters.populations["encoder"].spikes / 5 > 0
    assert "spikes_per_sample" not in encoder_values(deployment.program)


def test_cost_of_plus_and_minus_one(deployments):
    values = encoder_values(deployments["on_off"].program)
    assert (values["multiplies_per_frame"], values["additions_per_frame"]) == (
        0,
        72,
    )  # the gain is in the threshold
    values = encoder_values(deployments["bias"].program)
    assert values["neurons"] == ["bias"]
    assert (values["multiplies_per_frame"], values["additions_per_step"]) == (36, 0)


@everywhere
def test_report(deployments, encoder, tmp_path):
    import json

    for ending in ("json", "txt", "html"):
        deployments[encoder].report(tmp_path / f"report.{ending}")
    found = json.loads((tmp_path / "report.json").read_text())["encoder"]
    assert found == encoder_values(deployments[encoder].program)
    assert "Encoder (" in (tmp_path / "report.txt").read_text()


def test_single_spikes_cannot_mix_with_others():
    graph = network()
    rng = np.random.default_rng(0)
    skip = Projection("encoder", "dense", Dense(rng.normal(size=(20, 72))), 0.003)
    read = Projection("encoder", "classes", Dense(rng.normal(size=(3, 72))), 0.003)
    with pytest.raises(PartitionError) as caught:
        ld.partition(replace(graph, projections=(*graph.projections, skip, read)), "ttfs")
    assert {problem.where for problem in caught.value.problems} == {"dense", "classes"}


def test_hardware_biases_do_not_change(deployments, monkeypatch):
    nengo_loihi = pytest.importorskip("nengo_loihi")
    monkeypatch.setattr(nengo_loihi.hardware.nxsdk_shim, "HAS_NXSDK", True)
    with pytest.raises(BackendError, match="one frame at a time"):
        run(deployments["bias"], samples(n=6).reshape(2, 3, 6, 6, 1), "hardware")
