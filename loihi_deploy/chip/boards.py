"""Chips and boards, read from ``hardware_configs/*.toml``.

A chip file holds every number about one chip as ``name = { value = 1024, source = "where from" }``; a board
file names its chip file and says how many chips it has. The keys are the field names in `loihi_deploy.chip.hardware`.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from functools import lru_cache
from pathlib import Path
from typing import Any

from loihi_deploy.checked import checked
from loihi_deploy.chip.hardware import Arithmetic, Board, Chip, CoreLimits, number_fields, range_problems
from loihi_deploy.errors import BoardConfigError, InputError, LoihiDeployError, Problem, UnknownBoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGE = Path(__file__).resolve().parents[1]
#: Inside the package when installed from a wheel, beside it in a checkout or an editable install.
_CONFIG_DIRS = (_PACKAGE / "hardware_configs", _PACKAGE.parent / "hardware_configs")


BoardLike = str | os.PathLike[str] | Board | Chip
"""What names a board: see `as_board`."""

MAX_FILE = 1 << 20
"""Most bytes of a board or chip file."""


def board_names() -> tuple[str, ...]:
    """Names of the boards that come with the package, smallest first."""
    boards = [_read_board(path) for path in _config_files().values() if "chip" in read_toml(path)]
    return tuple(board.name for board in sorted(boards, key=lambda board: (board.n_chips, board.name)))


@checked
def load_board(name_or_path: str | os.PathLike[str]) -> Board:
    """Load a board by name, or from a file of the user's own.

    Parameters
    ----------
    name_or_path : str or Path
        One of `board_names`, or the path of a board file (a ``Path``, or a string that ends in ``.toml`` or
        has a folder in it). Its ``chip`` entry is the name of a chip that comes with the package, or a path
        relative to the board file.

    Raises
    ------
    UnknownBoardError
        No board of that name, no file at that path.
    BoardConfigError
        The board file or its chip file has unknown, missing or wrong entries; all of them are named.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix == ".toml" or len(path.parts) > 1:
        if not _is_file(path):
            raise UnknownBoardError.single(
                "no such board file",
                value=str(path),
                remedy=f"Name a file, or one of: {', '.join(board_names())}",
            )
        return _read_board(path)
    file = _config_files().get(str(name_or_path))
    if file is None or "chip" not in read_toml(file):  # the other boards are read where one is to be named
        names = board_names()
        raise UnknownBoardError.single(
            "unknown board",
            value=repr(name_or_path),
            limit=f"one of {', '.join(names)}",
            remedy=f"{_nearest(str(name_or_path), names)}A board file of your own is given by its path",
        )
    return _read_board(file)


@checked
def as_board(board: BoardLike) -> Board:
    """A board, from whatever names one.

    Parameters
    ----------
    board : str, path, Board or Chip
        What `load_board` takes, a board, or a chip: that is a board with nothing else on it.
    """
    if isinstance(board, Chip):
        return Board(name=board.name, description=board.description, n_chips=1, chip=board)
    if not isinstance(board, str | os.PathLike | Board):
        raise InputError.single(
            "not a board", "board", repr(board), "a name, the path of a board file, a Board or a Chip"
        )
    return board if isinstance(board, Board) else load_board(board)


@lru_cache(maxsize=1)
def loihi_arithmetic() -> Arithmetic:
    """The arithmetic of the first-generation Loihi: that of a program which says nothing else."""
    return load_board("loihi").chip.arithmetic


def config_folder() -> Path:
    """The folder ``hardware_configs`` that comes with the package."""
    folder = next((folder for folder in _CONFIG_DIRS if folder.is_dir()), None)
    if folder is None:
        raise BoardConfigError.single(
            "the folder hardware_configs is missing",
            str(_CONFIG_DIRS[0]),
            remedy="Install loihi-deploy again",
        )
    return folder


def _config_files() -> dict[str, Path]:
    """Files of chips and boards that come with the package, by name without ``.toml``."""
    return {path.stem: path for path in sorted(config_folder().glob("*.toml"))}


def read_toml(path: Path, kind: type[LoihiDeployError] = BoardConfigError) -> dict[str, Any]:
    """Read a TOML file; where it cannot be read the error is of `kind`."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise kind.single("too large for a file of numbers", str(path), limit=f"{MAX_FILE} bytes")
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (
        ValueError,
        RecursionError,
    ) as error:  # bad TOML, bad UTF-8, numbers or nesting beyond what Python reads
        if isinstance(error, kind):
            raise
        raise kind.single(f"not a TOML file: {error}", str(path)) from error
    except OSError as error:
        raise kind.single(f"cannot be read: {error.strerror}", str(path)) from error
    return table


def _is_file(path: Path) -> bool:
    """Whether there is a file, also for what can be no path at all."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read_board(path: Path) -> Board:
    problems: list[Problem] = []
    table = read_toml(path)
    values = _read_numbers(Board, table, path, "", ("description", "chip"), problems)
    description = _read_text(table, "description", path, problems)
    chip_name = _read_text(table, "chip", path, problems)
    chip = _read_chip(chip_name, path, problems) if chip_name else None
    if problems or chip is None:
        raise BoardConfigError(f"Cannot use board file {path}", problems)
    return Board(name=path.stem, description=description, chip=chip, **values)


def _read_chip(name: str, board_path: Path, problems: list[Problem]) -> Chip | None:
    """Read the chip that a board names; None where `problems` grew."""
    path = _config_files().get(name, board_path.parent / name)
    if not _is_file(path):
        chips = [stem for stem, file in _config_files().items() if "chip" not in read_toml(file)]
        problems.append(
            Problem(
                "no such chip",
                _at(board_path, "chip"),
                repr(name),
                f"one of {', '.join(chips)}, or a path relative to the board file",
                f"{_nearest(name, chips)}Correct the name or the path",
            )
        )
        return None
    n_before = len(problems)
    table = read_toml(path)
    values = _read_numbers(Chip, table, path, "", ("description", "core", "arithmetic"), problems)
    description = _read_text(table, "description", path, problems)
    sections = {}
    for section, kind in (("core", CoreLimits), ("arithmetic", Arithmetic)):
        content = table.get(section)
        if isinstance(content, dict):
            sections[section] = _read_numbers(kind, content, path, f"{section}.", (), problems)
        else:
            problems.append(
                Problem("no such table", _at(path, section), remedy=f"Head its entries with [{section}]")
            )
    if len(problems) > n_before:
        return None
    core, arithmetic = CoreLimits(**sections["core"]), Arithmetic(**sections["arithmetic"])
    return Chip(name=path.stem, description=description, core=core, arithmetic=arithmetic, **values)


def _read_numbers(
    kind: type,
    table: Mapping[str, Any],
    path: Path,
    prefix: str,
    others: Iterable[str],
    problems: list[Problem],
) -> dict[str, int]:
    """Read the numbers of dataclass `kind` from a table, adding to `problems` whatever is wrong with it."""
    defaults = {spec.name: spec.default for spec in number_fields(kind)}
    names = list(defaults)
    known = [*names, *others]

    def where(name: str) -> str:
        return _at(path, prefix + name)

    for key in table:
        if key not in known:
            remedy = f"{_nearest(key, known)}Correct the key or remove it"
            problems.append(Problem("unknown key", where(key), remedy=remedy))
    values = {}
    for name in names:
        entry = table.get(name)
        if entry is None and defaults[name] is not MISSING:
            continue  # a key that files did not always have
        if entry is None:
            problems.append(
                Problem("missing", where(name), remedy=f'Add {name} = {{ value = …, source = "…" }}')
            )
            continue
        keys = set(entry) if isinstance(entry, dict) else set()
        if keys != {"value", "source"}:
            problems.append(
                Problem(
                    "wrong entry", where(name), repr(entry), '{ value = <integer>, source = "<where from>" }'
                )
            )
            continue
        value, source = entry["value"], entry["source"]
        if type(value) is not int:  # bool is an int to isinstance
            problems.append(Problem("value of the wrong type", where(name), repr(value), "an integer"))
        else:
            values[name] = value
        if not isinstance(source, str) or not source.strip():
            problems.append(
                Problem("no source", where(name), repr(source), "where the number comes from, as text")
            )
    known_values = {name: default for name, default in defaults.items() if default is not MISSING}
    problems += range_problems(kind, {**known_values, **values}, where)
    return values


def _read_text(table: Mapping[str, Any], key: str, path: Path, problems: list[Problem]) -> str:
    text = table.get(key, "")
    if isinstance(text, str) and text.strip():
        return text
    if key in table:
        problems.append(Problem("value of the wrong type", _at(path, key), repr(text), "a text, not empty"))
    else:
        problems.append(Problem("missing", _at(path, key), remedy=f'Add {key} = "…"'))
    return ""


def _at(path: Path, key: str) -> str:
    return f"{path}, key '{key}'"


def _nearest(word: str, known: Iterable[str]) -> str:
    """Say which known name is meant, if one is near: ``"Did you mean 'nahuku32'? "``."""
    match = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"Did you mean '{match[0]}'? " if match else ""
