"""Folding batch norm, and the chip's neurons in the place of ReLUs."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import folded, with_chip_neurons
from tests.training.small import network, task, trained


@pytest.mark.parametrize("version", [2, 3])
def test_folded_networks_compute_the_same(version):
    model, (x, _) = trained(version), task()
    made = folded(model)
    np.testing.assert_allclose(made(x[:20]), model(x[:20]), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(made(x[:20], training=True), made(x[:20]))
    assert not any("Normalization" in type(layer).__name__ for layer in made.layers)


def test_a_depthwise_convolution_with_bias_and_without_scale():
    k = import_keras(2)
    layers = k.layers
    model = k.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="random_normal"),
            layers.BatchNormalization(scale=False),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    rng = np.random.default_rng(0)
    norm = model.layers[1]
    norm.set_weights([rng.uniform(0.5, 1.5, values.shape) for values in norm.get_weights()])
    x = rng.uniform(0, 1, (5, 6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(model)(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.follows("Move it there, or train without it")
def test_what_cannot_be_folded_is_named():
    k = import_keras(2)
    layers = k.layers

    def model(*hidden):
        return k.Sequential([layers.Input((4,)), *hidden, layers.Dense(2)])

    with pytest.raises(InputError, match="behind_relu") as caught:
        folded(model(layers.Dense(5, "relu", name="first"), layers.BatchNormalization(name="behind_relu")))
    assert caught.value.problems[0].value == "behind 'first'"
    folded(model(layers.Dense(5), layers.BatchNormalization(), layers.ReLU()))
    folded(model(layers.Dense(5, "relu")))


@pytest.mark.follows("Put its layers in its place")
def test_a_model_within_the_model_is_named():
    k = import_keras(2)
    layers = k.layers
    inner = [layers.Dense(5, "relu"), layers.Dense(3, "relu")]
    nested = k.Sequential([layers.Input((4,)), k.Sequential(inner, name="inner"), layers.Dense(2)])
    with pytest.raises(InputError, match="inner"):
        folded(nested)
    x = np.random.default_rng(0).uniform(0, 1, (5, 4)).astype(np.float32)
    flat = k.Sequential([layers.Input((4,)), *inner, nested.layers[-1]])
    np.testing.assert_array_equal(folded(flat)(x), nested(x))


@pytest.mark.parametrize("version", [2, 3])
def test_fast_neurons_are_driven_by_one_and_a_half_thresholds(version):
    x, _ = task()
    plain = folded(trained(version))
    made = with_chip_neurons(plain, x[:200], levels=0)
    for layer, found in ((made.get_layer("relu1"), "relu1"), (made.get_layer("conv2").activation, "conv2")):
        k = import_keras(version)
        values = k.Model(plain.inputs[0], plain.get_layer(found).output)(x[:200]).numpy()
        fast = np.percentile(values[values > 0], 99.9) * layer.settings["scale"]
        assert fast == pytest.approx(1.5, rel=1e-3)
    small = np.asarray(made(x[:200] * 0 + 0.01)), np.asarray(plain(x[:200] * 0 + 0.01))
    assert np.abs(small[0] - small[1]).max() < 0.5  # low rates are those of the rectified line


def test_models_that_cannot_be_put_on_chip():
    k = import_keras(2)
    layers = k.layers
    model = k.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation="elu", name="bent"), layers.Dense(2)]
    )
    with pytest.raises(ConversionError, match="bent"):
        with_chip_neurons(model, np.ones((3, 4)))
    silent = folded(network())
    silent.get_layer("conv1").set_weights(
        [values * 0 - 1 for values in silent.get_layer("conv1").get_weights()]
    )
    with pytest.raises(InputError, match="relu1"):
        with_chip_neurons(silent, task()[0][:20])
