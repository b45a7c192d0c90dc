"""Weights in training are those that are deployed, integer for integer."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import QuantizedWeights, folded, with_chip_neurons
from tests.training.small import task, trained

X, Y = task()


@pytest.fixture(scope="module", params=[2, 3])
def start(request):
    """A trained network with the chip's neurons, and its Keras."""
    return with_chip_neurons(folded(trained(request.param)), X[:200]), import_keras(request.param)


@pytest.mark.parametrize("bits", [8, 6, 5, 4, 3, 2])
def test_trained_integers_are_the_deployed_ones(start, bits):
    first, k = start
    model = k.models.clone_model(first)
    model.set_weights(first.get_weights())
    weights = QuantizedWeights(model, bits)
    before = [values.copy() for values in weights.state[:-1]]
    model.compile(k.optimizers.Adam(3e-3), k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[weights.callback()])
    assert all((old != new).any() for old, new in zip(before, weights.state, strict=False))
    program = ld.deploy(model, "loihi", X[:100], ld.DeployOptions(weight_bits=bits)).program
    assert weights.differing(program) == []
    trained_integers = weights.integers()
    assert list(trained_integers) == ["relu1", "conv2"]
    (found,) = (s.transform.values for s in program.into("relu1"))
    kernel = trained_integers["relu1"][0]
    assert (found[:, :, 0] == kernel[:, :, 0]).all()  # on neurons
    assert (found[:, :, 1] == -kernel[:, :, 0]).all()  # off neurons
    (found,) = (s.transform.values for s in program.into("conv2"))
    assert (found[::2, ::2] == trained_integers["conv2"][0]).all()  # behind average pooling
    assert (found[1::2, 1::2] == trained_integers["conv2"][0]).all()
    levels = np.unique(kernel)
    assert levels.max() == (127 if bits == 8 else 2 ** (8 - bits) * (2 ** (bits - 1) - 1))
    assert len(levels) <= 2**bits - 1


def test_other_integers_are_seen(start):
    first, k = start
    model = k.models.clone_model(first)
    model.set_weights(first.get_weights())
    weights = QuantizedWeights(model, 4)
    weights.round()
    program = ld.deploy(model, "loihi", X[:100], ld.DeployOptions(weight_bits=4)).program
    assert weights.differing(program) == []
    assert weights.differing(ld.deploy(first, "loihi", X[:100]).program) == ["relu1", "conv2"]
    kernel = model.get_layer("conv2").kernel
    values = np.array(kernel.numpy())
    values[0, 0, 0, 0] += np.abs(values).max() / 4
    kernel.assign(values)
    altered = ld.deploy(model, "loihi", X[:100], ld.DeployOptions(weight_bits=4)).program
    assert weights.differing(altered) == ["conv2"]


def test_what_the_optimizer_does_adds_up(start):
    first, k = start
    model = k.models.clone_model(first)
    model.set_weights(first.get_weights())
    weights = QuantizedWeights(model, 2)
    kernel = model.get_layer("conv2").kernel
    exact = kernel.numpy().astype(np.float64)
    for _ in range(3):
        weights.round()
        kernel.assign(kernel.numpy() + np.float32(1e-3))  # far less than a level
        weights.learn()
    np.testing.assert_allclose(weights.state[1], exact + 3e-3, atol=1e-6)


def test_bits_that_no_format_has(start):
    with pytest.raises(InputError, match="bits"):
        QuantizedWeights(start[0], 7)
