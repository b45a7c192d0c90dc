"""What helps a deployment that loses decisions: tried, not guessed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.frames import rate_decisions, reading
from loihi_deploy.analysis.latency import SHORT_SYNAPSE
from loihi_deploy.analysis.lowering import lower
from loihi_deploy.backends import RunOptions
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import LoihiDeployError, LoihiDeployWarning
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.normalize import with_synapses

WORTH = 0.25
"""Part of what is lost that a change must give back to be advised."""
LOSS = 0.005
"""Fraction of decisions that may differ from the source's without advice."""
RATE_FACTORS = (0.5, 0.25, 1.4)
"""What target rates are multiplied by, one after the other."""


@dataclass(frozen=True)
class Deployed:
    """A network as it was deployed, and what verification knows of it.

    Parameters
    ----------
    source : Graph
        As it was converted.
    program : Program
    options : DeployOptions
        With the normalization that was used.
    board : Board
    samples : Samples
        On which changes are tried.
    decisions : (n,) array
        The source's, on them.
    steps : int
    """

    source: Graph
    program: Program
    options: DeployOptions
    board: Board
    samples: Samples
    decisions: NDArray[np.int64]
    steps: int

    @classmethod
    def of(
        cls,
        graph: Graph,
        source: Graph,
        program: Program,
        options: DeployOptions,
        board: Board,
        samples: Samples,
        steps: int,
    ) -> Deployed:
        """From the parts of a deployment: `graph` is the network with its firing rates set, `options` what was asked.

        Raises
        ------
        InputError
            If nobody knows what the source decides for the samples.
        """
        decisions = rate_decisions(source, samples, options, steps // samples.n_frames)
        kept = [p.amplitude for p in source.populations] == [p.amplitude for p in graph.populations]
        used = replace(options, normalization="none") if kept else options
        return cls(source, program, used, board, samples, decisions, steps)


@dataclass(frozen=True)
class Trial:
    """A change, and how well the integer program agrees with the source with it.

    Parameters
    ----------
    advice : str
        What to do, as an order without a full stop.
    agreement : float
        Fraction of samples for which it decides as the source does.
    """

    advice: str
    agreement: float


def trials(deployed: Deployed, client: Any = None) -> Iterator[Trial]:
    """Try changes, on the workers of a cluster if there is a client; those that the chip cannot take are left out."""
    trying = _Trying(deployed)
    numbers = range(len(list(_changes(deployed))))
    found: Iterator[Trial | None] = map(trying, numbers)
    if client is not None:
        from loihi_deploy.backends.cluster import results

        found = results(client, trying, ((number,) for number in numbers))
    return (trial for trial in found if trial is not None)


@dataclass(frozen=True)
class _Trying:
    """Tries the changes of a deployment by their numbers."""

    deployed: Deployed

    def __call__(self, number: int) -> Trial | None:
        """The trial; None where the chip cannot hold it, so that it is no advice."""
        advice, agreement = list(_changes(self.deployed))[number]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LoihiDeployWarning)  # a trial's, not the user's
                return Trial(advice, agreement())
        except LoihiDeployError:
            return None


def _changes(deployed: Deployed) -> Iterator[tuple[str, Callable[[], float]]]:
    """Advice, and the agreement with it."""
    options, steps = deployed.options, deployed.steps
    for factor in (2, 4):
        yield (
            f"present samples for {factor * steps} steps",
            lambda factor=factor: _agreement(deployed, deployed.program, factor * steps),  # type: ignore[misc]
        )
    for advice, changed in _other_options(options, deployed.source):
        yield f"deploy it with {advice}", lambda changed=changed: _deployed_with(deployed, changed)  # type: ignore[misc]


def _other_options(options: DeployOptions, source: Graph) -> Iterator[tuple[str, DeployOptions]]:
    if options.normalization == "scale_firing_rates" or options.normalization == "none":
        yield "normalization='percentile'", replace(options, normalization="percentile")
    else:
        for factor in RATE_FACTORS:
            rate = factor * options.target_rate
            if rate <= 1 / source.dt:
                yield f"target_rate={rate:g}", replace(options, target_rate=rate)
        yield "normalization='none'", replace(options, normalization="none")
    inputs = {node.name for node in source.inputs}
    slow = {p.post for p in source.projections if p.pre not in inputs and p.tau > SHORT_SYNAPSE}
    if slow:
        short = dict.fromkeys(sorted(slow), SHORT_SYNAPSE)
        yield f"layer_synapses={short}", replace(options, layer_synapses={**options.layer_synapses, **short})
    if not options.equalize:
        yield "equalize=True", replace(options, equalize=True)
    if options.rounding != "mean":
        yield "rounding='mean'", replace(options, rounding="mean")
    if options.weight_percentile > 99.9:
        yield "weight_percentile=99.9", replace(options, weight_percentile=99.9)
    elif options.weight_percentile < 100:
        yield "weight_percentile=100", replace(options, weight_percentile=100.0)
    if not options.bias_correction_steps:
        yield "bias_correction_steps=100", replace(options, bias_correction_steps=100)


def _deployed_with(deployed: Deployed, options: DeployOptions) -> float:
    source = with_synapses(deployed.source, options.layer_synapses)
    program = lower(source, deployed.samples, options, deployed.board).program
    return _agreement(deployed, program, deployed.steps)


def _agreement(deployed: Deployed, program: Program, steps: int) -> float:
    options = reading(program, deployed.options, deployed.samples).of(RunOptions(steps, progress=False))
    outputs = backends.run(program, deployed.samples, options).outputs
    readout = program.readout.readouts[0]
    decisions = readout.classes(outputs.reshape(len(outputs), -1), activated=True)
    return float((decisions == deployed.decisions).mean())


def advice(stage: str, loss: float, agreement: float, tried: Sequence[Trial]) -> str:
    """One sentence: the stage that loses most, and the change that gives most of it back.

    Parameters
    ----------
    stage : str
        The stage of the chip's path that loses most.
    loss : float
        Fraction of decisions that it loses.
    agreement : float
        Of the integer program with the source, on the samples of the trials.
    tried : sequence of Trial
    """
    best = max(tried, key=lambda trial: trial.agreement, default=None)
    text = f"{stage} loses most, {100 * loss:.1f} % of decisions"
    if best is not None and best.agreement - agreement >= WORTH * (1 - agreement):
        return f"{text}: {best.advice}, which leaves {100 * (1 - best.agreement):.1f} % lost"
    return (
        f"{text}; nothing that was tried gives a quarter of them back: {'; '.join(t.advice for t in tried)}"
    )


def overflow_advice(overflows: Mapping[str, int]) -> Iterator[str]:
    """A sentence for each population whose accumulators wrapped around."""
    for name, count in overflows.items():
        if count:
            yield (
                f"{name}: {count} accumulators wrapped around: lower its firing rate, so that its weights are smaller "
                "beside its threshold"
            )
