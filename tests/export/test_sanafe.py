"""Our counts, energies and times beside SANA-FE's, which runs as a program of its own where it is installed.

``make sanafe`` installs it in an environment of its own and runs all of this. Elsewhere what needs it is skipped.
"""

import json
import os
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.errors import InputError, OutputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection
from loihi_deploy.training import train_convnet

PYTHON = os.environ.get("LOIHI_DEPLOY_SANAFE_PYTHON", str(Path(".venv-sanafe/bin/python").absolute()))
needs_sanafe = pytest.mark.skipif(
    not Path(PYTHON).is_file(), reason="SANA-FE is not installed: `make sanafe` installs and runs it"
)
OPTIONS = ld.DeployOptions(normalization="none")
STEPS = 30


def without_biases(tau):
    """`mnist-convnet` with biases of 0 and synapses of one time constant, at its usual rates."""
    graph = benchmarks.mnist_convnet()
    populations = [replace(p, bias=np.zeros(1)) for p in graph.populations]
    projections = [p if p.post == "output" else replace(p, tau=tau) for p in graph.projections]
    graph = replace(graph, populations=tuple(populations), projections=tuple(projections))
    samples = benchmarks.inputs("mnist-convnet", 8, seed=1)
    return benchmarks._at_rates(graph, samples)


def tiny():
    """Two small layers, one of them with biases."""
    rng = np.random.default_rng(0)
    relu = NeuronModel("if", discretized=True)
    return Graph(
        (Input("input", (12,)),),
        (
            Population("first", (30,), relu, np.ones(()), rng.normal(20, 5, 30)),
            Population("second", (30,), relu, np.ones(()), np.zeros(30)),
            Population("third", (20,), relu, np.ones(()), rng.normal(5, 2, 20)),
        ),
        (
            Projection("input", "first", Dense(rng.normal(0, 40, (30, 12))), 0.0),
            Projection("first", "second", Dense(rng.normal(0.2, 0.5, (30, 30))), 0.005),
            Projection("second", "third", Dense(rng.normal(0.2, 0.5, (20, 30))), 0.005),
        ),
    )


def deployed(graph):
    options = replace(OPTIONS, encoder="first_layer")
    return ld.deploy(graph, "nahuku32", options=options)


def beside(deployment, x, folder, *arguments, **options):
    """Run it there; gives our estimate, SANA-FE's result and spikes, and what was written."""
    ld.export.to_sanafe(deployment, x, folder, STEPS, **options)
    command = [PYTHON, str(folder / "run.py"), *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    result = json.loads((folder / "result.json").read_text())
    return (
        deployment.energy(x, STEPS),
        result,
        np.load(folder / "spikes.npy"),
        np.load(folder / "network.npz"),
    )


def rows(array):
    return {tuple(row) for row in array.tolist()}


def energies(estimate, result):
    """Ours and SANA-FE's by its causes, in picojoules, without what its neurons of the host cost on its network."""
    found = {name: table.sum() for name, table in estimate.counts.picojoules(estimate.coefficients).items()}
    ours = {
        "soma": found["idle compartments"] + found["updated compartments"] + found["spikes"],
        "synapse": sum(energy for name, energy in found.items() if name.endswith("synapses")),
        "network": found["messages out"] + found["hops east-west"] + found["hops north-south"],
    }
    theirs = {name: 1e12 * result["energy"][name] for name in ours}
    theirs["network"] -= 1e12 * result["host_network_energy"]
    return ours, theirs


def check_counts(estimate, result):
    """Everything that does not depend on the update rule is equal."""
    counts = estimate.counts
    sent = result["sent"]
    assert counts.total("messages out") == sent["chip_messages"]
    assert int(counts.messages[-1].sum()) == sent["host_messages"]
    assert counts.total("messages in") == result["packets_sent"]
    assert counts.total("hops east-west") == sent.get("chip_hops_east_west", 0)
    assert counts.total("hops north-south") == sent.get("chip_hops_north_south", 0)
    assert counts.total("spikes") + counts.host_spikes == result["neurons_fired"]
    reads = sum(counts.total(f"{kind} synapses") for kind in ("shared", "dense", "sparse"))
    assert reads == result["spikes"]


def simple_time(estimate, result):
    """Ours in seconds, with the barrier of all tiles that SANA-FE has in use, those of the host included."""
    costs = estimate.coefficients
    assert estimate.tiles == result["tiles"]
    barrier = costs.barrier_ns(result["tiles_with_host"]) - costs.barrier_ns(result["tiles"])
    return estimate.seconds.value + STEPS * 1e-9 * barrier


@needs_sanafe
def test_a_tiny_network(tmp_path):
    deployment = deployed(tiny())
    x = np.random.default_rng(1).random((1, 12))
    estimate, result, spikes, written = beside(deployment, x, tmp_path)
    assert rows(spikes) == rows(written["spikes"])
    check_counts(estimate, result)
    ours, theirs = energies(estimate, result)
    assert ours == pytest.approx(theirs, rel=0.02)
    assert simple_time(estimate, result) == pytest.approx(result["sim_time"], rel=0.05)


@needs_sanafe
def test_mnist_convnet(tmp_path):
    deployment = deployed(benchmarks.mnist_convnet())
    estimate, result, spikes, written = beside(deployment, benchmarks.inputs("mnist-convnet", 1), tmp_path)
    assert rows(spikes) == rows(written["spikes"])
    check_counts(estimate, result)
    ours, theirs = energies(estimate, result)
    assert ours == pytest.approx(theirs, rel=1e-12)  # every compartment has a bias: updates are equal too
    assert simple_time(estimate, result) == pytest.approx(result["sim_time"], rel=1e-12)


@needs_sanafe
@pytest.mark.parametrize("tau", [0.005, 0.0])
def test_without_biases_the_update_rule_holds_step_by_step(tmp_path, tau):
    deployment = deployed(without_biases(tau))
    assert not any(p.bias.any() for p in deployment.program.populations)
    x = benchmarks.inputs("mnist-convnet", 1)
    estimate, result, spikes, written = beside(deployment, x, tmp_path, "--potentials")
    ours, theirs = energies(estimate, result)
    assert ours == pytest.approx(theirs, rel=0.02)
    assert simple_time(estimate, result) == pytest.approx(result["sim_time"], rel=0.05)
    # its current is not cut to whole numbers, so a few spikes may differ
    assert len(rows(spikes) ^ rows(written["spikes"])) <= 0.01 * len(spikes)

    # the rule, on SANA-FE's own voltages and spikes: what it counts as updated, step by step
    n_on_chip, n = int(written["first"][int(written["n_populations"])]), int(written["first"][-1])
    fired = np.zeros((STEPS, n), bool)
    fired[tuple(spikes.T)] = True
    voltages = np.load(tmp_path / "potentials.npy")
    was = np.concatenate([written["start"][None] != 0, voltages[:-1] != 0])
    pre, post = written["edges"][:, :2].T
    arrived = np.zeros((STEPS, n), bool)
    for step in range(1, STEPS):
        arrived[step, post[fired[step - 1, pre]]] = True
    updated = was | arrived[:, :n_on_chip] | fired[:, :n_on_chip]
    on_host = fired[:, n_on_chip:].sum(axis=1)
    assert (updated.sum(axis=1) + on_host).tolist() == result["steps"]["updated"]
    # ours is the same rule on our voltages: the difference is that of the voltages alone
    assert estimate.counts.total("updated compartments") == pytest.approx(updated.sum(), rel=1e-3)


@needs_sanafe
@pytest.mark.parametrize("tau", [0.005, 0.0])
def test_replayed_without_biases_all_is_equal_but_updates(tmp_path, tau):
    deployment = deployed(without_biases(tau))
    x = benchmarks.inputs("mnist-convnet", 1)
    estimate, result, spikes, written = beside(deployment, x, tmp_path, neurons="replay")
    assert rows(spikes) == rows(written["spikes"])
    check_counts(estimate, result)
    ours, theirs = energies(estimate, result)
    updates = estimate.counts.total("updated compartments") - estimate.counts.total("spikes")
    theirs["soma"] += estimate.coefficients.update_pj * updates  # it updates only what fires
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.fixture(scope="module")
def trained():
    """The small network, trained for an epoch on bundled images, and images that it has not seen."""
    if not Path(PYTHON).is_file():
        pytest.skip("SANA-FE is not installed: `make sanafe` installs and runs it")
    pytest.importorskip("tensorflow")
    data = ld.data.fashion_mnist(4000, 200)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ld.errors.LoihiDeployWarning
        )  # more input spikes than a host can stream
        deployment = ld.deploy(train_convnet(data, epochs=1), "nahuku32", data.x_train[:200])
    assert deployment.evaluate(data.x_test, data.y_test, 100).accuracy > 0.6
    return deployment, data.x_test[:1]


@needs_sanafe
def test_a_trained_network(tmp_path, trained):
    deployment, x = trained
    estimate, result, spikes, written = beside(deployment, x, tmp_path, neurons="replay")
    assert [name for name in written["names"].tolist() if name.endswith("(margin)")]
    assert rows(spikes) == rows(written["spikes"])
    check_counts(estimate, result)
    ours, theirs = energies(estimate, result)
    updates = estimate.counts.total("updated compartments") - estimate.counts.total("spikes")
    theirs["soma"] += estimate.coefficients.update_pj * updates  # replayed neurons update only when they fire
    assert ours == pytest.approx(theirs, rel=1e-12)


@needs_sanafe
def test_a_trained_network_on_neurons_of_their_own(tmp_path, trained):
    deployment, x = trained
    estimate, result, spikes, written = beside(deployment, x, tmp_path)
    # its currents are not cut to whole numbers: a few spikes in a thousand may come at another step
    assert len(rows(spikes) ^ rows(written["spikes"])) <= 0.002 * len(spikes)
    ours, theirs = energies(estimate, result)
    assert ours == pytest.approx(theirs, rel=0.002)
    assert simple_time(estimate, result) == pytest.approx(result["sim_time"], rel=0.005)


def test_what_is_written(tmp_path):
    deployment = deployed(tiny())
    x = np.random.default_rng(1).random((1, 12))
    folder = ld.export.to_sanafe(deployment, x, tmp_path / "new" / "folder", 20)
    assert sorted(path.name for path in folder.iterdir()) == ["architecture.yaml", "network.npz", "run.py"]
    written = np.load(folder / "network.npz")
    assert written["names"].tolist() == ["second", "third", "first"]
    assert written["first"].tolist() == [0, 30, 50, 80]
    result = deployment.run(x, 20, record=["first", "second", "third"])
    for k, name in enumerate(("second", "third", "first")):
        mine = written["spikes"][(written["spikes"][:, 1] // 10 >= [0, 3, 5][k])]
        mine = mine[mine[:, 1] < [30, 50, 80][k]] - [0, [0, 30, 50][k]]
        assert rows(mine) == rows(np.argwhere(result.recorded[name]["spikes"][0]))
    # every synapse of the program, in our integers over 64, at its place
    for synapses, pre, post in zip(deployment.program.synapses, (50, 0), (0, 30), strict=True):
        matrix = np.zeros((synapses.transform.out_size, synapses.transform.in_size))
        edges = written["edges"]
        here = (edges[:, 0] >= pre) & (edges[:, 0] < pre + matrix.shape[1])
        matrix[edges[here, 1] - post, edges[here, 0] - pre] = 64 * written["weight"][here]
        assert (matrix == synapses.transform.weights.astype(int) << synapses.shift).all()
    assert "energy_message_out: 111.0e-12" in (folder / "architecture.yaml").read_text()
    assert "loihi_deploy" not in (folder / "run.py").read_text().split('"""')[2]


def test_what_cannot_be_written(tmp_path):
    deployment = deployed(tiny())
    x = np.random.default_rng(1).random((2, 12))
    with pytest.raises(InputError, match="not one sample") as caught:
        ld.export.to_sanafe(deployment, x, tmp_path)
    assert "x[:1]" in str(caught.value)
    ld.export.to_sanafe(deployment, x[:1], tmp_path)
    with pytest.raises(InputError, match="'lif' or 'replay'"):
        ld.export.to_sanafe(deployment, x[:1], tmp_path, neurons="izhikevich")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        ld.export.to_sanafe(deployment, x[:1], tmp_path / "file" / "folder")
