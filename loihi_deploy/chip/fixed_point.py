"""The integer arithmetic of a Loihi neurocore.

How wide registers are stands in the chip's file (`loihi_deploy.chip.hardware.Arithmetic`); rounding as nengo-loihi
1.1.0 implements it (``builder/discretize.py``, ``emulator/interface.py``), whose hardware tests compare it with the
chip. Everything is elementwise over numpy integer arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.chip.hardware import Arithmetic


def wrap(x: NDArray[Any], bits: int) -> NDArray[Any]:
    """Wrap to `bits` bits plus sign, two's complement: into [-2^bits, 2^bits - 1]."""
    half = 1 << bits
    return ((x + half) & (2 * half - 1)) - half


def decay(x: NDArray[Any], factor: ArrayLike, bits: int) -> NDArray[Any]:
    """One step of decay: sign(x) * ((|x| * factor) >> bits), rounding toward zero.

    Parameters
    ----------
    x : int array
        Values of at most 32 bits; the product is taken in int64.
    factor : int or int array
        What is kept, 0..2^bits: `Arithmetic.current_factor` or `Arithmetic.voltage_factor` of a decay.
    bits : int
        Bits of a decay.
    """
    magnitude = (np.abs(x.astype(np.int64)) * np.asarray(factor, dtype=np.int64)) >> bits
    return np.asarray((np.sign(x) * magnitude).astype(x.dtype))


def decay_magnitude(factor: ArrayLike, bits: int, x0: float = 2.0**21) -> NDArray[np.float64]:
    """Estimate the sum over time of a value that starts at 1 and decays in integers, relative to the start.

    The series is x[i+1] = floor(r x[i]) with r = factor / 2^bits, below 1; each step loses q = 0.494 to
    rounding on average (nengo-loihi 1.1.0, ``decay_magnitude``). Dividing by it gives a spike the same total effect
    whatever the time constant. `x0` is the start at which the loss is estimated.
    """
    q = 0.494
    r = np.asarray(factor, dtype=np.float64) / (1 << bits)
    n = -np.log1p(x0 * (1 - r) / q) / np.log(r)
    principal = (1 - r ** (n + 1)) / (1 - r)
    loss = q / ((1 - r) * x0) * (n + 1 - principal)
    return np.asarray(principal - loss, dtype=np.float64)


def current_decay(tau: float, dt: float, arithmetic: Arithmetic) -> int:
    """Integer decay constant of the current for a lowpass synapse of `tau` seconds (0: no filter)."""
    return _decay_constant(tau, dt, arithmetic.decay_max, arithmetic.current_decay_offset)


def voltage_decay(tau_rc: float, dt: float, arithmetic: Arithmetic) -> int:
    """Integer decay constant of the membrane for a leak of `tau_rc` seconds (infinite: none, 0: memoryless)."""
    return _decay_constant(tau_rc, dt, arithmetic.decay_max, arithmetic.voltage_decay_offset)


def _decay_constant(tau: float, dt: float, largest: int, offset: int) -> int:
    """The constant to which the chip adds `offset`."""
    exact = 1.0 if tau == 0 else -np.expm1(-dt / tau)
    return int(np.round(np.clip(exact * largest - offset, 0, largest)))


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
