"""Distributions of weights before and after they became integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir import Graph
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import spike_weights

BARS = 48
"""Bars of a distribution."""


def weight_values(graph: Graph, program: Program, options: DeployOptions) -> dict[str, dict[str, Any]]:
    """What a spike adds, by layer on chip: counts of weights before and after rounding, between the same edges.

    Parameters
    ----------
    graph : Graph
        With its firing rates set.
    program : Program
    options : DeployOptions
        What it was deployed with.

    Returns
    -------
    dict of dict
        By layer: 'edges', 'before', 'after', and 'rms_error', relative to the weights' own. Layers whose weights have
        no counterpart in the graph (put in front, joined, or given in integers) are left out.
    """
    if not graph.populations:
        return {}
    chip = partition(graph, options.encoder, options.encoder_rate).chip
    populations = {population.name: population for population in chip.populations}
    values = {}
    for group in program.scale_groups:
        name = group.population
        pairs = []
        for synapses in program.into(name):
            found = [p for p in chip.projections if (p.pre, p.post) == (synapses.pre, name)]
            if len(found) == 1 and name in populations:
                before = spike_weights(found[0], populations[name], program.dt).values
                after = synapses.transform.values.astype(np.float64) * 2**synapses.shift / group.current_scale
                pairs.append((np.ravel(before), np.ravel(after)))
        if not pairs or any(before.size != after.size for before, after in pairs):
            continue
        before, after = (np.concatenate(part) for part in zip(*pairs, strict=True))
        largest = float(max(np.abs(before).max(), np.abs(after).max())) or 1.0
        edges = np.linspace(-largest, largest, BARS + 1)
        power = _rms(before / largest)
        values[name] = {
            "edges": edges.tolist(),
            "before": np.histogram(before, edges)[0].tolist(),
            "after": np.histogram(after, edges)[0].tolist(),
            "rms_error": _rms((after - before) / largest) / (power or 1.0),
        }
    return values


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
