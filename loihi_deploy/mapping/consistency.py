"""Whether a mapping is one of a program: what a file with both must hold."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import prod

import numpy as np

from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.layout import as_convolution, grids


def width_problems(program: Program, board: Board) -> Iterable[Problem]:
    """Weights of widths in which the chip stores none."""
    full, most = board.chip.core.synapse_weight_bits, board.chip.core.max_narrow_weight_bits
    narrow = f"2 to {most}, or " if most > 1 else ""
    for synapses in program.synapses:
        bits = synapses.weight_bits
        if bits is not None and bits > most and bits != full:
            yield Problem(
                "the chip has no format for weights of so many bits",
                synapses.name,
                bits,
                f"{narrow}{full}",
                f"Store them with {full} bits, which hold the same weights",
            )


def delay_problems(program: Program, board: Board) -> Iterable[Problem]:
    """Delays that are longer than the chip's: of all projections between two layers, which may be many, the longest."""
    longest: dict[str, int] = {}
    for synapses in program.delayed:
        longest[synapses.name] = max(synapses.most_delay, longest.get(synapses.name, 0))
    for name, delay in longest.items():
        if delay > board.chip.core.max_delay:
            yield Problem(
                "spikes are held back for longer than the chip can",
                name,
                f"{delay} steps",
                board.chip.core.max_delay,
                "Shorten the delays; where they are frames of a sequence, show these for fewer steps, or use fewer or "
                "less dilated taps",
            )


def mapping_problems(program: Program, mapping: Mapping) -> Iterable[Problem]:
    """Slices, wirings, flows and rates that a program has no counterpart for."""
    yield from width_problems(program, mapping.board)
    yield from delay_problems(program, mapping.board)
    names = {population.name: population.size for population in program.populations}
    covered = {name: np.zeros(size, np.int64) for name, size in names.items()}
    grid_of = grids(program)
    for piece in (piece for core in mapping.cores for piece in core.slices):
        if piece.population not in names:
            yield Problem("a slice of what is not there", piece.population)
            continue
        grid = grid_of[piece.population]
        if any(stop > size for stop, size in zip(piece.stop, grid, strict=True)):
            yield Problem("a slice beyond its population", piece.population, piece.stop, grid)
            continue
        covered[piece.population][piece.neurons(grid)] += 1
        for wiring in piece.wirings:
            synapses = program.synapses[wiring.projection : wiring.projection + 1]
            if [s.post for s in synapses] != [piece.population]:
                yield Problem("a wiring of another projection", piece.population, wiring.projection)
            elif wiring.kind == "pixels":
                if as_convolution(program, wiring.projection) is None:
                    yield Problem("pixels of what is no convolution", piece.population, wiring.projection)
                elif wiring.compressed and piece.shape[:2] != (1, 1):
                    yield Problem("several positions without indices", piece.population, piece.shape)
        wired = sorted(wiring.projection for wiring in piece.wirings)
        into = [number for number, s in enumerate(program.synapses) if s.post == piece.population]
        if wired != into:
            yield Problem("projections into a slice that are not wired once", piece.population, wired, into)
    for core in mapping.cores:
        places = sorted((piece.offset, piece.offset + piece.n_compartments) for piece in core.slices)
        if any(stop != start for (_, stop), (start, _) in pairwise([(0, 0), *places])):
            what = "slices that share compartments, or leave some between them"
            yield Problem(what, f"chip {core.chip}, core {core.number}")
        if core.n_compartments > mapping.board.chip.core.max_compartments:
            found, limit = core.n_compartments, mapping.board.chip.core.max_compartments
            yield Problem(
                "more compartments than a core has", f"chip {core.chip}, core {core.number}", found, limit
            )
    for name, times in covered.items():
        if (times != 1).any():
            yield Problem("neurons that lie on no core, or on several", name, int((times != 1).sum()), 0)
    for plan in mapping.populations:
        if prod(plan.shape) != names.get(plan.name):
            yield Problem("a plan of what is not there", plan.name, plan.shape)
    nodes = {node.name for node in program.all_nodes}
    unknown = sorted({*mapping.senders, *(mapping.rates or {})} - nodes)
    if unknown:
        yield Problem("flows or rates of what is not there", ", ".join(unknown))
    if len(mapping.flows) and mapping.flows[:, 0].min() < -len(program.sources):
        yield Problem("flows of spike sources that are not there", "flows", int(mapping.flows[:, 0].min()))
