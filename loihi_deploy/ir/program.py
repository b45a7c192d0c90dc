"""The integer program: what the chip executes and what every emulator takes.

Splitting populations over cores is not part of it (see `loihi_deploy.mapping`): the integers belong to the layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph, Link, Shape, Transform
from loihi_deploy.ir.content import Content, frozen_array
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
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name in ("decay_u", "decay_v", "threshold", "refractory", "v_min", "v_max"):
            object.__setattr__(self, name, int(getattr(self, name)))
        bias = np.broadcast_to(np.asarray(self.bias, dtype=np.int32), (self.size,))
        object.__setattr__(self, "bias", frozen_array(bias, np.int32))
        if self.initial_voltage is not None:
            object.__setattr__(self, "initial_voltage", frozen_array(self.initial_voltage, np.int32))

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
    """

    pre: str
    post: str
    transform: Transform
    shift: int

    @property
    def name(self) -> str:
        """``pre->post``."""
        return f"{self.pre}->{self.post}"


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

    @property
    def limit(self) -> int:
        """The largest bias."""
        return self.mantissa_max << self.exponent_max


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

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InputError("The program is not consistent", problems)

    def _problems(self) -> Iterable[Problem]:
        names = [node.name for node in self.all_nodes]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("a name stands for two things", name)
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
            if synapses.transform.values.dtype != np.int8 or (synapses.transform.values == -128).any():
                yield Problem(
                    "weights must be int8, -127..127", synapses.name, synapses.transform.values.dtype
                )
            if synapses.shift not in self.arithmetic.weight_shifts:
                allowed = ", ".join(map(str, self.arithmetic.weight_shifts))
                yield Problem("not a weight shift", synapses.name, synapses.shift, allowed)
        values = {node.name: node.size for node in self.encoder.readouts}
        for bias_input in self.bias_inputs:
            population = self.nodes.get(bias_input.population)
            if not isinstance(population, Compartments) or values.get(population.name) != population.size:
                yield Problem("no such population, or no such values", bias_input.population)
            elif population.noise is not None:
                yield Problem("noise where the bias is taken from the input", population.name)
        for population in self.populations:
            initial = population.initial_voltage
            if initial is not None and initial.shape != (population.size,):
                yield Problem(
                    "initial voltages do not fit", population.name, initial.shape, (population.size,)
                )

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

    def into(self, name: str) -> tuple[Synapses, ...]:
        """The synapses into a population."""
        return tuple(synapses for synapses in self.synapses if synapses.post == name)

    def out_of(self, name: str) -> tuple[Synapses, ...]:
        """The synapses out of a source or population."""
        return tuple(synapses for synapses in self.synapses if synapses.pre == name)
