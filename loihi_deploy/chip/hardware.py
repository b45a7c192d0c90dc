"""What a chip and a board are, as numbers; the field names are the keys of the files in ``hardware_configs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from loihi_deploy.errors import BoardConfigError, Problem

LARGEST = 2**31 - 1
"""Largest number of a file where the field says no other: every figure is computed in 64 bits."""
ENGINE_BITS = 29
"""Widest register of a compartment: the engines add two of them, and noise, in 32 bits."""


def _number(minimum: int = 1, maximum: int = LARGEST) -> Any:
    """Make a field with another range than 1 to `LARGEST`.

    A key that chip files did not always have also has a ``default``, with which a chip is what it was before the key.
    """
    return field(metadata={"minimum": minimum, "maximum": maximum})


def range_problems(owner: Any, values: Mapping[str, int], where: Callable[[str], str]) -> list[Problem]:
    """List the integer fields of dataclass `owner` that are out of range or do not go with each other."""
    problems = []
    for spec in number_fields(owner):
        minimum, maximum = spec.metadata.get("minimum", 1), spec.metadata.get("maximum", LARGEST)
        if spec.name in values and values[spec.name] < minimum:
            problems.append(
                Problem("number too small", where(spec.name), values[spec.name], f"at least {minimum}")
            )
        if spec.name in values and values[spec.name] > maximum:
            problems.append(
                Problem("number too large", where(spec.name), values[spec.name], f"at most {maximum}")
            )
        partner = spec.name.replace("min_", "max_", 1)
        if spec.name.startswith("min_") and values.get(spec.name, 0) > values.get(partner, sys.maxsize):
            problems.append(
                Problem(
                    "range is empty", where(spec.name), values[spec.name], f"{partner} = {values[partner]}"
                )
            )
    if not problems and owner_type(owner) is Arithmetic and len(values) == len(number_fields(owner)):
        problems += _arithmetic_problems(values, where)
    return problems


def owner_type(owner: Any) -> type:
    """The dataclass itself, of the dataclass or a value of it."""
    return owner if isinstance(owner, type) else type(owner)


def _arithmetic_problems(values: Mapping[str, int], where: Callable[[str], str]) -> list[Problem]:
    """What the engines cannot compute: numbers that are in range each, and not together."""
    problems = []
    step = values["weight_mantissa_step"]
    if step & (step - 1):
        problems.append(Problem("not a power of two", where("weight_mantissa_step"), step))
    elif not 1 <= values["weight_mantissa_max"] // step <= 127:
        problems.append(
            Problem(
                "weights are kept in 7 bits and sign, in units of weight_mantissa_step",
                where("weight_mantissa_max"),
                values["weight_mantissa_max"],
                f"{step} to {127 * step + step - 1}",
            )
        )
    lossless = 1 - step.bit_length()
    if values["max_weight_exponent"] < lossless:
        problems.append(
            Problem(
                "weights would lose bits at every exponent",
                where("max_weight_exponent"),
                values["max_weight_exponent"],
                f"{lossless} or more",
            )
        )
    for mantissa, shift, bits in (
        ("threshold_mantissa_max", "threshold_shift", 31),
        ("bias_mantissa_max", "max_bias_exponent", ENGINE_BITS),
    ):
        largest = values[mantissa] << values[shift]
        if largest >= 1 << bits:
            problems.append(
                Problem(
                    f"the largest value, times 2^{shift}, is too large",
                    where(mantissa),
                    largest,
                    f"2^{bits} - 1",
                )
            )
    for name in ("current_decay_offset", "voltage_decay_offset"):
        if values[name] > 1 << values["decay_bits"]:
            problems.append(
                Problem(
                    "more than the full scale of a decay",
                    where(name),
                    values[name],
                    1 << values["decay_bits"],
                )
            )
    return problems


def number_fields(owner: Any) -> list[Field[Any]]:
    """The integer fields of a dataclass: the numbers of a file."""
    return [spec for spec in fields(owner) if spec.type == "int"]


class _Checked:
    """A dataclass that refuses values of another type, and numbers out of range."""

    def __post_init__(self) -> None:
        kinds = {"int": int, "str": str, "CoreLimits": CoreLimits, "Arithmetic": Arithmetic, "Chip": Chip}
        problems = [
            Problem(
                "value of the wrong type", self._where(spec.name), repr(getattr(self, spec.name)), spec.type
            )
            for spec in fields(self)  # type: ignore[arg-type]
            if not isinstance(getattr(self, spec.name), kinds[str(spec.type)])
            or isinstance(getattr(self, spec.name), bool)
        ]
        if not problems:
            values = {spec.name: getattr(self, spec.name) for spec in number_fields(self)}
            problems = range_problems(self, values, self._where)
        if problems:
            raise BoardConfigError("Impossible hardware description", problems)

    def _where(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"


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
    max_narrow_weight_bits : int
        Most bits of a format with fewer; 1, which holds no weight with a sign, where there is none.
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
    max_delay : int
        Steps that a synapse can hold a spike back, beyond the one of every hop. 0 in files that say nothing about it.
    max_accumulators : int
        Accumulators of a core: where spikes are delayed by up to d steps, every compartment takes 2^b of them, the
        least power of two that is d + 2 or more.
    """

    max_compartments: int
    max_in_axons: int
    max_out_axon_slots: int
    slots_per_discrete_axon: int
    slots_per_pop16_axon: int
    slots_per_pop32_axon: int
    extra_slots_interchip: int = _number(0)
    synapse_memory_words: int
    synapse_word_bits: int
    extra_word_remainder: int
    max_synapse_words_per_axon: int
    max_synapses_per_entry: int
    entry_format_bits: int
    entry_length_bits: int
    synapse_weight_bits: int
    max_narrow_weight_bits: int = 1
    min_index_bits: int
    max_index_bits: int
    max_synapse_formats: int
    max_compartment_profiles: int
    max_threshold_profiles: int
    max_membrane_profiles: int
    max_stdp_profiles: int = _number(0)
    max_compartment_base: int
    pop16_base_multiple: int
    pop16_max_channels: int
    pop32_max_channels: int
    pop16_max_in_axons: int
    max_destination_groups: int
    max_delay: int = field(default=0, metadata={"minimum": 0, "maximum": 1022})
    max_accumulators: int = field(default=LARGEST)

    @property
    def synapse_memory_bits(self) -> int:
        """Bits of synapse memory per core."""
        return self.synapse_memory_words * self.synapse_word_bits


@dataclass(frozen=True, kw_only=True)
class Arithmetic(_Checked):
    """Ranges of the integers that a compartment works with.

    It travels with a program, and the engines read it there.

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
    weight_shift: int = _number(0, 16)
    min_weight_exponent: int = _number(-8, 7)
    max_weight_exponent: int = _number(-8, 7)
    threshold_mantissa_max: int
    threshold_shift: int = _number(0, 30)
    bias_mantissa_max: int
    max_bias_exponent: int = _number(0, 28)
    decay_bits: int = _number(1, 15)
    current_decay_offset: int = _number(0)
    voltage_decay_offset: int = _number(0)
    min_refractory_delay: int = _number(1, 256)
    max_refractory_delay: int = _number(1, 256)
    accumulator_bits: int = _number(1, ENGINE_BITS)
    current_bits: int = _number(1, ENGINE_BITS)
    max_v_min_exponent: int = _number(0, 31)
    max_v_max_exponent: int = _number(0, 10)

    @property
    def threshold_max(self) -> int:
        """Largest threshold that a voltage can exceed."""
        reachable = min(self.threshold_mantissa_max, (self.largest_v_max - 1) >> self.threshold_shift)
        return reachable << self.threshold_shift

    @property
    def bias_max(self) -> int:
        """Largest magnitude of a bias."""
        return self.bias_mantissa_max << self.max_bias_exponent

    @property
    def decay_max(self) -> int:
        """Largest stored decay."""
        return (1 << self.decay_bits) - 1

    @property
    def largest_v_max(self) -> int:
        """Largest upper bound of a voltage."""
        return (1 << (9 + 2 * self.max_v_max_exponent)) - 1

    @property
    def weight_shifts(self) -> range:
        """How far a weight, in units of `weight_mantissa_step`, can be shifted without losing bits.

        The chip drops what a small exponent shifts below ``1 << weight_shift`` (nengo-loihi's ``lossy_shift``).
        """
        unit = self.weight_shift + self.weight_mantissa_step.bit_length() - 1
        return range(
            max(self.weight_shift, unit + self.min_weight_exponent), unit + self.max_weight_exponent + 1
        )

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of a weight in units of `weight_mantissa_step`."""
        return self.weight_mantissa_max // self.weight_mantissa_step

    def current_factor(self, decay: int) -> int:
        """What is kept of a current in a step, of ``1 << decay_bits``."""
        return (1 << self.decay_bits) - self.current_decay_offset - decay

    def voltage_factor(self, decay: int) -> int:
        """What is kept of a voltage in a step, of ``1 << decay_bits``."""
        return (1 << self.decay_bits) - self.voltage_decay_offset - decay


@dataclass(frozen=True, kw_only=True)
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
    mesh_columns: int = _number(1, 64)
    mesh_rows: int = _number(1, 64)
    cores_per_tile: int = _number(1, 1024)
    host_spikes_per_step: int
    core: CoreLimits
    arithmetic: Arithmetic

    def __repr__(self) -> str:
        return f"Chip({self.name!r}, {self.n_cores} cores)"

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

    def __repr__(self) -> str:
        return f"Board({self.name!r}, n_chips={self.n_chips}, chip={self.chip!r})"

    @property
    def n_cores(self) -> int:
        """Cores of the whole board."""
        return self.n_chips * self.chip.n_cores

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Board:
        """Make a board from what `dataclasses.asdict` gave for one, as a saved deployment holds it.

        Raises
        ------
        BoardConfigError
            If entries are missing, unknown, of another type or out of range.
        """
        board = _entries(cls, data, "board")
        chip = _entries(Chip, board["chip"], "board.chip")
        for name, kind in (("core", CoreLimits), ("arithmetic", Arithmetic)):
            chip[name] = kind(**_entries(kind, chip[name], f"board.chip.{name}"))
        return cls(**{**board, "chip": Chip(**chip)})


def _entries(kind: type, data: Any, where: str) -> dict[str, Any]:
    """The entries of a table that is to become a dataclass; refuses unknown ones and missing ones without default."""
    if not isinstance(data, Mapping):
        raise BoardConfigError.single("not a table", where, type(data).__name__)
    specs = {spec.name: spec for spec in fields(kind)}
    problems = [Problem("unknown key", f"{where}.{key}") for key in data if key not in specs]
    problems += [
        Problem("missing", f"{where}.{name}")
        for name, spec in specs.items()
        if name not in data and spec.default is MISSING
    ]
    if problems:
        raise BoardConfigError("Impossible hardware description", problems)
    return dict(data)
