import numpy as np
import pytest

from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import with_chip_layers


def model_of(k):
    make = k.layers
    x = first = make.Input((10, 10, 2))
    x = make.Conv2D(4, 1, activation="relu", name="encoder")(x)
    x = make.MaxPooling2D(2, name="pool")(make.Conv2D(5, 3, activation="relu6", name="bounded")(x))
    x = make.ReLU(6.0, name="six")(make.BatchNormalization(name="norm")(2.0 * x))
    inner = k.Sequential(
        [make.Input((4, 4, 5)), make.Conv2D(3, 2), make.LeakyReLU(), make.PReLU()], name="inner"
    )
    return k.Model(first, make.Dense(2, name="end")(make.GlobalMaxPooling2D()(inner(x))), name="whole")


@pytest.mark.parametrize("version", [2, 3])
def test_what_the_chip_lacks_is_replaced_and_the_weights_are_kept(version):
    k = import_keras(version)
    model = model_of(k)
    model.get_layer("norm").set_weights([np.full(5, value, np.float32) for value in (1.5, 0.1, 0.2, 0.7)])
    with pytest.raises(ConversionError) as caught:
        convert(model)
    assert all("with_chip_layers" in problem.remedy for problem in caught.value.problems)
    made = with_chip_layers(model)
    graph = convert(made)  # what the remedy promises
    assert [population.name for population in graph.populations][:3] == ["encoder", "bounded", "six"]
    assert len(made.get_layer("inner").layers) == len(model.get_layer("inner").layers)
    for name in ("encoder", "bounded", "norm", "end"):
        for old, new in zip(
            model.get_layer(name).get_weights(), made.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(old, new)
    inner, old_inner = (m.get_layer("inner").layers[0].get_weights() for m in (made, model))
    np.testing.assert_array_equal(inner[0], old_inner[0])
    assert "max" in model.get_layer("pool").__class__.__name__.lower(), "the model itself stays as it is"


def test_a_model_that_has_nothing_to_replace_computes_the_same():
    k = import_keras(2)
    make = k.layers
    model = k.Sequential(
        [make.Input((5,)), make.Dense(4, activation="relu"), make.Dense(3, activation="softmax")]
    )
    x = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    np.testing.assert_array_equal(with_chip_layers(model)(x), model(x))


@pytest.mark.parametrize("other", ["model.h5", None, 3])
def test_other_values_are_refused(other):
    with pytest.raises(InputError, match="not a Keras model"):
        with_chip_layers(other)


def test_a_subclassed_model_is_refused():
    k = import_keras(2)

    class Own(k.Model):
        def call(self, x):
            return x

    with pytest.raises(ConversionError, match="order are not known"):
        with_chip_layers(Own())
