"""The rate network that a program's integers stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loihi_deploy.ir import Graph, PartitionedGraph, Population
from loihi_deploy.ir.program import Compartments, Program, ScaleGroup


def rate_graph(program: Program, partitioned: PartitionedGraph) -> Graph:
    """A program's weights, biases and thresholds in floats again.

    Parameters
    ----------
    program : Program
        Not corrected: corrections of what the chip's neurons lose have no place in a rate network.
    partitioned : PartitionedGraph
        What it was made from, for the neuron models.
    """
    groups = {group.population: group for group in program.scale_groups}
    models = {population.name: population for population in partitioned.chip.populations}
    driven = {bias_input.population: bias_input for bias_input in program.bias_inputs}
    populations = [replace(p, amplitude=1.0) for p in program.encoder.populations]
    projections = [p for p in program.encoder.projections if p.post not in driven]
    for compartments in program.populations:
        group, model = groups[compartments.name], models[compartments.name]
        scale = _threshold(model, program.dt) * group.voltage_scale / compartments.threshold
        populations.append(_population(compartments, model, group, scale))
        if compartments.name in driven:
            gain = driven[compartments.name].scale / group.bias_scale * scale
            projections += [
                replace(p, transform=p.transform.with_values(p.transform.values * gain))
                for p in program.encoder.into(compartments.name)
            ]
        into = zip(program.into(compartments.name), partitioned.chip.into(compartments.name), strict=True)
        for synapses, made_of in into:
            weights = (synapses.transform.values.astype(np.float64) * 2**synapses.shift) / group.current_scale
            transform = synapses.transform.with_values(weights * scale * program.dt)
            projections.append(replace(made_of, transform=transform, tau=0.0))
    return Graph(
        program.encoder.inputs,
        tuple(populations),
        (*projections, *program.readout.projections),
        program.readout.readouts,
        program.dt,
    )


def _threshold(model: Population, dt: float) -> float:
    """The threshold that the population was quantized with."""
    return 1 / dt if model.neuron.kind == "if" else 1.0


def _population(compartments: Compartments, model: Population, group: ScaleGroup, scale: float) -> Population:
    offset = model.neuron.relu_offset or 0.0
    bias = (compartments.bias / group.bias_scale - offset) * scale + offset
    return Population(compartments.name, compartments.shape, model.neuron, np.ones(1), bias)
