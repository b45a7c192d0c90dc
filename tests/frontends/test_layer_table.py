"""The README's table of layers is true: every layer it names is taken, or refused with a way out, as it says."""

import re
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.keras import OVER_TIME_ONLY, SAME_RANGE
from loihi_deploy.frontends.keras_layers import AUGMENTATION, HANDLERS, MOVING_LAYERS, OVER_TIME
from loihi_deploy.frontends.keras_time import OVER_FRAMES
from tests.frontends.keras_models import keras, randomized

README = Path(__file__).parents[2] / "README.md"
TABLE = re.search(r"^\| on the chip .*?\n\|[-| ]+\n(.*?)^$", README.read_text(encoding="utf-8"), re.M | re.S)
IMAGE = (6, 6, 2)


def functional(shape, *layers):
    """A model of an encoder, a layer with neurons, these layers, and an answer."""
    k = keras()
    x = first = k.layers.Input(shape)
    for layer in layers:
        x = layer(x)
    x = k.layers.Dense(2, name="answer")(x if len(x.shape) == 2 else k.layers.Flatten()(x))
    return randomized(k.Model(first, x))


def neurons(units=2):
    return keras().layers.Dense(units, activation="relu")


def joined(layer):
    """Two layers with neurons, joined by a layer."""

    def call(x):
        return layer([neurons()(x), neurons()(x)])

    return call


def taken():
    """Every layer that the table says is taken, by name: on the chip, folded into weights, on the host, left out."""
    make = keras().layers
    convolutions = {
        "Conv1D": ((6, 2), make.Conv1D(3, 2, activation="relu")),
        "Conv2D": (IMAGE, make.Conv2D(3, 2, activation="relu")),
        "Conv3D": ((4, 4, 4, 2), make.Conv3D(3, 2, activation="relu")),
        "DepthwiseConv2D": (IMAGE, make.DepthwiseConv2D(2, activation="relu")),
        "SeparableConv2D": (IMAGE, make.SeparableConv2D(3, 2, activation="relu")),
        "Conv1DTranspose": ((6, 2), make.Conv1DTranspose(3, 2, activation="relu")),
        "Conv2DTranspose": (IMAGE, make.Conv2DTranspose(3, 2, activation="relu")),
    }
    for name, (shape, layer) in convolutions.items():
        yield name, functional(shape, neurons(), layer)
    yield "Dense", functional((4,), neurons(), neurons(3))
    for layer in (
        *(make.BatchNormalization(), make.AveragePooling2D(), make.GlobalAveragePooling2D(), make.Flatten()),
        *(make.Reshape((36, 2)), make.Permute((2, 1, 3)), make.ZeroPadding2D(), make.Cropping2D()),
        *(make.UpSampling2D(), make.Rescaling(0.5, 0.1), make.Dropout(0.5), make.GaussianNoise(0.5)),
        *(make.RandomFlip(), make.Activation("linear")),
    ):
        yield type(layer).__name__, functional(IMAGE, neurons(), layer, neurons())
    yield "Normalization", functional(IMAGE, make.Normalization(mean=0.3, variance=2.0), neurons())
    for layer in (make.Add(), make.Subtract(), make.Average(), make.Concatenate()):
        yield type(layer).__name__, functional(IMAGE, joined(layer), neurons())
    for name in ("softmax", "sigmoid", "tanh"):
        k = keras()
        yield name, randomized(k.Sequential([make.Input((4,)), neurons(), make.Dense(3, activation=name)]))
    yield "max pooling in front", functional(IMAGE, make.MaxPooling2D(), neurons(), neurons())
    yield "ReLU6 in front", functional(IMAGE, make.Conv2D(3, 1), make.ReLU(6.0), neurons(), neurons())


def refused():
    """Every layer that the table says is refused."""
    make = keras().layers
    for layer in (make.LSTM(3), make.GRU(3), make.SimpleRNN(3)):
        yield type(layer).__name__, functional((6, 2), neurons(), layer, neurons())
    for layer in (make.Multiply(), make.Dot(1), make.Maximum(), make.Minimum(), make.Attention()):
        yield type(layer).__name__, functional((6, 2), joined(layer), neurons())
    for layer in (make.LayerNormalization(), make.LeakyReLU(), make.ELU(), make.PReLU()):
        yield type(layer).__name__, functional((6, 2), neurons(), layer, neurons())
    yield "MaxPooling2D", functional(IMAGE, neurons(), make.MaxPooling2D(), neurons())
    yield "ReLU6", functional(IMAGE, neurons(), make.Conv2D(3, 1), make.ReLU(6.0), neurons())
    yield (
        "MultiHeadAttention",
        functional((6, 2), neurons(), lambda x: make.MultiHeadAttention(1, 2)(x, x), neurons()),
    )


def test_every_layer_in_the_table_is_tried(models):
    assert TABLE is not None
    tried = {name.lower() for each in models for name in each}
    for name in re.findall(r"`(\w+)`", TABLE[1]):
        if name != "3D":  # as in `Conv1D` to `3D`
            assert any(each.startswith(name.lower()) for each in tried), name


@pytest.fixture(scope="module")
def models():
    return dict(taken()), dict(refused())


def test_layers_that_are_taken(models):
    for name, model in models[0].items():
        graph = ld.convert(model)
        shape = (3, *model.input_shape[1:])
        assert check_conversion(model, graph, np.random.default_rng(0).random(shape)), name


def test_layers_that_are_refused_with_a_way_out(models):
    for name, model in models[1].items():
        with pytest.raises(ConversionError) as caught:
            ld.convert(model)
        assert all(problem.remedy for problem in caught.value.problems), name


def test_layers_are_taken_in_every_dimension_that_keras_has_them_in():
    """And nothing is taken by a name that no layer has."""
    both = [import_keras(version).layers for version in (2, 3)]
    for stem in {name[:-2] for name in HANDLERS if name.endswith("D")}:
        for n in (1, 2, 3):
            known = any(hasattr(each, f"{stem}{n}D") for each in both)
            assert (f"{stem}{n}D" in HANDLERS) is known, f"{stem}{n}D"
    ours = {"Alpha", "ChipActivation", "LMU", "Lowpass", "SpikingActivation"}
    ours |= {"BatchNormalizationV1", "SyncBatchNormalization"}  # names of other versions
    for name in {*HANDLERS, *OVER_FRAMES, *OVER_TIME, *MOVING_LAYERS, *SAME_RANGE, *OVER_TIME_ONLY} - ours:
        assert any(hasattr(each, name) for each in both), name
    assert set(AUGMENTATION) <= set(OVER_TIME)  # frame by frame, as they are
