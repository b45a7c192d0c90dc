"""A deployment against its source, against limits, and against a board."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from loihi_deploy import backends
from loihi_deploy.analysis.frames import rate_decisions, reading
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.argument_problems import (
    flag_problems,
    fraction_problems,
    reset_problems,
    whole_number_problems,
)
from loihi_deploy.deployment.parts import Parts, between_samples, refuse
from loihi_deploy.errors import Problem

if TYPE_CHECKING:
    from loihi_deploy.analysis.gate import Check, Criteria
    from loihi_deploy.analysis.tune import Tuning
    from loihi_deploy.analysis.verify import Verification
    from loihi_deploy.backends.preflight import Preflight


class Comparing(Parts):
    """A deployment's parts that can be compared with what they should be."""

    def rate_accuracy(self, x: Any, y: Any, steps_per_frame: int | None = None) -> float:
        """Accuracy of the source as a rate network, which the deployment approximates, as a fraction.

        Of sequences every frame is evaluated, with the state that the source's synapses and recurrent connections keep,
        and the values are averaged over the frames that are read: for a Keras model over time that is what the model
        computes.

        Parameters
        ----------
        x, y
            As for `evaluate`.
        steps_per_frame : int, optional
            As for `run`; it matters where the source counts time in seconds, as Nengo does.

        Raises
        ------
        InputError
            If samples or labels do not fit, or the samples are sequences, and the source does not say how it reads them
            (``DeployOptions(readout=...)`` does).
        """
        given = self._asked("Cannot evaluate the rate network", x, y, labelled=True, compared=True)
        options = given.run_options(steps_per_frame=steps_per_frame)
        samples, labels = given.samples, given.classes
        hold, source = options.hold(samples.n_frames), self.source or self.graph
        decided = rate_decisions(source, samples, self.options, hold, every_frame=labels.ndim == 2)
        return float((decided == labels)[labels >= 0].mean())

    def verify(
        self,
        x: Any,
        y: Any = None,
        steps: int | None = None,
        *,
        reference_samples: int = 5,
        client: Any = None,
    ) -> Verification:
        """Accuracy and firing rates after each stage on the way to the chip, and what to do about the largest loss.

        The stages: the source as it was converted, the rate network with the firing rates that were set, the same with
        spikes, the rate network quantized, the integer program on the emulator, and the same on nengo-loihi's emulator.
        Where decisions are lost, other settings are tried (some seconds each), and what helps is named.

        Parameters
        ----------
        x : array or mapping of arrays
            As for `run`; some hundred are enough. Sequences are compared over the frames that are read.
        y : (n,) int array, optional
            Labels.
        steps : int, optional
            Presentation time; what it was deployed for, or 100.
        reference_samples : int
            Samples for nengo-loihi's emulator, which is slow; 0 leaves it out, and so do delays, which it has none of.
        client : distributed.Client, optional
            Of a Dask cluster, whose workers share the samples, and the settings that are tried; as for `evaluate`.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        """
        from loihi_deploy.analysis.remedies import Deployed
        from loihi_deploy.analysis.verify import verify_stages

        problems = whole_number_problems("reference_samples", reference_samples, 0)
        given = self._asked("Cannot verify the deployment", x, y, problems=problems, compared=True)
        chosen: Any = given.run_options(steps=steps).steps
        samples, source = given.samples, self.source or self.graph
        self._check_recording(samples, chosen)
        deployed = Deployed.of(self.graph, source, self.program, self.options, self.board, samples, chosen)
        return verify_stages(
            self.graph, deployed, self.mapping, given.labels, reference_samples, client=client
        )

    def tune(self, x: Any, y: Any, max_steps: int = 200, max_drop: float = 0.005) -> Tuning:
        """Find the shortest presentation, and its readout window, that keeps accuracy.

        Parameters
        ----------
        x, y
            As for `evaluate`; other samples than those that accuracy is reported on.
        max_steps : int
            Longest presentation to consider. Of sequences the least steps for each frame are found, read as they are.
        max_drop : float
            How far accuracy may be below the rate network's, 0..1.

        Returns
        -------
        Tuning
            Use it with ``run(x, tuning.steps)`` and ``deployment.with_readout_window(tuning.readout_window)``.

        Raises
        ------
        InputError
            If samples or labels do not fit, or no presentation up to `max_steps` is good enough.
        """
        from loihi_deploy.analysis.tune import shortest_for_each_frame, shortest_presentation

        given = self._asked(
            "Cannot tune the presentation",
            *(x, y),
            labelled=True,
            problems=[
                *whole_number_problems("max_steps", max_steps, 1),
                *fraction_problems("max_drop", max_drop),
            ],
            compared=True,
        )
        samples, labels = given.samples, given.classes
        goal = self.rate_accuracy(samples, labels)
        if samples.n_frames > 1:
            how = reading(self.program, self.options, samples)
            return shortest_for_each_frame(self.program, samples, labels, goal, max_steps, max_drop, how)
        backends.check(self.program, samples, RunOptions(max_steps))
        return shortest_presentation(self.program, samples, labels, goal, max_steps, max_drop)

    def check(
        self,
        x: Any = None,
        y: Any = None,
        criteria: Criteria | None = None,
        *,
        baseline: str | os.PathLike[str] | None = None,
        hardware: bool = False,
        steps: int | None = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> Check:
        """Hold the deployment against limits, and against an earlier check of it: a gate for CI.

        Parameters
        ----------
        x : array, mapping of arrays or data set, optional
            As for `run`; not needed where only cores and chips are limited.
        y : array, optional
            Labels as for `evaluate`: of samples or of frames, or values that the outputs should have.
        criteria : Criteria, optional
            The limits; ``Criteria()`` without any only measures.
        baseline : path, optional
            What `Check.write_baseline` wrote: no figure may be worse by more than ``criteria.tolerance``.
        hardware : bool
            Whether nothing may be known to fail on a Loihi board either; see `preflight`.
        steps, threads, progress
            As for `run`.

        Returns
        -------
        Check
            ``passed``, and a verdict for each criterion; print it for tables.

        Raises
        ------
        InputError
            If there is no criterion, one cannot be judged for want of samples or labels, or the baseline is of another
            network or of other samples.
        DataError
            If the baseline cannot be read, or is of another version.
        """
        from loihi_deploy.analysis.gate import Criteria, judge, measure, read_baseline

        summary = "Cannot check the deployment"
        problems = list(flag_problems("hardware", hardware))
        before = None if baseline is None else read_baseline(baseline)
        asked: Any = criteria
        if not isinstance(asked, Criteria | None):
            problems.append(Problem("not what is expected", "criteria", type(asked).__name__, "Criteria"))
        elif before is None and asked is None and (problems or not hardware):
            remedy = "Give one: Criteria(max_chips=1)"
            problems.append(Problem("no limit to check", "criteria", remedy=remedy))
        samples = labels = None
        options = RunOptions()
        if x is not None:
            y = y if self.graph.readouts else None  # where nothing is decided labels say nothing
            given = self._asked(summary, x, y, values=True, problems=problems)
            options = given.run_options(steps=steps, threads=threads, progress=progress)
            samples, labels = given.samples, given.labels
        elif y is not None:
            problems.append(Problem("labels without samples", "y", remedy="Give samples, too"))
        refuse(summary, problems)
        source = self.source or self.graph
        measured = measure(source, self.program, self.mapping, samples, labels, options, self.options)
        found = judge(measured, self._made_with(), criteria or Criteria(), before)
        if not hardware:
            return found
        return replace(found, preflight=self.preflight(1 if samples is None else samples.n_frames))

    def _made_with(self) -> dict[str, str]:
        """Board, versions and options, as texts by name."""
        versions = {name: number for name, number in self.provenance.items() if number is not None}
        options = {name: str(value) for name, value in self.options.as_dict().items()}
        return {"board": self.board.name, **versions, **options}

    def preflight(
        self,
        n_frames: int = 1,
        *,
        reset: bool | Literal["snip", "gap"] = True,
        gap: int = 0,
        streamed: bool = False,
    ) -> Preflight:
        """Everything that would fail on a Loihi board, at once: limits, links, encoder, driver, the attached board.

        Parameters
        ----------
        n_frames : int
            Frames of the samples that are to be presented.
        reset, gap, streamed
            How they are presented; as for `run`.

        Returns
        -------
        Preflight
            ``ready``, and the problems by kind; print it.
        """
        from loihi_deploy.backends.preflight import OnBoard, preflight

        options = RunOptions(backend="hardware", **between_samples(reset, gap, streamed))
        problems = [*whole_number_problems("n_frames", n_frames, 1), *reset_problems(reset)]
        refuse("Cannot check the deployment", problems or options.problems(1))
        return preflight(
            self.program, self.mapping, n_frames, OnBoard(options.reset, options.gap, options.streamed)
        )
