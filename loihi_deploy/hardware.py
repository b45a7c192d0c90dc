"""Chips and boards, read from ``hardware_configs/*.toml``.

A chip file holds every number about one chip as ``name = { value = 1024, source = "where from" }``; a board
file names its chip file and says how many chips it has. The field names below are the keys of the files.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from loihi_deploy.errors import BoardConfigError, Problem, UnknownBoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGE = Path(__file__).resolve().parent
#: Inside the package when installed from a wheel, beside it in a checkout or an editable install.
_CONFIG_DIRS = (_PACKAGE / "hardware_configs", _PACKAGE.parent / "hardware_configs")


def _at_least(minimum: int) -> Any:
    """Make a field whose smallest legal value is not the usual 1."""
    return field(metadata={"minimum": minimum})


def _range_problems(owner: Any, values: Mapping[str, int], where: Callable[[str], str]) -> list[Problem]:
    """List the integer fields of dataclass `owner` that are below their minimum or above their partner."""
    problems = []
    for spec in _number_fields(owner):
        minimum = spec.metadata.get("minimum", 1)
        if spec.name in values and values[spec.name] < minimum:
            problems.append(
                Problem("number too small", where(spec.name), values[spec.name], f"at least {minimum}")
            )
        partner = spec.name.replace("min_", "max_", 1)
        if spec.name.startswith("min_") and values.get(spec.name, 0) > values.get(partner, sys.maxsize):
            problems.append(
                Problem(
                    "range is empty", where(spec.name), values[spec.name], f"{partner} = {values[partner]}"
                )
            )
    return problems


def _number_fields(owner: Any) -> list[Field[Any]]:
    return [spec for spec in fields(owner) if spec.type == "int"]


class _Checked:
    """A dataclass that refuses numbers out of range."""

    def __post_init__(self) -> None:
        values = {spec.name: getattr(self, spec.name) for spec in _number_fields(self)}
        problems = _range_problems(self, values, lambda name: f"{type(self).__name__}.{name}")
        if problems:
            raise BoardConfigError("Impossible hardware description", problems)


@dataclass(frozen=True, kw_only=True)
class CoreLimits(_Checked):
    """What one core can hold.

    Attributes
    ----------
    max_compartments : int
        Compartments (neurons) per core.
    max_in_axons : int
        Input axons per core.
    max_out_axon_slots : int
        Output axon slots per core.
    slots_per_discrete_axon, slots_per_pop16_axon, slots_per_pop32_axon : int
        Output slots that an axon of each type takes.
    extra_slots_interchip : int
        Slots that an axon takes on top when its target lies on another chip.
    synapse_memory_words : int
        Words of synapse memory per core.
    synapse_word_bits : int
        Bits per word of synapse memory.
    extra_word_remainder : int
        An axon takes one word more where its synapse bits modulo `synapse_word_bits` are 0 or at least this.
    max_synapse_words_per_axon : int
        Words of synapse memory that one axon can point to.
    max_synapses_per_entry : int
        Synapses in one entry of synapse memory.
    entry_format_bits, entry_length_bits : int
        Bits of an entry's header: the format it is written in, and the number of its synapses.
    synapse_weight_bits : int
        Bits of a stored weight.
    min_index_bits, max_index_bits : int
        Bits of a stored compartment index, where a format stores one; the dense format stores none.
    max_synapse_formats : int
        Distinct synapse formats in use per core.
    max_compartment_profiles : int
        Distinct sets of decays and refractory delay per core.
    max_threshold_profiles : int
        Distinct thresholds per core.
    max_membrane_profiles : int
        Distinct sets of v_min, v_max and noise per core.
    max_stdp_profiles : int
        Distinct learning rules per core.
    max_compartment_base : int
        Largest compartment at which a shared (population) weight set can be laid down.
    pop16_base_multiple : int
        The base of a pop16 weight set is a multiple of this.
    pop16_max_channels, pop32_max_channels : int
        Channels (atoms) per population axon of each type.
    pop16_max_in_axons : int
        Input axons of a core that a pop16 spike can address.
    max_destination_groups : int
        Destination cores that the output of one core can be sent to.
    """

    max_compartments: int
    max_in_axons: int
    max_out_axon_slots: int
    slots_per_discrete_axon: int
    slots_per_pop16_axon: int
    slots_per_pop32_axon: int
    extra_slots_interchip: int = _at_least(0)
    synapse_memory_words: int
    synapse_word_bits: int
    extra_word_remainder: int
    max_synapse_words_per_axon: int
    max_synapses_per_entry: int
    entry_format_bits: int
    entry_length_bits: int
    synapse_weight_bits: int
    min_index_bits: int
    max_index_bits: int
    max_synapse_formats: int
    max_compartment_profiles: int
    max_threshold_profiles: int
    max_membrane_profiles: int
    max_stdp_profiles: int
    max_compartment_base: int
    pop16_base_multiple: int
    pop16_max_channels: int
    pop32_max_channels: int
    pop16_max_in_axons: int
    max_destination_groups: int

    @property
    def synapse_memory_bits(self) -> int:
        """Bits of synapse memory per core."""
        return self.synapse_memory_words * self.synapse_word_bits


@dataclass(frozen=True, kw_only=True)
class Arithmetic(_Checked):
    """Ranges of the integers that a compartment works with.

    Attributes
    ----------
    weight_mantissa_max : int
        Largest magnitude of a mixed-sign weight mantissa.
    weight_mantissa_step : int
        Weight mantissas are multiples of this.
    weight_shift : int
        A weight counts as ``mantissa << (weight_shift + exponent)``.
    min_weight_exponent, max_weight_exponent : int
        Exponents of a weight that quantization may choose.
    threshold_mantissa_max : int
        Largest threshold mantissa.
    threshold_shift : int
        A threshold counts as ``mantissa << threshold_shift``.
    bias_mantissa_max : int
        Largest magnitude of a bias mantissa.
    max_bias_exponent : int
        A bias counts as ``mantissa << exponent``, exponent from 0.
    decay_bits : int
        Bits of a decay: the full scale is ``1 << decay_bits``, the largest value one less.
    current_decay_offset, voltage_decay_offset : int
        What the chip adds to a stored decay.
    min_refractory_delay, max_refractory_delay : int
        Refractory delay in steps.
    accumulator_bits : int
        Magnitude bits (without sign) of the sum of weights that arrive in a step.
    current_bits : int
        Magnitude bits (without sign) of the current, with and without bias.
    max_v_min_exponent : int
        v_min is ``-(1 << e) + 1`` with e from 0 to this.
    max_v_max_exponent : int
        v_max is ``(1 << (9 + 2 * e)) - 1`` with e from 0 to this.
    """

    weight_mantissa_max: int
    weight_mantissa_step: int
    weight_shift: int = _at_least(0)
    min_weight_exponent: int = _at_least(-8)
    max_weight_exponent: int = _at_least(-8)
    threshold_mantissa_max: int
    threshold_shift: int = _at_least(0)
    bias_mantissa_max: int
    max_bias_exponent: int = _at_least(0)
    decay_bits: int
    current_decay_offset: int = _at_least(0)
    voltage_decay_offset: int = _at_least(0)
    min_refractory_delay: int
    max_refractory_delay: int
    accumulator_bits: int
    current_bits: int
    max_v_min_exponent: int = _at_least(0)
    max_v_max_exponent: int = _at_least(0)

    @property
    def threshold_max(self) -> int:
        """Largest threshold."""
        return self.threshold_mantissa_max << self.threshold_shift

    @property
    def bias_max(self) -> int:
        """Largest magnitude of a bias."""
        return self.bias_mantissa_max << self.max_bias_exponent

    @property
    def decay_max(self) -> int:
        """Largest stored decay."""
        return (1 << self.decay_bits) - 1


@dataclass(frozen=True)
class Chip(_Checked):
    """One chip: a mesh of tiles of cores.

    Attributes
    ----------
    name, description : str
        The file's name without ``.toml``, and one line for people.
    mesh_columns, mesh_rows : int
        Tiles of the on-chip mesh, east-west and north-south.
    cores_per_tile : int
        Cores per tile.
    host_spikes_per_step : int
        Input spikes that the host interface delivers per step and chip; more are dropped.
    core : CoreLimits
        What each core can hold.
    arithmetic : Arithmetic
        Ranges of its integers.
    """

    name: str
    description: str
    mesh_columns: int
    mesh_rows: int
    cores_per_tile: int
    host_spikes_per_step: int
    core: CoreLimits
    arithmetic: Arithmetic

    @property
    def n_tiles(self) -> int:
        """Tiles per chip."""
        return self.mesh_columns * self.mesh_rows

    @property
    def n_cores(self) -> int:
        """Cores per chip."""
        return self.n_tiles * self.cores_per_tile


@dataclass(frozen=True)
class Board(_Checked):
    """A number of equal chips.

    Attributes
    ----------
    name, description : str
        The file's name without ``.toml``, and one line for people.
    n_chips : int
        Chips on the board.
    chip : Chip
        What each of them is.
    """

    name: str
    description: str
    n_chips: int
    chip: Chip

    @property
    def n_cores(self) -> int:
        """Cores of the whole board."""
        return self.n_chips * self.chip.n_cores

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Board:
        """Make a board from what `dataclasses.asdict` gave for one, as a saved deployment holds it."""
        chip = dict(data["chip"])
        chip["core"] = CoreLimits(**chip["core"])
        chip["arithmetic"] = Arithmetic(**chip["arithmetic"])
        return cls(**{**data, "chip": Chip(**chip)})


def board_names() -> tuple[str, ...]:
    """Names of the boards that come with the package, smallest first."""
    boards = [_read_board(path) for path in _config_files().values() if "chip" in _read_toml(path)]
    return tuple(board.name for board in sorted(boards, key=lambda board: (board.n_chips, board.name)))


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
        if not path.is_file():
            raise UnknownBoardError.single(
                "no such board file",
                value=str(path),
                remedy=f"Name a file, or one of: {', '.join(board_names())}",
            )
        return _read_board(path)
    names = board_names()
    if name_or_path not in names:
        raise UnknownBoardError.single(
            "unknown board",
            value=repr(name_or_path),
            limit=f"one of {', '.join(names)}",
            remedy=f"{_nearest(str(name_or_path), names)}A board file of your own is given by its path",
        )
    return _read_board(_config_files()[str(name_or_path)])


def _config_files() -> dict[str, Path]:
    """Files that come with the package, by name without ``.toml``."""
    folder = next((folder for folder in _CONFIG_DIRS if folder.is_dir()), None)
    if folder is None:
        raise BoardConfigError.single(
            "the folder hardware_configs is missing",
            str(_CONFIG_DIRS[0]),
            remedy="Install loihi-deploy again",
        )
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardConfigError.single(f"not a TOML file: {error}", str(path)) from error
    except OSError as error:
        raise BoardConfigError.single(f"cannot be read: {error.strerror}", str(path)) from error
    return table


def _read_board(path: Path) -> Board:
    problems: list[Problem] = []
    table = _read_toml(path)
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
    if not path.is_file():
        chips = [stem for stem, file in _config_files().items() if "chip" not in _read_toml(file)]
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
    table = _read_toml(path)
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
    names = [spec.name for spec in _number_fields(kind)]
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
    problems += _range_problems(kind, values, where)
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
