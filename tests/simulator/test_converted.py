"""Networks of NengoDL's Converter, with layers that nengo-loihi refuses."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends.compat import import_nengo_dl
from loihi_deploy.simulator import NotOnChipError

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:nengo_dl"),
    pytest.mark.filterwarnings("ignore:Lost . extra bits in weight rounding"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning"),
]


def make(pool):
    nengo_dl = import_nengo_dl()
    import nengo
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    image = layers.Input((10, 10, 1))
    x = layers.Conv2D(2, 1, activation="relu")(image)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", bias_initializer="random_normal")(x)
    x = pool(layers)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(30, activation="relu", bias_initializer="random_normal")(x)
    scores = layers.Dense(4, bias_initializer="random_normal")(x)
    model = tf.keras.Model(image, scores)
    converter = nengo_dl.Converter(
        model,
        swap_activations={tf.keras.activations.relu: nengo.SpikingRectifiedLinear()},
        scale_firing_rates=200,
        synapse=0.005,
    )
    return model, converter, converter.inputs[image], converter.outputs[scores]


def test_a_converter_with_pooling_and_biases():
    """Scaled by block or by population: the two ways to the chip round differently and answer alike."""
    model, converter, image, scores = make(lambda layers: layers.AveragePooling2D(2))
    images = np.random.RandomState(0).rand(3, 10, 10, 1).astype(np.float32)
    frames = np.repeat(images.reshape(3, 1, 100), 400, axis=1)
    with ld.Simulator(converter, progress_bar=False, minibatch_size=3) as sim:
        sim.run_steps(400, data={image: frames})
        answers = sim.data[scores][:, -200:].mean(axis=1)
        assert len(sim.deployment.mapping.cores) >= 1
    deployment = ld.deploy(converter, options=ld.DeployOptions(normalization="none"))
    largest = np.abs(model(images).numpy()).max()
    np.testing.assert_allclose(answers, deployment.run(images, steps=400).outputs, atol=0.05 * largest)
    np.testing.assert_allclose(answers, model(images).numpy(), atol=0.25 * largest)


def test_a_layer_that_no_chip_has():
    _, converter, _, _ = make(lambda layers: layers.MaxPooling2D(2))
    with pytest.raises(NotOnChipError, match=r"max_pooling2d.*Give the Converter itself"):
        ld.Simulator(converter.net, progress_bar=False)
    with pytest.raises(ConversionError, match="max_pooling"):
        ld.Simulator(converter, progress_bar=False)
