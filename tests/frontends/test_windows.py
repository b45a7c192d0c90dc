"""Convolutions of one to three dimensions by themselves, against loops of numpy."""

import numpy as np
import pytest

from loihi_deploy.frontends.convolutions import convolution, dilated, window_geometry
from loihi_deploy.frontends.keras_layers import HANDLERS
from loihi_deploy.frontends.keras_windows import sizes
from loihi_deploy.frontends.tensors import UnsupportedLayerError
from tests.frontends.test_layers_over_time import layer
from tests.frontends.test_tensors import computed, tensor

RNG = np.random.default_rng(0)
USUAL = {
    "strides": 1,
    "padding": "valid",
    "dilation_rate": 1,
    "use_bias": False,
    "activation": None,
    "groups": 1,
}


@pytest.mark.parametrize(
    ("size", "taps", "stride", "padding", "wanted"),
    [
        (7, 3, 1, "valid", (5, 0)),
        (7, 3, 2, "valid", (3, 0)),
        (8, 3, 2, "valid", (3, 0)),
        (3, 3, 1, "valid", (1, 0)),
        (7, 3, 1, "same", (7, 1)),
        (7, 4, 1, "same", (7, 1)),
        (7, 3, 2, "same", (4, 1)),
        (8, 3, 2, "same", (4, 0)),
        (8, 1, 3, "same", (3, 0)),
        (7, 3, 1, "causal", (7, 2)),
        (7, 3, 2, "causal", (4, 2)),
        (8, 3, 2, "causal", (4, 2)),
        (1, 3, 2, "causal", (1, 2)),
    ],
)
def test_sizes_and_zeros_in_front(size, taps, stride, padding, wanted):
    assert window_geometry(size, taps, stride, padding) == wanted


def test_kernels_with_room_between_their_taps():
    kernel = np.arange(1.0, 13).reshape(2, 3, 1, 2)
    found = dilated(kernel, (3, 2))
    assert found.shape == (4, 5, 1, 2)
    assert found[::3, ::2].tolist() == kernel.tolist()
    assert found.sum() == kernel.sum()
    assert dilated(kernel, (1, 1)).tolist() == kernel.tolist()
    assert dilated(kernel[0], (4,)).shape == (9, 1, 2)


def test_a_number_for_each_dimension():
    assert sizes(2, 3) == (2, 2, 2)
    assert sizes((2, 3), 2) == (2, 3)
    assert sizes(np.array([4.0]), 1) == (4,)


def naive(x, kernel, strides, padding, dilation=1, groups=1):
    """A convolution of (*spatial, channels) by a kernel (*taps, in / groups, out)."""
    rank = x.ndim - 1
    strides, dilation = np.broadcast_to(strides, rank), np.broadcast_to(dilation, rank)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=False)]
    if padding == "same":
        out = [-(-n // s) for n, s in zip(x.shape, strides, strict=False)]
        total = [
            max((o - 1) * s + e - n, 0) for o, s, e, n in zip(out, strides, extent, x.shape, strict=False)
        ]
        margins = [(n // 2, n - n // 2) for n in total]
    elif padding == "causal":
        margins = [(e - 1, 0) for e in extent]
    else:
        margins = [(0, 0)] * rank
    padded = np.pad(x, [*margins, (0, 0)])
    out = [(n - e) // s + 1 for n, e, s in zip(padded.shape, extent, strides, strict=False)]
    n_in, n_out = kernel.shape[-2:]
    made = np.zeros((*out, n_out))
    for place in np.ndindex(*out):
        for tap in np.ndindex(*kernel.shape[:-2]):
            here = tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilation, strict=True))
            for f in range(n_out):
                first = f // (n_out // groups) * n_in
                made[(*place, f)] += padded[here][first : first + n_in] @ kernel[(*tap, slice(None), f)]
    return made


CONVOLUTIONS = {
    "a row": ((9, 2), (3,), {}),
    "a row, causal": ((9, 2), (3,), {"padding": "causal", "strides": 2, "dilation_rate": 2}),
    "a row, same": ((9, 2), (4,), {"padding": "same", "strides": 2}),
    "a row by groups": ((9, 4), (2,), {"groups": 2}),
    "an image": ((5, 6, 2), (3, 2), {"strides": (2, 1)}),
    "an image, same": ((5, 6, 2), (2, 3), {"padding": "same", "strides": (1, 2)}),
    "an image, apart": ((5, 6, 2), (2, 2), {"dilation_rate": (3, 2)}),
    "an image by groups": ((5, 6, 4), (2, 2), {"groups": 2, "padding": "same"}),
    "a block": ((4, 3, 5, 2), (2, 1, 3), {"strides": (1, 2, 2)}),
    "a block, same": ((4, 3, 5, 2), (3, 2, 2), {"padding": "same", "strides": (2, 1, 2)}),
    "a block by groups": ((3, 3, 4, 4), (2, 2, 1), {"groups": 2}),
}


def reached(x, last):
    return x if last else np.moveaxis(x, -1, 0)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, last):
    shape, taps, more = CONVOLUTIONS[name]
    settings = {**USUAL, **more}
    rank = len(taps)
    kernel = RNG.normal(size=(*taps, shape[-1] // settings["groups"], 6))
    bias = RNG.normal(size=6)
    form = "channels_last" if last else "channels_first"
    made = layer(f"Conv{rank}D", **{**settings, "use_bias": True}, kernel=kernel, bias=bias, data_format=form)
    x = RNG.normal(size=shape)
    given = tensor(reached(x, last).shape, last)
    if rank == 3 and not last:
        with pytest.raises(UnsupportedLayerError, match="channels_first in three dimensions"):
            HANDLERS["Conv3D"](made, [given])
        return
    found = HANDLERS[f"Conv{rank}D"](made, [given])
    wanted = naive(
        x, kernel, settings["strides"], settings["padding"], settings["dilation_rate"], settings["groups"]
    )
    values = computed(found, given, reached(x, last))
    np.testing.assert_allclose(values, reached(wanted + bias, last), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("shape", "taps"), [((9, 3), (2,)), ((5, 6, 3), (2, 3))])
def test_convolutions_of_each_channel(shape, taps, last):
    rank, form = len(taps), "channels_last" if last else "channels_first"
    depth, point = RNG.normal(size=(*taps, 3, 2)), RNG.normal(size=(*[1] * rank, 6, 4))
    settings = {**USUAL, "strides": 2, "padding": "same", "data_format": form}
    x = RNG.normal(size=shape)
    given = tensor(reached(x, last).shape, last)
    wanted = naive(x, depth.reshape(*taps, 1, 6), 2, "same", 1, 3)
    for named in ("depthwise_kernel", "kernel"):  # Keras has changed its name
        found = HANDLERS[f"DepthwiseConv{rank}D"](
            layer(f"DepthwiseConv{rank}D", **settings, **{named: depth}), [given]
        )
        values = computed(found, given, reached(x, last))
        np.testing.assert_allclose(values, reached(wanted, last), rtol=1e-9, atol=1e-12)
    made = layer(f"SeparableConv{rank}D", **settings, depthwise_kernel=depth, pointwise_kernel=point)
    values = computed(HANDLERS[f"SeparableConv{rank}D"](made, [given]), given, reached(x, last))
    crossed = wanted @ point.reshape(6, 4)
    np.testing.assert_allclose(values, reached(crossed, last), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("shape", "taps", "strides"),
    [
        ((4, 2), (3,), (2,)),
        ((4, 2), (2,), (3,)),
        ((3, 4, 2), (3, 2), (2, 1)),
        ((2, 3, 2, 2), (2, 1, 3), (1, 2, 2)),
    ],
)
def test_transposed_convolutions(shape, taps, strides, padding, last):
    rank, form = len(taps), "channels_last" if last else "channels_first"
    kernel = RNG.normal(size=(*taps, 5, 2))
    settings = {**USUAL, "strides": strides, "padding": padding, "kernel": kernel, "data_format": form}
    settings |= {"output_padding": None}
    x = RNG.normal(size=shape)
    given = tensor(reached(x, last).shape, last)
    made = layer(f"Conv{rank}DTranspose", **settings)
    if rank == 3 and not last:
        with pytest.raises(UnsupportedLayerError, match="channels_first in three dimensions"):
            HANDLERS["Conv3DTranspose"](made, [given])
        return
    found = HANDLERS[f"Conv{rank}DTranspose"](made, [given])
    more = [0] * rank if padding == "same" else [max(k - s, 0) for k, s in zip(taps, strides, strict=True)]
    out = tuple(n * s + m for n, s, m in zip(shape, strides, more, strict=False))
    before = [max(k - s, 0) // 2 if padding == "same" else 0 for k, s in zip(taps, strides, strict=True)]
    wanted = np.zeros((*out, 5))
    for place in np.ndindex(*shape[:-1]):  # what each pixel gives to the larger image
        for tap in np.ndindex(*taps):
            there = tuple(p * s + t - b for p, s, t, b in zip(place, strides, tap, before, strict=True))
            if all(0 <= n < size for n, size in zip(there, out, strict=True)):
                wanted[there] += kernel[tap] @ x[place]
    values = computed(found, given, reached(x, last))
    np.testing.assert_allclose(values, reached(wanted, last), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("changed", [{"output_padding": 1}, {"dilation_rate": 2}, {"dilation_rate": (1, 2)}])
def test_transposed_convolutions_that_are_refused(changed):
    settings = {**USUAL, "output_padding": None, "kernel": np.ones((2, 2, 5, 3)), **changed}
    with pytest.raises(UnsupportedLayerError, match="output padding or dilation"):
        HANDLERS["Conv2DTranspose"](layer("Conv2DTranspose", **settings), [tensor()])


def test_windows_of_what_layers_pool():
    given = tensor((6, 5, 2))
    x = RNG.normal(size=(6, 5, 2))
    pool = layer("AveragePooling2D", pool_size=(2, 3), strides=(3, 1), padding="valid")
    wanted = np.stack([[x[i : i + 2, j : j + 3].mean((0, 1)) for j in range(3)] for i in (0, 3)])
    np.testing.assert_allclose(computed(HANDLERS["AveragePooling2D"](pool, [given]), given, x), wanted)
    for last in (True, False):
        form = "channels_last" if last else "channels_first"
        axes = (0, 1) if last else (1, 2)
        shown = tensor((6, 5, 2), last)
        for keepdims in (True, False):
            whole = layer("GlobalAveragePooling2D", keepdims=keepdims, data_format=form)
            found = computed(HANDLERS["GlobalAveragePooling2D"](whole, [shown]), shown, x)
            np.testing.assert_allclose(found, x.mean(axes, keepdims=keepdims))


def test_convolutions_are_what_the_chip_has_in_two_dimensions():
    kernel = RNG.normal(size=(3, 2, 4))
    made, out = convolution(kernel, (9,), (2,), "same")
    assert (type(made).__name__, out) == ("Conv2D", (5,))
    assert (made.in_shape, made.out_shape, made.strides, made.padding) == (
        (1, 9, 2),
        (1, 5, 4),
        (1, 2),
        (0, 1),
    )
