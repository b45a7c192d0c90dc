"""Channels first, with every amount different, so that a wrong order or a lost factor is seen."""

import nengo
import numpy as np
import pytest

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.frontends import check_conversion, convert
from loihi_deploy.ir import samples_for

RNG = np.random.default_rng(0)
SHAPE = (3, 5, 4)  # channels, height, width
GAIN, BIAS, VOLTAGE = (RNG.uniform(0.5, 2, 60), RNG.uniform(-0.5, 0.5, 60), RNG.uniform(0, 1, 60))


@pytest.fixture(scope="module")
def network():
    kernel = RNG.normal(size=(2, 3, 2, 3))
    with nengo.Network(seed=1) as made:
        image = nengo.Node(np.zeros(2 * 5 * 4))
        layer = nengo.Ensemble(
            60,
            1,
            gain=GAIN,
            bias=BIAS,
            neuron_type=nengo.SpikingRectifiedLinear(amplitude=0.125, initial_state={"voltage": VOLTAGE}),
            label="layer",
        )
        transform = nengo.Convolution(
            3, (2, 5, 4), (2, 3), (1, 1), padding="same", channels_last=False, init=kernel
        )
        nengo.Connection(image, layer.neurons, transform=transform, synapse=None)
        nengo.Probe(layer.neurons[7:50:3], label="some")
    return made, kernel


def currents(kernel, x):
    """What a convolution of images with channels first gives, padded as TensorFlow does."""
    images = x.reshape(-1, 2, 5, 4)
    padded = np.pad(images, ((0, 0), (0, 0), (0, 1), (1, 1)))
    out = np.zeros((len(x), 3, 5, 4))
    for dy in range(2):
        for dx in range(3):
            part = padded[:, :, dy : dy + 5, dx : dx + 4]
            out += np.einsum("ncyx,cf->nfyx", part, kernel[dy, dx])
    return out.reshape(len(x), -1)


def stored(values):
    """Values in the order that the graph stores them in: channels last."""
    return np.moveaxis(values.reshape(*values.shape[:-1], *SHAPE), -3, -1).reshape(values.shape)


def test_gains_biases_and_voltages_follow_their_neurons(network):
    network, kernel = network
    graph = convert(network)
    (population,) = graph.populations
    np.testing.assert_array_equal(population.gain, stored(GAIN))
    np.testing.assert_array_equal(population.bias, stored(BIAS))
    np.testing.assert_array_equal(population.initial_voltage, stored(VOLTAGE))
    assert population.amplitude == 0.125
    x = RNG.normal(size=(3, 40))
    inputs = samples_for(graph, x).first_frames()
    activity = rate_activity(graph, inputs)
    rates = np.maximum(currents(kernel, x) * GAIN + BIAS, 0)
    np.testing.assert_allclose(activity["layer"], stored(rates), rtol=1e-9, atol=1e-9)
    (readout,) = graph.readouts
    np.testing.assert_allclose(activity[readout.name], 0.125 * rates[:, 7:50:3], rtol=1e-9, atol=1e-9)
    assert check_conversion(network, graph, x)


def test_amplitudes_of_both_neuron_types_count():
    with nengo.Network(seed=1) as network:
        values = nengo.Node(np.zeros(3))
        kind = nengo.RegularSpiking(nengo.RectifiedLinear(amplitude=0.25), amplitude=0.5)
        layer = nengo.Ensemble(3, 1, gain=np.arange(1, 4), bias=np.arange(3), neuron_type=kind)
        nengo.Connection(values, layer.neurons, synapse=None)
        nengo.Probe(layer.neurons)
    (population,) = convert(network).populations
    assert population.amplitude == 0.125
    np.testing.assert_array_equal(population.gain, [1, 2, 3])
    np.testing.assert_array_equal(population.bias, [0, 1, 2])


def test_constants_are_scaled_with_what_they_are_added_to():
    with nengo.Network(seed=1) as network:
        values, constant = nengo.Node(np.zeros(3)), nengo.Node([1.0, 2.0, 4.0])
        relay = nengo.Node(size_in=3)
        nengo.Connection(values, relay, synapse=None)
        nengo.Connection(constant, relay, synapse=None)
        layer = nengo.Ensemble(
            3, 1, gain=np.ones(3), bias=np.zeros(3), neuron_type=nengo.SpikingRectifiedLinear()
        )
        nengo.Connection(relay, layer.neurons, transform=0.5, synapse=None)
        nengo.Probe(layer.neurons)
    graph = convert(network)
    np.testing.assert_array_equal(graph.populations[0].bias, [0.5, 1.0, 2.0])
    assert check_conversion(network, graph, RNG.random((2, 3)))
