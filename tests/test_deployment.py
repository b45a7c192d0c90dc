"""The whole pipeline on small graphs, saving and loading, and bad input."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import (
    ArtifactError,
    InputError,
    LoihiDeployError,
    MappingError,
    OutputError,
    PartitionError,
    UnknownBoardError,
)
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout


def network(seed=0):
    """Input 6x6x1 -> 1x1 convolution (host) -> 3x3 convolution -> dense -> three classes."""
    rng = np.random.default_rng(seed)
    return Graph(
        (Input("image", (6, 6, 1)),),
        (
            Population("encoder", (6, 6, 2), NeuronModel(), 1.0, rng.uniform(0, 0.1, 72)),
            Population("conv", (4, 4, 8), NeuronModel(), 1.0, np.tile(rng.uniform(0, 0.1, 8), 16)),
            Population("dense", (20,), NeuronModel(), 1.0, rng.uniform(0, 0.1, 20)),
        ),
        (
            Projection(
                "image",
                "encoder",
                Conv2D(rng.uniform(0.5, 1, (1, 1, 1, 2)), (1, 1), (0, 0), (6, 6, 1), (6, 6, 2)),
            ),
            Projection(
                "encoder",
                "conv",
                Conv2D(rng.normal(size=(3, 3, 2, 8)), (1, 1), (0, 0), (6, 6, 2), (4, 4, 8)),
                0.005,
            ),
            Projection("conv", "dense", Dense(rng.normal(size=(20, 128)) / 5), 0.005),
            Projection("dense", "classes", Dense(rng.normal(size=(3, 20))), 0.005),
        ),
        (Readout("classes", (3,), np.zeros(3)),),
    )


X = np.random.default_rng(1).uniform(0, 1, (40, 6, 6, 1))


@pytest.fixture(scope="module")
def deployment():
    return ld.deploy(network(), "loihi", calibration=X)


def labels(deployment, x=X):
    """What the rate network answers."""
    from loihi_deploy.engines.rate_network import rate_outputs

    return rate_outputs(deployment.graph, {"image": x.reshape(len(x), -1)})["classes"].argmax(axis=1)


def test_the_emulator_answers_as_the_rate_network(deployment):
    evaluation = deployment.evaluate(X, labels(deployment), steps=200)
    assert evaluation.n_total == 40
    assert evaluation.accuracy >= 0.9
    assert deployment.rate_accuracy(X, labels(deployment)) == 1


def test_outputs_approach_the_rate_networks_values():
    from loihi_deploy.engines.rate_network import rate_outputs

    slow = ld.DeployOptions(target_rate=50.0, percentile=100.0)  # the chip's rates are 1 / (whole steps)
    deployment = ld.deploy(network(), "loihi", X, slow)
    expected = rate_outputs(deployment.graph, {"image": X.reshape(40, -1)})["classes"]
    outputs = deployment.run(X, steps=1000).outputs
    assert np.abs(outputs - expected).mean() < 0.1 * np.abs(expected).mean()


def test_evaluations_add(deployment):
    y = labels(deployment)
    parts = deployment.evaluate(X[:15], y[:15]) + deployment.evaluate(X[15:], y[15:])
    whole = deployment.evaluate(X, y)
    assert (parts.n_correct, parts.n_total) == (whole.n_correct, whole.n_total)
    assert parts.counters == whole.counters


def stage_by_stage(source, calibration, board, options=None):
    """What `deploy` does, by hand."""
    options = options or ld.DeployOptions()
    encoder = options.encoder
    graph = ld.convert(source, options)
    graph = ld.normalize(
        graph, calibration, options.target_rate, options.percentile, encoder, options.encoder_rate
    )
    if options.equalize:
        graph = ld.equalize(graph, encoder)
    if options.neuron == "lif":
        graph = ld.with_leaky_neurons(graph, encoder)
    parts = ld.partition(graph, encoder, options.encoder_rate)
    if options.bias_correction_steps:
        parts = ld.correct_biases(
            parts, calibration, options.bias_correction_steps, options.readout_window, board
        )
    rates = None
    if options.rounding == "mean":
        rates = ld.mean_rates(ld.quantize(parts, board, options.weight_percentile), calibration)
    program = ld.quantize(parts, board, options.weight_percentile, rates)
    mapping = ld.map_to_cores(program, board, rates=ld.mean_rates(program, calibration))
    return ld.Deployment.from_parts(graph, program, mapping, options, calibration)


def test_the_functions_of_the_readme_give_the_same_deployment(deployment):
    graph = ld.convert(network())
    graph = ld.normalize(graph, X)
    parts = ld.partition(graph)
    parts = ld.correct_biases(parts, X)
    program = ld.quantize(parts)
    mapping = ld.map_to_cores(program, "loihi", rates=ld.mean_rates(program, X))
    made = ld.Deployment.from_parts(graph, program, mapping, calibration=X)
    assert made.program == deployment.program
    assert made.mapping == deployment.mapping
    assert made == deployment


@pytest.mark.parametrize(
    "options",
    [
        ld.DeployOptions(),
        ld.DeployOptions(neuron="lif", equalize=True),
        ld.DeployOptions(rounding="mean", weight_percentile=99.0),
        ld.DeployOptions(encoder="first_layer", bias_correction_steps=0, percentile=95.0),
        ld.DeployOptions(encoder="on_off", neuron="lif", target_rate=300.0, encoder_rate=500.0),
        ld.DeployOptions(encoder="bias", bias_correction_steps=50, readout_window=0.3),
        ld.DeployOptions(encoder="poisson", equalize=True, rounding="mean"),
        ld.DeployOptions(encoder="ttfs"),
    ],
)
def test_stage_by_stage_gives_what_deploy_gives(options):
    whole = ld.deploy(network(), "nahuku32", X, options)
    made = stage_by_stage(network(), X, "nahuku32", options)
    for part in ("graph", "program", "mapping", "options", "provenance"):
        assert getattr(made, part) == getattr(whole, part), part
    assert made == whole


@pytest.mark.parametrize("board", ["loihi", ld.load_board("loihi"), ld.load_board("loihi").chip])
def test_a_board_is_a_name_a_board_or_a_chip(deployment, board):
    parts = ld.correct_biases(ld.partition(ld.normalize(ld.convert(network()), X)), X, board=board)
    program = ld.quantize(parts, board)
    assert program == deployment.program
    rates = ld.mean_rates(program, X)
    assert ld.map_to_cores(program, board, rates=rates).cores == deployment.mapping.cores


def test_parts_that_do_not_belong_together(deployment):
    other = ld.quantize(ld.partition(deployment.graph))
    with pytest.raises(InputError, match="another program"):
        ld.Deployment.from_parts(deployment.graph, other, deployment.mapping)
    mapped = ld.map_to_cores(other, "loihi")  # the remedy
    assert ld.Deployment.from_parts(deployment.graph, other, mapped).program == other


def test_save_and_load(deployment, tmp_path):
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployment
    np.testing.assert_array_equal(loaded.run(X[:3]).outputs, deployment.run(X[:3]).outputs)
    assert loaded.board == ld.load_board("loihi")


def test_running_a_loaded_deployment_imports_no_framework(deployment, tmp_path):
    deployment.save(tmp_path / "net.loihi")
    np.save(tmp_path / "x.npy", X[:3])
    code = f"""
import sys, numpy as np, loihi_deploy as ld
d = ld.load({str(tmp_path / "net.loihi")!r})
d.run(np.load({str(tmp_path / "x.npy")!r}), steps=20)
d.evaluate(np.load({str(tmp_path / "x.npy")!r}), [0, 1, 2], steps=20)
frameworks = {{"tensorflow", "keras", "tf_keras", "nengo", "nengo_dl", "nengo_loihi"}}
assert not frameworks & set(sys.modules), frameworks & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("ending", ["html", "txt", "json"])
def test_report(deployment, tmp_path, ending):
    path = tmp_path / f"report.{ending}"
    deployment.report(path)
    text = path.read_text()
    assert "encoder" in text
    assert "dense" in text


def test_the_report_says_where_no_accumulator_can_overflow(deployment, tmp_path):
    deployment.report(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["never_wraps"] == ["conv", "dense"]
    counts = deployment.run(X).counters.populations.values()
    assert sum(count.overflows_q + count.overflows_u for count in counts) == 0


def test_report_of_an_unknown_kind(deployment, tmp_path):
    with pytest.raises(OutputError, match=r"\.pdf"):
        deployment.report(tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (X[:3], [0, 1], "labels do not fit"),
        (X[:3], [0, 1, 3], "labels out of range"),
        (X[:3], [-1, 1, 2], "labels out of range"),
        (X[:3], [0.5, 1.0, 2.0], "integers"),
        (X[:3], np.ones((3, 3), int), "labels do not fit"),
        (X[:0], [], "no sample"),
        (X[:3] * np.nan, [0, 1, 2], "not finite"),
        (X[:3, :4], [0, 1, 2], "wrong shape"),
    ],
)
def test_bad_samples_and_labels(deployment, x, y, problem):
    with pytest.raises(InputError, match=problem):
        deployment.evaluate(x, np.array(y))


@pytest.mark.parametrize("steps", [0, -1])
def test_bad_steps(deployment, steps):
    with pytest.raises(InputError, match="steps"):
        deployment.run(X[:2], steps=steps)


def test_bad_record(deployment):
    with pytest.raises(InputError, match="no such population"):
        deployment.run(X[:2], record=["nowhere"])


def test_unknown_board():
    with pytest.raises(UnknownBoardError, match="nahuku32"):
        ld.deploy(network(), "nahuku", calibration=X)


def test_calibration_is_needed():
    with pytest.raises(InputError, match="calibration"):
        ld.deploy(network())
    kept = ld.deploy(network(), options=ld.DeployOptions(normalization="none"))
    assert kept.graph == network()


def test_no_spiking_layer():
    graph = network()
    linear = replace(
        graph, populations=(), projections=(Projection("image", "classes", Dense(np.ones((3, 36)))),)
    )
    with pytest.raises(PartitionError, match="no spiking layer"):
        ld.deploy(linear, options=ld.DeployOptions(normalization="none"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    weights = np.ones((3, 20))
    weights[1, 2] = value
    graph = network()
    with pytest.raises(InputError, match="not finite"):
        replace(graph, projections=(*graph.projections[:3], Projection("dense", "classes", Dense(weights))))


def test_network_that_does_not_fit():
    big = Graph(
        (Input("x", (4,)),),
        (
            Population("a", (4,), NeuronModel(), 1.0, 0.0),
            Population("b", (140_000,), NeuronModel(), 1.0, 0.0),
        ),
        (
            Projection("x", "a", Dense(np.eye(4))),
            Projection("a", "b", Dense(np.random.default_rng(0).normal(size=(140_000, 4))), 0.005),
        ),
    )
    with pytest.raises(MappingError) as caught:
        ld.deploy(big, "loihi", options=ld.DeployOptions(normalization="none", encoder="first_layer"))
    assert "128" in str(caught.value)


def test_output_that_cannot_be_written(deployment, tmp_path):
    for write in (deployment.save, deployment.report):
        with pytest.raises(OutputError):
            write(tmp_path / "missing" / "net.json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_holds_something_else(tmp_path):
    from loihi_deploy.artifact import write_artifact

    write_artifact(tmp_path / "x.loihi", {"something": 1})
    with pytest.raises(ArtifactError, match="does not hold a deployment"):
        ld.load(tmp_path / "x.loihi")


def test_unknown_source():
    with pytest.raises(LoihiDeployError):
        ld.convert("model")
