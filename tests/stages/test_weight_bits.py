"""Weights of fewer bits: levels, where they are clipped, and what they cost."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.linear import identity
from loihi_deploy.stages.quantize import quantize

X = np.random.default_rng(0).uniform(0, 1, (60, 20))
BITS = (8, 6, 5, 4, 3, 2)


def network(n=60, tails=False):
    """Input 20 -> 'a' -> 'b' -> five classes; on and off neurons come in front."""
    rng = np.random.default_rng(2)
    draw = (lambda shape: rng.standard_t(3, shape)) if tails else (lambda shape: rng.normal(size=shape))
    return Graph(
        (Input("x", (20,)),),
        tuple(Population(name, (n,), NeuronModel(), 1.0, rng.uniform(0, 0.2, n)) for name in "ab"),
        (
            Projection("x", "a", Dense(draw((n, 20)))),
            Projection("a", "b", Dense(draw((n, n)) / 6), 0.003),
            Projection("b", "y", Dense(draw((5, n)) / 6), 0.003),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )


def quantized(bits, percentile=100.0, **how):
    return ld.quantize(ld.partition(ld.normalize(network(**how), X)), "loihi", percentile, weight_bits=bits)


@pytest.mark.parametrize("bits", BITS)
def test_weights_have_the_levels_of_their_bits(bits):
    for synapses in quantized(bits).synapses:
        levels = synapses.transform.values.astype(int) / 2 ** (8 - bits)
        assert (levels == np.round(levels)).all()
        assert np.abs(levels).max() == 2 ** (bits - 1) - 1
        assert len(np.unique(levels)) > 2 ** (bits - 1)
        assert synapses.weight_bits == (None if bits == 8 else bits)


@pytest.mark.parametrize("bits", BITS[1:])
def test_the_clip_errs_less_than_none_and_than_others(bits):
    found = {g.population: g.weight_rms_error for g in quantized(bits, tails=True).scale_groups}
    for percentile in (99.9999, 99.9, 99.0, 95.0, 90.0):
        for group in quantized(bits, percentile, tails=True).scale_groups:
            assert found[group.population] <= 1.02 * group.weight_rms_error  # clips are tried in steps


def test_each_bit_less_errs_more():
    errors = [max(g.weight_rms_error for g in quantized(bits).scale_groups) for bits in BITS]
    assert errors == sorted(errors)


def test_all_bits_are_what_they_were():
    program = quantized(8)
    assert program == ld.quantize(ld.partition(ld.normalize(network(), X)))


@pytest.mark.parametrize("backend", ["numpy", "nengo_loihi"])
@pytest.mark.parametrize("bits", [4, 2])
def test_every_engine_takes_them(bits, backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(weight_bits=bits))
    record = ["a", "b"]
    ours, theirs = (deployment.run(X[:2], 30, record=record, backend=name) for name in ("emulator", backend))
    for name in record:
        assert (ours.recorded[name]["spikes"] == theirs.recorded[name]["spikes"]).all()
        assert ours.recorded[name]["spikes"].any()


@pytest.mark.parametrize("normalization", ["thresholds", "search"])
def test_rates_are_found_with_the_bits_that_are_deployed(normalization, monkeypatch):
    seen = []

    def watching(*args, **named):
        seen.append(named.get("weight_bits", args[4] if len(args) > 4 else 8))
        return quantize(*args, **named)

    monkeypatch.setattr("loihi_deploy.analysis.calibrate.quantize", watching)
    options = ld.DeployOptions(normalization=normalization, weight_bits=3, bias_correction_steps=20)
    ld.deploy(network(), "loihi", X, options)
    assert len(seen) > 2
    assert set(seen) == {3}


def test_a_large_layer_of_four_bits_takes_two_thirds_of_the_cores():
    n = 3000
    weights = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32) / 50
    graph = Graph(
        (Input("x", (1, n, 1)),),
        (
            Population("a", (1, n, 1), NeuronModel(), 1000.0, np.zeros(n)),
            Population("b", (n,), NeuronModel(), 1000.0, np.ones(n)),
        ),
        (
            Projection("x", "a", identity((1, n, 1))),
            Projection("a", "b", Dense(weights), 0.003),
            Projection("b", "y", Dense(np.ones((1, n))), 0.003),
        ),
        (Readout("y", (1,), np.zeros(1)),),
    )
    found = {}
    for bits in (8, 4):
        mapping = ld.map_to_cores(
            ld.quantize(ld.partition(graph, "first_layer"), weight_bits=bits), "nahuku32"
        )
        found[bits] = mapping.n_cores, mapping.bound
        assert found[bits][1] <= found[bits][0]
    assert found[4][0] <= 0.65 * found[8][0]
    assert found[4][1] < found[8][1]


def test_fewer_bits_take_fewer_cores():
    cores = {
        bits: ld.deploy(network(n=900), "loihi", X, ld.DeployOptions(weight_bits=bits)).mapping.n_cores
        for bits in (8, 4)
    }
    assert cores[4] <= 0.65 * cores[8]


@pytest.mark.parametrize("bits", [7, 1, 9, 4.5, "4", True, None])
def test_bits_that_no_format_has(bits):
    with pytest.raises(InputError, match="weight_bits"):
        ld.DeployOptions(weight_bits=bits)
