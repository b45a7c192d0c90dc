"""What to do with a file in the wrong place, from the command line: each remedy is followed."""

import json
import re
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import loihi_deploy as ld
from tests.cli.test_commands import cli, printed
from tests.frontends.keras_models import keras, randomized

X = np.random.default_rng(0).random((12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    make = keras().layers
    return randomized(keras().Sequential([make.Input((3,)), make.Dense(6, activation="relu"), make.Dense(2)]))


@pytest.fixture
def folder(tmp_path, model):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", model(X).numpy().argmax(axis=1))
    return tmp_path


def refused(*arguments):
    """The one problem of a command that is refused, what it says and what to do."""
    result = cli(*arguments, "--json")
    assert result.exit_code == 2
    (problem,) = json.loads(result.stdout)["error"]["problems"]
    return problem["what"], problem["remedy"]


def compiles(folder, path):
    """Whether a model is compiled; gives the deployment."""
    printed("compile", path, "--calibration", folder / "x.npy", "-o", folder / "net.loihi")
    return ld.load(folder / "net.loihi")


def as_onnx(model):
    """What `torch.onnx.export` writes of the same network."""
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in model.layers)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="hidden"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="answer"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", s)) for n, s in (("x", 3), ("y", 2))]
    weights = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_file_of_pytorch_is_exported_to_onnx(folder, model):
    for name in ("model.pt", "state.pth", "zipped.pt"):
        if name == "zipped.pt":
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("model/data.pkl", b"")
        else:
            (folder / name).write_bytes(b"\x80\x02}q\x00.")
        what, remedy = refused("compile", folder / name, "--calibration", folder / "x.npy")
        assert "PyTorch" in what
        assert "torch.onnx.export(model, example_inputs, 'net.onnx')" in remedy
    onnx.save(as_onnx(model), folder / "net.onnx")
    found = compiles(folder, folder / "net.onnx")
    again = ld.deploy(model, calibration=X)
    np.testing.assert_allclose(
        found.run(X).outputs, again.run(X).outputs, rtol=1e-5
    )  # in float64 and float32


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.tflite", b"\x20\x00\x00\x00TFL3\x00\x00\x00\x00", "TensorFlow Lite"),
        ("frozen.pb", b"\x0a\x10\x0a\x01x", "without its Keras layers"),
        ("model.json", b'{"class_name": "Sequential"}', "without its weights"),
    ],
)
def test_what_keras_wrote_in_another_form_is_saved_as_a_model(folder, model, name, content, says):
    (folder / name).write_bytes(content)
    what, remedy = refused("compile", folder / name, "--calibration", folder / "x.npy")
    assert says in what
    (call,) = re.findall(r"model\.save\('(\S+)'\)", remedy)
    model.save(folder / call)
    assert compiles(folder, folder / call) == compiles(folder, folder / call)


def test_a_program_in_a_saved_model_stands_for_its_folder(folder, model):
    model.save(folder / "saved")
    _, remedy = refused("compile", folder / "saved" / "saved_model.pb", "--calibration", folder / "x.npy")
    compiles(folder, remedy.removeprefix("Give the folder: "))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_deployments_and_models_in_each_others_place(folder, model):
    model.save(folder / "model.h5")
    for command in ("evaluate", "verify", "run", "report", "energy", "check"):
        more = (folder / "x.npy",) if command == "run" else ("--samples", folder / "x.npy")
        more += ("--labels", folder / "y.npy") if command in ("evaluate", "check") else ()
        more += ("--max-cores", 3) if command == "check" else ()
        what, remedy = refused(command, folder / "model.h5", *more)
        assert "HDF5" in what
        assert "loihi-deploy compile MODEL -o net.loihi" in remedy
    compiles(folder, folder / "model.h5")
    given = ("--samples", folder / "x.npy", "--labels", folder / "y.npy")
    assert printed("evaluate", folder / "net.loihi", *given)["n_total"] == 12
    what, remedy = refused("compile", folder / "net.loihi", "--calibration", folder / "x.npy")
    assert "compiled already" in what
    assert "commands run, evaluate, verify and report" in remedy
