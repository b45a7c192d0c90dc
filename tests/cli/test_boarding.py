"""``loihi-deploy preflight``: what it says, and its exit status."""

import json

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
