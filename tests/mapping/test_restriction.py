"""Ways to wire with which no core breaks a rule on senders, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Dense, Graph, Input, Projection, Readout
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32
from loihi_deploy.mapping.restriction import Restriction, restrictions
from loihi_deploy.mapping.shapes import shapes_with_boxes
from tests.mapping.networks import chain
from tests.mapping.test_senders import conv_and_sparse, two_ways

LIMITS = load_board("loihi").chip.core
NOBODY = frozenset()


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        ("discrete", "other", True),
        ("discrete", "sixteen", False),
        ("thirty-two", "discrete", False),
        ("sixteen", "thirty-two", True),
        ("sixteen", "silent", True),  # one that sends to nobody goes anywhere
        ("silent", "discrete", True),
        ("silent", "silent", True),
    ],
)
def test_populations_that_send_by_different_kinds_share_no_core(a, b, together):
    kinds = {"discrete": DISCRETE, "other": DISCRETE, "sixteen": POP16, "thirty-two": POP32}
    assert Restriction({}, kinds, NOBODY, NOBODY).go_together(a, b) == together


def test_shapes_are_allowed_by_their_axons_and_where_that_is_asked_for_with_all_channels():
    program = chain((6, 6, 8), [("conv", 3, 1, 4, 1)])
    shapes = shapes_with_boxes(program, "conv1", np.array([[3, 2, 4], [3, 3, 2]]), LIMITS)

    def kept(axon, whole=NOBODY):
        found = Restriction(axon, {}, frozenset(whole), NOBODY).allowed(shapes)
        return {
            (found.wirings[way][0].axon, channels)
            for way, channels in zip(found.way.tolist(), found.box[:, 2].tolist(), strict=True)
        }

    everything = {(POP32, 4), (POP32, 2), (POP16, 4)}
    assert kept({}) == kept({7: POP16}) == kept({}, ["other"]) == everything
    assert kept({0: POP16}) == {(POP16, 4)}
    assert kept({0: POP32}) == {(POP32, 4), (POP32, 2)}
    assert kept({0: POP32}, ["conv1"]) == {(POP32, 4)}
    assert kept({0: DISCRETE}) == set()


def test_all_that_see_a_layer_are_sent_to_alike_and_depthwise_ones_among_several_are_not_cut():
    """A slice of some channels would number the channels of its senders otherwise than one of all."""
    found = restrictions(two_ways(5, 6, 8), LIMITS)
    assert found == [
        Restriction({1: axon, 2: axon}, {"first": axon}, frozenset({"depthwise"}), NOBODY)
        for axon in (POP32, POP16)
    ]
    found = restrictions(two_ways(5, 6, 0, "depthwise"), LIMITS)
    assert found == [
        Restriction(
            {1: axon, 2: axon}, {"first": axon, "depthwise": axon}, NOBODY, frozenset({"depthwise", "behind"})
        )
        for axon in (POP32, POP16)
    ]


def test_where_nothing_is_common_nothing_is_restricted():
    assert restrictions(conv_and_sparse(), LIMITS) == [Restriction({}, {}, NOBODY, NOBODY)]


def read(program, name):
    """The program with a readout of one of its populations."""
    size = program.nodes[name].size
    host = Graph(
        (Input(name, (size,)),),
        (),
        (Projection(name, "out", Dense(np.eye(size)), 0.0),),
        (Readout("out", (size,), np.zeros(size)),),
    )
    return replace(program, readout=host)


def test_what_the_host_reads_sends_by_discrete_axons_where_it_can():
    dense = chain((4,), [("dense", 6), ("dense", 5)])
    assert [each.sends_by for each in restrictions(dense, LIMITS)] == [{"dense1": POP32}, {"dense1": POP16}]
    assert [each.sends_by for each in restrictions(read(dense, "dense2"), LIMITS)] == [
        {"dense1": POP32},
        {"dense1": POP16},
    ]
    (only,) = restrictions(read(dense, "dense1"), LIMITS)
    assert only == Restriction({1: DISCRETE}, {"dense1": DISCRETE}, NOBODY, NOBODY)
    conv = chain((6, 6, 2), [("conv", 3, 1, 4), ("depthwise", 3, 1, 1)])
    assert [each.sends_by for each in restrictions(read(conv, "conv1"), LIMITS)] == [
        {"conv1": POP32},
        {"conv1": POP16},
    ]
