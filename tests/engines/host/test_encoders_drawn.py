"""Encoders of all kinds side by side, drawn: the compiled one in parts, and the plain one as a whole."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.engines.host import plain
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection
from loihi_deploy.ir.program import HostLimit

KINDS = {
    "if": NeuronModel(),
    "adding": NeuronModel(),
    "if, discretized": NeuronModel(discretized=True),
    "lif": NeuronModel("lif", 0.02, 0.0023),
    "lif, discretized": NeuronModel("lif", 0.013, 0.002, discretized=True),
    "poisson": NeuronModel("poisson"),
    "ttfs": NeuronModel("ttfs"),
}
INPUTS = {"x": (4, 3, 2), "y": (5,)}


def drawn(kinds, rng, tau):
    """A population of each kind; two projections into each of image and values, with and without a filter."""
    populations, projections = [], []
    for number, kind in enumerate(kinds):
        name, scale = f"p{number}", 6.0 if "lif" in kind else 1200.0
        shape = [(3, 2, 2), (9,), (1, 4, 2)][number % 3]
        size = int(np.prod(shape))
        gain = np.array(scale) if kind == "adding" else scale * rng.uniform(0.5, 1, size)
        bias = scale * rng.uniform(-0.4, 0.4, size)
        start = rng.uniform(-0.5, 1.5 if kind.startswith("if") else 1, size)
        population = Population(name, shape, KINDS[kind], gain, bias, 1.0, start)
        populations.append(replace(population, adds_only=kind == "adding"))
        if len(shape) == 3 and shape[0] == 3:
            kernel = rng.uniform(-0.3, 0.6, (2, 2, 2, 2))
            seen = Conv2D(kernel, (1, 1), (0, 0), INPUTS["x"], shape)
        else:
            seen = Dense(rng.uniform(-0.3, 0.6, (size, 24)))
        projections.append(Projection("x", name, seen, tau))
        matrix = rng.uniform(-0.5, 1, (size, 5)) * (rng.random((size, 5)) < 0.6)
        projections.append(Projection("y", name, Dense(matrix).csr(), 0.004 if number % 2 else 0.0))
    return Graph(tuple(Input(*item) for item in INPUTS.items()), tuple(populations), tuple(projections))


@pytest.mark.parametrize("hold", [1, 5, 8, 13])
@pytest.mark.parametrize(
    ("kinds", "tau"),
    [
        (tuple(KINDS), 0.0),
        (tuple(KINDS)[::-1], 0.01),
        (("if", "adding", "if, discretized"), 0.0),
        (("if", "if"), 0.0),
        (("adding",), 0.0),
        (("if, discretized", "if, discretized", "if, discretized"), 0.02),
        (("lif", "ttfs"), 0.0),
    ],
)
def test_compiled_encoders_equal_the_plain_one_in_parts(kinds, tau, hold):
    rng = np.random.default_rng(hold)
    graph = drawn(kinds, rng, tau)
    n, n_frames = 3, 4
    x = {name: rng.random((n, n_frames, int(np.prod(shape)))) for name, shape in INPUTS.items()}
    x["x"][:, 1] = x["y"][:, 1] = 0  # a frame of nothing: only biases drive
    steps = n_frames * hold
    spikes, lost, state = plain.encode(graph, x, steps, first_sample=5, seed=3)
    encoder, n_lost = Encoder(graph), np.zeros(len(kinds), np.int64)
    arrays, n_sent = encoder.start(n, np.arange(5, 5 + n), 3), encoder.none()
    found = []
    for part in (slice(0, hold // 2 + 1), slice(hold // 2 + 1, 2 * hold), slice(2 * hold, steps)):
        frames = encoder.together(x)
        events = encoder.run(frames, part.start, part.stop - part.start, hold, arrays, n_lost, None, n_sent)
        found.append(events.to_dense())
        arrays = encoder.load(encoder.save(arrays), n)
    for number, name in enumerate(spikes):
        assert (np.concatenate([part[name] for part in found], axis=1) == spikes[name]).all()
        assert n_lost[number] == lost[name]
        assert n_sent[number] == spikes[name].sum()
    assert any(array.any() for array in spikes.values())
    kept = encoder.save(arrays).arrays
    for name, array in state.arrays.items():
        if not name.endswith("refractory_time") or "ttfs" in kinds:
            np.testing.assert_allclose(kept[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


def test_what_a_limit_holds_back_is_neither_sent_nor_lost_until_the_end():
    rng = np.random.default_rng(0)
    graph = drawn(("if", "lif"), rng, 0.0)
    x = {name: rng.random((2, 1, int(np.prod(shape)))) for name, shape in INPUTS.items()}
    spikes, _, _ = plain.encode(graph, x, 40)
    encoder = Encoder(graph, HostLimit(4, np.ones((1, 12 + 9), int)))
    arrays, lost, sent = encoder.start(2), encoder.none(), np.array([100, 200])
    events = encoder.run(encoder.together(x), 0, 40, 40, arrays, encoder.none(), None, sent)
    assert events.counts.sum(axis=2).max() == 4
    assert (sent - events.totals()).tolist() == [100, 200]
    encoder.lose_unsent(arrays, lost)
    assert (lost > 0).all()
    assert (events.totals() + lost).tolist() == [array.sum() for array in spikes.values()]
    free, none = Encoder(graph), encoder.none()
    free.lose_unsent(free.start(2), none)
    assert none.tolist() == [0, 0]
    kept = encoder.load(encoder.save(arrays), 2)
    for ours, theirs in zip(kept, arrays, strict=True):
        assert (ours == theirs).all()
