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
