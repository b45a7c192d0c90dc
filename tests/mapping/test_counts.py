"""Output axons between slices are those that their bundles have, laid out one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping.counts import Wires, axons_between
from loihi_deploy.mapping.layout import bundles, grids
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice, Wiring, whole_cores
from loihi_deploy.mapping.shapes import shapes_of
from loihi_deploy.mapping.traffic import axon_slots, core_of_neurons, traffic
from tests.mapping.networks import NOTHING, chain, compartments, networks, sparse, weights

LIMITS = load_board("loihi").chip.core


def laid_out(program, projection, pre, post):
    """Axons and slots from each slice to each, counted from the bundles into the latter."""
    cores = [[piece] for piece in (*pre, *post)]
    into = [
        [
            bundle
            for wiring in piece.wirings
            if wiring.projection == projection
            for bundle in bundles(program, piece, wiring, LIMITS)
        ]
        for piece in post
    ]
    place = core_of_neurons(program, cores, grids(program))
    axons, slots = np.zeros((2, len(pre), len(post)), int)
    for flow in traffic(program, [*([] for _ in pre), *into], place, LIMITS):
        axons[flow.pre, flow.post - len(pre)] += flow.axons
        slots[flow.pre, flow.post - len(pre)] += flow.slots
    return axons, slots


def check(program, projection, pre, post):
    found = axons_between(program, projection, pre, post, LIMITS)
    for ours, wanted in zip(found, laid_out(program, projection, pre, post), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    return found


@settings(max_examples=30)
@given(networks(), st.data())
def test_of_drawn_networks(program, data):
    projections = [i for i, s in enumerate(program.synapses) if s.pre not in ("in", s.post)]
    i = data.draw(st.sampled_from(projections))
    pre, post = (
        shapes_of(program, name, LIMITS) for name in (program.synapses[i].pre, program.synapses[i].post)
    )
    a, b = (data.draw(st.integers(0, len(shapes) - 1)) for shapes in (pre, post))
    check(program, i, pre.slices(a), post.slices(b))


@pytest.mark.parametrize("axon", [POP16, POP32])
def test_of_an_image_that_two_convolutions_see_in_different_shapes(axon):
    """The first one's pixels, whose channels share an axon, are cut through: slices are those of the second's image."""
    rng = np.random.default_rng(0)
    first = Conv2D(weights(rng, 3, 3, 3, 5), (1, 1), (0, 0), (4, 4, 3), (2, 2, 5))
    second = Conv2D(weights(rng, 1, 2, 6, 4), (1, 1), (0, 0), (2, 4, 6), (2, 3, 4))
    program = Program(
        NOTHING,
        (SpikeSource("in", (7,)),),
        (
            compartments(rng, "line", (48,)),
            compartments(rng, "image", (2, 2, 5)),
            compartments(rng, "other", (2, 3, 4)),
        ),
        (
            Synapses("in", "line", Dense(weights(rng, 48, 7)), 6),
            Synapses("line", "image", first, 6),
            Synapses("line", "other", second, 6),
        ),
        NOTHING,
    )
    assert grids(program)["line"] == (2, 4, 6)
    pre = [Slice("line", (0, 0, a), (2, 4, a + 2)) for a in (0, 2, 4)]
    wiring = (Wiring(1, "pixels", axon, 3),)
    post = [Slice("image", (y, 0, 0), (y + 1, 2, 5), wirings=wiring) for y in (0, 1)]
    axons, slots = check(program, 1, pre, post)
    # the channels of a pixel lie in one or two of the slices; rows 0 to 2, and 1 to 3, of four pixels are seen
    assert axons.tolist() == [[6, 6], [12, 12], [6, 6]]
    assert (slots == axons * axon_slots(axon, LIMITS)).all()


def test_of_a_sparse_matrix_only_columns_that_hold_something():
    rng = np.random.default_rng(0)
    program = chain((9,), [("dense", 30), ("dense", 20)])
    matrix = sparse(rng, 20, 30, 0.05)
    program = replace(program, synapses=(program.synapses[0], replace(program.synapses[1], transform=matrix)))
    pre = [Slice("dense1", (0, 0, a), (1, 1, a + 10)) for a in (0, 10, 20)]
    wiring = (Wiring(1, "rows", DISCRETE),)
    post = [Slice("dense2", (0, 0, a), (1, 1, a + 10), wirings=wiring) for a in (0, 10)]
    axons, _ = check(program, 1, pre, post)
    held = matrix.toarray() != 0
    assert axons.tolist() == [
        [int(held[b : b + 10, a : a + 10].any(axis=0).sum()) for b in (0, 10)] for a in (0, 10, 20)
    ]


def test_cores_count_what_all_their_slices_send_and_to_how_many_cores():
    program = chain((9,), [("dense", 30), ("dense", 20)])
    first = [Slice("dense1", (0, 0, a), (1, 1, a + 10)) for a in (0, 10, 20)]
    second = [
        Slice("dense2", (0, 0, a), (1, 1, a + 10), wirings=(Wiring(1, "rows", DISCRETE),)) for a in (0, 10)
    ]
    cores = [[first[0], first[1]], [first[2], second[0]], [second[1]]]
    per_axon = LIMITS.slots_per_discrete_axon
    for interchip, extra in ((False, 0), (True, LIMITS.extra_slots_interchip)):
        found = Wires(program, LIMITS).outputs(cores, interchip)
        assert found.slots.tolist() == [40 * (per_axon + extra), 20 * (per_axon + extra), 0]
        assert found.destinations.tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("thousandths", "cores"),
    [
        (0, 0),
        (1, 1),
        (999, 1),
        (1000, 1),
        (1000.5, 2),
        (2000, 2),
        (2000 - 1e-7, 2),
        (2000 + 1e-7, 2),
        (2001, 3),
    ],
)
def test_parts_of_cores_are_rounded_up_but_not_what_floats_are_off_by(thousandths, cores):
    assert whole_cores(thousandths) == cores
