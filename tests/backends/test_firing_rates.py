"""Rates that are counted step by step are those of whole records."""

from __future__ import annotations

import numpy as np
import pytest

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions, line
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.ir import samples_for
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize

STEPS = 40


@pytest.mark.parametrize("block_bytes", [1 << 12, 1 << 23], ids=["step by step", "one block"])
@pytest.mark.parametrize("encoder", ["auto", "on_off", "ttfs", "poisson", "bias"])
def test_rates_are_the_means_of_recorded_spikes(encoder, block_bytes, monkeypatch):
    monkeypatch.setattr(line, "BLOCK_BYTES", block_bytes)
    program = quantize(partition(benchmarks.mnist_convnet(), encoder))
    samples = samples_for(program.encoder, benchmarks.inputs("mnist-convnet", 3))
    names = [*program.nodes]
    kept = [p.name for p in program.encoder.populations if p.neuron.kind == "ttfs"]
    recorded = backends.run(program, samples, RunOptions(STEPS, record=names, progress=False)).recorded

    rates = backends.firing_rates(program, samples, STEPS, 0.4, kept)

    assert [*rates] == names
    for name in names:
        spikes = recorded[name]["spikes"]
        if name in kept:
            spikes = np.logical_or.accumulate(spikes, axis=1)
        assert spikes.any()
        expected = spikes[:, -16:].mean(axis=1, dtype=np.float32) / np.float32(program.dt)
        np.testing.assert_array_equal(rates[name], expected)
