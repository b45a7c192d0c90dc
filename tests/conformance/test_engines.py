"""One contract for every engine of the chip part: the plain one, the fast one, nengo-loihi's emulator."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.engines.chip import compiled as engine
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Compartments, Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from tests.engines.programs import NO_GRAPH, mantissas, programs, random_spikes, random_transform

EVERYTHING = ("spikes", "u", "v", "events")
BOARD = load_board("nahuku32")


def run_reference(program, spikes, steps, record, seed):
    return reference.simulate(program, spikes, steps, record, seed=seed)


def run_fast(program, spikes, steps, record, seed):
    return engine.simulate(program, spikes, steps, record, seed=seed)


def run_nengo_loihi(program, spikes, steps, record, seed):
    pytest.importorskip("nengo_loihi")
    from loihi_deploy.backends import nengo_loihi

    return nengo_loihi.simulate(program, map_to_cores(program, BOARD), spikes, steps, record, seed=seed)


ENGINES = {"fast": run_fast, "nengo-loihi": run_nengo_loihi}

NEURONS = {
    "integrate-and-fire": {"decay_v": 0},
    "leaky": {"decay_v": 200, "refractory": 3},
    "leaky, long refractory period": {"decay_v": 40, "refractory": 63},
    "non-spiking": {"decay_v": 4095, "threshold": 64 * (2**17 - 1)},
    "voltage bounds": {"decay_v": 0, "v_min": -(2**20) + 1, "v_max": 2**21 - 1},
    "low threshold": {"decay_v": 0, "threshold": 64},
    "memoryless current": {"decay_v": 0, "decay_u": 4094},
    "long current": {"decay_v": 200, "decay_u": 40},
    "biased": {"decay_v": 0, "bias": 4095 << 7},
    "inhibited": {"decay_v": 0, "bias": -(4095 << 7), "v_min": -(2**23) + 1},
    "wrapping": {"decay_v": 0, "decay_u": 0, "v_min": -(2**31) + 1},
}

SHAPE = (6, 5, 4)


def convolution(rng, kernel, strides, padding, groups=1, channels=8):
    out = tuple((SHAPE[i] + sum(padding[i]) - kernel[i]) // strides[i] + 1 for i in (0, 1))
    weights = mantissas(rng, (*kernel, SHAPE[2] // groups, channels))
    before = padding[0][0], padding[1][0]
    return Conv2D(weights, strides, before, SHAPE, (*out, channels), groups)


VALID = ((0, 0), (0, 0))
TRANSFORMS = {
    "dense": lambda rng: Dense(mantissas(rng, (40, 120))),
    "sparse": lambda rng: random_transform(rng, (120,), (70,), "sparse"),
    "1x1": lambda rng: convolution(rng, (1, 1), (1, 1), VALID),
    "3x3": lambda rng: convolution(rng, (3, 3), (1, 1), VALID),
    "3x2, strides 2 and 1": lambda rng: convolution(rng, (3, 2), (2, 1), VALID),
    "same padding": lambda rng: convolution(rng, (3, 3), (1, 1), ((1, 1), (1, 1))),
    "uneven padding": lambda rng: convolution(rng, (4, 2), (2, 2), ((1, 2), (0, 1))),
    "stride beyond the kernel": lambda rng: convolution(rng, (1, 2), (2, 3), VALID),
    "groups": lambda rng: convolution(rng, (3, 3), (1, 1), VALID, groups=2),
    "depthwise": lambda rng: convolution(rng, (3, 3), (2, 2), ((0, 1), (1, 0)), groups=4, channels=4),
}


def network(rng, transform, shift, **settings):
    """A convolution or matrix into a population that also excites and inhibits itself."""
    settings = {"decay_u": 741, "decay_v": 0, "threshold": 64 * 300, "bias": 0, **settings}
    n = transform.out_size
    population = Compartments("p", (n,), **settings)
    recurrent = Synapses("p", "p", Dense(mantissas(rng, (n, n), 30)), 13 - shift)
    return Program(
        NO_GRAPH,
        (SpikeSource("s", SHAPE),),
        (population,),
        (Synapses("s", "p", transform, shift), recurrent),
        NO_GRAPH,
    )


def assert_same(ours, expected):
    for name, variables in expected.recorded.items():
        for variable, values in variables.items():
            assert (ours.recorded[name][variable] == values).all(), (name, variable)
    assert ours.counts == expected.counts


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("shift", [6, 7])
def test_every_projection(name, transform, shift):
    rng = np.random.default_rng(shift)
    program = network(rng, TRANSFORMS[transform](rng), shift)
    spikes = random_spikes(program, 2, 25, 0.1, seed=1)
    record = {"p": EVERYTHING}
    expected = reference.simulate(program, spikes, 25, record)
    assert expected.counts["p"].spikes > 20
    assert_same(ENGINES[name](program, spikes, 25, record, 0), expected)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_neuron(name, neuron):
    rng = np.random.default_rng(0)
    weights = mantissas(rng, (40, 120))
    program = network(rng, Dense(np.abs(weights) if neuron == "wrapping" else weights), 7, **NEURONS[neuron])
    spikes = random_spikes(program, 2, 60, 0.2, seed=2)
    record = {"p": EVERYTHING}
    expected = reference.simulate(program, spikes, 60, record)
    if neuron == "wrapping":
        assert expected.counts["p"].overflows_u > 0
    assert_same(ENGINES[name](program, spikes, 60, record, 0), expected)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("exponent", range(1, 24))
@pytest.mark.parametrize("at_membrane", [False, True])
def test_noise_has_nengo_loihis_values(name, exponent, at_membrane):
    rng = np.random.default_rng(0)
    noise = Noise(exponent, offset=exponent - 12, at_membrane=at_membrane)
    program = network(rng, TRANSFORMS["dense"](rng), 6, decay_v=0, noise=noise, v_min=-(2**23) + 1)
    spikes = random_spikes(program, 1, 20, 0.1, seed=3)
    record = {"p": ("spikes", "u", "v")}
    expected = reference.simulate(program, spikes, 20, record, seed=5)
    assert_same(ENGINES[name](program, spikes, 20, record, 5), expected)


@given(programs(), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.2, 0.9]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
def test_random_programs_equal_nengo_loihi(program, seed, rate):
    # nengo-loihi knows no other delay, and draws noise in the order of cores
    assume(not program.links)
    assume(all(p.noise is None for p in program.populations))
    spikes = random_spikes(program, 1, 8, rate, seed)
    record = {p.name: EVERYTHING for p in program.populations}
    expected = run_nengo_loihi(program, spikes, 8, record, 0)
    assert_same(run_fast(program, spikes, 8, record, 0), expected)
    assert_same(run_reference(program, spikes, 8, record, 0), expected)
