"""Counts against slow and obvious ones, and an example priced by hand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loihi_deploy as ld
from loihi_deploy.analysis.energy import estimate, load_coefficients
from loihi_deploy.analysis.energy.counting import counts_of, meter
from loihi_deploy.analysis.energy.estimate import _notes
from loihi_deploy.analysis.energy.margins import with_margins
from loihi_deploy.analysis.energy.wiring import DENSE, SHARED, SPARSE, synapse_kind, wiring
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.line import Line
from loihi_deploy.engines.chip import plain
from loihi_deploy.engines.events import Events
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout, samples_for
from loihi_deploy.ir.program import Compartments, Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.traffic import core_of_neurons
from loihi_deploy.mapping.usage import slice_bundles
from tests.mapping.networks import NOTHING, chain, networks

COSTS = load_coefficients("sanafe2025")
KINDS = {SHARED: "shared synapses", DENSE: "dense synapses", SPARSE: "sparse synapses"}


def slow_counts(program, mapping, spikes, voltages):
    """Every count from every stored synapse, and the time of every step; for one sample, margins included."""
    shapes, limits = grids(program), mapping.board.chip.core
    slices = [core.slices for core in mapping.cores]
    place = core_of_neurons(program, slices, shapes)
    full = with_margins(program, mapping)
    place.update({name: margin.core for name, margin in full.margins.items()})
    n_cores, steps = len(slices), len(next(iter(spikes.values()))[0])
    synapses = []  # pre, neuron, core, kind, targets: population and neuron
    n_margins = Counter()
    for c, pieces in enumerate(slices):
        for piece in pieces:
            neurons = zip(piece.compartments(), piece.neurons(shapes[piece.population]), strict=True)
            at_compartment = {int(k): (piece.population, int(neuron)) for k, neuron in neurons}
            for k in range(piece.offset, piece.offset + piece.n_compartments):
                if k not in at_compartment:
                    margin = f"{piece.population} (margin)"
                    at_compartment[k] = margin, n_margins[margin]
                    n_margins[margin] += 1
            for bundle in slice_bundles(program, piece, limits):
                pre = program.synapses[bundle.projection].pre
                weights, indices = bundle.make_sets()
                for axon in range(bundle.n_axons):
                    index = indices[bundle.set_of[axon]] + bundle.base_of[axon]
                    for atom, neuron in enumerate(bundle.neurons[axon]):
                        row = index[min(atom, len(index) - 1)]
                        assert len(row) == weights[bundle.set_of[axon]].shape[1]
                        targets = [at_compartment[int(k)] for k in row]
                        synapses.append((pre, int(neuron), c, synapse_kind(piece, bundle), targets))
    counts = dict.fromkeys((*KINDS.values(), "spikes", "messages out", "messages in", "updates"), 0)
    generation = np.zeros((steps, n_cores))
    processing = np.zeros((steps, n_cores))
    for c, pieces in enumerate(slices):
        generation[:, c] += COSTS.access_ns * sum(piece.n_compartments for piece in pieces)
    arrived = {p.name: np.zeros((steps, p.size), bool) for p in full.program.populations}
    reached = {}
    for pre, neuron, core, kind, targets in synapses:
        reached.setdefault((pre, neuron), set()).add(core)
        at = np.flatnonzero(spikes[pre][0][:, neuron])
        counts[KINDS[kind]] += len(at) * len(targets)
        processing[at, core] += len(targets) * COSTS.synapse_ns[kind]
        for population, target in targets:
            arrived[population][at[at + 1 < steps] + 1, target] = True
    for (pre, neuron), cores in reached.items():
        at = np.flatnonzero(spikes[pre][0][:, neuron])
        for core in cores:
            processing[at, core] += COSTS.message_in_ns
        counts["messages in"] += len(at) * len(cores)
        if pre in place:
            counts["messages out"] += len(at) * len(cores)
            generation[at, place[pre][neuron]] += len(cores) * COSTS.message_out_ns
    for p in full.program.populations:
        start = np.zeros(p.size) if p.initial_voltage is None else p.initial_voltage
        before = np.concatenate([[start], voltages[p.name][0][:-1]])
        updated = (before != 0) | arrived[p.name] | (p.bias != 0) | spikes[p.name][0]
        counts["updates"] += int(updated.sum())
        counts["spikes"] += int(spikes[p.name][0].sum())
        for t in range(steps):
            cores = place[p.name]
            generation[t] += COSTS.update_ns * np.bincount(cores[updated[t]], minlength=n_cores)
            generation[t] += COSTS.spike_ns * np.bincount(cores[spikes[p.name][0, t]], minlength=n_cores)
    busy = np.maximum(generation.max(axis=1), processing.max(axis=1))
    return counts, busy.sum(), busy.max()


def simulated(program, mapping, sent, steps):
    """Spikes and voltages of everything on chip, margins included."""
    program = with_margins(program, mapping).program
    return plain.simulate(program, sent, steps, {p.name: ("spikes", "v") for p in program.populations})


def metered(program, mapping, sent, simulation):
    """The same from the compiled counters."""
    n, steps = next(iter(sent.values())).shape[:2]
    wires = wiring(program, mapping)
    counter = meter(wires, COSTS)
    program = wires.full.program
    voltages = [simulation.recorded[name]["v"][:, :, part.neurons] for name, part in counter.followed.items()]
    host = Events.from_dense(sent, n, steps)
    chip = Events.from_dense(
        {p.name: simulation.recorded[p.name]["spikes"] for p in program.populations}, n, steps
    )
    empty = np.zeros((n, steps, 0), np.int32)
    activity = counter.count(counter.start(n), host, chip, np.concatenate([*voltages, empty], axis=2))
    return counts_of(wires, activity), activity


@settings(max_examples=25, deadline=None)
@given(program=networks(), seed=st.integers(0, 100), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_counts_are_those_of_every_synapse(program, seed, share):
    rng = np.random.default_rng(seed)
    quiet = [
        replace(p, bias=np.where(rng.random(p.size) < share, 0, p.bias).astype(np.int32))
        for p in program.populations
    ]
    program = replace(program, populations=tuple(quiet))
    check_counts(program, map_to_cores(program, "loihi"), rng)


def check_counts(program, mapping, rng):
    sent = {s.name: rng.random((1, 12, s.size)) < 0.2 for s in program.sources}
    simulation = simulated(program, mapping, sent, 12)
    spikes = {**sent, **{name: found["spikes"] for name, found in simulation.recorded.items()}}
    voltages = {name: found["v"] for name, found in simulation.recorded.items()}
    expected, busy, longest = slow_counts(program, mapping, spikes, voltages)
    counts, activity = metered(program, mapping, sent, simulation)
    found = {name: counts.total(name) for name in expected if name != "updates"}
    assert {**found, "updates": counts.total("updated compartments")} == expected
    compartments = sum(core.n_compartments for core in mapping.cores)
    assert counts.total("idle compartments") + expected["updates"] == compartments * 12
    assert activity.busy_ns[0] == pytest.approx(busy, rel=1e-12)
    assert activity.longest_ns[0] == pytest.approx(longest, rel=1e-12)


def test_margins_count_as_what_they_are():
    rng = np.random.default_rng(2)
    program = chain((6, 6, 64), [("conv", 3, 1, 64)], seed=1)
    mapping = map_to_cores(program, "nahuku32")
    assert any(any(piece.margin) for core in mapping.cores for piece in core.slices)
    check_counts(program, mapping, rng)


def test_margins_that_are_not_followed_count_as_updated(monkeypatch):
    rng = np.random.default_rng(2)
    program = chain((6, 6, 64), [("conv", 3, 1, 64)], seed=1)
    mapping = map_to_cores(program, "nahuku32")
    margins = sum(core.n_compartments - core.n_neurons for core in mapping.cores)
    sent = {"in": rng.random((1, 8, 6 * 6 * 64)) < 0.2}
    counts, _ = metered(program, mapping, sent, simulated(program, mapping, sent, 8))
    noisy = replace(program.populations[0], noise=Noise(1))
    with_noise = replace(program, populations=(noisy,))
    assert wiring(with_noise, map_to_cores(with_noise, "nahuku32")).biased.sum() == noisy.size + margins
    assert with_margins(program, mapping, 1000).program == program
    monkeypatch.setattr(with_margins, "__defaults__", (1000,))
    wiring.cache_clear()
    wires = wiring(program, mapping)
    assert not wires.full.margins
    assert wires.biased.sum() == (program.populations[0].bias != 0).sum() + margins
    (found,) = [note for note in _notes(program, wires, counts) if "stand for no neuron" in note]
    assert f"{margins:,} compartments" in found
    wiring.cache_clear()


def test_a_spike_may_reach_a_margin_twice():
    """A margin at the end of a row is that at the start of the next: a wide kernel on a narrow slice reaches both."""
    rng = np.random.default_rng(0)
    program = chain((4, 1, 1), [("conv", 5, 1, 2, 2)], decay_u=4095, threshold=64 * 10**5)
    mapping = map_to_cores(program, "loihi", fix={"conv1": (4, 1, 2)})
    core = mapping.cores[0]
    wire = replace(core.slices[0].wirings[0], kind="pixels", compressed=False)
    piece = replace(core.slices[0], margin=(2, 2), wirings=(wire,))
    mapping = replace(mapping, cores=(replace(core, slices=(piece,)),))
    full = with_margins(program, mapping)
    margin = full.program.into("conv1 (margin)")
    assert len(margin) == 2
    # without decay or spikes the current of a step is what the stored synapses of the last step's spikes add up to
    sent = {"in": rng.random((1, 6, 4)) < 0.5}
    found = plain.simulate(full.program, sent, 6, {"conv1": ("u",), "conv1 (margin)": ("u",)}).recorded
    expected = np.zeros((6, piece.offset + piece.n_compartments), int)
    for bundle in slice_bundles(program, piece, mapping.board.chip.core):
        weights, indices = bundle.make_sets()
        for axon, neuron in enumerate(bundle.neurons[:, 0]):
            for k, weight in zip(
                indices[bundle.set_of[axon]][0], weights[bundle.set_of[axon]][0], strict=True
            ):
                for step in np.flatnonzero(sent["in"][0, :-1, neuron]):
                    expected[step + 1, bundle.base_of[axon] + k] += int(weight) << program.synapses[0].shift
    assert (found["conv1 (margin)"]["u"][0] == expected[:, piece.margins()]).all()
    assert (found["conv1"]["u"][0][:, piece.neurons((4, 1, 2))] == expected[:, piece.compartments()]).all()
    check_counts(program, mapping, rng)


def test_messages_by_pair_of_cores_and_hops():
    program = chain((8, 8, 2), [("conv", 3, 1, 32), ("conv", 3, 1, 64), ("dense", 300)], seed=3)
    fixed = {"conv1": (2, 6, 32), "conv2": (2, 2, 32), "dense3": (1, 1, 100)}
    mapping = map_to_cores(program, "loihi", fix=fixed)
    assert mapping.n_cores > 8
    rng = np.random.default_rng(0)
    sent = {"in": rng.random((2, 10, 128)) < 0.3}
    simulation = simulated(program, mapping, sent, 10)
    counts, activity = metered(program, mapping, sent, simulation)
    assert activity.samples == 2
    assert activity.sample_steps == 20
    pairs = counts.messages
    assert pairs[:-1].sum() == counts.total("messages out") > 0
    assert pairs.sum() == counts.total("messages in")
    tile = np.array([core.number // 4 for core in mapping.cores])
    rows, columns = tile // 8, tile % 8
    assert (pairs[:-1] * np.abs(columns[:, None] - columns)).sum() == counts.total("hops east-west")
    assert (pairs[:-1] * np.abs(rows[:, None] - rows)).sum() == counts.total("hops north-south")
    # mapping.flows counts the same wires from the other end: one message for each spike of each neuron
    wires = wiring(program, mapping)
    ones = {p.name: np.ones((1, 1, p.size), bool) for p in wires.full.program.populations}
    everyone = Events.from_dense(ones, 1, 1)
    counter = meter(wires, COSTS)
    values = np.zeros((1, 1, sum(len(f.neurons) for f in counter.followed.values())), np.int32)
    host = Events.from_dense({"in": np.ones((1, 1, 128), bool)}, 1, 1)
    all_fire = counts_of(wires, counter.count(counter.start(1), host, everyone, values))
    flows = np.zeros_like(all_fire.messages)
    np.add.at(flows, (np.maximum(mapping.flows[:, 0], -1), mapping.flows[:, 1]), mapping.flows[:, 4])
    assert (all_fire.messages <= flows).all()
    assert all_fire.axon_messages == mapping.flows[mapping.flows[:, 0] >= 0, 4].sum()


def two_cores():
    """Two neurons on one core drive one on another; one source drives the first two. Every number can be seen."""
    quiet = {"decay_u": 4095, "decay_v": 0, "threshold": 64 * 100}
    program = Program(
        NOTHING,
        (SpikeSource("in", (1,)),),
        (
            Compartments("a", (2,), bias=np.array([64, 0]), **quiet),
            Compartments("b", (1,), bias=0, **quiet),
        ),
        (
            Synapses("in", "a", Dense(np.array([[120], [0]], np.int8)), 6),
            Synapses("a", "b", Dense(np.array([[120, 0]], np.int8)), 6),
        ),
        NOTHING,
    )
    return program, map_to_cores(program, "loihi", fix={"a": (1, 1, 2), "b": (1, 1, 1)})


def test_example_by_hand():
    program, mapping = two_cores()
    assert [core.populations for core in mapping.cores] == [("a",), ("b",)]
    sent = {"in": np.array([1, 0, 0, 0], bool).reshape(1, 4, 1)}
    simulation = plain.simulate(program, sent, 4, {"a": ("spikes", "v"), "b": ("spikes", "v")})
    # step 0: the source spikes; 1: it reaches a[0], which fires, and a[1] with weight 0; 2: a[0] reaches b, which fires
    assert np.argwhere(simulation.recorded["a"]["spikes"][0]).tolist() == [[1, 0]]
    assert np.argwhere(simulation.recorded["b"]["spikes"][0]).tolist() == [[2, 0]]
    counts, _ = metered(program, mapping, sent, simulation)
    # updated: a[0] in all 4 steps (its bias), a[1] in step 1 (a weight of 0 arrives), b in step 2
    assert counts.total("updated compartments") == 6
    assert counts.total("idle compartments") == 3 * 4 - 6
    assert counts.total("spikes") == 2
    assert counts.total("messages out") == 1
    assert counts.total("messages in") == 2
    assert counts.total("dense synapses") == 2  # into a, a row of weights
    assert counts.total("shared synapses") == 1  # into b, the pixel of a kernel
    sanafe = {name: table.sum() for name, table in counts.picojoules(COSTS).items()}
    assert round(sanafe["idle compartments"], 1) == 307.2  # 6 * 51.2
    assert round(sanafe["updated compartments"], 1) == 436.8  # 6 * (51.2 + 21.6)
    assert round(sanafe["spikes"], 1) == 138.6  # 2 * 69.3
    assert round(sanafe["messages out"], 1) == 111.0
    assert round(sanafe["dense synapses"], 1) == 71.0  # 2 * 35.5
    assert round(sanafe["shared synapses"], 1) == 24.0
    assert round(sum(sanafe.values()), 1) == 1088.6
    davies = {name: table.sum() for name, table in counts.picojoules(load_coefficients("davies2018")).items()}
    assert round(davies["idle compartments"], 1) == 312.0  # 6 * 52
    assert round(davies["updated compartments"], 1) == 486.0  # 6 * 81
    assert round(davies["messages out"], 1) == 1.7
    assert round(davies["dense synapses"] + davies["shared synapses"], 1) == 70.8  # 3 * 23.6
    assert round(sum(davies.values()), 1) == 870.5


def test_time_by_hand():
    program, mapping = two_cores()
    sent = {"in": np.array([1, 0, 0, 0], bool).reshape(1, 4, 1)}
    simulation = plain.simulate(program, sent, 4, {"a": ("spikes", "v"), "b": ("spikes", "v")})
    counts, activity = metered(program, mapping, sent, simulation)
    step0 = 16.0 + 2 * 3.8  # the host's message reads two synapses: longer than the 2 * 6.0 + 3.7 of a's core
    step1 = 2 * 6.0 + 2 * 3.7 + 30.0 + 5.1  # both of a are updated, a[0] fires and sends
    step2 = 6.0 + 3.7 + 30.0  # on b's core: it is updated, fires and sends nothing
    step3 = 2 * 6.0 + 3.7
    assert activity.busy_ns[0] == pytest.approx(step0 + step1 + step2 + step3, rel=1e-12)
    assert activity.longest_ns[0] == pytest.approx(step1, rel=1e-12)
    assert counts.messages.tolist() == [[0, 1], [0, 0], [1, 0]]


@pytest.fixture(scope="module")
def deployment():
    rng = np.random.default_rng(0)
    relu = NeuronModel("if", discretized=True)
    graph = Graph(
        (Input("input", (12,)),),
        (
            Population("first", (40,), relu, np.ones(()), rng.normal(20, 5, 40)),
            Population("second", (30,), relu, np.ones(()), np.zeros(30)),
            Population("third", (20,), relu, np.ones(()), rng.normal(5, 2, 20)),
        ),
        (
            Projection("input", "first", Dense(rng.normal(0, 40, (40, 12))), 0.0),
            Projection("first", "second", Dense(rng.normal(0.2, 0.5, (30, 40))), 0.005),
            Projection("second", "third", Dense(rng.normal(0.2, 0.5, (20, 30))), 0.005),
        ),
    )
    return ld.deploy(graph, "loihi", options=ld.DeployOptions(normalization="none", encoder="first_layer"))


def test_an_estimate_does_not_depend_on_threads_or_chunks(deployment):
    x = np.random.default_rng(1).random((7, 12))
    one = deployment.energy(x, 50, threads=1)
    assert one.values() == deployment.energy(x, 50, threads=2).values()
    alone = [deployment.energy(x[k : k + 1], 50) for k in range(7)]
    assert one.counts.total("updated compartments") == sum(
        e.counts.total("updated compartments") for e in alone
    )
    assert one.total.value == pytest.approx(np.mean([e.total.value for e in alone]), rel=1e-12)
    assert one.longest_step.value == pytest.approx(max(e.longest_step.value for e in alone), rel=1e-12)


def test_a_run_tells_the_same_when_it_is_counted(deployment):
    x = np.random.default_rng(1).random((3, 12))
    energy = deployment.energy(x, 50)
    counters = deployment.run(x, 50).counters
    on_chip = [p.name for p in deployment.program.populations]
    assert energy.counts.total("spikes") == sum(counters.populations[name].spikes for name in on_chip)
    assert energy.counts.host_spikes == counters.populations["first"].spikes


def test_an_evaluation_counts_in_its_own_run(monkeypatch):
    rng = np.random.default_rng(1)
    x = rng.random((5, 12))
    relu = NeuronModel("if", discretized=True)
    populations = [Population(name, (30,), relu, np.ones(()), rng.normal(5, 5, 30)) for name in "ab"]
    graph = Graph(
        (Input("input", (12,)),),
        tuple(populations),
        (
            Projection("input", "a", Dense(rng.normal(0, 40, (30, 12)))),
            Projection("a", "b", Dense(rng.normal(0.2, 0.5, (30, 30))), 0.005),
            Projection("b", "y", Dense(rng.normal(0, 0.1, (5, 30))), 0.005),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )
    deployment = ld.deploy(graph, "loihi", options=ld.DeployOptions(normalization="none"))
    labels = np.arange(5)
    expected = deployment.energy(x, 50).values()
    plain = deployment.evaluate(x, labels, 50, by_step=True)
    presented = []
    present = Line.present

    def counted(self, inputs, *arguments, **options):
        presented.append(len(next(iter(inputs.values()))))
        return present(self, inputs, *arguments, **options)

    monkeypatch.setattr(Line, "present", counted)
    result = deployment.evaluate(x, labels, 50, by_step=True, energy=True)
    assert sum(presented) == 5
    assert result.energy.values() == expected
    assert result.n_correct == plain.n_correct
    assert (result.n_correct_by_step == plain.n_correct_by_step).all()
    assert plain.energy is None
    assert plain.activity is None
    both = result + result
    assert both.activity.samples == 10
    assert both.energy is None
    for other in ({"backend": "numpy"}, {"stream": True}, {"reset": False}):
        with pytest.raises(InputError, match="samples that start from rest") as caught:
            deployment.evaluate(x, labels, 50, energy=True, **other)
        assert "deployment.energy(x)" in str(caught.value)


def test_parts_add_up_and_ranges_hold_the_estimate(deployment):
    x = np.random.default_rng(1).random((3, 12))
    for name in ("sanafe2025", "davies2018"):
        e = deployment.energy(x, 50, coefficients=name)
        assert e.coefficients.name == name
        for parts in (e.by_cause.values(), e.by_population.values(), e.by_core):
            assert sum(part.value for part in parts) == pytest.approx(e.dynamic.value)
        assert e.total.high == pytest.approx(e.dynamic.high + e.static.high)
        assert e.static.value == pytest.approx(0.104 * e.seconds.value)
        assert sum(part.value for part in e.time_parts.values()) == pytest.approx(e.seconds.value)
        assert e.by_chip[0].value == pytest.approx(e.total.value)
        for found in (e.total, e.dynamic, e.static, e.seconds, e.step, e.throughput):
            assert 0 < found.low <= found.value <= found.high
        assert f"'{name}'" in str(e)
        assert "Measured by others" in str(e)


def test_bad_input(deployment, tmp_path):
    x = np.zeros((2, 12))
    with pytest.raises(InputError, match="there is no sample"):
        deployment.energy(x[:0])
    first, *rest = deployment.program.populations
    other = replace(deployment.program, populations=(replace(first, threshold=first.threshold + 64), *rest))
    with pytest.raises(InputError, match="the mapping is that of another program") as caught:
        estimate(other, deployment.mapping, samples_for(deployment.graph, x), RunOptions(10))
    assert "map_to_cores" in str(caught.value)
    mapped = map_to_cores(other, "loihi")
    assert estimate(other, mapped, samples_for(deployment.graph, x), RunOptions(10)).samples == 2
    with pytest.raises(InputError, match="steps"):
        deployment.energy(x, 0)
