"""The same network, the same seed: what is probed equals what nengo-loihi's emulator gives, bit by bit."""

import nengo
import nengo_loihi
import numpy as np
import pytest
from nengo_loihi.builder import Model
from nengo_loihi.decode_neurons import NoisyDecodeNeurons

import loihi_deploy as ld
from tests.simulator import networks

# Of nengo-loihi 1.1 itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Lost . extra bits in weight rounding"),
    pytest.mark.filterwarnings("ignore:The binary mode of fromstring is deprecated"),
    pytest.mark.filterwarnings("ignore:NengoLoihi does not support initial values"),
    pytest.mark.filterwarnings("ignore:Received PES error"),
    pytest.mark.filterwarnings("ignore:Synaptic trace spikes lost"),
    pytest.mark.filterwarnings("ignore:Overflow in"),
]


def assert_equal(expected, given, probes):
    for probe in probes:
        assert expected.data[probe].dtype == given.data[probe].dtype
        assert np.any(expected.data[probe]), f"{probe} is silent and shows nothing"
        np.testing.assert_array_equal(expected.data[probe], given.data[probe])


@pytest.mark.parametrize("make", networks.ALL)
def test_equal_probe_data(make):
    net, probes = make()
    with nengo_loihi.Simulator(net, target="sim") as reference:
        reference.run(0.15)
        reference.run(0.05)
    with ld.Simulator(net, progress_bar=False) as sim:
        sim.run(0.15)
        sim.run(0.05)
        assert_equal(reference, sim, probes)
        sim.reset()
        assert sim.n_steps == 0
        sim.run(0.15)
        sim.run(0.05)
        assert_equal(reference, sim, probes)
    assert sim.n_steps == 200
    assert sim.time == pytest.approx(0.2)


def test_equal_noise():
    def noisy_model():
        model = Model()
        model.decode_neurons = NoisyDecodeNeurons(5, noise_exp=-1.0)
        return model

    net, probes = networks.channel()
    with nengo_loihi.Simulator(net, target="sim", model=noisy_model()) as reference:
        reference.run(0.3)
    with ld.Simulator(net, progress_bar=False, model=noisy_model()) as sim:
        sim.run(0.3)
    with ld.Simulator(net, progress_bar=False) as quiet:
        quiet.run(0.3)
    assert_equal(reference, sim, probes)
    assert not np.array_equal(sim.data[probes[0]], quiet.data[probes[0]])


def test_equal_noise_and_learning():
    def noisy_model():
        model = Model()
        model.decode_neurons = NoisyDecodeNeurons(5, noise_exp=-1.0)
        model.pes_error_scale = 50.0
        return model

    net, probes = networks.learning()
    with net:
        other = nengo.Ensemble(40, 1)
        nengo.Connection(net.nodes[0], other)
        another = nengo.Ensemble(40, 1)
        nengo.Connection(other, another)
        probes.append(nengo.Probe(another))
    with nengo_loihi.Simulator(net, target="sim", model=noisy_model()) as reference:
        reference.run(0.2)
    with ld.Simulator(net, progress_bar=False, model=noisy_model()) as sim:
        sim.run(0.2)
    assert_equal(reference, sim, probes)


@pytest.mark.parametrize("make", [networks.feedback, networks.learning, networks.convolution])
def test_nengo_loihis_emulator_agrees(make):
    net, probes = make()
    data = []
    for backend in ("emulator", "nengo_loihi"):
        with ld.Simulator(net, progress_bar=False, backend=backend) as sim:
            sim.run(0.1)
            sim.reset()
            sim.run(0.1)
            data.append(sim)
    assert_equal(data[1], data[0], probes)


def test_equal_input_from_an_event_camera(tmp_path):
    rng = np.random.RandomState(0)
    n = 4000
    events = nengo_loihi.dvs.DVSEvents()
    events.init_events(n_events=n)
    events.events["t"] = np.sort(rng.randint(0, 100_000, n))
    events.events["x"], events.events["y"] = rng.randint(0, 240, n), rng.randint(0, 180, n)
    events.events["p"] = rng.randint(0, 2, n)
    path = str(tmp_path / "recording.events")
    events.write_file(path)

    process = nengo_loihi.dvs.DVSFileChipProcess(path, pool=(60, 60))
    with nengo.Network(seed=1) as net:
        camera = nengo.Node(process)
        ensemble = nengo.Ensemble(process.size, 1, neuron_type=nengo.SpikingRectifiedLinear())
        nengo.Connection(camera, ensemble.neurons, transform=1.0 / process.size)
        probes = [nengo.Probe(ensemble.neurons), nengo.Probe(ensemble.neurons, "voltage")]
    with nengo_loihi.Simulator(net, target="sim") as reference:
        reference.run(0.12)
    with ld.Simulator(net, progress_bar=False) as sim:
        sim.run(0.12)
        assert_equal(reference, sim, probes)
        sim.reset()
        sim.run(0.12)
    assert_equal(reference, sim, probes)
