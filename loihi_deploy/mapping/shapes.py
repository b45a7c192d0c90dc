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
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import (
    Ints,
    as_convolution,
    as_matrix,
    axis_key,
    axis_margin,
    axis_reach,
    grids,
    most_delay_into,
    weight_bits,
)
from loihi_deploy.mapping.memory import accumulators, index_bits, words
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Grid, Slice, Wiring

_LIMITED = ("in_axons", "pop16_in_axons", "synapse_words", "words_per_axon")
_COUNTED = (*_LIMITED, "senders")
_MOST_WAYS = 64
_SPARSE = 8
"""Places of a table for each entry, beyond which sorting is quicker than counting."""


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
    margin : (n, 2) int array
        See `Slice`.
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
    margin: Ints
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
            self.margin[chosen],
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
        return self.cut(number, self.grid)

    def cut(self, number: int, grid: Grid) -> list[Slice]:
        """Cut a box, from its first corner on, into slices of one of the shapes."""
        box, lane = [int(n) for n in self.box[number]], int(self.lane[number])
        margin = int(self.margin[number, 0]), int(self.margin[number, 1])
        return cut(self.population, grid, box, lane, margin, self.wirings[int(self.way[number])])


def cut(
    population: str,
    grid: Grid,
    box: Sequence[int],
    lane: int,
    margin: tuple[int, int],
    wirings: tuple[Wiring, ...],
) -> list[Slice]:
    """Cut a grid into boxes, those at the far ends smaller where it does not go up evenly."""
    made = []
    starts = [range(0, n, size) for n, size in zip(grid, box, strict=True)]
    for start in product(*starts):
        stop = tuple(min(a + size, n) for a, size, n in zip(start, box, grid, strict=True))
        channels = stop[2] - start[2]
        fits = lane if channels % lane == 0 else channels if lane == box[2] else 1
        made.append(Slice(population, start, stop, 0, fits, margin, wirings))  # type: ignore[arg-type]
    return made


def sizes(n: int) -> list[int]:
    """Sizes of parts that cut n into equal parts, but for the last, in all possible numbers; falling."""
    return sorted({-(-n // parts) for parts in range(1, n + 1)}, reverse=True)


def shapes_of(program: Program, name: str, limits: CoreLimits) -> Shapes:
    """Every shape worth looking at, with what it uses."""
    ways = wiring_choices(program, name, limits)
    box = _boxes(program, name, _most_compartments(program, name, limits))
    found = _counted(program, name, box, ways, limits)
    # where memory is what binds, as many channels as it holds
    full = found[found.usage["synapse_words"] > limits.synapse_memory_words]
    if len(full):
        share = limits.synapse_memory_words / full.usage["synapse_words"]
        largest = np.floor(full.box[:, 2] * share).astype(np.int64)
        more = [np.column_stack([full.box[:, :2], largest - less]) for less in (0, 1)]
        extra = np.unique(np.concatenate(more), axis=0)
        extra = extra[(extra[:, 2] > 0) & ~_contains(box, extra)]
        if len(extra):
            found = _joined(found, _counted(program, name, extra, ways, limits))
    return found


def _most_compartments(program: Program, name: str, limits: CoreLimits) -> int:
    """Compartments of a core that holds nothing else."""
    each = int(accumulators(1, most_delay_into(program, name)))
    return min(limits.max_compartments, limits.max_accumulators // each if each else limits.max_compartments)


def _contains(rows: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Which rows of `wanted` are among `rows`."""
    known = {tuple(row) for row in rows.tolist()}
    return np.array([tuple(row) in known for row in wanted.tolist()], dtype=bool)


def shapes_with_boxes(program: Program, name: str, boxes: Ints, limits: CoreLimits) -> Shapes:
    """The ways to lay out and wire slices of given shapes, (n, 3)."""
    return _counted(program, name, boxes, wiring_choices(program, name, limits), limits)


def _margins(program: Program, name: str, box: Ints) -> Ints:
    """Margin of each box with which all convolutions into a population can use whole kernels, (n, 2)."""
    into = [as_convolution(program, i) for i, s in enumerate(program.synapses) if s.post == name]
    margin = np.zeros((len(box), 2), np.int64)
    # onto a single position, pixels share nothing to begin with
    for conv in (conv for conv in into if conv is not None and conv.out_shape[:2] != (1, 1)):
        for axis in (0, 1):
            part, which = np.unique(box[:, axis], return_inverse=True)
            needed = np.array(
                [axis_margin(*axis_key(conv, axis), int(size)) for size in part], dtype=np.int64
            )
            margin[:, axis] = np.maximum(margin[:, axis], needed[which])
    return margin


def _joined(a: Shapes, b: Shapes) -> Shapes:
    usage = {name: np.concatenate([a.usage[name], b.usage[name]]) for name in a.usage}
    return Shapes(
        a.population,
        a.grid,
        np.concatenate([a.box, b.box]),
        np.concatenate([a.lane, b.lane]),
        np.concatenate([a.margin, b.margin]),
        a.wirings,
        np.concatenate([a.way, b.way]),
        usage,
        np.concatenate([a.senders, b.senders]),
    )


def _boxes(program: Program, name: str, most: int) -> Ints:
    """Boxes that fit a core's compartments, (n, 3): parts as equal as can be, or with as many channels as fit."""
    height, width, channels = grids(program)[name]
    spatial = np.array(list(product(sizes(height), sizes(width), [1])), dtype=np.int64)
    margins = _margins(program, name, spatial)
    made = []
    for (h, w, _), (above, beside) in zip(spatial.tolist(), margins.tolist(), strict=True):
        room = min(most // (h * w), channels)
        rows, columns = h + above, w + beside
        with_margin = min((most - above * columns - beside) // (rows * columns), channels)
        kept = {c for c in sizes(channels) if c <= room} | {room, room - room % 4, max(with_margin, 0)}
        made += [(h, w, c) for c in sorted(kept - {0})]
    return np.array(made, dtype=np.int64).reshape(-1, 3)


def wiring_choices(program: Program, name: str, limits: CoreLimits) -> tuple[tuple[Wiring, ...], ...]:
    """Ways to wire all projections into a population; where there would be too many, each wires all alike."""
    choices = [
        list(projection_wirings(program, i, limits)) for i, s in enumerate(program.synapses) if s.post == name
    ]
    if prod(map(len, choices)) <= _MOST_WAYS:
        return tuple(product(*choices))
    styles = dict.fromkeys(_style(wiring) for wirings in choices for wiring in wirings)
    ways = (
        tuple(next((w for w in wirings if _style(w) == style), wirings[0]) for wirings in choices)
        for style in styles
    )
    return tuple(dict.fromkeys(ways))


def _style(wiring: Wiring) -> tuple[str, int, bool]:
    return wiring.kind, wiring.axon, wiring.compressed


def projection_wirings(program: Program, projection: int, limits: CoreLimits) -> Iterator[Wiring]:
    """Ways to wire one projection."""
    transform = program.synapses[projection].transform
    conv = as_convolution(program, projection)
    if (
        conv is None
        or not isinstance(transform, Conv2D)
        or (conv.out_shape[:2] == (1, 1) and conv.groups == 1)
    ):
        yield Wiring(projection, "rows", compressed=True)
        if not isinstance(as_matrix(transform), Dense):
            yield Wiring(projection, "rows")
    if conv is not None:
        channels = conv.in_shape[2]
        if channels == 1:
            if isinstance(transform, Conv2D):
                yield Wiring(projection, "pixels", DISCRETE, 1)
            return
        for axon, most in ((POP32, limits.pop32_max_channels), (POP16, limits.pop16_max_channels)):
            n_chunks = -(-channels // most)
            yield Wiring(projection, "pixels", axon, -(-channels // n_chunks))
            if conv.groups == 1:
                yield Wiring(projection, "pixels", axon, -(-channels // n_chunks), compressed=True)


@dataclass(frozen=True)
class _Layouts:
    """Boxes with the ways to lay them out on a core.

    Parameters
    ----------
    box : (n, 3) int array
    lane : (n,) int array
    margin : (n, 2) int array
    """

    box: Ints
    lane: Ints
    margin: Ints

    @property
    def plane(self) -> Ints:
        plane: Ints = self.box[:, :2] + self.margin
        return plane

    @property
    def lead(self) -> Ints:
        lead: Ints = (self.margin[:, 0] * self.plane[:, 1] + self.margin[:, 1]) * self.lane
        return lead

    @property
    def n_compartments(self) -> Ints:
        n: Ints = self.lead + self.plane.prod(axis=1) * self.box[:, 2]
        return n


def _layouts(box: Ints, margin: Ints, grid: Grid, limits: CoreLimits) -> _Layouts:
    """Boxes in every order of compartments worth trying.

    Lanes of 1; of all channels, where a base then reaches every position; and of the unit in which pop16 counts bases.
    Those of 1 without and with a margin.
    """
    positions, channels = box[:, 0] * box[:, 1], box[:, 2]
    many = (channels > 1) & (positions > 1)
    whole = many & ((positions - 1) * channels <= limits.max_compartment_base)
    unit = limits.pop16_base_multiple
    even = many & (channels % unit == 0) & (((grid[2] - 1) % channels + 1) % unit == 0)
    around = margin.any(axis=1)
    none = np.zeros_like(margin)
    parts = [
        (box, np.ones(len(box), np.int64), none),
        (box[whole], channels[whole], none[whole]),
        (box[even], np.full(int(even.sum()), unit), none[even]),
        (box[around], np.ones(int(around.sum()), np.int64), margin[around]),
    ]
    return _Layouts(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _counted(
    program: Program,
    name: str,
    box: Ints,
    ways: tuple[tuple[Wiring, ...], ...],
    limits: CoreLimits,
) -> Shapes:
    """Count boxes in every layout and every way of wiring."""
    grid = grids(program)[name]
    layouts = _layouts(box, _margins(program, name, box), grid, limits)
    n, n_ways = len(layouts.box), len(ways)
    single = {
        wiring: _wiring_usage(program, name, layouts, wiring, limits)
        for wiring in {wiring for way in ways for wiring in way}
    }
    total = []
    for way in ways:
        used = {key: np.zeros(n, np.int64) for key in _COUNTED}
        for wiring in way:
            for key, one in single[wiring].items():
                used[key] = np.maximum(used[key], one) if key == "words_per_axon" else used[key] + one
        total.append(used)
    usage = {key: np.concatenate([used[key] for used in total]) for key in _LIMITED}
    usage["compartments"] = np.tile(layouts.n_compartments, n_ways)
    delay = most_delay_into(program, name)
    usage["accumulators"] = accumulators(usage["compartments"], delay)
    found = Shapes(
        name,
        grid,
        np.tile(layouts.box, (n_ways, 1)),
        np.tile(layouts.lane, n_ways),
        np.tile(layouts.margin, (n_ways, 1)),
        ways,
        np.repeat(np.arange(n_ways), n),
        usage,
        np.concatenate([used["senders"] for used in total]),
    )
    # the base of a pop16 set is a multiple of 4, so that positions must be as far apart; a margin is of use to
    # pixels only, and breaks the runs of compartments that rows want
    has_pop16 = np.array([any(wiring.axon == POP16 for wiring in way) for way in ways])
    has_rows = np.array([any(wiring.kind == "rows" for wiring in way) for way in ways])
    single_position = (found.box[:, :2].prod(axis=1) == 1) & ~found.margin.any(axis=1)
    last = (grid[2] - 1) % found.box[:, 2] + 1  # channels of the slices at the end
    unit = limits.pop16_base_multiple
    aligned = (found.lane % unit == 0) & (last % unit == 0) | single_position
    useful = ~(has_pop16[found.way] & ~aligned) & ~(has_rows[found.way] & found.margin.any(axis=1))
    # without indices a pixel reaches consecutive compartments only
    runs = np.array([any(wiring.kind == "pixels" and wiring.compressed for wiring in way) for way in ways])
    useful &= ~runs[found.way] | single_position
    return found[useful]


def _wiring_usage(
    program: Program, name: str, layouts: _Layouts, wiring: Wiring, limits: CoreLimits
) -> dict[str, Ints]:
    if wiring.kind == "pixels":
        conv = as_convolution(program, wiring.projection)
        assert conv is not None
        return _pixel_usage(conv, layouts, wiring, weight_bits(program, wiring.projection, limits), limits)
    matrix = as_matrix(program.synapses[wiring.projection].transform)
    bits = weight_bits(program, wiring.projection, limits)
    if isinstance(matrix, Dense):
        run = words(layouts.box.prod(axis=1), bits, limits)
        axons = np.full(len(run), matrix.in_size)
        used = axons, axons * run, run
    else:
        distinct, which = np.unique(layouts.box, axis=0, return_inverse=True)
        rows = [_sparse_usage(matrix, grids(program)[name], box, wiring, bits, limits) for box in distinct]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)[which.reshape(-1)]
        used = table[:, 0], table[:, 1], table[:, 2]
    return {
        "in_axons": used[0],
        "pop16_in_axons": np.zeros_like(used[0]),
        "synapse_words": used[1],
        "words_per_axon": used[2],
        "senders": used[0],
    }


def _sparse_usage(
    matrix: Any, grid: Grid, box: Ints, wiring: Wiring, bits: int, limits: CoreLimits
) -> tuple[int, int, int]:
    """The most axons, words, and words per axon over all slices of a shape."""
    slice_of, sizes = parts_of(grid, box)
    # an axon of a slice stands for a run of the entries of one input in its rows
    runs, lengths = occurring(
        slice_of[matrix.rows] * matrix.in_size + matrix.indices, len(sizes) * matrix.in_size
    )
    if not runs.size:
        return 0, 0, 0
    where = runs // matrix.in_size
    if wiring.compressed:
        run = words(sizes, bits, limits)[where]
    else:
        run = words(lengths, bits + index_bits(sizes - 1, limits)[where], limits)
    total = np.bincount(where, run)
    return int(np.bincount(where).max()), int(total.max()), int(run.max())


def occurring(numbers: Ints, end: int) -> tuple[Ints, Ints]:
    """Which of 0..end-1 stand among some numbers, rising, and how often: by a table unless that is mostly empty."""
    if end > _SPARSE * len(numbers):
        found, counts = np.unique(numbers, return_counts=True)
        return found, counts
    counts = np.bincount(numbers, minlength=end)
    found = np.flatnonzero(counts)
    return found, counts[found]


def parts_of(grid: Grid, box: Ints) -> tuple[Ints, Ints]:
    """The number of the slice that each neuron lies in, and the neurons of each slice, of slices of one shape."""
    place, sizes = np.zeros((1, 1, 1), np.int64), np.ones(1, np.int64)
    for axis, (n, size) in enumerate(zip(grid, box.tolist(), strict=True)):
        n_parts = -(-n // size)
        along = (np.arange(n) // size).reshape([-1 if k == axis else 1 for k in range(3)])
        place = place * n_parts + along
        parts = np.minimum(size, n - size * np.arange(n_parts))
        sizes = (sizes[:, None] * parts).reshape(-1)
    return place.reshape(-1), sizes


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


def _axis_profiles(conv: Conv2D, axis: int, ways_to_cut: Ints) -> _Profiles:
    return _profiles(*axis_key(conv, axis), tuple((int(size), int(margin)) for size, margin in ways_to_cut))


@lru_cache(maxsize=256)
def _profiles(
    n_in: int, kernel: int, stride: int, padding: int, n_out: int, ways_to_cut: tuple[tuple[int, int], ...]
) -> _Profiles:
    n_counts = max(1, min(-(-kernel // stride), n_out + 2 * max(margin for _, margin in ways_to_cut)))
    found: list[set[tuple[int, ...]]] = []
    first, count = [], []
    for size, margin in ways_to_cut:
        seen: set[tuple[int, ...]] = set()
        furthest = most = 0
        for start in range(0, n_out, size):
            part = axis_reach(n_in, kernel, stride, padding, start, min(start + size, n_out), margin)
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


def _pixel_usage(
    conv: Conv2D, layouts: _Layouts, wiring: Wiring, bits_of_weight: int, limits: CoreLimits
) -> dict[str, Ints]:
    channels, lane = layouts.box[:, 2], layouts.lane
    group_in, group_out = conv.kernel.shape[2], conv.out_shape[2] // conv.groups
    # Channels of the sender that reach a slice, in runs whose axons look alike, and channels of the slice that each of
    # them reaches. A slice that cuts groups apart has runs of its own for the groups at its ends; it is counted as if
    # these were whole.
    whole = (channels % group_out == 0) | (group_out % channels == 0) | (conv.groups == 1)
    groups = np.minimum(-(-channels // group_out) + np.where(whole, 0, 1), conv.groups)
    ends = np.where(whole, 0, group_in)
    runs = (groups * group_in - 2 * ends, ends, ends)
    targets = np.minimum(channels, group_out)

    row_cuts, row_of = np.unique(
        np.column_stack([layouts.box[:, 0], layouts.margin[:, 0]]), axis=0, return_inverse=True
    )
    column_cuts, column_of = np.unique(
        np.column_stack([layouts.box[:, 1], layouts.margin[:, 1]]), axis=0, return_inverse=True
    )
    row_of, column_of = row_of.reshape(-1), column_of.reshape(-1)
    rows, columns = _axis_profiles(conv, 0, row_cuts), _axis_profiles(conv, 1, column_cuts)
    n_columns = layouts.plane[:, 1]
    furthest = (rows.first[row_of] * n_columns + columns.first[column_of]) * lane + layouts.lead
    span = limits.max_compartment_base + 1
    copies = furthest // span + 1  # sets that differ in what the base leaves to the index; at most this many
    spread = ((rows.count[row_of] - 1) * n_columns + columns.count[column_of] - 1) * lane
    channel = (channels // lane - 1) * layouts.plane.prod(axis=1) * lane + lane - 1
    top = np.minimum(spread + channel + (copies - 1) * span, layouts.n_compartments - 1)
    bits = bits_of_weight + (0 if wiring.compressed else index_bits(top, limits))

    chunks = [np.divmod(np.maximum(atoms, 0), wiring.channels) for atoms in runs]
    most = np.zeros(len(channels), np.int64)
    counts = rows.sets.shape[2], columns.sets.shape[2]
    per_set = np.zeros((len(channels), *counts), np.int64)
    for i, j in product(*map(range, counts)):
        n = (i + 1) * (j + 1) * targets
        for full, rest in chunks:
            per_set[:, i, j] += full * words(n * wiring.channels, bits, limits) + words(
                n * rest, bits, limits
            )
    for p, q in product(range(rows.sets.shape[1]), range(columns.sets.shape[1])):
        both = rows.sets[row_of, p][:, :, None] * columns.sets[column_of, q][:, None, :]
        most = np.maximum(most, (both * per_set).sum(axis=(1, 2)))
    pixels = rows.inputs.max(axis=1)[row_of] * columns.inputs.max(axis=1)[column_of]
    n_axons = pixels * sum(full + (rest > 0) for full, rest in chunks)
    return {
        "in_axons": n_axons,
        "pop16_in_axons": n_axons if wiring.axon == POP16 else np.zeros_like(n_axons),
        "synapse_words": most * copies,
        "words_per_axon": words(rows.count[row_of] * columns.count[column_of] * targets, bits, limits),
        "senders": pixels * groups * group_in,
    }
