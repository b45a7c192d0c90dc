"""One trial: a deployment with some options, and what it does on the samples that choices are made on."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.certainty import expected_losses
from loihi_deploy.analysis.frames import presentation_steps, reading
from loihi_deploy.analysis.gate.criteria import FIGURES as MEASURED
from loihi_deploy.analysis.gate.criteria import Criteria, Figure
from loihi_deploy.analysis.gate.measuring import ENERGY_SAMPLES, MILLI
from loihi_deploy.analysis.host_link import highest
from loihi_deploy.analysis.latency import SHORT_SYNAPSE
from loihi_deploy.chip.hardware import Board
from loihi_deploy.data.named import evenly
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import LoihiDeployError, LoihiDeployWarning
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.options import DeployOptions
from loihi_deploy.pipeline import deploy

FIGURES: Mapping[str, Figure] = {
    **MEASURED,
    "expected_drop": Figure("below the rate network, expected", "%", needs="labels"),
}
"""What is measured, and what is expected of it: the drop by how sure the rate network is, which luck counts less in."""
FEW = 200
"""Samples after which a trial is ended where it has no hope."""
CERTAIN = 3.0
"""Standard errors by which a trial must be beyond a limit to have none."""
MARK = 0.002971215073
"""Stands for `DeployOptions.synapse` in a network that is converted once, for all trials: a value that nobody gives."""
BY_COST = ("cores", "chips", "energy_mj", "latency_ms", "host_spikes")
"""Figures that are known before decisions are judged: those that trials are compared by before they have seen all."""


@dataclass(frozen=True)
class Judged:
    """Samples, and what is right for them.

    Parameters
    ----------
    samples : Samples
    right : (n,) int array, or (n, size) float array
        Classes; or the values that the outputs should have.
    source_right : (n,) bool array
        Which of them the rate network decides so; nothing to go by where there are values.
    odds : (n, n_classes) float array or None
        How likely the rate network holds each class to be; None where that was not held against labels. See `odds`.
    """

    samples: Samples
    right: NDArray[Any]
    source_right: NDArray[np.bool_]
    odds: NDArray[np.float64] | None = None

    @property
    def has_classes(self) -> bool:
        """Whether decisions are judged, and not values."""
        return self.right.ndim == 1


@dataclass(frozen=True)
class Trial:
    """What a trial found.

    Parameters
    ----------
    options : DeployOptions
        That make it again.
    figures : dict of float
        By the names of `FIGURES`; empty where it could not be deployed.
    stopped : str
        Why it was not judged on all samples; '' where it was.
    """

    options: DeployOptions
    figures: Mapping[str, float]
    stopped: str = ""


@dataclass(frozen=True)
class Maker:
    """Deploys a converted network with options: what all trials have in common, and a worker is sent once.

    Parameters
    ----------
    converted : Graph
        With the synapse `MARK` where `DeployOptions.synapse` says which.
    board : Board
    calibration : Samples
    labels : (n,) int array or None
        Of the calibration samples.
    judged : Judged
        What choices are made on.
    keep : Criteria
    minimize : tuple of str
        Names of figures.
    """

    converted: Graph
    board: Board
    calibration: Samples
    labels: NDArray[np.int64] | None
    judged: Judged
    keep: Criteria
    minimize: tuple[str, ...]

    def deployed(self, options: DeployOptions) -> Deployment:
        """The deployment that `deploy` makes of the source with these options."""
        if options.steps is not None and options.synapse == DeployOptions.synapse:
            options = replace(options, synapse=SHORT_SYNAPSE)
        return deploy(
            with_synapse(self.converted, options.synapse),
            self.board,
            self.calibration,
            options,
            labels=None if options.steps is None else self.labels,
        )

    def __call__(self, options: DeployOptions, beaten_by: Sequence[Sequence[float]] = ()) -> Trial:
        """Deploy and judge; see `Trial`.

        Parameters
        ----------
        options : DeployOptions
        beaten_by : sequence of sequences of float
            What is to be minimized, of deployments that hold every limit: one that is no better than one of these in
            anything need not be judged on all samples.
        """
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", LoihiDeployWarning
            )  # what a point warns of, it warns of when it is made
            try:
                deployment = self.deployed(options)
                return self._judge(deployment, beaten_by)
            except LoihiDeployError as error:
                return Trial(options, {}, f"cannot be deployed: {error}")

    def _judge(self, deployment: Deployment, beaten_by: Sequence[Sequence[float]]) -> Trial:
        limits = self.keep.limits
        figures: dict[str, float] = {
            "cores": float(deployment.mapping.n_cores),
            "chips": float(deployment.mapping.n_chips),
        }
        for name in figures.keys() & limits.keys():
            if figures[name] > limits[name]:
                return Trial(deployment.options, figures, over(name, figures[name], limits[name]))
        n = len(self.judged.samples)
        few, some = slice(0, min(FEW, n)), evenly(n, ENERGY_SAMPLES)
        cost = deployment.energy(self.judged.samples.take(some), progress=False)
        figures["energy_mj"], figures["latency_ms"] = cost.total.high / MILLI, cost.seconds.high / MILLI
        if "host_spikes" in (*limits, *self.minimize):
            figures["host_spikes"] = _host_spikes(deployment, self.judged.samples)
        outputs, figures["overflows"] = _outputs(deployment, self.judged.samples.take(few))
        figures |= scores(deployment, self.judged, outputs)
        if n > few.stop:
            if reason := self._hopeless(deployment, figures, outputs):
                return Trial(deployment.options, figures, reason)
            values = [figures[name] for name in self.minimize]
            if set(self.minimize) <= set(BY_COST) and any(beats(other, values) for other in beaten_by):
                return Trial(deployment.options, figures, "a deployment that holds every limit costs less")
            rest, overflows = _outputs(deployment, self.judged.samples.take(slice(few.stop, n)))
            figures["overflows"] += overflows
            figures |= scores(deployment, self.judged, np.concatenate([outputs, rest]))
        return Trial(deployment.options, figures)

    def _hopeless(self, deployment: Deployment, figures: Mapping[str, float], outputs: NDArray[Any]) -> str:
        """Why a trial that has seen few samples will not hold a limit on all of them; '' where it may."""
        for name, limit in limits(self.keep, figures).items():
            if name not in figures:
                continue
            beyond = (limit - figures[name]) if FIGURES[name].higher else (figures[name] - limit)
            slack = 0.0
            if name in ("drop", "accuracy", "expected_drop"):
                slack = CERTAIN * standard_error(name, deployment, self.judged, outputs)
            elif name == "rmse":
                slack = limit
            if beyond > slack:
                return over(name, figures[name], limit, f", on {len(outputs)} samples")
        return ""


def limits(keep: Criteria, figures: Container[str]) -> dict[str, float]:
    """What figures are held to, by name; where a drop is expected, that is held to the limit of the drop, too."""
    asked = keep.limits
    both = "drop" in asked and "expected_drop" in figures
    return {**asked, "expected_drop": asked["drop"]} if both else asked


def with_synapse(converted: Graph, tau: float) -> Graph:
    """A network converted with the synapse `MARK`, with another one in its place."""
    projections = tuple(replace(p, tau=tau) if p.tau == MARK else p for p in converted.projections)
    return replace(converted, projections=projections)


def _outputs(deployment: Deployment, samples: Samples) -> tuple[NDArray[Any], float]:
    """Outputs (n, size) of samples, and how many accumulators wrapped around."""
    result = deployment.run(samples, progress=False)
    overflows = sum(c.overflows_q + c.overflows_u for c in result.counters.populations.values())
    return np.asarray(result.outputs).reshape(len(samples), -1), float(overflows)


def _host_spikes(deployment: Deployment, samples: Samples) -> float:
    """The most messages that a chip gets from the host in a step."""
    program, options = deployment.program, deployment.options
    hold = presentation_steps(options, samples) // samples.n_frames
    flush = reading(program, options, samples).flush
    return float(highest(program, deployment.mapping, samples, hold, flush))


def correct(deployment: Deployment, judged: Judged, outputs: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the first samples are decided as they should be."""
    readout = deployment.graph.readouts[0]
    return np.asarray(readout.classes(outputs, activated=True) == judged.right[: len(outputs)])


def scores(deployment: Deployment, judged: Judged, outputs: NDArray[Any]) -> dict[str, float]:
    """How good the outputs of the first samples are."""
    if not judged.has_classes:
        return {"rmse": float(np.sqrt(np.square(outputs - judged.right[: len(outputs)]).mean()))}
    accuracy = float(correct(deployment, judged, outputs).mean())
    found = {"accuracy": accuracy, "drop": float(judged.source_right[: len(outputs)].mean()) - accuracy}
    if judged.odds is not None:
        found["expected_drop"] = float(_expected_losses(deployment, judged.odds, outputs).mean())
    return found


def _expected_losses(
    deployment: Deployment, odds: NDArray[np.float64], outputs: NDArray[Any]
) -> NDArray[np.float64]:
    """What each decision costs by the odds of the rate network's classes."""
    decided = deployment.graph.readouts[0].classes(outputs, activated=True)
    return expected_losses(odds[: len(outputs)], decided)


def standard_error(name: str, deployment: Deployment, judged: Judged, outputs: NDArray[Any]) -> float:
    """Of an accuracy or a drop on the first samples: at least that of one decision among them."""
    if name == "expected_drop" and judged.odds is not None:
        each = _expected_losses(deployment, judged.odds, outputs)
    else:
        each = correct(deployment, judged, outputs).astype(np.float64)
        if name == "drop":
            each -= judged.source_right[: len(each)]
    n = len(each)
    return float(np.sqrt(max(each.var(), 1 / n) / n))


def over(name: str, value: float, limit: float, where: str = "") -> str:
    """A limit that does not hold, in words."""
    figure = FIGURES[name]
    sign = "≥" if figure.higher else "≤"
    shown = figure.shown(value)
    if shown == figure.shown(limit):
        shown = f"{'less' if figure.higher else 'more'} than {shown}"
    return f"{figure.text} {shown}, {sign} {figure.shown(limit)} asked{where}"


def beats(values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether values, the less the better, are no worse than others in anything, and better in something."""
    pairs = list(zip(values, others, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
