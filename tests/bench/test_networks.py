import numpy as np
import pytest

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.ir import samples_for
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize


def n_weights(graph):
    return sum(p.transform.values.size for p in graph.projections)


@pytest.mark.parametrize("name", ["cifar10-convnet", "mnist-convnet", "nxtf-mnist", "recurrent-lif"])
def test_networks_are_reproducible(name):
    make = benchmarks.NETWORKS[name]
    assert make() == make()
    assert (benchmarks.inputs(name, 2, seed=3) == benchmarks.inputs(name, 2, seed=3)).all()
    assert (benchmarks.inputs(name, 2, seed=3) != benchmarks.inputs(name, 2, seed=4)).any()


def test_cifar10_convnet():
    graph = benchmarks.cifar10_convnet()
    shapes = [p.shape for p in graph.populations]
    assert shapes == [
        *[(32, 32, 4), (15, 15, 64), (13, 13, 72), (6, 6, 256), (6, 6, 256), (6, 6, 64)],
        (100,),
    ]
    assert n_weights(graph) == 522_996
    assert sum(p.size for p in graph.populations) + 10 == 51_510


def test_nxtf_mnist():
    graph = benchmarks.nxtf_mnist()
    assert [p.shape for p in graph.populations] == [(12, 12, 16), (10, 10, 32), (4, 4, 64), (1, 1, 10)]
    biases = 16 + 32 + 64 + 10
    assert n_weights(graph) - 10 * 10 + biases == 33_802


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cifar10-convnet", 400, 500),
        ("mnist-convnet", 50, 200),
        ("nxtf-mnist", 50, 300),
        ("recurrent-lif", 35, 45),
    ],
)
def test_activity_is_realistic(name, low, high):
    graph = benchmarks.NETWORKS[name]()
    program = quantize(partition(graph))
    result = backends.run(program, samples_for(graph, benchmarks.inputs(name, 4)), RunOptions(100))
    on_chip = [result.counters.populations[p.name] for p in program.populations]
    assert low < sum(count.spikes for count in on_chip) / result.counters.sample_steps < high
    assert all(count.spikes > 0 for count in on_chip)
    assert np.isfinite(result.outputs).all()
