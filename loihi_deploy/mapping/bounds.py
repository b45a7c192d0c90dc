"""How few cores a population could possibly do with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Conv2D, Transform
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import most_delay_into, weight_bits
from loihi_deploy.mapping.memory import accumulators, words


def lower_bounds(program: Program, name: str, limits: CoreLimits) -> dict[str, float]:
    """Share of cores that a population needs at least, in thousandths of a core, by what needs it.

    No plan does with fewer, however slices are shaped, laid out and wired, and share cores:

    - 'compartments': every neuron has one, and where spikes are held back one with several accumulators.
    - 'synapse_words': every weight that is not 0 lies on the core of the neuron that it reaches. Where no index is
      stored, its place in the list of an axon says which neuron that is, so it serves one pair of neurons; where one
      is, all pairs may share it. A weight that m pairs have in common is thus stored m times without an index, or at
      least once with one. Synapses lie in runs, and a run of n of them takes `words` of n; so each takes no less than
      the least words(n) / n of all n, for indices of any width or for none.

    What a convolution needs is no more than what the same map needs as a matrix, of which no two pairs share a weight.

    Returns
    -------
    dict of float
        By limit; not rounded, so that those of several populations can be added.
    """
    memory = sum(
        _memory_words(synapses.transform, weight_bits(program, i, limits), limits)
        for i, synapses in enumerate(program.synapses)
        if synapses.post == name
    )
    size = program.nodes[name].size
    held_back = int(accumulators(size, most_delay_into(program, name)))
    return {
        "compartments": 1000 * max(size / limits.max_compartments, held_back / limits.max_accumulators),
        "synapse_words": 1000 * memory / limits.synapse_memory_words,
    }


def _words_per_synapse(bits: int, limits: CoreLimits) -> float:
    """Words of memory that a synapse of some bits takes in the run that suits it best."""
    lengths = np.arange(1, limits.max_synapses_per_entry + 1)
    # an entry that is full and not the last of its run never takes an extra word
    header = limits.entry_format_bits + limits.entry_length_bits
    full = -(-(limits.max_synapses_per_entry * bits + header) // limits.synapse_word_bits)
    return min(
        float((words(lengths, bits, limits) / lengths).min()), float(full / limits.max_synapses_per_entry)
    )


def _memory_words(transform: Transform, bits: int, limits: CoreLimits) -> float:
    """Words of memory for all weights of a transform, of some bits each."""
    bare = _words_per_synapse(bits, limits)
    widths = range(limits.min_index_bits, limits.max_index_bits + 1)
    indexed = min(_words_per_synapse(bits + width, limits) for width in widths)
    if not isinstance(transform, Conv2D):
        return float(bare * np.count_nonzero(transform.values))
    pairs = np.outer(*(_uses(transform, axis) for axis in (0, 1)))
    weights = np.count_nonzero(transform.kernel, axis=(2, 3))
    return float((weights * np.minimum(indexed, pairs * bare)).sum())


def _uses(conv: Conv2D, axis: int) -> NDArray[np.int64]:
    """How many outputs along an axis see each row or column of the kernel on the image."""
    outputs = np.arange(conv.out_shape[axis])[:, None] * conv.strides[axis] - conv.padding[axis]
    source = outputs + np.arange(conv.kernel.shape[axis])
    uses: NDArray[np.int64] = ((source >= 0) & (source < conv.in_shape[axis])).sum(axis=0)
    return uses
