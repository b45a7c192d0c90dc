"""What the accumulators of a population can reach at most, whatever the input: where that fits, nothing ever wraps.

q lies between the sums of a compartment's negative and positive weights (each synapse carries one spike per step). From
|u[t]| <= |u[t-1]| f / 2^12 + |q| with f = 2^12 - 1 - decay_u follows |u| <= |q| 2^12 / (decay_u + 1); both signs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.fixed_point import DECAY_BITS, Q_BITS, U_BITS, U_DECAY_OFFSET
from loihi_deploy.ir import Conv2D, Dense, Transform
from loihi_deploy.ir.program import Compartments, Program


@dataclass(frozen=True)
class Bounds:
    """Ranges (lowest, highest) that the accumulators of a population never leave.

    Parameters
    ----------
    mantissas : (int, int)
        Sum of arriving weight mantissas; those of shift 7 count twice where there are also some of shift 6.
    q, u, u2 : (int, int)
        Synaptic input, current, current with bias; noise included.
    """

    mantissas: tuple[int, int]
    q: tuple[int, int]
    u: tuple[int, int]
    u2: tuple[int, int]

    @property
    def current_fits(self) -> bool:
        """Neither q nor u ever wraps."""
        return _fits(self.q, Q_BITS) and _fits(self.u, U_BITS)

    @property
    def never_wraps(self) -> bool:
        """None of the three ever wraps."""
        return self.current_fits and _fits(self.u2, U_BITS)


def accumulator_bounds(program: Program) -> dict[str, Bounds]:
    """Bounds of every population of a program."""
    return {p.name: _bounds(program, p) for p in program.populations}


def common_shift(program: Program, population: str) -> int:
    """The smallest weight shift of the synapses into a population."""
    return min((synapses.shift for synapses in program.into(population)), default=7)


def _bounds(program: Program, p: Compartments) -> Bounds:
    shift = common_shift(program, p.name)
    low, high = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for synapses in program.into(p.name):
        factor = 1 << (synapses.shift - shift)
        negative, positive = _row_sums(synapses.transform)
        low, high = low + factor * negative, high + factor * positive
    mantissas = int(low.min()), int(high.max())
    noise = (0, 0)
    if p.noise is not None:
        scale = 2.0 ** (p.noise.exponent - 7)
        noise = tuple(int(np.trunc((draw + 64 * p.noise.offset) * scale)) for draw in (-127, 127))  # type: ignore[assignment]
    in_q = noise if p.noise is not None and not p.noise.at_membrane else (0, 0)
    in_u2 = noise if p.noise is not None and p.noise.at_membrane else (0, 0)
    q = (mantissas[0] << shift) + in_q[0], (mantissas[1] << shift) + in_q[1]
    lost = p.decay_u + U_DECAY_OFFSET
    u = -((-min(q[0], 0) << DECAY_BITS) // lost), (max(q[1], 0) << DECAY_BITS) // lost
    bias = int(p.bias.min(initial=0)), int(p.bias.max(initial=0))
    limit = max((b.limit for b in program.bias_inputs if b.population == p.name), default=0)
    bias = min(bias[0], -limit), max(bias[1], limit)
    return Bounds(mantissas, q, u, (u[0] + bias[0] + in_u2[0], u[1] + bias[1] + in_u2[1]))


def _row_sums(transform: Transform) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums of negative and of positive weights: of each output, or for a convolution of each output channel."""
    values = transform.values.astype(np.int64)
    both = np.minimum(values, 0), np.maximum(values, 0)
    if isinstance(transform, Dense):
        sums = [part.sum(axis=1) for part in both]
    elif isinstance(transform, Conv2D):
        channels = [part.sum(axis=(0, 1, 2)) for part in both]
        sums = [np.tile(part, transform.out_size // len(part)) for part in channels]
    else:
        cumulated = [np.concatenate([[0], np.cumsum(part)]) for part in both]
        sums = [part[transform.indptr[1:]] - part[transform.indptr[:-1]] for part in cumulated]
    return sums[0], sums[1]


def _fits(interval: tuple[int, int], bits: int) -> bool:
    return -(1 << bits) <= interval[0] and interval[1] < (1 << bits)
