"""Frames that come one after the other: state is kept from frame to frame, and each gives what is known by then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.chunk import Wanted
from loihi_deploy.backends.line import line
from loihi_deploy.backends.request import event_problems, timing_problems
from loihi_deploy.engines.host.biases import sign_problems
from loihi_deploy.errors import AccumulatorOverflowError, InputError
from loihi_deploy.ir import Graph, samples_for
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.samples import seen_by
from loihi_deploy.results import RunState

NOTHING = Wanted({}, {})


@dataclass(frozen=True)
class StreamAnswer(OneLine):
    """What a stream knows after a frame.

    Parameters
    ----------
    frame : int or None
        The frame that the answer is for, counted from the last reset: the newest whose answer has arrived. None while
        there is none, as before `Readout.first_frame`.
    outputs : (*shape) float array or None
        Of the first readout.
    decision : int or None
        The class that it decides for; None where there are no classes.
    late : int
        Steps that the frame's last step is ago: the latency in steps.
    """

    frame: int | None
    outputs: NDArray[Any] | None
    decision: int | None
    late: int


class Stream:
    """Present frames one by one; made by `Deployment.stream`.

    Parameters
    ----------
    graph : Graph
        Whose inputs the frames are for.
    program : Program
    hold : int
        Steps of a frame.
    width : int or None
        Last steps of a frame that its answer is averaged over; None averages over all frames since the last reset.
    flush : int or None
        Steps that an answer arrives later than its frame; None reads each frame while it is shown, as samples that
        stand still are read.
    on_overflow : {'count', 'raise'}
    seed : int
    """

    def __init__(
        self,
        graph: Graph,
        program: Program,
        hold: int,
        width: int | None,
        flush: int | None,
        on_overflow: str = "count",
        seed: int = 0,
    ) -> None:
        if problems := list(timing_problems(program, 2, False)):
            raise InputError("Cannot run the program as a stream", problems)
        self._graph, self._program, self._line = graph, program, line(program)
        self._hold, self._width = hold, width
        self._flush, self._stands_still = flush or 0, flush is None
        self._on_overflow, self._seed = on_overflow, seed
        self._seconds, self._steps_in_all = 0.0, 0
        self._state: RunState | None = None
        self.reset()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin another sequence from rest."""
        self._state = None
        self._last: Any = None
        self._memories: dict[str, list[NDArray[Any]]] = {node.name: [] for node in self._graph.inputs}
        self._finished = False
        self._step = 0
        self._sums = np.zeros((1, self._line.n_outputs))
        """Sums of what was decoded, up to this step and to the steps before it that are still needed."""
        self._start = np.zeros(self._line.n_outputs)
        """The same up to the step that the first answer of all begins with."""
        self._begin = self._flush + self._program.readout.first_frame * self._hold

    @property
    def real_time_factor(self) -> float:
        """Seconds that the presented steps stand for, over those that they took; not a number before the first."""
        return self._steps_in_all * self._program.dt / self._seconds if self._seconds else float("nan")

    def step(self, frame: Any) -> StreamAnswer:
        """Present a frame, and give the newest answer.

        Parameters
        ----------
        frame : array, or mapping of arrays by input
            ``input_shape``.

        Raises
        ------
        InputError
            If the frame does not fit, or the sequence was finished.
        AccumulatorOverflowError
            If an accumulator wraps around and that is to be an error.
        """
        if self._finished:
            raise InputError.single(
                "a frame behind the end of the sequence",
                "frame",
                remedy="Call reset() before the next sequence",
            )
        arrays = {name: _alone(values) for name, values in frame.items()} if isinstance(frame, dict) else None
        samples = samples_for(self._graph, _alone(frame) if arrays is None else arrays, one_of_many=True)
        if samples.n_frames != 1 or len(samples) != 1:
            raise InputError.single("not a single frame", "frame", np.shape(frame))
        problems = [
            *sign_problems(self._program, samples.arrays),
            *event_problems(self._program, samples.arrays, self._hold),
        ]
        if problems:
            raise InputError("The frame does not fit the network", problems)
        self._last = {
            node.name: seen_by(node, samples.given, self._memories[node.name])
            if node.remembers
            else samples.arrays[node.name]
            for node in self._graph.inputs
        }
        self._present(self._hold)
        return self._answer()

    def finish(self) -> StreamAnswer:
        """Hold the last frame until its answer has arrived, and give it: what a run of the whole sequence gives.

        Answers to frames before it that arrive meanwhile are not given.

        Raises
        ------
        InputError
            If there was no frame.
        """
        if self._last is None:
            raise InputError.single("no frame was presented", "stream", remedy="Call step(frame) first")
        if not self._finished and self._flush:
            self._present(self._flush)
        self._finished = True
        return self._answer()

    def _present(self, steps: int) -> None:
        start = time.perf_counter()
        chunk = self._line.present(self._last, steps, steps, NOTHING, self._seed, self._state, True)
        if self._on_overflow == "raise" and chunk.first_wrap is not None:
            raise AccumulatorOverflowError.single(
                f"an accumulator wrapped around at step {self._step + chunk.first_wrap[1] + 1}",
                f"layer '{chunk.first_wrap[2]}'",
                remedy="Lower the firing rate of this layer, or count overflows with on_overflow='count'",
            )
        self._state, self._trace = chunk.state, chunk.trace
        sums = np.cumsum(np.concatenate([self._sums[-1:], chunk.trace[0]]), axis=0)
        if self._step <= self._begin < self._step + len(sums):
            self._start = sums[self._begin - self._step]
        kept = self._flush + 2 * self._hold + 1
        self._sums = np.concatenate([self._sums[:-1], sums])[-kept:]
        self._step += steps
        self._steps_in_all += steps
        self._seconds += time.perf_counter() - start

    def _answer(self) -> StreamAnswer:
        """The answer to the newest frame whose steps have arrived."""
        frame = (self._step - self._flush) // self._hold - 1
        end = (frame + 1) * self._hold + self._flush
        if frame < self._program.readout.first_frame or not self._program.readout.readouts:
            return StreamAnswer(None, None, None, 0)
        node = self._program.readout.readouts[0]
        if self._stands_still and self._width is not None:
            means = self._trace[:, -self._width :].mean(axis=1)[0]
        else:
            place = len(self._sums) - 1 - (self._step - end)
            width = end - self._begin if self._width is None else self._width
            first = self._start if self._width is None else self._sums[place - width]
            means = (self._sums[place] - first) / width
        values = means[: node.size] + node.bias
        outputs = node.activated(values[None])[0].astype(node.dtype)
        decision = int(node.classes(values)) if node.n_classes > 1 else None
        return StreamAnswer(frame, outputs, decision, self._step - (frame + 1) * self._hold)


def _alone(frame: Any) -> NDArray[Any]:
    """A frame as a batch of one."""
    try:
        return np.asarray(frame)[None]
    except Exception as error:  # whatever an array-like of another package raises
        found = f"{type(frame).__name__}: {error}"
        raise InputError.single("samples are not an array", "frame", found) from error
