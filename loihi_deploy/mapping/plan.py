"""What a mapping consists of: slices of populations, the cores that hold them, and how spikes are wired to them.

Every population is seen as a grid (height, width, channels) here; a flat one of n neurons is (1, 1, n). See
`loihi_deploy.mapping.layout.grid_shape`.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Board
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
        Weights to consecutive compartments are stored without indices; for 'rows' only.
    """

    projection: int
    kind: Literal["rows", "pixels"]
    axon: int = DISCRETE
    channels: int = 1
    compressed: bool = False


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
    bounds : dict of int
        The least that any plan needs for it, in thousandths of a core, by the limit that asks for it.
    """

    name: str
    shape: tuple[int, ...]
    slice_shape: Grid
    n_slices: int
    n_cores: int
    n_shared: int
    bounds: MappingOf[str, int]

    @property
    def bound(self) -> int:
        """Cores that it needs at least, were it alone."""
        return -(-max(self.bounds.values()) // 1000)

    @property
    def binding(self) -> str:
        """The limit that asks for most."""
        return max(self.bounds, key=lambda name: self.bounds[name])


@dataclass(frozen=True, eq=False)
class Mapping(Content):
    """A program laid out on the cores of a board.

    Parameters
    ----------
    program_digest : str
        Digest of the program.
    board_data : dict
        The board, as plain values.
    cores : tuple of Core
        By chip and number; on each chip the numbers run from 0 without gaps.
    populations : tuple of PopulationPlan
    flows : (n, 5) int64 array
        From core (index into `cores`; -1 - k for spike source k), to core, output axons, slots that they take within a
        chip, and neurons: each spike of these is one message.
    senders : tuple of str
        The population or spike source of each flow.
    warnings : tuple of str
        Rules that are broken where that was allowed.
    rates : dict of float or None
        Firing rates that it was placed by.
    """

    program_digest: str
    board_data: MappingOf[str, Any]
    cores: tuple[Core, ...]
    populations: tuple[PopulationPlan, ...]
    flows: NDArray[np.int64]
    senders: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    rates: MappingOf[str, float] | None = None

    @property
    def board(self) -> Board:
        """The board it was made for."""
        return Board.from_dict(self.board_data)

    @property
    def n_cores(self) -> int:
        """Cores in use."""
        return len(self.cores)

    @property
    def n_chips(self) -> int:
        """Chips in use."""
        return len({core.chip for core in self.cores})

    @property
    def bound(self) -> int:
        """Cores that any plan needs at least, populations sharing cores as they like."""
        totals = [
            sum(plan.bounds[name] for plan in self.populations)
            for name in (self.populations[0].bounds if self.populations else ())
        ]
        return -(-max(totals, default=0) // 1000)

    def to_json(self) -> str:
        """Every figure as JSON: see `loihi_deploy.mapping.figures.mapping_values`."""
        from loihi_deploy.mapping.figures import mapping_json

        return mapping_json(self)

    def to_csv(self, part: Literal["cores", "populations", "chips"] = "cores") -> str:
        """Figures of each core, population or chip as CSV."""
        from loihi_deploy.mapping.figures import mapping_csv

        return mapping_csv(self, part)

    def __rich__(self) -> Any:
        from loihi_deploy.mapping.figures import mapping_tables

        return mapping_tables(self)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, force_terminal=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get().rstrip()

    def cores_of(self, population: str) -> tuple[int, ...]:
        """Indices into `cores` of those that hold some of a population."""
        return tuple(
            number
            for number, core in enumerate(self.cores)
            if any(piece.population == population for piece in core.slices)
        )
