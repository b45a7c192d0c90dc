"""Cutting a network into the encoder on the host, the graph on chip, and the readout on the host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loihi_deploy.checked import checked
from loihi_deploy.encoders import Encoder, encoder_named
from loihi_deploy.errors import PartitionError, Problem
from loihi_deploy.ir import Graph, Input, Link, PartitionedGraph, Population, Projection, Readout
from loihi_deploy.ir.delays import as_delays, by_delay
from loihi_deploy.ir.edges import first_layer, input_names, mixed_populations
from loihi_deploy.options import ENCODER_RATE, Rate

TO_CHIP_DELAY = 1
"""A spike of the host at step t is processed on chip at step t + 1, as between cores (nengo-loihi does the same)."""
FROM_CHIP_DELAY = 0
"""The readout of step t has the chip's spikes of step t."""


@checked
def partition(
    graph: Graph,
    encoder: str = "auto",
    encoder_rate: Rate = ENCODER_RATE,
) -> PartitionedGraph:
    """Cut a network into host encoder, chip graph and host readout.

    Parameters
    ----------
    graph : Graph
    encoder : str
        One of `loihi_deploy.encoders.ENCODERS`: which populations spike on the host, or stand on chip and take input
        values as bias currents.
    encoder_rate : float
        Firing rate in Hz of an inserted neuron at an input of magnitude ``Input.scale``; at most 1 / dt.

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
    problems += [
        Problem(
            "input values are not held back, spikes are",
            projection.name,
            f"{projection.most_delay} steps",
            remedy="Give the delays to a projection out of a population",
        )
        for projection in graph.projections
        if (projection.delays is not None or projection.frames_back) and projection.pre in input_names(graph)
    ]
    if graph.holds_frames and graph.frame_steps is None:
        problems.append(
            Problem(
                "projections bring what was said of earlier frames, and nobody says how many steps a frame takes",
                ", ".join(p.name for p in graph.projections if p.frames_back),
                remedy="Say so: loihi_deploy.with_frame_delays(graph, steps_per_frame)",
            )
        )
    undriven = [population.name for population in graph.populations if not _driven(graph, population.name)]
    problems += [
        Problem("no input reaches it", name, remedy="Remove it or connect it to an input")
        for name in undriven
    ]
    if problems:
        raise PartitionError("Cannot cut the network into host and chip parts", problems)
    first = first_layer(graph)
    kind = encoder_named(encoder)
    if kind.stands_in_front(graph):
        graph = kind.with_neurons_in_front(graph, min(encoder_rate, 1 / graph.dt))
        return _cut(graph, first_layer(graph), kind)
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
    return _cut(graph, first, kind)


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


def _encoding(population: Population, encoder: Encoder) -> Population:
    """The population with the neurons that the encoder asks for."""
    if encoder.neuron is None:
        return population
    return replace(population, neuron=encoder.neuron, initial_voltage=None)


def _out_of_phase(population: Population) -> Population:
    """Spread initial voltages evenly, so that equal inputs do not make neurons fire at the same step.

    Nengo draws them at random for the same reason; steps of the golden ratio spread better, and the same every time.
    """
    neuron = population.neuron
    if population.initial_voltage is not None or neuron.discretized or neuron.kind not in ("if", "lif"):
        return population
    golden = (np.sqrt(5) - 1) / 2
    return replace(population, initial_voltage=(np.arange(population.size) * golden) % 1)


def _adding(graph: Graph, population: Population) -> Population:
    """The population with its gain in the threshold, where weights of 1 and -1 then leave nothing to multiply."""
    into = graph.into(population.name)
    signs = all(p.tau == 0 and np.isin(p.transform.values, (-1.0, 0.0, 1.0)).all() for p in into)
    return replace(population, adds_only=signs and population.can_add_only)


def _cut(graph: Graph, first: list[str], encoder: Encoder) -> PartitionedGraph:
    if problems := list(encoder.refused(graph, first)):
        raise PartitionError(f"Cannot use the encoder {encoder.name!r}", problems)
    populations = {population.name: population for population in graph.populations}
    readouts = {readout.name for readout in graph.readouts}
    host = tuple(first) if encoder.on_host else ()
    currents = () if host else tuple(Readout(name, populations[name].shape, np.zeros(1)) for name in first)
    encoders = tuple(_adding(graph, _out_of_phase(_encoding(populations[name], encoder))) for name in host)
    on_chip = tuple(
        replace(p, amplitude=1.0, initial_voltage=None) for p in graph.populations if p.name not in host
    )

    def folded(projection: Projection) -> Projection:
        """Amplitude of a spike moved into the weights."""
        amplitude = populations[projection.pre].amplitude
        transform = projection.transform.with_values(projection.transform.values * amplitude)
        tau = np.inf if encoder.keeps_currents and projection.pre in host else projection.tau
        return replace(projection, transform=transform, tau=tau)

    from_spikes = [folded(p) for p in graph.projections if p.pre in populations]
    to_chip = tuple(p for p in from_spikes if p.post in populations)
    # the host holds back all spikes of a projection alike
    to_host = tuple(
        replace(p, transform=transform, delays=as_delays(late))
        for p in from_spikes
        if p.post in readouts
        for late, transform in by_delay(p.delays, p.transform)
    )
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
        chip=Graph(sources, on_chip, to_chip, dt=graph.dt, frame_steps=graph.frame_steps),
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
