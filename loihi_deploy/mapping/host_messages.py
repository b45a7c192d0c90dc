"""What a spike of the host costs on its way to the chips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.usage import slice_bundles


def messages_of_spikes(program: Program, mapping: Mapping) -> NDArray[np.int64]:
    """Messages that a spike of each neuron of the encoder takes to each chip: one for each axon that it goes to.

    Returns
    -------
    (n_chips, n_neurons) array
        Populations of the encoder one behind the other.
    """
    limits = mapping.board.chip.core
    sizes = [source.size for source in program.sources]
    first = dict(zip((s.name for s in program.sources), np.cumsum([0, *sizes]).tolist(), strict=False))
    found = np.zeros((mapping.n_chips, sum(sizes)), np.int64)
    for core in mapping.cores:
        for piece in core.slices:
            for bundle in slice_bundles(program, piece, limits):
                pre = program.synapses[bundle.projection].pre
                if pre in first:
                    found[core.chip, first[pre] + np.unique(bundle.neurons)] += 1
    return found
