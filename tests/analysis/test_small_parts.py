"""What deploying and verifying are made of, each part by itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.calibrate import mean_rates
from loihi_deploy.analysis.dequantize import _population, rate_graph
from loihi_deploy.analysis.frames import has_memory
from loihi_deploy.analysis.host_link import slices_of_rows
from loihi_deploy.analysis.verify import layer_agreements
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.ir import NeuronModel, samples_for
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import DeployOptions
from tests.mapping.networks import chain
from tests.sequences import frames, network

X = frames(12, 1)


def small(encoder="auto"):
    """The network of the sequences, its inputs known, cut and quantized."""
    parts = ld.partition(ld.normalize(network(), X, encoder=encoder), encoder)
    return parts, ld.quantize(parts)


@pytest.mark.parametrize("encoder", ["on_off", "bias"])
def test_the_rate_network_of_integers_has_every_projection_once_and_computes_the_same(encoder):
    parts, program = small(encoder)
    graph = rate_graph(program, parts)
    names = [(p.pre, p.post) for p in graph.projections]
    assert len(set(names)) == len(names)
    values = samples_for(graph, X).first_frames()
    found, exact = rate_outputs(graph, values)["classes"], rate_outputs(network(), values)["classes"]
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("over_frames", "tau", "synapse", "memory"),
    [
        ("", 0.05, 0.05, True),  # of the network itself
        ("mean", 0.05, 0.05, False),  # given to it
        ("mean", 0.05, 0.003, True),
        ("mean", 0.003, 0.05, False),
    ],
)
def test_synapses_that_deploying_gave_are_no_memory(over_frames, tau, synapse, memory):
    source = network(over_frames)
    source = replace(
        source, projections=tuple(replace(p, tau=tau if p.tau else 0.0) for p in source.projections)
    )
    assert has_memory(source, DeployOptions(synapse=synapse)) == memory
    assert has_memory(network(over_frames, recurrent=True), DeployOptions())


def test_each_neuron_has_a_rate_of_its_own_the_mean_over_samples():
    _, program = small()
    found = mean_rates(program, X)
    assert {name: rates.shape for name, rates in found.items()} == {
        p.name: (p.size,) for p in program.all_nodes
    }
    assert len(np.unique(found["second"])) > 5


def test_only_images_on_several_cores_are_cut_into_rows():
    program = chain((16, 12, 4), [("conv", 3, 1, 8, 1), ("dense", 10)])
    mapping = map_to_cores(program, "nahuku32", fix={"conv1": (5, 12, 2)})
    (n_slices,) = {p.n_slices for p in mapping.populations if p.name == "conv1"}
    assert n_slices == 16
    assert slices_of_rows(program, mapping) == {"conv1": (1, 12, 8)}
    flat = chain((40,), [("dense", 2000), ("dense", 10)])
    several = map_to_cores(flat, "nahuku32")
    assert several.populations[0].n_slices > 1
    assert slices_of_rows(flat, several) == {}
    one = chain((6, 6, 2), [("conv", 3, 1, 4, 1), ("dense", 10)])
    assert slices_of_rows(one, map_to_cores(one, "nahuku32")) == {}


def test_a_layer_that_should_be_silent_and_is_has_no_silent_neurons():
    (found,) = layer_agreements({"a": np.zeros((2, 3))}, {"a": np.zeros((2, 3))}, 0.001)
    assert (found.silent, found.saturated) == (0, 0)


def test_a_report_names_the_accumulators_that_wrapped_and_no_others():
    report = ld.deploy(network(), calibration=X).verify(X[:4], steps=20)
    text = str(replace(report, overflows={"first": 0, "second": 5}))
    assert "second: 5 accumulators wrapped around" in text
    assert "first: " not in text


@pytest.mark.parametrize(("offset", "bias"), [(None, [4.0, -2.0]), (3.0, [1.0, -5.0])])
def test_biases_in_floats_are_measured_from_where_a_neuron_begins_to_fire(offset, bias):
    """Twice 8 and -4 of a quarter each, and of what lies above 3 where that is where it begins."""
    neuron = replace(NeuronModel("lif", 0.02, 0.002), relu_offset=offset)
    compartments = SimpleNamespace(name="a", shape=(2,), bias=np.array([8, -4]))
    found = _population(compartments, SimpleNamespace(neuron=neuron), SimpleNamespace(bias_scale=4.0), 2.0)
    assert (found.bias.tolist(), found.neuron, found.amplitude) == (bias, neuron, 1.0)
