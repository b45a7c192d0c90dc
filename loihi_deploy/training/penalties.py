"""What activities of neurons on chip cost in training: rates out of a range, synaptic events, energy.

Each is a function of a layer's activities that gives the cost of a batch, which Keras, legacy or 3, divides by the
number of samples: an ``activity_regularizer`` of plain Keras, and a term of `retrain`'s loss.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import numpy as np

from loihi_deploy.analysis.energy import load_coefficients
from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Conv2D, Graph, Population
from loihi_deploy.options import Percentile

EVENTS = 1e5
"""Synaptic events per sample that a weight of 1 counts as a loss of 1."""
ENERGY = 1e-5
"""Joules per sample that a weight of 1 counts as a loss of 1."""
MEASURED = 16
"""Samples of a batch, about, that a percentile is taken over where it costs time."""
SMALLEST = 1e-9
"""Activities below this count as none."""
Weight = Annotated[float, Range(0.0, 1e30)]


class RateRange:
    """Keep the rates of a layer's fast neurons in a range: squared distance from it, in units of its middle.

    The percentile that matters for the chip is taken over neurons and samples of a batch: with it the layer's fastest
    neurons speak clearly in a short presentation, and none are asked for more than a spike in each step.

    Parameters
    ----------
    low, high : float
        Hz.
    percentile : float
        0..100, of rates over neurons and samples.
    weight : float
        Of the cost in the loss.
    hertz : float
        Rate that an activity of 1 stands for: 1 for a ReLU whose source has activities in Hz, ``scale / dt`` for a
        `ChipActivation`.
    """

    @checked
    def __init__(
        self, low: float, high: float, percentile: float = 99.9, weight: float = 1.0, hertz: float = 1.0
    ) -> None:
        problems = []
        if not 0 <= low < high < np.inf:
            problems.append(Problem("not a range of rates", "low, high", (low, high), "0 <= low < high"))
        if not 0 <= percentile <= 100:
            problems.append(Problem("out of range", "percentile", percentile, "0 to 100"))
        for name, value in (("weight", weight), ("hertz", hertz)):
            if not 0 < value < np.inf:
                problems.append(Problem("out of range", name, value, "above 0"))
        if problems:
            raise InputError("Rates cannot be kept in a range", problems)
        self.low, self.high, self.percentile = float(low), float(high), float(percentile)
        self.weight, self.hertz = float(weight), float(hertz)

    def __call__(self, activities: Any) -> Any:
        """The cost of a batch of activities: that of its rates, times its samples."""
        import tensorflow as tf

        rates = tf.reshape(activities, [-1]) * self.hertz
        fastest = _fastest(rates, tf.size(rates), self.percentile)
        mean = tf.reduce_mean(fastest)
        fast = mean + tf.stop_gradient(
            tf.reduce_min(fastest) - mean
        )  # all of them learn, not the slowest alone
        distance = tf.nn.relu(self.low - fast) + tf.nn.relu(fast - self.high)
        samples = tf.cast(tf.shape(activities)[0], rates.dtype)
        return samples * self.weight * tf.square(distance / (0.5 * (self.low + self.high)))

    def get_config(self) -> dict[str, float]:
        """Its arguments, as Keras wants them."""
        names = ("low", "high", "percentile", "weight", "hertz")
        return {name: getattr(self, name) for name in names}


class EventPenalty:
    """What the spikes of a layer cost in a presentation, on average over samples.

    Parameters
    ----------
    cost : float
        Of a spike, in the loss; see `event_costs` and `energy_costs`.
    steps : int
        Of a presentation.
    scale : float
        Spikes per step that an activity of 1 stands for: that of a `ChipActivation`.
    percentile : float, optional
        0..100, of activities above 0, in some of the batch's samples: what stands for a spike in each step, the most
        that there can be, in the place of `scale`. So it is in an encoder, whose rates are set anew when the network is
        deployed: there it does not help to be less active altogether.
    """

    @checked
    def __init__(
        self, cost: float, steps: int, scale: float = 1.0, percentile: Percentile | None = None
    ) -> None:
        problems = [
            Problem("out of range", name, value, "0 or more")
            for name, value in (("cost", cost), ("steps", steps), ("scale", scale))
            if not 0 <= value < np.inf
        ]
        if problems:
            raise InputError("Spikes cannot be counted so", problems)
        self.cost, self.steps, self.scale = float(cost), int(steps), float(scale)
        self.percentile = percentile

    def __call__(self, activities: Any) -> Any:
        """The cost of a batch of activities: the sum over its samples."""
        import tensorflow as tf

        if self.percentile is None:
            spikes = self.scale * activities
        else:
            some = tf.reshape(activities[:: 1 + tf.shape(activities)[0] // MEASURED], [-1])
            count = tf.math.count_nonzero(some > 0, dtype=tf.int32)
            fastest = _fastest(some, count, self.percentile)
            mean = tf.maximum(tf.reduce_mean(fastest), SMALLEST)
            fast = mean * tf.stop_gradient(tf.reduce_min(fastest) / mean)  # all of them learn
            spikes = tf.minimum(activities / tf.maximum(fast, SMALLEST), 1.0)
        return self.cost * self.steps * tf.reduce_sum(spikes)

    def get_config(self) -> dict[str, float | None]:
        """Its arguments, as Keras wants them."""
        return {name: getattr(self, name) for name in ("cost", "steps", "scale", "percentile")}


def _fastest(values: Any, count: Any, percentile: float) -> Any:
    """Of the `count` largest of some values those from a percentile on, which is their least."""
    import tensorflow as tf

    beyond = (1 - percentile / 100) * tf.cast(tf.maximum(count - 1, 0), tf.float32)
    return tf.math.top_k(values, 1 + tf.cast(tf.round(beyond), tf.int32)).values


def fan_outs(graph: Graph) -> dict[str, float]:
    """Synapses of a neuron of each population to the chip, on average: events that its spike makes."""
    on_chip = {population.name for population in graph.populations}
    found = {}
    for population in graph.populations:
        out = [p for p in graph.out_of(population.name) if p.post in on_chip]
        found[population.name] = sum(p.transform.csr().data.size for p in out) / population.size
    return found


@checked
def event_costs(graph: Graph, weight: Weight) -> dict[str, float]:
    """Cost of a spike of each population in the loss: `weight` for 100,000 synaptic events."""
    return {name: weight * fan_out / EVENTS for name, fan_out in fan_outs(graph).items()}


@checked
def energy_costs(
    graph: Graph, weight: Weight, coefficients: str | os.PathLike[str] = "sanafe2025"
) -> dict[str, float]:
    """Cost of a spike of each population in the loss: `weight` for 10 µJ.

    A spike, a message to one core, and the synapses that it reads; what neurons take without spikes does not depend on
    training, and how many cores a spike reaches is not known yet.

    Parameters
    ----------
    graph : Graph
    weight : float
    coefficients : str or path
        As for `Deployment.energy`.
    """
    one = load_coefficients(coefficients)
    found = {}
    for population in graph.populations:
        picojoules = one.spike_pj + one.message_out_pj + one.message_in_pj
        for projection in graph.out_of(population.name):
            if isinstance(graph.nodes[projection.post], Population):
                shared = isinstance(projection.transform, Conv2D)
                per_event = one.shared_synapse_pj if shared else one.dense_synapse_pj
                picojoules += per_event * projection.transform.csr().data.size / population.size
        found[population.name] = weight * 1e-12 * picojoules / ENERGY
    return found
