"""Models and samples that training is given: refused where they are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError
from loihi_deploy.training.rewriting import keras_of


def keras_with(model: Any) -> Any:
    """The Keras that a model is one of.

    Raises
    ------
    InputError
        If it is no Keras model, or not built.
    """
    keras = keras_of(model)
    if keras is None or not getattr(model, "inputs", None):
        found = type(model).__name__ if keras is None else "a model that is not built"
        raise InputError.single("not a model to train", "model", found, "a Keras model with inputs")
    return keras


def samples_of(model: Any, x: Any) -> NDArray[np.float32]:
    """Samples (n, *input_shape) of a model with one input.

    Raises
    ------
    InputError
        If they are no finite numbers of this shape.
    """
    try:
        values = np.asarray(x)
    except Exception as error:  # whatever an array-like of another package raises
        raise InputError.single("samples are not an array", "x", f"{type(x).__name__}: {error}") from error
    if values.dtype.kind not in "biuf" or isinstance(x, np.ma.MaskedArray):
        raise InputError.single("samples are not numbers", "x", values.dtype, "real numbers")
    shape = tuple(model.inputs[0].shape[1:])
    fits = len(values.shape) == len(shape) + 1 and all(
        wanted in (None, found) for found, wanted in zip(values.shape[1:], shape, strict=True)
    )
    if not (fits and len(values)):
        raise InputError.single("samples do not fit", "x", values.shape, f"(n, {', '.join(map(str, shape))})")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError.single("samples are not finite", "x", f"{bad} NaN or infinite values")
    return values.astype(np.float32)
