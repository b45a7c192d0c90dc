"""No spikes from the host: values are bias currents of neurons on chip, put in front."""

from __future__ import annotations

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_neurons_in_front
from loihi_deploy.ir import Graph

BIAS_RATE = 200.0
"""Highest rate in Hz of neurons driven by bias currents, chosen by experiment: they fire at 1 / (whole steps)."""


def with_biased_neurons(graph: Graph, rate: float) -> Graph:
    """Put an on neuron for each input value in front, and an off neuron where an input has values below 0."""
    signs = {node.name: (1.0, -1.0) if node.signed else (1.0,) for node in graph.inputs}
    return with_neurons_in_front(graph, min(rate, BIAS_RATE), "bias", signs)


BIAS = Encoder("bias", lambda graph: True, with_biased_neurons, on_host=False)
