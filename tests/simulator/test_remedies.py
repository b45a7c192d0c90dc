"""What the simulator advises is followed, and the network runs."""

import time
from dataclasses import asdict

import nengo
import nengo_loihi
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import LoihiDeployError
from loihi_deploy.frontends import import_nengo_dl
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


def learning(on_chip):
    """A network that learns, on a chip that cannot."""
    net, _ = networks.learning()
    nengo_loihi.add_params(net)
    net.config[net.ensembles[0]].on_chip = on_chip
    data = asdict(load_board("nahuku32"))
    data["chip"]["core"]["max_stdp_profiles"] = 0
    run(net, board=Board.from_dict(data))


def by_position(*arguments, **named):
    """As `nengo_loihi.Simulator` takes what is behind `model`."""
    net, _ = networks.channel()
    with ld.Simulator(net, 0.001, 3, None, *arguments, progress_bar=False, **named) as sim:
        sim.run_steps(3)
        return sim.precompute


def trained():
    """A network with the parameters that NengoDL has for it."""
    nengo_dl = import_nengo_dl()
    net, _ = networks.channel()
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        sim.freeze_params(net)
    return net


def asked(name):
    net, _ = networks.channel()
    with ld.Simulator(net, progress_bar=False) as sim:
        getattr(sim, name)


def measured():
    net, _ = networks.channel()
    start = time.perf_counter()
    run(net)
    return time.perf_counter() - start


ADVICE = [
    follows(
        "Set on_chip = False for the ensemble that it learns from",
        lambda: learning(True),
        lambda: learning(False),
    ),
    follows(
        "Use one of these, and give what other simulators take behind model by name: precompute=True",
        lambda: by_position(True),
        lambda: by_position(precompute=True),
    ),
    follows(
        "Run it with data={node: values} and minibatch_size=n, and read sim.data[probe]",
        lambda: asked("predict"),
        lambda: presented(2, minibatch_size=2),
    ),
    follows(
        "Do that in nengo_dl.Simulator, call its freeze_params(network), and simulate the network",
        lambda: asked("load_params"),
        lambda: run(trained()),
    ),
    follows("Measure run() with time.perf_counter()", lambda: asked("timers"), measured),
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


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nengo-loihi
def test_other_attributes_are_missing_as_always():
    net, _ = networks.channel()
    with ld.Simulator(net, progress_bar=False) as sim:
        assert not hasattr(sim, "predict")
        with pytest.raises(AttributeError, match="no attribute 'predicted'"):
            sim.predicted()
