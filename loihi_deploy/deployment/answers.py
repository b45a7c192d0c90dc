"""Presenting samples to a deployment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import TYPE_CHECKING, Any, Literal

from loihi_deploy import backends
from loihi_deploy.analysis.frames import gives_every_frame, reading_of
from loihi_deploy.analysis.latency import answer_delay
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.argument_problems import (
    flag_problems,
    reset_problems,
    shown,
    whole_number_problems,
)
from loihi_deploy.backends.request import frame_problems
from loihi_deploy.backends.stream import Stream
from loihi_deploy.deployment.parts import Parts, between_samples, refuse
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.errors import LoihiDeployWarning, Problem
from loihi_deploy.ir import samples_for
from loihi_deploy.options import DEFAULT_STEPS, Backend
from loihi_deploy.results import Evaluation, RunResult, RunState

if TYPE_CHECKING:
    from loihi_deploy.analysis.energy import Energy
    from loihi_deploy.analysis.resets import Resets


class Answering(Parts):
    """A deployment's parts that can be run."""

    def run(
        self,
        x: Any,
        steps: int | None = None,
        *,
        backend: Backend = "emulator",
        steps_per_frame: int | None = None,
        record: Iterable[str] | MappingOf[str, Iterable[str]] = (),
        neurons: MappingOf[str, Any] | None = None,
        by_frame: bool = False,
        reset: bool | Literal["snip", "gap"] = True,
        gap: int = 0,
        stream: bool = False,
        streamed: bool = False,
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
            is read to its end. Sequences of different length are a list of arrays (n_frames, *input_shape), or
            `loihi_deploy.Sequences`.
        steps : int, optional
            Steps of presentation of a sample, a multiple of its frames; if nothing is said, what it was deployed for,
            or 100 rounded up to whole frames. The last frame of a sequence is held for some steps more
            (``DeployOptions.flush``).
        backend : {'emulator', 'numpy', 'nengo_loihi', 'hardware'}
            Our compiled engine, our plain one, nengo-loihi's emulator, or the chip through nengo-loihi and NxSDK.
        steps_per_frame : int, optional
            How long each frame is shown, in place of `steps`.
        record : iterable of str or mapping
            Populations whose spikes, or whose chosen variables, are to be recorded:
            ``["conv1"]``, ``{"conv1": ["spikes", "u", "v", "events"]}``.
        neurons : dict of slices, index lists or boolean masks, optional
            Which neurons of a recorded population; all if nothing is said.
        by_frame : bool
            Whether there are also outputs after each frame of a sequence, as if it were the last one
            (``RunResult.by_frame``); they are there anyway where the source gives an answer for every frame.
        reset : bool, 'snip' or 'gap'
            True starts each sample from rest; False presents the samples one after the other without a reset, as a chip
            runs. On the chip True loads the network anew for each sample, and 'snip' writes the chip's state between
            samples: results are the same, in one load of the board for many of them. 'gap' lets the chip run for `gap`
            steps without input between two samples, while the host starts from rest.
        gap : int
            Steps between two samples, for ``reset='gap'``.
        stream : bool
            True is ``reset=False`` by its former name.
        streamed : bool
            Whether backend 'hardware' sends spikes while the chip runs, at most as many in a step as nengo-loihi's
            snips carry; else they are loaded before the run.
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
        given = self._asked(
            "Cannot run the deployment",
            x,
            problems=[*_flags(by_frame=by_frame, stream=stream), *reset_problems(reset)],
        )
        options = given.run_options(
            steps=steps,
            steps_per_frame=steps_per_frame,
            backend=backend,
            record=record,
            neurons=neurons,
            by_frame=by_frame,
            seed=seed,
            state=state,
            return_state=return_state,
            on_overflow=on_overflow,
            threads=threads,
            chunk_size=chunk_size,
            progress=progress,
            **between_samples(reset, gap, streamed, stream),
        )
        result = backends.run(self.program, given.samples, options, self.mapping)
        _warn(result.warnings)
        return result

    def predict(self, x: Any, steps: int | None = None, **options: Any) -> Any:
        """What `model.predict` gives: the outputs, as an array, or a list of arrays where there are several.

        Where the source gives an answer for every frame, (n_samples, n_frames, *shape).

        Parameters
        ----------
        x, steps, **options
            As for `run`.
        """
        samples = samples_for(self.graph, x)
        result = self.run(samples, steps, **options)
        every_frame = gives_every_frame(self.graph, self.options, samples)
        outputs = list((result.by_frame if every_frame else result.all_outputs).values())
        return outputs[0] if len(outputs) == 1 else outputs

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        steps: int | None = None,
        *,
        backend: Backend = "emulator",
        by_step: bool = False,
        by_frame: bool = False,
        energy: bool = False,
        steps_per_frame: int | None = None,
        reset: bool | Literal["snip", "gap"] = True,
        gap: int = 0,
        stream: bool = False,
        streamed: bool = False,
        on_overflow: Literal["count", "raise"] = "count",
        seed: int = 0,
        threads: int | None = None,
        chunk_size: int | None = None,
        progress: bool | None = None,
        client: Any = None,
    ) -> Evaluation:
        """Accuracy on labelled samples; arguments that are not listed are those of `run`.

        Parameters
        ----------
        x : array, mapping or sequence of arrays, or data set
            As for `run`. Mapped files (``numpy.load(path, mmap_mode="r")``) and arrays of zarr, dask and h5py are read,
            and checked, part by part.
        y : (n_samples,) int array or (n_samples, n_classes) one-hot array
            Labels: indices of the readout's values, or 0 and 1 for a single sigmoid. Not given where a data set holds
            them. Where the source gives an answer for every frame, (n_samples, n_frames) are labels of frames, each of
            which is a decision then. Floats (n_samples, *output_shape), or (n_samples, n_frames, *output_shape), are
            values that outputs should have: ``Evaluation.errors`` says how far they are off, by step and by frame, too.
        by_step : bool
            Also count decisions as if every presentation had ended after each of its steps
            (``Evaluation.accuracy_by_step``).
        by_frame : bool
            Also count decisions after each frame, as if it were the last one (``Evaluation.accuracy_by_frame``).
        energy : bool
            Also estimate energy and time on the chip, from the same run (``Evaluation.energy``): by our compiled
            engine, for samples that start from rest.
        client : distributed.Client, optional
            Of a Dask cluster: its workers share the samples. The program is sent to each of them once, a lost worker's
            samples are presented again, and every count is that of a run in this process. `threads` are those of one
            part then, one if not given; Dask arrays reach the workers without a way over this process.

        Raises
        ------
        InputError
            If samples or labels do not fit, or if energy is asked for where it is not counted.
        """
        problems = [
            *_flags(by_step=by_step, by_frame=by_frame, energy=energy, stream=stream),
            *reset_problems(reset),
        ]
        ours = isinstance(backend, str) and backend == "emulator"
        if not problems and energy and (not ours or stream or not reset or reset == "gap"):
            what = "energy is counted by our compiled engine, for samples that start from rest"
            found = "a run without resets" if ours else f"backend {shown(backend)}"
            remedy = "Evaluate without it, and estimate energy with deployment.energy(x)"
            problems.append(Problem(what, "energy", found, remedy=remedy))
        given = self._asked(
            "Cannot evaluate the deployment",
            *(x, y),
            labelled=True,
            values=True,
            in_parts=None if client is None else True,
            problems=problems,
        )
        options = given.run_options(
            steps=steps,
            steps_per_frame=steps_per_frame,
            backend=backend,
            by_frame=by_frame,
            seed=seed,
            on_overflow=on_overflow,
            threads=threads,
            chunk_size=chunk_size,
            progress=progress,
            **between_samples(reset, gap, streamed, stream),
        )
        samples, labels = given.samples, given.classes
        estimator, program = None, self.program
        if energy:
            from loihi_deploy.analysis.energy import Estimator

            estimator = Estimator(self.program, self.mapping)
            options, program = estimator.recording(options), estimator.runs
        counting: dict[str, Any] = {"by_step": by_step, "meter": estimator and estimator.meter}
        if given.source is not None:
            result = backends.evaluate_parts(
                program, given.source, labels, options, self.mapping, **counting, client=client
            )
        else:
            result = backends.evaluate(program, samples, labels, options, self.mapping, **counting)
        if estimator is not None:
            result = estimator.priced(samples, result)
        _warn(result.warnings)
        return result

    def stream(
        self,
        steps_per_frame: int | None = None,
        *,
        on_overflow: Literal["count", "raise"] = "count",
        seed: int = 0,
    ) -> Stream:
        """Present frames one by one, as they come, on our compiled engine; state is kept until it is reset.

        ``with deployment.stream(5) as s: answer = s.step(frame)``. An answer stands for the newest frame of which the
        network has had the time to say something; ``s.finish()`` holds the last frame until its answer is there, and
        ``s.reset()`` begins another sequence. Answers are those of ``run(..., by_frame=True)`` of the whole sequence,
        as long as that is read over all frames, or frame by frame. Where the readout is a window, or the source says
        nothing of frames, each frame is read in the window of its own steps, as
        ``run(x, steps, reset=False)`` reads samples that stand still. Memory does not grow.

        Parameters
        ----------
        steps_per_frame : int, optional
            How long each frame is shown; if not given, what it was deployed for, ``options.steps_per_frame`` or
            ``options.steps``, or 100.
        on_overflow, seed
            As for `run`.

        Raises
        ------
        InputError
            If an argument does not fit, or the encoder takes samples that stand still only.
        """
        options = self.options
        deployed_for = options.steps if isinstance(options.steps, int) else None
        hold = steps_per_frame
        if hold is None:
            hold = options.steps_per_frame or deployed_for or DEFAULT_STEPS
        asked = RunOptions(steps_per_frame=hold, seed=seed, on_overflow=on_overflow)
        refuse("Cannot open a stream", [*asked.problems(1), *frame_problems(self.program, hold)])
        width: int | None = window_steps(hold, options.readout_window)
        flush = None
        if (how := reading_of(self.program.readout, options)) in ("mean", "last", "each"):
            width = None if how == "mean" else hold
            flush = answer_delay(self.program) if options.flush is None else options.flush
        return Stream(self.graph, self.program, hold, width, flush, on_overflow, seed)

    def compare_resets(
        self,
        x: Any,
        y: Any = None,
        steps: int | None = None,
        *,
        gaps: Iterable[int] = (0, 10, 50),
        steps_per_frame: int | None = None,
    ) -> Resets:
        """Accuracy on the emulator by each way to bring a chip from one sample to the next: what to expect of a board.

        Parameters
        ----------
        x, y, steps, steps_per_frame
            As for `evaluate`.
        gaps : iterable of int
            Steps without input between two samples, each of which is tried.

        Returns
        -------
        Resets
            ``ways``, each with its accuracy; print it.

        Raises
        ------
        InputError
            If samples, labels or gaps do not fit.
        """
        from loihi_deploy.analysis.resets import resets

        one = not isinstance(gaps, Iterable) or getattr(gaps, "ndim", None) == 0
        asked: list[Any] = [gaps] if one else list(gaps)
        limits = [problem for gap in asked for problem in whole_number_problems("gaps", gap, 0)]
        refuse("Cannot compare ways to reset", limits)

        def evaluated(**how: Any) -> Evaluation:
            return self.evaluate(x, y, steps, steps_per_frame=steps_per_frame, progress=False, **how)

        return resets(evaluated, asked)

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

        given = self._asked("Cannot estimate energy", x)
        options = given.run_options(
            steps=steps, steps_per_frame=steps_per_frame, seed=seed, threads=threads, progress=progress
        )
        return estimate(self.program, self.mapping, given.samples, options, coefficients)


def _flags(**values: Any) -> list[Problem]:
    """What is wrong with arguments that must be True or False."""
    return [problem for name, value in values.items() for problem in flag_problems(name, value)]


def _warn(problems: Iterable[Problem]) -> None:
    """Warn whoever called the method that calls this."""
    for problem in problems:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=3)
