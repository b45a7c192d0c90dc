"""One model saved in every way, and files that hold other things than a model."""

import json
import os
import zipfile

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ArtifactError, ConversionError, InputError
from loihi_deploy.file_kinds import KINDS, WHAT, file_kind
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.saved_models import load_keras_model
from tests.frontends.keras_models import keras, randomized

IMAGE = (6, 5, 2)


def example(k):
    """Convolution, normalization, a nested model and two outputs, the same in both Kerases."""
    make = k.layers
    x = first = make.Input(IMAGE, name="image")
    x = make.Conv2D(4, 1, activation="relu", name="encoder")(x)
    x = make.ReLU(name="hidden")(make.BatchNormalization(name="norm")(make.Conv2D(5, 3, name="conv")(x)))
    flat = make.Flatten(name="flat")(x)
    inner = k.Sequential([make.Input((60,)), make.Dense(4, activation="relu", name="inner")], name="nested")
    ends = [
        make.Dense(3, activation="softmax", name="classes")(inner(flat)),
        make.Dense(2, name="values")(flat),
    ]
    return k.Model(first, ends, name="example")


@pytest.fixture(scope="module")
def legacy():
    return randomized(example(keras()))


@pytest.fixture(scope="module")
def keras_3(legacy):
    model = example(import_keras(3))
    model.set_weights(legacy.get_weights())
    return model


@pytest.fixture(scope="module")
def wanted(legacy):
    return ld.convert(legacy).digest


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5", "folder"])
def test_legacy_keras_in_every_form(name, legacy, wanted, tmp_path):
    legacy.save(tmp_path / name)
    assert ld.convert(tmp_path / name).digest == wanted
    assert ld.convert(str(tmp_path / name)).digest == wanted
    assert type(load_keras_model(tmp_path / name)).__module__.startswith("tf_keras")


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_keras_3_in_every_form_beside_legacy_keras(name, keras_3, wanted, tmp_path):
    keras_3.save(tmp_path / name)
    model = load_keras_model(tmp_path / name)
    assert type(model).__module__.startswith("keras.")
    assert ld.convert(tmp_path / name).digest == wanted == ld.convert(model).digest


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("loss", ["mse", "own"])
@pytest.mark.parametrize(
    ("name", "version"),
    [("model.keras", 2), ("model.h5", 2), ("folder", 2), ("model.keras", 3), ("model.h5", 3)],
)
def test_models_that_were_compiled_and_trained(name, version, loss, tmp_path):
    k = import_keras(version)
    make = k.layers
    inner = k.Sequential([make.Input((4,)), make.Dense(3, activation="relu", name="inner")], name="nested")
    inner.compile(
        k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), "mse", metrics=["mae"]
    )
    x = np.random.default_rng(0).random((8, 4)).astype(np.float32)
    inner.fit(x, x[:, :3], verbose=0)
    model = k.Sequential([make.Input((3,)), make.Dense(4, activation="relu"), inner, make.Dense(2)])
    model.compile("adam", own_loss if loss == "own" else loss, metrics=["accuracy"])
    model.fit(x[:, :3], x[:, :2], verbose=0)
    model.save(tmp_path / name)
    assert ld.convert(tmp_path / name).digest == ld.convert(model).digest


def own_loss(wanted, found):
    """A loss of the program that trained the model, which nothing has to know to read it."""
    return (wanted - found) ** 2


def test_a_path_is_deployed_as_the_model_is(keras_3, legacy, tmp_path):
    keras_3.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((20, *IMAGE)).astype(np.float32)
    from_file, from_model = (
        ld.deploy(source, calibration=x) for source in (tmp_path / "model.keras", legacy)
    )
    assert from_file.program == from_model.program
    assert from_file.mapping == from_model.mapping


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "folder"])
def test_models_with_spiking_layers(name, tmp_path):
    k = keras()
    spiking = pytest.importorskip("keras_spiking")
    model = k.Sequential(
        [
            k.layers.Input((10, 6), name="frames"),
            k.layers.Dense(5, name="first"),
            spiking.SpikingActivation("relu", name="spikes"),
            spiking.Lowpass(0.1),
            k.layers.TimeDistributed(k.layers.Dense(4, activation="relu"), name="second"),
            k.layers.GlobalAveragePooling1D(),
            k.layers.Dense(2, name="out"),
        ]
    )
    model.save(tmp_path / name)
    assert ld.convert(tmp_path / name).digest == ld.convert(model).digest


def test_the_learned_encoder_of_signs_is_read_again(tmp_path):
    from loihi_deploy.training import with_encoder

    k = keras()
    model = with_encoder(
        k.Sequential([k.layers.Input(IMAGE), k.layers.Conv2D(3, 3, activation="relu"), k.layers.Flatten()]),
        signed=True,
    )
    model.save(tmp_path / "model.keras")
    assert ld.convert(tmp_path / "model.keras").digest == ld.convert(model).digest


def refused(call, kind=ConversionError):
    with pytest.raises(kind) as caught:
        call()
    assert all(problem.remedy for problem in caught.value.problems)
    return caught.value.problems


def lambda_model(k):
    # the function leaves a trace, so that a test sees whether it was called
    trace = k.layers.Lambda(
        lambda x: (__import__("os").environ.__setitem__("LOIHI_DEPLOY_TRACE", "1"), 2 * x)[1],
        name="sly",
        output_shape=(4,),
    )
    make = k.layers
    return k.Sequential(
        [
            make.Input((3,)),
            make.Dense(4, activation="relu"),
            trace,
            make.Dense(4, activation="relu"),
            make.Dense(2),
        ]
    )


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    ("name", "version"),
    [
        *(("model.keras", 2), ("model.h5", 2), ("folder", 2), ("functional", 2)),
        *(("model.keras", 3), ("model.h5", 3)),
    ],
)
def test_functions_in_a_file_do_not_run_unless_it_is_trusted(name, version, tmp_path, monkeypatch):
    monkeypatch.setenv("LOIHI_DEPLOY_TRACE", "0")
    k = import_keras(version)
    model = lambda_model(k)
    if name == "functional":  # a SavedModel of one
        model = k.Model(model.inputs, model.outputs)
    model.save(tmp_path / name)
    monkeypatch.setenv("LOIHI_DEPLOY_TRACE", "0")
    problems = refused(lambda: ld.convert(tmp_path / name))
    assert problems[0].where == "layer 'sly'"
    assert "--trust" in problems[0].remedy
    assert os.environ["LOIHI_DEPLOY_TRACE"] == "0"
    x = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    assert np.allclose(
        load_keras_model(tmp_path / name, trust=True).predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert os.environ["LOIHI_DEPLOY_TRACE"] == "1"
    assert ld.convert(tmp_path / name, trust=True).digest == ld.convert(model).digest


def altered(path, change):
    """A .keras archive with another configuration."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


FOREIGN = {
    "another module's function": {"module": "os", "class_name": "function", "config": "system"},
    "a loader of Keras": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "a function of the file's own": {"class_name": "__lambda__", "config": {"value": "", "defaults": None}},
    "evaluation": {"module": "builtins", "class_name": "eval", "config": "1"},
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("version", [2, 3])
def test_configurations_may_name_keras_layers_only(kind, version, tmp_path):
    example(import_keras(version)).save(tmp_path / "model.keras")

    def change(config):
        layer = next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == "encoder")
        layer["config"]["activation"] = FOREIGN[kind]

    altered(tmp_path / "model.keras", change)
    (problem,) = refused(lambda: ld.convert(tmp_path / "model.keras"))
    assert problem.where == "layer 'encoder'"


def test_functions_of_tensorflow_are_called_only_where_they_are_known(tmp_path):
    k = keras()
    image = k.layers.Input((4,))
    k.Model(image, k.layers.Dense(2)(k.layers.Dense(3, "relu")(image) * 2.0)).save(tmp_path / "model.keras")
    assert ld.convert(tmp_path / "model.keras")

    def change(config):
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "TFOpLambda")
        layer["config"]["function"] = "io.gfile.makedirs"

    altered(tmp_path / "model.keras", change)
    (problem,) = refused(lambda: ld.convert(tmp_path / "model.keras"))
    assert problem.value == "io.gfile.makedirs"


def test_a_class_of_the_callers_own_program_is_not_the_files(tmp_path):
    k = keras()

    @k.utils.register_keras_serializable(package="tests")
    class Same(k.layers.Layer):
        def call(self, x):
            return x

    make = k.layers
    model = k.Sequential([make.Input((3,)), make.Dense(4, activation="relu"), Same(), make.Dense(2)])
    model.save(tmp_path / "model.keras")
    assert load_keras_model(tmp_path / "model.keras").layers[1].__class__ is Same


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.follows(
    "Load the model in Python, with custom_objects={…: …}, and give it to loihi_deploy.deploy",
)
def test_layers_that_only_their_program_has_are_named_with_their_number(tmp_path):
    k = keras()

    class Special(k.layers.Layer):
        def call(self, x):
            return x

    make = k.layers
    model = k.Sequential(
        [
            make.Input((3,)),
            make.Dense(4, activation="relu"),
            Special(name="one"),
            Special(name="two"),
            make.Dense(2),
        ]
    )
    model.save(tmp_path / "model.h5")
    (problem,) = refused(lambda: ld.convert(tmp_path / "model.h5"))
    assert (problem.value, problem.where) == ("Special", "layer 'one' and 1 more")
    loaded = k.models.load_model(tmp_path / "model.h5", custom_objects={"Special": Special}, compile=False)
    assert ld.convert(loaded).digest == ld.convert(model).digest  # what the remedy says


def written(path, data):
    path.write_bytes(data)
    return path


OTHERS = {
    "model.tflite": b"\x20\x00\x00\x00TFL3\x00\x00\x00\x00",
    "model.onnx": b"\x08\x07\x12\x07pytorch",
    "model.pt": b"\x80\x02}q\x00.",
    "frozen.pb": b"\x0a\x10\x0a\x01x",
    "x.npy": b"\x93NUMPY\x01\x00",
    "image.png": b"\x89PNG\r\n\x1a\n",
    "image.jpg": b"\xff\xd8\xff\xe0",
    "model.json": b'{"class_name": "Sequential", "config": {}}',
    "strange": b"nothing that anyone knows",
    "model.keras": b"PK\x03\x04 truncated",
    "model.h5": b"\x89HDF\r\n\x1a\n truncated",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_told_apart_and_none_is_read(name, tmp_path):
    path = written(tmp_path / name, OTHERS[name])
    (problem,) = refused(lambda: ld.convert(path))
    assert str(path) in problem.where
    refused(lambda: ld.load(path), ArtifactError)


def test_weights_are_not_a_model(legacy, keras_3, tmp_path):
    legacy.save_weights(tmp_path / "legacy.weights.h5")
    legacy.save_weights(tmp_path / "checkpoint" / "weights")
    keras_3.save_weights(tmp_path / "keras3.weights.h5")
    for path in ("legacy.weights.h5", "keras3.weights.h5", "checkpoint", "checkpoint/weights"):
        (problem,) = refused(lambda path=path: ld.convert(tmp_path / path))
        assert "weights" in problem.what
        assert "model.save" in problem.remedy


@pytest.mark.follows(
    "Give the Keras model that it was made of, saved with model.save('model.keras')",
)
def test_a_program_without_its_layers_is_no_model(keras_3, legacy, wanted, tmp_path, capfd):
    keras_3.export(tmp_path / "exported", verbose=False)
    (problem,) = refused(lambda: ld.convert(tmp_path / "exported"))
    assert "without its Keras layers" in problem.what
    legacy.save(tmp_path / "model.keras")  # what the remedy says
    assert ld.convert(tmp_path / "model.keras").digest == wanted


def test_deployments_and_models_are_not_mistaken_for_each_other(legacy, tmp_path):
    deployment = ld.deploy(legacy, options=ld.DeployOptions(normalization="none", balance_steps=0))
    deployment.save(tmp_path / "net.loihi")
    legacy.save(tmp_path / "model.keras")
    (problem,) = refused(lambda: ld.deploy(tmp_path / "net.loihi"))
    assert "loihi_deploy.load(path).run(x)" in problem.remedy
    assert ld.load(tmp_path / "net.loihi") == deployment
    (problem,) = refused(lambda: ld.load(tmp_path / "model.keras"), ArtifactError)
    assert "loihi-deploy compile" in problem.remedy
    refused(lambda: ld.convert(tmp_path / "missing.keras"), InputError)


def test_every_kind_of_file_has_its_words():
    assert set(WHAT) == set(KINDS)


def test_kinds_of_archives_and_folders(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("model/data.pkl", b"")
    kinds = {name: file_kind(tmp_path / name) for name in ("x.npz", "empty", "model.pth", "none")}
    assert kinds == {"x.npz": "arrays", "empty": "folder", "model.pth": "torch", "none": "missing"}
