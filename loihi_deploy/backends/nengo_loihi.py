"""A mapped program as nengo-loihi blocks, and a run on its emulator.

Each core becomes one block that holds the program's own integers: nengo-loihi's discretization is left out. The import
of nengo-loihi takes seconds, so it waits until a function is called.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends import board_driver
from loihi_deploy.backends.blocks import Tree, describe
from loihi_deploy.backends.board_driver import Made, in_order
from loihi_deploy.engines.chip.plain import Biases, arrival_delays, fan_out, n_samples
from loihi_deploy.errors import missing_extra
from loihi_deploy.frontends.compat import refuse_numpy_2
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.results import PopulationCounts, Simulation

_Accumulator = Literal["q", "u"]
_NEVER = 1 << 62
"""A step that no run reaches."""


def build_model(
    program: Program, mapping: CoreMapping, record: Mapping[str, Iterable[str]] | None = None
) -> Made:
    """Make nengo-loihi's blocks, inputs and probes.

    Parameters
    ----------
    program : Program
    mapping : Mapping
        Of this program.
    record : dict of iterables of {'spikes', 'u', 'v'}
        Variables to be probed, by population.

    Raises
    ------
    MissingExtraError
        If nengo-loihi is not installed.
    BackendError
        If the mapping is one of another program, or the chip computes with numbers that nengo-loihi does not.
    """
    nl = import_nengo_loihi()
    return board_driver.make_model(nl, describe(program, mapping), record or {})


def simulate(
    program: Program,
    mapping: CoreMapping,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    record: Mapping[str, Iterable[str]] | None = None,
    *,
    seed: int = 0,
    seconds: list[float] | None = None,
    biases: Biases | None = None,
) -> Simulation:
    """Run the chip part on nengo-loihi's emulator, each sample from rest.

    Parameters
    ----------
    program : Program
    mapping : Mapping
    spikes : dict of (n, steps, size) bool arrays
        What the host emits at each step, by source.
    steps : int
    record : dict of iterables of {'spikes', 'u', 'v', 'events'}, optional
        What to record, by population.
    seed : int
        Of the noise, which nengo-loihi draws in the order of compartments on cores: other values than those of the
        other engines.
    seconds : list of float, optional
        What the steps of each sample took, without building, is appended.
    biases : dict of (n, n_frames, size) int32 arrays, optional
        Biases of the populations that take them from the input, each for ``steps / n_frames`` steps.

    Returns
    -------
    Simulation
        Wrapped accumulators are counted, as by the other engines; nengo-loihi would only warn of them.
    """
    nl = import_nengo_loihi()
    made = build_model(program, mapping, _probed_variables(program, record))
    biases = biases or {}
    n = n_samples(spikes, biases)
    n_frames = next((array.shape[1] for array in biases.values()), 1)
    samples: dict[tuple[str, str], list[NDArray[Any]]] = {key: [] for key in made.probes}
    kinds: tuple[_Accumulator, ...] = ("q", "u")
    overflows = {(p.name, kind): 0 for p in program.populations for kind in kinds}
    first_wrap: tuple[int, int, str] | None = None
    for sample in range(n):
        send(program, made, {name: array[sample] for name, array in spikes.items()}, steps)
        with np.errstate(invalid="ignore"):  # it fills int arrays with NaN before it sets them
            emulator = nl.emulator.interface.EmulatorInterface(made.model, seed=seed)
        slices = [emulator.block_info.slices[block] for block in made.model.blocks]
        initial = {p.name: p.initial_voltage for p in program.populations if p.initial_voltage is not None}
        _put(initial, made.tree, slices, emulator.compartment.voltage)
        wraps, wrapped_at = _count_wraps(nl, emulator.compartment)
        start = time.perf_counter()
        for frame in range(n_frames):
            now = {name: array[sample, frame] for name, array in biases.items()}
            _put(now, made.tree, slices, emulator.compartment.bias)
            emulator.run_steps(steps // n_frames)
        if seconds is not None:
            seconds.append(time.perf_counter() - start)
        for key, probe in made.probes.items():
            samples[key].append(in_order(made.tree["places"][key[0]], emulator.collect_probe_output(probe)))
        for name, kind in overflows:
            where = made.tree["places"][name]
            overflows[name, kind] += sum(
                int(wraps[kind][slices[number]][compartments].sum())
                for number, compartments in zip(where["cores"], where["compartments"], strict=True)
            )
        if first_wrap is None and wrapped_at.min(initial=_NEVER) < _NEVER:
            first = {
                p.name: min(
                    int(wrapped_at[slices[number]][compartments].min(initial=_NEVER))
                    for number, compartments in zip(
                        made.tree["places"][p.name]["cores"],
                        made.tree["places"][p.name]["compartments"],
                        strict=True,
                    )
                )
                for p in program.populations
            }
            name = min(first, key=lambda name: first[name])
            first_wrap = sample, first[name], name
        emulator.close()
    probed = {key: np.stack(values) for key, values in samples.items()}
    return replace(simulation_of(program, probed, record or {}, overflows, spikes), first_wrap=first_wrap)


def import_nengo_loihi() -> Any:
    """nengo-loihi with all of its modules that are used here; raises MissingExtraError without it."""
    try:
        with warnings.catch_warnings():
            # it names Nengo 3.2 as the newest version that it was tested with; its own tests pass with 4.1
            warnings.filterwarnings("ignore", ".*has not been tested", UserWarning)
            nengo_loihi = board_driver.load_nengo_loihi()
    except ImportError as error:
        raise missing_extra("nengo-loihi", "Running on nengo-loihi") from error
    refuse_numpy_2("Running on nengo-loihi")
    return nengo_loihi


def send(
    program: Program,
    made: Made,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
) -> None:
    """Queue the spikes of one sample: those stamped t arrive at step t + 1, the first step being 1."""
    for name, delay in arrival_delays(program).items():
        queue = made.inputs[name]
        queue.spikes.clear()
        for step in range(max(steps - delay, 0)):
            queue.add_spikes(step + delay, np.flatnonzero(spikes[name][step]))


def _put(
    values: Mapping[str, NDArray[np.int32]],
    tree: Tree,
    slices: Sequence[slice],
    compartments_of_all: NDArray[np.int32],
) -> None:
    """Put values, one for each neuron of some populations, in an array of the emulator."""
    for name, array in values.items():
        where = tree["places"][name]
        for number, compartments, neurons in zip(
            where["cores"], where["compartments"], where["neurons"], strict=True
        ):
            compartments_of_all[slices[number]][compartments] = array[neurons]


def _count_wraps(
    nl: Any, compartment: Any
) -> tuple[dict[_Accumulator, NDArray[np.int64]], NDArray[np.int64]]:
    """Let the emulator count, for each compartment, what it would warn of without saying where, and note when first."""
    wraps: dict[_Accumulator, NDArray[np.int64]] = {
        "q": np.zeros(compartment.n_compartments, np.int64),
        "u": np.zeros(compartment.n_compartments, np.int64),
    }
    first = np.full(compartment.n_compartments, _NEVER)
    step = -1

    def overflow(x: NDArray[np.int32], bits: int, name: str) -> None:
        nonlocal step
        step += name == "q0"  # the first of a step
        _, wrapped = nl.builder.discretize.overflow_signed(x, bits=bits, out=x)
        wraps["q" if name == "q0" else "u"] += wrapped
        first[wrapped] = np.minimum(first[wrapped], step)

    compartment._overflow = overflow
    return wraps, first


def _probed_variables(
    program: Program, record: Mapping[str, Iterable[str]] | None
) -> dict[str, tuple[str, ...]]:
    """Spikes of every population, which the counts need, and what is to be recorded."""
    record = record or {}
    return {
        p.name: tuple(sorted({"spikes", *record.get(p.name, ())} - {"events"})) for p in program.populations
    }


def simulation_of(
    program: Program,
    probed: Mapping[tuple[str, str], NDArray[Any]],
    record: Mapping[str, Iterable[str]],
    overflows: Mapping[tuple[str, _Accumulator], int] | None,
    spikes: Mapping[str, NDArray[np.bool_]],
) -> Simulation:
    """What was recorded, and the counts that follow from it; without `overflows` nobody knows them."""
    emitted = {name: array.astype(bool) for (name, variable), array in probed.items() if variable == "spikes"}
    delays = {**{p.name: 1 for p in program.populations}, **arrival_delays(program)}
    known = {**spikes, **emitted}
    counts = {}
    for p in program.populations:
        unknown = [] if overflows is not None else ["overflows_q", "overflows_u"]
        if p.name not in emitted:
            unknown.append("spikes")
        events = 0
        into = program.into(p.name)
        if all(synapses.pre in known for synapses in into):
            for synapses in into:
                source = known[synapses.pre]
                arrived = source[:, : max(source.shape[1] - delays[synapses.pre], 0)]
                events += int(arrived.sum(axis=(0, 1)) @ fan_out(synapses.transform))
        else:
            unknown.append("synaptic_events")
        counts[p.name] = PopulationCounts(
            p.size,
            int(emitted[p.name].sum()) if p.name in emitted else 0,
            events,
            (overflows or {}).get((p.name, "q"), 0),
            (overflows or {}).get((p.name, "u"), 0),
            unknown=tuple(unknown),
        )
    recorded: dict[str, dict[str, NDArray[Any]]] = {}
    for name, variables in record.items():
        values = {key: array for (owner, key), array in probed.items() if owner == name}
        if name in emitted:
            values |= {"spikes": emitted[name], "events": np.argwhere(emitted[name])}
        recorded[name] = {variable: values[variable] for variable in variables}
    return Simulation(recorded, counts)
