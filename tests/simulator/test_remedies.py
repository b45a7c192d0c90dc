"""What the simulator advises is followed, and the network runs."""

import nengo
import nengo_loihi
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import LoihiDeployError
from tests.remedies import follows
from tests.simulator import networks
from tests.simulator.test_converted import make


def run(net, steps=3, data=None, **options):
    with ld.Simulator(net, progress_bar=False, **options) as sim:
        sim.run_steps(steps, data=data)
        return sim.n_steps


def mixed(second, on_chip=True):
    """Two synapses into the same neurons."""
    with nengo.Network(seed=1) as net:
        nengo_loihi.add_params(net)
        a, b = nengo.Ensemble(10, 1), nengo.Ensemble(10, 1, label="target")
        nengo.Connection(a.neurons, b.neurons, transform=1e-3, synapse=0.005)
        nengo.Connection(b.neurons, b.neurons, transform=1e-3, synapse=second)
        if not on_chip:
            net.config[b].on_chip = False
    return net


def large(n):
    with nengo.Network(seed=1) as net:
        nengo_loihi.add_params(net)
        ensemble = nengo.Ensemble(n, 1)
        net.config[ensemble].block_shape = nengo_loihi.BlockShape((1,), (n,))
    return net


def presented(samples, **options):
    net, _ = networks.channel()
    return run(net, 5, {net.nodes[0]: np.zeros((samples, 5, 1))}, **options)


def converter():
    """Of a layer that NengoDL leaves to TensorFlow."""
    return make(lambda layers: layers.Cropping2D(1))[1]


def probed(layer):
    """A converter with one probe more."""
    _, made, image, _ = make(lambda layers: layers.AveragePooling2D(2))
    ensembles = [ensemble for ensemble in made.net.all_ensembles if ensemble.label.startswith("conv2d")]
    with made.net:
        nengo.Probe(image if layer is None else ensembles[0].neurons)
    return made


ADVICE = [
    follows(
        "Give all of them the same synapse, or the ensemble on_chip = False",
        lambda: run(mixed(0.1)),
        lambda: run(mixed(0.005)),
        id="the same synapse",
    ),
    follows(
        "Give all of them the same synapse, or the ensemble on_chip = False",
        lambda: run(mixed(0.1)),
        lambda: run(mixed(0.1, on_chip=False)),
        id="on the host",
    ),
    follows(
        "Use a larger board, or fewer neurons or connections",
        lambda: run(large(300), board="kapoho_bay"),
        lambda: run(large(300), board="nahuku32"),
        id="a larger board",
    ),
    follows(
        "Use a larger board, or fewer neurons or connections",
        lambda: run(large(300), board="kapoho_bay"),
        lambda: run(large(200), board="kapoho_bay"),
        id="fewer neurons",
    ),
    follows(
        "Make Simulator(..., minibatch_size=n)", lambda: presented(2), lambda: presented(2, minibatch_size=2)
    ),
    follows(
        "Leave out minibatch_size, or the connections from the chip back to its inputs",
        lambda: run(networks.feedback()[0], minibatch_size=2),
        lambda: run(networks.feedback()[0]),
        id="feedback, sample by sample",
    ),
    follows(
        "Leave out minibatch_size, or the connections from the chip back to its inputs",
        lambda: run(networks.feedback()[0], minibatch_size=2),
        lambda: run(networks.channel()[0], minibatch_size=2),
        id="no feedback, side by side",
    ),
    follows(
        "Give the Converter itself to the simulator, or write the layer with Nengo's own objects",
        lambda: run(converter().net),
        lambda: run(converter()),
    ),
    follows(
        "Probe the output of one of these layers", lambda: run(probed(None)), lambda: run(probed("conv2d"))
    ),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nengo-loihi and of what goes to the host
@pytest.mark.parametrize(("broken", "advised"), ADVICE)
def test_what_is_advised_runs(broken, advised):
    with pytest.raises(LoihiDeployError):
        broken()
    advised()
