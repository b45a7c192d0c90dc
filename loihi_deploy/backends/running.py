"""Present samples and decode the answers; evaluate them against labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import joined
from loihi_deploy.backends.job import Job, checked_job
from loihi_deploy.backends.losses import input_ranges, losses
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.engines.activity import Meter
from loihi_deploy.engines.host.readout import answers, decisions, decisions_by_step
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Activity, Counters, Evaluation, PopulationCounts, RunResult, RunState


def check(program: Program, samples: Samples, options: RunOptions, mapping: Any = None) -> None:
    """Raise what `run` would raise before its first step."""
    checked_job(program, samples, options, mapping)


def run(
    program: Program, samples: Samples, options: RunOptions, mapping: Any = None, meter: Meter | None = None
) -> RunResult:
    """Present samples and decode the answers.

    Parameters
    ----------
    program : Program
    samples : Samples
    options : RunOptions
    mapping : Mapping
        The program's cores, for the backends 'nengo_loihi' and 'hardware'.
    meter : Meter, optional
        Counts what the cores do, on our compiled engine; `options` records what it needs.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        Listing every option that does not fit.
    BackendError
        If the backend cannot run here, or cannot do what was asked for.
    AccumulatorOverflowError
        If an accumulator wraps around and ``options.on_overflow`` is 'raise'.
    """
    start = time.perf_counter()
    job = checked_job(program, samples, options, mapping, meter)
    tally = _Tally(job)
    n = len(samples)
    outputs = {node.name: np.zeros((n, *node.shape), node.dtype) for node in program.readout.readouts}
    recorded: dict[str, dict[str, list[NDArray[Any]]]] = {name: {} for name in job.wanted.variables}
    activity: Activity | None = None
    states: list[RunState] = []
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        for name, values in answers(program.readout, chunk.trace, options.readout_window).items():
            outputs[name][part] = values
        for name, variables in chunk.recorded.items():
            for variable, values in variables.items():
                offset = np.array([part.start, 0, 0]) if variable == "events" else None
                recorded[name].setdefault(variable, []).append(values if offset is None else values + offset)
        if chunk.activity is not None:
            activity = chunk.activity if activity is None else activity + chunk.activity
        if options.return_state and chunk.state is not None:
            states = [chunk.state] if options.stream else [*states, chunk.state]
    counters = tally.counters()
    return RunResult(
        next(iter(outputs.values()), np.zeros((n, 0))),
        outputs,
        counters,
        {
            name: {variable: np.concatenate(parts) for variable, parts in variables.items()}
            for name, variables in recorded.items()
        },
        time.perf_counter() - start,
        joined(states) if states else None,
        tuple(losses(program, input_ranges(samples), samples.n_frames, counters)),
        activity,
    )


def evaluate(
    program: Program,
    samples: Samples,
    labels: NDArray[np.integer[Any]],
    options: RunOptions,
    mapping: Any = None,
    *,
    by_step: bool = False,
    meter: Meter | None = None,
) -> Evaluation:
    """Count correct decisions of the first readout; see `run`.

    Parameters
    ----------
    program : Program
    samples : Samples
    labels : (n,) int array
    options : RunOptions
    mapping : Mapping
    by_step : bool
        Also count decisions as if every presentation had ended after each of its steps: accuracy as a function of
        presentation time, from one run.
    meter : Meter, optional
        As for `run`.

    Returns
    -------
    Evaluation
    """
    start = time.perf_counter()
    job = checked_job(program, samples, options, mapping, meter)
    tally = _Tally(job)
    activity: Activity | None = None
    n_correct = 0
    correct_by_step = np.zeros(job.steps, np.int64)
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        decided = decisions(program.readout, chunk.trace, options.readout_window)
        n_correct += int((decided == labels[part]).sum())
        if by_step:
            decided = decisions_by_step(program.readout, chunk.trace, options.readout_window)
            correct_by_step += (decided == labels[part, None]).sum(axis=0)
        if chunk.activity is not None:
            activity = chunk.activity if activity is None else activity + chunk.activity
    counters = tally.counters()
    seconds = time.perf_counter() - start
    by_steps = correct_by_step if by_step else None
    warnings = tuple(losses(program, input_ranges(samples), samples.n_frames, counters))
    return Evaluation(n_correct, len(samples), counters, seconds, by_steps, warnings, activity)


class _Tally:
    """Sums counts over chunks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counts: dict[str, PopulationCounts] = {}

    def add(self, counts: Mapping[str, PopulationCounts]) -> None:
        self._counts = {
            name: self._counts[name] + count if self._counts else count for name, count in counts.items()
        }

    def counters(self) -> Counters:
        n = len(self._job.samples)
        return Counters(n, n * self._job.steps, self._counts)
