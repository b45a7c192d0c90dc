"""What would fail on a Loihi board, said before anything is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.rules import broken
from loihi_deploy.mapping.senders import host_reads
from loihi_deploy.tables import Page, Shown

OLDEST_NXSDK, NEWEST_NXSDK = (0, 9, 0), (1, 0, 0)
"""Versions that nengo-loihi 1.1.0 takes (``hardware/interface.py``); with a newer one it warns."""
KAPOHO_BAY_CHIPS = 2
_EMULATOR = "Use backend='emulator', which gives the same spikes"


@dataclass(frozen=True)
class OnBoard:
    """How samples are presented on a board.

    Parameters
    ----------
    reset : {'rest', 'snip', 'gap'}
        What happens between samples: the network is loaded anew; a snip writes the chip's state; nothing, for some
        steps without input.
    gap : int
        Those steps.
    streamed : bool
        Whether the host sends spikes while the chip runs; else they are loaded before.
    """

    reset: Literal["rest", "snip", "gap"] = "rest"
    gap: int = 0
    streamed: bool = False


@dataclass(frozen=True)
class Preflight(Shown):
    """Everything that stands between a deployment and a board.

    Parameters
    ----------
    machine : tuple of Problem
        What is missing on this machine.
    program : tuple of Problem
        What the chip, nengo-loihi or NxSDK refuses of the program and its mapping.
    doubts : tuple of Problem
        What may fail, and nobody without a board can check.
    """

    machine: tuple[Problem, ...]
    program: tuple[Problem, ...]
    doubts: tuple[Problem, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is known to fail."""
        return not self.machine and not self.program

    def values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        kinds = {"machine": self.machine, "program": self.program, "doubts": self.doubts}
        return {"ready": self.ready, **{name: list(map(str, found)) for name, found in kinds.items()}}

    def page(self) -> Page:
        """Problems by kind, then the verdict."""
        texts = [
            f"{title}: {problem}"
            for title, problems in (
                ("On this machine", self.machine),
                ("Refused", self.program),
                ("In doubt", self.doubts),
            )
            for problem in problems
        ]
        return Page((*texts, "Ready for the board." if self.ready else "Not ready for the board."))


def preflight(program: Program, mapping: Mapping, n_frames: int = 1, how: OnBoard | None = None) -> Preflight:
    """Check a program and its mapping for a Loihi board, through nengo-loihi and NxSDK.

    Parameters
    ----------
    program : Program
    mapping : Mapping
        Of this program.
    n_frames : int
        Frames of the samples that are to be presented.
    how : OnBoard, optional
        How they are presented; a load for each sample if not given.

    Returns
    -------
    Preflight
    """
    how = how or OnBoard()
    return Preflight(
        tuple(machine_problems(mapping)),
        tuple(program_problems(program, mapping, n_frames if program.bias_inputs else 1, how)),
        tuple(doubts(program, mapping, how)),
    )


def machine_problems(mapping: Mapping) -> Iterator[Problem]:
    """What is missing here: nengo-loihi, NxSDK, or the board."""
    if importlib.util.find_spec("nengo_loihi") is None:
        yield Problem(
            "nengo-loihi is not installed",
            "backend 'hardware'",
            remedy="Install it: pip install 'loihi-deploy[convert]'",
        )
        return
    from nengo_loihi.hardware import interface, nxsdk_shim

    if not nxsdk_shim.HAS_NXSDK:
        yield Problem(
            "running on a Loihi board needs Intel's NxSDK, which is not installed here",
            "backend 'hardware'",
            remedy="Install NxSDK on a host with a Loihi board, or use backend='emulator', which gives the same spikes",
        )
        return
    version = nxsdk_shim.parse_nxsdk_version(interface.nxsdk)
    if not OLDEST_NXSDK <= version.release <= NEWEST_NXSDK:
        yield Problem(
            "nengo-loihi does not know this version of NxSDK",
            "backend 'hardware'",
            str(version),
            ".".join(map(str, OLDEST_NXSDK)) + " to " + ".".join(map(str, NEWEST_NXSDK)),
            "Install NxSDK 1.0.0",
        )
    attached = attached_chips()
    if attached is not None and attached < mapping.n_chips:
        yield Problem(
            "the mapping needs more chips than the attached board has",
            "the environment variables KAPOHOBAY and PARTITION",
            mapping.n_chips,
            attached,
            "Map the network for that board, or choose another board",
        )


def attached_chips() -> int | None:
    """Chips of the board that the environment names, as NxSDK reads it; None where it names none that we know."""
    if os.environ.get("KAPOHOBAY") == "1":
        return KAPOHO_BAY_CHIPS
    partition = os.environ.get("PARTITION", "")
    digits = partition.removeprefix("nahuku")
    return int(digits) if partition.startswith("nahuku") and digits.isdigit() else None


def program_problems(
    program: Program, mapping: Mapping, n_frames: int = 1, how: OnBoard | None = None
) -> Iterator[Problem]:
    """What nengo-loihi's hardware interface, NxSDK or the chip refuses.

    Parameters
    ----------
    program : Program
    mapping : Mapping
    n_frames : int
        Frames of biases.
    how : OnBoard, optional
    """
    how = how or OnBoard()
    if mapping.program_digest != program.digest:
        yield Problem(
            "the mapping was made for another program",
            "mapping",
            remedy="Map this program with map_to_cores",
        )
        return
    yield from nengo_loihi_problems(program.arithmetic, mapping.board.chip.core)
    yield from program.delay_problems("nengo-loihi")
    for p in program.populations:
        if p.initial_voltage is not None and how.reset != "snip":
            yield Problem(
                "initial voltages cannot be set through nengo-loihi",
                f"population '{p.name}'",
                remedy="Let a snip write them, reset='snip', or deploy it without initial voltages",
            )
        if p.threshold == 0:
            yield Problem("thresholds must be above 0", f"population '{p.name}'", remedy=_EMULATOR)
    if n_frames > 1:
        yield Problem(
            "biases cannot change while the chip runs",
            "backend 'hardware'",
            f"{n_frames} frames",
            1,
            "Present one frame at a time, or use another encoder than 'bias'",
        )
    if program.bias_inputs and how.reset != "rest":
        yield Problem(
            "biases that are input values stand in registers, which are written when the network is loaded",
            "reset",
            how.reset,
            "a load for each sample",
            "Use reset=True",
        )
    if how.streamed:
        yield from _streaming_problems(program, mapping)
    for name, delay in arrival_delays(program).items():
        if delay < 1:
            yield Problem(
                "spikes of the host take a step at least", f"link of '{name}'", delay, "1 or more", _EMULATOR
            )
    board = mapping.board
    names = [f"core with {', '.join(f'{name!r}' for name in core.populations)}" for core in mapping.cores]
    found = [
        *broken([core.usage for core in mapping.cores], names, board),
        *broken([{"chips": mapping.n_chips}], ["the network"], board, "board"),
    ]
    yield from (problem for rule, problem in found if rule.severity == "error")


def _streaming_problems(program: Program, mapping: Mapping) -> Iterator[Problem]:
    """What keeps nengo-loihi's snips from reading spikes: they look for one refractory delay in voltages."""
    read = host_reads(program)
    for number, core in enumerate(mapping.cores):
        delays = {p.refractory for p in program.populations if p.name in core.populations}
        if len(delays) > 1 and read & set(core.populations):
            yield Problem(
                "neurons with several refractory delays share a core whose spikes are streamed",
                f"core {number}",
                sorted(delays),
                1,
                "Load spikes before the run: streamed=False",
            )


def doubts(program: Program, mapping: Mapping, how: OnBoard | None = None) -> Iterator[Problem]:
    """What may fail on a board, and only a board can tell."""
    how = how or OnBoard()
    board = mapping.board
    names = [f"core with {', '.join(f'{name!r}' for name in core.populations)}" for core in mapping.cores]
    found = broken([core.usage for core in mapping.cores], names, board)
    yield from (problem for rule, problem in found if rule.severity == "warning")
    n_probes = sum(p.size for p in program.populations if p.name in host_reads(program))
    if n_probes and not how.streamed:
        yield Problem(
            "each neuron that the readout needs takes a spike counter, and nobody says how many there are",
            "probes",
            n_probes,
            remedy="Record nothing else, and make the last layer on the chip small",
        )
    if any(p.noise is not None for p in program.populations):
        yield Problem("the chip draws its own noise: spikes differ from the emulator's", "noise")
    if how.reset == "snip":
        yield Problem(
            "no board has run the snip that writes currents, voltages and phases between samples",
            "reset",
            remedy="Run loihi-deploy selftest --backend hardware first, which tries it",
        )
    carried = board.chip.host_spikes_per_step
    if how.streamed and (program.host_limit is None or program.host_limit.spikes > carried):
        yield Problem(
            "nothing holds the host to what nengo-loihi's snips carry in a step; a run that sends more is refused",
            "host",
            None if program.host_limit is None else program.host_limit.spikes,
            carried,
            f"Deploy with DeployOptions(max_host_spikes={carried})",
        )
    slots = [core.usage["out_axon_slots"] for core in mapping.cores]
    limit = board.chip.core.max_out_axon_slots
    if any(slots):
        fullest = slots.index(max(slots))
        yield Problem(
            "NxSDK counts output axons itself, and nengo-loihi's issue 326 failed on a board alone; there is room for "
            f"{limit - max(slots):,} slots more by our count",
            f"the fullest {names[fullest]}",
            max(slots),
            limit,
        )
    if how.streamed:
        yield Problem(
            "a voltage that happens to be 128 times the refractory delay counts as a spike where spikes are streamed",
            "probes",
            remedy="Load spikes before the run: streamed=False",
        )
