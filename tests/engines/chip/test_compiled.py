from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.engines.chip import compiled as engine
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.engines.chip.overflow import Bounds
from loihi_deploy.engines.delivery import BLOCK
from loihi_deploy.engines.events import Events
from loihi_deploy.ir import Dense, Graph, Input, Projection, Readout
from loihi_deploy.ir.program import BiasInput, Compartments, Noise, Program, Synapses
from tests.engines.programs import NO_GRAPH, programs, random_spikes

EVERYTHING = ("spikes", "u", "v", "events")


def assert_same_arrays(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        if isinstance(ours[name], dict):
            assert_same_arrays(ours[name], theirs[name])
        else:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].shape == theirs[name].shape
            assert (ours[name] == theirs[name]).all(), name


def assert_same(ours, theirs):
    assert_same_arrays(ours.recorded, theirs.recorded)
    assert ours.counts == theirs.counts
    for field in ("u", "v", "refractory", "spikes", "pending", "delayed"):
        assert_same_arrays(getattr(ours.state, field), getattr(theirs.state, field))
    assert (ours.state.noise is None) == (theirs.state.noise is None)
    if ours.state.noise is not None:
        assert (ours.state.noise[1] == theirs.state.noise[1]).all()
        assert ours.state.noise[2:] == theirs.state.noise[2:]


@given(
    programs(delays=True), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.2, 0.9]), st.integers(1, 40)
)
@settings(deadline=None, max_examples=300)
def test_equals_the_reference(program, seed, rate, steps):
    spikes = random_spikes(program, 2, steps, rate, seed)
    record = {p.name: EVERYTHING for p in program.populations}
    expected = reference.simulate(program, spikes, steps, record, seed=seed)
    assert_same(engine.simulate(program, spikes, steps, record, seed=seed), expected)


@pytest.mark.parametrize("decay", [0, 1, 200, 255, 256, 257, 4095])
@pytest.mark.parametrize("v_max", [2**9 - 1, 2**23 - 1])
@pytest.mark.parametrize("v_min", [0, -(2**9) + 1, -(2**23) + 1, -(2**31) + 1])
@pytest.mark.parametrize("refractory", [1, 3])
def test_voltages_as_large_as_there_are(decay, v_max, v_min, refractory):
    rng, largest = np.random.default_rng(decay), 2**23 - 1
    start = rng.integers(-largest, largest, BLOCK, endpoint=True)
    start[:5] = -largest, largest, v_max, -1, 1
    population = Compartments(
        *("p", (BLOCK,), 4095, decay, 64),
        bias=rng.integers(-4095, 4096, BLOCK) << 7,
        refractory=refractory,
        v_min=v_min,
        v_max=v_max,
        initial_voltage=start,
    )
    program = Program(NO_GRAPH, (), (population,), (), NO_GRAPH, ())
    expected = reference.simulate(program, {}, 20, {"p": EVERYTHING}, reference.initial_state(program, 1, 0))
    assert_same(engine.simulate(program, {}, 20, {"p": EVERYTHING}), expected)
    assert len(expected.recorded["p"]["events"]) > 100
    chip = engine.engine(program)  # from rest there is no step that looks for large currents first
    recording = chip.recording({"p": ("spikes", "v")})
    recorded = np.zeros((1, 20, BLOCK), bool), np.zeros((1, 20, BLOCK), np.int32)
    nothing = Events.from_dense({}, 1, 20), chip.noise_values(None, 20)
    chip.run(
        *(nothing[0], chip.start(1), 0, 20, nothing[1], {}),
        *(recording, recorded, chip.empty_counts(1)),
    )
    assert (recorded[0] == expected.recorded["p"]["spikes"]).all()
    assert (recorded[1] == expected.recorded["p"]["v"]).all()


@given(programs(delays=True), st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=50)
def test_used_arrays_are_at_rest_again(program, n):
    chip = engine.Engine(program)
    used = chip.start(n)
    for array in used:
        array.fill(1)
    fresh, again = chip.start(2), chip.start(2, used)
    assert (again is used) == (n == 2)
    for ours, theirs in zip(again, fresh, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@given(programs(delays=True), st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 40))
@settings(deadline=None, max_examples=50)
def test_a_run_can_be_cut_in_two(program, seed, steps, cut):
    cut = min(cut, steps)
    spikes = random_spikes(program, 2, steps, 0.2, seed)
    record = {p.name: ("spikes", "u", "v") for p in program.populations}
    whole = engine.simulate(program, spikes, steps, record, seed=seed)
    state, parts = None, []
    for part in (slice(0, cut), slice(cut, steps)):
        now = {name: array[:, part] for name, array in spikes.items()}
        parts.append(engine.simulate(program, now, part.stop - part.start, record, state, seed=seed))
        state = parts[-1].state
    for name, variables in whole.recorded.items():
        for variable, expected in variables.items():
            both = np.concatenate([part.recorded[name][variable] for part in parts], axis=1)
            assert (both == expected).all()
    for name, counts in whole.counts.items():
        assert parts[0].counts[name] + parts[1].counts[name] == counts


@pytest.mark.parametrize("noise", [None, Noise(9), Noise(9, at_membrane=True)])
def test_biases_from_the_input(noise):
    rng = np.random.default_rng(0)
    encoder = Graph(
        (Input("x", (3,)),),
        (),
        (Projection("x", "p", Dense(np.ones((300, 3)))),),
        (Readout("p", (300,), np.zeros(300)),),
    )
    populations = (
        Compartments("p", (300,), 741, 0, 64 * 500, 77),
        Compartments("o", (3,), 741, 0, 64, 5, noise=noise),
    )
    synapses = (Synapses("p", "o", Dense(rng.integers(-9, 9, (3, 300)).astype(np.int8)), 6),)
    program = Program(
        encoder, (), populations, synapses, NO_GRAPH, bias_inputs=(BiasInput("p", 1.0, 4095, 7),)
    )
    biases = {"p": rng.integers(-9000, 9000, (2, 3, 300)).astype(np.int32)}
    record = {"p": EVERYTHING, "o": EVERYTHING}
    expected = reference.simulate(program, {}, 15, record, seed=1, biases=biases)
    assert expected.counts["p"].spikes > 100
    assert_same(engine.simulate(program, {}, 15, record, seed=1, biases=biases), expected)


@pytest.mark.parametrize("decay", [0, 1, 741, 4095])
def test_currents_on_both_sides_of_what_one_product_holds(decay):
    """Below 2^19 a current times its factor fits in 32 bits; blocks of small and of large currents, side by side."""
    edges = [0, 1, 4095, 4096, 2**18, 2**19 - 2, 2**19 - 1, 2**19, 2**19 + 1, 2**20, 2**23 - 1]
    small = np.tile([s * e for e in edges[:7] for s in (1, -1)], 37)[: 2 * BLOCK]
    values = np.concatenate([small, *([0] * (BLOCK - 1) + [s * e] for e in edges for s in (1, -1))])
    p = Compartments("p", (len(values),), decay, 0, 64 * (2**17 - 1), 0, v_min=-(2**23) + 1)
    program = Program(NO_GRAPH, (), (p,), (), NO_GRAPH)
    rest = reference.simulate(program, {}, 1, {}).state
    state = replace(rest, u={"p": values[None].astype(np.int32)})
    record = {"p": EVERYTHING}
    expected = reference.simulate(program, {}, 9, record, state)
    assert (expected.recorded["p"]["u"][:, 0] != 0).any() == (decay < 4095)
    assert_same(engine.simulate(program, {}, 9, record, state), expected)


@pytest.mark.parametrize(("down", "up"), [(0, 0), (7_000_000, 5), (5, 7_000_000), (6_900_000, 7_000_000)])
@pytest.mark.parametrize("heaviest", [0, 1, 127 << 6])
def test_how_many_spikes_cannot_wrap_is_what_the_larger_bias_leaves(down, up, heaviest):
    """Sums of 21 bits and their sign; currents of 23, of which 2^19 may be there and a bias comes on top."""
    p = Compartments("p", (1,), 100, 0, 64, np.zeros(1, np.int32))
    far = 1 << 30
    bounds = Bounds((0, 0), (-far, far), (-far, far), (-far - down, far + up), loihi_arithmetic())
    most = min(1 << 21, (1 << 23) - (1 << 19) - max(down, up)) - 1
    assert engine._fitting(p, bounds, heaviest) == most // max(heaviest, 1)
    assert engine._fitting(replace(p, noise=Noise(5)), bounds, heaviest) == -1
    never = Bounds((0, 0), (-1, 1), (-1, 1), (-1, 1), loihi_arithmetic())
    assert engine._fitting(p, never, heaviest) == 2**63 - 1
