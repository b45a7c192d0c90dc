"""Altered files end in an error of this package or in a result; `make fuzz` tries 10,000 under bounds checking."""

import json
import zipfile

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ArtifactError
from tools import fuzz_files


def test_some_hundred_altered_files(tmp_path):
    path = tmp_path / "altered.loihi"
    found = {}
    for number in range(100_000, 100_300):
        path.write_bytes(fuzz_files.altered(number))
        found[number] = fuzz_files._outcome(path, ld)
    assert set(found.values()) <= set(fuzz_files.GOOD)
    assert "refused" in found.values()
    assert "ran" in found.values()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nengo-loihi's emulator
def test_some_altered_files_on_nengo_loihi(tmp_path):
    """Those that our engine runs; `make fuzz` runs all of them."""
    pytest.importorskip("nengo_loihi")
    path = tmp_path / "altered.loihi"
    found = []
    for number in range(100_300, 100_400):
        path.write_bytes(fuzz_files.altered(number))
        found.append(fuzz_files._outcome(path, ld, reference=True))
    assert set(found) <= set(fuzz_files.GOOD)
    assert found.count("ran twice") > 3


def test_a_file_is_altered_the_same_way_every_time():
    assert fuzz_files.altered(12) == fuzz_files.altered(12) != fuzz_files.altered(13)


@pytest.fixture
def members():
    path = next(p for p in fuzz_files.FILES if p.stem == "lif" and p.parent.name == "version_2")
    members = fuzz_files._members(path.read_bytes())
    return members, json.loads(members["manifest.json"])


def program_of(manifest):
    return dict(manifest["content"]["items"])["program"]


def refused(tmp_path, members, manifest):
    path = tmp_path / "altered.loihi"
    path.write_bytes(fuzz_files._packed(members, manifest))
    with pytest.raises(ArtifactError) as caught:
        ld.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("decay_u", -1, "decay of the current"),
        ("decay_u", 5000, "decay of the current"),
        ("decay_v", 10**6, "decay of the voltage"),
        ("threshold", -1, "threshold"),
        ("threshold", 2**32 + 5, "threshold"),
        ("threshold", 65, "multiples of 64"),
        ("refractory", 300, "refractory delay"),
        ("v_min", -1000, "lower bound"),
        ("v_max", -1, "upper bound"),
        ("shape", [7, 10**9], "shape"),
        ("shape", "x", "wrong type"),
        ("noise", 3, "wrong type"),
        ("name", None, "wrong type"),
    ],
)
def test_settings_that_no_compartment_has(tmp_path, members, field, value, what):
    files, manifest = members
    program_of(manifest)["populations"][0][field] = value
    assert what in refused(tmp_path, files, manifest)


def test_sizes_across_fields(tmp_path, members):
    files, manifest = members
    program_of(manifest)["sources"][0]["shape"] = [13]
    assert "no population of the encoder sends" in refused(tmp_path, files, manifest)


def test_a_readout_of_another_size(tmp_path, members):
    files, manifest = members
    program_of(manifest)["readout"]["inputs"][0]["shape"] = [8]
    assert "does not fit" in refused(tmp_path, files, manifest)


@pytest.mark.parametrize("delay", [-1, 1024, 1.5])
def test_delays(tmp_path, members, delay):
    files, manifest = members
    program_of(manifest)["links"][0]["delay"] = delay
    assert "delay" in refused(tmp_path, files, manifest)


def test_a_board_is_decoded_when_its_file_is_loaded(tmp_path, members):
    files, manifest = members
    board = dict(dict(manifest["content"]["items"])["mapping"]["board_data"]["items"])
    board["chip"]["items"][3] = ["mesh_rows", 0]
    dict(manifest["content"]["items"])["mapping"]["board_data"]["items"] = [[k, v] for k, v in board.items()]
    assert "Chip." in refused(tmp_path, files, manifest)


def test_far_more_than_the_file_is_refused_unseen(tmp_path, members):
    files, manifest = members
    files["arrays/0000.npy"] = fuzz_files._npy(np.zeros(10**9 // 2, np.int8))
    assert "unpacks to" in refused(tmp_path, files, manifest)


def test_a_shape_without_its_values(tmp_path, members):
    files, manifest = members
    name = next(name for name in files if b"'shape': (20,), " in files[name])
    files[name] = files[name].replace(b"'shape': (20,), ", b"'shape': (9**9,)")
    assert "damaged" in refused(tmp_path, files, manifest)


def test_deep_nesting(tmp_path, members):
    files, manifest = members
    notes = program_of(manifest)["notes"]
    for _ in range(50):
        notes[:] = [list(notes)]
    assert "deep" in refused(tmp_path, files, manifest)
    path = tmp_path / "deep.loihi"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "[" * 10**6)
    with pytest.raises(ArtifactError, match="RecursionError"):
        ld.load(path)


def test_a_mapping_of_another_program(tmp_path, members):
    files, manifest = members
    program_of(manifest)["populations"][0]["threshold"] += 64
    assert "another program" in refused(tmp_path, files, manifest)


def test_a_slice_beyond_its_population(tmp_path, members):
    files, manifest = members
    mapping = dict(manifest["content"]["items"])["mapping"]
    mapping["cores"][0]["slices"][0]["stop"][2] += 1
    assert "slice" in refused(tmp_path, files, manifest)


def slices_of(manifest):
    return dict(manifest["content"]["items"])["mapping"]["cores"][0]["slices"]


def test_slices_that_share_compartments(tmp_path, members):
    """Our engine runs the program; a chip, which runs the mapping, would give other spikes."""
    files, manifest = members
    slices = slices_of(manifest)
    slices.append(json.loads(json.dumps(slices[0])))
    assert "share compartments" in refused(tmp_path, files, manifest)


@pytest.mark.parametrize("offset", [1, 2**31])
def test_slices_behind_compartments_that_are_not_there(tmp_path, members, offset):
    files, manifest = members
    slices_of(manifest)[-1]["offset"] += offset
    assert "leave some between them" in refused(tmp_path, files, manifest)


@pytest.mark.parametrize("times", [0, 2])
def test_a_slice_whose_wirings_are_missing_or_there_twice(tmp_path, members, times):
    files, manifest = members
    slices_of(manifest)[0]["wirings"] *= times
    assert "not wired once" in refused(tmp_path, files, manifest)


@pytest.mark.parametrize(
    "change", [{"kind": "pixels", "channels": 2}, {"channels": 2}, {"kind": "rows", "axon": 16}]
)
def test_wirings_that_no_axon_has(tmp_path, members, change):
    files, manifest = members
    slices_of(manifest)[0]["wirings"][0] |= {"axon": 0, "channels": 1, **change}
    assert "not a wiring" in refused(tmp_path, files, manifest)


def test_weights_of_a_width_that_has_no_format(tmp_path, members):
    files, manifest = members
    program_of(manifest)["synapses"][0]["weight_bits"] = 7
    said = refused(tmp_path, files, manifest)
    assert "no format for weights" in said or "weights with more than 7 bits" in said


@pytest.mark.parametrize("gain", [1e300, -1e300, 1e30])
def test_gains_that_no_sum_holds(tmp_path, members, gain):
    """The file's own digest is right, its program runs, and a report could not draw its weights."""
    files, manifest = members
    files["arrays/9999.npy"] = fuzz_files._npy(np.array(gain))
    graph = dict(manifest["content"]["items"])["graph"]
    graph["populations"][-1]["gain"] = {"array": "arrays/9999.npy"}
    assert "too large for sums" in refused(tmp_path, files, manifest)


@pytest.mark.parametrize("voltage", [2**31 - 1, -(2**31), 2**23, -(2**23)])
def test_voltages_that_no_register_holds(tmp_path, members, voltage):
    files, manifest = members
    population = program_of(manifest)["populations"][0]
    files["arrays/9998.npy"] = fuzz_files._npy(np.full(population["shape"], voltage, np.int32).reshape(-1))
    population["initial_voltage"] = {"array": "arrays/9998.npy"}
    assert "initial voltages" in refused(tmp_path, files, manifest)
