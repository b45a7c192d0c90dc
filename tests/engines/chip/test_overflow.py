from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.engines.chip import compiled
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.engines.chip.overflow import _bounds, _fits, accumulator_bounds, common_shift
from loihi_deploy.errors import BackendError
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import BiasInput, Compartments, Noise, Program, SpikeSource, Synapses
from tests.engines.programs import NO_GRAPH, programs, random_spikes


@given(programs(), st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.9, 1.0]))
@settings(max_examples=100)
def test_what_is_proven_holds(program, seed, rate):
    steps = 20
    bounds = accumulator_bounds(program)
    spikes = random_spikes(program, 1, steps, rate, seed)
    record = {p.name: ("u",) for p in program.populations}
    result = reference.simulate(program, spikes, steps, record, seed=seed)
    for name, counts in result.counts.items():
        if bounds[name].never_wraps:
            assert counts.overflows_q == counts.overflows_u == 0
        if bounds[name].current_fits:
            low, high = bounds[name].u
            assert low <= result.recorded[name]["u"].min()
            assert result.recorded[name]["u"].max() <= high


WIDE = replace(loihi_arithmetic(), accumulator_bits=29)


@pytest.mark.follows(
    "Use backend='numpy', which adds in 64 bits",
)
def test_sums_that_the_compiled_engine_cannot_hold():
    """140,000 inputs of 127 << 7 pass 2^31, 130,000 do not; both wrap in a chip's 29 bits and sign."""
    spikes = {"s": np.ones((1, 4, 140_000), bool)}
    program = replace(one_synapse(140_000, 4095, 0), arithmetic=WIDE)
    with pytest.raises(BackendError, match="layer 'p': its synaptic input can become larger") as caught:
        compiled.simulate(program, spikes, 4)
    assert caught.value.problems[0].value == f"0 to {140_000 * 127 << 7:,}"
    # what the remedy says: every step but the first, in which nothing has arrived, wraps
    assert reference.simulate(program, spikes, 4).counts["p"].overflows_q == 3
    fits = replace(one_synapse(130_000, 4095, 0), arithmetic=WIDE)
    fewer = {"s": spikes["s"][:, :, :130_000]}
    assert compiled.simulate(fits, fewer, 4).counts == reference.simulate(fits, fewer, 4).counts


def one_synapse(n_inputs, decay_u, bias):
    population = Compartments("p", (1,), decay_u, 0, 64, bias)
    weights = Dense(np.full((1, n_inputs), 127, np.int8))
    return Program(
        NO_GRAPH, (SpikeSource("s", (n_inputs,)),), (population,), (Synapses("s", "p", weights, 7),), NO_GRAPH
    )


@pytest.mark.parametrize(
    ("n_inputs", "decay_u", "bias"),
    # 129 inputs of 127 << 7 just fit 21 bits; their series with decay 1023 (f = 3/4) just fits 23 bits with a bias
    [(129, 4095, 0), (130, 4095, 0), (129, 1023, 2000), (129, 1023, 600 << 7), (129, 900, 0)],
)
def test_bounds_are_tight(n_inputs, decay_u, bias):
    """All inputs at every step reach the bound up to truncation, and wrap exactly where it says so."""
    program = one_synapse(n_inputs, decay_u, bias)
    spikes = {"s": np.ones((1, 100, n_inputs), bool)}
    counts = reference.simulate(program, spikes, 100).counts["p"]
    wraps = counts.overflows_q + counts.overflows_u > 0
    assert accumulator_bounds(program)["p"].never_wraps == (not wraps)


@pytest.mark.parametrize(("at_membrane", "noise_q", "noise_u2"), [(None, 0, 0), (False, 1, 0), (True, 0, 1)])
def test_bounds_are_sums_of_one_sign_and_their_series(at_membrane, noise_q, noise_u2):
    noise = None if at_membrane is None else Noise(3, 2, at_membrane)
    population = Compartments("p", (2,), 1023, 0, 64, np.array([-10, 20]), noise=noise)
    single, double = np.array([[3, -2, 0], [-5, 4, 1]]), np.array([[1], [-1]])
    program = Program(
        NO_GRAPH,
        (SpikeSource("s", (3,)), SpikeSource("t", (1,))),
        (population,),
        (
            Synapses("s", "p", Dense(single.astype(np.int8)), 6),
            Synapses("t", "p", Dense(double.astype(np.int8)), 7),
        ),
        NO_GRAPH,
    )
    assert common_shift(program, "p") == 6
    bounds = accumulator_bounds(program)["p"]
    # rows: 3 + 2 and -2; 4 + 1 and -5 - 2. Draws of -127 and 127, moved by 128, sixteenths of them: 0 and 15
    assert bounds.mantissas == (-7, 5)
    assert bounds.q == (-7 * 64, 5 * 64 + 15 * noise_q)
    lost = 4096 - program.arithmetic.current_factor(1023)
    assert bounds.u == (-(7 * 64 * 4096 // lost), bounds.q[1] * 4096 // lost)
    assert bounds.u2 == (bounds.u[0] - 10, bounds.u[1] + 20 + 15 * noise_u2)
    kept = replace(program, populations=(replace(population, decay_u=0),))
    lost = 4096 - program.arithmetic.current_factor(0)
    assert accumulator_bounds(kept)["p"].u == (-(7 * 64 * 4096 // lost), bounds.q[1] * 4096 // lost)


def test_a_register_holds_one_value_more_below_zero():
    assert _fits((-8, 7), 3)
    assert not _fits((-9, 0), 3)
    assert not _fits((0, 8), 3)


def test_a_bias_from_the_input_counts_for_its_own_population():
    p = Compartments("p", (1,), 4095, 0, 64, np.array([30], np.int32))
    inputs = (BiasInput("p", 1.0, 100, 1), BiasInput("q", 1.0, 4095, 7))
    given = SimpleNamespace(into=lambda name: [], arithmetic=loihi_arithmetic(), bias_inputs=inputs)
    assert _bounds(given, p).u2 == (-200, 200)
    assert _bounds(given, replace(p, name="r")).u2 == (0, 30)


@pytest.mark.parametrize(
    ("exponent", "offset", "lowest", "highest"),
    [
        (7, 0, -127, 127),
        (7, 2, 1, 255),
        (7, -3, -319, -65),
        (10, -1, -1528, 504),
        (6, 0, -63, 63),
        (1, 0, -1, 1),
    ],
)
def test_bounds_of_noise_are_its_lowest_and_its_highest_draw(exponent, offset, lowest, highest):
    population = Compartments("p", (1,), 4095, 0, 64, 0, noise=Noise(exponent, offset))
    bounds = _bounds(Program(NO_GRAPH, (), (population,), (), NO_GRAPH), population)
    assert bounds.q == (lowest, highest)
    at_membrane = replace(population, noise=Noise(exponent, offset, True))
    bounds = _bounds(Program(NO_GRAPH, (), (at_membrane,), (), NO_GRAPH), at_membrane)
    assert (bounds.q, bounds.u2) == ((0, 0), (lowest, highest))
