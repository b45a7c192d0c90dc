"""Whether a mapping is one of a program: what a file with both must hold."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.layout import grids


def mapping_problems(program: Program, mapping: Mapping) -> Iterable[Problem]:
    """Slices, wirings, flows and rates that a program has no counterpart for."""
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
    for core in mapping.cores:
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
