"""Affine expressions of spiking populations and inputs, and the graph that is built from them.

Every tensor of a Keras model and every passthrough object of a Nengo network is such an expression. Linear
layers map expressions to expressions; an activation makes a population of one, with one projection per term.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.ir import (
    FrameMemory,
    Graph,
    HostMap,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Shape,
    Transform,
    linear,
)


class Source(NamedTuple):
    """Where the values of a term come from.

    Parameters
    ----------
    name : str
        Of an input or population.
    tau : float or None
        Time constant of the synapse behind it; None for the default.
    late : int
        Steps that they are held back, or frames where the framework counts in frames.
    """

    name: str
    tau: float | None = None
    late: int = 0


@dataclass(frozen=True)
class Affine:
    """The vector ``offset + sum(transform @ source)``.

    Parameters
    ----------
    terms : dict from Source to transform
        None stands for the identity.
    offset : (size,) float array
    shape : tuple of int
        (height, width, channels) or (n,): how the vector is stored.
    order : (size,) int array or None
        Where the framework's flat order is another one: its element i is stored at order[i].
    """

    terms: Mapping[Source, Transform | None]
    offset: NDArray[np.float64]
    shape: Shape
    order: NDArray[np.intp] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.offset)

    def mapped(self, transform: Transform, shape: Shape, order: NDArray[np.intp] | None = None) -> Affine:
        """Apply a linear map to the stored vector; `shape` and `order` describe the result."""
        terms = {
            source: transform if term is None else linear.compose(transform, term)
            for source, term in self.terms.items()
        }
        offset = self.offset
        offset = transform.apply(offset[None])[0] if offset.any() else np.zeros(transform.out_size)
        return Affine(terms, offset, shape, order)

    def ordered(self, order: NDArray[np.intp] | None, shape: Shape) -> Affine:
        """The same framework vector, stored in another order and shape."""
        if _same_order(self.order, order):
            return replace(self, shape=shape)
        here = np.arange(self.size) if self.order is None else self.order
        indices = here
        if order is not None:
            indices = np.empty_like(here)
            indices[order] = here
        if (indices == np.arange(self.size)).all():
            return replace(self, shape=shape, order=order)
        return self.mapped(linear.gather(indices, self.size), shape, order)

    def take(self, indices: NDArray[np.intp]) -> Affine:
        """Some elements of the framework vector, in that order."""
        stored = indices if self.order is None else self.order[indices]
        return self.mapped(linear.gather(stored, self.size), (len(stored),))

    def filtered(self, tau: float) -> Affine:
        """The vector behind a lowpass synapse; ValueError where there is one already."""
        if tau == 0:
            return self
        if any(source.tau for source in self.terms):
            raise ValueError
        return replace(self, terms={source._replace(tau=tau): term for source, term in self.terms.items()})

    def held_back(self, late: int) -> Affine:
        """The vector as it was some steps, or frames, earlier; a constant was there then, too."""
        terms = {source._replace(late=source.late + late): term for source, term in self.terms.items()}
        return replace(self, terms=terms)

    def scaled(self, factor: float) -> Affine:
        """The vector times a number."""
        if factor == 1:
            return self
        terms = {
            source: linear.scale_channels(np.array([factor]), self.shape)
            if term is None
            else term.with_values(term.values * factor)
            for source, term in self.terms.items()
        }
        return replace(self, terms=terms, offset=self.offset * factor)

    def shifted(self, offset: NDArray[Any]) -> Affine:
        """The vector plus a constant one, stored in the same order."""
        return replace(self, offset=self.offset + offset)


def _same_order(first: NDArray[np.intp] | None, second: NDArray[np.intp] | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def add(expressions: Iterable[Affine]) -> Affine:
    """Sum of expressions of one framework size; stored as the first one is."""
    first, *others = expressions
    terms = dict(first.terms)
    offset = first.offset
    for other in others:
        other = other.ordered(first.order, first.shape)
        offset = offset + other.offset
        for source, transform in other.terms.items():
            if source not in terms:
                terms[source] = transform
                continue
            pair = (terms[source], transform)
            both = [linear.identity(first.shape) if term is None else term for term in pair]
            terms[source] = linear.total(both)
    return replace(first, terms=terms, offset=offset)


class GraphBuilder:
    """Collects inputs, populations, readouts and problems, and makes the `Graph`.

    Parameters
    ----------
    source : str
        What is converted, for error messages: ``"model 'mnist'"``.
    synapse : float
        The default time constant of synapses, in seconds.
    in_frames : bool
        Whether `Source.late` counts frames of a sequence, and not steps.

    Attributes
    ----------
    n_frames : int or None
        Frames that sequences have to have; None for any number.
    """

    def __init__(self, source: str, synapse: float, *, in_frames: bool = False) -> None:
        self.source = source
        self.synapse = synapse
        self.in_frames = in_frames
        self.n_frames: int | None = None
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._names: set[str] = set()
        self._inputs: list[Input] = []
        self._populations: list[Population] = []
        self._projections: list[Projection] = []
        self._readouts: list[Readout] = []

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations so far."""
        return tuple(population.name for population in self._populations)

    def unique(self, name: str) -> str:
        """`name`, with a number behind it where it is taken."""
        candidate, number = name, 0
        while candidate in self._names:
            number += 1
            candidate = f"{name}.{number}"
        self._names.add(candidate)
        return candidate

    def input(self, name: str, shape: Shape, order: NDArray[np.intp] | None = None) -> Affine:
        """Add an input; `name` from `unique`, `order` for samples (channels, height, width) stored as `shape`."""
        node = Input(name, tuple(int(n) for n in shape), channels_first=order is not None)
        self._inputs.append(node)
        return Affine({Source(name, 0.0): None}, np.zeros(node.size), stored_shape(node.shape), order)

    def population(
        self,
        name: str,
        currents: Affine,
        neuron: NeuronModel,
        gain: NDArray[Any] | float = 1.0,
        bias: NDArray[Any] | float = 0.0,
        amplitude: float = 1.0,
        initial_voltage: NDArray[Any] | None = None,
    ) -> Affine:
        """Add neurons with input ``gain * currents + bias``; `name` from `unique`, arrays stored as `currents` is."""
        gain = np.asarray(gain, np.float64)
        self._populations.append(
            Population(
                name,
                currents.shape,
                neuron,
                gain,
                gain * currents.offset + bias,
                amplitude,
                initial_voltage,
            )
        )
        self._connect(name, currents)
        return Affine({Source(name): None}, np.zeros(currents.size), currents.shape, currents.order)

    def coming_back(self, name: str, transform: Transform, frames: int) -> None:
        """Let a population hear what it said some frames before."""
        self._projections.append(Projection(name, name, transform, self.synapse, frames_back=frames))

    def relay(self, name: str, of: str, tau: float) -> str:
        """Add neurons that repeat what a synapse makes of a population's spikes; `name` from `unique`."""
        population = next(population for population in self._populations if population.name == of)
        said = Affine({Source(of, tau): None}, np.zeros(population.size), population.shape)
        self.population(name, said, population.neuron)
        return name

    def derived_input(
        self, name: str, values: Affine, made: Affine, windows: NDArray[np.intp] | None, high: float
    ) -> Affine:
        """Add an input whose values the host computes of another's, and give the expression of it.

        Parameters
        ----------
        name : str
            From `unique`.
        values : Affine
            What the host's function is applied to: of a single input, see `input_of`.
        made : Affine
            Shape and order of the result; its terms are not used.
        windows : (size, n) int array or None
            For each stored element of the result those of `values` that it is the largest of.
        high : float
            Largest value; without windows the lowest is 0.
        """
        before = self.input_of(values)
        assert before is not None
        ((_, transform),) = values.terms.items()
        low = 0.0 if windows is None else -np.inf
        step = HostMap(transform, values.offset, windows, low, high)
        self._inputs.append(
            Input(name, made.shape, origin=before.given, before=(*before.before, step)),
        )
        return Affine({Source(name, 0.0): None}, np.zeros(made.size), made.shape, made.order)

    def remembered_input(self, name: str, values: Affine, memory: FrameMemory) -> Affine:
        """Add an input that holds the host's memory of frames of an expression, and give the expression of it.

        Parameters
        ----------
        name : str
            From `unique`.
        values : Affine
            What is remembered: of a single input, see `input_of`.
        memory : FrameMemory
            Of the stored elements of `values`.
        """
        before = self.input_of(values)
        assert before is not None
        ((_, transform),) = values.terms.items()
        steps: tuple[HostMap | FrameMemory, ...] = before.before
        if transform is not None or values.offset.any():
            steps = (*steps, HostMap(transform, values.offset))
        size = memory.out_size
        given = before.given
        self._inputs.append(Input(name, (size,), origin=given, before=(*steps, memory)))
        return Affine({Source(name, 0.0): None}, np.zeros(size), (size,))

    def mask(self, values: Affine, value: float) -> bool:
        """Say that frames of nothing but a value are padding; False where `values` is not an input as it is given."""
        node = self.input_of(values)
        if (
            node is None
            or node.before
            or values.offset.any()
            or any(t is not None for t in values.terms.values())
        ):
            return False
        self._inputs[self._inputs.index(node)] = replace(node, mask_value=value)
        return True

    def is_input(self, name: str) -> bool:
        """Whether something is an input, and no population."""
        return any(node.name == name for node in self._inputs)

    def input_of(self, values: Affine) -> Input | None:
        """The only input that an expression depends on; None where it depends on neurons, or on several inputs."""
        inputs = {node.name: node for node in self._inputs}
        names = [source.name for source in values.terms]
        return inputs.get(names[0]) if len(names) == 1 else None

    def readout(
        self,
        name: str,
        outputs: Affine,
        shape: Shape | None = None,
        activation: Literal["linear", "softmax", "sigmoid", "tanh"] = "linear",
        dtype: Literal["float16", "float32", "float64"] = "float64",
        over_frames: Literal["", "mean", "last", "each"] = "",
        first_frame: int = 0,
    ) -> None:
        """Add a readout in the framework's order and shape; it shares its layer's name unless a population has it."""
        name = self.unique(f"{name}.readout" if name in self._names else name)
        outputs = outputs.ordered(None, outputs.shape if outputs.order is None else (outputs.size,))
        shape = outputs.shape if shape is None else shape
        self._readouts.append(
            Readout(name, shape, outputs.offset, activation, dtype, over_frames, first_frame)
        )
        self._connect(name, outputs)

    def _connect(self, post: str, expression: Affine) -> None:
        parts: dict[tuple[str, float | None], dict[int, Transform]] = {}
        for source, transform in expression.terms.items():
            by_delay = parts.setdefault((source.name, source.tau), {})
            by_delay[source.late] = linear.identity(expression.shape) if transform is None else transform
        for (pre, tau), by_delay in parts.items():
            tau = self.synapse if tau is None else tau
            if self.in_frames:
                self._projections += [
                    Projection(pre, post, part, tau, frames_back=late) for late, part in by_delay.items()
                ]
            else:
                self._projections += [
                    Projection(pre, post, part, tau, late) for late, part in _joined(by_delay)
                ]

    def graph(self, dt: float) -> Graph:
        """The graph; ConversionError with every problem where there are any."""
        if not self.problems and not self._populations:
            self.problems.append(
                Problem(
                    "there is no spiking layer",
                    remedy="Give at least one layer a ReLU activation; a linear network needs no chip",
                )
            )
        if self.problems:
            raise ConversionError(f"Cannot convert {self.source}", _together(self.problems))
        driving = {projection.pre for projection in self._projections}
        given = [node.name for node in self._inputs if node.origin is None]
        heard = {node.given.name for node in self._inputs if node.name in driving}
        kept = [
            replace(node, n_frames=self.n_frames)
            for node in self._inputs
            if node.name in driving or (node.origin is None and node.name not in heard)
        ]
        return Graph(
            tuple(sorted(kept, key=lambda node: given.index(node.given.name))),
            tuple(self._populations),
            tuple(self._projections),
            tuple(self._readouts),
            dt,
            tuple(self.notes),
        )


def _joined(parts: Mapping[int, Transform]) -> list[tuple[Any, Transform]]:
    """Transforms with their delays: one for all delays, where every neuron of the sender has a single one."""
    if len(parts) == 1:
        return list(parts.items())
    matrices = {late: part.csr() for late, part in parts.items()}
    senders = {late: np.unique(matrix.indices[matrix.data != 0]) for late, matrix in matrices.items()}
    if len(np.unique(np.concatenate(list(senders.values())))) < sum(map(len, senders.values())):
        return list(parts.items())
    delays = np.zeros(next(iter(matrices.values())).in_size, np.int64)
    for late, neurons in senders.items():
        delays[neurons] = late
    return [(delays, linear.as_matrix(linear.total(list(matrices.values())).csr()))]


def _together(problems: list[Problem]) -> list[Problem]:
    """The problems, those of layers of one type with the same cause as one."""
    found: dict[str, tuple[Problem, int]] = {}
    for problem in problems:
        _, bracket, kind = problem.where.rpartition(" (")
        cause = str(replace(problem, where=kind)) if bracket else str(problem)
        first, n = found.get(cause, (problem, 0))
        found[cause] = first, n + 1
    return [
        problem if n == 1 else replace(problem, where=f"{problem.where} and {n - 1} more")
        for problem, n in found.values()
    ]


def stored_shape(shape: Shape) -> Shape:
    """(n,) for vectors, (height, width, channels) for everything else."""
    return (prod(shape),) if len(shape) < 2 else linear.image_shape(shape)
