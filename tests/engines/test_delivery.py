import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from loihi_deploy.engines import delivery
from loihi_deploy.engines.chip.loops import deliver_all
from loihi_deploy.engines.delivery import BLOCK, block_marks, layout, room_for_words
from loihi_deploy.ir import Conv2D, Dense


@njit
def deliver(fields, geometry, weights, number, scale, acc, offset, touched):
    return delivery.deliver(fields, geometry, weights, number, scale, acc, offset, touched)


@njit
def list_spikes(spiked, first, n, found, out, place):
    return delivery.list_spikes(spiked, first, n, found, out, place)


def weights(rng, *shape):
    return rng.integers(-127, 128, shape).astype(np.int8)


@st.composite
def transforms(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["dense", "sparse", "conv"]))
    if kind == "dense":
        return Dense(weights(rng, draw(st.integers(1, 300)), draw(st.integers(1, 20))))
    if kind == "sparse":
        n_out, n_in = draw(st.integers(1, 40)), draw(st.integers(1, 20))
        matrix = weights(rng, n_out, n_in) * (rng.random((n_out, n_in)) < 0.3)

        return Dense(matrix.astype(np.int8)).csr()
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    in_shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), groups * draw(st.integers(1, 3)))
    out_shape = (draw(st.integers(1, 6)), draw(st.integers(1, 6)), groups * draw(st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    shape = (*kernel, in_shape[2] // groups, out_shape[2])
    return Conv2D(weights(rng, *shape), strides, padding, in_shape, out_shape, groups)


@given(st.lists(transforms(), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
def test_every_input_adds_its_column(parts):
    laid_out = layout(parts, np.int8)
    for fields, transform in zip(laid_out.table, parts, strict=True):
        columns = transform.csr().toarray().astype(int)
        structure = transform.with_values(np.ones_like(transform.values)).csr().toarray()
        for index in range(transform.in_size):
            acc = np.zeros(BLOCK + transform.out_size + 64, np.int16)
            touched = np.zeros(10, np.uint8)
            n = deliver(fields, laid_out.geometry, laid_out.weights, index, 1, acc, BLOCK, touched)
            assert (acc[BLOCK : BLOCK + transform.out_size] == columns[:, index]).all()
            assert not acc[:BLOCK].any()
            assert not acc[BLOCK + transform.out_size :].any()
            assert n == structure[:, index].sum()
            assert set(np.flatnonzero(acc) // BLOCK) <= set(np.flatnonzero(touched))


@given(transforms(), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 1.0]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_list_of_spikes_adds_the_columns_of_all(transform, seed, share, rising):
    """In lists with many spikes of one pixel, in rising order or in any."""
    rng = np.random.default_rng(seed)
    laid_out = layout([Dense(np.zeros((3, 5), np.int8)), transform], np.int8)
    spikes = np.flatnonzero(rng.random(transform.in_size) < share).astype(np.int32)
    if not rising:
        rng.shuffle(spikes)
    matrix = transform.csr().toarray().astype(int)
    structure = transform.with_values(np.ones_like(transform.values)).csr().toarray()
    acc = np.zeros(BLOCK + transform.out_size + 64, np.int16)
    touched = np.zeros(10, np.uint8)
    n = deliver_all(laid_out.table[1], laid_out.geometry, laid_out.weights, spikes, acc, BLOCK, touched)
    assert (acc[BLOCK : BLOCK + transform.out_size] == matrix[:, spikes].sum(axis=1)).all()
    assert not acc[:BLOCK].any()
    assert not acc[BLOCK + transform.out_size :].any()
    assert n == structure[:, spikes].sum()
    assert set(np.flatnonzero(acc) // BLOCK) <= set(np.flatnonzero(touched))


@pytest.mark.parametrize("spikes", [[403], [402, 403], [2, 3, 403]])
def test_few_spikes_mark_the_blocks_that_they_change(spikes):
    """Of the 13 of a convolution, all of which are marked at once where as many spikes arrive."""
    conv = Conv2D(np.ones((3, 3, 2, 8), np.int8), (1, 1), (1, 1), (20, 20, 2), (20, 20, 8))
    laid_out, acc = layout([conv], np.int8), np.zeros(20 * 20 * 8 + 64, np.int16)
    touched = np.zeros(13, np.uint8)
    given = np.array(spikes, np.int32)
    deliver_all(laid_out.table[0], laid_out.geometry, laid_out.weights, given, acc, 0, touched)
    assert set(np.flatnonzero(touched)) == set(np.flatnonzero(acc) // BLOCK) != set(range(13))


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_scaled_delivery(dtype):
    laid_out = layout([Dense(np.array([[1.0, 2.0], [3.0, 4.0]]))], dtype)
    acc = np.zeros(2, dtype)
    deliver(
        laid_out.table[0], laid_out.geometry, laid_out.weights, 1, dtype(3), acc, 0, np.zeros(1, np.uint8)
    )
    assert acc.tolist() == [6, 12]


def test_list_spikes():
    spiked = np.zeros(64, np.uint8)
    spiked[[3, 16, 17, 40, 63]] = 1, 1, 255, 2, 1
    out = np.full(9, -1, np.int32)
    n = list_spikes(spiked, 16, 40, room_for_words(64), out, 1)
    assert n == 3
    assert out[:5].tolist() == [-1, 0, 1, 24, -1]


@pytest.mark.parametrize("n", [8, 56, 64, 72, 128, 200, 4224])
def test_lists_and_their_room_end_where_they_should(n):
    """Where all spike, nothing is written behind the list, or behind the room for words."""
    words = room_for_words(n).size
    room, out = np.full(words + 8, 7, np.uint64), np.full(n + 8, -1, np.int32)
    assert list_spikes(np.ones(n, np.uint8), 0, n, room[:words], out, 0) == n
    assert out.tolist() == [*range(n), *[-1] * 8]
    assert (room[words:] == 7).all()
    assert list_spikes(np.zeros(n, np.uint8), 0, n, room[:words], out, 3) == 0
    last = (np.arange(n) == n - 1).astype(np.uint8)
    assert list_spikes(last, 0, n, room[:words], out, 3) == 1
    assert (out[3], out[4]) == (n - 1, 4)


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_there_is_a_mark_for_each_block(n):
    touched = block_marks(n)
    laid_out = layout([Dense(np.ones((n, 1), np.int8))], np.int8)
    deliver(laid_out.table[0], laid_out.geometry, laid_out.weights, 0, 1, np.zeros(n, np.int16), 0, touched)
    assert touched.all()


def test_divisions_by_channels_are_exact_up_to_the_largest_convolutions():
    """Numbers times channels stay below 2^40, and there are 2^24 pixels at most: the limits of a convolution."""
    for divisor in (1, 2, 3, 5, 7, 100, 1023, 4095, 2**20 - 1):
        most = min((2**40 - 1) // divisor, 2**24 * divisor - 1)
        for number in {0, 1, divisor - 1, divisor, most // divisor * divisor - 1, most - 1, most} - {-1}:
            product = np.uint64(number) * np.uint64(delivery._reciprocal(divisor))
            assert int(product >> delivery.RECIPROCAL_SHIFT) == number // divisor, (number, divisor)
