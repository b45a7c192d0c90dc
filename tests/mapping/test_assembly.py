"""A mapping put together from cores by hand: where they lie, what flows between them, which rules they break."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.errors import MappingError
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.assembly import _host_spikes, _orders, _population_plan, assemble
from loihi_deploy.mapping.host_messages import messages_of_spikes
from loihi_deploy.mapping.layout import as_matrix, grids
from loihi_deploy.mapping.plan import Core, Slice, Wiring
from loihi_deploy.mapping.rules import broken
from loihi_deploy.mapping.senders import sender_usage
from loihi_deploy.mapping.traffic import Traffic, add_output_usage
from loihi_deploy.mapping.usage import slice_bundles
from tests.mapping.networks import chain, compartments, sparse, weights
from tests.mapping.test_mapper import board_with, problems_of
from tests.mapping.test_restriction import read

LIMITS = board_with().chip.core


def box(name, start, stop, *wirings):
    return Slice(name, start, stop, wirings=wirings)


def test_chips_are_filled_along_the_network_and_along_the_rows_of_images():
    """By the middle of the first slice of a core, as part of the height of its image; else in the order given."""
    image, half, flat = ("image", 8), ("half", 2), ("flat", 1)
    rows = [(image, 0, 3), (image, 3, 6), (image, 6, 8), (half, 0, 1), (half, 1, 2), (flat, 0, 1)]
    cores = [[box(name, (a, 0, 0), (b, 1, 1))] for (name, _), a, b in rows]
    cores[0].append(box("other", (7, 0, 0), (8, 1, 1)))
    middles = [1.5 / 8, 4.5 / 8, 7 / 8, 0.25, 0.75, 0.5]
    first, second = _orders(cores)
    assert first == list(range(6))
    assert second == np.argsort(middles, kind="stable").tolist() == [0, 3, 5, 1, 4, 2]
    assert _orders([[box("flat", (0, 0, k), (1, 1, k + 1))] for k in range(4)])[1] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rate", "spikes"), [(0.0, 0), (1.0, 1), (100.0, 1), (100.1, 2), (300.0, 3), (300.0 + 1e-8, 3)]
)
def test_spikes_of_the_host_are_counted_for_each_core_of_a_chip_and_rounded_up(rate, spikes):
    program = chain((4,), [("dense", 3)])  # in steps of a millisecond
    flows = [
        Traffic("in", "in", 0, 1, 1, 4),
        Traffic("in", "in", 1, 1, 1, 6),
        Traffic("in", "in", 2, 1, 1, 50),  # on another chip
        Traffic("dense1", 0, 1, 1, 1, 70),  # on chip
    ]
    rates = {"in": rate, "dense1": 1000.0}
    assert _host_spikes(program, flows, np.array([3, 3, 1]), 3, rates) == spikes


def core(*pieces):
    return Core(0, 0, pieces, {})


def test_the_most_frequent_shape_is_told_the_larger_one_of_two():
    program, board = chain((4,), [("dense", 12), ("dense", 5)]), board_with()
    a, b = (lambda n, s="dense1": box(s, (0, 0, 0), (1, 1, n))), box("dense2", (0, 0, 0), (1, 1, 9))
    for cores, shape, n_slices, n_cores, shared in (
        ([core(a(2)), core(a(3)), core(a(2))], 2, 3, 3, 0),
        ([core(a(2)), core(a(3), b)], 3, 2, 2, 1),
        ([core(a(2), b), core(a(3), a(2)), core(b), core(b, a(4))], 2, 4, 3, 2),
    ):
        plan = _population_plan(program, "dense1", cores, board)
        assert (plan.slice_shape, plan.n_slices) == ((1, 1, shape), n_slices)
        assert (plan.n_cores, plan.n_shared, plan.shape) == (n_cores, shared, (12,))


def several():
    """A source and three layers, one of them behind a matrix with zeros and a loop, on cores by hand."""
    rng = np.random.default_rng(0)
    program = chain((6,), [("dense", 8), ("dense", 6), ("dense", 4)])
    first, second, third = program.synapses
    loop = Synapses("dense2", "dense1", Dense(weights(rng, 8, 6)), 6)
    second = replace(second, transform=sparse(rng, 6, 8, 0.3))
    program = replace(program, synapses=(first, second, third, loop))
    rows = [Wiring(k, "rows", compressed=k != 1) for k in range(4)]
    pixels = Wiring(2, "pixels", 16, 3)
    into_first = (rows[0], rows[3])
    cores = [
        [box("dense1", (0, 0, 0), (1, 1, 5), *into_first)],
        [box("dense1", (0, 0, 5), (1, 1, 8), *into_first)],
        [box("dense2", (0, 0, 0), (1, 1, 2), rows[1])],
        [
            box("dense2", (0, 0, 2), (1, 1, 6), rows[1]),
            replace(box("dense3", (0, 0, 0), (1, 1, 1), pixels), offset=4),
        ],
        [box("dense3", (0, 0, 1), (1, 1, 4), pixels)],
    ]
    return program, cores


def expected_flows(program, mapping):
    """Rows of `Mapping.flows` with the sender, by looking at each neuron and each synapse."""
    from_host = {source.name: -1 - k for k, source in enumerate(program.sources)}
    holder = {}
    for k, each in enumerate(mapping.cores):
        for piece in each.slices:
            for neuron in piece.neurons(grids(program)[piece.population]).tolist():
                holder[piece.population, neuron] = k
    found = {}
    for post, each in enumerate(mapping.cores):
        for piece in each.slices:
            rows = piece.neurons(grids(program)[piece.population])
            for wiring in piece.wirings:
                synapses = program.synapses[wiring.projection]
                held = as_matrix(synapses.transform)
                weights_ = held.csr().toarray()[rows]
                used = np.ones(weights_.shape[1], bool) if isinstance(held, Dense) else weights_.any(axis=0)
                per_axon = wiring.channels if wiring.kind == "pixels" else 1
                for axon in range(0, weights_.shape[1], per_axon):
                    senders = {}
                    for neuron in range(axon, min(axon + per_axon, weights_.shape[1])):
                        if used[neuron]:
                            pre = holder.get((synapses.pre, neuron), from_host.get(synapses.pre))
                            senders[pre] = senders.get(pre, 0) + 1
                    for pre, neurons in senders.items():
                        row = found.setdefault((synapses.pre, pre, post), [0, 0, 0])
                        row[0] += 1
                        row[1] += 1  # a slot for each discrete axon, and for each of pop16
                        row[2] += neurons
    return {key: tuple(row) for key, row in found.items()}


@pytest.mark.parametrize("cores_of_a_chip", [8, 2])
def test_flows_are_those_of_each_neuron_and_in_order(cores_of_a_chip):
    program, cores = several()
    board = board_with(mesh_columns=1, mesh_rows=1, cores_per_tile=cores_of_a_chip)
    mapping = assemble(program, board, cores)
    assert mapping.n_chips == -(-5 // cores_of_a_chip)
    wanted = expected_flows(program, mapping)
    rows = [(s, *row) for s, row in zip(mapping.senders, mapping.flows.tolist(), strict=True)]
    assert {(s, pre, post): tuple(rest) for s, pre, post, *rest in rows} == wanted
    assert [row[:3] for row in rows] == sorted(wanted)
    for k, each in enumerate(mapping.cores):
        mine = [(post, axons, slots) for _, pre, post, axons, slots, _ in rows if pre == k]
        apart = sum(axons for post, axons, _ in mine if mapping.cores[post].chip != each.chip)
        assert each.usage["out_axon_slots"] == sum(slots for _, _, slots in mine) + apart
        assert each.usage["destinations"] == len({post for post, *_ in mine})
    costs = messages_of_spikes(program, mapping)
    assert costs.shape == (mapping.n_chips, 6)
    for chip in range(mapping.n_chips):
        hearing = [
            k
            for k, each in enumerate(mapping.cores)
            if each.chip == chip and each.slices[0].population == "dense1"
        ]
        assert costs[chip].tolist() == [len(hearing)] * 6


def test_output_axons_take_a_slot_more_where_they_leave_the_chip():
    flows = [
        Traffic("a", 0, 1, 5, 7, 9),
        Traffic("a", 0, 2, 3, 4, 9),
        Traffic("b", 0, 2, 2, 2, 9),
        Traffic("b", 2, 0, 1, 1, 9),
        Traffic("in", "in", 0, 99, 99, 99),
    ]
    usage = [{"out_axon_slots": 100, "destinations": 0} for _ in range(3)]
    add_output_usage(usage, flows, [0, 0, 1], LIMITS)
    assert LIMITS.extra_slots_interchip == 1
    assert [used["out_axon_slots"] for used in usage] == [100 + 7 + (4 + 3) + (2 + 2), 100, 100 + 2]
    assert [used["destinations"] for used in usage] == [2, 0, 1]


def test_what_is_broken_is_an_error_unless_it_is_a_warning_or_was_made_one():
    program, cores = several()
    tight = board_with(max_destination_groups=1, max_in_axons=11)
    assert assemble(program, board_with(max_destination_groups=1, max_in_axons=12), cores).warnings
    with pytest.raises(MappingError) as refusal:
        assemble(program, tight, cores)
    (problem,) = refusal.value.problems
    assert (problem.what, problem.value, problem.limit) == ("too many input axons", 12, 11)
    assert problem.where == "2 times core with 'dense1'"
    lenient = assemble(program, tight, cores, frozenset({"in_axons"}), remedies={"in_axons": "Do this"})
    axons = [text for text in lenient.warnings if "input axons" in text]
    assert len(axons) == 1
    assert "Do this" in axons[0]
    kinds = ("input axons", "sends spikes to", "kinds of output axons")
    assert [sum(kind in text for text in lenient.warnings) for kind in kinds] == [1, 3, 2]
    assert len(lenient.warnings) == 6
    rates = {"in": 1000.0, "dense1": 1.0, "dense2": 0.0, "dense3": 0.0}
    busy = replace(board_with(), chip=replace(board_with().chip, host_spikes_per_step=11))
    assert any("input spikes" in text for text in assemble(program, busy, cores, rates=rates).warnings)
    assert not any("input spikes" in text for text in assemble(program, busy, cores).warnings)
    free = replace(busy, chip=replace(busy.chip, host_spikes_per_step=12))
    assert not any("input spikes" in text for text in assemble(program, free, cores, rates=rates).warnings)
    assert assemble(program, free, cores, rates=rates).rates == rates
    assert assemble(program, free, cores).rates is None


def seen_by_several(*wirings):
    """A layer of 8 neurons on cores of 5 and 3, and one behind it for each way to wire, on a core of its own."""
    rng = np.random.default_rng(0)
    first = chain((6,), [("dense", 8)])
    behind = [compartments(rng, f"behind {k}", (4,)) for k in range(len(wirings))]
    synapses = [Synapses("dense1", each.name, Dense(weights(rng, 4, 8)), 6) for each in behind]
    program = replace(first, populations=(*first.populations, *behind), synapses=(*first.synapses, *synapses))
    into = Wiring(0, "rows", compressed=True)
    cores = [[box("dense1", (0, 0, a), (1, 1, b), into)] for a, b in ((0, 5), (5, 8))]
    for k, (kind, axon, channels) in enumerate(wirings, start=1):
        wiring = Wiring(k, kind, axon, channels, compressed=kind == "rows")
        cores.append([box(f"behind {k - 1}", (0, 0, 0), (1, 1, 4), wiring)])
    return program, cores


ROWS, THREES, FOURS, ALL = ("rows", 0, 1), ("pixels", 16, 3), ("pixels", 32, 4), ("pixels", 32, 8)


@pytest.mark.parametrize(
    ("wirings", "atoms", "kinds", "by_population"),
    [
        ((ROWS,), [0, 0], [1, 1], False),
        ((ROWS, ROWS), [0, 0], [1, 1], False),
        ((THREES,), [0, 0], [1, 1], True),
        ((THREES, THREES), [0, 0], [1, 1], True),
        ((THREES, FOURS), [2, 3], [1, 1], True),  # neurons 3 to 7 have other places in threes than in fours
        ((FOURS, ALL), [1, 3], [1, 1], True),  # 4 to 7
        ((THREES, ROWS), [0, 0], [2, 2], True),
        ((), [0, 0], [0, 0], False),
    ],
)
def test_what_neurons_send_by_is_counted_on_each_core(wirings, atoms, kinds, by_population):
    program, cores = seen_by_several(*wirings)
    made = [[b for piece in slices for b in slice_bundles(program, piece, LIMITS)] for slices in cores]
    found = sender_usage(program, cores, made)
    assert [used["atoms"] for used in found] == [*atoms, *[0] * len(wirings)]
    assert [used["axon_kinds"] for used in found] == [*kinds, *[0] * len(wirings)]
    assert {used["probed_senders"] for used in found} == {0}
    found = sender_usage(read(program, "dense1"), cores, made)
    probed = [5, 3] if by_population else [0, 0]
    assert [used["probed_senders"] for used in found] == [*probed, *[0] * len(wirings)]


def test_what_is_broken_in_one_place_is_told_once_with_the_most():
    board = board_with(max_in_axons=10)
    usage = [{"in_axons": 12}, {"in_axons": 15}, {"in_axons": 10}, {}, {"in_axons": 11, "out_axon_slots": 1}]
    found = broken(usage, ["a", "a", "a", "a", "b"], board)
    assert [(rule.name, p.what, p.where, p.value, p.limit) for rule, p in found] == [
        ("in_axons", "too many input axons", "2 times a", 15, 10),
        ("in_axons", "too many input axons", "b", 11, 10),
    ]
    assert {p.remedy for _, p in found} == {"Split the population over more cores"}
    ((rule, problem),) = broken([{"chips": 9}], ["the network"], board, "board", {"chips": "Do that"})
    assert (rule.scope, problem.value, problem.limit, problem.remedy) == ("board", 9, 8, "Do that")
    assert broken([{"chips": 8}], ["the network"], board, "board") == []
    assert broken([{"chips": 9}], ["the network"], board) == []


def test_axons_that_no_core_can_send_are_counted_on_the_busiest():
    """Of forty neurons an axon each goes to each of the cores behind them, of which there are two."""
    program = chain((4,), [("dense", 40), ("dense", 60)])
    sparse_ = tuple(replace(each, transform=each.transform.csr()) for each in program.synapses)
    program = replace(program, synapses=sparse_)
    board = board_with(max_out_axon_slots=1, max_compartments=40)
    (problem,) = problems_of(program, board)
    assert (problem.where, problem.limit) == ("population 'dense1'", 1)
    free = map_to_cores(program, board_with(max_compartments=40), fix={"dense1": (40,), "dense2": (30,)})
    assert max(core.usage["out_axon_slots"] for core in free.cores) == problem.value == 80
