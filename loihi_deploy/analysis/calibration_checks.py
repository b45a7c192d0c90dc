"""What firing rates do to a network, asked of the rate network on calibration data.

Are the samples what the network takes? Is it still the function of the source? Do the rates fit the chip and the
presentation?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.encoders import encoder_populations
from loihi_deploy.engines.rate_network import is_feedforward
from loihi_deploy.engines.rate_sequence import rates_of_frames
from loihi_deploy.errors import NormalizationError, Problem
from loihi_deploy.ir import Graph, Population, Samples
from loihi_deploy.options import TARGET_RATE, DeployOptions

SAMPLES = 200
"""Calibration samples that are looked at."""
SAME = 1e-3
"""Root mean square difference of outputs, relative to their own, up to which they count as the same."""
LOST_ON_HOST, LOST_ON_CHIP = 0.001, 0.01
"""Fractions of a layer's spikes that may be lost to the limit of one in a step."""
MOST_OF_A_STEP = 0.7
"""Part of a spike in each step that rates on chip are advised to reach."""
FEWEST_SPIKES = 3.0
"""Spikes of a layer's fastest neurons in a presentation below which the layer says too little."""
NOTHING_LEFT = 1 / 30
"""What a model makes of its largest input by a factor of its own, below which that is too little to be meant."""


def input_problems(rescaling: float, samples: Samples) -> Iterator[Problem]:
    """Samples that were scaled to 1 already, given to a model that scales larger ones by itself.

    Parameters
    ----------
    rescaling : float
        What the source multiplies samples by, before anything else.
    samples : Samples
    """
    largest = max(float(np.abs(values).max()) for values in samples.given.values())
    if largest <= 1 and rescaling <= NOTHING_LEFT:
        yield Problem(
            "the model makes its inputs smaller by itself, as if they were larger than these",
            "calibration",
            f"values up to {largest:.3g}, times {rescaling:.2g}",
            remedy="Give what the model was trained on, for pictures values of 0 to 255 (on the command line "
            "--pixels 0..255), here and in runs",
        )


def output_difference(source: Graph, graph: Graph, samples: Samples) -> tuple[float, float]:
    """How far the outputs of two rate networks are apart on the frames of some samples.

    Returns
    -------
    relative : float
        Root mean square difference of all readouts, relative to the source's.
    decisions : float
        Fraction of frames for which the first readout's largest value is another.
    """
    ours, theirs = (_outputs(network, samples.take(slice(SAMPLES))) for network in (graph, source))
    squared = sum(float(np.square(ours[name] - theirs[name], dtype=np.float64).sum()) for name in theirs)
    power = sum(float(np.square(values, dtype=np.float64).sum()) for values in theirs.values())
    first = source.readouts[0]
    decisions = float((first.classes(ours[first.name]) != first.classes(theirs[first.name])).mean())
    return float(np.sqrt(squared / power)) if power else float(squared > 0), decisions


def _outputs(graph: Graph, samples: Samples) -> dict[str, NDArray[Any]]:
    """Readouts of the rate network for every frame, one below the other, before their activation."""
    batches = list(rates_of_frames(graph, samples))
    return {node.name: np.concatenate([batch[node.name] for batch in batches]) for node in graph.readouts}


def function_problems(
    source: Graph, graph: Graph, samples: Samples, options: DeployOptions
) -> Iterator[Problem]:
    """What scaling changed of the source's function: nothing, unless scales were given by hand for neurons with a leak.

    Raises
    ------
    NormalizationError
        If the function changed where nobody asked for it.
    """
    if not source.readouts or not is_feedforward(source):
        return
    relative, decisions = output_difference(source, graph, samples)
    if relative <= SAME:
        return
    curved = [population.name for population in source.populations if not population.neuron.scales]
    by_hand = options.normalization == "scale_firing_rates" and bool(curved)
    problem = Problem(
        "the network no longer computes what its source does",
        f"normalization '{options.normalization}'",
        f"outputs differ by {100 * relative:.1f} %, {100 * decisions:.1f} % of decisions",
        f"{100 * SAME:g} %",
        f"Leave layers out of scale_firing_rates that are not rectified linear: {', '.join(curved)}"
        if by_hand
        else "Keep the source's own gains with DeployOptions(normalization='none')",
    )
    if not by_hand:
        raise NormalizationError("The firing rates cannot be set so", problem)
    yield problem


def rate_problems(graph: Graph, samples: Samples, options: DeployOptions, steps: int) -> Iterator[Problem]:
    """Layers whose firing rates are too low, or too high, for a presentation of so many steps."""
    if not is_feedforward(graph):
        return
    host = encoder_populations(graph, options.encoder)
    batches = list(rates_of_frames(graph, samples.take(slice(SAMPLES))))
    for population in graph.populations:
        rates = np.concatenate([batch[population.name] for batch in batches])
        yield from _layer_problems(population, rates, graph.dt, steps, population.name in host, options)


def _layer_problems(
    population: Population,
    rates: NDArray[np.float32],
    dt: float,
    steps: int,
    on_host: bool,
    options: DeployOptions,
) -> Iterator[Problem]:
    active = rates[rates > 0]
    if not active.size:
        yield Problem(
            "never fires on the calibration data",
            population.name,
            remedy="Give calibration samples that reach it",
        )
        return
    fastest = float(np.percentile(active, options.encoder_percentile if on_host else options.percentile))
    goal = min(options.encoder_rate, 1 / dt) if on_host else min(TARGET_RATE, MOST_OF_A_STEP / dt)
    leaky = population.neuron.kind == "lif" and population.neuron.relu_offset is None
    scaled = _scaled(population, goal / fastest, options)
    lost = float(np.maximum(active - 1 / dt, 0).sum() / active.sum())
    # rates that were chosen for what the chip makes of them
    measured = options.normalization in ("thresholds", "search") or options.steps is not None
    meant = population.saturating if on_host else 0.0
    if lost - meant > (LOST_ON_HOST if on_host else LOST_ON_CHIP) and (on_host or not measured):
        yield Problem(
            f"would have to fire more than once in a step: {100 * lost:.2g} % of its spikes are lost",
            population.name,
            f"{fastest:.3g} Hz",
            f"{1 / dt:g} Hz",
            f"Use a step, dt, of {1 / float(active.max()):.1g} s" if leaky else scaled,
        )
    spikes = fastest * steps * dt
    if spikes < FEWEST_SPIKES:
        yield Problem(
            f"its fastest neurons spike {spikes:.2g} times in {steps} steps",
            population.name,
            f"{fastest:.3g} Hz",
            f"{FEWEST_SPIKES / (steps * dt):.3g} Hz or more",
            f"Present samples for {int(np.ceil(FEWEST_SPIKES / (fastest * dt)))} steps" if leaky else scaled,
        )


def _scaled(population: Population, factor: float, options: DeployOptions) -> str:
    """The advice to scale a layer's rates once more by a factor, on top of what was asked for."""
    scales, name = population.neuron.scales, population.name
    if scales and options.normalization not in ("none", "scale_firing_rates"):
        return f"Use a target_rate of {factor * options.target_rate:.3g}"
    scale: Any = 1.0
    if options.normalization == "scale_firing_rates":
        scale = options.scale_firing_rates
        scale = scale.get(name, 1.0) if isinstance(scale, Mapping) else scale
    by_hand = (
        "Use DeployOptions(normalization='scale_firing_rates', "
        f"scale_firing_rates={{{name!r}: {factor * scale:.3g}, ...}})"
    )
    return f"{by_hand}, or normalization='percentile'" if scales else by_hand
