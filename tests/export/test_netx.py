"""Deployments as networks of lava-dl: the integers that come back, and what a file cannot say."""

import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.cli import commands
from loihi_deploy.errors import InputError, LoihiDeployWarning, OutputError
from loihi_deploy.frontends.netx import read_netx
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Noise, SpikeSource, Synapses
from tests.conformance.test_engines import NEURONS, TRANSFORMS, network
from tests.export.test_nir import deployed, effective
from tests.remedies import follows

LOWEST = -(2**23) + 1


def round_trip(deployment, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        ld.export.to_netx(deployment, path)
    return read_netx(path)


def assert_same_integers(found, wanted):
    """Populations by their place: a file has numbers for names."""
    for ours, p in zip(found.populations, wanted.populations, strict=True):
        assert replace(ours, name=p.name, shape=p.shape) == p
    for ours, s in zip(found.synapses, wanted.synapses, strict=True):
        for a, b in zip(effective(ours), effective(s), strict=True):
            assert np.array_equal(a, b), s.name


@pytest.mark.parametrize("name", ["nxtf-mnist", "mnist-convnet", "recurrent-lif"])
def test_benchmark_networks_come_back(name, tmp_path):
    graph = benchmarks.NETWORKS[name]()
    program = ld.quantize(ld.partition(graph))
    deployment = ld.Deployment.from_parts(graph, program, ld.map_to_cores(program, "nahuku32"))
    found = round_trip(deployment, tmp_path / "net.net")
    assert_same_integers(found, program)
    convolutions = [isinstance(s.transform, Conv2D) for s in program.synapses]
    assert [isinstance(s.transform, Conv2D) for s in found.synapses] == convolutions


@pytest.mark.parametrize("neuron", NEURONS)
def test_every_neuron_of_the_contract_comes_back(neuron, tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6, **NEURONS[neuron])
    assert_same_integers(round_trip(deployed(program), tmp_path / "net.net"), program)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_projection_of_the_contract_comes_back(transform, tmp_path):
    rng = np.random.default_rng(1)
    made = TRANSFORMS[transform](rng)
    program = network(rng, made, 7)
    if transform not in ("dense", "sparse"):
        population = replace(program.populations[0], shape=made.out_shape)
        program = replace(program, populations=(population,), synapses=program.synapses[:1])
    assert_same_integers(round_trip(deployed(program), tmp_path / "net.net"), program)


def test_spikes_of_what_comes_back_are_ours(tmp_path):
    graph = benchmarks.nxtf_mnist()
    deployment = ld.deploy(graph, "nahuku32", options=ld.DeployOptions(normalization="none"))
    names = [p.name for p in deployment.program.all_nodes]
    ours = deployment.run(benchmarks.inputs("nxtf-mnist", 1), 60, record=names, progress=False)
    path = tmp_path / "net.net"
    round_trip(deployment, path)
    again = ld.deploy(path)
    (source,) = deployment.program.sources
    sent = ours.recorded[source.name]["spikes"][0].reshape(60, *source.shape)
    theirs = again.run(np.moveaxis(sent, -1, 1)[None].astype(float), 60, record=["layer 3"], progress=False)
    wanted = ours.recorded[deployment.program.populations[2].name]["spikes"][0]
    assert wanted.sum() > 50
    assert np.array_equal(theirs.recorded["layer 3"]["spikes"][0], wanted)


def test_what_a_file_cannot_say_is_refused_at_once(tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6, noise=Noise(8))
    second = replace(program.populations[0], name="other")
    both = tuple(
        Synapses(pre, "other", Dense(np.ones((40, n), np.int8)), 6) for pre, n in (("s", 120), ("p", 40))
    )
    program = replace(
        program, populations=(*program.populations, second), synapses=(*program.synapses, *both)
    )
    with pytest.raises(InputError) as caught:
        ld.export.to_netx(deployed(program), tmp_path / "net.net")
    said = [(problem.where, problem.what.split(",")[0]) for problem in caught.value.problems]
    assert ("p", "noise") in said
    assert any(where == "other" and "driven by other" in what for where, what in said)
    assert not (tmp_path / "net.net").exists()
    more = replace(program, sources=(*program.sources, SpikeSource("t", (3,))))
    with pytest.raises(InputError, match="one source"):
        ld.export.to_netx(deployed(more), tmp_path / "net.net")


def two_ways(name):
    """A program whose second population hears the host and the first one; its first population alone if not."""
    program = network(np.random.default_rng(0), TRANSFORMS["dense"](np.random.default_rng(0)), 6)
    if name == "chain":
        return deployed(program)
    second = replace(program.populations[0], name="other")
    both = tuple(
        Synapses(pre, "other", Dense(np.ones((40, n), np.int8)), 6) for pre, n in (("s", 120), ("p", 40))
    )
    return deployed(
        replace(program, populations=(*program.populations, second), synapses=(*program.synapses, *both))
    )


def encoded(encoder):
    options = ld.DeployOptions(normalization="none", bias_correction_steps=0, encoder=encoder)
    return ld.deploy(benchmarks.nxtf_mnist(), "nahuku32", options=options)


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize(
    ("broken", "advised"),
    [
        follows(
            "Use an encoder on the host, which sends spikes: DeployOptions(encoder='on_off')",
            lambda p: ld.export.to_netx(encoded("bias"), p),
            lambda p: ld.export.to_netx(encoded("on_off"), p),
        ),
        follows(
            "Deploy a sequential network, or write it as NIR",
            lambda p: ld.export.to_netx(two_ways("both"), p),
            lambda p: ld.export.to_netx(two_ways("chain"), p),
            id="a sequential network",
        ),
        follows(
            "Deploy a sequential network, or write it as NIR",
            lambda p: ld.export.to_netx(two_ways("both"), p),
            lambda p: ld.export.to_nir(two_ways("both"), p),
            id="as NIR",
        ),
    ],
)
def test_what_is_advised_is_written(broken, advised, tmp_path):
    with pytest.raises(InputError):
        broken(tmp_path / "net")
    assert advised(tmp_path / "net").exists()


def test_what_lava_will_do_otherwise_is_said_and_stands_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    bias = np.arange(40) * 7
    program = network(
        rng, TRANSFORMS["dense"](rng), 6, bias=bias, refractory=3, initial_voltage=np.arange(40)
    )
    path = tmp_path / "net.net"
    with pytest.warns(LoihiDeployWarning) as caught:
        ld.export.to_netx(deployed(program), path)
    said = " ".join(str(warning.message) for warning in caught)
    for what in ("rounded", "lower bound", "refractory", "start at 0", "share an exponent", "no readout"):
        assert what in said, what
    with h5py.File(path) as file:
        layer = file["layer/1"]
        assert np.array_equal(layer["bias"][()], np.round(bias / 64 + 1e-9))
        assert layer["neuron/vThMant"][()] == program.populations[0].threshold // 64
        assert layer["neuron/iDecay"][()] == program.populations[0].decay_u + 1


def test_what_lava_has_needs_no_warning_but_for_the_readout(tmp_path):
    rng = np.random.default_rng(0)
    program = network(rng, TRANSFORMS["dense"](rng), 6, v_min=LOWEST, bias=64)
    program = replace(program, synapses=program.synapses[:1])
    with pytest.warns(LoihiDeployWarning) as caught:
        ld.export.to_netx(deployed(program), tmp_path / "net.net")
    assert [("readout" in str(warning.message)) for warning in caught] == [True]
    with h5py.File(tmp_path / "net.net") as file:
        assert "biasExact" not in file["layer/1"]
        assert "vMin" not in file["layer/1/neuron"]


def test_the_command(tmp_path):
    rng = np.random.default_rng(0)
    deployment = deployed(network(rng, TRANSFORMS["dense"](rng), 6))
    deployment.save(tmp_path / "net.loihi")
    result = CliRunner().invoke(
        commands, ["export", str(tmp_path / "net.loihi"), "-o", str(tmp_path / "n.net")]
    )
    assert result.exit_code == 0, result.output
    assert "lower bound" in result.output
    assert_same_integers(read_netx(tmp_path / "n.net"), deployment.program)
    with pytest.raises(OutputError):
        ld.export.to_netx(deployment, tmp_path / "nowhere" / "net.net")
