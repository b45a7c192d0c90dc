"""What a core uses of every limit, and the rules that say how much it may.

Memory is counted as nengo-loihi counts it (``block.py``, ``SynapseConfig.bits_per_axon``): a set of weights is cut into
entries of up to 64 synapses, each with a header and rounded up to whole words; on top come rules that it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.chip.hardware import Board, CoreLimits
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.mapping.layout import Bundle, bundles
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice

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
    """

    name: str
    what: str
    limit: Callable[[Board], int]
    scope: Literal["core", "chip", "board"] = "core"
    remedy: str = "Split the population over more cores"
    severity: Severity = "error"


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
    Rule("compartment_base", "compartment base", lambda b: b.chip.core.max_compartment_base),
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
    Rule("synapse_formats", "synapse formats", lambda b: b.chip.core.max_synapse_formats),
    Rule("compartment_profiles", "compartment profiles", lambda b: b.chip.core.max_compartment_profiles),
    Rule("threshold_profiles", "thresholds", lambda b: b.chip.core.max_threshold_profiles),
    Rule(
        "membrane_profiles", "settings of v_min, v_max and noise", lambda b: b.chip.core.max_membrane_profiles
    ),
    Rule(
        "refractory_delay",
        "steps of refractory delay",
        lambda b: b.chip.arithmetic.max_refractory_delay,
        remedy="Shorten tau_ref or lengthen dt",
    ),
    Rule("cores", "cores", lambda b: b.chip.n_cores, "chip"),
    Rule(
        "host_spikes",
        "input spikes per step from the host, rounded up",
        lambda b: b.chip.host_spikes_per_step,
        "chip",
        "Encode with fewer neurons or lower rates, or load the spikes before the run",
        "warning",
    ),
    Rule("chips", "chips", lambda b: b.n_chips, "board", "Use a larger board or a smaller network"),
)
"""Every rule that a mapping is held to; `loihi_deploy.map_to_cores` can be told to treat some of them as warnings."""

CORE_RULES = tuple(rule for rule in RULES if rule.scope == "core")


def axon_slots(axon: int, limits: CoreLimits) -> int:
    """Output slots that an axon takes where its target lies on the same chip."""
    return {
        DISCRETE: limits.slots_per_discrete_axon,
        POP16: limits.slots_per_pop16_axon,
        POP32: limits.slots_per_pop32_axon,
    }[axon]


def index_bits(max_index: ArrayLike, limits: CoreLimits) -> NDArray[np.int64]:
    """Bits that a format takes for indices up to `max_index`."""
    needed = np.ceil(np.log2(np.asarray(max_index, dtype=np.float64) + 1)).astype(np.int64)
    bits: NDArray[np.int64] = np.maximum(needed, limits.min_index_bits)
    return bits


def words(n_synapses: ArrayLike, bits: ArrayLike, limits: CoreLimits) -> NDArray[np.int64]:
    """Words of synapse memory of a run of synapses, with the extra word of the compiler's rule.

    Parameters
    ----------
    n_synapses : int or int array
        Synapses in the run.
    bits : int or int array
        Bits per synapse: the weight's, and the index's where one is stored.
    """
    n, bits = np.asarray(n_synapses, dtype=np.int64), np.asarray(bits, dtype=np.int64)
    header = limits.entry_format_bits + limits.entry_length_bits
    word = limits.synapse_word_bits
    full, rest = np.divmod(n, limits.max_synapses_per_entry)
    last_bits = np.where(rest > 0, rest * bits + header, limits.max_synapses_per_entry * bits + header)
    extra = (last_bits % word == 0) | (last_bits % word >= limits.extra_word_remainder)
    full_words = -(-(limits.max_synapses_per_entry * bits + header) // word)
    rest_words = np.where(rest > 0, -(-(rest * bits + header) // word), 0)
    total: NDArray[np.int64] = full * full_words + rest_words + (extra & (n > 0))
    return total


def synapse_bits(bundle: Bundle, limits: CoreLimits) -> int:
    """Bits per synapse of a bundle: those of the weight and, where indices are stored, those of the index."""
    index = 0 if bundle.compressed else int(index_bits(bundle.max_index, limits))
    return limits.synapse_weight_bits + index


def slice_bundles(program: Program, piece: Slice, limits: CoreLimits) -> list[Bundle]:
    """All bundles of axons into a slice."""
    return [bundle for wiring in piece.wirings for bundle in bundles(program, piece, wiring, limits)]


def core_usage(
    program: Program, slices: Sequence[Slice], made: Iterable[Bundle], limits: CoreLimits
) -> dict[str, int]:
    """What a core uses of the limits that its own slices decide; its output axons are not among them.

    Parameters
    ----------
    program : Program
    slices : sequence of Slice
    made : iterable of Bundle
        The bundles into these slices.
    limits : CoreLimits
    """
    made = sorted(made, key=lambda bundle: bundle.axon != POP16)  # pop16 axons come first on a core
    populations = [program.nodes[piece.population] for piece in slices]
    compartments = [p for p in populations if isinstance(p, Compartments)]
    used = dict.fromkeys((rule.name for rule in CORE_RULES), 0)
    used["compartments"] = sum(piece.n_compartments for piece in slices)
    for bundle in made:
        bits = synapse_bits(bundle, limits)
        used["in_axons"] += bundle.n_axons
        used["synapse_words"] += int(words(bundle.targets * bundle.n_atoms, bits, limits).sum())
        per_spike = int(words(bundle.targets, bits, limits).max())
        used["words_per_axon"] = max(used["words_per_axon"], per_spike)
        used["compartment_base"] = max(used["compartment_base"], int(bundle.base_of.max()))
        if bundle.compressed:  # stored without indices, it has nowhere to put what the base cannot hold
            beyond = bundle.max_index - int(bundle.targets.max()) + 1
            used["compartment_base"] = max(used["compartment_base"], int(bundle.base_of.max()) + beyond)
        used["index_bits"] = max(used["index_bits"], bits - limits.synapse_weight_bits)
        if bundle.axon == POP16:
            used["pop16_in_axons"] += bundle.n_axons
            used["pop16_channels"] = max(used["pop16_channels"], bundle.n_atoms)
        if bundle.axon == POP32:
            used["pop32_channels"] = max(used["pop32_channels"], bundle.n_atoms)
    formats = {
        (b.compressed, synapse_bits(b, limits), program.synapses[b.projection].weight_exponent) for b in made
    }
    used["synapse_formats"] = len(formats)
    used["compartment_profiles"] = len(
        {(p.decay_u, p.decay_v, p.refractory, p.noise is not None) for p in compartments}
    )
    used["threshold_profiles"] = len({p.threshold for p in compartments})
    used["membrane_profiles"] = len({(p.v_min, p.v_max, p.noise) for p in compartments})
    used["refractory_delay"] = max((p.refractory for p in compartments), default=0)
    return used


@dataclass(frozen=True)
class Traffic:
    """Axons from one place to a core.

    Parameters
    ----------
    population : str
        The sender.
    pre : int or str
        Core number in the plan, or the name of a spike source.
    post : int
        Core number in the plan.
    axons : int
        Axons in use.
    slots : int
        Output slots that they take on one chip.
    neurons : int
        Neurons of the sender that use them: each of their spikes is one message.
    """

    population: str
    pre: int | str
    post: int
    axons: int
    slots: int
    neurons: int


def core_of_neurons(
    program: Program, cores: Sequence[Sequence[Slice]], shapes: Mapping[str, tuple[int, int, int]]
) -> dict[str, NDArray[np.int64]]:
    """The core that holds each neuron of each population, -1 for none."""
    place = {p.name: np.full(p.size, -1) for p in program.populations}
    for number, slices in enumerate(cores):
        for piece in slices:
            place[piece.population][piece.neurons(shapes[piece.population])] = number
    return place


def traffic(
    program: Program,
    made: Sequence[Sequence[Bundle]],
    place: Mapping[str, NDArray[np.int64]],
    limits: CoreLimits,
) -> list[Traffic]:
    """Axons between cores, and from spike sources to cores.

    Parameters
    ----------
    made : sequence of sequences of Bundle
        The bundles into each core.
    place : dict of arrays
        From `core_of_neurons`.
    """
    flows: dict[tuple[str, int | str, int], Counter[str]] = {}
    for post, core_bundles in enumerate(made):
        for bundle in core_bundles:
            pre = program.synapses[bundle.projection].pre
            slots = axon_slots(bundle.axon, limits)
            counts: list[tuple[int | str, int, int]]
            if pre not in place:
                counts = [(pre, bundle.n_axons, bundle.neurons.size)]
            else:
                holder = place[pre][bundle.neurons]
                pairs = holder * bundle.n_axons + np.arange(bundle.n_axons)[:, None]
                used = np.unique(pairs[holder >= 0]) // bundle.n_axons
                holders, axons = np.unique(used, return_counts=True)
                neurons = np.bincount(holder[holder >= 0])
                counts = [
                    (int(core), int(n), int(neurons[core])) for core, n in zip(holders, axons, strict=True)
                ]
            for source, n_axons, n_neurons in counts:
                flow = flows.setdefault((pre, source, post), Counter())
                flow.update(axons=n_axons, slots=n_axons * slots, neurons=n_neurons)
    return [Traffic(*key, flow["axons"], flow["slots"], flow["neurons"]) for key, flow in flows.items()]


def add_output_usage(
    usage: Sequence[dict[str, int]], flows: Iterable[Traffic], chip_of: Sequence[int], limits: CoreLimits
) -> None:
    """Fill in output axon slots and destinations of each core.

    Parameters
    ----------
    usage : sequence of dicts
        By core; changed.
    flows : iterable of Traffic
    chip_of : sequence of int
        Chip of each core.
    """
    reached: dict[int, set[int]] = {}
    for flow in flows:
        if isinstance(flow.pre, int):
            extra = limits.extra_slots_interchip if chip_of[flow.pre] != chip_of[flow.post] else 0
            usage[flow.pre]["out_axon_slots"] += flow.slots + extra * flow.axons
            reached.setdefault(flow.pre, set()).add(flow.post)
    for core, targets in reached.items():
        usage[core]["destinations"] = len(targets)


def broken(
    usage: Sequence[Mapping[str, int]], where: Sequence[str], board: Board, scope: str = "core"
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
            found.append((rule, Problem(f"too many {rule.what}", several, max(values), limit, rule.remedy)))
    return found
