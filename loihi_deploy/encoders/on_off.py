"""An on and an off neuron for each input value (weights +1 and -1), so that the first layer stays on chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.ir import Conv2D, Graph, Input, NeuronModel, Population, Projection
from loihi_deploy.ir.edges import input_names
from loihi_deploy.ir.linear import compose


def with_on_and_off_neurons(graph: Graph, rate: float) -> Graph:
    """Put an on and an off neuron for each input value in front: x = amplitude * (on - off)."""
    return with_neurons_in_front(graph, rate, "on_off", {node.name: (1.0, -1.0) for node in graph.inputs})


def with_neurons_in_front(
    graph: Graph, rate: float, suffix: str, signs: Mapping[str, tuple[float, ...]]
) -> Graph:
    """Put one neuron for each input value and sign in front, named after the input and `suffix`."""
    populations, projections = [], []
    for node in graph.inputs:
        population, split, join = _neurons(node, rate, f"{node.name}_{suffix}", signs[node.name])
        populations.append(population)
        projections.append(Projection(node.name, population.name, split))
        projections += [
            Projection(
                population.name,
                old.post,
                compose(old.transform, join),
                old.tau or _usual_tau(graph, old.post),
            )
            for old in graph.out_of(node.name)
        ]
    inputs = input_names(graph)
    kept = tuple(p for p in graph.projections if p.pre not in inputs)
    return replace(graph, populations=(*populations, *graph.populations), projections=(*projections, *kept))


def _neurons(
    node: Input, rate: float, name: str, signs: tuple[float, ...]
) -> tuple[Population, Conv2D, Conv2D]:
    """The neurons of one input, the map from its values to them, and the one back."""
    grid = node.shape if len(node.shape) == 3 else (1, node.size, 1)
    channels = grid[2]
    both = (*grid[:2], len(signs) * channels)
    to_neurons = np.tile(signs, channels).reshape(1, 1, 1, both[2])
    to_values = np.repeat(signs, channels).reshape(1, 1, len(signs), channels)
    shape = both if len(node.shape) == 3 else (both[1] * both[2],)
    gain = rate / node.scale
    return (
        Population(name, shape, NeuronModel(), np.array(gain), np.zeros(1), amplitude=1 / gain),
        Conv2D(to_neurons, (1, 1), (0, 0), grid, both, groups=channels),
        Conv2D(to_values, (1, 1), (0, 0), both, grid, channels),
    )


def _usual_tau(graph: Graph, post: str) -> float:
    """The synapse for spikes that replace real values: that of other projections into the population, or after it."""
    inputs = input_names(graph)
    others = [p.tau for p in graph.into(post) if p.pre not in inputs]
    return (others or [p.tau for p in graph.out_of(post)] or [p.tau for p in graph.projections] or [0.0])[0]


ON_OFF = Encoder("on_off", lambda graph: True, with_on_and_off_neurons)
