"""A deployment as a Nengo network: the same answers, within the noise of spikes, wherever it runs."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError, LoihiDeployWarning
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from tests.conformance.test_engines import TRANSFORMS, network
from tests.export.test_nir import deployed

nengo = pytest.importorskip("nengo")
STEPS = 400
TAU = 0.005


def conv(rng, in_shape, channels, size, stride, padding, out, groups=1):
    kernel = rng.normal(0.15, 0.3, (size, size, in_shape[2] // groups, channels))
    return Conv2D(kernel, (stride, stride), (padding, padding), in_shape, (*out, channels), groups)


def graph(activation="linear"):
    """Convolutions with the paddings that Nengo has and others, with groups, a matrix, biases and a gain."""
    rng = np.random.default_rng(0)
    shapes = (6, 6, 2), (6, 6, 4), (3, 3, 4), (5, 5, 4)
    transforms = (
        conv(rng, shapes[0], 4, 3, 1, 1, (6, 6)),
        conv(rng, shapes[1], 4, 2, 2, 0, (3, 3), groups=2),
        conv(rng, shapes[2], 4, 1, 1, 1, (5, 5)),
    )
    populations = [
        Population(
            f"conv{k}", t.out_shape, NeuronModel(), 1.5, rng.uniform(0, 0.2, 4)[np.arange(t.out_size) % 4]
        )
        for k, t in enumerate(transforms)
    ]
    names = ("x", *(p.name for p in populations))
    projections = [
        Projection(a, b, t, TAU if a != "x" else 0.0)
        for (a, b), t in zip(pairwise(names), transforms, strict=True)
    ]
    projections.append(Projection("conv2", "out", Dense(rng.normal(0, 0.1, (5, 100))), TAU))
    readout = Readout("out", (5,), rng.normal(0, 0.1, 5), activation)
    return Graph((Input("x", shapes[0]),), tuple(populations), tuple(projections), (readout,))


@pytest.fixture(scope="module")
def made():
    x = np.random.default_rng(1).random((20, 6, 6, 2))
    options = ld.DeployOptions(target_rate=150, readout_window=0.5)
    return ld.deploy(graph(), "loihi", x, options), x


@pytest.fixture(scope="module")
def uncorrected(made):
    """Biases are not corrected for what neurons lose at a reset, which they lose on nengo-loihi's chip, too."""
    deployment, x = made
    options = replace(deployment.options, bias_correction_steps=0)
    return ld.deploy(graph(), "loihi", x, options), x


def answer(simulator, probe):
    return simulator.data[probe].reshape(-1, 5)[-STEPS // 2 :].mean(0)


def close(found, wanted):
    return np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_nengo_gives_the_same_answers(made):
    deployment, x = made
    network_ = ld.export.to_nengo(deployment, x[:1])
    with nengo.Simulator(network_, progress_bar=False) as simulator:
        simulator.run_steps(STEPS)
    assert {e.label for e in network_.all_ensembles} == {p.name for p in deployment.program.all_nodes}
    assert close(
        answer(simulator, network_.readouts["out"]), deployment.run(x[:1], STEPS, progress=False).outputs[0]
    )


def test_the_node_takes_other_values(made):
    deployment, x = made
    network_ = ld.export.to_nengo(deployment)
    network_.inputs["x"].output = x[1].reshape(-1)
    with nengo.Simulator(network_, progress_bar=False) as simulator:
        simulator.run_steps(STEPS)
    assert close(
        answer(simulator, network_.readouts["out"]), deployment.run(x[1:2], STEPS, progress=False).outputs[0]
    )


@pytest.mark.parametrize("name", ["ours", "nengo_loihi"])
def test_the_chip_gives_the_same_answers(name, uncorrected):
    nengo_loihi = pytest.importorskip("nengo_loihi")
    deployment, x = uncorrected
    network_ = ld.export.to_nengo(deployment, x[:1])
    host = {p.name for p in deployment.program.encoder.populations}
    assert {e.label for e in network_.all_ensembles if not network_.config[e].on_chip} == host
    make = ld.Simulator if name == "ours" else nengo_loihi.Simulator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with make(network_, progress_bar=False) as simulator:
            simulator.run_steps(STEPS)
    assert close(
        answer(simulator, network_.readouts["out"]), deployment.run(x[:1], STEPS, progress=False).outputs[0]
    )


def test_nengo_dl_gives_the_same_answers(made):
    from loihi_deploy.frontends import import_nengo_dl

    nengo_dl = import_nengo_dl("a test")
    deployment, x = made
    network_ = ld.export.to_nengo(deployment, x[:1])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with nengo_dl.Simulator(network_, progress_bar=False) as simulator:
            simulator.run_steps(STEPS)
            found = answer(simulator, network_.readouts["out"])
    assert close(found, deployment.run(x[:1], STEPS, progress=False).outputs[0])


def test_an_activation_is_left_to_the_caller():
    x = np.random.default_rng(1).random((4, 6, 6, 2))
    deployment = ld.deploy(graph("softmax"), "loihi", x, ld.DeployOptions(bias_correction_steps=0))
    with pytest.warns(LoihiDeployWarning, match="softmax"):
        ld.export.to_nengo(deployment)


def test_what_cannot_be_a_nengo_network():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="integers alone"):
        ld.export.to_nengo(deployed(network(rng, TRANSFORMS["dense"](rng), 6)))
    first = replace(graph().populations[0], name="first")
    one = Projection("x", "first", Dense(np.eye(72).repeat(2, 0)), 0.0)
    ours = Graph(
        graph().inputs,
        (first, replace(first, name="second")),
        (
            one,
            Projection("first", "second", Dense(np.eye(144)), TAU),
            Projection("second", "out", Dense(np.ones((5, 144))), TAU),
        ),
        graph().readouts,
    )
    options = ld.DeployOptions(encoder="ttfs", normalization="none", bias_correction_steps=0)
    deployment = ld.deploy(ours, "loihi", options=options)
    with pytest.raises(InputError, match="ttfs"):
        ld.export.to_nengo(deployment)
