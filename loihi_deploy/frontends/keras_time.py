"""Keras layers that look at several steps of a sequence: what they remember is kept on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine, GraphBuilder, Source
from loihi_deploy.frontends.keras_layers import (
    activation_name,
    given_step,
    time_constant,
    two_synapses,
    type_name,
)
from loihi_deploy.frontends.keras_windows import sizes, values
from loihi_deploy.frontends.tensors import (
    Tensor,
    UnsupportedLayerError,
    contracted,
    elementwise,
    last_step,
    moved,
)
from loihi_deploy.ir import FrameMemory, Sparse, Transform

BEHIND_NEURONS = "The chip keeps no delays behind neurons: let this layer come first, where the host does"


def _remembered(
    layer: Any,
    x: Tensor,
    builder: GraphBuilder,
    state: NDArray[np.float64],
    given: NDArray[np.float64],
    low: NDArray[np.float64] | None = None,
    n_frames: int | None = None,
) -> Tensor:
    """A tensor (n,) that holds a memory of the frames of `x`, by its matrices and bounds; see `FrameMemory`."""
    if len(x.shape) != 1:
        raise _no_vectors(x)
    if builder.input_of(x.affine) is None or x.over_time:
        raise UnsupportedLayerError("a memory of what neurons said", remedy=BEHIND_NEURONS)
    plain = x.affine.ordered(None, (x.affine.size,))
    memory = FrameMemory(_as_sparse(state), _as_sparse(given), low)
    name = builder.unique(f"{layer.name}_memory")
    affine: Affine = builder.remembered_input(name, plain, memory, n_frames)
    return x.with_affine(affine, (affine.size,))


def _no_vectors(x: Tensor) -> UnsupportedLayerError:
    return UnsupportedLayerError("frames that are no vectors", x.shape, "Flatten them in TimeDistributed")


def _as_sparse(matrix: NDArray[np.float64]) -> Sparse:
    rows, columns = np.nonzero(matrix)
    return Sparse.from_entries(rows, columns, matrix[rows, columns], matrix.shape)


def conv_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Conv1D` over the steps of a sequence: a delay line on the host, and a matrix behind it."""
    x = inputs[0]
    if layer.padding != "causal":
        raise UnsupportedLayerError(
            "a convolution over time that looks ahead, or leaves steps out",
            f"padding={layer.padding!r}",
            "Use padding='causal', whose answer to a frame needs no later ones",
        )
    if sizes(layer.strides, 1) != (1,):
        raise UnsupportedLayerError(
            "strides over time", layer.strides, "Use strides=1, and average at the end"
        )
    kernel, n = values(layer.kernel), x.shape[-1] if x.shape else 1
    taps, n_in, n_out = kernel.shape
    (spread,) = sizes(layer.dilation_rate, 1)
    held = (taps - 1) * spread + 1
    state, given = np.eye(held * n, k=-n), np.eye(held * n, n)
    line = _remembered(layer, x, builder, state, given)
    groups = n // n_in
    matrix = np.zeros((held, n, n_out))
    for tap in range(taps):  # the last tap is the newest frame
        for group in range(groups):
            rows, columns = (
                slice(group * n_in, (group + 1) * n_in),
                slice(group * n_out // groups, (group + 1) * n_out // groups),
            )
            matrix[(taps - 1 - tap) * spread, rows, columns] = kernel[tap, :, columns]
    y = contracted(line, matrix.reshape(held * n, n_out))
    y = elementwise(y, offset=values(layer.bias)) if layer.use_bias else y
    return replace(y, activation=layer.activation)


def lmu(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`keras_lmu.LMU`, its memory of any order and its hidden cell, on the host.

    Memory m and hidden units h are one state: what the cell computes of the memory at a frame is put in terms of the
    memory and the hidden units at the frame before.
    """
    x, inner, cell = inputs[0], getattr(layer.layer, "cell", layer.layer), layer.hidden_cell
    if len(x.shape) != 1:
        raise _no_vectors(x)
    _check_hidden_cell(cell)
    state, given = legendre_memory(int(layer.order), _theta(layer, inner), layer.discretizer)
    each, n_x = np.eye(int(layer.memory_d)), x.shape[0]
    keeps, takes = np.kron(each, state), np.kron(each, given[:, None])
    n = len(keeps)
    weights, own, bias = _cell_parameters(cell, n + n_x * bool(layer.input_to_hidden))
    units = len(bias)
    kernel = (
        np.eye(n_x + units * bool(layer.hidden_to_memory)) if inner.kernel is None else values(inner.kernel)
    )
    if layer.memory_to_memory:
        keeps = keeps + takes @ values(inner.recurrent_kernel).T
    from_hidden = takes @ kernel[n_x:].T if layer.hidden_to_memory else np.zeros((n, units))
    shift = takes @ values(inner.bias) if getattr(inner, "bias", None) is not None else np.zeros(n)
    memory = np.hstack([keeps, from_hidden, takes @ kernel[:n_x].T, shift[:, None]])
    direct = weights[n:].T if layer.input_to_hidden and cell is not None else np.zeros((units, n_x))
    hidden = weights[:n].T @ memory + np.hstack([np.zeros((units, n)), own.T, direct, bias[:, None]])
    rows, low, said = [memory, hidden], np.full(n + units, -np.inf), np.arange(n, n + units)
    if cell is not None and activation_name(cell.activation) == "relu":
        low[n:] = 0
    if cell is None:
        said = np.arange(n)
    if cell is None and layer.input_to_hidden:  # the frame itself beside the memory
        rows.append(np.hstack([np.zeros((n_x, n)), np.eye(n_x), np.zeros((n_x, 1))]))
        low, said = np.append(low, np.full(n_x, -np.inf)), np.arange(n + n_x)
    whole = np.vstack(rows)
    size, before = len(whole), whole.shape[1] - n_x - 1
    matrix = np.zeros((size, size))
    matrix[:, :before] = whole[:, :before]
    driven = elementwise(contracted(x, whole[:, before:-1].T), offset=whole[:, -1])
    y = moved(_remembered(layer, driven, builder, matrix, np.eye(size), low), said)
    return y if layer.return_sequences else last_step(y)


def _theta(layer: Any, inner: Any) -> float:
    """Steps that the memory spans, as they were trained."""
    inverse = getattr(inner, "theta_inv", None)
    return float(layer.theta) if inverse is None else float(1 / values(inverse).ravel()[0])


def _check_hidden_cell(cell: Any) -> None:
    known = cell is None or type_name(cell) in ("Dense", "SimpleRNNCell")
    if not known or (cell is not None and activation_name(cell.activation) not in ("relu", "linear")):
        raise UnsupportedLayerError(
            "a hidden cell that is not rectified linear",
            type(cell).__name__,
            "Use hidden_cell=SimpleRNNCell(units, activation='relu'), Dense(units, 'relu'), or None",
        )


def _cell_parameters(
    cell: Any, n_in: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights (n_in, units) and (units, units), and biases (units,), of a hidden cell; no units where there is none."""
    if cell is None:
        return np.zeros((n_in, 0)), np.zeros((0, 0)), np.zeros(0)
    weights = values(cell.kernel)
    units = weights.shape[1]
    own = values(cell.recurrent_kernel) if hasattr(cell, "recurrent_kernel") else np.zeros((units, units))
    return weights, own, values(cell.bias) if cell.use_bias else np.zeros(units)


def simple_rnn(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`SimpleRNN` of rectified linear units: on the host, what it said of a frame is there one frame later."""
    cell = layer.cell
    kind = activation_name(cell.activation)
    if kind not in ("relu", "linear"):
        raise UnsupportedLayerError(
            "a recurrent layer with another activation", kind, "Train it with activation='relu'"
        )
    if layer.go_backwards or layer.return_state or layer.stateful:
        raise UnsupportedLayerError(
            "a recurrent layer that goes backwards, or gives or keeps its state",
            remedy="Leave go_backwards, return_state and stateful at False",
        )
    x = contracted(inputs[0], values(cell.kernel))
    if cell.use_bias:
        x = elementwise(x, offset=values(cell.bias))
    size = int(cell.units)
    low = np.zeros(size) if kind == "relu" else None
    y = _remembered(layer, x, builder, values(cell.recurrent_kernel).T, np.eye(size), low)
    return y if layer.return_sequences else last_step(y)


def flatten_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Flatten` of all frames of a sequence: a delay line on the host, read at the last frame."""
    x = inputs[0]
    n_frames = tuple(layer.input.shape)[1]
    if n_frames is None:
        raise UnsupportedLayerError(
            "frames of sequences of any length side by side",
            remedy="Give the model Input((n_frames, ...)), or GlobalAveragePooling1D in place of Flatten",
        )
    if builder.input_of(x.affine) is None or x.over_time:
        raise UnsupportedLayerError(
            "what neurons said in all frames side by side",
            x.shape,
            "Use GlobalAveragePooling1D, or Flatten first",
        )
    x = moved(x, x.indices().ravel())
    size = x.shape[0]
    held = n_frames * size
    line = _remembered(layer, x, builder, np.eye(held, k=-size), np.eye(held, size), n_frames=n_frames)
    oldest_first = np.arange(held).reshape(n_frames, size)[::-1].ravel()
    return last_step(moved(line, oldest_first))


def alpha(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`keras_spiking.Alpha`: two lowpass synapses in a row, with neurons between them that repeat what the first says.

    With a zero-order hold an alpha filter is ``(1 - b) lowpass(lowpass(x)) + b lowpass(x)``, where
    ``b = (1 - dt / tau - a) / (1 - a)`` and ``a = exp(-dt / tau)``.
    """
    x, tau = inputs[0], time_constant(layer)
    a = np.exp(-layer.layer.cell.dt / tau)
    b = (1 - layer.layer.cell.dt / tau - a) / (1 - a)
    if builder.input_of(x.affine) is not None:
        x = moved(x, x.indices().ravel())
        each = np.eye(x.shape[0])
        state = np.kron(each, [[a, 0], [a * (1 - a), a]])
        levels = _remembered(layer, x, builder, state, np.kron(each, [[1 - a], [(1 - a) ** 2]]))
        y = contracted(levels, np.kron(each, [[b], [1 - b]]))
        return given_step(layer, moved(y, y.indices().reshape(inputs[0].shape)))
    if x.affine.offset.any():
        raise UnsupportedLayerError(
            "a filter that constants pass through", remedy="Put Alpha right behind SpikingActivation"
        )
    once, twice = x.affine.scaled(b).terms, x.affine.scaled(1 - b).terms
    if any(synapse for _, synapse in once):
        raise two_synapses()
    terms: dict[Source, Transform | None] = {}
    for name, synapse in once:
        relay = builder.relay(builder.unique(f"{layer.name}_relay"), name, tau)
        terms[name, tau], terms[relay, tau] = once[name, synapse], twice[name, synapse]
    return given_step(layer, x.with_affine(replace(x.affine, terms=terms), x.shape))


def legendre_memory(
    order: int, theta: float, discretizer: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices (order, order) and (order,) of the linear memory of a Legendre memory unit, for steps of 1.

    Voelker, Kajic, Eliasmith 2019, "Legendre Memory Units", equations 2 and 3.

    Parameters
    ----------
    order : int
    theta : float
        Steps that it spans.
    discretizer : {'zoh', 'euler'}
    """
    q = np.arange(order)
    i, j = q[:, None], q[None]
    scale = (2.0 * i + 1) / theta
    a = np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) * scale
    b = ((-1.0) ** i * scale)[:, 0]
    if discretizer == "euler":
        return a + np.eye(order), b
    both = np.zeros((order + 1, order + 1))
    both[:order, :order], both[:order, order] = a, b
    halvings = max(0, int(np.ceil(np.log2(np.abs(both).sum(axis=1).max()))) + 5)
    power = term = np.eye(order + 1)
    for k in range(1, 20):
        term = term @ both / 2.0**halvings / k
        power = power + term
    for _ in range(halvings):
        power = power @ power
    return power[:order, :order], power[:order, order]


def masking(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Masking`: frames of nothing but its value are never presented."""
    if not builder.mask(inputs[0].affine, float(layer.mask_value)):
        raise UnsupportedLayerError("masks behind other layers", remedy="Let Masking come first")
    return inputs[0]


OVER_FRAMES: dict[str, Callable[[Any, list[Tensor], GraphBuilder], Tensor]] = {
    "Alpha": alpha,
    "Conv1D": conv_over_time,
    "Flatten": flatten_over_time,
    "LMU": lmu,
    "Masking": masking,
    "SimpleRNN": simple_rnn,
}
"""What layers do with the steps of a sequence, by their type name."""
