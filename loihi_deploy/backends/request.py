"""What is asked of a run, and whether it can be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.argument_problems import (
    choice_problems,
    flag_problems,
    fraction_problems,
    shown,
    whole_number_problems,
)
from loihi_deploy.backends.chunk import Wanted, population_sizes
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DEFAULT_STEPS, READOUT_WINDOW, Backend
from loihi_deploy.results import RunState

VARIABLES = ("spikes", "u", "v", "events")
SEED_MAX = 2**32 - 1
LONGEST_GAP = 100_000
"""Steps between two samples."""

Record = Iterable[str] | Mapping[str, Iterable[str]]
Neurons = Mapping[str, slice | Iterable[int]]


@dataclass(frozen=True)
class RunOptions:
    """How samples are presented, on what, and what is wanted of it; checked where a program is run with it.

    Parameters
    ----------
    steps : int, optional
        Steps of the frames of a presentation, a multiple of their number; if neither they nor `steps_per_frame` are
        given, 100, or the next such multiple.
    backend : {'emulator', 'numpy', 'nengo_loihi', 'hardware'}
        Our compiled engine, our plain one, nengo-loihi's emulator, or the chip through nengo-loihi and NxSDK.
    steps_per_frame : int, optional
        Steps that each frame is shown, in place of `steps`.
    record : iterable of str, or dict of iterables of {'spikes', 'u', 'v', 'events'}
        Populations whose spikes, or whose given variables, are recorded. 'events' lists spikes: little memory for long
        runs.
    neurons : dict of slices, index lists or boolean masks, optional
        Which neurons of a recorded population; all if nothing is said.
    readout_window : float or None
        Outputs are averaged over this last part of a presentation, 0..1; None is the last frame.
    flush : int
        Steps that the last frame is held longer, so that the answer to it arrives: windows are so many steps later.
    by_frame : bool
        Whether there is also an answer after each frame, as if it were the last one.
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
    first_sample : int
        Number of the first sample, where the samples are a part of more: random spikes depend on it.
    reset : {'rest', 'snip', 'gap'}
        How samples without `stream` start. 'rest': each from rest, for which backend 'hardware' loads the network anew.
        'snip': likewise from rest, in one load there, with a snip that writes the chip's state. 'gap': the host from
        rest, the chip as it is after `gap` steps without input.
    gap : int
        Steps between two samples, for 'gap'.
    streamed : bool
        Whether backend 'hardware' sends spikes while the chip runs; else they are loaded before.
    """

    steps: int | None = None
    backend: Backend = "emulator"
    steps_per_frame: int | None = None
    record: Record = ()
    neurons: Neurons | None = None
    readout_window: float | None = READOUT_WINDOW
    flush: int = 0
    by_frame: bool = False
    seed: int = 0
    stream: bool = False
    state: RunState | None = None
    return_state: bool = False
    on_overflow: Literal["count", "raise"] = "count"
    threads: int | None = None
    chunk_size: int | None = None
    progress: bool | None = None
    first_sample: int = 0
    reset: Literal["rest", "snip", "gap"] = "rest"
    gap: int = 0
    streamed: bool = False

    def problems(self, n_frames: int) -> Iterator[Problem]:
        """What is wrong with it whatever the program, for samples of so many frames."""
        yield from whole_number_problems("steps_per_frame", self.steps_per_frame, 1, optional=True)
        found = list(whole_number_problems("steps", self.steps, 1, optional=True))
        yield from found
        if not found and self.steps is not None:
            if self.steps_per_frame is not None:
                remedy = "Give one of them: steps are those of the whole presentation"
                yield Problem("given together with steps_per_frame", "steps", self.steps, remedy=remedy)
            elif self.steps % n_frames:
                limit = f"a multiple of the {n_frames} frames"
                per_frame = -(-self.steps // n_frames)
                remedy = f"Use steps={n_frames * per_frame}, or steps_per_frame={per_frame}"
                yield Problem("not a number of steps", "steps", self.steps, limit, remedy)
        if self.readout_window is not None:
            yield from fraction_problems("readout_window", self.readout_window, above_zero=True)
        yield from whole_number_problems("flush", self.flush, 0)
        yield from flag_problems("by_frame", self.by_frame)
        yield from whole_number_problems("seed", self.seed, 0, SEED_MAX)
        yield from whole_number_problems("first_sample", self.first_sample, 0)
        yield from choice_problems("on_overflow", self.on_overflow, ("count", "raise"))
        yield from flag_problems("stream", self.stream)
        yield from flag_problems("streamed", self.streamed)
        yield from choice_problems("reset", self.reset, ("rest", "snip", "gap"))
        yield from whole_number_problems("gap", self.gap, 0, LONGEST_GAP)
        if self.stream is True and self.reset != "rest":
            remedy = "Leave one of them out"
            yield Problem("a stream has no resets", "reset", shown(self.reset), remedy=remedy)
        if self.gap and self.reset != "gap":
            remedy = "Say reset='gap', or leave it out"
            yield Problem("steps between samples that nothing asks for", "gap", self.gap, remedy=remedy)
        if self.streamed is True and self.backend != "hardware":
            remedy = "Leave it out: spikes are the same"
            yield Problem("only backend 'hardware' streams spikes", "streamed", self.backend, remedy=remedy)
        if self.reset == "gap" and (self.state is not None or self.return_state is True):
            remedy = "Use stream=True, which continues"
            yield Problem("samples with gaps leave no state of their own", "reset", "gap", remedy=remedy)
        yield from flag_problems("return_state", self.return_state)
        yield from flag_problems("progress", self.progress, optional=True)
        yield from whole_number_problems("chunk_size", self.chunk_size, 1, optional=True)
        yield from whole_number_problems("threads", self.threads, 1, optional=True)

    def hold(self, n_frames: int) -> int:
        """Steps of each of so many frames."""
        if self.steps_per_frame is not None:
            return int(self.steps_per_frame)
        return -(-DEFAULT_STEPS // n_frames) if self.steps is None else int(self.steps) // n_frames

    def total_steps(self, n_frames: int) -> int:
        """Steps of a presentation of so many frames, and those that the last one is held longer."""
        return n_frames * self.hold(n_frames) + self.flush


def wanted(program: Program, options: RunOptions, problems: list[Problem]) -> Wanted:
    """What a run with these options records of a program; what does not fit is added to `problems`."""
    sizes = population_sizes(program)
    on_chip = {p.name for p in program.populations}
    variables: dict[str, tuple[str, ...]] = {}
    for name, chosen in _named(options.record, problems).items():
        if name not in sizes:
            problems.append(Problem("no such population", "record", shown(name), ", ".join(sizes)))
            continue
        known = VARIABLES if name in on_chip else ("spikes", "events")
        of_it = _listed(chosen)
        if of_it is None:
            problems.append(Problem("not a list of variables", f"record of '{name}'", shown(chosen)))
            continue
        for variable in of_it:
            problems += choice_problems(f"record of '{name}'", variable, known, "cannot be recorded")
        variables[name] = tuple(variable for variable in of_it if isinstance(variable, str))
    neurons = {}
    given: Any = {} if options.neurons is None else options.neurons
    if not isinstance(given, Mapping):
        problems.append(Problem("not by population", "neurons", shown(given), "a dict"))
        given = {}
    for name, choice in given.items():
        if name not in variables:
            problems.append(Problem("neurons of a population that is not recorded", "neurons", shown(name)))
            continue
        found = _chosen(choice, sizes[name])
        if isinstance(found, str):
            problems.append(
                Problem(found, f"neurons of '{name}'", shown(choice), f"numbers from 0 to {sizes[name] - 1}")
            )
        else:
            neurons[name] = found
    return Wanted(variables, neurons)


def _named(record: Any, problems: list[Problem]) -> Mapping[str, Any]:
    """Variables by population, from either way to write them."""
    if isinstance(record, Mapping):
        return record
    names = _listed(record)
    if names is None:
        remedy = f"Give record=[{record!r}]" if isinstance(record, str) else ""
        problems.append(Problem("not a list of populations", "record", shown(record), remedy=remedy))
        return {}
    problems += [
        Problem("not the name of a population", "record", shown(name))
        for name in names
        if not isinstance(name, str)
    ]
    return {name: ("spikes",) for name in names if isinstance(name, str)}


def _listed(values: Any) -> list[Any] | None:
    """Values of anything that can be walked through, but for a text; None else."""
    try:
        return None if isinstance(values, str) else list(values)
    except TypeError:
        return None


def _chosen(choice: Any, size: int) -> NDArray[np.int64] | str:
    """Neuron numbers in rising order, or what is wrong with the choice."""
    everyone: NDArray[np.int64] = np.arange(size)
    if isinstance(choice, np.ma.MaskedArray):
        return "a masked array, of which nobody knows what it leaves out"
    try:
        if isinstance(choice, slice):
            return everyone[choice]
        listed = choice if isinstance(choice, np.ndarray) else list(choice)
        picked = np.asarray(listed)
    except (TypeError, ValueError):
        return "neither a slice nor a list of neurons"
    if picked.dtype == bool:
        return everyone[picked] if picked.shape == (size,) else "a mask must have a value for each neuron"
    if picked.size == 0:
        return everyone[:0]
    flags = picked is not listed and any(isinstance(each, (bool, np.bool_)) for each in listed)
    if picked.ndim != 1 or picked.dtype.kind not in "iu" or flags:
        return "not a list of whole numbers"
    if (picked >= size).any() or (picked.astype(np.int64) < -size).any():
        return "no such neuron"
    return np.asarray(np.unique(everyone[picked]))


def state_problems(program: Program, state: Any, n: int | None) -> Iterator[Problem]:
    """What keeps `n` samples, or as many as there are, from being continued from a state."""
    if state is None:
        return
    remedy = "Give what a run of this program with return_state=True returned"
    if not isinstance(state, RunState):
        yield Problem("not a state", "state", shown(state), remedy=remedy)
    elif state.program != program.digest:
        yield Problem("the state is one of another program", "state", remedy=remedy)
    else:
        found = len(next(iter(state.chip.u.values())))
        if n is not None and found != n:
            yield Problem("the state is one of another number of samples", "state", found, n)


def memory_of_frames_problems(program: Program, n: int | None, stream: bool) -> Iterator[Problem]:
    """What keeps samples from following each other without a reset: the host's memory begins anew with each."""
    remembering = [node.name for node in program.encoder.inputs if node.remembers]
    if remembering and stream and n != 1:
        yield Problem(
            "the host's memory of frames begins anew with each sample",
            ", ".join(remembering),
            "reset=False",
            remedy="Present them as the frames of one sample, or with deployment.stream()",
        )


def event_problems(
    program: Program, inputs: Mapping[str, NDArray[Any]], hold: int | None
) -> Iterator[Problem]:
    """Values that are no spikes, and frames of more than one step, where inputs are events."""
    names = [node.name for node in program.encoder.inputs if node.events]
    if names and hold is not None and hold != 1:
        remedy = "Use steps_per_frame=1: a frame holds the spikes of one step"
        yield Problem("events that last for several steps", ", ".join(names), hold, 1, remedy)
    for name in names:
        other = inputs[name][(inputs[name] != 0) & (inputs[name] != 1)]
        if other.size:
            remedy = "Use shorter bins, or an encoder for values: DeployOptions(encoder='auto')"
            yield Problem("values that are no spikes", f"input '{name}'", float(other[0]), "0 or 1", remedy)


def frame_problems(program: Program, hold: int | None) -> Iterator[Problem]:
    """Frames of other lengths than those that the delays of a network were made for."""
    made_for = program.frame_steps
    if made_for is not None and hold is not None and hold != made_for:
        yield Problem(
            "the network remembers earlier frames by delays, which were made for frames of other lengths",
            "steps_per_frame",
            hold,
            made_for,
            f"Use steps_per_frame={made_for}, or deploy with DeployOptions(steps_per_frame={hold})",
        )


def gap_problems(program: Program, reset: str) -> Iterator[Problem]:
    """What cannot follow each other without a reset."""
    if reset == "gap" and program.bias_inputs:
        what = "biases that are input values stand in registers, which are written when the network is loaded"
        yield Problem(what, "reset", "gap", remedy="Use reset=True, or deploy with another encoder")


def timing_problems(program: Program, n_frames: int, stream: bool) -> Iterator[Problem]:
    """What an encoder with one spike for each sample cannot do."""
    timed = [p.name for p in program.encoder.populations if p.neuron.kind == "ttfs"]
    if timed and (n_frames > 1 or stream):
        yield Problem(
            "one spike encodes a static sample from rest, no frames and no stream",
            ", ".join(timed),
            f"{n_frames} frames{', stream=True' if stream else ''}",
            remedy="Deploy it with another encoder",
        )
