"""Where the host ends and the chip begins: which populations could encode the input."""

from __future__ import annotations

from typing import Literal

from loihi_deploy.ir.graph import Graph
from loihi_deploy.ir.transforms import Conv2D

Encoder = Literal["auto", "first_layer", "on_off", "bias", "poisson", "ttfs"]


def encoder_populations(graph: Graph, encoder: Encoder = "auto") -> tuple[str, ...]:
    """The populations that `partition` lets run on the host; none where it puts neurons in front."""
    return () if needs_on_off(graph, encoder) else tuple(first_layer(graph))


def needs_on_off(graph: Graph, encoder: Encoder) -> bool:
    """Whether on and off neurons stand in front: as asked for, or where the first layer does not suit the host."""
    if encoder in ("on_off", "bias"):
        return True
    first = first_layer(graph)
    fits = len(first) < len(graph.populations) and not mixed_populations(graph) and _is_1x1(graph)
    if encoder in ("poisson", "ttfs"):
        nodes = {population.name: population for population in graph.populations}
        fits = fits and all(nodes[name].neuron.kind == "if" for name in first)
    return encoder != "first_layer" and not fits


def mixed_populations(graph: Graph) -> list[str]:
    """Populations that inputs and other populations drive."""
    inputs = input_names(graph)
    return [name for name in first_layer(graph) if any(p.pre not in inputs for p in graph.into(name))]


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


def _is_1x1(graph: Graph) -> bool:
    transforms = [p.transform for name in first_layer(graph) for p in graph.into(name)]
    return all(
        isinstance(t, Conv2D) and t.kernel.shape[:2] == (1, 1) and t.strides == (1, 1) for t in transforms
    )
