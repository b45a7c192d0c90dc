"""Delays of a projection: one for all its spikes, or one for each neuron of the sender."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.ir.content import frozen_array
from loihi_deploy.ir.transforms import Conv2D, Dense, Sparse, Transform


def as_delays(delays: Any) -> NDArray[np.int64] | None:
    """Delays as a read-only array; a scalar one where all are equal, None where there are none."""
    if delays is None:
        return None
    given = np.asarray(delays)
    if given.dtype.kind not in "iu":
        return given  # which is refused as a value of the wrong type
    found = frozen_array(given, np.int64)
    if found.size and (found == found.flat[0]).all():
        found = frozen_array(found.reshape(-1)[0], np.int64)
    return None if found.ndim == 0 and found == 0 else found


def delay_problems(name: str, delays: NDArray[Any] | None, transform: Transform) -> Iterator[Problem]:
    """What is wrong with delays as such."""
    if delays is None:
        return
    if delays.size and delays.min() < 0:
        yield Problem("delays are no numbers of steps", name, int(delays.min()), "0 or more")
    elif delays.shape not in ((), (transform.in_size,)):
        yield Problem("delays do not fit", name, delays.shape, f"() or ({transform.in_size},)")
    elif delays.ndim and isinstance(transform, Conv2D):
        remedy = "Give it as a matrix: transform.csr()"
        yield Problem("neurons of different delays share their weights", name, remedy=remedy)


def by_delay(delays: NDArray[np.int64] | None, transform: Transform) -> list[tuple[int, Transform]]:
    """The transform of the neurons of each delay, shortest first; what others say it leaves out."""
    if delays is None or delays.ndim == 0:
        return [(0 if delays is None else int(delays), transform)]
    if isinstance(transform, Dense):  # its zeros are stored, and count as synapses
        rows, columns = (place.ravel() for place in np.indices(transform.weights.shape))
        values = transform.weights.ravel()
    else:
        matrix = transform.csr()
        rows, columns, values = matrix.rows, matrix.indices, matrix.data
    size = transform.out_size, transform.in_size
    parts: list[tuple[int, Transform]] = []
    for delay in np.unique(delays).tolist():
        kept = delays[columns] == delay
        parts.append((delay, Sparse.from_entries(rows[kept], columns[kept], values[kept], size)))
    return parts
