"""Measurements of the emulator on `loihi_deploy.bench.networks`, alternating with nengo-loihi's emulator."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.line import line
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.bench.floor import measure_floor
from loihi_deploy.bench.nengo_networks import predict_seconds
from loihi_deploy.chip.boards import load_board
from loihi_deploy.engines.threads import thread_count
from loihi_deploy.errors import InputError, MissingExtraError
from loihi_deploy.frontends import import_nengo_dl
from loihi_deploy.ir import Graph, Samples, samples_for
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.results import Recorded
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize

BATCHES = {"cifar10-convnet": (16, 256), "mnist-convnet": (64, 1), "nxtf-mnist": (64,), "recurrent-lif": (1,)}
"""What is measured if nothing is asked for."""

BOARD = "nahuku32"

NENGO_DL_BATCH = 64
"""NengoDL is not run on larger batches: it keeps every step's input, and takes minutes."""


def bench(
    networks: Iterable[str] | None = None,
    batch: int | None = None,
    threads: int | None = None,
    *,
    steps: int = 100,
    repeats: int = 5,
    reference_repeats: int = 2,
    reference: bool = True,
    nengo_dl: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Measure the emulator.

    Every network runs from rest on seeded inputs. Our figures are for encoder, chip and readout together, nengo-loihi's
    for the chip alone, of one sample. Both are the best of several runs, which alternate.

    Parameters
    ----------
    networks : iterable of str, optional
        Names in ``benchmarks.NETWORKS``; those of `BATCHES` if not given.
    batch : int, optional
        Samples in a run; those of `BATCHES` if not given.
    threads : int, optional
        See `loihi_deploy.engines.threads.thread_count`.
    steps : int
        Of a presentation.
    repeats, reference_repeats : int
        Runs of ours and of the others.
    reference : bool
        Whether to run nengo-loihi's emulator.
    nengo_dl : bool
        Whether to run ``nengo_dl.Simulator.predict`` on the float spiking network.
    say : callable
        Takes a line about what happens now.

    Returns
    -------
    list of dict
        One for each network and batch: `network`, `batch`, `threads`, `steps`, `neurons`, `steps_per_s` (steps times
        samples per second), `reference_steps_per_s`, `ratio`, `spikes_equal`, `nengo_dl_steps_per_s`, `nengo_dl_ratio`,
        `spikes_per_step` and `events_per_step` (on chip, one sample), `ns_per_neuron_update` and
        `ns_per_synaptic_event` (all of a run's time on all threads, over either), `floor_ns_per_neuron` and
        `floor_ns_per_event` (of the arithmetic alone, in this process; see `loihi_deploy.bench.floor`),
        `ratio_to_floor` (all of a run's time on all threads, over that of its arithmetic), `parts`
        (nanoseconds of a step of one sample that is run alone on one thread), `peak_memory_mb` (of a fresh process that
        builds and runs the network), `build_s` (from graph to runnable program), `reference_build_s` (mapping
        included). What was not measured, or needs a package that is not installed, is None.

    Raises
    ------
    InputError
        If there is no such network.
    """
    names = list(networks) if networks is not None else list(BATCHES)
    unknown = [name for name in names if name not in benchmarks.NETWORKS]
    if unknown:
        raise InputError.single(
            "no such benchmark network", "network", ", ".join(unknown), ", ".join(benchmarks.NETWORKS)
        )
    if nengo_dl:  # before nengo-loihi, which would load TensorFlow with a Keras that NengoDL cannot use
        try:
            import_nengo_dl()
        except MissingExtraError:
            nengo_dl = False
    results = []
    for name in names:
        for n in (batch,) if batch is not None else BATCHES.get(name, (1,)):
            say(f"Measuring {name}, batch {n} ...")
            rounds = repeats, reference_repeats if reference else 0, reference_repeats if nengo_dl else 0
            results.append(_measure(name, n, thread_count(threads), steps, rounds))
    return results


def _measure(name: str, n: int, threads: int, steps: int, rounds: tuple[int, int, int]) -> dict[str, Any]:
    repeats, reference_repeats, nengo_dl_repeats = rounds
    graph = benchmarks.NETWORKS[name]()
    start = time.perf_counter()
    program = quantize(partition(graph))
    line(program)
    build_seconds = time.perf_counter() - start
    samples = benchmarks.inputs(name, n)
    inputs = samples_for(graph, samples)
    populations = [p.name for p in program.populations]
    everything = RunOptions(steps, record=[*(s.name for s in program.sources), *populations])
    recorded = backends.run(program, inputs.take(slice(1)), everything).recorded

    ours: list[float] = []
    theirs: list[tuple[float, float, bool]] = []
    for i in range(repeats):
        result = backends.run(program, inputs, RunOptions(steps, threads=threads))
        ours.append(result.seconds)
        if i < reference_repeats:
            theirs += _reference(program, steps, recorded)
    floor = measure_floor(program, inputs.take(slice(1)), recorded, steps)
    alone = _alone(program, inputs.take(slice(1)), steps, repeats)
    counts = [result.counters.populations[p] for p in populations]
    sample_steps = result.counters.sample_steps
    speed = sample_steps / min(ours)
    cut = line(program).halves
    thread_ns = 1e9 * min(ours) * min(threads, 2 if n == 1 and cut and cut.pay(steps) else n)
    events = sum(count.synaptic_events for count in counts)
    arithmetic_ns = sample_steps * program.n_compartments * floor.ns_per_neuron + events * floor.ns_per_event
    reference_speed = max((steps / seconds for seconds, _, _ in theirs), default=None)
    nengo_dl_speed = _nengo_dl(graph, samples, steps, nengo_dl_repeats if n <= NENGO_DL_BATCH else 0)
    return {
        "network": name,
        "batch": n,
        "threads": threads,
        "steps": steps,
        "neurons": program.n_compartments,
        "steps_per_s": speed,
        "reference_steps_per_s": reference_speed,
        "ratio": None if reference_speed is None else speed / reference_speed,
        "spikes_equal": all(equal for _, _, equal in theirs) if theirs else None,
        "nengo_dl_steps_per_s": nengo_dl_speed,
        "nengo_dl_ratio": None if nengo_dl_speed is None else speed / nengo_dl_speed,
        "spikes_per_step": sum(count.spikes for count in counts) / sample_steps,
        "events_per_step": events / sample_steps,
        "ns_per_neuron_update": thread_ns / (sample_steps * program.n_compartments),
        "ns_per_synaptic_event": thread_ns / events,
        "floor_ns_per_neuron": floor.ns_per_neuron,
        "floor_ns_per_event": floor.ns_per_event,
        "ratio_to_floor": thread_ns / arithmetic_ns,
        "parts": floor.parts | {"python": max(0.0, 1e9 * alone / steps - sum(floor.parts.values()))},
        "peak_memory_mb": _peak_memory(name, n, threads, steps),
        "build_s": build_seconds,
        "reference_build_s": min((seconds for _, seconds, _ in theirs), default=None),
    }


def _alone(program: Program, sample: Samples, steps: int, repeats: int) -> float:
    """Seconds of a run of one sample on one thread, the best of several."""
    options = RunOptions(steps, threads=1)
    return min(backends.run(program, sample, options).seconds for _ in range(3 * repeats))


def _reference(program: Program, steps: int, recorded: Recorded) -> list[tuple[float, float, bool]]:
    """Run nengo-loihi's emulator on one sample: seconds of its steps, of building, and whether all spikes are equal.

    Empty where nengo-loihi is not installed.
    """
    from loihi_deploy.backends import nengo_loihi

    start = time.perf_counter()
    mapping = map_to_cores(program, load_board(BOARD))
    seconds: list[float] = []
    sent = {source.name: recorded[source.name]["spikes"] for source in program.sources}
    wanted = {p.name: ("spikes",) for p in program.populations}
    try:
        simulation = nengo_loihi.simulate(program, mapping, sent, steps, wanted, seconds=seconds)
    except MissingExtraError:
        return []
    building = time.perf_counter() - start - seconds[0]
    equal = all(
        np.array_equal(simulation.recorded[name]["spikes"], recorded[name]["spikes"]) for name in wanted
    )
    return [(seconds[0], building, equal)]


def _nengo_dl(graph: Graph, samples: NDArray[np.float64], steps: int, repeats: int) -> float | None:
    """Steps times samples per second of NengoDL; None where it is not to be run."""
    if repeats == 0:
        return None
    return len(samples) * steps / predict_seconds(graph, samples.reshape(len(samples), -1), steps, repeats)


def _peak_memory(name: str, n: int, threads: int, steps: int) -> float:
    """Megabytes that a process of its own takes at most to build the network and run it."""
    code = (
        f"from loihi_deploy.bench.speed import run_alone; print(run_alone({name!r}, {n}, {threads}, {steps}))"
    )
    root = str(Path(__file__).parents[2])
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    return float(output)


def run_alone(name: str, n: int, threads: int, steps: int) -> float:
    """Build and run a benchmark network; returns this process's peak memory in megabytes."""
    graph = benchmarks.NETWORKS[name]()
    inputs = samples_for(graph, benchmarks.inputs(name, n))
    backends.run(quantize(partition(graph)), inputs, RunOptions(steps, threads=threads))
    status = Path("/proc/self/status")
    if status.exists():  # of this process alone, where the call below may include the one that started it
        line_of = dict(text.split(":", 1) for text in status.read_text().splitlines())
        return int(line_of["VmHWM"].split()[0]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
