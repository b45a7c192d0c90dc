"""What a deployment does, measured once: the figures that criteria and baselines speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.energy import estimate
from loihi_deploy.analysis.frames import has_decisions, rate_decisions
from loihi_deploy.analysis.host_link import highest
from loihi_deploy.backends import RunOptions
from loihi_deploy.data.named import evenly
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.labels import are_of_frames
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
    labels: NDArray[Any] | None,
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
    labels : array or None
        Checked: classes of samples or of frames, or values that the outputs should have; see
        `loihi_deploy.analysis.asking.Asked`.
    options : RunOptions
    deployed_with : DeployOptions

    Raises
    ------
    InputError
        If options do not fit.
    """
    figures: dict[str, float] = {"cores": mapping.n_cores, "chips": mapping.n_chips}
    counters, data = None, None
    if samples is not None:
        scores, counters = _scores(graph, program, mapping, samples, labels, options, deployed_with)
        figures |= scores
        hold = options.hold(samples.n_frames)
        figures["host_spikes"] = highest(program, mapping, samples, hold, options.flush)
        figures["overflows"] = sum(c.overflows_q + c.overflows_u for c in counters.populations.values())
        data = {
            "samples": len(samples),
            "steps": options.total_steps(samples.n_frames),
            "digest": _data_digest(samples, labels),
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
    labels: NDArray[Any] | None,
    options: RunOptions,
    deployed_with: DeployOptions,
) -> tuple[dict[str, float], Counters]:
    """Accuracy and drop, or the error of values, as far as there are labels; and the counts of the run."""
    if labels is None:
        return {}, backends.run(program, samples, options, mapping).counters
    result = backends.evaluate(program, samples, labels, options, mapping)
    if result.errors is not None:
        return {"rmse": result.errors.rmse}, result.counters
    scores = {"accuracy": result.accuracy}
    if has_decisions(graph, samples, deployed_with):
        hold, every_frame = options.hold(samples.n_frames), are_of_frames(labels)
        ideal = rate_decisions(graph, samples, deployed_with, hold, every_frame=every_frame)
        scores["drop"] = float((ideal == labels)[labels >= 0].mean()) - result.accuracy
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


def _data_digest(samples: Samples, labels: NDArray[Any] | None) -> str:
    of_labels = "" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()
    return hashlib.sha256(f"{samples.digest} {of_labels}".encode()).hexdigest()
