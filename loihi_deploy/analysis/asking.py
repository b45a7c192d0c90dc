"""What a call of a deployment is given, checked together: samples, labels and options, all problems at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.frames import gives_every_frame, presentation_steps, reading
from loihi_deploy.backends import RunOptions, request_problems
from loihi_deploy.errors import InputError, Problem, gathered
from loihi_deploy.ir import Graph, Readout, Samples, collected, samples_for
from loihi_deploy.ir.labels import are_of_frames, checked_labels, frame_labels, frame_targets
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.source import Source, is_read_in_parts, source_of
from loihi_deploy.options import DeployOptions


@dataclass(frozen=True)
class Asked:
    """What a call is given; made by `asked`.

    Parameters
    ----------
    summary : str
        What cannot be done where anything is wrong.
    graph, program, mapping, options
        Those of the deployment.
    given : Samples or None
        None where they do not fit; of samples that are read part by part the first one.
    source : Source or None
        Samples that are read part by part.
    labels : (n,) or (n, n_frames) int64 array, (n, size) or (n, n_frames, size) float64 array, or None
        Of samples, or of frames where the source answers every frame; floats are values that outputs should have. None
        where there are none, or they do not fit.
    problems : tuple of Problem
        What is wrong so far.
    """

    summary: str
    graph: Graph
    program: Program
    mapping: Any
    options: DeployOptions
    given: Samples | None
    source: Source | None
    labels: NDArray[Any] | None
    problems: tuple[Problem, ...]

    @property
    def samples(self) -> Samples:
        """The samples; raises what is wrong with anything.

        Raises
        ------
        InputError
        """
        if self.problems or self.given is None:
            raise InputError(self.summary, self.problems)
        return self.given

    @property
    def classes(self) -> NDArray[Any]:
        """The labels of samples that have them."""
        assert self.labels is not None, "labels are asked for, or there is a problem"
        return self.labels

    def run_options(self, **chosen: Any) -> RunOptions:
        """Options of the run that was asked for, the deployment's own where nothing is said.

        Parameters
        ----------
        **chosen
            Of `RunOptions`.

        Raises
        ------
        InputError
            If anything is wrong so far: with what is wrong with these options, too.
        """
        if self.given is not None:
            how = reading(self.program, self.options, self.given)
            chosen = {"readout_window": how.window, "flush": how.flush, **chosen}
            every_frame = gives_every_frame(self.graph, self.options, self.given)
            if every_frame if self.labels is None else are_of_frames(self.labels):
                chosen["by_frame"] = True
            if chosen.get("steps") is None and chosen.get("steps_per_frame") is None:
                chosen["steps"] = presentation_steps(self.options, self.given)
        options = RunOptions(**chosen)
        if self.problems:
            of_run = request_problems(self.program, self.given, options)
            more = [problem for problem in of_run if problem not in self.problems]
            raise InputError(self.summary, [*self.problems, *more])
        return options


def asked(
    summary: str,
    parts: tuple[Graph, Program, Any, DeployOptions],
    x: Any,
    y: Any = None,
    *,
    labelled: bool = False,
    values: bool = False,
    in_parts: bool | None = False,
    problems: Iterable[Problem] = (),
) -> Asked:
    """Check samples and labels.

    Parameters
    ----------
    summary : str
        What cannot be done where anything is wrong.
    parts : (Graph, Program, Mapping, DeployOptions)
        Of the deployment.
    x : array, mapping or sequence of arrays, data set, or Samples
    y : array, optional
        Labels; those that come with a data set where there are none.
    labelled : bool
        Whether there must be labels.
    values : bool
        Whether these may be values that outputs should have: floats, or, where there need be no labels, any numbers of
        an output that decides between no classes.
    in_parts : bool or None
        Whether samples are read part by part; None leaves it to where they lie.
    problems : iterable of Problem
        What is wrong with other arguments.
    """
    graph, program, mapping, options = parts
    found = list(problems)
    samples = source = None
    labels: NDArray[Any] | None = None
    with gathered(found):
        x, labels_of_x = collected(x, graph.origins)
        y = labels_of_x if y is None else y
        if in_parts or (in_parts is None and is_read_in_parts(x)):
            source = source_of(graph, x)
            samples = source.first()
        else:
            samples = samples_for(graph, x)
    if labelled or y is not None:
        with gathered(found):
            n = None if samples is None else len(source or samples)
            if samples is not None and n is not None and graph.readouts:
                first, lengths = graph.first_frame, None if source else samples.lengths
                answers, readout = None if lengths is None else lengths - first, graph.readouts[0]
                labels = (
                    _targets(readout, samples, y, n, whole=not labelled, answers=answers) if values else None
                )
                if labels is None and _have_frames(graph, options, samples, y, n):
                    labels = frame_labels(y, samples.n_frames - first, answers, readout)
            if labels is None:
                labels = labels_for(graph, y, n)
    return Asked(summary, graph, program, mapping, options, samples, source, labels, tuple(found))


def _targets(
    readout: Readout,
    samples: Samples,
    y: Any,
    n: int,
    *,
    whole: bool,
    answers: NDArray[np.int64] | None = None,
) -> NDArray[np.float64] | None:
    """Values that the outputs of samples, or of frames, should have; None where labels are classes, or do not fit.

    `answers` are frames of each sample that there is an answer to, where they differ.
    """
    if not isinstance(y, (np.ndarray, list, tuple)) or isinstance(y, np.ma.MaskedArray):
        return None
    kinds = "biuf" if whole and readout.n_classes == 1 else "f"
    try:
        found = np.asarray(y)
    except ValueError:  # rows of different length, those of frames
        found = np.zeros(0)
    if found.shape in [(n, *readout.shape), (n, readout.size), *([(n,)] if readout.size == 1 else [])]:
        one_hot = found.ndim == 2 and readout.n_classes > 1 and bool(np.isin(found, (0, 1)).all())
        values = found.dtype.kind in kinds and not one_hot
        return _finite(found.astype(np.float64).reshape(n, readout.size)) if values else None
    if samples.static or len(y) != n or not all(map(np.ndim, y)):
        return None
    frames = frame_targets(y, samples.n_frames - readout.first_frame, answers, readout, kinds)
    return None if frames is None else _finite(frames)


def _finite(targets: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(targets).all():
        bad = int((~np.isfinite(targets)).sum())
        raise InputError.single("targets are not finite", "y", f"{bad} NaN or infinite values")
    return targets


def _have_frames(graph: Graph, options: DeployOptions, samples: Samples, y: Any, n: int) -> bool:
    """Whether labels are those of frames, as many rows as samples: only a source that answers every frame has them."""
    if not gives_every_frame(graph, options, samples):
        return False
    return hasattr(y, "__len__") and len(y) == n and all(map(np.ndim, y))


def labels_for(graph: Graph, y: Any, n_samples: int | None) -> NDArray[np.int64]:
    """Labels as an int array of n_samples, or of as many as there are: classes of the first readout.

    Raises
    ------
    InputError
        If there is no readout, or the labels do not fit it or the samples.
    """
    if not graph.readouts:
        raise InputError.single("there is no readout, so no class can be decided", "network")
    return checked_labels(y, n_samples, graph.readouts[0])
