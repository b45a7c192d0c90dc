"""Sequences of different length: those of one length are presented together, and the results put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.request import RunOptions
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Samples
from loihi_deploy.results import Activity, Evaluation, RunResult, RunState

Which = NDArray[np.intp]
T = TypeVar("T")


def parts_of_one_length(samples: Samples, options: RunOptions) -> Iterator[tuple[Which, Samples]]:
    """Samples of one length with their indices; one by one where they are presented without a reset."""
    if not options.stream:
        yield from samples.of_equal_length()
        return
    for k in range(len(samples)):
        which = np.array([k])
        [(_, part)] = samples.take(which).of_equal_length()
        yield which, replace(part, numbers=which)


def each_length(
    samples: Samples,
    options: RunOptions,
    present: Callable[[Which, Samples, RunOptions], T],
    state_of: Callable[[T], RunState | None] = lambda result: None,
) -> list[tuple[Which, T]]:
    """Present the samples of each length, and give what `present` returns with their indices.

    Raises
    ------
    InputError
        If the options do not fit.
    """
    if problems := list(options.problems(samples.n_frames)):
        raise InputError("Cannot run the program", problems)
    if not options.stream and (options.state is not None or options.return_state):
        raise InputError.single(
            "a state of sequences of different length",
            "state",
            remedy="Continue sequences of one length, or present them with reset=False",
        )
    how = replace(options, steps=None, steps_per_frame=options.hold(samples.n_frames))
    found = []
    for which, part in parts_of_one_length(samples, options):
        if options.stream:
            how = replace(how, return_state=True)
        result = present(which, part, how)
        how = replace(how, state=state_of(result))
        found.append((which, result))
    return found


def joined_runs(parts: Sequence[tuple[Which, RunResult]], n: int, keep_state: bool) -> RunResult:
    """Results in the order of the samples, without warnings; what is recorded, and outputs by frame, end in zeros."""
    order = np.concatenate([which for which, _ in parts])
    results = [result for _, result in parts]
    first = results[0]
    counters, activity = first.counters, first.activity
    for result in results[1:]:
        counters = counters + result.counters
        activity = activity + result.activity if activity and result.activity else None
    outputs = {
        name: _scattered([result.all_outputs[name] for result in results], order)
        for name in first.all_outputs
    }
    recorded = {
        name: {
            variable: _events([result.recorded[name]["events"] for result in results], parts)
            if variable == "events"
            else _scattered([result.recorded[name][variable] for result in results], order)
            for variable in variables
        }
        for name, variables in first.recorded.items()
    }
    by_frame = {
        name: _scattered([result.by_frame[name] for result in results], order) for name in first.by_frame
    }
    return RunResult(
        next(iter(outputs.values()), np.zeros((n, 0))),
        outputs,
        counters,
        recorded,
        sum(result.seconds for result in results),
        results[-1].state if keep_state else None,
        activity=_in_order(activity, order),
        by_frame=by_frame,
    )


def joined_evaluations(parts: Sequence[tuple[Which, Evaluation]]) -> Evaluation:
    """Evaluations added up; after the end of a sequence its last decision stays."""
    results = [result for _, result in parts]
    total = results[0]
    for result in results[1:]:
        total = total + result
    by_step = [result.n_correct_by_step for result in results if result.n_correct_by_step is not None]
    by_frame = [result.n_correct_by_frame for result in results if result.n_correct_by_frame is not None]
    there = [result.n_total_by_frame for result in results if result.n_total_by_frame is not None]
    errors = [result.errors for result in results if result.errors is not None]
    frames = [(e.squared_by_frame, e.power_by_frame) for e in errors if e.squared_by_frame is not None]
    if total.errors is not None and frames:
        squared, power = (_summed(counts, "constant") for counts in zip(*frames, strict=True))
        total = replace(total, errors=replace(total.errors, squared_by_frame=squared, power_by_frame=power))
    return replace(
        total,
        activity=_in_order(total.activity, np.concatenate([which for which, _ in parts])),
        n_correct_by_step=_summed(by_step, "edge") if by_step else None,
        n_correct_by_frame=_summed(by_frame, "constant") if by_frame else None,
        n_total_by_frame=_summed(there, "constant") if there else None,
    )


def joined_rates(
    parts: Sequence[tuple[Which, Mapping[str, NDArray[Any]]]],
) -> dict[str, NDArray[Any]]:
    """Rates of each population in the order of the samples."""
    order = np.concatenate([which for which, _ in parts])
    return {name: _scattered([rates[name] for _, rates in parts], order) for name in parts[0][1]}


def _scattered(values: Sequence[NDArray[Any]], order: Which) -> NDArray[Any]:
    """Rows in order; a second axis of different length is filled up with zeros."""
    if values[0].ndim > 1:
        most = max(part.shape[1] for part in values)
        values = [
            np.pad(part, [(0, 0), (0, most - part.shape[1]), *[(0, 0)] * (part.ndim - 2)]) for part in values
        ]
    together = np.concatenate(values)
    placed = np.empty_like(together)
    placed[order] = together
    return np.asarray(placed)


def _events(rows: Sequence[NDArray[np.int64]], parts: Sequence[tuple[Which, RunResult]]) -> NDArray[np.int64]:
    """Lists of spikes with the numbers of the samples, in their order."""
    numbered = []
    for events, (which, _) in zip(rows, parts, strict=True):
        events = events.copy()
        events[:, 0] = which[events[:, 0]]
        numbered.append(events)
    together = np.concatenate(numbered)
    return np.asarray(together[np.argsort(together[:, 0], kind="stable")])


def _in_order(activity: Activity | None, order: Which) -> Activity | None:
    if activity is None:
        return None
    return replace(
        activity,
        busy_ns=_scattered([activity.busy_ns], order),
        longest_ns=_scattered([activity.longest_ns], order),
    )


def _summed(counts: Sequence[NDArray[Any]], beyond: Any) -> NDArray[Any]:
    """Counts of different length added up; 'edge' goes on with the last value of each, 'constant' with 0."""
    most = max(map(len, counts))
    rows = [np.pad(row, (0, most - len(row)), mode=beyond) for row in counts]
    return np.asarray(np.sum(rows, axis=0))
