"""Earlier frames of a sequence: memories and delay lines of the host, and delays of what neurons said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine, GraphBuilder, add
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError, moved
from loihi_deploy.ir import FrameMemory, Sparse, Transform, linear

BEHIND_NEURONS = (
    "The host keeps this memory: let this layer come first. SimpleRNN(activation='relu'), Conv1D(padding='causal') and "
    "LMU without hidden_to_memory, memory_to_memory and use_bias may stand behind neurons"
)
Tap = tuple[int, Transform | None]
"""Steps back, and what is made of what was there; None for the same."""


def remembered(
    layer: Any,
    x: Tensor,
    builder: GraphBuilder,
    state: NDArray[np.float64],
    given: NDArray[np.float64],
    low: NDArray[np.float64] | None = None,
) -> Tensor:
    """A tensor (n,) that holds a memory of the frames of `x`, by its matrices and bounds; see `FrameMemory`."""
    if len(x.shape) != 1:
        raise no_vectors(x)
    if builder.input_of(x.affine) is None:
        raise UnsupportedLayerError("a memory of what neurons said", remedy=BEHIND_NEURONS)
    plain = x.affine.ordered(None, (x.affine.size,))
    memory = FrameMemory(_as_sparse(state), _as_sparse(given), low)
    name = builder.unique(f"{layer.name}_memory")
    affine: Affine = builder.remembered_input(name, plain, memory)
    return x.with_affine(affine, (affine.size,))


def no_vectors(x: Tensor) -> UnsupportedLayerError:
    """Why frames of images have no memory."""
    return UnsupportedLayerError("frames that are no vectors", x.shape, "Flatten them in TimeDistributed")


def _as_sparse(matrix: NDArray[np.float64]) -> Sparse:
    rows, columns = np.nonzero(matrix)
    return Sparse.from_entries(rows, columns, matrix[rows, columns], matrix.shape)


def delay_line(layer: Any, x: Tensor, builder: GraphBuilder, held: int) -> Tensor:
    """What an input was at so many frames, the newest one first: a delay line on the host."""
    n = x.affine.size
    return remembered(layer, x, builder, np.eye(held * n, k=-n), np.eye(held * n, n))


def tapped(
    layer: Any, x: Tensor, builder: GraphBuilder, taps: list[Tap], *, whole: bool, late: int = 0
) -> Tensor:
    """A sum over steps of a tensor (n,): of neurons by delays of their synapses, of inputs by delay lines of the host.

    Parameters
    ----------
    taps : list of (int, transform)
        Steps back, and what is made of what was there.
    late : int
        Frames that all of it is held back in addition.
    whole : bool
        Whether what stands behind looks only where there are as many steps, so that constants are there for all taps;
        else there is nothing in front of the first step, no constants either.
    """
    x = x.with_affine(x.affine.ordered(None, (x.affine.size,)), x.shape)
    inputs = [source for source in x.affine.terms if builder.is_input(source.name)]
    spikes = {source: term for source, term in x.affine.terms.items() if source not in inputs}
    frames = [(back * x.time.every + late, transform) for back, transform in taps]
    constant, nothing = x.affine.offset, np.zeros(x.affine.size)
    if constant.any() and not (inputs or whole):
        raise UnsupportedLayerError(
            "constants, of which there are none in front of the first frame",
            remedy="Put the convolution right behind the activation, without biases or normalization between them",
        )
    made = []
    for source in inputs:
        alone = replace(x.affine, terms={source: x.affine.terms[source]}, offset=constant)
        constant = nothing
        n, held = alone.size, frames[-1][0] + 1
        line = delay_line(layer, x.with_affine(alone, x.shape), builder, held).affine
        whole_line = add(_made(line.take(back * n + np.arange(n)), transform) for back, transform in frames)
        terms = {source: term and linear.as_matrix(term.csr()) for source, term in whole_line.terms.items()}
        made.append(replace(whole_line, terms=terms))
    if spikes or not inputs:
        said = replace(x.affine, terms=spikes, offset=constant)
        made += [_made(said.held_back(back), transform) for back, transform in frames]
    affine = add(made)
    return x.with_affine(affine, (affine.size,))


def held_back(layer: Any, x: Tensor, builder: GraphBuilder, frames: int) -> Tensor:
    """The same tensor, of which each step stands so many frames later."""
    if not frames:
        return x
    flat = moved(x, x.indices().ravel())
    held = tapped(layer, flat, builder, [(0, None)], whole=True, late=frames)
    held = replace(held, time=replace(x.time, first=x.time.first + frames))
    return moved(held, x.indices())


def ending(layer: Any, x: Tensor, builder: GraphBuilder) -> Tensor:
    """A tensor whose last step stands at the last frame, held back for that, where the number of frames is known."""
    time = x.time
    beyond = 0 if time.n_frames is None else (time.n_frames - 1 - time.first) % time.every
    return held_back(layer, x, builder, beyond)


def no_steps_before(x: Tensor) -> None:
    """Refuse a memory that is to begin with the first step, where frames in front of that tell it something."""
    if x.time.first >= x.time.every:
        raise UnsupportedLayerError(
            "a memory that begins with a later frame than the first one",
            f"frame {x.time.first}",
            "In front of it use Conv1D(padding='causal'), and no cropping nor pooling in windows that overlap",
        )


def _made(values: Affine, transform: Transform | None) -> Affine:
    return values if transform is None else values.mapped(transform, (transform.out_size,))
