"""`keras_lmu.LMU`: its linear memory, and its hidden cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.delay_lines import Tap, no_vectors, remembered, tapped
from loihi_deploy.frontends.keras_layers import activation_name, type_name
from loihi_deploy.frontends.keras_windows import values
from loihi_deploy.frontends.tensors import (
    Tensor,
    UnsupportedLayerError,
    concatenated,
    contracted,
    elementwise,
    last_step,
    moved,
)
from loihi_deploy.ir import linear

NEGLIGIBLE = 1e-6
"""Part of a memory's largest response to a frame that is below float32's roundings."""


def lmu(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`keras_lmu.LMU`, its memory of any order and its hidden cell: on the host, or by delays of what neurons said.

    Memory m and hidden units h are one state: what the cell computes of the memory at a frame is put in terms of the
    memory and the hidden units at the frame before.
    """
    x, inner, cell = inputs[0], getattr(layer.layer, "cell", layer.layer), layer.hidden_cell
    if len(x.shape) != 1:
        raise no_vectors(x)
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
    biased = getattr(inner, "bias", None) is not None and values(inner.bias).any()
    back = layer.hidden_to_memory or layer.memory_to_memory or biased
    if builder.input_of(x.affine) is None and not back:
        response = _response(keeps, takes @ kernel.T)
        if x.time.n_frames is not None and x.time.n_frames < len(response):
            builder.n_frames = x.time.n_frames
        taps: list[Tap] = [
            (late, linear.as_matrix(each)) for late, each in enumerate(response[: x.time.n_frames])
        ]
        y = _hidden(layer, x, tapped(layer, x, builder, taps, whole=False), (weights, own, bias))
        return y if layer.return_sequences else last_step(y)
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
    y = moved(remembered(layer, driven, builder, matrix, np.eye(size), low), said)
    return y if layer.return_sequences else last_step(y)


def _response(keeps: NDArray[np.float64], takes: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """What a frame is in memory at once, a frame later, and so on, until what is left is less than `NEGLIGIBLE`."""
    found, left = [takes], 1 - np.abs(np.linalg.eigvals(keeps)).max()
    if left <= 0:
        raise UnsupportedLayerError("a memory that grows without end", remedy="Use discretizer='zoh'")
    while np.abs(found[-1]).max() > NEGLIGIBLE * np.abs(takes).max() * left:
        found.append(keeps @ found[-1])
    return found


def _hidden(
    layer: Any,
    x: Tensor,
    memory: Tensor,
    parameters: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> Tensor:
    """What the hidden cell makes of the memory, and of the frame beside it, before its activation."""
    (weights, own, bias), cell = parameters, layer.hidden_cell
    seen = concatenated([memory, x], 0) if layer.input_to_hidden else memory
    if cell is None:
        return seen
    y, kind = elementwise(contracted(seen, weights), offset=bias), activation_name(cell.activation)
    if kind == "linear" and own.any():
        raise UnsupportedLayerError(
            "a recurrent layer that is linear, behind neurons", remedy="Train it with activation='relu'"
        )
    return replace(y, activation=kind, coming_back=own.T if own.any() else None)


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
