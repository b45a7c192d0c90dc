import numpy as np
import pytest

from loihi_deploy.bench.floor import _runs
from loihi_deploy.engines.chip import loops
from loihi_deploy.engines.delivery import block_marks, layout
from loihi_deploy.ir import Conv2D, Dense


def weights(*shape):
    return np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)


@pytest.mark.parametrize(
    "transform",
    [
        Dense(weights(30, 20)),
        Dense(weights(30, 20)).csr(),
        Conv2D(weights(3, 3, 2, 8), (2, 2), (1, 1), (5, 6, 2), (3, 3, 8), 1),
        Conv2D(weights(3, 2, 2, 6), (1, 2), (1, 0), (5, 6, 4), (5, 3, 6), 2),
    ],
)
def test_the_floor_adds_the_weights_that_the_engine_adds(transform):
    """As many, in the same places: what it costs is the arithmetic of the same spikes."""
    laid_out = layout([transform, transform], np.int8)
    fields, first = laid_out.table[1], 7
    spikes = np.arange(0, transform.in_size, 2).astype(np.int32)
    expected, found = np.zeros((2, first + transform.out_size), np.int16)
    events = loops.deliver_all(
        *(fields, laid_out.geometry, laid_out.weights, spikes, expected, first, block_marks(expected.size))
    )
    runs = _runs(fields.astype(np.int64), laid_out.geometry, spikes, first)
    loops.add_all(*runs, laid_out.weights, found)
    assert events == runs[2].sum() > 0
    assert expected.any()
    assert (found == expected).all()
