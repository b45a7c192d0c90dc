"""Evaluate part by part: samples larger than memory, or on the workers of a cluster. Counts are those of one run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.job import checked_job, progress_bar
from loihi_deploy.backends.losses import Ranges, input_ranges, joined_ranges, losses
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.backends.running import evaluate
from loihi_deploy.engines.activity import Meter
from loihi_deploy.engines.threads import parts_of
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.source import Source, read_part
from loihi_deploy.results import Evaluation

SENT_BYTES = 1 << 22
"""Bytes of samples that are sent to a worker at a time."""
SMALLEST = 32
"""The smallest part is one of so many for each thread of the workers."""


@dataclass(frozen=True)
class PartJob:
    """Evaluates a part of the samples; what a worker is sent once."""

    graph: Graph
    program: Program
    options: RunOptions
    mapping: Any
    by_step: bool
    meter: Meter | None

    def __call__(
        self, part: Samples | Mapping[str, Any], labels: NDArray[np.int64], first: int
    ) -> tuple[Evaluation, Ranges]:
        """The outcome for samples of which the first has this number, and the range of their values."""
        samples = read_part(self.graph, part, first)
        options = replace(self.options, first_sample=first, progress=False)
        found = evaluate(
            self.program, samples, labels, options, self.mapping, by_step=self.by_step, meter=self.meter
        )
        return found, input_ranges(samples)


def evaluate_parts(
    program: Program,
    source: Source,
    labels: NDArray[np.int64],
    options: RunOptions,
    mapping: Any = None,
    *,
    by_step: bool = False,
    meter: Meter | None = None,
    client: Any = None,
) -> Evaluation:
    """Count correct decisions part by part; see `loihi_deploy.backends.evaluate`, which counts the same.

    Parameters
    ----------
    program : Program
    source : Source
    labels : (n,) int array
    options : RunOptions
    mapping : Mapping
    by_step : bool
    meter : Meter, optional
    client : distributed.Client, optional
        Its workers share the parts; else they are evaluated here, one after the other.

    Raises
    ------
    InputError, BackendError, AccumulatorOverflowError
        As `evaluate`; of several parts that fail the first one's.
    """
    start = time.perf_counter()
    first = source.first()
    if problems := list(_problems(options, source, client)):
        raise InputError("Cannot evaluate part by part", problems)
    checked_job(program, first, options, mapping, meter)
    parts = parts_of(len(source), source.part_size())
    if client is not None:
        options = replace(options, threads=options.threads or 1)
        parts = _parts_sent(source, client)
    job = PartJob(source.graph, program, options, mapping, by_step, meter)
    calls = ((source.part(part), labels[part], part.start) for part in parts)
    total: Evaluation | None = None
    ranges: Ranges = {}
    with progress_bar(options.progress, len(source)) as advance:
        for part, (found, of_part) in zip(parts, _results(job, calls, client), strict=True):
            total = found if total is None else total + found
            ranges = joined_ranges(ranges or of_part, of_part)
            advance(part.stop - part.start)
    assert total is not None, "there is a sample"
    warnings = tuple(losses(program, ranges, len(source) * first.n_frames, total.counters))
    return replace(total, seconds=time.perf_counter() - start, warnings=warnings)


def _problems(options: RunOptions, source: Source, client: Any) -> Iterator[Problem]:
    if options.stream or options.reset == "gap":
        remedy = (
            "Start each sample from rest, or read the samples into memory and evaluate them in one process"
        )
        yield Problem(
            "samples without a reset follow each other in one run",
            "reset",
            "gap" if options.reset == "gap" else False,
            True,
            remedy,
        )
    if isinstance(source.x, Samples) and source.x.lengths is not None:
        remedy = "Leave client out: such samples are presented length by length, in one process"
        yield Problem("sequences of different lengths are not shared out", "x", remedy=remedy)
    if client is not None and options.backend == "hardware":
        remedy = "Leave client out: the board is attached to this process"
        yield Problem("workers have no board", "backend", options.backend, remedy=remedy)


def _parts_sent(source: Source, client: Any) -> list[slice]:
    """Samples that are sent at a time: none are many bytes, and parts become smaller, so that all threads end together.

    A part is half of what would be left for each thread (C. Polychronopoulos and D. Kuck, Guided self-scheduling,
    IEEE Transactions on Computers 36, 1987).
    """
    from loihi_deploy.backends.cluster import n_threads

    part = source.part(slice(0, 1))
    arrays = part.given if isinstance(part, Samples) else part
    one = sum(int(values.nbytes) for values in arrays.values())
    threads, n = n_threads(client), len(source)
    most = max(1, min(source.part_size(), SENT_BYTES // max(1, one)))
    least = -(-n // (SMALLEST * threads))
    parts: list[slice] = []
    first = 0
    while first < n:
        size = min(most, max(least, (n - first) // (2 * threads)), n - first)
        parts.append(slice(first, first + size))
        first += size
    return parts


def _results(
    job: PartJob, calls: Iterator[tuple[Any, ...]], client: Any
) -> Iterator[tuple[Evaluation, Ranges]]:
    if client is None:
        return (job(*call) for call in calls)
    from loihi_deploy.backends.cluster import results

    return results(client, job, calls)
