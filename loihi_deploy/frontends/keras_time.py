"""Keras layers that look at several steps of a sequence: what they remember is kept on the host, or by delays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.frontends.affine import GraphBuilder, Source
from loihi_deploy.frontends.delay_lines import (
    Tap,
    delay_line,
    ending,
    held_back,
    no_steps_before,
    no_vectors,
    remembered,
    tapped,
)
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
from loihi_deploy.frontends.lmu_layers import lmu
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
from loihi_deploy.ir import Transform, linear


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
    if len(x.shape) != 1:
        raise no_vectors(x)
    kernel, n = _kernel_over_time(layer), x.shape[0]
    (stride,), (spread,) = sizes(layer.strides, 1), sizes(layer.dilation_rate, 1)
    n_taps, n_in, n_out = kernel.shape
    columns = np.arange(n).reshape(-1, n_in)  # of each group
    rows = np.arange(n_out).reshape(len(columns), -1)
    taps: list[Tap] = []
    for back in range(n_taps):  # the last tap is the newest step
        matrix = np.zeros((n_out, n))
        for into, of in zip(rows, columns, strict=True):
            matrix[np.ix_(into, of)] = kernel[n_taps - 1 - back][:, into].T
        taps.append((back * spread, linear.as_matrix(matrix)))
    if n_taps > 1 and not valid:
        no_steps_before(x)
    y = tapped(layer, x, builder, taps, whole=valid or n_taps == 1)
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
    line = delay_line(layer, x, builder, (size - 1) * x.time.every + 1)
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
        raise no_vectors(x)
    share = replace(x, affine=x.affine.scaled(1 / size))
    mean = tapped(layer, share, builder, [(back, None) for back in range(size)], whole=True)
    return replace(mean, time=_slower(x.time, stride, size - 1))


def _slower(time: Time, stride: int, back: int) -> Time:
    """The time of every so many steps, each with those that are up to so many back."""
    return replace(time, every=time.every * stride, first=time.first + back * time.every)


def cropped_over_time(layer: Any, inputs: list[Tensor], builder: GraphBuilder) -> Tensor:
    """`Cropping1D` of the steps of a sequence: what is left is held back where steps at the end are cut."""
    x = inputs[0]
    before, after = (int(n) * x.time.every for n in layer.cropping)
    x = held_back(layer, x, builder, after)
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
        x = held_back(layer, replace(x, time=replace(x.time, pooled=1)), builder, beyond)
    if not channels_last(layer):
        raise _over_elements(layer)
    x = mean_of_steps(x)
    return moved(x, x.indices()[None]) if getattr(layer, "keepdims", False) else x


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
        raise no_vectors(inputs[0])
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
        y = remembered(layer, x, builder, state, np.eye(every * size, size), low)
        y = y if every == 1 else moved(y, np.arange(size))
        y = y if layer.return_sequences else ending(layer, y, builder)
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
    return last_step(tapped(layer, ending(layer, x, builder), builder, taps, whole=True))


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
        levels = remembered(layer, x, builder, state, np.kron(each, [[1 - a], [(1 - a) ** 2]]))
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
        no_steps_before(tensors[0])
    moves = name in OVER_FRAMES and name not in POOLING
    if different or moves or name in ("Lowpass", "SpikingActivation") or symbol(layer):
        tensors = [settled(layer, tensor, builder) for tensor in tensors]
    times = {tensor.time for tensor in tensors}
    latest = max(times, key=lambda time: time.first)
    same_number = latest.n_frames is not None and len({(t.every, t.n_steps) for t in times}) == 1
    if len(times) > 1 and same_number:
        builder.n_frames = latest.n_frames
        tensors = [held_back(layer, x, builder, latest.first - x.time.first) for x in tensors]
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
