"""Everything that a presentation time decides, chosen on calibration data: `DeployOptions(steps=...)`.

Short synapses keep latency low, high rates say much in few steps, voltages at the start mend what is lost before the
first spikes (see `loihi_deploy.stages.charge`); target rates and readout windows are tried.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.latency import latencies, latency_sentence
from loihi_deploy.analysis.lowering import lower
from loihi_deploy.backends import RunOptions
from loihi_deploy.chip.hardware import Board
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions

logger = logging.getLogger(__name__)

RATES = (1.0, 1.5)
"""Target rates in spikes per step that are tried: the fastest neurons of a layer then say most in few steps."""
CORRECTION_STEPS = 50
"""Steps of the bias correction, chosen by experiment: fewer measure rates too coarsely at 10 steps, too."""
WINDOWS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Readout windows that are tried, as parts of the presentation."""
LADDER = (8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200)
"""Presentation times that 'auto' tries, from the shortest on."""
ROUNDING = 1e-9
"""Differences of fractions below this are none."""
SAMPLES = 500
"""Calibration samples that are judged on."""


@dataclass(frozen=True)
class Chosen:
    """Options for a presentation time, and what is lost with them on calibration data.

    Parameters
    ----------
    options : DeployOptions
    drop : float
        How far accuracy is below the source's, or agreement with it below 1 without labels; where the readout has one
        value, the root mean square error relative to the source's outputs.
    """

    options: DeployOptions
    drop: float


def for_presentation(
    converted: Graph,
    calibration: Samples | None,
    labels: Any,
    options: DeployOptions,
    board: Board,
    given: Collection[str] = (),
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
    given : collection of str
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
    if options.steps != "auto":
        return _chosen(converted, calibration, options, board, judge, given).options
    drops = {}
    for steps in LADDER:
        if steps <= _hops(converted, calibration, options, board):
            continue
        chosen = _chosen(converted, calibration, replace(options, steps=steps), board, judge, given)
        drops[steps] = chosen.drop
        if chosen.drop <= options.max_drop + ROUNDING:
            return chosen.options
    least = min(drops, key=lambda steps: drops[steps])
    raise InputError.single(
        "no presentation time is long enough",
        f"steps='auto', max_drop={options.max_drop:g}",
        f"{100 * drops[least]:.2f} % lost at {least} steps",
        remedy=f"Allow a drop of {np.ceil(1e4 * drops[least]) / 1e4:g}",
    )


def _hops(converted: Graph, calibration: Samples, options: DeployOptions, board: Board) -> int:
    return max(layer.hops for layer in latencies(_quietly(converted, calibration, options, board)))


def _quietly(converted: Graph, calibration: Samples, options: DeployOptions, board: Board) -> Program:
    """A program for a trial: what it warns of, the one that is chosen warns of again."""
    if options.steps == "auto":
        options = replace(options, steps=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        return lower(converted, calibration, options, board).program


def _chosen(
    converted: Graph,
    calibration: Samples,
    options: DeployOptions,
    board: Board,
    judge: _Judge,
    given: Collection[str],
) -> Chosen:
    found: list[tuple[float, int, DeployOptions, Program]] = []
    for candidate in _candidates(options, converted, given):
        program = _quietly(converted, calibration, candidate, board)
        hops = max(layer.hops for layer in latencies(program))
        if judge.steps(options) <= hops:
            raise InputError(
                "The presentation is too short for the depth of the network",
                Problem(
                    latency_sentence(program, judge.steps(options)),
                    "steps",
                    options.steps,
                    f"{hops + 1} or more",
                    f"Present samples for {hops + 1} steps or more",
                ),
            )
        found.append((judge.drop(program, candidate), len(found), candidate, program))
    drop, _, best, program = min(found, key=lambda each: each[:2])
    if "readout_window" not in given:
        windows = [(judge.drop(program, replace(best, readout_window=window)), window) for window in WINDOWS]
        smallest = min(drop for drop, _ in windows)
        near = [window for found, window in windows if found == smallest]
        drop, best = smallest, replace(best, readout_window=near[len(near) // 2])
    logger.info("%s steps: %.2f %% lost", options.steps, 100 * drop)
    return Chosen(best, drop)


def _candidates(options: DeployOptions, graph: Graph, given: Collection[str]) -> Iterator[DeployOptions]:
    rates = [options.target_rate]
    scales = any(population.neuron.scales for population in graph.populations)
    from_data = options.normalization in ("auto", "percentile", "maximum")
    if from_data and scales and "target_rate" not in given:
        rates = [rate / graph.dt for rate in RATES]
    correction = options.bias_correction_steps
    if "bias_correction_steps" not in given:
        correction = CORRECTION_STEPS
    for rate in rates:
        yield replace(options, target_rate=rate, bias_correction_steps=correction)


class _Judge:
    """What programs lose on samples, beside the source."""

    def __init__(self, source: Graph, samples: Samples, labels: NDArray[np.int64] | None) -> None:
        self._samples, self._readout = samples, source.readouts[0]
        values = rate_outputs(source, samples.first_frames())[self._readout.name]
        decisions = self._readout.classes(values)
        self._outputs = np.asarray(self._readout.activated(values.astype(np.float64)))
        self._labels = decisions if labels is None else labels
        self._goal = float((decisions == self._labels).mean())

    def steps(self, options: DeployOptions) -> int:
        """The presentation time as a number."""
        return int(options.steps or 0)

    def drop(self, program: Program, options: DeployOptions) -> float:
        """What is lost; see `Chosen`."""
        how = RunOptions(self.steps(options), readout_window=options.readout_window, progress=False)
        if self._readout.n_classes > 1:
            return self._goal - backends.evaluate(program, self._samples, self._labels, how).accuracy
        difference = (
            backends.run(program, self._samples, how).outputs.reshape(self._outputs.shape) - self._outputs
        )
        power = float(np.square(self._outputs).sum())
        return float(np.sqrt(np.square(difference).sum() / power)) if power else 0.0
