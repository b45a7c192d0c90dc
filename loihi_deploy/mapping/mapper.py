"""From a program to a mapping: shapes, sharing, placement, accounting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import MappingError, Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import explain
from loihi_deploy.mapping.assembly import assemble
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.packing import Cores, Packer, Wires
from loihi_deploy.mapping.rules import CORE_RULES, RULES
from loihi_deploy.mapping.search import all_couplings, choose, fullness, messages, pruned
from loihi_deploy.mapping.shapes import Shapes, shapes_of, shapes_with_boxes

Fix = MappingOf[str, int | Sequence[int]]

_UNBOUND = int(np.iinfo(np.int32).max)


def map_to_cores(
    program: Program,
    board: BoardLike,
    *,
    fix: Fix | None = None,
    max_cores: int | None = None,
    downgrade: Iterable[str] = (),
    rates: MappingOf[str, Any] | None = None,
) -> Mapping:
    """Split a program's populations into slices and place them on the cores of a board.

    Parameters
    ----------
    program : Program
    board : str, path, Board or Chip
        Name of a board, path of a board file, a board, or a single chip.
    fix : dict, optional
        By population: the shape of its slices, (height, width, channels) or (n,), or the number of cores it is cut for.
        These are kept as they are; the rest is found.
    max_cores : int, optional
        Use no more cores than this.
    downgrade : iterable of str
        Rules that are to be warned of instead of being obeyed; names as in ``loihi_deploy.mapping.RULES``.
    rates : dict of floats or arrays, optional
        Mean firing rate in Hz of each population and spike source, or of each of its neurons (what
        `loihi_deploy.mean_rates` gives), to place by; without it all count alike.

    Returns
    -------
    Mapping

    Raises
    ------
    MappingError
        If the program does not fit, or the options cannot be met, with every limit that is broken and what would help.
    """
    board = as_board(board)
    if rates is not None:
        rates = {name: float(np.mean(of_neurons)) for name, of_neurons in rates.items()}
    lenient = frozenset(downgrade)
    problems = [
        *_arithmetic_problems(program, board),
        *_option_problems(program, fix or {}, max_cores, lenient, rates),
    ]
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


def _arithmetic_problems(program: Program, board: Board) -> Iterable[Problem]:
    """Numbers in which a board's chip differs from the chip that a program was made for."""
    theirs, ours = asdict(board.chip.arithmetic), asdict(program.arithmetic)
    for key, value in theirs.items():
        if value != ours[key]:
            yield Problem(
                "the program was made for a chip with another number",
                f"board '{board.name}', key 'arithmetic.{key}'",
                value,
                ours[key],
                "Quantize the network for this board's chip",
            )


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
