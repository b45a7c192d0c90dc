"""Energy and time of a deployment, estimated from a run on the emulator."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingOf
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.energy.coefficients import Coefficients, load_coefficients
from loihi_deploy.analysis.energy.counting import CAUSES, Counts, counts_of, meter
from loihi_deploy.analysis.energy.measured import DIFFERENCES, Measured, measured
from loihi_deploy.analysis.energy.wiring import Wiring, wiring
from loihi_deploy.backends import RunOptions
from loihi_deploy.ir import Samples
from loihi_deploy.ir.content import OneLine
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping
from loihi_deploy.report import encoder_values, energy_page
from loihi_deploy.results import Activity, Counters, Evaluation
from loihi_deploy.tables import Page, Shown

PICO, NANO, MICRO, MILLI = 1e-12, 1e-9, 1e-6, 1e-3


@dataclass(frozen=True)
class Range:
    """An estimate and the ends of its range; a limit is compared with `high`."""

    low: float
    value: float
    high: float

    @classmethod
    def around(cls, value: float, low: float, high: float) -> Range:
        """From an estimate and the factors to the ends of its range."""
        return cls(value * low, value, value * high)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.value + other.value, self.high + other.high)

    def scaled(self, factor: float) -> Range:
        """Every number times a factor of 0 or more."""
        return Range(self.low * factor, self.value * factor, self.high * factor)

    def inverse(self) -> Range:
        """One over it: throughput of a time."""
        return Range(1 / self.high, 1 / self.value, 1 / self.low)


@dataclass(frozen=True)
class Energy(Shown, OneLine):
    """What a deployment costs per sample, estimated with a set of coefficients; print it for tables.

    Parameters
    ----------
    coefficients : Coefficients
        The set.
    board : str
    populations : tuple of str
        On chip.
    n_chips, tiles : int
        Chips in use, and tiles in use on the chip that uses most.
    samples, steps : int
        Presented, and steps of each.
    counts : Counts
        Summed over samples and steps.
    core_chips : tuple of int
        Chip of each core.
    by_cause : dict of Range
        Joules per sample, static energy not among them.
    dynamic, static, total : Range
        Joules per sample: the sum of causes, what the chips take while they do nothing, and both.
    by_population, by_core : dict of Range, tuple of Range
        Dynamic joules per sample.
    by_chip : dict of Range
        Joules per sample, static energy included.
    seconds : Range
        Per sample: all steps.
    time_parts : dict of Range
        Seconds per sample, by what they are for: the busiest core of each step, synchronization within a chip, and
        between chips.
    step, longest_step : Range
        Seconds of a step, on average and at most.
    throughput : Range
        Samples per second, one after the other.
    encoder : dict
        Host operations per sample: 'multiplies', 'additions', 'random_numbers' and 'spikes_sent', each also
        '..._per_pixel' (of the input); 'messages_per_step', to the chip that takes most, beside
        'messages_per_step_limit'.
    measured : tuple of Measured
        What others measured on this chip.
    notes : tuple of str
        What the estimate leaves out.
    """

    coefficients: Coefficients
    board: str
    populations: tuple[str, ...]
    n_chips: int
    tiles: int
    samples: int
    steps: int
    counts: Counts
    core_chips: tuple[int, ...]
    by_cause: MappingOf[str, Range]
    dynamic: Range
    static: Range
    total: Range
    by_population: MappingOf[str, Range]
    by_core: tuple[Range, ...]
    by_chip: MappingOf[int, Range]
    seconds: Range
    time_parts: MappingOf[str, Range]
    step: Range
    longest_step: Range
    throughput: Range
    encoder: MappingOf[str, float]
    measured: tuple[Measured, ...]
    notes: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """Everything as plain values, for JSON; joules, seconds and counts per sample."""
        counts = self.counts
        per_sample = {cause: counts.total(cause) / counts.samples for cause in CAUSES}
        per_sample["axon messages"] = counts.axon_messages / counts.samples
        per_sample["messages between chips"] = counts.between_chips / counts.samples
        per_sample["host spikes"] = counts.host_spikes / counts.samples
        per_sample["host messages"] = int(counts.messages[-1].sum()) / counts.samples
        return {
            "coefficients": self.coefficients.name,
            "description": self.coefficients.description,
            "board": self.board,
            "chips": self.n_chips,
            "tiles": self.tiles,
            "samples": self.samples,
            "steps": self.steps,
            "joules": {
                "total": asdict(self.total),
                "dynamic": asdict(self.dynamic),
                "static": asdict(self.static),
                "by_cause": {cause: asdict(energy) for cause, energy in self.by_cause.items()},
                "by_population": {name: asdict(energy) for name, energy in self.by_population.items()},
                "by_core": [asdict(energy) for energy in self.by_core],
                "by_chip": {str(chip): asdict(energy) for chip, energy in self.by_chip.items()},
            },
            "seconds": {
                "sample": asdict(self.seconds),
                "step": asdict(self.step),
                "longest_step": asdict(self.longest_step),
                "parts": {part: asdict(time) for part, time in self.time_parts.items()},
            },
            "samples_per_second": asdict(self.throughput),
            "counts": per_sample,
            "encoder": dict(self.encoder),
            "measured": [asdict(row) for row in self.measured],
            "notes": list(self.notes),
        }

    def page(self) -> Page:
        """By cause, population and chip, times, the host's work, and what others measured."""
        return energy_page(self.values())


def estimate(
    program: Program,
    mapping: Mapping,
    samples: Samples,
    options: RunOptions,
    coefficients: str | os.PathLike[str] = "sanafe2025",
) -> Energy:
    """Run samples on the emulator and price what the cores did.

    Parameters
    ----------
    program : Program
    mapping : Mapping
        Of this program.
    samples : Samples
    options : RunOptions
        Steps, seed and threads; nothing is recorded.
    coefficients : str or Path
        The name of a set, or the path of a file.

    Raises
    ------
    InputError
        If the mapping is that of another program, or samples or options do not fit.
    EnergyConfigError
        If the coefficients cannot be used.
    """
    estimator = Estimator(program, mapping, coefficients)
    result = backends.run(estimator.runs, samples, estimator.recording(options), mapping, estimator.meter)
    return estimator.energy(samples, result.activity, result.counters)


class Estimator:
    """What counts a run, and prices what was counted.

    Parameters
    ----------
    program, mapping, coefficients
        As for `estimate`.
    """

    def __init__(
        self, program: Program, mapping: Mapping, coefficients: str | os.PathLike[str] = "sanafe2025"
    ) -> None:
        self._program, self._mapping = program, mapping
        self._costs = load_coefficients(coefficients)
        self._wires = wiring(program, mapping)
        self.runs = self._wires.full.program
        """What has to be run: the program with its margins."""
        self.meter = meter(self._wires, self._costs)

    def recording(self, options: RunOptions) -> RunOptions:
        """Options that record what the meter needs, and nothing else."""
        return replace(options, record=self.meter.record, neurons=self.meter.neurons)

    def energy(self, samples: Samples, activity: Activity | None, counters: Counters) -> Energy:
        """Price what a run of these samples made the cores do."""
        assert activity is not None, "a run with a meter counts"
        return _priced(self._program, self._mapping, self._costs, self._wires, samples, activity, counters)

    def priced(self, samples: Samples, result: Evaluation) -> Evaluation:
        """An evaluation with its energy; of margins it tells nothing."""
        margins = self._wires.full.margins
        of_margins = {f"layer '{name}'" for name in margins}
        own = {name: count for name, count in result.counters.populations.items() if name not in margins}
        counters = replace(result.counters, populations=own)
        return replace(
            result,
            counters=counters,
            warnings=tuple(problem for problem in result.warnings if problem.where not in of_margins),
            energy=self.energy(samples, result.activity, counters),
        )


def _priced(
    program: Program,
    mapping: Mapping,
    costs: Coefficients,
    wires: Wiring,
    samples: Samples,
    activity: Activity,
    counters: Counters,
) -> Energy:
    counts, others = counts_of(wires, activity), measured(mapping.board.chip.name)
    n = counts.samples
    steps = counts.sample_steps // n
    chips = sorted(set(wires.chip.tolist()))

    def per_sample(picojoules: float) -> Range:
        return Range.around(picojoules * PICO / n, costs.energy_low, costs.energy_high)

    picojoules = counts.picojoules(costs)
    by_core_and_population = sum(
        (table[:, : len(program.populations)] for table in picojoules.values()),
        start=np.zeros(wires.compartments.shape),
    )
    by_core = by_core_and_population.sum(axis=1)
    dynamic = per_sample(float(sum(table.sum() for table in picojoules.values())))
    parts = _times(costs, activity.busy_ns, steps, wires.tiles, len(chips))
    seconds = _sum(parts.values())
    static_watts = costs.static_mw * MILLI
    static = seconds.scaled(static_watts * len(chips))
    longest = _sum(_times(costs, activity.longest_ns, 1, wires.tiles, len(chips), "max").values())
    by_chip = {
        chip: per_sample(float(by_core[wires.chip == chip].sum())) + seconds.scaled(static_watts)
        for chip in chips
    }
    return Energy(
        costs,
        mapping.board.name,
        tuple(p.name for p in program.populations),
        len(chips),
        wires.tiles,
        n,
        steps,
        counts,
        tuple(wires.chip.tolist()),
        {cause: per_sample(float(table.sum())) for cause, table in picojoules.items()},
        dynamic,
        static,
        dynamic + static,
        {
            p.name: per_sample(float(by_core_and_population[:, k].sum()))
            for k, p in enumerate(program.populations)
        },
        tuple(per_sample(float(energy)) for energy in by_core),
        by_chip,
        seconds,
        parts,
        seconds.scaled(1 / steps),
        longest,
        seconds.inverse(),
        _encoder(program, mapping, counts, counters, samples.total_frames / len(samples), wires.chip),
        others,
        (*_notes(program, wires, counts), *(DIFFERENCES if others else ())),
    )


def _sum(ranges: Any) -> Range:
    total = Range(0.0, 0.0, 0.0)
    for part in ranges:
        total += part
    return total


def _times(
    costs: Coefficients, busy_ns: NDArray[np.float64], steps: int, tiles: int, n_chips: int, of: str = "mean"
) -> dict[str, Range]:
    """Seconds of a presentation of so many steps, by what they are for."""
    busy = float(busy_ns.mean() if of == "mean" else busy_ns.max()) * NANO
    parts = {
        "busiest core": Range.around(busy, costs.time_low, costs.time_high),
        "barrier": Range.around(steps * costs.barrier_ns(tiles) * NANO, costs.time_low, costs.time_high),
    }
    if n_chips > 1:
        low, high = costs.chip_barrier_low_us * MICRO, costs.chip_barrier_high_us * MICRO
        parts["barrier between chips"] = Range(steps * low, steps * (low + high) / 2, steps * high)
    return parts


def _encoder(
    program: Program,
    mapping: Mapping,
    counts: Counts,
    counters: Counters,
    n_frames: float,
    chip: NDArray[np.int64],
) -> dict[str, float]:
    """Operations of the host per sample and per pixel, and what it sends beside the limit of the link."""
    work = encoder_values(program, counters)
    steps = counts.sample_steps / counts.samples
    operations = {
        "multiplies": work["multiplies_per_frame"] * n_frames + work["multiplies_per_step"] * steps,
        "additions": work["additions_per_frame"] * n_frames + work["additions_per_step"] * steps,
        "random_numbers": work["random_numbers_per_step"] * steps,
        "spikes_sent": work["spikes_per_sample"],
    }
    shapes = [node.shape for node in program.encoder.inputs]
    pixels = sum(prod(shape[:2] if len(shape) == 3 else shape) for shape in shapes) * n_frames
    values: dict[str, float] = {}
    for name, amount in operations.items():
        values[name] = float(amount)
        values[f"{name}_per_pixel"] = float(amount) / pixels
    to_chip = np.bincount(chip, counts.messages[-1], minlength=1) / counts.sample_steps
    values["messages_per_step"] = float(to_chip.max())
    values["messages_per_step_limit"] = float(mapping.board.chip.host_spikes_per_step)
    return values


def _notes(program: Program, wires: Wiring, counts: Counts) -> tuple[str, ...]:
    """What the estimate leaves out, or takes as the most that it can be."""
    notes = ["Not in it: the host's own energy, input and output of the board, loading the network"]
    if counts.between_chips:
        notes.append(
            f"{counts.between_chips / counts.samples:,.0f} messages per sample leave their chip: no cost of that is "
            "published, so their way is counted as 0 hops; between chips only the synchronization takes time"
        )
    driven = [bias_input.population for bias_input in program.bias_inputs]
    noisy = [p.name for p in program.populations if p.noise is not None]
    if driven or noisy:
        notes.append(
            f"Updated in every step, whatever the input: {', '.join([*driven, *noisy])} (biases from the input, or "
            "noise)"
        )
    margins = int(wires.compartments.sum()) - wires.full.program.n_compartments
    if margins:
        notes.append(
            f"Counted as updated in every step, and as silent: {margins:,} compartments that stand for no neuron, on "
            "slices with a margin. They are followed where there is no noise and they have fewer synapses"
        )
    return tuple(notes)
