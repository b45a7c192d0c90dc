"""Twenty Keras networks of all kinds from model to spikes, with no option set."""

import functools

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.frontends import check_conversion, import_tensorflow
from loihi_deploy.ir import samples_for
from tests.frontends import keras_models as km
from tests.frontends.keras_models import chain, conv, dense, layer, layers, model, relu_conv

IMAGE = (12, 12, 3)
N_CALIBRATION, N_TEST, STEPS = 60, 40, 100


def normalized_conv(n, size=3, **options):
    """Convolution, batch normalization, ReLU."""
    return (
        layer("Conv2D", n, size, use_bias=False, **options),
        layer("BatchNormalization"),
        layer("ReLU"),
    )


def separable(n, **options):
    return (
        layer("DepthwiseConv2D", 3, padding="same", activation="relu", **options),
        relu_conv(n, 1),
    )


def resnet(x):
    k = layers()
    x = conv(8, padding="same")(x)
    for stride in (1, 2, 2):
        y = conv(8, strides=stride, padding="same")(x)
        y = k.Conv2D(8, 3, padding="same")(y)
        short = x if stride == 1 else k.Conv2D(8, 1, strides=stride)(x)
        x = k.ReLU()(k.Add()([y, short]))
    return k.Dense(4)(k.GlobalAveragePooling2D()(x))


def dense_blocks(x):
    k = layers()
    x = conv(4, 1)(x)
    for _ in range(3):
        x = k.Concatenate()([x, conv(4, padding="same")(x)])
    return k.Dense(4)(k.Flatten()(k.AveragePooling2D(4)(x)))


def two_inputs(x, y):
    k = layers()
    x = k.Flatten()(conv(4, strides=2)(conv(4, 1)(x)))
    both = k.Concatenate()([k.Dense(10, activation="relu")(x), k.Dense(10, activation="relu")(y)])
    return k.Dense(4)(k.Dense(16, activation="relu")(both))


def two_outputs(x):
    k = layers()
    x = k.Flatten()(conv(8, strides=2)(conv(4, 1)(x)))
    x = k.Dense(20, activation="relu")(x)
    return [k.Dense(4)(x), k.Dense(2)(k.Dense(10, activation="relu")(x))]


ARCHITECTURES = {
    "vgg": chain(
        *(relu_conv(8, padding="same"), relu_conv(8, padding="same"), layer("AveragePooling2D", 2)),
        *(relu_conv(16, padding="same"), relu_conv(16, padding="same"), layer("AveragePooling2D", 2)),
        *(layer("Flatten"), dense(32, activation="relu"), layer("Dropout", 0.5), dense(4)),
        shape=IMAGE,
    ),
    "lenet": chain(
        *(relu_conv(6, 3), layer("AveragePooling2D", 2), relu_conv(16, 3), layer("AveragePooling2D", 2)),
        *(layer("Flatten"), dense(30, activation="relu"), dense(20, activation="relu"), dense(4)),
        shape=(12, 12, 1),
    ),
    "resnet": functools.partial(model, resnet, IMAGE),
    "residual_with_normalization": km.MODELS["residual"],
    "dense_blocks": functools.partial(model, dense_blocks, IMAGE),
    "inception": km.MODELS["inception"],
    "squeeze": km.MODELS["squeezed"],
    "separable": chain(
        *(relu_conv(8, 1), layer("SeparableConv2D", 12, 3, activation="relu")),
        *(layer("SeparableConv2D", 16, 3, strides=2, activation="relu"), layer("Flatten"), dense(4)),
        shape=IMAGE,
    ),
    "mobilenet": chain(
        *(relu_conv(8, strides=2, padding="same"), *separable(12), *separable(16, strides=2)),
        *(*separable(16), layer("GlobalAveragePooling2D"), dense(4)),
        shape=IMAGE,
    ),
    "grouped": chain(
        *(relu_conv(8, 1), relu_conv(16, groups=4), relu_conv(16, groups=2, strides=2)),
        *(layer("Flatten"), dense(4)),
        shape=IMAGE,
    ),
    "conv1d": chain(
        layer("Conv1D", 8, 3, activation="relu"),
        layer("Conv1D", 12, 3, strides=2, activation="relu"),
        layer("Conv1D", 16, 3, activation="relu"),
        *(layer("Flatten"), dense(4)),
        shape=(24, 3),
    ),
    "dense_only": chain(
        dense(40, activation="relu"), dense(30, activation="relu"), dense(20, activation="relu"), dense(4),
        shape=(30,),
    ),
    "normalization_everywhere": chain(
        *normalized_conv(4, 1), *normalized_conv(8, strides=2), *normalized_conv(16),
        *(layer("Flatten"), layer("Dense", 24), layer("BatchNormalization"), layer("ReLU"), dense(4)),
        shape=IMAGE,
    ),
    "global_pooling": chain(
        relu_conv(4, 1), relu_conv(12), relu_conv(16), layer("GlobalAveragePooling2D"), dense(4), shape=IMAGE
    ),
    "strides_only": chain(
        relu_conv(4, 1), *(relu_conv(n, 3, strides=2, padding="same") for n in (8, 12, 16)),
        layer("Flatten"), dense(4), shape=IMAGE,
    ),
    "1x1_only": chain(*(relu_conv(8, 1) for _ in range(4)), layer("Flatten"), dense(4), shape=IMAGE),
    "wide": chain(
        relu_conv(4, 1), relu_conv(96, strides=2), layer("Flatten"), dense(300, activation="relu"), dense(4),
        shape=IMAGE,
    ),
    "deep": chain(
        relu_conv(4, 1), *(relu_conv(8, padding="same") for _ in range(18)),
        layer("Flatten"), dense(4), shape=IMAGE,
    ),
    "two_inputs": functools.partial(model, two_inputs, IMAGE, (7,)),
    "two_outputs": functools.partial(model, two_outputs, IMAGE),
}  # fmt: skip

# Correlation, over samples, of each output's values on the emulated chip with those of the rate network: the mean over
# outputs. Random networks answer nearly the same to every sample; only the differences between samples count here.
CORRELATION = 0.9
LOWER = {"mobilenet": 0.7}


def variance_kept(made, seed=0):
    """Weights that keep the variance of activations from layer to layer (He et al. 2015), small biases."""
    rng = np.random.default_rng(seed)
    for variable in made.weights:
        name, shape = variable.name, tuple(variable.shape)
        if len(shape) > 1:
            fan_in = np.prod(shape[:-2]) * (1 if "depthwise" in name else shape[-2])
            values = rng.normal(0, np.sqrt(2 / fan_in), shape)
        elif "variance" in name or "gamma" in name:
            values = rng.uniform(0.7, 1.4, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        variable.assign(values)
    return made


def smooth_samples(made, n, seed):
    """For each input, samples that differ: patches of 4 equal values, with some noise."""
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor in made.inputs:
        shape = tuple(tensor.shape[1:])
        coarse = rng.random((n, *(-(-size // 4) for size in shape[:-1]), shape[-1]))
        for axis, size in enumerate(shape[:-1], start=1):
            coarse = coarse.repeat(4, axis=axis).take(np.arange(size), axis=axis)
        arrays.append((0.8 * coarse + 0.2 * rng.random((n, *shape))).astype(np.float32))
    return arrays


def trained(made, epochs=3):
    """Trained to find the brightest quarter; 18 random layers would forget what they saw. Returns also test samples."""
    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(0)
    (x,), y = smooth_samples(made, 640 + N_TEST, seed=3), np.arange(640 + N_TEST) % 4
    x *= 0.7
    for quarter in range(4):
        row, column = 6 * (quarter // 2), 6 * (quarter % 2)
        x[y == quarter, row : row + 6, column : column + 6] += 0.3
    made.compile(
        tf.keras.optimizers.Adam(1e-3), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    made.fit(x[:640], y[:640], epochs=epochs, verbose=0)
    return [x[:N_CALIBRATION]], [x[640:]]


def correlations(ours, theirs):
    """Over samples, of each output that varies."""
    a, b = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def test_there_are_twenty():
    assert len(ARCHITECTURES) == 20


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_from_model_to_spikes(name):
    made = variance_kept(ARCHITECTURES[name]())
    names = [tensor.name for tensor in made.inputs]
    arrays = smooth_samples(made, N_CALIBRATION, seed=1), smooth_samples(made, N_TEST, seed=2)
    if name == "deep":
        arrays = trained(made)
    calibration, test = (dict(zip(names, part, strict=True)) for part in arrays)
    check_conversion(made, ld.convert(made), calibration)
    deployment = ld.deploy(made, calibration=calibration)
    result = deployment.run(test, steps=STEPS)
    inputs = samples_for(deployment.graph, test).first_frames()
    expected = rate_outputs(deployment.graph, inputs)
    assert set(result.all_outputs) == set(expected)
    assert all(counts.spikes > 0 for counts in result.counters.populations.values())
    found = [
        correlations(result.all_outputs[key].reshape(N_TEST, -1), expected[key]).mean() for key in expected
    ]
    assert min(found) > LOWER.get(name, CORRELATION), found
