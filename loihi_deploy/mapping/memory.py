"""Synapse memory: what synapses take of it.

It is counted as nengo-loihi counts it (``block.py``, ``SynapseConfig.bits_per_axon``): a set of weights is cut into
entries of up to 64 synapses, each with a header and rounded up to whole words; on top come rules that it leaves out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.mapping.layout import Bundle


def index_bits(max_index: ArrayLike, limits: CoreLimits) -> NDArray[np.int64]:
    """Bits that a format takes for indices up to `max_index`."""
    needed = np.ceil(np.log2(np.asarray(max_index, dtype=np.float64) + 1)).astype(np.int64)
    bits: NDArray[np.int64] = np.maximum(needed, limits.min_index_bits)
    return bits


def accumulators(n_compartments: ArrayLike, most_delay: int) -> NDArray[np.int64]:
    """Accumulators that compartments take where spikes are held back by so many steps at most; 0 for none.

    A spike that is d steps late waits in one of 2^b places: the step that is worked off, and d + 1 after it.
    """
    places = 1 << (most_delay + 1).bit_length() if most_delay else 0
    return np.asarray(n_compartments, dtype=np.int64) * places


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
    return bundle.weight_bits + index
