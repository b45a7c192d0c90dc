"""A network that another framework wrote as NIR: sinabs' for N-MNIST, from its source package: make sinabs.

The archive is only read; nothing of sinabs is installed.
"""

import os
import tarfile

import nir
import numpy as np
import pytest

import loihi_deploy as ld
from tests.nir_steps import Steps

ARCHIVE = os.environ.get("LOIHI_DEPLOY_SINABS")
MEMBER = "sinabs-3.1.3/docs/tutorials/scnn_mnist.nir"
STEPS = 100
pytestmark = pytest.mark.skipif(
    ARCHIVE is None, reason="make sinabs loads the source package of sinabs (4.6 MB)"
)


def test_spikes_of_every_layer(tmp_path):
    path = tmp_path / "network.nir"
    with tarfile.open(ARCHIVE) as archive:
        path.write_bytes(archive.extractfile(MEMBER).read())
    options = ld.DeployOptions(encoder="on_off")
    deployment = ld.deploy(path, "nahuku32", options=options)
    names = [p.name for p in deployment.program.populations]
    assert [p.shape for p in deployment.program.populations] == [(16, 16, 16)] * 2 + [
        (8, 8, 8),
        (256,),
        (10,),
    ]
    rng = np.random.default_rng(0)
    x = rng.random((STEPS, 2, 34, 34)) < 0.03
    steps = Steps(nir.read(path, type_check=False), ["input", *map(str, range(13)), "output"], 1.0)
    made = [steps.step({"input": now.astype(float)}) for now in x]
    result = deployment.run(x[None].astype(float), STEPS, record=names, progress=False)
    for name in names:
        ours = result.recorded[name]["spikes"][0].sum(0)
        theirs = np.sum([out[name] for out in made], axis=0)
        theirs = np.moveaxis(theirs, 0, -1).reshape(-1) if theirs.ndim == 3 else theirs
        print(f"layer {name}: {ours.sum():,} spikes, {theirs.sum():,.0f} in floats")
        assert theirs.sum() > 10
        assert abs(ours.sum() - theirs.sum()) < 0.06 * theirs.sum() + 5  # the last layer is five steps late
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9
