"""Keras models from files, whichever Keras wrote them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.file_kinds import Kind, file_kind, wrong_kind
from loihi_deploy.frontends.chip_activations import chip_activation_class
from loihi_deploy.frontends.compat import import_keras, import_tensorflow
from loihi_deploy.frontends.keras_config import code_in, mentions, unknown_layers

_RAISED = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RuntimeError),
    *(AssertionError, NameError, EOFError),
)
"""What Keras raises for files that it cannot read."""


@cache
def signs_class() -> Any:
    """Make the Keras constraint that keeps weights at +1 or -1; from then on Keras can load models that contain it.

    Raises
    ------
    MissingExtraError
        If TensorFlow is not installed.
    """
    tf = import_tensorflow()
    constraint: Any = tf.keras.constraints.Constraint

    class Signs(constraint):  # type: ignore[misc]
        """Weights are +1 or -1."""

        def __call__(self, w: Any) -> Any:
            return tf.sign(w)

    return tf.keras.utils.register_keras_serializable(package="loihi_deploy")(Signs)


def load_keras_model(path: str | os.PathLike[str], trust: bool = False) -> Any:
    """Load a model that Keras 3 or legacy Keras saved: a .keras or .h5 file, or a SavedModel folder.

    Its configuration is looked at before anything of it is built, and it is built by the Keras that wrote it. Of a
    SavedModel the layers and the weights are read; the TensorFlow program beside them does not run.

    Parameters
    ----------
    path : path
    trust : bool
        Whether code in the file (``Lambda`` layers, other Python functions, classes of other packages) may run.

    Returns
    -------
    keras.Model or tf_keras.Model

    Raises
    ------
    InputError
        If there is no such file.
    ConversionError
        If it is no whole Keras model, or holds code and is not to be trusted, or Keras cannot read it.
    MissingExtraError
        If TensorFlow, or the Keras that wrote it, is not installed.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "missing":
        raise InputError("There is no model to read", wrong_kind(path))
    if kind not in _READERS:
        raise ConversionError("The file is not a Keras model", wrong_kind(path))
    config, version = _configuration(path, kind)
    keras = import_keras(version)
    if not trust and (problems := code_in(config, lambda name: _is_registered(keras, name))):
        raise ConversionError(f"{path} holds code, which reading it would run", problems)
    custom = _custom_objects(config, version)
    problems = unknown_layers(config, lambda *names: _is_known(keras, custom, *names))
    if problems:
        raise ConversionError(f"{path} has layers that only its author's program has", problems)
    try:
        with keras.utils.custom_object_scope(custom):
            if kind == "saved_model":
                return _built(keras, config, path, trust)
            return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except _RAISED as error:
        raise _unreadable(path, error) from error


def _configuration(path: Path, kind: Kind) -> tuple[dict[str, Any], int]:
    """A model's configuration, and the main version of the Keras that wrote it."""
    try:
        config, written_by = _READERS[kind](path)
        version = 3 if str(written_by).startswith("3.") else 2
    except (*_RAISED, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if config is None:
        raise ConversionError(
            "The file is not a whole Keras model",
            Problem(
                "weights without the model's layers",
                str(path),
                remedy="Save the whole model, with its layers: model.save('model.keras')",
            ),
        )
    if not isinstance(config, dict):
        raise _unreadable(path, TypeError("its configuration is not an object"))
    # optimizer, loss and metrics of the model are not built: it is loaded with compile=False
    return {name: value for name, value in config.items() if name != "compile_config"}, version


def _read_archive(path: Path) -> tuple[Any, str]:
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
        config = json.loads(archive.read("config.json"))
    return config, metadata["keras_version"]


def _read_hdf5(path: Path) -> tuple[Any, str]:
    import h5py

    with h5py.File(path, "r") as file:
        config, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "2")
    config, version = (text.decode() if isinstance(text, bytes) else text for text in (config, version))
    return None if config is None else json.loads(config), str(version)


def _read_saved_model(path: Path) -> tuple[Any, str]:
    package = import_keras(2).Model.__module__.partition(".")[0]
    metadata = import_module(f"{package}.protobuf.saved_metadata_pb2").SavedMetadata()
    metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    root = json.loads(
        next(node.metadata for node in metadata.nodes if node.node_path == "root"), object_hook=_plain
    )
    if root.get("model_config") is None:
        raise ValueError("a subclassed model, whose layers and their order are not stored")
    return root["model_config"], "2"


def _plain(value: dict[str, Any]) -> Any:
    """The tuples and shapes that the metadata of a SavedModel writes as objects."""
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return tuple(value["items"])
    return ... if value.get("class_name") == "__ellipsis__" else value


_READERS: dict[Kind, Callable[[Path], tuple[Any, str]]] = {
    "keras": _read_archive,
    "hdf5": _read_hdf5,
    "saved_model": _read_saved_model,
}


def _built(keras: Any, config: dict[str, Any], path: Path, trust: bool) -> Any:
    """The model of a SavedModel's configuration, with its weights."""
    package = keras.Model.__module__.partition(".")[0]
    serialization: Any = import_module(f"{package}.src.saving.serialization_lib")
    with serialization.SafeModeScope(safe_mode=not trust):
        model = keras.models.model_from_config(config)
    model.load_weights(path / "variables" / "variables").assert_existing_objects_matched()
    return model


def _custom_objects(config: dict[str, Any], version: int) -> dict[str, Any]:
    """Classes that a model may have without registering them."""
    text = json.dumps(config, default=str)
    if version < 3 and "loihi_deploy>Signs" in text:
        signs_class()
    if "loihi_deploy>ChipActivation" in text:
        chip_activation_class(import_keras(version))
    if not mentions(config, "keras_spiking"):
        return {}
    import_tensorflow("Reading a model with keras_spiking layers")
    spiking = import_module("keras_spiking")
    return {name: getattr(spiking, name) for name in ("Alpha", "Lowpass", "SpikingActivation")}


def _is_registered(keras: Any, name: Any) -> bool:
    return isinstance(name, str) and keras.utils.get_registered_object(name) is not None


def _is_known(keras: Any, custom: dict[str, Any], name: str, registered_name: Any, module: Any) -> bool:
    if name in custom or hasattr(keras.layers, name) or name in ("Functional", "Model", "Sequential"):
        return True
    if name in ("TFOpLambda", "SlicingOpLambda") or str(module or "").startswith("keras.src"):
        return True
    return any(_is_registered(keras, known) for known in (name, registered_name))


def _unreadable(path: Path, error: Exception) -> ConversionError:
    detail = str(error).strip().split("\n")[0] or type(error).__name__
    return ConversionError(
        "Keras cannot load the model",
        Problem(
            "damaged, or not a model that Keras can build from its file",
            str(path),
            detail[:300],
            remedy="Save it again with model.save('model.keras'), or call loihi_deploy.deploy with the model itself",
        ),
    )
