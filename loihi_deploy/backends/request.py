"""A checked request, cut into chunks of samples that threads work off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import Chunk, Wanted, part_of
from loihi_deploy.backends.line import Line, Simulate, line
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.engines.host.biases import sign_problems
from loihi_deploy.engines.threads import in_order, parts_of, thread_count
from loihi_deploy.errors import AccumulatorOverflowError, BackendError, InputError, Problem
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.options import BACKEND_ALIASES, BACKENDS, READOUT_WINDOW, Backend
from loihi_deploy.results import RunState

VARIABLES = ("spikes", "u", "v", "events")
CHUNK_SECONDS = 0.02
"""About how long a thread works on a chunk, so that handing chunks over costs little and threads end together."""

Record = Iterable[str] | Mapping[str, Iterable[str]]
Neurons = Mapping[str, slice | Iterable[int]]


@dataclass(frozen=True)
class RunOptions:
    """How samples are presented, on what, and what is wanted of it; checked where a program is run with it.

    Parameters
    ----------
    steps : int, optional
        Steps of a presentation, a multiple of the number of frames. Not needed with `steps_per_frame`.
    backend : {'emulator', 'numpy', 'nengo_loihi', 'hardware'}
        Our compiled engine, our plain one, nengo-loihi's emulator, or the chip through nengo-loihi and NxSDK.
    steps_per_frame : int, optional
        Steps that each frame is shown, in place of `steps`.
    record : iterable of str, or dict of iterables of {'spikes', 'u', 'v', 'events'}
        Populations whose spikes, or whose given variables, are recorded. 'events' lists spikes: little memory for long
        runs.
    neurons : dict of slices, index lists or boolean masks, optional
        Which neurons of a recorded population; all if nothing is said.
    readout_window : float
        Outputs are averaged over this last part of a presentation, 0..1.
    seed : int
        Of the chip's noise, which is the same for every sample, and of spikes that Poisson encoders draw.
    stream : bool
        True presents the samples one after the other without a reset, as a chip runs; False starts each from rest.
    state : RunState, optional
        From which to continue: of as many samples, or of one for a stream.
    return_state : bool
        Whether the result holds the state after the last step.
    on_overflow : {'count', 'raise'}
        What happens when an accumulator wraps around.
    threads : int, optional
        The environment variable LOIHI_DEPLOY_THREADS, or every core of the machine, if not given. Results do not depend
        on it.
    chunk_size : int, optional
        Samples that a thread takes at a time. Results do not depend on it.
    progress : bool, optional
        Show a progress bar; on a terminal only, if not given.
    """

    steps: int | None = 100
    backend: Backend = "emulator"
    steps_per_frame: int | None = None
    record: Record = ()
    neurons: Neurons | None = None
    readout_window: float = READOUT_WINDOW
    seed: int = 0
    stream: bool = False
    state: RunState | None = None
    return_state: bool = False
    on_overflow: Literal["count", "raise"] = "count"
    threads: int | None = None
    chunk_size: int | None = None
    progress: bool | None = None


@dataclass(frozen=True)
class Job:
    """Samples for a program, and how they are presented; made by `checked_job`.

    Parameters
    ----------
    line : Line
    samples : Samples
    options : RunOptions
        With the backend's proper name.
    steps : int
        Of a presentation.
    wanted : Wanted
        What `options` records.
    threads, chunk_size : int
        Where `options` leaves them open, too.
    mapping : Mapping or None
    """

    line: Line
    samples: Samples
    options: RunOptions
    steps: int
    wanted: Wanted
    threads: int
    chunk_size: int
    mapping: Any

    def chunks(self) -> Iterator[tuple[slice, Chunk]]:
        """Results of consecutive chunks of samples, in order; a bounded number of them exists at a time."""
        options = self.options
        with _progress_bar(options.progress, len(self.samples)) as advance:
            for part, chunk in self._stream() if options.stream else self._batches():
                if options.on_overflow == "raise" and chunk.first_wrap is not None:
                    raise _overflow(chunk.first_wrap, part.start)
                advance(part.stop - part.start)
                yield part, chunk

    def _batches(self) -> Iterator[tuple[slice, Chunk]]:
        return in_order(self._batch, parts_of(len(self.samples), self.chunk_size), self.threads)

    def _stream(self) -> Iterator[tuple[slice, Chunk]]:
        state = self.options.state
        for part in parts_of(len(self.samples), self.chunk_size):
            m = part.stop - part.start
            frames = {name: x[None] for name, x in self.samples.take(part).all_frames().items()}
            chunk = self._present(frames, m * self.steps, state, True)
            state = chunk.state
            yield part, chunk.as_samples(m)

    def _batch(self, part: slice) -> Chunk:
        options = self.options
        state = None if options.state is None else part_of(options.state, part)
        inputs = self.samples.take(part).arrays
        return self._present(inputs, self.steps, state, options.return_state, part.start)

    def _present(
        self,
        inputs: Mapping[str, NDArray[Any]],
        steps: int,
        state: RunState | None,
        keep_state: bool,
        first_sample: int = 0,
    ) -> Chunk:
        seed, backend = self.options.seed, self.options.backend
        how = (self.wanted, seed, state, keep_state, first_sample)
        if backend == "emulator":
            return self.line.present(inputs, steps, *how)
        simulate = _simulate(backend, self.line.program, self.mapping, seed)
        return self.line.present_on(simulate, inputs, steps, *how)


def checked_job(program: Program, samples: Samples, options: RunOptions, mapping: Any = None) -> Job:
    """Check what is asked for.

    Raises
    ------
    InputError
        Listing every option that does not fit.
    BackendError
        If there is no such backend, or it cannot do what is asked for.
    """
    backend = BACKEND_ALIASES.get(options.backend, options.backend)
    if backend not in BACKENDS:
        raise BackendError.single("no such backend", "backend", backend, ", ".join(BACKENDS))
    continues = options.stream or options.state is not None or options.return_state
    if backend in ("nengo_loihi", "hardware") and continues:
        raise BackendError.single(
            "cannot continue a run: each sample starts from rest",
            f"backend '{backend}'",
            remedy="Use backend='emulator', which gives the same spikes",
        )
    n, n_frames = len(samples), samples.n_frames
    problems: list[Problem] = []
    steps = options.steps
    if options.steps_per_frame is not None:
        steps = n_frames * options.steps_per_frame
    if steps is None or steps < 1 or steps % n_frames:
        allowed = "at least 1" if n_frames == 1 else f"a multiple of the {n_frames} frames"
        problems.append(Problem("not a number of steps", "steps", steps, allowed))
    if not 0 < options.readout_window <= 1:
        problems.append(Problem("out of range", "readout_window", options.readout_window, "above 0, up to 1"))
    if options.on_overflow not in ("count", "raise"):
        problems.append(Problem("unknown choice", "on_overflow", options.on_overflow, "'count' or 'raise'"))
    if options.chunk_size is not None and options.chunk_size < 1:
        problems.append(Problem("not a number of samples", "chunk_size", options.chunk_size, "at least 1"))
    try:
        threads = thread_count(options.threads)
    except InputError as error:
        problems += error.problems
    wanted = _wanted(program, options.record, options.neurons or {}, problems)
    problems += sign_problems(program, samples.arrays)
    problems += _timing_problems(program, n_frames, options.stream)
    problems += _state_problems(program, options.state, 1 if options.stream else n)
    if problems:
        raise InputError("Cannot run the program", problems)
    steps = steps or 0
    return Job(
        line(program),
        samples,
        replace(options, backend=backend),
        steps,
        wanted,
        threads if backend == "emulator" else 1,
        options.chunk_size or _default_chunk_size(program, backend, n, steps, threads),
        mapping,
    )


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
        nengo_loihi.simulate if backend == "nengo_loihi" else nengo_loihi.simulate_on_hardware
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
