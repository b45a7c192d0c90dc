"""From frames to steps: the delays that bring spikes of earlier frames."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Annotated

import numpy as np

from loihi_deploy.checked import Range, checked
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem
from loihi_deploy.ir import Graph, Projection
from loihi_deploy.ir.delays import as_delays


@checked
def with_frame_delays(graph: Graph, steps_per_frame: Annotated[int, Range(1, 10_000)] | None) -> Graph:
    """Give the projections that bring what was said of earlier frames the delays that this takes.

    A layer answers a frame some steps late, as late for all frames: what arrives at one of its neurons is as old as
    what arrives there without delay, and ``frames_back * steps_per_frame`` steps older with such a delay. A layer's own
    spikes come back to it a step later, and after the mean delay of the synapse, a / (1 - a) steps with
    a = exp(-dt / tau), in any case; the delay of recurrent projections is so much shorter.

    Parameters
    ----------
    graph : Graph
        As it was converted, with the synapses that it is to have.
    steps_per_frame : int or None
        Steps that each frame will be shown; None where nobody knows, which only graphs without such projections allow.

    Returns
    -------
    Graph
        The same one where no projection has `frames_back`.

    Raises
    ------
    InputError
        If it is not known how many steps a frame takes.
    """
    if not graph.holds_frames:
        return graph
    if steps_per_frame is None:
        raise InputError.single(
            "the chip remembers earlier frames by delays, and nobody says how many steps a frame takes",
            "steps_per_frame",
            remedy="Say so: DeployOptions(steps_per_frame=...)",
        )
    place = {node.name: k for k, node in enumerate(graph.all_nodes)}
    projections, problems = [], []
    for projection in graph.projections:
        if projection.frames_back:
            delay = projection.frames_back * steps_per_frame
            if place[projection.pre] >= place[projection.post]:
                delay -= 1 + round(_filter_delay(projection, graph.dt))
                problems += [_late(projection, steps_per_frame, -delay)] if delay < 0 else []
            projection = replace(projection, delays=as_delays(max(delay, 0)))
        projections.append(projection)
    for problem in problems:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=3)
    notes = (*graph.notes, *map(str, problems))
    return replace(graph, projections=tuple(projections), frame_steps=steps_per_frame, notes=notes)


def _late(projection: Projection, steps_per_frame: int, late: int) -> Problem:
    return Problem(
        "spikes come back to the layer later than a frame takes",
        projection.name,
        f"{steps_per_frame + late} steps",
        f"{steps_per_frame} steps",
        f"Show frames for {steps_per_frame + late} steps, or give the layer a shorter synapse: "
        f"DeployOptions(layer_synapses={{{projection.post!r}: 0.0}})",
    )


def _filter_delay(projection: Projection, dt: float) -> float:
    """Mean delay of a lowpass synapse in steps."""
    a = float(np.exp(-dt / projection.tau)) if 0 < projection.tau < np.inf else 0.0
    return a / (1 - a)
