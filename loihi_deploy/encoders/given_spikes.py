"""Input values that are spikes already, as an event camera or a spiking sensor sends them: one frame for each step."""

from dataclasses import replace

import numpy as np

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_neurons_in_front
from loihi_deploy.ir import Graph


def with_event_neurons(graph: Graph, rate: float) -> Graph:
    """Put a neuron for each input value in front, which spikes in a step where the value is 1; `rate` says nothing.

    A spike stands for a value of 1 during one step, so that the layers behind compute with what they were given.
    """
    cut = with_neurons_in_front(graph, rate, "events", {node.name: (1.0,) for node in graph.inputs})
    inputs = tuple(replace(node, events=True) for node in graph.inputs)
    names = {f"{node.name}_events" for node in graph.inputs}
    populations = tuple(
        replace(p, gain=np.array(1 / graph.dt), amplitude=graph.dt) if p.name in names else p
        for p in cut.populations
    )
    return replace(cut, inputs=inputs, populations=populations)


EVENTS = Encoder("events", lambda graph: True, with_event_neurons)
