"""``loihi-deploy preflight``: what it says, and its exit status."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from tests.hardware import standin

pytest.importorskip("nengo_loihi")


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
