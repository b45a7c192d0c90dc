"""From slices on cores to a mapping: placement, accounting, rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import MappingError, Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.bounds import lower_bounds
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.placement import assign_chips, assign_tiles, traffic_matrix
from loihi_deploy.mapping.plan import Core, PopulationPlan, Slice
from loihi_deploy.mapping.rules import Rule, broken
from loihi_deploy.mapping.senders import sender_usage
from loihi_deploy.mapping.traffic import Traffic, add_output_usage, core_of_neurons, traffic
from loihi_deploy.mapping.usage import core_usage, slice_bundles

Ints = NDArray[np.int64]


def assemble(
    program: Program,
    board: Board,
    cores: Sequence[Sequence[Slice]],
    lenient: frozenset[str] = frozenset(),
    rates: MappingOf[str, float] | None = None,
    remedies: MappingOf[str, str] | None = None,
) -> Mapping:
    """Place a list of cores, account for everything they use, and hold it against the rules.

    Parameters
    ----------
    program : Program
    board : Board
    cores : sequence of sequences of Slice
        What each core holds, offsets included.
    lenient : frozenset of str
        Rules that are only warned of.
    rates : dict of float, optional
        See `map_to_cores`.
    remedies : dict of str, optional
        Instead of those of the rules, by their names.

    Raises
    ------
    MappingError
        With every rule that is broken.
    """
    limits = board.chip.core
    made = [
        [bundle for piece in slices for bundle in slice_bundles(program, piece, limits)] for slices in cores
    ]
    usage = [
        core_usage(program, slices, bundles, limits) for slices, bundles in zip(cores, made, strict=True)
    ]
    flows = traffic(program, made, core_of_neurons(program, cores, grids(program)), limits)
    chip_of, number_of = _places(board, cores, flows, rates)
    add_output_usage(usage, flows, chip_of.tolist(), limits)
    for used, of_senders in zip(usage, sender_usage(program, cores, made), strict=True):
        used.update(of_senders)
    order = np.lexsort([number_of, chip_of])
    placed = tuple(
        Core(
            int(chip_of[k]),
            int(number_of[k]),
            tuple(cores[k]),
            {name: int(n) for name, n in usage[k].items()},
        )
        for k in order
    )
    found = _broken_rules(program, board, placed, flows, chip_of, rates, remedies)
    errors = [problem for rule, problem in found if rule.severity == "error" and rule.name not in lenient]
    if errors:
        raise MappingError(f"The network does not fit on {board.name}", errors)
    table, senders = _flow_table(program, flows, order)
    plans = tuple(
        _population_plan(program, population.name, placed, board) for population in program.populations
    )
    return Mapping(
        program.digest,
        asdict(board),
        placed,
        plans,
        table,
        senders,
        tuple(str(problem) for _, problem in found),
        None if rates is None else {name: float(rates[name]) for name in program.nodes},
    )


def _broken_rules(
    program: Program,
    board: Board,
    placed: Sequence[Core],
    flows: Sequence[Traffic],
    chip_of: Ints,
    rates: MappingOf[str, float] | None,
    remedies: MappingOf[str, str] | None,
) -> list[tuple[Rule, Problem]]:
    """Rules that cores, chips or the board break."""
    names = [f"core with {', '.join(f'{name!r}' for name in core.populations)}" for core in placed]
    chips = sorted(set(chip_of.tolist()))
    on_chip: list[dict[str, int]] = [{} for _ in chips]
    if rates is not None:
        on_chip = [{"host_spikes": _host_spikes(program, flows, chip_of, chip, rates)} for chip in chips]
    return [
        *broken([core.usage for core in placed], names, board, remedies=remedies),
        *broken(on_chip, [f"chip {chip}" for chip in chips], board, "chip"),
        *broken([{"chips": len(chips)}], ["the network"], board, "board"),
    ]


def _flow_table(program: Program, flows: Sequence[Traffic], order: Ints) -> tuple[Ints, tuple[str, ...]]:
    """`Mapping.flows` and `Mapping.senders`, for cores in a new order."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    sources = [source.name for source in program.sources]

    def sender(flow: Traffic) -> int:
        return int(rank[flow.pre]) if isinstance(flow.pre, int) else -1 - sources.index(flow.pre)

    ordered = sorted(flows, key=lambda flow: (flow.population, sender(flow), rank[flow.post]))
    rows = [(sender(flow), rank[flow.post], flow.axons, flow.slots, flow.neurons) for flow in ordered]
    return np.array(rows, dtype=np.int64).reshape(-1, 5), tuple(flow.population for flow in ordered)


def _places(
    board: Board,
    cores: Sequence[Sequence[Slice]],
    flows: Sequence[Traffic],
    rates: MappingOf[str, float] | None,
) -> tuple[Ints, Ints]:
    """Chip of each core, and its number there."""
    weights = traffic_matrix(len(cores), flows, rates)
    chip_of = assign_chips(weights, board.chip.n_cores, _orders(cores))
    number_of = np.zeros(len(cores), np.int64)
    for chip in set(chip_of.tolist()):
        here = np.flatnonzero(chip_of == chip)
        number_of[here] = assign_tiles(weights[np.ix_(here, here)], board.chip)
    return chip_of, number_of


def _orders(cores: Sequence[Sequence[Slice]]) -> list[list[int]]:
    """Orders in which to fill chips: along the network, and along the rows of its images."""
    numbers = list(range(len(cores)))
    heights: dict[str, int] = {}
    for piece in (piece for slices in cores for piece in slices):
        heights[piece.population] = max(heights.get(piece.population, 1), piece.stop[0])

    def row(k: int) -> float:
        first = cores[k][0]
        return (first.start[0] + first.stop[0]) / (2 * heights[first.population])

    return [numbers, sorted(numbers, key=lambda k: (row(k), k))]


def _host_spikes(
    program: Program,
    flows: Iterable[Traffic],
    chip_of: Ints,
    chip: int,
    rates: MappingOf[str, float],
) -> int:
    """Spikes per step that the host sends to a chip, one for each core that a spike goes to."""
    per_second = sum(
        flow.neurons * rates[flow.population]
        for flow in flows
        if isinstance(flow.pre, str) and chip_of[flow.post] == chip
    )
    return int(np.ceil(per_second * program.dt - 1e-9))


def _population_plan(program: Program, name: str, cores: Sequence[Core], board: Board) -> PopulationPlan:
    holders = [core for core in cores if name in core.populations]
    shapes = [piece.shape for core in holders for piece in core.slices if piece.population == name]
    return PopulationPlan(
        name,
        tuple(program.nodes[name].shape),
        max(shapes, key=lambda shape: (shapes.count(shape), shape)),
        len(shapes),
        len(holders),
        sum(len(core.populations) > 1 for core in holders),
        lower_bounds(program, name, board.chip.core),
    )
