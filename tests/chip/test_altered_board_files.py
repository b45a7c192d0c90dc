"""Altered board and chip files give a board, or an error of this package."""

import random

import pytest

from loihi_deploy.chip import boards
from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import BoardConfigError

WORDS = (
    *(
        "-1",
        "0",
        "1",
        "1e9",
        "10" * 3000,
        "0x7fffffffffffffffff",
        "true",
        '"x"',
        "[1]",
        "{}",
        "inf",
        "nan",
        "2099-01-01",
    ),
    *('"../../../../dev/zero"', '"\\u0000"', '"' + "a" * 5000 + '"', "[" * 3000 + "]" * 3000),
)


@pytest.fixture
def texts():
    configs = boards._config_files()
    board = configs["nahuku08"].read_text().replace('"loihi1"', '"chip.toml"')
    return board, configs["loihi1"].read_text()


def altered(text, rng):
    what = rng.randrange(6)
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif what == 2:
        place = rng.randrange(len(text))
        return text[:place] + chr(rng.choice((0, 7, 34, 123, 955))) + text[place + rng.randrange(3) :]
    else:
        words = lines[at].split(" ")
        words[rng.randrange(len(words))] = rng.choice(WORDS)
        lines[at] = " ".join(words)
    return "\n".join(lines)


def test_altered_board_and_chip_files(tmp_path, texts):
    board, chip = tmp_path / "board.toml", tmp_path / "chip.toml"
    rng = random.Random(0)
    refused = 0
    for _ in range(400):
        board_text, chip_text = texts
        if rng.random() < 0.3:
            board_text = altered(board_text, rng)
        else:
            chip_text = altered(chip_text, rng)
        board.write_text(board_text)
        chip.write_text(chip_text)
        try:
            assert isinstance(load_board(board), Board)
        except BoardConfigError:
            refused += 1
    assert 100 < refused < 400


def test_a_board_file_that_is_far_too_large(tmp_path):
    path = tmp_path / "board.toml"
    path.write_text("# much\n" * 200_000)
    with pytest.raises(BoardConfigError, match="too large"):
        load_board(path)
