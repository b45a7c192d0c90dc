"""Axons, weight sets and compartment indices of a slice, as they lie in a core.

Both the accounting of memory and the export to nengo-loihi rest on this module: what is counted is what is exported.

Notation, along one axis of a convolution with kernel k, stride s and padding p: input i reaches output o through tap
``t = i + p - s * o`` where ``0 <= t < k``. The outputs of a slice that i reaches are consecutive, and their taps fall
in steps of s; so the first tap and the number of outputs say which part of the kernel an input pixel sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Conv2D, Dense, Sparse, Transform
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.plan import DISCRETE, POP16, Grid, Slice, Wiring

Ints = NDArray[np.int64]


@lru_cache(maxsize=4)
def grids(program: Program) -> dict[str, Grid]:
    """Shape (height, width, channels) in which each population and spike source is cut.

    That of a convolution into it, else of a convolution out of it, else its own with ones in front.
    """
    shapes = {name: _grid(node.shape) for name, node in program.nodes.items()}
    for synapses in program.synapses:
        if isinstance(synapses.transform, Conv2D):
            shapes[synapses.pre] = synapses.transform.in_shape
    for synapses in program.synapses:
        if isinstance(synapses.transform, Conv2D):
            shapes[synapses.post] = synapses.transform.out_shape
    return shapes


def _grid(shape: tuple[int, ...]) -> Grid:
    if len(shape) > 3:
        return prod(shape[:-2]), shape[-2], shape[-1]
    height, width, channels = (1,) * (3 - len(shape)) + tuple(shape)
    return height, width, channels


@lru_cache(maxsize=16)
def as_convolution(program: Program, projection: int) -> Conv2D | None:
    """The projection as a convolution onto the grid of its target; None where it is none.

    A matrix onto a flat population is one whose kernel covers the sender's whole grid.
    """
    synapses = program.synapses[projection]
    transform, post = synapses.transform, grids(program)[synapses.post]
    if isinstance(transform, Conv2D):
        return transform if transform.out_shape == post else None
    if isinstance(transform, Dense) and post[:2] == (1, 1):
        pre = grids(program)[synapses.pre]
        kernel = transform.weights.T.reshape(*pre, transform.out_size)
        return Conv2D(kernel, (1, 1), (0, 0), pre, post)
    return None


@lru_cache(maxsize=16)
def as_matrix(transform: Transform) -> Dense | Sparse:
    """The transform as a matrix; a convolution as a sparse one, or a dense one where every output sees every input."""
    if not isinstance(transform, Conv2D):
        return transform
    matrix = transform.csr()
    complete = len(matrix.data) == matrix.in_size * matrix.out_size
    return Dense(matrix.toarray()) if complete else matrix


@dataclass(frozen=True)
class Reach:
    """Which outputs of a slice each input reaches along one axis; arrays over the inputs.

    Parameters
    ----------
    first : int array
        The first output reached, relative to the slice.
    count : int array
        Outputs reached; 0 for none.
    tap : int array
        Kernel position at the first output.
    """

    first: Ints
    count: Ints
    tap: Ints


@lru_cache(maxsize=4096)
def axis_reach(
    size: int, kernel: int, stride: int, padding: int, start: int, stop: int, margin: int = 0
) -> Reach:
    """`Reach` of inputs 0..size-1 into outputs start..stop-1, and of those that reach any also into a margin around."""
    i = np.arange(size) + padding
    first, last = -((kernel - 1 - i) // stride), i // stride
    reaches = np.minimum(last, stop - 1) >= np.maximum(first, start)
    first, last = np.maximum(first, start - margin), np.minimum(last, stop - 1 + margin)
    return Reach(first - start, np.where(reaches, last - first + 1, 0), i - first * stride)


@lru_cache(maxsize=4096)
def axis_margin(n_in: int, kernel: int, stride: int, padding: int, n_out: int, size: int) -> int:
    """Margin with which inputs reach parts of an axis by the whole kernel: how far beyond a part they reach."""
    i = np.arange(n_in) + padding
    first, last = -((kernel - 1 - i) // stride), i // stride
    margin = 0
    for start in range(0, n_out, size):
        stop = min(start + size, n_out)
        reaches = np.minimum(last, stop - 1) >= np.maximum(first, start)
        beyond = np.maximum(start - first, last - stop + 1)[reaches]
        margin = max(margin, int(beyond.max(initial=0)))
    return margin


def axis_key(conv: Conv2D, axis: int) -> tuple[int, int, int, int, int]:
    """Inputs, kernel, stride, padding and outputs along an axis."""
    return (
        conv.in_shape[axis],
        conv.kernel.shape[axis],
        conv.strides[axis],
        conv.padding[axis],
        conv.out_shape[axis],
    )


def reach(conv: Conv2D, start: Grid, stop: Grid, margin: tuple[int, int] = (0, 0)) -> tuple[Reach, Reach]:
    """`Reach` along rows and columns."""
    rows, columns = (
        axis_reach(*axis_key(conv, axis)[:-1], start[axis], stop[axis], margin[axis]) for axis in (0, 1)
    )
    return rows, columns


@dataclass(frozen=True)
class Band:
    """Channels of the sender whose axons look alike: each reaches the same number of the slice's channels.

    Parameters
    ----------
    start, stop : int
        Channels of the sender.
    targets : (stop - start, n) int array
        Channels of the target, relative to the slice, that each of them reaches.
    """

    start: int
    stop: int
    targets: Ints


def band_ranges(conv: Conv2D, start: int, stop: int, channels: int) -> Iterator[tuple[int, int]]:
    """First channel of each `Band` and the one behind its last, for output channels start..stop-1."""
    group_in, group_out = conv.kernel.shape[2], conv.out_shape[2] // conv.groups
    first, last = start // group_out, -(-stop // group_out)
    runs: list[tuple[int, int]] = []  # groups that lie in the slice to the same extent
    for group in range(first, last):
        whole = start <= group * group_out and (group + 1) * group_out <= stop
        if runs and whole and runs[-1][0] * group_out >= start:
            runs[-1] = (runs[-1][0], group + 1)
        else:
            runs.append((group, group + 1))
    for low, high in runs:
        for begin in range(low * group_in, high * group_in, channels):
            yield begin, min(begin + channels, high * group_in)


def bands(conv: Conv2D, start: int, stop: int, channels: int) -> Iterator[Band]:
    """Cut the sender's channels that reach output channels start..stop-1 into bands of at most `channels`."""
    group_in, group_out = conv.kernel.shape[2], conv.out_shape[2] // conv.groups
    for begin, end in band_ranges(conv, start, stop, channels):
        of_channel = np.arange(begin, end) // group_in
        lowest = np.maximum(of_channel * group_out, start)
        n = int(min((of_channel[0] + 1) * group_out, stop) - lowest[0])
        yield Band(begin, end, lowest[:, None] - start + np.arange(n))


Sets = tuple[list[NDArray[np.int8]], list[NDArray[np.int32]]]


@dataclass(frozen=True)
class Bundle:
    """Axons into a slice that share a format.

    Parameters
    ----------
    projection : int
        Index into ``program.synapses``.
    axon : {0, 16, 32}
    compressed : bool
        No indices are stored.
    weight_bits : int
        Bits of a stored weight, and of the delay that lies beside it.
    neurons : (n_axons, n_atoms) int array
        Flat indices of the sender's neurons that spike through each axon, atom by atom.
    base_of, set_of : (n_axons,) int arrays
        Compartment at which an axon's indices start, and its set of weights.
    targets : (n_sets,) int array
        Synapses per atom in each set.
    max_index : int
        Largest index stored.
    make_sets : function
        Makes the sets: a list of weights (mantissas, int8) and a list of compartment indices relative to the base
        (int32), each array of shape (n_atoms, targets).
    """

    projection: int
    axon: int
    compressed: bool
    weight_bits: int
    neurons: Ints
    base_of: Ints
    set_of: Ints
    targets: Ints
    max_index: int
    make_sets: Callable[[], Sets]

    @property
    def n_axons(self) -> int:
        """Input axons on the core."""
        return len(self.base_of)

    @property
    def n_atoms(self) -> int:
        """Neurons of the sender per axon."""
        return int(self.neurons.shape[1])

    def synapses(self) -> Iterator[tuple[Ints, Ints, NDArray[np.int8]]]:
        """Every stored synapse, set by set: neuron, compartment on the core, and mantissa.

        Three arrays for each set, which together have the shape (axons, atoms, synapses of an atom).
        """
        for number, (weights, index) in enumerate(zip(*self.make_sets(), strict=True)):
            axons = np.flatnonzero(self.set_of == number)
            compartments = self.base_of[axons][:, None, None] + index
            yield self.neurons[axons][:, :, None], compartments, weights[None]


def bundles(program: Program, piece: Slice, wiring: Wiring, limits: CoreLimits) -> list[Bundle]:
    """Lay out one projection into a slice; no bundle is empty."""
    if wiring.kind == "rows":
        made = [_row_bundle(program, piece, wiring, limits)]
    else:
        conv = as_convolution(program, wiring.projection)
        assert conv is not None, "only a convolution onto the grid of its target has pixel axons"
        assert not wiring.compressed or piece.shape[:2] == (1, 1), "without indices, one position only"
        axons = pixel_axons(conv, piece, wiring.axon, limits)
        made = [
            _pixel_bundle(piece, wiring, conv, band, axons, weight_bits(program, wiring.projection, limits))
            for band in bands(conv, piece.start[2], piece.stop[2], wiring.channels)
        ]
    return [bundle for bundle in made if bundle.n_axons]


def most_delay_into(program: Program, name: str) -> int:
    """Steps that spikes into a population are held back at most."""
    return max((synapses.most_delay for synapses in program.into(name)), default=0)


def weight_bits(program: Program, projection: int, limits: CoreLimits) -> int:
    """Bits of a stored weight of a projection, with those of its delay."""
    synapses = program.synapses[projection]
    return (synapses.weight_bits or limits.synapse_weight_bits) + synapses.delay_bits


def _row_bundle(program: Program, piece: Slice, wiring: Wiring, limits: CoreLimits) -> Bundle:
    matrix = as_matrix(program.synapses[wiring.projection].transform)
    rows = piece.neurons(grids(program)[piece.population])
    lengths = row_lengths(matrix, rows)
    columns = np.flatnonzero(lengths)
    base = min(piece.offset, limits.max_compartment_base)
    index = piece.compartments() - base
    explicit = isinstance(matrix, Sparse) and not wiring.compressed
    stored = np.diff(matrix.indptr)[rows] > 0 if isinstance(matrix, Sparse) and explicit else slice(None)

    def make_sets() -> Sets:
        if isinstance(matrix, Sparse):
            part = matrix.take_rows(rows).transposed()  # a row for each column
            if explicit:
                spans = [slice(part.indptr[i], part.indptr[i + 1]) for i in columns]
                indices = [index[part.indices[span]][None].astype(np.int32) for span in spans]
                return [part.data[span][None] for span in spans], indices
            filled = part.take_rows(columns).toarray().T
        else:
            filled = matrix.weights[rows]
        return [filled[None, :, k] for k in range(len(columns))], [index[None].astype(np.int32)] * len(
            columns
        )

    return Bundle(
        wiring.projection,
        DISCRETE,
        wiring.compressed,
        weight_bits(program, wiring.projection, limits),
        columns[:, None],
        np.full(len(columns), base),
        np.arange(len(columns)),
        lengths[columns] if explicit else np.full(len(columns), len(rows)),
        int(index[stored].max(initial=0)),
        make_sets,
    )


def row_lengths(matrix: Dense | Sparse, rows: Ints) -> Ints:
    """Number of entries that each input has in the given rows; a dense matrix stores its zeros as well."""
    if isinstance(matrix, Dense):
        return np.full(matrix.in_size, len(rows))
    counts = np.diff(matrix.indptr)[rows]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    entries = np.repeat(matrix.indptr[rows], counts) + within
    return np.bincount(matrix.indices[entries], minlength=matrix.in_size)


@dataclass(frozen=True)
class PixelAxons:
    """Axons of a convolution into a slice: one for each input pixel that reaches it, in row-major order.

    Parameters
    ----------
    pixels : (n_axons,) int array
        Flat index of the pixel, row * width + column.
    base_of, set_of : (n_axons,) int arrays
        Compartment base and set of weights.
    sets : (n_sets, 5) int array
        First row tap, rows, first column tap, columns, and what the base leaves to the index.
    """

    pixels: Ints
    base_of: Ints
    set_of: Ints
    sets: Ints


def pixel_axons(conv: Conv2D, piece: Slice, axon: int, limits: CoreLimits) -> PixelAxons:
    """Find the axons, their bases, and the sets of weights that they share."""
    rows, columns = reach(conv, piece.start, piece.stop, piece.margin)
    i, j = np.flatnonzero(rows.count), np.flatnonzero(columns.count)
    width = piece.plane[1]
    position = (rows.first[i][:, None] * width + columns.first[j]).reshape(-1) * piece.lane + piece.lead
    if not position.size:
        empty = np.zeros(0, np.int64)
        return PixelAxons(empty, empty, empty, np.zeros((0, 5), np.int64))
    unit = limits.pop16_base_multiple if axon == POP16 else 1
    span = limits.max_compartment_base + 1
    base = position % span // unit * unit
    # room below the largest base takes over some of the slice's offset
    base += min(limits.max_compartment_base - int(base.max()), piece.offset) // unit * unit
    keys = np.stack(
        [
            np.repeat(rows.tap[i], len(j)),
            np.repeat(rows.count[i], len(j)),
            np.tile(columns.tap[j], len(i)),
            np.tile(columns.count[j], len(i)),
            piece.offset + position - base,
        ],
        axis=1,
    )
    sets, set_of = np.unique(keys, axis=0, return_inverse=True)
    pixels = (i[:, None] * conv.in_shape[1] + j).reshape(-1)
    return PixelAxons(pixels, base, set_of.reshape(-1), sets)


def channel_index(piece: Slice) -> Ints:
    """Index of each channel of the slice at its first position, relative to the slice."""
    channels = np.arange(piece.shape[2])
    return channels // piece.lane * (prod(piece.plane) * piece.lane) + channels % piece.lane


def _pixel_bundle(
    piece: Slice, wiring: Wiring, conv: Conv2D, band: Band, axons: PixelAxons, bits: int
) -> Bundle:
    width = piece.plane[1]
    channel_of = channel_index(piece)[band.targets]  # atoms, filters
    sets = axons.sets
    atoms = np.arange(band.start, band.stop)

    def make_sets() -> Sets:
        weights, indices = [], []
        for row_tap, n_rows, column_tap, n_columns, first in sets:
            taps_y = row_tap - conv.strides[0] * np.arange(n_rows)
            taps_x = column_tap - conv.strides[1] * np.arange(n_columns)
            values = conv.kernel[  # atoms, rows, columns, filters
                taps_y[None, :, None, None],
                taps_x[None, None, :, None],
                (atoms % conv.kernel.shape[2])[:, None, None, None],
                (band.targets + piece.start[2])[:, None, None, :],
            ]
            steps = (np.arange(n_rows)[:, None] * width + np.arange(n_columns)) * piece.lane
            index = first + steps[None, :, :, None] + channel_of[:, None, None, :]
            weights.append(values.reshape(len(atoms), -1))
            indices.append(index.reshape(len(atoms), -1).astype(np.int32))
        return weights, indices

    spread = ((sets[:, 1] - 1) * width + sets[:, 3] - 1) * piece.lane + sets[:, 4]
    return Bundle(
        wiring.projection,
        wiring.axon,
        wiring.compressed,
        bits,
        axons.pixels[:, None] * conv.in_shape[2] + atoms,
        axons.base_of,
        axons.set_of,
        sets[:, 1] * sets[:, 3] * band.targets.shape[1],
        int((spread + channel_of.max()).max(initial=0)),
        make_sets,
    )
