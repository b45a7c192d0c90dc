"""The rate network over time: what delays bring."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.engines.rate_network import is_feedforward
from loihi_deploy.engines.rate_sequence import rates_of_frames, rates_over_time
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout, samples_for


def test_delays_bring_what_was_there_earlier():
    """Two ways from a to b, one of them three steps late for some neurons, and b to itself, five steps late in all."""
    rng = np.random.default_rng(0)
    first, near, far, back = (rng.normal(size=shape) for shape in ((4, 3), (5, 4), (5, 4), (5, 5)))
    late = np.array([0, 3, 1, 3])
    graph = Graph(
        (Input("x", (3,)),),
        tuple(
            Population(name, (n,), NeuronModel(), np.ones(1), np.zeros(n)) for name, n in (("a", 4), ("b", 5))
        ),
        (
            Projection("x", "a", Dense(first)),
            Projection("a", "b", Dense(near)),
            Projection("a", "b", Dense(far), delays=late),
            Projection("b", "b", Dense(0.3 * back), delays=4),
            Projection("b", "y", Dense(np.ones((1, 5)))),
        ),
        (Readout("y", (1,), np.zeros(1)),),
    )
    x = rng.normal(size=(2, 12, 3))
    found = rates_over_time(graph, {"x": x})
    a, b = np.maximum(x @ first.T, 0), np.zeros((2, 12, 5))
    for t in range(12):
        earlier = np.stack([a[:, t - d, k] if t >= d else np.zeros(2) for k, d in enumerate(late)], axis=1)
        own = b[:, t - 5] if t >= 5 else 0 * b[:, 0]  # a step for the hop, and four
        b[:, t] = np.maximum(a[:, t] @ near.T + earlier @ far.T + own @ (0.3 * back).T, 0)
    np.testing.assert_allclose(found["b"], b, atol=1e-12)
    np.testing.assert_allclose(found["y"][..., 0], b.sum(axis=2), atol=1e-12)


@pytest.mark.parametrize("hold", [1, 3])
def test_frames_back_bring_what_was_there_so_many_frames_earlier(hold):
    """A tap of two frames ago, and a layer that hears itself of the frame before, whatever delays were made of it."""
    rng = np.random.default_rng(1)
    first, far, back = (rng.normal(size=shape) for shape in ((4, 3), (5, 4), (5, 5)))
    graph = Graph(
        (Input("x", (3,)),),
        tuple(
            Population(name, (n,), NeuronModel(), np.ones(1), np.zeros(n)) for name, n in (("a", 4), ("b", 5))
        ),
        (
            Projection("x", "a", Dense(first)),
            Projection("a", "b", Dense(far), delays=7, frames_back=2),
            Projection("b", "b", Dense(0.3 * back), frames_back=1),
            Projection("b", "y", Dense(np.ones((1, 5)))),
        ),
        (Readout("y", (1,), np.zeros(1)),),
    )
    assert is_feedforward(graph)
    x = rng.normal(size=(2, 6, 3))
    found = rates_over_time(graph, {"x": x}, hold)
    a, b = np.maximum(x @ first.T, 0), np.zeros((2, 6, 5))
    for t in range(6):
        two_ago = a[:, t - 2] if t > 1 else np.zeros((2, 4))
        own = b[:, t - 1] if t else np.zeros((2, 5))
        b[:, t] = np.maximum(two_ago @ far.T + own @ (0.3 * back).T, 0)
    np.testing.assert_allclose(found["b"], b, atol=1e-12)
    samples = replace(samples_for(graph, x), lengths=np.array([6, 4]))
    (frames,) = rates_of_frames(graph, samples, np.float64)
    np.testing.assert_allclose(frames["b"], np.concatenate([b[0], b[1, :4]]), atol=1e-12)
