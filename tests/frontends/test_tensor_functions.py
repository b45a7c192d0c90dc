"""Functions between layers, one at a time, in TensorFlow on legacy Keras and in Keras 3's own operations."""

import numpy as np
import pytest

from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, convert, import_tensorflow
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.tensor_functions import FUNCTIONS
from tests.frontends import keras_models
from tests.frontends.keras_models import randomized

MATRIX = np.random.default_rng(0).normal(0, 0.4, (3, 5)).astype(np.float32)
TALL = np.random.default_rng(1).normal(0, 0.4, (2, 4)).astype(np.float32)
# each of a tensor (n, 4, 5, 3), with neither square images nor symmetric amounts
TENSORFLOW = {
    "add": lambda tf, h: tf.add(h, 0.2) + tf.constant([[0.1, -0.2, 0.3]]),
    "addn": lambda tf, h: tf.add_n([h, 2 * h]),
    "avgpool": lambda tf, h: tf.nn.avg_pool(h, (2, 3), (1, 2), "SAME"),
    "avgpool1d": lambda tf, h: tf.nn.avg_pool1d(tf.reshape(h, (-1, 20, 3)), 3, 2, "VALID"),
    "avgpool2d": lambda tf, h: tf.nn.avg_pool2d(h, [1, 2, 3, 1], [1, 1, 2, 1], "VALID"),
    "avgpool3d": lambda tf, h: tf.nn.avg_pool3d(tf.reshape(h, (-1, 4, 5, 3, 1)), 2, 1, "VALID"),
    "biasadd": lambda tf, h: tf.nn.bias_add(h, [0.1, -0.2, 0.3]),
    "cast": lambda tf, h: tf.cast(tf.cast(h, tf.float64), tf.float32),
    "concatenate": lambda tf, h: tf.concat([h, 0.5 * h], axis=-1),
    "divide": lambda tf, h: h / tf.constant([2.0, 3.0, 4.0]),
    "expanddims": lambda tf, h: tf.expand_dims(h, 2),
    "flip": lambda tf, h: tf.reverse(h, [1, 3]),
    "gather": lambda tf, h: tf.gather(h, [2, 0, 1, 1], axis=3),
    "getitem": lambda tf, h: h[:, 1:, ..., ::2],
    "identity": lambda tf, h: tf.identity(h),
    "matmul": lambda tf, h: tf.matmul(h, MATRIX.T, transpose_b=True),
    "maximum": lambda tf, h: tf.maximum(h - 0.5, 0.0),
    "mean": lambda tf, h: tf.reduce_mean(h, [1, 2]),
    "multiply": lambda tf, h: tf.multiply(h, np.arange(5, dtype=np.float32)[:, None]),
    "negative": lambda tf, h: 2.0 - h,
    "pad": lambda tf, h: tf.pad(h, [[0, 0], [1, 0], [0, 2], [0, 0]], constant_values=0.25),
    "relu": lambda tf, h: tf.nn.relu(h - 0.5),
    "repeat": lambda tf, h: tf.repeat(h, 2, axis=1),
    "reshape": lambda tf, h: tf.reshape(h, (-1, 3, 20)),
    "roll": lambda tf, h: tf.roll(h, 2, 2),
    "split": lambda tf, h: tf.split(h, [1, 4], axis=2)[1],
    "squeeze": lambda tf, h: tf.squeeze(h[:, 1:2], 1),
    "stack": lambda tf, h: tf.stack([h[:, 0], h[:, 2]], axis=1),
    "sum of a stack": lambda tf, h: tf.reduce_sum(tf.stack([h, 2 * h[:, ::-1]], axis=0), axis=0),
    "mean of a stack": lambda tf, h: tf.reduce_mean(tf.stack([h, 2 * h[:, ::-1]], axis=0), axis=0),
    "stopgradient": lambda tf, h: tf.stop_gradient(h),
    "subtract": lambda tf, h: tf.subtract(h, tf.reduce_mean(h, [1, 2], keepdims=True)),
    "sum": lambda tf, h: tf.reduce_sum(h, axis=-1, keepdims=True),
    "tile": lambda tf, h: tf.tile(h, [1, 1, 2, 1]),
    "transpose": lambda tf, h: tf.transpose(h, [0, 3, 1, 2]),
    "unstack": lambda tf, h: tf.unstack(h, axis=2)[3],
}
KERAS_3 = {
    "add": lambda o, h: o.add(h, 0.2) + np.array([0.1, -0.2, 0.3], np.float32),
    "avgpool": lambda o, h: o.average_pool(h, (2, 3), (1, 2), "same"),
    "cast": lambda o, h: o.cast(h, "float32"),
    "concatenate": lambda o, h: o.concatenate([h, 0.5 * h], axis=-1),
    "copy": lambda o, h: o.copy(h),
    "divide": lambda o, h: h / np.array([2.0, 3.0, 4.0], np.float32),
    "expanddims": lambda o, h: o.expand_dims(h, 2),
    "flip": lambda o, h: o.flip(h, axis=2),
    "gather": lambda o, h: o.take(h, np.array([2, 0, 1, 1]), axis=3),
    "getitem": lambda o, h: h[:, 1:, ..., ::2],
    "matmul": lambda o, h: o.matmul(h, MATRIX),
    "dot": lambda o, h: o.dot(h, MATRIX),
    "turned matmul": lambda o, h: o.matmul(TALL, o.reshape(h, (-1, 4, 15))),
    "maximum": lambda o, h: o.maximum(h - 0.5, 0.0),
    "mean": lambda o, h: o.mean(h, axis=(1, 2)),
    "moveaxis": lambda o, h: o.moveaxis(h, 3, 1),
    "multiply": lambda o, h: o.multiply(h, np.arange(5, dtype=np.float32)[:, None]),
    "negative": lambda o, h: o.negative(h) + 2.0,
    "pad": lambda o, h: o.pad(h, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=0.25),
    "reflected": lambda o, h: o.pad(h, ((0, 0), (1, 0), (0, 2), (0, 0)), mode="reflect"),
    "relu": lambda o, h: o.relu(h - 0.5),
    "repeat": lambda o, h: o.repeat(h, 2, axis=1),
    "reshape": lambda o, h: o.reshape(h, (-1, 3, 20)),
    "roll": lambda o, h: o.roll(h, 2, axis=2),
    "split": lambda o, h: o.split(h, [1, 3], axis=2)[1],
    "squeeze": lambda o, h: o.squeeze(h[:, 1:2], 1),
    "stack": lambda o, h: o.stack([h[:, 0], h[:, 2]], axis=1),
    "stopgradient": lambda o, h: o.stop_gradient(h),
    "subtract": lambda o, h: o.subtract(h, o.mean(h, axis=(1, 2), keepdims=True)),
    "sum": lambda o, h: o.sum(h, axis=-1, keepdims=True),
    "swapaxes": lambda o, h: o.swapaxes(h, 1, 3),
    "tile": lambda o, h: o.tile(h, (1, 1, 2, 1)),
    "transpose": lambda o, h: o.transpose(h, (0, 3, 1, 2)),
    "unstack": lambda o, h: o.unstack(h, axis=2)[3],
}


def model_with(k, function):
    make = k.layers
    first = make.Input((4, 5, 2))
    h = function(make.Conv2D(3, 1, activation="relu")(first))
    return randomized(k.Model(first, make.Dense(2)(make.Flatten()(make.Dense(4, "relu")(h)))), 4)


def check(model):
    graph = convert(model)
    x = keras_models.samples(model)
    assert check_conversion(model, graph, x)
    activity = keras_models.rates(graph, x)
    (wanted,) = keras_models.outputs(model, x)
    assert np.abs(activity[graph.readouts[0].name] - wanted).max() <= 2e-5 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("name", TENSORFLOW)
def test_functions_of_tensorflow(name):
    tf = import_tensorflow()
    check(model_with(tf.keras, lambda h: TENSORFLOW[name](tf, h)))


@pytest.mark.parametrize("name", KERAS_3)
def test_operations_of_keras_3(name):
    keras = import_keras(3)
    check(model_with(keras, lambda h: KERAS_3[name](keras.ops, h)))


HOST = {  # of a tensor (n, 4, 5, 2) of input values, in TensorFlow and in Keras 3
    "clip": (lambda tf, h: tf.clip_by_value(h, 0, 0.5), lambda o, h: o.clip(h, 0, 0.5)),
    "relu6": (lambda tf, h: tf.nn.relu6(8 * h), lambda o, h: o.relu6(8 * h)),
    "max": (lambda tf, h: tf.reduce_max(h, [1]), lambda o, h: o.max(h, axis=(1, 3), keepdims=True)),
    "maxpool": (
        lambda tf, h: tf.nn.max_pool(h, (2, 3), (1, 2), "SAME"),
        lambda o, h: o.max_pool(h, (2, 3), 1, "same"),
    ),
    "maxpool1d": (lambda tf, h: tf.nn.max_pool1d(tf.reshape(h, (-1, 20, 2)), 3, 2, "VALID"), None),
    "maxpool2d": (lambda tf, h: tf.nn.max_pool2d(h, 2, 1, "VALID"), None),
    "maxpool3d": (lambda tf, h: tf.nn.max_pool3d(tf.reshape(h, (-1, 4, 5, 2, 1)), 2, 1, "VALID"), None),
}
ENDS = {
    "sigmoid": (lambda tf, h: tf.sigmoid(h), lambda o, h: o.sigmoid(h)),
    "softmax": (lambda tf, h: tf.nn.softmax(h), lambda o, h: o.softmax(h)),
    "tanh": (lambda tf, h: tf.tanh(h), lambda o, h: o.tanh(h)),
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", HOST)
def test_what_the_host_computes_in_front(name, version):
    k = import_keras(version)
    function = HOST[name][version - 2]
    if function is None:
        assert version == 3, "Keras 3 has one function for every number of dimensions"
        return
    make, space = k.layers, import_tensorflow() if version == 2 else k.ops
    first = make.Input((4, 5, 2))
    h = make.Flatten()(function(space, first))
    model = randomized(k.Model(first, make.Dense(2)(make.Dense(4, "relu")(h))), 4)
    check(model)
    hidden = model_with(k, lambda h: function(space, h[..., :2]))
    with pytest.raises(ConversionError) as caught:
        convert(hidden)
    assert "layers" in caught.value.problems[0].remedy


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ENDS)
def test_what_the_host_computes_at_the_end(name, version):
    k = import_keras(version)
    make, space = k.layers, import_tensorflow() if version == 2 else k.ops
    first = make.Input((5,))
    end = ENDS[name][version - 2](space, make.Dense(3)(make.Dense(4, "relu")(first)))
    model = randomized(k.Model(first, end))
    graph = convert(model)
    assert graph.readouts[0].activation == name
    x = keras_models.samples(model)
    assert check_conversion(model, graph, x)


REFUSED = {
    "square": lambda tf, h: tf.square(h),
    "products": lambda tf, h: h * h,
    "quotients": lambda tf, h: 1 / (h + 1),
    "products of matrices": lambda tf, h: tf.matmul(h, h, transpose_b=True),
    "other maxima": lambda tf, h: tf.maximum(h, 0.5),
    "whole numbers": lambda tf, h: tf.cast(tf.cast(h, tf.int32), tf.float32),
    "a sum over samples": lambda tf, h: h - tf.reduce_mean(h),
    "mixed samples": lambda tf, h: tf.reverse(h, [0]),
    "a fixed number of samples": lambda tf, h: tf.reshape(h, (3, 60)),
    "a constant for each sample": lambda tf, h: h + tf.ones((3, 4, 5, 3)),
    "bounds": lambda tf, h: tf.clip_by_value(h, -1, 1),
    "a stack of batches": lambda tf, h: tf.stack([h, h], axis=0)[0],
    "a leak": lambda tf, h: tf.nn.leaky_relu(h),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_functions_are_refused_by_name(name):
    tf = import_tensorflow()
    with pytest.raises(ConversionError) as caught:
        convert(model_with(tf.keras, lambda h: REFUSED[name](tf, h)))
    for problem in caught.value.problems:
        assert problem.remedy
        assert "tf." in problem.where


def test_every_function_has_a_model():
    assert set(FUNCTIONS) <= {*TENSORFLOW, *KERAS_3, *HOST, *ENDS}
