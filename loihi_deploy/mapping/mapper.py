"""From a program to a mapping: shapes, sharing, placement, accounting."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from typing import Any

import numpy as np

from loihi_deploy.checked import checked
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import InputError, MappingError, Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import explain
from loihi_deploy.mapping.assembly import assemble
from loihi_deploy.mapping.checking import (
    Fix,
    fix_problems,
    limit_problems,
    rate_problems,
    rule_problems,
)
from loihi_deploy.mapping.consistency import delay_problems, width_problems
from loihi_deploy.mapping.counts import Wires
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.planning import Plan, Planner, cost
from loihi_deploy.mapping.rules import CORE_RULES, UNBOUND
from loihi_deploy.mapping.search import all_couplings, choose, pruned
from loihi_deploy.mapping.shapes import Shapes, shapes_of, shapes_with_boxes


@checked
def map_to_cores(
    program: Program,
    board: BoardLike,
    *,
    fix: Fix | None = None,
    max_cores: int | None = None,
    downgrade: Collection[str] = (),
    avoid: Collection[str] = (),
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
    downgrade : collection of str
        Rules that are to be warned of instead of being obeyed; names as in ``loihi_deploy.mapping.RULES``.
    avoid : collection of str
        Rules that are only warned of otherwise, to be obeyed even if that takes more cores: 'destinations', 'atoms',
        'axon_kinds', 'probed_senders'.
    rates : dict of floats or arrays, optional
        Mean firing rate in Hz of each population and spike source, or of each of its neurons (what
        `loihi_deploy.mean_rates` gives), to place by; without it all count alike.

    Returns
    -------
    Mapping

    Raises
    ------
    InputError
        If an option is not usable.
    MappingError
        If the program does not fit, with every limit that is broken and what would help.
    """
    if not isinstance(program, Program):
        raise InputError.single("not a program", "program", type(program).__name__, "what `quantize` gives")
    board = as_board(board)
    fix = {} if fix is None else fix
    problems = [
        *fix_problems(program, fix),
        *limit_problems(max_cores),
        *rule_problems(downgrade, avoid),
        *rate_problems(program, rates),
    ]
    if problems:
        raise InputError(f"Cannot map the network to {board.name}", problems)
    checks = _arithmetic_problems, width_problems, delay_problems
    if problems := [problem for check in checks for problem in check(program, board)]:
        raise MappingError(f"Cannot map the network to {board.name}", problems)
    lenient, avoided = frozenset(downgrade), frozenset(avoid)
    if rates is not None:
        rates = {name: float(np.mean(of_neurons)) for name, of_neurons in rates.items()}
    bounds = {rule.name: UNBOUND if rule.name in lenient else rule.limit(board) for rule in CORE_RULES}
    planner = Planner(program, board, bounds, _options(program, board, bounds, fix), set(fix))
    plan = planner.best(avoided)
    if plan is None:
        raise MappingError(
            f"The network does not fit on {board.name}",
            explain.cannot_avoid(avoided)
            if avoided and planner.best() is not None
            else explain.no_combination(
                program,
                board,
                _most_slots(program, board, bounds, planner.options),
                set(fix),
                _counter(board, bounds),
            ),
        )
    most = min(board.n_cores, max_cores or board.n_cores)
    if len(plan.cores) > most and "chips" not in lenient:
        raise MappingError(
            f"The network does not fit on {board.name}"
            if max_cores is None
            else "The network needs too many cores",
            explain.too_many_cores(
                program, board, planner.options, len(plan.cores), most, _counter(board, bounds)
            ),
        )
    return assemble(program, board, plan.cores, lenient, rates, _remedies(planner, plan, avoided))


def _remedies(planner: Planner, plan: Plan, avoided: Collection[str]) -> dict[str, str]:
    """What a plan without the broken rules on senders would cost, for each of them."""
    remedies = {}
    for rule in plan.broken:
        names = sorted({*avoided, rule})
        other = planner.best(names)
        remedies[rule] = (
            "No plan without them was found"
            if other is None
            else f"avoid={names} gives a plan without them, on {len(other.cores)} cores instead of {len(plan.cores)}"
        )
    return remedies


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


def _options(program: Program, board: Board, bounds: MappingOf[str, int], fix: Fix) -> dict[str, Shapes]:
    """Shapes to choose from for each population, all of which fit a core."""
    limits = board.chip.core
    options: dict[str, Shapes] = {}
    problems: list[Problem] = []
    for population in program.populations:
        name = population.name
        wanted = fix.get(name)
        if wanted is None or isinstance(wanted, int | np.integer):
            tried = shapes_of(program, name, limits)
        else:
            box = (1, 1, *wanted)[-3:]
            tried = shapes_with_boxes(program, name, np.array([box], dtype=np.int64), limits)
        fitting = tried.fitting(bounds)
        if not len(fitting):
            problems += explain.no_shape(program, board, bounds, tried, forced=wanted is not None)
            continue
        if isinstance(wanted, int | np.integer):
            cut_for = fitting.n_slices == wanted
            if not cut_for.any():
                problems.append(explain.no_such_number(name, int(wanted), fitting))
                continue
            fitting = fitting[np.flatnonzero(cut_for)]
        options[name] = fitting
    if problems:
        raise MappingError(f"The network does not fit on the cores of {board.name}", problems)
    return options


def _most_slots(
    program: Program, board: Board, bounds: MappingOf[str, int], options: MappingOf[str, Shapes]
) -> dict[str, int]:
    """Output axon slots that the busiest core of each population would use if they were not limited."""
    limits = board.chip.core
    couplings = all_couplings(program, options, limits)
    costs = {name: cost(shapes, False, bounds) for name, shapes in options.items()}
    unbound = {**bounds, "out_axon_slots": UNBOUND, "destinations": UNBOUND}
    chosen = choose(program, options, couplings, costs, limits, interchip=False, bounds=unbound)
    assert chosen is not None, "without limits on outputs any shapes go together"
    cores = [[piece] for name, i in chosen.items() for piece in options[name].slices(i)]
    most: dict[str, int] = {}
    for slices, slots in zip(
        cores, Wires(program, limits).outputs(cores, interchip=False).slots, strict=True
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
        costs = {name: cost(shapes, False, bounds) for name, shapes in options.items()}
        several = sum(int(shapes.n_slices.min()) for shapes in options.values()) > board.chip.n_cores
        chosen = choose(program, options, couplings, costs, limits, interchip=several, bounds=bounds)
        if chosen is None:
            return None
        return sum(int(options[name].n_slices[i]) for name, i in chosen.items())

    return count
