"""Our engines against nengo-loihi's emulator: spikes, currents and voltages of every step."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.ir import Conv2D, Dense, Graph
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from loihi_deploy.mapping.assembly import assemble
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice, Wiring

pytest.importorskip("nengo_loihi")
from loihi_deploy.backends import nengo_loihi

EVERYTHING = ("spikes", "u", "v")
STEPS = 40
NOTHING = Graph((), (), ())


def weights(rng, *shape):
    return rng.integers(-100, 128, shape).astype(
        np.int8
    )  # somewhat excitatory: spikes reach every population


def compartments(rng, name, shape, kind, threshold=1000):
    size = int(np.prod(shape))
    lif = kind == "lif"
    return Compartments(
        name,
        shape,
        decay_u=int(rng.integers(700, 4095)),
        decay_v=int(rng.integers(100, 400)) if lif else 0,
        threshold=64 * threshold,
        bias=rng.integers(-4095, 4096, size) << rng.integers(0, 4, size),
        refractory=int(rng.integers(2, 5)) if lif else 1,
        v_min=int(rng.choice([0, -(2**20) + 1])),
        initial_voltage=rng.integers(0, 64 * threshold, size) if rng.integers(2) else None,
    )


def network(seed, kind):
    """Convolutions with padding and strides, grouped, parallel, dense and recurrent projections, both shifts."""
    rng = np.random.default_rng(seed)
    sparse = weights(rng, 90, 7 * 5 * 3)
    sparse[rng.random(sparse.shape) > 0.1] = 0

    return Program(
        NOTHING,
        (SpikeSource("in", (7, 5, 3)), SpikeSource("side", (6,))),
        (
            compartments(rng, "same", (7, 5, 8), kind),
            compartments(rng, "strided", (3, 2, 12), kind),
            compartments(rng, "grouped", (3, 2, 8), kind),
            compartments(rng, "depthwise", (2, 1, 12), kind),
            compartments(rng, "dense", (30,), kind),
            compartments(rng, "sparse", (90,), kind),
        ),
        (
            Synapses("in", "same", Conv2D(weights(rng, 3, 3, 3, 8), (1, 1), (1, 1), (7, 5, 3), (7, 5, 8)), 6),
            Synapses(
                "same", "strided", Conv2D(weights(rng, 3, 2, 8, 12), (2, 2), (0, 0), (7, 5, 8), (3, 2, 12)), 7
            ),
            Synapses(
                "in", "strided", Conv2D(weights(rng, 2, 2, 3, 12), (2, 2), (0, 0), (7, 5, 3), (3, 2, 12)), 6
            ),
            Synapses(
                "strided",
                "grouped",
                Conv2D(weights(rng, 1, 1, 3, 8), (1, 1), (0, 0), (3, 2, 12), (3, 2, 8), 4),
                7,
            ),
            Synapses(
                "strided",
                "depthwise",
                Conv2D(weights(rng, 2, 2, 1, 12), (1, 1), (0, 0), (3, 2, 12), (2, 1, 12), 12),
                7,
            ),
            Synapses("grouped", "dense", Dense(weights(rng, 30, 48)), 7),
            Synapses("depthwise", "dense", Dense(weights(rng, 30, 24)), 6),
            Synapses("side", "dense", Dense(weights(rng, 30, 6)), 6),
            Synapses("dense", "dense", Dense(weights(rng, 30, 30)), 6),
            Synapses("in", "sparse", Dense(sparse).csr(), 7),
            Synapses("dense", "same", Dense(weights(rng, 280, 30)), 6),
        ),
        NOTHING,
    )


def cut(program, name, shape, lane, wire, margin=(0, 0)):
    """Slices of a shape, with one way of wiring for all projections."""
    height, width, channels = grids(program)[name]
    wirings = tuple(wire(program, i) for i, s in enumerate(program.synapses) if s.post == name)
    h, w, c = shape
    for y in range(0, height, h):
        for x in range(0, width, w):
            for f in range(0, channels, c):
                stop = (min(y + h, height), min(x + w, width), min(f + c, channels))
                yield Slice(
                    name, (y, x, f), stop, 0, lane if (stop[2] - f) % lane == 0 else 1, margin, wirings
                )


def by_pixels_pop32(program, i):
    convolution = isinstance(program.synapses[i].transform, Conv2D)
    dense = (
        isinstance(program.synapses[i].transform, Dense)
        and len(program.nodes[program.synapses[i].post].shape) == 1
    )
    return Wiring(i, "pixels", POP32, 5) if convolution or dense else Wiring(i, "rows", compressed=True)


def by_pixels_pop16(program, i):
    convolution = isinstance(program.synapses[i].transform, Conv2D)
    return Wiring(i, "pixels", POP16, 4) if convolution else Wiring(i, "rows")


def by_rows(program, i):
    return Wiring(i, "rows", DISCRETE)


def stacked(slices):
    """All of them on one core, one after the other."""
    offset, placed = 0, []
    for piece in slices:
        placed.append(replace(piece, offset=offset))
        offset += piece.n_compartments
    return placed


def one_core_per_slice(program):
    shapes = {
        "same": ((4, 3, 4), 2),
        "strided": ((2, 2, 5), 1),
        "grouped": ((1, 2, 3), 3),
        "depthwise": ((1, 1, 5), 5),
        "dense": ((1, 1, 11), 1),
        "sparse": ((1, 1, 37), 1),
    }
    return [
        [p]
        for name, (shape, lane) in shapes.items()
        for p in cut(program, name, shape, lane, by_pixels_pop32)
    ]


def shared_cores(program):
    shapes = {
        "same": ((4, 5, 8), 4),
        "strided": ((3, 2, 4), 4),
        "grouped": ((3, 2, 8), 1),
        "depthwise": ((2, 1, 4), 1),
        "dense": ((1, 1, 30), 1),
        "sparse": ((1, 1, 45), 1),
    }
    pieces = [
        p for name, (shape, lane) in shapes.items() for p in cut(program, name, shape, lane, by_pixels_pop16)
    ]
    # every core gets a mixture; voltages bounds are a setting of the core, so only equal ones share
    groups = {}
    for number, piece in enumerate(pieces):
        groups.setdefault((program.nodes[piece.population].v_min, number % 2), []).append(piece)
    return [stacked(group) for group in groups.values()]


def rows_only(program):
    return [
        [piece]
        for name in ("same", "strided", "grouped", "depthwise", "dense", "sparse")
        for piece in cut(program, name, (3, 2, 7), 1, by_rows)
    ]


def with_margins(program):
    """Compartments around the slices that stand for outputs elsewhere, so that all pixels share one set of weights."""
    shapes = {
        "same": ((3, 5, 4), 1, (2, 2)),
        "strided": ((3, 1, 6), 2, (1, 0)),
        "grouped": ((3, 2, 8), 1, (0, 0)),
        "depthwise": ((2, 1, 12), 1, (1, 1)),
        "dense": ((1, 1, 30), 1, (0, 0)),
        "sparse": ((1, 1, 90), 1, (3, 1)),
    }
    return [
        [piece]
        for name, (shape, lane, margin) in shapes.items()
        for piece in cut(
            program, name, shape, lane, by_pixels_pop32 if margin == (0, 0) else by_explicit, margin
        )
    ]


def by_explicit(program, i):
    convolution = isinstance(program.synapses[i].transform, Conv2D)
    return Wiring(i, "pixels", POP32, 1024) if convolution else Wiring(i, "rows")


@pytest.mark.parametrize("kind", ["if", "lif"])
@pytest.mark.parametrize("layout", [one_core_per_slice, shared_cores, rows_only, with_margins])
def test_every_step_is_equal(kind, layout):
    program = network(3, kind)
    board = load_board("kapoho_bay")
    core = replace(board.chip.core, max_destination_groups=64)  # a rule of routing, of no effect on spikes
    board = replace(board, chip=replace(board.chip, core=core))
    mapping = assemble(program, board, layout(program))
    rng = np.random.default_rng(5)
    spikes = {s.name: rng.random((2, STEPS, s.size)) < 0.2 for s in program.sources}
    record = {p.name: EVERYTHING for p in program.populations}
    expected = reference.simulate(program, spikes, STEPS, record)
    found = nengo_loihi.simulate(program, mapping, spikes, STEPS, record)
    for name in record:
        assert expected.counts[name].spikes > 100, "a silent population proves nothing"
        for variable in EVERYTHING:
            np.testing.assert_array_equal(
                found.recorded[name][variable], expected.recorded[name][variable], f"{variable} of {name}"
            )
    assert found.counts == expected.counts
