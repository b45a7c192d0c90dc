"""Several readout windows from one run."""

import numpy as np

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.ir import samples_for
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize


def test_values_are_those_of_a_run_with_each_window():
    program = quantize(partition(benchmarks.mnist_convnet()))
    samples = samples_for(program.encoder, benchmarks.inputs("mnist-convnet", 5))
    windows = (0.1, 0.5, 1.0)
    how = {"steps": 30, "progress": False}
    found = backends.values_by_window(program, samples, RunOptions(**how), windows)
    assert found.shape == (3, 5, 10)
    for values, window in zip(found, windows, strict=True):
        expected = backends.run(program, samples, RunOptions(**how, readout_window=window)).outputs
        np.testing.assert_array_equal(program.readout.readouts[0].activated(values), expected)
    assert not (found[0] == found[1]).all()
