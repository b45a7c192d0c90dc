"""Spikes of every neuron over a part of a presentation, counted from lists of spikes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.events import Events


class SpikeCounter:
    """Counts what each neuron spikes from some step on.

    Parameters
    ----------
    sizes : dict of int
        Neurons of each population, in the order of the lists.
    n, steps : int
        Samples, and steps of a presentation.
    counted : dict of (int, int)
        First step whose spikes count, and the one behind the last, by population.
    kept : collection of str
        Populations whose first spike counts again in every later step, and no other.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        n: int,
        steps: int,
        counted: Mapping[str, tuple[int, int]],
        kept: Collection[str],
    ) -> None:
        self._sizes, self._counted = sizes, counted
        self._limits = np.array([counted[name] for name in sizes], np.int64).reshape(-1, 2)
        self._starts = np.cumsum([0, *sizes.values()])
        self._kept = [name for name in sizes if name in kept]
        self._counts = np.zeros((n, self._starts[-1]), np.int64)
        self._first_spikes = np.full(self._counts.shape if self._kept else (n, 0), steps)

    def add(self, events: Events, first: int) -> None:
        """Count the spikes of consecutive steps, of which `first` is the first."""
        steps = events.counts.shape[1]
        places = np.tile(self._starts[:-1], steps)
        step = np.arange(first, first + steps)[:, None]
        inside = ((step >= self._limits[:, 0]) & (step < self._limits[:, 1])).ravel()
        for sample, counts in enumerate(events.counts):
            spikes = counts.ravel()
            place = np.repeat(places, spikes) + events.indices[sample, : spikes.sum()]
            counted = place if inside.all() else place[np.repeat(inside, spikes)]
            self._counts[sample] += np.bincount(counted, minlength=self._starts[-1])
            if self._kept:
                earlier = self._first_spikes[sample].copy()
                steps_of = np.repeat(step[:, 0], counts.sum(axis=1))
                self._first_spikes[sample, place[::-1]] = steps_of[::-1]  # of several, the last one stays
                np.minimum(self._first_spikes[sample], earlier, out=self._first_spikes[sample])

    def by_population(self) -> dict[str, NDArray[np.int64]]:
        """Counts (n, size) by population."""
        parts = {
            name: slice(start, start + size)
            for (name, size), start in zip(self._sizes.items(), self._starts.tolist(), strict=False)
        }
        counts = {name: self._counts[:, part] for name, part in parts.items()}
        for name in self._kept:
            since, end = self._counted[name]
            counts[name] = end - np.clip(self._first_spikes[:, parts[name]], since, end)
        return counts
