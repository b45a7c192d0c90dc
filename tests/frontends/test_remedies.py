"""What is advised for Keras models is followed, and the model converts."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import check_conversion, convert, import_tensorflow
from loihi_deploy.frontends.chip_activations import chip_activation_class
from loihi_deploy.ir import linear
from loihi_deploy.training import with_chip_layers
from tests.frontends import keras_models
from tests.frontends.keras_models import chain, dense, ending, keras, layer, layers, randomized, relu_conv
from tests.remedies import follows

MATRIX = np.random.default_rng(0).normal(0, 0.4, (3, 5)).astype(np.float32)
THREE = (6, 6, 6, 2)
FIRST = {"data_format": "channels_first"}


def joined(kind, **options):
    """Two layers of neurons joined by a layer."""

    def build(x, y):
        a, b = layers().Dense(4, activation="relu")(x), layers().Dense(4, activation="relu")(y)
        return layers().Dense(3)(getattr(layers(), kind)(**options)([a, b]))

    return lambda: keras_models.model(build, (5,), (5,))


def between(function):
    """A function of TensorFlow, of a hidden tensor (n, 4, 5, 3), between two layers of neurons."""

    def make():
        k = layers()
        first = k.Input((4, 5, 2))
        h = function(import_tensorflow(), k.Dense(3, "relu")(first))
        return randomized(keras().Model(first, k.Dense(2)(k.Dense(4, "relu")(k.Flatten()(h)))))

    return make


def in_front(function):
    """The same of the input."""

    def make():
        k = layers()
        first = k.Input((4, 5, 2))
        h = k.Flatten()(function(import_tensorflow(), first))
        return randomized(keras().Model(first, k.Dense(2)(k.Dense(4, "relu")(h))))

    return make


def sequential(*makers):
    return lambda: keras().Sequential([make() for make in makers])


def rectified_rnn(n, **options):
    return layer("SimpleRNN", n, activation="relu", **options)


def over_time(*makers, shape=(10, 6)):
    """A model of frames, of layers of Keras and of keras_spiking."""

    def make():
        return keras().Sequential([layers().Input(shape), *(each() for each in makers)])

    return make


def spiking(kind, *arguments, **options):
    return lambda: getattr(pytest.importorskip("keras_spiking"), kind)(*arguments, **options)


def each_step(make):
    return lambda: layers().TimeDistributed(make())


def own_layer(call):
    """A layer of the user's own."""

    def make():
        class Own(layers().Layer):
            def call(self, x):
                return call(import_tensorflow(), x)

        return Own()

    return make


def padded_by_hand(tf, x):
    return tf.nn.max_pool(x, 2, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])


def mean_and(last):
    """An average over time joined with something else of the sequence."""

    def make():
        frames = layers().Input((7, 6))
        h = layers().TimeDistributed(layers().Dense(20, "relu"))(frames)
        joined = layers().Add()([layers().GlobalAveragePooling1D()(h), last()(h)])
        return keras().Model(frames, layers().Dense(3)(joined))

    return make


def trained(name):
    """A synapse whose parameter has changed in training."""

    def make():
        made = spiking("Lowpass", 0.1)()
        made.build((None, 10, 5))
        (variable,) = (v for v in made.weights if name in v.name)
        variable.assign(variable + np.linspace(0.01, 0.1, 5).reshape(1, 5))
        return made

    return make


RELU = spiking("SpikingActivation", "relu")
LOWPASS = spiking("Lowpass", 0.1, trainable=False)
CAUSAL = layer("Conv1D", 5, 3, padding="causal")
END = layer("GlobalAveragePooling1D"), dense(3)

ADVICE = [
    follows(
        "Give at least one layer a ReLU activation; a linear network needs no chip",
        chain(dense(3), shape=(4,)),
        chain(dense(4, activation="relu"), dense(3), shape=(4,)),
    ),
    follows(
        "Build the model with an Input of known shape",
        chain(relu_conv(4), layer("GlobalAveragePooling2D"), dense(3), shape=(None, None, 3)),
        chain(relu_conv(4), layer("GlobalAveragePooling2D"), dense(3), shape=(8, 8, 3)),
    ),
    follows(
        "Use a functional model, or a Sequential one that starts with an Input layer",
        sequential(dense(4, activation="relu"), dense(3)),
        sequential(layer("Input", (4,)), dense(4, activation="relu"), dense(3)),
    ),
    follows(
        "Train the network with ReLU in this place; at the end, use a linear output and a loss with from_logits=True",
        ending(layer("Activation", "softplus")),
        ending(layer("Activation", "relu")),
        id="another activation in the middle",
    ),
    follows(
        "Train the network with ReLU in this place; at the end, use a linear output and a loss with from_logits=True",
        chain(dense(4, activation="relu"), dense(3, activation="softplus"), shape=(4,)),
        chain(dense(4, activation="relu"), dense(3), shape=(4,)),
        id="another activation at the end",
    ),
    follows(
        "Train the network with ReLU in this place, and … in the last layer only",
        chain(dense(4, activation="relu"), layer("Softmax"), dense(3), shape=(5,)),
        chain(dense(4, activation="relu"), layer("ReLU"), dense(3, activation="softmax"), shape=(5,)),
    ),
    follows(
        "Train the network with ReLU in this place",
        ending(layer("ReLU", negative_slope=0.1)),
        ending(layer("ReLU")),
    ),
    follows(
        "use AveragePooling2D or ReLU layers in its place, and train it on",
        between(lambda tf, h: tf.nn.max_pool2d(h, 2, 1, "VALID")),
        between(lambda tf, h: layers().AveragePooling2D(2, 1)(h)),
    ),
    follows(
        "Neurons saturate gradually, by their refractory period, not at a bound: …",
        between(lambda tf, h: tf.nn.relu6(8 * h)),
        between(lambda tf, h: layers().ReLU()(8 * h)),
        id="a function that saturates",
    ),
    follows(
        "loihi_deploy.training.with_chip_layers(model) puts average pooling and ReLU in their place, with the same…",
        ending(layer("MaxPooling2D")),
        lambda: with_chip_layers(ending(layer("MaxPooling2D"))()),
        id="a maximum over neurons",
    ),
    follows(
        "loihi_deploy.training.with_chip_layers(model) puts average pooling and ReLU in their place, with the same…",
        ending(layer("LeakyReLU")),
        lambda: with_chip_layers(ending(layer("LeakyReLU"))()),
        id="a leaky rectifier",
    ),
    follows(
        "Neurons saturate gradually, by their refractory period, not at a bound: …",
        ending(layer("ReLU", 6.0)),
        lambda: with_chip_layers(ending(layer("ReLU", 6.0))()),
        id="a layer that saturates",
    ),
    follows(
        "Take it out, or apply it to the samples beforehand",
        chain(layer("Embedding", 9, 4), dense(4, activation="relu"), layer("Flatten"), dense(3), shape=(5,)),
        chain(dense(4, activation="relu"), layer("Flatten"), dense(3), shape=(5, 4)),
    ),
    follows("Use Add, Concatenate or convolutions; over time…", joined("Multiply"), joined("Concatenate")),
    follows("Use Add or Average", joined("Maximum"), joined("Average")),
    follows(
        "Use BatchNormalization, which is linear once it is trained",
        ending(layer("LayerNormalization")),
        ending(layer("BatchNormalization")),
    ),
    follows(
        "Use channels_last",
        chain(
            layer("Conv3D", 2, 3, activation="relu", **FIRST), layer("Flatten"), dense(3), shape=(2, 6, 6, 6)
        ),
        chain(layer("Conv3D", 2, 3, activation="relu"), layer("Flatten"), dense(3), shape=THREE),
        id="a convolution in three dimensions",
    ),
    follows(
        "Use channels_last",
        chain(
            dense(2, activation="relu"),
            layer("AveragePooling3D", **FIRST),
            layer("Flatten"),
            dense(3),
            shape=THREE,
        ),
        chain(
            dense(2, activation="relu"), layer("AveragePooling3D"), layer("Flatten"), dense(3), shape=THREE
        ),
        id="pooling in three dimensions",
    ),
    follows(
        "Use channels_last",
        chain(
            layer("Conv3DTranspose", 2, 3, **FIRST),
            layer("ReLU"),
            layer("Flatten"),
            dense(3),
            shape=(2, 4, 4, 4),
        ),
        chain(layer("Conv3DTranspose", 2, 3), layer("ReLU"), layer("Flatten"), dense(3), shape=(4, 4, 4, 2)),
        id="a transposed convolution in three dimensions",
    ),
    follows(
        "Leave both at their defaults",
        ending(layer("Conv2DTranspose", 2, 3, strides=2, output_padding=1)),
        ending(layer("Conv2DTranspose", 2, 3, strides=2)),
    ),
    follows(
        "Stack along another axis",
        between(lambda tf, h: tf.stack([h, h], axis=0)[0]),
        between(lambda tf, h: tf.stack([h, h], axis=1)[:, 0]),
    ),
    follows(
        "Use functions and layers that are linear, and ReLU, or apply it to the samples beforehand",
        between(lambda tf, h: tf.square(h)),
        between(lambda tf, h: tf.nn.relu(2 * h)),
    ),
    follows(
        "Use the Keras layer that does the same",
        between(lambda tf, h: tf.nn.avg_pool2d(h, 2, 2, "VALID", "NHWC", "named")),
        between(lambda tf, h: layers().AveragePooling2D()(h)),
    ),
    # functions of TensorFlow
    follows(
        "Give one constant for all samples",
        between(lambda tf, h: h + tf.ones((3, 4, 5, 3))),
        between(lambda tf, h: h + tf.ones((1, 4, 5, 3))),
    ),
    follows("Use sums, or concatenate", between(lambda tf, h: h * h), between(lambda tf, h: h + h)),
    follows("Divide by constants only", between(lambda tf, h: 1 / (h + 1)), between(lambda tf, h: h / 2)),
    follows(
        "Multiply by constants only",
        between(lambda tf, h: tf.matmul(h, h, transpose_b=True)),
        between(lambda tf, h: tf.matmul(h, MATRIX)),
    ),
    follows(
        "Use one matrix",
        between(lambda tf, h: tf.matmul(h, np.stack([MATRIX] * 4))),
        between(lambda tf, h: tf.matmul(h, MATRIX)),
    ),
    follows(
        "Sum over axis 0",
        between(lambda tf, h: tf.reduce_sum(tf.stack([h, h], axis=0), axis=2)[0]),
        between(lambda tf, h: tf.reduce_sum(tf.stack([h, h], axis=0), axis=0)),
    ),
    follows(
        "Name the axes to sum over, all but the batch axis",
        between(lambda tf, h: h - tf.reduce_mean(h)),
        between(lambda tf, h: h - tf.reduce_mean(h, [1, 2, 3], keepdims=True)),
    ),
    follows(
        "Use ZeroPadding2D",
        in_front(padded_by_hand),
        in_front(lambda tf, x: tf.nn.max_pool(layers().ZeroPadding2D(1)(x), 2, 1, "VALID")),
    ),
    follows(
        "Keep a floating point type",
        between(lambda tf, h: tf.cast(tf.cast(h, tf.int32), tf.float32)),
        between(lambda tf, h: tf.cast(tf.cast(h, tf.float64), tf.float32)),
    ),
    follows(
        "Use -1 there",
        between(lambda tf, h: tf.reshape(h, (3, 60))),
        between(lambda tf, h: tf.reshape(h, (-1, 60))),
    ),
    follows(
        "Take the same ones of every sample",
        between(lambda tf, h: tf.gather(h, tf.constant([[0, 1]]), axis=1, batch_dims=1)),
        between(lambda tf, h: tf.gather(h, tf.constant([0, 1]), axis=1)),
    ),
    follows(
        "Train with ReLU",
        between(lambda tf, h: tf.clip_by_value(h, -1, 1)),
        between(lambda tf, h: tf.nn.relu(h)),
    ),
    follows(
        "Use Add or Average",
        between(lambda tf, h: tf.maximum(h, 0.5)),
        between(lambda tf, h: layers().Average()([h, h])),
        id="another maximum",
    ),
    follows(
        "Leave the batch (and time) axis alone",
        between(lambda tf, h: tf.reverse(h, [0])),
        between(lambda tf, h: tf.reverse(h, [1])),
    ),
    follows(
        "Use axis=-1",
        chain(dense(4, activation="relu"), layer("Reshape", (2, 2)), layer("Softmax", axis=1), shape=(5,)),
        chain(dense(4, activation="relu"), layer("Reshape", (2, 2)), layer("Softmax", axis=-1), shape=(5,)),
        id="softmax, a layer",
    ),
    # code of the user's own
    follows(
        "Use functions on tensors and layers that Keras defines in it, or in its place",
        ending(own_layer(lambda tf, x: x * float(x[0, 0, 0, 0]))),
        ending(own_layer(lambda tf, x: tf.nn.relu(x))),
    ),
    follows(
        "Let it return tensors that depend on its input",
        ending(own_layer(lambda tf, x: tf.ones((1, 8, 8, 4)))),
        ending(own_layer(lambda tf, x: x + tf.ones((1, 8, 8, 4)))),
    ),
    # models over time
    follows(
        "Use layers that Keras defines",
        over_time(each_step(own_layer(lambda tf, x: tf.abs(x))), RELU, *END),
        over_time(each_step(dense(5)), RELU, *END),
    ),
    follows(
        "Wrap it in TimeDistributed",
        over_time(each_step(dense(5)), layer("Permute", (2, 1)), *END, shape=(10, 6)),
        over_time(
            each_step(layer("Permute", (2, 1))), each_step(layer("Flatten")), RELU, *END, shape=(10, 4, 6)
        ),
    ),
    follows(
        "Use channels_last, which pools over the steps",
        over_time(RELU, layer("GlobalAveragePooling1D", **FIRST), dense(3)),
        over_time(RELU, *END),
        id="the average of all steps",
    ),
    *(
        follows(
            "Use channels_last, which pools over the steps",
            over_time(layer(pooling, 2, **FIRST), RELU, *END),
            over_time(layer(pooling, 2), layer("Flatten"), dense(4, activation="relu"), dense(3)),
            id=pooling,
        )
        for pooling in ("AveragePooling1D", "MaxPooling1D")
    ),
    follows(
        "Average the outputs over time at the end of the network only",
        over_time(RELU, layer("GlobalAveragePooling1D"), dense(3, activation="relu")),
        over_time(RELU, each_step(dense(3, activation="relu")), *END),
    ),
    follows(
        'Use SpikingActivation("relu"), and train the network with it',
        over_time(dense(5), spiking("SpikingActivation", "tanh"), *END),
        over_time(dense(5), RELU, *END),
    ),
    follows(
        "Set trainable=False on the layer before training",
        over_time(dense(5), RELU, trained("tau"), *END),
        over_time(dense(5), RELU, LOWPASS, *END),
        id="trained time constants",
    ),
    follows(
        "Set trainable=False on the layer before training",
        over_time(dense(5), RELU, trained("initial_level"), *END),
        over_time(dense(5), RELU, LOWPASS, *END),
        id="trained initial levels",
    ),
    follows(
        "Use one Lowpass between two SpikingActivation layers",
        over_time(dense(5), RELU, LOWPASS, LOWPASS, *END),
        over_time(dense(5), RELU, LOWPASS, *END),
    ),
    follows(
        "Leave both at False",
        over_time(dense(5), RELU, spiking("Lowpass", 0.1, time_major=True), *END),
        over_time(dense(5), RELU, LOWPASS, *END),
    ),
    follows(
        "Give the network memory that can be kept: SimpleRNN(activation='relu') or Conv1D(padding='causal'),…",
        over_time(layer("LSTM", 5), dense(3)),
        over_time(dense(5), RELU, LOWPASS, *END),
    ),
    follows(
        "Train it with activation='relu'",
        over_time(layer("SimpleRNN", 5), dense(3, activation="relu")),
        over_time(layer("SimpleRNN", 5, activation="relu"), dense(3, activation="relu")),
    ),
    follows(
        "Give the layers in front of it return_sequences=True",
        over_time(rectified_rnn(4), layer("RepeatVector", 3), rectified_rnn(5), dense(3, activation="relu")),
        over_time(rectified_rnn(4, return_sequences=True), rectified_rnn(5), dense(3, activation="relu")),
    ),
    follows(
        "Leave go_backwards, return_state and stateful at False",
        over_time(layer("SimpleRNN", 5, activation="relu", go_backwards=True), dense(3, activation="relu")),
        over_time(layer("SimpleRNN", 5, activation="relu"), dense(3, activation="relu")),
    ),
    follows(
        "Put Alpha right behind SpikingActivation",
        over_time(dense(5), RELU, layer("Rescaling", 1.0, 0.5), spiking("Alpha", 0.1), *END),
        over_time(dense(5), RELU, spiking("Alpha", 0.1), layer("Rescaling", 1.0, 0.5), *END),
    ),
    follows(
        "Give the model Input((n_frames, ...)), or GlobalAveragePooling1D in place of Flatten",
        chain(layer("Masking"), layer("Flatten"), layer("ReLU"), shape=(None, 6)),
        over_time(dense(5), RELU, *END),
    ),
    follows(
        "Use padding='causal' or 'valid', whose answer to a frame needs no later ones",
        over_time(layer("Conv1D", 5, 3, padding="same"), RELU, *END),
        over_time(CAUSAL, RELU, *END),
    ),
    follows(
        "Flatten them in TimeDistributed",
        over_time(CAUSAL, each_step(layer("Flatten")), RELU, *END, shape=(10, 4, 6)),
        over_time(each_step(layer("Flatten")), CAUSAL, RELU, *END, shape=(10, 4, 6)),
    ),
    follows(
        "Let Masking come first",
        over_time(dense(5), layer("Masking"), RELU, *END),
        over_time(layer("Masking"), dense(5), RELU, *END),
    ),
    follows(
        "Average all of them over time",
        mean_and(spiking("Lowpass", 0.1, return_sequences=False)),
        mean_and(layer("GlobalAveragePooling1D")),
    ),
]


@pytest.mark.parametrize(("model", "advised"), ADVICE)
def test_what_is_advised_converts(model, advised):
    with pytest.raises(ConversionError):
        convert(model())
    assert convert(advised()).populations


@pytest.mark.follows("Use DeployOptions(dt=…)")
def test_neurons_that_were_trained_for_another_step():
    curve = chip_activation_class(keras())
    model = chain(dense(4), lambda: curve("mean", dt=0.002), dense(3), shape=(5,))()
    with pytest.raises(ConversionError):
        convert(model)
    assert convert(model, ld.DeployOptions(dt=0.002)).dt == 0.002


@pytest.mark.follows("Check that the layer has not changed since the conversion; if it has not, report this")
def test_a_model_that_changed_after_its_conversion():
    model = chain(dense(4, activation="relu"), dense(3), shape=(5,))()
    x = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    before = convert(model)
    model.layers[1].bias.assign(model.layers[1].bias + 1)
    with pytest.raises(ConversionError):
        check_conversion(model, before, x)
    assert check_conversion(model, convert(model), x)


@pytest.mark.follows("Put a ReLU between them, or use padding='valid' in the second one")
def test_convolutions_that_are_no_single_one(monkeypatch):
    monkeypatch.setattr(linear, "MOST_ENTRIES", 1000)

    def two(between, padding="same"):
        made = [layer("Conv2D", 4, 3, padding="same"), *between, layer("Conv2D", 4, 3, padding=padding)]
        return chain(relu_conv(4, 1), *made, layer("ReLU"), layer("GlobalAveragePooling2D"), dense(3))()

    with pytest.raises(ConversionError):
        convert(two([]))
    assert convert(two([layer("ReLU")])).populations
    assert convert(two([], "valid")).populations


@pytest.mark.follows("Give dataset.take(n_batches)")
def test_a_data_set_without_end():
    tf = import_tensorflow()
    x = np.random.default_rng(0).random((12, 5)).astype(np.float32)
    endless = tf.data.Dataset.from_tensor_slices(x).batch(4).repeat()
    deployment = ld.deploy(chain(dense(4, activation="relu"), dense(3), shape=(5,))(), calibration=x)
    with pytest.raises(InputError):
        deployment.run(endless, 4)
    assert len(deployment.run(endless.take(3), 4).outputs) == 12
