"""``loihi-deploy export``: what it writes, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands


@pytest.fixture
def saved(tmp_path):
    graph = ld.benchmarks.NETWORKS["nxtf-mnist"]()
    program = ld.quantize(ld.partition(graph))
    path = tmp_path / "net.loihi"
    ld.Deployment.from_parts(graph, program, ld.map_to_cores(program, "loihi")).save(path)
    return path


def export(*arguments):
    return CliRunner().invoke(commands, ["export", *map(str, arguments)])


def test_a_folder_for_sanafe(saved, tmp_path):
    np.save(tmp_path / "x.npy", ld.benchmarks.inputs("nxtf-mnist", 2))
    folder = tmp_path / "folder"
    sample = ("--samples", tmp_path / "x.npy", "--steps", 5)
    result = export(saved, "-o", folder, "--to", "sanafe", *sample, "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert (values["output"], values["format"]) == (str(folder), "sanafe")
    assert (folder / "network.npz").is_file()


def test_what_is_refused(saved, tmp_path):
    unclear = export(saved, "-o", tmp_path / "net.what")
    assert unclear.exit_code == 2
    assert "--to" in unclear.stderr
    without = export(saved, "-o", tmp_path / "folder", "--to", "sanafe")
    assert without.exit_code == 2
    assert "--samples" in without.stderr
