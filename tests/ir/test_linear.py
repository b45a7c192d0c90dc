"""Compositions against the product of the matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy.ir import Conv2D, Dense, Sparse, linear


def small_kernel(rng, shape):
    """Integers, so that sums are exact whatever their order."""
    return rng.integers(-3, 4, shape).astype(float)


@st.composite
def convolutions(draw, in_shape):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([g for g in (1, 2, in_shape[2]) if in_shape[2] % g == 0]))
    channels = groups * draw(st.integers(1, 3))
    sizes = []
    for size in in_shape[:2]:
        taps, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(-1, 2))
        furthest = max(1, (size + padding + 2 - taps) // stride + 1)
        sizes.append((taps, stride, padding, draw(st.integers(1, furthest))))
    (kh, sh, ph, oh), (kw, sw, pw, ow) = sizes
    kernel = small_kernel(rng, (kh, kw, in_shape[2] // groups, channels))
    return Conv2D(kernel, (sh, sw), (ph, pw), in_shape, (oh, ow, channels), groups)


@st.composite
def pairs(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    inner = draw(convolutions(shape))
    return draw(convolutions(inner.out_shape)), inner


def matrix(transform):
    return transform.csr().toarray()


@settings(max_examples=300)
@given(pairs())
def test_two_convolutions_compose_exactly(pair):
    outer, inner = pair
    assert (matrix(linear.compose(outer, inner)) == matrix(outer) @ matrix(inner)).all()


@settings(max_examples=100)
@given(st.data())
def test_convolutions_of_one_geometry_add_exactly(data):
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)), 2)
    first, second = data.draw(convolutions(shape)), data.draw(convolutions(shape))
    if first.out_shape == second.out_shape:
        total = linear.add(first, second)
        assert (matrix(total) == matrix(first) + matrix(second)).all()
        if first.strides == second.strides:
            assert isinstance(total, Conv2D)


@pytest.mark.parametrize("outer_kind", ["dense", "sparse"])
@pytest.mark.parametrize("inner_kind", ["dense", "sparse", "conv"])
def test_other_pairs_compose_and_add_exactly(outer_kind, inner_kind):
    rng = np.random.default_rng(0)
    kinds = {
        "dense": lambda rows, columns: Dense(small_kernel(rng, (rows, columns))),
        "sparse": lambda rows, columns: linear.gather(rng.integers(-1, columns, rows), columns),
        "conv": lambda rows, columns: Conv2D(
            small_kernel(rng, (2, 2, 2, 3)), (1, 1), (0, 0), (3, 3, 2), (2, 2, 3)
        ),
    }
    inner, outer = kinds[inner_kind](12, 18), kinds[outer_kind](5, 12)
    assert (matrix(linear.compose(outer, inner)) == matrix(outer) @ matrix(inner)).all()
    other = kinds[outer_kind](12, 18)
    assert (matrix(linear.add(other, inner)) == matrix(other) + matrix(inner)).all()


def conv(kernel, in_shape, strides=(1, 1), padding=(0, 0), out=None, groups=1):
    kernel = np.asarray(kernel, float)
    if out is None:
        out = [(in_shape[a] + 2 * padding[a] - kernel.shape[a]) // strides[a] + 1 for a in (0, 1)]
    return Conv2D(kernel, strides, padding, in_shape, (*out, kernel.shape[3]), groups)


def test_pooling_before_a_convolution_is_one_strided_kernel():
    pool = conv(np.full((2, 2, 1, 3), 0.25), (8, 8, 3), strides=(2, 2), groups=3)
    after = conv(np.ones((3, 3, 3, 5)), (4, 4, 3))
    merged = linear.compose(after, pool)
    assert isinstance(merged, Conv2D)
    assert merged.kernel.shape == (6, 6, 3, 5)
    assert merged.strides == (2, 2)


def test_depthwise_then_depthwise_keeps_its_groups():
    scale = linear.scale_channels(np.array([1.0, 2.0, 3.0]), (4, 4, 3))
    merged = linear.compose(scale, conv(np.ones((3, 3, 1, 3)), (6, 6, 3), groups=3))
    assert isinstance(merged, Conv2D)
    assert merged.groups == 3
    assert (merged.kernel[0, 0, 0] == [1, 2, 3]).all()


def test_zeros_beyond_the_edge_of_a_linear_layer_are_not_forgotten():
    """Two 'same' convolutions are no convolution: the outer one sees zeros where the inner one would see the image."""
    first = conv(np.ones((3, 3, 1, 1)), (6, 6, 1), padding=(1, 1))
    merged = linear.compose(first, first)
    assert not isinstance(merged, Conv2D)
    assert (matrix(merged) == matrix(first) @ matrix(first)).all()


def test_zero_padding_then_valid_is_padding():
    pad = Conv2D(np.ones((1, 1, 1, 2)), (1, 1), (1, 1), (4, 4, 2), (6, 6, 2), groups=2)
    merged = linear.compose(conv(np.ones((3, 3, 2, 3)), (6, 6, 2)), pad)
    assert merged == conv(np.ones((3, 3, 2, 3)), (4, 4, 2), padding=(1, 1))


def test_kernels_are_cut_to_what_meets_the_image():
    inner = conv(np.ones((3, 3, 1, 1)), (4, 4, 1), padding=(1, 1))
    pool = conv(np.full((4, 4, 1, 1), 1 / 16), (4, 4, 1))
    merged = linear.compose(pool, inner)
    assert isinstance(merged, Conv2D)
    assert merged.kernel.shape == (4, 4, 1, 1)
    assert merged.padding == (0, 0)


@pytest.mark.parametrize(("share", "kind"), [(0.5, Sparse), (0.51, Dense)])
def test_a_matrix_that_is_mostly_full_is_stored_densely(share, kind):
    values = np.zeros((10, 10))
    values.ravel()[: round(100 * share)] = 1
    assert isinstance(linear.as_matrix(values), kind)
    assert (matrix(linear.as_matrix(values)) == values).all()


def test_gather_puts_zero_where_the_index_is_negative():
    x = np.arange(1.0, 5.0)[None]
    assert (linear.gather(np.array([3, -1, 0, 0]), 4).apply(x) == [[4, 0, 1, 1]]).all()


def test_pointwise_and_scale_act_on_the_last_axis():
    rng = np.random.default_rng(0)
    x, weights, factors = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(6, 5)), rng.normal(size=5)
    flat = x.reshape(2, -1)
    assert np.allclose(linear.pointwise(weights, (3, 4, 5)).apply(flat), (x @ weights.T).reshape(2, -1))
    assert np.allclose(linear.scale_channels(factors, (3, 4, 5)).apply(flat), (x * factors).reshape(2, -1))
    each = rng.normal(size=60)
    assert isinstance(linear.scale(np.tile(factors, 12), (3, 4, 5)), Conv2D)
    assert isinstance(linear.scale(each, (3, 4, 5)), Sparse)
    assert np.allclose(linear.scale(each, (3, 4, 5)).apply(flat), flat * each)


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5)])
def test_identity(shape):
    size = int(np.prod(shape))
    assert (matrix(linear.identity(shape)) == np.eye(size)).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((7,), (1, 1, 7)), ((4, 3), (1, 4, 3)), ((2, 3, 4), (2, 3, 4)), ((2, 3, 4, 5), (1, 24, 5))],
)
def test_image_shape(shape, expected):
    assert linear.image_shape(shape) == expected


def test_a_matrix_that_moves_an_image_is_recognized():
    crop = Conv2D(np.ones((1, 1, 1, 2)), (1, 1), (-1, -2), (5, 5, 2), (3, 2, 2), groups=2)
    assert linear.as_convolution(crop.csr(), (5, 5, 2), (3, 2, 2)) == crop
    select = conv(np.eye(4)[None, None][..., 1:3], (3, 3, 4))
    assert linear.as_convolution(select.csr(), (3, 3, 4), (3, 3, 2)) == select
    flipped = linear.gather(np.arange(9)[::-1], 9)
    assert linear.as_convolution(flipped.csr(), (3, 3, 1), (3, 3, 1)) is None


def test_depthwise_is_found_where_channels_do_not_mix():
    kernel = np.zeros((2, 2, 2, 4))
    kernel[:, :, 0, :2], kernel[:, :, 1, 2:] = 1, 2
    full = conv(kernel, (3, 3, 2))
    narrow = linear.depthwise(full)
    assert narrow.groups == 2
    assert (matrix(narrow) == matrix(full)).all()
    mixing = conv(kernel + 1, (3, 3, 2))
    assert linear.depthwise(mixing) is mixing
