"""The command line: what it prints, what it writes, and how it refuses bad input."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)


def cli(*arguments):
    """Run the command line; its exit status, standard output and standard error."""
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a deployment for 28x28 images, samples and labels."""
    path = tmp_path_factory.mktemp("cli")
    graph = Graph(
        (Input("image", (28, 28, 1)),),
        (
            Population("encoder", (28, 28, 1), NeuronModel(), 1.0, 0.0),
            Population("dense", (20,), NeuronModel(), 1.0, 0.1),
        ),
        (
            Projection(
                "image", "encoder", Conv2D(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (28, 28, 1), (28, 28, 1))
            ),
            Projection("encoder", "dense", Dense(RNG.normal(size=(20, 784))), 0.005),
            Projection("dense", "classes", Dense(RNG.normal(size=(10, 20))), 0.005),
        ),
        (Readout("classes", (10,), np.zeros(10)),),
    )
    x = RNG.uniform(0, 1, (6, 28, 28, 1))
    ld.deploy(graph, "loihi", x).save(path / "net.loihi")
    np.save(path / "x.npy", x)
    np.save(path / "y.npy", np.arange(6))
    return path


def test_boards():
    result = cli("boards")
    assert result.exit_code == 0
    assert "nahuku32" in result.output
    listed = json.loads(cli("boards", "--json").output)
    assert {board["name"]: board["n_chips"] for board in listed}["kapoho_bay"] == 2
    assert len(json.loads(cli("boards", "loihi", "--json").output)) == 1


def test_run(folder):
    result = cli("run", folder / "net.loihi", folder / "x.npy", "-o", folder / "out.npy", "--steps", 20)
    assert result.exit_code == 0
    assert "dense" in result.output
    outputs = np.load(folder / "out.npy")
    assert outputs.shape == (6, 10)
    printed = json.loads(cli("run", folder / "net.loihi", folder / "x.npy", "--steps", 20, "--json").output)
    np.testing.assert_array_equal(printed["outputs"], outputs)
    assert printed["populations"]["dense"]["spikes"] > 0


def test_evaluate_on_arrays_and_on_test_images(folder):
    own = ("--samples", folder / "x.npy", "--labels", folder / "y.npy")
    result = json.loads(cli("evaluate", folder / "net.loihi", *own, "--steps", 20, "--json").output)
    expected = ld.load(folder / "net.loihi").evaluate(np.load(folder / "x.npy"), np.arange(6), 20)
    assert result["n_correct"] == expected.n_correct
    assert result["n_total"] == 6
    assert result["accuracy"] == expected.accuracy
    text = cli("evaluate", folder / "net.loihi", "--limit", 5, "--steps", 10).output
    assert "of 5) at 10 steps" in text


@pytest.mark.parametrize("ending", ["html", "txt", "json"])
def test_report(folder, tmp_path, ending):
    path = tmp_path / f"report.{ending}"
    assert cli("report", folder / "net.loihi", "-o", path).exit_code == 0
    assert "dense" in path.read_text()


def test_compile_a_benchmark_network(tmp_path):
    result = cli("compile", "mnist-convnet", "-o", tmp_path / "b.loihi", "--json")
    assert result.exit_code == 0
    printed = json.loads(result.output)
    loaded = ld.load(tmp_path / "b.loihi")
    assert printed["n_cores"] == loaded.mapping.n_cores
    assert [layer["place"] for layer in printed["layers"]].count("host") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("boards", "nahuku"), "nahuku32"),
        (("evaluate", "missing.loihi"), "no such file"),
        (("run", "{net}", "missing.npy"), "not a readable .npy file"),
        (("run", "{net}", "{y}"), "wrong shape"),
        (("run", "{net}", "{x}", "-o", "{folder}/missing/out.npy"), "cannot be written"),
        (("run", "{net}", "{x}", "--steps", "0"), "--steps"),
        (("evaluate", "{net}", "--samples", "{x}"), "--samples and --labels go together"),
        (("evaluate", "{net}", "--samples", "{x}", "--labels", "{x}"), "labels do not fit"),
        (("evaluate", "{net}", "--data", "{folder}"), "images"),
        (("evaluate", "{x}"), "is not a deployment"),
        (("compile", "missing.h5"), "no such file"),
        (("compile", "mnist-convnet", "--board", "nahuku"), "nahuku32"),
        (("compile", "mnist-convnet", "--percentile", "101"), "percentile"),
        (("compile", "mnist-convnet", "-o", "{folder}/missing/net.loihi"), "cannot be written"),
        (("report", "{net}", "-o", "{folder}/report.pdf"), ".html, .json, .txt"),
        (("unknown",), "No such command"),
    ],
)
def test_bad_input_is_one_clear_error_with_status_2(folder, arguments, message):
    names = {"folder": folder, "net": folder / "net.loihi", "x": folder / "x.npy", "y": folder / "y.npy"}
    before = sorted(folder.iterdir())
    result = cli(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(folder.iterdir()) == before
