from dataclasses import replace

import nengo
import numpy as np
import pytest

from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, convert, import_nengo_dl
from loihi_deploy.ir import Conv2D, Dense, NeuronModel, Sparse
from loihi_deploy.options import DeployOptions
from tests.frontends import keras_models
from tests.frontends.keras_models import MODELS

SPIKING = nengo.SpikingRectifiedLinear()
CONSTANT = {"gain": nengo.dists.Choice([1]), "bias": nengo.dists.Choice([0])}


def neurons(n, label=None, **options):
    options = {"neuron_type": SPIKING, **CONSTANT, **options}
    return nengo.Ensemble(n, 1, label=label, **options).neurons


def problems_of(network):
    with pytest.raises(ConversionError) as caught:
        convert(network)
    assert all(problem.remedy for problem in caught.value.problems)
    return caught.value.problems


def test_a_network_built_by_hand_gives_the_graph_of_the_keras_model():
    keras_models.keras().backend.clear_session()
    model = MODELS["strided"]()
    encoder, first, second, last = (layer.get_weights() for layer in model.layers if layer.get_weights())
    with nengo.Network() as network:
        image = nengo.Node(np.zeros(192), label="input_a")
        source, shape = image, (8, 8, 3)
        for name, (kernel, bias), strides, padding in (
            ("conv2d", encoder, (1, 1), "valid"),
            ("conv2d_1", first, (2, 2), "same"),
            ("conv2d_2", second, (1, 1), "same"),
        ):
            transform = nengo.Convolution(
                kernel.shape[-1], shape, kernel.shape[:2], strides, padding=padding, init=kernel
            )
            shape = transform.output_shape.shape
            biases = np.tile(bias, shape[0] * shape[1])
            target = neurons(int(np.prod(shape)), name, bias=biases)
            nengo.Connection(source, target, transform=transform, synapse=None if source is image else 0.005)
            source = target
        out = nengo.Node(size_in=3, label="dense")
        nengo.Connection(source, out, transform=last[0].T, synapse=0.005)
        nengo.Connection(nengo.Node([1.0]), out, transform=last[1][:, None], synapse=None)
        nengo.Probe(out)
    found, wanted = convert(network), convert(model, DeployOptions(synapse=0.005))
    assert wanted.readouts[0].dtype == "float32"  # as Keras predicts; Nengo's probes hold float64
    assert found == replace(wanted, readouts=(replace(wanted.readouts[0], dtype="float64"),))


def network_of(build):
    """A seeded network: `build` gets the input node of 6 values and returns what is probed."""
    with nengo.Network(seed=1) as network:
        source = nengo.Node(np.zeros(6), label="values")
        nengo.Probe(build(source), label="out")
    return network


def random_weights(rows, columns):
    return np.random.default_rng(rows * 100 + columns).normal(size=(rows, columns))


def two_layers(source, **connection):
    first, second = neurons(5, "first"), neurons(4, "second")
    nengo.Connection(source, first, transform=random_weights(5, 6), synapse=None)
    nengo.Connection(first, second, transform=random_weights(4, 5), **{"synapse": 0.01, **connection})
    return second


def test_names_synapses_and_amplitudes():
    graph = convert(network_of(two_layers))
    assert [p.name for p in graph.populations] == ["first", "second"]
    taus = {p.name: p.tau for p in graph.projections}
    assert taus == {"values->first": 0, "first->second": 0.01, "second->out": 0}
    assert [r.name for r in graph.readouts] == ["out"]
    assert graph.inputs[0].shape == (6,)


@pytest.mark.parametrize(
    ("neuron", "model", "amplitude"),
    [
        (nengo.SpikingRectifiedLinear(amplitude=0.5), NeuronModel("if"), 0.5),
        (nengo.LIF(tau_rc=0.05, tau_ref=0.003), NeuronModel("lif", 0.05, 0.003), 1),
        (nengo.RegularSpiking(nengo.RectifiedLinear(), amplitude=0.1), NeuronModel("if"), 0.1),
    ],
)
def test_neuron_types(neuron, model, amplitude):
    def build(source):
        target = neurons(4, neuron_type=neuron)
        nengo.Connection(source, target, transform=random_weights(4, 6))
        return target

    (population,) = convert(network_of(build)).populations
    assert (population.neuron, population.amplitude) == (model, amplitude)


def test_everything_linear_between_neurons_composes():
    """Slices, relays, scalars, diagonals, sparse and dense transforms, constants: one projection for each pair."""

    def build(source):
        first = neurons(6, "first")
        nengo.Connection(source, first)
        relay = nengo.Node(size_in=8, label="relay")
        nengo.Connection(first, relay[2:], transform=0.5, synapse=0.01)
        nengo.Connection(first[[4, 0]], relay[:2], transform=[2.0, 3.0], synapse=0.01)
        nengo.Connection(first[::2], relay[[7, 1, 3]], synapse=0.01)
        sparse = nengo.Sparse((8, 8), indices=[[0, 1], [1, 0], [5, 5]], init=[1.0, -1.0, 2.0])
        second = nengo.Node(size_in=8)
        nengo.Connection(relay, second, transform=sparse, synapse=None)
        nengo.Connection(relay, second, synapse=None)
        nengo.Connection(nengo.Node([0.5, 1.5]), second[:4:2], transform=2, synapse=None)
        third = neurons(5, "third", gain=np.arange(1.0, 6), bias=np.arange(5.0))
        nengo.Connection(second[1:], third, transform=random_weights(5, 7), synapse=None)
        return third

    network = network_of(build)
    graph = convert(network)
    assert len(graph.into("third")) == 1
    x = np.random.default_rng(0).random((5, 6))
    assert check_conversion(network, graph, x, n_samples=5)
    assert graph.populations[1].bias.any()


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_of_both_layouts(channels_last, groups):
    shape = (6, 5, 2) if channels_last else (2, 6, 5)
    with nengo.Network(seed=0) as network:
        image = nengo.Node(np.zeros(60), label="image")
        first = nengo.Convolution(4, shape, (1, 1), channels_last=channels_last)
        second = nengo.Convolution(
            6, first.output_shape, (3, 2), (2, 1), channels_last=channels_last, groups=groups, padding="same"
        )
        hidden, last = neurons(120, "hidden"), neurons(second.output_shape.size, "last")
        nengo.Connection(image, hidden, transform=first, synapse=None)
        nengo.Connection(hidden, last, transform=second)
        out = nengo.Node(size_in=3)
        nengo.Connection(last, out, transform=random_weights(3, last.size_in))
        nengo.Probe(out)
    graph = convert(network)
    assert [type(p.transform) for p in graph.projections] == [Conv2D, Conv2D, Dense]
    assert [p.shape for p in graph.populations] == [(6, 5, 4), (3, 5, 6)]
    assert graph.inputs[0].channels_first is not channels_last
    images = np.random.default_rng(0).random((3, *shape))
    assert check_conversion(network, graph, images)
    assert check_conversion(network, graph, images.reshape(3, -1))


@pytest.mark.parametrize("seeded", ["network", "ensemble"])
def test_parameters_are_those_of_nengo_for_the_same_seed(seeded):
    with nengo.Network(seed=3 if seeded == "network" else None) as network:
        source = nengo.Node(np.zeros(6))
        ensemble = nengo.Ensemble(7, 1, neuron_type=nengo.LIF(), label="drawn")
        connection = nengo.Connection(
            source, ensemble.neurons, transform=nengo.Dense((7, 6), nengo.dists.Gaussian(0, 1))
        )
        nengo.Probe(ensemble.neurons)
        if seeded == "ensemble":
            ensemble.seed, connection.seed = 5, 6
    graph = convert(network)
    with nengo.Simulator(network, progress_bar=False) as sim:
        (population,) = graph.populations
        assert (population.gain == sim.data[ensemble].gain).all()
        assert (population.bias == sim.data[ensemble].bias).all()
        assert (graph.projections[0].transform.weights == sim.data[connection].weights).all()
    assert population.initial_voltage is None


@pytest.mark.parametrize("what", ["gains", "weights", "voltages"])
def test_parameters_without_a_seed_are_refused(what):
    with nengo.Network() as network:
        source = nengo.Node(np.zeros(6))
        options = {} if what == "gains" else CONSTANT
        neuron = SPIKING
        if what == "voltages":
            neuron = nengo.LIF(initial_state={"voltage": nengo.dists.Uniform(0, 1)})
        target = nengo.Ensemble(4, 1, neuron_type=neuron, **options).neurons
        weights = (
            nengo.Dense((4, 6), nengo.dists.Gaussian(0, 1)) if what == "weights" else random_weights(4, 6)
        )
        nengo.Connection(source, target, transform=weights)
        nengo.Probe(target)
    (problem,) = problems_of(network)
    assert "drawn anew" in problem.what


def test_initial_voltages_that_were_asked_for_are_kept():
    def build(source):
        start = np.arange(4) / 4
        target = neurons(4, neuron_type=nengo.LIF(initial_state={"voltage": start}))
        nengo.Connection(source, target, transform=random_weights(4, 6))
        return target

    (population,) = convert(network_of(build)).populations
    assert population.initial_voltage.tolist() == [0, 0.25, 0.5, 0.75]


def test_recurrent_connections():
    def build(source):
        first = neurons(6, "first")
        nengo.Connection(source, first)
        nengo.Connection(first, first, transform=random_weights(6, 6), synapse=0.01)
        second = neurons(6, "second")
        nengo.Connection(first, second, synapse=0.01)
        nengo.Connection(second, first, transform=0.5, synapse=0.01)
        return second

    network = network_of(build)
    graph = convert(network)
    assert {p.name for p in graph.projections} == {
        "values->first", "first->first", "second->first", "first->second", "second->out"
    }  # fmt: skip
    assert check_conversion(network, graph, np.zeros((2, 6))) is False


def test_a_circle_of_nodes_with_neurons_in_it_is_one_of_neurons():
    def build(source):
        first = neurons(6, "first")
        around, further = nengo.Node(size_in=6), nengo.Node(size_in=6)
        nengo.Connection(source, around, synapse=None)
        nengo.Connection(around, first, synapse=None)
        nengo.Connection(first, further, synapse=0.01)
        nengo.Connection(further, around, transform=random_weights(6, 6), synapse=None)
        return around

    graph = convert(network_of(build))
    assert "first->first" in {p.name for p in graph.projections}


def test_probes_of_slices_with_synapses_and_of_several_objects():
    with nengo.Network() as network:
        source = nengo.Node(np.zeros(6), label="values")
        first = neurons(6, "first")
        nengo.Connection(source, first, synapse=None)
        out = nengo.Node(size_in=2, label="out")
        nengo.Connection(first[:2], out, synapse=0.01)
        nengo.Probe(first[1:3], synapse=0.02, label="slice")
        nengo.Probe(out, label="raw")
        nengo.Probe(out, synapse=0.1, label="filtered twice")
    graph = convert(network)
    taus = {p.name: p.tau for p in graph.projections}
    assert taus == {
        "values->first": 0,
        "first->slice": 0.02,
        "first->raw": 0.01,
        "first->filtered twice": 0.01,
    }
    assert [r.shape for r in graph.readouts] == [(2,), (2,), (2,)]
    assert graph.notes == (
        "1 synapses of probes were left out: outputs are averaged over the readout window",
    )
    found = rate_outputs(graph, {"values": np.arange(12.0).reshape(2, 6)})
    assert found["slice"].tolist() == [[1, 2], [7, 8]]


def test_labels_are_made_unique():
    def build(source):
        for _ in range(2):
            target = neurons(6, "same")
            nengo.Connection(source, target)
            source = target
        return source

    assert [p.name for p in convert(network_of(build)).populations] == ["same", "same.1"]


def refused(what):
    """One function for each thing that cannot be converted."""

    def wrong(source, **options):
        target = neurons(6, "target", **options)
        nengo.Connection(source, target)
        return target

    def between(source, **options):
        return two_layers(source, **options)

    def function_node(source):
        node = nengo.Node(lambda t, x: x**2, size_in=6, label="square")
        nengo.Connection(source, node)
        target = neurons(6)
        nengo.Connection(node, target)
        return target

    def two_synapses(source):
        first, second = neurons(6), neurons(6)
        nengo.Connection(source, first)
        relay = nengo.Node(size_in=6)
        nengo.Connection(first, relay, synapse=0.01)
        nengo.Connection(relay, second, synapse=0.01)
        return second

    def circle(source):
        a, b = nengo.Node(size_in=6), nengo.Node(size_in=6)
        nengo.Connection(source, a, synapse=None)
        nengo.Connection(a, b, synapse=None)
        nengo.Connection(b, a, synapse=None)
        target = neurons(6)
        nengo.Connection(b, target)
        return target

    return {
        "rate neurons": lambda s: wrong(s, neuron_type=nengo.RectifiedLinear()),
        "LIF rate neurons": lambda s: wrong(s, neuron_type=nengo.LIFRate()),
        "adaptive neurons": lambda s: wrong(s, neuron_type=nengo.AdaptiveLIF()),
        "Izhikevich neurons": lambda s: wrong(s, neuron_type=nengo.Izhikevich()),
        "Poisson spiking": lambda s: wrong(s, neuron_type=nengo.PoissonSpiking(nengo.RectifiedLinear())),
        "sigmoid neurons": lambda s: wrong(s, neuron_type=nengo.RegularSpiking(nengo.Sigmoid())),
        "negative voltages": lambda s: wrong(s, neuron_type=nengo.LIF(min_voltage=-1)),
        "noise": lambda s: wrong(s, noise=nengo.processes.WhiteNoise()),
        "alpha synapse": lambda s: between(s, synapse=nengo.Alpha(0.01)),
        "learning": lambda s: between(s, learning_rule_type=nengo.BCM()),
        "function of a node": function_node,
        "two synapses": two_synapses,
        "circle of nodes": circle,
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "rate neurons",
        "LIF rate neurons",
        "adaptive neurons",
        "Izhikevich neurons",
        "Poisson spiking",
        "sigmoid neurons",
        "negative voltages",
        "noise",
        "alpha synapse",
        "learning",
        "function of a node",
        "two synapses",
        "circle of nodes",
    ],
)
def test_what_the_chip_cannot_do_is_refused(what):
    problems = problems_of(network_of(refused(what)))
    assert len(problems) == 1, [str(problem) for problem in problems]


def soft_lif():
    import_nengo_dl()
    from nengo_dl import SoftLIFRate

    return SoftLIFRate(tau_rc=0.03, tau_ref=0.001, amplitude=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nengo.RectifiedLinear(amplitude=0.5),
        lambda: nengo.LIFRate(tau_rc=0.01),
        soft_lif,
        lambda: nengo.PoissonSpiking(nengo.LIFRate(amplitude=2)),
    ],
)
@pytest.mark.follows(
    "Set ens.neuron_type = nengo.…(…amplitude=…), which spikes at these rates",
)
def test_rate_types_name_the_spiking_type_that_takes_their_place(make):
    def build(source):
        target = neurons(6, "rates", neuron_type=make())
        nengo.Connection(source, target)
        return target

    network = network_of(build)
    (problem,) = problems_of(network)
    assignment = problem.remedy.partition(", which")[0].removeprefix("Set ")
    (ens,) = network.all_ensembles
    exec(assignment, {"ens": ens, "nengo": nengo})  # what the remedy says
    (population,) = convert(network).populations
    base = getattr(make(), "base_type", make())
    if population.neuron.kind == "lif":
        assert (population.neuron.tau_rc, population.neuron.tau_ref) == (base.tau_rc, base.tau_ref)
    assert population.amplitude == base.amplitude


def test_all_problems_are_told_at_once():
    def build(source):
        first = neurons(6, "rates", neuron_type=nengo.RectifiedLinear())
        nengo.Connection(source, first)
        second = neurons(6, "adaptive", neuron_type=nengo.AdaptiveLIF())
        nengo.Connection(first, second, synapse=nengo.Alpha(0.01))
        return second

    where = [problem.where for problem in problems_of(network_of(build))]
    assert sorted(where) == [
        "connection from ensemble 'rates' to ensemble 'adaptive'", "ensemble 'adaptive'", "ensemble 'rates'"
    ]  # fmt: skip


def test_a_network_needs_a_probe_and_neurons():
    with nengo.Network() as network:
        nengo.Node(np.zeros(3))
    (problem,) = problems_of(network)
    assert "no probe" in problem.what


def test_slices_of_images_that_are_no_images():
    """A part of a convolution's output, as a vector."""

    def build(source):
        first = neurons(12, "first")
        conv = nengo.Convolution(2, (3, 2, 1), (1, 1), init=np.ones((1, 1, 1, 2)))
        nengo.Connection(source, first, transform=conv)
        second = neurons(3, "second")
        nengo.Connection(first[[11, 0, 5]], second, synapse=0.01)
        return second

    network = network_of(build)
    graph = convert(network)
    assert isinstance(graph.into("second")[0].transform, Sparse)
    assert check_conversion(network, graph, np.random.default_rng(0).random((3, 6)))
