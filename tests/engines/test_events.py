"""Spikes as lists: what a plain loop over dense arrays says; memory that is handed in; what is counted."""

import numpy as np
import pytest

from loihi_deploy.engines.events import Events
from loihi_deploy.engines.spike_counts import SpikeCounter

SIZES = {"b": 3, "a": 5, "none": 2}


def drawn(seed, n=3, steps=6):
    rng = np.random.default_rng(seed)
    share = {"b": 0.4, "a": 0.6, "none": 0.0}
    return {name: rng.random((n, steps, size)) < share[name] for name, size in SIZES.items()}


def by_hand(spikes, n, steps):
    """Neurons of each sample in turn, and how many of each population in each step."""
    neurons = [
        [
            i
            for t in range(steps)
            for array in spikes.values()
            for i in range(array.shape[2])
            if array[s, t, i]
        ]
        for s in range(n)
    ]
    counts = [[[int(array[s, t].sum()) for array in spikes.values()] for t in range(steps)] for s in range(n)]
    return neurons, counts


@pytest.mark.parametrize("seed", range(3))
def test_lists_are_step_by_step_and_population_by_population(seed):
    spikes = drawn(seed)
    events = Events.from_dense(spikes, 3, 6)
    neurons, counts = by_hand(spikes, 3, 6)
    assert events.counts.tolist() == counts
    for sample, expected in enumerate(neurons):
        assert events.indices[sample, : len(expected)].tolist() == expected
    assert events.totals().tolist() == [int(array.sum()) for array in spikes.values()]
    for name, rows in events.triples().items():
        assert rows.tolist() == np.argwhere(spikes[name]).tolist()
    for name, array in events.to_dense().items():
        assert array.dtype == bool
        assert (array == spikes[name]).all()


def test_without_samples_or_populations():
    events = Events.from_dense({name: array[:0] for name, array in drawn(0).items()}, 0, 6)
    assert {name: rows.shape for name, rows in events.triples().items()} == dict.fromkeys(SIZES, (0, 3))
    assert {name: array.shape for name, array in events.to_dense().items()} == {
        name: (0, 6, size) for name, size in SIZES.items()
    }
    nothing = Events.from_dense({}, 2, 4)
    assert (nothing.counts.shape, nothing.indices.shape) == ((2, 4, 0), (2, 0))
    assert nothing.totals().tolist() == []


def test_memory_that_is_handed_in_is_used():
    room = np.zeros(200, np.int32)
    events = Events.empty(SIZES, 3, 6, room)
    assert (events.counts.shape, events.indices.shape) == ((3, 6, 3), (3, 60))
    assert not events.counts.any()
    events.indices[:] = 7
    assert (room[:180] == 7).all()
    assert not room[180:].any()
    assert Events.empty(SIZES, 3, 6).indices.shape == (3, 60)


COUNTED = {"b": (2, 9), "a": (0, 7), "none": (4, 4)}


@pytest.mark.parametrize("kept", [(), ("a",), ("none", "b")])
@pytest.mark.parametrize("counted", [COUNTED, dict.fromkeys(SIZES, (0, 9)), dict.fromkeys(SIZES, (8, 9))])
def test_spikes_are_counted_within_limits_and_first_ones_from_then_on(kept, counted):
    """Nine steps in parts of four, one and four; lists of spikes are as long as there is room for."""
    spikes = drawn(1, 4, 9)
    spikes["b"][0] = spikes["a"][1] = False  # no spike, in a sample, of a population that is kept
    spikes["b"][1, :, 0] = np.arange(9) >= 8
    counter = SpikeCounter(SIZES, 4, 9, counted, kept)
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        now = {name: array[:, part] for name, array in spikes.items()}
        counter.add(Events.from_dense(now, 4, part.stop - part.start), part.start)
    found = counter.by_population()
    assert list(found) == list(SIZES)
    for name, array in spikes.items():
        since, end = counted[name]
        expected = array[:, since:end].sum(axis=1)
        if name in kept:
            expected = np.array(
                [
                    [sum(array[s, : t + 1, i].any() for t in range(since, end)) for i in range(SIZES[name])]
                    for s in range(4)
                ]
            )
        assert found[name].tolist() == expected.tolist()
