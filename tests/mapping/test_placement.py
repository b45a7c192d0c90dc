"""Chips and tiles: within capacity, each place once, and no worse than where the search began."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.mapping import placement
from loihi_deploy.mapping.placement import _grown, assign_chips, assign_tiles, tile_hops, traffic_matrix
from loihi_deploy.mapping.traffic import Traffic

CHIP = load_board("loihi").chip


@st.composite
def traffics(draw, most=24):
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    matrix = rng.integers(0, 50, (n, n)) * (rng.random((n, n)) < 0.3)
    return np.triu(matrix, 1).astype(float) + np.triu(matrix, 1).T


def crossing(traffic, chip):
    return traffic[chip[:, None] != chip].sum()


@given(traffics(), st.integers(1, 10))
def test_chips(traffic, capacity):
    n = len(traffic)
    chip = assign_chips(traffic, capacity, [range(n), range(n)[::-1]])
    assert np.bincount(chip).max() <= capacity
    assert len(set(chip.tolist())) == -(-n // capacity)
    for order in (np.arange(n), np.arange(n)[::-1]):
        start = np.empty(n, int)
        start[order] = np.arange(n) // capacity
        assert crossing(traffic, chip) <= crossing(traffic, start)
    for a in range(n):  # no exchange of two cores would help
        for b in range(a):
            other = chip.copy()
            other[[a, b]] = chip[[b, a]]
            assert crossing(traffic, other) >= crossing(traffic, chip)


def test_two_groups_of_friends_are_told_apart():
    traffic = np.zeros((8, 8))
    traffic[np.ix_(range(0, 8, 2), range(0, 8, 2))] = traffic[np.ix_(range(1, 8, 2), range(1, 8, 2))] = 1
    np.fill_diagonal(traffic, 0)
    chip = assign_chips(traffic, 4, [range(8)])
    assert crossing(traffic, chip) == 0


@given(traffics(40))
def test_tiles(traffic):
    number = assign_tiles(traffic, CHIP)
    assert sorted(number.tolist()) == list(range(len(traffic)))
    hops = tile_hops(CHIP)

    def length(numbers):
        tile = numbers // CHIP.cores_per_tile
        return (traffic * hops[np.ix_(tile, tile)]).sum()

    assert length(number) <= length(np.arange(len(traffic)))
    for a in range(min(len(number), 12)):  # no exchange of two cores would help
        for b in range(a):
            other = number.copy()
            other[[a, b]] = number[[b, a]]
            assert length(other) >= length(number)


@pytest.mark.parametrize(("a", "b", "hops"), [(0, 0, 0), (0, 7, 7), (0, 8, 1), (7, 24, 10), (31, 0, 10)])
def test_hops_on_the_mesh(a, b, hops):
    assert tile_hops(CHIP)[a, b] == hops  # 8 columns, 4 rows


@pytest.mark.parametrize("relative", [False, True])
def test_chips_are_grown_from_core_to_core(relative):
    traffic = np.zeros((6, 6))
    for a, b, spikes in ((0, 1, 5), (1, 4, 9), (4, 5, 2), (2, 3, 1), (3, 5, 1)):
        traffic[a, b] = traffic[b, a] = spikes
    # two on a chip: from 0 to 1; then 4, the nearest to what is full, and its neighbour that is left; then 3, beside 5
    assert _grown(traffic, 2, relative) == [0, 1, 4, 5, 3, 2]


def test_traffic_counts_spikes_both_ways_and_nothing_from_the_host():
    flows = [
        Traffic("a", 0, 1, 5, 5, 10),
        Traffic("b", 1, 0, 1, 1, 3),
        Traffic("a", 0, 0, 1, 1, 99),
        Traffic("in", "in", 1, 7, 7, 7),
    ]
    assert traffic_matrix(2, flows).tolist() == [[0, 13], [13, 0]]
    assert traffic_matrix(2, flows, {"a": 2.0, "b": 100.0, "in": 1.0}).tolist() == [[0, 320], [320, 0]]


def test_of_orders_that_are_as_good_the_first_is_taken():
    assert assign_chips(np.zeros((4, 4)), 2, [[3, 1, 2, 0], [0, 1, 2, 3]]).tolist() == [1, 0, 1, 0]
    assert assign_chips(np.ones((3, 3)), 3, [[2, 1, 0]]).tolist() == [0, 0, 0]


def test_chips_are_also_grown_by_traffic_and_by_the_share_of_each_cores_own(monkeypatch):
    """Core 1 sends most to core 0, and core 2 all that it sends."""
    traffic = np.zeros((4, 4))
    for a, b, spikes in ((0, 1, 10), (1, 3, 90), (0, 2, 4)):
        traffic[a, b] = traffic[b, a] = spikes
    assert _grown(traffic, 2, False) == [0, 1, 2, 3]
    assert _grown(traffic, 2, True) == [0, 2, 1, 3]
    asked = []
    grown = placement._grown
    monkeypatch.setattr(placement, "_grown", lambda *given: asked.append(given[2]) or grown(*given))
    assign_chips(traffic, 2, [range(4)])
    assert asked == [False, True]


def test_cores_are_exchanged_until_nothing_is_gained():
    """A chain of forty cores in any order lies with few hops; a chip of one is that chip."""
    rng = np.random.default_rng(0)
    order = rng.permutation(40)
    traffic = np.zeros((40, 40))
    traffic[order[1:], order[:-1]] = traffic[order[:-1], order[1:]] = 1.0
    hops = tile_hops(CHIP)

    def length(numbers):
        tile = numbers // CHIP.cores_per_tile
        return (traffic * hops[np.ix_(tile, tile)]).sum()

    number = assign_tiles(traffic, CHIP)
    for a in range(40):
        for b in range(a):
            other = number.copy()
            other[[a, b]] = number[[b, a]]
            assert length(other) >= length(number)
    assert length(number) < 0.4 * length(np.arange(40))
    assert assign_tiles(np.zeros((1, 1)), CHIP).tolist() == [0]
