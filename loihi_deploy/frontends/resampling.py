"""Keras layers that resize or crop images: linear maps, taken from what the layer makes of single pixels."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from loihi_deploy.frontends.keras_windows import channels_last, image_with, spatial_part
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError, applied
from loihi_deploy.ir import Sparse, linear

BATCH = 256
"""Pixels that a layer is asked about at a time."""


def resampled(layer: Any, inputs: list[Tensor]) -> Tensor:
    """`Resizing`, `CenterCrop`, `RandomCrop` after training, and `UpSampling2D` with interpolation."""
    x, last = inputs[0], channels_last(layer)
    spatial = spatial_part(x.shape, last)
    channels = x.shape[-1] if last else x.shape[0]
    size = prod(spatial)
    sources, targets, weights = [], [], []
    shape: tuple[int, ...] = ()
    for first in range(0, size, BATCH):
        pixels = np.zeros((min(BATCH, size - first), size), np.float32)
        pixels[np.arange(len(pixels)), first + np.arange(len(pixels))] = 1
        images = pixels.reshape(-1, *image_with(spatial, 1, last))
        found = np.asarray(layer(images, **after_training(layer)), np.float64)
        shape = spatial_part(found.shape[1:], last)
        values = found.reshape(len(pixels), -1)
        if values.shape[1] != prod(shape):
            raise UnsupportedLayerError(
                "resizing that mixes channels", remedy="Resize the samples beforehand"
            )
        pixel, target = np.nonzero(values)
        sources.append(pixel + first)
        targets.append(target)
        weights.append(values[pixel, target])
    each = np.arange(channels)
    rows, columns = (
        (np.concatenate(places)[:, None] * channels + each).ravel() for places in (targets, sources)
    )
    shares = np.repeat(np.concatenate(weights), channels)
    matrix = Sparse.from_entries(rows, columns, shares, (prod(shape) * channels, size * channels))
    transform = linear.as_matrix(matrix)
    return applied(x, transform, image_with(shape, channels, last), last)


def after_training(layer: Any) -> dict[str, bool]:
    """The argument that says that a layer is no longer trained, for those that know it."""
    knows = getattr(layer, "_expects_training_arg", getattr(layer, "_call_has_training_arg", False))
    return {"training": False} if knows else {}
