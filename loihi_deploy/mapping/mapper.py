"""From a program to a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from loihi_deploy.errors import MappingError, Problem
from loihi_deploy.graph import Conv2D, Dense
from loihi_deploy.hardware import Board, CoreLimits, load_board
from loihi_deploy.mapping.layout import as_convolution, grids
from loihi_deploy.mapping.plan import POP32, Core, Mapping, Slice, Wiring
from loihi_deploy.mapping.resources import (
    add_output_usage,
    broken,
    core_of_neurons,
    core_usage,
    slice_bundles,
    traffic,
)
from loihi_deploy.program import Program


def map_to_cores(program: Program, board: Board | str | Path) -> Mapping:
    """Split a program's populations into slices and place them on a board's cores.

    Parameters
    ----------
    program : Program
    board : Board, str or path
        A board, or what `load_board` takes.

    Raises
    ------
    MappingError
        If the program does not fit, with every limit that is broken.
    """
    if not isinstance(board, Board):
        board = load_board(board)
    limits = board.chip.core
    pieces = [
        piece for population in program.populations for piece in _split(program, population.name, limits)
    ]
    return assemble(program, board, [[piece] for piece in pieces])


def assemble(program: Program, board: Board, cores: Sequence[Sequence[Slice]]) -> Mapping:
    """Account for a list of cores and place them one after the other.

    Raises
    ------
    MappingError
        With every limit that is broken.
    """
    limits = board.chip.core
    made = [
        [bundle for piece in slices for bundle in slice_bundles(program, piece, limits)] for slices in cores
    ]
    usage = [
        core_usage(program, slices, bundles, limits) for slices, bundles in zip(cores, made, strict=True)
    ]
    place = core_of_neurons(program, cores, grids(program))
    chip_of = [number // board.chip.n_cores for number in range(len(cores))]
    add_output_usage(usage, traffic(program, made, place, limits), chip_of, limits)
    problems = []
    for number, (slices, used) in enumerate(zip(cores, usage, strict=True)):
        names = ", ".join(dict.fromkeys(piece.population for piece in slices))
        problems += [problem for _, problem in broken(used, board, f"core {number} ({names})")]
    if len(cores) > board.n_cores:
        problems.append(
            Problem(
                "too many cores",
                "the network",
                len(cores),
                board.n_cores,
                "Use a larger board or a smaller network",
            )
        )
    if problems:
        raise MappingError(f"The network does not fit on {board.name}", problems)
    return Mapping(
        program.digest,
        asdict(board),
        tuple(
            Core(chip, number % board.chip.n_cores, tuple(slices), used)
            for number, (chip, slices, used) in enumerate(zip(chip_of, cores, usage, strict=True))
        ),
    )


def _split(program: Program, name: str, limits: CoreLimits) -> list[Slice]:
    """The fewest equal slices of a population of which each fits on a core."""
    height, width, channels = grids(program)[name]
    wirings = tuple(_wiring(program, i) for i, s in enumerate(program.synapses) if s.post == name)
    shapes = product(*({-(-n // k) for k in range(1, n + 1)} for n in (height, width, channels)))
    counted = sorted(
        (-(-height // h) * -(-width // w) * -(-channels // c), abs(h - w), h, w, c)
        for h, w, c in shapes
        if h * w * c <= limits.max_compartments
    )
    for _, _, h, w, c in counted:
        corner = Slice(name, (0, 0, 0), (h, w, c), wirings=wirings)
        middle = replace(
            corner,
            start=(min(h, height - h), min(w, width - w), 0),
            stop=(min(2 * h, height), min(2 * w, width), c),
        )
        if all(_fits(program, piece, limits) for piece in (corner, middle)):
            return [
                Slice(
                    name,
                    (y, x, f),
                    (min(y + h, height), min(x + w, width), min(f + c, channels)),
                    wirings=wirings,
                )
                for y in range(0, height, h)
                for x in range(0, width, w)
                for f in range(0, channels, c)
            ]
    raise MappingError.single(
        "a neuron's synapses exceed what a core holds",
        f"population '{name}'",
        remedy="Use fewer inputs per neuron",
    )


def _fits(program: Program, piece: Slice, limits: CoreLimits) -> bool:
    used = core_usage(program, [piece], slice_bundles(program, piece, limits), limits)
    return (
        used["synapse_words"] <= limits.synapse_memory_words
        and used["in_axons"] <= limits.max_in_axons
        and used["words_per_axon"] <= limits.max_synapse_words_per_axon
    )


def _wiring(program: Program, projection: int) -> Wiring:
    conv = as_convolution(program, projection)
    transform = program.synapses[projection].transform
    if conv is not None and isinstance(transform, Conv2D):
        channels = conv.in_shape[2]
        return Wiring(projection, "pixels", POP32 if channels > 1 else 0, channels)
    return Wiring(projection, "rows", compressed=isinstance(transform, Dense))
