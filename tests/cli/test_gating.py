"""``loihi-deploy check``: exit statuses, files, and limits from pyproject.toml."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.cli.gating import project_settings
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from tests.hardware import standin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RNG = np.random.default_rng(0)
STEPS = ("--steps", "20")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = Graph(
        (Input("x", (6,)),),
        (
            Population("encoder", (6,), NeuronModel(), 1.0, 0.0),
            Population("hidden", (12,), NeuronModel(), 1.0, 0.1),
        ),
        (
            Projection("x", "encoder", Dense(np.eye(6))),
            Projection("encoder", "hidden", Dense(RNG.normal(size=(12, 6))), 0.003),
            Projection("hidden", "out", Dense(RNG.normal(size=(3, 12))), 0.003),
        ),
        (Readout("out", (3,), np.zeros(3)),),
    )
    x = RNG.uniform(0, 1, (10, 6))
    deployment = ld.deploy(graph, "loihi", x, ld.DeployOptions(bias_correction_steps=0))
    deployment.save("net.loihi")
    np.savez("test.npz", x=x, y=deployment.run(x, 20).outputs.argmax(axis=1))
    np.save("x.npy", x)
    np.save("values.npy", deployment.run(x, 20).outputs)
    return tmp_path


def check(*arguments):
    result = CliRunner().invoke(commands, ["check", "net.loihi", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_exit_status(folder):
    assert check("--data", "test.npz", "--min-accuracy", 1, *STEPS).exit_code == 0
    failed = check("--data", "test.npz", "--min-accuracy", 1, "--max-cores", 0, *STEPS)
    assert failed.exit_code == 1
    assert "1 of 2 criteria FAIL" in failed.stdout
    assert check("--max-chips", 1).exit_code == 0
    assert check("--samples", "x.npy", "--labels", "values.npy", "--max-rmse", 0, *STEPS).exit_code == 0


def test_json_and_junit(folder):
    result = check("--data", "test.npz", "--min-accuracy", 1, "--junit", "out.xml", "--json", *STEPS)
    values = json.loads(result.stdout)
    assert values["schema_version"] == 1
    assert values["passed"] is True
    assert [row["name"] for row in values["criteria"]] == ["min_accuracy"]
    assert ET.parse("out.xml").getroot().get("tests") == "1"


def test_what_a_board_would_refuse_fails_a_check(folder, monkeypatch):
    pytest.importorskip("nengo_loihi")
    alone = check("--hardware")
    assert alone.exit_code == 1
    assert "NxSDK" in alone.stdout
    assert "criteria" not in alone.stdout
    both = ("--data", "test.npz", "--min-accuracy", 1, "--hardware", "--junit", "out.xml", "--json", *STEPS)
    failed = check(*both)
    values = json.loads(failed.stdout)
    assert (failed.exit_code, values["passed"], values["criteria"][0]["passed"]) == (1, False, True)
    assert not values["hardware"]["ready"]
    root = ET.parse("out.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert "NxSDK" in root.find("testcase[@name='hardware']/failure").text
    standin.patch(monkeypatch)
    ready = check(*both)
    assert ready.exit_code == 0
    assert ET.parse("out.xml").getroot().get("failures") == "0"
    assert json.loads(ready.stdout)["hardware"]["doubts"]


def test_runs_are_alike(folder):
    options = ("--data", "test.npz", "--min-accuracy", 1, "--json", *STEPS)
    assert check(*options).stdout == check(*options).stdout


def test_the_baseline_is_written_where_limits_hold_and_compared_with(folder):
    base = ("--data", "test.npz", "--baseline", "b.json", *STEPS)
    assert check(*base).exit_code == 2
    failed = check(*base, "--update-baseline", "--max-cores", 0)
    assert failed.exit_code == 1
    assert "b.json is as it was" in failed.stdout
    assert not Path("b.json").exists()
    assert check(*base, "--update-baseline", "--tolerance", "accuracy=0.1").exit_code == 0
    assert check(*base).exit_code == 0
    values = json.loads(Path("b.json").read_text())
    values["figures"]["cores"] = 0
    Path("b.json").write_text(json.dumps(values))
    worse = check(*base, "--tolerance", "accuracy=0.005")
    assert worse.exit_code == 1
    assert "cores, baseline" in worse.stdout
    assert check(*base, "--tolerance", "cores=1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no limit to check"),
        (("--min-acuracy", "1"), "--min-accuracy"),
        (
            ("--min-accuracy", "1"),
            "no accuracy was measured. Give samples",
        ),
        (("--samples", "x.npy", "--min-accuracy", "1"), "with a class label"),
        (("--data", "nothing.npz", "--min-accuracy", "1"), "no such file or folder"),
        (("--min-accuracy", "90"), "out of range"),
        (("--max-chips", "1", "--tolerance", "acuracy=1"), "The nearest is 'accuracy'"),
        (("--max-chips", "1", "--update-baseline"), "--update-baseline needs --baseline"),
        (("--data", "test.npz", "--baseline", "x.npy"), "is no baseline"),
        (("--max-chips", "1", "--junit", "no/out.xml"), "cannot be written"),
        (("--max-chips", "1", "--baseline", "no/b.json", "--update-baseline"), "cannot be written"),
        (("--max-chips", "1", "--baseline", "b.json", "--update-baseline"), "a baseline is made on samples"),
    ],
)
def test_bad_input_leaves_files_as_they_were(folder, arguments, says):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = check(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_limits_from_the_nearest_pyproject(folder, monkeypatch):
    (folder / "pyproject.toml").write_text(
        '[tool.loihi-deploy.check]\nmax-cores = 0\nmax_chips = 1\nbaseline = "b.json"\n'
    )
    inside = folder / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    settings = project_settings(inside)
    assert settings == {"max_cores": 0, "max_chips": 1, "baseline": str(folder / "b.json")}
    monkeypatch.chdir(folder)
    assert check("--data", "test.npz", "--update-baseline", *STEPS).exit_code == 1
    assert check("--data", "test.npz", "--update-baseline", "--max-cores", 1, *STEPS).exit_code == 0
    assert Path("b.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.loihi-deploy.check]\nmax-core = 1", "max_core: unknown criterion"),
        ("[tool.loihi-deploy.check]\nmax-cores = 'a'", "max_cores: not what is expected"),
        ("[tool.loihi-deploy.check]\nbaseline = 1", "not a path"),
        ("[tool.loihi-deploy]\ncheck = 1", "not a table of criteria"),
        ("[tool", "cannot be read"),
    ],
)
def test_a_pyproject_that_cannot_be_used(folder, text, says):
    (folder / "pyproject.toml").write_text(text)
    result = check("--max-chips", 1)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_pyproject_of_other_tools(folder):
    (folder / "pyproject.toml").write_text("[tool]\nother = 1")
    assert check("--max-chips", 1).exit_code == 0


def test_the_table_of_the_page_can_be_used():
    text = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    table = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])["tool"]["loihi-deploy"]["check"]
    table.pop("baseline")
    assert ld.Criteria.from_names(table).min_accuracy == 0.9
