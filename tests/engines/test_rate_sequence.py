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


@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize("delayed", [False, True])
def test_synapses_filter_step_by_step_and_may_be_one_step_late(hold, delayed):
    """Without a filter nothing is late; amplitudes, gains and biases count; a layer hears itself a step later."""
    rng = np.random.default_rng(3)
    slow, fast, own, out = (rng.uniform(0, 1, shape) for shape in ((4, 3), (4, 2), (4, 4), (2, 4)))
    graph = Graph(
        (Input("x", (3,)), Input("z", (2,))),
        (Population("a", (4,), NeuronModel(), 2.0, np.arange(4.0), 0.25),),
        (
            Projection("x", "a", Dense(slow), 0.004),
            Projection("z", "a", Dense(fast), 0.0),
            Projection("a", "a", Dense(own), 0.002),
            Projection("a", "y", Dense(out), 0.006),
        ),
        (Readout("y", (2,), np.array([3.0, -5.0])),),
        dt=0.002,
    )
    x, z = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 2))
    found = rates_over_time(graph, {"x": x, "z": z}, hold, delayed=delayed)
    for sample in range(2):
        filtered = {"slow": np.zeros(4), "own": np.zeros(4), "out": np.zeros(2)}
        before_x, before_a, before_y = np.zeros(3), np.zeros(4), np.zeros(4)
        rates, values = [], []
        for t in range(5 * hold):
            now = x[sample, t // hold]
            for name, tau, arriving in (
                ("slow", 0.004, slow @ (before_x if delayed else now)),
                ("own", 0.002, own @ before_a),
            ):
                a = np.exp(-0.002 / tau)
                filtered[name] = a * filtered[name] + (1 - a) * arriving
            total = filtered["slow"] + fast @ z[sample, t // hold] + filtered["own"]
            rates.append(np.maximum(2 * total + np.arange(4), 0))
            a, said = np.exp(-0.002 / 0.006), 0.25 * rates[-1]
            filtered["out"] = a * filtered["out"] + (1 - a) * (out @ (before_y if delayed else said))
            values.append(filtered["out"] + [3, -5])
            before_x, before_a, before_y = now, said, said
        np.testing.assert_allclose(found["a"][sample], np.reshape(rates, (5, hold, 4)).mean(axis=1))
        np.testing.assert_allclose(found["y"][sample], np.reshape(values, (5, hold, 2)).mean(axis=1))
    single = rates_over_time(graph, {"x": x.astype(np.float32), "z": z.astype(np.float32)}, hold)
    assert {values.dtype.name for values in single.values()} == {"float32"}


def test_frames_come_some_samples_at_a_time_without_their_synapses():
    """250 samples of three frames, one below the other; a graph without memory takes batches of frames."""
    rng = np.random.default_rng(4)
    first, back = rng.uniform(0, 1, (3, 2)), rng.uniform(0, 0.5, (3, 3))
    graph = Graph(
        (Input("x", (2,)),),
        (Population("a", (3,), NeuronModel(), 1.0, 0.0),),
        (Projection("x", "a", Dense(first), 0.01), Projection("a", "a", Dense(back), 0.01, frames_back=1)),
    )
    x = rng.uniform(0, 1, (250, 3, 2))
    samples = samples_for(graph, x)
    parts = list(rates_of_frames(graph, samples, np.float64))
    assert [len(part["a"]) for part in parts] == [300, 300, 150]
    a = np.zeros((250, 3, 3))
    for t in range(3):
        a[:, t] = x[:, t] @ first.T + (a[:, t - 1] @ back.T if t else 0)
    np.testing.assert_allclose(np.concatenate([part["a"] for part in parts]), a.reshape(750, 3))
    plain = replace(graph, projections=graph.projections[:1])
    parts = list(rates_of_frames(plain, samples_for(plain, x)))
    assert {len(part["a"]) for part in parts} == {100, 50} or {len(part["a"]) for part in parts} == {100}
    assert parts[0]["a"].dtype == np.float32
    together = np.concatenate([part["a"] for part in parts])
    np.testing.assert_allclose(together, x.reshape(750, 2) @ first.T, rtol=1e-4)
