"""NIR graphs that hold the chip's integers, as programs: what `loihi_deploy.export.to_nir` writes.

A graph is one of integers where all of this is true; everything is read from the parameters of nodes:

- its neurons are ``CubaLIF``, or ``LIF`` where input values drive them; ``r = tau_mem / dt`` gives one step dt, and
  ``w_in = tau_syn / dt``
- ``4096 dt / tau`` is a whole number, from which the chip's decays follow; thresholds, of one value in each node, and
  biases, ``v_leak dt / tau_mem``, are whole numbers that the chip has
- weights between neurons are mantissas of 8 bits with their sign times 2^6 or 2^7

What NIR has no word for is taken from the node's metadata, where it is there: ``refractory``, ``v_min``, ``v_max``,
``initial_voltage``. A voltage else stays above 0, the chip's usual bound.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.chip.fixed_point import current_decay
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.errors import LoihiDeployError
from loihi_deploy.frontends.nir import convert_nir
from loihi_deploy.frontends.nir_file import NEURONS, NirNetwork, Node
from loihi_deploy.ir import (
    Dense,
    Graph,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Transform,
    linear,
)
from loihi_deploy.ir.delays import as_delays, by_delay
from loihi_deploy.ir.program import BiasInput, Compartments, Program, SpikeSource, Synapses
from loihi_deploy.options import DeployOptions

WHOLE = 1e-3
"""How far from a whole number what single precision has made of one may be."""
NOTE = (
    "the graph holds the chip's integers, taken as they are; voltages stay above 0 unless it says otherwise"
)


class _FloatsError(Exception):
    """The graph is none of integers."""


def program_of(network: NirNetwork) -> Program | None:
    """The program that a graph of integers holds; None for any other graph.

    Parameters
    ----------
    network : NirNetwork
    """
    chip = loihi_arithmetic()
    try:
        dt = _step(network)
        graph = convert_nir(network, DeployOptions(dt=dt))
        return _program(network, graph, chip, dt)
    except (_FloatsError, LoihiDeployError):
        return None  # what is wrong with it as a network of floats is said where it is converted


def _whole(values: Any) -> NDArray[np.int64]:
    exact = np.asarray(values, np.float64)
    rounded = np.round(exact)
    if (np.abs(exact - rounded) > WHOLE).any() or (np.abs(rounded) >= 1 << 31).any():
        raise _FloatsError
    return rounded.astype(np.int64)


def _single(values: NDArray[Any]) -> Any:
    if not (values.ravel() == values.ravel()[0]).all():
        raise _FloatsError
    return values.ravel()[0]


def _step(network: NirNetwork) -> float:
    """The step that the time constants of all neurons tell."""
    steps = []
    for node in network.nodes.values():
        if node.kind in NEURONS:
            key = {"CubaLIF": "tau_mem", "LIF": "tau"}.get(node.kind)
            if key is None or not node.array("r").all():
                raise _FloatsError
            steps.append(float(_single(node.array(key)) / _single(node.array("r"))))
    if not steps or not 1e-5 <= min(steps) <= 1 or max(steps) > min(steps) * (1 + 1e-6):
        raise _FloatsError
    return steps[0]


def _compartments(node: Node, population: Population, dt: float, chip: Arithmetic) -> Compartments:
    full = 1 << chip.decay_bits
    decay_u = current_decay(0.0, dt, chip)
    key = "tau"
    if node.kind == "CubaLIF":
        key, tau = "tau_mem", _single(node.array("tau_syn"))
        if not tau > 0 or abs(_single(node.array("w_in", 1.0)) * dt / tau - 1) > 1e-6:
            raise _FloatsError
        decay_u = int(_whole(full * dt / tau)) - chip.current_decay_offset
    tau_mem = _single(node.array(key))
    bias = node.array("v_leak") * dt / tau_mem
    start = node.extra.get("initial_voltage")
    if node.array("v_reset", 0.0).any():
        raise _FloatsError
    return Compartments(
        population.name,
        population.shape,
        decay_u,
        int(_whole(full * dt / tau_mem)) - chip.voltage_decay_offset,
        int(_whole(_single(node.array("v_threshold")))),
        _as_stored(_whole(bias), population.shape),
        int(node.extra.get("refractory", 1)),
        int(node.extra.get("v_min", 0)),
        int(node.extra.get("v_max", chip.largest_v_max)),
        initial_voltage=None if start is None else _as_stored(_whole(start), population.shape),
    )


def _as_stored(values: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Values of a node's shape, channels first, flat as the population has them."""
    if values.size > 1 and len(shape) == 3:
        values = np.moveaxis(values.reshape(shape[2], *shape[:2]), 0, -1)
    return np.broadcast_to(values.ravel().astype(np.int32), int(np.prod(shape)))


def _synapses(projection: Projection, chip: Arithmetic) -> Synapses:
    """Mantissas and the finest shift that holds them."""
    weights = _whole(projection.transform.values)
    for shift in sorted(chip.weight_shifts):
        mantissas = weights >> shift
        if (mantissas << shift == weights).all() and np.abs(mantissas).max(initial=0) <= chip.weight_limit:
            transform: Transform = projection.transform.with_values(mantissas.astype(np.int8))
            if isinstance(transform, Dense):
                transform = linear.as_matrix(transform.weights)
            return Synapses(projection.pre, projection.post, transform, shift, delays=projection.delays)
    raise _FloatsError


def _program(network: NirNetwork, graph: Graph, chip: Arithmetic, dt: float) -> Program:
    nodes = network.nodes
    if any(population.name not in nodes for population in graph.populations):
        raise _FloatsError  # relays of delays
    populations = tuple(_compartments(nodes[p.name], p, dt, chip) for p in graph.populations)
    neurons = {population.name for population in graph.populations}
    inputs = {node.name: node for node in graph.inputs}
    values = {p.pre for p in graph.projections if p.pre in inputs and nodes[p.post].kind == "LIF"}
    spikes = {p.pre for p in graph.projections if p.pre in inputs} - values
    driven = {p.post for p in graph.projections if p.pre in values}
    for projection in graph.projections:
        if projection.post not in neurons:
            if projection.pre not in neurons:
                raise _FloatsError
        elif (nodes[projection.post].kind == "LIF") is not (projection.pre in values):
            raise _FloatsError
    given = {name: replace(inputs[name], name=f"{name} spikes", signed=False) for name in spikes}
    encoders = tuple(
        Population(name, inputs[name].shape, NeuronModel("if"), np.array(1 / dt), np.zeros(1))
        for name in inputs
        if name in spikes
    )
    encoder = Graph(
        tuple(given.get(name, node) for name, node in inputs.items()),
        encoders,
        (
            *(Projection(given[p.name].name, p.name, linear.identity(p.shape)) for p in encoders),
            *(replace(p, tau=0.0) for p in graph.projections if p.pre in values),
        ),
        tuple(Readout(p.name, p.shape, np.zeros(1)) for p in populations if p.name in driven),
        dt,
    )
    to_host = tuple(
        replace(p, transform=part.with_values(part.values * dt), delays=as_delays(late))
        for p in graph.projections
        if p.post not in neurons
        for late, part in by_delay(p.delays, p.transform)
    )
    decoded = {p.pre for p in to_host}
    return Program(
        encoder,
        tuple(SpikeSource(p.name, p.shape) for p in encoders),
        populations,
        tuple(_synapses(p, chip) for p in graph.projections if p.post in neurons and p.pre not in values),
        Graph(
            tuple(Input(p.name, p.shape) for p in populations if p.name in decoded),
            (),
            to_host,
            graph.readouts,
            dt,
        ),
        (
            *(Link(p.name, "to_chip", 1) for p in encoders),
            *(Link(p.name, "from_chip", 0) for p in populations if p.name in decoded),
        ),
        dt=dt,
        notes=(NOTE,),
        bias_inputs=tuple(
            BiasInput(p.name, 1.0, chip.bias_mantissa_max, chip.max_bias_exponent)
            for p in populations
            if p.name in driven
        ),
        arithmetic=chip,
    )
