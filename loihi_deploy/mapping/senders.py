"""What a core's neurons send by, held against what Intel's compiler is said not to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import Bundle, grids
from loihi_deploy.mapping.plan import DISCRETE, Slice
from loihi_deploy.mapping.traffic import core_of_neurons

_BY_DISCRETE, _BY_POPULATION = 1, 2


def host_reads(program: Program) -> frozenset[str]:
    """Populations on chip whose spikes the readout needs, so that they are probed."""
    return frozenset(p.name for p in program.populations if p.name in program.readout.nodes)


def sender_usage(
    program: Program, cores: Sequence[Sequence[Slice]], made: Sequence[Sequence[Bundle]]
) -> list[dict[str, int]]:
    """What each core uses of the limits on the axons that its neurons send by.

    Parameters
    ----------
    program : Program
    cores : sequence of sequences of Slice
    made : sequence of sequences of Bundle
        The bundles into each core.

    Returns
    -------
    list of dict
        'atoms', neurons that have different places in different population axons; 'axon_kinds', 2 where some axons are
        discrete and some of populations; 'probed_senders', neurons that the host reads and that send by population
        axons.
    """
    place = core_of_neurons(program, cores, grids(program))
    kinds = {name: np.zeros(len(holder), np.uint8) for name, holder in place.items()}
    atom_of = {name: np.full(len(holder), -1) for name, holder in place.items()}
    several = {name: np.zeros(len(holder), bool) for name, holder in place.items()}
    for bundle in (bundle for bundles in made for bundle in bundles):
        pre = program.synapses[bundle.projection].pre
        if pre not in place:
            continue
        neurons = bundle.neurons
        kinds[pre][neurons] |= _BY_DISCRETE if bundle.axon == DISCRETE else _BY_POPULATION
        if bundle.axon != DISCRETE:
            atoms, before = np.arange(bundle.n_atoms), atom_of[pre][neurons]
            several[pre][neurons] |= (before >= 0) & (before != atoms)
            atom_of[pre][neurons] = np.where(before < 0, atoms, before)
    probed = host_reads(program)
    usage = [dict.fromkeys(("atoms", "axon_kinds", "probed_senders"), 0) for _ in cores]
    kinds_of_core = np.zeros(len(cores), np.uint8)
    for name, holder in place.items():
        np.bitwise_or.at(kinds_of_core, holder, kinds[name])
        reads = (kinds[name] & _BY_POPULATION > 0) & (name in probed)
        for key, which in (("atoms", several[name]), ("probed_senders", reads)):
            for core, n in enumerate(np.bincount(holder[which], minlength=len(cores)).tolist()):
                usage[core][key] += n
    for used, bits in zip(usage, kinds_of_core.tolist(), strict=True):
        used["axon_kinds"] = int(bits).bit_count()
    return usage
