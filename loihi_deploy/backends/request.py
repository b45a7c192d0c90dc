"""A checked request, cut into chunks of samples that threads work off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import Chunk, Wanted, part_of
from loihi_deploy.backends.line import Line, Simulate, line
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.engines.host.biases import sign_problems
from loihi_deploy.engines.threads import in_order, parts_of, thread_count
from loihi_deploy.errors import AccumulatorOverflowError, BackendError, InputError, Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.results import RunState

BACKENDS = ("emulator", "numpy", "reference", "hardware")
VARIABLES = ("spikes", "u", "v", "events")
CHUNK_SECONDS = 0.02
"""About how long a thread works on a chunk, so that handing chunks over costs little and threads end together."""

Record = Iterable[str] | Mapping[str, Iterable[str]]
Neurons = Mapping[str, slice | Iterable[int]]


@dataclass(frozen=True)
class Job:
    """What is shown to a program, for how long, on what engine, and what is wanted of it; made by `checked_job`."""

    line: Line
    backend: str
    mapping: Any
    inputs: Mapping[str, NDArray[Any]]
    n: int
    n_frames: int
    steps: int
    wanted: Wanted
    seed: int
    stream: bool
    state: RunState | None
    keep_state: bool
    on_overflow: str
    threads: int
    chunk_size: int
    progress: bool | None

    def chunks(self) -> Iterator[tuple[slice, Chunk]]:
        """Results of consecutive chunks of samples, in order; a bounded number of them exists at a time."""
        with _progress_bar(self.progress, self.n) as advance:
            for part, chunk in self._stream() if self.stream else self._batches():
                if self.on_overflow == "raise" and chunk.first_wrap is not None:
                    raise _overflow(chunk.first_wrap, part.start)
                advance(part.stop - part.start)
                yield part, chunk

    def _batches(self) -> Iterator[tuple[slice, Chunk]]:
        return in_order(self._batch, parts_of(self.n, self.chunk_size), self.threads)

    def _stream(self) -> Iterator[tuple[slice, Chunk]]:
        state = self.state
        for part in parts_of(self.n, self.chunk_size):
            m = part.stop - part.start
            frames = {name: x[part].reshape(1, m * self.n_frames, -1) for name, x in self.inputs.items()}
            chunk = self._present(frames, m * self.steps, state, True)
            state = chunk.state
            yield part, chunk.as_samples(m)

    def _batch(self, part: slice) -> Chunk:
        inputs = {name: x[part] for name, x in self.inputs.items()}
        state = None if self.state is None else part_of(self.state, part)
        return self._present(inputs, self.steps, state, self.keep_state, part.start)

    def _present(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        state: RunState | None,
        keep_state: bool,
        first_sample: int = 0,
    ) -> Chunk:
        how = (self.wanted, self.seed, state, keep_state, first_sample)
        if self.backend == "emulator":
            return self.line.present(inputs, steps, *how)
        simulate = _simulate(self.backend, self.line.program, self.mapping, self.seed)
        return self.line.present_on(simulate, inputs, steps, *how)


def checked_job(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    steps: int | None,
    *,
    backend: str,
    mapping: Any,
    steps_per_frame: int | None,
    record: Record,
    neurons: Neurons | None,
    readout_window: float,
    seed: int,
    stream: bool,
    state: RunState | None,
    return_state: bool,
    on_overflow: str,
    threads: int | None,
    chunk_size: int | None,
    progress: bool | None,
) -> Job:
    """Check a request; the arguments are those of `run`.

    Raises
    ------
    InputError
        Listing every argument that does not fit.
    BackendError
        If there is no such backend, or it cannot do what is asked for.
    """
    if backend not in BACKENDS:
        raise BackendError.single("no such backend", "backend", backend, ", ".join(BACKENDS))
    if backend in ("reference", "hardware") and (stream or state is not None or return_state):
        raise BackendError.single(
            "cannot continue a run: each sample starts from rest",
            f"backend '{backend}'",
            remedy="Use backend='emulator', which gives the same spikes",
        )
    n, n_frames = next(iter(inputs.values())).shape[:2]
    problems: list[Problem] = []
    total = n_frames * steps_per_frame if steps_per_frame is not None else steps
    if total is None or total < 1 or total % n_frames:
        allowed = "at least 1" if n_frames == 1 else f"a multiple of the {n_frames} frames"
        problems.append(Problem("not a number of steps", "steps", total, allowed))
    if not 0 < readout_window <= 1:
        problems.append(Problem("out of range", "readout_window", readout_window, "above 0, up to 1"))
    if on_overflow not in ("count", "raise"):
        problems.append(Problem("unknown choice", "on_overflow", on_overflow, "'count' or 'raise'"))
    if chunk_size is not None and chunk_size < 1:
        problems.append(Problem("not a number of samples", "chunk_size", chunk_size, "at least 1"))
    try:
        n_threads = thread_count(threads)
    except InputError as error:
        problems += error.problems
    wanted = _wanted(program, record, neurons or {}, problems)
    problems += sign_problems(program, inputs)
    problems += _timing_problems(program, n_frames, stream)
    problems += _state_problems(program, state, 1 if stream else n)
    if problems:
        raise InputError("Cannot run the program", problems)
    total = total or 0
    return Job(
        line(program), backend, mapping, inputs, n, n_frames, total, wanted, seed, stream, state, return_state,
        on_overflow, n_threads if backend == "emulator" else 1,
        chunk_size or _default_chunk_size(program, backend, n, total, n_threads), progress,
    )  # fmt: skip


def _wanted(program: Program, record: Record, neurons: Neurons, problems: list[Problem]) -> Wanted:
    given = record if isinstance(record, Mapping) else dict.fromkeys(record, ("spikes",))
    sizes = {p.name: p.size for p in program.encoder.populations} | {
        p.name: p.size for p in program.populations
    }
    on_chip = {p.name for p in program.populations}
    variables = {name: tuple(chosen) for name, chosen in given.items()}
    for name, chosen in variables.items():
        if name not in sizes:
            problems.append(Problem("no such population", "record", name, ", ".join(sizes)))
            continue
        known = VARIABLES if name in on_chip else ("spikes", "events")
        problems += [
            Problem("cannot be recorded", f"record of '{name}'", variable, ", ".join(known))
            for variable in chosen
            if variable not in known
        ]
    indices = {}
    for name, choice in neurons.items():
        if name not in variables or name not in sizes:
            problems.append(Problem("neurons of a population that is not recorded", "neurons", name))
            continue
        try:
            numbers = np.arange(sizes[name])[
                choice if isinstance(choice, slice) else np.asarray(list(choice), np.int64)
            ]
        except IndexError:
            problems.append(
                Problem("no such neuron", f"neurons of '{name}'", None, f"0 to {sizes[name] - 1}")
            )
            continue
        indices[name] = np.unique(numbers)
    return Wanted(variables, indices)


def _state_problems(program: Program, state: RunState | None, n: int) -> Iterator[Problem]:
    if state is None:
        return
    for p in program.populations:
        found = state.chip.u[p.name].shape if p.name in state.chip.u else None
        if found != (n, p.size):
            yield Problem("the state does not fit", f"state of '{p.name}'", found, (n, p.size))


def _timing_problems(program: Program, n_frames: int, stream: bool) -> Iterator[Problem]:
    timed = [p.name for p in program.encoder.populations if p.neuron.kind == "ttfs"]
    if timed and (n_frames > 1 or stream):
        yield Problem(
            "one spike encodes a static sample from rest, no frames and no stream",
            ", ".join(timed),
            f"{n_frames} frames{', stream=True' if stream else ''}",
            remedy="Deploy it with another encoder",
        )


def _default_chunk_size(program: Program, backend: str, n: int, steps: int, threads: int) -> int:
    """Samples that keep a thread busy for a while, few enough that all threads have several chunks."""
    if backend != "emulator":
        return 1
    seconds_per_sample = steps * (5e-6 + 1e-9 * program.n_compartments)
    return max(1, min(round(CHUNK_SECONDS / seconds_per_sample), -(-n // (4 * threads))))


def _simulate(backend: str, program: Program, mapping: Any, seed: int) -> Simulate:
    if backend == "numpy":
        return lambda spikes, steps, record, state, biases: reference.simulate(
            program, spikes, steps, record, state, seed, biases
        )
    from loihi_deploy.backends import nengo_loihi

    simulate: Callable[..., Any] = (
        nengo_loihi.simulate if backend == "reference" else nengo_loihi.simulate_on_hardware
    )
    return lambda spikes, steps, record, state, biases: simulate(
        program, mapping, spikes, steps, record, seed=seed, biases=biases
    )


def _overflow(first_wrap: tuple[int, int, str], first_sample: int) -> AccumulatorOverflowError:
    sample, step, population = first_wrap
    return AccumulatorOverflowError.single(
        f"an accumulator wrapped around at step {step + 1} of sample {first_sample + sample}",
        f"layer '{population}'",
        remedy="Lower the firing rates or the largest weights of the layers before it, or count overflows with "
        "on_overflow='count'",
    )


@contextmanager
def _progress_bar(progress: bool | None, n: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal or where it was asked for."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda n_done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("samples", total=n)
        yield lambda n_done: bar.advance(task, n_done)
