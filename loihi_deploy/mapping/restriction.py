"""Ways to wire a whole program with which no core breaks the rules on senders, as far as its projections allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Conv2D
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32
from loihi_deploy.mapping.senders import host_reads
from loihi_deploy.mapping.shapes import Shapes, projection_wirings


@dataclass(frozen=True)
class Restriction:
    """What plans may do.

    Parameters
    ----------
    axon : dict of {0, 16, 32}
        The type of all axons of a projection, by its number.
    sends_by : dict of {0, 16, 32}
        The type of all axons of a population, by its name; populations of different kinds share no core.
    whole : frozenset of str
        Populations whose slices hold all channels, so that all number the channels of their senders alike.
    uncut : frozenset of str
        Populations whose slices stay as they are, for the same reason.
    """

    axon: Mapping[int, int]
    sends_by: Mapping[str, int]
    whole: frozenset[str]
    uncut: frozenset[str]

    def allowed(self, shapes: Shapes) -> Shapes:
        """The shapes that are allowed."""
        ways = [all(self.axon.get(w.projection, w.axon) == w.axon for w in way) for way in shapes.wirings]
        kept = np.array(ways, dtype=bool)[shapes.way]
        if shapes.population in self.whole:
            kept &= shapes.box[:, 2] == shapes.grid[2]
        return shapes[np.flatnonzero(kept)]

    def go_together(self, a: str, b: str) -> bool:
        """Whether a core may hold some of both populations."""
        return (self.sends_by.get(a, DISCRETE) == DISCRETE) == (
            self.sends_by.get(b, DISCRETE) == DISCRETE
        ) or not {a, b} <= self.sends_by.keys()


def restrictions(program: Program, limits: CoreLimits) -> list[Restriction]:
    """Restrictions to try: as many population axons of one type or the other as there can be."""
    made: list[Restriction] = []
    for first, second in ((POP32, POP16), (POP16, POP32)):
        one = _restriction(program, limits, (first, second, DISCRETE))
        if one not in made:
            made.append(one)
    return made


def _restriction(program: Program, limits: CoreLimits, order: tuple[int, ...]) -> Restriction:
    axon: dict[int, int] = {}
    sends_by: dict[str, int] = {}
    whole: set[str] = set()
    uncut: set[str] = set()
    for population in program.populations:
        out = [i for i, synapses in enumerate(program.synapses) if synapses.pre == population.name]
        offers = [{wiring.axon for wiring in projection_wirings(program, i, limits)} for i in out]
        wanted = (DISCRETE, *order) if population.name in host_reads(program) else order
        common = [kind for kind in wanted if all(kind in offered for offered in offers)]
        if not out or not common:
            continue
        sends_by[population.name] = common[0]
        axon.update(dict.fromkeys(out, common[0]))
        for i in out if common[0] != DISCRETE else ():
            transform = program.synapses[i].transform
            if isinstance(transform, Conv2D) and transform.groups > 1:
                (whole if len(out) > 1 else uncut).add(program.synapses[i].post)
    return Restriction(axon, sends_by, frozenset(whole), frozenset(uncut))
