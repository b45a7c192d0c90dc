"""The integer program: what the chip executes and what every emulator takes.

Splitting populations over cores is not part of it (see `loihi_deploy.mapping`): the integers belong to the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.chip.hardware import ENGINE_BITS, Arithmetic
from loihi_deploy.errors import Problem
from loihi_deploy.ir import Graph, Link, Projection, Shape, Transform
from loihi_deploy.ir.checks import as_shape, check_fields, shape_problems
from loihi_deploy.ir.content import Content, frozen_array, one_for_each
from loihi_deploy.ir.delays import as_delays, delay_problems
from loihi_deploy.tables import Page, Shown, Table, by, percent, warned


@dataclass(frozen=True, eq=False)
class SpikeSource(Content):
    """Spikes that arrive from the host, one line per neuron of an encoder population.

    Parameters
    ----------
    name : str
        Name of the encoder population.
    shape : tuple of int
        (height, width, channels) or (n,).
    """

    name: str
    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        check_fields(self, lambda: shape_problems(self.name, self.shape))

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Noise(Content):
    """Noise of a population: (randint(-127..127) + 64 * offset) * 2^(exponent - 7), truncated, at every step.

    Parameters
    ----------
    exponent : int
        1..23.
    offset : int
        Mantissa offset.
    at_membrane : bool
        True adds it to the current after decay (u2), False to the synaptic input (q).
    """

    exponent: int
    offset: int = 0
    at_membrane: bool = False

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        if not 1 <= self.exponent <= 23:
            yield Problem("not an exponent of noise", "Noise", self.exponent, "1 to 23")
        elif (127 + 64 * abs(self.offset)) * 2.0 ** (self.exponent - 7) >= 2**ENGINE_BITS:
            yield Problem("noise too strong", "Noise", self, f"values below 2^{ENGINE_BITS}")


@dataclass(frozen=True, eq=False)
class Compartments(Content):
    """A population on chip; all its compartments share one setting apart from the bias.

    Parameters
    ----------
    name : str
    shape : tuple of int
        (height, width, channels) or (n,).
    decay_u, decay_v : int
        Decay constants of current and voltage, 0..4095.
    threshold : int
        v must exceed it; a mantissa of 17 bits times 64.
    bias : (size,) int32 array
        A mantissa of 12 bits (and sign) times 2^(0..7).
    refractory : int
        Steps, 1..63; 1 lets a compartment spike at every step.
    v_min, v_max : int
        Bounds of the voltage: -(2^e) + 1, and 2^(9 + 2 e) - 1.
    noise : Noise or None
    initial_voltage : (size,) int32 array or None
        None is zero.
    """

    name: str
    shape: Shape
    decay_u: int
    decay_v: int
    threshold: int
    bias: NDArray[np.int32]
    refractory: int = 1
    v_min: int = 0
    v_max: int = field(default_factory=lambda: loihi_arithmetic().largest_v_max)
    noise: Noise | None = None
    initial_voltage: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        object.__setattr__(self, "bias", one_for_each(self.bias, self.shape, np.int32))
        if self.initial_voltage is not None:
            object.__setattr__(self, "initial_voltage", frozen_array(self.initial_voltage, np.int32))
        check_fields(self, self._problems)
        for name in ("decay_u", "decay_v", "threshold", "refractory", "v_min", "v_max"):
            object.__setattr__(self, name, int(getattr(self, name)))

    def _problems(self) -> Iterable[Problem]:
        yield from shape_problems(self.name, self.shape)
        if self.bias.shape != (self.size,):
            yield Problem("biases do not fit", self.name, self.bias.shape, (self.size,))
        if self.initial_voltage is not None and self.initial_voltage.shape != (self.size,):
            yield Problem("initial voltages do not fit", self.name, self.initial_voltage.shape, (self.size,))

    def range_problems(self, chip: Arithmetic) -> Iterable[Problem]:
        """Settings that a chip's registers cannot hold."""
        threshold, unit = self.threshold >> chip.threshold_shift, 1 << chip.threshold_shift
        full = 1 << chip.decay_bits
        mantissas = np.abs(self.bias.astype(np.int64))
        exponents = np.arange(chip.max_bias_exponent + 1)[:, None]
        fits = ((mantissas & ((1 << exponents) - 1)) == 0) & (
            mantissas >> exponents <= chip.bias_mantissa_max
        )
        lost = mantissas[~fits.any(axis=0)]
        low, high = 1 - self.v_min, self.v_max + 1
        voltages = [1 << (9 + 2 * e) for e in range(chip.max_v_max_exponent + 1)]
        start = np.zeros(1, np.int32) if self.initial_voltage is None else self.initial_voltage
        for fine, what, value, limit in (
            (
                0 <= self.decay_u <= min(chip.decay_max, full - chip.current_decay_offset),
                "decay of the current",
                self.decay_u,
                f"0 to {min(chip.decay_max, full - chip.current_decay_offset)}",
            ),
            (
                0 <= self.decay_v <= min(chip.decay_max, full - chip.voltage_decay_offset),
                "decay of the voltage",
                self.decay_v,
                f"0 to {min(chip.decay_max, full - chip.voltage_decay_offset)}",
            ),
            (
                0 <= threshold <= chip.threshold_mantissa_max and self.threshold % unit == 0,
                "threshold",
                self.threshold,
                f"multiples of {unit} up to {chip.threshold_mantissa_max * unit}",
            ),
            (
                not lost.size,
                "biases",
                f"{lost.size} values, among them {lost.max(initial=0)}",
                f"{chip.bias_mantissa_max} times 2^0 to 2^{chip.max_bias_exponent}",
            ),
            (
                chip.min_refractory_delay <= self.refractory <= chip.max_refractory_delay,
                "refractory delay",
                self.refractory,
                f"{chip.min_refractory_delay} to {chip.max_refractory_delay}",
            ),
            (
                low > 0 and low & (low - 1) == 0 and low <= 1 << chip.max_v_min_exponent,
                "lower bound of the voltage",
                self.v_min,
                f"1 - 2^e, e from 0 to {chip.max_v_min_exponent}",
            ),
            (
                high in voltages,
                "upper bound of the voltage",
                self.v_max,
                f"2^(9 + 2 e) - 1, e from 0 to {chip.max_v_max_exponent}",
            ),
            (
                -chip.largest_v_max <= start.min(initial=0) and start.max(initial=0) <= chip.largest_v_max,
                "initial voltages",
                f"{start.min(initial=0)} to {start.max(initial=0)}",
                f"-{chip.largest_v_max} to {chip.largest_v_max}",
            ),
        ):
            if not fine:
                yield Problem(f"{what} out of the chip's range", self.name, value, limit)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Synapses(Content):
    """A projection on chip: a spike of input i adds ``transform[o, i] << shift`` to the accumulator of every output o.

    Parameters
    ----------
    pre, post : str
        Names of a spike source or population, and of a population.
    transform : Dense, Conv2D or Sparse of int8
        Mantissas -127..127, 7 bits and sign: those of the chip in units of its ``weight_mantissa_step``.
    shift : int
        On Loihi 7 is the chip's weight exponent 0, 6 its exponent -1. The chip drops the bits that a smaller exponent
        shifts below 2^6 (nengo-loihi's ``lossy_shift``), so exponent -1 with smaller mantissas expresses every weight
        that smaller exponents can. See `Arithmetic.weight_shifts`.
    weight_bits : int or None
        Bits of a stored weight, sign included; None for all that the chip stores. The mantissas' bits below these are
        0: with 4 of 8 bits they are multiples of 16.
    delays : int array or None
        Steps that spikes are held back beyond the one of every hop: a scalar array, or one for each neuron of the
        sender; None for none.
    """

    pre: str
    post: str
    transform: Transform
    shift: int
    weight_bits: int | None = field(default=None, metadata={"since": 2})
    delays: NDArray[np.int64] | None = field(default=None, metadata={"since": 2})

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays", as_delays(self.delays))
        check_fields(self, lambda: delay_problems(self.name, self.delays, self.transform))

    @property
    def name(self) -> str:
        """``pre->post``."""
        return f"{self.pre}->{self.post}"

    @property
    def most_delay(self) -> int:
        """The longest delay in steps."""
        return 0 if self.delays is None else int(self.delays.max(initial=0))

    @property
    def delay_bits(self) -> int:
        """Bits of a stored delay."""
        return self.most_delay.bit_length()


@dataclass(frozen=True, eq=False)
class ScaleGroup(Content):
    """How the floats of one population became integers; for reports, not needed to run.

    Parameters
    ----------
    population : str
    current_scale : float
        Integer synaptic weight per float weight (per-spike weight times the gain, threshold 1).
    voltage_scale : float
        Integer voltage per float voltage; the float threshold is 1.
    bias_scale : float
        Integer bias per float bias current.
    weight_rms_error : float
        Root mean square of (integer weight / current_scale - float weight), relative to the float weights' own.
    saturated_weights, zeroed_weights, n_weights : int
        Weights clipped at the largest mantissa, non-zero weights that became 0, and all weights.
    bias_rms_error : float
        The same as `weight_rms_error`, of the biases; 0 where there are none.
    """

    population: str
    current_scale: float
    voltage_scale: float
    bias_scale: float
    weight_rms_error: float
    saturated_weights: int
    zeroed_weights: int
    n_weights: int
    bias_rms_error: float

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False)
class BiasInput(Content):
    """A population on chip that takes its biases from the input: the encoder's readout of the same name, in integers.

    Parameters
    ----------
    population : str
    scale : float
        Integer bias for a value of 1.
    mantissa_max, exponent_max : int
        Ranges of a bias.
    """

    population: str
    scale: float
    mantissa_max: int
    exponent_max: int

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def limit(self) -> int:
        """The largest bias."""
        return self.mantissa_max << self.exponent_max


@dataclass(frozen=True, eq=False)
class HostLimit(Content):
    """At most so many messages from the host to a chip in a step; spikes beyond them wait for later steps.

    Parameters
    ----------
    spikes : int
        Messages to a chip in a step.
    messages : (n_chips, n_neurons) int32 array
        What a spike of each neuron of the encoder takes to each chip, populations one behind the other.
    """

    spikes: int
    messages: NDArray[np.int32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", frozen_array(self.messages, np.int32))
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        if self.messages.ndim != 2 or (self.messages < 0).any():
            yield Problem("not messages of neurons to chips", "HostLimit.messages", self.messages.shape)
        elif self.messages.max(initial=1) > self.spikes:
            yield Problem(
                "a single spike of the host takes more messages to a chip than the limit",
                "HostLimit.spikes",
                self.spikes,
                f"{int(self.messages.max())} or more",
            )


@dataclass(frozen=True, eq=False)
class Program(Shown, Content):
    """A network in integers, with the float parts that run on the host.

    Parameters
    ----------
    encoder : Graph
        Inputs, the populations that turn real values into spikes, and readouts that are biases (see `bias_inputs`).
    sources : tuple of SpikeSource
        The encoder's populations as the chip sees them.
    populations : tuple of Compartments
    synapses : tuple of Synapses
    readout : Graph
        Its inputs are chip populations (or encoders), its projections decode them: a spike stands for 1 / dt.
    links : tuple of Link
    scale_groups : tuple of ScaleGroup
    dt : float
        Step in seconds.
    notes : tuple of str
        Warnings collected on the way, for the report; not compared.
    bias_inputs : tuple of BiasInput
    arithmetic : Arithmetic
        How the chip computes, from its file; the first-generation Loihi's if not given.
    host_limit : HostLimit or None
        What the host may send in a step; None for as much as its neurons emit.
    frame_steps : int or None
        Steps of a frame that delays were made for, where they bring what was said of earlier frames; else None.
    """

    encoder: Graph
    sources: tuple[SpikeSource, ...]
    populations: tuple[Compartments, ...]
    synapses: tuple[Synapses, ...]
    readout: Graph
    links: tuple[Link, ...] = ()
    scale_groups: tuple[ScaleGroup, ...] = ()
    dt: float = 0.001
    notes: tuple[str, ...] = field(default=(), metadata={"compare": False})
    bias_inputs: tuple[BiasInput, ...] = ()
    arithmetic: Arithmetic = field(default_factory=loihi_arithmetic, metadata={"since": 2})
    host_limit: HostLimit | None = field(default=None, metadata={"since": 2})
    frame_steps: int | None = field(default=None, metadata={"since": 2})

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        names = [node.name for node in self.all_nodes]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("a name stands for two things", name)
        for population in self.populations:
            yield from population.range_problems(self.arithmetic)
        yield from self._synapse_problems()
        yield from self._bias_problems()
        yield from self._host_problems()
        if not 0 < self.dt < np.inf:
            yield Problem("a step must be positive", "dt", self.dt)
        if self.frame_steps is not None and self.frame_steps < 1:
            yield Problem("not a number of steps", "frame_steps", self.frame_steps, "1 or more")

    def _synapse_problems(self) -> Iterable[Problem]:
        for synapses in self.synapses:
            for end, size in (
                (synapses.pre, synapses.transform.in_size),
                (synapses.post, synapses.transform.out_size),
            ):
                if end not in self.nodes or (
                    end == synapses.post and isinstance(self.nodes[end], SpikeSource)
                ):
                    yield Problem("no such population", synapses.name, end)
                elif self.nodes[end].size != size:
                    yield Problem(
                        "the transform does not fit", f"{synapses.name} at {end}", size, self.nodes[end].size
                    )
            values, limit = synapses.transform.values, self.arithmetic.weight_limit
            if values.dtype != np.int8 or (np.abs(values.astype(np.int64)) > limit).any():
                yield Problem(f"weights must be int8, -{limit}..{limit}", synapses.name, values.dtype)
            most = self.arithmetic.weight_limit.bit_length() + 1
            bits = most if synapses.weight_bits is None else synapses.weight_bits
            if not 2 <= bits <= most:
                yield Problem("not a number of bits of a weight", synapses.name, bits, f"2 to {most}")
            elif (values & ((1 << (most - bits)) - 1)).any():
                yield Problem(
                    f"weights with more than {bits} bits",
                    synapses.name,
                    limit=f"multiples of {1 << (most - bits)}",
                )
            if synapses.shift not in self.arithmetic.weight_shifts:
                allowed = ", ".join(map(str, self.arithmetic.weight_shifts))
                yield Problem("not a weight shift", synapses.name, synapses.shift, allowed)

    def _bias_problems(self) -> Iterable[Problem]:
        inputs = {node.name for node in self.encoder.inputs}
        values = {node.name: node.size for node in self.encoder.readouts}
        taken = [bias_input.population for bias_input in self.bias_inputs]
        for name in sorted({name for name in taken if taken.count(name) > 1}):
            yield Problem("takes its bias from the input twice", name)
        for bias_input in self.bias_inputs:
            population = self.nodes.get(bias_input.population)
            if not isinstance(population, Compartments) or values.get(population.name) != population.size:
                yield Problem("no such population, or no such values", bias_input.population)
                continue
            if population.noise is not None:
                yield Problem("noise where the bias is taken from the input", population.name)
            if any(projection.pre not in inputs for projection in self.encoder.into(population.name)):
                yield Problem("a bias that is not that of an input", population.name)
            if not np.isfinite(bias_input.scale):
                yield Problem("not a scale of biases", population.name, bias_input.scale)
            for what, value, low, high in (
                ("mantissa", bias_input.mantissa_max, 1, self.arithmetic.bias_mantissa_max),
                ("exponent", bias_input.exponent_max, 0, self.arithmetic.max_bias_exponent),
            ):
                if not low <= value <= high:
                    yield Problem(
                        f"{what} of biases out of the chip's range",
                        population.name,
                        value,
                        f"{low} to {high}",
                    )

    def _host_problems(self) -> Iterable[Problem]:
        """What does not fit together between host and chip."""
        encoders = {node.name: node.size for node in self.encoder.populations}
        for source in self.sources:
            if encoders and encoders.get(source.name) != source.size:
                yield Problem(
                    "spikes that no population of the encoder sends",
                    source.name,
                    source.size,
                    encoders.get(source.name),
                )
        if self.host_limit is not None and self.host_limit.messages.shape[1:] != (sum(encoders.values()),):
            found = self.host_limit.messages.shape
            yield Problem("a limit of other neurons", "host_limit", found, sum(encoders.values()))
        senders = encoders | {node.name: node.size for node in self.all_nodes}
        for node in self.readout.inputs:
            if senders.get(node.name) != node.size:
                yield Problem(
                    "the readout decodes what is not there", node.name, node.size, senders.get(node.name)
                )
        for population in self.readout.populations:
            yield Problem("a readout has no neurons", population.name)
        for projection in self.encoder.projections:
            if projection.delays is not None:
                yield Problem("the encoder holds nothing back", projection.name, projection.delays)
        for projection in self.readout.projections:
            if projection.delays is not None and projection.delays.ndim:
                yield Problem("the readout holds back all spikes of a projection alike", projection.name)
        for link in self.links:
            if link.population not in senders:
                yield Problem("a link without its population", link.population)
        for part in (self.encoder, self.readout):
            if part.all_nodes and part.dt != self.dt:
                yield Problem("host and chip have different steps", "dt", part.dt, self.dt)

    def page(self) -> Page:
        """A row for each population of the host and of the chip."""
        groups = {group.population: group for group in self.scale_groups}
        rows = [
            (p.name, "host", p.neuron.kind, by(p.shape), "", "", "", "") for p in self.encoder.populations
        ]
        for p in self.populations:
            into = self.into(p.name)
            group = groups.get(p.name)
            rows.append(
                (
                    p.name,
                    "chip",
                    "lif" if p.decay_v else "if",
                    by(p.shape),
                    f"{p.threshold:,}",
                    f"{sum(synapses.transform.values.size for synapses in into):,}",
                    " ".join(str(synapses.shift) for synapses in into),
                    percent(None if group is None else group.weight_rms_error),
                )
            )
        columns = (
            "population",
            "place",
            "neuron",
            "shape",
            "threshold",
            "weights",
            "shift",
            "rounding error",
        )
        outputs = ", ".join(f"{readout.name} {by(readout.shape)}" for readout in self.readout.readouts)
        texts = (
            f"{self.n_compartments:,} neurons on chip, steps of {self.dt:g} s; outputs: {outputs or 'none'}",
            *warned(self.notes),
        )
        return Page((Table("Populations in integers", columns, tuple(rows), names=3), *texts))

    @property
    def all_nodes(self) -> tuple[SpikeSource | Compartments, ...]:
        """Sources, then populations."""
        return (*self.sources, *self.populations)

    @cached_property
    def nodes(self) -> dict[str, SpikeSource | Compartments]:
        """Every spike source and population by name."""
        return {node.name: node for node in self.all_nodes}

    def weight_exponent(self, synapses: Synapses) -> int:
        """The chip's weight exponent of some synapses: on Loihi 0 or -1."""
        step = self.arithmetic.weight_mantissa_step
        return synapses.shift - self.arithmetic.weight_shift - (step.bit_length() - 1)

    @property
    def n_compartments(self) -> int:
        """Neurons on chip."""
        return sum(population.size for population in self.populations)

    @property
    def delayed(self) -> tuple[Synapses, ...]:
        """The synapses that hold spikes back."""
        return tuple(synapses for synapses in self.synapses if synapses.delays is not None)

    def delay_problems(self, who: str, *, readout: bool = False) -> Iterator[Problem]:
        """That someone knows no delays, where there are any, on chip or in the host's readout, too."""
        held_back: list[Synapses | Projection] = [*self.delayed]
        held_back += [p for p in self.readout.projections if readout and p.delays is not None]
        for projection in held_back:
            yield Problem(
                f"{who} holds no spikes back",
                projection.name,
                f"delays of up to {projection.most_delay} steps",
                remedy="Use backend='emulator' or 'numpy', or a network without delays",
            )

    def into(self, name: str) -> tuple[Synapses, ...]:
        """The synapses into a population."""
        return tuple(synapses for synapses in self.synapses if synapses.post == name)

    def out_of(self, name: str) -> tuple[Synapses, ...]:
        """The synapses out of a source or population."""
        return tuple(synapses for synapses in self.synapses if synapses.pre == name)
