"""Values encoded into ensembles and decoded from them: NEF networks through `deploy`."""

import subprocess
import sys

import nengo
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, convert, sets_firing_rates
from loihi_deploy.ir import NeuronModel

STEPS = 600
TIMES = np.arange(STEPS) * 0.001
AS_STEPS = ld.DeployOptions(steps_per_frame=1, readout="each", flush=0)
"""A frame for each step, and the probe's filter as the only reading."""
QUIET = nengo.LIF(initial_state={"voltage": nengo.dists.Choice([0])})
"""Neurons that start as the chip's do."""


def settings(network):
    network.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(100, 120)
    network.config[nengo.Ensemble].intercepts = nengo.dists.Uniform(-1, 0.5)
    network.config[nengo.Ensemble].neuron_type = QUIET
    return network


def integrator():
    with settings(nengo.Network(seed=1)) as network:
        speed = nengo.Node([0.0], label="speed")
        place = nengo.Ensemble(200, 1, label="place")
        nengo.Connection(speed, place, transform=0.1, synapse=0.1)
        nengo.Connection(place, place, synapse=0.1)
        nengo.Probe(place, synapse=0.03, label="out")
    return network


def oscillator():
    turn = 2 * np.pi * 2
    with settings(nengo.Network(seed=1)) as network:
        kick = nengo.Node([0.0, 0.0], label="kick")
        state = nengo.Ensemble(300, 2, label="state")
        nengo.Connection(kick, state, synapse=0.1)
        nengo.Connection(state, state, transform=[[1, 0.1 * turn], [-0.1 * turn, 1]], synapse=0.1)
        nengo.Probe(state, synapse=0.03, label="out")
    return network


def product():
    """An `EnsembleArray` of two, and the product of what they hold."""
    with settings(nengo.Network(seed=1)) as network:
        values = nengo.Node([0.0, 0.0], label="values")
        array = nengo.networks.EnsembleArray(60, 2, label="array")
        both = nengo.Ensemble(200, 2, radius=1.5, label="both")
        times = nengo.Ensemble(60, 1, label="times")
        nengo.Connection(values, array.input, synapse=None)
        nengo.Connection(array.output, both, synapse=0.005)
        nengo.Connection(both, times, function=lambda x: x[0] * x[1], synapse=0.005)
        nengo.Connection(array.ensembles[0], times, function=np.square, transform=-0.5, synapse=0.005)
        nengo.Probe(times, synapse=0.03, label="out")
    return network


SIGNALS = {
    integrator: np.where(TIMES < 0.2, 3.0, np.where(TIMES < 0.4, 0.0, -4.0))[:, None],
    oscillator: np.where(TIMES[:, None] < 0.1, [0.9, 0.0], 0.0),
    product: np.stack([np.sin(10 * TIMES), np.cos(7 * TIMES)], axis=1),
}


def error(found, wanted):
    return float(np.sqrt(np.mean((found - wanted)[50:] ** 2)))


def probed(network, signal, simulator):
    """What the probe of `network` holds where its node gives `signal`."""
    (node,) = (n for n in network.nodes if n.size_in == 0)
    node.output = lambda t: signal[min(round(t / 0.001), STEPS) - 1]
    with simulator(network, progress_bar=False) as sim:
        sim.run_steps(STEPS)
        return sim.data[network.all_probes[0]]


def exact(network):
    """The same network with the functions themselves in place of neurons."""
    for ensemble in network.all_ensembles:
        ensemble.neuron_type = nengo.Direct()
    return network


@pytest.mark.parametrize(("make", "most"), [(integrator, 0.06), (oscillator, 0.15), (product, 0.08)])
def test_a_deployment_computes_the_functions(make, most):
    signal = SIGNALS[make]
    found = ld.deploy(make(), options=AS_STEPS).run(signal[None]).by_frame["out"][0]
    ideal = probed(exact(make()), signal, nengo.Simulator)
    assert error(found, ideal) < most < 0.5 * error(ideal, 0 * ideal)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nengo-loihi: rounding
def test_a_deployment_follows_the_simulator():
    signal = SIGNALS[integrator]
    found = ld.deploy(integrator(), options=AS_STEPS).run(signal[None]).by_frame["out"][0]
    ideal = probed(exact(integrator()), signal, nengo.Simulator)
    reference = probed(integrator(), signal, ld.Simulator)
    assert error(found, reference) < 0.1
    assert error(found, ideal) < 1.5 * error(reference, ideal)


def test_it_is_saved_and_runs_without_nengo(tmp_path):
    deployment = ld.deploy(integrator(), options=AS_STEPS)
    path = tmp_path / "integrator.loihi"
    deployment.save(path)
    code = (
        "import sys, numpy as np, loihi_deploy as ld;"
        f"d = ld.load({str(path)!r}); x = np.full((1, 20, 1), 0.5);"
        "print(d.predict(x)[0, -1, 0], 'nengo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value, nengo_was_there = done.stdout.split()
    assert float(value) == deployment.predict(np.full((1, 20, 1), 0.5))[0, -1, 0]
    assert nengo_was_there == "False"


def test_the_conversion_is_compared_with_nengo_and_errors_are_found():
    with settings(nengo.Network(seed=1)) as network:
        values = nengo.Node([0.0, 0.0], label="values")
        first = nengo.Ensemble(40, 2, radius=1.5, label="first")
        last = nengo.Ensemble(30, 1, label="last")
        nengo.Connection(values, first)
        nengo.Connection(first[1], last, function=np.square, transform=0.5)
        nengo.Connection(values[0], last.neurons, transform=0.1 * np.ones((30, 1)))
        nengo.Probe(last)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    graph = convert(network)
    assert check_conversion(network, graph, x)
    network.all_connections[1].transform = 0.4
    with pytest.raises(ConversionError, match="activities differ"):
        check_conversion(network, graph, x)


def test_rates_are_those_of_the_chip_and_are_kept():
    graph = convert(integrator())
    assert sets_firing_rates(integrator())
    (place,) = graph.populations
    assert place.neuron == NeuronModel("lif", 0.02, 0.002, discretized=True, step=0.001)
    assert graph.inputs[0].scale == pytest.approx(10)  # radius / transform
    # a neuron spikes at the end of a step and is reset: on the chip's curve between its steps
    currents = np.linspace(1.2, 8, 50)
    k = np.ceil(-np.log1p(-1 / currents) / -np.log(np.exp(-0.001 / 0.02)))  # steps to the threshold
    stairs = 1000 / (2 + k)
    assert np.abs(place.neuron.rates(currents) / stairs - 1).mean() < 0.06
    assert abs((place.neuron.rates(currents) / stairs - 1).mean()) < 0.02


def test_networks_without_a_seed_are_drawn_alike_every_time():
    def build():
        with nengo.Network() as network:
            values = nengo.Node([0.0])
            ensemble = nengo.Ensemble(20, 1)
            nengo.Connection(values, ensemble)
            nengo.Probe(ensemble)
        return network

    assert convert(build()) == convert(build())
