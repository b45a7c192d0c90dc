"""From a program to a mapping: shapes, sharing, placement, accounting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import MappingError, Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import explain
from loihi_deploy.mapping.bounds import lower_bounds
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.packing import Cores, Packer, Wires
from loihi_deploy.mapping.placement import assign_chips, assign_tiles, traffic_matrix
from loihi_deploy.mapping.plan import Core, Mapping, PopulationPlan, Slice
from loihi_deploy.mapping.resources import (
    CORE_RULES,
    RULES,
    Traffic,
    add_output_usage,
    broken,
    core_of_neurons,
    core_usage,
    slice_bundles,
    traffic,
)
from loihi_deploy.mapping.search import all_couplings, choose, fullness, messages, pruned
from loihi_deploy.mapping.shapes import Shapes, shapes_of, shapes_with_boxes

Fix = MappingOf[str, int | Sequence[int]]

_UNBOUND = int(np.iinfo(np.int32).max)


def map_to_cores(
    program: Program,
    board: Board | str | Path,
    *,
    fix: Fix | None = None,
    max_cores: int | None = None,
    downgrade: Iterable[str] = (),
    rates: MappingOf[str, float] | None = None,
) -> Mapping:
    """Split a program's populations into slices and place them on the cores of a board.

    Parameters
    ----------
    program : Program
    board : Board, str or Path
        A board, or what `load_board` takes.
    fix : dict, optional
        By population: the shape of its slices, (height, width, channels) or (n,), or the number of cores it is cut for.
        These are kept as they are; the rest is found.
    max_cores : int, optional
        Use no more cores than this.
    downgrade : iterable of str
        Rules that are to be warned of instead of being obeyed; names as in ``loihi_deploy.mapping.RULES``.
    rates : dict of float, optional
        Mean firing rate in Hz of each population and spike source, to place by; without it all count alike.

    Returns
    -------
    Mapping

    Raises
    ------
    MappingError
        If the program does not fit, or the options cannot be met, with every limit that is broken and what would help.
    """
    board = board if isinstance(board, Board) else load_board(board)
    lenient = frozenset(downgrade)
    problems = list(_option_problems(program, fix or {}, max_cores, lenient, rates))
    if problems:
        raise MappingError(f"Cannot map the network to {board.name}", problems)
    bounds = {rule.name: _UNBOUND if rule.name in lenient else rule.limit(board) for rule in CORE_RULES}
    options = _options(program, board, bounds, fix or {})
    cores = _plan(program, board, bounds, options, set(fix or {}))
    most = min(board.n_cores, max_cores or board.n_cores)
    if len(cores) > most and "chips" not in lenient:
        raise MappingError(
            f"The network does not fit on {board.name}"
            if max_cores is None
            else "The network needs too many cores",
            explain.too_many_cores(program, board, options, len(cores), most, _counter(board, bounds)),
        )
    return assemble(program, board, cores, lenient, rates)


def _option_problems(
    program: Program,
    fix: Fix,
    max_cores: int | None,
    lenient: frozenset[str],
    rates: MappingOf[str, float] | None,
) -> Iterable[Problem]:
    names = [population.name for population in program.populations]
    for name, wanted in fix.items():
        if name not in names:
            yield Problem("no such population on chip", f"fix '{name}'", name, ", ".join(names))
            continue
        grid = grids(program)[name]
        numbers = [wanted] if isinstance(wanted, (int, np.integer)) else list(wanted)
        shaped = not isinstance(wanted, (int, np.integer))
        if not all(isinstance(n, (int, np.integer)) and n > 0 for n in numbers) or not numbers:
            yield Problem("sizes must be positive integers", f"fix '{name}'", wanted)
        elif shaped and len(numbers) not in ((3,) if grid[:2] != (1, 1) else (1, 3)):
            yield Problem("not a shape of slices", f"fix '{name}'", wanted, "(height, width, channels)")
        elif shaped and any(n > size for n, size in zip(numbers[::-1], grid[::-1], strict=False)):
            yield Problem("slices larger than the population", f"fix '{name}'", tuple(numbers), grid)
    if max_cores is not None and max_cores < 1:
        yield Problem("must be at least 1", "max_cores", max_cores)
    known = [rule.name for rule in RULES]
    for rule in sorted(lenient - set(known)):
        yield Problem("no such rule", "downgrade", rule, ", ".join(known))
    if rates is not None:
        missing = [name for name in program.nodes if name not in rates]
        bad = [name for name in program.nodes if name in rates and not 0 <= rates[name] < np.inf]
        if missing:
            yield Problem("firing rates are missing", "rates", ", ".join(missing))
        if bad:
            yield Problem("firing rates must be finite and not negative", "rates", ", ".join(bad))


def _options(program: Program, board: Board, bounds: MappingOf[str, int], fix: Fix) -> dict[str, Shapes]:
    """Shapes to choose from for each population, all of which fit a core."""
    limits = board.chip.core
    options: dict[str, Shapes] = {}
    problems: list[Problem] = []
    for population in program.populations:
        name = population.name
        wanted = fix.get(name)
        if wanted is None or isinstance(wanted, (int, np.integer)):
            tried = shapes_of(program, name, limits)
        else:
            box = (1, 1, *wanted)[-3:]
            tried = shapes_with_boxes(program, name, np.array([box], dtype=np.int64), limits)
        fitting = tried.fitting(bounds)
        if not len(fitting):
            problems += explain.no_shape(program, board, bounds, tried, forced=wanted is not None)
            continue
        if isinstance(wanted, (int, np.integer)):
            cut_for = fitting.n_slices == wanted
            if not cut_for.any():
                problems.append(explain.no_such_number(name, int(wanted), fitting))
                continue
            fitting = fitting[np.flatnonzero(cut_for)]
        options[name] = pruned(program, fitting, bounds)
    if problems:
        raise MappingError(f"The network does not fit on the cores of {board.name}", problems)
    return options


def _plan(
    program: Program,
    board: Board,
    bounds: MappingOf[str, int],
    options: MappingOf[str, Shapes],
    fixed: set[str],
) -> Cores:
    """Slices for every core: the fewest cores of several plans, and of those the one that sends least."""
    limits = board.chip.core
    fewest = sum(int(shapes.n_slices.min()) for shapes in options.values())
    couplings = all_couplings(program, options, limits)
    order = {population.name: k for k, population in enumerate(program.populations)}
    soft = {rule.name: _UNBOUND for rule in CORE_RULES if rule.severity == "warning"}
    for held, interchip in product((bounds, {**bounds, **soft}), (False, True)):
        if not interchip and fewest > 2 * board.chip.n_cores:
            continue  # sharing cannot bring that onto one chip
        best: tuple[tuple[int, int], Cores] | None = None
        for fractional in (False, True):
            costs = {name: _cost(shapes, fractional, held) for name, shapes in options.items()}
            chosen = choose(program, options, couplings, costs, limits, interchip=interchip, bounds=held)
            if chosen is None:
                continue
            cores = [[piece] for name, i in chosen.items() for piece in options[name].slices(i)]
            cores.sort(key=lambda slices: order[slices[0].population])
            packer = Packer(program, limits, held, interchip)
            cores = packer.packed(cores, lambda name: name not in fixed)
            if interchip or len(cores) <= board.chip.n_cores:
                rank = len(cores), packer.messages(cores)
                if best is None or rank < best[0]:
                    best = rank, cores
        if best is not None:
            return best[1]
    raise MappingError(
        f"The network does not fit on {board.name}",
        explain.no_combination(
            program, board, _most_slots(program, board, bounds, options), fixed, _counter(board, bounds)
        ),
    )


def _most_slots(
    program: Program, board: Board, bounds: MappingOf[str, int], options: MappingOf[str, Shapes]
) -> dict[str, int]:
    """Output axon slots that the busiest core of each population would use if they were not limited."""
    limits = board.chip.core
    couplings = all_couplings(program, options, limits)
    costs = {name: _cost(shapes, False, bounds) for name, shapes in options.items()}
    unbound = {**bounds, "out_axon_slots": _UNBOUND, "destinations": _UNBOUND}
    chosen = choose(program, options, couplings, costs, limits, interchip=False, bounds=unbound)
    assert chosen is not None, "without limits on outputs any shapes go together"
    cores = [[piece] for name, i in chosen.items() for piece in options[name].slices(i)]
    most: dict[str, int] = {}
    for slices, slots in zip(
        cores, Wires(program, limits, interchip=False).outputs(cores).slots, strict=True
    ):
        name = slices[0].population
        most[name] = max(most.get(name, 0), int(slots))
    return most


def _counter(board: Board, bounds: MappingOf[str, int]) -> explain.CountCores:
    """A function that counts the cores that a program needs, before sharing; None if it has no plan."""
    limits = board.chip.core

    def count(program: Program) -> int | None:
        options = {}
        for population in program.populations:
            fitting = shapes_of(program, population.name, limits).fitting(bounds)
            if not len(fitting):
                return None
            options[population.name] = pruned(program, fitting, bounds)
        couplings = all_couplings(program, options, limits)
        costs = {name: _cost(shapes, False, bounds) for name, shapes in options.items()}
        several = sum(int(shapes.n_slices.min()) for shapes in options.values()) > board.chip.n_cores
        chosen = choose(program, options, couplings, costs, limits, interchip=several, bounds=bounds)
        if chosen is None:
            return None
        return sum(int(options[name].n_slices[i]) for name, i in chosen.items())

    return count


def _cost(shapes: Shapes, fractional: bool, bounds: MappingOf[str, int]) -> NDArray[np.float64]:
    """Cores, and far behind them spikes to be sent and room to be used.

    The rest of a population that does not go up evenly counts as a whole core, or as a part of one where other
    populations may share it.
    """
    whole = np.prod(shapes.grid) / shapes.box.prod(axis=1) if fractional else shapes.n_slices
    cost: NDArray[np.float64] = whole + 1e-8 * messages(shapes) + 1e-9 * fullness(shapes, bounds)
    return cost


def assemble(
    program: Program,
    board: Board,
    cores: Sequence[Sequence[Slice]],
    lenient: frozenset[str] = frozenset(),
    rates: MappingOf[str, float] | None = None,
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
    order = np.lexsort([number_of, chip_of])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    placed = tuple(
        Core(
            int(chip_of[k]),
            int(number_of[k]),
            tuple(cores[k]),
            {name: int(n) for name, n in usage[k].items()},
        )
        for k in order
    )
    sources = [source.name for source in program.sources]
    flows.sort(
        key=lambda flow: (
            flow.population,
            rank[flow.pre] if isinstance(flow.pre, int) else -1,
            rank[flow.post],
        )
    )
    table = np.array(
        [
            (
                rank[flow.pre] if isinstance(flow.pre, int) else -1 - sources.index(flow.pre),
                rank[flow.post],
                flow.axons,
                flow.slots,
                flow.neurons,
            )
            for flow in flows
        ],
        dtype=np.int64,
    ).reshape(-1, 5)

    names = [f"core with {', '.join(f'{name!r}' for name in core.populations)}" for core in placed]
    found = broken([core.usage for core in placed], names, board)
    chips = sorted(set(chip_of.tolist()))
    on_chip = [{"cores": int((chip_of == chip).sum())} for chip in chips]
    if rates is not None:
        for chip, used in zip(chips, on_chip, strict=True):
            used["host_spikes"] = _host_spikes(program, flows, chip_of, chip, rates)
    found += broken(on_chip, [f"chip {chip}" for chip in chips], board, "chip")
    found += broken([{"chips": len(chips)}], ["the network"], board, "board")
    errors = [problem for rule, problem in found if rule.severity == "error" and rule.name not in lenient]
    if errors:
        raise MappingError(f"The network does not fit on {board.name}", errors)
    plans = tuple(
        _population_plan(program, population.name, placed, board) for population in program.populations
    )
    return Mapping(
        program.digest,
        asdict(board),
        placed,
        plans,
        table,
        tuple(flow.population for flow in flows),
        tuple(str(problem) for _, problem in found),
        None if rates is None else {name: float(rates[name]) for name in program.nodes},
    )


def _places(
    board: Board,
    cores: Sequence[Sequence[Slice]],
    flows: Sequence[Traffic],
    rates: MappingOf[str, float] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    chip_of: NDArray[np.int64],
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
