"""Present samples and decode the answers; evaluate them against labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import joined
from loihi_deploy.backends.job import Job, checked_job
from loihi_deploy.backends.lengths import each_length, joined_evaluations, joined_runs
from loihi_deploy.backends.losses import input_ranges, losses, may_have_lost
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.engines.activity import Meter
from loihi_deploy.engines.host.readout import (
    answers,
    decisions,
    decisions_by_step,
    values_by_frame,
    values_by_step,
)
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Samples
from loihi_deploy.ir.labels import are_of_frames
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Activity, Counters, Errors, Evaluation, PopulationCounts, RunResult, RunState


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
    if samples.lengths is not None:
        parts = each_length(
            samples,
            options,
            lambda which, part, how: run(program, part, how, mapping, meter),
            lambda result: result.state,
        )
        joined_run = joined_runs(parts, len(samples), options.return_state)
        return replace(joined_run, warnings=_lost(program, samples, joined_run.counters))
    start = time.perf_counter()
    job = checked_job(program, samples, options, mapping, meter)
    tally = _Tally(job)
    n = job.asked.n
    outputs: dict[str, NDArray[Any]] = {}
    if len(job.asked.parts) != 1:  # of a single part they are its answers
        outputs = {node.name: np.zeros((n, *node.shape), node.dtype) for node in program.readout.readouts}
    recorded: dict[str, dict[str, list[NDArray[Any]]]] = {name: {} for name in job.asked.wanted.variables}
    by_name = {node.name: node for node in program.readout.readouts}
    by_frame: dict[str, list[NDArray[Any]]] = {}
    activity: Activity | None = None
    states: list[RunState] = []
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        for name, values in answers(program.readout, chunk.trace, job.asked.width).items():
            if name in outputs:
                outputs[name][part] = values
            else:
                outputs[name] = values.astype(by_name[name].dtype, copy=False)
        for name, values in _by_frame(job, chunk.trace).items():
            node = by_name[name]
            activated = node.activated(values.reshape(-1, node.size)).astype(node.dtype)
            by_frame.setdefault(name, []).append(activated.reshape(*values.shape[:2], *node.shape))
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
        _lost(program, samples, counters),
        activity,
        {name: np.concatenate(parts) for name, parts in by_frame.items()},
    )


def _lost(program: Program, samples: Samples, counters: Counters) -> tuple[Problem, ...]:
    if not may_have_lost(program, counters):
        return ()
    return tuple(losses(program, input_ranges(samples), samples.total_frames, counters))


def _by_frame(job: Job, trace: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Values of each readout after each frame, before its activation; nothing where they are not asked for."""
    asked = job.asked
    return values_by_frame(job.line.program.readout, trace, *asked.reading) if asked.options.by_frame else {}


def evaluate(
    program: Program,
    samples: Samples,
    labels: NDArray[Any],
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
    labels : (n,) int array, or (n, n_frames) int array
        Of the samples; or of each of their frames that there is an answer to, which are counted then, where
        ``options.by_frame`` asks for answers.
        In their place (n, size) or (n, n_frames, size) float arrays of the values that outputs should have.
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
    if by_step and are_of_frames(labels):
        remedy = "Ask for by_frame, or give one for each sample"
        raise InputError.single("labels of frames, and answers after steps", "by_step", remedy=remedy)
    first_frame = program.readout.first_frame
    if samples.lengths is not None:
        if options.stream:
            return _evaluated_in_a_row(program, samples, samples.lengths, labels, options, mapping, by_step)
        parts = each_length(
            samples,
            options,
            lambda which, part, how: evaluate(
                program,
                part,
                labels[which][:, : part.n_frames - first_frame] if are_of_frames(labels) else labels[which],
                how,
                mapping,
                by_step=by_step,
                meter=meter,
            ),
        )
        total = joined_evaluations(parts)
        return replace(total, warnings=_lost(program, samples, total.counters))
    start = time.perf_counter()
    job = checked_job(program, samples, options, mapping, meter)
    tally = _Tally(job)
    activity: Activity | None = None
    n_correct = 0
    correct_by_step = np.zeros(job.asked.steps, np.int64)
    n_answers = samples.n_frames - first_frame
    correct_by_frame = np.zeros(n_answers if options.by_frame else 0, np.int64)
    of_frames, are_values = are_of_frames(labels), labels.dtype.kind == "f"
    errors: Errors | None = None
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        if are_values:
            found = _errors(job, chunk.trace, labels[part], by_step)
            errors = found if errors is None else errors + found
        elif options.by_frame:
            node = program.readout.readouts[0]
            decided = node.classes(_by_frame(job, chunk.trace)[node.name])
            correct_by_frame += (decided == labels[part].reshape(len(decided), -1)).sum(axis=0)
        if not of_frames and not are_values:
            n_correct += int((decisions(program.readout, chunk.trace, job.asked.width) == labels[part]).sum())
        if by_step and not are_values:
            decided = decisions_by_step(program.readout, chunk.trace, *job.asked.reading)
            correct_by_step += (decided == labels[part, None]).sum(axis=0)
        if chunk.activity is not None:
            activity = chunk.activity if activity is None else activity + chunk.activity
    counters = tally.counters()
    seconds = time.perf_counter() - start
    return Evaluation(
        int(correct_by_frame.sum()) if of_frames else n_correct,
        0 if are_values else labels.size,
        counters,
        seconds,
        correct_by_step if by_step and not are_values else None,
        _lost(program, samples, counters),
        activity,
        n_correct_by_frame=correct_by_frame if options.by_frame and not are_values else None,
        n_total_by_frame=np.full(n_answers, len(samples)) if options.by_frame and not are_values else None,
        errors=errors,
    )


def _errors(job: Job, trace: NDArray[np.float64], wanted: NDArray[np.float64], by_step: bool) -> Errors:
    """How far the first readout is from targets (n, size), or from those of every frame (n, n_frames, size)."""
    readout = job.line.program.readout
    node = readout.readouts[0]

    def activated(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return node.activated(values.reshape(-1, node.size)).reshape(values.shape)

    every = wanted if wanted.ndim == 3 else wanted[:, None]
    frames = power = steps = None
    if job.asked.options.by_frame:
        found = activated(_by_frame(job, trace)[node.name])
        frames = np.square(found - every).sum(axis=(0, 2))
        power = np.broadcast_to(np.square(every), found.shape).sum(axis=(0, 2))
    if by_step:
        found = activated(values_by_step(readout, trace, *job.asked.reading))
        steps = np.square(found - every).sum(axis=(0, 2))
    if wanted.ndim == 3 and frames is not None:
        squared = float(frames.sum())
    else:
        outputs = answers(readout, trace, job.asked.width)[node.name].reshape(len(trace), -1)
        squared = float(np.square(outputs - wanted).sum())
    return Errors(squared, float(np.square(wanted).sum()), wanted.size, steps, frames, power)


def _evaluated_in_a_row(
    program: Program,
    samples: Samples,
    lengths: NDArray[np.int64],
    labels: NDArray[Any],
    options: RunOptions,
    mapping: Any,
    by_step: bool,
) -> Evaluation:
    """Evaluate sequences of different length that follow each other without a reset."""
    if labels.dtype.kind == "f":
        raise InputError.single(
            "values for sequences of different length that follow each other without a reset",
            "y",
            remedy="Present them with reset=True",
        )
    if by_step:
        raise InputError.single(
            "decisions after each step, of sequences of different length that follow each other without a reset",
            "by_step",
            remedy="Ask for by_frame, or present them with reset=True",
        )
    result = run(program, samples, options, mapping)
    node = program.readout.readouts[0]
    by_frame = total = None
    if options.by_frame:
        decided = node.classes(result.by_frame[node.name].reshape(*labels.shape[:1], -1, node.size), True)
        first_frame = program.readout.first_frame
        there = np.arange(first_frame, samples.n_frames) < lengths[:, None]
        right = (decided == labels.reshape(len(labels), -1)) & there
        by_frame, total = right.sum(axis=0), np.broadcast_to(there, right.shape).sum(axis=0)
    if by_frame is not None and total is not None and labels.ndim == 2:
        n_correct, n_total = int(by_frame.sum()), int(total.sum())
    else:
        decided = node.classes(result.outputs.reshape(len(samples), -1), True)
        n_correct, n_total = int((decided == labels).sum()), len(labels)
    return Evaluation(
        n_correct,
        n_total,
        result.counters,
        result.seconds,
        warnings=result.warnings,
        n_correct_by_frame=by_frame,
        n_total_by_frame=total,
    )


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
        asked = self._job.asked
        return Counters(asked.n, asked.n * asked.steps, self._counts)
