"""Where the host ends and the chip begins: the populations that inputs drive."""

from __future__ import annotations

from loihi_deploy.ir.graph import Graph
from loihi_deploy.ir.transforms import Conv2D


def input_names(graph: Graph) -> set[str]:
    """The names of the inputs."""
    return {node.name for node in graph.inputs}


def first_layer(graph: Graph) -> list[str]:
    """Populations that an input drives."""
    inputs = input_names(graph)
    return [
        p.name
        for p in graph.populations
        if any(projection.pre in inputs for projection in graph.into(p.name))
    ]


def mixed_populations(graph: Graph) -> list[str]:
    """Populations that inputs and other populations drive."""
    inputs = input_names(graph)
    return [name for name in first_layer(graph) if any(p.pre not in inputs for p in graph.into(name))]


def first_layer_suits_the_host(graph: Graph) -> bool:
    """Whether it is a 1x1 convolution of input values alone, and something is left for the chip."""
    first = first_layer(graph)
    return len(first) < len(graph.populations) and not mixed_populations(graph) and _is_1x1(graph)


def rectified_first_layer_suits_the_host(graph: Graph) -> bool:
    """The same, and its neurons have no leak."""
    neurons = {population.name: population.neuron for population in graph.populations}
    return first_layer_suits_the_host(graph) and all(
        neurons[name].kind == "if" for name in first_layer(graph)
    )


def _is_1x1(graph: Graph) -> bool:
    transforms = [p.transform for name in first_layer(graph) for p in graph.into(name)]
    return all(
        isinstance(t, Conv2D) and t.kernel.shape[:2] == (1, 1) and t.strides == (1, 1) for t in transforms
    )
