"""A mapping that does not belong to a program is refused, whatever it is that does not fit; figures by each flow."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from loihi_deploy.errors import InputError
from loihi_deploy.mapping import RULES, map_to_cores
from loihi_deploy.mapping.checking import fix_problems, limit_problems, rate_problems, rule_problems
from loihi_deploy.mapping.consistency import delay_problems, mapping_problems, width_problems
from loihi_deploy.mapping.core_plan import limit_rows
from loihi_deploy.mapping.placement import tile_hops
from loihi_deploy.mapping.plan import Slice, Wiring
from tests.mapping.networks import chain
from tests.mapping.test_figures import MAPPING, PROGRAM, RATES
from tests.mapping.test_mapper import board_with


def altered(core=-1, piece=-1, **changed):
    """The mapping with one of its slices changed."""
    cores = list(MAPPING.cores)
    slices = list(cores[core].slices)
    slices[piece] = replace(slices[piece], **changed)
    cores[core] = replace(cores[core], slices=tuple(slices))
    return replace(MAPPING, cores=tuple(cores))


def told(mapping, program=PROGRAM):
    return [problem.what for problem in mapping_problems(program, mapping)]


def holding(name):
    """A core and a slice of it that hold some of a population, the last of them."""
    return next(
        (k, i)
        for k in range(len(MAPPING.cores) - 1, -1, -1)
        for i, piece in enumerate(MAPPING.cores[k].slices)
        if piece.population == name
    )


SCATTERED = "neurons that lie on no core, or on several"


def test_the_mapping_of_a_program_fits_it():
    assert told(MAPPING) == []


def test_slices_of_what_is_not_there():
    assert told(altered(population="nowhere"))[:1] == ["a slice of what is not there"]
    k, i = holding("conv2")
    piece = MAPPING.cores[k].slices[i]
    beyond = (16, piece.stop[1], 17)
    assert "a slice beyond its population" in told(altered(k, i, stop=beyond))
    assert SCATTERED in told(
        altered(k, i, start=(piece.start[0], piece.start[1], piece.start[2] + 1), lane=1)
    )


def test_each_neuron_lies_on_one_core():
    k, i = holding("dense3")
    piece = MAPPING.cores[k].slices[i]
    assert piece.stop == (1, 1, 12)
    fewer = mapping_problems(PROGRAM, altered(k, i, stop=(1, 1, 11), lane=1))
    assert [p.value for p in fewer if p.what == SCATTERED] == [1]


def test_wirings_are_those_of_the_projections_into_a_slice_each_once():
    k, i = holding("dense3")
    (wiring,) = MAPPING.cores[k].slices[i].wirings
    once = "projections into a slice that are not wired once"
    assert told(altered(k, i, wirings=())) == [once]
    assert told(altered(k, i, wirings=(wiring, wiring))) == [once]
    for projection in (0, 99):
        other = replace(wiring, projection=projection)
        assert told(altered(k, i, wirings=(other,))) == ["a wiring of another projection", once]
    pixels = Wiring(wiring.projection, "pixels", 16, 4)
    assert told(altered(k, i, wirings=(pixels,))) == []  # a matrix onto a line is a convolution, too
    rough = replace(PROGRAM.synapses[-1], transform=PROGRAM.synapses[-1].transform.csr())
    program = replace(PROGRAM, synapses=(*PROGRAM.synapses[:-1], rough))
    assert told(altered(k, i, wirings=(pixels,)), program) == ["pixels of what is no convolution"]
    k, i = holding("conv2")
    piece = MAPPING.cores[k].slices[i]
    assert piece.shape[:2] != (1, 1)
    (wiring,) = piece.wirings
    compressed = (replace(wiring, compressed=True),)
    assert told(altered(k, i, wirings=compressed)) == ["several positions without indices"]


@pytest.mark.parametrize("by", [1, -1])
def test_slices_lie_one_behind_the_other_from_the_first_compartment_on(by):
    what = "slices that share compartments, or leave some between them"
    core = next(k for k, core in enumerate(MAPPING.cores) if len(core.slices) == 1)
    assert told(altered(core, 0, offset=1)) == [what]
    several = chain((9,), [("dense", 60), ("dense", 40)])
    mapping = map_to_cores(several, "loihi")
    (one,) = mapping.cores
    first, second = sorted(one.slices, key=lambda piece: piece.offset)
    moved = replace(one, slices=(first, replace(second, offset=second.offset + by)))
    assert told(replace(mapping, cores=(moved,)), several) == [what]


def test_a_core_holds_no_more_than_it_can():
    most = max(core.n_compartments for core in MAPPING.cores)
    for limit, wrong in ((most, False), (most - 1, True)):
        board = board_with(max_compartments=limit, mesh_columns=2, mesh_rows=1, cores_per_tile=2)
        found = list(mapping_problems(PROGRAM, replace(MAPPING, board_data=asdict(board))))
        assert [p.value for p in found] == ([most] * len(found) if wrong else [])
        assert bool(found) == wrong


def test_plans_flows_and_rates_are_of_what_is_there():
    plan = MAPPING.populations[0]
    other = (replace(plan, name="nowhere"), *MAPPING.populations[1:])
    assert told(replace(MAPPING, populations=other)) == ["a plan of what is not there"]
    other = (replace(plan, shape=(3,)), *MAPPING.populations[1:])
    assert told(replace(MAPPING, populations=other)) == ["a plan of what is not there"]
    senders = ("nowhere", *MAPPING.senders[1:])
    assert told(replace(MAPPING, senders=senders)) == ["flows or rates of what is not there"]
    assert told(replace(MAPPING, rates={**RATES, "nowhere": 1.0})) == ["flows or rates of what is not there"]
    flows = MAPPING.flows.copy()
    for source, wrong in ((-1, []), (-2, ["flows of spike sources that are not there"])):
        flows[0, 0] = source
        assert told(replace(MAPPING, flows=flows.copy())) == wrong


def test_messages_are_those_of_each_flow_between_cores():
    values, hops = MAPPING.values(), tile_hops(MAPPING.board.chip)
    total, hopped = Counter(), 0.0
    for (pre, post, _, _, neurons), sender in zip(MAPPING.flows.tolist(), MAPPING.senders, strict=True):
        if pre < 0:
            continue
        a, b = MAPPING.cores[pre], MAPPING.cores[post]
        sent = neurons * RATES[sender]
        total["all"] += sent
        if a.chip == b.chip:
            total["within"] += sent
            hopped += sent * hops[a.number // 2, b.number // 2]
        else:
            total["out", a.chip] += sent
            total["in", b.chip] += sent
    assert values["messages"]["total"] == pytest.approx(total["all"])
    assert values["messages"]["between_chips"] == pytest.approx(total["all"] - total["within"])
    assert values["messages"]["mean_hops"] == pytest.approx(hopped / total["within"])
    for chip in values["chips"]:
        assert chip["messages_out"] == pytest.approx(total["out", chip["chip"]])
        assert chip["messages_in"] == pytest.approx(total["in", chip["chip"]])
        assert chip["synapse_words"] == sum(
            core.usage["synapse_words"] for core in MAPPING.cores if core.chip == chip["chip"]
        )
    assert replace(MAPPING, rates=None).values()["messages"]["unit"] == "per spike of every neuron"
    assert replace(MAPPING, rates=None).values()["messages"]["total"] == sum(
        int(row[4]) for row in MAPPING.flows if row[0] >= 0
    )


def test_cores_and_populations_are_those_of_the_plan():
    values = MAPPING.values()
    for k, (row, core) in enumerate(zip(values["cores"], MAPPING.cores, strict=True)):
        assert (row["core"], row["chip"], row["number"]) == (k, core.chip, core.number)
        assert row["tile"] == core.number // 2
        assert row["slices"] == [list(piece.shape) for piece in core.slices]
        assert (row["neurons"], row["populations"]) == (core.n_neurons, list(core.populations))
    for row, plan in zip(values["populations"], MAPPING.populations, strict=True):
        holders = [core for core in MAPPING.cores if plan.name in core.populations]
        assert row["cores"] == len(holders) == len(MAPPING.cores_of(plan.name))
        assert row["shared_cores"] == sum(len(core.populations) > 1 for core in holders)
        assert row["slices"] == sum(p.population == plan.name for core in MAPPING.cores for p in core.slices)
        assert row["bounds"][row["binding"]] == max(row["bounds"].values())
        assert row["bounds"] == {name: share / 1000 for name, share in plan.bounds.items()}
    shown = next(line for line in MAPPING.to_csv("cores").splitlines() if "dense3" in line)
    assert "1x1x12" in shown


def test_limits_are_told_by_the_fullest_core_and_by_what_all_populations_need():
    values = MAPPING.values()
    rows = {row["what"]: row for row in limit_rows(values)}
    for name, limit in values["limits"].items():
        row, used = rows[name.replace("_", " ")], [core.usage[name] for core in MAPPING.cores]
        assert (row["used"], row["limit"], row["exceeded"]) == (max(used), limit, max(used) > limit)
        assert row["mean"] == pytest.approx(np.mean(used))
        assert row["share"] == (max(used) / limit if limit else float(max(used) > 0))
        needed = [plan.bounds[name] for plan in MAPPING.populations if name in plan.bounds]
        assert row["needed"] == (pytest.approx(sum(needed) / 1000) if needed else None)
    known = [row["needed"] for row in rows.values() if row["needed"] is not None]
    assert [row["needed"] for row in rows.values() if row["binding"]] == [max(known)]
    text = MAPPING.page(cores=True).as_text(250)
    shown = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    for row in rows.values():
        told = "binding" if row["binding"] else ""
        if row["used"] or row["limit"]:
            assert f"{100 * row['share']:.2f} %" in shown[row["what"]]
            assert f"{row['mean']:,.1f}" in shown[row["what"]]
            assert shown[row["what"]].rstrip().endswith(told)


def test_kinds_that_a_core_can_hold_are_counted_from_one():
    limits = {rule.name: rule.limit(MAPPING.board) for rule in RULES}
    assert (limits["atoms"], limits["axon_kinds"], limits["probed_senders"]) == (0, 1, 0)


# What is asked for


@pytest.mark.parametrize(
    ("fix", "wrong"),
    [
        ({"conv1": 1}, 0),
        ({"conv1": 0}, 1),
        ({"conv1": (16, 16, 16)}, 0),
        ({"conv1": (16, 16, 17)}, 1),
        ({"conv1": (17, 1, 1)}, 1),
        ({"conv1": (16,)}, 1),
        ({"dense3": (12,)}, 0),
        ({"dense3": (13,)}, 1),
        ({"dense3": (1, 1, 12)}, 0),
        ({"dense3": (1, 2, 12)}, 1),
        ({"dense3": (1, 12)}, 1),
        ({"dense3": np.array([4])}, 0),
        ({"dense3": (0,)}, 1),
        ({"dense3": np.int64(2), "conv2": np.int64(0)}, 1),
    ],
)
def test_shapes_that_can_be_fixed(fix, wrong):
    assert len(list(fix_problems(PROGRAM, fix))) == wrong


def test_limits_rules_and_rates_that_can_be_given():
    assert [len(list(limit_problems(most))) for most in (None, 1, 0, np.int64(3))] == [0, 0, 1, 0]
    assert len(list(rule_problems(["chips"], ["atoms"]))) == 0
    assert [p.where for p in rule_problems(["no"], ["chips", "no"])] == ["downgrade", "avoid", "avoid"]
    zero = dict.fromkeys(RATES, 0)
    assert list(rate_problems(PROGRAM, zero)) == []
    assert list(rate_problems(PROGRAM, {**zero, "in": [1.0, 2.0]})) == []
    for bad in (-1e-9, np.inf, np.nan, [], True, "1"):
        (problem,) = rate_problems(PROGRAM, {**zero, "conv1": bad})
        assert problem.value == "conv1"
    (problem,) = rate_problems(PROGRAM, {"in": 1, "conv1": 1})
    assert problem.value == "conv2, dense3"


PIXELS = {"projection": 0, "kind": "pixels"}


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({"projection": 0, "kind": "rows"}, True),
        ({"projection": -1, "kind": "rows"}, False),
        ({"projection": 0, "kind": "rows", "axon": 16}, False),
        ({"projection": 0, "kind": "rows", "channels": 2}, False),
        ({**PIXELS, "channels": 1}, True),
        ({**PIXELS, "channels": 2}, False),
        ({**PIXELS, "channels": 0}, False),
        ({**PIXELS, "axon": 16, "channels": 2}, True),
        ({**PIXELS, "axon": 32, "channels": 1}, True),
        ({**PIXELS, "axon": 32, "channels": 0}, False),
        ({**PIXELS, "axon": 17}, False),
    ],
)
def test_what_a_wiring_can_be(arguments, fits):
    if fits:
        assert Wiring(**arguments).projection == 0
    else:
        with pytest.raises(InputError, match="not a wiring"):
            Wiring(**arguments)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"start": (0, 0, 0), "stop": (1, 1, 4)}, True),
        ({"start": (2, 0, 0), "stop": (2, 1, 4)}, False),
        ({"start": (-1, 0, 0)}, False),
        ({"offset": -1}, False),
        ({"lane": 0}, False),
        ({"lane": 3}, False),
        ({"lane": 4}, True),
        ({"margin": (0, -1)}, False),
        ({"margin": (1, 0)}, True),
    ],
)
def test_what_a_slice_can_be(changed, fits):
    given = {"population": "p", "start": (1, 2, 0), "stop": (3, 5, 4), "offset": 0, "lane": 2} | changed
    if fits:
        assert Slice(**given).population == "p"
    else:
        with pytest.raises(InputError, match="not a slice"):
            Slice(**given)


def test_a_slice_with_a_margin_by_hand():
    """2 rows and 3 columns of 4 channels in lanes of 2; a margin of a row and two columns, 5 compartments a row."""
    piece = Slice("p", (1, 2, 0), (3, 5, 4), 10, 2, (1, 2))
    assert (piece.shape, piece.size, piece.plane) == ((2, 3, 4), 24, (3, 5))
    assert piece.lead == (1 * 5 + 2) * 2
    assert piece.n_compartments == 14 + 4 * 15
    assert piece.compartments()[:8].tolist() == [24, 25, 26, 27, 28, 29, 34, 35]
    assert piece.compartments()[12] == 24 + 30
    assert piece.neurons((6, 7, 4))[:8].tolist() == [36, 37, 40, 41, 44, 45, 64, 65]
    assert piece.neurons((6, 7, 4))[12] == 38
    margins = piece.margins()
    assert len(margins) == piece.n_compartments - piece.size
    assert margins[:16].tolist() == [*range(10, 24), 30, 31]


@pytest.mark.parametrize(
    ("most", "bits", "told_limit"),
    [
        (1, 2, "8"),
        (2, 2, None),
        (2, 3, "2 to 2, or 8"),
        (6, 6, None),
        (6, 7, "2 to 6, or 8"),
        (6, 8, None),
        (6, None, None),
    ],
)
def test_widths_of_weights_that_a_chip_has_no_format_for(most, bits, told_limit):
    board = board_with(max_narrow_weight_bits=most)
    assert board.chip.core.synapse_weight_bits == 8
    first, second, *others = PROGRAM.synapses
    none = np.zeros_like(second.transform.values)  # which all widths hold
    stored = (first, replace(second, transform=second.transform.with_values(none), weight_bits=bits), *others)
    found = list(width_problems(replace(PROGRAM, synapses=stored), board))
    limits = [(problem.where, str(problem.limit)) for problem in found]
    assert limits == ([] if told_limit is None else [(stored[1].name, told_limit)])


@pytest.mark.parametrize(
    ("bounds", "fits"),
    [
        ({"compartments": 0.0}, True),
        ({"compartments": -1e-9}, False),
        ({"compartments": 2.0**62, "synapse_words": 1.0}, True),
        ({"compartments": 1.0, "synapse_words": 2.0**63}, False),
        ({"compartments": np.nan}, False),
        ({}, False),
    ],
)
def test_what_a_plan_of_a_population_can_be_bound_by(bounds, fits):
    plan = MAPPING.populations[0]
    if fits:
        assert replace(plan, bounds=bounds).bounds == bounds
    else:
        with pytest.raises(InputError, match="no bounds"):
            replace(plan, bounds=bounds)


def test_plans_are_bound_by_the_same_limits():
    first, *others = MAPPING.populations
    other = replace(first, bounds={"compartments": 1.0})
    assert first.bounds.keys() == {"compartments", "synapse_words"}
    with pytest.raises(InputError, match="different kinds of bounds"):
        replace(MAPPING, populations=(other, *others))
    assert replace(MAPPING, populations=(other,)).populations == (other,)


@pytest.mark.parametrize(
    "name", ["compartments", "in_axons", "out_axon_slots", "synapse_words", "destinations"]
)
def test_a_core_says_what_it_uses_of_what_was_counted_ever(name):
    first, *others = MAPPING.cores
    fewer = replace(first, usage={key: n for key, n in first.usage.items() if key != name})
    with pytest.raises(InputError, match="usage is missing") as refusal:
        replace(MAPPING, cores=(fewer, *others))
    assert refusal.value.problems[0].value == name
    newer = replace(first, usage={key: n for key, n in first.usage.items() if key != "atoms"})
    assert replace(MAPPING, cores=(newer, *others)).cores[0] == newer


def test_of_the_delays_between_two_layers_the_longest_is_told_once():
    first, second, *others = PROGRAM.synapses
    late = [replace(second, delays=delay) for delay in (2, 7, 5)]
    program = replace(PROGRAM, synapses=(first, *late, *others))
    for most, told_of in ((7, []), (6, [("7 steps", 6)]), (1, [("7 steps", 1)])):
        found = delay_problems(program, board_with(max_delay=most))
        assert [(p.value, p.limit) for p in found] == told_of
