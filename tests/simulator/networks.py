"""Networks that between them use what nengo-loihi can do; each gives its probes."""

import nengo
import numpy as np
from nengo.dists import Choice
from nengo_loihi import BlockShape, add_params


def _sine(t):
    return np.sin(12 * t)


def _kick(t):
    return [1, 0] if t < 0.05 else [0, 0]


def _half(t, x):
    return 0.5 * x


def _square(x):
    return [x, x**2]


def _zero(x):
    return [0, 0]


def channel():
    with nengo.Network(seed=1) as net:
        stimulus = nengo.Node(_sine)
        a, b = nengo.Ensemble(60, 1), nengo.Ensemble(50, 2, radius=1.5)
        nengo.Connection(stimulus, a)
        nengo.Connection(a, b, function=_square)
        probes = [
            nengo.Probe(b, synapse=0.03),
            nengo.Probe(b[1]),
            nengo.Probe(stimulus),
            nengo.Probe(a.neurons),
        ]
    return net, probes


def recurrent():
    with nengo.Network(seed=2) as net:
        kick = nengo.Node(_kick)
        oscillator = nengo.Ensemble(150, 2)
        nengo.Connection(kick, oscillator)
        nengo.Connection(oscillator, oscillator, synapse=0.1, transform=[[1, 1], [-1, 1]])
        probes = [
            nengo.Probe(oscillator, synapse=nengo.Alpha(0.01)),
            nengo.Probe(oscillator.neurons[3:90:2], "voltage"),
            nengo.Probe(oscillator.neurons, "input"),
        ]
    return net, probes


def neurons_to_neurons():
    rng = np.random.RandomState(0)
    with nengo.Network(seed=3) as net:
        stimulus = nengo.Node([0.7])
        a = nengo.Ensemble(40, 1)
        b = nengo.Ensemble(50, 1, neuron_type=nengo.SpikingRectifiedLinear())
        nengo.Connection(stimulus, a)
        nengo.Connection(a.neurons[::2], b.neurons, transform=2e-3 * rng.randn(50, 20))
        nengo.Connection(b.neurons, b.neurons, transform=nengo.Sparse((50, 50), init=_sparse(rng)))
        probes = [nengo.Probe(b.neurons, synapse=0.01), nengo.Probe(b.neurons, "voltage")]
    return net, probes


def _sparse(rng):
    from scipy.sparse import random

    return random(50, 50, 0.1, random_state=rng, data_rvs=lambda n: 1e-3 * rng.randn(n)).tocoo()


def feedback():
    """The host stands in a loop with the chip, and ensembles run on it."""
    with nengo.Network(seed=4) as net:
        add_params(net)
        stimulus, out = nengo.Node(_sine), nengo.Node(_half, size_in=2)
        on_host, on_chip = nengo.Ensemble(30, 1), nengo.Ensemble(70, 2)
        net.config[on_host].on_chip = False
        nengo.Connection(stimulus, on_host)
        nengo.Connection(on_host, on_chip, transform=[[1], [0]])
        nengo.Connection(on_host.neurons, on_chip.neurons, transform=np.full((70, 30), 1e-4), synapse=0.005)
        nengo.Connection(on_chip, out)
        nengo.Connection(out[1], on_host)
        probes = [nengo.Probe(out), nengo.Probe(on_chip), nengo.Probe(on_host), nengo.Probe(on_chip.neurons)]
    return net, probes


def learning():
    with nengo.Network(seed=5) as net:
        stimulus, error = nengo.Node(_sine), nengo.Node(size_in=2)
        pre, post = nengo.Ensemble(60, 1), nengo.Node(size_in=2)
        nengo.Connection(stimulus, pre)
        learned = nengo.Connection(pre, post, function=_zero, learning_rule_type=nengo.PES(2e-3))
        nengo.Connection(post, error)
        nengo.Connection(stimulus, error, transform=[[-1], [0.5]])
        nengo.Connection(error, learned.learning_rule)
        probes = [nengo.Probe(post, synapse=0.01), nengo.Probe(error), nengo.Probe(pre.neurons)]
    return net, probes


def convolution():
    images = np.random.RandomState(0).rand(3, 12 * 12)
    neurons = {"neuron_type": nengo.SpikingRectifiedLinear(), "gain": Choice([1]), "bias": Choice([0])}
    with nengo.Network(seed=6) as net:
        add_params(net)
        shown = nengo.Node(nengo.processes.PresentInput(images, 0.03))
        encode = nengo.Convolution(1, (12, 12, 1), kernel_size=(1, 1), init=np.full((1, 1, 1, 1), 200.0))
        first = nengo.Convolution(5, (12, 12, 1), strides=(2, 2), init=nengo.dists.Uniform(-0.5, 1))
        second = nengo.Convolution(8, first.output_shape, padding="same", init=nengo.dists.Uniform(-0.5, 1))
        layers = [nengo.Ensemble(c.output_shape.size, 1, **neurons) for c in (encode, first, second)]
        net.config[layers[0]].on_chip = False
        net.config[layers[1]].block_shape = BlockShape((3, 5, 5), first)
        nengo.Connection(shown, layers[0].neurons, transform=encode, synapse=None)
        pairs = zip(layers, layers[1:], (first, second), strict=False)
        connections = [nengo.Connection(a.neurons, b.neurons, transform=c) for a, b, c in pairs]
        net.config[connections[1]].pop_type = 16
        out = nengo.Node(size_in=3)
        nengo.Connection(
            layers[2].neurons, out, transform=np.random.RandomState(1).randn(3, layers[2].n_neurons)
        )
        probes = [
            nengo.Probe(out, synapse=0.01),
            nengo.Probe(layers[2].neurons),
            nengo.Probe(layers[1].neurons, "voltage"),
        ]
    return net, probes


def many_cores():
    """Ensembles of more neurons than a core has, and a passthrough node between them."""
    with nengo.Network(seed=7) as net:
        stimulus, between = nengo.Node([0.5, 0.2]), nengo.Node(size_in=2)
        a, b = nengo.Ensemble(1100, 2), nengo.Ensemble(1300, 2)
        nengo.Connection(stimulus, a)
        nengo.Connection(a, between, function=np.square, synapse=None)
        nengo.Connection(between, b)
        probes = [nengo.Probe(b, synapse=0.01), nengo.Probe(b.neurons[5:1200]), nengo.Probe(a.neurons)]
    return net, probes


def min_voltage():
    with nengo.Network(seed=8) as net:
        stimulus = nengo.Node(_sine)
        ensemble = nengo.Ensemble(40, 1, neuron_type=nengo.LIF(min_voltage=-np.inf, amplitude=0.5))
        nengo.Connection(stimulus, ensemble)
        probes = [nengo.Probe(ensemble), nengo.Probe(ensemble.neurons, "voltage")]
    return net, probes


ALL = (
    channel,
    recurrent,
    neurons_to_neurons,
    feedback,
    learning,
    convolution,
    many_cores,
    min_voltage,
)
