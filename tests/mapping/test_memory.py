"""Synapse memory and accumulators, counted one entry after the other."""

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.mapping.memory import accumulators, index_bits, words

LIMITS = load_board("loihi").chip.core


def words_by_hand(n, bits):
    """Entries of up to 64 synapses with a header of 10 bits, in whole words of 64; one more after some last ones."""
    total = last = 0
    while n:
        taken = min(n, 64)
        last = 10 + taken * bits
        total += -(-last // 64)
        n -= taken
    return total + (last > 0 and (last % 64 == 0 or last % 64 >= 59))


def test_words_are_those_of_entries_one_by_one():
    n, bits = np.mgrid[:200, 1:21]
    found = words(n, bits, LIMITS)
    assert found.tolist() == [
        [words_by_hand(a, b) for a, b in zip(*row, strict=True)] for row in zip(n, bits, strict=True)
    ]
    assert words(0, 9, LIMITS) == 0
    assert words(6, 9, LIMITS) == 2  # 64 bits: a word, and the extra one
    assert words(1, 9, LIMITS) == 1


@pytest.mark.parametrize(("most", "bits"), [(0, 6), (1, 6), (63, 6), (64, 7), (127, 7), (128, 8), (1023, 10)])
def test_an_index_takes_the_bits_of_the_largest_but_never_fewer_than_a_format_has(most, bits):
    assert LIMITS.min_index_bits == 6
    assert index_bits(most, LIMITS) == bits


@pytest.mark.parametrize(
    ("delay", "places"), [(0, 0), (1, 4), (2, 4), (3, 8), (6, 8), (7, 16), (30, 32), (31, 64), (62, 64)]
)
def test_spikes_wait_in_a_power_of_two_of_places(delay, places):
    assert accumulators(np.array([1, 5]), delay).tolist() == [places, 5 * places]
