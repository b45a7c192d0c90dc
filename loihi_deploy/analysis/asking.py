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
from loihi_deploy.ir import Graph, Samples, collected, samples_for
from loihi_deploy.ir.labels import checked_labels, frame_labels
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
            of_frames = self.labels is not None and self.labels.ndim == (
                3 if self.labels.dtype.kind == "f" else 2
            )
            if of_frames or (every_frame and self.labels is None):
                chosen["by_frame"] = True
            if chosen.get("steps") is None and chosen.get("steps_per_frame") is None:
                chosen["steps"] = presentation_steps(self.options, self.given)
        options = RunOptions(**chosen)
        if self.problems:
            of_run = request_problems(self.program, self.given, options, self.mapping)
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
        Whether these may be values that outputs should have.
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
            if values and samples is not None:
                labels = _targets(graph, samples, y, n)
            if labels is not None:
                pass
            elif samples is not None and _are_of_frames(graph, options, samples, y, n):
                labels = frame_labels(
                    y, samples.n_frames, None if source else samples.lengths, graph.readouts[0]
                )
            else:
                labels = labels_for(graph, y, n)
    return Asked(summary, graph, program, mapping, options, samples, source, labels, tuple(found))


def _targets(graph: Graph, samples: Samples, y: Any, n: int | None) -> NDArray[np.float64] | None:
    """Values that the outputs of samples, or of frames, should have; None where labels are classes."""
    if not isinstance(y, np.ndarray) or isinstance(y, np.ma.MaskedArray) or not graph.readouts or n is None:
        return None
    node = graph.readouts[0]
    of_samples, of_frames = (n, *node.shape), (n, samples.n_frames, *node.shape)
    fits = y.shape == of_samples or (y.shape == of_frames and not samples.static)
    one_hot = y.ndim == 2 and node.n_classes > 1 and bool(np.isin(y, (0, 1)).all())
    if y.dtype.kind != "f" or not fits or one_hot:
        return None
    if not np.isfinite(y).all():
        bad = int((~np.isfinite(y)).sum())
        raise InputError.single("targets are not finite", "y", f"{bad} NaN or infinite values")
    shape = (n, node.size) if y.shape == of_samples else (n, samples.n_frames, node.size)
    return y.astype(np.float64).reshape(shape)


def _are_of_frames(graph: Graph, options: DeployOptions, samples: Samples, y: Any, n: int | None) -> bool:
    """Whether labels are those of frames, as many rows as samples: only a source that answers every frame has them."""
    if not graph.readouts or not gives_every_frame(graph, options, samples):
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
