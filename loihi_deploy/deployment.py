"""A network made ready for a board, as one value: run it, evaluate it, save it and load it again."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.frames import presentation_steps, rate_decisions, read_window
from loihi_deploy.artifact import read_artifact, write_artifact
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.argument_problems import flag_problems, fraction_problems, whole_number_problems
from loihi_deploy.checked import checked
from loihi_deploy.chip.hardware import Arithmetic, Board
from loihi_deploy.errors import ArtifactError, InputError, LoihiDeployWarning, Problem
from loihi_deploy.file_kinds import file_kind, wrong_kind
from loihi_deploy.files import PathOrStream
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    HostMap,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Samples,
    Sparse,
    collected,
    samples_for,
)
from loihi_deploy.ir.checks import check_fields
from loihi_deploy.ir.content import Content
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.ir.program import BiasInput, Compartments, Noise, Program, ScaleGroup, SpikeSource, Synapses
from loihi_deploy.mapping import SAVED_TYPES as MAPPING_TYPES
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.consistency import mapping_problems
from loihi_deploy.options import Backend, DeployOptions
from loihi_deploy.results import Evaluation, RunResult, RunState
from loihi_deploy.tables import Page, Shown, warned

if TYPE_CHECKING:
    from loihi_deploy.analysis.energy import Energy
    from loihi_deploy.analysis.gate import Check, Criteria
    from loihi_deploy.analysis.plots import Plots
    from loihi_deploy.analysis.reporting import Reported
    from loihi_deploy.analysis.tune import Tuning
    from loihi_deploy.analysis.verify import Verification
    from loihi_deploy.backends.preflight import Preflight

SAVED_TYPES = (
    *(Conv2D, Dense, Sparse, Graph, HostMap, Input, Population, NeuronModel, Projection, Readout, Link),
    *(BiasInput, Compartments, Noise, Program, ScaleGroup, SpikeSource, Synapses),
    *(Arithmetic, DeployOptions),
    *MAPPING_TYPES,
)


@dataclass(frozen=True, eq=False)
class Deployment(Shown, Content):
    """Everything needed to run a network on a board, without the framework that made it.

    Parameters
    ----------
    graph : Graph
        The normalized float network, for comparisons.
    program : Program
        The integers: all that an emulator needs.
    mapping : Mapping
        Cores and chips of a board.
    options : DeployOptions
    provenance : dict
        Versions, and the digest of the calibration data.
    source : Graph or None
        The network as it was converted, before its firing rates were set: what verification starts from. None in files
        of older versions; not compared.
    """

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

    @classmethod
    @checked
    def from_parts(
        cls,
        graph: Graph,
        program: Program,
        mapping: Mapping,
        options: DeployOptions | None = None,
        calibration: Any = None,
        source: Graph | None = None,
    ) -> Deployment:
        """Put together what the stages gave: the same as `deploy` gives, where they were called as it does.

        Parameters
        ----------
        graph : Graph
            Normalized, before it was cut.
        program : Program
        mapping : Mapping
            Of that program.
        options : DeployOptions, optional
            The choices that the stages were called with; its readout window is what runs average over.
        calibration : array, mapping of arrays or Samples, optional
            What was calibrated with, of which the digest is kept.
        source : Graph, optional
            The network before its firing rates were set, for verification.

        Raises
        ------
        InputError
            If the mapping is that of another program.
        """
        if mapping.program_digest != program.digest:
            raise InputError.single(
                "the mapping is that of another program",
                "mapping",
                remedy="Map this program: map_to_cores(program, board)",
            )
        samples = None if calibration is None else samples_for(graph, calibration)
        return cls(graph, program, mapping, options or DeployOptions(), _provenance(samples), source)

    @property
    def board(self) -> Board:
        """The board it was mapped to."""
        return self.mapping.board

    @property
    def notes(self) -> tuple[str, ...]:
        """Every warning collected on the way here."""
        return (*self.program.notes, *self.mapping.warnings)

    def run(
        self,
        x: Any,
        steps: int | None = None,
        *,
        backend: Backend = "emulator",
        steps_per_frame: int | None = None,
        record: Iterable[str] | MappingOf[str, Iterable[str]] = (),
        neurons: MappingOf[str, Any] | None = None,
        reset: bool = True,
        stream: bool = False,
        state: RunState | None = None,
        return_state: bool = False,
        on_overflow: Literal["count", "raise"] = "count",
        seed: int = 0,
        threads: int | None = None,
        chunk_size: int | None = None,
        progress: bool | None = None,
    ) -> RunResult:
        """Present samples and decode the answers.

        Parameters
        ----------
        x : array, mapping or sequence of arrays, or data set
            (n_samples, *input_shape) static, or (n_samples, n_frames, *input_shape); where there are several inputs a
            mapping by their names, or a list or tuple in their order. A `tf.data.Dataset` or a `keras.utils.Sequence`
            is read to its end.
        steps : int, optional
            Steps of presentation of a sample, a multiple of its frames; if nothing is said, what it was deployed for,
            or 100 rounded up to whole frames.
        backend : {'emulator', 'numpy', 'nengo_loihi', 'hardware'}
            Our compiled engine, our plain one, nengo-loihi's emulator, or the chip through nengo-loihi and NxSDK.
        steps_per_frame : int, optional
            How long each frame is shown, in place of `steps`.
        record : iterable of str or mapping
            Populations whose spikes, or whose chosen variables, are to be recorded:
            ``["conv1"]``, ``{"conv1": ["spikes", "u", "v", "events"]}``.
        neurons : dict of slices, index lists or boolean masks, optional
            Which neurons of a recorded population; all if nothing is said.
        reset : bool
            True starts each sample from rest; False presents the samples one after the other without a reset, as a chip
            runs.
        stream : bool
            True is ``reset=False`` by its former name.
        state : RunState, optional
            From which to continue: what an earlier run with `return_state` left in its result.
        return_state : bool
            Whether the result holds the state after the last step.
        on_overflow : {'count', 'raise'}
            What happens when an accumulator wraps around.
        seed : int
            Of noise on chip, and of the spikes that Poisson encoders draw.
        threads : int, optional
            The environment variable LOIHI_DEPLOY_THREADS, or every core of the machine, if not given. Results do not
            depend on it.
        chunk_size : int, optional
            Samples that a thread takes at a time; results do not depend on it.
        progress : bool, optional
            Show a progress bar; on a terminal only, if not given.

        Raises
        ------
        InputError
            If samples, steps or names do not fit.
        BackendError
            If the backend cannot run here.
        AccumulatorOverflowError
            If an accumulator wraps around and `on_overflow` is 'raise'.
        """
        samples = samples_for(self.graph, x)
        _refuse("Cannot run the deployment", _flags(reset=reset, stream=stream))
        options = RunOptions(
            self._steps(steps, samples, steps_per_frame),
            backend,
            steps_per_frame,
            record,
            neurons,
            read_window(self.graph, self.options, samples),
            seed,
            stream if reset else True,
            state,
            return_state,
            on_overflow,
            threads,
            chunk_size,
            progress,
        )
        result = backends.run(self.program, samples, options, self.mapping)
        _warn(result.warnings)
        return result

    def predict(self, x: Any, steps: int | None = None, **options: Any) -> Any:
        """What `model.predict` gives: the outputs, as an array, or a list of arrays where there are several.

        Parameters
        ----------
        x, steps, **options
            As for `run`.
        """
        outputs = list(self.run(x, steps, **options).all_outputs.values())
        return outputs[0] if len(outputs) == 1 else outputs

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        steps: int | None = None,
        *,
        backend: Backend = "emulator",
        by_step: bool = False,
        energy: bool = False,
        steps_per_frame: int | None = None,
        reset: bool = True,
        stream: bool = False,
        on_overflow: Literal["count", "raise"] = "count",
        seed: int = 0,
        threads: int | None = None,
        chunk_size: int | None = None,
        progress: bool | None = None,
    ) -> Evaluation:
        """Accuracy on labelled samples; arguments that are not listed are those of `run`.

        Parameters
        ----------
        x : array, mapping or sequence of arrays, or data set
            As for `run`.
        y : (n_samples,) int array or (n_samples, n_classes) one-hot array
            Labels: indices of the readout's values, or 0 and 1 for a single sigmoid. Not given where a data set holds
            them.
        by_step : bool
            Also count decisions as if every presentation had ended after each of its steps
            (``Evaluation.accuracy_by_step``).
        energy : bool
            Also estimate energy and time on the chip, from the same run (``Evaluation.energy``): by our compiled
            engine, for samples that start from rest.

        Raises
        ------
        InputError
            If samples or labels do not fit, or if energy is asked for where it is not counted.
        """
        x, labels_of_x = collected(x, self.graph.origins)
        samples = samples_for(self.graph, x)
        labels = self.check_labels(labels_of_x if y is None else y, len(samples))
        flags = _flags(by_step=by_step, energy=energy, reset=reset, stream=stream)
        _refuse("Cannot evaluate the deployment", flags)
        if energy and (backend != "emulator" or stream or not reset):
            raise InputError.single(
                "energy is counted by our compiled engine, for samples that start from rest",
                "energy",
                f"backend {backend!r}" if backend != "emulator" else "a run without resets",
                remedy="Evaluate without it, and estimate energy with deployment.energy(x)",
            )
        options = RunOptions(
            self._steps(steps, samples, steps_per_frame),
            backend,
            steps_per_frame,
            readout_window=read_window(self.graph, self.options, samples),
            seed=seed,
            stream=stream if reset else True,
            on_overflow=on_overflow,
            threads=threads,
            chunk_size=chunk_size,
            progress=progress,
        )
        if energy:
            result = self._evaluate_counted(samples, labels, options, by_step)
        else:
            result = backends.evaluate(self.program, samples, labels, options, self.mapping, by_step=by_step)
        _warn(result.warnings)
        return result

    def _evaluate_counted(
        self, samples: Samples, labels: NDArray[np.int64], options: RunOptions, by_step: bool
    ) -> Evaluation:
        """Evaluate, and estimate energy from the same run."""
        from loihi_deploy.analysis.energy import Estimator

        estimator = Estimator(self.program, self.mapping)
        counted = estimator.recording(options)
        result = backends.evaluate(
            self.program, samples, labels, counted, self.mapping, by_step=by_step, meter=estimator.meter
        )
        assert result.activity is not None, "a run with a meter counts"
        return replace(result, energy=estimator.energy(samples, result.activity, result.counters))

    def verify(
        self, x: Any, y: Any = None, steps: int | None = None, *, reference_samples: int = 5
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
            Samples for nengo-loihi's emulator, which is slow; 0 leaves it out.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        """
        from loihi_deploy.analysis.remedies import Deployed
        from loihi_deploy.analysis.verify import verify_stages

        self._check_floats()
        samples = samples_for(self.graph, x)
        labels = None if y is None else self.check_labels(y, len(samples))
        _refuse(
            "Cannot verify the deployment", whole_number_problems("reference_samples", reference_samples, 0)
        )
        steps = self._steps(steps, samples)
        self._check_recording(samples, steps)
        source = self.source or self.graph
        decisions = rate_decisions(source, samples, self.options)
        kept = [p.amplitude for p in source.populations] == [p.amplitude for p in self.graph.populations]
        options = replace(self.options, normalization="none") if kept else self.options
        deployed = Deployed(source, self.program, options, self.board, samples, decisions, steps)
        return verify_stages(self.graph, deployed, self.mapping, labels, reference_samples)

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

        self._check_floats()
        samples = samples_for(self.graph, x)
        labels = self.check_labels(y, len(samples))
        _refuse(
            "Cannot tune the presentation",
            [*whole_number_problems("max_steps", max_steps, 1), *fraction_problems("max_drop", max_drop)],
        )
        goal = self.rate_accuracy(samples, labels)
        if samples.n_frames > 1:
            window = read_window(self.graph, self.options, samples)
            return shortest_for_each_frame(self.program, samples, labels, goal, max_steps, max_drop, window)
        backends.check(self.program, samples, RunOptions(max_steps))
        return shortest_presentation(self.program, samples, labels, goal, max_steps, max_drop)

    def check(
        self,
        x: Any = None,
        y: Any = None,
        criteria: Criteria | None = None,
        *,
        baseline: str | os.PathLike[str] | None = None,
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
            Labels as for `evaluate`, or values that the outputs should have, for networks without classes.
        criteria : Criteria, optional
            The limits; ``Criteria()`` without any only measures.
        baseline : path, optional
            What `Check.write_baseline` wrote: no figure may be worse by more than ``criteria.tolerance``.
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

        if not isinstance(criteria, Criteria | None):
            raise InputError.single("not what is expected", "criteria", type(criteria).__name__, "Criteria")
        before = None if baseline is None else read_baseline(baseline)
        if before is None and criteria is None:
            raise InputError.single("no limit to check", "criteria", remedy="Give one: Criteria(max_chips=1)")
        samples, steps_of_run, window = None, steps, self.options.readout_window
        if x is not None:
            x, labels_of_x = collected(x, self.graph.origins)
            y = labels_of_x if y is None else y
            samples = samples_for(self.graph, x)
            steps_of_run = self._steps(steps, samples)
            window = read_window(self.graph, self.options, samples)
        options = RunOptions(steps_of_run, readout_window=window, threads=threads, progress=progress)
        measured = measure(self.source or self.graph, self.program, self.mapping, samples, y, options)
        return judge(measured, self._made_with(), criteria or Criteria(), before)

    def _made_with(self) -> dict[str, str]:
        """Board, versions and options, as texts by name."""
        versions = {name: number for name, number in self.provenance.items() if number is not None}
        options = {name: str(value) for name, value in self.options.as_dict().items()}
        return {"board": self.board.name, **versions, **options}

    def _steps(self, steps: Any, samples: Samples, steps_per_frame: Any = None) -> Any:
        """Steps of a presentation: those given, else those that the deployment was made for, else 100 or more.

        None where steps for each frame are given, which say it.
        """
        if steps is not None or steps_per_frame is not None:
            return steps
        return presentation_steps(self.options, samples)

    def _check_floats(self) -> None:
        """Refuse what compares with the source, where that was given in integers."""
        if not self.graph.populations:
            raise InputError.single(
                "the network was given in integers, so there are no floats to compare with",
                "deployment",
                remedy="Use evaluate, which counts decisions on labelled samples",
            )

    def _check_recording(self, samples: Samples, steps: Any) -> None:
        """Refuse steps that cannot be run, or whose spikes cannot be held for one sample."""
        everyone = [*self.program.nodes]
        backends.check(self.program, samples.take(slice(1)), RunOptions(steps, record=everyone))

    def energy(
        self,
        x: Any,
        steps: int | None = None,
        *,
        coefficients: str | os.PathLike[str] = "sanafe2025",
        steps_per_frame: int | None = None,
        seed: int = 0,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> Energy:
        """Estimate energy and time per sample on the chip, by cause, from a run on our engine.

        Parameters
        ----------
        x : array or mapping of arrays
            As for `run`; some ten samples give a mean.
        steps : int, optional
            Steps of presentation of a sample; what it was deployed for, or 100.
        coefficients : str or Path
            What each kind of work costs: 'sanafe2025' (regressed on silicon), 'davies2018' (calculated before there was
            silicon), or the path of a TOML file of your own.
        steps_per_frame, seed, threads, progress
            As for `run`.

        Returns
        -------
        Energy
            Print it for tables. Every figure is a range; compare a limit with its upper end, ``total.high``.

        Raises
        ------
        InputError
            If samples or steps do not fit.
        EnergyConfigError
            If the coefficients cannot be used.
        """
        from loihi_deploy.analysis.energy import estimate

        samples = samples_for(self.graph, x)
        options = RunOptions(
            self._steps(steps, samples, steps_per_frame),
            steps_per_frame=steps_per_frame,
            seed=seed,
            threads=threads,
            progress=progress,
        )
        return estimate(self.program, self.mapping, samples, options, coefficients)

    @checked
    def with_readout_window(self, window: float) -> Deployment:
        """The same deployment with outputs averaged over another last part of the presentation, 0..1.

        Sequences are read in that window, too, whatever the source does with their frames.
        """
        return replace(self, options=replace(self.options, readout_window=window, readout="window"))

    def rate_accuracy(self, x: Any, y: Any) -> float:
        """Accuracy of the source as a rate network, which the deployment approximates, as a fraction.

        Of sequences every frame is evaluated, and the values are averaged over the frames that are read: for a
        feed-forward Keras model over time that is what the model computes.

        Raises
        ------
        InputError
            If samples or labels do not fit, or the samples are sequences, and the source does not say how it reads them
            (``DeployOptions(readout=...)`` does), or keeps earlier frames in its synapses.
        """
        self._check_floats()
        samples = samples_for(self.graph, x)
        labels = self.check_labels(y, len(samples))
        return float((rate_decisions(self.source or self.graph, samples, self.options) == labels).mean())

    def preflight(self, n_frames: int = 1) -> Preflight:
        """Everything that would fail on a Loihi board, at once: limits, links, encoder, driver, the attached board.

        Parameters
        ----------
        n_frames : int
            Frames of the samples that are to be presented.

        Returns
        -------
        Preflight
            ``ready``, and the problems by kind; print it.
        """
        from loihi_deploy.backends.preflight import preflight

        _refuse("Cannot check the deployment", whole_number_problems("n_frames", n_frames, 1))
        return preflight(self.program, self.mapping, n_frames)

    @checked
    def check_labels(self, y: Any, n_samples: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Labels as an int array of n_samples: they may be given as indices of classes, or one-hot.

        Raises
        ------
        InputError
            If there are more or fewer labels than samples, or labels that are no index of the readout.
        """
        if not self.graph.readouts:
            raise InputError.single("there is no readout, so no class can be decided", "network")
        return checked_labels(y, n_samples, self.graph.readouts[0])

    def save(self, path: PathOrStream) -> None:
        """Write the deployment to one ``.loihi`` file, or to an open binary stream.

        Raises
        ------
        OutputError
            If the path cannot be written.
        """
        names = ("graph", "program", "mapping", "options", "provenance", "source")
        write_artifact(path, {name: getattr(self, name) for name in names})

    def report(
        self,
        path: str | os.PathLike[str],
        x: Any = None,
        y: Any = None,
        steps: int | None = None,
        *,
        command: str = "deployment.report(path, x, y)",
    ) -> None:
        """Write a report: ``.html``, ``.txt`` or ``.json``, by the ending.

        Parameters
        ----------
        path : path
            One file; HTML needs nothing beside it, and the packages of the extra 'report' to be made.
        x : array or mapping of arrays, optional
            Samples; without them the report has what needs none.
        y : (n,) array, optional
            Labels; without them it has no accuracy.
        steps : int, optional
            As for `run`.
        command : str
            What makes the report again, to be named in it.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        OutputError
            If the ending is another, or the path cannot be written; an existing file is left as it was.
        MissingExtraError
            If HTML is asked for and the packages are not there.
        """
        from loihi_deploy.report import check_report, write_reports

        check_report(path)
        write_reports(path, {"deployment": self.report_values(x, y, steps, command=command)})

    def report_values(
        self, x: Any = None, y: Any = None, steps: int | None = None, *, command: str = ""
    ) -> dict[str, Any]:
        """Everything that `report` writes as plain values; the arguments are the same."""
        from loihi_deploy.analysis.reporting import report_values

        if y is not None and x is None:
            raise InputError.single("labels without samples", "y", remedy="Give samples, too")
        if x is None:
            return report_values(self._reported(), self.provenance, command)
        x, labels_of_x = collected(x, self.graph.origins)
        y = labels_of_x if y is None else y
        samples = samples_for(self.graph, x)
        labels = None if y is None else self.check_labels(y, len(samples))
        steps = self._steps(steps, samples)
        self._check_recording(samples, steps)
        return report_values(self._reported(), self.provenance, command, samples, labels, steps or 0)

    def _reported(self) -> Reported:
        from loihi_deploy.analysis.reporting import Reported

        return Reported(self.graph, self.source or self.graph, self.program, self.mapping, self.options)

    @property
    def plot(self) -> Plots:
        """Figures, drawn with matplotlib: ``deployment.plot.cores()``; see `Plots`."""
        from loihi_deploy.analysis.plots import Plots

        return Plots(self._reported(), self._steps, self.check_labels)

    def page(self) -> Page:
        """Layers, cores, the options that differ from their defaults, what took part, and every warning."""
        from loihi_deploy.report import layers_page, summary

        figures = summary(self.program, self.mapping)
        usual = DeployOptions().as_dict()
        chosen = [
            f"{name}={value!r}" for name, value in self.options.as_dict().items() if value != usual[name]
        ]
        made_with = [
            f"{name} {number}" for name, number in self.provenance.items() if number and name != "calibration"
        ]
        texts = (
            f"Options: {', '.join(chosen) or 'the defaults'}",
            f"Made with {', '.join(made_with)}" if made_with else "",
        )
        page = layers_page({**figures, "warnings": []})
        return page + Page((*filter(None, texts), *warned(figures["warnings"])))


def _refuse(summary: str, problems: Iterable[Problem]) -> None:
    """Raise an InputError where there are problems."""
    if found := list(problems):
        raise InputError(summary, found)


def _flags(**values: Any) -> list[Problem]:
    """What is wrong with arguments that must be True or False."""
    return [problem for name, value in values.items() for problem in flag_problems(name, value)]


def _warn(problems: Iterable[Problem]) -> None:
    """Warn whoever called the method that calls this."""
    for problem in problems:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=3)


@checked
def load(path: str | os.PathLike[str]) -> Deployment:
    """Read a saved deployment; needs neither TensorFlow nor Nengo.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, truncated, altered, or written by a newer version.
    """
    if file_kind(path) not in ("loihi", "unknown", "missing"):
        raise ArtifactError("The file is not a deployment", wrong_kind(path))
    content = read_artifact(path, SAVED_TYPES)
    try:
        deployment = Deployment(**content)
    except TypeError as error:
        raise ArtifactError.single("does not hold a deployment", str(Path(path)), str(error)) from error
    except InputError as error:
        raise ArtifactError(f"The parts of {Path(path)} are not of one deployment", error.problems) from error
    if deployment.mapping.program_digest == deployment.program.digest:
        return deployment
    if deployment.mapping.program_digest:
        raise ArtifactError.single("the mapping was made for another program", str(Path(path)))
    mapping = replace(deployment.mapping, program_digest=deployment.program.digest)  # an upgraded program
    return replace(deployment, mapping=mapping)


def _provenance(calibration: Samples | None) -> dict[str, str | None]:
    """Versions of what took part, and a digest of the calibration data."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("loihi-deploy", "numpy", "nengo", "nengo-dl", "tensorflow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {**versions, "calibration": None if calibration is None else calibration.digest}
