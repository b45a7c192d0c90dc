"""How few cores a population could possibly do with."""

from __future__ import annotations

from math import prod

import numpy as np

from loihi_deploy.chip.hardware import CoreLimits
from loihi_deploy.ir import Conv2D
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import as_convolution, axis_key, axis_reach, grids


def lower_bounds(program: Program, name: str, limits: CoreLimits) -> dict[str, int]:
    """Share of cores that a population needs at least, in thousandths of a core, by what needs it.

    No plan does with fewer, however slices are shaped and share cores: every neuron has a compartment; every weight is
    stored once, with the fewest bits; every pixel of a sender that reaches the population has an input axon.

    Returns
    -------
    dict of int
        'compartments', 'synapse_words' and 'in_axons', in thousandths of a core, rounded up.
    """
    into = [i for i, synapses in enumerate(program.synapses) if synapses.post == name]
    return {
        "compartments": _thousandths(program.nodes[name].size, limits.max_compartments),
        "synapse_words": _thousandths(
            sum(_memory_bits(program, i, limits) for i in into), limits.synapse_memory_bits
        ),
        "in_axons": _thousandths(sum(_axons(program, i, limits) for i in into), limits.max_in_axons),
    }


def _memory_bits(program: Program, projection: int, limits: CoreLimits) -> int:
    """Bits that the weights of a projection take at least, headers included."""
    transform = program.synapses[projection].transform
    indexed = limits.synapse_weight_bits + limits.min_index_bits
    if isinstance(transform, Conv2D):
        taps = [_used_taps(transform, axis) for axis in (0, 1)]
        choices = [(prod(taps) * prod(transform.kernel.shape[2:]), indexed)]
    else:  # a matrix can do without indices, filled up with zeros where it is sparse
        dense = transform.in_size * transform.out_size
        choices = [(transform.values.size, indexed), (dense, limits.synapse_weight_bits)]
    header = limits.entry_format_bits + limits.entry_length_bits
    return min(n * bits + -(-n // limits.max_synapses_per_entry) * header for n, bits in choices)


def _used_taps(conv: Conv2D, axis: int) -> int:
    """Rows or columns of the kernel that ever lie on the image."""
    outputs = np.arange(conv.out_shape[axis])[:, None] * conv.strides[axis] - conv.padding[axis]
    source = outputs + np.arange(conv.kernel.shape[axis])
    return int(((source >= 0) & (source < conv.in_shape[axis])).any(axis=0).sum())


def _axons(program: Program, projection: int, limits: CoreLimits) -> int:
    """Input axons that a projection takes at least: one for each pixel that reaches the target."""
    synapses = program.synapses[projection]
    conv = as_convolution(program, projection)
    if conv is None:
        return -(-prod(grids(program)[synapses.pre]) // limits.pop32_max_channels)
    used = []
    for axis in (0, 1):
        *along, n_out = axis_key(conv, axis)
        used.append(axis_reach(*along, 0, n_out).count > 0)
    return int(used[0].sum() * used[1].sum())


def _thousandths(amount: int, room: int) -> int:
    return -(-1000 * amount // room)
