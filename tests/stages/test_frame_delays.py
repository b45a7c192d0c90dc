"""Delays of frames: how long a synapse holds spikes back."""

import numpy as np
import pytest

from loihi_deploy.ir import Dense, Projection
from loihi_deploy.stages.frame_delays import _filter_delay


@pytest.mark.parametrize(
    ("tau", "delay"), [(0.0, 0.0), (0.001, 1 / np.expm1(1)), (0.005, 1 / np.expm1(0.2)), (np.inf, 0.0)]
)
def test_a_synapse_holds_back_by_its_mean_delay_and_one_that_keeps_all_by_none(tau, delay):
    assert _filter_delay(Projection("a", "b", Dense(np.ones((1, 1))), tau), 0.001) == pytest.approx(delay)
