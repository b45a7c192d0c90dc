"""What goes in and what comes out has the forms that Keras' own predict and evaluate have."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.frontends.compat import import_keras, import_tensorflow
from tests.frontends import keras_models
from tests.frontends.keras_models import MODELS, chain, dense, keras, layer, layers, relu_conv

NUMBER = np.random.default_rng(0)


def deployed(model, x, **options):
    return ld.deploy(model, calibration=x, options=ld.DeployOptions(bias_correction_steps=0, **options))


FORMS = {
    "conv1d": chain(layer("Conv1D", 8, 5, activation="relu"), layer("Conv1D", 1, 1), shape=(24, 3)),
    "image": chain(relu_conv(4), layer("Conv2D", 2, 3), shape=(7, 6, 2)),
    "flatten": chain(relu_conv(4), layer("Conv2D", 2, 3), layer("Flatten"), shape=(7, 6, 2)),
    "permute": chain(relu_conv(4), layer("Conv2D", 2, 3), layer("Permute", (3, 1, 2)), shape=(7, 6, 2)),
    "reshape": chain(relu_conv(4), layer("Flatten"), dense(12), layer("Reshape", (2, 3, 2)), shape=(5, 6, 2)),
    "half": chain(layer("Dense", 6, activation="relu"), layer("Dense", 3, dtype="float16"), shape=(5,)),
    "double": chain(layer("Dense", 6, activation="relu"), layer("Dense", 3, dtype="float64"), shape=(5,)),
    "tanh": chain(dense(6, activation="relu"), dense(3, activation="tanh"), shape=(5,)),
    "softmax": chain(relu_conv(4), layer("Conv2D", 3, 1, activation="softmax"), shape=(5, 4, 2)),
    "host_in_front": MODELS["host_in_front"],
}


@pytest.mark.parametrize("name", FORMS)
def test_outputs_have_the_shape_and_type_of_predict(name):
    model = FORMS[name]()
    x = keras_models.samples(model, n=8)[0]
    wanted = model.predict(x, verbose=0)
    deployment = deployed(model, x)
    outputs = deployment.predict(x, 150)
    assert (outputs.shape, outputs.dtype) == (wanted.shape, wanted.dtype)
    assert (deployment.run(x, 150).outputs == outputs).all()
    error = np.abs(outputs.astype(float) - wanted.astype(float)).max()
    assert error < 0.25 * np.abs(wanted).max(), "far from what Keras predicts"


def test_channels_first_outputs():
    image = layers().Input((2, 7, 6))
    x = layers().Conv2D(4, 3, activation="relu", data_format="channels_first")(image)
    model = keras().Model(image, layers().Conv2D(3, 2, data_format="channels_first")(x))
    x = NUMBER.random((4, 2, 7, 6)).astype(np.float32)
    outputs = deployed(model, x).predict(x, 20)
    assert (outputs.shape[1:], outputs.dtype) == (tuple(model.output.shape[1:]), np.float32)


def two_inputs():
    a, b = layers().Input((12,), name="zeta"), layers().Input((6,), name="alpha")
    joined = layers().Concatenate()([layers().Dense(10, "relu")(a), layers().Dense(10, "relu")(b)])
    ends = [layers().Dense(4, name="first")(joined), layers().Dense(2, name="second")(joined)]
    return keras_models.randomized(keras().Model([a, b], ends))


def test_several_inputs_as_keras_takes_them():
    model = two_inputs()
    xs = [NUMBER.uniform(0, 1, (20, n)).astype(np.float32) for n in (12, 6)]
    deployment = deployed(model, xs)
    wanted = deployment.predict({"alpha": xs[1], "zeta": xs[0]}, 30)
    assert [outputs.shape for outputs in wanted] == [(20, 4), (20, 2)]
    for given in (xs, tuple(xs), {"zeta": xs[0], "alpha": xs[1]}):
        for ours, theirs in zip(deployment.predict(given, 30), wanted, strict=True):
            assert (ours == theirs).all()
    for given in (xs[0], xs[:1], [*xs, xs[0]], {"zeta": xs[0]}):
        with pytest.raises(InputError, match="zeta, alpha"):
            deployment.predict(given)


@pytest.fixture(scope="module")
def classifier():
    model = keras_models.randomized(
        keras().Sequential([layers().Input((6,)), layers().Dense(12, "relu"), layers().Dense(3, "softmax")])
    )
    x = NUMBER.uniform(0, 1, (30, 6)).astype(np.float32)
    y = model.predict(x, verbose=0).argmax(axis=1)
    return deployed(model, x), x, y


class Table:
    """What pandas' tables are to numpy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def test_samples_in_every_form(classifier):
    deployment, x, _ = classifier
    tf = import_tensorflow()
    wanted = deployment.predict(x, 20)
    for given in (x.tolist(), list(x), [x], (x,), tf.constant(x), tf.Variable(x), Table(x)):
        assert (deployment.predict(given, 20) == wanted).all()
    for given in (
        tf.data.Dataset.from_tensor_slices(x),
        tf.data.Dataset.from_tensor_slices(x).batch(7),
        tf.data.Dataset.from_tensor_slices((x, np.zeros(30))).batch(7),
    ):
        assert (deployment.predict(given, 20) == wanted).all()


def test_tables(classifier):
    pandas = pytest.importorskip("pandas")
    deployment, x, y = classifier
    table, labels = pandas.DataFrame(x), pandas.Series(y)
    assert (deployment.predict(table, 20) == deployment.predict(x, 20)).all()
    assert deployment.evaluate(table, labels, 20).n_correct == deployment.evaluate(x, y, 20).n_correct


def sequence_class(version):
    utilities = import_keras(version).utils
    return utilities.Sequence if version == 2 else utilities.PyDataset


@pytest.mark.parametrize("version", [2, 3])
def test_sequences_of_batches(classifier, version):
    deployment, x, y = classifier

    class Batches(sequence_class(version)):
        def __init__(self):
            super().__init__()

        def __len__(self):
            return 4

        def __getitem__(self, number):
            part = slice(8 * number, 8 * (number + 1))
            return x[part], np.eye(3, dtype=np.float32)[y[part]]

    assert (deployment.predict(Batches(), 20) == deployment.predict(x, 20)).all()
    assert deployment.evaluate(Batches(), steps=20).n_correct == deployment.evaluate(x, y, 20).n_correct


def test_labels_of_a_calibration_data_set_choose_the_presentation(classifier):
    deployment, x, y = classifier
    tf = import_tensorflow()
    graph, wrong = deployment.source, (y + (np.arange(len(y)) % 4 == 0)) % 3
    options = ld.DeployOptions(steps="auto", max_drop=0.1)  # three of so few samples
    wanted = ld.deploy(graph, calibration=x, options=options, labels=wrong)
    for labels in (wrong, np.eye(3)[wrong]):
        data = tf.data.Dataset.from_tensor_slices((x, labels)).batch(7)
        assert ld.deploy(graph, calibration=data, options=options) == wanted
    values = tf.data.Dataset.from_tensor_slices((x, x[:, :3])).batch(7)  # no classes
    assert ld.deploy(graph, calibration=values, options=options) == ld.deploy(
        graph, calibration=x, options=options
    )


def test_labels_come_with_a_data_set_or_one_hot(classifier):
    deployment, x, y = classifier
    tf = import_tensorflow()
    wanted = deployment.evaluate(x, y, 20)
    assert wanted.n_correct > 0
    shuffled = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(30).batch(7)
    for given in ((shuffled,), (x, np.eye(3)[y]), (x, np.eye(3, dtype=bool)[y]), (x, y[:, None])):
        assert deployment.evaluate(*given, steps=20).n_correct == wanted.n_correct
    wrong = deployment.evaluate(x, (y + 1) % 3, 20)
    assert wrong.n_correct <= 30 - wanted.n_correct
    for labels in (np.ones((30, 3), int), np.zeros((30, 3), int), None):
        with pytest.raises(InputError):
            deployment.evaluate(x, labels, 20)
    assert deployment.evaluate(x, np.full((30, 3), 1 / 3), 20).errors.rmse > 0  # values, not classes


def test_data_sets_without_end_or_samples_are_refused(classifier):
    deployment, x, _ = classifier
    tf = import_tensorflow()
    endless = tf.data.Dataset.from_tensor_slices(x).batch(5).repeat()
    with pytest.raises(InputError, match="without end") as caught:
        deployment.predict(endless)
    assert "take" in caught.value.problems[0].remedy
    assert len(deployment.predict(endless.take(2), 10)) == 10
    with pytest.raises(InputError, match="no sample"):
        deployment.predict(tf.data.Dataset.from_tensor_slices(x).take(0))


def test_several_inputs_from_a_data_set():
    model = two_inputs()
    tf = import_tensorflow()
    xs = [NUMBER.uniform(0, 1, (20, n)).astype(np.float32) for n in (12, 6)]
    deployment = deployed(model, xs)
    for parts in ((xs[0], xs[1]), {"alpha": xs[1], "zeta": xs[0]}):
        given = tf.data.Dataset.from_tensor_slices((parts, np.zeros(20))).batch(6)
        for ours, theirs in zip(deployment.predict(given, 20), deployment.predict(xs, 20), strict=True):
            assert (ours == theirs).all()


def test_a_single_sigmoid_decides_between_two_classes():
    model = keras_models.randomized(
        keras().Sequential([layers().Input((6,)), layers().Dense(12, "relu"), layers().Dense(1, "sigmoid")]),
        3,
    )
    x = NUMBER.uniform(0, 1, (40, 6)).astype(np.float32)
    x[::2] *= 0.1
    probabilities = model.predict(x, verbose=0)[:, 0]
    middle = float(np.median(np.log(probabilities / (1 - probabilities))))
    model.layers[-1].bias.assign_sub([middle])  # half of the samples on either side
    y = (model.predict(x, verbose=0)[:, 0] > 0.5).astype(int)
    assert y.sum() == 20
    deployment = deployed(model, x)
    found = deployment.evaluate(x, y, 200, by_step=True)
    assert 32 <= found.n_correct == found.n_correct_by_step[-1]
    assert deployment.evaluate(x, 1 - y, 200).n_correct == 40 - found.n_correct
    assert deployment.rate_accuracy(x, y) == 1.0
    assert deployment.verify(x, y, 50, reference_samples=0).stages[0].accuracy == 1.0
    with pytest.raises(InputError, match="out of range"):
        deployment.evaluate(x, y + 1)


def test_a_single_value_decides_nothing():
    model = keras().Sequential([layers().Input((6,)), layers().Dense(12, "relu"), layers().Dense(1)])
    x = NUMBER.uniform(0, 1, (10, 6)).astype(np.float32)
    deployment = deployed(keras_models.randomized(model), x)
    with pytest.raises(InputError, match="no classes"):
        deployment.evaluate(x, np.zeros(10, int))
