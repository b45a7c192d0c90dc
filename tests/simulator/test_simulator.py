"""The interface of the simulator, and what nengo-loihi refuses."""

import pickle
from itertools import combinations

import nengo
import nengo_loihi
import numpy as np
import pytest
from nengo.exceptions import BuildError, NengoWarning, SimulatorClosed

import loihi_deploy as ld
from loihi_deploy.errors import BackendError, InputError, MappingError, QuantizationError
from loihi_deploy.simulator import NotOnChipError, block_chip
from tests.simulator import networks

pytestmark = [
    pytest.mark.filterwarnings("ignore:NengoLoihi does not support initial values"),
    pytest.mark.filterwarnings("ignore:Lost . extra bits in weight rounding"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning"),
]


def simulate(net, steps=100, **kwargs):
    with ld.Simulator(net, progress_bar=False, **kwargs) as sim:
        sim.run_steps(steps)
    return sim


def decoded(sim, probe):
    return sim.data[probe][-50:].mean(axis=0)


def test_a_network_with_nothing_on_chip_runs_as_in_nengo():
    with nengo.Network(seed=0) as net:
        nengo_loihi.add_params(net)
        stimulus = nengo.Node(nengo.processes.WhiteSignal(1, 10))
        ensembles = [nengo.Ensemble(30, 1), nengo.Ensemble(30, 1, neuron_type=nengo.Direct())]
        net.config[ensembles[0]].on_chip = False
        nengo.Connection(stimulus, ensembles[0])
        nengo.Connection(ensembles[0], ensembles[1], synapse=nengo.Alpha(0.01))
        probes = [nengo.Probe(ensemble) for ensemble in ensembles]
    with nengo.Simulator(net, progress_bar=False, optimize=False) as expected:
        expected.run_steps(100)
    with ld.Simulator(net, progress_bar=False, optimize=False) as sim:  # merged operators add up in any order
        sim.run_steps(50)
        pickled = pickle.dumps((sim, probes))
        sim.run_steps(50)
    for probe in probes:
        np.testing.assert_array_equal(sim.data[probe], expected.data[probe])
    copy, copied_probes = pickle.loads(pickled)
    with copy:
        copy.run_steps(10)
    assert len(copy.data[copied_probes[0]]) == 60


def test_time_steps_and_clearing():
    net, probes = networks.channel()
    with ld.Simulator(net, progress_bar=False, dt=0.002) as sim:
        sim.step()
        sim.run(0.018)
        assert sim.n_steps == 10
        assert sim.time == pytest.approx(0.02)
        np.testing.assert_allclose(sim.trange(), 0.002 * np.arange(1, 11))
        assert len(sim.data[probes[0]]) == 10
        sim.clear_probes()
        assert all(len(sim.data[probe]) == 0 for probe in probes)
        sim.run_steps(3)
        assert all(len(sim.data[probe]) == 3 for probe in probes)
    assert len(sim.data[probes[0]]) == 3
    with pytest.raises(SimulatorClosed):
        sim.step()
    with pytest.raises(SimulatorClosed):
        sim.reset()


def test_steps_taken_singly_make_no_difference():
    net, probes = networks.feedback()
    whole = simulate(net, 40)
    with ld.Simulator(net, progress_bar=False) as sim:
        for _ in range(40):
            sim.step()
    for probe in probes:
        np.testing.assert_array_equal(sim.data[probe], whole.data[probe])


def test_sampling_takes_every_nth_row():
    net, _ = networks.channel()
    with net:
        ensemble = net.ensembles[0]
        sparse = nengo.Probe(ensemble, sample_every=0.004)
        dense = nengo.Probe(ensemble)
    sim = simulate(net)
    np.testing.assert_array_equal(sim.data[sparse], sim.data[dense][3::4])
    np.testing.assert_allclose(sim.trange(sample_every=0.004), 0.004 * np.arange(1, 26))


def test_a_seed_for_a_reset_changes_what_processes_draw():
    with nengo.Network(seed=0) as net:
        noise = nengo.Node(nengo.processes.WhiteNoise())
        ensemble = nengo.Ensemble(20, 1)
        nengo.Connection(noise, ensemble)
        probe = nengo.Probe(noise)
    with ld.Simulator(net, progress_bar=False, seed=3) as sim:
        runs = []
        for seed in (None, None, 4):
            sim.reset(seed)
            sim.run_steps(20)
            runs.append(sim.data[probe])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_parameters_are_those_of_nengo():
    net, _ = networks.feedback()
    with net:
        sliced = nengo.Connection(
            net.ensembles[1][1], net.ensembles[1][0], solver=nengo.solvers.NoSolver(np.ones((70, 1)))
        )
    with nengo.Simulator(net, progress_bar=False) as expected, ld.Simulator(net, progress_bar=False) as sim:
        for ensemble in net.ensembles:
            for name in (
                "gain",
                "bias",
                "encoders",
                "scaled_encoders",
                "eval_points",
                "max_rates",
                "intercepts",
            ):
                np.testing.assert_array_equal(
                    getattr(sim.data[ensemble], name), getattr(expected.data[ensemble], name)
                )
        for connection in net.connections:
            given, wanted = sim.data[connection].weights, expected.data[connection].weights
            assert np.shape(given) == np.shape(wanted)
        np.testing.assert_array_equal(sim.data[sliced].weights, np.ones((1, 70)))


def test_slices_of_ensembles_and_neurons():
    with nengo.Network(seed=1) as net:
        stimulus = nengo.Node([0.8, -0.6])
        a, b = nengo.Ensemble(200, 2), nengo.Ensemble(200, 2)
        neurons = nengo.Ensemble(5, 1, gain=np.ones(5), bias=np.full(5, 0.5), neuron_type=nengo.LIF())
        nengo.Connection(stimulus[1], a[0])
        nengo.Connection(a[0], b[1])
        nengo.Connection(stimulus[0], neurons.neurons[[1, 3]], transform=[[20.0], [10.0]])
        probes = [nengo.Probe(a, synapse=0.03), nengo.Probe(b, synapse=0.03), nengo.Probe(neurons.neurons)]
    sim = simulate(net, 400)
    np.testing.assert_allclose(decoded(sim, probes[0]), [-0.6, 0], atol=0.1)
    np.testing.assert_allclose(decoded(sim, probes[1]), [0, -0.6], atol=0.15)
    counts = (sim.data[probes[2]] > 0).sum(axis=0)
    assert list(counts[[0, 2, 4]]) == [0, 0, 0]
    assert counts[1] > counts[3] > 0


def test_transforms_that_are_applied_on_the_host():
    from scipy.sparse import eye

    with nengo.Network(seed=1) as net:
        stimulus = nengo.Node([0.7, -0.4])
        a = nengo.Ensemble(200, 2)
        out = nengo.Node(size_in=2)
        nengo.Connection(stimulus, a, transform=nengo.Sparse((2, 2), init=eye(2).tocoo()))
        nengo.Connection(
            a, out, transform=nengo.Sparse((2, 2), init=(-eye(2)).tocoo()), synapse=nengo.Alpha(0.02)
        )
        probe = nengo.Probe(out)
    np.testing.assert_allclose(decoded(simulate(net, 300), probe), [-0.7, 0.4], atol=0.1)


def test_a_passthrough_node_that_cannot_be_merged_stays():
    with nengo.Network(seed=1) as net:
        stimulus, between = nengo.Node([0.7]), nengo.Node(size_in=1)
        a, b = nengo.Ensemble(150, 1), nengo.Ensemble(150, 1)
        nengo.Connection(stimulus, a)
        nengo.Connection(a, between, synapse=nengo.Alpha(0.02))
        nengo.Connection(between, b, synapse=None)
        probe = nengo.Probe(b, synapse=0.03)
    with pytest.raises(NotImplementedError):
        nengo_loihi.Simulator(net, target="sim")
    np.testing.assert_allclose(decoded(simulate(net, 400), probe), [0.7], atol=0.15)


def test_what_the_chip_cannot_do_runs_on_the_host_and_is_named():
    with nengo.Network(seed=1) as net:
        nengo_loihi.add_params(net)
        stimulus = nengo.Node([0.7])
        a = nengo.Ensemble(100, 1, label="adaptive", neuron_type=nengo.AdaptiveLIF())
        b = nengo.Ensemble(100, 1, label="leaky")
        nengo.Connection(stimulus, a)
        nengo.Connection(a, b)
        probes = [nengo.Probe(a), nengo.Probe(b)]
    with pytest.warns(UserWarning, match=r"Runs on the host.*'adaptive'.*AdaptiveLIF"):
        sim = simulate(net)
    assert all(np.any(sim.data[probe]) for probe in probes)
    net.config[a].on_chip = True
    with pytest.raises(NotOnChipError, match="adaptive") as error:
        ld.Simulator(net, progress_bar=False)
    assert isinstance(error.value, BuildError)


def test_synapses_of_different_time_constants_are_refused():
    with nengo.Network(seed=1) as net:
        a, b = nengo.Ensemble(10, 1), nengo.Ensemble(10, 1, label="target")
        nengo.Connection(a.neurons, b.neurons, synapse=0.005)
        nengo.Connection(b.neurons, b.neurons, synapse=0.1)
    with pytest.raises(NotOnChipError, match=r"'target'.*0.005 s, 0.1 s"):
        ld.Simulator(net, progress_bar=False)


def test_no_two_arrays_of_its_kernel_overlap(monkeypatch):
    """It is compiled for such: `loihi_deploy.engines.kept_code`."""
    calls, kernel = [], block_chip.run

    def checked(*arrays):
        calls.append(len(arrays))
        assert not any(np.shares_memory(*pair) for pair in combinations(arrays, 2))
        return kernel(*arrays)

    monkeypatch.setattr(block_chip, "run", checked)
    net, _ = networks.many_cores()
    simulate(net, 20)
    assert calls


def test_initial_voltages_are_those_asked_for():
    start = np.linspace(0, 0.9, 7)
    with nengo.Network(seed=1) as net:
        neuron_type = nengo.SpikingRectifiedLinear(initial_state={"voltage": start})
        idle = nengo.Ensemble(7, 1, neuron_type=neuron_type, gain=np.ones(7), bias=np.zeros(7))
        probe = nengo.Probe(idle.neurons, "voltage")
    sim = simulate(net, 3)
    threshold = sim._built.objs[idle]["in"][0].compartment.vth
    np.testing.assert_array_equal(sim.data[probe], np.tile(np.round(start * threshold), (3, 1)))


def test_more_cores_than_the_board_has():
    with nengo.Network(seed=1) as net:
        nengo_loihi.add_params(net)
        ensemble = nengo.Ensemble(300, 1)
        net.config[ensemble].block_shape = nengo_loihi.BlockShape((1,), (300,))
    with pytest.raises(MappingError, match=r"kapoho_bay.*300.*256"):
        ld.Simulator(net, progress_bar=False, board="kapoho_bay")


def test_the_deployment_counts_what_is_on_chip():
    net, _ = networks.many_cores()
    with ld.Simulator(net, progress_bar=False) as sim:
        deployment = sim.deployment
        blocks = list(sim._built.blocks)
    assert deployment.program.n_compartments == sum(block.n_neurons for block in blocks)
    assert len(deployment.mapping.cores) <= len(blocks)
    net, _ = networks.learning()
    with ld.Simulator(net, progress_bar=False) as sim, pytest.raises(QuantizationError, match="learn"):
        sim.deployment  # noqa: B018


def test_samples_side_by_side_equal_runs_one_by_one():
    net, probes = networks.convolution()
    (shown,) = (node for node in net.nodes if isinstance(node.output, nengo.Process))
    images = np.random.RandomState(1).rand(3, 60, shown.size_out)
    with ld.Simulator(net, progress_bar=False, minibatch_size=3) as sim:
        sim.run(0.03, data={shown: images[:, :30]})
        sim.run_steps(30, data={shown: images[:, 30:]})
        batch = [sim.data[probe] for probe in probes]
        sim.reset()
        sim.run_steps(5)
        assert sim.data[probes[0]].shape[:2] == (3, 5)
    output = shown.output
    for k in range(3):
        shown.output = nengo.processes.PresentInput(images[k], 0.001)
        single = simulate(net, 60)
        for probe, values in zip(probes, batch, strict=True):
            np.testing.assert_array_equal(values[k], single.data[probe])
    shown.output = output
    assert not np.array_equal(batch[0][0], batch[0][1])


def test_data_that_do_not_fit_are_all_named():
    net, _ = networks.channel()
    stimulus = net.nodes[0]
    with (
        ld.Simulator(net, progress_bar=False, minibatch_size=2) as sim,
        pytest.raises(InputError, match="2 problems"),
    ):
        sim.run_steps(5, data={stimulus: np.zeros((2, 4, 1)), net.ensembles[0]: np.zeros((2, 5, 1))})
    with ld.Simulator(net, progress_bar=False) as sim, pytest.raises(InputError, match="minibatch_size"):
        sim.run_steps(5, data={stimulus: np.zeros((1, 5, 1))})
    loop, _ = networks.feedback()
    with pytest.raises(InputError, match="side by side"):
        ld.Simulator(loop, progress_bar=False, minibatch_size=2)


def test_arguments_that_do_not_fit():
    net, _ = networks.channel()
    with pytest.raises(BackendError, match=r"hardware.*emulator, nengo_loihi"):
        ld.Simulator(net, backend="hardware")
    with pytest.raises(InputError, match="not the model of a network with ensembles on chip"):
        ld.Simulator(net, model=nengo.builder.Model())
    with pytest.raises(InputError, match="minibatch_size"):
        ld.Simulator(net, minibatch_size=0)
    with (
        ld.Simulator(net, progress_bar=False, minibatch_size=2) as sim,
        pytest.raises(NotImplementedError, match="pickled"),
    ):
        pickle.dumps(sim)


@pytest.mark.filterwarnings("ignore:Overflow in")
@pytest.mark.filterwarnings("ignore:Synaptic trace spikes lost")
@pytest.mark.filterwarnings(
    "ignore:'Node.size_out' is being overwritten"
)  # Nengo's own nodes, when unpickled
@pytest.mark.parametrize("make", [networks.channel, networks.feedback, networks.learning])
def test_a_pickled_simulator_goes_on(make):
    net, probes = make()
    with ld.Simulator(net, progress_bar=False) as sim:
        sim.run_steps(50)
        pickled = pickle.dumps((sim, probes))
        sim.run_steps(50)
    copy, copied_probes = pickle.loads(pickled)
    with copy:
        assert copy.n_steps == 50
        copy.run_steps(50)
    for probe, copied in zip(probes, copied_probes, strict=True):
        assert np.any(sim.data[probe])
        np.testing.assert_array_equal(copy.data[copied], sim.data[probe])
    closed = pickle.loads(pickle.dumps(copy))
    assert closed.closed


@pytest.mark.follows(
    "Give smaller intercepts",
)
def test_what_nengo_says_of_gains_and_intercepts():
    with nengo.Network(seed=0) as net:
        nengo.Ensemble(2, 1, gain=[1, 1], bias=[1, 1], intercepts=[0.5, 0.5])
    with pytest.warns(NengoWarning, match="intercepts have no effect beside gain"):
        simulate(net, 1)
    with nengo.Network(seed=0) as net:
        nengo.Ensemble(2, 1, intercepts=[0.5, 1.0])
    with pytest.raises(BuildError, match=r"no gain.*found 1, allowed below 1"):
        simulate(net)
    net.all_ensembles[0].intercepts = [0.5, 0.9]
    simulate(net, 1)


def test_decoding_to_a_node_that_leads_nowhere_is_built():
    with nengo.Network(seed=0) as net:
        nengo.Connection(nengo.Ensemble(5, 1), nengo.Node(size_in=1), function=lambda x: None)
    with pytest.raises(BuildError, match="None"):
        simulate(net)


@pytest.mark.filterwarnings("ignore:'Node.size_out' is being overwritten")
def test_a_pickled_model_runs_again():
    net, probes = networks.feedback()
    first = simulate(net, 40, seed=3)
    assert first.target == "sim"
    model, copied = pickle.loads(pickle.dumps((first.model, probes)))
    again = simulate(None, 40, seed=3, model=model)
    assert not again.precompute
    for probe, copy in zip(probes, copied, strict=True):
        np.testing.assert_array_equal(first.data[probe], again.data[copy])
    assert simulate(networks.channel()[0], 1).precompute


def test_floats_of_32_bits(monkeypatch):
    net, probes = networks.channel()
    monkeypatch.setitem(nengo.rc["precision"], "bits", "32")
    sim = simulate(net, 5)
    assert all(sim.data[probe].dtype.itemsize == 4 for probe in probes)
