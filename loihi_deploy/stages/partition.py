"""Cutting a network into the encoder on the host, the graph on chip, and the readout on the host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loihi_deploy.errors import PartitionError, Problem
from loihi_deploy.ir import (
    Conv2D,
    Graph,
    Input,
    Link,
    NeuronModel,
    PartitionedGraph,
    Population,
    Projection,
    Readout,
)
from loihi_deploy.ir.edges import Encoder, first_layer, input_names, mixed_populations, needs_on_off
from loihi_deploy.ir.linear import compose
from loihi_deploy.options import ENCODER_RATE

HOST_KINDS = ("poisson", "ttfs")
"""Kinds of neurons that only the host has, by the name of the encoder that uses them."""
TO_CHIP_DELAY = 1
"""A spike of the host at step t is processed on chip at step t + 1, as between cores (nengo-loihi does the same)."""
FROM_CHIP_DELAY = 0
"""The readout of step t has the chip's spikes of step t."""
BIAS_RATE = 200.0
"""Highest rate in Hz of neurons driven by bias currents, chosen by experiment: they fire at 1 / (whole steps)."""


def partition(
    graph: Graph,
    encoder: Encoder = "auto",
    encoder_rate: float = ENCODER_RATE,
) -> PartitionedGraph:
    """Cut a network into host encoder, chip graph and host readout.

    Parameters
    ----------
    graph : Graph
    encoder : {'auto', 'first_layer', 'on_off', 'bias', 'poisson', 'ttfs'}
        What spikes on the host: the populations that inputs drive, or an on and an off neuron for each input value, put
        in front. 'auto' takes the first layer where it is a 1x1 convolution and something is left for the chip, and so
        do 'poisson' and 'ttfs', whose neurons spike at random, and once (see `NeuronModel`). With 'bias' nothing spikes
        on the host: values are bias currents of on and off neurons on chip, of on neurons alone for an input that is
        not signed.
    encoder_rate : float
        Firing rate in Hz of an inserted neuron at an input of magnitude ``Input.scale``; with 'bias' at most
        `BIAS_RATE`.

    Notes
    -----
    With 'ttfs' a value x in 0..1 sends its one spike in step (1 - x) T of T. What it drives keeps every
    arriving weight as a current to the end (a synapse without decay), so that the mean current over the
    presentation is the weighted sum of values, and has voltages below 0, so that early inhibition is not
    lost. Before the late spikes are there the sum is not complete, so a layer may fire where it should be
    silent: fewer spikes cross to the chip, by a factor of tens, and networks that depend on shades of grey
    lose accuracy. It encodes static samples from rest only, no frames, no stream, and nothing but encoders
    may drive a population that an encoder drives.

    Returns
    -------
    PartitionedGraph

    Raises
    ------
    PartitionError
        Listing everything that stands in the way: no spiking layer, none left for the chip, populations that need real
        input values and spikes at once, readouts that need real input values.
    """
    if not graph.populations:
        raise PartitionError(
            "Nothing to deploy",
            Problem(
                "the network has no spiking layer",
                remedy="Give at least one layer a ReLU or spiking activation",
            ),
        )
    problems = [
        Problem(
            "reads real input values, which the chip's readout does not have",
            projection.name,
            remedy="Decode it from a spiking layer",
        )
        for readout in graph.readouts
        for projection in graph.into(readout.name)
        if projection.pre in input_names(graph)
    ]
    undriven = [population.name for population in graph.populations if not _driven(graph, population.name)]
    problems += [
        Problem("no input reaches it", name, remedy="Remove it or connect it to an input")
        for name in undriven
    ]
    if problems:
        raise PartitionError("Cannot cut the network into host and chip parts", problems)
    first = first_layer(graph)
    if needs_on_off(graph, encoder):
        rate = min(encoder_rate, 1 / graph.dt)
        graph = _with_on_off_encoder(graph, min(rate, BIAS_RATE) if encoder == "bias" else rate, encoder)
        return _cut(graph, first_layer(graph), encoder)
    problems = [
        Problem(
            "takes real input values and spikes at once, so it can stand neither on the host nor on the chip",
            name,
            remedy="Use encoder='on_off'",
        )
        for name in mixed_populations(graph)
    ]
    if len(first) == len(graph.populations):
        problems.append(
            Problem(
                "every spiking layer is an encoder, none is left for the chip",
                ", ".join(first),
                remedy="Use encoder='on_off', which keeps the first layer on chip",
            )
        )
    if problems:
        raise PartitionError("Cannot make the first layer the encoder", problems)
    return _cut(graph, first, encoder)


def _driven(graph: Graph, name: str) -> bool:
    """Whether any path leads from an input, or a bias current, to the population."""
    seen, todo = set(), [name]
    while todo:
        current = todo.pop()
        if current in input_names(graph) or (
            isinstance(node := graph.nodes[current], Population) and bool((node.bias > 0).any())
        ):
            return True
        if current not in seen:
            seen.add(current)
            todo += [projection.pre for projection in graph.into(current)]
    return False


def _with_on_off_encoder(graph: Graph, rate: float, encoder: Encoder) -> Graph:
    """Put an on and an off neuron for each input value in front: x = amplitude * (on - off)."""
    populations, projections = [], []
    for node in graph.inputs:
        grid = node.shape if len(node.shape) == 3 else (1, node.size, 1)
        channels = grid[2]
        signs = [1.0, -1.0] if node.signed or encoder != "bias" else [1.0]
        both = (*grid[:2], len(signs) * channels)
        to_neurons = np.tile(signs, channels).reshape(1, 1, 1, both[2])
        split = Conv2D(to_neurons, (1, 1), (0, 0), grid, both, groups=channels)
        to_values = np.repeat(signs, channels).reshape(1, 1, len(signs), channels)
        join = Conv2D(to_values, (1, 1), (0, 0), both, grid, channels)
        name = f"{node.name}_{'bias' if encoder == 'bias' else 'on_off'}"
        shape = both if len(node.shape) == 3 else (both[1] * both[2],)
        gain = rate / node.scale
        populations.append(
            Population(name, shape, NeuronModel(), np.array(gain), np.zeros(1), amplitude=1 / gain)
        )
        projections.append(Projection(node.name, name, split))
        projections += [
            Projection(name, old.post, compose(old.transform, join), old.tau or _usual_tau(graph, old.post))
            for old in graph.out_of(node.name)
        ]
    inputs = input_names(graph)
    kept = tuple(p for p in graph.projections if p.pre not in inputs)
    return replace(graph, populations=(*populations, *graph.populations), projections=(*projections, *kept))


def _usual_tau(graph: Graph, post: str) -> float:
    """The synapse for spikes that replace real values: that of other projections into the population, or after it."""
    inputs = input_names(graph)
    others = [p.tau for p in graph.into(post) if p.pre not in inputs]
    return (others or [p.tau for p in graph.out_of(post)] or [p.tau for p in graph.projections] or [0.0])[0]


def _spiking_as(population: Population, encoder: Encoder) -> Population:
    """The population with the neurons that the encoder asks for."""
    if encoder == "poisson" or encoder == "ttfs":
        return replace(population, neuron=NeuronModel(encoder), initial_voltage=None)
    return population


def _kept_problems(graph: Graph, kept: tuple[str, ...]) -> list[Problem]:
    """What cannot be had where spikes of the populations `kept` stand for values by their time."""
    readouts = {readout.name for readout in graph.readouts}
    targets = {projection.post for name in kept for projection in graph.out_of(name)}
    problems = [
        Problem("decodes the encoder's single spikes", name, remedy="Use another encoder")
        for name in sorted(targets & readouts)
    ]
    problems += [
        Problem(
            "takes spikes of the encoder, whose currents stay, and of other layers, whose currents decay",
            name,
            remedy="Use another encoder",
        )
        for name in sorted(targets - readouts)
        if any(projection.pre not in kept for projection in graph.into(name))
    ]
    return problems


def _out_of_phase(population: Population) -> Population:
    """Spread initial voltages evenly, so that equal inputs do not make neurons fire at the same step.

    Nengo draws them at random for the same reason; steps of the golden ratio spread better, and the same every time.
    """
    neuron = population.neuron
    if population.initial_voltage is not None or neuron.discretized or neuron.kind in HOST_KINDS:
        return population
    golden = (np.sqrt(5) - 1) / 2
    return replace(population, initial_voltage=(np.arange(population.size) * golden) % 1)


def _cut(graph: Graph, first: list[str], encoder: Encoder) -> PartitionedGraph:
    populations = {population.name: population for population in graph.populations}
    readouts = {readout.name for readout in graph.readouts}
    host = () if encoder == "bias" else tuple(first)
    currents = () if host else tuple(Readout(name, populations[name].shape, np.zeros(1)) for name in first)
    encoders = tuple(_out_of_phase(_spiking_as(populations[name], encoder)) for name in host)
    on_chip = tuple(replace(p, amplitude=1.0) for p in graph.populations if p.name not in host)
    kept = host if encoder == "ttfs" else ()
    if problems := _kept_problems(graph, kept):
        raise PartitionError("Cannot encode values in the time of one spike", problems)

    def folded(projection: Projection) -> Projection:
        """Amplitude of a spike moved into the weights."""
        amplitude = populations[projection.pre].amplitude
        transform = projection.transform.with_values(projection.transform.values * amplitude)
        tau = np.inf if projection.pre in kept else projection.tau
        return replace(projection, transform=transform, tau=tau)

    from_spikes = [folded(p) for p in graph.projections if p.pre in populations]
    to_chip = tuple(p for p in from_spikes if p.post in populations)
    to_host = tuple(p for p in from_spikes if p.post in readouts)
    decoded = {p.pre for p in to_host}
    sources = tuple(Input(p.name, p.shape) for p in encoders)
    return PartitionedGraph(
        encoder=Graph(
            graph.inputs,
            encoders,
            tuple(p for p in graph.projections if p.pre not in populations),
            currents,
            graph.dt,
        ),
        chip=Graph(sources, on_chip, to_chip, dt=graph.dt),
        readout=Graph(
            tuple(Input(p.name, p.shape) for p in graph.populations if p.name in decoded),
            (),
            to_host,
            graph.readouts,
            graph.dt,
        ),
        links=(
            *(Link(p.name, "to_chip", TO_CHIP_DELAY) for p in encoders),
            *(Link(p.name, "from_chip", FROM_CHIP_DELAY) for p in on_chip if p.name in decoded),
        ),
        notes=graph.notes,
    )
