"""Keras tensors as affine expressions, and the operations on them that several layers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.frontends.affine import Affine, add, stored_shape
from loihi_deploy.frontends.layouts import Layout, image_layout
from loihi_deploy.ir import Conv2D, Dense, Shape, Sparse, Transform, linear

SAME_FRAMES = (
    "Average over the same frames: Conv1D(padding='causal'), or Cropping1D((frames, 0)) behind earlier ones"
)
HostActivation = Literal["linear", "softmax", "sigmoid", "tanh"]


@dataclass(frozen=True)
class Saturating:
    """A rectifier that is held at `high`, as ReLU6 is."""

    high: float


@dataclass(frozen=True)
class Time:
    """At which frames of the model's input the steps of a tensor stand: step t at frame ``first + every * t``.

    Parameters
    ----------
    n_frames : int or None
        Frames of the model's input; None for any number.
    every : int
        Frames from one step to the next, above 1 behind pooling and strides.
    first : int
        The frame of the first step. Where it is `every` or more, what is there at frames in front of it is no step.
    pooled : int
        Steps that are still to be averaged over, for each that the framework's tensor has: what is linear does so
        before and after alike.
    """

    n_frames: int | None = None
    every: int = 1
    first: int = 0
    pooled: int = 1

    @property
    def n_steps(self) -> int | None:
        """How many steps there are, without those that are still to be averaged over."""
        return None if self.n_frames is None else (self.n_frames - 1 - self.first) // self.every + 1

    @property
    def ends_with_the_input(self) -> bool:
        """Whether the last step stands at the last frame."""
        if self.every == 1:
            return True
        return self.n_frames is not None and (self.n_frames - 1 - self.first) % self.every == 0


@dataclass(frozen=True)
class Tensor:
    """A Keras tensor.

    Parameters
    ----------
    affine : Affine
    shape : tuple of int
        As Keras has it, without the batch axis and, in models over time, without the time axis.
    leading : int
        How many axes were left out: 1, or 2 for sequences.
    host : {'linear', 'softmax', 'sigmoid', 'tanh'}
        What stands behind the expression, computed on the host, at the end of the network.
    host_layer : layer or None
        Whose activation that is.
    activation : callable, layer, Saturating, str or None
        An activation that is still to be applied.
    windows : int array or None
        A maximum that is still to be applied: for each element of the new shape, along the last axis, the flat indices
        that it is the largest of, -1 for none.
    pieces : tuple of Tensor
        Tensors that are stacked along a new axis in front of the batch, which can only be summed over.
    over_time : {'', 'mean', 'last'}
        Whether it is an average over time, or the last step.
    time : Time
        At which frames its steps stand.
    coming_back : (n, n) float array or None
        Weights by which neurons that an activation is to make hear what they said one step before.
    """

    affine: Affine
    shape: Shape
    leading: int = 1
    host: HostActivation = "linear"
    host_layer: Any = None
    activation: Any = None
    windows: NDArray[np.intp] | None = None
    pieces: tuple[Tensor, ...] = ()
    over_time: Literal["", "mean", "last"] = ""
    time: Time = Time()
    coming_back: NDArray[np.float64] | None = None

    def axis(self, number: int) -> int:
        """Index into `shape` of an axis that Keras counts from the batch axis, or from the end."""
        index = number + len(self.shape) if number < 0 else number - self.leading
        if index < 0:
            raise UnsupportedLayerError("an operation along the batch or time axis", number)
        return index

    def with_affine(self, affine: Affine, shape: Shape) -> Tensor:
        """The same tensor with another expression and shape."""
        return replace(self, affine=affine, shape=shape)

    def indices(self) -> NDArray[np.intp]:
        """The flat index of every element, in the tensor's shape."""
        return np.arange(prod(self.shape)).reshape(self.shape)


class UnsupportedLayerError(Exception):
    """A layer that cannot be converted: why, and what to use instead."""

    def __init__(self, what: str, value: object = None, remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.value, self.remedy = what, value, remedy

    def problem(self, layer: Any) -> Problem:
        """What is reported about the layer."""
        where = f"layer {layer.name!r} ({type(layer).__name__})"
        return Problem(self.what, where, self.value, remedy=self.remedy)


def last_step(tensor: Tensor) -> Tensor:
    """The last step of a sequence: what stands behind it is computed at every step, and read at the last one."""
    if not tensor.time.ends_with_the_input:
        every = tensor.time.every
        raise UnsupportedLayerError(
            "the last step stands at another frame than the last one",
            "any number of frames" if tensor.time.n_frames is None else f"{tensor.time.n_frames} frames",
            f"Give the model Input((n_frames, ...)) with {tensor.time.first + 1} frames and a multiple of {every} more",
        )
    return replace(tensor, leading=1, over_time="last")


def as_image(tensor: Tensor, channels_last: bool) -> Affine:
    """The expression stored as (height, width, channels)."""
    layout = image_layout(tensor.shape, channels_last)
    return tensor.affine.ordered(layout.order, layout.shape)


def moved(tensor: Tensor, indices: NDArray[np.intp]) -> Tensor:
    """Elements of a tensor in another arrangement; -1 stands for 0.

    Parameters
    ----------
    indices : int array of the new shape
        For each new element the flat index of the old one.
    """
    affine, shape = tensor.affine, tuple(indices.shape)
    order = np.arange(affine.size) if affine.order is None else affine.order
    flat = indices.ravel()
    source = np.where(flat < 0, -1, order[flat])
    if len(flat) == affine.size and (np.sort(flat) == np.arange(affine.size)).all():
        relabelled = None if (source == np.arange(affine.size)).all() else source
        return tensor.with_affine(replace(affine, order=relabelled), shape)
    layout = arranged_like(tensor, shape)
    placed = source
    if layout.order is not None:
        placed = np.empty_like(source)
        placed[layout.order] = source
    matrix = linear.gather(placed, affine.size)
    transform = linear.as_convolution(matrix, affine.shape, layout.shape) or matrix
    return tensor.with_affine(affine.mapped(transform, layout.shape, layout.order), shape)


def rearranged(tensor: Tensor, function: Callable[[NDArray[np.intp]], Any]) -> Tensor:
    """Elements of a tensor as a function of arrays arranges them, of every step of a sequence or of the last one.

    Parameters
    ----------
    function : callable
        Called with arrays of indices of two samples (and some steps), so that it is seen if it mixes them; -1 in its
        result stands for 0.
    """
    refused: Exception | None = None
    arrangements = (_same_for_all, _of_last_step) if tensor.leading == 2 else (_same_for_all,)
    for arrangement in arrangements:
        try:
            found = arrangement(tensor, function)
        except (ValueError, IndexError, TypeError) as error:
            cut = tensor.leading == 2 and isinstance(error, IndexError)  # steps that only some sequences have
            refused = None if cut else error
            continue
        if found is not None:
            return moved(tensor if arrangement is _same_for_all else last_step(tensor), found)
        refused = None
    if refused is not None:
        raise UnsupportedLayerError(
            "elements are moved in a way that cannot be followed",
            str(refused),
            "Use Reshape, Permute, Flatten, ZeroPadding2D or Cropping2D",
        ) from refused
    raise UnsupportedLayerError(
        "samples, or steps of a sequence, are mixed or cut", remedy="Leave the batch (and time) axis alone"
    )


def _same_for_all(tensor: Tensor, function: Callable[[NDArray[np.intp]], Any]) -> NDArray[np.intp] | None:
    """The arrangement of elements, where it is the same for all samples and steps; else None."""
    size, lead = prod(tensor.shape), (2,) * tensor.leading
    result = np.asarray(function(np.arange(size * prod(lead)).reshape(*lead, *tensor.shape)))
    if result.shape[: tensor.leading] != lead:
        return None
    first: NDArray[np.intp] = result[(0,) * tensor.leading]
    shifts = size * np.arange(prod(lead)).reshape(*lead, *[1] * first.ndim)
    return first if (result == np.where(first < 0, -1, first + shifts)).all() else None


def _of_last_step(tensor: Tensor, function: Callable[[NDArray[np.intp]], Any]) -> NDArray[np.intp] | None:
    """The arrangement of the last step's elements, where there are no others in the result; else None."""
    size, arrangements = prod(tensor.shape), []
    for n_steps in (5, 7):  # of one length alone a step counted from the start may be the last one
        result = np.asarray(function(np.arange(2 * n_steps * size).reshape(2, n_steps, *tensor.shape)))
        if result.shape[:1] != (2,):
            return None
        first = np.where(result[0] < 0, -1, result[0] - (n_steps - 1) * size)
        inside = ((result[0] < 0) | (first >= 0)).all()
        if not inside or (result[1] != np.where(first < 0, -1, result[0] + n_steps * size)).any():
            return None
        arrangements.append(first)
    one, other = arrangements
    return one if np.array_equal(one, other) else None


def mean_of_steps(tensor: Tensor) -> Tensor:
    """The average over the steps of a sequence: what stands behind it is linear, and averaged at the end."""
    if tensor.time.every > 1:
        raise UnsupportedLayerError(
            "an average over steps of which there are fewer than frames, behind neurons or strides",
            f"a step every {tensor.time.every} frames",
            "Take the pooling over time away, or the strides: the average over all frames is the end of the network",
        )
    return replace(tensor, leading=1, over_time="mean")


def contracted(tensor: Tensor, kernel: NDArray[np.float64]) -> Tensor:
    """The product of the last axis with a matrix (in, out)."""
    shape = (*tensor.shape[:-1], kernel.shape[1])
    if len(tensor.shape) == 1:
        affine = tensor.affine.ordered(None, tensor.affine.shape)
        return tensor.with_affine(affine.mapped(Dense(kernel.T), shape), shape)
    affine = tensor.affine.ordered(None, linear.image_shape(tensor.shape))
    affine = affine.mapped(linear.pointwise(kernel.T, tensor.shape), linear.image_shape(shape))
    return tensor.with_affine(affine, shape)


def reduced(tensor: Tensor, axes: list[int], keepdims: bool, mean: bool) -> Tensor:
    """Sum or mean along axes of a tensor's shape."""
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(tensor.shape))
    shape = kept if keepdims else tuple(n for axis, n in enumerate(tensor.shape) if axis not in axes)
    target = np.broadcast_to(np.arange(prod(kept)).reshape(kept), tensor.shape).ravel()
    affine = tensor.affine
    source = np.arange(affine.size) if affine.order is None else affine.order
    share = prod(kept) / affine.size if mean else 1.0
    matrix = Sparse.from_entries(target, source, np.full(affine.size, share), (prod(kept), affine.size))
    transform = _as_pooling(tensor, matrix) or linear.as_matrix(matrix)
    return tensor.with_affine(affine.mapped(transform, stored_shape(shape)), shape)


def _as_pooling(tensor: Tensor, matrix: Sparse) -> Conv2D | None:
    """The sum over a whole image of each channel as one window of a convolution; None where it is another sum."""
    stored = tensor.affine.shape
    if len(stored) != 3:
        return None
    share = np.full((*stored[:2], 1, stored[2]), matrix.data[0])
    window = Conv2D(share, (1, 1), (0, 0), stored, (1, 1, stored[2]), groups=stored[2])
    return window if window.csr() == matrix else None


def arranged_like(tensor: Tensor, shape: Shape) -> Layout:
    """Layout for a tensor of another shape: channels stay last in memory where they are first in Keras."""
    before = image_layout(tensor.shape, channels_last=False).order
    order = tensor.affine.order
    kept = before is not None and order is not None and np.array_equal(before, order)
    if kept and len(shape) == len(tensor.shape):
        return image_layout(shape, channels_last=False)
    return Layout(stored_shape(shape))


def elementwise(tensor: Tensor, factor: ArrayLike = 1.0, offset: ArrayLike = 0.0) -> Tensor:
    """``factor * tensor + offset``, both broadcast to the tensor's shape."""
    affine = tensor.affine
    factors, offsets = (
        np.broadcast_to(np.asarray(value, np.float64), tensor.shape).ravel() for value in (factor, offset)
    )
    if affine.order is not None:
        stored = np.argsort(affine.order)
        factors, offsets = factors[stored], offsets[stored]
    if (factors != 1).any():
        affine = affine.mapped(linear.scale(factors, affine.shape), affine.shape, affine.order)
    return replace(tensor, affine=affine.shifted(offsets))


def summed(tensors: list[Tensor], factors: list[float]) -> Tensor:
    """Weighted sum of tensors, broadcast against each other."""
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    parts = []
    for tensor, factor in zip(tensors, factors, strict=True):
        if tensor.shape != shape:
            tensor = moved(tensor, np.broadcast_to(tensor.indices(), shape))
        parts.append(elementwise(tensor, factor).affine)
    return replace(_together(tensors), affine=add(parts), shape=tuple(shape))


def concatenated(tensors: list[Tensor], axis: int) -> Tensor:
    """Tensors behind each other along an index of their shapes."""
    size, together = sum(tensor.shape[axis] for tensor in tensors), _together(tensors)
    shape = (*together.shape[:axis], size, *together.shape[axis + 1 :])
    parts, first = [], 0
    for tensor in tensors:
        indices = np.full(shape, -1)
        place = [slice(None)] * len(shape)
        place[axis] = slice(first, first + tensor.shape[axis])
        indices[tuple(place)] = tensor.indices()
        parts.append(moved(tensor, indices).affine)
        first += tensor.shape[axis]
    return replace(together, affine=add(parts), shape=shape)


def applied(tensor: Tensor, transform: Transform, shape: Shape, channels_last: bool) -> Tensor:
    """A map of the channels-last image that a tensor is."""
    layout = image_layout(shape, channels_last)
    affine = as_image(tensor, channels_last).mapped(transform, layout.shape, layout.order)
    return tensor.with_affine(affine, shape)


def _together(tensors: list[Tensor]) -> Tensor:
    """The latest of joined tensors: it has what all of them are over time."""
    if len({tensor.over_time for tensor in tensors}) > 1:
        raise UnsupportedLayerError(
            "an average over time, a last step or every step together", remedy="Average all of them over time"
        )
    latest = max(tensors, key=lambda tensor: tensor.time.first)
    firsts = {tensor.time.first for tensor in tensors}
    if latest.over_time == "mean" and len(firsts) > 1:
        raise UnsupportedLayerError(
            "averages over different frames together",
            "from frame " + " and ".join(map(str, sorted(firsts))),
            SAME_FRAMES,
        )
    return latest
