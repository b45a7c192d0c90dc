"""A check that cannot fail is none: every population's weights and biases are disturbed in turn."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, conversion_check, convert
from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.tensors import Time
from loihi_deploy.ir import Dense, NeuronModel
from loihi_deploy.stages.normalize import with_leaky_neurons
from tests.frontends import keras_models
from tests.frontends.keras_models import MODELS
from tests.frontends.test_nengo_network import network_of, two_layers


def disturbed(graph, name):
    """The same graph with the weights of one layer one per cent larger."""

    def changed(projection):
        if projection.post != name:
            return projection
        transform = projection.transform
        return replace(projection, transform=transform.with_values(transform.values * 1.01))

    return replace(graph, projections=tuple(map(changed, graph.projections)))


def inputs(graph, model):
    return dict(zip((node.name for node in graph.inputs), keras_models.samples(model), strict=True))


@pytest.mark.parametrize("name", ["strided", "inception", "shared_and_nested", "two_inputs_two_outputs"])
def test_the_first_layer_that_differs_is_named(name):
    model = MODELS[name]()
    graph = convert(model)
    x = inputs(graph, model)
    assert check_conversion(model, graph, x)
    for node in (*graph.populations, *graph.readouts):
        with pytest.raises(ConversionError, match="activities differ") as caught:
            check_conversion(model, disturbed(graph, node.name), x)
        assert caught.value.problems[0].where == f"layer {node.name!r}"


def test_firing_rates_may_be_scaled_and_neurons_leaky():
    model = MODELS["strided"]()
    graph = convert(model)
    scaled = replace(graph, populations=tuple(population.rescaled(50) for population in graph.populations))
    assert check_conversion(model, with_leaky_neurons(scaled), inputs(graph, model))


def test_softmax_is_compared_too():
    model = keras_models.chain(
        keras_models.relu_conv(4, 1),
        keras_models.layer("Flatten"),
        keras_models.dense(3, activation="softmax"),
    )()
    graph = convert(model)
    assert check_conversion(model, graph, inputs(graph, model))
    with pytest.raises(ConversionError):
        check_conversion(model, disturbed(graph, graph.readouts[0].name), inputs(graph, model))


def test_nengo_networks_are_run_by_nengo():
    network = network_of(two_layers)
    graph = convert(network)
    x = np.random.default_rng(0).random((4, 6))
    assert check_conversion(network, graph, x)
    for population in graph.populations:
        with pytest.raises(ConversionError, match=population.name):
            check_conversion(network, disturbed(graph, population.name), x)


def test_a_graph_has_nothing_to_be_compared_with():
    graph = convert(network_of(two_layers))
    assert check_conversion(graph, graph, np.zeros((1, 6))) is False


# -- parts of the comparison by themselves --------------------------------------------------------------


def one_layer(amplitude=0.5, activation="linear"):
    made = GraphBuilder("the test", 0.0)
    p = made.population("p", made.input("x", (3,)), NeuronModel("if"), amplitude=amplitude)
    made.readout("y", p, activation=activation)
    return made.graph(0.001)


FOUND = {"p": np.array([[2.0, -8.0, 4.0]]), "y": np.array([[0.5, 1.0, -2.0]])}


@pytest.mark.parametrize(
    ("name", "wanted", "off", "fine"),
    [
        ("p", [[1.0, -4.0, 2.0]], 0.0, True),
        ("p", [[1.0, -4.0, 2.0]], 4e-4, True),  # a part of the largest, which is 4
        ("p", [[1.0, -4.0, 2.0]], 4.1e-4, False),
        ("p", [[1.0, -4.0, 2.0]], -4.1e-4, False),
        ("p", [[1.0, -4.0, 2.0]], np.nan, False),
        ("y", np.tanh([[0.5, 1.0, -2.0]]), 0.0, True),
        ("y", np.tanh([[0.5, 1.0, -2.0]]), 1.1e-4, False),
        ("y", [[0.5, 1.0, -2.0]], 0.0, False),
    ],
)
def test_differences_are_parts_of_the_largest_value(name, wanted, off, fine):
    graph = one_layer(activation="tanh")
    wanted = np.array(wanted) + np.array([off, 0, 0])
    if fine:
        conversion_check._compare(graph, FOUND, iter([(name, wanted)]), 1e-4)
        return
    with pytest.raises(ConversionError) as caught:
        conversion_check._compare(graph, FOUND, iter([(name, wanted)]), 1e-4)
    (problem,) = caught.value.problems
    assert (problem.what, problem.where) == ("activities differ", f"layer {name!r}")
    if name == "p" and off == 4.1e-4:
        assert problem.value == "0.00041, with values up to 4"
        assert problem.limit == "0.000401"


def test_differences_around_nothing_are_roundings():
    graph, found = one_layer(), {"p": np.full((1, 3), 2e-6)}
    conversion_check._compare(graph, found, iter([("p", np.zeros((1, 3)))]), 1e-4)
    with pytest.raises(ConversionError):
        conversion_check._compare(
            graph, {"p": np.full((1, 3), 2.1e-6)}, iter([("p", np.zeros((1, 3)))]), 1e-4
        )


def test_coarse_types_have_room_for_their_roundings():
    k = keras_models.layers()
    made = {
        name: keras_models.keras().Sequential([k.Input((3,)), k.Dense(2, dtype=name), k.Dense(2)])
        for name in ("float32", "float64", "float16", "bfloat16")
    }
    found = {name: conversion_check._tolerance(model) for name, model in made.items()}
    assert found == {"float32": 1e-4, "float64": 1e-4, "float16": 10 / 1024, "bfloat16": 10 / 128}


def filter_of(kind, tau=0.1, dt=0.02):
    cell = SimpleNamespace(tau=np.full((1, 2), tau), dt=dt)
    return SimpleNamespace(layer=SimpleNamespace(cell=cell)), conversion_check.FILTERS[kind]


def test_filters_are_those_of_their_differential_equations():
    x = np.random.default_rng(0).normal(size=(2, 6, 2))
    layer, lowpass = filter_of("Lowpass")
    layer, alpha = filter_of("Alpha")
    y = np.zeros((2, 2))
    level, speed = np.zeros((2, 2)), np.zeros((2, 2))
    n = 4000
    for step in range(6):
        now = x[:, step]
        for _ in range(n):
            y = y + 0.02 / n * (now - y) / 0.1
            speed, level = (
                speed + 0.02 / n * (now - level - 0.2 * speed) / 0.01,
                level + 0.02 / n * speed,
            )
        np.testing.assert_allclose(lowpass(layer, x)[:, step], y, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(alpha(layer, x)[:, step], level, rtol=1e-3, atol=1e-4)


def test_what_is_read_of_frames():
    """Populations at the frames that the source has them at, readouts as they read frames."""
    made = GraphBuilder("the test", 0.0, in_frames=True)
    p = made.population("p", made.input("x", (2,)), NeuronModel("if"))
    for name in ("every", "last", "other"):
        made.population(name, p, NeuronModel("if"))
    made.readout("each", p, over_frames="each", first_frame=2)
    made.readout("mean", p, over_frames="mean", first_frame=2)
    made.readout("end", p, over_frames="last", first_frame=2)
    graph = made.graph(0.001)
    frames = np.arange(20.0).reshape(1, 10, 2)
    times = {"p": Time(10), "every": Time(10, 3, 1), "last": Time(10, 3, 1)}
    walk = SimpleNamespace(read_last={"last"}, times=times)
    found = conversion_check._as_read(graph, {node.name: frames for node in graph.all_nodes[1:]}, walk)
    assert found["p"].tolist() == frames[0].tolist()
    assert found["every"].tolist() == frames[0, [1, 4, 7]].tolist()
    assert found["last"].tolist() == frames[:, -1].tolist()
    assert found["other"].tolist() == frames[0].tolist()
    assert found["each"].tolist() == frames[0, 2:].tolist()
    assert found["mean"].tolist() == [frames[0, 2:].mean(0).tolist()]
    assert found["end"].tolist() == frames[:, -1].tolist()


def test_four_samples_are_compared_unless_others_are_asked_for():
    """Of nothing, other weights make nothing, too; the fifth sample shows them."""
    model = keras_models.chain(
        keras_models.dense(5, activation="relu", use_bias=False), keras_models.dense(3), shape=(4,)
    )()
    graph = convert(model)
    x = np.zeros((6, 4), np.float32)
    x[4:] = 1
    wrong = disturbed(graph, graph.populations[0].name)
    assert check_conversion(model, wrong, x)
    with pytest.raises(ConversionError):
        check_conversion(model, wrong, x, 5)


def test_recurrent_networks_are_compared_with_nothing():
    graph = convert(network_of(two_layers))
    loop = replace(graph.projections[-1], pre=graph.populations[-1].name, post=graph.populations[0].name)
    loop = replace(loop, transform=Dense(np.zeros((graph.populations[0].size, graph.populations[-1].size))))
    recurrent = replace(graph, projections=(*graph.projections, loop))
    assert check_conversion(network_of(two_layers), recurrent, np.zeros((1, 6))) is False
    assert check_conversion("no source", graph, np.zeros((1, 6))) is False
