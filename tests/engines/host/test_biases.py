"""Biases from real values: integers by hand, of several frames and projections; what stands below 0."""

import numpy as np
import pytest

from loihi_deploy.engines.host.biases import biases, sign_problems
from loihi_deploy.ir import Dense, Graph, Input, Projection, Readout
from loihi_deploy.ir.program import BiasInput, Compartments, Program

LIMIT = 4095 << 7


def program(signed=(True, True)):
    """Two inputs, of 2 and 3 values, that give 'p' its two biases; 'idle' gives 'q' none, of no sign."""
    inputs = (Input("x", (2,), signed=signed[0]), Input("y", (3,), signed=signed[1]), Input("idle", (1,)))
    projections = (
        Projection("x", "p", Dense(np.array([[1.0, 2.0], [0.0, -1.0]]))),
        Projection("y", "p", Dense(np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 0.0]]))),
        Projection("idle", "other", Dense(np.ones((1, 1)))),
    )
    readouts = (Readout("p", (2,), np.zeros(1)), Readout("other", (1,), np.zeros(1)))
    populations = (Compartments("p", (2,), 4095, 0, 1 << 6, np.zeros(2, np.int32)),)
    nothing = Graph((Input("p", (2,)),), (), (), ())
    encoder = Graph(inputs, (), projections, readouts)
    return Program(encoder, (), populations, (), nothing, bias_inputs=(BiasInput("p", 10.0, 4095, 7),))


X = np.array([[[1.0, 2.0], [0.0, 0.04]], [[3.0, -1.0], [7.0, 30.0]]])
Y = np.array([[[1.0, 9.0, 0.2], [0.0, 9.0, 0.0]], [[-2.0, 9.0, 1.0], [8000.0, 9.0, 600.0]]])
IDLE = -np.ones((2, 2, 1))


def test_biases_are_sums_over_the_projections_times_the_scale():
    """What takes more than 12 bits comes out as a multiple of a power of two."""
    found, clipped = biases(program(), {"x": X, "y": Y, "idle": IDLE})
    assert clipped == {"p": 0}
    assert found["p"].shape == (2, 2, 2)
    exact = [[[60, -10], [1, 0]], [[60, -10], [30670, 79700]]]
    assert found["p"][..., :].tolist()[:1] == exact[:1]
    assert found["p"][1, 0].tolist() == exact[1][0]
    assert found["p"][1, 1].tolist() == [30672, 79712]  # multiples of 8 and of 32


def test_what_is_beyond_the_range_is_clipped_and_counted():
    limits = np.array([[[LIMIT / 10, 0.0], [LIMIT / 10 + 0.04, 0.0], [LIMIT / 10 + 0.1, 0.0], [-1e9, 0.0]]])
    y = np.zeros((1, 4, 3))
    found, clipped = biases(program(), {"x": limits, "y": y, "idle": np.zeros((1, 4, 1))})
    assert found["p"][0, :, 0].tolist() == [LIMIT, LIMIT, LIMIT, -LIMIT]
    assert clipped == {"p": 2}


@pytest.mark.parametrize(
    ("signed", "named"),
    [((True, True), []), ((False, True), ["x"]), ((True, False), ["y"]), ((False, False), ["x", "y"])],
)
def test_values_below_zero_are_told_of_inputs_that_have_no_sign(signed, named):
    given = {"x": X, "y": Y, "idle": IDLE}
    found = list(sign_problems(program(signed), given))
    assert [problem.where for problem in found] == [f"input '{name}'" for name in named]
    assert [problem.value for problem in found] == [given[name].min() for name in named]
    positive = {name: np.abs(values) for name, values in given.items()}
    assert list(sign_problems(program(signed), positive)) == []
    assert list(sign_problems(program(signed), {name: 0 * values for name, values in given.items()})) == []
