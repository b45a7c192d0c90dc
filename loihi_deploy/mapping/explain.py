"""Why a network does not fit, and what would make it fit: each remedy is tried before it is named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from loihi_deploy.chip.boards import board_names, load_board
from loihi_deploy.chip.hardware import Board, CoreLimits
from loihi_deploy.errors import Problem
from loihi_deploy.ir import Conv2D, Dense, Graph, Transform
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.rules import RULES
from loihi_deploy.mapping.shapes import Shapes, shapes_of

CountCores = Callable[[Program], int | None]
"""Cores that a program needs; None if it has no plan."""

_WHAT = {rule.name: rule.what for rule in RULES}


def no_shape(
    program: Program, board: Board, bounds: Mapping[str, int], tried: Shapes, forced: bool
) -> list[Problem]:
    """A population of which no slice fits a core: what each limit rejected, the nearest miss, and a remedy."""
    where = f"population '{tried.population}'"
    rejected = tried.rejected(bounds)
    over = np.max([used / bounds[name] for name, used in tried.usage.items()], axis=0)
    nearest = int(over.argmin())
    shape = "x".join(str(int(n)) for n in tried.box[nearest])
    missed = [name for name in rejected if rejected[name][nearest]]
    if forced:
        return [
            Problem(
                f"slices of {shape} need too many {_WHAT[name]}",
                where,
                int(tried.usage[name][nearest]),
                bounds[name],
                "Leave the shape to be found, or fix a smaller one",
            )
            for name in missed
        ]
    counts = ", ".join(f"{int(hits.sum())} by {_WHAT[name]}" for name, hits in rejected.items() if hits.any())
    remedy = _smaller_neuron(program, tried.population, board.chip.core, bounds)
    return [
        Problem(
            f"no slice fits on a core: of {len(tried)} shapes tried, limits rejected {counts}; "
            f"the nearest miss, {shape}, needs too many {_WHAT[name]}",
            where,
            int(tried.usage[name][nearest]),
            bounds[name],
            remedy,
        )
        for name in missed[:1]
    ]


def _smaller_neuron(program: Program, name: str, limits: CoreLimits, bounds: Mapping[str, int]) -> str:
    """Fewer inputs per neuron, so that at least one neuron fits a core."""
    for synapses in sorted(program.into(name), key=lambda s: -s.transform.in_size):
        channels = grids(program)[synapses.pre][2]
        most = _largest(
            channels - 1,
            lambda k, synapses=synapses: _fits(_alone(program, name, synapses, k), name, limits, bounds),  # type: ignore[misc]
        )
        if most:
            unit = "channels" if prod(grids(program)[synapses.pre][:2]) > 1 else "neurons"
            return f"Give '{synapses.pre}' {most} instead of {channels} {unit}"
    for step in range(2, 9):
        thinned = _thinned(program, name, step)
        if thinned is not None and _fits(thinned, name, limits, bounds):
            return f"Pool its inputs {step}x{step} before it"
    return "Give its neurons fewer inputs"


def _fits(program: Program | None, name: str, limits: CoreLimits, bounds: Mapping[str, int]) -> bool:
    return program is not None and len(shapes_of(program, name, limits).fitting(bounds)) > 0


def _alone(program: Program, name: str, changed: Synapses, channels: int) -> Program | None:
    """The population by itself, one of its senders with fewer channels."""
    sources: dict[str, SpikeSource] = {}
    synapses = []
    for into in program.into(name):
        grid = grids(program)[into.pre]
        transform: Transform | None = into.transform
        if into is changed:
            transform = fewer_inputs(into.transform, grid, channels)
            grid = (*grid[:2], channels)
        if transform is None or (into.pre in sources and sources[into.pre].shape != grid):
            return None
        sender = f"{into.pre} (sender)"  # a recurrent population is its own
        sources[into.pre] = SpikeSource(sender, grid)
        synapses.append(Synapses(sender, name, transform, into.shift))
    population = program.nodes[name]
    assert isinstance(population, Compartments)
    return _bare(program, tuple(sources.values()), (population,), tuple(synapses))


def _thinned(program: Program, name: str, step: int) -> Program | None:
    """The population by itself, seeing one pixel of `step` x `step`; None where it does not see images by a matrix."""
    into = program.into(name)
    if len(into) != 1 or not isinstance(into[0].transform, Dense) or into[0].pre == name:
        return None
    weights, grid = into[0].transform.weights, grids(program)[into[0].pre]
    kept = weights.reshape(len(weights), *grid)[:, ::step, ::step]
    population = program.nodes[name]
    assert isinstance(population, Compartments)
    synapses = Synapses("pooled", name, Dense(kept.reshape(len(weights), -1)), into[0].shift)
    shape = (int(kept.shape[1]), int(kept.shape[2]), int(kept.shape[3]))
    return _bare(program, (SpikeSource("pooled", shape),), (population,), (synapses,))


def _bare(
    program: Program,
    sources: tuple[SpikeSource, ...],
    populations: tuple[Compartments, ...],
    synapses: tuple[Synapses, ...],
) -> Program:
    """A program for the same chip, without its parts on the host."""
    nothing = Graph((), (), ())
    return Program(
        nothing, sources, populations, synapses, nothing, dt=program.dt, arithmetic=program.arithmetic
    )


def fewer_inputs(transform: Transform, grid: tuple[int, int, int], channels: int) -> Transform | None:
    """The transform without the last channels of its sender; None where that has no meaning."""
    if isinstance(transform, Conv2D):
        if transform.groups > 1 or transform.in_shape != grid:
            return None
        shape = (*transform.in_shape[:2], channels)
        return replace(transform, kernel=transform.kernel[:, :, :channels], in_shape=shape)
    if isinstance(transform, Dense):
        weights = transform.weights.reshape(transform.out_size, *grid)[..., :channels]
        return Dense(weights.reshape(transform.out_size, -1))
    return None


def fewer_outputs(transform: Transform, grid: tuple[int, int, int], channels: int) -> Transform | None:
    """The transform without the last channels of its target; None where that has no meaning."""
    if isinstance(transform, Conv2D):
        if transform.groups > 1 or transform.out_shape != grid:
            return None
        shape = (*transform.out_shape[:2], channels)
        return replace(transform, kernel=transform.kernel[..., :channels], out_shape=shape)
    if isinstance(transform, Dense):
        weights = transform.weights.reshape(*grid, transform.in_size)[:, :, :channels]
        return Dense(weights.reshape(-1, transform.in_size))
    return None


def with_channels(program: Program, name: str, channels: int) -> Program | None:
    """The program with fewer channels (filters) in one population; None where a projection of it cannot be cut."""
    grid = grids(program)[name]
    synapses = []
    for one in program.synapses:
        transform: Transform | None = one.transform
        if transform is not None and one.pre == name:
            transform = fewer_inputs(transform, grid, channels)
        if transform is not None and one.post == name:
            transform = fewer_outputs(transform, grid, channels)
        if transform is None:
            return None
        synapses.append(replace(one, transform=transform))
    populations = []
    for population in program.populations:
        if population.name == name:
            shape = (*grid[:2], channels) if len(population.shape) == 3 else (prod(grid[:2]) * channels,)
            bias = population.bias.reshape(grid)[..., :channels].reshape(-1)
            population = replace(population, shape=shape, bias=bias, initial_voltage=None)
        populations.append(population)
    return _bare(program, program.sources, tuple(populations), tuple(synapses))


def too_many_cores(
    program: Program, board: Board, options: Mapping[str, Shapes], needed: int, most: int, count: CountCores
) -> list[Problem]:
    """More cores needed than there are: where they go, and what would save enough of them."""
    alone = {name: int(shapes.n_slices.min()) for name, shapes in options.items()}
    largest = sorted(alone, key=lambda name: -alone[name])
    spent = ", ".join(f"'{name}' {alone[name]}" for name in largest[:5])
    helps = []
    if most >= board.n_cores:
        boards = [load_board(name) for name in board_names()]
        larger = [b for b in boards if b.chip == board.chip and b.n_cores >= needed]
        if larger:
            helps.append(f"Use the board {larger[0].name} instead of {board.name}")
    else:
        helps.append(f"Allow {needed} cores")
    fewer = _fewer_filters(program, largest, most, count)
    if fewer:
        helps.append(fewer if not helps else fewer[0].lower() + fewer[1:])
    return [
        Problem(
            f"too many cores; those with the most, before any core is shared: {spent}",
            "the network",
            needed,
            most,
            ", or ".join(helps) or "Use a smaller network",
        )
    ]


def _fewer_filters(program: Program, largest: list[str], most: int, count: CountCores) -> str:
    """The largest number of filters in one of some populations with which the cores suffice."""
    for name in largest[:3]:
        channels = grids(program)[name][2]

        def enough(k: int, name: str = name) -> bool:
            smaller = with_channels(program, name, k)
            needed = None if smaller is None else count(smaller)
            return needed is not None and needed <= most

        kept = _largest(channels - 1, enough)
        if kept:
            unit = "filters" if prod(grids(program)[name][:2]) > 1 else "neurons"
            return f"Give '{name}' {kept} instead of {channels} {unit}"
    return ""


def _largest(high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `high` that fits, if smaller ones do as well; 0 if none."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def no_combination(
    program: Program, board: Board, slots: Mapping[str, int], fixed: Collection[str], count: CountCores
) -> list[Problem]:
    """Each population fits cores, but no choice of shapes lets all of them send where they must.

    Parameters
    ----------
    slots : dict of int
        By population, output axon slots of its busiest core in a plan for which they are not limited.
    fixed : collection of str
        Populations whose shapes were given.
    """
    rule = next(rule for rule in RULES if rule.name == "out_axon_slots")
    remedy = "Use fewer neurons in the populations that it sends to"
    if fixed and count(program) is not None:
        given = ", ".join(f"'{name}'" for name in sorted(fixed))
        remedy = f"Leave the shapes of {given} to be found"
    problems = []
    for name, value in slots.items():
        if value > rule.limit(board):
            targets = {synapses.post for synapses in program.out_of(name)}
            largest = sorted(targets, key=lambda post: (-program.nodes[post].size, post))
            helps = _fewer_filters(program, largest, board.n_cores, count) if not fixed else remedy
            problems.append(
                Problem(
                    f"too many {rule.what}, whatever the shapes of slices" + " left free" * bool(fixed),
                    f"population '{name}'",
                    value,
                    rule.limit(board),
                    helps or remedy,
                )
            )
    return problems


def cannot_avoid(avoided: Collection[str]) -> list[Problem]:
    """No plan without something that is otherwise warned of."""
    rules = [rule for rule in RULES if rule.name in avoided]
    return [
        Problem(
            "no plan was found that avoids too many " + "; ".join(rule.what for rule in rules),
            "avoid",
            ", ".join(rule.name for rule in rules),
            remedy="Leave it out of avoid, and be warned of it instead",
        )
    ]


def no_such_number(name: str, wanted: int, fitting: Shapes) -> Problem:
    """A number of cores that no shape gives."""
    possible = np.unique(fitting.n_slices)
    near = possible[np.argsort(np.abs(possible - wanted), kind="stable")[:3]]
    return Problem(
        "no shape of slices gives this number of cores",
        f"fix '{name}'",
        wanted,
        remedy=f"Near it are: {', '.join(str(int(n)) for n in np.sort(near))}",
    )
