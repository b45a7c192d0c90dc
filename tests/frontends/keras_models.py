"""Small Keras models, one for each construct that can be converted."""

import functools

import numpy as np

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.ir import samples_for

IMAGE = (8, 8, 3)


@functools.cache
def keras():
    return import_tensorflow().keras


def layers():
    return keras().layers


def conv(n, size=3, **options):
    return layers().Conv2D(n, size, activation="relu", **options)


def model(build, *shapes, seed=0):
    """A functional model with random weights; inputs are named input_a, input_b, ..."""
    inputs = [layers().Input(shape, name=f"input_{name}") for shape, name in zip(shapes, "abc", strict=False)]
    made = keras().Model(inputs if len(inputs) > 1 else inputs[0], build(*inputs))
    return randomized(made, seed)


def randomized(made, seed=0):
    rng = np.random.default_rng(seed)
    for variable in made.weights:
        values = rng.normal(size=variable.shape) * 0.3
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.name else values)
    return made


def chain(*makers, shape=IMAGE):
    """A model of layers one after the other, each given as a function that makes it."""

    def build(x):
        for make in makers:
            x = make()(x)
        return x

    return functools.partial(model, build, shape)


def ending(*makers, shape=IMAGE):
    """The same between an encoder and a dense readout."""
    first = functools.partial(conv, 4, 1) if len(shape) == 3 else dense(4, activation="relu")
    return chain(first, *makers, layer("Flatten"), dense(3), shape=shape)


def layer(kind, *arguments, **options):
    return lambda: getattr(layers(), kind)(*arguments, **options)


def dense(n, **options):
    return layer("Dense", n, **options)


def relu_conv(n, size=3, **options):
    return layer("Conv2D", n, size, activation="relu", **options)


def residual(x):
    k = layers()
    x = conv(4, 1)(x)
    y = conv(4, padding="same")(x)
    y = k.BatchNormalization()(k.Conv2D(4, 3, padding="same")(y))
    y = k.ReLU()(k.Add()([x, y]))
    short, long = k.Conv2D(6, 1, strides=2)(y), k.Conv2D(6, 3, strides=2, padding="same")(y)
    return k.Dense(3)(k.GlobalAveragePooling2D()(k.ReLU()(k.add([short, long]))))


def linear_residual(x):
    k = layers()
    x = conv(4, 1)(x)
    return k.Dense(3)(k.Flatten()(k.ReLU()(k.Add()([x, k.Conv2D(4, 3, padding="same")(x)]))))


def inception(x):
    k = layers()
    x = conv(4, 1)(x)
    linear = [k.Conv2D(3, 1)(x), k.Conv2D(2, 3, padding="same")(x), k.AveragePooling2D(3, 1, "same")(x)]
    branches = [conv(3, 1)(x), conv(2, padding="same")(x), k.ReLU()(k.concatenate(linear))]
    return k.Dense(3)(k.Flatten()(conv(5)(k.concatenate(branches))))


def two_inputs_two_outputs(x, y):
    k = layers()
    b = k.Dense(5, activation="relu")(y)
    z = k.Dense(6, activation="relu")(k.Concatenate()([k.Flatten()(conv(4, 1)(x)), b]))
    return [k.Dense(3)(z), k.Dense(2)(k.Average()([b, k.Dense(5)(z)]))]


def shared_and_nested(x, y):
    k = layers()
    shared = k.Dense(5, activation="relu", name="shared")
    inner = keras().Sequential([k.Input((5,)), k.Dense(4, activation="relu", name="inner"), k.Dense(4)])
    outer = keras().Sequential([k.Input((5,)), inner, k.ReLU(name="outer")])
    return k.Dense(3)(k.Subtract()([outer(shared(x)), outer(shared(y))]))


def operators(x):
    k = layers()
    y = 2.0 * (conv(4, 1)(x) - 0.5) / np.arange(1, 5, dtype=np.float32)
    y = k.ReLU()(1.0 - y * 0.5)
    y = k.ReLU()(-y + 0.5 + conv(4, padding="same")(y))[:, 1:5]
    return k.Dense(3)(k.Flatten()(y))


def squeezed(x):
    k = layers()
    y = conv(4, 1)(x)
    squeezed = conv(4, 1)(k.GlobalAveragePooling2D(keepdims=True)(y))
    return k.Dense(3)(k.Flatten()(k.ReLU()(k.Add()([y, squeezed]))))


def without_batch(x):
    """Functions of TensorFlow between layers, one after the other."""
    import tensorflow as tf

    k = layers()
    y = conv(4, 1)(x)
    y = tf.nn.bias_add(tf.pad(y, [[0, 0], [1, 0], [0, 2], [0, 0]]), tf.constant([0.1, -0.2, 0.3, 0.4]))
    y = k.ReLU()(tf.transpose(tf.nn.avg_pool2d(y, [2, 3], [2, 1], "SAME"), [0, 2, 1, 3]))
    z = tf.reduce_mean(y, [1, 2], keepdims=True)
    y = k.ReLU()(tf.cast(y, tf.float32) - tf.identity(z))
    weights = tf.constant(np.random.default_rng(0).normal(0, 0.2, (4, 5)), tf.float32)
    y = k.ReLU()(tf.matmul(tf.reshape(y[..., ::-1], (-1, 50, 4)), weights))
    return k.Dense(3)(tf.stop_gradient(tf.reduce_sum(y, axis=-1)))


def in_front(x):
    """What the host computes before the network: pooling, a rectifier that saturates, resizing."""
    k = layers()
    y = k.MaxPooling2D((3, 2), (1, 2), padding="same")(k.Conv2D(4, 2, activation="relu6")(x))
    y = k.ReLU(0.5)(k.AveragePooling2D(2)(y))
    return k.Dense(3)(k.Flatten()(conv(4)(k.Resizing(5, 4)(y))))


MODELS = {
    "tensor_functions": lambda: model(without_batch, (9, 8, 3)),
    "host_in_front": lambda: model(in_front, (9, 8, 3)),
    "augmentation": chain(
        *(layer(f"Random{kind}", 0.3) for kind in ("Rotation", "Zoom", "Contrast", "Brightness")),
        layer("RandomFlip"),
        layer("RandomTranslation", 0.2, 0.3),
        layer("RandomCrop", 6, 7),
        layer("CenterCrop", 5, 6),
        relu_conv(4, 1),
        layer("Flatten"),
        dense(3),
    ),
    "other_ends": lambda: model(
        lambda x: [
            layers().Activation("sigmoid")(layers().Dense(1)(x := layers().Dense(4, activation="relu")(x))),
            layers().Reshape((2, 3))(layers().Dense(6, activation="tanh")(x)),
            layers().Softmax()(layers().Reshape((3, 2))(layers().Dense(6)(x))),
        ],
        (5,),
    ),
    "training_only": ending(
        layer("Identity"),
        layer("ActivityRegularization"),
        layer("AlphaDropout", 0.3),
        layer("GaussianDropout", 0.3),
        layer("SpatialDropout2D", 0.3),
        relu_conv(3),
    ),
    "synchronized_normalization": ending(
        layer("Conv2D", 4, 2), layer("BatchNormalization", synchronized=True), layer("ReLU")
    ),
    "normalized_input": chain(
        layer("Normalization", mean=[0.2, 0.5, 0.4], variance=[0.1, 0.3, 0.2]),
        relu_conv(4, 1),
        layer("Normalization", mean=0.3, variance=2.0, invert=True),
        layer("Flatten"),
        dense(3),
    ),
    "transposed_1d": ending(
        layer("Conv1DTranspose", 3, 3, strides=2, activation="relu"),
        layer("SpatialDropout1D", 0.2),
        shape=(7, 3),
    ),
    "three_dimensions": chain(
        layer("Conv3D", 3, 1, activation="relu"),
        layer("Cropping3D", ((1, 0), (0, 1), (0, 0))),
        layer("SpatialDropout3D", 0.2),
        layer("UpSampling3D", (1, 2, 1)),
        layer("Conv3DTranspose", 2, 2, strides=(2, 1, 1), activation="relu"),
        layer("Flatten"),
        dense(3),
        shape=(4, 3, 4, 2),
    ),
    "interpolated": ending(layer("UpSampling2D", 2, interpolation="bilinear"), relu_conv(3, strides=2)),
    "maxima_in_front": lambda: model(
        lambda x, y: layers().Dense(3)(
            layers().Dense(6, activation="relu")(
                layers().Concatenate()(
                    [
                        layers().GlobalMaxPooling2D()(x),
                        layers().Flatten()(layers().MaxPooling1D(3, 2)(y)),
                        layers().GlobalMaxPooling1D()(y),
                    ]
                )
            )
        ),
        (6, 5, 3),
        (8, 2),
    ),
    "maxima_in_three_dimensions": chain(
        layer("MaxPooling3D", 2, 1),
        layer("GlobalMaxPooling3D", keepdims=True),
        layer("Flatten"),
        dense(4, activation="relu"),
        dense(3),
        shape=(3, 4, 3, 2),
    ),
    "turned": ending(
        layer("Reshape", (4, 2, 8, 4)), layer("Permute", (3, 1, 4, 2)), dense(4, activation="relu")
    ),
    "convolution": ending(relu_conv(5)),
    "strided": ending(relu_conv(5, strides=2, padding="same"), relu_conv(3, (1, 2), padding="same")),
    "without_bias": ending(relu_conv(5, use_bias=False)),
    "batch_normalization": ending(
        layer("Conv2D", 5, 3, padding="same"), layer("BatchNormalization"), layer("ReLU")
    ),
    "normalization_after_relu": ending(layer("BatchNormalization", scale=False), relu_conv(5)),
    "average_pooling": ending(layer("AveragePooling2D", 2), relu_conv(5, 2)),
    "average_pooling_same": ending(layer("AveragePooling2D", 3, 2, "same"), relu_conv(5, 2)),
    "pooling_population": ending(layer("AveragePooling2D", 2), layer("Activation", "relu")),
    "global_pooling": chain(
        relu_conv(4, 1), relu_conv(5), layer("GlobalAveragePooling2D"), dense(3), shape=IMAGE
    ),
    "depthwise": ending(layer("DepthwiseConv2D", 3, depth_multiplier=2, activation="relu")),
    "separable": ending(layer("SeparableConv2D", 6, 3, padding="same", activation="relu")),
    "grouped": ending(relu_conv(6, groups=2)),
    "dilated": ending(relu_conv(5, dilation_rate=2)),
    "zero_padding": ending(layer("ZeroPadding2D", ((1, 0), (2, 1))), relu_conv(5)),
    "cropping": ending(layer("Cropping2D", ((1, 0), (2, 1))), relu_conv(5)),
    "cropping_same": ending(layer("Cropping2D", ((1, 0), (2, 1))), relu_conv(5, padding="same")),
    "upsampling": ending(layer("UpSampling2D", 2), relu_conv(5, strides=2)),
    "permute": ending(layer("Permute", (2, 1, 3)), relu_conv(5)),
    "transposed": ending(layer("Conv2DTranspose", 5, 3, strides=2, activation="relu")),
    "transposed_same": ending(layer("Conv2DTranspose", 5, 3, strides=2, padding="same", activation="relu")),
    "linear_stack": ending(layer("Conv2D", 3, 3), layer("Conv2D", 5, 3, padding="same"), layer("ReLU")),
    "rescaling": chain(
        layer("Rescaling", 2.0, -1.0), relu_conv(4, 1), layer("Dropout", 0.5), layer("Flatten"), dense(3)
    ),
    "noise": ending(layer("GaussianNoise", 0.3), layer("SpatialDropout2D", 0.3), relu_conv(3)),
    "image_output": chain(relu_conv(4, 1), layer("Conv2D", 2, 3, padding="same")),
    "spiking_output": chain(relu_conv(4, 1), layer("Flatten"), dense(3, activation="relu")),
    "dense_on_images": ending(dense(5, activation="relu")),
    "conv1d": chain(
        layer("Conv1D", 4, 3, activation="relu", padding="causal"),
        layer("Conv1D", 5, 3, strides=2, activation="relu"),
        layer("GlobalAveragePooling1D"),
        dense(3),
        shape=(12, 3),
    ),
    "shapes1d": ending(
        layer("AveragePooling1D", 2),
        layer("SeparableConv1D", 5, 3, activation="relu"),
        layer("UpSampling1D", 2),
        layer("ZeroPadding1D", 1),
        layer("Cropping1D", (2, 1)),
        layer("DepthwiseConv1D", 2, activation="relu"),
        shape=(12, 3),
    ),
    "conv3d": chain(
        layer("Conv3D", 4, 2, activation="relu", padding="same"),
        layer("AveragePooling3D", 2),
        layer("ZeroPadding3D", 1),
        layer("Conv3D", 5, 2, activation="relu"),
        layer("GlobalAveragePooling3D"),
        dense(3),
        shape=(4, 4, 4, 2),
    ),
    "reshape": chain(
        layer("Reshape", (8, 8, 3)),
        relu_conv(4),
        layer("Reshape", (-1, 4)),
        layer("Conv1D", 3, 2, activation="relu"),
        layer("Flatten"),
        layer("RepeatVector", 2),
        dense(4, activation="relu"),
        layer("Flatten"),
        dense(3),
        shape=(192,),
    ),
    "residual": functools.partial(model, residual, IMAGE),
    "linear_residual": functools.partial(model, linear_residual, IMAGE),
    "inception": functools.partial(model, inception, IMAGE),
    "two_inputs_two_outputs": functools.partial(model, two_inputs_two_outputs, IMAGE, (7,)),
    "shared_and_nested": functools.partial(model, shared_and_nested, (6,), (6,)),
    "operators": functools.partial(model, operators, IMAGE),
    "squeezed": functools.partial(model, squeezed, IMAGE),
}


def samples(made, n=3, seed=1):
    """One array for each input."""
    rng = np.random.default_rng(seed)
    return [rng.random((n, *tensor.shape[1:])).astype(np.float32) for tensor in made.inputs]


def rates(graph, arrays):
    """Activities of populations and readouts for samples given as Keras takes them."""
    names = list(dict.fromkeys(node.given.name for node in graph.inputs))
    return rate_activity(graph, samples_for(graph, dict(zip(names, arrays, strict=True))).first_frames())


def outputs(made, arrays):
    """What Keras computes: one flat array for each output."""
    values = made(arrays if len(arrays) > 1 else arrays[0], training=False)
    values = values if isinstance(values, (list, tuple)) else [values]
    return [np.asarray(value).reshape(len(value), -1) for value in values]
