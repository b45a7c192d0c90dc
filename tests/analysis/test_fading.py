"""Whether what a recurrent population remembers fades."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.fading import spectral_radius
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

KEPT = np.exp(-1 / 10)  # of a synapse of 10 ms in a step of 1 ms


def radius(weights, bias, amplitude=1.0):
    """Of neurons whose rates are their currents above 0, in Hz."""
    n = len(weights)
    graph = Graph(
        (Input("value", (n,)),),
        (Population("memory", (n,), NeuronModel(), amplitude, np.asarray(bias, float)),),
        (
            Projection("value", "memory", Dense(np.eye(n)), 0.01),
            Projection("memory", "memory", Dense(np.asarray(weights, float)), 0.01),
            Projection("memory", "state", Dense(np.eye(n)), 0.01),
        ),
        (Readout("state", (n,), np.zeros(n)),),
    )
    options = ld.DeployOptions(encoder="on_off", normalization="none", bias_correction_steps=0)
    deployment = ld.deploy(graph, "loihi", options=options)
    return spectral_radius(deployment.program, deployment.graph.populations[0])


@pytest.mark.parametrize(
    ("weights", "gain"),
    [
        ([[0.5, 0], [0, 0.25]], 0.5),
        ([[1.5, 0], [0, 0.25]], 1.5),
        ([[0, 1], [1, 0]], 1.0),
        ([[0, 0.8], [-0.8, 0]], 0.8j),
        ([[-25, 0], [0, 1]], -25),
    ],
)
def test_it_is_that_of_the_synapse_and_the_weights(weights, gain):
    assert radius(weights, [20.0, 20.0]) == pytest.approx(abs(KEPT + (1 - KEPT) * gain), rel=5e-3)
    halved = np.asarray(weights, float) / 2
    assert radius(halved, [20.0, 20.0], 2.0) == pytest.approx(radius(weights, [20.0, 20.0]), rel=5e-3)


def test_neurons_that_say_nothing_at_rest_keep_nothing_going():
    weights = [[1.5, 0], [0, 0.5]]
    assert radius(weights, [-20.0, -20.0]) == pytest.approx(KEPT, rel=5e-3)
    assert radius(weights, [-20.0, 20.0]) == pytest.approx(KEPT + 0.5 * (1 - KEPT), rel=5e-3)


def test_at_its_threshold_a_neuron_counts_half():
    """Where nothing drives it: of a little more and a little less, one makes it fire."""
    assert radius([[1.5, 0], [0, 0.5]], [0.0, 0.0]) == pytest.approx(KEPT + 0.75 * (1 - KEPT), rel=5e-3)
