"""Spikes as events: a spike adds its row of weights to the accumulators of its targets, in compiled code.

A transform is laid out so that the weights of one input lie in long contiguous runs that meet contiguous runs of
targets:

- dense: one run, the column of the matrix. Each begins at a line of memory, and zeros fill up the last one: with these
  the vectors of a run meet no end of a line, and leave nothing over.
- sparse: the entries of the column, with their target indices.
- convolution: kernels are shared, never expanded. Along an axis an input at position y meets the outputs
  oy = first, first + 1, ... through the taps i = y + pad - oy * stride, which fall by the stride. Taps are therefore
  stored by phase (i mod stride), each phase falling, so that neighbouring outputs meet neighbouring taps: one spike
  is a few runs of (outputs in a row) x (channels) where there are no groups. Where they begin is looked up by position.

`geometry` holds indices (int32), `weights` the values; `table` has one row of `FIELDS` numbers for each projection. All
indices are unsigned in the compiled code: one that might be negative costs a check, and keeps loops from being
vectorized. Divisions are multiplications by 2^40 / divisor, rounded up: exact if dividend times divisor is below 2^40.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from loihi_deploy.engines import aligned
from loihi_deploy.engines.kept_code import inlined
from loihi_deploy.ir import Conv2D, Dense, Sparse, Transform

BLOCK_BITS = 8
BLOCK = 1 << BLOCK_BITS
"""Neurons in a block: the unit in which activity is noted, so that silent parts can be passed over."""

DENSE, SPARSE, CONV = 0, 1, 2
KIND, GEOMETRY, WEIGHTS, OUT_SIZE, ROWS = 0, 1, 2, 3, 4
IN_CHANNELS, OUT_CHANNELS, GROUP_OUT, CHANNEL_WEIGHTS, ROW_WEIGHTS, ROW_TARGETS = range(5, 11)
PER_IN_CHANNELS, PER_GROUP_IN = 11, 12
FIELDS = 13

# What a convolution's `geometry` holds for each position of its input: where in the output and in the kernel the
# weights of a spike there begin, and how many rows and columns of outputs it meets.
FIRST_TARGET, FIRST_WEIGHT, N_ROWS, N_COLUMNS = 0, 1, 2, 3
PIXEL_FIELDS = 4

uint64 = np.uint64
NOTHING, ONE, TWO, THREE, FOUR, SIX, SEVEN, LAST_BIT = (uint64(n) for n in (0, 1, 2, 3, 4, 6, 7, 63))
BLOCK_SHIFT = uint64(BLOCK_BITS)
RECIPROCAL_BITS = 40
RECIPROCAL_SHIFT = uint64(RECIPROCAL_BITS)
GATHER, GATHERED = uint64(0x0102040810204080), uint64(56)
"""What to multiply eight bytes of 0 or 1 with, so that they are the bits of the highest byte."""
LOW_BITS, LOWEST_BITS = uint64(0x7F7F7F7F7F7F7F7F), uint64(0x0101010101010101)


@dataclass(frozen=True)
class Layout:
    """Projections as three arrays; see the module's text."""

    table: NDArray[np.uint64]
    geometry: NDArray[np.int32]
    weights: NDArray[Any]


def layout(transforms: Sequence[Transform], dtype: Any) -> Layout:
    """Lay out transforms one behind the other, their weights in one array of `dtype`, each from a line of memory on."""
    table = np.zeros((len(transforms), FIELDS), np.uint64)
    geometry: list[NDArray[np.int32]] = []
    weights: list[NDArray[Any]] = []
    n_geometry = n_weights = 0
    for row, transform in zip(table, transforms, strict=True):
        fields, indices, values = _laid_out(transform, dtype)
        row[:] = fields
        row[GEOMETRY], row[WEIGHTS] = n_geometry, n_weights
        geometry.append(indices)
        weights.append(values.astype(dtype, copy=False).ravel())
        n_geometry += indices.size
        n_weights += aligned.filled(values.size, dtype)
    together = aligned.zeros(n_weights, dtype)
    for row, values in zip(table, weights, strict=True):
        first = int(row[WEIGHTS])
        together[first : first + values.size] = values
    return Layout(table, np.concatenate([*geometry, np.zeros(1, np.int32)]), together)


def block_marks(n: int) -> NDArray[np.uint8]:
    """Room for a mark on each block of `n` accumulators."""
    return np.zeros(-(-n // BLOCK), np.uint8)


def room_for_words(n: int) -> NDArray[np.uint64]:
    """Room for the bits of `n` bytes, and for the numbers of their words; see `list_spikes`."""
    return aligned.zeros(2 * -(-n // 64), np.uint64)


def _laid_out(transform: Transform, dtype: Any) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[Any]]:
    """Fields, indices and reordered values of one transform."""
    fields = np.zeros(FIELDS, np.uint64)
    fields[OUT_SIZE] = transform.out_size
    if isinstance(transform, Dense):
        fields[KIND], fields[ROWS] = DENSE, aligned.filled(transform.out_size, dtype)
        rows = np.zeros((transform.in_size, int(fields[ROWS])), transform.weights.dtype)
        rows[:, : transform.out_size] = transform.weights.T
        return fields, np.zeros(0, np.int32), rows
    if isinstance(transform, Sparse):
        fields[KIND] = SPARSE
        rows = np.repeat(np.arange(transform.out_size), np.diff(transform.indptr))
        order = np.argsort(transform.indices, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(transform.indices, minlength=transform.in_size))])
        fields[ROWS] = transform.in_size + 1
        return fields, np.concatenate([starts, rows[order]]).astype(np.int32), transform.data[order]
    return _laid_out_convolution(transform, fields)


def _laid_out_convolution(
    conv: Conv2D, fields: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[Any]]:
    fields[KIND] = CONV
    in_channels, out_width, out_channels = conv.in_shape[2], *conv.out_shape[1:]
    group_in, group_out = conv.kernel.shape[2], conv.kernel.shape[3] // conv.groups
    kernel_h, kernel_w = conv.kernel.shape[:2]
    fields[IN_CHANNELS], fields[OUT_CHANNELS] = in_channels, out_channels
    fields[GROUP_OUT] = group_out
    fields[PER_IN_CHANNELS], fields[PER_GROUP_IN] = _reciprocal(in_channels), _reciprocal(group_in)
    fields[CHANNEL_WEIGHTS] = kernel_h * kernel_w * group_out
    fields[ROW_WEIGHTS], fields[ROW_TARGETS] = kernel_w * group_out, out_width * out_channels
    axes, orders = [], []
    for axis in (0, 1):
        size, stride = conv.kernel.shape[axis], conv.strides[axis]
        order = [tap for phase in range(stride) for tap in range(size - 1, -1, -1) if tap % stride == phase]
        place = {tap: position for position, tap in enumerate(order)}
        padded = np.arange(conv.in_shape[axis]) + conv.padding[axis]
        first = np.maximum(0, -((size - 1 - padded) // stride))
        count = np.maximum(0, np.minimum(conv.out_shape[axis] - 1, padded // stride) - first + 1)
        taps = [place[y - o * stride] if n else 0 for y, o, n in zip(padded, first, count, strict=True)]
        axes.append((first, count, np.array(taps)))
        orders.append(order)
    (first_y, n_y, tap_y), (first_x, n_x, tap_x) = axes
    pixels = np.zeros((conv.in_shape[0], conv.in_shape[1], PIXEL_FIELDS), np.int32)
    pixels[:, :, FIRST_TARGET] = (first_y[:, None] * out_width + first_x) * out_channels
    pixels[:, :, FIRST_WEIGHT] = (tap_y[:, None] * kernel_w + tap_x) * group_out
    pixels[:, :, N_ROWS] = np.where(n_x > 0, n_y[:, None], 0)
    pixels[:, :, N_COLUMNS] = n_x
    kernel = conv.kernel[orders[0]][:, orders[1]]
    kernel = kernel.reshape(*kernel.shape[:2], group_in, conv.groups, group_out)
    return fields, pixels.ravel(), kernel.transpose(3, 2, 0, 1, 4)


def _reciprocal(divisor: int) -> int:
    return -(-(1 << RECIPROCAL_BITS) // divisor)


@inlined
def add_run(acc, first, weights, start, n, scale):  # type: ignore[no-untyped-def]
    """Add ``scale`` times `n` weights to as many accumulators."""
    for k in range(n):
        acc[first + k] += weights[start + k] * scale


@inlined
def _touch(touched, first, n):  # type: ignore[no-untyped-def]
    block, last = first >> BLOCK_SHIFT, (first + n - ONE) >> BLOCK_SHIFT
    touched[block] = touched[last] = 1
    for between in range(block + ONE, last):
        touched[between] = 1


@inlined
def deliver(fields, geometry, weights, number, scale, acc, offset, touched):  # type: ignore[no-untyped-def]
    """Add ``scale`` times the weights of input `number` to the accumulators that begin at `offset`.

    Marks the blocks that changed in `touched`; returns the number of weights added. No slices are taken, because each
    costs more than a short run.
    """
    index, first = uint64(number), uint64(offset)
    base, indices = fields[WEIGHTS], fields[GEOMETRY]
    if fields[KIND] == DENSE:
        n = fields[OUT_SIZE]
        add_run(acc, first, weights, base + index * fields[ROWS], n, scale)
        _touch(touched, first, n)
        return np.int64(n)
    if fields[KIND] == SPARSE:
        targets = indices + fields[ROWS]
        start, end = uint64(geometry[indices + index]), uint64(geometry[indices + index + ONE])
        for k in range(start, end):
            target = first + uint64(geometry[targets + k])
            acc[target] += weights[base + k] * scale
            touched[target >> BLOCK_SHIFT] = 1
        return np.int64(end - start)

    channels, out_channels, group_out = fields[IN_CHANNELS], fields[OUT_CHANNELS], fields[GROUP_OUT]
    pixel = (index * fields[PER_IN_CHANNELS]) >> RECIPROCAL_SHIFT
    channel = index - pixel * channels
    place = indices + pixel * uint64(PIXEL_FIELDS)
    target = first + uint64(geometry[place + uint64(FIRST_TARGET)])
    start = base + channel * fields[CHANNEL_WEIGHTS] + uint64(geometry[place + uint64(FIRST_WEIGHT)])
    n_y, n_x = uint64(geometry[place + uint64(N_ROWS)]), uint64(geometry[place + uint64(N_COLUMNS)])
    if group_out < out_channels:
        target += ((channel * fields[PER_GROUP_IN]) >> RECIPROCAL_SHIFT) * group_out
    for _ in range(n_y):
        if group_out == out_channels:
            add_run(acc, target, weights, start, n_x * out_channels, scale)
        else:
            for j in range(n_x):
                add_run(acc, target + j * out_channels, weights, start + j * group_out, group_out, scale)
        _touch(touched, target, (n_x - ONE) * out_channels + group_out)
        start += fields[ROW_WEIGHTS]
        target += fields[ROW_TARGETS]
    return np.int64(n_y * n_x * group_out)


@inlined
def _add_two(acc, first, weights, start, other, n):  # type: ignore[no-untyped-def]
    """Add `n` weights from `start` on, and as many from `other` on, to as many accumulators."""
    for k in range(n):
        acc[first + k] += weights[start + k] + weights[other + k]


@inlined
def add_rows(acc, first, weights, base, n, spikes, k, end):  # type: ignore[no-untyped-def]
    """Add rows of a dense layer, those of ``spikes[k:end]``, with the zeros behind them; in this order."""
    while k + FOUR <= end:
        a, b = base + uint64(spikes[k]) * n, base + uint64(spikes[k + ONE]) * n
        c, d = base + uint64(spikes[k + TWO]) * n, base + uint64(spikes[k + THREE]) * n
        for i in range(n):
            acc[first + i] = (
                acc[first + i] + weights[a + i] + weights[b + i] + weights[c + i] + weights[d + i]
            )
        k += FOUR
    while k < end:
        a = base + uint64(spikes[k]) * n
        for i in range(n):
            acc[first + i] += weights[a + i]
        k += ONE


@inlined
def deliver_spikes(fields, geometry, weights, spikes, first_spike, n_spikes, acc, offset, touched):  # type: ignore[no-untyped-def]
    """Add the weights of a list of spikes, as `deliver` does for each; returns the number of weights added.

    Where several meet the same accumulators, these are read and written once: four at a time in a dense layer, two in
    a row from one pixel in a convolution. Behind those of a dense layer there is room for a line of weights.

    Of as many spikes as a convolution has blocks, hardly one would be left out: all are marked at once. Fewer are
    delivered one by one, so that the loop over many has nothing else to do.
    """
    k, end = uint64(first_spike), uint64(first_spike + n_spikes)
    first, base = uint64(offset), fields[WEIGHTS]
    if fields[KIND] == DENSE:
        add_rows(acc, first, weights, base, fields[ROWS], spikes, k, end)
        if n_spikes > 0:
            _touch(touched, first, fields[OUT_SIZE])
        return np.int64(n_spikes) * np.int64(fields[OUT_SIZE])
    events = uint64(0)
    few = uint64(n_spikes) < fields[OUT_SIZE] >> BLOCK_SHIFT
    if few or fields[KIND] == SPARSE or fields[GROUP_OUT] < fields[OUT_CHANNELS]:
        while k < end:
            events += uint64(deliver(fields, geometry, weights, spikes[k], 1, acc, offset, touched))
            k += ONE
        return np.int64(events)
    channels, out_channels, indices = fields[IN_CHANNELS], fields[OUT_CHANNELS], fields[GEOMETRY]
    per_channel, row_weights, row_targets = fields[CHANNEL_WEIGHTS], fields[ROW_WEIGHTS], fields[ROW_TARGETS]
    if n_spikes > 0:
        _touch(touched, first, fields[OUT_SIZE])
    while k < end:
        index = uint64(spikes[k])
        pixel = (index * fields[PER_IN_CHANNELS]) >> RECIPROCAL_SHIFT
        place = indices + pixel * uint64(PIXEL_FIELDS)
        target = first + uint64(geometry[place + uint64(FIRST_TARGET)])
        start = base + uint64(geometry[place + uint64(FIRST_WEIGHT)])
        n_rows, n = uint64(geometry[place + uint64(N_ROWS)]), uint64(geometry[place + uint64(N_COLUMNS)])
        n *= out_channels
        other = start
        start += (index - pixel * channels) * per_channel
        k += ONE
        if k < end and index < uint64(spikes[k]) < (pixel + ONE) * channels:
            other += (uint64(spikes[k]) - pixel * channels) * per_channel
            k += ONE
            for _ in range(n_rows):
                _add_two(acc, target, weights, start, other, n)
                start += row_weights
                other += row_weights
                target += row_targets
            events += uint64(2) * n_rows * n
        else:
            for _ in range(n_rows):
                add_run(acc, target, weights, start, n, 1)
                start += row_weights
                target += row_targets
            events += n_rows * n
    return np.int64(events)


@intrinsic
def lowest_bit(context, word):  # type: ignore[no-untyped-def]
    """Number of the lowest bit of a word that is 1; there is one."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), code


@intrinsic
def word_at(context, array, number):  # type: ignore[no-untyped-def]
    """Eight bytes of an array of bytes as a word, by its number."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        words = builder.bitcast(made.data, ir.IntType(64).as_pointer())
        return builder.load(builder.gep(words, [arguments[1]]), align=8)

    return types.uint64(array, types.uint64), code


@intrinsic
def bits_at(context, array, number):  # type: ignore[no-untyped-def]
    """Which of 64 bytes of an array are not 0, as bits of a word, by the number of the first, a multiple of 8."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(ir.IntType(8), 64)
        place = builder.bitcast(builder.gep(made.data, [arguments[1]]), vector.as_pointer())
        found = builder.icmp_unsigned("!=", builder.load(place, align=8), ir.Constant(vector, None))
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(array, types.uint64), code


@inlined
def list_spikes(spiked, first, n, room, out, place):  # type: ignore[no-untyped-def]
    """List from ``out[place]`` on, in rising order, the numbers, from `first` on, of the bytes that are not 0.

    Looks at ``spiked[first : first + n]``; `first` and `n` are multiples of 8, `room` is one for `n` bytes. Returns how
    many there are.

    First come the bits of all, then the numbers of the words of 64 bits that are not 0: each is written, and only some
    are kept, since a branch that cannot be foreseen costs more than ten such writes.
    """
    n_words, n_masks = uint64(n) >> SIX, (uint64(n) + LAST_BIT) >> SIX
    end_found = n_masks  # their numbers lie behind the bits
    for m in range(n_words):
        mask = bits_at(spiked, uint64(first) + (m << SIX))
        room[m] = mask
        room[end_found] = m
        end_found += uint64(mask != 0)
    if n_words < n_masks:  # a part of a word, eight bytes at a time
        mask = NOTHING
        for w in range(n_words << THREE, uint64(n) >> THREE):
            word = word_at(spiked, (uint64(first) >> THREE) + w)
            ones = ((word | ((word & LOW_BITS) + LOW_BITS)) >> SEVEN) & LOWEST_BITS
            mask |= ((ones * GATHER) >> GATHERED) << ((w & SEVEN) << THREE)
        room[n_words] = mask
        room[end_found] = n_words
        end_found += uint64(mask != 0)
    end = uint64(place)
    for i in range(n_masks, end_found):
        number = room[i]
        mask = room[number]
        number <<= SIX
        while mask != 0:
            out[end] = number + lowest_bit(mask)
            end += ONE
            mask &= mask - ONE
    return np.int64(end) - place
