"""What is advised for model files that cannot be read is followed, and the file is read."""

import numpy as np
import onnx
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import LoihiDeployError
from loihi_deploy.frontends import opened
from loihi_deploy.training import with_chip_layers
from tests.frontends.keras_models import chain, dense, keras, layer
from tests.frontends.test_netx import CUBA, altered, put, spikes_in, write
from tests.frontends.test_netx import dense as lava_dense
from tests.frontends.test_onnx_models import image_net, model
from tests.remedies import follows

LAVA_CONV = {
    "type": "conv",
    "shape": [2, 4, 4],
    "weight": np.full((2, 1, 3, 3), 4.0, np.float32),
    "stride": [1, 1],
    "padding": [0, 0],
    "dilation": [1, 1],
    "groups": 1,
    "neuron": CUBA,
}


def unchanged(layers):
    """A file of lava-dl as it was written."""


def without(place):
    def change(layers):
        del layers[place]

    return change


def onnx_file(path, net, **how):
    onnx.save(net, path, **how)
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:100])
    return path


def vectors(kind):
    """A network of vectors with an operator behind a rectifier."""
    weights = np.random.default_rng(0).normal(size=(6, 4))
    nodes = [("Relu", ["x"], "r", {}), (kind, ["r"], "e", {}), ("MatMul", ["e", "w"], "y", {})]
    return model((6,), (4,), nodes, w=weights)


def of_any_size():
    net = image_net()
    net.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    return net


def saved_together(path):
    """A model with its weights in another file, read whole and saved as one."""
    onnx_file(path, image_net(), save_as_external_data=True, size_threshold=0)
    onnx.save(onnx.load(path), path)
    return path


def model_file(path, weights_only=False):
    made = chain(dense(4, activation="relu"), dense(3), shape=(5,))()
    (made.save_weights if weights_only else made.save)(path)
    return path


def with_code(path):
    """A model with a Lambda layer, in a file."""
    made = chain(dense(4, activation="relu"), layer("Lambda", lambda x: 2 * x), dense(3), shape=(5,))()
    made.save(path)
    return path


def as_part(path):
    """The same without what a Lambda computes."""
    chain(dense(4, activation="relu"), dense(3), shape=(5,))().save(path)
    return path


def content(path, data):
    path.write_bytes(data)
    return path


def saved_folder(path):
    chain(dense(4, activation="relu"), dense(3), shape=(5,))().save(path, save_format="tf")
    return path


def deployment_file(path):
    made = chain(dense(4, activation="relu"), dense(3), shape=(5,))()
    ld.deploy(made, calibration=np.ones((9, 5))).save(path)
    return path


ADVICE = [
    follows(
        "Export the network with its input layer",
        lambda p: ld.deploy(write(p / "a.net", LAVA_CONV)),
        lambda p: ld.deploy(write(p / "a.net", spikes_in([1, 6, 6]), LAVA_CONV)),
    ),
    follows(
        "Export the whole network",
        lambda p: ld.deploy(write(p / "a.net", spikes_in([1, 1, 12]))),
        lambda p: ld.deploy(write(p / "a.net", spikes_in([1, 1, 12]), lava_dense(20, 12))),
    ),
    follows(
        "Write the file again with export_hdf5",
        lambda p: ld.deploy(altered(p, without("1/weight"))),
        lambda p: ld.deploy(altered(p, unchanged)),
    ),
    follows(
        "Export the network with the quantization that it was trained with (pre_hook_fx)",
        lambda p: ld.deploy(altered(p, put("1/weight", np.full((20, 12), 0.5)))),
        lambda p: ld.deploy(altered(p, put("1/weight", np.full((20, 12), 2.0)))),
    ),
    follows(
        "Write the file again with lava-dl's export_hdf5",
        lambda p: ld.deploy(altered(p, put("1/weight", np.full((20, 12), np.nan)))),
        lambda p: ld.deploy(altered(p, unchanged)),
    ),
    follows(
        "Deploy it as it is: loihi_deploy.deploy(path)",
        lambda p: ld.convert(altered(p, unchanged)),
        lambda p: ld.deploy(altered(p, unchanged)),
    ),
    follows(
        "Export the network with operators of these: …",
        lambda p: ld.convert(vectors("Erf")),
        lambda p: ld.convert(vectors("Identity")),
    ),
    follows(
        "Export the model again",
        lambda p: ld.convert(cut(onnx_file(p / "net.onnx", image_net()))),
        lambda p: ld.convert(onnx_file(p / "net.onnx", image_net())),
    ),
    follows(
        "Save it as one file: onnx.save(model, path) after onnx.load(path)",
        lambda p: ld.convert(
            onnx_file(p / "net.onnx", image_net(), save_as_external_data=True, size_threshold=0)
        ),
        lambda p: ld.convert(saved_together(p / "net.onnx")),
    ),
    follows(
        "Export the model with a fixed input shape: (batch, n) or (batch, channels, height, width)",
        lambda p: ld.convert(of_any_size()),
        lambda p: ld.convert(image_net()),
    ),
    follows(
        "Save the whole model, with its layers: model.save('model.keras')",
        lambda p: ld.convert(model_file(p / "model.weights.h5", weights_only=True)),
        lambda p: ld.convert(model_file(p / "model.keras")),
    ),
    follows(
        "If you know where the file comes from: trust=True, or --trust on the command line; otherwise save…",
        lambda p: ld.convert(with_code(p / "model.keras")),
        lambda p: ld.convert(with_code(p / "model.keras"), trust=True),
        id="code in a file that is trusted",
    ),
    follows(
        "If you know where the file comes from: trust=True, or --trust on the command line; otherwise save…",
        lambda p: ld.convert(with_code(p / "model.keras")),
        lambda p: ld.convert(as_part(p / "model.keras")),
        id="code in a file, left out",
    ),
    follows(
        "Save it again with model.save('model.keras'), or call loihi_deploy.deploy with the model itself",
        lambda p: ld.convert(content(p / "model.h5", b"\x89HDF\r\n\x1a\n truncated")),
        lambda p: ld.convert(model_file(p / "model.keras")),
    ),
    follows(
        "Run it with loihi_deploy.load(path).run(x), or with the commands run, evaluate, verify and report",
        lambda p: ld.deploy(deployment_file(p / "net.loihi")),
        lambda p: ld.load(deployment_file(p / "net.loihi")).run(np.zeros((1, 5)), 4),
    ),
    follows(
        "Make a deployment of it first: loihi-deploy compile MODEL -o net.loihi, or loihi_deploy.deploy(path, ...)",
        lambda p: ld.load(model_file(p / "model.keras")),
        lambda p: ld.deploy(model_file(p / "model.keras"), calibration=np.ones((9, 5))),
    ),
    follows(
        "Export the network to ONNX, which is read: torch.onnx.export(model, example_inputs, 'net.onnx')",
        lambda p: ld.convert(content(p / "model.pt", b"")),
        lambda p: ld.convert(onnx_file(p / "net.onnx", image_net())),
    ),
    follows(
        "Give the folder: …",
        lambda p: ld.convert(saved_folder(p / "model") / "saved_model.pb"),
        lambda p: ld.convert(saved_folder(p / "model")),
    ),
    follows(
        "Give it as samples: calibration, --calibration or --samples",
        lambda p: ld.deploy(content(p / "x.npy", b"\x93NUMPY\x01\x00")),
        lambda p: ld.deploy(model_file(p / "model.keras"), calibration=np.ones((9, 5))),
    ),
    follows(
        "Give a file that model.save() wrote, or a SavedModel folder",
        lambda p: ld.convert(p),
        lambda p: ld.convert(model_file(p / "model.keras")),
    ),
    follows(
        "Give a file that model.save() wrote",
        lambda p: ld.convert(p / "nowhere.keras"),
        lambda p: ld.convert(model_file(p / "model.keras")),
    ),
    follows(
        "Give a file that model.save() wrote",
        lambda p: ld.convert(content(p / "model.dat", b"nothing that anyone knows")),
        lambda p: ld.convert(model_file(p / "model.keras")),
    ),
    follows(
        "Give the model itself; loihi_deploy.frontends.opened(path) reads one from a file",
        lambda p: with_chip_layers(model_file(p / "model.keras")),
        lambda p: with_chip_layers(opened(model_file(p / "model.keras"))),
    ),
]


@pytest.mark.parametrize(("broken", "advised"), ADVICE)
def test_what_is_advised_is_read(broken, advised, tmp_path):
    keras()
    (tmp_path / "broken").mkdir()
    (tmp_path / "advised").mkdir()
    with pytest.raises(LoihiDeployError):
        broken(tmp_path / "broken")
    assert advised(tmp_path / "advised")
