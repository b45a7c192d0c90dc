"""Write a deployment as a NIR graph that other simulators run, its numbers the chip's own.

Every population is a ``CubaLIF`` node (a ``LIF`` node where input values drive it) whose forward Euler steps are the
chip's, but for the rounding of decays toward zero:

    tau_syn = 4096 dt / (1 + decay_u)     w_in = tau_syn / dt     so I = (1 - dt / tau_syn) I + W x
    tau_mem = 4096 dt / decay_v           r = tau_mem / dt        so v = (1 - dt / tau_mem) v + I + bias
    v_leak  = bias tau_mem / dt           v_threshold, weights and biases: the integers

Without a leak tau_mem is `NO_LEAK` steps, which single precision does not tell from none. Inputs are the spikes that
the host sends, ``deployment.run(x, record=[name])`` has them; outputs are what the readout decodes. Images have
channels first. `loihi_deploy.frontends.nir_program` reads the same integers back.

On chip every synapse takes a step, and so does the way from the host; NIR has no time for that. Spikes are the same, a
step earlier for each layer that they passed; where ways of different lengths meet, they meet at other times.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.deployment import Deployment
from loihi_deploy.engines.host.neurons import lowpass_factor
from loihi_deploy.errors import InputError, Problem, missing_extra
from loihi_deploy.export.exchange import matrix_problems, warn_of_losses
from loihi_deploy.export.padding import even
from loihi_deploy.files import check_writable, write_file, written
from loihi_deploy.frontends.channels_first import order_of
from loihi_deploy.ir import Conv2D, Input, Shape, Transform
from loihi_deploy.ir.program import Compartments, Program, SpikeSource

NO_LEAK = 2.0**40
"""Time constant in steps of a membrane without a leak."""


@checked
def to_nir(deployment: Deployment, path: str | os.PathLike[str]) -> Path:
    """Write the chip's part of a deployment, and its readout, as a NIR graph.

    Parameters
    ----------
    deployment : Deployment
    path : path
        The file to write, ``net.nir``.

    Returns
    -------
    Path
        The file. ``loihi_deploy.deploy(path)`` gives the same integers; other simulators that step a neuron by forward
        Euler, as snnTorch, spyx and Norse do, take it as any other graph.

    Raises
    ------
    InputError
        If NIR has no word for something: noise, a population that takes input values and spikes at once.
    OutputError
        If the file cannot be written.
    MissingExtraError
        If the package nir is not installed.

    Warns
    -----
    LoihiDeployWarning
        Of everything that other simulators of the graph do otherwise than the chip.
    """
    try:
        nir = importlib.import_module("nir")
    except ImportError as error:
        raise missing_extra("nir", "Writing NIR files", "nir") from error
    program = deployment.program
    problems = list(_problems(program))
    if problems:
        raise InputError("The network cannot be written as a NIR graph", problems)
    check_writable(path)
    made = _Graph(nir, program)
    made.write()
    graph = nir.NIRGraph(made.nodes, made.edges, metadata={}, type_check=False)
    write_file(path, written(nir.write, graph))
    warn_of_losses("other simulators of the graph", _losses(program))
    return Path(path)


def _problems(program: Program) -> Iterator[Problem]:
    """What NIR has no word for, and what cannot be left out."""
    driven = {bias_input.population for bias_input in program.bias_inputs}
    yield from program.delay_problems("the graph that we write", readout=True)
    for p in program.populations:
        if p.noise is not None:
            yield Problem("noise, which NIR has not", p.name)
        if p.name in driven and program.into(p.name):
            yield Problem("takes input values and spikes at once, where a node of NIR has one input", p.name)
        if p.decay_u >= 1 << program.arithmetic.decay_bits:
            yield Problem("a decay of the current beyond a step", p.name, p.decay_u)
    for synapses in program.synapses:
        if not isinstance(synapses.transform, Conv2D):
            yield from matrix_problems(synapses.name, synapses.transform)
    for node in program.encoder.inputs:
        if node.before:
            yield Problem("a function of the host in front of the input, which NIR has not", node.name)


def _losses(program: Program) -> tuple[tuple[str, list[str]], ...]:
    """What other simulators do otherwise, each kind once, with the populations concerned."""
    highest = program.arithmetic.largest_v_max
    return (
        ("voltages stop at a lower bound, of which NIR knows nothing", [p.name for p in program.populations]),
        ("a refractory period, which NIR has not", [p.name for p in program.populations if p.refractory > 1]),
        ("a voltage at the start, which NIR has not", [p.name for p in _charged(program)]),
        (
            "an upper bound of the voltage, which NIR has not",
            [p.name for p in program.populations if p.v_max < highest],
        ),
        (
            "an activation of the host, which NIR has not: outputs are those in front of it",
            [r.name for r in program.readout.readouts if r.activation != "linear"],
        ),
        (
            "more than a step on the way to the chip, for which NIR has no word",
            [link.population for link in program.links if link.kind == "to_chip" and link.delay > 1],
        ),
        (
            "decays of the chip round toward zero, those of floats do not: currents differ by less than 1 + 1 / decay",
            [p.name for p in program.populations if program.into(p.name)],
        ),
    )


def _charged(program: Program) -> list[Compartments]:
    return [p for p in program.populations if p.initial_voltage is not None]


@dataclass
class _Graph:
    """Nodes and edges so far."""

    nir: Any
    program: Program
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """All of the program."""
        program = self.program
        driven = {bias_input.population: bias_input for bias_input in program.bias_inputs}
        for p in program.all_nodes:
            self.names[p.name] = self._unique(p.name)
        for source in program.sources:
            self.nodes[self.names[source.name]] = self.nir.Input(np.array(self._shape(source)))
        values = {p.pre for name in driven for p in program.encoder.into(name)}
        for node in program.encoder.inputs:
            if node.name in values:
                self.names[node.name] = self._unique(node.name)
                self.nodes[self.names[node.name]] = self.nir.Input(np.array(self._shape(node)))
        for p in program.populations:
            self.nodes[self.names[p.name]] = self._population(p, p.name in driven)
        for p in program.populations:
            for projection in program.encoder.into(p.name) if p.name in driven else ():
                scale = driven[p.name].scale
                weights = projection.transform.with_values(projection.transform.values * scale)
                self._connect(projection.pre, p.name, weights, np.float64)
            for synapses in program.into(p.name):
                weights = synapses.transform.with_values(
                    synapses.transform.values.astype(np.int64) << synapses.shift
                )
                self._connect(synapses.pre, p.name, weights, np.float32)
        for readout in program.readout.readouts:
            self._read_out(readout)

    def _unique(self, name: str) -> str:
        """A name of a node: HDF5 takes a slash for a group in a group."""
        wanted = name.replace("/", "|").replace(".", "_")
        taken, number = {*self.nodes, *self.names.values()}, 0
        found = wanted
        while found in taken:
            number += 1
            found = f"{wanted}_{number}"
        return found

    @cached_property
    def images(self) -> set[str]:
        """What is (channels, height, width) in the graph: where convolutions lead from images to images all along."""
        program = self.program
        into = {p.name: [(s.pre, s.transform) for s in program.into(p.name)] for p in program.populations}
        for bias_input in program.bias_inputs:
            name = bias_input.population
            into[name] += [(p.pre, p.transform) for p in program.encoder.into(name)]
        shapes = {node.name: node.shape for node in (*program.encoder.inputs, *program.all_nodes)}
        found = {name for name, shape in shapes.items() if len(shape) == 3}

        def fits(name: str) -> bool:
            if name not in into:  # where spikes or values come in
                taken = [post for post, pairs in into.items() if any(pre == name for pre, _ in pairs)]
                return bool(set(taken) & found)
            return bool(into[name]) and all(
                pre in found
                and isinstance(t, Conv2D)
                and (t.in_shape, t.out_shape) == (shapes[pre], shapes[name])
                and even(t) is not None
                for pre, t in into[name]
            )

        while (kept := {name for name in found if fits(name)}) != found:
            found = kept
        return found

    def _shape(self, node: SpikeSource | Compartments | Input) -> Shape:
        return _channels_first(node.shape) if node.name in self.images else (node.size,)

    def _population(self, p: Compartments, takes_values: bool) -> Any:
        dt, chip = self.program.dt, self.program.arithmetic
        shape, full = self._shape(p), 1 << chip.decay_bits
        leak = p.decay_v + chip.voltage_decay_offset
        r = full / leak if leak else NO_LEAK
        bias = _in_order(p.bias, p.shape, p.name in self.images).reshape(shape)
        extra: dict[str, Any] = {}
        if p.refractory > 1:
            extra["refractory"] = p.refractory
        if p.v_min:
            extra["v_min"] = p.v_min
        if p.v_max != chip.largest_v_max:
            extra["v_max"] = p.v_max
        if p.initial_voltage is not None:
            extra["initial_voltage"] = _in_order(p.initial_voltage, p.shape, p.name in self.images)

        def same(value: float) -> NDArray[np.float64]:
            return np.full(shape, value)

        settings = {
            "r": same(r),
            "v_leak": bias * r,
            "v_threshold": same(p.threshold),
            "v_reset": same(0.0),
            "metadata": extra,
        }
        if takes_values:
            return self.nir.LIF(tau=same(r * dt), **settings)
        w_in = full / (p.decay_u + chip.current_decay_offset)
        return self.nir.CubaLIF(tau_syn=same(w_in * dt), tau_mem=same(r * dt), w_in=same(w_in), **settings)

    def _connect(self, pre: str, post: str, weights: Transform, dtype: Any) -> None:
        """A node of weights between two others."""
        name = self._unique(f"{self.names[pre]} to {self.names[post]}")
        source = self.names[pre]
        if post in self.images and isinstance(weights, Conv2D) and (filled := even(weights)) is not None:
            kernel, padding = filled
            self.nodes[name] = self.nir.Conv2d(
                input_shape=weights.in_shape[:2],
                weight=np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)).astype(dtype),
                stride=np.array(weights.strides),
                padding=np.array(padding),
                dilation=np.array([1, 1]),
                groups=weights.groups,
                bias=np.zeros(weights.out_shape[2], dtype),
            )
        else:
            self.nodes[name] = self.nir.Linear(self._matrix(pre, weights).astype(dtype))
            source = self._flattened(pre)
        self.edges += [(source, name), (name, self.names[post])]

    def _matrix(self, pre: str, weights: Transform) -> NDArray[Any]:
        """Weights written out, the inputs in the graph's order."""
        matrix = weights.csr().toarray()
        return np.asarray(matrix[:, order_of(self._sender_shape(pre))]) if pre in self.images else matrix

    def _sender_shape(self, name: str) -> Shape:
        if name in self.program.nodes:
            return self.program.nodes[name].shape
        return next(node.shape for node in self.program.encoder.inputs if node.name == name)

    def _flattened(self, name: str) -> str:
        """The node that makes one axis of an image's three; of others the node itself."""
        if name not in self.images:
            return self.names[name]
        if name not in self.flat:
            node = self._unique(f"{self.names[name]} flat")
            shape = _channels_first(self._sender_shape(name))
            self.nodes[node] = self.nir.Flatten(
                input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1
            )
            self.edges.append((self.names[name], node))
            self.flat[name] = node
        return self.flat[name]

    def _read_out(self, readout: Any) -> None:
        """Spikes, filtered, times weights."""
        dt, graph = self.program.dt, self.program.readout
        output = self._unique(readout.name)
        self.nodes[output] = self.nir.Output(
            np.array(readout.shape if len(readout.shape) == 1 else (readout.size,))
        )
        bias = np.broadcast_to(readout.bias, (readout.size,)).astype(np.float64)
        for projection in graph.into(readout.name):
            pre = projection.pre
            source = self._flattened(pre)
            factor = lowpass_factor(projection.tau, dt)
            if factor:
                name = self._unique(f"{self.names[pre]} filter for {output}")
                size = (self.program.nodes[pre].size,)
                tau = np.full(size, dt / (1 - factor))
                self.nodes[name] = self.nir.LI(tau=tau, r=np.ones(size), v_leak=np.zeros(size))
                self.edges.append((source, name))
                source = name
            name = self._unique(f"{self.names[pre]} to {output}")
            self.nodes[name] = self.nir.Affine(self._matrix(pre, projection.transform) / dt, bias)
            self.edges += [(source, name), (name, output)]
            bias = np.zeros(readout.size)


def _channels_first(shape: Shape) -> Shape:
    return (shape[2], *shape[:2])


def _in_order(values: NDArray[Any], shape: Shape, image: bool) -> NDArray[np.float64]:
    """A value for each neuron, in the graph's order."""
    full = np.broadcast_to(values, (int(np.prod(shape)),)).astype(np.float64)
    return full[order_of(shape)] if image else full
