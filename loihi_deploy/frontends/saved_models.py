"""Keras models from files."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.frontends.compat import import_tensorflow


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


def load_keras_model(path: str | os.PathLike[str]) -> Any:
    """Load a model that legacy Keras saved: a .keras or .h5 file, or a SavedModel folder.

    Raises
    ------
    InputError
        If there is no such file.
    ConversionError
        If Keras cannot read it.
    MissingExtraError
        If TensorFlow is not installed.
    """
    if not Path(path).exists():
        raise InputError.single(
            "no such model",
            str(path),
            remedy="Give a file that model.save() wrote, or the name of a benchmark network",
        )
    tf = import_tensorflow("Reading a Keras model")
    signs_class()  # models with an encoder of signs contain it
    try:
        return tf.keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise ConversionError(
            "Keras cannot load the model",
            Problem(
                "not a model of legacy Keras, or with custom layers",
                str(path),
                str(error).strip().split("\n")[0],
                remedy="Save it with tf_keras as .h5 or .keras, or call loihi_deploy.deploy with the model itself",
            ),
        ) from error
