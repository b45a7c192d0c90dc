"""Networks that snnTorch and Norse wrote as NIR, beside what they spike there: make nir-writers.

They run as a program of their own where they are installed.
"""

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

import loihi_deploy as ld
from tests.nir_steps import Steps

PYTHON = os.environ.get("LOIHI_DEPLOY_NIR_PYTHON", str(Path(".venv-nir/bin/python").absolute()))
RUNNER = Path(__file__).with_name("nir_writers.py")
NETWORKS = ("snntorch leaky", "snntorch synaptic", "snntorch images", "norse")
pytestmark = pytest.mark.skipif(
    not Path(PYTHON).is_file(),
    reason="snnTorch and Norse are not installed: `make nir-writers` does, and runs them",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("written")
    subprocess.run([PYTHON, str(RUNNER), str(made)], check=True, capture_output=True, timeout=600)
    return made


def in_order(graph):
    """The names of a chain's nodes, from the input on."""
    names = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    following = dict(graph.edges)
    while names[-1] in following:
        names.append(following[names[-1]])
    assert all(pair in graph.edges for pair in pairwise(names))
    return names


@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_of_every_layer(folder, name):
    theirs = dict(np.load(folder / f"{name}.npz"))
    x, dt = theirs.pop("x"), float(theirs.pop("dt"))
    graph = nir.read(folder / f"{name}.nir", type_check=False)
    order = in_order(graph)
    layers = [n for n in order if type(graph.nodes[n]).__name__ in ("LIF", "CubaLIF")]
    steps = Steps(graph, order, dt)
    meant = [steps.step({order[0]: now}) for now in x]
    for layer, spikes in zip(layers, theirs.values(), strict=True):
        assert spikes.sum() > 100
        as_meant = np.array([out[layer].reshape(-1) for out in meant])
        assert np.mean(as_meant != spikes) < 1e-3  # theirs are of single precision
    options = ld.DeployOptions(encoder="on_off", normalization="none", dt=dt)
    deployment = ld.deploy(folder / f"{name}.nir", "nahuku32", options=options)
    names = [p.name for p in deployment.program.populations]
    result = deployment.run(x[None], len(x), record=names, progress=False)
    for population, spikes in zip(names, theirs.values(), strict=True):
        ours = result.recorded[population]["spikes"][0].sum(0)
        shape = deployment.program.nodes[population].shape
        counts = spikes.sum(0)
        counts = (
            np.moveaxis(counts.reshape(shape[-1], *shape[:-1]), 0, -1).reshape(-1)
            if len(shape) == 3
            else counts
        )
        print(f"{name}, {population}: {ours.sum():,} spikes, {counts.sum():,} in {name.split()[0]}")
        assert abs(ours.sum() - counts.sum()) < 0.06 * counts.sum() + 5
        assert np.corrcoef(ours, counts)[0, 1] > 0.95
