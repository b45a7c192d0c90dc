"""A mapped program on a Loihi board, through nengo-loihi's hardware interface and NxSDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.nengo_loihi import (
    BlockModel,
    build_model,
    import_nengo_loihi,
    in_order,
    send,
    simulation_of,
)
from loihi_deploy.backends.preflight import machine_problems, program_problems
from loihi_deploy.engines.chip.plain import Biases, n_samples
from loihi_deploy.errors import BackendError
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.results import Simulation


def simulate_on_board(
    program: Program,
    mapping: CoreMapping,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    record: Mapping[str, Iterable[str]] | None = None,
    *,
    seed: int = 0,
    biases: Biases | None = None,
) -> Simulation:
    """Run the chip part on a Loihi board; arguments as for `loihi_deploy.backends.nengo_loihi.simulate`.

    The network is loaded again for each sample, so that each starts from rest: without snips, nengo-loihi's interface
    has no other way to reset it. Only what is recorded is probed, since spike counters are few; the counts of what is
    not are unknown, and so are overflows.

    Raises
    ------
    BackendError
        With everything that `loihi_deploy.backends.preflight` finds, or with what the board said.
    """
    biases = biases or {}
    n_frames = max((array.shape[1] for array in biases.values()), default=1)
    problems = [*machine_problems(mapping), *program_problems(program, mapping, n_frames)]
    if problems:
        raise BackendError("Cannot run on a Loihi board", problems)
    nl = import_nengo_loihi()
    record = {name: tuple(variables) for name, variables in (record or {}).items()}
    probed = {
        name: tuple(sorted({"spikes" if variable == "events" else variable for variable in variables}))
        for name, variables in record.items()
    }
    made = build_model(program, mapping, probed)
    blocks = list(made.model.blocks)
    n = n_samples(spikes, biases)
    samples: dict[tuple[str, str], list[NDArray[Any]]] = {key: [] for key in made.probes}
    for sample in range(n):
        send(program, made, {name: array[sample] for name, array in spikes.items()}, steps, permanent=True)
        for name, array in biases.items():
            where = made.places[name]
            for number, compartments, neurons in zip(
                where.cores, where.compartments, where.neurons, strict=True
            ):
                blocks[number].compartment.bias[compartments] = array[sample, 0, neurons]
        try:
            found = _run(nl, made, mapping, steps, seed)
        except BackendError:
            raise
        except Exception as error:  # NxSDK raises anything; what it says is all there is to tell
            raise BackendError.single(
                f"the board could not run the network: {type(error).__name__}: {error}",
                f"backend 'hardware', sample {sample}",
            ) from error
        for key, values in found.items():
            samples[key].append(values)
        for spike_input in made.inputs.values():
            spike_input.spikes.clear()
            spike_input.permanent.clear()
    return simulation_of(
        program, {key: np.stack(values) for key, values in samples.items()}, record, None, spikes
    )


def _run(
    nl: Any, made: BlockModel, mapping: CoreMapping, steps: int, seed: int
) -> dict[tuple[str, str], NDArray[Any]]:
    """Load the board, run it once and give it back; what was probed, in the order of the neurons."""
    interface = nl.hardware.interface.HardwareInterface(
        made.model,
        use_snips=False,
        seed=seed,
        n_chips=mapping.n_chips,
        allocator=mapped_allocator(nl, mapping),
    )
    try:
        with interface:
            _check_board(interface.nxsdk_board, mapping)
            interface.run_steps(steps)
            return {
                key: in_order(made.places[key[0]], interface.collect_probe_output(probe))
                for key, probe in made.probes.items()
            }
    finally:
        if not interface.closed:
            interface.close()


def _check_board(board: Any, mapping: CoreMapping) -> None:
    """Refuse a board that has other chips and cores than the mapping."""
    wanted = [sum(core.chip == chip for core in mapping.cores) for chip in range(mapping.n_chips)]
    found = [len(chip.n2CoresAsList) for chip in board.n2Chips]
    if found != wanted:
        raise BackendError.single(
            "the board that NxSDK attached is not that of the mapping",
            "backend 'hardware'",
            f"cores in use on each chip: {found}",
            wanted,
            "Map the network for the attached board",
        )


def mapped_allocator(nl: Any, mapping: CoreMapping) -> Any:
    """An allocator of nengo-loihi that puts block i where the mapping puts core i."""

    class MappedAllocator(nl.hardware.allocators.Allocator):  # type: ignore[misc]
        def __call__(self, model: Any, n_chips: int) -> Any:
            board = nl.hardware.nxsdk_objects.Board()
            for spike_input in model.inputs:
                self.input_to_board(spike_input, board)
            chips = [board.new_chip() for _ in range(n_chips)]
            for block, core in zip(model.blocks, mapping.cores, strict=True):
                self.block_to_new_core(block, chips[core.chip])
            board.probes.extend(model.probes)
            return board

    return MappedAllocator()
