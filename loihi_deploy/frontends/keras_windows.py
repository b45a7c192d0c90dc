"""Keras layers that slide a window over an image: convolutions and average pooling."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.convolutions import convolution, dilated, window_geometry
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError, applied, elementwise
from loihi_deploy.ir import Shape, linear


def values(variable: Any) -> NDArray[np.float64]:
    """A variable's value."""
    return np.asarray(variable, np.float64)


def sizes(value: Any, rank: int) -> Shape:
    """A number for each dimension."""
    return (int(value),) * rank if np.ndim(value) == 0 else tuple(int(n) for n in value)


def channels_last(layer: Any) -> bool:
    """Whether the layer has channels last, as layers without a format do."""
    return getattr(layer, "data_format", None) != "channels_first"


def spatial_part(shape: Shape, channels_last: bool) -> Shape:
    """The shape without its channels."""
    return shape[:-1] if channels_last else shape[1:]


def image_with(spatial: Shape, channels: int, channels_last: bool) -> Shape:
    """The shape of an image of so many channels."""
    return (*spatial, channels) if channels_last else (channels, *spatial)


def _convolved(layer: Any, x: Tensor, kernel: NDArray[Any], groups: int, **given: Any) -> Tensor:
    """Apply a kernel with the layer's strides, padding and dilation; no bias, no activation."""
    last = channels_last(layer)
    spatial = spatial_part(x.shape, last)
    rank = len(spatial)
    if rank == 3 and not last:
        raise UnsupportedLayerError("channels_first in three dimensions", remedy="Use channels_last")
    strides = sizes(given.get("strides", layer.strides), rank)
    kernel = dilated(kernel, sizes(given.get("dilation", layer.dilation_rate), rank))
    padding = given.get("padding", layer.padding)
    transform, out = convolution(kernel, spatial, strides, padding, groups)
    return applied(x, transform, image_with(out, kernel.shape[-1], last), last)


def _finished(layer: Any, x: Tensor) -> Tensor:
    """Add the layer's bias, one for each channel, and leave its activation to be applied."""
    if layer.use_bias:
        bias = values(layer.bias)
        if not channels_last(layer):
            bias = bias.reshape(-1, *[1] * (len(x.shape) - 1))
        x = elementwise(x, offset=bias)
    return replace(x, activation=layer.activation)


def conv(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`Conv1D`, `Conv2D`, `Conv3D`."""
    return _finished(layer, _convolved(layer, inputs[0], values(layer.kernel), layer.groups))


def _depthwise_kernel(layer: Any) -> NDArray[Any]:
    kernel = values(layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel)
    return kernel.reshape(*kernel.shape[:-2], 1, -1)


def depthwise_conv(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`DepthwiseConv1D`, `DepthwiseConv2D`."""
    x = inputs[0]
    groups = x.shape[-1] if channels_last(layer) else x.shape[0]
    return _finished(layer, _convolved(layer, x, _depthwise_kernel(layer), groups))


def separable_conv(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`SeparableConv1D`, `SeparableConv2D`."""
    x = inputs[0]
    groups = x.shape[-1] if channels_last(layer) else x.shape[0]
    x = _convolved(layer, x, _depthwise_kernel(layer), groups)
    x = _convolved(layer, x, values(layer.pointwise_kernel), 1, strides=1, dilation=1, padding="valid")
    return _finished(layer, x)


def conv_transpose(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`Conv1DTranspose` to `Conv3DTranspose`."""
    x, last = inputs[0], channels_last(layer)
    spatial = spatial_part(x.shape, last)
    rank = len(spatial)
    if getattr(layer, "output_padding", None) is not None or set(sizes(layer.dilation_rate, rank)) != {1}:
        raise UnsupportedLayerError("output padding or dilation", remedy="Leave both at their defaults")
    if rank == 3 and not last:
        raise UnsupportedLayerError("channels_first in three dimensions", remedy="Use channels_last")
    kernel, strides = values(layer.kernel), sizes(layer.strides, rank)
    out = tuple(
        size * stride if layer.padding == "same" else size * stride + max(taps - stride, 0)
        for size, stride, taps in zip(spatial, strides, kernel.shape[:rank], strict=True)
    )
    forward, _ = convolution(kernel, out, strides, layer.padding)
    transform = linear.as_matrix(forward.csr().transposed())
    return _finished(layer, applied(x, transform, image_with(out, kernel.shape[-2], last), last))


def average_pooling(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`AveragePooling1D` to `AveragePooling3D`."""
    x, last = inputs[0], channels_last(layer)
    rank = len(x.shape) - 1
    return averaged(x, last, sizes(layer.pool_size, rank), sizes(layer.strides, rank), layer.padding)


def global_average_pooling(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`GlobalAveragePooling1D` to `GlobalAveragePooling3D`."""
    x, last = inputs[0], channels_last(layer)
    spatial = spatial_part(x.shape, last)
    pooled = averaged(x, last, spatial, spatial, "valid")
    channels = x.shape[-1] if last else x.shape[0]
    if getattr(layer, "keepdims", False):
        return pooled
    return pooled.with_affine(pooled.affine.ordered(None, (channels,)), (channels,))


def max_pooling(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`MaxPooling1D` to `MaxPooling3D`: to be applied by the host."""
    x, last = inputs[0], channels_last(layer)
    rank = len(x.shape) - 1
    return largest(x, last, sizes(layer.pool_size, rank), sizes(layer.strides, rank), layer.padding)


def global_max_pooling(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`GlobalMaxPooling1D` to `GlobalMaxPooling3D`: to be applied by the host."""
    x, last = inputs[0], channels_last(layer)
    spatial = spatial_part(x.shape, last)
    pooled = largest(x, last, spatial, spatial, "valid")
    assert pooled.windows is not None
    windows = pooled.windows
    if not getattr(layer, "keepdims", False):
        windows = windows.reshape(-1, windows.shape[-1])
    return replace(pooled, windows=windows)


def largest(x: Tensor, last: bool, pool: Shape, strides: Shape, padding: str) -> Tensor:
    """The largest element of each window, to be applied; cells beyond the edge do not count."""
    spatial = spatial_part(x.shape, last)
    geometry = [
        window_geometry(size, taps, stride, padding)
        for size, taps, stride in zip(spatial, pool, strides, strict=True)
    ]
    indices = np.moveaxis(x.indices(), -1 if last else 0, 0)  # channels first
    for axis, ((out, before), taps, stride) in enumerate(zip(geometry, pool, strides, strict=True)):
        places = np.arange(out)[:, None] * stride - before + np.arange(taps)
        inside = (places >= 0) & (places < spatial[axis])
        indices = np.take(
            indices, np.where(inside, places, 0), axis=axis + 1
        )  # out, taps in place of one axis
        mask = inside.reshape(1, *[1] * axis, *inside.shape, *[1] * (indices.ndim - axis - 3))
        indices = np.moveaxis(np.where(mask, indices, -1), axis + 2, -1)
    windows = indices.reshape(*indices.shape[: 1 + len(spatial)], -1)
    return replace(x, windows=windows if not last else np.moveaxis(windows, 0, -2))


def averaged(x: Tensor, last: bool, pool: Shape, strides: Shape, padding: str) -> Tensor:
    """Mean over windows; cells beyond the edge are not counted."""
    spatial = spatial_part(x.shape, last)
    channels = x.shape[-1] if last else x.shape[0]
    if len(spatial) == 3 and not last:
        raise UnsupportedLayerError("channels_first in three dimensions", remedy="Use channels_last")
    kernel = np.full((*pool, 1, channels), 1 / prod(pool))
    transform, out = convolution(kernel, spatial, strides, padding, channels)
    if padding == "same":
        share = transform.apply(np.ones((1, transform.in_size)))[0]
        transform = transform.scaled_rows(1 / share)
    return applied(x, transform, image_with(out, channels, last), last)
