"""An encoder that is learned in front of a Keras model."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.saved_models import load_keras_model
from loihi_deploy.report import encoder_values
from loihi_deploy.training import with_encoder

tf = import_tensorflow()
layers = tf.keras.layers
SHAPE = (8, 8, 3)


def sequential(shape=SHAPE):
    return tf.keras.Sequential(
        [
            layers.Input(shape, name="image"),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def first_layer_with_shape():
    return tf.keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu", input_shape=SHAPE), layers.Flatten(), layers.Dense(2)]
    )


def built():
    model = tf.keras.Sequential([layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2)])
    model.build((None, *SHAPE))
    return model


def functional():
    x = layers.Input(SHAPE, name="image")
    y = layers.Conv2D(4, 3, activation="relu", padding="same")(x)
    z = layers.Add()([y, layers.Conv2D(4, 3, activation="relu", padding="same")(y)])
    return tf.keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(z)))


def task(n=400, seed=0):
    """Images that are brighter in their upper or in their lower half."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 0.7, (n, *SHAPE)).astype(np.float32), rng.integers(0, 2, n)
    x[y == 0, :4] += 0.3
    x[y == 1, 4:] += 0.3
    return x, y


def fit(model, epochs):
    x, y = task()
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=epochs, verbose=0)
    return model


@pytest.mark.parametrize("build", [sequential, first_layer_with_shape, built, functional])
@pytest.mark.parametrize("signed", [False, True])
def test_the_learned_encoder_runs_on_the_host(build, signed):
    model = fit(with_encoder(build(), filters=4, signed=signed), epochs=1)
    x, _ = task(100)
    deployment = ld.deploy(model, calibration=x)
    program = deployment.program
    assert [(p.name, p.shape) for p in program.encoder.populations] == [("encoder", (8, 8, 4))]
    n_convolutions = sum(isinstance(layer, layers.Conv2D) for layer in build().layers)
    assert len(program.populations) == n_convolutions
    # a gain for each neuron, and a weight for each of its three channels; with signs only additions
    expected = 0 if signed else 256 + 3 * 256
    assert encoder_values(program)["multiplies_per_frame"] == expected
    assert encoder_values(program)["multiplies_per_step"] == 0


def test_signs_stay_and_biases_learn():
    model = with_encoder(sequential(), filters=6, signed=True)
    before = [values.copy() for values in model.get_layer("encoder").get_weights()]
    assert {tuple(column) for column in before[0][0, 0].T} == {
        *((1, 1, 1), (-1, -1, -1), (1, 1, -1), (-1, -1, 1), (1, -1, 1), (-1, 1, -1))
    }
    kernel, bias = fit(model, epochs=2).get_layer("encoder").get_weights()
    assert (kernel == before[0]).all()
    assert (bias != before[1]).any()


def test_more_filters_than_patterns_have_other_biases():
    kernel, bias = with_encoder(sequential((8, 8, 1)), 4, signed=True).get_layer("encoder").get_weights()
    assert kernel.ravel().tolist() == [1, -1, 1, -1]
    assert len(set(bias.tolist())) == 4


def test_learned_weights_change_and_the_network_learns():
    model = with_encoder(sequential(), filters=4)
    before = model.get_layer("encoder").get_weights()[0].copy()
    fit(model, epochs=15)
    assert (model.get_layer("encoder").get_weights()[0] != before).any()
    x, y = task(seed=1)
    deployment = ld.deploy(model, calibration=x[:100])
    assert deployment.rate_accuracy(x, y) > 0.95
    assert deployment.evaluate(x, y).accuracy > 0.9


def test_a_saved_model_with_signs_can_be_loaded(tmp_path):
    model = with_encoder(sequential(), filters=4, signed=True)
    model.save(tmp_path / "net.keras")
    loaded = load_keras_model(tmp_path / "net.keras")
    x, _ = task(3)
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())


def test_what_cannot_have_an_encoder():
    dense = tf.keras.Sequential([layers.Input((5,)), layers.Dense(2)])
    with pytest.raises(InputError) as caught:
        with_encoder(dense, filters=0)
    assert [problem.where for problem in caught.value.problems] == ["model", "filters"]
    with pytest.raises(InputError, match="not built"):
        with_encoder(tf.keras.Sequential([layers.Dense(2)]))
