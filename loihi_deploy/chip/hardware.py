"""What a chip and a board are, as numbers; the field names are the keys of the files in ``hardware_configs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from loihi_deploy.errors import BoardConfigError, Problem


def _at_least(minimum: int) -> Any:
    """Make a field whose smallest legal value is not the usual 1."""
    return field(metadata={"minimum": minimum})


def range_problems(owner: Any, values: Mapping[str, int], where: Callable[[str], str]) -> list[Problem]:
    """List the integer fields of dataclass `owner` that are below their minimum or above their partner."""
    problems = []
    for spec in number_fields(owner):
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


def number_fields(owner: Any) -> list[Field[Any]]:
    """The integer fields of a dataclass: the numbers of a file."""
    return [spec for spec in fields(owner) if spec.type == "int"]


class _Checked:
    """A dataclass that refuses numbers out of range."""

    def __post_init__(self) -> None:
        values = {spec.name: getattr(self, spec.name) for spec in number_fields(self)}
        problems = range_problems(self, values, lambda name: f"{type(self).__name__}.{name}")
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
