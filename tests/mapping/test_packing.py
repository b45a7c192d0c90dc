"""Cores that are hardly used give their slices to others: which go first, what is joined, what fits."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping import RULES
from loihi_deploy.mapping.counts import Counts
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.packing import Packer, _tiles, _union, arranged
from loihi_deploy.mapping.plan import Slice, Wiring
from loihi_deploy.mapping.rules import CORE_RULES
from loihi_deploy.mapping.shapes import shapes_with_boxes
from tests.mapping.networks import NOTHING, chain, compartments, weights

BOARD = load_board("loihi")
LIMITS = BOARD.chip.core
BOUNDS = {rule.name: rule.limit(BOARD) for rule in RULES if rule in CORE_RULES}


def packer(program, **bounds):
    return Packer(Counts(program, LIMITS), {**BOUNDS, **bounds}, False)


def rows(name, projection, first, stop, **how):
    return Slice(name, (0, 0, first), (1, 1, stop), wirings=(Wiring(projection, "rows"),), **how)


def anything(name):
    return True


TWO = chain((9,), [("dense", 60), ("dense", 40)])
"""Two dense layers behind each other."""


def test_slices_lie_one_behind_the_other_those_without_indices_first():
    plain, other = rows("dense1", 0, 0, 10), rows("dense2", 1, 0, 5)
    compressed = replace(
        other, wirings=(Wiring(1, "rows", compressed=True),), start=(0, 0, 5), stop=(1, 1, 12)
    )
    placed = arranged([plain, other, compressed])
    assert [(piece.stop[2] - piece.start[2], piece.offset) for piece in placed] == [(7, 0), (10, 7), (5, 17)]


def test_two_that_lie_side_by_side_become_one_and_the_others_stay():
    a, b, far = (rows("dense1", 0, *ends) for ends in ((0, 10), (10, 25), (40, 50)))
    other = rows("dense2", 1, 0, 5)
    found = packer(TWO)._joined(arranged([b, other, far, a]), anything)
    assert sorted((piece.population, piece.start[2], piece.stop[2]) for piece in found) == [
        ("dense1", 0, 25),
        ("dense1", 40, 50),
        ("dense2", 0, 5),
    ]
    ends = sorted((piece.offset, piece.offset + piece.n_compartments) for piece in found)
    assert [first for first, _ in ends] == [0, *(end for _, end in ends[:-1])]
    given = arranged([b, other, far, a])
    assert packer(TWO)._joined(given, lambda name: name != "dense1") == given


def test_nothing_is_joined_that_then_breaks_a_limit():
    a, b = rows("dense1", 0, 0, 10), rows("dense1", 0, 10, 25)
    used = Counts(TWO, LIMITS).used(arranged([replace(a, stop=(1, 1, 25))]))
    words = used["words_per_axon"]
    given = arranged([a, b])
    assert len(packer(TWO, words_per_axon=words)._joined(given, anything)) == 1
    assert packer(TWO, words_per_axon=words - 1)._joined(given, anything) == given


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_boxes_make_up_a_box_where_they_touch_and_are_alike_otherwise(axis):
    def moved(piece, by, of=axis):
        def at(corner):
            return tuple(n + by * (k == of) for k, n in enumerate(corner))

        return replace(piece, start=at(piece.start), stop=at(piece.stop))

    box = Slice("a", (2, 2, 2), (4, 5, 6), lane=2)
    size = box.shape[axis]
    end = tuple(n + size * (k == axis) for k, n in enumerate(box.stop))
    whole = Slice("a", box.start, end)
    assert _union(box, moved(box, size)) == _union(moved(box, size), box) == whole
    for apart in (size + 1, size - 1):
        assert _union(box, moved(box, apart)) is None
        assert _union(moved(box, apart), box) is None
    assert _union(box, moved(moved(box, size), 1, (axis + 1) % 3)) is None
    assert _union(box, replace(moved(box, size), population="b")) is None
    assert _union(box, replace(moved(box, size), wirings=(Wiring(0, "rows"),))) is None
    wider = moved(box, size)
    longer = tuple(n + (k == (axis + 1) % 3) for k, n in enumerate(wider.stop))
    assert _union(box, replace(wider, stop=longer, lane=1)) is None
    for kind, joins in (("rows", True), ("pixels", axis == 2)):
        wirings = (Wiring(0, kind, 0 if kind == "rows" else 16, 1, True),)
        found = _union(replace(box, wirings=wirings), replace(moved(box, size), wirings=wirings))
        assert (found is not None) == joins


def test_the_core_with_the_most_of_any_limit_goes_last():
    """One is filled by axons with little else on it, the other has some of everything."""
    rng = np.random.default_rng(0)
    program = Program(
        NOTHING,
        (SpikeSource("many", (1000,)), SpikeSource("some", (100,))),
        (compartments(rng, "few", (2,)), compartments(rng, "more", (100,))),
        (
            Synapses("many", "few", Dense(weights(rng, 2, 1000)), 6),
            Synapses("some", "more", Dense(weights(rng, 100, 100)), 6),
        ),
        NOTHING,
    )
    few, more = [rows("few", 0, 0, 2)], [rows("more", 1, 0, 100)]
    made = packer(program)
    used = [made._counts.used(slices) for slices in (few, more)]
    shares = [
        [one[name] / BOUNDS[name] for name in ("compartments", "in_axons", "synapse_words")] for one in used
    ]
    assert max(shares[0]) > max(shares[1])
    assert min(shares[0]) < min(shares[1])
    assert used[0]["synapse_words"] < used[1]["synapse_words"]
    assert [made._share(few), made._share(more)] == [max(share) for share in shares]
    assert made._candidates([few, more], anything) == [(1,), (0,)]
    assert made._candidates([more, few], anything) == [(0,), (1,)]
    assert made._candidates([few, more], lambda name: name == "few") == [(0,)]


def cores_of(n, size=2):
    """A layer on so many cores."""
    return [[rows("dense1", 0, k * size, (k + 1) * size)] for k in range(n)]


def test_a_population_of_a_few_cores_of_its_own_is_moved_as_a_whole_first():
    other = [rows("dense2", 1, 0, 40)]
    made = packer(TWO)
    assert made._candidates([*cores_of(3), other], anything)[0] == (0, 1, 2)
    assert made._candidates([*cores_of(16), other], anything)[0] == tuple(range(16))
    assert {len(found) for found in made._candidates([*cores_of(17), other], anything)} == {1}
    assert {len(found) for found in made._candidates([*cores_of(1), other], anything)} == {1}
    mixed = [cores_of(2)[0], [*cores_of(2)[1], *other]]
    assert {len(found) for found in made._candidates(mixed, anything)} == {1}
    assert {
        len(found) for found in made._candidates([*cores_of(3), other], lambda name: name == "dense2")
    } == {1}


def test_a_core_is_emptied_where_others_have_room_and_every_neuron_stays():
    cores = [[rows("dense1", 0, 0, 50)], [rows("dense2", 1, 0, 40)], [rows("dense1", 0, 50, 60)]]
    for room, n in ((1024, 1), (60, 2), (50, 2), (49, 3)):
        found = packer(TWO, compartments=room).packed(cores, anything) if room >= 50 else None
        if found is None:
            continue
        assert len(found) == n
        for name, size in (("dense1", 60), ("dense2", 40)):
            held = [p.neurons(grids(TWO)[name]) for slices in found for p in slices if p.population == name]
            assert sorted(np.concatenate(held).tolist()) == list(range(size))
        assert all(sum(p.n_compartments for p in slices) <= room for slices in found)
    assert packer(TWO, compartments=60).packed(cores, lambda name: False) == cores


def test_populations_with_other_membranes_and_kept_apart_do_not_share():
    apart = replace(TWO, populations=(TWO.populations[0], replace(TWO.populations[1], v_min=-1023)))
    cores = [[rows("dense1", 0, 0, 60)], [rows("dense2", 1, 0, 40)]]
    assert len(packer(TWO).packed(cores, anything)) == 1
    assert len(packer(apart).packed(cores, anything)) == 2


def test_output_axons_and_destinations_of_a_plan_are_kept():
    cores = [[rows("dense1", 0, 0, 60)], [rows("dense2", 1, 0, 40)]]
    for limits, fits in (
        ({"out_axon_slots": 60 * LIMITS.slots_per_discrete_axon}, True),
        ({"out_axon_slots": 60 * LIMITS.slots_per_discrete_axon - 1}, False),
        ({"destinations": 1}, True),
        ({"destinations": 0}, False),
        ({"compartments": 60}, True),
        ({"compartments": 59}, False),
    ):
        assert packer(TWO, **limits)._fits(cores, [0, 1]) == fits
    assert packer(TWO, compartments=59)._fits(cores, [1])


def test_tiles_of_a_box_lie_where_the_box_does():
    program = chain((8, 8, 2), [("conv", 3, 1, 6)])
    piece = Slice("conv1", (1, 2, 3), (5, 6, 6))
    options = shapes_with_boxes(program, "conv1", np.array([[2, 3, 2]]), LIMITS)
    grid = grids(program)["conv1"]
    tiles = _tiles(piece, options, 0)
    assert len(tiles) == 2 * 2 * 2
    found = np.concatenate([tile.neurons(grid) for tile in tiles])
    assert sorted(found.tolist()) == sorted(piece.neurons(grid).tolist())


# How a slice that is to go is spread


CONV = chain((10, 10, 2), [("conv", 3, 1, 8)])
FILLED = chain((9,), [("dense", 200), ("dense", 100)])


def conv_slice(start, stop, **how):
    return Slice("conv1", start, stop, wirings=(Wiring(0, "pixels", 32, 2),), **how)


def test_a_slice_is_cut_into_sixty_four_tiles_at_most():
    made = packer(FILLED)
    assert (made._tilings(rows("dense1", 0, 0, 64), 1).box == 1).all()
    assert made._tilings(rows("dense1", 0, 0, 65), 1) is None
    assert made._tilings(rows("dense1", 0, 0, 65), 2) is not None
    flat = made._tilings(rows("dense1", 0, 0, 10), 5)
    assert {tuple(box) for box in flat.box.tolist()} == {(1, 1, n) for n in (1, 2, 3, 4, 5)}
    image = packer(CONV)._tilings(conv_slice((0, 0, 0), (2, 3, 4)), 8)
    assert image.box.prod(axis=1).max() == 8
    assert {tuple(box) for box in image.box.tolist()} == {
        (h, w, c) for h in (1, 2) for w in (1, 2, 3) for c in (1, 2, 4) if h * w * c <= 8
    }


def tries(made, hosts, piece):
    """How often it is tried to spread a slice where nothing fits."""
    tried = []
    made._fits = lambda cores, changed: bool(tried.append(cores))
    assert made._spread(hosts, piece) is None
    return len(tried)


def test_a_slice_is_tried_in_forty_ways_and_a_plan_until_ten_thousand_cores_were_looked_at():
    piece = conv_slice((0, 0, 0), (8, 8, 8))
    hosts = [[conv_slice((0, 0, 0), (1, 1, 1))] for _ in range(3)]
    assert tries(packer(CONV), hosts, piece) == 40
    for work, n in ((10_000 - 6, 2), (10_000 - 5, 1), (10_000 - 3, 1), (10_000 - 2, 0)):
        made = packer(CONV)
        made._work = work
        assert tries(made, hosts, piece) == n
    cores = [[rows("dense1", 0, 0, 50)], [rows("dense2", 1, 0, 40)], [rows("dense1", 0, 50, 60)]]
    for work, goes_on in ((10_000, True), (10_001, False)):
        made, asked = packer(TWO), []
        made._work = work
        made._without = lambda cores, vacated, asked=asked: asked.append(vacated)
        assert made.packed(cores, anything) == cores
        assert bool(asked) == goes_on


def sizes_on(cores):
    return [sorted(piece.size for piece in slices) for slices in cores]


def test_the_largest_slice_goes_first_to_where_most_is_left_and_is_cut_as_little_as_can_be():
    small, large = rows("dense1", 0, 0, 10), rows("dense1", 0, 10, 40)

    def spread(first, second, most):
        """On two cores that hold some neurons, of which all hold so many at most."""
        hosts = [[rows("dense2", 1, 0, first)], [rows("dense1", 0, 40, 40 + second)]]
        found = packer(FILLED, compartments=most)._without([*hosts, arranged([small, large])], (2,))
        return found and sizes_on(found)

    assert spread(70, 92, 102) == [[30, 70], [10, 92]]
    assert spread(92, 70, 102) == [[10, 92], [30, 70]]
    assert spread(70, 70, 90) == [[5, 15, 70], [5, 15, 70]]  # in two each
    assert spread(70, 70, 89) is None


@pytest.mark.parametrize(
    ("n", "room", "left"),
    [(4, 20, [20, 20, 20]), (4, 19, None), (3, 30, [30, 30]), (5, 15, None), (5, 60, None)],
)
def test_up_to_four_cores_of_a_population_are_cut_anew_onto_one_less(n, room, left):
    cores = [[rows("dense1", 0, k * 60 // n, (k + 1) * 60 // n)] for k in range(n)]
    found = packer(TWO, compartments=room)._without(cores, tuple(range(n)))
    assert (found and sizes_on(found)) == (left and [[size] for size in left])


def test_nothing_goes_onto_a_core_that_may_not_hold_it():
    apart = replace(TWO, populations=(TWO.populations[0], replace(TWO.populations[1], v_min=-1023)))
    first, second = rows("dense1", 0, 0, 60), rows("dense2", 1, 0, 40)
    for program, left in ((TWO, 1024 - 40), (apart, 0)):
        room = packer(program)._room([[second], []], first)
        assert room["compartments"].tolist() == [left, 1024]
        assert (room["in_axons"][0] > 0) == (left > 0)
    used = Counts(TWO, LIMITS).used([second])
    room = packer(TWO)._room([[second]], first)
    assert {name: int(left[0]) for name, left in room.items()} == {
        name: BOUNDS[name] - used[name] for name in ("compartments", "in_axons", "synapse_words")
    }


def test_what_is_moved_keeps_every_limit_of_the_core_that_it_goes_to():
    """The limits that slices are spread by leave room; others do not."""
    cores = [[rows("dense1", 0, 0, 60)], [rows("dense2", 1, 0, 40)]]
    first, second = TWO.populations
    assert first.threshold != second.threshold
    for limits, n in (
        ({}, 1),
        ({"threshold_profiles": 1}, 2),
        ({"threshold_profiles": 2}, 1),
        ({"index_bits": 5}, 2),
    ):
        assert len(packer(TWO, **limits).packed(cores, anything)) == n
