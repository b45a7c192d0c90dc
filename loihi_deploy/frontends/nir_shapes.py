"""What the nodes of NIR give, of what they are given: shapes, channels first, and the settings that decide them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError
from loihi_deploy.frontends.channels_first import UnsupportedError, order_of
from loihi_deploy.frontends.hdf5 import MAX_VALUES
from loihi_deploy.frontends.nir_file import NEURONS, Node
from loihi_deploy.ir import Shape

NOT_FOR_EACH = ("metadata", "input_type", "output_type", "shape", "weight", "bias")
"""What a node says that is no value of each of its neurons."""


def layout_of(shape: Shape) -> tuple[Shape, NDArray[np.intp] | None]:
    """How values of a shape, channels first, are stored: images and rows have channels last."""
    if len(shape) < 2:
        return (prod(shape),), None
    if len(shape) > 3:
        raise UnsupportedError(f"values of {len(shape)} dimensions")
    stored = (shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, shape[1], shape[0])
    return stored, order_of(stored)


def as_stored(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Values of a shape, flat in the file's order, as they are stored; a single one stays."""
    _, order = layout_of(shape)
    if order is None or values.ndim == 0:
        return values
    stored = np.empty_like(values)
    stored[order] = values
    return stored


def input_shape(node: Node) -> Shape:
    """The shape of a sample; InputError for what is none."""
    shape = tuple(int(n) for n in node.array("shape").ravel())
    if not shape or min(shape) < 1 or len(shape) > 3 or prod(shape) > MAX_VALUES:
        raise InputError.single(
            "not a shape of a sample, (n,), (channels, length) or (channels, height, width)", node.name, shape
        )
    return shape


def own_shape(node: Node) -> Shape:
    """The shape of a node's own values, () where these stand for neurons of any number."""
    keys = [key for key in node.values if key not in NOT_FOR_EACH]
    shapes = {np.shape(node.values[key]) for key in keys}
    wide = {shape for shape in shapes if prod(shape) > 1}
    if len(wide) > 1:
        raise UnsupportedError(f"values of different shapes: {', '.join(map(str, sorted(wide)))}")
    return next(iter(wide), ())


def says_its_shape(node: Node) -> bool:
    """Whether a node has values of its own from which the number of its neurons follows."""
    if node.kind == "Input":
        return True
    return node.kind in NEURONS and any(
        np.size(v) > 1 for k, v in node.values.items() if k not in NOT_FOR_EACH
    )


def shape_after(node: Node, given: Shape | None) -> Shape:
    """What a node gives, of what it is given; None where nothing is known of that."""
    if node.kind == "Input":
        return input_shape(node)
    if node.kind in ("Affine", "Linear"):
        return (matrix_of(node).shape[0],)
    if node.kind in NEURONS:
        return own_shape(node) or given or (1,)
    assert given is not None
    if node.kind in ("Conv1d", "Conv2d"):
        _, height, width = as_image(given)
        _, _, _, out = convolution_of(node, (height, width))
        channels = len(node.array("weight"))
        return (channels, out[1]) if node.kind == "Conv1d" else (channels, *out)
    if node.kind in ("SumPool2d", "AvgPool2d"):
        channels, height, width = as_image(given)
        return (channels, *windows_of(node, (height, width), pair_of(node, "kernel_size"))[2])
    if node.kind == "Flatten":
        return flattened_shape(node, given)
    return given


def as_image(shape: Shape) -> tuple[int, int, int]:
    """(channels, height, width)."""
    if len(shape) not in (2, 3):
        raise UnsupportedError(f"needs images, not values of shape {shape}")
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])


def pair_of(node: Node, key: str, low: int = 1) -> tuple[int, int]:
    """Two whole numbers, of rows and of columns, from `low` on."""
    values = node.array(key).ravel()
    if (
        len(values) not in (1, 2)
        or (values != np.round(values)).any()
        or not low <= values.min() <= values.max() <= 1 << 12
    ):
        raise UnsupportedError(f"{key} {values.tolist()[:4]}")
    pair = int(values[0]), int(values[-1])
    return (low, pair[1]) if node.kind == "Conv1d" else pair


def windows_of(
    node: Node, size: tuple[int, int], taps: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Strides, zeros before, and size of the output, of windows of so many pixels."""
    strides = pair_of(node, "stride")
    padding = node.values["padding"]
    if isinstance(padding, str) and padding == "same":
        if strides != (1, 1):
            raise UnsupportedError("padding 'same' with strides")
        return strides, ((taps[0] - 1) // 2, (taps[1] - 1) // 2), size
    if isinstance(padding, str) and padding != "valid":
        raise UnsupportedError(f"padding {padding[:20]!r}")
    pads = (0, 0) if isinstance(padding, str) else pair_of(node, "padding", 0)
    out = [(size[a] + 2 * pads[a] - taps[a]) // strides[a] + 1 for a in (0, 1)]
    if min(out) < 1:
        raise UnsupportedError(f"windows of {taps} pixels on images of {size}")
    return strides, pads, (out[0], out[1])


def convolution_of(
    node: Node, size: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel (height, width, in, out), strides, zeros before, and size of the output."""
    weights = node.array("weight")
    if node.kind == "Conv1d" and weights.ndim == 3:
        weights = weights[:, :, None]
    if weights.ndim != 4:
        raise UnsupportedError(f"weights of shape {weights.shape}")
    said = (
        np.asarray(node.values["input_shape"]).ravel() if node.values.get("input_shape") is not None else ()
    )
    if len(said) and tuple(int(n) for n in said) not in (size, size[1:] if size[0] == 1 else size):
        raise UnsupportedError(f"an input_shape of {tuple(said)} on images of {size}")
    dilation = pair_of(node, "dilation")
    extents = [(weights.shape[2 + a] - 1) * dilation[a] + 1 for a in (0, 1)]
    if max(extents) > 1 << 12:
        raise UnsupportedError("a kernel wider than 4,096 pixels")
    kernel = np.zeros((*extents, *weights.shape[1::-1]))
    kernel[:: dilation[0], :: dilation[1]] = weights.transpose(2, 3, 1, 0)
    return kernel, *windows_of(node, size, (extents[0], extents[1]))


def matrix_of(node: Node) -> NDArray[np.float64]:
    """Weights (outputs, inputs)."""
    weights = node.array("weight")
    if weights.ndim != 2:
        raise UnsupportedError(f"weights of {weights.ndim} dimensions")
    return weights


def flattened_shape(node: Node, shape: Shape) -> Shape:
    """What flattening makes of values of a shape: one axis, or nothing else."""
    first, last = (int(node.array(key)) for key in ("start_dim", "end_dim"))
    first, last = (n + len(shape) if n < 0 else n for n in (first, last))
    if not 0 <= first <= last < len(shape):
        raise UnsupportedError(f"axes {first} to {last} of values of shape {shape}")
    made = (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])
    if len(made) > 1 and made != shape:
        raise UnsupportedError(f"flattening {shape} to {made}: flatten all axes, start_dim 0 and end_dim -1")
    return made


def fitting(node: Node, key: str, shape: Shape) -> Shape:
    """The shape of a value for each of the elements of `shape`; () for one for all."""
    own = np.shape(node.values[key])
    if prod(own) not in (1, prod(shape)) or (prod(own) > 1 and own != shape):
        raise UnsupportedError(f"{key} of shape {own} on values of shape {shape}")
    return own if prod(own) > 1 else ()
