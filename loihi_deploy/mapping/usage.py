"""What a core uses of every limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.mapping.layout import Bundle, bundles
from loihi_deploy.mapping.memory import accumulators, synapse_bits, words
from loihi_deploy.mapping.plan import POP16, POP32, Slice
from loihi_deploy.mapping.rules import CORE_RULES


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
    delay = max((program.synapses[bundle.projection].most_delay for bundle in made), default=0)
    used["accumulators"] = int(accumulators(used["compartments"], delay))
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
        used["index_bits"] = max(used["index_bits"], bits - bundle.weight_bits)
        if bundle.axon == POP16:
            used["pop16_in_axons"] += bundle.n_axons
            used["pop16_channels"] = max(used["pop16_channels"], bundle.n_atoms)
        if bundle.axon == POP32:
            used["pop32_channels"] = max(used["pop32_channels"], bundle.n_atoms)
    formats = {
        (
            b.compressed,
            b.weight_bits,
            synapse_bits(b, limits),
            program.weight_exponent(program.synapses[b.projection]),
            program.synapses[b.projection].delay_bits,
        )
        for b in made
    }
    used["synapse_formats"] = len(formats)
    used["compartment_profiles"] = len(
        {(p.decay_u, p.decay_v, p.refractory, p.noise is not None) for p in compartments}
    )
    used["threshold_profiles"] = len({p.threshold for p in compartments})
    used["membrane_profiles"] = len({(p.v_min, p.v_max, p.noise) for p in compartments})
    return used
