"""``loihi-deploy preflight``: what it says, and its exit status."""

import json
from importlib.machinery import ModuleSpec
from sys import modules
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from tests.hardware import snips, standin

pytest.importorskip("nengo_loihi")
RNG = np.random.default_rng(0)


@pytest.fixture
def saved(tmp_path):
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    program = ld.quantize(ld.partition(graph))
    path = tmp_path / "net.loihi"
    ld.Deployment.from_parts(graph, program, ld.map_to_cores(program, "nahuku32")).save(path)
    return path


def test_without_a_driver_and_with_one(saved, monkeypatch):
    bare = CliRunner().invoke(commands, ["preflight", str(saved)])
    assert bare.exit_code == 1
    assert "NxSDK" in bare.stdout
    standin.patch(monkeypatch)
    ready = CliRunner().invoke(commands, ["preflight", str(saved), "--json"])
    assert ready.exit_code == 0
    values = json.loads(ready.stdout)
    assert values["ready"]
    assert not values["machine"]
    assert values["doubts"]
    assert values["resets"] is None


def test_with_labelled_samples_it_says_what_each_way_to_reset_leaves(saved, tmp_path):
    x = ld.benchmarks.inputs("nxtf-mnist", 3)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(3))
    arguments = ["preflight", str(saved), "--data", str(tmp_path / "set.npz"), "--steps", "5"]
    values = json.loads(CliRunner().invoke(commands, [*arguments, "--json"]).stdout)
    assert [way["arguments"] for way in values["resets"]] == [
        {"reset": True},
        *({"reset": "gap", "gap": gap} for gap in (0, 10, 50)),
    ]
    assert all(way["n_total"] == 3 for way in values["resets"])
    assert "Between samples" in CliRunner().invoke(commands, arguments).stdout


@pytest.fixture
def small(tmp_path):
    """Saves a small network with an encoder, in a folder with samples, and gives its path."""

    def save(x, encoder):
        dense = ld.ir.Dense(RNG.uniform(0, 0.5, (4, 4)))
        populations = [ld.ir.Population(name, (4,), ld.ir.NeuronModel(), 1.0, 0.1) for name in "ab"]
        chain = [ld.ir.Projection(*pair, dense) for pair in ("xa", "ab", "by")]
        graph = ld.ir.Graph(
            (ld.ir.Input("x", (4,)),),
            tuple(populations),
            tuple(chain),
            (ld.ir.Readout("y", (4,), np.zeros(4)),),
        )
        options = ld.DeployOptions(encoder=encoder)
        ld.deploy(graph, "loihi", x, options=options).save(tmp_path / "net.loihi")
        np.savez(tmp_path / "set.npz", x=x, y=np.arange(len(x)))
        return str(tmp_path / "net.loihi")

    return save


@pytest.fixture
def bench(monkeypatch):
    driver = ModuleType("nxsdk")
    driver.__spec__ = ModuleSpec("nxsdk", None)
    monkeypatch.setitem(modules, "nxsdk", driver)
    return standin.patch(monkeypatch)


needs_compilers = pytest.mark.skipif(not snips.HAVE_COMPILERS, reason="snips are compiled with gcc and g++")


@pytest.mark.parametrize(
    ("how", "reset", "loads"),
    [
        ("", True, 2),
        pytest.param("--reset snip", "snip", 1, marks=needs_compilers),
        ("--reset gap --gap 3", "gap", 1),
        ("--reset none", False, 1),
    ],
)
def test_samples_share_a_load_as_they_are_told(how, reset, loads, small, bench, tmp_path):
    saved = small(RNG.uniform(0, 1, (2, 4)), "auto")

    def said(*arguments):
        result = CliRunner().invoke(commands, [*arguments, *how.split(), "--steps", "20", "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    run = ("run", saved, f"{tmp_path / 'set.npz'}:x", "--backend")
    theirs, ours = said(*run, "hardware"), said(*run, "emulator")
    assert len(bench.boards) == loads
    assert theirs["outputs"] == ours["outputs"]
    assert theirs["reset"] == ours["reset"] == reset
    evaluated = ("evaluate", saved, "--data", str(tmp_path / "set.npz"), "--backend")
    assert said(*evaluated, "hardware")["n_correct"] == said(*evaluated, "emulator")["n_correct"]
    assert len(bench.boards) == 2 * loads
    assert said("preflight", saved)["ready"]


def test_spikes_are_streamed_where_it_is_said(small, bench, tmp_path):
    saved = small(RNG.uniform(0, 1, (2, 4)), "auto")
    doubts = [
        json.loads(CliRunner().invoke(commands, ["preflight", saved, *how, "--json"]).stdout)["doubts"]
        for how in ([], ["--streamed"])
    ]
    assert doubts[0] != doubts[1]
    emulated = CliRunner().invoke(commands, ["run", saved, f"{tmp_path / 'set.npz'}:x", "--streamed"])
    assert emulated.exit_code == 2
    assert "only backend 'hardware' streams spikes" in emulated.stderr


def test_frames_of_samples_are_checked_too(small, bench, tmp_path):
    arguments = ["preflight", small(RNG.uniform(0, 1, (2, 3, 4)), "bias"), "--json"]
    assert CliRunner().invoke(commands, arguments).exit_code == 0
    found = CliRunner().invoke(commands, [*arguments, "--data", str(tmp_path / "set.npz")])
    assert found.exit_code == 1
    assert "3 frames" in found.stdout
