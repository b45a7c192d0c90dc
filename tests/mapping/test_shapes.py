"""Counting all shapes at once agrees with laying each of them out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping.counts import Wires, axons_between
from loihi_deploy.mapping.layout import grids, pixel_axons
from loihi_deploy.mapping.memory import words
from loihi_deploy.mapping.plan import Slice, Wiring
from loihi_deploy.mapping.planning import cost
from loihi_deploy.mapping.search import coupling
from loihi_deploy.mapping.shapes import (
    _SPARSE,
    _boxes,
    _layouts,
    _margins,
    occurring,
    shapes_of,
    shapes_with_boxes,
    sizes,
)
from loihi_deploy.mapping.usage import core_usage, slice_bundles
from tests.mapping.networks import NOTHING, chain, compartments, convolutions, networks, weights
from tests.mapping.test_layout import one_projection

LIMITS = load_board("loihi").chip.core


def counted_one_by_one(program, shapes, number, limits=LIMITS):
    """The most that any slice of a shape uses, and the most neurons that send to one."""
    used = []
    for piece in shapes.slices(number):
        made = slice_bundles(program, piece, limits)
        senders = sum(bundle.neurons.size for bundle in made)
        used.append({**core_usage(program, [piece], made, limits), "senders": senders})
    return {name: max(one[name] for one in used) for name in (*shapes.usage, "senders")}


def counted_at_once(shapes, number):
    """The same, as it is counted for all shapes together."""
    found = {name: int(used[number]) for name, used in shapes.usage.items()}
    return {**found, "senders": int(shapes.senders[number])}


def goes_up_in_groups(conv, channels):
    """Whether slices of so many channels cut no group of a convolution apart that they do not lie in."""
    group = conv.out_shape[2] // conv.groups
    return conv.groups == 1 or channels % group == 0 or group % channels == 0


def some(data, shapes, n=6):
    return data.draw(st.lists(st.integers(0, len(shapes) - 1), min_size=1, max_size=n, unique=True))


@settings(max_examples=60)
@given(convolutions(), st.sampled_from([7, 15, 31, 255]), st.data())
def test_convolutions(conv, base, data):
    """Exact, but where a base does not reach every position, or a group is cut apart; and never too little."""
    limits = replace(LIMITS, max_compartment_base=base)
    program = one_projection(conv, conv.in_shape, conv.out_shape)
    shapes = shapes_of(program, "post", limits)
    for i in some(data, shapes):
        exact, found = counted_one_by_one(program, shapes, i, limits), counted_at_once(shapes, i)
        layout = shapes.box[i], shapes.lane[i], shapes.margin[i], shapes.wirings[shapes.way[i]]
        assert all(found[name] >= exact[name] for name in exact), (layout, found, exact)
        plane = (shapes.box[i, :2] + shapes.margin[i]).prod()
        if goes_up_in_groups(conv, shapes.box[i, 2]) and plane * shapes.lane[i] <= base + 1:
            assert found == exact, layout


@pytest.mark.parametrize("layers", [[("conv", 3, 1, 6, 1)], [("conv", 2, 2, 8)], [("depthwise", 3, 1, 1)]])
@pytest.mark.parametrize("base", [3, 7])
def test_where_no_base_reaches_far_positions_sets_are_stored_anew_for_each_stretch_at_most(layers, base):
    limits = replace(LIMITS, max_compartment_base=base, pop16_base_multiple=2)
    program = chain((9, 7, 4), layers)
    (population,) = program.populations
    shapes, conv = shapes_of(program, population.name, limits), program.synapses[0].transform
    apart = 0
    for i in np.random.default_rng(0).choice(len(shapes), 20, replace=False):
        exact, found = counted_one_by_one(program, shapes, i, limits), counted_at_once(shapes, i)
        wiring, piece = shapes.wirings[shapes.way[i]][0], shapes.slices(i)[0]
        stretches = 1 + int(pixel_axons(conv, piece, wiring.axon, limits).sets[:, 4].max()) // (base + 1)
        apart += stretches > 1
        for name, most in exact.items():
            most = stretches * most if name == "synapse_words" else most
            assert exact[name] <= found[name] <= most, (shapes.box[i], name)
    assert apart > 5


@settings(max_examples=30)
@given(st.sampled_from(["dense", "sparse"]), st.data())
def test_matrices(kind, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = weights(rng, 60, 40)
    if kind == "sparse":
        values[rng.random(values.shape) > 0.2] = 0
        values[np.arange(60), rng.integers(0, 40, 60)] = 1  # so that the last index of every slice is stored
    transform = Dense(values) if kind == "dense" else Dense(values).csr()
    program = one_projection(transform, (4, 5, 2), data.draw(st.sampled_from([(60,), (3, 4, 5)])))
    shapes = shapes_of(program, "post", LIMITS)
    for i in some(data, shapes):
        assert counted_at_once(shapes, i) == counted_one_by_one(program, shapes, i), shapes.box[i]


@pytest.mark.parametrize("places", [1, _SPARSE, _SPARSE + 1])
def test_numbers_are_counted_alike_in_a_table_and_sorted(places):
    numbers = np.random.default_rng(0).integers(0, 50, 200)
    for found, wanted in zip(
        occurring(numbers, places * len(numbers)), np.unique(numbers, return_counts=True), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@st.composite
def behind_a_layer(draw):
    """A convolution of any kind behind a layer, so that its senders lie on cores, too."""
    rng, conv = np.random.default_rng(0), draw(convolutions())
    a, b = compartments(rng, "a", conv.in_shape), compartments(rng, "b", conv.out_shape)
    into = Synapses("in", "a", Dense(weights(rng, a.size, 5)), 6)
    return Program(NOTHING, (SpikeSource("in", (5,)),), (a, b), (into, Synapses("a", "b", conv, 6)), NOTHING)


@settings(max_examples=60)
@given(st.one_of(networks(), behind_a_layer()), st.data())
def test_output_axons_of_pairs_of_shapes(program, data):
    projections = [i for i, s in enumerate(program.synapses) if s.pre != "in"]
    i = data.draw(st.sampled_from(projections))
    pre_name, post_name = program.synapses[i].pre, program.synapses[i].post
    pre, post = (shapes_of(program, name, LIMITS) for name in (pre_name, post_name))
    a, b = (data.draw(st.integers(0, len(shapes) - 1)) for shapes in (pre, post))
    found = coupling(program, i, pre[np.array([a])], post[np.array([b])], LIMITS)
    axons, slots = axons_between(program, i, pre.slices(a), post.slices(b), LIMITS)
    assert found.axons[0, 0] == axons.sum(axis=1).max()
    assert found.slots[0, 0] == slots.sum(axis=1).max()
    assert found.destinations[0, 0] == (axons > 0).sum(axis=1).max()


def test_output_axons_of_a_chain_are_exact():
    program = chain(
        (12, 10, 3), [("conv", 3, 1, 8, 1), ("conv", 3, 2, 12), ("depthwise", 3, 1, 1), ("dense", 20)]
    )
    rng = np.random.default_rng(0)
    for i, synapses in enumerate(program.synapses[1:], start=1):
        pre, post = (shapes_of(program, name, LIMITS) for name in (synapses.pre, synapses.post))
        table = coupling(program, i, pre, post, LIMITS)
        for _ in range(40):
            a, b = int(rng.integers(len(pre))), int(rng.integers(len(post)))
            axons, slots = axons_between(program, i, pre.slices(a), post.slices(b), LIMITS)
            assert table.slots[a, b] == slots.sum(axis=1).max()
            assert table.destinations[a, b] == (axons > 0).sum(axis=1).max()


def test_memory_of_runs_is_that_of_the_configuration_file():
    # 64 synapses of 8 + 10 bits and a header of 10: 1162 bits, 19 words of 64; 61 of 8 bits: 498, 8 words
    assert words(64, 18, LIMITS) == 19
    assert words(61, 8, LIMITS) == 8
    # 502 bits leave 54 in the last word, 506 leave 58: nothing extra; 514, 2; with 9 bits, 62 synapses are 568: 56
    assert words(62, 8, LIMITS) == 8
    assert words(63, 8, LIMITS) == 9
    # bits modulo 64 of 59 or more, or 0, cost a word more: 7 synapses of 7 bits and header are 59
    assert words(7, 7, LIMITS) == 2
    assert words(6, 9, LIMITS) == 2  # 64 bits exactly
    assert words(6, 8, LIMITS) == 1  # 58 bits
    assert words(0, 8, LIMITS) == 0
    assert words([65, 128], 18, LIMITS).tolist() == [20, 38]


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_sizes_of_equal_parts(n):
    assert sizes(n) == sorted({int(np.ceil(n / k)) for k in range(1, n + 1)}, reverse=True)


def test_fixed_boxes_are_counted_as_they_are():
    program = chain((8, 8, 3), [("conv", 3, 1, 8)])
    shapes = shapes_with_boxes(program, "conv1", np.array([[4, 3, 5]]), LIMITS)
    assert (shapes.box == [4, 3, 5]).all()
    assert {tuple(w.axon for w in way) for way in shapes.wirings} == {(16,), (32,)}
    assert sum(piece.size for piece in shapes.slices(0)) == 6 * 6 * 8


def test_wires_count_what_couplings_say():
    program = chain((10, 10, 2), [("conv", 3, 1, 6), ("conv", 3, 1, 4)])
    first, second = (shapes_of(program, name, LIMITS) for name in ("conv1", "conv2"))
    a, b = len(first) // 2, len(second) // 3
    cores = [[piece] for piece in (*first.slices(a), *second.slices(b))]
    outputs = Wires(program, LIMITS).outputs(cores, interchip=False)
    table = coupling(program, 1, first, second, LIMITS)
    assert outputs.slots.max() == table.slots[a, b]
    assert outputs.destinations.max() == table.destinations[a, b]
    apart = Wires(program, LIMITS).outputs(cores, interchip=True)
    assert apart.slots.max() == table.slots[a, b] + table.axons[a, b]


@pytest.mark.parametrize("behind", [("conv", 2, 2, 6), ("depthwise", 3, 1, 1)])
def test_couplings_of_boxes_whose_sides_all_differ(behind):
    """Rows, columns and channels of the images differ, too; every pair of shapes is counted on cores of its own."""
    program = chain((11, 9, 2), [("conv", 3, 1, 6), behind])
    first = shapes_with_boxes(
        program, "conv1", np.array([[4, 3, 5], [9, 2, 1], [2, 7, 3], [5, 4, 6]]), LIMITS
    )
    second = shapes_with_boxes(
        program, program.populations[1].name, np.array([[1, 3, 2], [4, 1, 5], [2, 2, 3]]), LIMITS
    )
    table = coupling(program, 1, first, second, LIMITS)
    assert len(first) >= 4
    assert len(second) >= 3
    for a, b in product(range(len(first)), range(len(second))):
        outputs = Wires(program, LIMITS).outputs(
            [[piece] for piece in (*first.slices(a), *second.slices(b))], interchip=False
        )
        assert outputs.slots.max() == table.slots[a, b]
        assert outputs.destinations.max() == table.destinations[a, b]


def test_a_population_without_inputs_has_shapes():
    rng = np.random.default_rng(0)
    program = chain((4,), [("dense", 5)])
    alone = replace(program, populations=(*program.populations, compartments(rng, "alone", (2000,))))
    shapes = shapes_of(alone, "alone", LIMITS)
    assert shapes.n_slices.min() == 2
    assert grids(alone)["alone"] == (1, 1, 2000)
    assert not any(isinstance(s, Synapses) for s in alone.into("alone"))


@pytest.mark.parametrize("n", [0, 1, 17])
def test_output_axons_of_a_sparse_matrix_are_its_columns_that_hold_something(n):
    """Whatever their order: columns are left out at the front, in the middle and at the end."""
    dense = np.zeros((20, 30), np.int8)
    columns = np.array([3, *range(5, 5 + n)])
    dense[columns % 20, columns] = 1 + columns
    program = chain((40,), [("dense", 30), ("dense", 20)])
    last = replace(program.synapses[1], transform=Dense(dense).csr())
    program = replace(program, synapses=(program.synapses[0], last))
    first, second = (shapes_of(program, name, LIMITS) for name in ("dense1", "dense2"))
    a, b = int(first.n_slices.argmin()), int(second.n_slices.argmin())
    assert (first.n_slices[a], second.n_slices[b]) == (1, 1)
    outputs = Wires(program, LIMITS).outputs([[*first.slices(a)], [*second.slices(b)]], interchip=False)
    assert outputs.slots.max() == len(columns) * LIMITS.slots_per_discrete_axon


@pytest.mark.parametrize("channels", [4, 6])
def test_lanes_of_all_channels_are_tried_where_a_base_reaches_every_position(channels):
    most = LIMITS.max_compartment_base // channels + 1  # positions of one row
    for width, reached in ((most, True), (most + 1, False)):
        box = np.array([[1, width, channels]])
        grid = (1, width + 1, channels + 1)  # so that the unit of pop16 does not go up in it
        lanes = set(_layouts(box, np.zeros((1, 2), np.int64), grid, LIMITS).lane.tolist())
        assert lanes == ({1, channels} if reached else {1})


def test_of_boxes_with_a_margin_the_one_that_just_fits_is_tried():
    program = chain((16, 12, 2), [("conv", 5, 1, 40, 2)])
    boxes, most = _boxes(program, "conv1", 1024), 1024
    spatial = np.unique(boxes[:, :2], axis=0)
    margins = _margins(program, "conv1", np.column_stack([spatial, np.ones(len(spatial), int)]))
    tried = set(map(tuple, boxes.tolist()))
    just = 0
    for (h, w), (above, beside) in zip(spatial.tolist(), margins.tolist(), strict=True):
        rows, columns = h + above, w + beside
        fitting = [c for c in range(1, 41) if above * columns + beside + rows * columns * c <= most]
        if fitting:
            assert (h, w, fitting[-1]) in tried
            just += fitting[-1] < 40
    assert just > 5
    assert all(h * w * c <= most for h, w, c in tried)


def test_what_does_not_go_up_is_a_part_of_a_core_where_others_may_share_it():
    shapes = shapes_with_boxes(chain((8, 8, 3), [("conv", 3, 1, 8)]), "conv1", np.array([[4, 3, 5]]), LIMITS)
    bounds = {"compartments": 1024, "in_axons": 4096, "synapse_words": 16384}
    assert (shapes.n_slices == 2 * 2 * 2).all()
    assert np.round(cost(shapes, False, bounds), 3).tolist() == [8.0] * len(shapes)
    assert np.round(cost(shapes, True, bounds), 3).tolist() == [round(6 * 6 * 8 / 60, 3)] * len(shapes)


@pytest.mark.parametrize("first", [0, 1, 200, 255, 256, 300])
def test_synapses_without_indices_need_a_base_that_reaches_their_first_compartment(first):
    program, base = chain((10,), [("dense", 20), ("dense", 30)]), {}
    for compressed in (True, False):
        piece = Slice(
            "dense2", (0, 0, 0), (1, 1, 30), first, wirings=(Wiring(1, "rows", compressed=compressed),)
        )
        used = core_usage(program, [piece], slice_bundles(program, piece, LIMITS), LIMITS)
        base[compressed] = used["compartment_base"]
    assert base == {True: first, False: min(first, LIMITS.max_compartment_base)}


@pytest.mark.parametrize(
    ("shape", "layer", "memory"),
    [
        ((8, 8, 16), ("conv", 3, 1, 64, 1), 1500),
        ((8, 8, 32), ("conv", 3, 1, 128, 1), 4000),
        ((6, 6, 64), ("conv", 5, 1, 96), 9000),
        ((40,), ("dense", 300), 900),
        ((4, 4, 20), ("conv", 4, 1, 200), 2500),
    ],
)
def test_where_memory_binds_the_most_channels_that_it_holds_are_tried(shape, layer, memory):
    """Beside every number of channels: the same but in few places, where a word decides, and little less there."""
    limits = replace(LIMITS, synapse_memory_words=memory)
    program = chain(shape, [layer])
    (population,) = program.populations

    def most(shapes):
        """Channels that fit, for each spatial shape, way of wiring and margin."""
        found = {}
        fits = (shapes.usage["synapse_words"] <= memory) & (shapes.usage["compartments"] <= 1024)
        for i in np.flatnonzero(fits):
            key = *shapes.box[i, :2].tolist(), int(shapes.way[i]), *shapes.margin[i].tolist()
            found[key] = max(found.get(key, 0), int(shapes.box[i, 2]))
        return found

    tried = shapes_of(program, population.name, limits)
    spatial = np.unique(tried.box[:, :2], axis=0).tolist()
    every = [(h, w, c) for h, w in spatial for c in range(1, tried.grid[2] + 1) if h * w * c <= 1024]
    exact = most(shapes_with_boxes(program, population.name, np.array(every), limits))
    found = most(tried)
    fewer = np.array([n - found.get(key, 0) for key, n in exact.items()])
    assert fewer.min() == 0
    assert fewer.max() <= 3
    assert (fewer > 0).mean() < 0.08
    assert any(n < min(tried.grid[2], 1024 // (h * w)) for (h, w, *_), n in exact.items())
