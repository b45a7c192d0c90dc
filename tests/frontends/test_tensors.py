"""Tensors by themselves, against numpy: what functions of them compute, in both layouts, and what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.frontends import keras_layers, tensor_functions
from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.keras_windows import averaged, global_max_pooling, largest, max_pooling
from loihi_deploy.frontends.layouts import image_layout
from loihi_deploy.frontends.tensors import (
    Saturating,
    Tensor,
    Time,
    UnsupportedLayerError,
    concatenated,
    contracted,
    elementwise,
    last_step,
    mean_of_steps,
    moved,
    rearranged,
    reduced,
    summed,
)

RNG = np.random.default_rng(0)
IMAGE = (4, 5, 3)
X = RNG.normal(size=IMAGE)
F = tensor_functions.FUNCTIONS


def tensor(shape=IMAGE, channels_last=True, **more):
    """An input of a shape; images with channels first are stored with channels last."""
    builder = GraphBuilder("the test", 0.0)
    layout = image_layout(shape, channels_last)
    stored = shape if layout.order is None else layout.shape
    return Tensor(builder.input("x", stored, layout.order), shape, **more)


def stored(x, order):
    flat = np.asarray(x, float).ravel()
    if order is None:
        return flat
    placed = np.empty_like(flat)
    placed[order] = flat
    return placed


def computed(made, given, x):
    """Values of a tensor, in its shape, for those of what it is made of."""
    affine, values = made.affine, np.array(made.affine.offset, float)
    for transform in affine.terms.values():
        entered = stored(x, given.affine.order)[None]
        values = values + (entered if transform is None else transform.apply(entered))[0]
    values = values if affine.order is None else values[affine.order]
    if made.windows is not None:
        padded = np.append(values, -np.inf)
        return padded[made.windows].max(-1)
    return values.reshape(made.shape)


def check(call, wanted, shape=IMAGE, x=None, **more):
    """Compare with numpy, with channels last and first."""
    x = RNG.normal(size=shape) if x is None else x
    for channels_last in (True, False):
        given = tensor(shape, channels_last, **more)
        found = computed(call(given), given, x)
        expected = np.asarray(wanted(x))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


MATRIX = RNG.normal(size=(3, 5))
LEFT = RNG.normal(size=(2, 5))
CHANNELS = np.array([0.5, -2.0, 3.0])
ROWS = RNG.normal(size=(4, 1, 1))

COMPUTED = {
    "some of them twice": (
        lambda t: moved(t, np.where(t.indices() % 4 == 1, t.indices() - 1, t.indices())),
        lambda x: x.ravel()[np.where(np.arange(60) % 4 == 1, np.arange(60) - 1, np.arange(60))].reshape(
            IMAGE
        ),
    ),
    "bias, format said": (lambda t: F["biasadd"](t, CHANNELS, "channels_last"), lambda x: x + CHANNELS),
    "bias, another format": (
        lambda t: F["biasadd"](t, np.arange(4.0), "channels_first"),
        lambda x: x + np.arange(4.0)[:, None, None],
    ),
    "average pool of channels first": (
        lambda t: F["avgpool"](t, [1, 1, 2, 3], [1, 1, 3, 1], "VALID", "NCHW"),
        lambda x: np.stack(
            [[x[:, i : i + 2, j : j + 3].mean((1, 2)) for j in range(1)] for i in (0, 3)]
        ).transpose(2, 0, 1),
    ),
    "split in three": (lambda t: F["split"](t, [1, 2, 1], 1)[2], lambda x: x[3:]),
    "moved": (lambda t: moved(t, t.indices()[::-1, :, [2, 0]]), lambda x: x[::-1, :, [2, 0]]),
    "turned": (lambda t: moved(t, t.indices().transpose(2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
    "in a row": (lambda t: moved(t, t.indices().ravel()), np.ravel),
    "with zeros": (
        lambda t: moved(t, np.pad(t.indices(), ((1, 0), (0, 2), (0, 1)), constant_values=-1)),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 1))),
    ),
    "rearranged": (lambda t: rearranged(t, lambda a: a[:, 1:, ::2]), lambda x: x[1:, ::2]),
    "times a matrix": (lambda t: contracted(t, MATRIX), lambda x: x @ MATRIX),
    "summed over rows": (lambda t: reduced(t, [0], False, False), lambda x: x.sum(0)),
    "mean of columns": (lambda t: reduced(t, [1], True, True), lambda x: x.mean(1, keepdims=True)),
    "mean of an image": (lambda t: reduced(t, [0, 1], False, True), lambda x: x.mean((0, 1))),
    "mean of an image, with axes": (
        lambda t: reduced(t, [0, 1], True, True),
        lambda x: x.mean((0, 1), keepdims=True),
    ),
    "sum of all": (lambda t: reduced(t, [0, 1, 2], False, False), lambda x: x.sum()),
    "a factor": (lambda t: elementwise(t, CHANNELS), lambda x: x * CHANNELS),
    "a factor and an offset": (lambda t: elementwise(t, ROWS, CHANNELS), lambda x: x * ROWS + CHANNELS),
    "an offset": (lambda t: elementwise(t, offset=X), lambda x: x + X),
    "one and half": (lambda t: summed([t, t], [1.0, 0.5]), lambda x: 1.5 * x),
    "a mean and itself": (
        lambda t: summed([reduced(t, [0, 1], True, True), t], [2.0, -1.0]),
        lambda x: 2 * x.mean((0, 1), keepdims=True) - x,
    ),
    **{
        f"beside each other along {axis}": (
            lambda t, axis=axis: concatenated([t, elementwise(t, 2.0)], axis),
            lambda x, axis=axis: np.concatenate([x, 2 * x], axis),
        )
        for axis in range(3)
    },
    "add": (lambda t: F["add"](t, CHANNELS), lambda x: x + CHANNELS),
    "add in front": (lambda t: F["add"](X[None], t), lambda x: X + x),
    "add all": (lambda t: F["addn"]([t, t, elementwise(t, 0.5)]), lambda x: 2.5 * x),
    "subtract": (lambda t: F["subtract"](t, CHANNELS), lambda x: x - CHANNELS),
    "subtract from": (lambda t: F["subtract"](1.0, t), lambda x: 1 - x),
    "subtract itself": (lambda t: F["subtract"](t, elementwise(t, 0.25)), lambda x: 0.75 * x),
    "a wider constant": (
        lambda t: F["multiply"](moved(t, t.indices()[:1]), ROWS),
        lambda x: x[:1] * ROWS,
    ),
    "multiply": (lambda t: F["multiply"](ROWS, t), lambda x: ROWS * x),
    "divide": (lambda t: F["divide"](t, CHANNELS), lambda x: x / CHANNELS),
    "negative": (lambda t: F["negative"](t), lambda x: -x),
    "bias": (lambda t: F["biasadd"](t, CHANNELS), lambda x: x + CHANNELS),
    "bias of channels first": (
        lambda t: F["biasadd"](t, np.arange(4.0), "NCHW"),
        lambda x: x + np.arange(4.0)[:, None, None],
    ),
    "matmul": (lambda t: F["matmul"](t, MATRIX), lambda x: x @ MATRIX),
    "matmul, turned": (
        lambda t: F["matmul"](t, MATRIX.T[None, None], transpose_b=True),
        lambda x: x @ MATRIX,
    ),
    "matmul of the turned": (
        lambda t: F["matmul"](t, LEFT.T, transpose_a=True),
        lambda x: np.swapaxes(x, 1, 2) @ LEFT.T,
    ),
    "matmul with a vector": (lambda t: F["matmul"](t, CHANNELS), lambda x: x @ CHANNELS),
    "a matrix in front": (lambda t: F["matmul"](LEFT, t), lambda x: LEFT @ x),
    "a turned matrix in front": (lambda t: F["matmul"](LEFT.T, t, transpose_a=True), lambda x: LEFT @ x),
    "a matrix in front of the turned": (
        lambda t: F["matmul"](MATRIX.T, t, transpose_b=True),
        lambda x: MATRIX.T @ np.swapaxes(x, 1, 2),
    ),
    "mean": (lambda t: F["mean"](t, [1, -1]), lambda x: x.mean((0, 2))),
    "mean of one": (lambda t: F["mean"](t, 2, True), lambda x: x.mean(1, keepdims=True)),
    "sum": (lambda t: F["sum"](t, [2]), lambda x: x.sum(1)),
    "sum along one twice": (lambda t: F["sum"](t, [-1, 3], True), lambda x: x.sum(2, keepdims=True)),
    "max": (lambda t: F["max"](t, 2), lambda x: x.max(1)),
    "max of two": (lambda t: F["max"](t, [1, 3], True), lambda x: x.max((0, 2), keepdims=True)),
    "reshape": (lambda t: F["reshape"](t, (None, 6, -1)), lambda x: x.reshape(6, 10)),
    "items": (
        lambda t: F["getitem"](t, [slice(None), {"start": 1, "stop": 4, "step": 2}, ..., 1]),
        lambda x: x[1:4:2, ..., 1],
    ),
    "all items": (lambda t: F["getitem"](t, slice(None)), lambda x: x),
    "transpose": (lambda t: F["transpose"](t, [0, 3, 1, 2]), lambda x: x.transpose(2, 0, 1)),
    "pad": (
        lambda t: F["pad"](t, [[0, 0], [1, 0], [0, 2], [0, 0]]),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0))),
    ),
    "pad with a number": (
        lambda t: F["pad"](t, [[0, 0], [1, 0], [0, 2], [0, 0]], "CONSTANT", 0.5),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=0.5),
    ),
    "pad with a name, and a number": (
        lambda t: F["pad"](t, [[0, 0], [1, 0], [0, 2], [0, 0]], "CONSTANT", "name", 0.5),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=0.5),
    ),
    "pad without a number": (
        lambda t: F["pad"](t, [[0, 0], [1, 0], [0, 2], [0, 0]], "CONSTANT", None),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0))),
    ),
    "reflect": (
        lambda t: F["pad"](t, [[0, 0], [1, 0], [0, 2], [0, 0]], "REFLECT"),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0)), mode="reflect"),
    ),
    "concatenate": (
        lambda t: F["concatenate"]([t, elementwise(t, 2.0)], -2),
        lambda x: np.concatenate([x, 2 * x], 1),
    ),
    "stack": (lambda t: F["stack"]([t, elementwise(t, 2.0)], 2), lambda x: np.stack([x, 2 * x], 1)),
    "stack at the end": (
        lambda t: F["stack"]([t, elementwise(t, 2.0)], -1),
        lambda x: np.stack([x, 2 * x], -1),
    ),
    "sum of a stack": (lambda t: F["sum"](F["stack"]([t, elementwise(t, 3.0)]), 0), lambda x: 4 * x),
    "mean of a stack": (lambda t: F["mean"](F["stack"]([t, elementwise(t, 3.0)]), [0]), lambda x: 2 * x),
    "expand": (lambda t: F["expanddims"](t, -2), lambda x: x[:, :, None]),
    "squeeze": (lambda t: F["squeeze"](F["expanddims"](t, 1), 1), lambda x: x),
    "squeeze what there is": (lambda t: F["squeeze"](F["expanddims"](t, 2), ()), lambda x: x),
    "squeeze whatever there is": (lambda t: F["squeeze"](F["expanddims"](t, 2)), lambda x: x),
    "flip": (lambda t: F["flip"](t, [1, -1]), lambda x: x[::-1, :, ::-1]),
    "tile": (lambda t: F["tile"](t, [1, 2, 1, 3]), lambda x: np.tile(x, (2, 1, 3))),
    "repeat": (lambda t: F["repeat"](t, 2, 3), lambda x: x.repeat(2, 2)),
    "roll": (lambda t: F["roll"](t, (1, 2), (1, 2)), lambda x: np.roll(x, (1, 2), (0, 1))),
    "move axis": (lambda t: F["moveaxis"](t, 1, -1), lambda x: np.moveaxis(x, 0, -1)),
    "swap axes": (lambda t: F["swapaxes"](t, 1, 2), lambda x: x.swapaxes(0, 1)),
    "gather": (lambda t: F["gather"](t, [3.0, 0, 3], 1), lambda x: x[[3, 0, 3]]),
    "split in sizes": (lambda t: F["split"](t, [1, 3], 1)[1], lambda x: x[1:]),
    "split in parts": (lambda t: F["split"](t, 2, axis=1)[0], lambda x: x[:2]),
    "split at places": (lambda t: F["split"](t, axis=2, indices_or_sections=[1, 3])[1], lambda x: x[:, 1:3]),
    "unstack": (lambda t: F["unstack"](t, axis=-1)[2], lambda x: x[..., 2]),
    "average pool": (
        lambda t: F["avgpool"](t, [1, 2, 3, 1], [1, 2, 1, 1], "VALID"),
        lambda x: np.stack([[x[i : i + 2, j : j + 3].mean((0, 1)) for j in range(3)] for i in (0, 2)]),
    ),
    "largest pool, of the size": (
        lambda t: F["maxpool"](t, 2, padding="VALID"),
        lambda x: np.stack([[x[i : i + 2, j : j + 2].max((0, 1)) for j in (0, 2)] for i in (0, 2)]),
    ),
    "flatten": (lambda t: keras_layers._flatten(layer(), [t]), np.ravel),
    "flatten of channels first": (
        lambda t: keras_layers._flatten(layer(data_format="channels_first"), [t]),
        lambda x: np.moveaxis(x, 0, -1).ravel(),
    ),
    "permute": (lambda t: keras_layers._permute(layer(dims=(3, 1, 2)), [t]), lambda x: x.transpose(2, 0, 1)),
    "zeros around": (
        lambda t: keras_layers._zero_padding(layer(padding=((1, 0), (0, 2))), [t]),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0))),
    ),
    "zeros around, channels first": (
        lambda t: keras_layers._zero_padding(
            layer(padding=((1, 0), (0, 2)), data_format="channels_first"), [t]
        ),
        lambda x: np.pad(x, ((0, 0), (1, 0), (0, 2))),
    ),
    "cut": (lambda t: keras_layers._cropping(layer(cropping=((1, 0), (2, 1))), [t]), lambda x: x[1:, 2:4]),
    "cut, channels first": (
        lambda t: keras_layers._cropping(layer(cropping=((1, 0), (0, 1)), data_format="channels_first"), [t]),
        lambda x: x[:, 1:, :2],
    ),
    "larger": (
        lambda t: keras_layers._up_sampling(layer(size=(2, 3)), [t]),
        lambda x: x.repeat(2, 0).repeat(3, 1),
    ),
    "larger, channels first": (
        lambda t: keras_layers._up_sampling(layer(size=(2, 3), data_format="channels_first"), [t]),
        lambda x: x.repeat(2, 1).repeat(3, 2),
    ),
    "normalized": (
        lambda t: keras_layers._normalization(layer(mean=CHANNELS[None], variance=CHANNELS[None] ** 2), [t]),
        lambda x: (x - CHANNELS) / np.abs(CHANNELS),
    ),
    "normalized back": (
        lambda t: keras_layers._normalization(layer(mean=0.5, variance=4.0, invert=True), [t]),
        lambda x: 2 * x + 0.5,
    ),
    "normalized by none": (
        lambda t: keras_layers._normalization(layer(mean=0.0, variance=0.0), [t]),
        lambda x: x * 1e7,
    ),
    "rescaled": (
        lambda t: keras_layers._rescaling(layer(scale=2.0, offset=CHANNELS), [t]),
        lambda x: 2 * x + CHANNELS,
    ),
    "difference": (lambda t: keras_layers._subtract(layer(), [t, elementwise(t, 3.0)]), lambda x: -2 * x),
    "average": (lambda t: keras_layers._average(layer(), [t, elementwise(t, 3.0), t]), lambda x: 5 / 3 * x),
}


def layer(**settings):
    return SimpleNamespace(name="own", **settings)


@pytest.mark.parametrize("name", COMPUTED)
def test_functions_compute_what_numpy_does(name):
    check(*COMPUTED[name])


@pytest.mark.parametrize("name", ["in a row", "moved", "a factor and an offset", "sum of all", "turned"])
def test_what_was_moved_before_is_computed_alike(name):
    call, wanted = COMPUTED[name]
    check(
        lambda t: call(moved(t, t.indices().transpose(1, 2, 0).reshape(IMAGE))),
        lambda x: wanted(x.transpose(1, 2, 0).reshape(IMAGE)),
    )


def test_vectors_and_rows():
    check(lambda t: contracted(t, MATRIX), lambda x: x @ MATRIX, (3,))
    check(lambda t: reduced(t, [0], True, True), lambda x: x.mean(keepdims=True), (3,))
    check(lambda t: elementwise(t, CHANNELS, 1.0), lambda x: x * CHANNELS + 1, (3,))
    check(lambda t: contracted(t, MATRIX), lambda x: x @ MATRIX, (4, 3))
    check(lambda t: keras_layers._repeat_vector(layer(n=4), [t]), lambda x: np.tile(x, (4, 1)), (3,))
    check(
        lambda t: keras_layers._zero_padding(layer(padding=(1, 2)), [t]),
        *(lambda x: np.pad(x, ((1, 2), (0, 0))), (4, 3)),
    )
    check(lambda t: keras_layers._cropping(layer(cropping=((1, 2),)), [t]), lambda x: x[1:2], (4, 3))
    check(lambda t: moved(t, t.indices().reshape(2, 2, 3)), lambda x: x.reshape(2, 2, 3), (4, 3))
    check(lambda t: F["matmul"](np.ones((2, 4)), t), lambda x: np.ones((2, 4)) @ x, (4, 3))
    cube = (2, 3, 4, 5)
    check(lambda t: contracted(t, np.ones((5, 2))), lambda x: x @ np.ones((5, 2)), cube)
    check(lambda t: reduced(t, [0, 2], False, True), lambda x: x.mean((0, 2)), cube)


# -- what is only moved stays a matter of order, and an image a convolution ----------------------------


def test_what_is_only_moved_costs_nothing():
    given = tensor()
    for made in (
        moved(given, given.indices().transpose(2, 0, 1)),
        moved(given, given.indices().ravel()),
        keras_layers._reshape(layer(target_shape=(20, 3)), [given]),
    ):
        assert list(made.affine.terms.values()) == [None]
    assert moved(given, given.indices().ravel()).affine.order is None
    assert elementwise(given).affine.terms == given.affine.terms


def test_whole_images_are_pooled_by_a_window_and_pixels_moved_by_a_convolution():
    given = tensor()
    for made, kind in (
        (reduced(given, [0, 1], False, True), "Conv2D"),
        (reduced(given, [0], False, True), "Sparse"),
        (moved(given, np.pad(given.indices(), ((1, 0), (0, 1), (0, 0)), constant_values=-1)), "Conv2D"),
        (contracted(given, MATRIX), "Conv2D"),
    ):
        (transform,) = made.affine.terms.values()
        assert type(transform).__name__ == kind
    (transform,) = reduced(given, [0, 1], False, True).affine.terms.values()
    assert transform.kernel.shape == (4, 5, 1, 3)


def test_channels_first_stay_last_in_memory_where_the_rank_stays():
    given = tensor((3, 4, 5), channels_last=False)
    padded = moved(given, np.pad(given.indices(), ((0, 0), (1, 0), (0, 1)), constant_values=-1))
    assert padded.affine.shape == (5, 6, 3)
    assert padded.affine.order is not None
    cut = moved(given, given.indices()[:, 0, :2])
    assert (cut.affine.shape, cut.affine.order) == ((1, 3, 2), None)


# -- axes and steps ------------------------------------------------------------------------------------


def test_axes_are_counted_from_the_batch_or_the_end():
    assert [tensor().axis(n) for n in (1, 2, 3, -1, -3)] == [0, 1, 2, 2, 0]
    assert [tensor(leading=2).axis(n) for n in (2, 3, -1)] == [0, 1, 2]
    for leading, wrong in ((1, 0), (2, 1), (1, -4)):
        with pytest.raises(UnsupportedLayerError) as caught:
            tensor(leading=leading).axis(wrong)
        assert (str(caught.value), caught.value.value) == ("an operation along the batch or time axis", wrong)


@pytest.mark.parametrize(
    ("time", "n_steps", "ends"),
    [
        (Time(), None, True),
        (Time(every=2), None, False),
        (Time(10), 10, True),
        (Time(10, first=3), 7, True),
        (Time(10, every=3), 4, True),
        (Time(10, every=3, first=1), 3, False),
        (Time(10, every=3, first=3), 3, True),
        (Time(9, every=2), 5, True),
        (Time(10, every=2), 5, False),
        (Time(10, every=4, first=9), 1, True),
    ],
)
def test_steps_of_so_many_frames(time, n_steps, ends):
    assert (time.n_steps, time.ends_with_the_input) == (n_steps, ends)


def test_the_last_step():
    made = last_step(tensor(leading=2, time=Time(9, every=2)))
    assert (made.leading, made.over_time) == (1, "last")
    for time, value, frames in (
        (Time(10, every=2, first=2), "10 frames", 3),
        (Time(every=2, first=1), "any number of frames", 2),
    ):
        with pytest.raises(UnsupportedLayerError) as caught:
            last_step(tensor(leading=2, time=time))
        assert caught.value.value == value
        assert caught.value.remedy == (
            f"Give the model Input((n_frames, ...)) with {frames} frames and a multiple of 2 more"
        )


def test_the_mean_of_steps():
    made = mean_of_steps(tensor(leading=2))
    assert (made.leading, made.over_time) == (1, "mean")
    with pytest.raises(UnsupportedLayerError) as caught:
        mean_of_steps(tensor(leading=2, time=Time(9, every=2)))
    assert caught.value.value == "a step every 2 frames"
    over_steps = F["mean"](tensor(leading=2), 1)
    assert (over_steps.over_time, over_steps.shape) == ("mean", IMAGE)
    both = F["mean"](tensor(leading=2), [1, 3])
    assert (both.over_time, both.shape) == ("mean", (4, 3))
    kept = F["mean"](tensor(leading=2), 2)
    assert (kept.over_time, kept.shape) == ("", (5, 3))


def test_steps_are_followed_one_by_one_or_at_the_last():
    sequence = tensor(leading=2)
    for function, over_time, wanted in (
        (lambda a: a[..., ::-1], "", X[..., ::-1]),
        (lambda a: a[:, -1], "last", X),
        (lambda a: a[:, -1, 1:], "last", X[1:]),
        (
            lambda a: np.pad(a[:, -1], ((0, 0), (1, 0), (0, 0), (0, 0)), constant_values=-1),
            *("last", np.pad(X, ((1, 0), (0, 0), (0, 0)))),
        ),
        (lambda a: a[:, :, 0], "", X[0]),
    ):
        made = rearranged(sequence, function)
        assert (made.over_time, made.leading) == (over_time, 1 if over_time else 2)
        np.testing.assert_allclose(computed(made, sequence, X), wanted)


MIXED = "samples, or steps of a sequence, are mixed or cut"


@pytest.mark.parametrize(
    ("leading", "function", "what"),
    [
        (1, lambda a: a[::-1], MIXED),
        (1, lambda a: a[:1], MIXED),
        (1, lambda a: a.reshape(-1), MIXED),
        (1, lambda a: a[0], MIXED),
        (1, lambda a: np.where(a >= 60, -1, a), MIXED),
        (2, lambda a: a[:, ::-1], MIXED),
        (2, lambda a: a[:, 0], MIXED),
        (2, lambda a: a[:, 1], MIXED),
        (2, lambda a: a[:, 4], MIXED),
        (2, lambda a: a[::-1, -1], MIXED),
        (2, lambda a: np.stack([a[0, -1], a[0, -1]]), MIXED),
        (2, lambda a: a[:1, -1], MIXED),
        (2, lambda a: a[:, -2], MIXED),
        (2, lambda a: a[:, 6], MIXED),
        (2, lambda a: a.swapaxes(0, 1), MIXED),
        (1, lambda a: a.reshape(2, 7), "elements are moved in a way that cannot be followed"),
        (1, lambda a: a[:, 9], "elements are moved in a way that cannot be followed"),
        (2, lambda a: a.reshape(2, 7), "elements are moved in a way that cannot be followed"),
    ],
)
def test_what_mixes_samples_or_steps_is_refused(leading, function, what):
    with pytest.raises(UnsupportedLayerError) as caught:
        rearranged(tensor(leading=leading), function)
    assert str(caught.value) == what


def test_joined_tensors_are_at_the_latest_frame_and_of_one_kind():
    early, late = tensor(leading=2), tensor(leading=2, time=Time(first=3))
    for join in (lambda a, b: summed([a, b], [1.0, 1.0]), lambda a, b: concatenated([a, b], 0)):
        assert join(early, late).time.first == join(late, early).time.first == 3
        for first, second in ((last_step(early), early), (mean_of_steps(early), last_step(early))):
            with pytest.raises(UnsupportedLayerError) as caught:
                join(first, second)
            assert str(caught.value) == "an average over time, a last step or every step together"
        with pytest.raises(UnsupportedLayerError) as caught:
            join(mean_of_steps(late), mean_of_steps(early))
        assert caught.value.value == "from frame 0 and 3"
        assert join(mean_of_steps(late), mean_of_steps(late)).over_time == "mean"


# -- windows -------------------------------------------------------------------------------------------


def windows_of(x, pool, strides, padding, function, last=True):
    """A function of each window of an image, of the cells that it has."""
    x = x if last else np.moveaxis(x, 0, -1)
    spatial = x.shape[:-1]
    if padding == "same":
        out = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
        before = [
            max((o - 1) * s + k - n, 0) // 2 for o, s, k, n in zip(out, strides, pool, spatial, strict=True)
        ]
    else:
        out = [(n - k) // s + 1 for n, k, s in zip(spatial, pool, strides, strict=True)]
        before = [0] * len(spatial)
    made = np.zeros((*out, x.shape[-1]))
    for place in np.ndindex(*out):
        cut = tuple(
            slice(max(p * s - b, 0), p * s - b + k)
            for p, s, b, k in zip(place, strides, before, pool, strict=True)
        )
        made[place] = function(x[cut].reshape(-1, x.shape[-1]), 0)
    return made if last else np.moveaxis(made, -1, 0)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("shape", "pool", "strides", "last"),
    [
        ((7, 6, 2), (3, 2), (2, 1), True),
        ((2, 7, 6), (2, 3), (1, 2), False),
        ((7, 3), (3,), (2,), True),
        ((3, 7), (2,), (3,), False),
        ((4, 3, 5, 2), (2, 1, 3), (1, 2, 2), True),
    ],
)
def test_averages_and_largest_of_windows(shape, pool, strides, last, padding):
    x = RNG.normal(size=shape)
    for call, function in ((averaged, np.mean), (largest, np.max)):
        given = tensor(shape, last)
        made = call(given, last, pool, strides, padding)
        wanted = windows_of(x, pool, strides, padding, function, last)
        np.testing.assert_allclose(computed(made, given, x), wanted, rtol=1e-9, atol=1e-12)


def test_three_dimensions_have_channels_last():
    given = tensor((2, 4, 3, 5))
    with pytest.raises(UnsupportedLayerError) as caught:
        averaged(given, False, (2, 2, 2), (1, 1, 1), "valid")
    assert (str(caught.value), caught.value.remedy) == (
        "channels_first in three dimensions",
        "Use channels_last",
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("last", [True, False])
def test_the_largest_of_a_whole_image(last, keepdims):
    form = "channels_last" if last else "channels_first"
    given = tensor(IMAGE, last)
    made = global_max_pooling(layer(keepdims=keepdims, data_format=form), [given])
    axes = (0, 1) if last else (1, 2)
    np.testing.assert_allclose(computed(made, given, X), X.max(axes, keepdims=keepdims))
    made = max_pooling(layer(pool_size=2, strides=(2, 3), padding="same", data_format=form), [given])
    np.testing.assert_allclose(computed(made, given, X), windows_of(X, (2, 2), (2, 3), "same", np.max, last))


# -- activations and what is refused -------------------------------------------------------------------


def test_activations():
    given = tensor()
    assert F["relu"](given).activation == "relu"
    assert F["relu"](given, 0.0, 6.5, 0.0).activation == Saturating(6.5)
    assert F["relu6"](given).activation == Saturating(6.0)
    assert F["clip"](given, 0, 2).activation == Saturating(2.0)
    assert F["maximum"](0.0, given).activation == "relu"
    assert F["maximum"](given, np.zeros(3)).activation == "relu"
    assert F["softmax"](given).activation == F["softmax"](given, 3).activation == "softmax"
    assert F["cast"](given, "float16") is given
    assert F["cast"](given, SimpleNamespace(name="double")) is given
    assert F["cast"](given, "half") is F["identity"](given) is given


PRODUCT = "products of activities cannot be computed by synapses"
MAXIMUM = "a maximum or minimum of activities cannot be computed by synapses"


@pytest.mark.parametrize(
    ("call", "what", "value"),
    [
        (lambda t: F["multiply"](t, t), PRODUCT, None),
        (lambda t: F["matmul"](t, t), PRODUCT, None),
        (lambda t: F["divide"](1.0, t), "division by activities", None),
        (
            lambda t: F["add"](t, np.ones((2, 4, 5, 3))),
            "a constant that differs from sample to sample",
            (2, 4, 5, 3),
        ),
        (lambda t: F["matmul"](t, np.ones((2, 3, 4))), "a product with more than one matrix", (2, 3, 4)),
        (lambda t: F["mean"](t), "a sum over all samples", None),
        (lambda t: F["sum"](t, 0), "an operation along the batch or time axis", 0),
        (lambda t: F["sum"](F["stack"]([t, t]), 1), "tensors stacked in front of the batch", 1),
        (lambda t: F["sum"](F["stack"]([t, t]), 0, True), "tensors stacked in front of the batch", 0),
        (lambda t: F["maxpool"](t, 2, 1, [[0, 0]]), "padding by hand while pooling", [[0, 0]]),
        (lambda t: F["cast"](t, "int32"), "rounding to whole numbers", "int32"),
        (lambda t: F["reshape"](t, (2, 60)), "a shape that fixes the number of samples", (2, 60)),
        (lambda t: F["reshape"](t, ()), "a shape that fixes the number of samples", ()),
        (
            lambda t: F["reshape"](replace(t, leading=2), (-1, 7, 60)),
            "a shape that fixes the number of samples",
            (-1, 7, 60),
        ),
        (
            lambda t: F["reshape"](replace(t, leading=2), (-1,)),
            "a shape that fixes the number of samples",
            (-1,),
        ),
        (lambda t: F["concatenate"]([t, t]), "an operation along the batch or time axis", 0),
        (lambda t: F["gather"](t, [0], 1, 1), "other elements of each sample", None),
        (lambda t: F["relu"](t, 0.1), "a rectifier with a slope or a threshold", None),
        (lambda t: F["relu"](t, 0.0, None, 0.1), "a rectifier with a slope or a threshold", None),
        (lambda t: F["clip"](t, -1, 1), "values held between bounds", "-1 to 1"),
        (lambda t: F["clip"](t, 0, [1, 2, 3]), "values held between bounds", "0 to [1, 2, 3]"),
        (lambda t: F["clip"](t, [0, 0, 0], 1), "values held between bounds", "[0, 0, 0] to 1"),
        (lambda t: F["maximum"](t, t), MAXIMUM, None),
        (lambda t: F["maximum"](t, 0.5), MAXIMUM, None),
        (lambda t: F["maximum"](t, [0, 0, 0.5]), MAXIMUM, None),
        (lambda t: F["softmax"](t, 1), "softmax along other axes than the last", 1),
    ],
)
def test_functions_that_are_refused(call, what, value):
    with pytest.raises(UnsupportedLayerError) as caught:
        call(tensor())
    assert (str(caught.value), caught.value.value) == (what, value)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda t: keras_layers._relu(layer(negative_slope=0.1, threshold=0, max_value=None), [t]), "slope"),
        (
            lambda t: keras_layers._relu(layer(negative_slope=0, threshold=0.1, max_value=None), [t]),
            "threshold",
        ),
        (lambda t: keras_layers._softmax(layer(axis=[1, 2]), [t]), "softmax along"),
        (lambda t: keras_layers._softmax(layer(axis=1), [t]), "softmax along"),
    ],
)
def test_settings_of_layers_that_are_refused(call, what):
    with pytest.raises(UnsupportedLayerError, match=what):
        call(tensor())


def test_settings_of_layers_that_are_taken():
    given = tensor()
    plain = {"negative_slope": 0, "threshold": 0}
    assert keras_layers._relu(layer(**plain, max_value=None), [given]).activation == "relu"
    assert keras_layers._relu(layer(**plain, max_value=2), [given]).activation == Saturating(2.0)
    assert keras_layers._softmax(layer(axis=-1), [given]).activation == "softmax"
    assert keras_layers._softmax(layer(axis=3), [given]).activation == "softmax"


def test_axes_are_the_batchs_where_none_is_said():
    for call in (lambda t: F["gather"](t, [1, 0]), lambda t: F["split"](t, 2), lambda t: F["unstack"](t)):
        with pytest.raises(UnsupportedLayerError) as caught:
            call(tensor())
        assert str(caught.value) in (MIXED, "an operation along the batch or time axis")
    with pytest.raises(UnsupportedLayerError, match="cannot be followed"):
        F["reshape"](tensor(), (-1,))
