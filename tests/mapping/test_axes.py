"""Along one axis, channel by channel and box by box: each held against looking at everything one by one."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import (
    axis_margin,
    axis_reach,
    band_ranges,
    bands,
    most_delay_into,
    pixel_axons,
)
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice, Wiring
from loihi_deploy.mapping.shapes import (
    _boxes,
    _margins,
    _most_compartments,
    cut,
    parts_of,
    projection_wirings,
    shapes_of,
    shapes_with_boxes,
    wiring_choices,
)
from loihi_deploy.mapping.usage import core_usage
from tests.mapping.networks import NOTHING, chain, compartments, sparse, weights
from tests.mapping.test_layout import one_projection

LIMITS = load_board("loihi").chip.core
RNG = np.random.default_rng(0)


def reached(i, kernel, stride, padding):
    """All outputs that an input reaches, also those that there are not."""
    return [o for o in range(-40, 40) if 0 <= i + padding - stride * o < kernel]


axes = st.tuples(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(-1, 3), st.integers(1, 12)
)


@settings(max_examples=150)
@given(axes, st.integers(0, 11), st.integers(1, 6), st.integers(0, 3))
def test_what_inputs_reach_of_a_part_and_its_margin(axis, start, size, margin):
    n_in, kernel, stride, padding, _ = axis
    stop = start + size
    found = axis_reach(n_in, kernel, stride, padding, start, stop, margin)
    for i in range(n_in):
        outputs = reached(i, kernel, stride, padding)
        inside = [o for o in outputs if start <= o < stop]
        seen = [o for o in outputs if start - margin <= o < stop + margin] if inside else []
        assert found.count[i] == len(seen)
        if seen:
            assert found.first[i] == seen[0] - start
            assert found.tap[i] == i + padding - stride * seen[0]


@settings(max_examples=150)
@given(axes, st.integers(1, 6))
def test_a_margin_is_how_far_beyond_a_part_any_of_its_inputs_reaches(axis, size):
    n_in, kernel, stride, padding, n_out = axis
    beyond = [0]
    for start in range(0, n_out, size):
        stop = min(start + size, n_out)
        for i in range(n_in):
            outputs = reached(i, kernel, stride, padding)
            if any(start <= o < stop for o in outputs):
                beyond += [start - outputs[0], outputs[-1] - stop + 1]
    assert axis_margin(n_in, kernel, stride, padding, n_out, size) == max(beyond)


@settings(max_examples=150)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.data())
def test_channels_are_cut_into_bands_that_reach_alike(groups, group_in, group_out, data):
    n_out, most = groups * group_out, data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, n_out - 1))
    stop = data.draw(st.integers(start + 1, n_out))
    conv = Conv2D(
        np.ones((1, 1, group_in, n_out), np.int8),
        (1, 1),
        (0, 0),
        (1, 1, groups * group_in),
        (1, 1, n_out),
        groups,
    )
    runs, joins = [], False  # of groups: those that lie in the slice as a whole together
    for group in range(groups):
        mine = [c for c in range(group * group_out, (group + 1) * group_out) if start <= c < stop]
        whole = len(mine) == group_out
        if mine and whole and joins:
            runs[-1].append(group)
        elif mine:
            runs.append([group])
        joins = bool(mine) and whole
    wanted = []
    for run in runs:
        first, end = run[0] * group_in, (run[-1] + 1) * group_in
        wanted += [(a, min(a + most, end)) for a in range(first, end, most)]
    assert list(band_ranges(conv, start, stop, most)) == wanted
    found = list(bands(conv, start, stop, most))
    assert [(band.start, band.stop) for band in found] == wanted
    for band in found:
        for channel, targets in zip(range(band.start, band.stop), band.targets, strict=True):
            group = channel // group_in
            mine = [c - start for c in range(group * group_out, (group + 1) * group_out) if start <= c < stop]
            assert targets.tolist() == mine


@settings(max_examples=60)
@given(st.tuples(*[st.integers(1, 7)] * 3), st.data())
def test_parts_of_a_grid_and_their_sizes(grid, data):
    box = tuple(data.draw(st.integers(1, n)) for n in grid)
    place, sizes = parts_of(grid, np.array(box))
    label = {}
    for k, corner in enumerate(product(*(range(0, n, b) for n, b in zip(grid, box, strict=True)))):
        label[corner] = k
    wanted = [label[tuple(n // b * b for n, b in zip(at, box, strict=True))] for at in np.ndindex(grid)]
    assert place.tolist() == wanted
    assert sizes.tolist() == np.bincount(wanted).tolist()


@pytest.mark.parametrize(
    ("channels", "box", "lane", "lanes"),
    [
        (10, 4, 4, [4, 4, 2]),  # of all channels: at the end of those that are left
        (10, 4, 2, [2, 2, 2]),
        (9, 4, 2, [2, 2, 1]),  # otherwise channel by channel
        (14, 8, 4, [4, 1]),
        (16, 8, 4, [4, 4]),
        (9, 4, 1, [1, 1, 1]),
    ],
)
def test_smaller_slices_at_the_end_keep_their_lane_where_it_goes_up(channels, box, lane, lanes):
    pieces = cut("p", (3, 2, channels), (2, 2, box), lane, (1, 2), (Wiring(0, "rows"),))
    assert [piece.lane for piece in pieces] == 2 * lanes
    assert [piece.shape[0] for piece in pieces] == [2] * len(lanes) + [1] * len(lanes)
    assert [piece.start[2] for piece in pieces] == 2 * list(range(0, channels, box))
    assert {piece.stop[2] for piece in pieces if piece.start[2] + box > channels} <= {channels}
    assert {(piece.margin, piece.offset, piece.wirings) for piece in pieces} == {
        ((1, 2), 0, (Wiring(0, "rows"),))
    }


@pytest.mark.parametrize(("most", "layer"), [(200, ("conv", 5, 1, 22, 2)), (60, ("conv", 2, 2, 9))])
def test_boxes_have_equal_parts_or_as_many_channels_as_fit(most, layer):
    """Those that fit as they are, in fours as pop16 wants them, and with a margin."""
    program = chain((7, 5, 2), [layer])
    found = set(map(tuple, _boxes(program, "conv1", most).tolist()))
    height, width, channels = program.populations[0].shape
    equal = [{-(-n // k) for k in range(1, n + 1)} for n in (height, width, channels)]
    wanted = set()
    for h, w in product(*equal[:2]):
        [(above, beside)] = _margins(program, "conv1", np.array([[h, w, 1]])).tolist()
        rows, columns = h + above, w + beside
        fits = [c for c in range(1, channels + 1) if h * w * c <= most]
        fours = [c for c in fits if c % 4 == 0]
        around = [c for c in fits if above * columns + beside + rows * columns * c <= most]
        kept = {c for c in fits if c in equal[2]} | {max(each) for each in (fits, fours, around) if each}
        wanted |= {(h, w, c) for c in kept}
    assert found == wanted


# Ways to wire


def ways_of(transform, pre, post):
    program = one_projection(transform, pre, post)
    return [(w.kind, w.axon, w.channels, w.compressed) for w in projection_wirings(program, 0, LIMITS)]


def conv(pre, kernel, channels, groups=1, zero=False):
    """A convolution with padding 0."""
    out = (pre[0] - kernel + 1, pre[1] - kernel + 1, channels)
    values = np.ones((kernel, kernel, pre[2] // groups, channels), np.int8)
    values[0, 0, 0, 0] = not zero
    return Conv2D(values, (1, 1), (0, 0), pre, out, groups), pre, out


ROWS = [("rows", DISCRETE, 1, True)]
EXPLICIT = [("rows", DISCRETE, 1, False)]


def pixels(of_32, of_16, compressed=True):
    each = (False, True) if compressed else (False,)
    return [("pixels", axon, n, c) for axon, n in ((POP32, of_32), (POP16, of_16)) for c in each]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((Dense(np.ones((3, 24), np.int8)), (2, 2, 6), (3,)), [*ROWS, *pixels(6, 6)]),
        ((Dense(np.ones((3, 4), np.int8)), (2, 2, 1), (3,)), ROWS),
        ((Dense(np.ones((12, 24), np.int8)), (2, 2, 6), (2, 2, 3)), ROWS),
        ((sparse(RNG, 3, 24), (2, 2, 6), (3,)), [*ROWS, *EXPLICIT]),
        (conv((4, 4, 6), 3, 5), pixels(6, 6)),
        (conv((4, 4, 1), 3, 5), [("pixels", DISCRETE, 1, False)]),
        (conv((4, 4, 6), 3, 6, 6), pixels(6, 6, False)),
        (conv((3, 3, 6), 3, 6, 6), pixels(6, 6, False)),
        (conv((3, 3, 6), 3, 5), [*ROWS, *pixels(6, 6)]),
        (conv((3, 3, 6), 3, 5, zero=True), [*ROWS, *pixels(6, 6)]),
        (conv((3, 3, 1), 3, 5), [*ROWS, ("pixels", DISCRETE, 1, False)]),
        (conv((2, 2, 33), 2, 5), [*ROWS, *pixels(33, 17)]),
        (conv((2, 2, 32), 2, 5), [*ROWS, *pixels(32, 32)]),
        (conv((2, 2, 1025), 2, 2), [*ROWS, *pixels(513, 32)]),
    ],
)
def test_ways_to_wire_a_projection(given, wanted):
    assert (LIMITS.pop32_max_channels, LIMITS.pop16_max_channels) == (1024, 32)
    assert ways_of(*given) == wanted


@pytest.mark.parametrize(("n", "ways"), [(1, 4), (2, 16), (3, 64), (4, 4), (5, 4)])
def test_projections_are_wired_each_by_itself_unless_there_are_too_many_ways(n, ways):
    program = one_projection(*conv((4, 4, 6), 3, 5))
    program = replace(program, synapses=program.synapses * n)
    found = wiring_choices(program, "post", LIMITS)
    assert len(found) == len(set(found)) == ways
    assert all([w.projection for w in way] == list(range(n)) for way in found)
    if n > 3:  # all alike
        assert all(len({(w.axon, w.compressed) for w in way}) == 1 for way in found)


def test_of_many_projections_one_that_cannot_be_wired_as_the_others_takes_its_first_way():
    transform, pre, post = conv((4, 4, 6), 3, 6)
    program = one_projection(transform, pre, post)
    depthwise = replace(program.synapses[0], transform=conv((4, 4, 6), 3, 6, 6)[0])
    program = replace(program, synapses=(*program.synapses * 3, depthwise))
    found = wiring_choices(program, "post", LIMITS)
    assert [[(w.axon, w.compressed) for w in way] for way in found] == [
        [(POP32, False)] * 4,
        [(POP32, True)] * 3 + [(POP32, False)],
        [(POP16, False)] * 4,
        [(POP16, True)] * 3 + [(POP32, False)],
    ]


@pytest.mark.parametrize(
    ("channels", "box", "wanted"),
    [
        (16, (2, 3, 8), {(1, 0, 32), (8, 0, 32), (4, 0, 32), (1, 1, 32), (8, 0, 16), (4, 0, 16)}),
        (18, (2, 3, 8), {(1, 0, 32), (8, 0, 32), (1, 1, 32)}),  # two are left at the end
        (20, (2, 3, 8), {(1, 0, 32), (8, 0, 32), (4, 0, 32), (1, 1, 32), (8, 0, 16), (4, 0, 16)}),
        (18, (2, 3, 6), {(1, 0, 32), (6, 0, 32), (1, 1, 32)}),
        (16, (2, 3, 1), {(1, 0, 32), (1, 1, 32)}),
        (16, (1, 1, 6), {(1, 0, 32), (1, 1, 32), (1, 0, 16), (1, 0, -32), (1, 0, -16)}),
        (16, (1, 1, 1), {(1, 0, 32), (1, 1, 32), (1, 0, 16), (1, 0, -32), (1, 0, -16)}),
    ],
)
def test_layouts_that_are_of_use_to_a_way_of_wiring(channels, box, wanted):
    """Lane, whether there is a margin, and the type of axon, below 0 without indices: pop16 counts bases in fours."""
    program = one_projection(*conv((6, 8, 6), 3, channels))
    shapes = shapes_with_boxes(program, "post", np.array([box]), LIMITS)
    found = set()
    for lane, margin, way in zip(shapes.lane.tolist(), shapes.margin, shapes.way, strict=True):
        (wiring,) = shapes.wirings[way]
        found.add((lane, int(margin.any()), -wiring.axon if wiring.compressed else wiring.axon))
    assert found == wanted


def test_rows_want_no_margin_and_any_lane():
    rng = np.random.default_rng(0)
    program = one_projection(*conv((6, 8, 6), 3, 8))
    loop = replace(program.synapses[0], pre="post", transform=Dense(weights(rng, 192, 192)))
    program = replace(program, synapses=(*program.synapses, loop))
    shapes = shapes_with_boxes(program, "post", np.array([(2, 3, 8)]), LIMITS)
    assert not shapes.margin.any()
    assert {
        (int(lane), shapes.wirings[way][0].axon) for lane, way in zip(shapes.lane, shapes.way, strict=True)
    } == {
        (1, 32),
        (8, 32),
        (4, 32),
        (8, 16),
        (4, 16),
    }


@pytest.mark.parametrize(
    ("offset", "axon", "first", "left"),
    [(0, POP32, 0, 0), (7, POP32, 7, 0), (7, POP16, 4, 3), (250, POP32, 247, 3), (251, POP16, 244, 7)],
)
def test_bases_take_over_what_they_can_of_where_a_slice_begins(offset, axon, first, left):
    """Positions begin at compartments 0, 4 and 8 of the slice: the largest base of 255 leaves 247, or in fours 244."""
    transform, _, post = conv((1, 3, 6), 1, 4)
    assert post == (1, 3, 4)
    found = pixel_axons(transform, Slice("post", (0, 0, 0), post, offset, 4), axon, LIMITS)
    assert found.pixels.tolist() == [0, 1, 2]
    assert found.base_of.tolist() == [first, first + 4, first + 8]
    assert found.sets.tolist() == [[0, 1, 0, 1, left]]


def test_of_several_projections_each_asks_for_the_layout_that_it_needs():
    program = one_projection(*conv((6, 8, 6), 3, 16))
    program = replace(program, synapses=program.synapses * 2)
    for box, wanted in (
        (
            (2, 3, 8),
            {(1, 0, 32, 32), (1, 1, 32, 32)}
            | {(n, 0, a, b) for n in (4, 8) for a in (16, 32) for b in (16, 32)},
        ),
        (
            (1, 1, 8),
            {(1, 1, 32, 32)} | {(1, 0, a, b) for a in (16, 32, -16, -32) for b in (16, 32, -16, -32)},
        ),
    ):
        shapes = shapes_with_boxes(program, "post", np.array([box]), LIMITS)
        found = set()
        for lane, margin, way in zip(shapes.lane.tolist(), shapes.margin, shapes.way, strict=True):
            axons = (-w.axon if w.compressed else w.axon for w in shapes.wirings[way])
            found.add((lane, int(margin.any()), *axons))
        assert found == wanted


@pytest.mark.parametrize(
    ("delays", "most", "compartments"),
    [
        (None, 8192, 1024),
        (3, 8192, 1024),
        (3, 8191, 1023),
        (3, 80, 10),
        (3, 79, 9),
        (1, 80, 20),
        (None, 10, 1024),
    ],
)
def test_compartments_of_a_core_are_those_that_have_accumulators(delays, most, compartments):
    program = chain((9,), [("dense", 2000)])
    program = replace(program, synapses=(replace(program.synapses[0], delays=delays),))
    assert _most_compartments(program, "dense1", replace(LIMITS, max_accumulators=most)) == compartments


def test_neurons_without_inputs_take_no_accumulators():
    program = replace(chain((9,), [("dense", 20)]), synapses=())
    used = core_usage(program, [Slice("dense1", (0, 0, 0), (1, 1, 20))], [], LIMITS)
    assert {name: n for name, n in used.items() if n} == {
        "compartments": 20,
        "compartment_profiles": 1,
        "threshold_profiles": 1,
        "membrane_profiles": 1,
    }
    assert most_delay_into(program, "dense1") == 0


def test_a_core_counts_each_kind_of_setting_once():
    rng = np.random.default_rng(0)
    settings_ = {"decay_u": 1, "decay_v": 2, "refractory": 3, "threshold": 64, "v_min": 0}
    others = {"decay_u": 5, "decay_v": 6, "refractory": 7, "threshold": 128, "v_min": -1}
    populations = [
        compartments(rng, "plain", (4,), **settings_),
        compartments(rng, "same", (4,), **settings_),
    ]
    populations += [
        compartments(rng, name, (4,), **{**settings_, name: value}) for name, value in others.items()
    ]
    program = Program(NOTHING, (), tuple(populations), (), NOTHING)
    pieces = {p.name: Slice(p.name, (0, 0, 0), (1, 1, 4)) for p in populations}
    for name, changed in (
        ("same", set()),
        ("decay_u", {"compartment_profiles"}),
        ("decay_v", {"compartment_profiles"}),
        ("refractory", {"compartment_profiles"}),
        ("threshold", {"threshold_profiles"}),
        ("v_min", {"membrane_profiles"}),
    ):
        used = core_usage(program, [pieces["plain"], pieces[name]], [], LIMITS)
        assert {key for key, n in used.items() if n == 2} == changed
        assert used["compartments"] == 8


def test_far_positions_leave_to_the_index_what_a_base_cannot_hold_and_take_over_the_offset_as_far_as_it_goes():
    """Seven positions of four channels with bases up to 15: the fifth begins anew."""
    transform, _, post = conv((1, 7, 6), 1, 4)
    limits = replace(LIMITS, max_compartment_base=15)
    for offset, taken in ((0, 0), (2, 2), (3, 3), (9, 3)):
        found = pixel_axons(transform, Slice("post", (0, 0, 0), post, offset, 4), POP32, limits)
        bases = [0, 4, 8, 12, 0, 4, 8]
        assert found.base_of.tolist() == [base + taken for base in bases]
        rest = found.sets[:, 4][found.set_of]
        assert (rest + found.base_of).tolist() == [offset + 4 * k for k in range(7)]
    program = chain((9,), [("dense", 20)])
    once, late = replace(program.synapses[0], delays=3), replace(program.synapses[0], delays=7)
    assert most_delay_into(replace(program, synapses=(once, late, once)), "dense1") == 7


def test_margins_are_those_of_the_convolutions_into_a_population_itself():
    boxes = np.array([[2, 2, 1], [3, 1, 1], [8, 8, 1]])
    alone = _margins(chain((8, 8, 2), [("conv", 3, 1, 4, 1)]), "conv1", boxes)
    program = chain((8, 8, 2), [("conv", 3, 1, 4, 1), ("conv", 5, 1, 4, 2), ("conv", 1, 1, 4)])
    assert _margins(program, "conv1", boxes).tolist() == alone.tolist() == [[2, 2], [2, 2], [1, 1]]
    assert _margins(program, "conv2", boxes).tolist() == [[4, 4], [4, 4], [2, 2]]
    assert _margins(program, "conv3", boxes).tolist() == [[0, 0]] * 3
    wide = chain((8, 8, 2), [("conv", 5, 1, 4, 2)]).synapses[0]
    more = replace(program, synapses=(replace(wide, post="conv1"), *program.synapses))
    assert _margins(more, "conv1", boxes).tolist() == [[4, 4], [4, 4], [2, 2]]


@pytest.mark.parametrize("memory", [400, 16384])
def test_no_box_is_counted_twice(memory):
    program = chain((8, 8, 16), [("conv", 3, 1, 64, 1)])
    shapes = shapes_of(program, "conv1", replace(LIMITS, synapse_memory_words=memory))
    plain = (shapes.lane == 1) & ~shapes.margin.any(axis=1)
    rows = np.column_stack([shapes.box, shapes.way])[plain]
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert shapes.box.min() == 1


def test_what_just_fits_a_limit_is_not_rejected_by_it():
    shapes = shapes_of(chain((9,), [("dense", 20)]), "dense1", LIMITS)
    used = {name: int(n[0]) for name, n in shapes.usage.items()}
    assert len(shapes[:1].fitting(used)) == 1
    for name in ("compartments", "in_axons", "synapse_words"):
        tight = {**used, name: used[name] - 1}
        assert len(shapes[:1].fitting(tight)) == 0
        assert {key for key, hits in shapes[:1].rejected(tight).items() if hits.any()} == {name}
