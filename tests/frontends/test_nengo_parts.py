"""Parts of Nengo networks one by one: what each becomes, what is said of it, and what is refused, place by place."""

import nengo
import numpy as np
import pytest

from loihi_deploy.frontends import convert, sets_firing_rates
from loihi_deploy.frontends.decoding import as_stepped, decoded_by_solver, uses_values
from loihi_deploy.frontends.nengo_network import describe
from loihi_deploy.frontends.parameters import Parameters
from loihi_deploy.ir import NeuronModel
from tests.frontends.test_nengo_network import network_of, neurons, problems_of

SPIKING = "Use nengo.SpikingRectifiedLinear or nengo.LIF, or their nengo_loihi counterparts"


def behind(neuron, **options):
    def build(source):
        target = neurons(6, "target", neuron_type=neuron, **options)
        nengo.Connection(source, target, synapse=None)
        return target

    return build


@pytest.mark.parametrize(
    ("neuron", "model", "amplitude"),
    [
        (nengo.SpikingRectifiedLinear(), NeuronModel("if"), 1),
        (nengo.LIF(0.05, 0.003, amplitude=0.25), NeuronModel("lif", 0.05, 0.003), 0.25),
        (nengo.RegularSpiking(nengo.LIFRate(0.05, 0.003)), NeuronModel("lif", 0.05, 0.003), 1),
        (
            nengo.RegularSpiking(nengo.LIFRate(amplitude=0.5), amplitude=0.5),
            NeuronModel("lif", 0.02, 0.002),
            0.25,
        ),
    ],
)
def test_neurons(neuron, model, amplitude):
    (population,) = convert(network_of(behind(neuron))).populations
    assert (population.neuron, population.amplitude) == (model, amplitude)


def test_neurons_of_nengo_loihi():
    loihi = pytest.importorskip("nengo_loihi")
    for neuron, model in (
        (loihi.LoihiLIF(0.05, 0.003), NeuronModel("lif", 0.05, 0.003, discretized=True)),
        (loihi.LoihiSpikingRectifiedLinear(), NeuronModel("if", discretized=True)),
    ):
        assert convert(network_of(behind(neuron))).populations[0].neuron == model


@pytest.mark.parametrize(
    ("neuron", "what", "value", "remedy"),
    [
        (
            nengo.RectifiedLinear(amplitude=0.5),
            *("rate neurons do not spike", "RectifiedLinear"),
            "Set ens.neuron_type = nengo.SpikingRectifiedLinear(amplitude=0.5), which spikes at these rates",
        ),
        (
            nengo.LIFRate(0.05, 0.003),
            *("rate neurons do not spike", "LIFRate"),
            "Set ens.neuron_type = nengo.LIF(tau_rc=0.05, tau_ref=0.003, amplitude=1), which spikes at these rates",
        ),
        (
            nengo.PoissonSpiking(nengo.LIFRate(0.05, 0.003)),
            *("the neuron type has no counterpart on the chip", "PoissonSpiking"),
            "Set ens.neuron_type = nengo.LIF(tau_rc=0.05, tau_ref=0.003, amplitude=1), which spikes at these rates",
        ),
        (nengo.Izhikevich(), "the neuron type has no counterpart on the chip", "Izhikevich", SPIKING),
        (
            nengo.RegularSpiking(nengo.Sigmoid()),
            *("the neuron type has no counterpart on the chip", "Sigmoid", SPIKING),
        ),
        (nengo.LIF(min_voltage=-1), "a minimum voltage below 0", -1, "Set min_voltage=0"),
    ],
)
def test_neurons_that_are_refused(neuron, what, value, remedy):
    (problem,) = problems_of(network_of(behind(neuron)))
    assert (problem.what, problem.where, problem.value, problem.remedy) == (
        what,
        "ensemble 'target'",
        value,
        remedy,
    )


def test_what_is_wrong_in_front_of_refused_neurons_is_told_too():
    def build(source):
        first = neurons(6, "first", noise=nengo.processes.WhiteNoise())
        nengo.Connection(source, first)
        second = neurons(6, "second", neuron_type=nengo.RectifiedLinear())
        nengo.Connection(first, second, synapse=nengo.Alpha(0.01))
        return second

    found = {(p.where, p.what) for p in problems_of(network_of(build))}
    assert found == {
        ("ensemble 'second'", "rate neurons do not spike"),
        ("ensemble 'first'", "injected noise is not converted"),
        ("connection from ensemble 'first' to ensemble 'second'", "only lowpass synapses exist on the chip"),
    }


def test_constants_are_what_they_are_behind_synapses():
    def build(source, synapse):
        target = neurons(6, "target")
        relay = nengo.Node(size_in=6)
        nengo.Connection(source, relay, synapse=None)
        nengo.Connection(nengo.Node(np.arange(6.0)), relay, synapse=None)
        nengo.Connection(relay, target, synapse=synapse)
        return target

    note = "1 constant values were taken as they are behind their synapses"
    for synapse, notes in ((None, ()), (0.01, (note,))):
        graph = convert(network_of(lambda source, synapse=synapse: build(source, synapse)))
        assert graph.notes == notes
        assert graph.populations[0].bias.tolist() == list(range(6))
        assert graph.projections[0].tau == (synapse or 0)


def test_two_synapses_in_a_row():
    def build(source):
        first, second = neurons(6, "first"), neurons(6, "second")
        relay = nengo.Node(size_in=6, label="relay")
        nengo.Connection(source, first)
        nengo.Connection(first, relay, synapse=0.01)
        nengo.Connection(relay, second, synapse=0.02)
        return second

    (problem,) = problems_of(network_of(build))
    assert (problem.where, problem.what, problem.value) == (
        "connection from node 'relay' to ensemble 'second'",
        "two synapses in a row",
        0.02,
    )


def test_nodes():
    def circle(source):
        a, b, target = nengo.Node(size_in=6, label="a"), nengo.Node(size_in=6, label="b"), neurons(6)
        nengo.Connection(source, a, synapse=None)
        nengo.Connection(a, b, synapse=None)
        nengo.Connection(b, a, synapse=None)
        nengo.Connection(b, target, synapse=None)
        return target

    (problem,) = problems_of(network_of(circle))
    assert (problem.where, problem.what) in (
        ("node 'a'", "nodes feed each other in a circle"),
        ("node 'b'", "nodes feed each other in a circle"),
    )

    def function(source):
        node = nengo.Node(lambda t, x: x, size_in=6, label="same")
        nengo.Connection(source, node)
        target = neurons(6)
        nengo.Connection(node, target)
        return target

    (problem,) = problems_of(network_of(function))
    assert (problem.where, problem.what) == (
        "node 'same'",
        "a function of other values is computed outside the chip",
    )


@pytest.mark.parametrize("attribute", ["voltage", "refractory_time", "input"])
def test_probes_of_what_is_no_output(attribute):
    with nengo.Network(seed=1) as network:
        source = nengo.Node(np.zeros(6))
        target = neurons(6, "target", neuron_type=nengo.LIF())
        nengo.Connection(source, target)
        nengo.Probe(target, attribute)
    (problem, *_) = problems_of(network)
    assert (problem.where, problem.what, problem.value) == (
        "probe of ensemble 'target'",
        "only spikes, and what they say, can be read out",
        attribute,
    )


def test_probes():
    """Of connections there is nothing to read; of neurons their spikes, or all that they say, through a synapse."""
    with nengo.Network(seed=1) as network:
        source = nengo.Node(np.zeros(6))
        target = neurons(6, "target")
        connection = nengo.Connection(source, target, synapse=None)
        nengo.Probe(target)
        nengo.Probe(target[2:4], synapse=0.05)
        nengo.Probe(target, synapse=nengo.Alpha(0.01), label="alpha")
        nengo.Probe(connection, "weights")
    found = {(p.where, p.what, p.value) for p in problems_of(network)}
    assert {what for _, what, _ in found} == {
        "only neurons and values can be read out",
        "only lowpass synapses exist on the chip",
    }
    del network.probes[2:]
    graph = convert(network)
    assert [(r.name, r.shape) for r in graph.readouts] == [
        ("target.readout", (6,)),
        ("target.readout.1", (2,)),
    ]
    assert [p.tau for p in graph.projections if p.pre == "target"] == [0, 0.05]
    assert graph.projections[-1].transform.csr().toarray().tolist() == np.eye(6)[2:4].tolist()


def test_names_of_objects():
    with nengo.Network() as network:
        nodes = nengo.Node(size_in=1, label="n"), nengo.Node(size_in=1)
        ensemble = nengo.Ensemble(3, 1, label="e")
    assert describe(nodes[0]) == "node 'n'"
    assert describe(nodes[1]) == str(nodes[1])
    assert describe(ensemble) == describe(ensemble.neurons) == "ensemble 'e'"
    assert network.label is None


def test_names_that_nobody_gave():
    with nengo.Network(seed=1) as network:
        source = nengo.Node(np.zeros(6))
        target = neurons(6)
        out = nengo.Node(size_in=6)
        nengo.Connection(source, target)
        nengo.Connection(target, out)
        nengo.Probe(out)
    graph = convert(network)
    assert [node.name for node in graph.all_nodes] == ["input", "ensemble", "output"]


# -- values --------------------------------------------------------------------------------------------


def test_whether_values_are_encoded_or_decoded():
    with nengo.Network() as plain:
        source, target = nengo.Node(np.zeros(6)), neurons(6)
        nengo.Connection(source, target)
        nengo.Probe(target)
    assert not uses_values(plain)
    assert not sets_firing_rates(plain)
    with nengo.Network() as into:
        ensemble = nengo.Ensemble(6, 1)
        nengo.Connection(nengo.Node([0.0]), ensemble)
    with nengo.Network() as out:
        nengo.Connection(nengo.Ensemble(6, 1), nengo.Node(size_in=1))
    with nengo.Network() as probed:
        nengo.Probe(nengo.Ensemble(6, 1))
    for network in (into, out, probed):
        assert uses_values(network)
        assert sets_firing_rates(network)


def test_decoders_that_are_still_to_be_solved():
    with nengo.Network() as network:
        a, b, c, d = (nengo.Ensemble(6, 1) for _ in range(4))
        nengo.Connection(a, nengo.Node(size_in=1))
        nengo.Connection(b, nengo.Node(size_in=1), solver=nengo.solvers.NoSolver())
        nengo.Probe(c)
        nengo.Probe(d, solver=nengo.solvers.NoSolver())
        nengo.Connection(d.neurons, nengo.Node(size_in=6))
    assert decoded_by_solver(network) == {a, c}


def test_neurons_in_the_chips_steps():
    made = as_stepped(NeuronModel("lif", 0.02, 0.0026), 0.001)
    assert made == NeuronModel("lif", 0.02, 0.003, discretized=True, step=0.001)
    assert as_stepped(NeuronModel("lif", 0.02, 0.0024), 0.001).tau_ref == 0.002


@pytest.mark.parametrize("seeded", [True, False])
def test_parameters_that_are_drawn_need_a_seed(seeded):
    voltage = {"voltage": nengo.dists.Choice([0.25])}
    with nengo.Network(seed=3 if seeded else None) as network:
        settled = nengo.Ensemble(4, 1, gain=np.arange(1.0, 5), bias=nengo.dists.Choice([0.5]))
        drawn = nengo.Ensemble(4, 1)
        two = nengo.Ensemble(4, 1, gain=nengo.dists.Choice([1, 2]), bias=np.zeros(4))
        charged = nengo.Ensemble(
            4, 1, gain=np.ones(4), bias=np.zeros(4), neuron_type=nengo.LIF(initial_state=voltage)
        )
    parameters = Parameters(network)
    gain, bias, start = parameters.neurons(settled)
    assert (gain.tolist(), bias.tolist(), start) == ([1, 2, 3, 4], [0.5] * 4, None)
    assert (parameters.neurons(drawn) is not None) is seeded
    assert (parameters.neurons(two) is not None) is seeded
    assert parameters.neurons(drawn, may_draw=True) is not None
    assert parameters.neurons(charged)[2].tolist() == [0.25] * 4
    if seeded:
        with np.errstate(divide="ignore"), nengo.Simulator(network, progress_bar=False) as sim:
            built = sim.data[drawn]
        assert parameters.neurons(drawn)[0].tolist() == built.gain.tolist()
        assert parameters.neurons(drawn)[1].tolist() == built.bias.tolist()
        assert parameters.neurons(drawn)[2] is None
