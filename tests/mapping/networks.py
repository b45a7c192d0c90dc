"""Programs with random integers, and what holds for every mapping of one."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from loihi_deploy.ir import Conv2D, Dense, Graph
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from loihi_deploy.mapping import RULES
from loihi_deploy.mapping.layout import grids

NOTHING = Graph((), (), ())


def weights(rng, *shape):
    """Somewhat excitatory, so that spikes reach every population."""
    return rng.integers(-100, 128, shape).astype(np.int8)


def sparse(rng, n_out, n_in, density=0.2):
    values = weights(rng, n_out, n_in)
    values[rng.random(values.shape) > density] = 0
    return Dense(values).csr()


def narrow(synapses, bits):
    """The synapses with weights of so many bits, rounded towards 0."""
    values = synapses.transform.values.astype(int)
    kept = np.sign(values) * (np.abs(values) >> (8 - bits) << (8 - bits))
    return replace(synapses, transform=synapses.transform.with_values(kept.astype(np.int8)), weight_bits=bits)


def compartments(rng, name, shape, **kwargs):
    size = int(np.prod(shape))
    settings = {
        "decay_u": int(rng.integers(700, 4095)),
        "decay_v": int(rng.choice([0, 200])),
        "threshold": 64 * int(rng.integers(300, 2000)),
        "bias": rng.integers(-4095, 4096, size) << rng.integers(0, 4, size),
        "refractory": int(rng.integers(1, 4)),
    }
    return Compartments(name, shape, **{**settings, **kwargs})


def chain(shape, layers, seed=0, **kwargs):
    """A source and layers behind it.

    ('conv', kernel, stride, channels[, padding]), ('depthwise', kernel, stride, padding) or ('dense', n).
    """
    rng = np.random.default_rng(seed)
    sources = (SpikeSource("in", shape),)
    populations, synapses, pre = [], [], "in"
    for number, (kind, *numbers) in enumerate(layers, start=1):
        name = f"{kind}{number}"
        if kind == "dense":
            transform, new = Dense(weights(rng, numbers[0], int(np.prod(shape)))), (numbers[0],)
        else:
            kernel, stride, channels, padding = (
                (*numbers, 0)[:4] if kind == "conv" else (*numbers[:2], shape[2], numbers[2])
            )
            groups = 1 if kind == "conv" else shape[2]
            new = (*((n + 2 * padding - kernel) // stride + 1 for n in shape[:2]), channels)
            values = weights(rng, kernel, kernel, shape[2] // groups, channels)
            transform = Conv2D(values, (stride, stride), (padding, padding), shape, new, groups)
        populations.append(compartments(rng, name, new, **kwargs))
        synapses.append(Synapses(pre, name, transform, int(rng.integers(6, 8))))
        shape, pre = new, name
    return Program(NOTHING, sources, tuple(populations), tuple(synapses), NOTHING)


@st.composite
def convolutions(draw, most=7, channels=9):
    """Convolutions of all kinds: kernels, strides, padding and cropping, groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depth_in = groups * draw(st.integers(1, channels // groups))
    depth_out = groups * draw(st.integers(1, channels // groups))
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = tuple(
        draw(st.integers(-1 if n > 2 else 0, size - 1))
        for n, size in zip((height, width), kernel, strict=True)
    )
    out = tuple(
        max((n + pad + draw(st.integers(0, k - 1)) - k) // stride + 1, 1)
        for n, k, stride, pad in zip((height, width), kernel, strides, padding, strict=True)
    )
    values = weights(rng, *kernel, depth_in // groups, depth_out)
    return Conv2D(values, strides, padding, (height, width, depth_in), (*out, depth_out), groups)


@st.composite
def networks(draw):
    """Small networks: a convolution, branches that meet, flat layers, loops; neurons of equal or different settings."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    first = draw(convolutions())
    shared = {"v_min": 0} if draw(st.booleans()) else {}
    sources = (SpikeSource("in", first.in_shape),)
    populations = [compartments(rng, "a", first.out_shape)]
    synapses = [Synapses("in", "a", first, 7)]
    height, width, channels = first.out_shape
    if draw(st.booleans()):
        depth = draw(st.integers(1, 6))
        second = Conv2D(
            weights(rng, 3, 3, channels, depth), (1, 1), (1, 1), first.out_shape, (height, width, depth)
        )
        skip = Conv2D(
            weights(rng, 1, 1, channels, depth), (1, 1), (0, 0), first.out_shape, (height, width, depth)
        )
        populations.append(compartments(rng, "b", second.out_shape, **shared))
        synapses += [Synapses("a", "b", second, 6), Synapses("a", "b", skip, 7)]
    last = populations[-1]
    n = draw(st.integers(1, 30))
    populations.append(compartments(rng, "flat", (n,), v_min=int(draw(st.sampled_from([0, -(2**18) + 1])))))
    flat = Dense(weights(rng, n, last.size)) if draw(st.booleans()) else sparse(rng, n, last.size)
    synapses.append(Synapses(last.name, "flat", flat, 6))
    if draw(st.booleans()):
        synapses.append(Synapses("flat", "flat", Dense(weights(rng, n, n)), 6))
    if draw(st.booleans()):
        synapses.append(Synapses("flat", "a", sparse(rng, populations[0].size, n), 6))
    if draw(st.booleans()):
        synapses = [narrow(one, draw(st.sampled_from([3, 4, 5, 6, 8]))) for one in synapses]
    return Program(NOTHING, sources, tuple(populations), tuple(synapses), NOTHING)


def check_rules(program, mapping):
    """Every limit is kept or warned of, cores lie where there are any, and every neuron is there once."""
    board = mapping.board
    for core in mapping.cores:
        for rule in RULES:
            if rule.scope == "core" and core.usage[rule.name] > rule.limit(board):
                assert rule.severity == "warning", rule.name
                assert any(rule.what in warning for warning in mapping.warnings)
        ends = sorted((piece.offset, piece.offset + piece.n_compartments) for piece in core.slices)
        assert ends[0][0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(ends))
    on_chip = Counter(core.chip for core in mapping.cores)
    assert max(on_chip.values()) <= board.chip.n_cores
    assert len(on_chip) <= board.n_chips
    places = [(core.chip, core.number) for core in mapping.cores]
    assert places == sorted(set(places))
    assert places == [(chip, k) for chip in sorted(on_chip) for k in range(on_chip[chip])]
    for population in program.populations:
        grid = grids(program)[population.name]
        pieces = [p for core in mapping.cores for p in core.slices if p.population == population.name]
        neurons = np.concatenate([piece.neurons(grid) for piece in pieces])
        assert sorted(neurons.tolist()) == list(range(population.size)), "every neuron exactly once"
