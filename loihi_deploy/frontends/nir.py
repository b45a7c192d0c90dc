"""NIR graphs as float graphs: what each node means in a step.

NIR describes neurons in continuous time; networks in it are trained in steps, and their writers (snnTorch 1.0, spyx
1.0, sinabs 3.1, Norse) agree on what these are, which is what is read here. A spike is a current of 1 during a step,
and with a step of dt:

- ``IF``: ``v += r I`` (sinabs and spyx write r = 1)
- ``LIF``: ``v += (dt / tau) (v_leak - v + r I)``
- ``CubaLIF``: ``I += (dt / tau_syn) (w_in x - I)`` first, then as ``LIF``
- ``LI``: as ``LIF``, without spikes: a filter
- a spike where ``v > v_threshold``; then ``v = v_reset``

Files hold seconds, not steps: dt is that of `DeployOptions` (snnTorch counts in steps of 1e-4 s, sinabs of 1 s). The
chip resets to 0, so voltages are counted from ``v_reset``. They may go below it as far as the chip goes. Biases in
front of a ``CubaLIF`` act at once, not filtered. ``Delay`` is an absolute time: synapses hold spikes back for so long;
where that is longer than the chip can, there are relay neurons in front of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from loihi_deploy.chip.boards import as_board
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder, Source, add
from loihi_deploy.frontends.channels_first import (
    UnsupportedError,
    Value,
    depthwise,
    image_of,
    imaged,
    multiplied,
    with_constant,
)
from loihi_deploy.frontends.nir_file import DAMAGED, NEURONS, PASSED_ON, NirNetwork, Node
from loihi_deploy.frontends.nir_neurons import cell_of, continuous, for_each, single_value, step_notes
from loihi_deploy.frontends.nir_shapes import (
    as_image,
    as_stored,
    convolution_of,
    fitting,
    flattened_shape,
    input_shape,
    layout_of,
    matrix_of,
    pair_of,
    says_its_shape,
    shape_after,
    windows_of,
)
from loihi_deploy.ir import Conv2D, Graph, NeuronModel, Shape, Sparse, linear
from loihi_deploy.options import DeployOptions

LONGEST_DELAY = 1000
"""Longest delay in steps."""
RELAY_GAIN = 2.0
"""A spike is this many thresholds of a relay neuron."""
RELAY = " delay "
"""Stands in the names of relay neurons, between the node's and the stage."""


def convert_nir(network: NirNetwork, options: DeployOptions) -> Graph:
    """Convert a NIR network; see `loihi_deploy.frontends.convert`."""
    return _Walk(network, options.dt).graph()


def nir_input_shapes(network: NirNetwork) -> dict[str, Shape]:
    """Shapes of a sample by the names of the inputs, channels first."""
    return {name: input_shape(node) for name, node in network.nodes.items() if node.kind == "Input"}


class _Walk:
    """The nodes of a network, those without neurons first."""

    def __init__(self, network: NirNetwork, dt: float) -> None:
        self.network, self.dt = network, dt
        self.most_delay = as_board("loihi").chip.core.max_delay
        self.given = {name for name, node in network.nodes.items() if node.kind == "Input"}
        self.builder = GraphBuilder("the NIR graph", 0.0)
        self.values: dict[str, Value] = {}
        self.shapes: dict[str, Shape] = {}
        self.names: dict[str, str] = {}

    def graph(self) -> Graph:
        """Follow every node, and give what the outputs are."""
        nodes = self.network.nodes
        self._find_shapes()
        neurons = [name for name, node in nodes.items() if node.kind in NEURONS]
        self.names = {name: self.builder.unique(name) for name in nodes if nodes[name].kind != "Output"}
        for name in neurons:
            if name in self.shapes:
                self.values[name] = _sent(self.names[name], self.shapes[name])
        waiting = [name for name in nodes if name not in neurons]
        while ready := [name for name in waiting if not set(self.network.into(name)) & set(waiting)]:
            for name in ready:
                self._try(nodes[name], self._follow)
            waiting = [name for name in waiting if name not in ready]
        for name in waiting:
            self._problem("a circle without neurons", nodes[name])
        for name in neurons:
            self._try(nodes[name], self._populate)
        for name, node in nodes.items():
            if node.kind == "Output" and name in self.values:
                value = self.values[name]
                self.builder.readout(name, self._read_out(name, value.affine), value.shape)
        self.builder.notes += step_notes(nodes.values(), self.dt)
        graph = self.builder.graph(self.dt)
        place = {self.names.get(name, name): k for k, name in enumerate(self._in_order())}
        ordered = sorted(graph.populations, key=lambda p: place[p.name.partition(RELAY)[0]])
        return replace(graph, populations=tuple(ordered))

    def _try(self, node: Node, act: Callable[[Node], None]) -> None:
        """Act on a node where everything in front of it was read."""
        if node.name not in self.shapes or not all(
            pre in self.values for pre in self.network.into(node.name)
        ):
            return  # behind a node that was refused
        try:
            act(node)
        except UnsupportedError as error:
            self._problem(str(error), node, remedy=error.remedy)
        except (InputError, ValueError, IndexError, TypeError) as error:
            self._problem("settings and shapes do not fit", node, str(error).split("\n")[0][:200])

    def _problem(self, what: str, node: Node, value: object = None, *, remedy: str = "") -> None:
        where = f"node {node.name!r} ({node.kind})"
        problem = Problem(what, where, value, remedy=remedy or (DAMAGED if value is not None else ""))
        if problem not in self.builder.problems:
            self.builder.problems.append(problem)

    def _find_shapes(self) -> None:
        """What each node gives, as far as it can be told; from what stands in front of it, or from its values."""
        failed: set[str] = set()
        found = True
        while found:
            found = False
            for name, node in self.network.nodes.items():
                given = [self.shapes[pre] for pre in self.network.into(name) if pre in self.shapes]
                if name in self.shapes or name in failed or not (given or says_its_shape(node)):
                    continue
                found = True
                try:
                    self.shapes[name] = shape_after(node, given[0] if given else None)
                except UnsupportedError as error:
                    self._problem(str(error), node, remedy=error.remedy)
                    failed.add(name)
                except (ValueError, IndexError, TypeError) as error:
                    self._problem("settings and shapes do not fit", node, str(error).split("\n")[0][:200])
                    failed.add(name)

    def _in_order(self) -> list[str]:
        """Nodes behind those that drive them; a circle is cut in front of the first of its neurons."""
        nodes = self.network.nodes
        left = list(dict.fromkeys([post for _, post in self.network.edges] + list(nodes)))
        left.sort(key=lambda name: nodes[name].kind != "Input")
        done: list[str] = []
        while left:
            free = [name for name in left if not set(self.network.into(name)) & set(left) - {name}]
            begun = [n for n in left if nodes[n].kind in NEURONS and set(self.network.into(n)) & set(done)]
            chosen = free or begun[:1] or left[:1]
            done += chosen
            left = [name for name in left if name not in chosen]
        return done

    def _given(self, node: Node) -> Value:
        """The sum of what the edges into a node bring."""
        values = [self.values[pre] for pre in self.network.into(node.name)]
        shape = self.shapes[node.name] if node.kind in NEURONS else (values[0].shape if values else ())
        stored, order = layout_of(shape)
        if not values:
            return Value(Affine({}, np.zeros(prod(shape)), stored, order), shape)
        for value in values:
            if value.shape != shape and not (prod(value.shape) == prod(shape) == 1):
                raise UnsupportedError(f"values of shape {value.shape} where {shape} are wanted")
        return Value(add(value.affine for value in values), shape)

    def _follow(self, node: Node) -> None:
        """A node without neurons."""
        if node.kind == "Input":
            shape = self.shapes[node.name]
            stored, order = layout_of(shape)
            self.values[node.name] = Value(self.builder.input(self.names[node.name], stored, order), shape)
        else:
            self.values[node.name] = _LINEAR[node.kind](self, node, self._given(node))

    def _populate(self, node: Node) -> None:
        """The neurons of a node."""
        name, value = self.names[node.name], self._given(node)
        stored, order = layout_of(value.shape)
        cell = cell_of(node, value.shape, self.dt)
        try:
            currents = value.affine.ordered(order, stored).filtered(cell.tau)
        except ValueError:
            raise UnsupportedError("a filter in front of neurons that filter, too") from None
        if cell.tau and currents.offset.any():
            self.builder.notes.append(f"{name}: biases act at once, where NIR filters them with tau_syn")
        gain, bias = (as_stored(values, value.shape) for values in (cell.gain, cell.bias))
        self.builder.population(name, currents, cell.model, gain, bias, amplitude=self.dt)

    def delayed(self, node: Node, value: Value) -> Value:
        """What synapses hold back for each element; relay neurons first, where that is longer than the chip can."""
        steps = for_each(node, "delay", value.shape) / self.dt
        if (np.abs(steps - np.round(steps)) > 1e-3).any() or steps.min() < 0 or steps.max() > LONGEST_DELAY:
            raise UnsupportedError(
                f"delays other than 0 to {LONGEST_DELAY} whole steps of {self.dt:g} s",
                "Use DeployOptions(dt=...), the step that the network was trained in",
            )
        if value.affine.offset.any() or any(source.name in self.given for source in value.affine.terms):
            raise UnsupportedError(
                "a delay of what is no sum of the spikes of neurons",
                "Put it behind neurons, and what adds constants behind it",
            )
        late = np.broadcast_to(as_stored(np.round(steps).astype(int), value.shape), value.affine.size)
        stored, order = layout_of(value.shape)
        now = value.affine.ordered(order, stored)
        ends = []
        for left in np.unique(late).tolist():
            kept = np.flatnonzero(late == left)
            alike = len(kept) == late.size
            part = now if alike else now.mapped(linear.gather(kept, late.size), (len(kept),))
            stages, rest = self._stages(part, left)
            if stages and not _is_spikes(part):
                raise UnsupportedError(
                    f"a delay of more than {self.most_delay} steps of what are not the spikes of neurons",
                    "Put it right behind the neurons",
                )
            for stage in range(stages):
                name = self.builder.unique(f"{self.names[node.name]}{RELAY}{left}.{stage}")
                part = self.builder.population(
                    *(name, part.held_back(self.most_delay), NeuronModel("if", discretized=True)),
                    *(RELAY_GAIN / self.dt, 0.0, self.dt),
                )
            if not alike:
                place = np.full(late.size, -1)
                place[kept] = np.arange(len(kept))
                part = part.mapped(linear.gather(place, len(kept)), stored, order)
            ends.append(part.held_back(rest))
        return Value(add(ends), value.shape)

    def _stages(self, part: Affine, left: int) -> tuple[int, int]:
        """How many relays a delay takes, each a step and the longest delay of a synapse, and what is left of it."""
        before = max((source.late for source in part.terms), default=0)
        if before + left <= self.most_delay:
            return 0, left
        if before:
            raise UnsupportedError(
                f"delays in a row of more than {self.most_delay} steps together", "Make one of them"
            )
        stages = -(-(left - self.most_delay) // (self.most_delay + 1))
        return stages, left - stages * (self.most_delay + 1)

    def _read_out(self, name: str, affine: Affine) -> Affine:
        """What an output gives: sums of integrators as the mean of what they add up."""
        if not any(source.tau == np.inf for source in affine.terms):
            return affine
        self.builder.notes.append(
            f"{name}: an integrator is read as the mean of what it adds up, not the sum"
        )
        terms = {
            source._replace(tau=0.0) if source.tau == np.inf else source: term
            for source, term in affine.terms.items()
        }
        return replace(affine, terms=terms)


def _sent(name: str, shape: Shape) -> Value:
    """The spikes of neurons."""
    stored, order = layout_of(shape)
    return Value(Affine({Source(name): None}, np.zeros(prod(shape)), stored, order), shape)


def _is_spikes(affine: Affine) -> bool:
    """Whether each element is the spikes of one neuron, or nothing."""
    ones = all(
        term is None
        or (isinstance(term, Sparse) and (term.data == 1).all() and np.diff(term.indptr).max() <= 1)
        for term in affine.terms.values()
    )
    return ones and not affine.offset.any() and all(source.tau is None for source in affine.terms)


def _image(value: Value) -> Value:
    """The value as an image; a row has height 1."""
    return replace(value, shape=as_image(value.shape))


def _conv(walk: _Walk, node: Node, value: Value) -> Value:
    image = _image(value)
    height, width, channels = image_of(image)
    kernel, strides, pads, out = convolution_of(node, (height, width))
    groups = int(node.array("groups"))
    shape = (*out, kernel.shape[3])
    conv = linear.without_empty_edges(Conv2D(kernel, strides, pads, (height, width, channels), shape, groups))
    made = imaged(image, conv)
    made = with_constant(made, node.array("bias").reshape(-1, 1, 1), shift=True)
    return replace(made, shape=(kernel.shape[3], out[1])) if node.kind == "Conv1d" else made


def _linear(walk: _Walk, node: Node, value: Value) -> Value:
    weights = matrix_of(node)
    if value.shape != (weights.shape[1],):
        raise UnsupportedError(
            f"weights of shape {weights.shape} on values of shape {value.shape}: flatten these first"
        )
    made = multiplied(value, weights)
    return with_constant(made, node.array("bias"), shift=True) if node.kind == "Affine" else made


def _pool(walk: _Walk, node: Node, value: Value) -> Value:
    height, width, _ = image_of(value)
    taps = pair_of(node, "kernel_size")
    strides, pads, out = windows_of(node, (height, width), taps)
    weight = 1.0 if node.kind == "SumPool2d" else 1 / prod(taps)
    return imaged(value, depthwise(value, np.full(taps, weight), strides, pads, out))


def _flatten(walk: _Walk, node: Node, value: Value) -> Value:
    return replace(value, shape=flattened_shape(node, value.shape))


def _scale(walk: _Walk, node: Node, value: Value) -> Value:
    return with_constant(value, node.array("scale").reshape(fitting(node, "scale", value.shape)), shift=False)


def _filter(walk: _Walk, node: Node, value: Value) -> Value:
    """LI, I: what the host filters, or a synapse of the neurons behind."""
    scaled = with_constant(value, node.array("r").reshape(fitting(node, "r", value.shape)), shift=False)
    tau = np.inf
    if node.kind == "LI":
        tau = continuous(single_value(node, "tau"), walk.dt)
        leak = node.array("v_leak").reshape(fitting(node, "v_leak", value.shape))
        scaled = with_constant(scaled, leak, shift=True)
    try:
        return replace(scaled, affine=scaled.affine.filtered(tau))
    except ValueError:
        raise UnsupportedError("a filter behind another") from None


def _same(walk: _Walk, node: Node, value: Value) -> Value:
    return value


_LINEAR: dict[str, Callable[[_Walk, Node, Value], Value]] = {
    "Affine": _linear,
    "AvgPool2d": _pool,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Delay": _Walk.delayed,
    "Flatten": _flatten,
    "I": _filter,
    "LI": _filter,
    "Linear": _linear,
    "Output": _same,
    PASSED_ON: _same,
    "Scale": _scale,
    "SumPool2d": _pool,
}
