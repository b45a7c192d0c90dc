"""What is not said: seeds, windows and frames are those that the documentation names, and no neighbours of them."""

from functools import partial

import numpy as np
import pytest

from loihi_deploy.engines.chip import compiled
from loihi_deploy.engines.chip import plain as plain_chip
from loihi_deploy.engines.host import plain as plain_host
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.engines.rate_sequence import rates_over_time
from loihi_deploy.engines.spiking_network import spiking_outputs, spiking_rates
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.program import Compartments, Noise, Program

RNG = np.random.default_rng(0)
GRAPH = Graph(
    (Input("x", (3,)),),
    (Population("p", (5,), NeuronModel(), 1.0, 0.0),),
    (
        Projection("x", "p", Dense(RNG.uniform(0, 300, (5, 3)))),
        Projection("p", "y", Dense(RNG.normal(size=(2, 5))), 0.005),
    ),
    (Readout("y", (2,), np.zeros(2)),),
)
X = {"x": RNG.uniform(0, 1, (2, 3, 3))}
AT_RANDOM = Graph(
    GRAPH.inputs,
    (Population("p", (5,), NeuronModel("poisson"), 1.0, 0.0),),
    (Projection("x", "p", Dense(RNG.uniform(0, 300, (5, 3)))),),
)
NOISY = Program(
    Graph((), (), ()), (), (Compartments("p", (20,), 741, 0, 64, 0, noise=Noise(9)),), (), Graph((), (), ())
)


def started(*given, **named):
    return Encoder(AT_RANDOM).start(3, *given, **named)[0]


def simulated(engine, **named):
    return engine.simulate(NOISY, {}, 12, {"p": ("u",)}, **named).recorded["p"]["u"]


def encoded(**named):
    return plain_host.encode(AT_RANDOM, X, 30, **named)[0]["p"]


@pytest.mark.parametrize(
    ("function", "said", "others"),
    [
        (
            partial(spiking_outputs, GRAPH, X, 30),
            {"window": 0.5, "flush": 0},
            ({"window": 0.75}, {"flush": 1}),
        ),
        (
            lambda **named: spiking_rates(GRAPH, X, 30, **named)["p"],
            {"window": 0.5, "flush": 0},
            ({"window": 0.75}, {"flush": 1}),
        ),
        (
            lambda **named: rates_over_time(GRAPH, X, **named)["y"],
            {"hold": 1, "delayed": False},
            ({"hold": 2}, {"delayed": True}),
        ),
        (partial(simulated, compiled), {"seed": 0}, ({"seed": 1},)),
        (partial(simulated, plain_chip), {"seed": 0}, ({"seed": 1},)),
        (encoded, {"seed": 0, "first_sample": 0}, ({"seed": 1}, {"first_sample": 1})),
        (started, {"seed": 0, "numbers": np.arange(3)}, ({"seed": 1}, {"numbers": np.arange(1, 4)})),
    ],
)
def test_what_is_not_said_is_as_documented(function, said, others):
    expected = function()
    assert (function(**said) == expected).all()
    for other in others:
        assert (function(**other) != expected).any(), other
