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
    first_counted : int
        Spikes before this step do not count.
    kept : collection of str
        Populations whose first spike counts again in every later step, and no other.
    """

    def __init__(
        self, sizes: Mapping[str, int], n: int, steps: int, first_counted: int, kept: Collection[str]
    ) -> None:
        self._sizes = sizes
        self._steps, self._first_counted = steps, first_counted
        self._starts = np.cumsum([0, *sizes.values()])
        self._kept = [name for name in sizes if name in kept]
        self._counts = np.zeros((n, self._starts[-1]), np.int64)
        self._first_spikes = np.full(self._counts.shape if self._kept else (n, 0), steps)

    def add(self, events: Events, first: int) -> None:
        """Count the spikes of consecutive steps, of which `first` is the first."""
        steps = events.counts.shape[1]
        places = np.tile(self._starts[:-1], steps)
        before = min(max(self._first_counted - first, 0), steps)
        for sample, counts in enumerate(events.counts):
            spikes = counts.ravel()
            place = np.repeat(places, spikes) + events.indices[sample, : spikes.sum()]
            counted = place[counts[:before].sum() :]
            self._counts[sample] += np.bincount(counted, minlength=self._starts[-1])
            if self._kept:
                earlier = self._first_spikes[sample].copy()
                step = np.repeat(np.arange(first, first + steps), counts.sum(axis=1))
                self._first_spikes[sample, place[::-1]] = step[::-1]  # of several, the last assignment stays
                np.minimum(self._first_spikes[sample], earlier, out=self._first_spikes[sample])

    def by_population(self) -> dict[str, NDArray[np.int64]]:
        """Counts (n, size) by population."""
        parts = {
            name: slice(start, start + size)
            for (name, size), start in zip(self._sizes.items(), self._starts.tolist(), strict=False)
        }
        counts = {name: self._counts[:, part] for name, part in parts.items()}
        for name in self._kept:
            since = np.maximum(self._first_spikes[:, parts[name]], self._first_counted)
            counts[name] = self._steps - since
        return counts
