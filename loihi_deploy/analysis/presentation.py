"""Everything that a presentation time decides, chosen on calibration data: `DeployOptions(steps=...)`.

Short synapses keep latency low, high rates say much in few steps, voltages at the start mend what is lost before the
first spikes (see `loihi_deploy.stages.charge`). In a long presentation lower rates say as much, and a neuron that is
reset loses less of its input. How many neurons of the encoder spike in each step, target rates and readout windows are
tried, each from value to value while it brings the outputs closer to the source's. Accuracy on some hundred samples is
too coarse for that: two options that differ by a decision or two are the same by it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.certainty import expected_losses, odds
from loihi_deploy.analysis.latency import latencies, latency_sentence
from loihi_deploy.analysis.lowering import lower
from loihi_deploy.backends import RunOptions
from loihi_deploy.chip.hardware import Board
from loihi_deploy.encoders import encoder_populations
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions

logger = logging.getLogger(__name__)

RATES = (0.35, 0.5, 0.7, 1.0, 1.5, 2.0)
"""Target rates in spikes per step that are tried: fast neurons say more in few steps."""
FIRST_RATE = 1.0
"""The one that is tried first."""
ENCODER_PERCENTILES = (99.5, 99.9, 100.0)
"""Percentiles of the encoder's rates that are tried: where its fastest neurons spike in each step, the others, which a
layer mostly consists of, spike some times rather than once."""
FIRST_PERCENTILE = 99.9
"""The one that is tried first."""
CORRECTION_STEPS = 50
"""Steps of the bias correction, chosen by experiment: fewer measure rates too coarsely at 10 steps, too."""
WINDOWS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Readout windows that are tried, as parts of the presentation."""
LADDER = (8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200)
"""Presentation times that 'auto' tries, from the shortest on."""
ROUNDING = 1e-9
"""Differences of fractions below this are none."""
ANY = 1
"""Presentation time of programs that are tried: they are the same for every one."""
SAMPLES = 500
"""Calibration samples that are judged on."""


@dataclass(frozen=True)
class Chosen:
    """Options for a presentation time, and what is lost with them on calibration data.

    Parameters
    ----------
    options : DeployOptions
    drop : float
        How far accuracy is below the source's, counted or expected, whichever is more (see `certainty`), or agreement
        with it below 1 without labels; where the readout has one value, the root mean square error relative to the
        source's outputs.
    """

    options: DeployOptions
    drop: float


def for_presentation(
    converted: Graph,
    calibration: Samples | None,
    labels: Any,
    options: DeployOptions,
    board: Board,
    given: Set[str] = frozenset(),
) -> DeployOptions:
    """Choose what ``options.steps`` decides.

    Parameters
    ----------
    converted : Graph
        With the synapses that it is to have.
    calibration : Samples or None
        Static ones.
    labels : (n,) int array or None
        Of the calibration samples, if they are known.
    options : DeployOptions
        `steps` a number, or 'auto' for the shortest time that loses at most `max_drop`.
    board : Board
    given : set of str
        Names of options that stay what they are.

    Raises
    ------
    InputError
        If there are no samples, they have frames, or labels do not fit; if the time is too short for the depth of the
        network, or no time is long enough.
    """
    if calibration is None:
        raise InputError.single(
            "nothing to choose with",
            "calibration",
            remedy="Give some hundred samples as calibration=..., or leave steps out",
        )
    if not converted.readouts:
        raise InputError.single("there is no readout to choose with", "steps", remedy="Leave steps out")
    if calibration.n_frames > 1:
        raise InputError.single(
            "a presentation time is for samples that stand still",
            "steps",
            options.steps,
            remedy="Leave steps out, and present sequences with steps_per_frame",
        )
    classes = None if labels is None else checked_labels(labels, len(calibration), converted.readouts[0])
    judge = _Judge(
        converted, calibration.take(slice(SAMPLES)), None if classes is None else classes[:SAMPLES]
    )

    @cache
    def program(candidate: DeployOptions) -> Program:
        return _quietly(converted, calibration, candidate, board)

    tried = _tried(options, converted, given)
    if options.steps != "auto":
        return _chosen(program, options, tried, judge, given).options
    drops = {}
    hops = _hops(program(replace(options, steps=ANY)))
    for steps in LADDER:
        if steps <= hops:
            continue
        chosen = _chosen(program, replace(options, steps=steps), tried, judge, given)
        drops[steps] = chosen.drop
        if chosen.drop <= options.max_drop + ROUNDING:
            return chosen.options
    least = min(drops, key=lambda steps: drops[steps])
    lost = "decided otherwise (there are no labels)" if judge.compares_decisions else "lost"
    raise InputError.single(
        "no presentation time is long enough",
        f"steps='auto', max_drop={options.max_drop:g}",
        f"{100 * drops[least]:.2f} % {lost} at {least} steps",
        remedy=f"Allow a drop of {np.ceil(1e4 * drops[least]) / 1e4:g}",
    )


def _hops(program: Program) -> int:
    return max(layer.hops for layer in latencies(program))


def _quietly(converted: Graph, calibration: Samples, options: DeployOptions, board: Board) -> Program:
    """A program for a trial: what it warns of, the one that is chosen warns of again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        return lower(converted, calibration, options, board).program


def _chosen(
    program: Callable[[DeployOptions], Program],
    options: DeployOptions,
    tried: tuple[tuple[float, ...], tuple[float, ...]],
    judge: _Judge,
    given: Set[str],
) -> Chosen:
    """The best of the target rates and the encoder's percentiles that are to be tried, and of the windows."""
    windows = (options.readout_window,) if "readout_window" in given else WINDOWS
    rates, percentiles = tried
    best = options
    if len(rates) > 1:
        best = replace(best, target_rate=rates[RATES.index(FIRST_RATE)])
    if len(percentiles) > 1:
        best = replace(best, encoder_percentile=FIRST_PERCENTILE)
    if "bias_correction_steps" not in given:
        best = replace(best, bias_correction_steps=CORRECTION_STEPS)

    @cache
    def judged(candidate: DeployOptions) -> _Judged:
        made = program(replace(candidate, steps=ANY))
        _check_depth(made, options)
        return judge(made, candidate, windows)

    def climbed(start: DeployOptions, name: str, values: Sequence[float]) -> DeployOptions:
        """From value to value of an option, up or else down, while the next one comes closer to the source."""
        best = start
        for ordered in (values, values[::-1]):
            for value in ordered[ordered.index(getattr(start, name)) + 1 :]:
                changed: dict[str, Any] = {name: value}
                candidate = replace(best, **changed)
                if judged(candidate).distance >= judged(best).distance:
                    break
                best = candidate
            if best != start:
                break
        return best

    best = climbed(best, "encoder_percentile", percentiles)
    best = climbed(best, "target_rate", rates)
    best = climbed(best, "encoder_percentile", percentiles)
    found = judged(best)
    logger.info("%s steps: %.2f %% lost", options.steps, 100 * found.drop)
    return Chosen(replace(best, readout_window=found.window), found.drop)


def _check_depth(program: Program, options: DeployOptions) -> None:
    """Refuse a presentation that ends before the readout hears of the input."""
    steps, hops = int(options.steps or 0), _hops(program)
    if steps <= hops:
        raise InputError(
            "The presentation is too short for the depth of the network",
            Problem(
                latency_sentence(program, steps),
                "steps",
                options.steps,
                f"{hops + 1} or more",
                f"Present samples for {hops + 1} steps or more",
            ),
        )


def _tried(
    options: DeployOptions, graph: Graph, given: Set[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Target rates, and percentiles of the encoder's rates."""
    rates: tuple[float, ...] = (options.target_rate,)
    percentiles: tuple[float, ...] = (options.encoder_percentile,)
    if options.normalization in ("auto", "percentile", "maximum"):
        scaling = {population.name for population in graph.populations if population.neuron.scales}
        host = set(encoder_populations(graph, options.encoder))
        if scaling - host and "target_rate" not in given:
            rates = tuple(rate / graph.dt for rate in RATES)
        spread = options.encoder in ("auto", "first_layer") and scaling & host
        if spread and not given & {"encoder_percentile", "encoder_rate", "max_host_spikes"}:
            percentiles = ENCODER_PERCENTILES
    return rates, percentiles


@dataclass(frozen=True)
class _Judged:
    """A program on calibration data, read in the window that suits it best.

    Parameters
    ----------
    distance : float
        From the source's outputs: where there are classes, the divergence of their softmax from the source's (Kullback
        and Leibler), on average over samples; else `drop`.
    drop : float
        As of `Chosen`.
    window : float
    """

    distance: float
    drop: float
    window: float


class _Judge:
    """What programs lose on samples, beside the source."""

    def __init__(self, source: Graph, samples: Samples, labels: NDArray[np.int64] | None) -> None:
        self._samples, self._readout = samples, source.readouts[0]
        values = rate_outputs(source, samples.first_frames())[self._readout.name]
        self._values = values.reshape(len(samples), -1).astype(np.float64)
        decisions = self._readout.classes(self._values)
        self._odds = None
        if labels is not None and self._readout.n_classes > 1:
            self._odds = odds(self._values, labels, np.arange(len(labels)))
        self._labels = decisions if labels is None else labels
        self.compares_decisions = labels is None and self._readout.n_classes > 1
        self._goal = float((decisions == self._labels).mean())

    def __call__(self, program: Program, options: DeployOptions, windows: Sequence[float]) -> _Judged:
        """What is lost, with the window that comes closest to the source."""
        how = RunOptions(int(options.steps or 0), progress=False)
        found = backends.values_by_window(program, self._samples, how, windows)
        return min(map(self._judged, found, windows), key=lambda one: one.distance)

    def _judged(self, values: NDArray[np.float64], window: float) -> _Judged:
        if self._readout.n_classes > 1:
            decided = self._readout.classes(values)
            drop = self._goal - float((decided == self._labels).mean())
            if self._odds is not None:
                drop = max(drop, float(expected_losses(self._odds, decided).mean()))
            return _Judged(_divergence(self._values, values), drop, window)
        wanted, outputs = (np.asarray(self._readout.activated(v)) for v in (self._values, values))
        power = float(np.square(wanted).sum())
        error = float(np.sqrt(np.square(outputs - wanted).sum() / power)) if power else 0.0
        return _Judged(error, error, window)


def _divergence(wanted: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Mean divergence of the softmax of values (n, n_classes), times what fits them best, from that of others."""
    wanted, values = (v - v.mean(axis=1, keepdims=True) for v in (wanted, values))
    power = float(np.square(values).sum())
    scale = max(float((values * wanted).sum()) / power, 0.0) if power else 0.0
    ours, theirs = _log_softmax(scale * values), _log_softmax(wanted)
    return float((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
