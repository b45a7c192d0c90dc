"""What a deployment does, measured once: the figures that criteria and baselines speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from loihi_deploy import backends
from loihi_deploy.analysis.energy import estimate
from loihi_deploy.analysis.frames import has_decisions, rate_decisions
from loihi_deploy.analysis.host_link import highest
from loihi_deploy.backends import RunOptions
from loihi_deploy.data.named import evenly
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.labels import checked_labels, class_labels
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.options import DeployOptions
from loihi_deploy.report.values import layer_values
from loihi_deploy.results import Counters

ENERGY_SAMPLES = 20
"""Samples, evenly spaced, that energy and time are estimated on."""
MILLI = 1e-3


@dataclass(frozen=True)
class Measured:
    """What a deployment does on some samples.

    Parameters
    ----------
    figures : dict of float
        By the names of `FIGURES`, those that could be measured.
    layers : dict of dict
        Of each population: 'shape', 'neurons', 'cores', 'firing_rate' in Hz, 'weight_rms_error', 'saturated_weights',
        'zeroed_weights', 'digest' of its integers; those that there are.
    network : dict
        'inputs', 'layers' and 'readouts' of the network, shapes by name: what makes it the same network.
    data : dict or None
        'samples', 'steps' and 'digest'; None where nothing was run.
    """

    figures: Mapping[str, float]
    layers: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Mapping[str, list[int]]]
    data: Mapping[str, Any] | None


def measure(
    graph: Graph,
    program: Program,
    mapping: CoreMapping,
    samples: Samples | None,
    y: Any,
    options: RunOptions,
    deployed_with: DeployOptions,
) -> Measured:
    """Run a deployment on samples and count.

    Parameters
    ----------
    graph : Graph
        The network as it was converted: its rate network is what accuracy is held against.
    program : Program
    mapping : Mapping
    samples : Samples or None
        None measures what needs no run.
    y : array or None
        Class labels, or values that the outputs should have.
    options : RunOptions
    deployed_with : DeployOptions

    Raises
    ------
    InputError
        If samples, labels or options do not fit.
    """
    figures: dict[str, float] = {"cores": mapping.n_cores, "chips": mapping.n_chips}
    counters, data = None, None
    if samples is not None:
        scores, counters = _scores(graph, program, mapping, samples, y, options, deployed_with)
        figures |= scores
        hold = options.hold(samples.n_frames)
        figures["host_spikes"] = highest(program, mapping, samples, hold, options.flush)
        figures["overflows"] = sum(c.overflows_q + c.overflows_u for c in counters.populations.values())
        data = {
            "samples": len(samples),
            "steps": options.total_steps(samples.n_frames),
            "digest": _data_digest(samples, y),
        }
        some = samples.take(evenly(len(samples), ENERGY_SAMPLES))
        cost = estimate(program, mapping, some, options)
        figures["energy_mj"] = cost.total.high / MILLI
        figures["latency_ms"] = cost.seconds.high / MILLI
    network = {
        part: {node.name: list(node.shape) for node in nodes}
        for part, nodes in (
            ("inputs", graph.inputs),
            ("layers", graph.populations),
            ("readouts", graph.readouts),
        )
    }
    return Measured(
        {name: float(value) for name, value in figures.items()},
        _layers(program, mapping, counters),
        network,
        data,
    )


def _scores(
    graph: Graph,
    program: Program,
    mapping: CoreMapping,
    samples: Samples,
    y: Any,
    options: RunOptions,
    deployed_with: DeployOptions,
) -> tuple[dict[str, float], Counters]:
    """Accuracy and drop, or the error of values, as far as there are labels; and the counts of the run."""
    if y is None or not graph.readouts:  # nothing is decided, or nothing is known of what is right
        return {}, backends.run(program, samples, options, mapping).counters
    readout = graph.readouts[0]
    classes = class_labels(y, readout)
    if classes is None:
        wanted = np.asarray(y)
        if wanted.dtype.kind not in "biuf" or wanted.size != len(samples) * readout.size:
            raise InputError.single(
                "labels are neither classes nor one value for each output",
                "y",
                f"{wanted.dtype} {wanted.shape}",
                f"integers ({len(samples)},) or values ({len(samples)}, {readout.size})",
            )
        run = backends.run(program, samples, options, mapping)
        error = run.outputs.reshape(-1) - wanted.astype(np.float64).reshape(-1)
        return {"rmse": float(np.sqrt(np.square(error).mean()))}, run.counters
    labels = checked_labels(classes, len(samples), readout)
    result = backends.evaluate(program, samples, labels, options, mapping)
    scores = {"accuracy": result.accuracy}
    if has_decisions(graph, samples, deployed_with):
        ideal = rate_decisions(graph, samples, deployed_with, options.hold(samples.n_frames))
        scores["drop"] = float((ideal == labels).mean()) - result.accuracy
    return scores, result.counters


def _layers(program: Program, mapping: CoreMapping, counters: Counters | None) -> dict[str, dict[str, Any]]:
    kept = ("shape", "neurons", "cores", "weight_rms_error", "saturated_weights", "zeroed_weights")
    layers = {}
    for layer in layer_values(program, mapping):
        name = layer["name"]
        values = {key: layer[key] for key in kept if layer.get(key) is not None}
        if counters is not None:
            values["firing_rate"] = counters.firing_rate(name, program.dt)
        if layer["place"] == "chip":
            parts = (program.nodes[name], *program.into(name))
            values["digest"] = hashlib.sha256(" ".join(part.digest for part in parts).encode()).hexdigest()
        layers[name] = values
    return layers


def _data_digest(samples: Samples, y: Any) -> str:
    labels = "" if y is None else hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()
    return hashlib.sha256(f"{samples.digest} {labels}".encode()).hexdigest()
