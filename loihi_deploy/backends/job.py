"""A checked request, cut into chunks of samples that threads work off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.argument_problems import shown
from loihi_deploy.backends.chip_engines import ENGINES, Engine, Hardware, InARow
from loihi_deploy.backends.chunk import Chunk, Wanted, part_of
from loihi_deploy.backends.first_run import compile_missing
from loihi_deploy.backends.halves import Halves
from loihi_deploy.backends.line import Line, line
from loihi_deploy.backends.preflight import OnBoard
from loihi_deploy.backends.request import (
    RunOptions,
    event_problems,
    frame_problems,
    gap_problems,
    memory_of_frames_problems,
    state_problems,
    timing_problems,
    wanted,
)
from loihi_deploy.backends.run_memory import SMALL, bytes_needed, memory_problems
from loihi_deploy.engines.activity import Meter
from loihi_deploy.engines.host.biases import sign_problems
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.engines.threads import in_order, parts_of, thread_count
from loihi_deploy.errors import AccumulatorOverflowError, BackendError, InputError, Problem
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.samples import held
from loihi_deploy.options import BACKEND_ALIASES
from loihi_deploy.results import RunState

CHUNK_SECONDS = 0.02
"""About how long a thread works on a chunk, so that handing chunks over costs little and threads end together."""
IN_A_ROW = 100
"""Samples that are presented in one load of a board."""
BUILT_FOR = 5
"""Samples for which nengo-loihi's blocks are built once."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a run, with nothing wrong in it, and what follows from that for so many samples.

    Parameters
    ----------
    options : RunOptions
        With the backend's proper name.
    wanted : Wanted
        What `options` records.
    n : int
        Samples.
    steps : int
        Of a presentation.
    hold : int
        Steps of each of its frames.
    width : int
        Last steps of the presentation that outputs are averaged over.
    threads : int
        Where `options` leaves them open, too.
    parts : list of slices
        Samples that a thread takes at a time.
    at_once : int
        Samples that are worked on at a time.
    is_small : bool
        Whether there is surely enough memory.
    """

    options: RunOptions
    wanted: Wanted
    n: int
    steps: int
    hold: int
    width: int
    threads: int
    parts: list[slice]
    at_once: int
    is_small: bool

    @property
    def reading(self) -> tuple[float | None, int, int]:
        """Window, steps of a frame, and those that the last one is held longer."""
        return self.options.readout_window, self.hold, self.options.flush


@dataclass(frozen=True)
class Job:
    """Samples for a program, and how they are presented; made by `checked_job`.

    Parameters
    ----------
    line : Line
    samples : Samples
    asked : Asked
    engine : Engine or None
        What the chip part runs on; None for our compiled engine with encoder and readout beside it.
    meter : Meter or None
        What counts the work of the cores.
    """

    line: Line
    samples: Samples
    asked: Asked
    engine: Engine | None
    meter: Meter | None = None

    def numbers(self, part: slice) -> NDArray[np.int64]:
        """Numbers of some of the samples: what random spikes depend on."""
        own = self.samples.numbers
        first = self.asked.options.first_sample
        return np.arange(first + part.start, first + part.stop) if own is None else first + own[part]

    def chunks(self) -> Iterator[tuple[slice, Chunk]]:
        """Results of consecutive chunks of samples, in order; a bounded number of them exists at a time."""
        options = self.asked.options
        if self.engine is None:
            compile_missing(self.line, self.asked.threads)
        with progress_bar(options.progress, self.asked.n) as advance:
            for part, chunk in self._stream() if options.stream else self._batches():
                if options.on_overflow == "raise" and chunk.first_wrap is not None:
                    raise _overflow(chunk.first_wrap, self.numbers(part))
                advance(part.stop - part.start)
                yield part, chunk

    def _batches(self) -> Iterator[tuple[slice, Chunk]]:
        return in_order(self._batch, self.asked.parts, self.asked.threads)

    def _stream(self) -> Iterator[tuple[slice, Chunk]]:
        asked = self.asked
        state = asked.options.state
        for part in asked.parts:
            m, flush = part.stop - part.start, asked.options.flush
            inputs, hold = held(self.samples.take(part).arrays, asked.hold, flush, in_a_row=True)
            frames = {name: x.reshape(1, -1, x.shape[2]) for name, x in inputs.items()}
            chunk = self._present(frames, m * asked.steps, hold, state, True)
            state = chunk.state
            yield part, chunk.as_samples(m)

    def _batch(self, part: slice) -> Chunk:
        options, steps = self.asked.options, self.asked.steps
        state = None if options.state is None else part_of(options.state, part)
        samples = self.samples if len(self.asked.parts) == 1 else self.samples.take(part)
        inputs, hold = held(samples.arrays, self.asked.hold, options.flush)
        numbers = self.numbers(part) if self.line.encoder.drawn else None
        if (cut := self._halves) is not None:
            return self.line.present_one(cut, inputs, steps, hold, options.seed, numbers)
        return self._present(inputs, steps, hold, state, options.return_state, numbers)

    @property
    def _halves(self) -> Halves | None:
        """How a single sample, of which nothing but the outputs is wanted, is shared between two threads."""
        asked, options = self.asked, self.asked.options
        more = asked.wanted.variables or options.stream or options.return_state or options.state is not None
        if asked.n != 1 or asked.threads == 1 or self.engine or self.meter or more:
            return None
        cut = self.line.halves
        return cut if cut is not None and cut.pay(asked.steps) else None

    def _present(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        hold: int,
        state: RunState | None,
        keep_state: bool,
        numbers: NDArray[np.int64] | None = None,
    ) -> Chunk:
        how = (steps, hold, self.asked.wanted, self.asked.options.seed, state, keep_state, numbers)
        if self.engine is None:
            return self.line.present(inputs, *how, self.meter)
        return self.line.present_on(self.engine, inputs, *how)


def checked_job(
    program: Program, samples: Samples, options: RunOptions, mapping: Any = None, meter: Meter | None = None
) -> Job:
    """Check what is asked for.

    Raises
    ------
    InputError
        Listing every option that does not fit.
    BackendError
        If there is no such backend, or it cannot do what is asked for.
    """
    found, problems = _problems(program, samples, options)
    if found.of_backend and not problems:
        raise BackendError("Cannot run the program", found.of_backend)
    asked = found.asked
    if asked is not None and not asked.is_small:
        # what a meter records is counted, chunk by chunk
        kept = asked.n if meter is None else min(asked.n, asked.at_once)
        dense = asked.options.backend != "emulator"
        problems += memory_problems(program, asked.wanted, kept, asked.steps, asked.at_once, dense=dense)
    if problems or asked is None:
        raise InputError("Cannot run the program", [*problems, *found.of_backend])
    return Job(line(program), samples, asked, _engine(asked.options, mapping), meter)


def request_problems(program: Program, samples: Samples | None, options: RunOptions) -> list[Problem]:
    """What is wrong with what is asked for, as far as it can be told without the samples where these are None."""
    found, problems = _problems(program, samples, options)
    return [*problems, *found.of_backend]


@dataclass(frozen=True)
class _Found:
    """What follows from options, whatever the samples.

    Parameters
    ----------
    problems, of_backend : tuple of Problem
        What is wrong with them, and what the backend cannot do.
    asked : Asked or None
        What is asked for, where nothing is wrong and samples are given.
    looks_at_values : bool
        Whether the program can be run with some values of samples, and not with others.
    """

    problems: tuple[Problem, ...]
    of_backend: tuple[Problem, ...]
    asked: Asked | None
    looks_at_values: bool


def _problems(program: Program, samples: Samples | None, options: RunOptions) -> tuple[_Found, list[Problem]]:
    """What follows from the options, and what is wrong with them and with the samples."""
    n, n_frames = (None, 1) if samples is None else (len(samples), samples.n_frames)
    threads = options.threads
    of_threads: tuple[Problem, ...] = ()
    if threads is None:
        try:
            threads = thread_count()
        except InputError as error:
            threads, of_threads = 1, error.problems
    found = None
    records_nothing = isinstance(options.record, tuple) and not options.record and options.neurons is None
    if records_nothing and options.state is None:
        values = tuple(vars(options).values())
        with suppress(TypeError):  # some that are wrong cannot be looked up
            found = _of_plain_options(program, values, tuple(map(type, values)), threads, n_frames, n)
    if found is None:
        found = _of_options(program, options, threads, n_frames, n)
    problems = [*found.problems, *of_threads]
    if samples is not None and found.looks_at_values:
        problems += sign_problems(program, samples.arrays)
        hold = None if problems else options.hold(n_frames)
        problems += event_problems(program, samples.arrays, hold)
    return found, problems


def _of_options(program: Program, options: RunOptions, threads: int, n_frames: int, n: int | None) -> _Found:
    """What follows from options for `n` samples, where that is known; `threads` where they do not say how many."""
    stream = options.stream is True
    problems = list(options.problems(n_frames))
    records = wanted(program, options, problems)
    problems += timing_problems(program, n_frames, stream)
    problems += gap_problems(program, options.reset)
    problems += memory_of_frames_problems(program, n, stream)
    problems += state_problems(program, options.state, 1 if stream else n)
    if n is not None and not problems:
        problems += frame_problems(program, options.hold(n_frames))
    of_backend = tuple(_backend_problems(options))
    asked = None
    if n is not None and not problems and not of_backend:
        asked = _asked(program, options, records, threads, n_frames, n)
    looks_at_values = bool(program.bias_inputs) or any(node.events for node in program.encoder.inputs)
    return _Found(tuple(problems), of_backend, asked, looks_at_values)


@lru_cache(maxsize=4)
def _of_plain_options(
    program: Program,
    values: tuple[Any, ...],
    kinds: tuple[type, ...],
    threads: int,
    n_frames: int,
    n: int | None,
) -> _Found:
    """`_of_options` of options that record nothing, found once: `kinds` tells True from 1 and 1.0 among them."""
    return _of_options(program, RunOptions(*values), threads, n_frames, n)


def _asked(
    program: Program, options: RunOptions, records: Wanted, threads: int, n_frames: int, n: int
) -> Asked:
    """What is asked for by options with which nothing is wrong."""
    backend, stream = _proper_name(options.backend), options.stream
    steps, hold = options.total_steps(n_frames), options.hold(n_frames)
    in_a_row = options.reset != "rest" and (backend == "hardware" or options.reset == "gap")
    threads = threads if backend == "emulator" and not in_a_row else 1
    chunk_size = options.chunk_size or _default_chunk_size(program, backend, n, steps, threads)
    continues = ENGINES[backend](None).continues
    if stream and not continues:
        chunk_size = max(n, 1)  # one long presentation, with nothing to be continued
    elif in_a_row and options.chunk_size is None:
        chunk_size = min(n, IN_A_ROW) if continues or backend == "hardware" else n
    at_once = chunk_size if threads == 1 else 3 * threads * chunk_size
    is_small = bytes_needed(program, records, n, steps, at_once, dense=backend != "emulator") <= SMALL
    if options.backend != backend:
        options = replace(options, backend=backend)
    width = window_steps(steps - options.flush, options.readout_window, hold, program.readout.first_frame)
    parts = parts_of(n, chunk_size)
    return Asked(options, records, n, steps, hold, width, threads, parts, at_once, is_small)


def _proper_name(backend: Any) -> Any:
    """A backend by the name that it has in `ENGINES`; what is no name as it is."""
    return BACKEND_ALIASES.get(backend, backend) if isinstance(backend, str) else backend


def _backend_problems(options: RunOptions) -> Iterator[Problem]:
    """Why there is no such backend, or what it cannot do."""
    backend = _proper_name(options.backend)
    if not isinstance(backend, str) or backend not in ENGINES:
        yield Problem("no such backend", "backend", shown(options.backend), ", ".join(ENGINES))
        return
    engine, where = ENGINES[backend](None), f"backend '{backend}'"
    if (options.state is not None or options.return_state is True) and not engine.continues:
        yield Problem(
            "cannot continue a run, and leaves no state that others could continue",
            where,
            remedy="Use backend='emulator', which gives the same spikes",
        )
    raises = isinstance(options.on_overflow, str) and options.on_overflow == "raise"
    if raises and not engine.counts_wraps:
        yield Problem(
            "does not tell when an accumulator wraps around, so on_overflow='raise' cannot stop it",
            where,
            remedy="Use backend='emulator', which gives the same spikes, or on_overflow='count'",
        )


def _engine(options: RunOptions, mapping: Any) -> Engine | None:
    """What the chip part runs on; None for our compiled engine, with encoder and readout beside it."""
    if options.backend == "hardware":
        return Hardware(mapping, OnBoard(options.reset, options.gap, options.streamed))
    if options.reset == "gap" and not options.stream:
        return InARow(ENGINES[options.backend](mapping), options.gap)
    return None if options.backend == "emulator" else ENGINES[options.backend](mapping)


def _default_chunk_size(program: Program, backend: str, n: int, steps: int, threads: int) -> int:
    """Samples that keep a thread busy for a while, few enough that all threads have several chunks."""
    if backend == "nengo_loihi":
        return min(n, BUILT_FOR)
    if backend != "emulator":
        return 1
    seconds_per_sample = steps * (5e-6 + 1e-9 * program.n_compartments)
    return max(1, min(round(CHUNK_SECONDS / seconds_per_sample), -(-n // (4 * threads))))


def _overflow(first_wrap: tuple[int, int, str], numbers: NDArray[np.int64]) -> AccumulatorOverflowError:
    sample, step, population = first_wrap
    return AccumulatorOverflowError.single(
        f"an accumulator wrapped around at step {step + 1} of sample {numbers[sample]}",
        f"layer '{population}'",
        remedy="Lower the firing rate of this layer, so that its weights are smaller beside its threshold, or count "
        "overflows with on_overflow='count'",
    )


_NO_BAR = nullcontext(lambda n_done: None)


def progress_bar(
    progress: bool | None, n: int, what: str = "samples"
) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal or where it was asked for."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return _NO_BAR
    return _shown_bar(n, what)


@contextmanager
def _shown_bar(n: int, what: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=n)
        yield lambda n_done: bar.advance(task, n_done)
