"""What every test of the hardware path begins with."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _port_of_its_own():
    """nengo-loihi draws a port from numpy's global generator, which another process may have seeded alike."""
    np.random.seed()  # noqa: NPY002  it is the one that nengo-loihi draws from
