"""One contract for every engine of the chip part: those of the backends, and the Nengo simulator's chip."""

import importlib.util
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from loihi_deploy.backends.chip_engines import ENGINES, ChipRun
from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Conv2D, Dense, Graph, Readout
from loihi_deploy.ir.program import BiasInput, Compartments, Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import BACKENDS
from tests.engines.programs import NO_GRAPH, mantissas, programs, random_spikes, random_transform

EVERYTHING = ("spikes", "u", "v", "events")
BOARD = load_board("nahuku32")


class BlockChip:
    """The chip of the Nengo simulator, on the blocks that nengo-loihi's emulator gets, sample by sample."""

    continues = counts_wraps = False  # it counts them for the whole chip

    def __init__(self, mapping):
        self._mapping = mapping

    def simulate(self, run):
        pytest.importorskip("nengo_loihi")
        from loihi_deploy.backends import nengo_loihi
        from loihi_deploy.simulator.block_chip import Chip

        program, spikes, steps, record = run.program, run.spikes, run.steps, run.record
        made = nengo_loihi.build_model(program, self._mapping, nengo_loihi._probed_variables(program, record))
        samples = {key: [] for key in made.probes}
        overflows = {}
        for sample in range(len(next(iter(spikes.values())))):
            chip = Chip(made.model, run.seed, {})
            first = {name: chip.layout.first_input[made.inputs[name]] for name in spikes}
            chip.begin(steps)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Overflow")
                chip.advance(
                    [
                        np.concatenate(
                            [first[name] + np.flatnonzero(x[sample, t]) for name, x in spikes.items()]
                        )
                        for t in range(steps)
                    ]
                )
            # it counts for the whole chip, so for the one population that programs here have
            for kind, count in zip("quu", chip.wrapped, strict=True):
                overflows["p", kind] = overflows.get(("p", kind), 0) + int(count)
            for key, probe in made.probes.items():
                samples[key].append(nengo_loihi.in_order(made.tree["places"][key[0]], chip.recorded(probe)))
        probed = {key: np.stack(values) for key, values in samples.items()}
        return nengo_loihi.simulation_of(program, probed, record, overflows, spikes)


# A new engine is one more line in `loihi_deploy.backends.chip_engines.ENGINES`.
ALL = {**ENGINES, "the Nengo simulator's chip": BlockChip}
if importlib.util.find_spec("nxsdk") is None:
    del ALL["hardware"]  # what it says then: tests/backends/test_nengo_loihi.py
OTHERS = [name for name in ALL if name != "numpy"]
"""All but the plain one, which every other is held to."""


def run(name, program, spikes, steps, record, seed=0, **given):
    needs_cores = name not in ("numpy", "emulator")
    if needs_cores:
        pytest.importorskip("nengo_loihi")
    engine = ALL[name](map_to_cores(program, BOARD) if needs_cores else None)
    return engine.simulate(ChipRun(program, spikes, steps, record, seed=seed, **given))


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


def assert_same(name, ours, expected):
    if ALL[name](None).counts_wraps:
        assert ours.first_wrap == expected.first_wrap
    for population, variables in expected.recorded.items():
        for variable, values in variables.items():
            assert (ours.recorded[population][variable] == values).all(), (population, variable)
    assert ours.counts == expected.counts


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("shift", [6, 7])
def test_every_projection(name, transform, shift):
    rng = np.random.default_rng(shift)
    program = network(rng, TRANSFORMS[transform](rng), shift)
    spikes = random_spikes(program, 2, 25, 0.1, seed=1)
    record = {"p": EVERYTHING}
    expected = run("numpy", program, spikes, 25, record)
    assert expected.counts["p"].spikes > 20
    assert_same(name, run(name, program, spikes, 25, record), expected)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_neuron(name, neuron):
    rng = np.random.default_rng(0)
    weights = mantissas(rng, (40, 120))
    program = network(rng, Dense(np.abs(weights) if neuron == "wrapping" else weights), 7, **NEURONS[neuron])
    spikes = random_spikes(program, 2, 60, 0.2, seed=2)
    record = {"p": EVERYTHING}
    expected = run("numpy", program, spikes, 60, record)
    if neuron == "wrapping":
        assert expected.counts["p"].overflows_u > 0
        assert expected.first_wrap[0] == 0
    assert_same(name, run(name, program, spikes, 60, record), expected)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("exponent", range(1, 24))
@pytest.mark.parametrize("at_membrane", [False, True])
def test_noise_has_nengo_loihis_values(name, exponent, at_membrane):
    rng = np.random.default_rng(0)
    noise = Noise(exponent, offset=exponent - 12, at_membrane=at_membrane)
    program = network(rng, TRANSFORMS["dense"](rng), 6, decay_v=0, noise=noise, v_min=-(2**23) + 1)
    spikes = random_spikes(program, 1, 20, 0.1, seed=3)
    record = {"p": ("spikes", "u", "v")}
    expected = run("numpy", program, spikes, 20, record, 5)
    assert_same(name, run(name, program, spikes, 20, record, 5), expected)


@given(programs(), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.2, 0.9]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
def test_random_programs_equal_nengo_loihi(program, seed, rate):
    # nengo-loihi knows no other delay, and draws noise in the order of cores
    assume(not program.links)
    assume(all(p.noise is None for p in program.populations))
    spikes = random_spikes(program, 1, 8, rate, seed)
    record = {p.name: EVERYTHING for p in program.populations}
    expected = run("nengo_loihi", program, spikes, 8, record)
    assert_same("emulator", run("emulator", program, spikes, 8, record), expected)
    assert_same("numpy", run("numpy", program, spikes, 8, record), expected)


def test_the_backends_are_these_engines():
    assert tuple(ENGINES) == BACKENDS


@pytest.mark.parametrize("name", ALL)
def test_engines_that_continue_from_a_state(name):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["3x3"](rng), 6, refractory=3)
    spikes = random_spikes(program, 2, 30, 0.1, seed=4)
    record = {"p": ("spikes", "u", "v")}
    whole = run(name, program, spikes, 30, record)
    first = run(name, program, {"s": spikes["s"][:, :12]}, 12, record)
    assert (first.state is not None) is ALL[name](None).continues
    for variable, values in whole.recorded["p"].items():
        assert (first.recorded["p"][variable] == values[:, :12]).all()
    if first.state is not None:
        second = run(name, program, {"s": spikes["s"][:, 12:]}, 18, record, state=first.state)
        for variable, values in whole.recorded["p"].items():
            assert (second.recorded["p"][variable] == values[:, 12:]).all()


@pytest.mark.parametrize("name", [name for name in OTHERS if name in ENGINES])
def test_biases_from_the_input(name):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["3x3"](rng), 6)
    size = program.nodes["p"].size
    values = Graph((), (), (), (Readout("p", (size,), np.zeros(size)),))
    program = replace(program, encoder=values, bias_inputs=(BiasInput("p", 1.0, 4095, 7),))
    biases = {"p": rng.integers(-2000, 4000, (2, 3, size)).astype(np.int32)}
    spikes = random_spikes(program, 2, 30, 0.05, seed=4)
    expected = run("numpy", program, spikes, 30, {"p": EVERYTHING}, biases=biases)
    assert expected.counts != run("numpy", program, spikes, 30, {"p": EVERYTHING}).counts
    assert_same(name, run(name, program, spikes, 30, {"p": EVERYTHING}, biases=biases), expected)
