"""Shapes of slices that a population can be cut into, and what each costs a core.

All shapes of a population are counted at once, by formulas that agree with `loihi_deploy.mapping.layout`: the sets of
weights of a convolution are products of what the rows and the columns of a slice see, so it is enough to look at each
axis by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.graph import Conv2D, Dense
from loihi_deploy.hardware import CoreLimits
from loihi_deploy.mapping.layout import Ints, as_convolution, as_matrix, axis_reach, grids, row_lengths
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Grid, Slice, Wiring
from loihi_deploy.mapping.resources import index_bits, words
from loihi_deploy.program import Program

_LIMITED = ("in_axons", "pop16_in_axons", "synapse_words", "words_per_axon")
_COUNTED = (*_LIMITED, "senders")


@dataclass(frozen=True)
class Shapes:
    """Shapes for the slices of one population; arrays over the shapes.

    Parameters
    ----------
    population : str
    grid : (int, int, int)
    box : (n, 3) int array
        Rows, columns and channels of a slice; slices at the far ends may be smaller.
    lane : (n,) int array
    wirings : tuple of tuple of Wiring
        Ways to wire all projections into it.
    way : (n,) int array
        Index into `wirings`.
    usage : dict of (n,) int arrays
        What the fullest slice of a shape uses, by the name of the limit.
    senders : (n,) int array
        Neurons that send to that slice.
    """

    population: str
    grid: Grid
    box: Ints
    lane: Ints
    wirings: tuple[tuple[Wiring, ...], ...]
    way: Ints
    usage: dict[str, Ints]
    senders: Ints

    def __len__(self) -> int:
        return len(self.box)

    @property
    def n_slices(self) -> Ints:
        """Slices in all."""
        n: Ints = np.prod(self.parts, axis=1)
        return n

    @property
    def parts(self) -> Ints:
        """Slices along each axis, (n, 3)."""
        parts: Ints = -(-np.array(self.grid) // self.box)
        return parts

    def __getitem__(self, chosen: Any) -> Shapes:
        usage = {name: values[chosen] for name, values in self.usage.items()}
        return Shapes(
            self.population,
            self.grid,
            self.box[chosen],
            self.lane[chosen],
            self.wirings,
            self.way[chosen],
            usage,
            self.senders[chosen],
        )

    def rejected(self, bounds: Mapping[str, int]) -> dict[str, NDArray[np.bool_]]:
        """Which shapes break each limit."""
        return {name: used > bounds[name] for name, used in self.usage.items()}

    def fitting(self, bounds: Mapping[str, int]) -> Shapes:
        """The shapes that break none."""
        return self[np.flatnonzero(~np.any(list(self.rejected(bounds).values()), axis=0))]

    def slices(self, number: int) -> list[Slice]:
        """Cut the population into slices of one of the shapes."""
        box, lane = tuple(map(int, self.box[number])), int(self.lane[number])
        return cut(self.population, self.grid, box, lane, self.wirings[int(self.way[number])])


def cut(
    population: str, grid: Grid, box: Sequence[int], lane: int, wirings: tuple[Wiring, ...]
) -> list[Slice]:
    """Cut a whole population into boxes, those at the far ends smaller where it does not go up evenly."""
    made = []
    starts = [range(0, n, size) for n, size in zip(grid, box, strict=True)]
    for start in product(*starts):
        stop = tuple(min(a + size, n) for a, size, n in zip(start, box, grid, strict=True))
        channels = stop[2] - start[2]
        fits = lane if channels % lane == 0 else channels if lane == box[2] else 1
        made.append(Slice(population, start, stop, 0, fits, wirings))  # type: ignore[arg-type]
    return made


def sizes(n: int) -> list[int]:
    """Sizes of parts that cut n into equal parts, but for the last, in all possible numbers; falling."""
    return sorted({-(-n // parts) for parts in range(1, n + 1)}, reverse=True)


def shapes_of(program: Program, name: str, limits: CoreLimits) -> Shapes:
    """Every shape worth looking at, with what it uses."""
    grid = grids(program)[name]
    ways = wiring_choices(program, name, limits)
    box = np.array(list(_boxes(grid, limits.max_compartments)), dtype=np.int64).reshape(-1, 3)
    found = _counted(program, name, grid, box, ways, limits)
    # where memory is what binds, as many channels as it holds
    full = found[found.usage["synapse_words"] > limits.synapse_memory_words]
    if len(full):
        share = limits.synapse_memory_words / full.usage["synapse_words"]
        largest = np.floor(full.box[:, 2] * share).astype(np.int64)
        more = [np.column_stack([full.box[:, :2], largest - less]) for less in (0, 1, 2)]
        extra = np.unique(np.concatenate(more), axis=0)
        extra = extra[(extra[:, 2] > 0) & ~(extra[:, None] == box).all(axis=2).any(axis=1)]
        if len(extra):
            found = _joined(found, _counted(program, name, grid, extra, ways, limits))
    return found


def shapes_with_boxes(program: Program, name: str, boxes: Ints, limits: CoreLimits) -> Shapes:
    """The ways to lay out and wire slices of given shapes, (n, 3)."""
    ways = wiring_choices(program, name, limits)
    return _counted(program, name, grids(program)[name], boxes, ways, limits)


def _joined(a: Shapes, b: Shapes) -> Shapes:
    usage = {name: np.concatenate([a.usage[name], b.usage[name]]) for name in a.usage}
    return Shapes(
        a.population,
        a.grid,
        np.concatenate([a.box, b.box]),
        np.concatenate([a.lane, b.lane]),
        a.wirings,
        np.concatenate([a.way, b.way]),
        usage,
        np.concatenate([a.senders, b.senders]),
    )


def _boxes(grid: Grid, most: int) -> Iterator[Grid]:
    height, width, channels = grid
    for h, w in product(sizes(height), sizes(width)):
        room = min(most // (h * w), channels)
        if room:
            for c in {*(c for c in sizes(channels) if c <= room), room, room - room % 4} - {0}:
                yield h, w, c


def wiring_choices(program: Program, name: str, limits: CoreLimits) -> tuple[tuple[Wiring, ...], ...]:
    """Ways to wire all projections into a population."""
    choices = [
        list(_projection_wirings(program, i, limits))
        for i, s in enumerate(program.synapses)
        if s.post == name
    ]
    return tuple(product(*choices))


def _projection_wirings(program: Program, projection: int, limits: CoreLimits) -> Iterator[Wiring]:
    transform = program.synapses[projection].transform
    conv = as_convolution(program, projection)
    if not isinstance(transform, Conv2D) or conv is None:
        yield Wiring(projection, "rows", compressed=isinstance(transform, Dense))
        if not isinstance(transform, Dense):
            yield Wiring(projection, "rows", compressed=True)
    if conv is not None:
        channels = conv.in_shape[2]
        if channels == 1:
            if isinstance(transform, Conv2D):
                yield Wiring(projection, "pixels", DISCRETE, 1)
            return
        for axon, most in ((POP32, limits.pop32_max_channels), (POP16, limits.pop16_max_channels)):
            n_chunks = -(-channels // most)
            yield Wiring(projection, "pixels", axon, -(-channels // n_chunks))


def _counted(
    program: Program,
    name: str,
    grid: Grid,
    box: Ints,
    ways: tuple[tuple[Wiring, ...], ...],
    limits: CoreLimits,
) -> Shapes:
    """Count boxes in every lane and every way of wiring."""
    laned = np.concatenate([np.column_stack([box, np.full(len(box), 1)]), *_more_lanes(box, grid, limits)])
    box, lane = laned[:, :3], laned[:, 3]
    size = box.prod(axis=1)
    single: dict[Wiring, dict[str, Ints]] = {}
    for wiring in {wiring for way in ways for wiring in way}:
        single[wiring] = _wiring_usage(program, name, grid, box, lane, wiring, limits)
    total: list[dict[str, Ints]] = []
    for way in ways:
        used = {key: np.zeros(len(box), np.int64) for key in _COUNTED}
        for wiring in way:
            for key in _COUNTED:
                one = single[wiring][key]
                used[key] = np.maximum(used[key], one) if key == "words_per_axon" else used[key] + one
        total.append(used)
    n_ways = len(ways)
    usage = {key: np.concatenate([used[key] for used in total]) for key in _LIMITED}
    usage["compartments"] = np.tile(size, n_ways)
    found = Shapes(
        name,
        grid,
        np.tile(box, (n_ways, 1)),
        np.tile(lane, n_ways),
        ways,
        np.repeat(np.arange(n_ways), len(box)),
        usage,
        np.concatenate([used["senders"] for used in total]),
    )
    # the base of a pop16 set is a multiple of 4, so that positions must be as far apart
    unit = limits.pop16_base_multiple
    has_pop16 = np.array([any(wiring.axon == POP16 for wiring in way) for way in ways] or [False])
    aligned = (found.lane % unit == 0) | (found.box[:, :2].prod(axis=1) == 1)
    return found[~has_pop16[found.way] | aligned]


def _more_lanes(box: Ints, grid: Grid, limits: CoreLimits) -> Iterator[Ints]:
    """Lanes other than 1: all channels together, where a base reaches every position, and the unit of pop16."""
    positions, channels = box[:, 0] * box[:, 1], box[:, 2]
    whole = (channels > 1) & (positions > 1) & ((positions - 1) * channels <= limits.max_compartment_base)
    yield np.column_stack([box[whole], channels[whole]])
    unit = limits.pop16_base_multiple
    last = (grid[2] - 1) % channels + 1
    even = (channels % unit == 0) & (last % unit == 0) & (channels > unit) & (positions > 1)
    yield np.column_stack([box[even], np.full(int(even.sum()), unit)])


def _wiring_usage(
    program: Program, name: str, grid: Grid, box: Ints, lane: Ints, wiring: Wiring, limits: CoreLimits
) -> dict[str, Ints]:
    if wiring.kind == "pixels":
        conv = as_convolution(program, wiring.projection)
        assert conv is not None
        return _pixel_usage(conv, box, lane, wiring, limits)
    matrix = as_matrix(program.synapses[wiring.projection].transform)
    if isinstance(matrix, Dense):
        run = words(box.prod(axis=1), limits.synapse_weight_bits, limits)
        axons = np.full(len(box), matrix.in_size)
        return {
            "in_axons": axons,
            "pop16_in_axons": np.zeros_like(axons),
            "synapse_words": axons * run,
            "words_per_axon": run,
            "senders": axons,
        }
    distinct, which = np.unique(box, axis=0, return_inverse=True)
    rows = [_sparse_usage(matrix, name, grid, shape, wiring, limits) for shape in distinct]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)[which.reshape(-1)]
    return {
        "in_axons": table[:, 0],
        "pop16_in_axons": np.zeros(len(box), np.int64),
        "synapse_words": table[:, 1],
        "words_per_axon": table[:, 2],
        "senders": table[:, 0],
    }


def _sparse_usage(
    matrix: Any, name: str, grid: Grid, box: Ints, wiring: Wiring, limits: CoreLimits
) -> tuple[int, int, int]:
    """The most axons, words, and words per axon over all slices of a shape."""
    most = np.zeros(3, np.int64)
    for piece in cut(name, grid, [int(n) for n in box], 1, ()):
        lengths = row_lengths(matrix, piece.neurons(grid))
        lengths = lengths[lengths > 0]
        if not lengths.size:
            continue
        if wiring.compressed:
            run = np.full(len(lengths), words(piece.size, limits.synapse_weight_bits, limits))
        else:
            bits = limits.synapse_weight_bits + index_bits(piece.size - 1, limits)
            run = words(lengths, bits, limits)
        most = np.maximum(most, [len(lengths), run.sum(), run.max()])
    return int(most[0]), int(most[1]), int(most[2])


@dataclass(frozen=True)
class _Profiles:
    """What the parts of an axis see, for each size of parts; the second axis is over distinct parts.

    Parameters
    ----------
    sets : (n_sizes, n_profiles, n_counts) int array
        Distinct ways to see the kernel that reach 1, 2, ... outputs.
    inputs : (n_sizes, n_profiles) int array
        Inputs that reach the part.
    first, count : (n_sizes,) int arrays
        Largest first output relative to the part, and most outputs reached by one input.
    """

    sets: Ints
    inputs: Ints
    first: Ints
    count: Ints


def _axis_profiles(conv: Conv2D, axis: int, part_sizes: Ints) -> _Profiles:
    key = (
        conv.in_shape[axis],
        conv.kernel.shape[axis],
        conv.strides[axis],
        conv.padding[axis],
        conv.out_shape[axis],
    )
    return _profiles(*key, tuple(int(size) for size in part_sizes))


@lru_cache(maxsize=256)
def _profiles(
    n_in: int, kernel: int, stride: int, padding: int, n_out: int, part_sizes: tuple[int, ...]
) -> _Profiles:
    n_counts = -(-kernel // stride)
    found: list[set[tuple[int, ...]]] = []
    first, count = [], []
    for size in part_sizes:
        seen: set[tuple[int, ...]] = set()
        furthest = most = 0
        for start in range(0, n_out, size):
            part = axis_reach(n_in, kernel, stride, padding, start, min(start + size, n_out))
            used = part.count > 0
            if not used.any():
                continue
            kinds = np.unique(part.count[used] * (kernel + 1) + part.tap[used]) // (kernel + 1)
            seen.add((int(used.sum()), *np.bincount(kinds - 1, minlength=n_counts).tolist()))
            furthest, most = max(furthest, int(part.first[used].max())), max(most, int(part.count.max()))
        found.append(seen or {(0,) * (n_counts + 1)})
        first.append(furthest)
        count.append(most)
    n_profiles = max(map(len, found))
    table = np.array(
        [sorted(seen) + [max(seen)] * (n_profiles - len(seen)) for seen in found], dtype=np.int64
    )
    return _Profiles(table[:, :, 1:], table[:, :, 0], np.array(first), np.array(count))


def _pixel_usage(conv: Conv2D, box: Ints, lane: Ints, wiring: Wiring, limits: CoreLimits) -> dict[str, Ints]:
    height, width, channels = box.T
    group_in, group_out = conv.kernel.shape[2], conv.out_shape[2] // conv.groups
    # channels of the sender that reach a slice, and channels of the slice that each of them reaches; a slice that cuts
    # groups apart may reach into two more of them
    whole = (channels % group_out == 0) | (group_out % channels == 0) & (conv.out_shape[2] % channels == 0)
    groups = np.minimum(-(-channels // group_out) + np.where(whole, 0, 1), conv.groups)
    atoms, targets = groups * group_in, np.minimum(channels, group_out)

    row_sizes, row_of = np.unique(height, return_inverse=True)
    column_sizes, column_of = np.unique(width, return_inverse=True)
    rows, columns = _axis_profiles(conv, 0, row_sizes), _axis_profiles(conv, 1, column_sizes)
    furthest = (rows.first[row_of] * width + columns.first[column_of]) * lane
    span = limits.max_compartment_base + 1
    copies = furthest // span + 1  # sets that differ in what the base leaves to the index; at most this many
    spread = ((rows.count[row_of] - 1) * width + columns.count[column_of] - 1) * lane
    channel = (channels // lane - 1) * height * width * lane + lane - 1
    top = np.minimum(spread + channel + (copies - 1) * span, box.prod(axis=1) - 1)
    bits = limits.synapse_weight_bits + index_bits(top, limits)

    full, rest = np.divmod(atoms, wiring.channels)
    sets = np.zeros(len(box), np.int64)
    run = np.zeros(len(box), np.int64)
    n_rows, n_columns = rows.sets.shape[2], columns.sets.shape[2]
    per_set = np.zeros((len(box), n_rows, n_columns), np.int64)
    for i, j in product(range(n_rows), range(n_columns)):
        n = (i + 1) * (j + 1) * targets
        per_set[:, i, j] = full * words(n * wiring.channels, bits, limits) + words(n * rest, bits, limits)
    for p, q in product(range(rows.sets.shape[1]), range(columns.sets.shape[1])):
        both = rows.sets[row_of, p][:, :, None] * columns.sets[column_of, q][:, None, :]
        sets = np.maximum(sets, (both * per_set).sum(axis=(1, 2)))
    run = words(rows.count[row_of] * columns.count[column_of] * targets, bits, limits)
    pixels = rows.inputs.max(axis=1)[row_of] * columns.inputs.max(axis=1)[column_of]
    n_axons = pixels * (full + (rest > 0))
    return {
        "in_axons": n_axons,
        "pop16_in_axons": n_axons if wiring.axon == POP16 else np.zeros_like(n_axons),
        "synapse_words": sets * copies,
        "words_per_axon": run,
        "senders": pixels * atoms,
    }
