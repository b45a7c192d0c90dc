"""Which arithmetic nengo-loihi computes with: it has compiled in what a chip file says here."""

from __future__ import annotations

from dataclasses import asdict

from loihi_deploy.chip.boards import load_board, loihi_arithmetic
from loihi_deploy.chip.hardware import Arithmetic, CoreLimits
from loihi_deploy.errors import Problem

# What a step computes with (``emulator/interface.py``); the rest are ranges, of which a smaller one is no obstacle.
_IN_A_STEP = (
    *("weight_mantissa_step", "weight_shift", "threshold_shift", "decay_bits"),
    *("current_decay_offset", "voltage_decay_offset", "accumulator_bits", "current_bits"),
)
_LOWEST = ("min_weight_exponent", "min_refractory_delay")
_OWN_FORMATS = {
    "synapse_weight_bits": 0,
    "max_narrow_weight_bits": 1,
    "min_index_bits": -1,
    "max_index_bits": 1,
}
"""Limits of a core that must be those of nengo-loihi's formats of synapses (0), at most (1), or at least (-1)."""


def nengo_loihi_problems(
    arithmetic: Arithmetic, core: CoreLimits | None = None, *, builds: bool = False
) -> list[Problem]:
    """What nengo-loihi cannot do of an arithmetic; its own is that of the first-generation Loihi.

    Parameters
    ----------
    arithmetic : Arithmetic
    core : CoreLimits, optional
        Of the mapping that it is to build, in its own formats of synapses.
    builds : bool
        Whether nengo-loihi also chooses the integers, by its own ranges: then every number must be its own.
    """
    own, problems = asdict(loihi_arithmetic()), []
    for key, value in asdict(arithmetic).items():
        if key in _IN_A_STEP or builds:
            fits = value == own[key]
            allowed = f"{own[key]}"
        elif key in _LOWEST:
            fits, allowed = value >= own[key], f"{own[key]} or more"
        else:
            fits, allowed = value <= own[key], f"{own[key]} or less"
        if not fits:
            problems.append(
                Problem("nengo-loihi cannot compute with this", f"chip file, key '{key}'", value, allowed)
            )
    formats = load_board("loihi").chip.core
    for key, most in _OWN_FORMATS.items() if core is not None else ():
        value, limit = getattr(core, key), getattr(formats, key)
        if value != limit and (value - limit) * most >= 0:
            what = "nengo-loihi has no such format of synapses"
            problems.append(Problem(what, f"chip file, key 'core.{key}'", value, limit))
    return problems
