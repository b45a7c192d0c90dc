"""Memory for arrays that compiled code adds in vectors of 64 bytes: where one crosses a line of the cache, it waits."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64
"""Bytes of a line of the cache, and of the longest vector."""


def filled(n: int, dtype: Any) -> int:
    """How many items there are where some fill up the last line of `n`."""
    in_a_line = LINE // np.dtype(dtype).itemsize
    return -(-n // in_a_line) * in_a_line


def zeros(shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """What `numpy.zeros` gives, from a multiple of `LINE` on; numpy's own begin at a multiple of 16."""
    shape = (shape,) if isinstance(shape, int) else shape
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    first = -memory.__array_interface__["data"][0] % LINE
    array: NDArray[Any] = memory[first : first + size].view(dtype).reshape(shape)
    return array
