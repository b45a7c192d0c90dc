"""The self-test of a backend: it passes where spikes are equal, and says what differs where they are not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loihi_deploy.backends import chip_engines
from loihi_deploy.bench import selftest as module
from loihi_deploy.bench.selftest import selftest
from loihi_deploy.cli import commands
from loihi_deploy.errors import BackendError
from tests.hardware import snips, standin


@pytest.fixture
def bench(monkeypatch):
    for name in ("KAPOHOBAY", "PARTITION"):
        monkeypatch.delenv(name, raising=False)
    return standin.patch(monkeypatch)


def test_every_network_is_equal_on_our_plain_engine():
    found = selftest("numpy")
    assert found.passed
    assert {outcome.network for outcome in found.outcomes} >= {
        "dense",
        "two chips",
        "leaky neurons in a loop",
    }
    assert all(outcome.spikes > 50 for outcome in found.outcomes)
    assert "Every spike is that of the emulator" in str(found)


def test_the_networks_ask_for_everything():
    from loihi_deploy.chip.boards import load_board

    made = dict(module._deployments(load_board("kapoho_bay")))
    axons = {
        wiring.axon
        for deployment in made.values()
        for core in deployment.mapping.cores
        for piece in core.slices
        for wiring in piece.wirings
    }
    assert axons == {0, 16, 32}
    assert made["two chips"].mapping.n_chips == 2
    assert all(deployment.mapping.n_cores > 1 for name, deployment in made.items() if name.startswith("conv"))
    assert "two chips" not in dict(module._deployments(load_board("loihi")))


def test_on_the_stand_in_every_way_to_reset(bench):
    pytest.importorskip("nengo_loihi")
    if not snips.HAVE_COMPILERS:
        pytest.skip("snips are compiled with gcc and g++")
    found = selftest("hardware", "loihi")
    assert found.passed, str(found)
    assert {"reset by a snip", "gaps of 5 steps"} <= {outcome.run for outcome in found.outcomes}


# In an interpreter without this package, with the stand-in in the place of NxSDK.
LAUNCH = """
import importlib.util, json, runpy, sys
tests, packages, script, report = sys.argv[1:]
sys.path.insert(0, tests)
sys.path.append(packages)
sys.modules["nengo_dl"] = sys.modules["tensorflow"] = None
assert importlib.util.find_spec("loihi_deploy.deployment") is None
from tests.hardware import standin
standin.install()
sys.argv = [script, "-o", report]
runpy.run_path(script, run_name="__main__")
"""


def run_alone(tmp_path, folder):
    """Run the exported self-test; gives its report, what it printed, and its exit status."""
    tests = tmp_path / "tests" / "hardware"
    tests.mkdir(parents=True, exist_ok=True)
    for package in (tests, tests.parent):
        (package / "__init__.py").touch()
    for name in ("standin", "replay", "snips"):
        shutil.copy(Path(standin.__file__).with_name(f"{name}.py"), tests)
    report = tmp_path / "report.json"
    packages = Path(np.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", LAUNCH, tmp_path, packages, folder / "selftest.py", report]
    found = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path)
    assert report.exists(), found.stderr[-3000:]
    return json.loads(report.read_text()), found.stdout, found.returncode


def test_a_folder_tests_a_board_without_this_package(tmp_path):
    pytest.importorskip("nengo_loihi")
    if not snips.HAVE_COMPILERS:
        pytest.skip("snips are compiled with gcc and g++")
    folder = tmp_path / "selftest"
    with pytest.raises(SystemExit) as exit_:
        commands(["selftest", "--export", str(folder), "--board", "loihi"])
    assert exit_.value.code == 0
    plan = json.loads((folder / "runs.json").read_text())
    if os.environ.get("LOIHI_DEPLOY_REHEARSAL"):  # make rehearsal
        report, printed, status = run_alone(tmp_path, folder)
        assert (status, report["passed"]) == (0, True)
        assert len(report["runs"]) == sum(len(network["runs"]) for network in plan["networks"])
        assert "Every spike is that of the emulator" in printed
    dense = plan["networks"][0]
    spikes = folder / dense["folder"] / dense["runs"][0]["spikes"]
    with np.load(spikes) as arrays:
        altered = {name: arrays[name] for name in arrays.files}
    altered["last"][1, 7, 3] ^= True
    np.savez(spikes, **altered)
    dense["runs"].append({**dense["runs"][1], "gap": "none"})
    (folder / "runs.json").write_text(json.dumps({**plan, "networks": plan["networks"][:3]}))
    report, printed, status = run_alone(tmp_path, folder)
    assert (status, report["passed"]) == (1, False)
    rows = report["runs"]
    assert [row["different"] for row in rows if row["network"] != "dense"] == [0, 0, 0]
    assert [row["different"] for row in rows if row["network"] == "dense"] == [1, 0, 0, 0, None]
    assert "'last' neuron 3, sample 1, step 8" in rows[0]["first"]
    assert rows[4]["first"].startswith("TypeError")
    assert "2 of 8 runs differ from the emulator" in printed
    assert report["about"]["nxsdk"] == standin.VERSION


def test_an_export_of_the_self_test_runs_nothing(tmp_path):
    for arguments in (["--backend", "numpy"], ["-o", str(tmp_path / "report.json")]):
        with pytest.raises(SystemExit) as exit_:
            commands(["selftest", "--export", str(tmp_path / "folder"), *arguments])
        assert exit_.value.code == 2
    assert not any(tmp_path.iterdir())


def test_without_a_driver_it_says_so():
    pytest.importorskip("nengo_loihi")
    with pytest.raises(BackendError, match="NxSDK"):
        selftest("hardware")


def alter(monkeypatch, change):
    """Let our plain engine give other spikes."""
    simulate = chip_engines.Plain.simulate

    def altered(engine, run):
        found = simulate(engine, run)
        change(found.recorded)
        return found

    monkeypatch.setattr(chip_engines.Plain, "simulate", altered)


def test_a_single_other_spike_is_found_and_what_to_send_is_said(monkeypatch, tmp_path, capsys):
    def one_more(recorded):
        if "last" in recorded:
            recorded["last"]["spikes"][:, 7, 3] ^= True

    alter(monkeypatch, one_more)
    with pytest.raises(SystemExit) as exit_:
        commands(["selftest", "--backend", "numpy", "--board", "loihi", "-o", str(tmp_path / "report.json")])
    assert exit_.value.code == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "differ from the emulator" in text
    assert "Please send us" in text
    assert "neuron 3, sample 0, step 8" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["passed"]
    assert {run["different"] for run in report["runs"]} == {module.SAMPLES}
    assert report["about"]["numpy"] == np.__version__


def test_a_run_that_fails_is_one_of_the_outcomes(monkeypatch):
    def lost(recorded):
        raise BackendError.single("lost the board", "here")

    alter(monkeypatch, lost)
    found = selftest("numpy", "loihi")
    assert not found.passed
    assert {outcome.different for outcome in found.outcomes} == {None}
    assert "lost the board" in str(found)


def test_the_command_passes(capsys):
    with pytest.raises(SystemExit) as exit_:
        commands(["selftest", "--backend", "emulator", "--board", "loihi", "--json"])
    assert exit_.value.code == 0
    assert json.loads(capsys.readouterr().out)["passed"]
