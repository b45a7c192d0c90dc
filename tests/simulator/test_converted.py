"""Networks of NengoDL's Converter, with layers that nengo-loihi refuses."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError
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


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_probes_of_layers(data_format):
    """As NengoDL has them: its order of neurons, and spikes times the amplitude that its scale of rates gives."""
    nengo_dl = import_nengo_dl()
    import nengo
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    shape = (9, 8, 2) if data_format == "channels_last" else (2, 9, 8)
    image = layers.Input(shape)
    first = layers.Conv2D(3, 1, activation="relu", data_format=data_format)(image)
    second = layers.Conv2D(4, 3, activation="relu", data_format=data_format)(first)
    converter = nengo_dl.Converter(
        tf.keras.Model(image, layers.Dense(2)(layers.Flatten()(second))),
        swap_activations={tf.keras.activations.relu: nengo.SpikingRectifiedLinear()},
        scale_firing_rates=400,
        synapse=0.005,
    )
    with converter.net:
        probes = [nengo.Probe(converter.layers[layer]) for layer in (first, second)]
    frames = np.repeat(np.random.RandomState(0).rand(1, 1, 144).astype(np.float32), 300, axis=1)
    with nengo_dl.Simulator(converter.net, progress_bar=False, minibatch_size=1) as expected:
        expected.run_steps(300, data={converter.inputs[image]: frames})
    with ld.Simulator(converter, progress_bar=False, minibatch_size=1) as sim:
        sim.run_steps(300, data={converter.inputs[image]: frames})
    for probe in probes:
        ours, theirs = sim.data[probe].mean(axis=1), expected.data[probe].mean(axis=1)
        assert ours.shape == theirs.shape
        assert np.ptp(theirs) > 0.1
        np.testing.assert_allclose(ours, theirs, atol=0.15 * theirs.max())
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_probes_of_what_is_no_layer_of_neurons():
    import nengo

    _, converter, image, _ = make(lambda layers: layers.AveragePooling2D(2))
    with converter.net:
        nengo.Probe(image)
    with pytest.raises(InputError, match=r"no layer of neurons on the chip.*allowed conv2d"):
        ld.Simulator(converter, progress_bar=False)


def test_a_layer_that_no_chip_has():
    _, converter, _, _ = make(lambda layers: layers.MaxPooling2D(2))
    with pytest.raises(NotOnChipError, match=r"max_pooling2d.*Give the Converter itself"):
        ld.Simulator(converter.net, progress_bar=False)
    with pytest.raises(ConversionError, match="max_pooling"):
        ld.Simulator(converter, progress_bar=False)
