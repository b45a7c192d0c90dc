"""Rounding that keeps mean inputs, and channels that use the bits equally."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_activity, rate_outputs
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Sparse,
)
from loihi_deploy.stages.equalize import equalize
from loihi_deploy.stages.rounding import CLIPS, Levels, least_squares_clip, round_keeping_means


def drawn(rng, kind):
    """A transform with weights of that kind, and rates of its inputs."""
    if kind == "dense":
        transform = Dense(rng.uniform(-20, 20, (6, 40)))
    elif kind == "sparse":
        transform = Sparse(rng.uniform(-20, 20, 30), np.tile(np.arange(10), 3), np.arange(0, 31, 10), 40)
    else:
        groups = 2 if kind == "grouped" else 1
        kernel = rng.uniform(-20, 20, (3, 3, 4 // groups, 6))
        transform = Conv2D(kernel, (1, 1), (0, 0), (5, 5, 4), (3, 3, 6), groups)
    rates = rng.uniform(0, 100, transform.in_size) * (rng.uniform(size=transform.in_size) < 0.8)
    if kind in ("conv", "grouped"):
        rates = np.tile(rates[:4], 25)  # as many as the channels have on average
    return transform, rates


@given(st.integers(0, 1000), st.sampled_from(["dense", "conv", "grouped", "sparse"]))
def test_weights_move_by_less_than_a_step_and_means_are_kept_better(seed, kind):
    """Of ten layers together: the nearest integers of a single one may happen to cancel."""
    rng = np.random.default_rng(seed)
    sums = np.zeros(2)
    for transform, rates in (drawn(rng, kind) for _ in range(10)):
        rounded = round_keeping_means(transform.values, transform, rates)
        assert (rounded == np.round(rounded)).all()
        assert np.abs(rounded - transform.values).max() <= 1
        exact, ours, nearest = (
            transform.with_values(values).apply(rates[None])
            for values in (transform.values, rounded, np.round(transform.values))
        )
        sums += np.abs(ours - exact).sum(), np.abs(nearest - exact).sum()
    assert sums[0] < 0.6 * sums[1] or (kind == "sparse" and sums[0] == sums[1])


def test_silent_inputs_are_rounded_to_the_nearest():
    transform = Dense(np.random.default_rng(0).uniform(-5, 5, (3, 7)))
    np.testing.assert_array_equal(
        round_keeping_means(transform.values, transform, np.zeros(7)), np.round(transform.values)
    )


def network(seed=0):
    """Input -> e (1x1, host) -> c (convolution) -> d (dense) -> readout, channels of very different weights."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(3, 3, 2, 8)) * np.logspace(-1, 1, 8)
    return Graph(
        (Input("x", (6, 6, 1)),),
        (
            Population("e", (6, 6, 2), NeuronModel(), 1.0, rng.uniform(0, 0.1, 72)),
            Population("c", (4, 4, 8), NeuronModel(), 1.0, np.tile(rng.uniform(0, 0.1, 8), 16)),
            Population("d", (20,), NeuronModel(), 1.0, rng.uniform(0, 0.1, 20)),
        ),
        (
            Projection(
                "x", "e", Conv2D(rng.uniform(0.5, 1, (1, 1, 1, 2)), (1, 1), (0, 0), (6, 6, 1), (6, 6, 2))
            ),
            Projection("e", "c", Conv2D(kernel, (1, 1), (0, 0), (6, 6, 2), (4, 4, 8)), 0.003),
            Projection("c", "d", Dense(rng.normal(size=(20, 128))), 0.003),
            Projection("d", "y", Dense(rng.normal(size=(3, 20))), 0.003),
        ),
        (Readout("y", (3,), np.zeros(3)),),
    )


X = np.random.default_rng(1).uniform(0, 1, (40, 36))


@pytest.mark.parametrize("seed", range(3))
def test_equalized_networks_compute_the_same(seed):
    graph = network(seed)
    after = equalize(graph)
    before_rates, after_rates = rate_activity(graph, {"x": X}), rate_activity(after, {"x": X})
    np.testing.assert_allclose(after_rates["y"], before_rates["y"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(after_rates["e"], before_rates["e"])  # the host's layer is left alone
    assert isinstance(after.projections[1].transform, Conv2D)


def test_equalized_channels_have_equal_ranges():
    def spread(graph):
        into = np.abs(graph.projections[1].transform.values).max(axis=(0, 1, 2))
        out_of = np.abs(graph.projections[2].transform.values).reshape(20, 16, 8).max(axis=(0, 1))
        return (into / out_of).max() / (into / out_of).min()

    assert spread(network()) > 50
    assert spread(equalize(network())) < 2  # not 1: the next layer's channels were equalized after them


def test_equalization_lowers_the_rounding_error_of_uneven_channels():
    plain, even = (ld.quantize(ld.partition(graph)) for graph in (network(), equalize(network())))

    def error(program):
        (weights,) = program.into("c")
        return (weights.transform.values == 0).mean()

    assert error(even) < error(plain)


@pytest.mark.parametrize(
    "options",
    [{"equalize": True}, {"weight_percentile": 99.0}, {"rounding": "mean"}],
    ids=lambda o: next(iter(o)),
)
def test_every_option_deploys(options):
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(**options))
    expected = rate_outputs(network(), {"x": X})["y"]
    outputs = deployment.run(X, 200).outputs
    assert np.corrcoef(outputs.ravel(), expected.ravel())[0, 1] > 0.97
    clipped = sum(group.saturated_weights for group in deployment.program.scale_groups)
    assert (clipped > 0) == ("weight_percentile" in options)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_only_what_rates_are_to_each_other_counts(kind):
    rng = np.random.default_rng(3)
    transform = Dense(rng.uniform(-20, 20, (6, 40)))
    if kind == "conv":
        transform = Conv2D(rng.uniform(-20, 20, (3, 3, 2, 6)), (1, 1), (0, 0), (5, 5, 4), (3, 3, 6), 2)
    rates = rng.uniform(0, 100, transform.in_size) * (rng.uniform(size=transform.in_size) < 0.8)
    found = round_keeping_means(transform.values, transform, rates)
    for factor in (2.0**-12, 2.0**7):  # slower than a spike in a second, too
        np.testing.assert_array_equal(round_keeping_means(transform.values, transform, factor * rates), found)
    if kind == "dense":
        silent = np.where(np.arange(40) % 2, rates, 0.0)
        half = round_keeping_means(transform.values, transform, silent)
        np.testing.assert_array_equal(half[:, ::2], np.round(transform.values[:, ::2]))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_clip_is_the_best_of_all_eightieths_from_four_on(bits):
    assert np.allclose(CLIPS * 80, np.arange(4, 81), atol=1e-9)
    magnitudes, levels = np.abs(np.random.default_rng(bits).standard_cauchy(300)), Levels(127, bits)
    largest, most = magnitudes.max(), 2 ** (bits - 1) - 1
    errors = {}
    for k in range(4, 81):
        step = k / 80 * largest / most
        errors[k] = sum((min(round(m / step), most) * step - m) ** 2 for m in magnitudes.tolist())
    best = min(errors, key=errors.get)
    assert least_squares_clip(magnitudes, largest, levels) == pytest.approx(best / 80 * largest)
    assert least_squares_clip(magnitudes, 0.0, levels) == 0.0


def diffused(weights, rates):
    """Rounded weights of one neuron, by hand: the most active inputs first, each making up for the error so far."""
    rounded, error = [round(w) for w in weights], 0.0
    for i in sorted(range(len(weights)), key=lambda i: (-rates[i], i)):
        if rates[i] > 0:
            rounded[i] = round(weights[i] - min(max(error / rates[i], -0.5), 0.5))
            error += rates[i] * (rounded[i] - weights[i])
    return rounded


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_handed_on_from_the_most_active_input_to_the_least(seed):
    rng = np.random.default_rng(seed)
    transform = Dense(rng.uniform(-9, 9, (4, 12)))
    rates = rng.choice([0.0, 0.5, 3.0, 70.0, 20.0], 12)
    found = round_keeping_means(transform.values, transform, rates)
    assert found.tolist() == [diffused(row, rates.tolist()) for row in transform.weights.tolist()]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_hands_errors_on_within_its_kernel_by_the_means_of_channels(groups):
    """An output channel sees those of its group; taps of one channel come in their order."""
    rng = np.random.default_rng(groups)
    kernel = rng.uniform(-9, 9, (2, 3, 4 // groups, 6))
    transform = Conv2D(kernel, (1, 1), (0, 0), (5, 5, 4), (4, 3, 6), groups)
    rates = rng.uniform(0, 50, 100)
    of_channel = rates.reshape(25, 4).mean(axis=0)
    found = round_keeping_means(kernel, transform, rates)
    # the order is that of the rates that all outputs see on average
    n_in = 4 // groups
    seen = np.array([[of_channel[f // (6 // groups) * n_in + c] for f in range(6)] for c in range(n_in)])
    order = np.tile(seen.mean(axis=1), 6)
    for f in range(6):
        weights = kernel[..., f].ravel()
        rounded, error = [round(w) for w in weights.tolist()], 0.0
        for i in sorted(range(weights.size), key=lambda i: (-order[i], i)):
            rate = seen[i % n_in, f]
            rounded[i] = round(weights[i] - min(max(error / rate, -0.5), 0.5))
            error += rate * (rounded[i] - weights[i])
        assert found[..., f].ravel().tolist() == rounded


@pytest.mark.parametrize(
    ("limit", "bits", "most_bits", "largest", "unit", "room", "stored"),
    [
        (127, 8, 8, 127, 1, 1.0, None),
        (127, 9, 8, 127, 1, 1.0, None),
        (127, 7, 8, 63, 2, 64 / 63, 7),
        (127, 4, 8, 7, 16, 8 / 7, 4),
        (127, 2, 8, 1, 64, 2.0, 2),
        (31, 6, 6, 31, 1, 1.0, None),
        (31, 4, 6, 7, 4, 8 / 7, 4),
    ],
)
def test_levels_of_so_many_bits(limit, bits, most_bits, largest, unit, room, stored):
    levels = Levels(limit, bits)
    assert (levels.most_bits, levels.largest, levels.unit) == (most_bits, largest, unit)
    assert (levels.room, levels.stored_bits) == (room, stored)
    assert all(isinstance(number, int) for number in (levels.largest, levels.unit))
