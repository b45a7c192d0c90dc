"""Shapes for all populations at once.

The shape of a layer decides how many output axons the layer in front of it needs, and to how many cores it has to
send. So the populations are taken from the outputs to the inputs, and the best partial choices are kept as long as they
differ in what still matters: exact on a chain that does not branch, a beam search otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

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
    axis_reach,
    band_ranges,
    grids,
)
from loihi_deploy.mapping.plan import Wiring
from loihi_deploy.mapping.shapes import Shapes, occurring, parts_of
from loihi_deploy.mapping.traffic import axon_slots

BEAM = 400
"""Partial choices kept."""
_KEPT = 300
_KEPT_IRREGULAR = 24


def pruned(program: Program, shapes: Shapes, bounds: Mapping[str, int]) -> Shapes:
    """The best few for each spatial shape and way of wiring, of shapes that fit a core."""
    score = shapes.n_slices + 0.1 * fullness(shapes, bounds)
    order = np.argsort(score, kind="stable")
    kept: list[int] = []
    seen: dict[tuple[int, ...], int] = {}
    for i in order:
        key = (int(shapes.box[i, 0]), int(shapes.box[i, 1]), int(shapes.way[i]))
        most = 3 if key[:2] != (1, 1) else _KEPT
        if seen.get(key, 0) < most:
            seen[key] = seen.get(key, 0) + 1
            kept.append(int(i))
    irregular = any(
        not _is_regular(program, number)
        for number, synapses in enumerate(program.synapses)
        if shapes.population in (synapses.pre, synapses.post)
    )
    return shapes[np.array(kept[: _KEPT_IRREGULAR if irregular else _KEPT], dtype=np.int64)]


def fullness(shapes: Shapes, bounds: Mapping[str, int]) -> NDArray[np.float64]:
    """The largest share of any limit that a whole slice uses, 0..1."""
    names = ("compartments", "in_axons", "synapse_words")
    largest: NDArray[np.float64] = np.max([shapes.usage[name] / bounds[name] for name in names], axis=0)
    return largest


def messages(shapes: Shapes) -> NDArray[np.float64]:
    """Messages to be sent to all slices together if every neuron of the senders spikes once."""
    total: NDArray[np.float64] = (shapes.senders * shapes.n_slices).astype(np.float64)
    return total


def _is_regular(program: Program, projection: int) -> bool:
    """Whether output axons follow from each axis by itself."""
    synapses = program.synapses[projection]
    if isinstance(synapses.transform, Dense):
        return True
    conv = as_convolution(program, projection)
    return conv is not None and conv.in_shape == grids(program)[synapses.pre]


@dataclass(frozen=True)
class Coupling:
    """What the senders of a projection need, for each shape of theirs and of the targets.

    Parameters
    ----------
    axons, slots, destinations : (n_pre, n_post) int arrays
        Output axons, their slots, and target cores of the busiest slice of the sender.
    """

    axons: Ints
    slots: Ints
    destinations: Ints


def coupling(program: Program, projection: int, pre: Shapes, post: Shapes, limits: CoreLimits) -> Coupling:
    """Count output axons and destinations for every pair of shapes."""
    number = [i for i, s in enumerate(program.synapses) if s.post == post.population].index(projection)
    wirings = [way[number] for way in post.wirings]
    axons = np.zeros((len(pre), len(post)), np.int64)
    destinations = np.zeros_like(axons)
    for index, wiring in enumerate(wirings):
        chosen = np.flatnonzero(post.way == index)
        if chosen.size:
            axons[:, chosen], destinations[:, chosen] = _coupled(
                program, projection, wiring, pre, post[chosen]
            )
    slots = axons * np.array([axon_slots(wiring.axon, limits) for wiring in wirings])[post.way]
    return Coupling(axons, slots, destinations)


def _coupled(
    program: Program, projection: int, wiring: Wiring, pre: Shapes, post: Shapes
) -> tuple[Ints, Ints]:
    transform = program.synapses[projection].transform
    conv = as_convolution(program, projection)
    if wiring.kind == "pixels" and conv is not None and conv.in_shape == pre.grid:
        rows, row_parts = _axis_table(conv, 0, pre.box[:, 0], post.box[:, 0])
        columns, column_parts = _axis_table(conv, 1, pre.box[:, 1], post.box[:, 1])
        chunks, channel_parts = _channel_table(conv, wiring.channels, pre.box[:, 2], post.box[:, 2])
        return rows * columns * chunks, row_parts * column_parts * channel_parts
    if isinstance(as_matrix(transform), Dense):
        n_slices = np.broadcast_to(post.n_slices, (len(pre), len(post)))
        return pre.box.prod(axis=1)[:, None] * n_slices, n_slices
    return _irregular_table(program, projection, pre, post)


def _axis_table(conv: Conv2D, axis: int, pre_sizes: Ints, post_sizes: Ints) -> tuple[Ints, Ints]:
    """Inputs of the busiest part that reach parts of the target, summed over these, and how many parts they reach."""
    distinct_pre, of_pre = np.unique(pre_sizes, return_inverse=True)
    distinct_post, of_post = np.unique(post_sizes, return_inverse=True)
    key = axis_key(conv, axis)
    used = np.array(
        [[_axis_pair(*key, int(a), int(b)) for b in distinct_post] for a in distinct_pre], dtype=np.int64
    )
    table = used[of_pre][:, of_post]
    return table[..., 0], table[..., 1]


@lru_cache(maxsize=65536)
def _axis_pair(
    n_in: int, kernel: int, stride: int, padding: int, n_out: int, pre_size: int, post_size: int
) -> tuple[int, int]:
    used = _touched(n_in, kernel, stride, padding, n_out, post_size)
    counts = np.add.reduceat(used, np.arange(0, n_in, pre_size), axis=1)
    return int(counts.sum(axis=0).max()), int((counts > 0).sum(axis=0).max())


@lru_cache(maxsize=1024)
def _touched(n_in: int, kernel: int, stride: int, padding: int, n_out: int, size: int) -> Ints:
    """Which inputs reach each part of an axis, (n_parts, n_in) of 0 and 1."""
    parts = [
        axis_reach(n_in, kernel, stride, padding, start, min(start + size, n_out)).count > 0
        for start in range(0, n_out, size)
    ]
    return np.array(parts, dtype=np.int64)


def _channel_table(conv: Conv2D, channels: int, pre_sizes: Ints, post_sizes: Ints) -> tuple[Ints, Ints]:
    """Chunks of channels that the busiest part sends to, summed over parts of the target, and the number of these."""
    distinct_pre, of_pre = np.unique(pre_sizes, return_inverse=True)
    distinct_post, of_post = np.unique(post_sizes, return_inverse=True)
    used = np.zeros((len(distinct_pre), len(distinct_post), 2), np.int64)
    for j, size in enumerate(distinct_post):
        n_parts = 1 if conv.groups == 1 else -(-conv.out_shape[2] // int(size))  # all parts alike
        bounds = [
            (*ends, part)
            for part in range(n_parts)
            for ends in band_ranges(
                conv, part * int(size), min((part + 1) * int(size), conv.out_shape[2]), channels
            )
        ]
        begin, end, owner = np.array(bounds).T
        for i, pre_size in enumerate(distinct_pre):
            starts = np.arange(0, conv.in_shape[2], pre_size)
            low = np.searchsorted(end, starts, "right")
            high = np.searchsorted(begin, np.minimum(starts + pre_size, conv.in_shape[2]), "left")
            reached = np.where(
                high > low, owner[np.maximum(high - 1, 0)] - owner[np.minimum(low, len(owner) - 1)] + 1, 0
            )
            used[i, j] = (high - low).max(), reached.max()
        if conv.groups == 1:
            used[:, j] *= -(-conv.out_shape[2] // int(size))
    table = used[of_pre][:, of_post]
    return table[..., 0], table[..., 1]


def _irregular_table(program: Program, projection: int, pre: Shapes, post: Shapes) -> tuple[Ints, Ints]:
    """The same by looking at every synapse; an axon for each neuron."""
    matrix = as_matrix(program.synapses[projection].transform).csr()
    axons = np.zeros((len(pre), len(post)), np.int64)
    destinations = np.zeros_like(axons)
    pre_labels = [parts_of(pre.grid, box)[0] for box in pre.box]
    for j, box in enumerate(post.box):
        part, sizes = parts_of(post.grid, box)
        n_parts = len(sizes)
        entries = matrix.indices.astype(np.int64) * n_parts + part[matrix.rows]
        pairs, _ = occurring(entries, matrix.in_size * n_parts)
        column, target = np.divmod(pairs, n_parts)
        for i, labels in enumerate(pre_labels):
            sender = labels[column]
            axons[i, j] = np.bincount(sender).max(initial=0)
            reached = np.unique(sender * n_parts + target) // n_parts
            destinations[i, j] = np.bincount(reached).max(initial=0)
    return axons, destinations


def all_couplings(program: Program, options: Mapping[str, Shapes], limits: CoreLimits) -> dict[int, Coupling]:
    """`coupling` of every projection between populations, by its number."""
    return {
        i: coupling(program, i, options[synapses.pre], options[synapses.post], limits)
        for i, synapses in enumerate(program.synapses)
        if synapses.pre in options
    }


def choose(
    program: Program,
    options: Mapping[str, Shapes],
    couplings: Mapping[int, Coupling],
    costs: Mapping[str, NDArray[np.float64]],
    limits: CoreLimits,
    *,
    interchip: bool,
    bounds: Mapping[str, int],
) -> dict[str, int] | None:
    """Pick one shape for each population so that the sum of costs is least and no core sends more than it can.

    Parameters
    ----------
    program : Program
    options : dict of Shapes
        By population.
    couplings : dict of Coupling
        From `all_couplings`.
    costs : dict of arrays
        Of each shape.
    limits : CoreLimits
    interchip : bool
        Count every axon as one that leaves its chip.
    bounds : dict of int
        The limits 'out_axon_slots' and 'destinations'.

    Returns
    -------
    dict of int, or None
        Index of the chosen shape by population; None if there is no choice.
    """
    order = [p.name for p in reversed(program.populations)]
    column = {name: k for k, name in enumerate(order)}
    extra = limits.extra_slots_interchip if interchip else 0
    inside = [(i, program.synapses[i].pre, program.synapses[i].post) for i in couplings]
    chosen = np.full((1, len(order)), -1)
    cost = np.zeros(1)
    slots = np.zeros((1, len(order)), np.int64)
    targets = np.zeros((1, len(order)), np.int64)
    for k, name in enumerate(order):
        n_new = len(options[name])
        state = np.repeat(np.arange(len(chosen)), n_new)
        new = np.tile(np.arange(n_new), len(chosen))
        chosen, slots, targets = chosen[state], slots[state], targets[state]
        chosen[:, k] = new
        cost = cost[state] + costs[name][new]
        fits = np.ones(len(new), bool)
        for i, pre, post in inside:
            if name not in (pre, post) or chosen[0, column[pre]] < 0 or chosen[0, column[post]] < 0:
                continue
            table, a, b = couplings[i], chosen[:, column[pre]], chosen[:, column[post]]
            slots[:, column[pre]] += table.slots[a, b] + extra * table.axons[a, b]
            targets[:, column[pre]] += table.destinations[a, b]
            fits &= slots[:, column[pre]] <= bounds["out_axon_slots"]
            fits &= targets[:, column[pre]] <= bounds["destinations"]
        chosen, cost, slots, targets = chosen[fits], cost[fits], slots[fits], targets[fits]
        if not len(chosen):
            return None
        done = set(order[: k + 1])
        open_columns = sorted(
            {
                column[end]
                for _, pre, post in inside
                for end in (pre, post)
                if end in done and not {pre, post} <= done
            }
        )
        best = np.argsort(cost, kind="stable")
        _, first = np.unique(chosen[best][:, open_columns], axis=0, return_index=True)
        keep = best[np.sort(first)][:BEAM]
        chosen, cost, slots, targets = chosen[keep], cost[keep], slots[keep], targets[keep]
    return {name: int(chosen[0, k]) for name, k in column.items()}
