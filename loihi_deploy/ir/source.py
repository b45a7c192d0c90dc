"""Samples that are read and checked part by part: larger than memory, or on their way to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.graph import Graph
from loihi_deploy.ir.samples import Samples, arrays_by_input, samples_for

PART_BYTES = 1 << 26
"""Bytes of samples that are read at a time."""


@dataclass(frozen=True, eq=False)
class Source:
    """Samples for a network, of which a part is read when it is needed.

    Parameters
    ----------
    graph : Graph
        Its inputs are what the samples are for.
    x : Samples, or dict of arrays
        By input name: whatever has a shape and gives slices along its first axis. Not checked before it is read.
    """

    graph: Graph
    x: Samples | Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.x) if isinstance(self.x, Samples) else int(next(iter(self.x.values())).shape[0])

    def part(self, which: slice) -> Samples | dict[str, Any]:
        """Some of the samples, as they were given: not read, and not checked."""
        if isinstance(self.x, Samples):
            return self.x.take(which)
        return {name: values[which] for name, values in self.x.items()}

    def first(self) -> Samples:
        """The first sample."""
        return read_part(self.graph, self.part(slice(0, 1)), 0)

    def part_size(self) -> int:
        """Samples of which one part is read."""
        values = sum(int(each[0].size) for each in self.first().arrays.values())
        return max(1, PART_BYTES // (8 * values))


def read_part(graph: Graph, part: Samples | Mapping[str, Any], first: int) -> Samples:
    """Read and check a part of a `Source`; `first` is the number of its first sample.

    Raises
    ------
    InputError
        As `samples_for`, with the numbers of the samples concerned.
    """
    try:
        return samples_for(graph, part)
    except InputError as error:
        n = len(Source(graph, part))
        where = f"samples {first} to {first + n - 1}"
        problems = [replace(problem, where=f"{problem.where}, {where}") for problem in error.problems]
        raise InputError(error.summary, problems) from error


def is_read_in_parts(x: Any) -> bool:
    """Whether samples lie outside of memory: mapped files, or arrays in chunks, as of zarr, dask and h5py."""
    if isinstance(x, Mapping):
        return any(map(is_read_in_parts, x.values()))
    if isinstance(x, (list, tuple)):
        return any(hasattr(each, "shape") and is_read_in_parts(each) for each in x)
    return isinstance(x, np.memmap) or all(hasattr(x, name) for name in ("shape", "chunks", "__getitem__"))


def source_of(graph: Graph, x: Any) -> Source:
    """Samples to be read part by part.

    Parameters
    ----------
    graph : Graph
    x : array, mapping or sequence of arrays, or Samples
        As for `samples_for`. What gives no slices of its own is read whole, and checked.

    Raises
    ------
    InputError
        Wrong names, or different numbers of samples.
    """
    origins = Graph(graph.inputs, (), (), graph.readouts, graph.dt)
    if isinstance(x, Samples):
        return Source(origins, x)
    arrays = arrays_by_input(graph, x)
    if not all(hasattr(each, "shape") and hasattr(each, "__getitem__") for each in arrays.values()):
        return Source(origins, samples_for(graph, x))
    lengths = {name: int(each.shape[0]) if len(each.shape) else 0 for name, each in arrays.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        shapes = ", ".join(f"{name}: {tuple(each.shape)}" for name, each in arrays.items())
        what = "no sample" if not all(lengths.values()) else "inputs have different numbers of samples"
        raise InputError("The samples do not fit the network", Problem(what, "x", shapes))
    return Source(origins, arrays)
