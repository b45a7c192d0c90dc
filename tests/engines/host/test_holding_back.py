"""A limit on what the host sends: turns by a queue of neurons, in a loop over single spikes."""

import numpy as np
import pytest

from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host.holding_back import Holding
from loihi_deploy.ir.program import HostLimit

SIZES = {"a": 5, "b": 9}


def by_hand(emitted, limit, messages):
    """Spikes (steps, n) that go out, those that wait in the end, and whose turn it is."""
    waiting, turn = np.zeros(emitted.shape[1], int), 0
    out = np.zeros(emitted.shape, bool)
    for t, spikes in enumerate(emitted):
        waiting += spikes
        left = dict.fromkeys(range(len(messages)), limit)
        first_blocked = None
        for i in [*range(turn, emitted.shape[1]), *range(turn)]:
            if waiting[i]:
                if all(left[chip] >= messages[chip][i] for chip in left):
                    for chip in left:
                        left[chip] -= messages[chip][i]
                    waiting[i] -= 1
                    out[t, i] = True
                elif first_blocked is None:
                    first_blocked = i
        turn = turn if first_blocked is None else first_blocked
    return out, waiting, turn


@pytest.mark.parametrize("n_chips", [1, 3])
@pytest.mark.parametrize("limit", [1, 3, 40])
@pytest.mark.parametrize("cut", [1, 7])
def test_neurons_send_in_turn_what_fits(n_chips, limit, cut):
    rng = np.random.default_rng(limit)
    messages = rng.integers(0, min(limit, 2) + 1, (n_chips, 14))
    emitted = {name: rng.random((3, 30, size)) < 0.3 for name, size in SIZES.items()}
    holding = Holding(HostLimit(limit, messages))
    waiting, turn = holding.start(3)
    parts = []
    for part in (slice(0, cut), slice(cut, 30)):
        now = {name: array[:, part] for name, array in emitted.items()}
        events = Events.from_dense(now, 3, part.stop - part.start)
        parts.append(holding.run(events, waiting, turn).to_dense())
    found = np.concatenate([np.concatenate([part[name] for name in SIZES], axis=2) for part in parts], axis=1)
    together = np.concatenate(list(emitted.values()), axis=2)
    for sample in range(3):
        out, wait, whose = by_hand(together[sample], limit, messages.tolist())
        assert (found[sample] == out).all()
        assert waiting[sample].tolist() == wait.tolist()
        assert turn[sample] == whose
    assert waiting.any() == (limit < 40)
