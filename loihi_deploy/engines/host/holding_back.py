"""A limit on what the host sends: spikes beyond it wait for later steps.

Each neuron has a number of spikes that wait. In a step neurons are gone through in turn, beginning with the first one
that had to wait before; each sends one spike if it has one and no chip gets more messages by it than it may. So the
limit holds at every step, every neuron gets its turn, and spikes are late, not lost, while the mean is below the limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.events import Events
from loihi_deploy.engines.kept_code import compiled
from loihi_deploy.ir.program import HostLimit


class Holding:
    """The limit of a program, laid out for the compiled loop.

    Parameters
    ----------
    limit : HostLimit
    """

    def __init__(self, limit: HostLimit) -> None:
        self._spikes, self._messages = limit.spikes, limit.messages.astype(np.int64)
        self.size = limit.messages.shape[1]

    def start(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Spikes that wait, (n, size), and whose turn it is, (n,), at rest."""
        return np.zeros((n, self.size), np.int64), np.zeros(n, np.int64)

    def run(self, events: Events, waiting: NDArray[np.int64], turn: NDArray[np.int64]) -> Events:
        """The spikes that go out in each step, given those that the neurons emit; changes `waiting` and `turn`."""
        n, steps = events.counts.shape[:2]
        out = Events.empty(events.sizes, n, steps)
        first = np.concatenate([[0], np.cumsum(list(events.sizes.values()))]).astype(np.int64)
        _hold_back(
            *(first, self._messages, self._spikes, events.counts, events.indices),
            *(waiting, turn, out.counts, out.indices, np.zeros(self.size, np.uint8)),
            np.zeros(len(self._messages), np.int64),
        )
        return out


@compiled
def _hold_back(  # type: ignore[no-untyped-def]
    first, messages, limit, counts, indices, waiting, turn, out_counts, out_indices, goes, sent
):
    """Let spikes of every sample of a batch out in turn; see `Holding` for the arrays."""
    n_neurons, n_chips = messages.shape[1], messages.shape[0]
    for s in range(counts.shape[0]):
        position = 0
        n_out = 0
        for t in range(counts.shape[1]):
            for p in range(counts.shape[2]):
                for _ in range(counts[s, t, p]):
                    waiting[s, first[p] + indices[s, position]] += 1
                    position += 1
            for chip in range(n_chips):
                sent[chip] = 0
            begin = turn[s]
            blocked = -1
            for k in range(n_neurons):
                i = begin + k
                if i >= n_neurons:
                    i -= n_neurons
                goes[i] = 0
                if waiting[s, i] == 0:
                    continue
                fits = True
                for chip in range(n_chips):
                    fits &= sent[chip] + messages[chip, i] <= limit
                if fits:
                    goes[i] = 1
                    waiting[s, i] -= 1
                    for chip in range(n_chips):
                        sent[chip] += messages[chip, i]
                elif blocked < 0:
                    blocked = i
            if blocked >= 0:
                turn[s] = blocked
            for p in range(counts.shape[2]):
                n = 0
                for i in range(first[p], first[p + 1]):
                    if goes[i] != 0:
                        out_indices[s, n_out] = i - first[p]
                        n_out += 1
                        n += 1
                out_counts[s, t, p] = n
