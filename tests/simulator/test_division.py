"""What goes to the host is announced, and every remedy that an error names leads out."""

import re
import warnings

import nengo
import nengo_loihi
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import BackendError, LoihiDeployWarning
from loihi_deploy.simulator import NotOnChipError

pytestmark = [
    pytest.mark.filterwarnings("ignore:NengoLoihi does not support initial values"),
    pytest.mark.filterwarnings("ignore:Lost . extra bits in weight rounding"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning"),
]


def simulate(net, steps=20, **kwargs):
    """Run a network; gives the simulator and the warnings of this package."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", LoihiDeployWarning)
        with ld.Simulator(net, progress_bar=False, seed=1, **kwargs) as sim:
            sim.run_steps(steps)
    return sim, [str(one.message) for one in seen if issubclass(one.category, LoihiDeployWarning)]


@pytest.mark.parametrize("with_another", [True, False])
@pytest.mark.parametrize("neuron", [nengo.AdaptiveLIF(), nengo.Izhikevich()], ids=lambda n: type(n).__name__)
@pytest.mark.follows(
    "Set on_chip = False for it",
)
def test_an_ensemble_that_leaves_the_chip_is_announced(neuron, with_another):
    with nengo.Network(seed=0) as net:
        nengo.Ensemble(20, 1, neuron_type=neuron, label="leaves")
        if with_another:
            nengo.Ensemble(10, 1)
    _, said = simulate(net)
    assert len(said) == 1
    assert re.search(rf"Runs on the host.*leaves.*{type(neuron).__name__}.*Set on_chip = False", said[0])
    nengo_loihi.add_params(net)  # the remedy: the warning goes
    net.config[net.all_ensembles[0]].on_chip = False
    assert simulate(net)[1] == []


@pytest.mark.parametrize("with_another", [True, False])
def test_a_learning_rule_that_leaves_the_chip_is_announced(with_another):
    with nengo.Network(seed=0) as net:
        a, b = nengo.Ensemble(20, 1, label="learns"), nengo.Ensemble(20, 1)
        nengo.Connection(a, b, solver=nengo.solvers.LstsqL2(weights=True), learning_rule_type=nengo.BCM())
        if with_another:
            nengo.Ensemble(10, 1)
    _, said = simulate(net)
    assert re.search("Runs on the host.*learns.*learning rule BCM", said[0])


def driven(scale):
    with nengo.Network(seed=0) as net:
        a, b = nengo.Ensemble(30, 1, label="a"), nengo.Ensemble(30, 1, label="b")
        nengo.Connection(nengo.Node(0.5), a)
        nengo.Connection(a.neurons, b.neurons, transform=scale)
        net.probe = nengo.Probe(b.neurons)
    return net


@pytest.mark.follows(
    "Scale the transforms into it down by … or more",
)
def test_weights_too_large_for_the_threshold():
    _, said = simulate(driven(50.0))
    assert re.search("Runs on the host.*'b'.*weights too large for the threshold.*largest weight", said[0])
    factor = float(re.search("down by ([0-9]+)", said[0])[1])
    sim, said = simulate(driven(50.0 / factor))
    assert said == []
    assert sim.deployment.program.populations  # on chip now
    assert simulate(driven(3 * 50.0 / factor))[1] != []  # and a third of the factor does not do


def slow(neurons, synapse, tau_rc, on_chip=None):
    with nengo.Network(seed=0) as net:
        a = nengo.Ensemble(30, 1, label="a")
        b = nengo.Ensemble(30, 1, label="b", neuron_type=nengo.LIF(tau_rc=tau_rc))
        nengo.Connection(*((a.neurons, b.neurons) if neurons else (a, b)), synapse=synapse)
    if on_chip is not None:
        nengo_loihi.add_params(net)
        net.config[a].on_chip = net.config[b].on_chip = on_chip
    return net


@pytest.mark.follows("Give a shorter one, or set on_chip = False for it")
@pytest.mark.parametrize(
    ("given", "where", "shorter"),
    [
        ({"neurons": True, "synapse": 50.0, "tau_rc": 0.02}, "synapse of <Ensemble 'b'>", {"synapse": 8.0}),
        ({"neurons": False, "synapse": 50.0, "tau_rc": 0.02}, "synapse of <Ensemble 'a'>", {"synapse": 1.0}),
        ({"neurons": False, "synapse": 0.1, "tau_rc": 50.0}, "tau_rc of <Ensemble 'b'>", {"tau_rc": 8.0}),
    ],
)
def test_time_constants_that_the_decays_of_the_chip_cannot_hold(given, where, shorter):
    """nengo-loihi says that 'scaling is required', and no limit."""
    _, said = simulate(slow(**given))
    assert re.search(f"Runs on the host.*{where}.*found 50 s, allowed up to 8.19 s", said[0])
    with pytest.raises(NotOnChipError, match=f"on_chip = True asks for.*{where}"):
        simulate(slow(**given, on_chip=True))
    assert simulate(slow(**given, on_chip=False))[1] == []
    assert simulate(slow(**{**given, **shorter}, on_chip=True))[1] == []


@pytest.mark.follows("Set on_chip = False for an ensemble at its ends")
def test_decoded_values_that_no_weight_exponent_fits():
    given = {"neurons": False, "synapse": 8.0, "tau_rc": 0.02}
    with pytest.raises(NotOnChipError, match="Could not find appropriate weight exponent"):
        simulate(slow(**given))
    net = slow(**given)
    nengo_loihi.add_params(net)
    net.config[net.all_ensembles[1]].on_chip = False
    simulate(net)


def test_a_transform_of_zero_is_built():
    """nengo-loihi takes the logarithm of its number of weights."""
    spikes = []
    for transform in (0.0, np.zeros(30), np.zeros((30, 30))):
        sim, _ = simulate(net := driven(transform))
        spikes.append(sim.data[net.probe])
    assert (spikes[0] == spikes[2]).all()
    assert (spikes[1] == spikes[2]).all()


def test_weights_too_large_of_an_ensemble_that_is_decoded():
    """What belongs to the connections of such an ensemble does not fit either, and goes with it."""
    with nengo.Network(seed=0) as net:
        a = nengo.Ensemble(20, 1)
        b = nengo.Ensemble(20, 1, gain=np.full(20, 1e6), bias=np.full(20, 1e7), label="b")
        nengo.Connection(nengo.Node(0.5), a)
        nengo.Connection(a, b)
        nengo.Probe(b, synapse=0.01)
    _, said = simulate(net)
    assert re.search("Runs on the host.*'b'.*weights too large for the threshold", said[0])


def test_weights_too_large_where_the_chip_was_asked_for():
    net = driven(50.0)
    nengo_loihi.add_params(net)
    net.config[net.all_ensembles[1]].on_chip = True
    with pytest.raises(
        NotOnChipError, match=r"on_chip = True asks for.*'b'.*Scale the transforms into it down"
    ):
        ld.Simulator(net, progress_bar=False)
    with pytest.raises(NotOnChipError, match="cannot hold"):  # a model of the user's own is built once
        ld.Simulator(driven(50.0), progress_bar=False, model=nengo_loihi.builder.Model(dt=0.001))


def test_pes_on_the_host_while_another_ensemble_is_on_chip():
    with nengo.Network(seed=0) as net:
        learner, post = nengo.Ensemble(40, 1, neuron_type=nengo.AdaptiveLIF()), nengo.Node(size_in=1)
        error = nengo.Ensemble(60, 1)  # on chip
        nengo.Connection(nengo.Node(0.5), learner)
        learned = nengo.Connection(learner, post, learning_rule_type=nengo.PES(1e-3), function=lambda x: 0)
        nengo.Connection(post, error)
        nengo.Connection(nengo.Node(-0.4), error)
        nengo.Connection(error, learned.learning_rule)
        probe = nengo.Probe(post, synapse=0.05)
        alone = nengo.Ensemble(10, 1)
        node_error = nengo.Node(lambda t, x: x - 0.4, size_in=1)
        second = nengo.Node(size_in=1)
        learned = nengo.Connection(learner, second, learning_rule_type=nengo.PES(1e-3), function=lambda x: 0)
        nengo.Connection(second, node_error)
        nengo.Connection(node_error, learned.learning_rule)
        from_host = nengo.Probe(second, synapse=0.05)
    sim, _ = simulate(net, 1500)
    assert alone in sim.data
    for one in (probe, from_host):
        assert abs(sim.data[one][-100:].mean() - 0.4) < 0.1


def test_a_solver_for_weights_into_an_ensemble_on_the_host():
    def values(weights):
        with nengo.Network(seed=0) as net:
            a, b = (
                nengo.Ensemble(40, 1, seed=1),
                nengo.Ensemble(40, 1, neuron_type=nengo.AdaptiveLIF(), seed=2),
            )
            nengo.Connection(nengo.Node(0.5), a)
            nengo.Connection(a, b, solver=nengo.solvers.LstsqL2(weights=weights), seed=3)
            probe = nengo.Probe(b, synapse=0.02, seed=4)
        return simulate(net, 100)[0].data[probe]

    np.testing.assert_array_equal(values(weights=True), values(weights=False))


def reservoir(from_node, recurrent):
    with nengo.Network(seed=0) as net:
        ensemble = nengo.Ensemble(60, 1, label="reservoir")
        nengo.Connection(nengo.Node(lambda t: np.sin(9 * t)), ensemble, synapse=from_node)
        weights = np.random.default_rng(0).normal(0, 5e-4, (60, 60))
        nengo.Connection(ensemble.neurons, ensemble.neurons, transform=weights, synapse=recurrent)
        net.probe = nengo.Probe(ensemble, synapse=0.02)
    return net


def test_one_time_constant_for_decoded_values_and_spikes():
    """Both synapses are 0.1 s: the neurons' own filter does for both, and the values are those of Nengo."""
    net = reservoir(0.1, 0.1)
    ours = simulate(net, 1000)[0].data[net.probe]
    with nengo.Simulator(net, progress_bar=False) as theirs:
        theirs.run_steps(1000)
    difference = ours[100:] - theirs.data[net.probe][100:]
    assert np.sqrt(np.mean(difference**2)) < 0.15


@pytest.mark.follows(
    "Give all connections into it the same synapse, those from nodes and ensembles too, or those from neurons … s; or…",
)
def test_the_remedies_for_mixed_synapses():
    with pytest.raises(NotOnChipError) as raised:
        simulate(reservoir(0.05, 0.1))
    text = str(raised.value)
    assert re.search(r"'reservoir'.*0\.1 s, 0\.005 s for decoded values \(decode_tau\)", text)
    assert "the same synapse, those from nodes and ensembles too" in text
    simulate(reservoir(0.1, 0.1))
    assert "or those from neurons 0.005 s" in text
    simulate(reservoir(0.05, 0.005))
    assert "or the ensemble on_chip = False" in text
    net = reservoir(0.05, 0.1)
    nengo_loihi.add_params(net)
    net.config[net.all_ensembles[0]].on_chip = False
    simulate(net)
    with pytest.raises(NotOnChipError, match="decode_tau"):  # a filter that only the host has
        simulate(reservoir(nengo.Alpha(0.1), 0.1))


def test_arguments_of_other_simulators():
    net = driven(0.01)
    sim, said = simulate(net, target="sim", precompute=True, hardware_options={}, minibatch_size=2)
    assert said == []
    assert sim.data[net.probe].shape == (2, 20, 30)
    _, said = simulate(net, hardware_options={"allocator": "Greedy"}, device="/gpu:0", unroll_simulation=10)
    assert [text.split(":")[0] for text in said] == ["hardware_options", "device", "unroll_simulation"]
    for target, remedy in (
        ("loihi", "nengo_loihi.Simulator"),
        ("simreal", "in floats"),
        ("chip", "Leave it out"),
    ):
        with pytest.raises(BackendError, match=remedy):
            ld.Simulator(net, progress_bar=False, target=target)
    with pytest.raises(
        TypeError, match="nonsense"
    ):  # and nothing is said of __del__: a warning would be an error
        ld.Simulator(net, nonsense=1)


def convolved(gain):
    with nengo.Network(seed=0) as net:
        a, b = nengo.Ensemble(9, 1), nengo.Ensemble(2, 1, label="b", gain=gain, bias=[0.0, 0.0])
        kernel = nengo.Convolution(2, (3, 3, 1), init=np.full((3, 3, 1, 2), 0.1))
        nengo.Connection(a.neurons, b.neurons, transform=kernel)
    return net


@pytest.mark.follows(
    "Give it gain and bias, or set on_chip = False for it",
)
def test_neurons_of_different_gains_behind_a_convolution():
    _, said = simulate(convolved([2.0, 3.0]))
    assert re.search("Runs on the host.*'b'.*different gains.*found 2 to 3, allowed one", said[0])
    sim, said = simulate(convolved([2.0, 2.0]))  # the remedy
    assert said == []
    assert len(sim.deployment.program.populations) == 2


def test_a_neuron_type_with_a_state_of_its_own():
    class Counting(nengo.LIF):
        def make_state(self, n_neurons, rng=np.random, dtype=None):
            return super().make_state(n_neurons, rng=rng, dtype=dtype)

    with nengo.Network(seed=0) as net:
        nengo.Ensemble(5, 1, neuron_type=Counting())
    assert re.search("Runs on the host.*neuron type Counting", simulate(net)[1][0])
