"""Deployments as NIR graphs: the integers that come back, and what the floats do elsewhere."""

import warnings
from dataclasses import replace

import nir
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings

import loihi_deploy as ld
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.cli import commands
from loihi_deploy.errors import InputError, LoihiDeployWarning, OutputError
from loihi_deploy.frontends import opened
from loihi_deploy.ir import Dense, Graph, Input, Link, Projection, Readout
from loihi_deploy.ir.program import Noise, Program
from tests.conformance.test_engines import NEURONS, TRANSFORMS, network
from tests.engines.programs import programs
from tests.nir_steps import Steps

OPTIONS = ld.DeployOptions(normalization="none", bias_correction_steps=0)
LOWEST = -(2**23) + 1


def deployed(program):
    """A deployment of a program that has no host parts: spikes in, the spikes of the last population out."""
    last = program.populations[-1]
    readout = Graph(
        (Input(last.name, last.shape),),
        (),
        (Projection(last.name, "out", Dense(np.eye(last.size) * program.dt), 0.005),),
        (Readout("out", (last.size,), np.zeros(last.size)),),
    )
    program = replace(
        program, readout=readout, links=tuple(Link(s.name, "to_chip", 1) for s in program.sources)
    )
    graph = Graph((), (), (), readout.readouts)
    return ld.Deployment.from_parts(graph, program, ld.map_to_cores(program, "nahuku32"))


def round_trip(deployment, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        ld.export.to_nir(deployment, path)
    program = opened(path)
    assert isinstance(program, Program)
    return program


def effective(synapses):
    """Entries of the matrix that the integers of some synapses are, zeros left out."""
    matrix = synapses.transform.csr().without_zeros()
    return matrix.rows, matrix.indices, matrix.data.astype(np.int64) << synapses.shift


def assert_same_integers(found, wanted):
    assert {p.name for p in found.populations} == {p.name for p in wanted.populations}
    for p in wanted.populations:
        same = replace(found.nodes[p.name], shape=p.shape)
        for name in ("decay_u", "decay_v", "threshold", "refractory", "v_min", "v_max"):
            assert getattr(same, name) == getattr(p, name), (p.name, name)
        assert (np.broadcast_to(same.bias, p.size) == np.broadcast_to(p.bias, p.size)).all()
        assert (same.initial_voltage is None) is (p.initial_voltage is None)
        if p.initial_voltage is not None:
            assert (same.initial_voltage == p.initial_voltage).all()
    assert [s.name for s in found.synapses] == [s.name for s in wanted.synapses]
    for a, b in zip(found.synapses, wanted.synapses, strict=True):
        for ours, given_ in zip(effective(a), effective(b), strict=True):
            assert np.array_equal(ours, given_), a.name


@pytest.mark.parametrize("name", ["nxtf-mnist", "mnist-convnet", "recurrent-lif", "cifar10-convnet"])
def test_benchmark_networks_come_back(name, tmp_path):
    program = ld.quantize(ld.partition(benchmarks.NETWORKS[name]()))
    graph = benchmarks.NETWORKS[name]()
    deployment = ld.Deployment.from_parts(graph, program, ld.map_to_cores(program, "nahuku32"))
    found = round_trip(deployment, tmp_path / "net.nir")
    assert found.populations == program.populations
    assert found.synapses == program.synapses
    assert (found.sources, found.links) == (program.sources, program.links)
    for ours, wanted in zip(found.readout.projections, program.readout.projections, strict=True):
        assert ours.tau == pytest.approx(wanted.tau, rel=1e-9)
        np.testing.assert_allclose(
            ours.transform.csr().toarray(), wanted.transform.csr().toarray(), rtol=1e-12, atol=1e-15
        )
    nir.read(tmp_path / "net.nir")  # its own check of types


@pytest.mark.parametrize("neuron", NEURONS)
def test_every_neuron_of_the_contract_comes_back(neuron, tmp_path):
    program = network(np.random.default_rng(0), Dense(np.ones((40, 120), np.int8)), 6, **NEURONS[neuron])
    assert_same_integers(round_trip(deployed(program), tmp_path / "net.nir"), program)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_projection_of_the_contract_comes_back(transform, tmp_path):
    rng = np.random.default_rng(1)
    made = TRANSFORMS[transform](rng)
    program = network(rng, made, 7)
    if transform != "dense" and transform != "sparse":  # an image, so that it is written as a convolution
        population = replace(program.populations[0], shape=made.out_shape)
        program = replace(program, populations=(population,), synapses=program.synapses[:1])
    found = round_trip(deployed(program), tmp_path / "net.nir")
    assert_same_integers(found, program)
    if transform not in ("dense", "sparse"):
        assert isinstance(found.synapses[0].transform, type(made))
        assert found.populations[0].shape == made.out_shape


@given(programs())
@settings(
    max_examples=8, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None
)
def test_random_programs_come_back(tmp_path_factory, program):
    assume(program.sources and program.synapses)
    assume(all(p.noise is None for p in program.populations))
    assume({s.name for s in program.sources} <= {s.pre for s in program.synapses})
    assume(all(program.into(p.name) for p in program.populations))
    found = round_trip(deployed(program), tmp_path_factory.mktemp("nir") / "net.nir")
    assert_same_integers(found, program)


def stepped(path, spikes, wanted=(), dt=0.001, floor=-np.inf):
    """Spikes of each population of a written graph in the simulator of the tests, for (steps, n) input spikes."""
    graph = nir.read(path)
    steps = Steps(graph, list(graph.nodes), dt, floor)
    names = [name for name, node in graph.nodes.items() if isinstance(node, (nir.CubaLIF, nir.LIF))]
    order = [n for n in graph.nodes if isinstance(graph.nodes[n], nir.Input)]
    left = [name for name in graph.nodes if name not in order]
    while left:  # behind what drives it, circles cut at neurons
        ready = [n for n in left if all(a in order for a, b in graph.edges if b == n and a != n)]
        order += ready or [next(n for n in left if n in names)]
        left = [name for name in left if name not in order]
    needed = set(wanted or names)
    while more := {a for a, b in graph.edges if b in needed} - needed:
        needed |= more
    steps.order = [name for name in order if name in needed]
    shapes = {n: graph.nodes[n].output_type["output"] for n in spikes}
    made = [
        steps.step({n: x[t].reshape(shapes[n]).astype(float) for n, x in spikes.items()})
        for t in range(len(next(iter(spikes.values()))))
    ]
    return {name: np.array([out[name].reshape(-1) for out in made]) for name in wanted or names}


def test_another_simulator_gives_the_same_spikes_where_nothing_is_rounded(tmp_path):
    """Currents that are forgotten, voltages that do not leak and have room below 0."""
    rng = np.random.default_rng(2)
    settings_ = {
        "decay_u": 4095,
        "decay_v": 0,
        "v_min": LOWEST,
        "bias": rng.integers(-200, 900, 40),
        "threshold": 64 * 900,
    }
    program = network(rng, TRANSFORMS["dense"](rng), 6, **settings_)
    deployment = deployed(program)
    path = tmp_path / "net.nir"
    round_trip(deployment, path)
    spikes = rng.random((1, 80, 120)) < 0.2
    from loihi_deploy.engines.chip.plain import simulate

    ours = simulate(deployment.program, {"s": spikes}, 80, {"p": ["spikes"]}).recorded["p"]["spikes"][0]
    theirs = stepped(path, {"s": spikes[0]})["p"]
    assert ours.sum() > 100
    assert np.array_equal(ours[1:], theirs[:-1])  # on chip a spike of the host takes a step


def test_a_network_from_the_host_to_the_readout_in_another_simulator(tmp_path):
    """Spikes are ours where voltages stop at 0, but for what rounds; most of them where they do not."""
    graph = benchmarks.nxtf_mnist()
    deployment = ld.deploy(graph, "nahuku32", options=OPTIONS)
    path = tmp_path / "net.nir"
    round_trip(deployment, path)
    names = [p.name for p in deployment.program.all_nodes]
    result = deployment.run(benchmarks.inputs("nxtf-mnist", 1), 60, record=names, progress=False)
    recorded = {name: result.recorded[name]["spikes"][0] for name in names}
    (source,) = deployment.program.sources
    order = np.moveaxis(np.arange(source.size).reshape(source.shape), -1, 0).reshape(-1)
    first = deployment.program.populations[0]
    place = np.moveaxis(np.arange(first.size).reshape(first.shape), -1, 0).reshape(-1)
    ours = recorded[first.name][:, place]
    assert ours.sum() > 100
    sent = recorded[source.name][:, order]
    arriving = np.concatenate([np.zeros_like(sent[:1]), sent[:-1]])  # a step from the host to the chip
    for floor, part in ((0.0, 0.01), (-np.inf, 0.3)):
        theirs = stepped(path, {source.name: arriving}, [first.name], floor=floor)[first.name]
        assert (ours != theirs).sum() < part * ours.sum()


def test_what_nir_has_no_word_for_is_refused_at_once(tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6, noise=Noise(8))
    with pytest.raises(InputError, match="noise") as caught:
        ld.export.to_nir(deployed(program), tmp_path / "net.nir")
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "net.nir").exists()


def test_what_others_will_do_otherwise_is_said(tmp_path):
    rng = np.random.default_rng(0)
    program = network(
        rng, TRANSFORMS["dense"](rng), 6, refractory=4, v_max=2**21 - 1, initial_voltage=np.arange(40)
    )
    with pytest.warns(LoihiDeployWarning) as caught:
        ld.export.to_nir(deployed(program), tmp_path / "net.nir")
    said = " ".join(str(warning.message) for warning in caught)
    assert all(word in said for word in ("refractory", "at the start", "upper bound", "lower bound", "round"))


def test_input_values_that_drive_biases_come_back(tmp_path):
    graph = benchmarks.nxtf_mnist()
    options = replace(OPTIONS, encoder="bias")
    deployment = ld.deploy(graph, "nahuku32", options=options)
    found = round_trip(deployment, tmp_path / "net.nir")
    assert found.populations == deployment.program.populations
    assert found.synapses == deployment.program.synapses
    x = benchmarks.inputs("nxtf-mnist", 2)
    path = tmp_path / "net.nir"
    again = ld.deploy(path).run(np.moveaxis(x, -1, 1), 60, record=["conv2"], progress=False)
    ours = deployment.run(x, 60, record=["conv2"], progress=False)
    assert ours.recorded["conv2"]["spikes"].any()
    assert (again.recorded["conv2"]["spikes"] == ours.recorded["conv2"]["spikes"]).all()


def test_names_that_hdf5_takes_apart(tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6)
    renamed = replace(program.populations[0], name="block/p")
    ends = {"p": "block/p"}
    synapses = tuple(
        replace(s, pre=ends.get(s.pre, s.pre), post=ends.get(s.post, s.post)) for s in program.synapses
    )
    found = round_trip(
        deployed(replace(program, populations=(renamed,), synapses=synapses)), tmp_path / "n.nir"
    )
    assert [p.name for p in found.populations] == ["block|p"]


def test_the_command(tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6)
    deployed(program).save(tmp_path / "net.loihi")
    result = CliRunner().invoke(
        commands, ["export", str(tmp_path / "net.loihi"), "-o", str(tmp_path / "net.nir")]
    )
    assert result.exit_code == 0, result.output
    assert "lower bound" in result.output
    assert isinstance(opened(tmp_path / "net.nir"), Program)
    compiled = CliRunner().invoke(
        commands, ["compile", str(tmp_path / "net.nir"), "-o", str(tmp_path / "b.loihi")]
    )
    assert compiled.exit_code == 0, compiled.output
    assert_same_integers(ld.load(tmp_path / "b.loihi").program, program)
    with pytest.raises(OutputError):
        ld.export.to_nir(deployed(program), tmp_path / "nowhere" / "net.nir")
