"""Where the host ends and the chip begins: which populations could encode the input."""

from __future__ import annotations

from typing import Literal

from loihi_deploy.graph.transforms import Conv2D
from loihi_deploy.graph.types import Graph

Encoder = Literal["auto", "first_layer", "on_off"]


def encoder_populations(graph: Graph, encoder: Encoder = "auto") -> tuple[str, ...]:
    """The populations that `partition` lets run on the host; none where it puts on/off neurons in front."""
    return () if needs_on_off(graph, encoder) else tuple(first_layer(graph))


def needs_on_off(graph: Graph, encoder: Encoder) -> bool:
    """Whether an on/off encoder stands in front: as asked for, or where the first layer does not suit the host."""
    first = first_layer(graph)
    fits = len(first) < len(graph.populations) and not mixed_populations(graph) and _is_1x1(graph)
    return encoder == "on_off" or (encoder == "auto" and not fits)


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
