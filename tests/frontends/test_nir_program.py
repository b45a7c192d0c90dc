"""Graphs of the chip's integers, written by hand: what is read of them, and what makes them a network of floats."""

from itertools import pairwise

import numpy as np
import pytest

from loihi_deploy.frontends.nir_file import NirNetwork, network_of
from loihi_deploy.frontends.nir_program import program_of
from loihi_deploy.ir import Conv2D, Link
from loihi_deploy.ir.program import Compartments
from tests.frontends.test_nir_nodes import dictionary

DT = 0.001
CURRENT, VOLTAGE = 1024, 512  # of 4096 that are lost in a step
BIAS = np.array([-5.0, 0, 64, 7])
FOR_EACH = np.arange(12.0).reshape(2, 2, 3)
WEIGHTS = np.array([[64.0, 0, -128, 640], [0, 64, 64, -64], [8128, 0, 0, -8128], [0, 0, 0, 64]])


def neurons(current=CURRENT, voltage=VOLTAGE, threshold=640.0, bias=BIAS, dt=DT, kind="CubaLIF", **more):
    tau = 4096 * dt / voltage
    made = {"r": tau / dt, "v_leak": bias * tau / dt, "v_threshold": threshold}
    if kind == "LIF":
        return kind, {"tau": tau, **made, **more}
    tau_syn = 4096 * dt / current
    return kind, {"tau_syn": tau_syn, "tau_mem": tau, **made, "w_in": tau_syn / dt, **more}


def graph(first=None, second=None, weights=WEIGHTS, back=2 * WEIGHTS, edges=(), **more):
    """Two layers of neurons behind an input, the second one with weights that come back."""
    nodes = {
        "in": ("Input", {"shape": np.array([4])}),
        "w": ("Linear", {"weight": weights}),
        "first": first or neurons(),
        "v": ("Linear", {"weight": WEIGHTS.T}),
        "second": second or neurons(),
        "back": ("Linear", {"weight": back}),
        "out": ("Output", {}),
        **more,
    }
    pairs = [("in", "w"), ("w", "first"), ("first", "v"), ("v", "second"), ("second", "back")]
    pairs += [("back", "second"), ("second", "out"), *edges]
    return network_of(dictionary(nodes, pairs))


def of_images(bias=FOR_EACH):
    """Two channels of 2 by 3, and a kernel of a pixel."""
    kernel = np.array([64.0, -64, 128, 0]).reshape(2, 2, 1, 1)
    conv = {"weight": kernel, "bias": np.zeros(2), "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    first = neurons(bias=bias, metadata={"initial_voltage": bias + 100})
    nodes = {"in": ("Input", {"shape": np.array([2, 2, 3])}), "c": ("Conv2d", conv), "first": first}
    nodes |= {"out": ("Output", {})}
    return network_of(dictionary(nodes, [("in", "c"), ("c", "first"), ("first", "out")]))


def test_the_integers_of_neurons_and_synapses():
    program = program_of(graph())
    chip = Compartments("first", (4,), CURRENT - 1, VOLTAGE, 640, BIAS.astype(np.int32))
    assert program.populations[0] == chip
    assert program.populations[1].name == "second"
    assert [s.name for s in program.synapses] == ["in->first", "first->second", "second->second"]
    for synapses, wanted in zip(program.synapses, (WEIGHTS, WEIGHTS.T, 2 * WEIGHTS), strict=True):
        assert synapses.transform.values.dtype == np.int8
        found = synapses.transform.csr().toarray().astype(int) << synapses.shift
        assert found.tolist() == wanted.tolist()
    assert [s.shift for s in program.synapses] == [6, 6, 7]
    assert (program.dt, program.bias_inputs) == (DT, ())
    assert program.links == (Link("in", "to_chip", 1), Link("second", "from_chip", 0))
    assert program.notes == (
        "the graph holds the chip's integers, taken as they are; voltages stay above 0 unless it says otherwise",
    )


def test_the_hosts_parts():
    program = program_of(graph())
    (given,) = program.encoder.inputs
    assert (given.name, given.shape, given.signed) == ("in spikes", (4,), False)
    (spikes,) = program.encoder.populations
    assert (spikes.name, spikes.gain.tolist(), spikes.bias.tolist()) == ("in", 1000, [0] * 4)
    assert [(p.pre, p.post) for p in program.encoder.projections] == [("in spikes", "in")]
    assert program.encoder.readouts == ()
    assert [source.name for source in program.sources] == ["in"]
    assert [node.name for node in program.readout.inputs] == ["second"]
    (decoder,) = program.readout.projections
    assert (decoder.pre, decoder.post, decoder.delays) == ("second", "out", None)
    np.testing.assert_allclose(decoder.transform.csr().toarray(), DT * np.eye(4))
    assert program.readout.readouts[0].name == "out"


def test_values_that_drive_neurons_are_their_biases():
    program = program_of(graph(first=neurons(kind="LIF"), weights=WEIGHTS / 100))
    assert program.sources == ()
    assert program.links == (Link("second", "from_chip", 0),)
    (bias,) = program.bias_inputs
    assert (bias.population, bias.scale, bias.mantissa_max, bias.exponent_max) == ("first", 1.0, 4095, 7)
    assert [s.name for s in program.synapses] == ["first->second", "second->second"]
    (given,) = program.encoder.inputs
    assert (given.name, program.encoder.populations) == ("in", ())
    (projection,) = program.encoder.projections
    np.testing.assert_allclose(projection.transform.csr().toarray(), WEIGHTS / 100)
    assert projection.tau == 0
    assert [r.name for r in program.encoder.readouts] == ["first"]


def test_what_the_metadata_say():
    said = {"refractory": 5, "v_min": -1023, "v_max": 2047, "initial_voltage": np.array([1.0, 2, 3, 4])}
    found = program_of(graph(first=neurons(metadata=said))).populations[0]
    assert (found.refractory, found.v_min, found.v_max) == (5, -1023, 2047)
    assert found.initial_voltage.tolist() == [1, 2, 3, 4]
    usual = program_of(graph()).populations[0]
    assert (usual.refractory, usual.v_min, usual.v_max, usual.initial_voltage) == (1, 0, 8388607, None)


def test_values_of_images_stand_where_their_neurons_do():
    program = program_of(of_images())
    (population,) = program.populations
    assert population.shape == (2, 3, 2)
    assert population.bias.tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert population.initial_voltage.tolist() == [100 + n for n in population.bias.tolist()]
    (synapses,) = program.synapses
    assert isinstance(synapses.transform, Conv2D)
    assert np.asarray(synapses.transform.kernel)[0, 0].tolist() == [[1, 2], [-1, 0]]


def test_one_value_stands_for_all_neurons_of_an_image():
    (population,) = program_of(of_images(np.array(64.0))).populations
    assert (population.bias.tolist(), population.initial_voltage.tolist()) == ([64] * 12, [164] * 12)


ROUNDED = neurons(bias=BIAS + 9e-4, threshold=640.0009)
SINGLE = {"w_in": 4.0 * (1 + 5e-7)}


@pytest.mark.parametrize(
    "changed",
    [
        {"first": ROUNDED},
        {"first": neurons(**SINGLE)},
        {"first": neurons(current=4096), "second": neurons(current=1)},
        {"first": neurons(voltage=4095)},
        {"first": neurons(dt=DT * (1 + 5e-7))},
        {"first": neurons(dt=1.0), "second": neurons(dt=1.0)},
        {"first": neurons(dt=1.001e-5), "second": neurons(dt=1.001e-5)},
        {"weights": np.full((4, 4), 127 * 64.0)},
        {"weights": np.full((4, 4), -127 * 128.0)},
        {"first": neurons(v_reset=np.zeros(4))},
        {"first": neurons(threshold=np.full(4, 640.0))},
    ],
)
def test_graphs_of_integers(changed):
    assert program_of(graph(**changed)) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"first": neurons(bias=BIAS + 1.1e-3)},
        {"first": neurons(threshold=640.0011)},
        {"first": neurons(threshold=np.array([640.0, 640, 640, 641]))},
        {"first": neurons(current=1024.5)},
        {"first": neurons(voltage=512.5)},
        {"first": neurons(w_in=4.0 * (1 + 2e-6))},
        {"first": neurons(w_in=4.0 * (1 - 2e-6))},
        {"first": neurons(dt=DT * (1 + 3e-6))},
        {"first": neurons(dt=1.001), "second": neurons(dt=1.001)},
        {"first": neurons(dt=0.999e-5), "second": neurons(dt=0.999e-5)},
        {"first": neurons(r=0.0)},
        {"first": neurons(v_reset=np.array([0, 0, 0, -1.0]))},
        {"weights": WEIGHTS + 0.5},
        {"weights": WEIGHTS + 32},
        {"weights": np.full((4, 4), 129 * 64.0)},
        {"weights": np.full((4, 4), 128 * 128.0)},
        {"weights": np.full((4, 4), 2.0**31)},
        {"first": ("IF", {"r": np.ones(4), "v_threshold": 640.0})},
        {"first": ("Threshold", {"threshold": np.full(4, 640.0)})},
        {"second": neurons(kind="LIF")},  # spikes drive it
        {"edges": [("in", "out")]},
        {"first": neurons(kind="LIF"), "edges": [("w", "second")]},  # values and spikes of one input
        {"delay": ("Delay", {"delay": 0.1}), "edges": [("first", "delay"), ("delay", "back")]},
    ],
)
def test_graphs_that_are_none_of_integers(changed):
    assert program_of(graph(**changed)) is None


@pytest.mark.parametrize("dt", [DT, 2 * DT])
def test_all_neurons_tell_one_step(dt):
    """Whose step is another one may hold whole numbers of the first one's, too."""
    network = graph(first=neurons(kind="LIF", dt=dt, bias=2 * BIAS), weights=WEIGHTS / 100)
    turned = NirNetwork(dict(reversed(network.nodes.items())), network.edges)
    assert (program_of(turned) is not None) is (dt == DT)


def test_delays_between_neurons_and_in_front_of_the_host():
    late = ("Delay", {"delay": np.array([0.0, 2, 3, 3]) * DT})
    nodes = {
        "in": ("Input", {"shape": np.array([4])}),
        "w": ("Linear", {"weight": WEIGHTS}),
        "first": neurons(),
        "late": late,
        "v": ("Linear", {"weight": WEIGHTS}),
        "second": neurons(),
        "later": ("Delay", {"delay": np.array([1.0, 0, 0, 1]) * DT}),
        "out": ("Output", {}),
    }
    names = list(nodes)
    program = program_of(network_of(dictionary(nodes, list(pairwise(names)))))
    assert program.synapses[1].delays.tolist() == [0, 2, 3, 3]
    assert program.synapses[0].delays is None
    decoders = {
        0 if p.delays is None else int(p.delays): p.transform.csr().toarray()
        for p in program.readout.projections
    }
    np.testing.assert_allclose(decoders[0], DT * np.diag([0, 1, 1, 0]))
    np.testing.assert_allclose(decoders[1], DT * np.diag([1, 0, 0, 1]))
