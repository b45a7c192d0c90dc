"""The loops that a run cannot take less than: they do what the chip does, beside plain numpy."""

import numpy as np
import pytest

from loihi_deploy.chip.fixed_point import decay
from loihi_deploy.engines import aligned
from loihi_deploy.engines.chip import loops
from loihi_deploy.engines.delivery import BLOCK, room_for_words


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_every_neuron_is_updated_in_every_step(n_blocks):
    rng = np.random.default_rng(n_blocks)
    n, factor, shift, threshold, v_min = n_blocks * BLOCK, 3000, 6, 64 * 900, -4000
    u, v, bias = aligned.zeros((3, n), np.int32)
    u[:], v[:], bias[:] = rng.integers(-5000, 5000, n), rng.integers(0, 9000, n), rng.integers(-900, 900, n)
    q, spiked = aligned.zeros(n, np.int16), aligned.zeros(n, np.uint8)
    q[:] = rng.integers(-100, 500, n)
    expected_u, expected_v, arriving = u.copy(), v.copy(), q.astype(np.int32)
    update_all = loops.update_with(12)
    for steps in (1, 1, 5):
        update_all(u, v, q, bias, spiked, factor, shift, threshold, v_min, steps)
        for _ in range(steps):
            expected_u = decay(expected_u, factor, 12) + (arriving << shift)
            expected_v = np.maximum(expected_v + expected_u + bias, v_min)
            fires = expected_v > threshold
            expected_v[fires] = 0
            arriving = 0 * arriving
        assert (u == expected_u).all()
        assert (v == expected_v).all()
        assert (spiked == fires).all()
        assert not q.any()


def test_runs_of_weights_are_added_where_they_belong():
    q, weights = np.zeros(9, np.int16), np.arange(1, 8, dtype=np.int8)
    places = (np.array(numbers, np.int64) for numbers in ([2, 0, 7], [0, 3, 6], [3, 4, 1]))
    loops.add_all(*places, weights, q)
    assert q.tolist() == [4, 5, 7, 9, 3, 0, 0, 7, 0]


def test_spikes_of_each_step_are_counted():
    spiked = (np.random.default_rng(0).random((4, 128)) < 0.2).astype(np.uint8)
    out = np.zeros(128, np.int32)
    assert loops.list_all(spiked, room_for_words(128), out) == spiked.sum()
    last = np.flatnonzero(spiked[-1])
    assert out[: len(last)].tolist() == last.tolist()
