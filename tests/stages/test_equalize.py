"""Channels that are equalized: by their largest weights at both ends, and only where nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.equalize import _largest_of_channels, equalize

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (9, 32))


def network(kernel, matrix, neuron=NeuronModel(), groups=1):  # noqa: B008
    """Input 4x4x2 -> host -> convolution onto 3x3x4 -> two outputs."""
    host = Conv2D(np.ones((1, 1, 1, 2)), (1, 1), (0, 0), (4, 4, 2), (4, 4, 2), 2)
    conv = Conv2D(kernel, (1, 1), (0, 0), (4, 4, 2), (3, 3, 4), groups)
    return Graph(
        (Input("x", (4, 4, 2)),),
        (
            Population("host", (4, 4, 2), NeuronModel(), 1.0, 0.1),
            Population("c", (3, 3, 4), neuron, 1.0, 0.2),
        ),
        (
            Projection("x", "host", host),
            Projection("host", "c", conv, 0.003),
            Projection("c", "y", Dense(matrix), 0.003),
        ),
        (Readout("y", (2,), np.zeros(2)),),
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("end", ["in", "out"])
def test_the_largest_weight_of_each_channel(groups, end):
    conv = Conv2D(RNG.normal(size=(2, 3, 4 // groups, 6)), (1, 1), (0, 0), (5, 5, 4), (4, 3, 6), groups)
    matrix = np.abs(conv.csr().toarray()).reshape(-1, 6, 25, 4)
    wanted = matrix.max(axis=(0, 2, 3)) if end == "out" else matrix.max(axis=(0, 1, 2))
    channels = 6 if end == "out" else 4
    np.testing.assert_allclose(_largest_of_channels(conv, channels, end), wanted)
    np.testing.assert_allclose(_largest_of_channels(Dense(conv.csr().toarray()), channels, end), wanted)


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_get_the_root_of_what_is_between_their_ends(groups):
    kernel, matrix = RNG.normal(size=(2, 2, 2 // groups, 4)), RNG.normal(size=(2, 36))
    graph = network(kernel, matrix, groups=groups)
    into = np.abs(kernel).max(axis=(0, 1, 2))
    out_of = np.abs(matrix).reshape(2, 9, 4).max(axis=(0, 1))
    factors = np.sqrt(out_of / into)
    factors /= np.exp(np.log(factors).mean())
    found = equalize(graph)
    np.testing.assert_allclose(found.populations[1].bias, 0.2 * np.tile(factors, 9))
    weights = found.projections[1].transform.csr().toarray()
    np.testing.assert_allclose(
        weights, graph.projections[1].transform.csr().toarray() * np.tile(factors, 9)[:, None]
    )
    assert found.populations[0] == graph.populations[0]
    assert found.projections[0] == graph.projections[0]


@pytest.mark.parametrize("unused", ["in", "out"])
def test_channels_that_nothing_reaches_or_that_reach_nothing(unused):
    kernel, matrix = RNG.normal(size=(2, 2, 2, 4)), RNG.normal(size=(2, 36))
    if unused == "in":
        kernel[..., 1] = 0
    else:
        matrix[:, 1::4] = 0
    graph = network(kernel, matrix)
    found = equalize(graph)
    before, after = rate_activity(graph, {"x": X}), rate_activity(found, {"x": X})
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-9, atol=1e-12)
    assert np.isfinite(found.projections[1].transform.values).all()
    assert not np.allclose(found.populations[1].bias, 0.2)


def test_what_cannot_be_scaled_is_left_alone():
    kernel, matrix = RNG.normal(size=(2, 2, 2, 4)), RNG.normal(size=(2, 36))
    plain = network(kernel, matrix)
    loop = Projection("c", "c", Dense(0.01 * np.eye(36)), 0.003)
    looped = replace(plain, projections=(*plain.projections, loop))
    leaky = network(kernel, matrix, NeuronModel("lif", 0.02, 0.002))
    stepped = network(kernel, matrix, NeuronModel(discretized=True, step=0.001))
    for graph in (looped, leaky, stepped):
        assert equalize(graph) == graph
    assert equalize(plain) != plain
    in_front = equalize(plain, "on_off")
    assert in_front.populations[0] != plain.populations[0]  # the first layer is on chip then
