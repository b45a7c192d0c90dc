"""Samples are checked once, at the door."""

from datetime import date

import numpy as np
import pytest

from loihi_deploy.errors import InputError
from loihi_deploy.ir import Graph, Input, Samples, samples_for

GRAPH = Graph((Input("x", (2, 3)),), (), ())
IMAGES = Graph((Input("x", (4, 4, 1)),), (), ())


@pytest.mark.parametrize(
    ("shape", "frames"),
    [((5, 2, 3), None), ((5, 6), None), ((5, 7, 2, 3), 7), ((5, 7, 6), 7), ((5, 1, 6), 1)],
)
def test_samples_may_be_flat_and_have_frames(shape, frames):
    x = np.arange(np.prod(shape)).reshape(shape)
    samples = samples_for(GRAPH, x)
    assert samples.static is (frames is None)
    assert samples.arrays["x"].shape == (5, frames or 1, 6)
    assert (len(samples), samples.n_frames) == (5, frames or 1)
    assert (samples.arrays["x"].ravel() == x.ravel()).all()
    assert (samples.first_frames()["x"] == samples.arrays["x"][:, 0]).all()
    assert (samples.all_frames()["x"].ravel() == x.ravel()).all()


@pytest.mark.parametrize("shape", [(50, 4, 4, 1), (50, 4, 4), (50, 16)])
def test_images_may_leave_out_their_single_channel(shape):
    assert samples_for(IMAGES, np.zeros(shape)).arrays["x"].shape == (50, 1, 16)


def test_one_sample_is_told_to_be_a_batch():
    x = np.arange(6.0).reshape(2, 3)
    with pytest.raises(InputError, match=r"x\[None\]"):
        samples_for(GRAPH, x)
    assert samples_for(GRAPH, x[None]).arrays["x"].shape == (1, 1, 6)  # what the remedy says


def test_samples_with_channels_first_are_stored_with_channels_last():
    graph = Graph((Input("x", (1, 2, 3), channels_first=True),), (), ())
    images = np.arange(30.0).reshape(5, 1, 2, 3)  # height, width, channels
    for given_shape in (np.moveaxis(images, -1, 1), np.moveaxis(images, -1, 1).reshape(5, 6)):
        assert (samples_for(graph, given_shape).arrays["x"][:, 0] == images.reshape(5, 6)).all()
    frames = np.repeat(np.moveaxis(images, -1, 1)[:, None], 4, axis=1)
    assert (samples_for(graph, frames).arrays["x"] == images.reshape(5, 1, 6)).all()
    with pytest.raises(InputError, match="wrong shape"):
        samples_for(graph, images)


def test_they_are_not_copied_and_not_written_to():
    x = np.zeros((5, 6), np.float32)
    samples = samples_for(GRAPH, x)
    assert np.shares_memory(samples.arrays["x"], x)
    with pytest.raises(ValueError, match="read-only"):
        samples.arrays["x"][:] = 1
    x[:] = 2  # the caller's own stays writable
    assert samples_for(GRAPH, samples) is samples
    assert np.shares_memory(samples.take(slice(2, 4)).arrays["x"], x)
    assert len(samples.take(np.array([0, 0, 3]))) == 3


def test_the_digest_is_that_of_the_values():
    x = np.random.default_rng(0).random((5, 6))
    assert samples_for(GRAPH, x).digest == samples_for(GRAPH, x.reshape(5, 2, 3)).digest
    assert samples_for(GRAPH, x).digest != samples_for(GRAPH, x[::-1]).digest


class Faulty:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("still on the GPU")


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (np.zeros((5, 7)), "wrong shape"),
        (np.zeros(()), "wrong shape"),
        (3.5, "wrong shape"),
        (np.zeros((5, 0, 6)), "there is no frame"),
        (np.zeros((0, 6)), "no sample"),
        ([], "no sample"),
        (np.full((5, 6), np.nan), "30 NaN"),
        (np.full((5, 6), -1e31), "too large"),
        ("images", "not numbers"),
        (None, "not numbers"),
        (np.zeros((5, 6), complex), r"not numbers \(found complex128"),
        (np.zeros((5, 6), "datetime64[s]"), "not numbers"),
        (np.full((5, 6), date(2026, 1, 1)), "not numbers"),
        (np.full((5, 6), "0.5"), "not numbers"),
        ([[0.0] * 6, [0.0] * 5], "not an array"),
        (Faulty(), "still on the GPU"),
        (np.ma.masked_less(np.arange(30.0).reshape(5, 6), 3), "3 masked values"),
        ({"y": np.zeros((5, 6))}, "inputs do not match"),
        ({}, "inputs do not match"),
        (Samples({"x": np.zeros((5, 1, 7))}, static=True), "wrong shape"),
    ],
)
def test_bad_samples(x, told):
    with pytest.raises(InputError, match=told):
        samples_for(GRAPH, x)


def test_all_problems_at_once():
    graph = Graph((Input("x", (6,)), Input("y", (3,)), Input("z", (2,))), (), ())
    with pytest.raises(InputError) as caught:
        samples_for(graph, {"x": np.full((5, 6), np.inf), "y": np.zeros((4, 3)), "z": "none"})
    assert [problem.where for problem in caught.value.problems] == ["x", "z", "x"]


def test_a_masked_array_without_masked_values_is_an_array():
    assert len(samples_for(GRAPH, np.ma.array(np.zeros((5, 6))))) == 5
