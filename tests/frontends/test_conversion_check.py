"""A check that cannot fail is none: every population's weights and biases are disturbed in turn."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, convert
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
