"""Voltages at the start: what they are, and that every engine starts from them."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.charge import with_initial_voltages

X = np.random.default_rng(0).uniform(0, 1, (40, 20))


def network(neuron=NeuronModel(), tau=0.001):  # noqa: B008
    """Input 20 -> 'a' -> 'b' -> five classes; on and off neurons come in front."""
    rng = np.random.default_rng(2)
    return Graph(
        (Input("x", (20,)),),
        tuple(Population(name, (30,), neuron, 1.0, rng.uniform(-0.2, 0.4, 30)) for name in "ab"),
        (
            Projection("x", "a", Dense(rng.normal(size=(30, 20)))),
            Projection("a", "b", Dense(rng.normal(size=(30, 30)) / 4), tau),
            Projection("b", "y", Dense(rng.normal(size=(5, 30)) / 4), tau),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )


def charged(graph):
    return with_initial_voltages(ld.partition(ld.normalize(graph, X)))


@pytest.mark.parametrize("tau", [0.0, 0.001, 0.003])
def test_half_a_threshold_less_what_the_bias_adds_before_the_input_is_there(tau):
    parts = charged(network(tau=tau))
    hop = 1 + (1 / np.expm1(0.001 / tau) if tau else 0)
    for hops, population in enumerate(parts.chip.populations, start=1):
        expected = np.clip(0.5 - hops * hop * population.bias * 0.001, -1, 1)
        np.testing.assert_allclose(population.initial_voltage, expected)
        assert np.ptp(expected) > 0


def test_no_voltage_starts_beyond_a_threshold():
    parts = ld.partition(ld.normalize(network(), X))
    chip = tuple(replace(p, bias=np.linspace(-3000, 3000, 30)) for p in parts.chip.populations)
    for population in with_initial_voltages(
        replace(parts, chip=replace(parts.chip, populations=chip))
    ).chip.populations:
        found = population.initial_voltage
        assert (found.max(), found.min()) == (1, -1)
        assert (np.diff(found) <= 0).all()


def test_the_bias_adds_for_longer_where_spikes_are_held_back():
    graph = network()
    first, second, third = graph.projections
    late = replace(graph, projections=(first, replace(second, delays=np.arange(30) % 5), third))
    parts, usual = charged(late), charged(network())
    for population, before in zip(parts.chip.populations, usual.chip.populations, strict=True):
        added = 4 if population.name == "b" else 0
        inside = np.abs(before.initial_voltage - added * population.bias * 0.001) < 1
        expected = before.initial_voltage - added * population.bias * 0.001
        np.testing.assert_allclose(population.initial_voltage[inside], expected[inside])
        assert inside.any()


def test_neurons_of_a_square_of_four_start_at_quarters():
    rng = np.random.default_rng(0)
    shape = (5, 6, 3)
    graph = Graph(
        (Input("x", (20,)),),
        (
            Population("image", shape, NeuronModel(), 1.0, 0.0),
            Population("row", (1, 6, 3), NeuronModel(), 1.0, 0.0),
        ),
        (
            Projection("x", "image", Dense(rng.normal(size=(90, 20)))),
            Projection("image", "row", Dense(rng.normal(size=(18, 90)))),
            Projection("row", "y", Dense(rng.normal(size=(5, 18)))),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )
    image, row = (population.initial_voltage for population in charged(graph).chip.populations)
    starts = image.reshape(shape)
    assert (np.ptp(starts, axis=2) == 0).all()
    for i in range(4):
        for j in range(5):
            assert sorted(starts[i : i + 2, j : j + 2, 0].ravel()) == [1 / 8, 3 / 8, 5 / 8, 7 / 8]
    assert (row == 0.5).all()


def test_integers_are_parts_of_the_threshold_and_have_room_below_zero():
    parts = charged(network())
    program = ld.quantize(parts)
    for population, compartments in zip(parts.chip.populations, program.populations, strict=True):
        exact = population.initial_voltage * compartments.threshold
        assert np.abs(compartments.initial_voltage - exact).max() <= 0.5
    (v_min,) = {compartments.v_min for compartments in program.populations}  # one setting for all cores
    depth = 1 - v_min
    assert depth & (depth - 1) == 0
    largest = max(compartments.threshold for compartments in program.populations)
    assert largest <= depth < 2 * largest
    plain = ld.quantize(ld.partition(ld.normalize(network(), X)))
    assert {(c.v_min, c.initial_voltage) for c in plain.populations} == {(0, None)}
    for ours, theirs in zip(program.synapses, plain.synapses, strict=True):
        assert ours == theirs


def test_voltages_that_begin_deeper_than_a_threshold_have_room_too():
    parts = charged(network())
    deep = replace(parts.chip.populations[0], initial_voltage=np.linspace(-5, -2, 30))
    populations = (deep, *parts.chip.populations[1:])
    program = ld.quantize(replace(parts, chip=replace(parts.chip, populations=populations)))
    first = program.populations[0]
    assert first.initial_voltage.min() < -4 * first.threshold
    assert all((c.initial_voltage >= c.v_min).all() for c in program.populations)


def test_leaky_neurons_are_half_way_when_their_input_arrives():
    parts = charged(network(NeuronModel("lif", 0.02, 0.002)))
    for hops, population in enumerate(parts.chip.populations, start=1):
        v = population.initial_voltage
        for _ in range(1000 * hops):  # small steps of the membrane equation
            v = v + 1e-6 * (1 + 1 / np.expm1(1.0)) * (population.bias - v) / 0.02
        free = np.abs(population.initial_voltage) < 1
        np.testing.assert_allclose(v[free], 0.5, atol=1e-3)
        assert free.any()


@pytest.mark.parametrize("backend", ["numpy", "nengo_loihi"])
def test_every_engine_starts_from_them_before_each_sample(backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(steps=20))
    assert all(p.initial_voltage is not None and p.v_min < 0 for p in deployment.program.populations)
    record = {"a": ["spikes", "v"], "b": ["spikes", "v"]}
    ours, theirs = (deployment.run(X[:3], record=record, backend=name) for name in ("emulator", backend))
    for name in "ab":
        for variable in ("spikes", "v"):
            assert (ours.recorded[name][variable] == theirs.recorded[name][variable]).all()
        assert ours.recorded[name]["v"].min() < 0
        # alone, or behind others: the same
        alone = deployment.run(X[2:3], record=record, backend=backend).recorded[name]["v"]
        assert (alone == theirs.recorded[name]["v"][2:]).all()


def test_a_stream_starts_from_them_and_goes_on_without_a_reset():
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(steps=20))
    record = {"b": ["v"]}
    apart = deployment.run(X[:3], record=record).recorded["b"]["v"]
    stream = deployment.run(X[:3], record=record, stream=True).recorded["b"]["v"]
    assert (stream[0] == apart[0]).all()
    assert (stream[1] != apart[1]).any()


def test_they_are_saved(tmp_path):
    deployment = ld.deploy(network(), "loihi", X, ld.DeployOptions(steps=20))
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded.program == deployment.program
    assert loaded.options.steps == 20
    assert loaded.run(X[:2]).counters.sample_steps == 40


def test_a_network_s_own_voltages_do_not_reach_the_chip():
    graph = network()
    own = replace(
        graph, populations=tuple(replace(p, initial_voltage=np.full(30, 0.3)) for p in graph.populations)
    )
    assert ld.quantize(ld.partition(own)).populations == ld.quantize(ld.partition(graph)).populations


def test_a_population_that_is_also_read_is_as_far_from_those_behind_it():
    graph = network()
    read = Projection("a", "y", Dense(np.ones((5, 30)) / 30), 0.0)
    parts, usual = charged(replace(graph, projections=(*graph.projections, read))), charged(graph)
    assert {link.population for link in parts.links if link.kind == "from_chip"} == {"a", "b"}
    for population, before in zip(parts.chip.populations, usual.chip.populations, strict=True):
        assert (population.initial_voltage == before.initial_voltage).all()


def test_hops_are_those_of_the_longest_way_and_a_layers_own_spikes_are_none():
    """Links hold back, too; what comes back from behind does not count, and what nothing reaches waits for nothing."""
    parts = charged(network(tau=0.0))
    chip = parts.chip
    a, b = chip.populations
    alone = Population("alone", (30,), NeuronModel(), 1.0, np.linspace(-200, 200, 30))
    (source,) = chip.inputs
    back = Projection("b", "a", Dense(np.eye(30)), 0.0, delays=9)
    own = Projection("b", "b", Dense(np.eye(30)), 0.0, delays=9)
    skip = Projection(source.name, "b", Dense(np.ones((30, source.size))), 0.002, delays=6)
    to_chip, *others = parts.links
    slow = replace(
        parts,
        chip=replace(chip, populations=(a, b, alone), projections=(*chip.projections, back, own, skip)),
        links=(replace(to_chip, delay=4), *(replace(link, delay=7) for link in others)),
    )
    for population, delay in zip(
        with_initial_voltages(slow).chip.populations, (4, 4 + 6 + 1 / np.expm1(0.5), 0), strict=True
    ):
        expected = np.clip(0.5 - delay * population.bias * 0.001, -1, 1)
        np.testing.assert_allclose(population.initial_voltage, expected)


@pytest.mark.parametrize(("tau", "delay"), [(0.0, 0.0), (0.002, 1 / np.expm1(0.5)), (np.inf, 0.0)])
def test_currents_that_stay_are_there_at_once(tau, delay):
    parts = charged(network(tau=0.0))
    projections = tuple(replace(p, tau=tau) for p in parts.chip.projections)
    (first, *_) = with_initial_voltages(
        replace(parts, chip=replace(parts.chip, projections=projections))
    ).chip.populations
    np.testing.assert_allclose(first.initial_voltage, np.clip(0.5 - (1 + delay) * first.bias * 0.001, -1, 1))
