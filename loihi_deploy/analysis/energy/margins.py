"""Compartments of a margin as populations of their own.

A margin gets weights that a convolution shares with its neurons, so its compartments are updated, and spike, as any
others are: nothing hears of it, but it takes energy and time. A run for an estimate therefore has them in its program.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Sparse
from loihi_deploy.ir.program import Program, Synapses
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.plan import Slice
from loihi_deploy.mapping.usage import slice_bundles

Ints = NDArray[np.int64]

MOST_SYNAPSES = 2_000_000
"""Into the slices of a population that have a margin, up to which the margin is followed; more take too long."""


@dataclass(frozen=True)
class Margin:
    """The margins of all slices of a population, in the order of cores, slices and compartments.

    Parameters
    ----------
    population : str
        Whose they are.
    core : (n,) int64 array
    """

    population: str
    core: Ints


@dataclass(frozen=True)
class WithMargins:
    """A program with its margins.

    Parameters
    ----------
    program : Program
        With a population for each margin, behind its own.
    margins : dict of Margin
        By the names of these populations.
    """

    program: Program
    margins: MappingOf[str, Margin]


def with_margins(program: Program, mapping: Mapping, most: float = MOST_SYNAPSES) -> WithMargins:
    """Add margins to a program, as its mapping has them, but for those on slices with more than `most` synapses.

    Where any compartment is noisy none is added: noise is drawn for each compartment of a program in turn.
    """
    margins, populations, synapses = {}, [*program.populations], [*program.synapses]
    noisy = any(p.noise is not None for p in program.populations)
    for p in program.populations:
        if noisy or not 0 < _stored(program, mapping, p.name) <= most:
            continue
        name = f"{p.name} (margin)"
        core, into = _margin(program, mapping, p.name, name)
        margins[name] = Margin(p.name, core)
        bias = np.zeros(len(core), np.int32)
        populations.append(replace(p, name=name, shape=core.shape, bias=bias, initial_voltage=None))
        synapses += into
    if margins:
        program = replace(program, populations=tuple(populations), synapses=tuple(synapses))
    return WithMargins(program, margins)


def _slices(mapping: Mapping, population: str) -> Iterator[tuple[int, Slice]]:
    """Slices of a population that have a margin, with the numbers of their cores."""
    for number, core in enumerate(mapping.cores):
        for piece in core.slices:
            if piece.population == population and piece.n_compartments > piece.size:
                yield number, piece


def _stored(program: Program, mapping: Mapping, population: str) -> int:
    """Synapses, one for each pair of neuron and compartment, into slices that have a margin."""
    return sum(
        int(bundle.targets[bundle.set_of].sum()) * bundle.n_atoms
        for _, piece in _slices(mapping, population)
        for bundle in slice_bundles(program, piece, mapping.board.chip.core)
    )


def _margin(program: Program, mapping: Mapping, population: str, name: str) -> tuple[Ints, list[Synapses]]:
    """Core of each compartment of the margin of a population, and synapses into it."""
    cores: list[int] = []
    entries: dict[int, list[tuple[NDArray[Any], ...]]] = {}
    for number, piece in _slices(mapping, population):
        margins = piece.margins()
        place = np.full(piece.offset + piece.n_compartments, -1)
        place[margins] = len(cores) + np.arange(len(margins))
        cores += [number] * len(margins)
        for bundle in slice_bundles(program, piece, mapping.board.chip.core):
            for pre, compartment, mantissa in bundle.synapses():
                post = place[compartment]
                inside = post >= 0
                found = [np.broadcast_to(values, post.shape)[inside] for values in (pre, mantissa)]
                entries.setdefault(bundle.projection, []).append((found[0], post[inside], found[1]))
    synapses = [
        made
        for projection, parts in entries.items()
        for made in _synapses(program.synapses[projection], name, parts, len(cores))
    ]
    return np.array(cores, np.int64), synapses


def _synapses(
    original: Synapses, name: str, parts: list[tuple[NDArray[Any], ...]], size: int
) -> Iterator[Synapses]:
    """Synapses of a projection into a margin; those that a neuron has twice to a compartment are in another matrix."""
    pre, post, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    pair = post * original.transform.in_size + pre
    order = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    time = np.empty(len(pair), np.int64)
    time[order] = np.arange(len(pair)) - np.repeat(starts, np.diff(starts, append=len(pair)))
    for k in range(int(time.max(initial=-1)) + 1):
        mine = time == k
        shape = size, original.transform.in_size
        yield replace(
            original, post=name, transform=Sparse.from_entries(post[mine], pre[mine], weights[mine], shape)
        )
