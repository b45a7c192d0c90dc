"""Batches of samples through encoder, chip and readout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.emulator import reference
from loihi_deploy.errors import BackendError, InputError, Problem
from loihi_deploy.host.readout import answers
from loihi_deploy.host.reference import decode, encode
from loihi_deploy.program import Program
from loihi_deploy.results import Counters, PopulationCounts, RunResult, RunState, Simulation

BACKENDS = ("emulator", "numpy", "reference", "hardware")
VARIABLES = ("spikes", "u", "v", "events")


def run(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    steps: int | None = None,
    *,
    backend: str = "emulator",
    mapping: Any = None,
    steps_per_frame: int | None = None,
    record: Iterable[str] | Mapping[str, Iterable[str]] = (),
    readout_window: float = 0.5,
    seed: int = 0,
    state: RunState | None = None,
    progress: bool | None = None,
) -> RunResult:
    """Present samples and decode the answers."""
    if backend not in BACKENDS:
        raise BackendError.single("no such backend", "backend", backend, ", ".join(BACKENDS))
    start = time.perf_counter()
    n, n_frames = next(iter(inputs.values())).shape[:2]
    steps = n_frames * steps_per_frame if steps_per_frame else steps or 0
    if steps < 1 or steps % n_frames:
        raise InputError.single(
            "steps must be a positive multiple of the number of frames", "steps", steps, n_frames
        )
    wanted = _wanted(program, record)
    decoded = {projection.pre for projection in program.readout.projections}
    chip_record = {
        p.name: {*wanted.get(p.name, ()), *(["spikes"] if p.name in decoded else [])}
        for p in program.populations
    }
    spikes, lost, encoder_state = encode(program.encoder, inputs, steps, state.encoder if state else None)
    chip = state.chip if state else None
    simulation = _engine(backend)(program, mapping, spikes, steps, chip_record, chip, seed)
    emitted = {
        **spikes,
        **{name: values["spikes"] for name, values in simulation.recorded.items() if "spikes" in values},
    }
    traces, readout_state = decode(
        program, {name: emitted[name] for name in decoded}, state.readout if state else None
    )
    outputs = answers(program.readout, traces, readout_window)
    recorded = {name: {v: _variable(simulation, spikes, name, v) for v in wanted[name]} for name in wanted}
    host = {
        name: PopulationCounts(array.shape[2], int(array.sum()), lost_spikes=lost[name])
        for name, array in spikes.items()
    }
    counters = Counters(n, n * steps, {**host, **simulation.counts})
    end = RunState(encoder_state, simulation.state, readout_state) if simulation.state else None
    first = next(iter(outputs.values()), np.zeros((n, 0)))
    return RunResult(first, outputs, counters, recorded, time.perf_counter() - start, end)


def _variable(
    simulation: Simulation, spikes: Mapping[str, NDArray[np.bool_]], name: str, variable: str
) -> NDArray[Any]:
    if name in spikes:
        return spikes[name] if variable == "spikes" else np.argwhere(spikes[name])
    return simulation.recorded[name][variable]


def _wanted(
    program: Program, record: Iterable[str] | Mapping[str, Iterable[str]]
) -> dict[str, tuple[str, ...]]:
    """What to record, checked: variables by population."""
    given = record if isinstance(record, Mapping) else dict.fromkeys(record, ("spikes",))
    sources = {source.name for source in program.sources}
    problems = []
    wanted = {}
    for name, variables in given.items():
        wanted[name] = tuple(variables)
        if name not in program.nodes:
            problems.append(Problem("no such population", "record", name, ", ".join(program.nodes)))
            continue
        known = ("spikes", "events") if name in sources else VARIABLES
        problems += [
            Problem("cannot be recorded", f"record of '{name}'", variable, ", ".join(known))
            for variable in wanted[name]
            if variable not in known
        ]
    if problems:
        raise InputError("Cannot record what was asked for", problems)
    return wanted


def _engine(backend: str) -> Callable[..., Simulation]:
    if backend in ("emulator", "numpy"):
        return lambda program, mapping, spikes, steps, record, state, seed: reference.simulate(
            program, spikes, steps, record, state, seed
        )
    from loihi_deploy.backends import nengo_loihi

    simulate = nengo_loihi.simulate if backend == "reference" else nengo_loihi.simulate_on_hardware
    return lambda program, mapping, spikes, steps, record, state, seed: simulate(
        program, mapping, spikes, steps, record, seed=seed
    )


def evaluate(*args: Any, **kwargs: Any) -> Any:
    """To come."""
    raise NotImplementedError
