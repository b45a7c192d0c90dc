"""What a plan consists of: slices of populations, the cores that hold them, and how spikes are wired to them.

Every population is seen as a grid (height, width, channels) here; a flat one of n neurons is (1, 1, n). See
`loihi_deploy.mapping.layout.grid_shape`.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.ir.checks import MAX_SIZE, check_fields
from loihi_deploy.ir.content import Content

Grid = tuple[int, int, int]

DISCRETE, POP16, POP32 = 0, 16, 32
"""Axon types, numbered as in nengo-loihi."""


@dataclass(frozen=True, eq=False)
class Wiring(Content):
    """How one projection reaches a slice.

    Parameters
    ----------
    projection : int
        Index into ``program.synapses``.
    kind : {'rows', 'pixels'}
        'rows': one discrete axon per neuron of the sender, with weights of its own. 'pixels': one axon per pixel of the
        sender, whose channels are the axon's atoms; pixels that see the same part of the kernel share a set of weights.
    axon : {0, 16, 32}
        Discrete, pop16 or pop32.
    channels : int
        Most channels (atoms) per axon.
    compressed : bool
        Weights to consecutive compartments are stored without indices: 'rows', and 'pixels' onto a single position,
        where all channels of a slice lie one behind the other.
    """

    projection: int
    kind: Literal["rows", "pixels"]
    axon: int = DISCRETE
    channels: int = 1
    compressed: bool = False

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        known = self.axon in (DISCRETE, POP16, POP32) and self.channels >= 1 and self.projection >= 0
        alone = self.axon != DISCRETE or self.channels == 1
        if not known or not alone or (self.kind == "rows" and self.axon != DISCRETE):
            yield Problem("not a wiring", "Wiring", repr(self))


@dataclass(frozen=True, eq=False)
class Slice(Content):
    """A box of a population that lies on one core.

    Neuron (y, x, c) of the box has compartment
    ``offset + lead + (c // lane * rows * columns + y * columns + x) * lane + c % lane``: channels lie together in
    lanes, positions run within a lane. ``lane = 1`` is channel-major order, a lane of all channels is the order of the
    population itself. ``rows`` and ``columns`` are those of the box and its margin.

    The margin is compartments that stand for outputs just outside the box. Synapses onto them do nothing, since they
    have no axons; but with them every pixel of a sender can use the whole kernel, where without them pixels at the
    edges need sets of weights of their own. A margin below a row or plane is that above the next; ``lead`` is that
    before the first.

    Parameters
    ----------
    population : str
    start, stop : (int, int, int)
        First row, column and channel, and those behind the last, in the population's grid.
    offset : int
        First compartment on the core.
    lane : int
        Divides the number of channels of the box.
    margin : (int, int)
        Rows and columns.
    wirings : tuple of Wiring
        One for each projection into the population.
    """

    population: str
    start: Grid
    stop: Grid
    offset: int = 0
    lane: int = 1
    margin: tuple[int, int] = (0, 0)
    wirings: tuple[Wiring, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        box = all(0 <= a < b <= MAX_SIZE for a, b in zip(self.start, self.stop, strict=True))
        fits = box and self.offset >= 0 and self.lane >= 1 and self.shape[2] % self.lane == 0
        if not fits or min(self.margin) < 0:
            yield Problem("not a slice of a population", self.population, repr(self))

    @property
    def shape(self) -> Grid:
        """Rows, columns and channels."""
        (y0, x0, c0), (y1, x1, c1) = self.start, self.stop
        return y1 - y0, x1 - x0, c1 - c0

    @property
    def size(self) -> int:
        """Neurons in the slice."""
        return prod(self.shape)

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns, with the margin."""
        return self.shape[0] + self.margin[0], self.shape[1] + self.margin[1]

    @property
    def lead(self) -> int:
        """Compartments of the margin before the first neuron."""
        return (self.margin[0] * self.plane[1] + self.margin[1]) * self.lane

    @property
    def n_compartments(self) -> int:
        """Compartments on the core: the neurons and the margin."""
        return self.lead + self.shape[2] * prod(self.plane)

    def compartments(self) -> NDArray[np.int64]:
        """Compartment of each neuron, in the order of `neurons`."""
        rows, columns = self.plane
        lanes = np.arange(self.shape[2] // self.lane).reshape(-1, 1, 1, 1) * (rows * columns)
        y = np.arange(self.shape[0]).reshape(1, -1, 1, 1) * columns
        x = np.arange(self.shape[1]).reshape(1, 1, -1, 1)
        inside: NDArray[np.int64] = (lanes + y + x) * self.lane + np.arange(self.lane)
        return self.offset + self.lead + inside.reshape(-1)

    def margins(self) -> NDArray[np.int64]:
        """Compartments of the margin, rising."""
        mine = np.arange(self.offset, self.offset + self.n_compartments)
        return mine[~np.isin(mine, self.compartments())]

    def neurons(self, grid: Grid) -> NDArray[np.int64]:
        """Flat indices of its neurons in the population, in the order of the compartments."""
        (y0, x0, c0), (y1, x1, c1) = self.start, self.stop
        channels = np.arange(c0, c1).reshape(-1, 1, 1, self.lane)
        rows = np.arange(y0, y1).reshape(1, -1, 1, 1)
        columns = np.arange(x0, x1).reshape(1, 1, -1, 1)
        return ((rows * grid[1] + columns) * grid[2] + channels).reshape(-1)


@dataclass(frozen=True, eq=False)
class Core(Content):
    """A neurocore in use.

    Parameters
    ----------
    chip : int
    number : int
        On its chip; tile ``number // cores_per_tile``.
    slices : tuple of Slice
    usage : dict
        What it uses of each limit, by the limit's name.
    """

    chip: int
    number: int
    slices: tuple[Slice, ...]
    usage: MappingOf[str, int]

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def n_compartments(self) -> int:
        """Compartments in use, margins included."""
        return sum(piece.n_compartments for piece in self.slices)

    @property
    def n_neurons(self) -> int:
        """Neurons that it holds."""
        return sum(piece.size for piece in self.slices)

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations that it holds some of."""
        return tuple(dict.fromkeys(piece.population for piece in self.slices))


def whole_cores(thousandths: float) -> int:
    """Cores for some thousandths of one, rounded up; what floats are off by does not count."""
    return ceil(thousandths / 1000 - 1e-9)


@dataclass(frozen=True, eq=False)
class PopulationPlan(Content):
    """How a population is laid out.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of the population.
    slice_shape : (int, int, int)
        The most frequent shape of its slices.
    n_slices, n_cores, n_shared : int
        Its slices, the cores that hold some of it, and how many of these hold some of another population too.
    bounds : dict of float
        The least that any plan needs for it, in thousandths of a core, by the limit that asks for it; see
        `loihi_deploy.mapping.bounds`.
    """

    name: str
    shape: tuple[int, ...]
    slice_shape: Grid
    n_slices: int
    n_cores: int
    n_shared: int
    bounds: MappingOf[str, float]

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        if not self.bounds or not all(0 <= bound < 2**63 for bound in self.bounds.values()):
            yield Problem("no bounds that a plan can have", self.name, dict(self.bounds))

    @property
    def bound(self) -> int:
        """Cores that it needs at least, were it alone."""
        return whole_cores(max(self.bounds.values()))

    @property
    def binding(self) -> str:
        """The limit that asks for most."""
        return max(self.bounds, key=lambda name: self.bounds[name])
