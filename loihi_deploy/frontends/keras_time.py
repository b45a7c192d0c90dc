"""Keras layers that look at several steps of a sequence: what they remember is kept on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import Affine, GraphBuilder, Source, add
from loihi_deploy.frontends.keras_layers import (
    activation_name,
    given_step,
    maximum_refused,
    refusal,
    time_constant,
    two_synapses,
    type_name,
)
from loihi_deploy.frontends.keras_ops import symbol
from loihi_deploy.frontends.keras_windows import channels_last, sizes, values
from loihi_deploy.frontends.tensors import (
    SAME_FRAMES,
    Tensor,
    Time,
    UnsupportedLayerError,
    contracted,
    elementwise,
    last_step,
    mean_of_steps,
    moved,
)
from loihi_deploy.ir import FrameMemory, Sparse, Transform, linear

BEHIND_NEURONS = (
    "The host keeps this memory: let this layer come first. SimpleRNN(activation='relu') and Conv1D(padding='causal') "
    "may stand behind neurons"
)
Tap = tuple[int, Transform | None]
"""Steps back, and what is made of what was there; None for the same."""


def _remembered(
    layer: Any,
    x: Tensor,
    builder: GraphBuilder,
    state: NDArray[np.float64],
    given: NDArray[np.float64],
    low: NDArray[np.float64] | None = None,
) -> Tensor:
    """A tensor (n,) that holds a memory of the frames of `x`, by its matrices and bounds; see `FrameMemory`."""
    if len(x.shape) != 1:
        raise _no_vectors(x)
    if builder.input_of(x.affine) is None:
        raise UnsupportedLayerError("a memory of what neurons said", remedy=BEHIND_NEURONS)
    plain = x.affine.ordered(None, (x.affine.size,))
    memory = FrameMemory(_as_sparse(state), _as_sparse(given), low)
    name = builder.unique(f"{layer.name}_memory")
    affine: Affine = builder.remembered_input(name, plain, memory)
    return x.with_affine(affine, (affine.size,))


def _no_vectors(x: Tensor) -> UnsupportedLayerError:
    return UnsupportedLayerError("frames that are no vectors", x.shape, "Flatten them in TimeDistributed")


def _as_sparse(matrix: NDArray[np.float64]) -> Sparse:
    rows, columns = np.nonzero(matrix)
    return Sparse.from_entries(rows, columns, matrix[rows, columns], matrix.shape)


def _line(layer: Any, x: Tensor, builder: GraphBuilder, held: int) -> Tensor:
    """What an input was at so many frames, the newest one first: a delay line on the host."""
    n = x.affine.size
    return _remembered(layer, x, builder, np.eye(held * n, k=-n), np.eye(held * n, n))


def _tapped(
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
        line = _line(layer, x.with_affine(alone, x.shape), builder, held).affine
        whole_line = add(_made(line.take(back * n + np.arange(n)), transform) for back, transform in frames)
        terms = {source: term and linear.as_matrix(term.csr()) for source, term in whole_line.terms.items()}
        made.append(replace(whole_line, terms=terms))
    if spikes or not inputs:
        said = replace(x.affine, terms=spikes, offset=constant)
        made += [_made(said.held_back(back), transform) for back, transform in frames]
    affine = add(made)
    return x.with_affine(affine, (affine.size,))


def _held_back(layer: Any, x: Tensor, builder: GraphBuilder, frames: int) -> Tensor:
    """The same tensor, of which each step stands so many frames later."""
    if not frames:
        return x
    flat = moved(x, x.indices().ravel())
    held = _tapped(layer, flat, builder, [(0, None)], whole=True, late=frames)
    held = replace(held, time=replace(x.time, first=x.time.first + frames))
    return moved(held, x.indices())


def _ending(layer: Any, x: Tensor, builder: GraphBuilder) -> Tensor:
    """A tensor whose last step stands at the last frame, held back for that, where the number of frames is known."""
    time = x.time
    beyond = 0 if time.n_frames is None else (time.n_frames - 1 - time.first) % time.every
    return _held_back(layer, x, builder, beyond)


def _no_steps_before(x: Tensor) -> None:
    """Refuse a memory that is to begin with the first step, where frames in front of that tell it something."""
    if x.time.first >= x.time.every:
        raise UnsupportedLayerError(
            "a memory that begins with a later frame than the first one",
            f"frame {x.time.first}",
            "In front of it use Conv1D(padding='causal'), and no cropping nor pooling in windows that overlap",
        )


def _made(values: Affine, transform: Transform | None) -> Affine:
    return values if transform is None else values.mapped(transform, (transform.out_size,))


def conv_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Conv1D` over the steps of a sequence: delay lines on the host, or delays behind neurons.

    With padding='valid' it is a causal one that has no answer before it has seen as many steps as it takes.
    """
    x, valid = inputs[0], layer.padding == "valid"
    if layer.padding not in ("causal", "valid"):
        raise UnsupportedLayerError(
            "a convolution over time that looks beyond the last frame",
            f"padding={layer.padding!r}",
            "Use padding='causal' or 'valid', whose answer to a frame needs no later ones",
        )
    kernel, n = _kernel_over_time(layer), x.shape[-1] if x.shape else 1
    (stride,), (spread,) = sizes(layer.strides, 1), sizes(layer.dilation_rate, 1)
    n_taps, n_in, n_out = kernel.shape
    groups = n // n_in
    taps: list[Tap] = []
    for back in range(n_taps):  # the last tap is the newest step
        matrix = np.zeros((n_out, n))
        for group in range(groups):
            outputs = slice(group * n_out // groups, (group + 1) * n_out // groups)
            matrix[outputs, group * n_in : (group + 1) * n_in] = kernel[n_taps - 1 - back, :, outputs].T
        taps.append((back * spread, linear.as_matrix(matrix)))
    if len(x.shape) != 1:
        raise _no_vectors(x)
    if n_taps > 1 and not valid:
        _no_steps_before(x)
    y = _tapped(layer, x, builder, taps, whole=valid or n_taps == 1)
    y = elementwise(y, offset=values(layer.bias)) if layer.use_bias else y
    return replace(y, activation=layer.activation, time=_slower(x.time, stride, taps[-1][0] if valid else 0))


def _kernel_over_time(layer: Any) -> NDArray[np.float64]:
    """The kernel (taps, inputs of a group, outputs) of `Conv1D`, or what those of others make together."""
    if type_name(layer) == "Conv1D":
        return values(layer.kernel)
    if type_name(layer) == "DepthwiseConv1D":
        each = values(layer.depthwise_kernel)
        return each.reshape(len(each), 1, -1)
    each, across = values(layer.depthwise_kernel), values(layer.pointwise_kernel)[0]
    return np.asarray(np.einsum("tim,imo->tio", each, across.reshape(*each.shape[1:], -1)))


def pooled_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`AveragePooling1D` and `MaxPooling1D` over the steps of a sequence."""
    x = inputs[0]
    if not channels_last(layer):
        raise _over_elements(layer)
    (size,), (stride,) = sizes(layer.pool_size, 1), sizes(layer.strides, 1)
    n_steps = None if x.time.n_steps is None else x.time.n_steps // x.time.pooled
    if layer.padding != "valid" and (n_steps is None or size != stride or n_steps % size):
        raise UnsupportedLayerError(
            "pooling over time that looks beyond the end",
            f"pool_size={size}, strides={stride}, padding={layer.padding!r}",
            "Leave padding at its default, 'valid'",
        )
    if type_name(layer).startswith("Average") and size == stride:
        return replace(x, time=replace(x.time, pooled=x.time.pooled * size))
    x = settled(layer, x, builder)
    if type_name(layer).startswith("Average"):
        return _averaged(layer, x, builder, size, stride)
    if builder.input_of(x.affine) is None:
        raise maximum_refused(layer)
    line = _line(layer, x, builder, (size - 1) * x.time.every + 1)
    n = x.shape[0]
    windows = np.arange(n)[:, None] + np.arange(size) * x.time.every * n
    return replace(line, windows=windows, shape=(n,), time=_slower(x.time, stride, size - 1))


def settled(layer: Any, x: Tensor, builder: GraphBuilder) -> Tensor:
    """A tensor with the average over steps that is still to be taken."""
    size = x.time.pooled
    if size == 1:
        return x
    return _averaged(layer, replace(x, time=replace(x.time, pooled=1)), builder, size, size)


def _averaged(layer: Any, x: Tensor, builder: GraphBuilder, size: int, stride: int) -> Tensor:
    """The average over windows of so many steps, one every so many."""
    if len(x.shape) != 1:
        raise _no_vectors(x)
    share = replace(x, affine=x.affine.scaled(1 / size))
    mean = _tapped(layer, share, builder, [(back, None) for back in range(size)], whole=True)
    return replace(mean, time=_slower(x.time, stride, size - 1))


def _slower(time: Time, stride: int, back: int) -> Time:
    """The time of every so many steps, each with those that are up to so many back."""
    return replace(time, every=time.every * stride, first=time.first + back * time.every)


def cropped_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Cropping1D` of the steps of a sequence: what is left is held back where steps at the end are cut."""
    x = inputs[0]
    before, after = (int(n) * x.time.every for n in layer.cropping)
    x = _held_back(layer, x, builder, after)
    return replace(x, time=replace(x.time, first=x.time.first + before))


def _over_elements(layer: Any) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        "pooling over the elements of each step",
        layer.data_format,
        "Use channels_last, which pools over the steps",
    )


def averaged_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`GlobalAveragePooling1D` over the steps of a sequence: an average of the outputs."""
    x = inputs[0]
    if x.time.pooled > 1:
        if x.time.n_steps is None:
            raise UnsupportedLayerError(
                "windows of the pooling that frames at the end may not fill",
                "any number of frames",
                "Give the model Input((n_frames, ...)), of as many frames as sequences have",
            )
        builder.n_frames = x.time.n_frames
        beyond = x.time.n_steps % x.time.pooled * x.time.every
        x = _held_back(layer, replace(x, time=replace(x.time, pooled=1)), builder, beyond)
    if not channels_last(layer):
        raise _over_elements(layer)
    x = mean_of_steps(x)
    return moved(x, x.indices()[None]) if getattr(layer, "keepdims", False) else x


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
    """`SimpleRNN` of rectified linear units: what it said of a frame is there one frame later.

    On the host, where nothing but the input stands before it; else its neurons hear themselves by delays of a frame.
    """
    cell = layer.cell
    if type_name(cell) != "SimpleRNNCell":
        raise refusal(layer)
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
    if len(inputs[0].shape) != 1:
        raise _no_vectors(inputs[0])
    x = contracted(inputs[0], values(cell.kernel))
    if cell.use_bias:
        x = elementwise(x, offset=values(cell.bias))
    weights = values(cell.recurrent_kernel).T
    if builder.input_of(x.affine) is None:
        if kind == "linear":
            raise UnsupportedLayerError(
                "a recurrent layer that is linear, behind neurons", remedy="Train it with activation='relu'"
            )
        y = replace(x, activation="relu", coming_back=weights)
    else:
        size, every = int(cell.units), x.time.every
        state = np.eye(every * size, k=-size)  # what was said at each of so many frames, the newest one first
        state[:size, -size:] = weights
        low = np.zeros(every * size) if kind == "relu" else None
        y = _remembered(layer, x, builder, state, np.eye(every * size, size), low)
        y = y if every == 1 else moved(y, np.arange(size))
        y = y if layer.return_sequences else _ending(layer, y, builder)
    return y if layer.return_sequences else last_step(y)


def flatten_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Flatten` of all steps of a sequence, read at the last frame: delay lines on the host, delays behind neurons."""
    x = inputs[0]
    n_steps = x.time.n_steps
    if n_steps is None:
        raise UnsupportedLayerError(
            "frames of sequences of any length side by side",
            remedy="Give the model Input((n_frames, ...)), or GlobalAveragePooling1D in place of Flatten",
        )
    builder.n_frames = x.time.n_frames
    x = moved(x, x.indices().ravel())
    size = x.shape[0]
    order = np.arange(n_steps * size).reshape(n_steps, size)
    if not channels_last(layer):  # Keras puts the first axis, the steps, last before it flattens
        order = order.reshape(size, n_steps).T
    places = np.full((n_steps, n_steps * size), -1)
    for step in range(n_steps):
        places[step, order[step]] = np.arange(size)
    taps: list[Tap] = [(back, linear.gather(places[n_steps - 1 - back], size)) for back in range(n_steps)]
    return last_step(_tapped(layer, _ending(layer, x, builder), builder, taps, whole=True))


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
    if any(source.tau for source in once):
        raise two_synapses()
    terms: dict[Source, Transform | None] = {}
    relays = {name: builder.unique(f"{layer.name}_relay") for name in sorted({each.name for each in once})}
    for name, relay in relays.items():
        builder.relay(relay, name, tau)
    for source in once:
        relay = relays[source.name]
        terms[source._replace(tau=tau)], terms[source._replace(name=relay, tau=tau)] = (
            once[source],
            twice[source],
        )
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
    "AveragePooling1D": pooled_over_time,
    "Conv1D": conv_over_time,
    "Cropping1D": cropped_over_time,
    "DepthwiseConv1D": conv_over_time,
    "Flatten": flatten_over_time,
    "GlobalAveragePooling1D": averaged_over_time,
    "LMU": lmu,
    "Masking": masking,
    "MaxPooling1D": pooled_over_time,
    "RNN": simple_rnn,
    "SeparableConv1D": conv_over_time,
    "SimpleRNN": simple_rnn,
}
"""What layers do with the steps of a sequence, by their type name."""

POOLING = ("AveragePooling1D", "GlobalAveragePooling1D", "MaxPooling1D")
BEGIN_AT_ONCE = ("Alpha", "LMU", "Lowpass", "RNN", "SimpleRNN")
"""Layers whose memory begins with the first step."""


def fewer_answers(x: Tensor) -> UnsupportedLayerError:
    """Why there is no answer for every step behind pooling or strides over time."""
    return UnsupportedLayerError(
        "answers to fewer steps than there are frames",
        f"a step every {x.time.every * x.time.pooled} frames",
        "Read the last step: SimpleRNN with return_sequences=False, or Flatten",
    )


def other_frames(x: Tensor, first_frame: int) -> UnsupportedLayerError:
    """Why an output cannot stand beside one that begins later."""
    return UnsupportedLayerError(
        "an output with answers to other frames than another one has",
        f"from frame {x.time.first}, the other from {first_frame}",
        SAME_FRAMES,
    )


def in_time(layer: Any, tensors: list[Tensor], builder: GraphBuilder) -> list[Tensor]:
    """Tensors that a layer over time is applied to, as it takes their steps: averaged over, and at the same frames.

    What treats every step alike, and is linear, may do so before averages are taken.
    """
    name = type_name(layer)
    different = len({tensor.time for tensor in tensors}) > 1
    if name in BEGIN_AT_ONCE:
        _no_steps_before(tensors[0])
    moves = name in OVER_FRAMES and name not in POOLING
    if different or moves or name in ("Lowpass", "SpikingActivation") or symbol(layer):
        tensors = [settled(layer, tensor, builder) for tensor in tensors]
    times = {tensor.time for tensor in tensors}
    same_number = tensors[0].time.n_frames is not None and len({(t.every, t.n_steps) for t in times}) == 1
    if len(times) > 1 and same_number:
        builder.n_frames = tensors[0].time.n_frames
        latest = max(time.first for time in times)
        tensors = [_held_back(layer, x, builder, latest - x.time.first) for x in tensors]
    elif len(times) > 1:
        raise UnsupportedLayerError(
            "sequences whose steps stand at different frames",
            " and ".join(sorted(f"every {time.every}, from {time.first}" for time in times)),
            "Pool all of them over time, or none, and cut what begins earlier: Cropping1D((frames, 0))",
        )
    rates = max(tensor.time.every for tensor in tensors)
    if rates > 1 and name in ("Alpha", "LMU", "Lowpass"):
        raise UnsupportedLayerError(
            "a memory in steps of which there are fewer than frames",
            f"a step every {rates} frames",
            "Let it come before the pooling over time",
        )
    return tensors
