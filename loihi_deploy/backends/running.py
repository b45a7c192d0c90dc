"""Present samples and decode the answers; evaluate them against labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import joined
from loihi_deploy.backends.request import Job, Neurons, Record, checked_job
from loihi_deploy.engines.host.readout import answers, decisions_by_step
from loihi_deploy.ir.program import Program
from loihi_deploy.results import Counters, Evaluation, PopulationCounts, RunResult, RunState


def run(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    steps: int | None = None,
    *,
    backend: str = "emulator",
    mapping: Any = None,
    steps_per_frame: int | None = None,
    record: Record = (),
    neurons: Neurons | None = None,
    readout_window: float = 0.5,
    seed: int = 0,
    stream: bool = False,
    state: RunState | None = None,
    return_state: bool = False,
    on_overflow: str = "count",
    threads: int | None = None,
    chunk_size: int | None = None,
    progress: bool | None = None,
) -> RunResult:
    """Present samples and decode the answers.

    Parameters
    ----------
    program : Program
    inputs : dict of (n, n_frames, size) arrays
        By input name; see `loihi_deploy.engines.rate_network.flat_inputs`.
    steps : int, optional
        Steps of a presentation, a multiple of the number of frames. Not needed with `steps_per_frame`.
    backend : {'emulator', 'numpy', 'reference', 'hardware'}
    mapping : Mapping
        The program's cores, for the last two backends.
    steps_per_frame : int, optional
        Steps that each frame is shown.
    record : iterable of str, or dict of iterables of {'spikes', 'u', 'v', 'events'}
        Populations whose spikes, or whose given variables, are recorded. 'events' lists spikes: little memory for long
        runs.
    neurons : dict of slices or index lists, optional
        Which neurons of a recorded population; all if nothing is said.
    readout_window : float
        Outputs are averaged over this last part of a presentation, 0..1.
    seed : int
        Of the chip's noise, which is the same for every sample.
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

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        Listing every argument that does not fit.
    BackendError
        If the backend cannot run here, or cannot do what was asked for.
    AccumulatorOverflowError
        If an accumulator wraps around and `on_overflow` is 'raise'.
    """
    start = time.perf_counter()
    job = checked_job(
        program, inputs, steps, backend=backend, mapping=mapping, steps_per_frame=steps_per_frame, record=record,
        neurons=neurons, readout_window=readout_window, seed=seed, stream=stream, state=state,
        return_state=return_state, on_overflow=on_overflow, threads=threads, chunk_size=chunk_size, progress=progress,
    )  # fmt: skip
    tally = _Tally(job)
    outputs = {node.name: np.zeros((job.n, *node.shape)) for node in program.readout.readouts}
    recorded: dict[str, dict[str, list[NDArray[Any]]]] = {name: {} for name in job.wanted.variables}
    states: list[RunState] = []
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        for name, values in answers(program.readout, chunk.trace, readout_window).items():
            outputs[name][part] = values
        for name, variables in chunk.recorded.items():
            for variable, values in variables.items():
                offset = np.array([part.start, 0, 0]) if variable == "events" else None
                recorded[name].setdefault(variable, []).append(values if offset is None else values + offset)
        if return_state and chunk.state is not None:
            states = [chunk.state] if stream else [*states, chunk.state]
    return RunResult(
        next(iter(outputs.values()), np.zeros((job.n, 0))),
        outputs,
        tally.counters(),
        {
            name: {variable: np.concatenate(parts) for variable, parts in variables.items()}
            for name, variables in recorded.items()
        },
        time.perf_counter() - start,
        joined(states) if states else None,
    )


def evaluate(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    labels: NDArray[np.integer[Any]],
    steps: int | None = None,
    *,
    by_step: bool = False,
    backend: str = "emulator",
    mapping: Any = None,
    steps_per_frame: int | None = None,
    readout_window: float = 0.5,
    seed: int = 0,
    stream: bool = False,
    on_overflow: str = "count",
    threads: int | None = None,
    chunk_size: int | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Count correct decisions of the first readout; further arguments are those of `run`.

    Parameters
    ----------
    program : Program
    inputs : dict of (n, n_frames, size) arrays
    labels : (n,) int array
    steps : int, optional
    by_step : bool
        Also count decisions as if every presentation had ended after each of its steps: accuracy as a function of
        presentation time, from one run.

    Returns
    -------
    Evaluation
    """
    start = time.perf_counter()
    job = checked_job(
        program, inputs, steps, backend=backend, mapping=mapping, steps_per_frame=steps_per_frame, record=(),
        neurons=None, readout_window=readout_window, seed=seed, stream=stream, state=None, return_state=False,
        on_overflow=on_overflow, threads=threads, chunk_size=chunk_size, progress=progress,
    )  # fmt: skip
    name = program.readout.readouts[0].name
    tally = _Tally(job)
    n_correct = 0
    correct_by_step = np.zeros(job.steps, np.int64)
    for part, chunk in job.chunks():
        tally.add(chunk.counts)
        output = answers(program.readout, chunk.trace, readout_window)[name]
        n_correct += int((output.reshape(len(output), -1).argmax(axis=1) == labels[part]).sum())
        if by_step:
            decisions = decisions_by_step(program.readout, chunk.trace, readout_window)
            correct_by_step += (decisions == labels[part, None]).sum(axis=0)
    return Evaluation(
        n_correct, job.n, tally.counters(), time.perf_counter() - start, correct_by_step if by_step else None
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
        return Counters(self._job.n, self._job.n * self._job.steps, self._counts)
