"""Cutting networks at the edges of the chip."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import InputError, PartitionError
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
)
from loihi_deploy.stages.partition import partition
from tests.remedies import follows

RNG = np.random.default_rng(0)


def population(name, shape, amplitude=1.0):
    return Population(name, shape, NeuronModel(), 1.0, RNG.uniform(0, 0.5, int(np.prod(shape))), amplitude)


def conv(kernel, shape_in, shape_out):
    kernel = RNG.normal(size=(kernel, kernel, shape_in[2], shape_out[2]))
    return Conv2D(kernel, (1, 1), (0, 0), shape_in, shape_out)


def network(first_kernel):
    """Input 5x5x2 -> convolution -> convolution -> readout."""
    n = 6 - first_kernel
    shape = (n, n, 3)
    return Graph(
        (Input("x", (5, 5, 2), scale=2.0),),
        (population("a", shape, 0.1), population("b", (n - 1, n - 1, 4), 0.2)),
        (
            Projection("x", "a", conv(first_kernel, (5, 5, 2), shape)),
            Projection("a", "b", conv(2, shape, (n - 1, n - 1, 4)), 0.01),
            Projection("b", "y", Dense(RNG.normal(size=(3, (n - 1) ** 2 * 4))), 0.005),
        ),
        (Readout("y", (3,), RNG.normal(size=3)),),
    )


def run_parts(parts, x):
    """Rates through encoder, chip and readout in turn."""
    spikes = rate_activity(parts.encoder, {"x": x})
    chip = rate_activity(parts.chip, {node.name: spikes[node.name] for node in parts.chip.inputs})
    return rate_activity(
        parts.readout, {node.name: {**spikes, **chip}[node.name] for node in parts.readout.inputs}
    )


@pytest.mark.parametrize("kernel", [1, 2])
@pytest.mark.parametrize("encoder", ["auto", "first_layer", "on_off"])
def test_the_parts_compute_what_the_whole_does(kernel, encoder):
    graph = network(kernel)
    x = RNG.normal(size=(20, 50))
    parts = partition(graph, encoder)
    np.testing.assert_allclose(run_parts(parts, x)["y"], rate_activity(graph, {"x": x})["y"], atol=1e-9)
    assert all(p.amplitude == 1 for p in parts.chip.populations)


def test_a_1x1_convolution_is_the_encoder():
    parts = partition(network(1))
    assert [p.name for p in parts.encoder.populations] == ["a"]
    assert [p.name for p in parts.chip.populations] == ["b"]


def test_another_first_layer_stays_on_chip_behind_on_and_off_neurons():
    parts = partition(network(2), encoder_rate=100.0)
    (encoder,) = parts.encoder.populations
    assert encoder.shape == (5, 5, 4)
    signs = parts.encoder.projections[0].transform.values
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert [p.name for p in parts.chip.populations] == ["a", "b"]
    assert all(isinstance(p.transform, Conv2D) for p in parts.chip.projections)
    rates = rate_activity(parts.encoder, {"x": np.tile([2.0, -1.0], 25)[None]})[encoder.name]
    assert rates.reshape(25, 4)[0].tolist() == [100, 0, 0, 50]


def test_the_replaced_real_values_get_the_networks_synapse():
    parts = partition(network(2))
    assert {p.tau for p in parts.chip.projections} == {0.01}


def test_links_carry_their_delay():
    links = {(link.population, link.kind): link.delay for link in partition(network(1)).links}
    assert links == {("a", "to_chip"): 1, ("b", "from_chip"): 0}


def test_a_single_spiking_layer_goes_on_chip():
    graph = network(1)
    one = replace(
        graph,
        populations=graph.populations[:1],
        projections=(graph.projections[0], Projection("a", "y", Dense(np.ones((3, 75))), 0.005)),
    )
    assert [p.name for p in partition(one).chip.populations] == ["a"]
    with pytest.raises(PartitionError, match="none is left for the chip"):
        partition(one, "first_layer")


def test_no_spiking_layer():
    with pytest.raises(PartitionError, match="no spiking layer"):
        partition(Graph((Input("x", (2,)),), (), (), ()))


def test_a_layer_that_mixes_inputs_and_spikes():
    graph = network(1)
    skip = Projection("x", "b", Dense(RNG.normal(size=(graph.populations[1].size, 50))))
    mixed = replace(graph, projections=(*graph.projections, skip))
    x = RNG.normal(size=(4, 50))
    np.testing.assert_allclose(
        run_parts(partition(mixed), x)["y"], rate_activity(mixed, {"x": x})["y"], atol=1e-9
    )
    with pytest.raises(PartitionError, match="real input values and spikes"):
        partition(mixed, "first_layer")


def test_everything_that_stands_in_the_way_is_named():
    graph = network(1)
    lonely = Population("lonely", (2,), NeuronModel(), 1.0, 0.0)
    skip = Projection("x", "y", Dense(np.ones((3, 50))))
    with pytest.raises(PartitionError) as caught:
        partition(
            replace(graph, populations=(*graph.populations, lonely), projections=(*graph.projections, skip))
        )
    assert len(caught.value.problems) == 2


def changed(graph, populations=(), projections=()):
    return replace(
        graph,
        populations=(*graph.populations, *populations),
        projections=(*graph.projections, *projections),
    )


def with_first_layer_alone():
    graph = network(1)
    out = Projection("a", "y", Dense(np.ones((3, 75))), 0.005)
    return replace(graph, populations=graph.populations[:1], projections=(graph.projections[0], out))


LONELY = Population("lonely", (2,), NeuronModel(), 1.0, 0.0)
INTO_LONELY = Projection("x", "lonely", Dense(np.ones((2, 50))))
MIXED = Projection("x", "b", Dense(np.ones((64, 50))))


@pytest.mark.parametrize(
    ("graph", "encoder", "advised", "advised_encoder"),
    [
        follows(
            "Give at least one layer a ReLU or spiking activation",
            lambda: replace(network(1), populations=(), projections=()),
            "auto",
            lambda: network(1),
            "auto",
        ),
        follows(
            "Decode it from a spiking layer",
            lambda: changed(network(1), (), (Projection("x", "y", Dense(np.ones((3, 50)))),)),
            "auto",
            lambda: changed(network(1), (), (Projection("a", "y", Dense(np.ones((3, 75))), 0.005),)),
            "auto",
        ),
        follows(
            "Remove it or connect it to an input",
            lambda: changed(network(1), (LONELY,)),
            "auto",
            lambda: network(1),
            "auto",
            id="a layer that nothing reaches, removed",
        ),
        follows(
            "Remove it or connect it to an input",
            lambda: changed(network(1), (LONELY,)),
            "auto",
            lambda: changed(network(1), (LONELY,), (INTO_LONELY,)),
            "auto",
            id="a layer that nothing reaches, connected",
        ),
        follows(
            "Use encoder='on_off'",
            lambda: changed(network(1), (), (MIXED,)),
            "first_layer",
            lambda: changed(network(1), (), (MIXED,)),
            "on_off",
        ),
        follows(
            "Use encoder='on_off', which keeps the first layer on chip",
            with_first_layer_alone,
            "first_layer",
            with_first_layer_alone,
            "on_off",
        ),
    ],
)
def test_what_is_advised_can_be_cut(graph, encoder, advised, advised_encoder):
    with pytest.raises(PartitionError):
        partition(graph(), encoder)
    assert partition(advised(), advised_encoder).chip.populations


@pytest.mark.follows("Try …")
def test_an_encoder_that_does_not_exist():
    with pytest.raises(InputError, match="Try 'poisson'"):
        partition(network(1), "poison")
    assert partition(network(1), "poisson")


def test_weights_of_one_leave_the_host_only_additions():
    (encoder,) = partition(network(2), encoder_rate=100.0).encoder.populations
    assert encoder.adds_only
    assert not partition(network(1)).encoder.populations[0].adds_only
    graph = network(1)
    one, *others = graph.projections
    signs = np.sign(one.transform.values)

    def encoder_of(values, tau=0.0, **changes):
        changed = replace(one, transform=one.transform.with_values(values), tau=tau)
        a, b = graph.populations
        parts = partition(
            replace(graph, projections=(changed, *others), populations=(replace(a, **changes), b)),
            "first_layer",
        )
        return parts.encoder.populations[0]

    assert encoder_of(signs).adds_only
    assert encoder_of(signs, gain=np.array(30.0)).adds_only
    one_differs = signs.copy()
    one_differs.flat[0] *= 0.5
    for other in (
        encoder_of(2 * signs),
        encoder_of(one_differs),
        encoder_of(signs, tau=0.01),
        encoder_of(signs, gain=np.arange(1.0, 1.0 + graph.populations[0].size)),
        encoder_of(signs, neuron=NeuronModel("if", discretized=True)),
    ):
        assert not other.adds_only
    more = Input("more", graph.inputs[0].shape)
    second = replace(one, pre="more", transform=one.transform.with_values(2 * signs))
    first = replace(one, transform=one.transform.with_values(signs))
    for values, adds in ((second, False), (replace(second, transform=first.transform), True)):
        joined = replace(graph, inputs=(*graph.inputs, more), projections=(first, values, *others))
        assert partition(joined, "first_layer").encoder.populations[0].adds_only == adds


@pytest.mark.parametrize("neuron", [NeuronModel(), NeuronModel("lif", 0.02, 0.002)])
def test_neurons_of_the_host_begin_at_steps_of_the_golden_ratio(neuron):
    """Each starts 0.618 of a threshold behind the one before it, unless its population says where."""
    graph = Graph(
        (Input("x", (3,)),),
        (
            Population("p", (40,), neuron, np.array(50.0), np.zeros(40)),
            Population("q", (2,), NeuronModel(), np.array(1.0), np.zeros(2)),
        ),
        (
            Projection("x", "p", Dense(np.full((40, 3), 0.5))),
            Projection("p", "q", Dense(np.ones((2, 40))), 0.005),
        ),
    )
    graph = replace(graph, readouts=(), projections=graph.projections)
    (encoder,) = partition(graph, "first_layer").encoder.populations
    found = encoder.initial_voltage
    np.testing.assert_allclose(found[:4], [0, 0.6180339887, 0.2360679775, 0.8541019662])
    np.testing.assert_allclose(np.diff(found) % 1, 0.6180339887)
    given = replace(graph.populations[0], initial_voltage=np.full(40, 0.25))
    said = replace(graph, populations=(given, graph.populations[1]))
    (encoder,) = partition(said, "first_layer").encoder.populations
    assert (encoder.initial_voltage == 0.25).all()


def chain():
    """Two inputs -> 'a' -> 'b' -> 'c', which hears itself, and readouts of two of them; every number is another one."""
    sizes = {"x": 3, "z": 2, "a": 4, "b": 5, "c": 6, "y": 2, "w": 3}
    ways = [("x", "a"), ("z", "a"), ("a", "b"), ("b", "c"), ("c", "c"), ("a", "y"), ("c", "y"), ("c", "w")]
    late = {("a", "b"): 2, ("c", "c"): np.arange(6), ("a", "y"): np.array([0, 3, 3, 0]), ("c", "w"): 4}
    rng = np.random.default_rng(7)
    return Graph(
        (Input("x", (3,)), Input("z", (2,))),
        tuple(
            Population(
                name, (sizes[name],), NeuronModel(), 2.0, rng.normal(size=sizes[name]), amplitude, start
            )
            for name, amplitude, start in (
                ("a", 0.5, np.full(4, 0.25)),
                ("b", 0.25, np.full(5, 0.5)),
                ("c", 0.125, None),
            )
        ),
        tuple(
            Projection(
                pre, post, Dense(rng.normal(size=(sizes[post], sizes[pre]))), 0.001 * k, late.get((pre, post))
            )
            for k, (pre, post) in enumerate(ways)
        ),
        (Readout("y", (2,), np.array([1.0, 2.0])), Readout("w", (3,), np.arange(3.0))),
        dt=0.002,
        notes=("said before",),
        frame_steps=9,
    )


def test_every_part_of_a_network_is_where_it_belongs():
    graph = chain()
    parts = partition(graph, "first_layer")
    a, b, c = graph.populations
    x_a, z_a, a_b, b_c, c_c, a_y, c_y, c_w = graph.projections

    def times(projection, amplitude, weights=None, delays=None):
        weights = projection.transform.weights if weights is None else weights
        transform = Dense(amplitude * weights)
        if delays is None:
            return replace(projection, transform=transform)
        return replace(projection, transform=transform.csr(), delays=delays)

    assert parts.encoder == Graph(graph.inputs, (a,), (x_a, z_a), (), 0.002)
    assert parts.chip == Graph(
        (Input("a", (4,)),),
        (replace(b, amplitude=1.0, initial_voltage=None), replace(c, amplitude=1.0)),
        (times(a_b, 0.5), times(b_c, 0.25), times(c_c, 0.125)),
        dt=0.002,
        frame_steps=9,
    )
    early, late = (a_y.transform.weights * np.isin(np.arange(4), kept) for kept in ([0, 3], [1, 2]))
    assert parts.readout == Graph(
        (Input("a", (4,)), Input("c", (6,))),
        (),
        (times(a_y, 0.5, early, 0), times(a_y, 0.5, late, 3), times(c_y, 0.125), times(c_w, 0.125)),
        graph.readouts,
        0.002,
    )
    assert parts.links == (Link("a", "to_chip", 1), Link("c", "from_chip", 0))
    assert parts.notes == ("said before",)


def test_currents_in_the_place_of_spikes_are_readouts_of_the_encoder():
    graph = replace(chain(), populations=tuple(replace(p, initial_voltage=None) for p in chain().populations))
    parts = partition(graph, "bias", 100.0)
    assert parts.encoder.populations == ()
    assert [(r.name, r.shape) for r in parts.encoder.readouts] == [("x_bias", (6,)), ("z_bias", (4,))]
    assert [p.name for p in parts.chip.populations] == ["x_bias", "z_bias", "a", "b", "c"]
    assert parts.chip.inputs == ()
    assert [(link.population, link.kind) for link in parts.links] == [("a", "from_chip"), ("c", "from_chip")]
    assert {p.pre for p in parts.encoder.projections} == {"x", "z"}


def test_only_time_to_first_spike_keeps_its_currents():
    graph = network(2)
    for encoder, taus in (("on_off", {0.01}), ("ttfs", {0.01, np.inf})):
        parts = partition(graph, encoder)
        assert {p.tau for p in parts.chip.projections} == taus
        for projection in parts.chip.projections:
            from_host = projection.pre in {node.name for node in parts.chip.inputs}
            assert (projection.tau == np.inf) == (from_host and encoder == "ttfs")
        (neurons,) = parts.encoder.populations
        assert neurons.neuron.kind == ("if" if encoder == "on_off" else "ttfs")
        assert (neurons.initial_voltage is None) == (encoder == "ttfs")


@pytest.mark.parametrize(("rate", "found"), [(300.0, 300.0), (1000.0, 500.0)])
def test_neurons_in_front_fire_once_in_a_step_at_most(rate, found):
    (encoder,) = partition(replace(network(2), dt=0.002), "on_off", rate).encoder.populations
    (drive,) = partition(replace(network(2), dt=0.002), "on_off", rate).encoder.projections
    x = np.full((1, 50), 2.0)
    rates = encoder.neuron.rates(encoder.currents(drive.transform.apply(x)))
    assert rates.max() == pytest.approx(found)


def problems_of(graph, encoder="auto"):
    with pytest.raises(PartitionError) as caught:
        partition(graph, encoder)
    said = [(p.what, p.where, p.value, p.remedy) for p in caught.value.problems]
    return str(caught.value).split(". ")[0].split(" (")[0], said


def test_what_stands_in_the_way_by_its_whole_text():
    graph = network(1)
    nowhere = replace(graph, populations=(), projections=(), readouts=())
    assert problems_of(nowhere) == (
        "Nothing to deploy",
        [
            (
                "the network has no spiking layer",
                "",
                None,
                "Give at least one layer a ReLU or spiking activation",
            )
        ],
    )
    late = replace(graph.projections[0], delays=3)
    of_frames = replace(graph.projections[1], frames_back=1)
    again = replace(graph.projections[2], frames_back=2)
    skip = Projection("x", "y", Dense(np.ones((3, 50))))
    bad = replace(changed(graph, (LONELY,)), projections=(late, of_frames, again, skip))
    title, said = problems_of(bad)
    assert title == "Cannot cut the network into host and chip parts"
    assert said == [
        (
            "reads real input values, which the chip's readout does not have",
            "x->y",
            None,
            "Decode it from a spiking layer",
        ),
        (
            "input values are not held back, spikes are",
            "x->a",
            "3 steps",
            "Give the delays to a projection out of a population",
        ),
        (
            "projections bring what was said of earlier frames, and nobody says how many steps a frame takes",
            "a->b, b->y",
            None,
            "Say so: loihi_deploy.with_frame_delays(graph, steps_per_frame)",
        ),
        ("no input reaches it", "lonely", None, "Remove it or connect it to an input"),
    ]
    framed = replace(graph, projections=(replace(late, delays=None, frames_back=1), *graph.projections[1:]))
    assert [p[:3] for p in problems_of(replace(framed, frame_steps=4))[1]] == [
        ("input values are not held back, spikes are", "x->a", "0 steps")
    ]
    title, said = problems_of(changed(graph, (), (MIXED,)), "first_layer")
    assert title == "Cannot make the first layer the encoder"
    assert said == [
        (
            "takes real input values and spikes at once, so it can stand neither on the host nor on the chip",
            "b",
            None,
            "Use encoder='on_off'",
        ),
        (
            "every spiking layer is an encoder, none is left for the chip",
            "a, b",
            None,
            "Use encoder='on_off', which keeps the first layer on chip",
        ),
    ]


@pytest.mark.parametrize(("bias", "driven"), [(0.0, False), (-1.0, False), (1e-9, True)])
def test_a_bias_current_drives_as_an_input_does(bias, driven):
    """Directly, or by way of another population."""
    biases = np.array([-1.0, bias])
    lonely = replace(LONELY, bias=biases)
    behind = Population("behind", (3,), NeuronModel(), 1.0, 0.0)
    back = Projection("lonely", "lonely", Dense(np.eye(2)), 0.005)
    graph = changed(
        network(1), (lonely, behind), (back, Projection("lonely", "behind", Dense(np.ones((3, 2)))))
    )
    if driven:
        assert [p.name for p in partition(graph, "first_layer").chip.populations] == ["b", "lonely", "behind"]
    else:
        assert [p[1] for p in problems_of(graph)[1]] == ["lonely", "behind"]


@pytest.mark.parametrize(
    "neuron", [NeuronModel("if", discretized=True), NeuronModel("lif", 0.02, 0.002, discretized=True)]
)
def test_neurons_of_the_host_that_are_the_chips_begin_as_the_chips_do(neuron):
    graph = network(1)
    first = replace(graph.populations[0], neuron=neuron)
    changed_first = replace(graph, populations=(first, graph.populations[1]))
    assert partition(changed_first, "first_layer").encoder.populations[0].initial_voltage is None
