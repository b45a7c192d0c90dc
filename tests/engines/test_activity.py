"""What spikes make the cores do: a meter of drawn classes, cores and fields, beside a loop over single spikes."""

import pickle

import numpy as np
import pytest

from loihi_deploy.engines.activity import STEPS_AT_ONCE, Fields, Followed, Meter, Work
from loihi_deploy.engines.events import Events

HOST, CHIP = {"h": 6}, {"a": 9, "b": 11}
N_CORES, N_CLASSES = 4, 7


def drawn(rng):
    """Costs are small integers, so that sums do not depend on their order."""
    class_of = {
        name: rng.integers(0, N_CLASSES, size).astype(np.uint32) for name, size in (HOST | CHIP).items()
    }
    ends = np.cumsum([0, *rng.integers(0, 4, N_CLASSES)])
    work = Work(
        class_of,
        rng.integers(0, N_CORES + 1, N_CLASSES).astype(np.uint64),  # the last one is the host
        rng.integers(1, 9, N_CLASSES).astype(float),
        ends.astype(np.uint64),
        rng.integers(0, N_CORES, ends[-1]).astype(np.uint64),
        rng.integers(1, 9, ends[-1]).astype(float),
        rng.integers(0, 5, N_CORES).astype(float),
        3.0,
    )

    def fields(pre, n_followed, delay):
        n_pre, n_cells, n_fields = (HOST | CHIP)[pre], 4, 3
        first = np.cumsum([0, *rng.integers(0, 3, n_fields)])
        return Fields(
            pre,
            delay,
            n_cells,
            rng.integers(0, n_cells, n_pre).astype(np.uint32),
            rng.integers(0, n_fields, n_followed).astype(np.uint32),
            first.astype(np.uint64),
            rng.integers(0, n_cells, first[-1]).astype(np.uint32),
        )

    followed = {}
    for name, neurons, ways in (("a", [0, 3, 4, 8], (("h", 1),)), ("b", [1, 2, 10], (("a", 1), ("b", 3)))):
        n = len(neurons)
        followed[name] = Followed(
            np.array(neurons),
            rng.integers(0, N_CORES, n).astype(np.uint64),
            rng.random(n) < 0.5,
            tuple(fields(pre, n, delay) for pre, delay in ways),
        )
    return work, followed


def by_hand(work, followed, spikes, voltages, steps):
    """Spikes by class, updates by population and core, and the time of the busiest core in each step."""
    counted = np.zeros(N_CLASSES, int)
    updates = {name: np.zeros((steps, N_CORES), int) for name in followed}
    for name, part in followed.items():
        for k, neuron in enumerate(part.neurons):
            for t in range(steps):
                was = part.start[k] if t == 0 else voltages[name][t - 1, k] != 0
                hit = spikes[name][t, neuron]
                for way in part.fields:
                    field = way.field_of[k]
                    cells = way.cells[int(way.first[field]) : int(way.first[field + 1])]
                    if t >= way.delay:
                        sent = np.flatnonzero(spikes[way.pre][t - way.delay])
                        hit |= bool(set(way.cell_of[sent]) & set(cells))
                updates[name][t, int(part.core[k])] += bool(was or hit)
    times = []
    for t in range(steps):
        sending = [*work.step_ns, 0.0]
        arriving = [0.0] * N_CORES
        for name in followed:
            for core in range(N_CORES):
                sending[core] += work.update_ns * updates[name][t, core]
        for name, classes in work.class_of.items():
            for neuron in np.flatnonzero(spikes[name][t]):
                c = int(classes[neuron])
                counted[c] += 1
                sending[int(work.sender[c])] += work.spike_ns[c]
                for e in range(int(work.first[c]), int(work.first[c + 1])):
                    arriving[int(work.target[e])] += work.message_ns[e]
        times.append(max([*sending[:-1], *arriving]))
    return counted, updates, times


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1, STEPS_AT_ONCE, STEPS_AT_ONCE + 5])
@pytest.mark.parametrize("follows", [False, True])
def test_a_meter_counts_what_single_spikes_add_up_to(seed, steps, follows):
    rng = np.random.default_rng(seed)
    work, followed = drawn(rng)
    followed = followed if follows else {}
    spikes = {name: rng.random((2, steps, size)) < 0.15 for name, size in (HOST | CHIP).items()}
    spikes["b"][:, 0] = False
    voltages = {name: rng.integers(-1, 2, (2, steps, len(p.neurons))) for name, p in followed.items()}
    together = np.concatenate([*voltages.values(), np.zeros((2, steps, 0))], axis=2).astype(np.int32)
    meter = pickle.loads(pickle.dumps(Meter(work, followed)))
    assert meter.record == dict.fromkeys(followed, ("v",))
    assert {name: list(n) for name, n in meter.neurons.items()} == {
        name: list(p.neurons) for name, p in followed.items()
    }
    host = Events.from_dense({"h": spikes["h"]}, 2, steps)
    chip = Events.from_dense({name: spikes[name] for name in CHIP}, 2, steps)
    found = meter.count(meter.start(2), host, chip, together)
    assert (found.samples, found.sample_steps) == (2, 2 * steps)
    totals = np.zeros(N_CLASSES, int)
    updates = {name: np.zeros(N_CORES, int) for name in followed}
    for sample in range(2):
        counted, updated, times = by_hand(
            work,
            followed,
            {name: array[sample] for name, array in spikes.items()},
            {name: array[sample] for name, array in voltages.items()},
            steps,
        )
        totals += counted
        for name in followed:
            updates[name] += updated[name].sum(axis=0)
        assert found.busy_ns[sample] == sum(times)
        assert found.longest_ns[sample] == max(times)
    assert found.spikes.tolist() == totals.tolist()
    assert {name: n.tolist() for name, n in found.updates.items()} == {
        name: n.tolist() for name, n in updates.items()
    }


def test_parts_of_a_presentation_add_up_where_nothing_is_followed():
    rng = np.random.default_rng(0)
    work, _ = drawn(rng)
    meter = Meter(work, {})
    spikes = {name: rng.random((2, 50, size)) < 0.2 for name, size in (HOST | CHIP).items()}

    def events(names, part):
        now = {name: spikes[name][:, part] for name in names}
        return Events.from_dense(now, 2, len(range(*part.indices(50))))

    def counted(*parts):
        activity = meter.start(2)
        for part in parts:
            steps = len(range(*part.indices(50)))
            nothing = np.zeros((2, steps, 0), np.int32)
            activity = meter.count(activity, events(HOST, part), events(CHIP, part), nothing)
        return activity

    whole, parts = counted(slice(0, 50)), counted(slice(0, 7), slice(7, 50))
    assert whole.sample_steps == parts.sample_steps == 100
    for name in ("spikes", "busy_ns", "longest_ns"):
        assert (getattr(whole, name) == getattr(parts, name)).all()
    assert whole.spikes.sum() == sum(array.sum() for array in spikes.values())


def test_memory_for_lists_is_made_again_only_where_it_is_too_small():
    meter = Meter(drawn(np.random.default_rng(0))[0], {})
    room = meter.room(10)
    assert room.size == 10
    assert meter.room(10) is room
    assert meter.room(9) is room
    assert meter.room(11).size == 11
