"""The float network: populations of neurons, the projections between them, real inputs and real readouts.

Conventions. A neuron's input is ``J = gain * sum(projections) + bias``. Its output while it fires at rate a (in Hz) is
``amplitude * a``: a spike stands for ``amplitude / dt`` during one step, as in Nengo. Multiplying gain and bias by s
and dividing the amplitude by s changes firing rates and, for rectified linear neurons, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.checks import as_shape, check_fields, shape_problems
from loihi_deploy.ir.content import Content, frozen_array, one_for_each
from loihi_deploy.ir.delays import as_delays, delay_problems
from loihi_deploy.ir.prelude import FrameMemory, HostMap
from loihi_deploy.ir.transforms import Shape, Transform

LARGEST_DRIVE = 1e30
"""Largest input of a neuron that a spike stands for: some powers of ten below float32's, so that sums stay finite."""


@dataclass(frozen=True, eq=False)
class NeuronModel(Content):
    """A neuron type.

    Parameters
    ----------
    kind : {'if', 'lif', 'poisson', 'ttfs'}
        Integrate-and-fire (spiking rectified linear) or leaky integrate-and-fire; on the host also neurons that spike
        at random with probability ``rate * dt`` in each step, and neurons with one spike in a presentation, the earlier
        the higher the rate that it stands for (time to first spike). The last two have rectified linear rates.
    tau_rc : float
        Membrane time constant in seconds; infinite for all but 'lif'.
    tau_ref : float
        Refractory period in seconds; 0 for all but 'lif'.
    discretized : bool
        True for nengo-loihi's LoihiLIF and LoihiSpikingRectifiedLinear: where the host steps such a neuron it loses the
        overshoot over the threshold and rounds its time constants, as the chip does. On chip it makes no difference.
    relu_offset : float or None
        For a leaky neuron that stands in for a rectified linear one: the input at which the line
        ``(input - relu_offset) / tau_rc`` starts, which the rate network computes; None otherwise.
    below_zero : bool
        Whether the voltage on chip may go below 0, as far as the register does. The float network's stays at 0.
    step : float
        For a neuron that was trained, or decoded, with what the chip's steps make of its rate, their length in
        seconds: intervals between spikes are half a step longer, on average, since a neuron spikes at the end of a step
        and is reset to 0, and a step long at least. So the rate network computes ``input / (1 + input step / 2)`` for
        an integrate-and-fire neuron. 0 for the rectified line, and for the LIF curve of Nengo.
    """

    kind: Literal["if", "lif", "poisson", "ttfs"] = "if"
    tau_rc: float = np.inf
    tau_ref: float = 0.0
    discretized: bool = False
    relu_offset: float | None = None
    below_zero: bool = field(default=False, metadata={"since": 2})
    step: float = field(default=0.0, metadata={"since": 2})

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "tau_rc", float(self.tau_rc))
        object.__setattr__(self, "tau_ref", float(self.tau_ref))
        object.__setattr__(self, "step", float(self.step))
        no_leak = self.tau_rc == np.inf and self.tau_ref == 0
        fits = dict.fromkeys(("if", "poisson", "ttfs"), no_leak) | {"lif": 0 < self.tau_rc < np.inf}
        spikes_as_on_chip = self.kind in ("if", "lif") or not self.discretized
        offset = 0.0 if self.relu_offset is None else self.relu_offset
        finite = 0 <= self.tau_ref < np.inf and np.isfinite(offset)
        stepped = self.step == 0 or (0 < self.step < np.inf and self.discretized and self.relu_offset is None)
        if not (fits.get(self.kind, False) and finite and spikes_as_on_chip and stepped):
            raise InputError.single("not a neuron model of the chip", "NeuronModel", repr(self))

    @property
    def scales(self) -> bool:
        """Whether firing rates can be scaled and nothing else changes.

        Not with the curve of a leak, nor with the steps of a discretized neuron, which a network was trained with.
        """
        return not self.discretized and (self.kind != "lif" or self.relu_offset is not None)

    def rates(self, j: NDArray[Any]) -> NDArray[Any]:
        """Firing rates in Hz for constant input `j` (threshold 1): the rectified line, or the LIF curve of Nengo."""
        if self.step and self.kind != "lif":
            driven = np.maximum(j, 0)
            return np.asarray(np.minimum(driven / (1 + 0.5 * self.step * driven), 1 / self.step), j.dtype)
        if self.kind != "lif":
            return np.maximum(j, 0)
        if self.relu_offset is not None:
            return np.maximum((j - self.relu_offset) / self.tau_rc, 0)
        above = j > 1
        out = np.zeros_like(j)
        charging = self.tau_rc * np.log1p(1 / (j[above] - 1)) + self.step / 2
        out[above] = 1 / (self.tau_ref + np.maximum(charging, self.step))
        return out

    def input_for_rate(self, rate: float) -> float:
        """The constant input at which the neuron fires at `rate` Hz."""
        if self.kind != "lif":
            return rate / (1 - 0.5 * self.step * rate)
        if self.relu_offset is not None:
            return self.relu_offset + self.tau_rc * rate
        return float(1 + 1 / np.expm1((1 / rate - self.tau_ref - self.step / 2) / self.tau_rc))


@dataclass(frozen=True, eq=False)
class Input(Content):
    """Real values given from outside, one array per sample (or per frame).

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of one sample; images are (height, width, channels).
    scale : float
        The magnitude that an inserted encoder maps to its highest firing rate.
    signed : bool
        Whether there may be values below 0.
    channels_first : bool
        Samples are given as (channels, height, width); `shape` and the graph's transforms have channels last.
    calibrated : (float, float) or None
        The lowest and the highest value that firing rates were set for; not compared. None where nobody knows.
    origin : Input or None
        The input that samples are given for, where the host computes this one's values from them.
    before : tuple of HostMap and FrameMemory
        What the host computes, one after the other.
    mask_value : float or None
        Frames that hold nothing but this value, at the end of a sequence, are no part of it.
    events : bool
        Whether values are spikes, 0 or 1, of which each frame holds those of one step.
    n_frames : int or None
        Frames that a sequence has to have; None for any number.
    """

    name: str
    shape: Shape
    scale: float = 1.0
    channels_first: bool = False
    signed: bool = True
    calibrated: tuple[float, float] | None = field(default=None, metadata={"compare": False})
    origin: Input | None = field(default=None, metadata={"since": 2})
    before: tuple[HostMap | FrameMemory, ...] = field(default=(), metadata={"since": 2})
    mask_value: float | None = field(default=None, metadata={"since": 2})
    events: bool = field(default=False, metadata={"since": 2})
    n_frames: int | None = field(default=None, metadata={"since": 2})

    @property
    def remembers(self) -> bool:
        """Whether the host keeps earlier frames."""
        return any(isinstance(step, FrameMemory) for step in self.before)

    @property
    def given(self) -> Input:
        """The input that samples are given for."""
        return self if self.origin is None else self.origin

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        yield from shape_problems(self.name, self.shape)
        if not 0 < self.scale < np.inf:
            yield Problem("an input's scale must be positive", self.name, self.scale)
        if self.channels_first and len(self.shape) < 2:
            yield Problem("no channels to come first", self.name, self.shape)
        sizes = [self.given.size, *(step.out_size for step in self.before)]
        wanted = [*(step.in_size for step in self.before), self.size]
        if sizes != wanted:
            yield Problem("the host's functions do not fit", self.name, sizes, wanted)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Population(Content):
    """Neurons of one layer.

    Parameters
    ----------
    name : str
    shape : tuple of int
        (height, width, channels) or (n,).
    neuron : NeuronModel
    gain : float array
        A scalar array, or one value per neuron, flat.
    bias : (size,) float array
        Bias current; the gain does not multiply it.
    amplitude : float
        What a spike stands for, times dt.
    initial_voltage : (size,) float array or None
        Membrane voltage at the start, in units of the threshold; None is zero.
    adds_only : bool
        For rectified linear neurons of the host with one gain above 0: they add ``total + bias / gain`` to their
        voltage and compare it with the threshold ``1 / (gain * dt)``, so that no step takes a multiply. Rates are the
        same.
    saturating : float
        For neurons of the host: the part of their spikes on calibration data, 0..1, that lies beyond one in a step and
        is meant to be lost, as the slower ones then say more (see `normalize`).
    """

    name: str
    shape: Shape
    neuron: NeuronModel
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]
    amplitude: float = 1.0
    initial_voltage: NDArray[np.float64] | None = None
    adds_only: bool = field(default=False, metadata={"since": 2})
    saturating: float = field(default=0.0, metadata={"since": 2})

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        gain = frozen_array(self.gain, np.float64)
        if gain.size and (gain == gain.flat[0]).all():
            gain = frozen_array(gain.reshape(-1)[0], np.float64)
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "bias", one_for_each(self.bias, self.shape, np.float64))
        if self.initial_voltage is not None:
            object.__setattr__(self, "initial_voltage", frozen_array(self.initial_voltage, np.float64))
        check_fields(self, self._problems)
        object.__setattr__(self, "amplitude", float(self.amplitude))

    def _problems(self) -> Iterable[Problem]:
        yield from shape_problems(self.name, self.shape)
        if self.gain.shape not in ((), (self.size,)):
            yield Problem("gains do not fit", self.name, self.gain.shape, (self.size,))
        if self.bias.shape != (self.size,):
            yield Problem("biases do not fit", self.name, self.bias.shape, (self.size,))
        if self.initial_voltage is not None and self.initial_voltage.shape != (self.size,):
            yield Problem("initial voltages do not fit", self.name, self.initial_voltage.shape, (self.size,))
        if self.adds_only and not self.can_add_only:
            yield Problem(
                "cannot run on additions only", self.name, self.neuron, "one gain above 0, kind 'if'"
            )
        if not 0 <= self.saturating <= 1:
            yield Problem("not a part of its spikes", f"{self.name}.saturating", self.saturating, "0 to 1")

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def can_add_only(self) -> bool:
        """Whether `adds_only` can be set."""
        rectified = self.neuron.kind == "if" and not self.neuron.discretized
        return rectified and self.gain.ndim == 0 and bool(self.gain > 0)

    def currents(self, total: NDArray[Any]) -> NDArray[Any]:
        """Neuron inputs J = gain * total + bias for summed projections of shape (n, size), in their dtype."""
        return np.asarray(total * self.gain.astype(total.dtype) + self.bias.astype(total.dtype))

    def rescaled(self, factor: float) -> Population:
        """The same function at `factor` times the firing rates (exactly so for rectified linear neurons)."""
        return replace(
            self, gain=self.gain * factor, bias=self.bias * factor, amplitude=self.amplitude / factor
        )


@dataclass(frozen=True, eq=False)
class Readout(Content):
    """Real values decoded from spikes outside the chip.

    Parameters
    ----------
    name : str
    shape : tuple of int
    bias : (size,) float array
    activation : {'linear', 'softmax', 'sigmoid', 'tanh'}
        Applied to the averaged output of a presentation; softmax along the last axis.
    dtype : {'float16', 'float32', 'float64'}
        Of the outputs that a run gives.
    over_frames : {'', 'mean', 'last', 'each'}
        What the source makes of the values of each frame of a sequence: their mean, the last ones, or all of them; ''
        where it does not say, as where it takes static samples.
    first_frame : int
        The first frame that the source has an answer to, counted from 0: a convolution over time that is not padded has
        none before it has seen as many frames as it takes.
    """

    name: str
    shape: Shape
    bias: NDArray[np.float64]
    activation: Literal["linear", "softmax", "sigmoid", "tanh"] = "linear"
    dtype: Literal["float16", "float32", "float64"] = field(default="float64", metadata={"since": 2})
    over_frames: Literal["", "mean", "last", "each"] = field(default="", metadata={"since": 2})
    first_frame: int = field(default=0, metadata={"since": 2})

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        object.__setattr__(self, "bias", one_for_each(self.bias, self.shape, np.float64))
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        yield from shape_problems(self.name, self.shape or (1,))
        if self.bias.shape != (self.size,):
            yield Problem("biases do not fit", self.name, self.bias.shape, (self.size,))
        if self.first_frame < 0:
            yield Problem("not a frame", f"{self.name}, first_frame", self.first_frame, "0 or more")

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def n_classes(self) -> int:
        """Classes that the outputs decide between: two by a single sigmoid, else one for each; 1 decides nothing."""
        return 2 if self.size == 1 and self.activation == "sigmoid" else self.size

    def classes(self, values: NDArray[Any], activated: bool = False) -> NDArray[np.int64]:
        """The classes that decoded values (..., size) decide for, before the activation or behind it."""
        if self.size == 1 and self.activation == "sigmoid":
            return np.asarray(values[..., 0] > (0.5 if activated else 0.0), np.int64)
        return np.asarray(np.argmax(values, axis=-1), np.int64)

    def activated(self, values: NDArray[Any]) -> NDArray[Any]:
        """Outputs (n, *shape) of decoded values (n, size), in the dtype of the values."""
        x = values.reshape(-1, *self.shape)
        if self.activation == "softmax":
            x = np.exp(x - x.max(axis=-1, keepdims=True))
            return np.asarray(x / x.sum(axis=-1, keepdims=True))
        if self.activation == "sigmoid":
            return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))  # which cannot overflow
        return np.tanh(x) if self.activation == "tanh" else x


@dataclass(frozen=True, eq=False)
class Projection(Content):
    """Synapses from an input or a population to a population or a readout.

    Parameters
    ----------
    pre, post : str
        Names of an input or population, and of a population or readout.
    transform : Dense, Conv2D or Sparse
    tau : float
        Time constant of the lowpass synapse in seconds; 0 is no filter. Infinite keeps what arrives: a spike counts as
        one in every step from its arrival to the end of the presentation.
    delays : int array or None
        Steps that spikes are held back beyond the one of every hop: a scalar array, or one for each neuron of the
        sender; None for none.
    frames_back : int
        Frames of a sequence after which spikes arrive, where the source counts in frames: what a convolution over time
        has of earlier frames, and a recurrent layer of its own. `loihi_deploy.with_frame_delays` makes delays of it.
    """

    pre: str
    post: str
    transform: Transform
    tau: float = 0.0
    delays: NDArray[np.int64] | None = field(default=None, metadata={"since": 2})
    frames_back: int = field(default=0, metadata={"since": 2})

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays", as_delays(self.delays))
        check_fields(self, self._problems)
        object.__setattr__(self, "frames_back", int(self.frames_back))

    def _problems(self) -> Iterable[Problem]:
        yield from delay_problems(self.name, self.delays, self.transform)
        if self.frames_back < 0:
            yield Problem(
                "not a number of frames", f"{self.name}, frames_back", self.frames_back, "0 or more"
            )

    @property
    def most_delay(self) -> int:
        """The longest delay in steps."""
        return 0 if self.delays is None else int(self.delays.max(initial=0))

    @property
    def name(self) -> str:
        """``pre->post``."""
        return f"{self.pre}->{self.post}"


@dataclass(frozen=True, eq=False)
class Graph(Content):
    """A network in floats.

    Parameters
    ----------
    inputs : tuple of Input
    populations : tuple of Population
        In an order in which every population stands behind those that drive it, recurrent projections aside.
    projections : tuple of Projection
    readouts : tuple of Readout
    dt : float
        Step in seconds.
    notes : tuple of str
        What had to be changed or dropped on the way here, for the report; not compared.
    frame_steps : int or None
        Steps of a frame that delays were made for, where projections have `frames_back`; None where they were not made.
    """

    inputs: tuple[Input, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    readouts: tuple[Readout, ...] = ()
    dt: float = 0.001
    notes: tuple[str, ...] = field(default=(), metadata={"compare": False})
    frame_steps: int | None = field(default=None, metadata={"since": 2})

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        names = [node.name for node in self.all_nodes]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("a name stands for two things", name, remedy="Give every layer a name of its own")
        sources = {node.name: node.size for node in self.all_nodes if not isinstance(node, Readout)}
        targets = {node.name: node.size for node in self.all_nodes if not isinstance(node, Input)}
        largest = {p.name: float(np.abs(p.gain).max(initial=0.0)) for p in self.populations}
        gains = {name: gain for name, gain in largest.items() if np.isfinite(gain)}
        for projection in self.projections:
            for end, sizes, size in (
                (projection.pre, sources, projection.transform.in_size),
                (projection.post, targets, projection.transform.out_size),
            ):
                if end not in sizes:
                    yield Problem("no such population", projection.name, end)
                elif sizes[end] != size:
                    yield Problem(
                        "the transform does not fit", f"{projection.name} at {end}", size, sizes[end]
                    )
            values, gain = projection.transform.values, gains.get(projection.post, 0.0)
            bad = int((~np.isfinite(values)).sum())
            if bad:
                yield Problem(
                    "weights are not finite",
                    projection.name,
                    f"{bad} NaN or infinite values",
                    remedy="Check the training: a diverged network cannot be deployed",
                )
            elif not float(np.abs(values).max(initial=0.0)) * gain <= LARGEST_DRIVE * self.dt:
                yield Problem(
                    "weights times gains are too large for sums in float32",
                    projection.name,
                    limit=f"{LARGEST_DRIVE:g} for a spike, which lasts a step",
                    remedy="Check the training: a diverged network cannot be deployed",
                )
            if not projection.tau >= 0:
                yield Problem("not a synaptic time constant", projection.name, projection.tau)
        for population in self.populations:
            start = 0.0 if population.initial_voltage is None else population.initial_voltage
            if not all(np.isfinite(values).all() for values in (population.gain, population.bias, start)):
                yield Problem(
                    "gains or biases are not finite",
                    population.name,
                    remedy="Check the training: a diverged network cannot be deployed",
                )
            if not (0 < population.amplitude < np.inf):
                yield Problem("a spike's amplitude must be positive", population.name, population.amplitude)
        for readout in self.readouts:
            if not np.isfinite(readout.bias).all():
                yield Problem("biases are not finite", readout.name)
            if readout.first_frame != self.first_frame:
                yield Problem(
                    "readouts begin at different frames", readout.name, readout.first_frame, self.first_frame
                )
        if not 0 < self.dt < np.inf:
            yield Problem("a step must be positive", "dt", self.dt)
        if self.frame_steps is not None and self.frame_steps < 1:
            yield Problem("not a number of steps", "frame_steps", self.frame_steps, "1 or more")

    @property
    def all_nodes(self) -> tuple[Input | Population | Readout, ...]:
        """Inputs, populations, readouts, in this order."""
        return (*self.inputs, *self.populations, *self.readouts)

    @property
    def is_recurrent(self) -> bool:
        """Whether a population is driven by itself or by one that stands behind it."""
        place = {node.name: k for k, node in enumerate(self.all_nodes)}
        return any(place[projection.pre] >= place[projection.post] for projection in self.projections)

    @property
    def holds_frames(self) -> bool:
        """Whether projections bring what was said of earlier frames."""
        return any(projection.frames_back for projection in self.projections)

    @property
    def first_frame(self) -> int:
        """The first frame that there is an answer to; see `Readout`."""
        return self.readouts[0].first_frame if self.readouts else 0

    @property
    def origins(self) -> tuple[Input, ...]:
        """The inputs that samples are given for."""
        return tuple({node.given.name: node.given for node in self.inputs}.values())

    @cached_property
    def nodes(self) -> dict[str, Input | Population | Readout]:
        """Every input, population and readout by name."""
        return {node.name: node for node in self.all_nodes}

    def into(self, name: str) -> tuple[Projection, ...]:
        """The projections into a population or readout."""
        return tuple(projection for projection in self.projections if projection.post == name)

    def out_of(self, name: str) -> tuple[Projection, ...]:
        """The projections out of an input or population."""
        return tuple(projection for projection in self.projections if projection.pre == name)
