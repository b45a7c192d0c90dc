"""What a report says of a deployment on samples, as plain values: measured here, shown by `loihi_deploy.report`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.energy import estimate
from loihi_deploy.analysis.frames import has_decisions, rate_decisions, reading
from loihi_deploy.analysis.latency import latency_values
from loihi_deploy.analysis.remedies import Deployed
from loihi_deploy.analysis.verify import SATURATED, verify_stages
from loihi_deploy.analysis.weight_values import weight_values
from loihi_deploy.backends import RunOptions
from loihi_deploy.data.named import evenly
from loihi_deploy.errors import LoihiDeployWarning
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.labels import are_of_frames
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.options import DeployOptions
from loihi_deploy.report.values import counters_values, encoder_values, summary
from loihi_deploy.results import Evaluation, RunResult

REPORT_VERSION = 1
"""Of the values; raised when a reader of older ones could misread the newer."""
STAGE_SAMPLES = 20
"""Samples, evenly spaced, that the stages are compared on."""
RATE_SAMPLES = 50
"""Samples that firing rates are measured on."""
ENERGY_SAMPLES = 20
"""Samples that energy and time are estimated on."""
RASTER_NEURONS = 150
"""Neurons of a layer whose spikes are shown."""
OUTPUT_STEPS = 25
"""Presentation times for which the outputs of a sample are given."""
MOST_CLASSES = 50
"""Classes up to which a confusion matrix is given."""
BINS = 24
"""Bars of a distribution of firing rates."""


@dataclass(frozen=True)
class Reported:
    """The parts of a deployment that a report is about.

    Parameters
    ----------
    graph, source : Graph
        With its firing rates set, and as it was converted.
    program : Program
    mapping : Mapping
    options : DeployOptions
    """

    graph: Graph
    source: Graph
    program: Program
    mapping: CoreMapping
    options: DeployOptions

    def run_options(self, steps: int, samples: Samples) -> RunOptions:
        """How samples are presented."""
        return reading(self.program, self.options, samples).of(RunOptions(steps, progress=False))


def measured_values(
    parts: Reported, samples: Samples, labels: NDArray[np.int64] | None, steps: int
) -> dict[str, Any]:
    """Everything that needs samples, by section; accuracy and what goes with it only with labels.

    What the run lost is among the 'warnings', and warned of.
    """
    values: dict[str, Any] = {}
    options = parts.run_options(steps, samples)
    result: RunResult | Evaluation
    if labels is None:
        result = backends.run(parts.program, samples, options, parts.mapping)
    else:
        values["accuracy"], result = accuracy_values(parts, samples, labels, steps)
        if parts.graph.readouts[0].n_classes <= MOST_CLASSES:
            values["accuracy"]["confusion"] = confusion(parts, samples, labels, steps).tolist()
    counters = result.counters
    values["warnings"] = list(map(str, result.warnings))
    for problem in result.warnings:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=4)
    n_steps = options.hold(samples.n_frames) * samples.n_frames
    values["data"] = {
        "samples": len(samples),
        "frames": samples.n_frames,
        "steps": n_steps,
        "labelled": labels is not None,
    }
    values["activity"] = counters_values(counters, parts.program.dt)
    values["encoder"] = encoder_values(parts.program, counters)
    if has_decisions(parts.source, samples, parts.options):
        values["stages"] = stage_values(parts, samples, labels, n_steps)
    values["rates"] = rate_values(parts, samples, n_steps)
    values["sample"] = sample_values(parts, samples, labels, n_steps)
    some = samples.take(evenly(len(samples), ENERGY_SAMPLES))
    energy = estimate(parts.program, parts.mapping, some, parts.run_options(n_steps, some))
    values["energy"] = energy.values()
    return values


def accuracy_values(
    parts: Reported, samples: Samples, labels: NDArray[np.int64], steps: int
) -> tuple[dict[str, Any], Evaluation]:
    """Accuracy, and the evaluation that it is of.

    Returns
    -------
    values : dict
        Accuracy at the end, after each step or of sequences after each frame, and of the rate network. Labels of frames
        are counted frame by frame.
    result : Evaluation
    """
    of_frames = are_of_frames(labels)
    in_frames = of_frames or samples.n_frames > 1
    options = replace(parts.run_options(steps, samples), by_frame=in_frames)
    result = backends.evaluate(parts.program, samples, labels, options, parts.mapping, by_step=not in_frames)
    values: dict[str, Any] = {
        "value": result.accuracy,
        "n_correct": result.n_correct,
        "n_total": result.n_total,
        "counted": "frames" if of_frames else "samples",
    }
    if in_frames:
        values["by_frame"] = result.accuracy_by_frame.tolist()
    else:
        values["by_step"] = result.accuracy_by_step.tolist()
    if has_decisions(parts.source, samples, parts.options):
        hold = options.hold(samples.n_frames)
        ideal = rate_decisions(parts.source, samples, parts.options, hold, every_frame=of_frames)
        values["rate_network"] = float((ideal == labels)[labels >= 0].mean())
    return values, result


def confusion(parts: Reported, samples: Samples, labels: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Samples, or frames that have labels, by class and decision."""
    readout, there = parts.graph.readouts[0], labels >= 0
    options = replace(parts.run_options(steps, samples), by_frame=labels.ndim == 2)
    run = backends.run(parts.program, samples, options, parts.mapping)
    outputs = run.by_frame[readout.name] if options.by_frame else run.outputs
    decided = readout.classes(outputs.reshape(*labels.shape, -1), activated=True)
    counts = np.zeros((readout.n_classes, readout.n_classes), np.int64)
    np.add.at(counts, (labels[there], decided[there]), 1)
    return counts


def stage_values(
    parts: Reported, samples: Samples, labels: NDArray[np.int64] | None, steps: int
) -> dict[str, Any]:
    """What `Deployment.verify` finds, on fewer samples and without trying other settings."""
    which = evenly(len(samples), STAGE_SAMPLES)
    board = parts.mapping.board
    some = samples.take(which)
    deployed = Deployed.of(parts.graph, parts.source, parts.program, parts.options, board, some, steps)
    found = verify_stages(
        parts.graph, deployed, parts.mapping, None if labels is None else labels[which], 0, try_changes=False
    )
    stages = [
        {**asdict(stage), "layers": [_finite(asdict(layer)) for layer in stage.layers]}
        for stage in found.stages
    ]
    return {"samples": len(which), "stages": stages, "advice": list(found.remedies)}


def rate_values(parts: Reported, samples: Samples, steps: int) -> dict[str, Any]:
    """Distribution of firing rates of each layer: of its neurons' means over samples, in Hz."""
    some = samples.take(evenly(len(samples), RATE_SAMPLES))
    rates = backends.firing_rates(parts.program, some, steps, 1.0)
    values = {}
    for name, found in rates.items():
        means = found.mean(axis=0, dtype=np.float64)
        counts, edges = np.histogram(means, BINS, (0.0, max(float(means.max(initial=0.0)), 1.0)))
        values[name] = {
            "mean": float(means.mean()),
            "highest": float(found.max(initial=0.0)),
            "neurons": means.size,
            "silent": int((found.max(axis=0, initial=0.0) == 0).sum()),
            "saturated": float(np.mean(found * parts.program.dt >= SATURATED)),
            "edges": edges.tolist(),
            "counts": counts.tolist(),
        }
    return {"samples": len(some), "layers": values}


def sample_values(
    parts: Reported, samples: Samples, labels: NDArray[np.int64] | None, steps: int, index: int = 0
) -> dict[str, Any]:
    """One sample: its input, spikes of each layer, and outputs for some presentation times."""
    program, one = parts.program, samples.take(slice(index, index + 1))
    if one.lengths is not None:
        one, steps = _without_padding(one, steps)
    everyone = {name: ["events"] for name in program.nodes}
    options = replace(parts.run_options(steps, one), record=everyone)
    result = backends.run(program, one, options, parts.mapping)
    shapes = {node.name: node.shape for node in program.encoder.inputs}
    values: dict[str, Any] = {
        "index": index,
        "label": None if labels is None or labels.ndim == 2 else int(labels[index]),
        "steps": steps,
        "inputs": {
            name: {"shape": list(shapes[name]), "frames": array[0].astype(np.float64).tolist()}
            for name, array in one.arrays.items()
        },
        "raster": {
            name: _raster(result.recorded[name]["events"], node.size) for name, node in program.nodes.items()
        },
    }
    if parts.graph.readouts:
        readout = parts.graph.readouts[0]
        outputs = result.outputs.reshape(1, -1)
        values["decision"] = (
            int(readout.classes(outputs, activated=True)[0]) if readout.n_classes > 1 else None
        )
        values["outputs"] = [float(value) for value in outputs[0]]
        shorter = list(_shorter(one, steps, parts.graph.first_frame))
        values["output_steps"] = [k for k, _ in shorter]
        values["outputs_by_step"] = [
            backends.run(program, part, parts.run_options(k, part), parts.mapping).outputs.ravel().tolist()
            for k, part in shorter
        ]
    return values


def _without_padding(one: Samples, steps: int) -> tuple[Samples, int]:
    """A sample of fewer frames than others, and the steps of its presentation."""
    assert one.lengths is not None, "sequences of different length"
    length = int(one.lengths[0])
    return one.take_frames(length), steps // one.n_frames * length


def _shorter(samples: Samples, steps: int, first_frame: int = 0) -> Iterator[tuple[int, Samples]]:
    """Up to `OUTPUT_STEPS` shorter presentations, the whole one last: steps, and for sequences fewer frames."""
    unit = steps // samples.n_frames if samples.n_frames > 1 else 1
    n, fewest = steps // unit, first_frame + 1
    for k in sorted({max(fewest, round(k * n / OUTPUT_STEPS)) for k in range(1, OUTPUT_STEPS + 1)}):
        yield k * unit, samples if samples.n_frames == 1 else samples.take_frames(k)


def _raster(events: NDArray[np.int64], size: int) -> dict[str, Any]:
    """Events of evenly spaced neurons of a layer: steps, and places among those shown."""
    shown = evenly(size, RASTER_NEURONS)
    place = np.full(size, -1, np.int64)
    place[shown] = np.arange(len(shown))
    kept = events[place[events[:, 2]] >= 0]
    return {
        "neurons": size,
        "shown": len(shown),
        "spikes": len(events),
        "steps": kept[:, 1].tolist(),
        "places": place[kept[:, 2]].tolist(),
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """None in place of what is no finite number, which JSON has no word for."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }


def report_values(
    parts: Reported,
    provenance: Mapping[str, str | None],
    command: str,
    samples: Samples | None = None,
    labels: NDArray[np.int64] | None = None,
    steps: int = 0,
) -> dict[str, Any]:
    """Every figure of a report; docs/report.schema.json says what is what.

    Parameters
    ----------
    parts : Reported
    provenance : dict
        Versions, and the digest of the calibration data.
    command : str
        What makes the report again.
    samples : Samples, optional
        Sections that need samples are there with them only.
    labels : (n,) int array, optional
    steps : int
    """
    program, mapping = parts.program, parts.mapping
    wires: list[tuple[str, str]] = [(p.pre, p.post) for p in program.encoder.projections]
    wires += [(synapses.pre, synapses.post) for synapses in program.synapses]
    wires += [(p.pre, p.post) for p in program.readout.projections]
    values = {
        "report_version": REPORT_VERSION,
        **summary(program, mapping),
        "command": command,
        "digest": program.digest,
        "provenance": dict(provenance),
        "options": {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in parts.options.as_dict().items()
        },
        "n_board_chips": mapping.board.n_chips,
        "inputs": {node.name: list(node.shape) for node in program.encoder.inputs},
        "readouts": {node.name: list(node.shape) for node in program.readout.readouts},
        "edges": [list(wire) for wire in wires],
        "mapping": mapping.values(),
        "weights": weight_values(parts.graph, program, parts.options),
        "latency": latency_values(program),
    }
    if samples is None:
        return values
    measured = measured_values(parts, samples, labels, steps)
    return {**values, **measured, "warnings": [*values["warnings"], *measured["warnings"]]}
