"""The integer arithmetic of a Loihi neurocore.

Register widths and rounding as nengo-loihi 1.1.0 implements them (``builder/discretize.py``,
``emulator/interface.py``), whose hardware tests compare it with the chip. Everything is elementwise over numpy
integer arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Q_BITS = 21
"""Bits of the synaptic accumulator q, without the sign."""
U_BITS = 23
"""Bits of the current u, without the sign."""
DECAY_BITS = 12
"""A decay multiplies by (2^12 - offset - decay) / 2^12."""
DECAY_MAX = 2**DECAY_BITS - 1
"""Largest decay constant."""
U_DECAY_OFFSET = 1
"""The chip adds 1 to the decay constant of the current, not to that of the voltage."""
WEIGHT_SHIFT = 6
"""A weight of exponent e adds mantissa * 2^(6 + e) to the accumulator."""


def wrap(x: NDArray[Any], bits: int) -> NDArray[Any]:
    """Wrap to `bits` bits plus sign, two's complement: into [-2^bits, 2^bits - 1]."""
    half = 1 << bits
    return ((x + half) & (2 * half - 1)) - half


def decay(x: NDArray[Any], constant: ArrayLike, offset: int = 0) -> NDArray[Any]:
    """One step of decay: sign(x) * ((|x| * (2^12 - offset - constant)) >> 12), rounding toward zero.

    Parameters
    ----------
    x : int array
        Values of at most 23 bits plus sign; the product needs 35 bits and is taken in int64.
    constant : int or int array
        Decay constant, 0..4095.
    offset : int
        1 for the current, 0 for the voltage.
    """
    factor = (1 << DECAY_BITS) - offset - np.asarray(constant, dtype=np.int64)
    magnitude = (np.abs(x.astype(np.int64)) * factor) >> DECAY_BITS
    return np.asarray((np.sign(x) * magnitude).astype(x.dtype))


def decay_magnitude(constant: ArrayLike, offset: int = 0, x0: float = 2.0**21) -> NDArray[np.float64]:
    """Estimate the sum over time of a value that starts at 1 and decays in integers, relative to the start.

    The series is x[i+1] = floor(r x[i]) with r = (2^12 - offset - constant) / 2^12; each step loses q = 0.494 to
    rounding on average (nengo-loihi 1.1.0, ``decay_magnitude``). Dividing by it gives a spike the same total effect
    whatever the time constant. `x0` is the start at which the loss is estimated.
    """
    q = 0.494
    r = ((1 << DECAY_BITS) - offset - np.asarray(constant, dtype=np.float64)) / (1 << DECAY_BITS)
    n = -np.log1p(x0 * (1 - r) / q) / np.log(r)
    principal = (1 - r ** (n + 1)) / (1 - r)
    loss = q / ((1 - r) * x0) * (n + 1 - principal)
    return np.asarray(principal - loss, dtype=np.float64)


def current_decay(tau: float, dt: float) -> int:
    """Integer decay constant of the current for a lowpass synapse of `tau` seconds (0: no filter)."""
    exact = 1.0 if tau == 0 else -np.expm1(-dt / tau)
    return int(np.round(np.clip(exact * DECAY_MAX - 1, 0, DECAY_MAX)))


def voltage_decay(tau_rc: float, dt: float) -> int:
    """Integer decay constant of the membrane for a leak of `tau_rc` seconds (infinite: none, 0: memoryless)."""
    exact = 1.0 if tau_rc == 0 else -np.expm1(-dt / tau_rc)
    return int(np.round(exact * DECAY_MAX))


def refractory_steps(tau_ref: float, dt: float) -> int:
    """Refractory delay in steps for `tau_ref` seconds; 1 is the chip's 'none'."""
    return int(np.round(tau_ref / dt)) + 1


def bias_mantissa_exponent(
    bias: NDArray[np.float64], mantissa_max: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Split biases into mantissa and exponent, the smallest exponent that fits each; value = mantissa * 2^exponent."""
    ratio = np.maximum(np.abs(bias) / mantissa_max, 1.0)
    exponent = np.ceil(np.log2(ratio)).astype(np.int32)
    mantissa = np.round(bias / np.exp2(exponent)).astype(np.int32)
    return mantissa, exponent
