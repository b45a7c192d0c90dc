import numpy as np
import pytest
from hypothesis import given, settings

from loihi_deploy.errors import InputError
from loihi_deploy.ir import Conv2D, Dense, Sparse
from tests.ir.test_linear import convolutions


def naive_convolution(conv, image):
    """The definition, written out."""
    out = np.zeros(conv.out_shape)
    group_in, group_out = conv.kernel.shape[2], conv.out_shape[2] // conv.groups
    for oy, ox, f in np.ndindex(*conv.out_shape):
        for i, j, c in np.ndindex(*conv.kernel.shape[:3]):
            y = oy * conv.strides[0] - conv.padding[0] + i
            x = ox * conv.strides[1] - conv.padding[1] + j
            if 0 <= y < conv.in_shape[0] and 0 <= x < conv.in_shape[1]:
                out[oy, ox, f] += conv.kernel[i, j, c, f] * image[y, x, f // group_out * group_in + c]
    return out


@settings(max_examples=100)
@given(convolutions((4, 5, 4)))
def test_convolution_is_its_definition_and_its_matrix(conv):
    image = np.random.default_rng(0).integers(-9, 10, (2, *conv.in_shape)).astype(float)
    flat = image.reshape(2, -1)
    expected = np.stack([naive_convolution(conv, one).ravel() for one in image])
    assert (conv.apply(flat) == expected).all()
    assert (flat @ conv.csr().toarray().T == expected).all()


@pytest.mark.parametrize("kind", ["dense", "sparse", "conv"])
def test_scaled_rows_multiply_outputs(kind):
    rng = np.random.default_rng(0)
    conv = Conv2D(rng.normal(size=(2, 2, 1, 3)), (1, 1), (0, 0), (3, 3, 1), (2, 2, 3))
    dense = Dense(rng.normal(size=(12, 9)))
    transform = {"dense": dense, "conv": conv, "sparse": conv.csr()}[kind]
    x = rng.normal(size=(4, 9))
    for gain in (rng.normal(size=12), np.tile(rng.normal(size=3), 4)):
        assert np.allclose(transform.scaled_rows(gain).apply(x), transform.apply(x) * gain)
    assert isinstance(conv.scaled_rows(np.tile([1.0, 2, 3], 4)), Conv2D)
    assert isinstance(conv.scaled_rows(np.arange(12.0)), Sparse)


def test_transforms_keep_the_dtype_of_the_samples():
    conv = Conv2D(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (2, 2, 1), (2, 2, 1))
    for transform in (conv, Dense(np.eye(4)), conv.csr()):
        assert transform.apply(np.ones((1, 4), np.float32)).dtype == np.float32


def test_equality_is_by_content():
    assert Dense(np.eye(3)) == Dense(np.eye(3))
    assert Dense(np.eye(3)) != Dense(2 * np.eye(3))
    assert Dense(np.eye(3)) != Dense(np.eye(3)).csr()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dense(np.ones(3)),
        lambda: Conv2D(np.ones((1, 1, 2, 3)), (1, 1), (0, 0), (4, 4, 1), (4, 4, 3)),
        lambda: Conv2D(np.ones((1, 1, 1, 3)), (0, 1), (0, 0), (4, 4, 1), (4, 4, 3)),
        lambda: Conv2D(np.ones((1, 1, 1, 3)), (1, 1), (0, 0), (4, 4, 2), (4, 4, 3), groups=2),
        lambda: Sparse(np.ones(2), np.array([0, 0]), np.array([0, 2]), 3),
        lambda: Sparse(np.ones(1), np.array([3]), np.array([0, 1]), 3),
        lambda: Sparse(np.ones(1), np.array([0]), np.array([0, 2]), 3),
    ],
)
def test_parts_that_do_not_fit_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_arrays_are_read_only():
    weights = np.eye(3)
    dense = Dense(weights)
    weights[0, 0] = 9
    assert dense.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        dense.weights[0, 0] = 2
