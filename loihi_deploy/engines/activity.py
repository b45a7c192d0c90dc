"""What a run makes the cores do, counted from lists of spikes: for estimates of energy and time, only when asked for.

Neurons that lie on the same core and whose spikes cause the same work elsewhere form a class: spikes are counted by
class, and everything that follows from a spike is the class's constant. In every step the busiest core is found too,
because it decides how long the step takes.

A compartment is updated in a step if its voltage was not 0 before, if a synapse of an arriving message belongs to it (a
weight of 0 too), if it has a bias, or if it spikes: SANA-FE 2.2.9 (``models.cpp``, ``LoihiLifModel``) counts so. Those
without a bias are followed one by one: their voltages are recorded, and arrivals are found cell by cell. A cell of a
projection is a part of the sender any spike of which reaches the same compartments: a pixel of a convolution (and a
group of its channels), a whole population before a matrix, a neuron before a sparse one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.events import Events
from loihi_deploy.engines.kept_code import compiled, inlined
from loihi_deploy.results import Activity

uint64 = np.uint64
ONE = uint64(1)
STEPS_AT_ONCE = 32
"""Steps whose work is added up side by side."""


@dataclass(frozen=True)
class Work:
    """What a spike of each class makes the cores do, and what every step does.

    Parameters
    ----------
    class_of : dict of uint32 arrays
        Class of each neuron, by source or population.
    sender : (n_classes,) uint64 array
        Core of a class; the number of cores for the host.
    spike_ns : (n_classes,) float array
        Time of a spike and its messages on the core that it leaves.
    first, target, message_ns : (n_classes + 1,) uint64, (n,) uint64 and (n,) float arrays
        For each class the cores that its messages reach, and the time of one there.
    step_ns : (n_cores,) float array
        Time of a step in which nothing spikes and nothing is followed.
    update_ns : float
        Time of an update.
    """

    class_of: Mapping[str, NDArray[np.uint32]]
    sender: NDArray[np.uint64]
    spike_ns: NDArray[np.float64]
    first: NDArray[np.uint64]
    target: NDArray[np.uint64]
    message_ns: NDArray[np.float64]
    step_ns: NDArray[np.float64]
    update_ns: float


@dataclass(frozen=True)
class Fields:
    """A projection into followed compartments.

    Parameters
    ----------
    pre : str
        The sender.
    delay : int
        Steps from a spike to its arrival.
    n_cells : int
    cell_of : (n_pre,) uint32 array
        Cell of each neuron of the sender.
    field_of : (n_followed,) uint32 array
        Field of each followed compartment of the target.
    first, cells : (n_fields + 1,) uint64 and (n,) uint32 arrays
        For each field, the cells that reach it.
    """

    pre: str
    delay: int
    n_cells: int
    cell_of: NDArray[np.uint32]
    field_of: NDArray[np.uint32]
    first: NDArray[np.uint64]
    cells: NDArray[np.uint32]


@dataclass(frozen=True)
class Followed:
    """Compartments of a population without a bias of their own.

    Parameters
    ----------
    neurons : (n,) int64 array
        Rising.
    core : (n,) uint64 array
    start : (n,) bool array
        Whether the voltage at the start is not 0.
    fields : tuple of Fields
    """

    neurons: NDArray[np.int64]
    core: NDArray[np.uint64]
    start: NDArray[np.bool_]
    fields: tuple[Fields, ...]


class Meter:
    """Counts what a program's spikes make the cores do.

    Parameters
    ----------
    work : Work
    followed : dict of Followed
        By population, in the order of the chip's populations.
    """

    def __init__(self, work: Work, followed: Mapping[str, Followed]) -> None:
        self.work = work
        self.followed = followed
        self.n_cores = len(work.step_ns)
        self._memory = threading.local()
        self._slots = {name: self._slot(name) for name in followed}
        self._classes: dict[tuple[str, ...], tuple[NDArray[np.int64], NDArray[np.uint32]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Meter, (self.work, self.followed)  # memory of threads stays here

    def _slot(self, name: str) -> NDArray[np.int32]:
        """Place of each neuron among the followed ones; -1 for others."""
        slot = np.full(len(self.work.class_of[name]), -1, np.int32)
        slot[self.followed[name].neurons] = np.arange(len(self.followed[name].neurons))
        return slot

    def _laid_out(self, events: Events) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """First neuron of each population among the events, and classes one behind the other; laid out once."""
        names = tuple(events.sizes)
        if names not in self._classes:
            classes = [self.work.class_of[name] for name in names]
            firsts = np.cumsum([0, *map(len, classes)], dtype=np.int64)[:-1]
            self._classes[names] = firsts, np.concatenate([*classes, np.zeros(0, np.uint32)])
        return self._classes[names]

    def room(self, size: int) -> NDArray[np.int32]:
        """Memory for lists of spikes, the thread's own; getting it anew for each chunk costs as much as counting."""
        if getattr(self._memory, "room", np.zeros(0)).size < size:
            self._memory.room = np.empty(size, np.int32)
        room: NDArray[np.int32] = self._memory.room
        return room

    @property
    def record(self) -> dict[str, tuple[str, ...]]:
        """What a run has to record for it."""
        return dict.fromkeys(self.followed, ("v",))

    @property
    def neurons(self) -> dict[str, NDArray[np.int64]]:
        """Of which neurons."""
        return {name: part.neurons for name, part in self.followed.items()}

    def start(self, n: int) -> Activity:
        """Counts of `n` samples before the first step."""
        return Activity(
            n,
            0,
            np.zeros(len(self.work.sender), np.int64),
            {name: np.zeros(self.n_cores, np.int64) for name in self.followed},
            np.zeros(n),
            np.zeros(n),
        )

    def count(self, activity: Activity, host: Events, chip: Events, voltages: NDArray[np.int32]) -> Activity:
        """Add the spikes of some steps.

        Parameters
        ----------
        activity : Activity
            So far; its arrays are added to.
        host, chip : Events
            Spikes of all encoders, and of all populations. Where compartments are followed, of the whole presentation.
        voltages : (n, steps, n_followed) int32 array
            After each step, as recorded.
        """
        n, steps = host.counts.shape[:2]
        updates = np.zeros((n, steps if self.followed else 0, self.n_cores), np.int32)
        for name, part in self._parts(voltages.shape[2]):
            self._follow(name, host, chip, voltages[:, :, part], updates, activity.updates[name])
        work = self.work
        _tally(
            *(work.sender, work.spike_ns, work.first, work.target, work.message_ns),
            *(work.step_ns, work.update_ns, updates),
            *(*self._laid_out(host), host.counts, host.indices),
            *(*self._laid_out(chip), chip.counts, chip.indices),
            *(activity.spikes, activity.busy_ns, activity.longest_ns),
            np.zeros((len(work.sender), STEPS_AT_ONCE), np.int32),
            *(np.zeros((self.n_cores + 1, STEPS_AT_ONCE)), np.zeros((self.n_cores, STEPS_AT_ONCE))),
        )
        return Activity(
            activity.samples,
            activity.sample_steps + n * steps,
            activity.spikes,
            activity.updates,
            activity.busy_ns,
            activity.longest_ns,
        )

    def _parts(self, n_values: int) -> list[tuple[str, slice]]:
        """Where each followed population lies among the recorded voltages."""
        parts, first = [], 0
        for name, followed in self.followed.items():
            parts.append((name, slice(first, first + len(followed.neurons))))
            first += len(followed.neurons)
        assert first == n_values, "voltages of exactly the followed compartments"
        return parts

    def _follow(
        self,
        name: str,
        host: Events,
        chip: Events,
        voltages: NDArray[np.int32],
        updates: NDArray[np.int32],
        total: NDArray[np.int64],
    ) -> None:
        """Count updates of the followed compartments of a population."""
        followed = self.followed[name]
        slot = self._slots[name]
        hit = np.zeros((*voltages.shape[:2], len(followed.neurons)), np.uint8)
        _note_spikes(list(chip.sizes).index(name), chip.counts, chip.indices, slot, hit)
        for fields in followed.fields:
            on_host = fields.pre in host.sizes
            events = host if on_host else chip
            _note_arrivals(
                *(list(events.sizes).index(fields.pre), fields.delay, events.counts, events.indices),
                *(fields.cell_of, fields.field_of, fields.first, fields.cells, hit),
                np.zeros(fields.n_cells, np.uint8),
                np.zeros(len(fields.first) - 1, np.uint8),
            )
        _count_updates(followed.start, followed.core, voltages, hit, updates, total)


@inlined
def _count_by_class(firsts, classes, counts, indices, place, n_spikes, t):  # type: ignore[no-untyped-def]
    """Count the spikes of a step, from `place` on in the list, in column `t`; returns the place behind them."""
    for column in range(counts.size):
        start, end = uint64(firsts[column]), place + uint64(counts[column])
        for k in range(place, end):
            n_spikes[classes[start + uint64(indices[k])], t] += 1
        place = end
    return place


@inlined
def _add_multiple(total, factor, amounts, n):  # type: ignore[no-untyped-def]
    for t in range(n):
        total[t] += factor * amounts[t]


@compiled
def _tally(  # type: ignore[no-untyped-def]
    sender, spike_ns, first, target, message_ns, step_ns, update_ns, updates,
    host_firsts, host_classes, host_counts, host_indices,
    chip_firsts, chip_classes, chip_counts, chip_indices,
    spikes, busy_ns, longest_ns, n_spikes, generation, processing,
):  # fmt: skip
    """Count spikes by class, and add up the time of the busiest core of each step.

    Some steps at a time, side by side, so that a spike's work is added for all of them in one vectorized loop.
    """
    steps, at_once = host_counts.shape[1], n_spikes.shape[1]
    for s in range(host_counts.shape[0]):
        on_host = on_chip = uint64(0)
        for first_step in range(0, steps, at_once):
            n_steps = uint64(min(at_once, steps - first_step))
            n_spikes[:] = 0
            for t in range(n_steps):
                step = uint64(first_step) + t
                on_host = _count_by_class(
                    host_firsts, host_classes, host_counts[s, step], host_indices[s], on_host, n_spikes, t
                )
                on_chip = _count_by_class(
                    chip_firsts, chip_classes, chip_counts[s, step], chip_indices[s], on_chip, n_spikes, t
                )
            processing[:] = 0
            for core in range(step_ns.size):
                generation[core] = step_ns[core]
                if updates.shape[1] > 0:
                    for t in range(n_steps):
                        generation[core, t] += update_ns * updates[s, uint64(first_step) + t, core]
            for c in range(uint64(spikes.size)):
                total = n_spikes[c].sum()
                if total == 0:
                    continue
                spikes[c] += total
                _add_multiple(generation[sender[c]], spike_ns[c], n_spikes[c], n_steps)
                for e in range(first[c], first[c + ONE]):
                    _add_multiple(processing[target[e]], message_ns[e], n_spikes[c], n_steps)
            for t in range(n_steps):
                longest = 0.0
                for core in range(step_ns.size):
                    longest = max(longest, generation[core, t], processing[core, t])
                busy_ns[s] += longest
                longest_ns[s] = max(longest_ns[s], longest)


@inlined
def _place(counts, column, place):  # type: ignore[no-untyped-def]
    """Where the spikes of a column begin in the list of a step, their number, and where the step ends."""
    start = end = place
    for other in range(counts.size):
        if other == column:
            start = end
        end += uint64(counts[other])
    return start, uint64(counts[column]), end


@compiled
def _note_spikes(column, counts, indices, slot, hit):  # type: ignore[no-untyped-def]
    """Mark, at the step of the spike, followed compartments that spike."""
    for s in range(counts.shape[0]):
        end = uint64(0)
        for t in range(counts.shape[1]):
            start, n, end = _place(counts[s, t], column, end)
            for k in range(start, start + n):
                i = slot[uint64(indices[s, k])]
                if i >= 0:
                    hit[s, t, i] = 1


@compiled
def _note_arrivals(  # type: ignore[no-untyped-def]
    column, delay, counts, indices, cell_of, field_of, first, cells, hit, marks, reached
):  # fmt: skip
    """Mark, `delay` steps after a spike, followed compartments that it has a synapse to."""
    for s in range(counts.shape[0]):
        end = uint64(0)
        for t in range(counts.shape[1] - delay):
            start, n, end = _place(counts[s, t], column, end)
            if n == 0:
                continue
            for k in range(start, start + n):
                marks[cell_of[uint64(indices[s, k])]] = 1
            for f in range(uint64(reached.size)):
                any_mark = np.uint8(0)
                for c in range(first[f], first[f + ONE]):
                    any_mark |= marks[cells[c]]
                reached[f] = any_mark
            row = hit[s, t + delay]
            for i in range(uint64(field_of.size)):
                row[i] |= reached[field_of[i]]
            for m in range(marks.size):
                marks[m] = 0


@compiled
def _count_updates(start, core, voltages, hit, updates, total):  # type: ignore[no-untyped-def]
    """Add up followed compartments, by sample, step and core, and by core alone, that are updated."""
    for s in range(hit.shape[0]):
        for t in range(hit.shape[1]):
            for i in range(uint64(core.size)):
                was = start[i] if t == 0 else voltages[s, t - 1, i] != 0
                if was or hit[s, t, i] != 0:
                    updates[s, t, core[i]] += 1
                    total[core[i]] += 1
