"""How much memory a run needs, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loihi_deploy.backends.chunk import Wanted, population_sizes
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program

_BYTES = {"spikes": 1, "u": 4, "v": 4}
_MEMINFO = Path("/proc/meminfo")
SMALL = 1 << 27
"""Bytes that no machine lacks: below, nobody asks how much there is, which takes as long as some steps."""


def available_memory() -> int | None:
    """Bytes that can be taken without swapping; all of the machine's where the system does not say; None if unknown."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def bytes_needed(program: Program, wanted: Wanted, n: int, steps: int, at_once: int, *, dense: bool) -> int:
    """How much a run takes at most; for the arguments see `memory_problems`."""
    sizes = population_sizes(program)
    per_step = _recorded_bytes(wanted, sizes)
    working = per_step + 8 * sum(node.size for node in program.readout.readouts)
    if dense:
        working += 6 * sum(sizes.values())
    return n * steps * per_step + min(n, at_once) * steps * working


def _recorded_bytes(wanted: Wanted, sizes: Mapping[str, int]) -> int:
    """Bytes that are kept of a step of a sample."""
    return sum(
        len(wanted.of(name, sizes[name])) * _BYTES.get(variable, 0)
        for name, variables in wanted.variables.items()
        for variable in variables
    )


def memory_problems(
    program: Program, wanted: Wanted, n: int, steps: int, at_once: int, *, dense: bool
) -> Iterator[Problem]:
    """Say before a run that it needs more memory than there is.

    Parameters
    ----------
    program : Program
    wanted : Wanted
        What is recorded; lists of spikes ('events'), whose length nobody knows before, are left out.
    n, steps : int
        Samples, and steps of each.
    at_once : int
        Samples that are worked on at a time.
    dense : bool
        Whether the engine takes and gives spikes as arrays (steps, size), whatever is recorded.
    """
    needed = bytes_needed(program, wanted, n, steps, at_once, dense=dense)
    available = available_memory() if needed > SMALL else None
    if available is not None and needed > available:
        yield Problem(
            "needs more memory than there is",
            "record" if _recorded_bytes(wanted, population_sizes(program)) else "steps",
            f"{needed / 1e9:,.1f} GB for {n:,} samples of {steps:,} steps",
            f"{available / 1e9:,.1f} GB",
            "Present fewer steps, or record less: fewer samples at a time, chosen neurons, or 'events' for 'spikes'",
        )
