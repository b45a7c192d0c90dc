"""One time step of the chip in compiled code, event by event and block by block.

Notation as in `loihi_deploy.engines.chip.plain`: q synaptic input, u current, u2 current with bias, v voltage. For each
population in turn: spikes of the last step add their weights to q; then every block of `BLOCK` compartments is updated.
Populations without a way back run `AT_A_TIME` steps before the next one begins, whose state then lies where it is near.

- q is summed in mantissas, in 16 bits; some spikes at a time, whose sums are added up in 32 bits, where it could leave
  them. Then it is shifted.
- Decay of d bits without a wide product: with x = 2^d h + l, 0 <= l < 2^d, floor(x f / 2^d) = h f + floor(l f / 2^d);
  rounding toward zero adds 2^d - 1 to l f for negative x. Where all currents of a block are below 2^(31 - d), as nearly
  always, x f needs no such split.
- Wrapping is looked for only where it can be: not in a block of such small currents that no more spikes reach than
  leave every sum within its bits.
- Wrapping to b bits and sign is a shift up and an arithmetic shift down by 31 - b.
- How many bits there are is the program's to say: the kernel is compiled for each `Widths`, which are constants in it.
- A block is passed over while nothing in it can change: no current, no arriving spike, and voltages that the last step
  left as they were.

So that the compiler vectorizes the loops over a block, they compute in int32 throughout, their indices are unsigned,
their length is a constant, and each touches few arrays: it gives up where it must prove that many do not overlap.
Each `min` and `max` would be one more function to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.delivery import BLOCK, deliver_spikes, list_spikes
from loihi_deploy.engines.kept_code import compiled, inlined

int32 = np.int32
AT_ONCE = 255
"""Spikes whose weights, of 8 bits, add up in 16."""
AT_A_TIME = 16
"""Steps of a group of populations that are run before the next group begins."""
N_BLOCK = np.uint64(BLOCK)
SIGN = np.int32(31)

# The table of populations: settings, and where each lies in the arrays of state and of spikes.
FIRST, SIZE, FACTOR_U, FACTOR_V, THRESHOLD, REFRACTORY, V_MIN, V_MAX, SHIFT = 0, 1, 2, 3, 4, 5, 6, 7, 8
FITTING, PLAIN_VOLTAGE, NARROW, BUDGET, NOISE_AT, NOISE_FIRST, SPIKES_FIRST = 9, 10, 11, 12, 13, 14, 15
FIRST_PROJECTION, N_PROJECTIONS, LOSS_V = 16, 17, 18
POPULATION_FIELDS = 19
NO_NOISE, NOISE_IN_Q, NOISE_AT_MEMBRANE = 0, 1, 2

# What a block may do in the next step without any arriving spike, and whether it has currents of 2^(31 - d) or more,
# where d is the bits of a decay.
HAS_CURRENT, HAS_CHANGED, HAS_WIDE = 1, 2, 4

# The table of sources: the delay, and where each lies among the pending spikes and in the array of spikes.
DELAY, PENDING_FIRST, PENDING_SIZE, SOURCE_SPIKES_FIRST = 0, 1, 2, 3
SOURCE_FIELDS = 4

# The table of delay lines: the node whose spikes they hold back, for how many steps, and where the line lies among the
# spikes that are held back, its rows, one for each step, and of how many bytes each is.
LINE_OF, LINE_DELAY, LINE_FIRST, LINE_SIZE = 0, 1, 2, 3
LINE_FIELDS = 4

# Projections, beside their layout: the node (source, population or delay line) before it, and how far its weights are
# shifted beyond the population's shift. The projections into a population are in falling order of that.
PRE, LIFT = 0, 1

# Counts of a sample and a population; the last one is the step after the first wrap, or 0.
SPIKES, EVENTS, WRAPS_Q, WRAPS_U, FIRST_WRAP = 0, 1, 2, 3, 4
COUNT_FIELDS = 5

# Groups of populations that are stepped together, because there are ways back among them, and the delay lines of their
# spikes; the first one has no populations, and the delay lines of sources.
FIRST_POPULATION, END_POPULATION, FIRST_LINE, END_LINE = 0, 1, 2, 3

# What is recorded: which variable, its first column in the result, its part of the array of compartments, its
# population.
VARIABLE, COLUMN, START, LENGTH, OF_POPULATION = 0, 1, 2, 3, 4
RECORD_FIELDS = 5
RECORD_SPIKES, RECORD_U, RECORD_V = 0, 1, 2


class Network(NamedTuple):
    """A program, laid out; see the tables above and `loihi_deploy.engines.delivery`.

    `bias` lies as the arrays of state do. `spikes_first` says where the lists of each source, population and delay line
    would begin, in this order, if each had room for one step.
    """

    populations: NDArray[np.int64]
    sources: NDArray[np.int64]
    table: NDArray[np.uint64]
    geometry: NDArray[np.int32]
    weights: NDArray[np.int8]
    projections: NDArray[np.int64]
    bias: NDArray[np.int32]
    spikes_first: NDArray[np.int64]
    lines: NDArray[np.int64]
    groups: NDArray[np.int64]


class State(NamedTuple):
    """State of a batch, changed in place: (n, ...) arrays. `moving` says what blocks may do; see above."""

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    refractory: NDArray[np.uint8]
    spiked: NDArray[np.uint8]
    pending: NDArray[np.uint8]
    held_back: NDArray[np.uint8]
    moving: NDArray[np.uint8]


class Arriving(NamedTuple):
    """What comes from outside: the host's spikes, with each source's column among them; noise; biases.

    `driven` has the number, the first column and the size of each population that takes biases from the input,
    (n, n_frames, columns), of which each frame is there for `hold` steps.
    """

    columns: NDArray[np.int64]
    counts: NDArray[np.int32]
    indices: NDArray[np.int32]
    noise: NDArray[np.int32]
    driven: NDArray[np.int64]
    biases: NDArray[np.int32]
    hold: int


class Wanted(NamedTuple):
    """What is to be told: counts, lists of the spikes of `watched` populations, and recorded variables."""

    counts: NDArray[np.int64]
    watched: NDArray[np.int64]
    listed_counts: NDArray[np.int32]
    listed: NDArray[np.int32]
    records: NDArray[np.int64]
    chosen: NDArray[np.int64]
    spikes: NDArray[np.uint8]
    values: NDArray[np.int32]


class Memory(NamedTuple):
    """What the loop needs beside the state.

    Accumulators, noise, biases with what is added to them, marks on blocks that were touched, lists of spikes, which
    words hold spikes, and where the host's spikes of each step begin. ``n_spikes[t, node]`` spikes of a node, which lie
    from ``places[t, node]`` on, arrive at step t of those that are run at a time: a population sent them at t - 1.
    Only what was touched is written to, and emptied again, so one can be used for run after run.
    """

    q16: NDArray[np.int16]
    q32: NDArray[np.int32]
    noise: NDArray[np.int32]
    membrane: NDArray[np.int32]
    touched: NDArray[np.uint8]
    spikes: NDArray[np.int32]
    places: NDArray[np.int64]
    n_spikes: NDArray[np.int64]
    words: NDArray[np.uint64]
    starts: NDArray[np.int64]


@inlined
def _decayed(x, factor, bits):  # type: ignore[no-untyped-def]
    mask = int32(int32(1 << bits) - 1)
    low = int32(int32(int32(x & mask) * factor) + int32(int32(x >> SIGN) & mask))
    return int32(int32(int32(x >> bits) * factor) + int32(low >> bits))


@inlined
def update_currents(u, q, first, factor, bits, shift):  # type: ignore[no-untyped-def]
    """Update u of a block where nothing can wrap and u times the factor fits in 32 bits; empties q.

    Returns the magnitudes of u, or-ed.
    """
    magnitudes = int32(0)
    mask = int32(int32(1 << bits) - 1)
    for i in range(N_BLOCK):
        k = first + i
        old = u[k]
        rounded = int32(int32(old * factor) + int32(int32(old >> SIGN) & mask))
        new = int32(int32(rounded >> bits) + int32(int32(q[k]) << shift))
        q[k] = 0
        u[k] = new
        magnitudes = int32(magnitudes | abs(new))
    return magnitudes


@inlined
def _carry(q16, q32, first, lift):  # type: ignore[no-untyped-def]
    """Add what a block of 16 bits has summed, shifted up, to that of 32; empties the former."""
    for i in range(N_BLOCK):
        k = first + i
        q32[k] = int32(q32[k] + int32(int32(q16[k]) << lift))
        q16[k] = 0


@inlined
def _currents_checked(u, q, noise, first, factor, bits, shift, q_up, u_up):  # type: ignore[no-untyped-def]
    """Update u of any block, with noise and wrapping; empties q.

    Returns the magnitudes of u, or-ed, and the wraps of q and of u.
    """
    magnitudes = wraps_q = wraps_u = int32(0)
    for i in range(N_BLOCK):
        k = first + i
        exact_q = int32(int32(int32(q[k]) << shift) + noise[k])
        q[k] = 0
        wrapped_q = int32(int32(exact_q << q_up) >> q_up)
        wraps_q = int32(wraps_q + int32(wrapped_q != exact_q))
        exact_u = int32(_decayed(u[k], factor, bits) + wrapped_q)
        new = int32(int32(exact_u << u_up) >> u_up)
        wraps_u = int32(wraps_u + int32(new != exact_u))
        u[k] = new
        magnitudes = int32(magnitudes | abs(new))
    return magnitudes, wraps_q, wraps_u


@inlined
def _settle(v, spiked, k, old, reached, threshold):  # type: ignore[no-untyped-def]
    """Let a compartment that reached more than its threshold spike; returns zero if v rests, which a spike does not."""
    fires = reached > threshold
    new = int32(0) if fires else reached
    spiked[k] = fires
    v[k] = new
    return int32(int32(old ^ new) | int32(reached ^ new))


@inlined
def update_voltages(u, v, bias, spiked, first, threshold, v_min, driven):  # type: ignore[no-untyped-def]
    """Update v of a block without leak, refractory delay, wrapping, or spikes at its highest; returns zero if v rests.

    A spike is no rest. Of a block that is `driven` by currents nobody needs to know, and it is not looked for.
    """
    change = int32(driven)
    for i in range(N_BLOCK):
        k = first + i
        old = v[k]
        reached = int32(old + int32(u[k] + bias[k]))
        reached = reached if reached > v_min else v_min
        moved = _settle(v, spiked, k, old, reached, threshold)
        if not driven:
            change = int32(change | moved)
    return change


@inlined
def _voltages_leaking(  # type: ignore[no-untyped-def]
    u, v, bias, refractory, spiked, first, loss, bits, threshold, v_min, driven
):  # fmt: skip
    """Update v of a block without wrapping or spikes at its highest, where v times what it loses fits in 32 bits.

    Returns what `update_voltages` does. Rounding v - v d / 2^b toward zero rounds what is lost away from it.
    """
    change = int32(driven)
    mask = int32(int32(1 << bits) - 1)
    for i in range(N_BLOCK):
        k = first + i
        old = v[k]
        lost = int32(int32(int32(old * loss) + (mask if old > 0 else int32(0))) >> bits)
        reached = int32(int32(old - lost) + int32(u[k] + bias[k]))
        reached = reached if reached > v_min else v_min
        reached = int32(0) if refractory[k] > 0 else reached
        moved = _settle(v, spiked, k, old, reached, threshold)
        if not driven:
            change = int32(change | moved)
    return change


@inlined
def _voltages_checked(  # type: ignore[no-untyped-def]
    u, v, bias, refractory, spiked, first, factor, bits, u_up, threshold, v_min, v_max
):  # fmt: skip
    """Update v of any block. Returns zero if v rests, and the wraps of u2. A spike is no rest."""
    change = wraps = int32(0)
    for i in range(N_BLOCK):
        k = first + i
        exact_u2 = int32(u[k] + bias[k])
        u2 = int32(int32(exact_u2 << u_up) >> u_up)
        wraps = int32(wraps + int32(u2 != exact_u2))
        old = v[k]
        reached = int32(_decayed(old, factor, bits) + u2)
        reached = reached if reached > v_min else v_min
        reached = reached if reached < v_max else v_max
        reached = int32(0) if refractory[k] > 0 else reached
        change = int32(change | _settle(v, spiked, k, old, reached, threshold))
    return change, wraps


@inlined
def _count_down(refractory, spiked, first, delay):  # type: ignore[no-untyped-def]
    """Set the counters of those that spiked, and lower all by one. Returns zero if no counter ran or runs."""
    running = np.uint8(0)
    start = np.uint8(delay - 1)
    for i in range(N_BLOCK):
        k = first + i
        old = refractory[k]
        new = start if spiked[k] != 0 else np.uint8(old - (old > 0))
        refractory[k] = new
        running = np.uint8(running | np.uint8(old | new))
    return running


@inlined
def _update(  # type: ignore[no-untyped-def]
    widths, p, narrow, fits, u, v, refractory, spiked, moving, q16, q32,
    bias, noise, touched, counts,
):  # fmt: skip
    """Update one population.

    `narrow` says that the sums of this step are in 16 bits, `fits` that nothing can wrap where currents are small.
    """
    factor_u, factor_v = int32(p[FACTOR_U]), int32(p[FACTOR_V])
    threshold, v_min, v_max = int32(p[THRESHOLD]), int32(p[V_MIN]), int32(p[V_MAX])
    shift, loss_v = int32(p[SHIFT] & 31), int32(p[LOSS_V])
    bits, q_up, u_up = widths
    bits, q_up, u_up = int32(bits), int32(q_up), int32(u_up)
    first = p[FIRST]
    # a literal 0 has a type of its own, for which all is compiled again
    wraps_q = wraps_u = np.int64(0)
    noisy = p[NOISE_AT] != NO_NOISE
    for b in range(first // BLOCK, (first + p[SIZE] + BLOCK - 1) // BLOCK):
        arrived = touched[b] != 0
        touched[b] = 0
        if not (arrived or noisy or moving[b] != 0):
            continue  # it rests
        at = np.uint64(b * BLOCK)
        current = int32(0)
        plain = fits and not moving[b] & HAS_WIDE
        if arrived or noisy or moving[b] & HAS_CURRENT:
            if plain and narrow:
                current = update_currents(u, q16, at, factor_u, bits, shift)
            elif plain:
                current = update_currents(u, q32, at, factor_u, bits, shift)
            else:
                if narrow:
                    _carry(q16, q32, at, int32(0))
                current, now_q, now_u = _currents_checked(
                    u, q32, noise, at, factor_u, bits, shift, q_up, u_up
                )
                wraps_q += now_q
                wraps_u += now_u
        driven = current != 0
        if plain and p[PLAIN_VOLTAGE]:
            if driven:
                change = update_voltages(u, v, bias, spiked, at, threshold, v_min, True)
            else:
                change = update_voltages(u, v, bias, spiked, at, threshold, v_min, False)
        else:
            if plain and loss_v >= 0:
                leak = loss_v, bits, threshold, v_min
                if driven:
                    change = _voltages_leaking(u, v, bias, refractory, spiked, at, *leak, True)
                else:
                    change = _voltages_leaking(u, v, bias, refractory, spiked, at, *leak, False)
            else:
                change, now_u2 = _voltages_checked(
                    u, v, bias, refractory, spiked, at, factor_v, bits, u_up, threshold, v_min, v_max
                )
                wraps_u += now_u2
            if p[REFRACTORY] > 1:
                change = int32(change | int32(_count_down(refractory, spiked, at, p[REFRACTORY])))
        moving[b] = (
            (HAS_CURRENT if current != 0 else 0)
            | (HAS_WIDE if current >> (31 - bits) != 0 else 0)
            | (HAS_CHANGED if change != 0 else 0)
        )
    counts[WRAPS_Q] += wraps_q
    counts[WRAPS_U] += wraps_u


@inlined
def _arrive(source, column, t, event_counts, event_indices, starts, pending, words, spikes, first):  # type: ignore[no-untyped-def]
    """List, from ``spikes[first]`` on, the spikes of a source that arrive at step `t`; returns their number."""
    sent = t - source[DELAY]
    if sent < 0:
        row = source[PENDING_FIRST] + t * source[PENDING_SIZE]
        return list_spikes(pending, row, source[PENDING_SIZE], words, spikes, first)
    n = np.int64(event_counts[sent, column])
    for k in range(n):
        spikes[first + k] = event_indices[starts[sent, column] + k]
    return n


@inlined
def _keep_pending(source, column, steps, event_counts, event_indices, starts, pending):  # type: ignore[no-untyped-def]
    """Keep what has been sent and has not arrived."""
    first, size = source[PENDING_FIRST], source[PENDING_SIZE]
    for row in range(source[DELAY]):
        line = pending[first + row * size : first + (row + 1) * size]
        sent = steps - source[DELAY] + row
        for k in range(size):
            line[k] = pending[first + (row + steps) * size + k] if sent < 0 else 0
        if sent >= 0:
            for k in range(starts[sent, column], starts[sent, column] + event_counts[sent, column]):
                line[event_indices[k]] = 1


@inlined
def _hold_back(line, t, held_back, words, spikes, first, sent_first, n_sent):  # type: ignore[no-untyped-def]
    """List the spikes that leave a delay line at step `t`, and let those of now enter; returns how many left.

    Its rows are a ring: that of step t is overwritten by what will leave ``line[LINE_DELAY]`` steps later. A run begins
    with the first row, which is the oldest.
    """
    size = line[LINE_SIZE]
    row = line[LINE_FIRST] + t % line[LINE_DELAY] * size
    n = list_spikes(held_back, row, size, words, spikes, first)
    for k in range(n):
        held_back[row + spikes[first + k]] = 0
    for k in range(n_sent):
        held_back[row + spikes[sent_first + k]] = 1
    return n


@inlined
def _deliver(  # type: ignore[no-untyped-def]
    p, narrow, table, geometry, weights, projections, spikes, spikes_first, n_spikes, q16, q32, touched
):  # fmt: skip
    """Add the weights of all arriving spikes to q; returns how many weights that were.

    In 16 bits where that is wide enough; else `AT_ONCE` spikes at a time, which are then added up in 32 bits.
    """
    events = 0
    lift, delivered = 0, False
    first_block, end_block = p[FIRST] // BLOCK, (p[FIRST] + p[SIZE] + BLOCK - 1) // BLOCK
    for r in range(p[FIRST_PROJECTION], p[FIRST_PROJECTION] + p[N_PROJECTIONS]):
        if narrow and delivered and projections[r, LIFT] < lift:
            further = int32((lift - projections[r, LIFT]) & 15)  # in 32 bits, not in 64
            for k in range(np.uint64(p[FIRST]), np.uint64(p[FIRST] + p[SIZE])):
                q16[k] = int32(q16[k]) << further
        lift = projections[r, LIFT]
        pre = projections[r, PRE]
        first, left = spikes_first[pre], n_spikes[pre]
        delivered |= left > 0
        while left > 0:
            n = left if narrow or left < AT_ONCE else AT_ONCE
            events += deliver_spikes(table[r], geometry, weights, spikes, first, n, q16, p[FIRST], touched)
            first += n
            left -= n
            if not narrow:
                for b in range(first_block, end_block):
                    if touched[b] != 0:
                        _carry(q16, q32, np.uint64(b * BLOCK), int32(lift & 31))
    return events


@inlined
def _make_noise(p, noise_values, bias, noise, membrane):  # type: ignore[no-untyped-def]
    """Put this step's noise of a population in its place: added to q, or to the bias."""
    if p[NOISE_AT] == NOISE_IN_Q:
        for k in range(p[SIZE]):
            noise[p[FIRST] + k] = noise_values[p[NOISE_FIRST] + k]
    elif p[NOISE_AT] == NOISE_AT_MEMBRANE:
        for k in range(p[SIZE]):
            membrane[p[FIRST] + k] = int32(bias[p[FIRST] + k] + noise_values[p[NOISE_FIRST] + k])


@inlined
def _take_biases(driven, i, first, biases, membrane, moving):  # type: ignore[no-untyped-def]
    """Put biases that population `i`, which begins at `first`, takes from the input in their place; it moves again."""
    for d in range(driven.shape[0]):
        population, column, size = driven[d]
        if population == i:
            for k in range(size):
                membrane[first + k] = biases[column + k]
                moving[(first + k) // BLOCK] |= HAS_CHANGED


@inlined
def _record(records, i, chosen, u, v, spiked, recorded_spikes, recorded_values):  # type: ignore[no-untyped-def]
    """Record what is wanted of population `i`."""
    for r in range(records.shape[0]):
        record = records[r]
        variable, column, start = record[VARIABLE], record[COLUMN], record[START]
        if record[OF_POPULATION] != i:
            continue
        if variable == RECORD_SPIKES:
            for k in range(record[LENGTH]):
                recorded_spikes[column + k] = spiked[chosen[start + k]]
        else:
            values = u if variable == RECORD_U else v
            for k in range(record[LENGTH]):
                recorded_values[column + k] = values[chosen[start + k]]


@inlined
def _append(spikes, first, n, out, place):  # type: ignore[no-untyped-def]
    """Copy `n` spikes from `first` on to the list, from `place` on."""
    start, end = np.uint64(first), np.uint64(place)
    for k in range(np.uint64(n)):
        out[end + k] = spikes[start + k]


@lru_cache
def simulate_with(decay_bits: int, accumulator_bits: int, current_bits: int) -> Callable[..., None]:
    """The kernel for a decay, an accumulator and a current of so many bits; see `Engine` for its arrays.

    Bits known when it is compiled let it run up to a quarter faster than bits read from a table.
    """
    widths = decay_bits, 31 - accumulator_bits, 31 - current_bits

    def simulate(  # type: ignore[no-untyped-def]
        populations, sources, table, geometry, weights, projections, bias, spikes_first, lines, groups,
        all_u, all_v, all_refractory, all_spiked, all_pending, all_held_back, all_moving,
        source_columns, all_event_counts, all_event_indices, noise_values, driven, biases, hold,
        counts, watched, out_counts, all_out_indices, records, chosen, recorded_spikes, recorded_values,
        q16, q32, noise, membrane, touched, spikes, places, n_spikes, words, starts,
        first_step, steps,
    ):  # fmt: skip
        """Run every sample of a batch for `steps` steps.

        Takes the fields of `Network`, `State`, `Arriving`, `Wanted` and `Memory` one by one: to look through tuples at
        each call takes as long as some steps.
        """
        n_sources, n_populations = sources.shape[0], populations.shape[0]
        for node in range(spikes_first.size):
            places[0, node] = spikes_first[node] * (AT_A_TIME + 1)
        for s in range(all_u.shape[0]):
            # each row is taken once: it is as much to compile as many lines are
            u, v, refractory, spiked = all_u[s], all_v[s], all_refractory[s], all_spiked[s]
            pending, held_back, moving = all_pending[s], all_held_back[s], all_moving[s]
            event_counts, event_indices, out_indices = (
                all_event_counts[s],
                all_event_indices[s],
                all_out_indices[s],
            )
            for i in range(n_populations):
                p = populations[i]
                padded = (p[SIZE] + BLOCK - 1) // BLOCK * BLOCK
                n_spikes[0, n_sources + i] = list_spikes(
                    spiked, p[FIRST], padded, words, spikes, places[0, n_sources + i]
                )
            place = 0
            for t in range(steps):
                for column in range(event_counts.shape[1]):
                    starts[t, column] = place
                    place += event_counts[t, column]
            n_out = 0
            for begin in range(0, steps, AT_A_TIME):
                n_steps = AT_A_TIME if steps - begin > AT_A_TIME else steps - begin
                for i in range(n_sources):
                    source, column = sources[i], source_columns[i]
                    for t in range(n_steps):
                        n_spikes[t, i] = _arrive(
                            source,
                            column,
                            begin + t,
                            event_counts,
                            event_indices,
                            starts,
                            pending,
                            words,
                            spikes,
                            places[t, i],
                        )
                        places[t + 1, i] = places[t, i] + n_spikes[t, i]
                for g in range(groups.shape[0]):
                    group = groups[g]
                    for t in range(n_steps):
                        step = first_step + begin + t
                        arriving_at, n_arrived = places[t], n_spikes[t]
                        for i in range(group[FIRST_LINE], group[END_LINE]):
                            line, node = lines[i], n_sources + n_populations + i
                            of = line[LINE_OF]
                            first, n_sent = arriving_at[of], n_arrived[of]
                            n_left = _hold_back(
                                line, begin + t, held_back, words, spikes, arriving_at[node], first, n_sent
                            )
                            n_arrived[node] = n_left
                            places[t + 1, node] = arriving_at[node] + n_left
                        for i in range(group[FIRST_POPULATION], group[END_POPULATION]):
                            p, node, count = populations[i], n_sources + i, counts[s, i]
                            if driven.shape[0] > 0 and (begin + t == 0 or step % hold == 0):
                                _take_biases(driven, i, p[FIRST], biases[s, step // hold], membrane, moving)
                            if p[NOISE_AT] != NO_NOISE:
                                _make_noise(p, noise_values[begin + t], bias, noise, membrane)
                            n_arriving = 0
                            for r in range(p[FIRST_PROJECTION], p[FIRST_PROJECTION] + p[N_PROJECTIONS]):
                                n_arriving += n_arrived[projections[r, PRE]]
                            narrow = p[NARROW] != 0 or n_arriving <= p[BUDGET]
                            fits = n_arriving <= p[FITTING]
                            place = arriving_at[node] + n_arrived[node]
                            count[EVENTS] += _deliver(
                                p,
                                narrow,
                                table,
                                geometry,
                                weights,
                                projections,
                                spikes,
                                arriving_at,
                                n_arrived,
                                q16,
                                q32,
                                touched,
                            )
                            _update(
                                widths,
                                p,
                                narrow,
                                fits,
                                u,
                                v,
                                refractory,
                                spiked,
                                moving,
                                q16,
                                q32,
                                membrane,
                                noise,
                                touched,
                                count,
                            )
                            padded = (p[SIZE] + BLOCK - 1) // BLOCK * BLOCK
                            n_new = list_spikes(spiked, p[FIRST], padded, words, spikes, place)
                            places[t + 1, node] = place
                            n_spikes[t + 1, node] = n_new
                            count[SPIKES] += n_new
                            if count[FIRST_WRAP] == 0 and count[WRAPS_Q] + count[WRAPS_U] > 0:
                                count[FIRST_WRAP] = step + 1
                            if records.shape[0] > 0:
                                _record(
                                    records,
                                    i,
                                    chosen,
                                    u,
                                    v,
                                    spiked,
                                    recorded_spikes[s, step],
                                    recorded_values[s, step],
                                )
                for t in range(n_steps):
                    for i in range(watched.size):
                        node = n_sources + watched[i]
                        n_sent = n_spikes[t + 1, node]
                        out_counts[s, begin + t, i] = n_sent
                        _append(spikes, places[t + 1, node], n_sent, out_indices, n_out)
                        n_out += n_sent
                for node in range(n_sources, n_sources + n_populations):
                    n_spikes[0, node] = n_spikes[n_steps, node]
                    for k in range(n_spikes[0, node]):
                        spikes[places[0, node] + k] = spikes[places[n_steps, node] + k]
            for i in range(n_sources):
                _keep_pending(
                    sources[i], source_columns[i], steps, event_counts, event_indices, starts, pending
                )

    kernel: Callable[..., None] = compiled(simulate)
    return kernel
