"""Networks of lava-dl (netx, HDF5) as programs: their integers as they are.

A file holds what Loihi computes with: weights of 8 bits, biases, decays and thresholds of current-based leaky neurons.
Lava's fixed-point process of such a neuron (``lava.proc.lif``, lava-nc 0.10) and ours do the same, step by step; a
weight w adds ``w << 6`` to the current, a bias b adds ``b << 6`` to the voltage, a threshold is ``vThMant << 6``.

What a program has no word for is made of what it has:

- an axonal delay is one of the synapses that the neuron's spikes go to, or of the host's decoders
- a pooling layer is a convolution of each channel with one kernel
- an input layer with neurons takes ``weight * x + bias`` as its bias current; one without neurons is spikes, which
  samples with a frame for each step give: 1 is a spike, and other values are spikes at that rate
- a last layer that never spikes is decoded on the host, as is an average; the outputs are then sums of weights (or
  means of spikes) per step. The voltage that Lava reports is 64 times their sum
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.errors import ConversionError, LoihiDeployError, Problem
from loihi_deploy.frontends.netx_file import Layer, read_layers
from loihi_deploy.frontends.netx_settings import (
    STATE_SHIFT,
    as_compartments,
    as_mantissas,
    delays_of,
    laid_out,
    layer_shape,
    neuron_problems,
    never_spikes,
    pair_of,
    whole_numbers,
)
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    HostMap,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Sparse,
    Transform,
    linear,
)
from loihi_deploy.ir.delays import as_delays, by_delay
from loihi_deploy.ir.program import BiasInput, Compartments, Program, SpikeSource, Synapses

KNOWN = ("input", "flatten", "dense", "dense_rec", "conv", "pool", "average")
DT = 0.001


def read_netx(path: str | os.PathLike[str], board: BoardLike = "loihi") -> Program:
    """Read a network that lava-dl exported as HDF5.

    Parameters
    ----------
    path : path
        What ``export_hdf5`` wrote, a ``.net`` file.
    board : str, path, Board or Chip
        Whose arithmetic the program is for.

    Returns
    -------
    Program
        The populations are called ``layer 1`` and so on, by the numbers in the file; input and output ``input`` and
        ``output``. Images are given as lava-dl takes them, channels first.

    Raises
    ------
    ConversionError
        With everything that cannot be read, or that the chip has not.
    """
    layers = read_layers(path)
    chip = as_board(board).chip
    problems = [
        Problem("a layer of a kind that is not read", layer.name, layer.kind, ", ".join(KNOWN))
        for layer in layers
        if layer.kind not in KNOWN
    ]
    problems += [problem for layer in layers for problem in neuron_problems(layer)]
    if problems:
        raise ConversionError("The network has parts that the chip has not", problems)
    reader = _Reader(chip.arithmetic, chip.core.max_delay)
    for number, layer in enumerate(layers):
        try:
            reader.add(layer, last=all(later.kind == "average" for later in layers[number + 1 :]))
        except LoihiDeployError as error:
            problems += error.problems
            break  # what follows has nothing to stand on
    if problems:
        raise ConversionError("The network has parts that the chip has not", problems)
    return reader.program()


@dataclass(frozen=True)
class Sender:
    """Who sends a layer's spikes, and how the layer is laid out.

    Parameters
    ----------
    name : str
        Of the population.
    shape : tuple of int
        Of the layer: (height, width, channels) or (n,).
    place : (size,) int array
        Which of the layer's neurons each neuron of the population is.
    delays : (size,) int array, optional
        Steps that the spikes of each neuron of the population are held back.
    """

    name: str
    shape: tuple[int, ...]
    place: NDArray[np.int64]
    delays: NDArray[np.int64] | None = None

    @property
    def size(self) -> int:
        """Neurons of the layer."""
        return int(np.prod(self.shape))

    def synapses(self, post: str, transform: Transform, shift: int) -> Synapses:
        """The synapses from the population, by a transform of the layer."""
        taken = self.taken(transform)
        if self.delays is not None and isinstance(taken, Conv2D) and np.ptp(self.delays):
            taken = taken.csr()  # neurons of different delays share no weights
        return Synapses(self.name, post, taken, shift, delays=self.delays)

    def taken(self, transform: Transform) -> Transform:
        """A transform of the layer as one of the population."""
        if (self.place == np.arange(self.size)).all():
            return transform
        entries = transform.csr()
        columns = np.argsort(self.place)[entries.indices]
        return Sparse.from_entries(
            entries.rows, columns, entries.data, (transform.out_size, transform.in_size)
        )


@dataclass
class _Reader:
    """The program so far."""

    arithmetic: Arithmetic
    longest_delay: int
    sender: Sender | None = None
    inputs: tuple[Input, ...] = ()
    encoder: list[Population | Projection | Readout] = field(default_factory=list)
    sources: list[SpikeSource] = field(default_factory=list)
    populations: list[Compartments] = field(default_factory=list)
    synapses: list[Synapses] = field(default_factory=list)
    bias_inputs: list[BiasInput] = field(default_factory=list)
    decoders: tuple[Projection, ...] = ()
    n_outputs: int = 0
    """Of a last layer that is decoded on the host; 0 where that is the spikes."""

    def add(self, layer: Layer, last: bool) -> None:
        """Add a layer behind those that are there."""
        if self.n_outputs and layer.kind != "average":
            raise ConversionError.single("behind a layer that never spikes", layer.name, layer.kind)
        if layer.kind == "input":
            self._add_input(layer)
        elif layer.kind == "average":
            self._add_average(layer)
        elif layer.kind == "flatten":
            self._flatten()
        elif layer.kind in ("conv", "pool"):
            self._add_population(layer, self._convolution(layer))
        else:
            transform = self._dense(layer)
            if last and never_spikes(layer, self.arithmetic):
                self._decode(layer, transform)
            else:
                self._add_population(layer, transform)

    def _add_input(self, layer: Layer) -> None:
        if self.sender is not None:
            raise ConversionError.single("a second input", layer.name)
        shape = layer_shape(layer)
        if "neuron" not in layer.values:
            self._add_spikes(shape)
            return
        weight = np.broadcast_to(whole_numbers(layer, "weight", 64), 1)[0]
        bias = np.broadcast_to(whole_numbers(layer, "bias", 0), 1)[0]
        size = int(np.prod(shape))
        given = Input("input", shape, channels_first=len(shape) == 3)
        current = HostMap(_identity(size, float(weight)), np.full(size, float(bias)))
        self.inputs = (Input("input", shape, origin=given, before=(current,)),)
        self.encoder += [
            Projection("input", layer.name, _identity(size)),
            Readout(layer.name, shape, np.zeros(1)),
        ]
        chip = self.arithmetic
        self.bias_inputs.append(
            BiasInput(layer.name, float(1 << STATE_SHIFT), chip.bias_mantissa_max, chip.max_bias_exponent)
        )
        self.populations.append(as_compartments(layer, shape, np.zeros(1), chip))
        self.sender = self._delayed(layer, shape)

    def _add_spikes(self, shape: tuple[int, ...]) -> None:
        """Spikes of the host: a value of 1 is one at every step."""
        size = int(np.prod(shape))
        self.inputs = (Input("input", shape, channels_first=len(shape) == 3, signed=False),)
        neurons = Population("input spikes", shape, NeuronModel("if"), np.array(1 / DT), np.zeros(1))
        self.encoder += [neurons, Projection("input", neurons.name, _identity(size))]
        self.sources.append(SpikeSource(neurons.name, shape))
        self.sender = Sender(neurons.name, shape, np.arange(size))

    def _flatten(self) -> None:
        """From (height, width, channels) to one axis in the file's order, channels first."""
        if self.sender is not None and len(self.sender.shape) == 3:
            order = _channels_first(np.arange(self.sender.size).reshape(self.sender.shape))
            place = np.argsort(order)[self.sender.place]
            self.sender = replace(self.sender, shape=(self.sender.size,), place=place)

    def _dense(self, layer: Layer) -> Dense:
        weights = whole_numbers(layer, "weight")
        size = int(np.prod(layer_shape(layer)))
        if weights.size % size:
            raise ConversionError.single("weights do not fit", layer.name, weights.shape, f"{size} rows")
        weights = weights.reshape(size, -1)
        if self.sender is None:
            self._add_spikes((weights.shape[1],))
        self._flatten()
        assert self.sender is not None
        if weights.shape[1] != self.sender.size:
            raise ConversionError.single(
                "weights do not fit", layer.name, weights.shape, (size, self.sender.size)
            )
        return Dense(weights)

    def _convolution(self, layer: Layer) -> Conv2D:
        if self.sender is None or len(self.sender.shape) != 3:
            what = "a convolution of what is no image: the file says nothing of its height and width"
            raise ConversionError.single(what, layer.name, remedy="Export the network with its input layer")
        weights = whole_numbers(layer, "weight")
        pooling = layer.kind == "pool"
        weights = weights.reshape(weights.shape[:4]) if weights.ndim == 5 else weights
        height, width, channels = self.sender.shape
        if weights.ndim != 4 or (pooling and weights.shape[:2] != (1, 1)):
            raise ConversionError.single("weights do not fit", layer.name, weights.shape)
        if pooling:
            weights = np.repeat(weights, channels, axis=0)
        groups = channels if pooling else int(pair_of(layer, "groups", 1)[0])
        strides, padding, dilation = (pair_of(layer, key, usual) for key, usual in _SPACING)
        kernel = np.zeros(
            (*((weights.shape[2 + axis] - 1) * dilation[axis] + 1 for axis in (0, 1)), *weights.shape[1::-1]),
            weights.dtype,
        )
        if kernel.size > 1 << 27:
            raise ConversionError.single("a kernel too large", layer.name, kernel.shape)
        kernel[:: dilation[0], :: dilation[1]] = weights.transpose(2, 3, 1, 0)
        out = tuple(
            (size + 2 * padding[axis] - kernel.shape[axis]) // strides[axis] + 1
            for axis, size in enumerate((height, width))
        )
        shape = (out[0], out[1], weights.shape[0])
        if shape != layer_shape(layer):
            raise ConversionError.single(
                "not the shape that its convolution has", layer.name, layer_shape(layer), shape
            )
        return linear.without_empty_edges(
            Conv2D(kernel, strides, padding, (height, width, channels), shape, groups)
        )

    def _add_population(self, layer: Layer, transform: Transform) -> None:
        assert self.sender is not None
        shape = transform.out_shape if isinstance(transform, Conv2D) else (transform.out_size,)
        mantissas, shift = as_mantissas(layer, "weight", transform.values, self.arithmetic)
        bias = whole_numbers(layer, "bias", 0).ravel().astype(np.int64) << STATE_SHIFT
        if "biasExact" in layer.values:
            bias = whole_numbers(layer, "biasExact").ravel()
        if bias.size == 1 and not isinstance(transform, Conv2D):
            bias = np.repeat(bias, transform.out_size)
        elif bias.size == int(np.prod(shape)):
            bias = laid_out(bias, shape)
        elif bias.size in (1, shape[-1]):
            bias = np.broadcast_to(bias, shape).ravel()
        else:
            raise ConversionError.single("biases do not fit", layer.name, bias.shape, shape)
        self.populations.append(as_compartments(layer, shape, bias, self.arithmetic))
        self.synapses.append(self.sender.synapses(layer.name, transform.with_values(mantissas), shift))
        self.sender = self._delayed(layer, shape)
        if layer.kind == "dense_rec":
            mantissas, shift = as_mantissas(
                layer, "weight_rec", whole_numbers(layer, "weight_rec"), self.arithmetic
            )
            if mantissas.size != transform.out_size**2:
                raise ConversionError.single(
                    "recurrent weights do not fit", layer.name, mantissas.shape, (transform.out_size,) * 2
                )
            recurrent = Dense(mantissas.reshape(transform.out_size, -1))
            self.synapses.append(self.sender.synapses(layer.name, recurrent, shift))

    def _delayed(self, layer: Layer, shape: tuple[int, ...]) -> Sender:
        """Who sends the layer's spikes: itself, held back by the synapses, or decoders, behind it."""
        delays = delays_of(layer, shape, self.longest_delay)
        return Sender(layer.name, shape, np.arange(len(delays)), delays if delays.any() else None)

    def _decode(self, layer: Layer, transform: Dense) -> None:
        """A last layer that never spikes: the host adds up its weights."""
        assert self.sender is not None
        if "bias" in layer.values and whole_numbers(layer, "bias").any():
            raise ConversionError.single("a bias of a layer that never spikes", layer.name)
        self._read_out(transform.weights)

    def _add_average(self, layer: Layer) -> None:
        """Means of as many neurons each, in the file's order."""
        n = int(np.prod(layer_shape(layer)))
        if self.sender is None or self.n_outputs:
            raise ConversionError.single("nothing to average", layer.name)
        self._flatten()
        if self.sender.size % n:
            raise ConversionError.single(
                "not a number of groups", layer.name, n, f"divisors of {self.sender.size}"
            )
        each = self.sender.size // n
        self._read_out(np.kron(np.eye(n), np.full((1, each), 1 / each)))

    def _read_out(self, weights: NDArray[Any]) -> None:
        assert self.sender is not None
        self.n_outputs = len(weights)
        matrix = self.sender.taken(Dense(weights * DT))  # a spike stands for 1 / dt
        self.decoders = tuple(
            Projection(self.sender.name, "output", part, delays=as_delays(late))
            for late, part in by_delay(self.sender.delays, matrix)
        )

    def program(self) -> Program:
        """The program, with spikes per step read out where nothing else was."""
        if self.sender is None or not self.populations:
            raise ConversionError.single("no layer with neurons", "layer", remedy="Export the whole network")
        if not self.n_outputs:
            self._flatten()
            self._read_out(np.eye(self.sender.size))
        last = self.populations[-1]
        parts = self.encoder
        return Program(
            encoder=Graph(
                self.inputs,
                tuple(part for part in parts if isinstance(part, Population)),
                tuple(part for part in parts if isinstance(part, Projection)),
                tuple(part for part in parts if isinstance(part, Readout)),
                DT,
            ),
            sources=tuple(self.sources),
            populations=tuple(self.populations),
            synapses=tuple(self.synapses),
            readout=Graph(
                (Input(last.name, last.shape),),
                (),
                self.decoders,
                (Readout("output", (self.n_outputs,), np.zeros(1)),),
                DT,
            ),
            links=(
                *(Link(source.name, "to_chip", 1) for source in self.sources),
                Link(last.name, "from_chip", 0),
            ),
            dt=DT,
            bias_inputs=tuple(self.bias_inputs),
            arithmetic=self.arithmetic,
        )


_SPACING = (("stride", 1), ("padding", 0), ("dilation", 1))


def _identity(size: int, value: float = 1.0) -> Sparse:
    places = np.arange(size)
    return Sparse(np.full(size, value), places, np.arange(size + 1), size)


def _channels_first(image: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(image, -1, 0).ravel()
