"""What an encoder is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from loihi_deploy.errors import Problem
from loihi_deploy.ir import Graph, NeuronModel


def nothing_refused(graph: Graph, first: Collection[str]) -> Iterable[Problem]:
    """No network is refused."""
    return ()


@dataclass(frozen=True)
class Encoder:
    """A way from input values to what the chip takes.

    Parameters
    ----------
    name : str
        What ``DeployOptions(encoder=...)`` calls it.
    stands_in_front : callable
        Whether it puts neurons of its own in front of a graph; else the populations that inputs drive encode.
    with_neurons_in_front : callable
        The graph with these neurons, which fire at the given rate in Hz for an input of magnitude ``Input.scale``.
    neuron : NeuronModel or None
        What the neurons that encode become; None leaves them what they are.
    on_host : bool
        Whether they spike on the host; else they are on chip and take input values as bias currents.
    keeps_currents : bool
        Whether what their spikes add stays to the end of the presentation.
    refused : callable
        What stands in its way, given the graph and the names of the populations that encode.
    """

    name: str
    stands_in_front: Callable[[Graph], bool]
    with_neurons_in_front: Callable[[Graph, float], Graph]
    neuron: NeuronModel | None = None
    on_host: bool = True
    keeps_currents: bool = False
    refused: Callable[[Graph, Collection[str]], Iterable[Problem]] = nothing_refused
