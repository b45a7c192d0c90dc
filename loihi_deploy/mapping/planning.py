"""Slices for every core: several plans are made, and the best of them is taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Board
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.counts import Cores, Counts
from loihi_deploy.mapping.packing import Packer
from loihi_deploy.mapping.restriction import Restriction, restrictions
from loihi_deploy.mapping.rules import SENDER_RULES, UNBOUND
from loihi_deploy.mapping.search import Coupling, all_couplings, choose, fullness, messages, pruned
from loihi_deploy.mapping.senders import sender_usage
from loihi_deploy.mapping.shapes import Shapes


@dataclass(frozen=True)
class Plan:
    """What every core holds.

    Parameters
    ----------
    cores : list of lists of Slice
    broken : frozenset of str
        Rules on senders that it breaks; all of them are warnings.
    messages : int
        That are sent if every neuron spikes once.
    """

    cores: Cores
    broken: frozenset[str]
    messages: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """Fewest cores first, then fewest rules broken, then fewest messages."""
        return len(self.cores), len(self.broken), self.messages


@dataclass(frozen=True)
class _Choices:
    """Shapes to choose from.

    Parameters
    ----------
    restriction : Restriction or None
        Under which they are all that is allowed.
    options : dict of Shapes
        By population.
    couplings : dict of Coupling
        Of them, by projection.
    """

    restriction: Restriction | None
    options: Mapping[str, Shapes]
    couplings: Mapping[int, Coupling]


class Planner:
    """Makes plans for a program.

    Parameters
    ----------
    program : Program
    board : Board
    bounds : dict of int
        Limits of a core by rule.
    options : dict of Shapes
        All shapes that fit a core, by population.
    fixed : collection of str
        Populations whose slices stay as they are cut.
    """

    def __init__(
        self,
        program: Program,
        board: Board,
        bounds: Mapping[str, int],
        options: Mapping[str, Shapes],
        fixed: Collection[str],
    ) -> None:
        self._program = program
        self._board = board
        self._bounds = bounds
        self._options = options
        self._fixed = fixed
        self._counts = Counts(program, board.chip.core)
        self._made: dict[tuple[bool, bool, bool], list[Plan]] = {}

    @cached_property
    def options(self) -> dict[str, Shapes]:
        """The best shapes of each population."""
        return {name: pruned(self._program, shapes, self._bounds) for name, shapes in self._options.items()}

    def best(self, avoid: Collection[str] = ()) -> Plan | None:
        """The best plan that breaks none of some warning rules; None if none was found.

        The limit on destinations is kept wherever a plan keeps it. Several chips are used where one does not do.
        """
        for bound, interchip in product((True, False), (False, True)):
            if not bound and "destinations" in avoid:
                continue
            found = self._plans(bound, interchip, restricted=False)
            if found and all(plan.broken for plan in found):
                found = [*found, *self._plans(bound, interchip, restricted=True)]
            suitable = [plan for plan in found if not plan.broken & set(avoid)]
            if suitable:
                return min(suitable, key=lambda plan: plan.rank)
        return None

    def _plans(self, bound: bool, interchip: bool, restricted: bool) -> list[Plan]:
        key = bound, interchip, restricted
        if key not in self._made:
            held = {**self._bounds, **({} if bound else {"destinations": UNBOUND})}
            self._made[key] = [
                plan
                for choices in (self._restricted if restricted else [self._free])
                for fractional in (False, True)
                if (plan := self._plan(choices, held, interchip, fractional)) is not None
            ]
        return self._made[key]

    @cached_property
    def _free(self) -> _Choices:
        """All shapes of every population."""
        limits = self._board.chip.core
        return _Choices(None, self.options, all_couplings(self._program, self.options, limits))

    @cached_property
    def _restricted(self) -> list[_Choices]:
        """What is left of them under each restriction that leaves some for every population."""
        program, limits, found = self._program, self._board.chip.core, []
        for restriction in restrictions(program, limits):
            allowed = {name: restriction.allowed(shapes) for name, shapes in self._options.items()}
            if all(map(len, allowed.values())):
                options = {name: pruned(program, shapes, self._bounds) for name, shapes in allowed.items()}
                found.append(_Choices(restriction, options, all_couplings(program, options, limits)))
        return found

    def _plan(
        self, choices: _Choices, bounds: Mapping[str, int], interchip: bool, fractional: bool
    ) -> Plan | None:
        program, limits = self._program, self._board.chip.core
        restriction, options = choices.restriction, choices.options
        fewest = sum(int(shapes.n_slices.min()) for shapes in options.values())
        if not interchip and fewest > 2 * self._board.chip.n_cores:
            return None  # sharing cannot bring that onto one chip
        costs = {name: cost(shapes, fractional, bounds) for name, shapes in options.items()}
        chosen = choose(
            program, options, choices.couplings, costs, limits, interchip=interchip, bounds=bounds
        )
        if chosen is None:
            return None
        order = {population.name: k for k, population in enumerate(program.populations)}
        cores = [[piece] for name, i in chosen.items() for piece in options[name].slices(i)]
        cores.sort(key=lambda slices: order[slices[0].population])
        uncut = {*self._fixed, *(restriction.uncut if restriction else ())}
        packer = Packer(self._counts, bounds, interchip, restriction)
        cores = packer.packed(cores, lambda name: name not in uncut)
        if not interchip and len(cores) > self._board.chip.n_cores:
            return None
        made = [self._counts.bundles(slices) for slices in cores]
        usage = sender_usage(program, cores, made)
        broken = {rule for rule in SENDER_RULES if any(used[rule] > bounds[rule] for used in usage)}
        messages_sent = sum(bundle.neurons.size for bundles in made for bundle in bundles)
        return Plan(cores, frozenset(broken), messages_sent)


def cost(shapes: Shapes, fractional: bool, bounds: Mapping[str, int]) -> NDArray[np.float64]:
    """Cores, and far behind them spikes to be sent, room to be used, and axons.

    The rest of a population that does not go up evenly counts as a whole core, or as a part of one where other
    populations may share it.
    """
    whole = np.prod(shapes.grid) / shapes.box.prod(axis=1) if fractional else shapes.n_slices
    axons = shapes.usage["in_axons"] * shapes.n_slices
    cost: NDArray[np.float64] = (
        whole + 1e-8 * messages(shapes) + 1e-9 * fullness(shapes, bounds) + 1e-13 * axons
    )
    return cost
