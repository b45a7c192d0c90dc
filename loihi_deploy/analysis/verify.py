"""Where accuracy goes: a network after each stage on its way to the chip, beside the rate network it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.dequantize import rate_graph
from loihi_deploy.analysis.frames import reading
from loihi_deploy.analysis.latency import LayerLatency, latencies, latency_sentence, transport_delays
from loihi_deploy.analysis.remedies import LOSS, Deployed, Trial, advice, overflow_advice, trials
from loihi_deploy.analysis.stage_runs import INTEGER, QUANTIZED, RATE, SPIKING, Rates, StageRuns, stage_values
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.losses import RESCALE, input_losses
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.report import stage_table
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from loihi_deploy.tables import Page, Shown, Table, percent, warned

logger = logging.getLogger(__name__)

SOURCE = "source, floats"
REFERENCE = "nengo-loihi's emulator"

SATURATED = 0.9
"""A neuron is saturated where it fires in this part of the steps."""


@dataclass(frozen=True)
class LayerAgreement:
    """Firing rates of one layer at one stage, beside those of the rate network.

    Parameters
    ----------
    name : str
    correlation : float
        Pearson's, over neurons and samples; 1 where both are constant and equal.
    relative_error : float
        Root mean square difference over the root mean square of the rate network's rates.
    silent : float
        Fraction of neurons that never fire, of those that fire in the rate network.
    saturated : float
        Fraction of neurons and samples that fire in nine steps of ten, or more often.
    """

    name: str
    correlation: float
    relative_error: float
    silent: float
    saturated: float


@dataclass(frozen=True)
class Stage:
    """The network after one stage.

    Parameters
    ----------
    name : str
    accuracy : float or None
        Fraction of samples whose class is right; None without labels.
    agreement : float
        Fraction of samples for which it decides as the source does.
    n_samples : int
    layers : tuple of LayerAgreement
    """

    name: str
    accuracy: float | None
    agreement: float
    n_samples: int
    layers: tuple[LayerAgreement, ...]


@dataclass(frozen=True)
class Verification(Shown, OneLine):
    """The outcome of `Deployment.verify`.

    Parameters
    ----------
    stages : tuple of Stage
        The source first. The chip's path has no `SPIKING`, which shows what spikes alone cost.
    saturated_weights, zeroed_weights : dict of float
        Fractions by population.
    overflows : dict of int
        Accumulators that wrapped around, by population, on the emulator.
    latency : tuple of LayerLatency
        When each layer on chip, and the readout, hears of the input.
    remedies : tuple of str
        What is lost of the input, with what helps; the stage that loses most with what helped when it was tried, and
        the layer whose rates are furthest off; the latency. Nothing of the stage and the layer where the chip decides
        as the source does, or the samples are outside the range that was calibrated.
    """

    stages: tuple[Stage, ...]
    saturated_weights: Mapping[str, float]
    zeroed_weights: Mapping[str, float]
    overflows: Mapping[str, int]
    latency: tuple[LayerLatency, ...]
    remedies: tuple[str, ...]

    def page(self) -> Page:
        """A row for each stage, then one for each layer of each stage, and what to try."""
        layers = [
            (
                layer.name,
                stage.name,
                f"{layer.correlation:.4f}",
                percent(layer.relative_error),
                percent(layer.silent),
                percent(layer.saturated),
            )
            for name in dict.fromkeys(layer.name for stage in self.stages for layer in stage.layers)
            for stage in self.stages
            if stage.name != RATE
            for layer in stage.layers
            if layer.name == name
        ]
        wrapped = [
            f"{name}: {count:,} accumulators wrapped around"
            for name, count in self.overflows.items()
            if count
        ]
        columns = ("layer", "stage", "correlation", "relative error", "silent", "saturated")
        return Page(
            (
                stage_table(asdict(stage) for stage in self.stages),
                Table("Firing rates beside the rate network's", columns, tuple(layers), names=2),
                *warned(wrapped),
                *self.remedies,
            )
        )


def layer_agreements(expected: Rates, found: Rates, dt: float) -> tuple[LayerAgreement, ...]:
    """Compare firing rates layer by layer; `dt` in seconds says what is saturated."""
    layers = []
    for name, rates in found.items():
        ideal = expected[name]
        power = float(np.sqrt(np.mean(np.square(ideal, dtype=np.float64))))
        error = float(np.sqrt(np.mean(np.square(rates - ideal, dtype=np.float64))))
        fires = ideal.max(axis=0) > 0
        silent = (rates.max(axis=0) == 0) & fires
        layers.append(
            LayerAgreement(
                name,
                _correlation(ideal, rates),
                error / power if power else (0.0 if error == 0 else np.inf),
                float(silent.sum() / max(1, fires.sum())),
                float(np.mean(rates * dt >= SATURATED)),
            )
        )
    return tuple(layers)


def _correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else float(np.array_equal(x, y))


CHIPS_PATH = (SOURCE, RATE, QUANTIZED, INTEGER)
"""Stages that lead to the chip; the spiking network in floats is beside the way."""
TRIAL_SAMPLES = 100
"""Samples that changes are tried on."""


def worst_stage(stages: Sequence[Stage]) -> tuple[str, float]:
    """The stage on the chip's path that loses most decisions, and what fraction of them."""
    path = [stage for stage in stages if stage.name in CHIPS_PATH]
    loss, name = max(
        ((a.agreement - b.agreement, b.name) for a, b in pairwise(path)), key=lambda pair: pair[0]
    )
    return name, loss


def worst_layer(stages: Sequence[Stage], zeroed: Mapping[str, float]) -> str:
    """What is wrong with the layer of the integer program whose rates are furthest off."""
    integer = next(stage for stage in stages if stage.name == INTEGER)
    layer = max(integer.layers, key=lambda each: each.relative_error)
    text = f"{layer.name}: relative error of firing rates {100 * layer.relative_error:.0f} %"
    if layer.silent > 0.1:
        text += (
            f", {100 * layer.silent:.0f} % of neurons silent: its rates are too low, or the time too short"
        )
    elif layer.saturated > 0.01:
        text += f", {100 * layer.saturated:.1f} % of neurons saturated: its rates are too high"
    elif zeroed.get(layer.name, 0) > 0.5:
        text += f", {100 * zeroed[layer.name]:.0f} % of its weights are 0: a few large ones take all the bits"
    return text


def remedies(
    stages: Sequence[Stage],
    zeroed: Mapping[str, float],
    reference_differs: int,
    try_changes: Callable[[], Sequence[Trial]] | None,
) -> Iterator[str]:
    """What to do about decisions that the chip loses.

    Parameters
    ----------
    stages : sequence of Stage
    zeroed : dict of float
        Fraction of weights that became 0, by population.
    reference_differs : int
        Samples for which nengo-loihi's emulator decides otherwise than ours.
    try_changes : callable
        Gives the trials; called where decisions are lost. None where trials would say nothing.
    """
    agreement = next(stage.agreement for stage in stages if stage.name == INTEGER)
    if 1 - agreement > LOSS and try_changes is not None:
        logger.info("other settings")
        yield advice(*worst_stage(stages), agreement, try_changes())
        yield worst_layer(stages, zeroed)
    if reference_differs:
        yield f"{REFERENCE} decides otherwise for {reference_differs} samples, which it must not: report it"


def verify_stages(
    graph: Graph,
    deployed: Deployed,
    mapping: CoreMapping,
    labels: NDArray[np.int64] | None,
    reference_samples: int,
    try_changes: bool = True,
    client: Any = None,
) -> Verification:
    """Run the network as it is after each stage; see `Deployment.verify`.

    Parameters
    ----------
    graph : Graph
        The normalized float network.
    deployed : Deployed
        The network as it was converted, its program, the samples and the rest.
    mapping : Mapping
        Its cores, for nengo-loihi's emulator.
    labels : (n,) or (n, n_frames) int array, or None
        Of labels of frames the last one of each sample counts: it is what is decided in the end.
    reference_samples : int
        Samples for nengo-loihi's emulator; 0 leaves the stage out.
    try_changes : bool
        Whether other settings are tried where decisions are lost.
    client : distributed.Client, optional
        Its workers share the samples, and the settings that are tried.
    """
    program, samples, steps = deployed.program, deployed.samples, deployed.steps
    decisions, how = deployed.decisions, reading(program, deployed.options, samples)
    chosen = deployed.options
    partitioned = partition(graph, chosen.encoder, chosen.encoder_rate)
    uncorrected = quantize(partitioned, deployed.board, chosen.weight_percentile, None, chosen.weight_bits)
    runs = StageRuns(graph, rate_graph(uncorrected, partitioned), program, steps, how, chosen)
    found = stage_values(runs, samples, client)
    expected, n = found.rates[RATE], len(samples)
    if labels is not None and labels.ndim == 2:
        labels = labels[np.arange(n), (labels >= 0).sum(axis=1) - 1]
    readout = graph.readouts[0]

    def decided(outputs: NDArray[Any], activated: bool) -> NDArray[np.int64]:
        return readout.classes(outputs.reshape(len(outputs), -1), activated)

    def stage(name: str, found: NDArray[np.int64], rates: Rates) -> Stage:
        m = len(found)
        known = {k: values for k, values in rates.items() if k in expected}
        return Stage(
            name,
            None if labels is None else float((found == labels[:m]).mean()),
            float((found == decisions[:m]).mean()),
            m,
            layer_agreements({k: x[:m] for k, x in expected.items()}, known, graph.dt),
        )

    decided_by = {name: decided(found.outputs[name], name in (SPIKING, INTEGER)) for name in found.outputs}
    ours = decided_by[INTEGER]
    stages = [stage(SOURCE, decisions, {})]
    stages += [
        stage(name, decided_by[name], found.rates[name]) for name in (RATE, SPIKING, QUANTIZED, INTEGER)
    ]
    left_out = reference_samples > 0 and bool(program.delayed)
    theirs = ours[: 0 if left_out else min(n, reference_samples)]
    if len(theirs):
        logger.info(REFERENCE)
        options = how.of(RunOptions(steps, progress=False))
        theirs, measured = _reference(program, samples.take(slice(len(theirs))), options, mapping)
        stages.append(stage(REFERENCE, theirs, measured))
    zeroed = {g.population: g.zeroed_weights / max(1, g.n_weights) for g in program.scale_groups}
    overflows = {
        name: counts.overflows_q + counts.overflows_u for name, counts in found.counters.populations.items()
    }
    latency = latencies(program)
    fewer = replace(deployed, samples=samples.take(slice(TRIAL_SAMPLES)), decisions=decisions[:TRIAL_SAMPLES])
    lost = tuple(input_losses(program, found.ranges, samples.total_frames, found.counters))
    if any(problem.remedy == RESCALE for problem in lost):
        try_changes = False  # trials are calibrated on these samples, which the deployment was not
    differs = int((theirs != ours[: len(theirs)]).sum())
    return Verification(
        tuple(stages),
        {g.population: g.saturated_weights / max(1, g.n_weights) for g in program.scale_groups},
        zeroed,
        overflows,
        latency,
        (
            *map(str, lost),
            *(["nengo-loihi holds no spikes back: its emulator is left out"] if left_out else []),
            *remedies(
                stages, zeroed, differs, (lambda: tuple(trials(fewer, client))) if try_changes else None
            ),
            *overflow_advice(overflows),
            latency_sentence(program, steps),
        ),
    )


def _reference(
    program: Program, samples: Samples, options: RunOptions, mapping: CoreMapping
) -> tuple[NDArray[np.int64], Rates]:
    """Decisions, and firing rates in the readout window, of nengo-loihi's emulator."""
    populations = [p.name for p in program.populations]
    on_theirs = replace(options, backend="nengo_loihi", record=populations)
    result = backends.run(program, samples, on_theirs, mapping)
    hold, steps = options.hold(samples.n_frames), options.steps or 0
    width = window_steps(steps, options.readout_window, hold, program.readout.first_frame)
    delays = transport_delays(program) if options.flush else {}
    ends = {p: steps + delays.get(p, 0) for p in populations}
    rates = {
        p: result.recorded[p]["spikes"][:, ends[p] - width : ends[p]].mean(axis=1) / program.dt
        for p in populations
    }
    outputs = result.outputs.reshape(len(samples), -1)
    return program.readout.readouts[0].classes(outputs, activated=True), rates
