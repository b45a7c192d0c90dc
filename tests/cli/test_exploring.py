"""``loihi-deploy explore``: what it prints and writes, and that `compile` makes its points again."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.bench import networks
from loihi_deploy.cli import commands
from loihi_deploy.cli.exploring import _choices
from tests.exploration.test_explore import network, samples

pytest.importorskip("optuna")


def cli(*arguments):
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("explore")
    np.save(path / "x.npy", samples())
    np.save(path / "y.npy", np.arange(len(samples())) % 4)
    return path


def test_points_are_made_again_by_compile(folder, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(networks.NETWORKS, "small", network)
    out = folder / "out"
    told = (
        "--samples",
        folder / "x.npy",
        "--board",
        "loihi",
        "--trials",
        4,
        "--max-drop",
        0.5,
        "-o",
        out,
        "--save",
    )
    result = cli("explore", "small", *told)
    assert result.exit_code == 0, result.output
    assert "deployments tried" in result.stdout
    written = json.loads((out / "exploration.json").read_text())
    assert (out / "front.png").read_bytes().startswith(b"\x89PNG")
    names = [point["name"] for point in written["front"]]
    assert names
    for name in names:
        assert f"{name}: " in result.stdout
        again = cli("compile", "--options", out / f"{name}.toml", "-o", out / "again.loihi")
        assert again.exit_code == 0, again.output
        assert ld.load(out / "again.loihi").program == ld.load(out / f"{name}.loihi").program


def test_it_goes_on_from_its_file_and_fails_where_nothing_holds(folder, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "small", network)
    told = (
        "explore",
        "small",
        "--samples",
        folder / "x.npy",
        "--labels",
        folder / "y.npy",
        "--board",
        "loihi",
    )
    told += ("--space", "target_rate=200:900", "--space", "steps=20", "--max-cores", 0, "--json")
    first = json.loads(cli(*told, "--trials", 1, "--storage", folder / "s.db").stdout)
    result = cli(*told, "--trials", 3, "--storage", folder / "s.db")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert values["front"] == []
    assert values["points"][0] == first["points"][0]
    assert len(values["points"]) + len(values["failed"]) == 4
    refused = cli(*told[:-1], "--storage", folder / "x.npy")
    assert refused.exit_code == 2
    assert "holds no exploration" in refused.stderr
    assert "--save needs -o" in cli("explore", "small", "--samples", folder / "x.npy", "--save").stderr


@pytest.mark.parametrize("limit", [None, 300])
def test_samples_to_calibrate_with_are_for_nothing_else(folder, monkeypatch, limit):
    seen = {}

    def asked(source, x, y, board, **given):
        seen.update(given, x=x, y=y)
        raise ld.errors.InputError.single("enough", "explore")

    monkeypatch.setattr("loihi_deploy.exploration.explore", asked)
    monkeypatch.setitem(networks.NETWORKS, "small", network)
    told = () if limit is None else ("--limit", limit)
    cli("explore", "small", "--samples", folder / "x.npy", "--labels", folder / "y.npy", *told)
    labels = {row.tobytes(): k % 4 for k, row in enumerate(samples())}
    ours, theirs = ([row.tobytes() for row in seen[name]] for name in ("calibration", "x"))
    assert len(ours) == 125
    assert not set(ours) & set(theirs)
    assert len(theirs) == 375 if limit is None else 200 < len(theirs) < 300
    assert [labels[row] for row in ours] == list(seen["labels"])
    assert [labels[row] for row in theirs] == list(seen["y"])
    cli("explore", "small", "--samples", folder / "x.npy", "--calibration", folder / "x.npy")
    assert len(seen["calibration"]) == len(seen["x"]) == 500
    assert seen["labels"] is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3:9", (3, 9)),
        ("0.5:2", (0.5, 2)),
        ("auto,bias", ["auto", "bias"]),
        ("8,6,4", [8, 6, 4]),
        ("true", True),
        ("auto", "auto"),
    ],
)
def test_values_of_a_space(text, values):
    assert _choices(text) == values
