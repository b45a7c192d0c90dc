import dataclasses
import json
from pathlib import Path

import pytest

from loihi_deploy.chip import boards, hardware
from loihi_deploy.chip.boards import board_names, load_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import BoardConfigError, UnknownBoardError

BOARDS = {
    "loihi": 1,
    "kapoho_bay": 2,
    "wolf_mountain": 4,
    "nahuku08": 8,
    "nahuku32": 32,
    "pohoiki_springs": 768,
}


@pytest.fixture
def files(tmp_path):
    """Give copies of a board file and its chip file, to be damaged."""
    configs = boards._config_files()
    board, chip = tmp_path / "lab.toml", tmp_path / "chips" / "custom.toml"
    chip.parent.mkdir()
    chip.write_text(configs["loihi1"].read_text())
    board.write_text(configs["nahuku08"].read_text().replace('"loihi1"', '"chips/custom.toml"'))
    return board, chip


def problems_of(board):
    with pytest.raises(BoardConfigError) as caught:
        load_board(board)
    assert str(board) in str(caught.value)
    return caught.value.problems


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_boards_come_smallest_first():
    assert board_names() == tuple(BOARDS)


@pytest.mark.parametrize(("name", "n_chips"), BOARDS.items())
def test_boards(name, n_chips):
    board = load_board(name)
    assert board.name == name
    assert board.n_chips == n_chips
    assert board.n_cores == n_chips * 128
    assert board.chip == load_board("loihi").chip


def test_chip_figures():
    chip = load_board("loihi").chip
    assert (chip.n_tiles, chip.n_cores) == (32, 128)
    assert chip.core.synapse_memory_bits == 1_048_576
    assert chip.arithmetic.threshold_max == 8_388_544
    assert chip.arithmetic.bias_max == 524_160
    assert chip.arithmetic.decay_max == 4095


def test_chip_agrees_with_nengo_loihi():
    block = pytest.importorskip("nengo_loihi.block", reason="needs the extra 'convert'")
    from nengo_loihi.builder import discretize
    from nengo_loihi.hardware import nxsdk_objects

    core, arithmetic = load_board("loihi").chip.core, load_board("loihi").chip.arithmetic
    assert core.max_compartments == block.MAX_COMPARTMENTS
    assert core.max_in_axons == block.MAX_IN_AXONS
    assert core.max_out_axon_slots == block.MAX_OUT_AXONS
    assert core.synapse_memory_bits == block.MAX_SYNAPSE_BITS
    assert core.max_compartment_profiles == nxsdk_objects.MAX_COMPARTMENT_CFGS - 1
    assert core.max_threshold_profiles == nxsdk_objects.MAX_VTH_CFGS - 1
    index_bits = [bits for bits in block.SynapseConfig.INDEX_BITS_MAP if bits]
    assert (core.min_index_bits, core.max_index_bits) == (min(index_bits), max(index_bits))
    assert arithmetic.threshold_max == discretize.VTH_MAX
    assert arithmetic.bias_max == discretize.BIAS_MAX
    assert arithmetic.accumulator_bits == discretize.Q_BITS
    assert arithmetic.current_bits == discretize.U_BITS
    assert arithmetic.decay_max == nxsdk_objects.CompartmentConfig.DECAY_U_MAX
    assert arithmetic.max_refractory_delay == nxsdk_objects.CompartmentConfig.REFRACT_DELAY_MAX
    assert block.SynapseConfig.get_scale(0) == 1 << arithmetic.weight_shift


def test_every_field_is_described():
    for kind in (hardware.CoreLimits, hardware.Arithmetic, hardware.Chip, Board):
        described = kind.__doc__.split("----------")[1].replace(",", " ").split()
        assert {field.name for field in dataclasses.fields(kind)} <= set(described)


def test_board_survives_json():
    board = load_board("nahuku32")
    assert Board.from_dict(json.loads(json.dumps(dataclasses.asdict(board)))) == board


def test_board_of_the_users_own(files):
    board, _ = files
    loaded = load_board(board)
    assert load_board(str(board)) == loaded
    assert (loaded.name, loaded.n_chips, loaded.chip.name) == ("lab", 8, "custom")
    assert loaded.chip.core == load_board("loihi").chip.core


def test_board_of_the_users_own_with_a_known_chip(files):
    board, _ = files
    edit(board, "chips/custom.toml", "loihi1")
    assert load_board(board).chip == load_board("loihi").chip


def test_unknown_board_names_the_nearest():
    with pytest.raises(UnknownBoardError, match="Did you mean 'nahuku32'") as caught:
        load_board("nahuku-32")
    for name in BOARDS:
        assert name in str(caught.value)
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("name", ["loihi1", ""])
def test_a_chip_or_nothing_is_no_board(name):
    with pytest.raises(UnknownBoardError, match="unknown board"):
        load_board(name)


@pytest.mark.parametrize("path", ["none.toml", "folder/none", Path("nahuku08")])
def test_missing_board_file(path):
    with pytest.raises(UnknownBoardError, match="no such board file"):
        load_board(path)


def test_all_problems_of_both_files_in_one_error(files):
    board, chip = files
    edit(board, "n_chips =", "n_chip =")
    edit(chip, "max_compartments = { value = 1024,", "max_compartments = { value = 1024.0,")
    edit(chip, "max_in_axons = { value = 4096,", "max_in_axonss = { value = 4096,")
    edit(chip, "cores_per_tile = { value = 4,", "cores_per_tile = { value = 0,")
    edit(chip, "current_bits = { value = 23,", "current_bits = { value = true,")
    edit(chip, "mesh_rows = { value = 4,", "mesh_rows = { value = -4,")
    edit(chip, "decay_bits = { value = 12,", 'decay_bits = { value = 12, unit = "bits",')
    edit(chip, "min_index_bits = { value = 6,", "min_index_bits = { value = 13,")
    found = {(problem.what, problem.where.split(", ")[1]) for problem in problems_of(board)}
    assert found == {
        ("unknown key", "key 'n_chip'"),
        ("missing", "key 'n_chips'"),
        ("value of the wrong type", "key 'core.max_compartments'"),
        ("unknown key", "key 'core.max_in_axonss'"),
        ("missing", "key 'core.max_in_axons'"),
        ("number too small", "key 'cores_per_tile'"),
        ("value of the wrong type", "key 'arithmetic.current_bits'"),
        ("number too small", "key 'mesh_rows'"),
        ("wrong entry", "key 'arithmetic.decay_bits'"),
        ("range is empty", "key 'core.min_index_bits'"),
    }


def test_unknown_key_names_the_nearest(files):
    board, _ = files
    edit(board, "n_chips =", "nchips =")
    unknown = next(problem for problem in problems_of(board) if problem.what == "unknown key")
    assert "'n_chips'" in unknown.remedy


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("n_chips = { value = 8, source =", "n_chips = 8 #", "wrong entry"),
        ("n_chips = { value = 8, source =", 'n_chips = { value = 8, source = ""} #', "no source"),
        ("description =", "#", "missing"),
        ("description =", "description = 3 #", "value of the wrong type"),
        ("chip =", "#", "missing"),
        ("chip =", "chip = 3 #", "value of the wrong type"),
        ('"chips/custom.toml"', '"loihi2"', "no such chip"),
        ("chip =", "chip", "not a TOML file"),
    ],
)
def test_one_problem_in_a_board_file(files, old, new, what):
    board, _ = files
    edit(board, old, new)
    (problem,) = problems_of(board)
    assert problem.what.startswith(what)
    assert str(board) in problem.where


def test_unknown_chip_names_the_nearest(files):
    board, _ = files
    edit(board, '"chips/custom.toml"', '"loihi2"')
    (problem,) = problems_of(board)
    assert "loihi1" in problem.limit
    assert "'loihi1'" in problem.remedy


def test_a_misspelt_section(files):
    board, chip = files
    edit(chip, "[core]", "[cores]")
    unknown, missing = problems_of(board)
    assert (unknown.what, missing.what) == ("unknown key", "no such table")
    assert "'core'" in unknown.remedy


def test_a_section_that_is_no_table(files):
    board, chip = files
    edit(chip, "[core]", "core = 3\n[more]")
    assert [problem.what for problem in problems_of(board)] == ["unknown key", "no such table"]


def test_a_percent_sign_in_the_path_does_no_harm(tmp_path):
    board = tmp_path / "50%s.toml"
    board.write_text("")
    assert {problem.what for problem in problems_of(board)} == {"missing"}


def test_a_file_that_is_not_text(files):
    board, _ = files
    board.write_bytes(b"\xff\xfe\x00")
    (problem,) = problems_of(board)
    assert problem.what.startswith("not a TOML file")


def test_a_board_made_by_hand_is_checked():
    with pytest.raises(BoardConfigError, match=r"Board\.n_chips: number too small \(found 0"):
        dataclasses.replace(load_board("loihi"), n_chips=0)
