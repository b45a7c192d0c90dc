"""Sums at the edges of 16 and of 32 bits, of 21 and of 23: the compiled engine beside the plain one, by whole runs."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.engines.chip import kernels as k
from loihi_deploy.engines.chip.compiled import _groups
from loihi_deploy.engines.chip.overflow import _row_sums
from loihi_deploy.engines.events import Events
from loihi_deploy.errors import BackendError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, Projection, Readout
from loihi_deploy.ir.program import BiasInput, Compartments, Noise, Program, SpikeSource, Synapses
from tests.engines.chip.test_compiled import EVERYTHING, assert_same
from tests.engines.programs import NO_GRAPH, random_spikes

NEVER = 64 * (2**17 - 1)
LOW = -(2**23) + 1


def in_both(program, spikes, steps, **options):
    """What both engines give, which has to be the same."""
    record = {p.name: EVERYTHING for p in program.populations}
    expected = plain.simulate(program, spikes, steps, record, **options)
    found = compiled.simulate(program, spikes, steps, record, **options)
    assert_same(found, expected)
    assert found.first_wrap == expected.first_wrap
    return expected


def dense(rows):
    return Dense(np.array(rows, np.int8))


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("signs", [(1, -1), (1, 1), (-1, -1)])
@pytest.mark.parametrize("threshold", [64, NEVER])
def test_sums_that_16_bits_hold_and_one_more(last, signs, threshold):
    """258 times 127 and `last`: 32,766 to 32,768, of either sign, with and without as much on the other side."""
    rows = [[sign * 127] * 258 + [sign * last] for sign in signs]
    p = Compartments("p", (2,), 4095, 0, threshold, 0, v_min=LOW)
    program = Program(
        NO_GRAPH, (SpikeSource("s", (259,)),), (p,), (Synapses("s", "p", dense(rows), 6),), NO_GRAPH
    )
    spikes = {"s": np.ones((1, 5, 259), bool)}
    spikes["s"][0, 2, :100] = False
    found = in_both(program, spikes, 5)
    exact = [sign * (258 * 127 + last) * 64 for sign in signs]
    assert found.recorded["p"]["u"][0, 1].tolist() == [(q + 2**21) % 2**22 - 2**21 for q in exact]
    assert found.counts["p"].overflows_q == 3 * sum(q == 2**21 for q in exact)  # -2^21 still fits
    bounds = compiled.engine(program).bounds["p"].mantissas
    most = 258 * 127 + last
    assert bounds == (-most if -1 in signs else 0, most if 1 in signs else 0)


ARRIVING = [0, 1, 2, 100, 254, 255, 256, 257, 258, 259, 260, 383, 384, 510, 511, 512, 600]


@pytest.mark.parametrize("shifts", [(6, 6), (7, 6), (6, 7)])
@pytest.mark.parametrize("weight", [127, -127, 126, 64, 1])
@pytest.mark.parametrize("decay", [0, 4095])
def test_any_number_of_heavy_spikes(shifts, weight, decay):
    """Two ways into a population, of which every number of spikes arrives by one, and a few by the other."""
    rng = np.random.default_rng(abs(weight))
    first = np.full((3, 600), weight)
    first[1] = -weight
    first[2] = rng.integers(-127, 128, 600)
    p = Compartments("p", (3,), decay, 0, NEVER, 0, v_min=LOW)
    program = Program(
        NO_GRAPH,
        (SpikeSource("s", (600,)), SpikeSource("t", (7,))),
        (p,),
        (
            Synapses("s", "p", dense(first), shifts[0]),
            Synapses("t", "p", dense(np.full((3, 7), 127)), shifts[1]),
        ),
        NO_GRAPH,
    )
    spikes = {"s": np.zeros((1, 40, 600), bool), "t": np.zeros((1, 40, 7), bool)}
    for t, n in enumerate(2 * ARRIVING):
        spikes["s"][0, t, rng.permutation(600)[:n]] = True
        spikes["t"][0, t, : (t % 3) * (t >= len(ARRIVING))] = True
    counts = in_both(program, spikes, 40).counts["p"]
    assert counts.synaptic_events == 3 * (spikes["s"][:, :-1].sum() + spikes["t"][:, :-1].sum())
    if decay and abs(weight) > 100:
        assert counts.overflows_q > 0


@pytest.mark.parametrize("seed", range(16))
def test_drawn_programs_that_wrap_and_nearly_do(seed):
    """Weights of one sign, for the most part, and as many spikes as it takes."""
    rng = np.random.default_rng(seed)
    sizes = {"a": int(rng.choice([1, 7, 255, 256, 257, 300])), "b": int(rng.choice([3, 40, 256, 513]))}
    sources = (SpikeSource("s", (int(rng.integers(100, 700)),)), SpikeSource("t", (30,)))
    nodes = {source.name: source.size for source in sources} | sizes

    def synapses(pre, post):
        weights = rng.integers(-20, 128, (nodes[post], nodes[pre])) * rng.choice([-1, 1])
        transform = Dense(weights.astype(np.int8))
        transform = transform.csr() if rng.random() < 0.3 else transform
        return Synapses(pre, post, transform, int(rng.integers(6, 8)), delays=int(rng.choice([0, 0, 3])))

    populations = tuple(
        Compartments(
            name,
            (size,),
            int(rng.choice([0, 40, 741, 4094, 4095])),
            int(rng.choice([0, 0, 200, 4095])),
            int(rng.choice([64, 64 * 90_000, NEVER])),
            rng.integers(-4095, 4096, size) << int(rng.integers(0, 8)),
            refractory=int(rng.choice([1, 1, 3])),
            v_min=int(rng.choice([0, LOW])),
            noise=Noise(int(rng.integers(5, 24)), 0, bool(rng.integers(2))) if rng.random() < 0.2 else None,
        )
        for name, size in sizes.items()
    )
    ways = [("s", "a"), ("t", "a"), ("a", "b"), ("s", "b"), ("b", "a"), ("b", "b")]
    chosen = [way for way in ways if rng.random() < 0.6] or ways[:1]
    program = Program(NO_GRAPH, sources, populations, tuple(synapses(*way) for way in chosen), NO_GRAPH)
    spikes = random_spikes(program, 2, 20, float(rng.choice([0.1, 0.4, 1.0])), seed)
    in_both(program, spikes, 20, seed=seed)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("last", ["current", "bias"])
def test_the_last_values_that_a_current_holds_and_the_next_ones(last, sign):
    """301 compartments on both sides of 2^23, which a spike of 40 << 6, or a bias, brings there."""
    near = np.arange(-150, 151)
    start = (
        sign * (2**23 + 2047 - 40 * 64 + near) if last == "current" else sign * (2**23 + 2047 - 2000 + near)
    )
    bias = np.zeros(301, np.int32) if last == "current" else np.full(301, sign * 2000)
    p = Compartments("p", (301,), 0, 0, NEVER, bias, v_min=LOW)
    weights = dense(np.full((301, 1), sign * 40))
    program = Program(NO_GRAPH, (SpikeSource("s", (1,)),), (p,), (Synapses("s", "p", weights, 6),), NO_GRAPH)
    rest = plain.initial_state(program, 1, 0)
    pending = {"s": np.full((1, 1, 1), last == "current")}
    state = replace(rest, u={"p": start[None].astype(np.int32)}, pending=pending)
    found = in_both(program, {"s": np.zeros((1, 1, 1), bool)}, 1, state=state)
    lost = -(-abs(start) // 4096)  # of 2^12 parts one is lost, and what is left is rounded toward zero
    reached = sign * (abs(start) - lost + (40 * 64 if last == "current" else 2000))
    wrapped = (reached > 2**23 - 1) | (reached < -(2**23))
    assert found.counts["p"].overflows_u == wrapped.sum()
    assert 100 < wrapped.sum() < 200
    assert {2**23 - 1, 2**23} <= set(sign * reached)


ONE = np.ones((1, 1), np.int8)


@pytest.mark.parametrize(
    ("ways", "groups"),
    [
        ("", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("01 12 23", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("00 11", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("10", [(0, 2), (2, 3), (3, 4)]),
        ("31", [(0, 1), (1, 4)]),
        ("10 32", [(0, 2), (2, 4)]),
        ("20 31", [(0, 4)]),
        ("20 21", [(0, 3), (3, 4)]),
        ("21 30", [(0, 4)]),
    ],
)
def test_populations_between_the_ends_of_a_way_back_are_stepped_together(ways, groups):
    """And each group takes the delay lines of what it sends; those of sources come first."""
    names = "0123"
    populations = tuple(Compartments(name, (1,), 0, 0, 64, 0) for name in names)
    synapses = [Synapses(pre, post, Dense(ONE), 6) for pre, post in ways.split()]
    synapses.append(Synapses("s", "0", Dense(ONE), 6))
    program = Program(NO_GRAPH, (SpikeSource("s", (1,)),), populations, tuple(synapses), NO_GRAPH)
    lines = [-1, -1, 0, 2, 2, 3]
    expected = [(0, 0, 0, 2)]
    for first, end in groups:
        inside = [k for k, of in enumerate(lines) if first <= of < end]
        begin = expected[-1][3]
        expected.append((first, end, begin, begin + len(inside)))
    assert _groups(program, lines).tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("groups", [1, 2])
def test_sums_of_rows_do_not_depend_on_how_weights_are_stored(groups):
    """Of a convolution they are those of a channel, which an output in the middle reaches."""
    rng = np.random.default_rng(groups)
    kernel = rng.integers(-127, 128, (3, 2, 4 // groups, 6)).astype(np.int8)
    conv = Conv2D(kernel, (1, 1), (1, 0), (5, 4, 4), (5, 3, 6), groups)
    matrix = conv.csr().toarray().astype(int)
    low, high = np.minimum(matrix, 0).sum(axis=1), np.maximum(matrix, 0).sum(axis=1)
    for transform in (Dense(matrix.astype(np.int8)), conv.csr()):
        found = _row_sums(transform)
        assert (found[0] == low).all()
        assert (found[1] == high).all()
    of_channel = _row_sums(conv)
    assert (of_channel[0] == np.tile(low.reshape(15, 6).min(axis=0), 15)).all()
    assert (of_channel[1] == np.tile(high.reshape(15, 6).max(axis=0), 15)).all()


def test_some_neurons_are_recorded_as_they_are_among_all():
    """In any order, of two populations, each with variables of its own; steps before and behind stay as they are."""
    rng = np.random.default_rng(0)
    sizes = {"a": 300, "b": 20}
    populations = tuple(Compartments(name, (n,), 741, 200, 64 * 400, 70) for name, n in sizes.items())
    weights = {name: dense(rng.integers(-90, 128, (n, 50))) for name, n in sizes.items()}
    synapses = tuple(Synapses("s", name, matrix, 6) for name, matrix in weights.items())
    program = Program(NO_GRAPH, (SpikeSource("s", (50,)),), populations, synapses, NO_GRAPH)
    spikes = random_spikes(program, 2, 20, 0.3, 0)
    record = {"b": ("v", "spikes"), "a": ("spikes", "u")}
    expected = plain.simulate(program, spikes, 20, record)
    whole = expected.recorded
    chosen = {"a": rng.permutation(300)[:40], "b": np.array([19, 3, 0])}
    chip = compiled.Engine(program)
    recording = chip.recording(record, chosen)
    assert (recording.n_spikes, recording.n_values) == (43, 43)
    recorded = np.zeros((2, 24, 43), bool), np.full((2, 24, 43), -5, np.int32)
    counts = chip.empty_counts(2)
    out = chip.run(
        *(Events.from_dense(spikes, 2, 20), chip.start(2), 2, 20, chip.noise_values(None, 20)),
        *({"b": 20}, recording, recorded, counts),
    )
    for name, variables in record.items():
        for variable in variables:
            array = recorded[variable != "spikes"][:, :, recording.columns[name, variable]]
            assert (array[:, 2:22] == whole[name][variable][:, :, chosen[name]]).all()
            assert (array[:, [0, 1, 22, 23]] == (0 if variable == "spikes" else -5)).all()
    assert (out.to_dense()["b"] == whole["b"]["spikes"]).all()
    assert chip.totals(counts) == (expected.counts, None)


@pytest.mark.parametrize(
    ("changes", "loss", "plain_voltage"),
    [
        ({}, 0, 1),
        ({"refractory": 2}, 0, 0),
        ({"decay_v": 1}, 1, 0),
        ({"decay_v": 255}, 255, 0),  # times 2^23 - 1 it fits in 31 bits, with room for rounding
        ({"decay_v": 256}, -1, 0),
        ({"decay_v": 127, "v_min": -(2**24) + 1}, 127, 0),
        ({"decay_v": 128, "v_min": -(2**24) + 1}, -1, 0),
        ({"v_min": -(2**31) + 1}, 0, 1),
        ({"v_max": 511, "threshold": 448}, 0, 1),
        ({"v_max": 511, "threshold": 512}, -1, 0),  # a voltage at its highest does not spike
    ],
)
def test_ways_of_voltages_that_can_be_taken(changes, loss, plain_voltage):
    given = {"decay_u": 4095, "decay_v": 0, "threshold": 64, "bias": 0} | changes
    program = Program(NO_GRAPH, (), (Compartments("p", (3,), **given),), (), NO_GRAPH)
    (row,) = compiled.Engine(program).network.populations
    assert (row[k.LOSS_V], row[k.PLAIN_VOLTAGE]) == (loss, plain_voltage)
    assert row[k.FACTOR_V] == 4096 - given["decay_v"]


@pytest.mark.parametrize(
    ("rows", "shifts", "narrow", "budget"),
    [
        ([[0]], (6,), 1, 32767),
        ([[-1]], (6,), 1, 32767),
        ([[127] * 258 + [1]], (6,), 1, 258),
        ([[127] * 258 + [2]], (7,), 0, 258),
        ([[-127] * 258 + [-1]], (7,), 1, 258),
        ([[-127] * 258 + [-2]], (6,), 0, 258),
        ([[127] * 86], (6, 7), 1, 129),  # 86 and twice as many
        ([[127] * 87], (7, 6), 0, 129),
        ([[100, -100]], (7, 7), 1, 327),
    ],
)
def test_as_many_spikes_as_16_bits_hold(rows, shifts, narrow, budget):
    """In units of the smallest shift; sums that could leave them are added in 32 bits where more spikes arrive."""
    n = len(rows[0])
    p = Compartments("p", (1,), 4095, 0, 64, 0)
    synapses = tuple(Synapses("s", "p", dense(rows), shift) for shift in shifts)
    program = Program(NO_GRAPH, (SpikeSource("s", (n,)),), (p,), synapses, NO_GRAPH)
    (row,) = compiled.Engine(program).network.populations
    assert (row[k.NARROW], row[k.BUDGET], row[k.SHIFT]) == (narrow, budget, min(shifts))


@pytest.mark.parametrize("weight", [127, -127, 1])
def test_a_current_that_keeps_everything_grows_until_it_wraps(weight):
    """On a chip that adds nothing to a stored decay: 250 heavy spikes take two steps and some to pass 2^23."""
    p = Compartments("p", (2,), 0, 0, NEVER, 0, v_min=LOW)
    transform = dense(np.full((2, 250), weight))
    arithmetic = replace(loihi_arithmetic(), current_decay_offset=0)
    program = Program(
        NO_GRAPH,
        (SpikeSource("s", (250,)),),
        (p,),
        (Synapses("s", "p", transform, 6),),
        NO_GRAPH,
        arithmetic=arithmetic,
    )
    spikes = {"s": np.ones((1, 40, 250), bool)}
    counts = in_both(program, spikes, 40).counts["p"]
    assert (counts.overflows_u > 0) == (abs(weight) > 1)
    low, high = compiled.engine(program).bounds["p"].u
    assert (low < -(2**40)) == (weight < 0)
    assert (high > 2**40) == (weight > 0)


@pytest.mark.parametrize("decay", [0, 1, 7])
def test_voltages_far_below_what_quantization_gives(decay):
    """Each step takes 2^23 away, for 190 steps: 1.6e9 of the 2^31 that a program of integers may ask for."""
    p = Compartments("p", (3,), 0, decay, 64, 0, v_min=-(2**31) + 1)
    weights = dense([[-32], [-31], [-33]])
    program = Program(NO_GRAPH, (SpikeSource("s", (1,)),), (p,), (Synapses("s", "p", weights, 6),), NO_GRAPH)
    rest = plain.initial_state(program, 1, 0)
    state = replace(rest, u={"p": np.full((1, 3), -(2**23) + 4096, np.int32)})
    found = in_both(program, {"s": np.ones((1, 150, 1), bool)}, 150, state=state)
    assert (found.recorded["p"]["v"][0, -1] < -(2**30)).any()


@pytest.mark.parametrize("engine", [plain, compiled])
def test_the_first_wrap_is_that_of_the_first_sample_and_its_first_step(engine):
    """Of two populations that wrap in one step the one in front; sample 0 has none, sample 2 an earlier one."""
    names = ("z", "a")
    populations = tuple(Compartments(name, (1,), 4095, 0, NEVER, 0) for name in names)
    synapses = tuple(Synapses("s", name, dense([[127] * 200]), 7) for name in names)
    program = Program(NO_GRAPH, (SpikeSource("s", (200,)),), populations, synapses, NO_GRAPH)
    spikes = np.zeros((4, 8, 200), bool)
    spikes[1, 5:], spikes[2, 2], spikes[0, :, :129] = True, True, True
    found = engine.simulate(program, {"s": spikes}, 8)
    assert found.first_wrap == (1, 6, "z")
    assert [found.counts[name].overflows_q for name in names] == [2 + 1, 2 + 1]
    assert engine.simulate(program, {"s": spikes[2:]}, 8).first_wrap == (0, 3, "z")
    assert engine.simulate(program, {"s": spikes[::3]}, 8).first_wrap is None


@pytest.mark.parametrize("order", [("p", "r"), ("r", "p")])
def test_two_populations_that_take_their_biases_from_the_input(order):
    """In another order than they stand in, one of more than a block, and one between them that takes none."""
    rng = np.random.default_rng(0)
    sizes = {"p": 300, "q": 4, "r": 7}
    encoder = Graph(
        (Input("x", (1,)),),
        (),
        tuple(Projection("x", name, Dense(np.ones((sizes[name], 1)))) for name in order),
        tuple(Readout(name, (sizes[name],), np.zeros(sizes[name])) for name in order),
    )
    program = Program(
        encoder,
        (),
        tuple(Compartments(name, (n,), 741, 0, 64 * 300, 9) for name, n in sizes.items()),
        (Synapses("p", "q", dense(rng.integers(-90, 99, (4, 300))), 6),),
        NO_GRAPH,
        bias_inputs=tuple(BiasInput(name, 1.0, 4095, 7) for name in order),
    )
    biases = {name: rng.integers(-900, 4000, (2, 4, sizes[name])).astype(np.int32) for name in order}
    found = in_both(program, {}, 20, biases=biases)
    assert all(counts.spikes > 0 for counts in found.counts.values())


def test_memory_is_used_again_where_it_is_large_enough_for_as_many_sources():
    p = Compartments("p", (300,), 741, 0, 64, 0)
    chip = compiled.Engine(Program(NO_GRAPH, (), (p,), (), NO_GRAPH))
    made = chip._memory(3, 5)
    assert chip._memory(3, 5) is chip._memory(1, 5) is made
    for steps, columns in ((4, 5), (2, 3), (3, 4), (9, 9)):
        other = chip._memory(steps, columns)
        assert other is not made
        assert other.starts.shape == (steps, columns)
        made = other


@pytest.mark.parametrize(("last", "fits"), [(7, True), (8, True), (9, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_up_to_the_32_bits_that_they_are_added_in(sign, last, fits):
    """132,104 times 127 and 8 are 2^24, times 2^7 is 2^31: the lowest number of 32 bits, and one beyond the highest."""
    rows = np.full((1, 132_105), sign * 127, np.int8)
    rows[0, -1] = sign * last
    program = Program(
        NO_GRAPH,
        (SpikeSource("s", (132_105,)),),
        (Compartments("p", (1,), 4095, 0, 64, 0),),
        (Synapses("s", "p", Dense(rows), 7),),
        NO_GRAPH,
    )
    if fits and (last < 8 or sign < 0):
        assert compiled.Engine(program).bounds["p"].q[sign > 0] == sign * (2**24 - 8 + last) << 7
        return
    with pytest.raises(BackendError) as caught:
        compiled.Engine(program)
    (problem,) = caught.value.problems
    ends = sorted([0, sign * (2**24 - 8 + last) << 7])
    assert problem.value == f"{ends[0]:,} to {ends[1]:,}"
    assert problem.limit == "-2,147,483,648 to 2,147,483,647"


@pytest.mark.parametrize("delay", [0, 3])
def test_where_all_spike_in_every_step_lists_are_as_full_as_can_be(delay):
    """Of sources, populations of one block and more, and delay lines, for more steps than are run at a time."""
    sizes = {"a": 8, "b": 256, "c": 257}
    populations = tuple(
        Compartments(name, (n,), 4095, 0, 64, 4095 << 7, v_min=LOW) for name, n in sizes.items()
    )
    ways = [("s", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("b", "b")]
    nodes = {"s": 24, **sizes}
    rng = np.random.default_rng(0)
    synapses = tuple(
        Synapses(pre, post, dense(rng.integers(-3, 4, (nodes[post], nodes[pre]))), 6, delays=delay)
        for pre, post in ways
    )
    program = Program(NO_GRAPH, (SpikeSource("s", (24,)),), populations, synapses, NO_GRAPH)
    found = in_both(program, {"s": np.ones((2, 40, 24), bool)}, 40)
    for name, counts in found.counts.items():
        assert counts.spikes == 2 * 40 * sizes[name]


@pytest.mark.parametrize("cut", [1, 5, 8, 17])
def test_a_run_with_biases_may_be_cut_within_a_frame(cut):
    """With another thread's memory, as it is where a run goes on: frames of eight steps, begun in the middle."""
    rng = np.random.default_rng(cut)
    encoder = Graph(
        (Input("x", (1,)),),
        (),
        (Projection("x", "p", Dense(np.ones((30, 1)))),),
        (Readout("p", (30,), np.zeros(30)),),
    )
    program = Program(
        encoder,
        (),
        (Compartments("p", (30,), 741, 0, 64 * 300, 0),),
        (),
        NO_GRAPH,
        bias_inputs=(BiasInput("p", 1.0, 4095, 7),),
    )
    biases = {"p": rng.integers(-900, 4000, (2, 3, 30)).astype(np.int32)}
    whole = plain.simulate(program, {}, 24, {"p": ("v",)}, biases=biases).recorded["p"]["v"]
    recorded, arrays = (np.zeros((2, 24, 0), bool), np.zeros((2, 24, 30), np.int32)), None
    for part in (slice(0, cut), slice(cut, 24)):
        chip = compiled.Engine(program)
        arrays = arrays or chip.start(2)
        steps = part.stop - part.start
        chip.run(
            *(Events.from_dense({}, 2, steps), arrays, part.start, steps, chip.noise_values(None, steps)),
            *({}, chip.recording({"p": ("v",)}), recorded, chip.empty_counts(2), biases, 8),
        )
    assert (recorded[1] == whole).all()
