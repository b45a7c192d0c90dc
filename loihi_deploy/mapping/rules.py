"""The limits of the chip as rules: how much of everything a core, a chip and a board may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import Problem

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Rule:
    """A limit of the chip.

    Parameters
    ----------
    name : str
        Key of the usage that it bounds.
    what : str
        What is counted.
    limit : function
        Reads the limit from a board.
    scope : {'core', 'chip', 'board'}
        Where it is counted.
    remedy : str
    severity : {'error', 'warning'}
        A warning is reported and does not stop a mapping.
    source : str
        Where the rule comes from; of a number, the chip's file says it.
    """

    name: str
    what: str
    limit: Callable[[Board], int]
    scope: Literal["core", "chip", "board"] = "core"
    remedy: str = "Split the population over more cores"
    severity: Severity = "error"
    source: str = "the chip's file"


_ALONE = "Put the populations on cores of their own"

RULES = (
    Rule("compartments", "compartments", lambda b: b.chip.core.max_compartments),
    Rule("in_axons", "input axons", lambda b: b.chip.core.max_in_axons),
    Rule("pop16_in_axons", "input axons up to the last of pop16", lambda b: b.chip.core.pop16_max_in_axons),
    Rule("out_axon_slots", "output axon slots", lambda b: b.chip.core.max_out_axon_slots),
    Rule("synapse_words", "words of synapse memory", lambda b: b.chip.core.synapse_memory_words),
    Rule(
        "words_per_axon",
        "words of synapse memory that one spike reads",
        lambda b: b.chip.core.max_synapse_words_per_axon,
    ),
    Rule("accumulators", "accumulators of delayed spikes", lambda b: b.chip.core.max_accumulators),
    Rule("compartment_base", "compartment base", lambda b: b.chip.core.max_compartment_base, remedy=_ALONE),
    Rule("index_bits", "bits of a compartment index", lambda b: b.chip.core.max_index_bits),
    Rule(
        "pop16_channels",
        "channels of a pop16 axon",
        lambda b: b.chip.core.pop16_max_channels,
        remedy="Use fewer channels per axon or pop32",
    ),
    Rule(
        "pop32_channels",
        "channels of a pop32 axon",
        lambda b: b.chip.core.pop32_max_channels,
        remedy="Use fewer channels per axon",
    ),
    # Second-hand, and nengo-loihi's own CIFAR-10 example sends from some cores to 36 others: obeyed wherever there is a
    # plan that obeys it, and warned of elsewhere.
    Rule(
        "destinations",
        "cores that one core sends spikes to",
        lambda b: b.chip.core.max_destination_groups,
        remedy="Use fewer neurons in the populations that it sends to",
        severity="warning",
    ),
    # What Intel's compiler is said not to do, and nobody outside can check: kept where that takes no more cores.
    Rule(
        "atoms",
        "neurons with different places in different population axons",
        lambda b: 0,
        remedy="Ask for a plan without them: avoid=['atoms']",
        severity="warning",
        source="nengo-loihi hardware/builder.py, build_axon: a compartment has axons of one population only",
    ),
    Rule(
        "axon_kinds",
        "kinds of output axons, discrete and of populations",
        lambda b: 1,
        remedy="Ask for a plan without them: avoid=['axon_kinds']",
        severity="warning",
        source="nengo-loihi issue 242: NxSDK's axon compiler has limitations around mixing them",
    ),
    Rule(
        "probed_senders",
        "neurons that the host reads and that send by population axons",
        lambda b: 0,
        remedy="Ask for a plan without them: avoid=['probed_senders']",
        severity="warning",
        source="nengo-loihi issue 242: probes do not work with population axons",
    ),
    Rule("synapse_formats", "synapse formats", lambda b: b.chip.core.max_synapse_formats, remedy=_ALONE),
    Rule(
        "compartment_profiles",
        "compartment profiles",
        lambda b: b.chip.core.max_compartment_profiles,
        remedy=_ALONE,
    ),
    Rule("threshold_profiles", "thresholds", lambda b: b.chip.core.max_threshold_profiles, remedy=_ALONE),
    Rule(
        "membrane_profiles",
        "settings of v_min, v_max and noise",
        lambda b: b.chip.core.max_membrane_profiles,
        remedy=_ALONE,
    ),
    Rule(
        "host_spikes",
        "input spikes per step to be streamed from the host, rounded up; loaded before the run, as backend "
        "'hardware' loads them, they have no such limit",
        lambda b: b.chip.host_spikes_per_step,
        "chip",
        "To stream them, deploy with DeployOptions(max_host_spikes=...), or encode with fewer neurons",
        "warning",
    ),
    Rule("chips", "chips", lambda b: b.n_chips, "board", "Use a larger board or a smaller network"),
)
"""Every rule that a mapping is held to; `loihi_deploy.map_to_cores` can be told to treat some of them as warnings."""

CORE_RULES = tuple(rule for rule in RULES if rule.scope == "core")
SENDER_RULES = ("atoms", "axon_kinds", "probed_senders")
AVOIDABLE = ("destinations", *SENDER_RULES)
"""Rules of severity 'warning' that `loihi_deploy.map_to_cores` can be told to obey at the cost of more cores."""
UNBOUND = int(np.iinfo(np.int32).max)
"""Stands for a limit that is not kept."""


def broken(
    usage: Sequence[Mapping[str, int]],
    where: Sequence[str],
    board: Board,
    scope: str = "core",
    remedies: Mapping[str, str] | None = None,
) -> list[tuple[Rule, Problem]]:
    """Rules of a scope that are broken, each with its problem: one for all that happens in the same place.

    Parameters
    ----------
    usage : sequence of dicts
        Of each core, each chip or the board.
    where : sequence of str
        What to call each of them.
    board : Board
    scope : {'core', 'chip', 'board'}
    remedies : dict of str, optional
        Instead of those of the rules, by their names.
    """
    found = []
    for rule in (rule for rule in RULES if rule.scope == scope):
        limit = rule.limit(board)
        worst: dict[str, list[int]] = {}
        for used, place in zip(usage, where, strict=True):
            if used.get(rule.name, 0) > limit:
                worst.setdefault(place, []).append(used[rule.name])
        for place, values in worst.items():
            several = f"{len(values)} times {place}" if len(values) > 1 else place
            remedy = (remedies or {}).get(rule.name, rule.remedy)
            found.append((rule, Problem(f"too many {rule.what}", several, max(values), limit, remedy)))
    return found
