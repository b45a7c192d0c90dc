"""What is advised for Nengo networks is followed, and the network converts."""

import nengo
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import convert, import_nengo_dl
from tests.frontends.test_nengo_network import (
    SPIKING,
    network_of,
    neurons,
    random_weights,
    two_layers,
)
from tests.remedies import follows


def one_layer(source, **options):
    target = neurons(6, "target", **options)
    nengo.Connection(source, target)
    return target


def with_neurons(**options):
    return lambda: network_of(lambda source: one_layer(source, **options))


def joined(**options):
    return lambda: network_of(lambda source: two_layers(source, **options))


def through(*nodes, feedback=False, synapses=(0.01, None)):
    """Two layers of neurons with a node between them, or two that feed each other."""

    def build(source):
        first, last = one_layer(source), neurons(6, "last")
        node = nodes[0]()
        nengo.Connection(first, node, synapse=synapses[0])
        nengo.Connection(node, last, synapse=synapses[1])
        if feedback:
            other = nodes[1]()
            nengo.Connection(node, other, synapse=None)
            nengo.Connection(other, node, synapse=0.01 if isinstance(other, nengo.ensemble.Neurons) else None)
        return last

    return lambda: network_of(build)


def relay(output=None):
    return lambda: nengo.Node(output, size_in=6)


class Whole(nengo.solvers.LstsqL2):
    """A solver for the weights themselves."""

    compositional = False


def half_a_function(x):
    return x if x[0] > 0 else None


def decoded(function=None, solver=None, **options):
    """An ensemble, and another that gets what is decoded from it."""

    def build(source):
        first = nengo.Ensemble(6, 1, neuron_type=SPIKING, label="first", **options)
        last = nengo.Ensemble(5, 1, neuron_type=SPIKING, label="last")
        nengo.Connection(source[0], first)
        nengo.Connection(first, last, function=function, solver=solver or nengo.solvers.LstsqL2())
        return last.neurons

    return lambda: network_of(build)


def probed(what):
    def make():
        with nengo.Network(seed=1) as network:
            source = nengo.Node(np.zeros(6))
            target = one_layer(source)
            if what == "connection":
                nengo.Probe(nengo.Connection(source, neurons(6)))
            elif what == "values":
                nengo.Probe(target.ensemble)
            elif what == "voltage":
                nengo.Probe(target, "voltage")
            elif what == "neurons":
                nengo.Probe(target)
        return network

    return make


def drawn(seed):
    def make():
        with nengo.Network(seed=seed) as network:
            source = nengo.Node(np.zeros(6))
            target = nengo.Ensemble(6, 1, neuron_type=SPIKING).neurons
            nengo.Connection(source, target)
            nengo.Probe(target)
        return network

    return make


def images(transform):
    """A transform of 3x3 images of 1 channel, made when a seed is there."""

    def build(source):
        made = transform()
        first = neurons(made.size_in, "first")
        nengo.Connection(source, first, transform=random_weights(made.size_in, 6))
        last = neurons(made.size_out, "last")
        nengo.Connection(first, last, transform=made, synapse=0.01)
        return last

    return lambda: network_of(build)


def volume(channels_last):
    shape = (3, 3, 3, 2) if channels_last else (2, 3, 3, 3)
    return lambda: nengo.Convolution(2, shape, (2, 2, 2), channels_last=channels_last, strides=(1, 1, 1))


def tensor_node(make):
    """A network with an object of NengoDL's between neurons."""

    def build(source):
        nengo_dl = import_nengo_dl()
        first = one_layer(source)
        last = neurons(6, "last")
        node = make(nengo_dl)
        nengo.Connection(first, node, synapse=0.01)
        nengo.Connection(node, last, synapse=None)
        return last

    return lambda: network_of(build)


def tensorflow_code(nengo_dl):
    return nengo_dl.TensorNode(lambda x: 2 * x, shape_in=(6,), shape_out=(6,), pass_time=False)


def softmax_layer(nengo_dl):
    import tensorflow as tf

    return nengo_dl.TensorNode(tf.keras.layers.Softmax(), shape_in=(6,), shape_out=(6,), pass_time=False)


TRANSPOSED = getattr(nengo.transforms, "ConvolutionTranspose", None)
ADVICE = [
    follows("Probe the node or the neurons that hold its output", probed("nothing"), probed("neurons")),
    follows("Probe an ensemble, a node, or the output of neurons", probed("voltage"), probed("neurons")),
    follows("Probe an ensemble, a node, or the output of neurons", probed("connection"), probed("values")),
    follows(
        "Put neurons into the circle",
        through(relay(), relay(), feedback=True),
        through(relay(), lambda: neurons(6), feedback=True),
    ),
    follows(
        "Set synapse=None on one of the connections between two populations",
        through(relay(), synapses=(0.01, 0.01)),
        through(relay(), synapses=(0.01, None)),
    ),
    follows(
        "Give the node no output function, or compute it on the samples before they are passed in",
        through(relay(lambda t, x: x**2)),
        through(relay()),
    ),
    follows(
        "Use nengo.Node, nengo.Ensemble and nengo.Connection objects in its place",
        tensor_node(tensorflow_code),
        through(relay()),
    ),
    follows(
        "Let an ensemble of spiking neurons compute it; softmax only at the end",
        tensor_node(softmax_layer),
        through(lambda: neurons(6)),
    ),
    follows("Set noise=None", with_neurons(noise=nengo.processes.WhiteNoise()), with_neurons(noise=None)),
    follows(
        "Call sim.freeze_params(network) after training, or give the network a seed", drawn(None), drawn(1)
    ),
    follows(
        "Use nengo.SpikingRectifiedLinear or nengo.LIF, or their nengo_loihi counterparts",
        with_neurons(neuron_type=nengo.Izhikevich()),
        with_neurons(neuron_type=nengo.LIF()),
    ),
    follows(
        "Set min_voltage=0",
        with_neurons(neuron_type=nengo.LIF(min_voltage=-1)),
        with_neurons(neuron_type=nengo.LIF(min_voltage=0)),
    ),
    follows("Use nengo.Lowpass(tau)", joined(synapse=nengo.Alpha(0.01)), joined(synapse=nengo.Lowpass(0.01))),
    follows(
        "Use one for decoders: solver=nengo.solvers.LstsqL2()",
        decoded(solver=Whole(weights=True)),
        decoded(solver=nengo.solvers.LstsqL2()),
    ),
    follows(
        "Let it return a value for every point",
        decoded(function=half_a_function),
        decoded(function=lambda x: 2 * x),
    ),
    follows(
        "Give the ensemble other intercepts, or more neurons",
        decoded(intercepts=nengo.dists.Choice([0.5]), eval_points=np.zeros((5, 1))),
        decoded(intercepts=nengo.dists.Choice([-0.5]), eval_points=np.zeros((5, 1))),
    ),
    follows(
        "Give it other gains, intercepts, encoders or evaluation points, which Nengo can build",
        decoded(intercepts=nengo.dists.Choice([1.0])),
        decoded(intercepts=nengo.dists.Choice([0.0])),
    ),
    follows(
        "Use nengo.Convolution or a dense transform",
        images(lambda: TRANSPOSED(2, (3, 3, 1))),
        images(lambda: nengo.Convolution(2, (3, 3, 1))),
    ),
    follows(
        "Use channels_last=True, and at most three dimensions", images(volume(False)), images(volume(True))
    ),
]


@pytest.mark.parametrize(("network", "advised"), ADVICE)
def test_what_is_advised_converts(network, advised):
    with pytest.raises(ConversionError):
        convert(network())
    assert convert(advised()).populations


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nengo-loihi: rounding
@pytest.mark.follows("Train before deploying, or let loihi_deploy.Simulator run it, where PES learns on chip")
def test_a_network_that_learns_is_trained_before_or_learns_in_the_simulator():
    def learning(rule):
        with nengo.Network(seed=1) as network:
            source = nengo.Node([0.5])
            first, error = nengo.Ensemble(20, 1), nengo.Node(size_in=1)
            last = nengo.Ensemble(20, 1)
            nengo.Connection(source, first)
            learned = nengo.Connection(first, error, learning_rule_type=rule)
            nengo.Connection(first, last)
            if rule:
                nengo.Connection(error, learned.learning_rule)
            nengo.Probe(last)
            nengo.Probe(error)
        return network

    with pytest.raises(ConversionError):
        convert(learning(nengo.PES()))
    assert convert(learning(None)).populations
    with ld.Simulator(learning(nengo.PES()), progress_bar=False) as sim:
        sim.run_steps(5)
        assert sim.n_steps == 5


@pytest.mark.follows("Use a linear transform and put the non-linearity into neurons")
def test_functions_of_neurons():
    def squared(function):
        def build(source):
            first, last = one_layer(source), neurons(6, "last")
            nengo.Connection(source, last, function=function, synapse=None)
            nengo.Connection(first, last, synapse=0.01)
            return last

        return network_of(build)

    with pytest.raises(ConversionError):
        convert(squared(lambda x: x**2))
    assert convert(squared(None)).populations


def test_a_circle_through_nodes_and_neurons_is_recurrent():
    network = through(relay(), lambda: neurons(6, "other"), feedback=True)()
    pairs = {(p.pre, p.post): p.tau for p in convert(network).projections}
    assert pairs.pop(("last", "out")) == 0
    assert {tau for (pre, _), tau in pairs.items() if pre != "input"} >= {0.01}
    assert {("target", "last"), ("target", "other"), ("other", "other"), ("other", "last")} <= set(pairs)
