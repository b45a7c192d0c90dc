"""Staged verification, and the shortest presentation."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.analysis.dequantize import rate_graph
from loihi_deploy.analysis.tune import shortest
from loihi_deploy.analysis.verify import (
    INTEGER,
    QUANTIZED,
    RATE,
    REFERENCE,
    SOURCE,
    SPIKING,
    layer_agreements,
)
from loihi_deploy.cli import commands
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (60, 28, 28, 1))


def network():
    """Input 28x28x1 -> 1x1 convolution (host) -> strided convolution -> dense -> four classes."""
    rng = np.random.default_rng(3)
    conv = Conv2D(rng.normal(size=(5, 5, 2, 4)) / 3, (4, 4), (0, 0), (28, 28, 2), (6, 6, 4))
    return Graph(
        (Input("image", (28, 28, 1)),),
        (
            Population("encoder", (28, 28, 2), NeuronModel(), 1.0, 0.0),
            Population("conv", (6, 6, 4), NeuronModel(), 1.0, np.tile(rng.uniform(0, 0.1, 4), 36)),
            Population("dense", (30,), NeuronModel(), 1.0, rng.uniform(0, 0.1, 30)),
        ),
        (
            Projection(
                "image",
                "encoder",
                Conv2D(np.array([1.0, 0.5]).reshape(1, 1, 1, 2), (1, 1), (0, 0), (28, 28, 1), (28, 28, 2)),
            ),
            Projection("encoder", "conv", conv, 0.003),
            Projection("conv", "dense", Dense(rng.normal(size=(30, 144)) / 5), 0.003),
            Projection("dense", "classes", Dense(rng.normal(size=(4, 30))), 0.003),
        ),
        (Readout("classes", (4,), np.zeros(4)),),
    )


@pytest.fixture(scope="module", params=["if", "lif"])
def deployment(request):
    return ld.deploy(network(), "loihi", X[:30], ld.DeployOptions(neuron=request.param))


@pytest.fixture(scope="module")
def labels():
    return rate_outputs(network(), {"image": X.reshape(60, -1)})["classes"].argmax(axis=1)


def test_stages(deployment, labels):
    found = deployment.verify(X, labels, 100, reference_samples=2)
    assert [stage.name for stage in found.stages] == [SOURCE, RATE, SPIKING, QUANTIZED, INTEGER, REFERENCE]
    assert found.stages[0].accuracy == 1
    for stage in found.stages:
        assert stage.accuracy == stage.agreement  # the labels are what the source says
        assert stage.name == SOURCE or {layer.name for layer in stage.layers} >= {"conv", "dense"}
        assert stage.accuracy >= 0.5
    assert found.stages[1].accuracy == 1
    quantized = found.stages[3]
    assert all(layer.correlation > 0.99 and layer.relative_error < 0.1 for layer in quantized.layers)
    integer, reference = found.stages[4:]
    assert integer.accuracy == deployment.evaluate(X, labels, 100).accuracy
    assert reference.n_samples == 2
    assert found.remedies
    assert set(found.overflows.values()) == {0}


def test_the_quantized_rate_network_differs_by_rounding_only(deployment):
    parts = ld.partition(deployment.graph)
    program = ld.quantize(parts)
    inputs = {"image": X.reshape(60, -1)}
    expected = rate_outputs(deployment.graph, inputs)["classes"]
    found = rate_outputs(rate_graph(program, parts), inputs)["classes"]
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_agreement_of_rates():
    ideal = {"a": np.array([[0.0, 10.0, 20.0, 5.0], [0.0, 20.0, 10.0, 5.0]])}
    (same,) = layer_agreements(ideal, ideal, 0.001)
    assert (same.correlation, same.relative_error, same.silent, same.saturated) == (pytest.approx(1), 0, 0, 0)
    found = {"a": np.array([[0.0, 0.0, 1000.0, 5.0], [0.0, 0.0, 950.0, 5.0]])}
    (other,) = layer_agreements(ideal, found, 0.001)
    assert other.silent == pytest.approx(1 / 3)
    assert other.saturated == pytest.approx(2 / 8)
    assert other.relative_error > 1


def test_tune(deployment, labels):
    found = deployment.tune(X, labels, max_steps=120, max_drop=0.1)
    assert found.accuracy >= found.rate_accuracy - 0.1
    assert found.steps < 120
    tuned = deployment.with_readout_window(found.readout_window)
    assert tuned.evaluate(X, labels, found.steps).accuracy == found.accuracy
    curve = found.accuracy_by_step[found.readout_window]
    assert (curve[found.steps - 1 :] >= found.rate_accuracy - 0.1).all()
    assert curve[found.steps - 2] < found.rate_accuracy - 0.1


@pytest.mark.follows(
    "Allow more steps, or a drop of …, which … steps reach…",
)
def test_tune_that_cannot_succeed_says_what_would(deployment, labels):
    with pytest.raises(InputError, match="accuracy stays below") as caught:
        deployment.tune(X, labels, max_steps=8, max_drop=0.0)
    (problem,) = caught.value.problems
    assert "classes first speaks at step 3 of 8" in problem.remedy
    drop = float(re.search(r"a drop of ([\d.]+),", problem.remedy)[1])
    assert deployment.tune(X, labels, max_steps=8, max_drop=drop).steps <= 8
    with pytest.raises(InputError, match="accuracy stays below"):
        deployment.tune(X, labels, max_steps=8, max_drop=drop - 0.001)
    assert deployment.tune(X, labels, max_steps=100, max_drop=0.2).steps > 8  # more steps


@pytest.mark.parametrize(
    "arguments", [{"max_steps": 0}, {"max_drop": 2}, {"max_drop": -0.1}, {"max_drop": np.nan}]
)
def test_tune_refuses_what_is_no_goal(deployment, labels, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        deployment.tune(X, labels, **arguments)


def test_the_shortest_presentation_then_accuracy_then_the_shortest_window():
    late = np.array([0.1, 0.5, 0.9, 0.9])
    early = np.array([0.1, 0.9, 0.9, 0.9])
    dips = np.array([0.9, 0.5, 0.9, 1.0])
    assert shortest({0.3: late, 0.5: early, 0.8: early}, 0.9) == (2, 0.5)
    assert shortest({0.8: early, 0.5: early, 0.3: late}, 0.9) == (2, 0.5)
    assert shortest({0.3: late, 0.5: dips}, 0.9) == (3, 0.3)
    assert shortest({0.3: late, 0.5: dips}, 0.95) == (4, 0.5)
    better = np.array([0.1, 0.95, 0.9, 0.9])
    assert shortest({0.5: early, 0.8: better}, 0.9) == (2, 0.8)
    assert shortest({0.3: late}, 0.99) is None


def test_command_line(tmp_path, labels):
    ld.deploy(network(), "loihi", X[:30]).save(tmp_path / "net.loihi")
    np.save(tmp_path / "x.npy", X[:10])
    np.save(tmp_path / "y.npy", labels[:10])
    arguments = [
        "verify",
        tmp_path / "net.loihi",
        "--samples",
        tmp_path / "x.npy",
        "--labels",
        tmp_path / "y.npy",
    ]
    arguments = [*map(str, arguments), "--reference-samples", "0"]
    printed = CliRunner().invoke(commands, arguments)
    assert printed.exit_code == 0
    assert "decides as" in printed.output
    values = json.loads(CliRunner().invoke(commands, [*arguments, "--json"]).output)
    assert [stage["name"] for stage in values["stages"]] == [SOURCE, RATE, SPIKING, QUANTIZED, INTEGER]
