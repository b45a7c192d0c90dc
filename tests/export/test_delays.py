"""Delays are refused by everyone who would leave them out: writers, nengo-loihi, boards and training."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.backends.preflight import program_problems
from loihi_deploy.errors import BackendError, LoihiDeployError
from loihi_deploy.training.surrogate import SurrogateChip
from tests.sequences import network

X = np.random.default_rng(0).uniform(0, 1, (5, 8))
OPTIONS = ld.DeployOptions(encoder="on_off", bias_correction_steps=0)


def deployed(delays):
    graph = network()
    projections = [replace(p, delays=delays) if p.name == "first->second" else p for p in graph.projections]
    return ld.deploy(replace(graph, projections=tuple(projections)), "loihi", X, OPTIONS)


def on_board(deployment, path):
    problems = list(program_problems(deployment.program, deployment.mapping))
    if problems:
        raise BackendError("Cannot run on a Loihi board", problems)


WHO = {
    "reference": lambda deployment, path: deployment.run(X, 20, backend="reference", progress=False),
    "board": on_board,
    "board_runner": ld.export.to_board_runner,
    "nengo": lambda deployment, path: ld.export.to_nengo(deployment, X[:1]),
    "netx": lambda deployment, path: ld.export.to_netx(deployment, path / "network.net"),
    "nir": lambda deployment, path: ld.export.to_nir(deployment, path / "network.nir"),
    "sanafe": lambda deployment, path: ld.export.to_sanafe(deployment, X[:1], path),
    "training": lambda deployment, path: SurrogateChip(deployment.program, 20),
}


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize("who", WHO)
def test_delays_are_refused_and_the_network_without_them_is_not(tmp_path, who):
    with pytest.raises(LoihiDeployError, match="holds no spikes back") as refusal:
        WHO[who](deployed(3), tmp_path)
    (problem,) = [problem for problem in refusal.value.problems if "holds no" in problem.what]
    assert (problem.where, problem.value) == ("first->second", "delays of up to 3 steps")
    WHO[who](deployed(None), tmp_path)


OF_THE_HOST = ("reference", "board", "board_runner", "sanafe")


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize("who", WHO)
def test_delays_in_front_of_the_readout_are_the_hosts(tmp_path, who):
    """Who leaves the readout to this package, or brings its own, holds them back; who writes it otherwise refuses."""
    graph = network()
    late = [replace(p, delays=np.arange(20) % 3) if p.post == "classes" else p for p in graph.projections]
    deployment = ld.deploy(replace(graph, projections=tuple(late)), "loihi", X, OPTIONS)
    if who in OF_THE_HOST:
        WHO[who](deployment, tmp_path)
        return
    with pytest.raises(LoihiDeployError, match="holds no spikes back"):
        WHO[who](deployment, tmp_path)
    WHO[who](deployed(None), tmp_path)


def test_the_host_holds_spikes_back_on_every_engine():
    """Each neuron's by its own steps, then the filter: recomputed of the spikes."""
    graph, delays = network(), np.arange(20) % 4
    late = [replace(p, delays=delays) if p.post == "classes" else p for p in graph.projections]
    deployment = ld.deploy(replace(graph, projections=tuple(late)), "loihi", X, OPTIONS)
    readout = deployment.program.readout
    assert sorted(p.most_delay for p in readout.projections) == [0, 1, 2, 3]
    runs = [
        deployment.run(X, 40, backend=b, record=["second"], progress=False)
        for b in ("emulator", "numpy", "reference")
    ]
    spikes = runs[0].recorded["second"]["spikes"].astype(float)
    held = np.zeros_like(spikes)
    for k, delay in enumerate(delays):
        held[:, delay:, k] = spikes[:, : 40 - delay, k]
    weights = sum(p.transform.csr().toarray() for p in readout.projections)
    a, filtered, trace = np.exp(-1 / 3), np.zeros((5, 3)), np.zeros((5, 40, 3))
    for step in range(40):
        filtered = a * filtered + (1 - a) * held[:, step] @ weights.T * 1000
        trace[:, step] = filtered
    wanted = trace[:, 20:].mean(axis=1) + readout.readouts[0].bias
    for run in runs:
        np.testing.assert_allclose(run.outputs, wanted, rtol=1e-9)
    half = deployment.run(X, 20, return_state=True, progress=False)
    again = deployment.run(X, 20, state=half.state, progress=False)
    whole = deployment.with_readout_window(0.5).run(X, 40, progress=False)
    assert (
        deployment.with_readout_window(1.0).run(X, 20, state=half.state, progress=False).outputs
        == whole.outputs
    ).all()
    assert again.outputs.shape == whole.outputs.shape
