"""What a run returns: counts that add, and ratios only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.ir.content import OneLine, describe
from loihi_deploy.tables import Page, Shown, Table, percent, warned

FRAMES_SHOWN = 10
"""Frames, evenly spaced from the first to the last, that an evaluation tells the accuracy of."""
Recorded = Mapping[str, Mapping[str, NDArray[Any]]]
"""Recorded variables by population, then by name: 'spikes' (n, steps, size) bool; 'u' and 'v' (n, steps, size) int32;
'events' (n_events, 3) int64: rows (sample, step, neuron) in rising order, steps counted from 0."""


@dataclass(frozen=True)
class PopulationCounts:
    """Counts of one population, summed over samples and steps.

    Parameters
    ----------
    size : int
        Neurons (or compartments).
    spikes : int
    synaptic_events : int
        Weights added to accumulators of this population: for each arriving spike, the number of its synapses.
    overflows_q, overflows_u : int
        Times a synaptic accumulator (21 bits) or a current (23 bits, bias included) wrapped around.
    lost_spikes : int
        Host neurons only: spikes beyond one per neuron and step, which the chip cannot receive.
    clipped_biases : int
        Input values that were beyond the range of the bias that they became.
    unknown : tuple of str
        Names of the counts that nobody could take, and that are 0: a chip tells the spikes of what is probed, and never
        overflows.
    """

    size: int
    spikes: int = 0
    synaptic_events: int = 0
    overflows_q: int = 0
    overflows_u: int = 0
    lost_spikes: int = 0
    clipped_biases: int = 0
    unknown: tuple[str, ...] = field(default=(), kw_only=True)

    def __init__(  # what a dataclass makes sets fields one by one, which takes twice as long in every run
        self,
        size: int,
        spikes: int = 0,
        synaptic_events: int = 0,
        overflows_q: int = 0,
        overflows_u: int = 0,
        lost_spikes: int = 0,
        clipped_biases: int = 0,
        *,
        unknown: tuple[str, ...] = (),
    ) -> None:
        self.__dict__.update(
            size=size,
            spikes=spikes,
            synaptic_events=synaptic_events,
            overflows_q=overflows_q,
            overflows_u=overflows_u,
            lost_spikes=lost_spikes,
            clipped_biases=clipped_biases,
            unknown=unknown,
        )

    def __add__(self, other: PopulationCounts) -> PopulationCounts:
        return PopulationCounts(
            self.size,
            self.spikes + other.spikes,
            self.synaptic_events + other.synaptic_events,
            self.overflows_q + other.overflows_q,
            self.overflows_u + other.overflows_u,
            self.lost_spikes + other.lost_spikes,
            self.clipped_biases + other.clipped_biases,
            unknown=tuple(sorted({*self.unknown, *other.unknown})),
        )


@dataclass(frozen=True)
class Counters(Shown, OneLine):
    """Counts of a run; those of two runs of one program add.

    Parameters
    ----------
    samples : int
        Samples presented; a padded sample is never counted.
    sample_steps : int
        Steps summed over samples.
    populations : dict
        `PopulationCounts` by name, host encoders included.
    """

    samples: int
    sample_steps: int
    populations: Mapping[str, PopulationCounts]

    def __add__(self, other: Counters) -> Counters:
        both = {name: counts + other.populations[name] for name, counts in self.populations.items()}
        return Counters(self.samples + other.samples, self.sample_steps + other.sample_steps, both)

    def page(self) -> Page:
        """A row for each population."""
        columns = ("population", "neurons", "spikes", "synaptic events", "overflows", "lost spikes")
        n = max(self.samples, 1)
        rows = tuple(
            (
                name,
                f"{counts.size:,}",
                "?" if "spikes" in counts.unknown else f"{counts.spikes / n:,.1f}",
                "?" if "synaptic_events" in counts.unknown else f"{counts.synaptic_events / n:,.1f}",
                "?" if "overflows_q" in counts.unknown else f"{counts.overflows_q + counts.overflows_u:,}",
                f"{counts.lost_spikes:,}",
            )
            for name, counts in self.populations.items()
        )
        title = f"Activity of {self.samples:,} samples; spikes and synaptic events for each of them"
        return Page((Table(title, columns, rows),))

    def firing_rate(self, population: str, dt: float) -> float:
        """Mean firing rate of a population in Hz; not a number where its spikes are unknown."""
        counts = self.populations[population]
        if "spikes" in counts.unknown:
            return float("nan")
        return counts.spikes / (counts.size * self.sample_steps * dt) if self.sample_steps else 0.0


@dataclass(frozen=True)
class Activity:
    """What a run made the cores do: see `loihi_deploy.engines.activity`.

    Parameters
    ----------
    samples, sample_steps : int
        Samples presented, and steps summed over them.
    spikes : (n_classes,) int64 array
        Spikes of each class of neurons, summed over samples and steps.
    updates : dict of (n_cores,) int64 arrays
        Updates of compartments that have no bias, by population: those of the others are one in each step.
    busy_ns, longest_ns : (n_samples,) float arrays
        Time of the busiest core, summed over the steps of a sample, and of its longest step; without synchronization.
    """

    samples: int
    sample_steps: int
    spikes: NDArray[np.int64]
    updates: Mapping[str, NDArray[np.int64]]
    busy_ns: NDArray[np.float64]
    longest_ns: NDArray[np.float64]

    def __add__(self, other: Activity) -> Activity:
        return Activity(
            self.samples + other.samples,
            self.sample_steps + other.sample_steps,
            self.spikes + other.spikes,
            {name: updates + other.updates[name] for name, updates in self.updates.items()},
            np.concatenate([self.busy_ns, other.busy_ns]),
            np.concatenate([self.longest_ns, other.longest_ns]),
        )


@dataclass(frozen=True)
class ChipState:
    """The chip between two steps, for each of n samples: what a run needs to be continued.

    Parameters
    ----------
    u, v, refractory : dict of (n, size) int32 arrays
        Current, voltage and remaining refractory steps, by population.
    spikes : dict of (n, size) bool arrays
        Spikes of the last step, by population: they arrive in the next one.
    pending : dict of (n, delay, size) bool arrays
        Spikes on their way from the host, oldest first, by source.
    noise : tuple or None
        State of the generator, as `numpy.random.RandomState.get_state` gives it; None where nothing is noisy.
    delayed : dict of (n, steps, size) bool arrays
        Spikes that arrived in the last steps, oldest first, of senders with synapses that hold some of them back.
    """

    u: Mapping[str, NDArray[np.int32]]
    v: Mapping[str, NDArray[np.int32]]
    refractory: Mapping[str, NDArray[np.int32]]
    spikes: Mapping[str, NDArray[np.bool_]]
    pending: Mapping[str, NDArray[np.bool_]]
    noise: tuple[Any, ...] | None = None
    delayed: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True)
class Simulation:
    """What a simulation of the chip part returns, whatever the engine.

    Parameters
    ----------
    recorded : dict of dict of arrays
        See `Recorded`.
    counts : dict
        `PopulationCounts` of the populations on chip, summed over samples and steps.
    state : ChipState or None
        After the last step; None from an engine that cannot be continued.
    first_wrap : (int, int, str) or None
        Sample, step and population of the first accumulator that wrapped around, in this order; None where none did,
        and from an engine that does not count them.
    """

    recorded: Recorded
    counts: Mapping[str, PopulationCounts]
    state: ChipState | None = None
    first_wrap: tuple[int, int, str] | None = None


@dataclass(frozen=True)
class HostState:
    """Host neurons, or host filters, between two steps.

    Parameters
    ----------
    arrays : dict of arrays
        First axis: samples. Encoder: '<population>/voltage', '<population>/refractory_time' and, where inputs are
        filtered, '<projection>/filtered'. Readout: '<projection>/filtered' and '<projection>/delayed'.
    """

    arrays: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class RunState:
    """Encoder, chip and readout between two steps: give it to a run to continue an earlier one.

    Parameters
    ----------
    encoder, readout : HostState
    chip : ChipState
    program : str
        Digest of the program that ran.
    """

    encoder: HostState
    chip: ChipState
    readout: HostState
    program: str


@dataclass(frozen=True)
class RunResult(Shown, OneLine):
    """The outcome of `Deployment.run`.

    Parameters
    ----------
    outputs : (n_samples, *shape) float array
        The (first) readout: filtered, decoded, averaged over the readout window, activation applied.
    all_outputs : dict of arrays
        The same for every readout by name.
    counters : Counters
    recorded : dict of dict of arrays
        See `Recorded`.
    seconds : float
        Wall time.
    state : RunState or None
        After the last step, where it was asked for.
    warnings : tuple of Problem
        What was lost, and why: inputs beyond what the network was calibrated on, accumulators that wrapped around.
    activity : Activity or None
        What the cores did, where it was asked for.
    by_frame : dict of (n_samples, n_frames, *shape) arrays
        Outputs after each frame, by readout, where they were asked for; without frames that there is no answer to yet,
        in front of `Graph.first_frame`. The same holds for what is counted by frame.
    """

    outputs: NDArray[Any]
    all_outputs: Mapping[str, NDArray[Any]]
    counters: Counters
    recorded: Recorded = field(default_factory=dict)
    seconds: float = 0.0
    state: RunState | None = None
    warnings: tuple[Problem, ...] = ()
    activity: Activity | None = None
    by_frame: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def page(self) -> Page:
        """Outputs and recorded variables by shape, and the activity of each population."""
        outputs = ", ".join(f"{name} {describe(values)}" for name, values in self.all_outputs.items())
        texts = [f"Outputs: {outputs}; {self.seconds:.1f} s"]
        for name, variables in self.recorded.items():
            recorded = ", ".join(f"{variable} {describe(values)}" for variable, values in variables.items())
            texts.append(f"Recorded of {name}: {recorded}")
        return Page(tuple(texts)) + self.counters.page() + Page(warned(self.warnings))


@dataclass(frozen=True)
class Errors(OneLine):
    """How far outputs are from the values that they should have; those of two runs of one program add.

    Parameters
    ----------
    squared, power : float
        Sums of squared differences, and of squared targets.
    n_values : int
        Values that were compared.
    squared_by_step : (n_steps,) float array or None
        The differences had every presentation ended after each of its steps, where that was asked for.
    squared_by_frame, power_by_frame : (n_frames,) float arrays or None
        The same by frame, where targets are those of frames, or that was asked for.
    """

    squared: float
    power: float
    n_values: int
    squared_by_step: NDArray[np.float64] | None = None
    squared_by_frame: NDArray[np.float64] | None = None
    power_by_frame: NDArray[np.float64] | None = None

    @property
    def rmse(self) -> float:
        """Root mean square difference."""
        return float(np.sqrt(self.squared / max(self.n_values, 1)))

    @property
    def relative(self) -> float:
        """Root mean square difference over the targets' root mean square; infinite where these are all 0."""
        return (
            float(np.sqrt(self.squared / self.power))
            if self.power
            else float("inf") * (self.squared > 0) or 0.0
        )

    @property
    def relative_by_step(self) -> NDArray[np.float64]:
        """`relative` after each step; empty where that was not asked for."""
        return _relative(self.squared_by_step, np.asarray(self.power))

    @property
    def relative_by_frame(self) -> NDArray[np.float64]:
        """`relative` of each frame, or after it; empty where that was not asked for."""
        return _relative(self.squared_by_frame, self.power_by_frame)

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.squared + other.squared,
            self.power + other.power,
            self.n_values + other.n_values,
            _added(self.squared_by_step, other.squared_by_step),
            _added(self.squared_by_frame, other.squared_by_frame),
            _added(self.power_by_frame, other.power_by_frame),
        )

    def __str__(self) -> str:
        return f"RMSE {self.rmse:.4g}, relative error {percent(self.relative)}"


def _relative(squared: NDArray[np.float64] | None, power: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if squared is None or power is None:
        return np.zeros(0)
    return np.asarray(np.sqrt(squared / np.maximum(power, np.finfo(np.float64).tiny)), np.float64)


@dataclass(frozen=True)
class Evaluation(Shown, OneLine):
    """The outcome of `Deployment.evaluate`; those of two runs of one program add.

    Parameters
    ----------
    n_correct, n_total : int
    counters : Counters
    seconds : float
        Wall time.
    n_correct_by_step : (n_steps,) int64 array or None
        Correct decisions, had every presentation ended after each of its steps, where that was asked for.
    warnings : tuple of Problem
        As for `RunResult`.
    activity : Activity or None
        What the cores did, where it was asked for.
    energy : loihi_deploy.analysis.energy.Energy or None
        Estimated from the activity, where it was asked for; a sum of two outcomes has none.
    n_correct_by_frame, n_total_by_frame : (n_frames,) int64 arrays or None
        Correct decisions after each frame, of how many, where that was asked for. A sum of two outcomes has them where
        both have as many frames.
    errors : Errors or None
        How far outputs are from targets, where these are values; then nothing is correct or wrong, and `n_total` is 0.
    """

    n_correct: int
    n_total: int
    counters: Counters
    seconds: float = 0.0
    n_correct_by_step: NDArray[np.int64] | None = None
    warnings: tuple[Problem, ...] = ()
    activity: Activity | None = None
    energy: Any = None
    n_correct_by_frame: NDArray[np.int64] | None = None
    n_total_by_frame: NDArray[np.int64] | None = None
    errors: Errors | None = None

    def page(self) -> Page:
        """Accuracy, or errors, and the activity of each population."""
        text = f"Accuracy {percent(self.accuracy)} ({self.n_correct:,} of {self.n_total:,})"
        by_frame = self.accuracy_by_frame
        if self.errors is not None:
            text, by_frame = str(self.errors), self.errors.relative_by_frame
        texts = [f"{text}, {self.seconds:.1f} s"]
        if by_frame.size:
            shown = sorted({round(k * (by_frame.size - 1) / (FRAMES_SHOWN - 1)) for k in range(FRAMES_SHOWN)})
            of_frames = ", ".join(f"{percent(by_frame[k])} ({k + 1})" for k in shown)
            texts.append(f"After each frame, from the first one that has an answer on: {of_frames}")
        return Page(tuple(texts)) + self.counters.page() + Page(warned(self.warnings))

    @property
    def accuracy(self) -> float:
        """n_correct / n_total; 0 for no sample."""
        return self.n_correct / self.n_total if self.n_total else 0.0

    @property
    def accuracy_by_step(self) -> NDArray[np.float64]:
        """Accuracy had every presentation ended after each of its steps; empty where that was not asked for."""
        if self.n_correct_by_step is None:
            return np.zeros(0)
        return np.asarray(self.n_correct_by_step / max(self.n_total, 1), dtype=np.float64)

    @property
    def accuracy_by_frame(self) -> NDArray[np.float64]:
        """Accuracy after each frame; empty where that was not asked for."""
        if self.n_correct_by_frame is None or self.n_total_by_frame is None:
            return np.zeros(0)
        return np.asarray(self.n_correct_by_frame / np.maximum(self.n_total_by_frame, 1), dtype=np.float64)

    def __add__(self, other: Evaluation) -> Evaluation:
        activity = None
        if self.activity is not None and other.activity is not None:
            activity = self.activity + other.activity
        return Evaluation(
            self.n_correct + other.n_correct,
            self.n_total + other.n_total,
            self.counters + other.counters,
            self.seconds + other.seconds,
            _added(self.n_correct_by_step, other.n_correct_by_step),
            (*self.warnings, *(problem for problem in other.warnings if problem not in self.warnings)),
            activity,
            n_correct_by_frame=_added(self.n_correct_by_frame, other.n_correct_by_frame),
            n_total_by_frame=_added(self.n_total_by_frame, other.n_total_by_frame),
            errors=None if self.errors is None or other.errors is None else self.errors + other.errors,
        )


def _added(first: NDArray[Any] | None, second: NDArray[Any] | None) -> NDArray[Any] | None:
    """The sum of two counts of one length; None where there is none."""
    if first is None or second is None or first.shape != second.shape:
        return None
    return np.asarray(first + second)
