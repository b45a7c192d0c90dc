"""A mapping as tables, JSON and CSV."""

import csv
import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from loihi_deploy.errors import InputError
from loihi_deploy.mapping import RULES, Core, Mapping, PopulationPlan, Slice, map_to_cores
from loihi_deploy.mapping.core_plan import limit_rows
from tests.mapping.networks import chain
from tests.mapping.test_mapper import board_with

PROGRAM = chain((16, 16, 8), [("conv", 3, 1, 16, 1), ("conv", 3, 1, 16, 1), ("dense", 12)])
RATES = {"in": 5.0, "conv1": 20.0, "conv2": 10.0, "dense3": 1.0}
MAPPING = map_to_cores(PROGRAM, board_with(mesh_columns=2, mesh_rows=1, cores_per_tile=2), rates=RATES)


def test_values_add_up():
    values = MAPPING.values()
    assert values["n_cores"] == len(values["cores"]) == sum(chip["cores"] for chip in values["chips"])
    assert values["n_chips"] == len(values["chips"]) > 1
    neurons = sum(p.size for p in PROGRAM.populations)
    assert sum(row["neurons"] for row in values["populations"]) == neurons
    assert sum(row["neurons"] for row in values["cores"]) == neurons
    assert sum(row["neurons"] for row in values["chips"]) == neurons
    for name, limit in values["limits"].items():
        assert values["free"][name] == limit - max(core["usage"][name] for core in values["cores"]) >= 0
    out = sum(chip["messages_out"] for chip in values["chips"])
    assert out == sum(chip["messages_in"] for chip in values["chips"]) == values["messages"]["between_chips"]
    assert 0 < out <= values["messages"]["total"]
    assert values["messages"]["unit"] == "Hz"


def test_messages_are_spikes_times_the_cores_they_go_to():
    program = chain((20,), [("dense", 30), ("dense", 10)])
    mapping = map_to_cores(program, "loihi", fix={"dense1": (30,), "dense2": (5,)})
    sent = mapping.values()["messages"]["total"]
    assert sent in (30, 60)  # to one core or two
    assert sent == 30 * len({post for pre, post, *_ in mapping.flows if pre >= 0})


def altered(**changed):
    """The mapping with fields of its own, or of its first core."""
    of_core = {key: changed.pop(key) for key in ("chip", "number", "slices") if key in changed}
    cores = (replace(MAPPING.cores[0], **of_core), *MAPPING.cores[1:])
    return replace(MAPPING, **{"cores": cores, **changed})


def flow(column, value):
    flows = MAPPING.flows.copy()
    flows[0, column] = value
    return flows


LAST = len(MAPPING.cores) - 1


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ({"flows": flow(0, -1)}, {"flows": flow(0, LAST + 1)}, "flows between cores"),
        ({"flows": flow(1, LAST)}, {"flows": flow(1, LAST + 1)}, "flows between cores"),
        ({"flows": flow(1, 0)}, {"flows": flow(1, -1)}, "flows between cores"),
        *(({"flows": flow(k, 0)}, {"flows": flow(k, -1)}, "flows between cores") for k in (2, 3, 4)),
        ({}, {"flows": MAPPING.flows[:, :4]}, "do not fit"),
        ({}, {"senders": MAPPING.senders[1:]}, "do not fit"),
        ({"rates": {"in": 1e12}}, {"rates": {"in": 1.1e12}}, "firing rate"),
        ({"rates": {"in": 0.0}}, {"rates": {"in": -1e-9}}, "firing rate"),
        ({"chip": MAPPING.board.n_chips - 1, "number": 3}, {"number": 4}, "no such core"),
        ({"number": 0}, {"number": -1}, "no such core"),
        ({"chip": len(MAPPING.cores) - 1}, {"chip": 10**6}, "no such core"),
        ({"chip": 0}, {"chip": -1}, "no such core"),
        ({}, {"slices": ()}, "no such core"),
        ({}, {"cores": (*MAPPING.cores, MAPPING.cores[0])}, "twice"),
    ],
)
def test_what_a_mapping_cannot_say_is_refused_and_what_it_just_can_is_not(good, bad, message):
    altered(**good)
    with pytest.raises(InputError, match=message):
        altered(**bad)


def test_json_and_csv_hold_the_values():
    values = MAPPING.values()
    assert json.loads(MAPPING.to_json()) == values
    for part in ("cores", "populations", "chips"):
        rows = list(csv.DictReader(io.StringIO(MAPPING.to_csv(part))))
        assert len(rows) == len(values[part])
    rows = list(csv.DictReader(io.StringIO(MAPPING.to_csv())))
    assert [int(row["usage_compartments"]) for row in rows] == [
        core["usage"]["compartments"] for core in values["cores"]
    ]


def test_tables_show_populations_chips_limits_and_cores():
    text = MAPPING.page(cores=True).as_text(200)
    for said in ("conv1", "dense3", "synapse_words", "Chips", f"{MAPPING.n_cores} cores on", "tile"):
        assert said in text
    assert "tile" not in str(MAPPING)
    assert all(f"Warning: {warning}" in str(MAPPING) for warning in MAPPING.warnings)


def test_an_unknown_part_is_named():
    with pytest.raises(InputError, match="cores or populations or chips"):
        MAPPING.to_csv("tiles")


# By hand: nine cores on two chips of a mesh of 3 rows and 2 columns, two cores on a tile

USED = ("compartments", "in_axons", "out_axon_slots", "synapse_words", "destinations")


def core(chip, number, pieces, *used, **more):
    return Core(chip, number, tuple(pieces), dict(zip(USED, used, strict=True)) | more)


def box(name, start, stop):
    return Slice(name, (0, 0, start), (1, 1, stop))


def by_hand(**changed):
    """Population 'a' of 7 neurons on as many cores of chip 0, the last one shared with some of 'b', also on chip 1."""
    cores = [core(0, k, [box("a", k, k + 1)], 1, 10 + k, 20 - k, 30, 2, atoms=0) for k in range(6)]
    cores.append(core(0, 6, [box("a", 6, 7), box("b", 0, 2)], 3, 7, 0, 60, 0, atoms=4))
    cores += [core(1, 0, [Slice("b", (0, 1, 2), (2, 4, 5))], 18, 5, 9, 100, 1, atoms=0)]
    cores += [core(1, 1, [box("b", 5, 6)], 1, 3, 0, 40, 0, atoms=0)]
    flows = [
        (-1, 2, 9, 9, 100),  # from the host: of no chip
        (0, 1, 1, 1, 3),  # on a tile
        (2, 5, 2, 4, 5),  # from tile 1 to tile 2, which lies a row below and a column before it
        (6, 0, 1, 1, 7),  # from tile 3 to tile 0
        (4, 7, 3, 6, 11),  # to the other chip
        (7, 3, 2, 2, 13),  # and back
        (7, 8, 1, 1, 17),
    ]
    board = board_with(mesh_columns=2, mesh_rows=3, cores_per_tile=2, max_compartments=50, max_in_axons=40)
    plans = (
        PopulationPlan("a", (7,), (1, 1, 1), 7, 7, 1, {"compartments": 140.0, "synapse_words": 2500.0}),
        PopulationPlan("b", (2, 3, 4), (2, 3, 3), 3, 3, 1, {"compartments": 700.0, "synapse_words": 1600.0}),
    )
    given = {
        "program_digest": "of a program",
        "board_data": asdict(board),
        "cores": tuple(cores),
        "populations": plans,
        "flows": np.array(flows, np.int64),
        "senders": ("in", "a", "a", "b", "a", "b", "b"),
        "warnings": ("mind this",),
    }
    return Mapping(**{**given, **changed})


HAND_RATES = {"in": 1000.0, "a": 2.0, "b": 10.0}


def test_messages_by_hand():
    found = by_hand().values()["messages"]
    within = 3 + 5 + 7 + 17
    hops = 5 * 2 + 7 * 2
    assert found == {
        "unit": "per spike of every neuron",
        "total": within + 11 + 13,
        "between_chips": 11 + 13,
        "mean_hops": pytest.approx(hops / within),
    }
    found = by_hand(rates=HAND_RATES).values()["messages"]
    within = 2 * 3 + 2 * 5 + 10 * 7 + 10 * 17
    assert found == {
        "unit": "Hz",
        "total": within + 2 * 11 + 10 * 13,
        "between_chips": 2 * 11 + 10 * 13,
        "mean_hops": pytest.approx((2 * 5 * 2 + 10 * 7 * 2) / within),
    }


def test_chips_by_hand():
    assert by_hand(rates=HAND_RATES).values()["chips"] == [
        {
            "chip": 0,
            "cores": 7,
            "neurons": 9,
            "synapse_words": 240,
            "messages_out": 22.0,
            "messages_in": 130.0,
        },
        {
            "chip": 1,
            "cores": 2,
            "neurons": 19,
            "synapse_words": 140,
            "messages_out": 130.0,
            "messages_in": 22.0,
        },
    ]


def test_populations_cores_and_bounds_by_hand():
    values = by_hand().values()
    assert (values["n_cores"], values["n_chips"], values["bound"]) == (9, 2, 5)  # 4.1 of them
    assert values["mesh"] == {"rows": 3, "columns": 2, "cores_per_tile": 2}
    assert values["populations"] == [
        {
            "name": "a",
            "shape": [7],
            "neurons": 7,
            "slice": [1, 1, 1],
            "slices": 7,
            "cores": 7,
            "shared_cores": 1,
            "bound": 3,
            "binding": "synapse_words",
            "bounds": {"compartments": 0.14, "synapse_words": 2.5},
        },
        {
            "name": "b",
            "shape": [2, 3, 4],
            "neurons": 24,
            "slice": [2, 3, 3],
            "slices": 3,
            "cores": 3,
            "shared_cores": 1,
            "bound": 2,
            "binding": "synapse_words",
            "bounds": {"compartments": 0.7, "synapse_words": 1.6},
        },
    ]
    assert [row["tile"] for row in values["cores"]] == [0, 0, 1, 1, 2, 2, 3, 0, 0]
    assert [row["core"] for row in values["cores"]] == list(range(9))
    assert values["cores"][6] == {
        "core": 6,
        "chip": 0,
        "number": 6,
        "tile": 3,
        "populations": ["a", "b"],
        "slices": [[1, 1, 1], [1, 1, 2]],
        "neurons": 3,
        "usage": {**dict(zip(USED, (3, 7, 0, 60, 0), strict=True)), "atoms": 4},
    }
    assert values["cores"][7]["slices"] == [[2, 3, 3]]
    assert by_hand().cores_of("b") == (6, 7, 8)
    assert by_hand().cores_of("nowhere") == ()
    assert by_hand(cores=(), populations=(), flows=np.zeros((0, 5), np.int64), senders=()).bound == 0


def test_limits_by_hand():
    """Of what some cores do not count nothing is told: a file that was saved before there was such a rule."""
    mapping = by_hand()
    values, board = mapping.values(), mapping.board
    limits = {rule.name: rule.limit(board) for rule in RULES if rule.name in {*USED, "atoms"}}
    assert values["limits"] == limits
    assert (limits["compartments"], limits["in_axons"], limits["atoms"]) == (50, 40, 0)
    fullest = dict(zip((*USED, "atoms"), (18, 15, 20, 100, 2, 4), strict=True))
    assert values["free"] == {name: limits[name] - n for name, n in fullest.items()}
    older = replace(mapping, cores=(core(0, 0, [box("a", 0, 1)], 1, 1, 1, 1, 1), *mapping.cores[1:]))
    assert "atoms" not in older.values()["limits"]
    assert set(USED) <= older.values()["limits"].keys()
    rows = {row["what"]: row for row in limit_rows(values)}
    assert rows["compartments"] == {
        "what": "compartments",
        "used": 18,
        "limit": 50,
        "share": 0.36,
        "mean": pytest.approx((6 * 1 + 3 + 18 + 1) / 9),
        "exceeded": False,
        "needed": pytest.approx(0.84),
        "binding": False,
        "adds_up": True,
    }
    assert rows["atoms"] == {
        "what": "atoms",
        "used": 4,
        "limit": 0,
        "share": 1.0,
        "mean": pytest.approx(4 / 9),
        "exceeded": True,
        "needed": None,
        "binding": False,
        "adds_up": False,
    }
    assert rows["synapse words"]["binding"]
    assert rows["synapse words"]["needed"] == pytest.approx(4.1)
    assert {name for name, row in rows.items() if row["adds_up"]} == {name.replace("_", " ") for name in USED}
    none = limit_rows({**values, "limits": {"atoms": 0}, "free": {"atoms": 0}, "cores": []})
    assert [(row["share"], row["mean"], row["exceeded"]) for row in none] == [(0.0, 0.0, False)]


PAGE = """\
Populations on nahuku08
population  shape  slices of  slices  cores  shared  bound       bound by
──────────  ─────  ─────────  ──────  ─────  ──────  ─────  ─────────────
a               7      1×1×1       7      7       1      3  synapse_words
b           2×3×4      2×3×3       3      3       1      2  synapse_words

Chips
chip  cores  neurons  messages out  messages in
────  ─────  ───────  ────────────  ───────────
0         7        9            22          130
1         2       19           130           22

Limits of a core, the fullest core, the mean of all, and cores that layers need
limit           allowed  fullest      used  mean  cores
──────────────  ───────  ───────  ────────  ────  ─────  ────────
compartments         50       18   36.00 %   3.1    0.8
in axons             40       15   37.50 %  10.0
out axon slots    4,096       20    0.49 %  12.7
synapse words    16,384      100    0.61 %  42.2    4.1   binding
destinations         16        2   12.50 %   1.4
atoms                 0        4  100.00 %   0.4         exceeded

Cores
core  holds               chip  tile  compartments  in_axons  out_axon_slots  synapse_words  destinations
────  ──────────────────  ────  ────  ────────────  ────────  ──────────────  ─────────────  ────────────
0     a (1×1×1)              0     0             1        10              20             30             2
1     a (1×1×1)              0     0             1        11              19             30             2
2     a (1×1×1)              0     1             1        12              18             30             2
3     a (1×1×1)              0     1             1        13              17             30             2
4     a (1×1×1)              0     2             1        14              16             30             2
5     a (1×1×1)              0     2             1        15              15             30             2
6     a, b (1×1×1 1×1×2)     0     3             3         7               0             60             0
7     b (2×3×3)              1     0            18         5               9            100             1
8     b (1×1×1)              1     0             1         3               0             40             0

9 cores on 2 chip(s) of nahuku08; any plan needs 5 or more. Messages Hz: 408, 152 between chips, 0.6 hops within a chip.
Warning: mind this"""


def test_the_page_by_hand():
    assert by_hand(rates=HAND_RATES).page(cores=True).as_text(200) == PAGE
    quiet = by_hand(cores=by_hand().cores[:6], flows=np.zeros((0, 5), np.int64), senders=(), warnings=())
    text = str(quiet.page())
    assert "Chips" not in text
    assert "atoms" not in text
    assert "Cores\n" not in text
    assert " 0.0 hops" in text
