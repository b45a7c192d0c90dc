"""What a deployment holds, and what every use of it asks: labels, steps of a presentation, whether there are floats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from loihi_deploy import backends
from loihi_deploy.analysis.asking import Asked, asked, labels_for
from loihi_deploy.analysis.frames import reading_problems
from loihi_deploy.backends import RunOptions
from loihi_deploy.checked import checked
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.checks import check_fields
from loihi_deploy.ir.content import Content
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.consistency import mapping_problems
from loihi_deploy.options import DeployOptions
from loihi_deploy.tables import Shown


@dataclass(frozen=True, eq=False)
class Parts(Shown, Content):
    """What a deployment holds; see `Deployment`."""

    graph: Graph
    program: Program
    mapping: Mapping
    options: DeployOptions
    provenance: dict[str, str | None]
    source: Graph | None = field(default=None, metadata={"compare": False})

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        """What a file can have put together that is not of one network."""
        for what, ours, theirs in (
            ("inputs", self.graph.inputs, self.program.encoder.inputs),
            ("readouts", self.graph.readouts, self.program.readout.readouts),
        ):
            found, wanted = ({node.name: node.shape for node in nodes} for nodes in (ours, theirs))
            if list(found.items()) != list(wanted.items()):
                yield Problem(f"{what} of graph and program differ", "graph", found, wanted)
        encoders = {population.name for population in self.program.encoder.populations}
        for name in sorted({source.name for source in self.program.sources} - encoders):
            if self.graph.inputs:
                yield Problem("spikes that no population of the encoder sends", name)
        yield from mapping_problems(self.program, self.mapping)

    @property
    def board(self) -> Board:
        """The board it was mapped to."""
        return self.mapping.board

    @property
    def notes(self) -> tuple[str, ...]:
        """Every warning collected on the way here."""
        return (*self.program.notes, *self.mapping.warnings)

    @checked
    def check_labels(self, y: Any, n_samples: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Labels as an int array of n_samples: they may be given as indices of classes, or one-hot.

        Raises
        ------
        InputError
            If there are more or fewer labels than samples, or labels that are no index of the readout.
        """
        return labels_for(self.graph, y, n_samples)

    def _asked(
        self,
        summary: str,
        x: Any,
        y: Any = None,
        *,
        labelled: bool = False,
        values: bool = False,
        in_parts: bool | None = False,
        problems: Iterable[Problem] = (),
        compared: bool = False,
    ) -> Asked:
        """What a call is given, checked; where it is compared with the source, whether that can be done, too."""
        problems = list(problems)
        if compared and not self.graph.populations:
            what = "the network was given in integers, so there are no floats to compare with"
            remedy = "Use evaluate, which counts decisions on labelled samples"
            problems.append(Problem(what, "deployment", remedy=remedy))
        parts = (self.graph, self.program, self.mapping, self.options)
        given = asked(
            summary, parts, x, y, labelled=labelled, values=values, in_parts=in_parts, problems=problems
        )
        if not compared or given.given is None:
            return given
        unread = reading_problems(self.source or self.graph, self.options, given.given)
        return replace(given, problems=(*given.problems, *unread))

    def _check_recording(self, samples: Samples, steps: Any) -> None:
        """Refuse steps that cannot be run, or whose spikes cannot be held for one sample."""
        everyone = [*self.program.nodes]
        backends.check(self.program, samples.take(slice(1)), RunOptions(steps, record=everyone))


def between_samples(reset: Any, gap: Any, streamed: Any, stream: Any = False) -> dict[str, Any]:
    """Options of a run that say how samples follow each other, from arguments of `Deployment.run`, right or wrong."""
    follows = isinstance(reset, (bool, np.bool_)) and not reset
    return {
        "stream": True if follows else stream,
        "reset": reset if isinstance(reset, str) and reset in ("snip", "gap") else "rest",
        "gap": gap,
        "streamed": streamed,
    }


def refuse(summary: str, problems: Iterable[Problem]) -> None:
    """Raise an InputError where there are problems."""
    if found := list(problems):
        raise InputError(summary, found)
