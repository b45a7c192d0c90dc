"""The chip's arithmetic against nengo-loihi's, over whole ranges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.chip import fixed_point as fp
from loihi_deploy.chip.boards import loihi_arithmetic

ARITHMETIC = loihi_arithmetic()


@pytest.fixture(scope="module")
def discretize():
    """nengo-loihi's own arithmetic."""
    return pytest.importorskip(
        "nengo_loihi.builder.discretize", reason="the extra 'convert' is not installed"
    )


@pytest.mark.parametrize("offset", [0, 1])
def test_every_decay_constant(discretize, offset):
    edges = np.array([0, 1, 2, 4095, 4096, 4097, 2**21, 2**23 - 1])
    x = np.concatenate([edges, -edges, [-(2**23)], np.random.default_rng(0).integers(-(2**23), 2**23, 50)])
    x = x.astype(np.int32)
    factors = (None, ARITHMETIC.voltage_factor, ARITHMETIC.current_factor)[1 + offset]
    for constant in range(ARITHMETIC.decay_max + 1 - offset):
        expected = discretize.decay_int(x, np.full(x.shape, constant), offset=offset)
        assert (fp.decay(x, factors(constant), 12) == expected).all()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1), st.integers(1, 29))
def test_wrap_is_twos_complement(values, bits):
    wrapped = fp.wrap(np.array(values, dtype=np.int64), bits)
    assert (wrapped >= -(2**bits)).all()
    assert (wrapped < 2**bits).all()
    assert ((wrapped - np.array(values)) % 2 ** (bits + 1) == 0).all()


@pytest.mark.parametrize("bits", [ARITHMETIC.accumulator_bits, ARITHMETIC.current_bits, 8, 29])
def test_wrap_at_the_edges_as_nengo_loihi(discretize, bits):
    half = 2**bits
    x = np.array(
        [0, half - 1, half, half + 1, 2 * half, -half, -half - 1, -2 * half, 3 * half], dtype=np.int32
    )
    expected, _ = discretize.overflow_signed(x, bits=bits)
    assert (fp.wrap(x, bits) == expected).all()


@pytest.mark.parametrize("offset", [0, 1])
def test_decay_magnitude_of_every_constant(discretize, offset):
    constants = np.arange(1, 4095)
    expected = discretize.decay_magnitude(constants, x0=2**21, offset=offset)
    np.testing.assert_array_equal(fp.decay_magnitude(4096 - offset - constants, 12), expected)


@pytest.mark.parametrize(
    ("tau", "constant"), [(0, 4094), (0.001, 2588), (0.005, 741), (0.01, 389), (0.02, 199), (0.1, 40)]
)
def test_reference_values_of_the_current_decay(tau, constant):
    assert fp.current_decay(tau, 0.001, ARITHMETIC) == constant


def test_reference_values_of_the_voltage_decay():
    assert fp.voltage_decay(0.02, 0.001, ARITHMETIC) == 200
    assert fp.voltage_decay(np.inf, 0.001, ARITHMETIC) == 0
    assert fp.voltage_decay(0, 0.001, ARITHMETIC) == 4095


@pytest.mark.parametrize(("tau_ref", "steps"), [(0, 1), (0.001, 2), (0.002, 3), (0.0004, 1), (0.062, 63)])
def test_refractory_steps(tau_ref, steps):
    assert fp.refractory_steps(tau_ref, 0.001) == steps


def test_every_bias_in_range(discretize):
    limit = 4095 * 2**7
    bias = np.concatenate(
        [np.arange(-9000.0, 9000.0), np.linspace(-limit, limit, 4001).round(), [limit, -limit]]
    )
    mantissa, exponent = fp.bias_mantissa_exponent(bias, 4095)
    expected_mantissa, expected_exponent = discretize.bias_to_manexp(bias)
    assert (mantissa == expected_mantissa).all()
    assert (exponent == expected_exponent).all()
    assert (np.abs(mantissa) <= 4095).all()
    assert (exponent <= 7).all()
    assert (np.abs((mantissa << exponent) - bias) <= 2.0**exponent / 2).all()


@pytest.mark.parametrize("tau", [50.0, 1e9, np.inf])
def test_what_hardly_decays_keeps_its_current_for_all_that_the_chip_adds(tau):
    """4095 parts of 4096 are the most that is kept: one is lost by the offset."""
    assert fp.current_decay(tau, 0.001, ARITHMETIC) == 0
    assert fp.voltage_decay(tau, 0.001, ARITHMETIC) == 0


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_decays_keep_the_width_of_their_values(dtype):
    x = np.array([2**23 - 1, -(2**23), -1, 0, 1, 4097], dtype)
    decayed = fp.decay(x, 4095, 12)
    assert decayed.dtype == dtype
    assert decayed.tolist() == [int(abs(n) * 4095 // 4096) * (1 if n > 0 else -1) for n in x.tolist()]
