"""Sharing: cores that are hardly used give their slices to others, so that fewer cores are needed.

A slice that is to go is cut into tiles, and the tiles fill the room that other cores have left, of whatever population.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.mapping.counts import Cores, Counts
from loihi_deploy.mapping.layout import (
    Ints,
    grids,
)
from loihi_deploy.mapping.plan import Grid, Slice
from loihi_deploy.mapping.restriction import Restriction
from loihi_deploy.mapping.shapes import Shapes, shapes_with_boxes, sizes

_MOST_TILES = 64
_TRIES_PER_SLICE = 40
_MOST_WORK = 10_000
"""Tries times cores, after which a plan is left as it is: what a try takes grows with the cores."""
_MOST_VACATED = 16
_MOST_RECUT = 4


def arranged(slices: Iterable[Slice]) -> list[Slice]:
    """Slices one behind the other; first those that are stored without indices, which only a base can reach."""
    placed, offset = [], 0
    for piece in sorted(slices, key=lambda piece: not any(wiring.compressed for wiring in piece.wirings)):
        placed.append(replace(piece, offset=offset))
        offset += piece.n_compartments
    return placed


class Packer:
    """Empties cores one after the other, as long as it can.

    Parameters
    ----------
    counts : Counts
    bounds : dict of int
        Limits of a core by rule.
    interchip : bool
        Count every axon as one that leaves its chip.
    restriction : Restriction, optional
        What may share a core.
    """

    def __init__(
        self,
        counts: Counts,
        bounds: Mapping[str, int],
        interchip: bool,
        restriction: Restriction | None = None,
    ) -> None:
        self._program, self._limits = counts.program, counts.limits
        self._counts = counts
        self._bounds = bounds
        self._interchip = interchip
        self._restriction = restriction
        self._work = 0
        self._tiled: dict[tuple[str, Grid, int], Shapes | None] = {}

    def packed(self, cores: Cores, movable: Callable[[str], bool]) -> Cores:
        """Give the slices of hardly used cores to others.

        Parameters
        ----------
        cores : list of list of Slice
        movable : function
            Whether a population's slices may be cut anew.
        """
        while True:
            for vacated in self._candidates(cores, movable):
                fewer = self._without(cores, vacated) if self._work <= _MOST_WORK else None
                if fewer is not None:
                    cores = fewer
                    break
            else:
                return [self._joined(slices, movable) for slices in cores]

    def _joined(self, slices: list[Slice], movable: Callable[[str], bool]) -> list[Slice]:
        """Make one slice of two that lie side by side, where it fits: every spike to it is then sent once only."""
        for a, b in combinations(slices, 2):
            one = _union(a, b) if movable(a.population) else None
            if one is None:
                continue
            joined = arranged([one, *(piece for piece in slices if piece is not a and piece is not b)])
            used = self._counts.used(joined)
            if all(used[name] <= bound for name, bound in self._bounds.items()):
                return self._joined(joined, movable)
        return slices

    def _candidates(self, cores: Cores, movable: Callable[[str], bool]) -> list[tuple[int, ...]]:
        """Sets of cores that might be emptied: all those of a small population, and single ones, the emptiest first."""
        free = [all(movable(piece.population) for piece in slices) for slices in cores]
        single = sorted((self._share(slices), number) for number, slices in enumerate(cores) if free[number])
        whole = []
        for population in self._program.populations:
            held = tuple(
                number
                for number, slices in enumerate(cores)
                if any(p.population == population.name for p in slices)
            )
            alone = all(p.population == population.name for number in held for p in cores[number])
            if 1 < len(held) <= _MOST_VACATED and alone and movable(population.name):
                whole.append(held)
        return whole + [(number,) for _, number in single]

    def _share(self, slices: Sequence[Slice]) -> float:
        used = self._counts.used(slices)
        return max(used[name] / self._bounds[name] for name in ("compartments", "in_axons", "synapse_words"))

    def _without(self, cores: Cores, vacated: tuple[int, ...]) -> Cores | None:
        """The plan without some cores, their slices spread over the others; None if there is no room."""
        hosts = [list(slices) for number, slices in enumerate(cores) if number not in vacated]
        moving = [piece for number in vacated for piece in cores[number]]
        if len(vacated) > 1:
            grid = grids(self._program)[moving[0].population]
            moving = [replace(moving[0], start=(0, 0, 0), stop=grid, lane=1)]
            # cut otherwise, it may do with one core less by itself
            hosts += [[] for _ in vacated[1:]] if len(vacated) <= _MOST_RECUT else []
        room = len(hosts) * self._bounds["compartments"] - sum(
            p.n_compartments for slices in hosts for p in slices
        )
        if room < sum(piece.size for piece in moving):
            return None
        for piece in sorted(moving, key=lambda piece: -piece.size):
            found = self._spread(hosts, piece)
            if found is None:
                return None
            hosts = found
        return [slices for slices in hosts if slices]

    def _spread(self, hosts: Cores, piece: Slice) -> Cores | None:
        """Cut a box into tiles that fit the room left on cores."""
        room = self._room(hosts, piece)
        options = self._tilings(piece, int(room["compartments"].max()))
        if options is None:
            return None
        counts = np.prod(-(-np.array(piece.shape) // options.box), axis=1)
        tried: set[tuple[int, ...]] = set()
        for i in np.lexsort([options.usage["synapse_words"], counts]):
            capacity = np.full(len(hosts), _MOST_TILES)
            for name, left in room.items():
                if options.usage[name][i]:
                    capacity = np.minimum(capacity, left // options.usage[name][i])
            capacity = np.maximum(capacity, 0)
            kind = (*options.box[i].tolist(), int(options.way[i]))  # layouts aside, these need the same axons
            if capacity.sum() < counts[i] or kind in tried:
                continue
            tried.add(kind)
            self._work += len(hosts)
            if len(tried) > _TRIES_PER_SLICE or self._work > _MOST_WORK:
                return None
            tiles = _tiles(piece, options, int(i))
            trial = [list(slices) for slices in hosts]
            changed = []
            for host in np.argsort(-capacity, kind="stable"):
                if not tiles:
                    break
                n = int(capacity[host])
                trial[host] = arranged([*trial[host], *tiles[:n]])
                tiles = tiles[n:]
                changed.append(int(host))
            if self._fits(trial, changed):
                return trial
        return None

    def _room(self, hosts: Cores, piece: Slice) -> dict[str, Ints]:
        """What each core has left of the limits that count most; nothing where it may not hold the slice."""
        open_ = np.array(
            [all(self._go_together(p.population, piece.population) for p in slices) for slices in hosts]
        )
        used = [self._counts.used(slices) for slices in hosts]
        return {
            name: np.array([self._bounds[name] - u[name] for u in used]) * open_
            for name in ("compartments", "in_axons", "synapse_words")
        }

    def _go_together(self, a: str, b: str) -> bool:
        """Whether a core may hold some of both populations."""
        return _core_settings(self._program, a) == _core_settings(self._program, b) and (
            self._restriction is None or self._restriction.go_together(a, b)
        )

    def _tilings(self, piece: Slice, most: int) -> Shapes | None:
        """Shapes of tiles of at most so many neurons; None if there would be too many tiles."""
        key = piece.population, piece.shape, most
        if key not in self._tiled:
            self._tiled[key] = self._shapes_of_tiles(piece, most)
        return self._tiled[key]

    def _shapes_of_tiles(self, piece: Slice, most: int) -> Shapes | None:
        boxes = [
            (h, w, c)
            for h, w, c in product(*map(sizes, piece.shape))
            if h * w * c <= most
            and prod(-(-n // size) for n, size in zip(piece.shape, (h, w, c), strict=True)) <= _MOST_TILES
        ]
        if not boxes:
            return None
        shapes = shapes_with_boxes(
            self._program, piece.population, np.array(boxes, dtype=np.int64), self._limits
        )
        return shapes if self._restriction is None else self._restriction.allowed(shapes)

    def _fits(self, cores: Cores, changed: Iterable[int]) -> bool:
        outputs = self._counts.wires.outputs(cores, self._interchip)  # first, since most plans fail here
        if (outputs.slots > self._bounds["out_axon_slots"]).any():
            return False
        if (outputs.destinations > self._bounds["destinations"]).any():
            return False
        used = [self._counts.used(cores[number]) for number in changed]
        return all(one[name] <= bound for one in used for name, bound in self._bounds.items())


def _union(a: Slice, b: Slice) -> Slice | None:
    """The box that two boxes make up, in channel-major order; None if they don't."""
    if a.population != b.population or a.wirings != b.wirings:
        return None
    if any(w.kind == "pixels" and w.compressed for w in a.wirings) and a.start[:2] != b.start[:2]:
        return None  # without indices, one position only
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        alike = all(a.start[k] == b.start[k] and a.stop[k] == b.stop[k] for k in others)
        for first, second in ((a, b), (b, a)):
            if alike and first.stop[axis] == second.start[axis]:
                return replace(a, start=first.start, stop=second.stop, lane=1)
    return None


def _core_settings(program: Program, population: str) -> tuple[Any, ...]:
    """What all compartments of a core have in common."""
    node = program.nodes[population]
    assert isinstance(node, Compartments)
    return node.v_min, node.v_max, node.noise


def _tiles(piece: Slice, options: Shapes, number: int) -> list[Slice]:
    """Cut a box into tiles of one of the shapes."""
    tiles = options.cut(number, piece.shape)
    return [
        replace(tile, start=_moved(tile.start, piece.start), stop=_moved(tile.stop, piece.start))
        for tile in tiles
    ]


def _moved(corner: Grid, by: Grid) -> Grid:
    return corner[0] + by[0], corner[1] + by[1], corner[2] + by[2]
