"""What becomes of an activation by itself: neurons, what the host computes in front or at the end, or a refusal."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.keras_layers import (
    activated,
    activation_name,
    is_softmax,
    maximum_refused,
    refusal,
    type_name,
)
from loihi_deploy.frontends.keras_windows import largest
from loihi_deploy.frontends.layouts import image_layout
from loihi_deploy.frontends.tensors import Saturating, Tensor, UnsupportedLayerError, elementwise, moved
from loihi_deploy.ir import NeuronModel, samples_for
from tests.frontends.test_layers_over_time import layer
from tests.frontends.test_tensors import windows_of

RNG = np.random.default_rng(0)
IF = NeuronModel("if")
SWAP = (
    "loihi_deploy.training.with_chip_layers(model) puts average pooling and ReLU in their place, with the same "
    "weights: train it on for some epochs"
)


def function(name, module="keras.src.activations"):
    made = SimpleNamespace()
    made.__name__, made.__module__ = name, module
    return made


def relu(**more):
    return layer("ReLU", **{"max_value": None, "negative_slope": 0, "threshold": 0, **more})


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (None, "linear"),
        ("", "linear"),
        ("tanh", "tanh"),
        (Saturating(6.0), "relu up to 6"),
        (Saturating(0.5), "relu up to 0.5"),
        (relu(), "relu"),
        (relu(max_value=6), "ReLU"),
        (relu(negative_slope=0.1), "ReLU"),
        (relu(threshold=0.1), "ReLU"),
        (function("relu"), "relu"),
        (function("relu", "tf_keras.src.activations"), "relu"),
        (function("relu", "mine"), "relu (not of Keras)"),
        (SimpleNamespace(), "SimpleNamespace (not of Keras)"),
    ],
)
def test_names_of_activations(activation, name):
    assert activation_name(activation) == name


@pytest.mark.parametrize(
    ("given", "softmax"),
    [
        (layer("Softmax"), True),
        (layer("Activation", activation="softmax"), True),
        (layer("Activation", activation="relu"), False),
        (layer("Dense", activation="softmax"), False),
        (function("softmax"), True),
        (function("softmax_v2", "tensorflow.python.ops"), True),
        (function("relu"), False),
    ],
)
def test_what_is_a_softmax(given, softmax):
    assert is_softmax(given) is softmax


def test_layers_of_others_have_no_type():
    assert type_name(layer("Dense")) == "Dense"
    assert type_name(SimpleNamespace()) == ""


# -- neurons -------------------------------------------------------------------------------------------


def given(shape=(3,), channels_last=True, neurons=False, **more):
    builder = GraphBuilder("the test", 0.005)
    layout = image_layout(shape, channels_last)
    x = builder.input("x", shape if layout.order is None else layout.shape, layout.order)
    if neurons:
        x = builder.population("first", x, IF)
    return Tensor(x, shape, **more), builder


@pytest.mark.parametrize(
    ("shape", "channels_last", "stored"),
    [
        ((3,), True, (3,)),
        ((2, 3), True, (1, 2, 3)),
        ((2, 4, 3), True, (2, 4, 3)),
        ((2, 4, 3), False, (4, 3, 2)),
    ],
)
def test_rectified_lines_are_neurons(shape, channels_last, stored):
    tensor, builder = given(shape, channels_last, activation="relu")
    made = activated(tensor, layer("Dense"), builder, IF, "p")
    assert (made.activation, made.shape, builder.populations) == (None, shape, ("p",))
    builder.readout("y", made.affine, shape)
    (population,) = builder.graph(0.001).populations
    assert (population.shape, population.gain.tolist(), population.amplitude) == (stored, 1, 1)
    assert (
        activated(replace(tensor, activation=None), layer("Dense"), builder, IF, "q").affine is tensor.affine
    )
    again = activated(tensor, layer("Dense"), builder, IF, "p")
    assert [source.name for source in again.affine.terms] == ["p.1"]


def test_images_of_other_shapes_are_stored_as_images():
    tensor, builder = given((6,), activation="relu")
    image = replace(tensor, shape=(1, 2, 3))
    builder.readout("y", activated(image, layer("Dense"), builder, IF, "p").affine)
    assert builder.graph(0.001).populations[0].shape == (1, 2, 3)


def test_the_chips_own_neurons_have_their_gains():
    lif = NeuronModel("lif", 0.05, 0.001)
    own = SimpleNamespace(chip_neuron=lambda: (lif, 3.0, 0.25))
    tensor, builder = given(activation=own)
    builder.readout("y", activated(tensor, layer("Dense"), builder, IF, "p").affine)
    (population,) = builder.graph(0.001).populations
    assert (population.neuron, population.gain.tolist(), population.amplitude) == (lif, 3, 0.25)


def test_neurons_that_hear_themselves():
    weights = np.arange(9.0).reshape(3, 3)
    tensor, _ = given(activation="relu", coming_back=weights)
    builder = GraphBuilder("the test", 0.005, in_frames=True)
    x = builder.input("x", (3,))
    tensor = replace(tensor, affine=x, time=replace(tensor.time, every=2))
    made = activated(tensor, layer("SimpleRNN"), builder, IF, "p")
    assert made.coming_back is None
    builder.readout("y", made.affine)
    (loop,) = (p for p in builder.graph(0.001).projections if p.pre == p.post)
    assert loop.transform.csr().toarray().tolist() == weights.tolist()
    assert loop.frames_back == 2


@pytest.mark.parametrize(
    ("activation", "host"),
    [
        ("softmax", "softmax"),
        (function("softmax_v2"), "softmax"),
        ("sigmoid", "sigmoid"),
        ("tanh", "tanh"),
    ],
)
def test_what_the_host_does_at_the_end(activation, host):
    tensor, builder = given(activation=activation)
    own = layer("Dense")
    made = activated(tensor, own, builder, IF, "p")
    assert (made.host, made.host_layer, made.activation, builder.populations) == (host, own, None, ())


# -- in front ------------------------------------------------------------------------------------------


def presented(made, builder, x):
    """Values of the input that the host computes, in the tensor's shape."""
    builder.readout("y", builder.population("end", made.affine, IF))
    graph = builder.graph(0.001)
    (node,) = graph.inputs
    values = samples_for(graph, x[None]).arrays[node.name][0, 0]
    return (values if made.affine.order is None else values[made.affine.order]).reshape(made.shape)


@pytest.mark.parametrize("activation", [Saturating(0.75), "relu6"])
def test_rectified_lines_that_are_held(activation):
    high = 6.0 if activation == "relu6" else 0.75
    tensor, builder = given((2, 4, 3), activation=activation)
    x = RNG.normal(0, 5, (2, 4, 3))
    made = activated(elementwise(tensor, 2.0, 0.5), layer("ReLU"), builder, IF, "held")
    np.testing.assert_allclose(presented(made, builder, x), np.clip(2 * x + 0.5, 0, high))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_the_largest_of_windows_that_reach_beyond_the_edge(channels_last, turned):
    """Of values below 0, so that what lies beyond the edge is seen if it counts."""
    tensor, builder = given((3, 4, 3), channels_last)
    x = -RNG.uniform(1, 2, (3, 4, 3))
    values = x
    if turned:
        tensor, values = moved(tensor, tensor.indices().transpose(2, 1, 0)), x.transpose(2, 1, 0)
    form = "channels_last" if channels_last else "channels_first"
    pooled = largest(tensor, channels_last, (2, 3), (2, 2), "same")
    made = activated(
        pooled,
        layer("MaxPooling2D", data_format=form),
        builder,
        IF,
        "p",
    )
    wanted = windows_of(values, (2, 3), (2, 2), "same", np.max, channels_last)
    assert made.windows is None
    assert made.shape == wanted.shape
    np.testing.assert_allclose(presented(made, builder, x), wanted)


# -- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "what", "value"),
    [
        ({"activation": "elu"}, "the activation has no spiking counterpart", "elu"),
        ({"activation": "relu", "over_time": "mean"}, "neurons behind an average over time", None),
        (
            {"activation": Saturating(6.0), "over_time": "last"},
            *("a rectifier that saturates, behind other neurons", "max_value=6"),
        ),
        (
            {"windows": np.zeros((1, 3), int), "over_time": "last"},
            *("a maximum over neurons cannot be computed by synapses", "Dense"),
        ),
    ],
)
def test_activations_that_are_refused(tensor, what, value):
    with pytest.raises(UnsupportedLayerError) as caught:
        activated(given(**tensor)[0], layer("Dense"), given()[1], IF, "p")
    assert (caught.value.what, caught.value.value) == (what, value)


def test_what_the_host_cannot_do_behind_neurons():
    for more in (
        {"activation": Saturating(2.5)},
        {"activation": "relu6"},
        {"windows": np.zeros((1, 3), int)},
    ):
        tensor, builder = given(neurons=True, **more)
        with pytest.raises(UnsupportedLayerError) as caught:
            activated(tensor, layer("MaxPooling1D"), builder, IF, "p")
        assert caught.value.remedy.endswith(SWAP)


def test_remedies_are_those_of_layers_or_of_functions():
    assert maximum_refused(layer("MaxPooling2D")).remedy == SWAP
    operation = type("TFOpLambda", (SimpleNamespace,), {"__module__": "tf_keras.layers"})(
        symbol="nn.max_pool"
    )
    assert (
        maximum_refused(operation).remedy
        == "use AveragePooling2D or ReLU layers in its place, and train it on"
    )


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *((f"ConvLSTM{n}D", "gated and recurrent layers have no spiking counterpart") for n in (1, 2, 3)),
        ("LSTM", "gated and recurrent layers have no spiking counterpart"),
        ("SimpleRNN", "a memory behind the last step of a sequence, which has no steps"),
        ("Multiply", "products of activities cannot be computed by synapses"),
        ("Minimum", "a maximum or minimum of activities cannot be computed by synapses"),
        ("GroupNormalization", "the normalization depends on the sample"),
        ("PReLU", "the activation has no spiking counterpart"),
        ("Embedding", "the layer has no counterpart on the chip"),
    ],
)
def test_layers_that_are_refused(kind, what):
    found = refusal(layer(kind))
    assert (found.what, found.value) == (what, kind)
    assert found.remedy


def test_layers_that_are_not_keras_own():
    found = refusal(SimpleNamespace())
    assert (found.what, found.value) == ("a layer that is not Keras' own", "SimpleNamespace")
