"""What a spike of each neuron makes the cores do: from a program and its mapping, as tables.

Neurons of a population that lie on the same core and cause the same work are one class; see
`loihi_deploy.engines.activity`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.energy.margins import WithMargins, with_margins
from loihi_deploy.engines.activity import Fields, Followed
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Conv2D, Dense, Transform
from loihi_deploy.ir.program import Compartments, Program, Synapses
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.layout import Bundle, as_matrix, grids, row_lengths
from loihi_deploy.mapping.plan import Slice
from loihi_deploy.mapping.traffic import core_of_neurons
from loihi_deploy.mapping.usage import slice_bundles

Ints = NDArray[np.int64]

SHARED, DENSE, SPARSE = 0, 1, 2
"""Kinds of synapses, in the order of `coefficients.KINDS`."""


@dataclass(frozen=True)
class Wiring:
    """Tables of a program on its cores; populations are numbered as in the program, sources behind them.

    Parameters
    ----------
    full : WithMargins
        The program with its margins, which a run that is counted runs.
    names : tuple of str
        Populations, then sources.
    class_of : dict of uint32 arrays
        Class of each neuron, and of each compartment of a margin.
    population, sender : (n_classes,) int arrays
        Of each class; sender -1 is the host.
    reads : (n, 6) int array
        What a spike reads: class, core, kind of synapse, population that holds the synapses, synapses, axons.
    messages : (n, 2) int array
        Class and core: one message of a spike.
    compartments, biased : (n_cores, n_populations) int arrays
        Compartments in use, margins included; and those of them that are updated in every step, by a bias or noise.
    followed : dict of Followed
        The others, margins by names of their own.
    chip, row, column : (n_cores,) int arrays
        Where a core lies: its chip, and its tile there.
    """

    full: WithMargins
    names: tuple[str, ...]
    class_of: MappingOf[str, NDArray[np.uint32]]
    population: Ints
    sender: Ints
    reads: Ints
    messages: Ints
    compartments: Ints
    biased: Ints
    followed: MappingOf[str, Followed]
    chip: Ints
    row: Ints
    column: Ints

    @property
    def tiles(self) -> int:
        """Tiles in use on the chip that uses most."""
        places = np.unique(np.stack([self.chip, self.row, self.column]), axis=1)
        return int(np.bincount(places[0]).max(initial=0))

    def number(self, name: str) -> int:
        """Number of a population; that of a margin is its population's."""
        return self.names.index(self.full.margins[name].population if name in self.full.margins else name)


@lru_cache(maxsize=4)
def wiring(program: Program, mapping: Mapping) -> Wiring:
    """Lay out the tables.

    Raises
    ------
    InputError
        If the mapping is that of another program.
    """
    if mapping.program_digest != program.digest:
        raise InputError(
            "Cannot estimate energy and time",
            Problem(
                "the mapping is that of another program",
                "mapping",
                remedy="Map this program: loihi_deploy.map_to_cores(program, board)",
            ),
        )
    names = (*(p.name for p in program.populations), *(source.name for source in program.sources))
    full = with_margins(program, mapping)
    place = core_of_neurons(program, [core.slices for core in mapping.cores], grids(program))
    classes = _all_classes(program, mapping, names, place, full)
    compartments, biased = _compartments(program, mapping, place, full)
    tile = np.array([core.number for core in mapping.cores], np.int64) // mapping.board.chip.cores_per_tile
    return Wiring(
        full,
        names,
        *classes,
        compartments,
        biased,
        _followed(program, mapping, place, full),
        np.array([core.chip for core in mapping.cores], np.int64),
        tile // mapping.board.chip.mesh_columns,
        tile % mapping.board.chip.mesh_columns,
    )


def _all_classes(
    program: Program,
    mapping: Mapping,
    names: tuple[str, ...],
    place: MappingOf[str, Ints],
    full: WithMargins,
) -> tuple[dict[str, NDArray[np.uint32]], Ints, Ints, Ints, Ints]:
    """Classes of all neurons, population and sender of each class, what its spikes read, and their messages."""
    number = {name: k for k, name in enumerate(names)}
    found: dict[str, list[Ints]] = {name: [] for name in names}
    for core, held in enumerate(mapping.cores):
        for piece in held.slices:
            for bundle in slice_bundles(program, piece, mapping.board.chip.core):
                pre = program.synapses[bundle.projection].pre
                kind = synapse_kind(piece, bundle)
                found[pre].append(_reads(bundle, core, kind, number[piece.population]))

    class_of: dict[str, NDArray[np.uint32]] = {}
    population: list[int] = []
    sender: list[int] = []
    reads = [np.zeros((0, 6), np.int64)]

    def add(name: str, holder: Ints, of: int, rows: list[Ints]) -> None:
        classes, first, read = _classes(holder, rows)
        class_of[name] = (classes + len(population)).astype(np.uint32)
        reads.append(read + np.array([len(population), 0, 0, 0, 0, 0]))
        population.extend([of] * len(first))
        sender.extend(holder[first].tolist())

    for name in names:
        add(name, place.get(name, np.full(program.nodes[name].size, -1)), number[name], found[name])
    for name, margin in full.margins.items():
        add(name, margin.core, number[margin.population], [])
    for other in program.encoder.populations:  # decoded on the host, or by nothing
        if other.name not in class_of:
            add(other.name, np.full(other.size, -1), -1, [])
    all_reads = np.concatenate(reads)
    messages = np.unique(all_reads[:, :2], axis=0)
    return class_of, np.array(population, np.int64), np.array(sender, np.int64), all_reads, messages


def _always(program: Program, population: Compartments) -> NDArray[np.bool_]:
    """Which neurons of a population are updated in every step."""
    driven = {bias_input.population for bias_input in program.bias_inputs}
    if population.noise is None and population.name not in driven:
        return np.asarray(population.bias != 0)
    return np.ones(population.size, bool)


def _compartments(
    program: Program, mapping: Mapping, place: MappingOf[str, Ints], full: WithMargins
) -> tuple[Ints, Ints]:
    """Compartments in use by core and population, and those that are updated in every step."""
    number = {p.name: k for k, p in enumerate(program.populations)}
    followed = {margin.population for margin in full.margins.values()}
    compartments = np.zeros((mapping.n_cores, len(number)), np.int64)
    biased = np.zeros_like(compartments)
    for core, held in enumerate(mapping.cores):
        for piece in held.slices:
            k = number[piece.population]
            compartments[core, k] += piece.n_compartments
            if piece.population not in followed:  # a margin that is not followed counts as updated
                biased[core, k] += piece.n_compartments - piece.size
    for p in program.populations:
        np.add.at(biased[:, number[p.name]], place[p.name][_always(program, p)], 1)
    return compartments, biased


def _followed(
    program: Program, mapping: Mapping, place: MappingOf[str, Ints], full: WithMargins
) -> dict[str, Followed]:
    """Compartments that are updated in some steps only, in the order of the full program's populations."""
    delays = arrival_delays(program)
    followed = {}
    for p in program.populations:
        neurons = np.flatnonzero(~_always(program, p))
        if len(neurons):
            start = np.zeros(p.size, bool) if p.initial_voltage is None else p.initial_voltage != 0
            pieces = [piece for core in mapping.cores for piece in core.slices if piece.population == p.name]
            fields = _fields(program, p.name, neurons, pieces)
            followed[p.name] = Followed(
                neurons, place[p.name][neurons].astype(np.uint64), start[neurons], fields
            )
    for name, margin in full.margins.items():
        size = len(margin.core)
        fields = tuple(_fields_of_margin(s, delays.get(s.pre, 1)) for s in full.program.into(name))
        followed[name] = Followed(
            np.arange(size), margin.core.astype(np.uint64), np.zeros(size, bool), fields
        )
    return followed


def synapse_kind(piece: Slice, bundle: Bundle) -> int:
    """Kind of the synapses of a bundle into a slice."""
    if any(w.kind == "pixels" for w in piece.wirings if w.projection == bundle.projection):
        return SHARED
    return DENSE if bundle.compressed else SPARSE


def _reads(bundle: Bundle, core: int, kind: int, post: int) -> Ints:
    """Rows (neuron, core, kind, post, synapses) of a bundle: one for each neuron of each axon."""
    synapses = np.repeat(bundle.targets[bundle.set_of], bundle.n_atoms)
    rows = np.empty((len(synapses), 5), np.int64)
    rows[:, 0] = bundle.neurons.reshape(-1)
    rows[:, 1:4] = core, kind, post
    rows[:, 4] = synapses
    return rows


def _classes(holder: Ints, found: list[Ints]) -> tuple[Ints, Ints, Ints]:
    """Find the classes of one sender.

    Parameters
    ----------
    holder : (n,) int array
        Core of each neuron.
    found : list of arrays
        From `_reads`.

    Returns
    -------
    classes : (n,) int array
        Class of each neuron, from 0.
    first : (n_classes,) int array
        A neuron of each.
    reads : (m, 6) int array
        As in `Wiring`.
    """
    rows = np.concatenate([*found, np.zeros((0, 5), np.int64)])
    _, kinds = np.unique(rows[:, 1:4], axis=0, return_inverse=True)
    key, position = np.unique(
        rows[:, 0] * (kinds.max(initial=0) + 1) + kinds.reshape(-1), return_inverse=True
    )
    synapses = np.bincount(position, rows[:, 4], len(key)).astype(np.int64)
    axons = np.bincount(position, minlength=len(key))
    sample = np.zeros(len(key), np.int64)
    sample[position] = np.arange(len(rows))
    neuron, read = rows[sample, 0], rows[sample, 1:4]
    _, code = np.unique(np.column_stack([read, synapses, axons]), axis=0, return_inverse=True)
    code = code.reshape(-1) + 1
    starts = np.searchsorted(neuron, np.arange(len(holder)))
    lengths = np.bincount(neuron, minlength=len(holder))
    _, classes = np.unique(holder, return_inverse=True)
    for j in range(int(lengths.max(initial=0))):
        here = np.zeros(len(holder), np.int64)
        longer = lengths > j
        here[longer] = code[starts[longer] + j]
        _, classes = np.unique(classes * (code.max() + 1) + here, return_inverse=True)
    _, first = np.unique(classes, return_index=True)
    entries = np.concatenate(
        [np.arange(starts[k], starts[k] + lengths[k]) for k in first] or [np.zeros(0, np.int64)]
    ).astype(np.int64)
    of_class = np.repeat(np.arange(len(first)), lengths[first])
    reads = np.column_stack([of_class, read[entries], synapses[entries], axons[entries]])
    return classes.reshape(-1), first, reads


def _fields(program: Program, post: str, neurons: Ints, pieces: list[Slice]) -> tuple[Fields, ...]:
    """Which cells of its senders reach each of some neurons of a population, by the synapses that its cores store."""
    delays = arrival_delays(program)
    grid = grids(program)[post]
    alike: dict[tuple[int, str, bool], list[Ints]] = {}
    for piece in pieces:
        for wire in piece.wirings:
            key = wire.projection, wire.kind, wire.compressed
            alike.setdefault(key, []).append(piece.neurons(grid))
    fields = []
    for (projection, kind, compressed), parts in alike.items():
        synapses = program.synapses[projection]
        cell_of, field_of, cells_of = _cells(synapses.transform, kind == "pixels", compressed, parts)
        here = np.isin(neurons, np.concatenate(parts))
        mine, position = np.unique(np.where(here, field_of[neurons], -1), return_inverse=True)
        lists = [cells_of(int(field)) if field >= 0 else np.zeros(0, np.int64) for field in mine]
        fields.append(
            Fields(
                synapses.pre,
                delays.get(synapses.pre, 1),
                int(cell_of.max(initial=-1)) + 1,
                cell_of.astype(np.uint32),
                position.reshape(-1).astype(np.uint32),
                np.cumsum([0, *map(len, lists)]).astype(np.uint64),
                np.concatenate([*lists, np.zeros(0, np.int64)]).astype(np.uint32),
            )
        )
    return tuple(fields)


def _fields_of_margin(synapses: Synapses, delay: int) -> Fields:
    """Which cells of a sender reach each compartment of a margin; neurons that reach the same ones are a cell."""
    matrix = synapses.transform.csr()
    by_neuron = matrix.transposed()
    cell_of, cells = _alike(by_neuron.indptr, by_neuron.indices)
    field_of, fields = _alike(matrix.indptr, cell_of[matrix.indices])
    return Fields(
        synapses.pre,
        delay,
        len(cells),
        cell_of.astype(np.uint32),
        field_of.astype(np.uint32),
        np.cumsum([0, *map(len, fields)]).astype(np.uint64),
        np.concatenate([*fields, np.zeros(0, np.int64)]).astype(np.uint32),
    )


def _alike(starts: Ints, values: NDArray[Any]) -> tuple[Ints, list[Ints]]:
    """Number rows by the set of values that they hold, and give the set of each number."""
    numbers: dict[bytes, int] = {}
    sets: list[Ints] = []
    of_row = np.empty(len(starts) - 1, np.int64)
    for row in range(len(of_row)):
        held = np.unique(values[starts[row] : starts[row + 1]]).astype(np.int64)
        of_row[row] = numbers.setdefault(held.tobytes(), len(numbers))
        if len(sets) < len(numbers):
            sets.append(held)
    return of_row, sets


def _cells(
    transform: Transform, pixels: bool, compressed: bool, parts: list[Ints]
) -> tuple[Ints, Ints, Callable[[int], Ints]]:
    """Cell of each input, field of each output, and a function from a field to its cells; `parts` are slices."""
    inputs, outputs = np.arange(transform.in_size), np.arange(transform.out_size)
    if isinstance(transform, Conv2D) and pixels:
        return _cells_of_pixels(transform)
    matrix = as_matrix(transform)
    if isinstance(matrix, Dense):
        return 0 * inputs, 0 * outputs, lambda field: np.zeros(1, np.int64)
    if not compressed:
        return (
            inputs,
            outputs,
            lambda row: matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64),
        )
    slice_of = np.full(transform.out_size, -1, np.int64)
    for number, part in enumerate(parts):
        slice_of[part] = number
    return inputs, slice_of, lambda number: np.flatnonzero(row_lengths(matrix, parts[number]))


def _cells_of_pixels(conv: Conv2D) -> tuple[Ints, Ints, Callable[[int], Ints]]:
    """`_cells` of a convolution: every pixel of a field has a synapse to it, a weight of 0 too."""
    inputs, outputs, groups = np.arange(conv.in_size), np.arange(conv.out_size), conv.groups
    height, width, channels = conv.in_shape
    _, out_width, filters = conv.out_shape
    group_in, group_out = channels // groups, filters // groups
    cell_of = inputs // channels * groups + inputs % channels // group_in
    field_of = outputs // filters * groups + outputs % filters // group_out

    def cells(field: int) -> Ints:
        position, group = divmod(field, groups)
        y, x = divmod(position, out_width)
        rows = y * conv.strides[0] - conv.padding[0] + np.arange(conv.kernel.shape[0])
        columns = x * conv.strides[1] - conv.padding[1] + np.arange(conv.kernel.shape[1])
        rows, columns = rows[(rows >= 0) & (rows < height)], columns[(columns >= 0) & (columns < width)]
        return np.asarray(((rows[:, None] * width + columns) * groups + group).reshape(-1), np.int64)

    return cell_of, field_of, cells
