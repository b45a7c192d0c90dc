"""Rates in one pass: sums by hand, batches, and what has no rates by one pass."""

import numpy as np
import pytest

from loihi_deploy.engines.rate_network import is_feedforward, rate_activity, rate_batches, rate_outputs
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout


def graph(*more):
    rng = np.random.default_rng(0)
    a = Population("a", (4,), NeuronModel(), rng.uniform(1, 2, 4), rng.normal(size=4), 0.5)
    b = Population("b", (3,), NeuronModel(), 2.0, rng.normal(size=3), 0.25)
    return Graph(
        (Input("x", (2,)), Input("z", (3,))),
        (a, b),
        (
            Projection("x", "a", Dense(rng.normal(size=(4, 2)))),
            Projection("z", "a", Dense(rng.normal(size=(4, 3)))),
            Projection("a", "b", Dense(rng.normal(size=(3, 4)))),
            Projection("b", "y", Dense(rng.normal(size=(2, 3)))),
            Projection("a", "y", Dense(rng.normal(size=(2, 4)))),
            *more,
        ),
        (Readout("y", (2,), np.array([5.0, -7.0]), "softmax"),),
    )


INPUTS = {name: np.random.default_rng(1).normal(size=(250, n)) for name, n in (("x", 2), ("z", 3))}


def by_hand(graph):
    xa, za, ab, by, ay = (p.transform.weights for p in graph.projections)
    a, b = graph.populations
    rates_a = np.maximum(a.gain * (INPUTS["x"] @ xa.T + INPUTS["z"] @ za.T) + a.bias, 0)
    rates_b = np.maximum(2 * (rates_a @ ab.T * 0.5) + b.bias, 0)
    return {"a": rates_a, "b": rates_b, "y": rates_b @ by.T * 0.25 + rates_a @ ay.T * 0.5 + [5, -7]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rates_are_lines_of_sums_of_what_spikes_stand_for(dtype):
    found = rate_activity(graph(), {name: x.astype(dtype) for name, x in INPUTS.items()})
    expected = by_hand(graph())
    assert list(found) == ["a", "b", "y"]
    for name, values in found.items():
        assert values.dtype == dtype
        np.testing.assert_allclose(
            values, expected[name], rtol=1e-9 if dtype == np.float64 else 1e-4, atol=1e-3
        )


def test_batches_are_all_samples_in_order():
    expected = by_hand(graph())
    for size, n_batches in ((100, 3), (250, 1), (83, 4)):
        batches = list(rate_batches(graph(), INPUTS, size, np.float64))
        assert [len(batch["a"]) for batch in batches] == [min(size, 250 - k * size) for k in range(n_batches)]
        np.testing.assert_allclose(np.concatenate([batch["y"] for batch in batches]), expected["y"])
    assert [len(batch["a"]) for batch in rate_batches(graph(), INPUTS)] == [100, 100, 50]
    outputs = rate_outputs(graph(), INPUTS)
    assert list(outputs) == ["y"]
    assert outputs["y"].dtype == np.float32
    np.testing.assert_allclose(outputs["y"], expected["y"], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pre", ["b", "a"])
def test_a_way_back_has_no_rates_unless_it_is_one_of_frames(pre):
    back = Projection(pre, "a", Dense(np.ones((4, {"a": 4, "b": 3}[pre]))))
    assert is_feedforward(graph())
    assert not is_feedforward(graph(back))
    of_frames = Projection(pre, "a", back.transform, frames_back=1)
    assert is_feedforward(graph(of_frames))
    with pytest.raises(InputError) as caught:
        rate_activity(graph(back), INPUTS)
    (problem,) = caught.value.problems
    assert (problem.what, problem.where) == ("recurrent projection", f"{pre}->a")
    assert problem.remedy == "Give firing rates by hand"
