"""A mapped program on a Loihi board, through nengo-loihi's hardware interface and NxSDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends import board_driver
from loihi_deploy.backends.nengo_loihi import build_model, import_nengo_loihi, simulation_of
from loihi_deploy.backends.preflight import OnBoard, machine_problems, program_problems
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
    how: OnBoard | None = None,
) -> Simulation:
    """Run the chip part on a Loihi board; arguments as for `loihi_deploy.backends.nengo_loihi.simulate`.

    Only what is recorded is probed, since spike counters are few; the counts of what is not are unknown, and so are
    overflows.

    Parameters
    ----------
    how : OnBoard, optional
        What brings the chip to rest between samples, and how spikes get there; a load for each sample, with its spikes,
        if not given.

    Raises
    ------
    BackendError
        With everything that `loihi_deploy.backends.preflight` finds, or with what the board said.
    """
    how, biases = how or OnBoard(), biases or {}
    n_frames = max((array.shape[1] for array in biases.values()), default=1)
    problems = [*machine_problems(mapping), *program_problems(program, mapping, n_frames, how)]
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
    parts = [slice(k, k + 1) for k in range(n)] if how.reset == "rest" else [slice(0, n)]
    samples: dict[tuple[str, str], list[NDArray[Any]]] = {key: [] for key in made.probes}
    for part in parts:
        for name, array in biases.items():
            where = made.tree["places"][name]
            for number, compartments, neurons in zip(
                where["cores"], where["compartments"], where["neurons"], strict=True
            ):
                blocks[number].compartment.bias[compartments] = array[part.start, 0, neurons]
        of_part = {name: array[part] for name, array in spikes.items()}
        try:
            found = board_driver.run_in_a_row(
                nl,
                made,
                of_part,
                steps,
                seed,
                "snip" if how.reset == "snip" else "none",
                how.gap,
                how.streamed,
                mapping.board.chip.host_spikes_per_step,
            )
        except board_driver.TooManySpikesError as error:
            raise BackendError.single(
                "the host sends more spikes to a chip in one step than nengo-loihi's snips carry",
                f"{error.n_over} of {error.n_steps} steps with spikes, most in step {error.step}",
                error.found,
                error.limit,
                f"Deploy with DeployOptions(max_host_spikes={error.limit}), or load spikes before the run: "
                "streamed=False",
            ) from error
        except board_driver.WrongBoardError as error:
            raise BackendError.single(
                "the board that NxSDK attached is not that of the mapping",
                "backend 'hardware'",
                f"cores in use on each chip: {error.found}",
                error.wanted,
                "Map the network for the attached board",
            ) from error
        except Exception as error:  # NxSDK raises anything; what it says is all there is to tell
            raise BackendError.single(
                f"the board could not run the network: {type(error).__name__}: {error}",
                f"backend 'hardware', sample {part.start}"
                + (f" to {part.stop - 1}" if part.stop - part.start > 1 else ""),
            ) from error
        for key, values in found.items():
            samples[key].append(values)
    return simulation_of(
        program, {key: np.concatenate(values) for key, values in samples.items()}, record, None, spikes
    )
