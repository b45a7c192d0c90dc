"""Spikes of a batch as lists of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Events(NamedTuple):
    """Spikes of n samples over a number of steps.

    Parameters
    ----------
    sizes : dict of int
        Neurons of each population (or source), in the order of the lists.
    counts : (n, steps, n_populations) int32 array
        Spikes of each population in each step.
    indices : (n, capacity) int32 array
        For each sample, neuron numbers within their population: step by step, within a step population by population.
    """

    sizes: Mapping[str, int]
    counts: NDArray[np.int32]
    indices: NDArray[np.int32]

    @classmethod
    def empty(
        cls, sizes: Mapping[str, int], n: int, steps: int, room: NDArray[np.int32] | None = None
    ) -> Events:
        """Room for every spike there can be; memory that is not written to is not taken.

        `room` is memory to be used, of at least ``n * steps`` times the neurons.
        """
        shape = n, steps * sum(sizes.values())
        indices = np.empty(shape, np.int32) if room is None else room[: shape[0] * shape[1]].reshape(shape)
        return cls(sizes, np.zeros((n, steps, len(sizes)), np.int32), indices)

    @classmethod
    def from_dense(cls, spikes: Mapping[str, NDArray[np.bool_]], n: int, steps: int) -> Events:
        """From (n, steps, size) arrays by population."""
        events = cls.empty({name: array.shape[2] for name, array in spikes.items()}, n, steps)
        if not spikes:
            return events
        together = np.concatenate(list(spikes.values()), axis=2)
        numbers = np.concatenate([np.arange(array.shape[2]) for array in spikes.values()])
        for column, array in enumerate(spikes.values()):
            events.counts[:, :, column] = array.sum(axis=2)
        for sample in range(n):
            rows = numbers[np.nonzero(together[sample])[1]]
            events.indices[sample, : len(rows)] = rows
        return events

    def totals(self) -> NDArray[np.int64]:
        """Spikes of each population, of all samples and steps."""
        return np.asarray(np.add.reduce(self.counts, (0, 1), np.int64))

    def triples(self) -> dict[str, NDArray[np.int64]]:
        """Rows (sample, step, neuron) by population, in rising order."""
        n, steps, n_populations = self.counts.shape
        totals = self.counts.sum(axis=(1, 2))
        neurons = (
            np.concatenate([self.indices[s, : totals[s]] for s in range(n)]) if n else self.indices[:0, 0]
        )
        sample, step, column = np.unravel_index(
            np.repeat(np.arange(self.counts.size), self.counts.ravel()), (n, steps, n_populations)
        )
        rows = np.stack([sample, step, neurons], axis=1).astype(np.int64)
        return {name: rows[column == c] for c, name in enumerate(self.sizes)}

    def to_dense(self) -> dict[str, NDArray[np.bool_]]:
        """(n, steps, size) arrays by population."""
        n, steps = self.counts.shape[:2]
        dense = {name: np.zeros((n, steps, size), bool) for name, size in self.sizes.items()}
        for name, rows in self.triples().items():
            dense[name][tuple(rows.T)] = True
        return dense
