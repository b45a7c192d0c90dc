"""What slices use and what cores send, counted once for all plans of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import (
    Bundle,
    Ints,
    as_convolution,
    as_matrix,
    band_ranges,
    bundles,
    grids,
    reach,
    row_lengths,
)
from loihi_deploy.mapping.plan import Slice
from loihi_deploy.mapping.traffic import axon_slots
from loihi_deploy.mapping.usage import core_usage, slice_bundles

Cores = list[list[Slice]]
_REMEMBERED = 2000
"""Ways to cut two populations whose axons are kept."""


def axons_between(
    program: Program, projection: int, pre: Sequence[Slice], post: Sequence[Slice], limits: CoreLimits
) -> tuple[Ints, Ints]:
    """Output axons, and the slots they take on one chip, from each slice of the sender to each slice of the target.

    Returns
    -------
    axons, slots : (len(pre), len(post)) int arrays
    """
    synapses = program.synapses[projection]
    grid = grids(program)[synapses.pre]
    starts = np.array([piece.start for piece in pre], dtype=np.int64).reshape(-1, 3)
    stops = np.array([piece.stop for piece in pre], dtype=np.int64).reshape(-1, 3)
    axons = np.zeros((len(pre), len(post)), np.int64)
    slots = np.zeros_like(axons)
    for b, piece in enumerate(post):
        wiring = next(w for w in piece.wirings if w.projection == projection)
        conv = as_convolution(program, projection) if wiring.kind == "pixels" else None
        if conv is not None and conv.in_shape == grid:
            count = np.ones(len(pre), np.int64)
            for axis, part in enumerate(reach(conv, piece.start, piece.stop)):
                upto = np.concatenate([[0], np.cumsum(part.count > 0)])
                count *= upto[stops[:, axis]] - upto[starts[:, axis]]
            begins, ends = zip(
                *band_ranges(conv, piece.start[2], piece.stop[2], wiring.channels), strict=True
            )
            count *= np.searchsorted(begins, stops[:, 2], "left") - np.searchsorted(
                ends, starts[:, 2], "right"
            )
        elif wiring.kind == "rows" and isinstance(as_matrix(synapses.transform), Dense):
            count = (stops - starts).prod(axis=1)
        else:
            axon_of = _axon_of(program, projection, piece, limits).reshape(grid)
            boxes = [axon_of[tuple(map(slice, a, o))] for a, o in zip(starts, stops, strict=True)]
            count = np.array([len(np.unique(box[box >= 0])) for box in boxes], dtype=np.int64)
        axons[:, b] = count
        slots[:, b] = count * axon_slots(wiring.axon, limits)
    return axons, slots


def _axon_of(program: Program, projection: int, piece: Slice, limits: CoreLimits) -> Ints:
    """The axon that each neuron of the sender uses, -1 for none; different bundles have different axons."""
    wiring = next(w for w in piece.wirings if w.projection == projection)
    axon_of = np.full(program.synapses[projection].transform.in_size, -1)
    if wiring.kind == "rows":
        rows = piece.neurons(grids(program)[piece.population])
        columns = np.flatnonzero(row_lengths(as_matrix(program.synapses[projection].transform), rows))
        axon_of[columns] = columns
        return axon_of
    n = 0
    for bundle in bundles(program, piece, wiring, limits):
        axon_of[bundle.neurons] = n + np.arange(bundle.n_axons)[:, None]
        n += bundle.n_axons
    return axon_of


@dataclass(frozen=True)
class Outputs:
    """What each core sends.

    Parameters
    ----------
    slots : (n_cores,) int array
        Output axon slots.
    destinations : (n_cores,) int array
        Cores that it sends to.
    """

    slots: Ints
    destinations: Ints


class Wires:
    """Output axons of a plan; what was counted for an earlier plan is used again."""

    def __init__(self, program: Program, limits: CoreLimits) -> None:
        self._program = program
        self._limits = limits
        on_chip = {p.name for p in program.populations}
        self._inside = [(i, s.pre, s.post) for i, s in enumerate(program.synapses) if s.pre in on_chip]
        self._known: dict[tuple[Any, ...], tuple[Ints, Ints]] = {}

    def outputs(self, cores: Cores, interchip: bool) -> Outputs:
        """Count what each core sends; with `interchip` every axon as one that leaves its chip."""
        extra = self._limits.extra_slots_interchip if interchip else 0
        pieces: dict[str, list[Slice]] = {p.name: [] for p in self._program.populations}
        owner: dict[str, list[int]] = {p.name: [] for p in self._program.populations}
        for number, slices in enumerate(cores):
            for piece in slices:
                pieces.setdefault(piece.population, []).append(piece)
                owner.setdefault(piece.population, []).append(number)
        slots = np.zeros(len(cores), np.int64)
        sends = np.zeros((len(cores), len(cores)), bool)
        for projection, pre, post in self._inside:
            axons, on_chip = self._between(projection, pieces[pre], pieces[post])
            senders, targets = np.array(owner[pre], dtype=int), np.array(owner[post], dtype=int)
            np.add.at(slots, senders, (on_chip + extra * axons).sum(axis=1))
            a, b = np.nonzero(axons)
            sends[senders[a], targets[b]] = True
        return Outputs(slots, sends.sum(axis=1))

    def _between(self, projection: int, pre: list[Slice], post: list[Slice]) -> tuple[Ints, Ints]:
        key = (
            projection,
            tuple((piece.start, piece.stop) for piece in pre),
            tuple((piece.start, piece.stop, piece.wirings) for piece in post),
        )
        if key not in self._known:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[key] = axons_between(self._program, projection, pre, post, self._limits)
        return self._known[key]


class Counts:
    """What slices use of a core, and what cores send.

    Parameters
    ----------
    program : Program
    limits : CoreLimits
    """

    def __init__(self, program: Program, limits: CoreLimits) -> None:
        self.program = program
        self.limits = limits
        self.wires = Wires(program, limits)
        self._bundles: dict[Slice, list[Bundle]] = {}
        self._used: dict[tuple[Slice, ...], dict[str, int]] = {}

    def bundles(self, slices: Sequence[Slice]) -> list[Bundle]:
        """All bundles of axons into a core."""
        made = []
        for piece in slices:
            if piece not in self._bundles:
                self._bundles[piece] = slice_bundles(self.program, piece, self.limits)
            made += self._bundles[piece]
        return made

    def used(self, slices: Sequence[Slice]) -> dict[str, int]:
        """What a core uses of each limit that its own slices decide."""
        key = tuple(slices)
        if key not in self._used:
            self._used[key] = core_usage(self.program, slices, self.bundles(slices), self.limits)
        return self._used[key]
