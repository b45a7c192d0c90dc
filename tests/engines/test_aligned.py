"""Memory that begins at a line of the cache."""

import numpy as np
import pytest

from loihi_deploy.engines import aligned


@pytest.mark.parametrize(
    ("n", "dtype", "items"),
    [
        *((n, np.int8, items) for n, items in ((0, 0), (1, 64), (64, 64), (65, 128))),
        *((n, np.float64, items) for n, items in ((1, 8), (8, 8), (9, 16))),
        *((n, np.int32, items) for n, items in ((16, 16), (17, 32))),
    ],
)
def test_lines_are_filled_up(n, dtype, items):
    assert aligned.filled(n, dtype) == items


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
@pytest.mark.parametrize("shape", [1, 63, 1000, (3, 7), (2, 3, 5), (0, 4)])
def test_arrays_begin_at_a_line(shape, dtype):
    for _ in range(5):  # numpy's own begin there by chance
        array = aligned.zeros(shape, dtype)
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert array.shape == ((shape,) if isinstance(shape, int) else shape)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not array.any()
        array.fill(1)
