"""Holding a network to what the host can send while the chip runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.frames import measuring_steps
from loihi_deploy.backends.line import line
from loihi_deploy.data.named import evenly
from loihi_deploy.errors import InputError, MappingError, Problem
from loihi_deploy.ir import PartitionedGraph, Samples
from loihi_deploy.ir.program import HostLimit, Program
from loihi_deploy.ir.samples import held
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.host_messages import messages_of_spikes
from loihi_deploy.mapping.layout import grids
from loihi_deploy.options import DeployOptions

SAMPLES = 200
"""Samples, evenly spaced, that messages are counted on."""
KEPT_BY = 99.0
"""Percentile of the samples whose mean keeps the limit."""
FILLED = 0.9
"""Part of the limit that this mean may take: spikes do not come evenly."""
STEPS_BETWEEN = 1.0
"""Time constant of the encoder's synapses, in mean intervals between the spikes of a neuron at its highest rate."""


def messages(
    program: Program, mapping: Mapping, samples: Samples, hold: int, flush: int = 0
) -> NDArray[np.int64]:
    """Messages that the host sends: (n, steps, n_chips).

    Parameters
    ----------
    program : Program
    mapping : Mapping
    samples : Samples
    hold, flush : int
        Steps of a frame, and those that the last one is held longer.
    """
    steps = samples.n_frames * hold + flush
    costs = messages_of_spikes(program, mapping)
    encoder = line(program).encoder
    found = np.zeros((len(samples), steps, mapping.n_chips), np.int64)
    for sample in range(len(samples)):
        one = samples.take(slice(sample, sample + 1))
        lost = np.zeros(len(encoder.sizes), np.int64)
        frames, _ = held(one.arrays, hold, flush)
        start = encoder.start(1, np.array([sample]), 0)
        emitted = encoder.run(encoder.together(frames), 0, steps, hold, start, lost).to_dense()
        found[sample] = np.concatenate([emitted[name][0] for name in emitted], axis=1) @ costs.T
    return found


def slices_of_rows(program: Program, mapping: Mapping) -> dict[str, tuple[int, int, int]]:
    """Slices of whole rows for images that the host drives, as many as they have: a spike reaches few of them."""
    sources = {source.name for source in program.sources}
    driven = {synapses.post for synapses in program.synapses if synapses.pre in sources}
    found = {}
    for plan in mapping.populations:
        height, width, channels = grids(program)[plan.name]
        if plan.name in driven and plan.n_slices > 1 and height > 1:
            found[plan.name] = -(-height // plan.n_slices), width, channels
    return found


def fewer_messages(
    program: Program, mapping: Mapping, map_again: Callable[[dict[str, Any]], Mapping]
) -> Mapping:
    """The mapping, or one with `slices_of_rows` where that takes no more cores and fewer messages.

    Parameters
    ----------
    program : Program
    mapping : Mapping
    map_again : function
        Maps the program with certain slices.
    """
    rows = slices_of_rows(program, mapping)
    if not rows:
        return mapping
    try:
        other = map_again(rows)
    except (MappingError, InputError):  # such slices do not fit, or something else is asked for
        return mapping
    before, after = (messages_of_spikes(program, one).sum() for one in (mapping, other))
    return other if after < before and other.n_cores <= mapping.n_cores else mapping


def encoder_rate(program: Program, mapping: Mapping, samples: Samples, options: DeployOptions) -> float:
    """Highest rate in Hz of the host's neurons with which nearly all samples keep the limit on average.

    Parameters
    ----------
    program : Program
        Made with ``options.encoder_rate``, without a limit.
    mapping : Mapping
        Its cores.
    samples : Samples
        For calibration.
    options : DeployOptions
    """
    assert options.max_host_spikes is not None, "asked for where there is a limit"
    some = samples.take(evenly(len(samples), SAMPLES))
    hold = measuring_steps(options, some) // some.n_frames
    means = messages(program, mapping, some, hold).mean(axis=1).max(axis=1)
    highest = float(np.percentile(means, KEPT_BY))
    rate = min(options.encoder_rate, 1 / program.dt)
    return rate * min(1.0, FILLED * options.max_host_spikes / max(highest, 1e-9))


def with_slower_synapses(partitioned: PartitionedGraph, rate: float) -> PartitionedGraph:
    """Filter the host's spikes longer, where nothing else drives their targets: a neuron's current has one decay."""
    hosts = {p.name for p in partitioned.encoder.populations}
    chip = partitioned.chip
    others = {p.post for p in chip.projections if p.pre not in hosts}
    slower = STEPS_BETWEEN / rate
    return replace(
        partitioned,
        chip=replace(
            chip,
            projections=tuple(
                replace(p, tau=max(p.tau, slower)) if p.pre in hosts and p.post not in others else p
                for p in chip.projections
            ),
        ),
    )


def with_limit(program: Program, mapping: Mapping, limit: int) -> tuple[Program, Mapping]:
    """The program whose host keeps a limit, and its mapping, which is that of the program without.

    Raises
    ------
    InputError
        If a single spike takes more messages than that.
    """
    costs = messages_of_spikes(program, mapping)
    if costs.max(initial=0) > limit:
        raise InputError(
            "The limit cannot be kept",
            Problem(
                "a single spike of the host goes to more cores of a chip",
                "max_host_spikes",
                limit,
                f"{int(costs.max())} or more",
                "Give more, or put the first layer on fewer cores with fix=",
            ),
        )
    limited = replace(program, host_limit=HostLimit(limit, costs.astype(np.int32)))
    return limited, replace(mapping, program_digest=limited.digest)


def highest(program: Program, mapping: Mapping, samples: Samples, hold: int, flush: int) -> int:
    """The most messages that a chip gets in any step of any sample; arguments as for `messages`."""
    return int(messages(program, mapping, samples, hold, flush).max(initial=0))
