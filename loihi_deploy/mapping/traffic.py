"""Axons and spikes from core to core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import Bundle
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice


def axon_slots(axon: int, limits: CoreLimits) -> int:
    """Output slots that an axon takes where its target lies on the same chip."""
    return {
        DISCRETE: limits.slots_per_discrete_axon,
        POP16: limits.slots_per_pop16_axon,
        POP32: limits.slots_per_pop32_axon,
    }[axon]


@dataclass(frozen=True)
class Traffic:
    """Axons from one place to a core.

    Parameters
    ----------
    population : str
        The sender.
    pre : int or str
        Core number in the plan, or the name of a spike source.
    post : int
        Core number in the plan.
    axons : int
        Axons in use.
    slots : int
        Output slots that they take on one chip.
    neurons : int
        Neurons of the sender that use them: each of their spikes is one message.
    """

    population: str
    pre: int | str
    post: int
    axons: int
    slots: int
    neurons: int


def core_of_neurons(
    program: Program, cores: Sequence[Sequence[Slice]], shapes: Mapping[str, tuple[int, int, int]]
) -> dict[str, NDArray[np.int64]]:
    """The core that holds each neuron of each population, -1 for none."""
    place = {p.name: np.full(p.size, -1) for p in program.populations}
    for number, slices in enumerate(cores):
        for piece in slices:
            place[piece.population][piece.neurons(shapes[piece.population])] = number
    return place


def traffic(
    program: Program,
    made: Sequence[Sequence[Bundle]],
    place: Mapping[str, NDArray[np.int64]],
    limits: CoreLimits,
) -> list[Traffic]:
    """Axons between cores, and from spike sources to cores.

    Parameters
    ----------
    made : sequence of sequences of Bundle
        The bundles into each core.
    place : dict of arrays
        From `core_of_neurons`.
    """
    flows: dict[tuple[str, int | str, int], Counter[str]] = {}
    for post, core_bundles in enumerate(made):
        for bundle in core_bundles:
            pre = program.synapses[bundle.projection].pre
            slots = axon_slots(bundle.axon, limits)
            counts: list[tuple[int | str, int, int]]
            if pre not in place:
                counts = [(pre, bundle.n_axons, bundle.neurons.size)]
            else:
                holder = place[pre][bundle.neurons]
                pairs = holder * bundle.n_axons + np.arange(bundle.n_axons)[:, None]
                used = np.unique(pairs[holder >= 0]) // bundle.n_axons
                holders, axons = np.unique(used, return_counts=True)
                neurons = np.bincount(holder[holder >= 0])
                counts = [
                    (int(core), int(n), int(neurons[core])) for core, n in zip(holders, axons, strict=True)
                ]
            for source, n_axons, n_neurons in counts:
                flow = flows.setdefault((pre, source, post), Counter())
                flow.update(axons=n_axons, slots=n_axons * slots, neurons=n_neurons)
    return [Traffic(*key, flow["axons"], flow["slots"], flow["neurons"]) for key, flow in flows.items()]


def add_output_usage(
    usage: Sequence[dict[str, int]], flows: Iterable[Traffic], chip_of: Sequence[int], limits: CoreLimits
) -> None:
    """Fill in output axon slots and destinations of each core.

    Parameters
    ----------
    usage : sequence of dicts
        By core; changed.
    flows : iterable of Traffic
    chip_of : sequence of int
        Chip of each core.
    """
    reached: dict[int, set[int]] = {}
    for flow in flows:
        if isinstance(flow.pre, int):
            extra = limits.extra_slots_interchip if chip_of[flow.pre] != chip_of[flow.post] else 0
            usage[flow.pre]["out_axon_slots"] += flow.slots + extra * flow.axons
            reached.setdefault(flow.pre, set()).add(flow.post)
    for core, targets in reached.items():
        usage[core]["destinations"] = len(targets)
