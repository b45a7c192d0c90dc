"""A mapping as tables, JSON and CSV."""

import csv
import io
import json
from dataclasses import replace

import pytest

from loihi_deploy.errors import InputError
from loihi_deploy.mapping import map_to_cores
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
