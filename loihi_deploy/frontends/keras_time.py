"""Keras layers that look at several steps of a sequence: what they remember is kept on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine, GraphBuilder
from loihi_deploy.frontends.keras_windows import sizes, values
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError, contracted, elementwise
from loihi_deploy.ir import Sparse

BEHIND_NEURONS = "The chip keeps no delays behind neurons: let this layer come first, where the host does"


def _remembered(
    layer: Any, x: Tensor, builder: GraphBuilder, state: NDArray[np.float64], given: NDArray[np.float64]
) -> Tensor:
    """A tensor (n,) that holds a memory of the frames of `x`, by its matrices."""
    if len(x.shape) != 1:
        raise UnsupportedLayerError("frames that are no vectors", x.shape, "Flatten them in TimeDistributed")
    if builder.input_of(x.affine) is None or x.over_time:
        raise UnsupportedLayerError("a memory of what neurons said", remedy=BEHIND_NEURONS)
    plain = x.affine.ordered(None, (x.affine.size,))
    matrices = [_as_sparse(matrix) for matrix in (state, given)]
    affine: Affine = builder.remembered_input(builder.unique(f"{layer.name}_memory"), plain, *matrices)
    return x.with_affine(affine, (affine.size,))


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
    """`keras_lmu.LMU` of which nothing leads back into the memory: the memory alone, on the host, of any order."""
    back = [name for name in ("hidden_to_memory", "memory_to_memory") if getattr(layer, name)]
    if back:
        raise UnsupportedLayerError(
            "a memory that takes its input from what the network said",
            ", ".join(back),
            "Leave both at False: the memory then stands in front, on the host",
        )
    if layer.hidden_cell is not None or layer.input_to_hidden:
        raise UnsupportedLayerError(
            "a hidden cell within the LMU",
            type(layer.hidden_cell).__name__,
            "Use hidden_cell=None and input_to_hidden=False, and Dense(units, 'relu') behind it, of the memory and the "
            "frame side by side",
        )
    if not layer.return_sequences:
        raise UnsupportedLayerError(
            "the last step of a memory", remedy="Use return_sequences=True, and take the last step at the end"
        )
    x, inner = inputs[0], getattr(layer.layer, "cell", layer.layer)
    if inner.kernel is not None:
        x = contracted(x, values(inner.kernel))
    if getattr(inner, "bias", None) is not None:
        x = elementwise(x, offset=values(inner.bias))
    theta_inv = getattr(inner, "theta_inv", None)
    theta = float(layer.theta) if theta_inv is None else float(1 / values(theta_inv).ravel()[0])
    state, given = legendre_memory(int(layer.order), theta, layer.discretizer)
    each = np.eye(int(layer.memory_d))
    return _remembered(layer, x, builder, np.kron(each, state), np.kron(each, given[:, None]))


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
    "Conv1D": conv_over_time,
    "LMU": lmu,
    "Masking": masking,
}
"""What layers do with the steps of a sequence, by their type name."""
