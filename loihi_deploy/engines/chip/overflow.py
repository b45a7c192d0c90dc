"""What the accumulators of a population can reach at most, whatever the input: where that fits, nothing ever wraps.

q lies between the sums of a compartment's negative and positive weights (each synapse carries one spike per step). From
|u[t]| <= |u[t-1]| f / 2^d + |q|, with f of 2^d kept in a step, follows |u| <= |q| 2^d / (2^d - f); both signs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.ir import Conv2D, Dense, Transform
from loihi_deploy.ir.program import Compartments, Program

_FOREVER = 1 << 32
"""Steps after which a current that keeps everything has overflowed any register."""


@dataclass(frozen=True)
class Bounds:
    """Ranges (lowest, highest) that the accumulators of a population never leave.

    Parameters
    ----------
    mantissas : (int, int)
        Sum of arriving weight mantissas, in units of the smallest shift among them.
    q, u, u2 : (int, int)
        Synaptic input, current, current with bias; noise included.
    arithmetic : Arithmetic
        How many bits they have.
    """

    mantissas: tuple[int, int]
    q: tuple[int, int]
    u: tuple[int, int]
    u2: tuple[int, int]
    arithmetic: Arithmetic

    @property
    def current_fits(self) -> bool:
        """Neither q nor u ever wraps."""
        return _fits(self.q, self.arithmetic.accumulator_bits) and _fits(self.u, self.arithmetic.current_bits)

    @property
    def never_wraps(self) -> bool:
        """None of the three ever wraps."""
        return self.current_fits and _fits(self.u2, self.arithmetic.current_bits)


def accumulator_bounds(program: Program) -> dict[str, Bounds]:
    """Bounds of every population of a program."""
    return {p.name: _bounds(program, p) for p in program.populations}


def common_shift(program: Program, population: str) -> int:
    """The smallest weight shift of the synapses into a population."""
    return min((synapses.shift for synapses in program.into(population)), default=0)


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
    bits = program.arithmetic.decay_bits
    lost = (1 << bits) - program.arithmetic.current_factor(p.decay_u)
    low_q, high_q = -min(q[0], 0) << bits, max(q[1], 0) << bits
    u = (-(low_q // lost), high_q // lost) if lost else (-low_q * _FOREVER, high_q * _FOREVER)
    bias = int(p.bias.min(initial=0)), int(p.bias.max(initial=0))
    limit = max((b.limit for b in program.bias_inputs if b.population == p.name), default=0)
    bias = min(bias[0], -limit), max(bias[1], limit)
    u2 = u[0] + bias[0] + in_u2[0], u[1] + bias[1] + in_u2[1]
    return Bounds(mantissas, q, u, u2, program.arithmetic)


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
