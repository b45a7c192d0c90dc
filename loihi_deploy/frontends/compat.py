"""TensorFlow with legacy Keras, and NengoDL on top of it, whatever TensorFlow is installed.

NengoDL 3.6 imports unaided up to TensorFlow 2.12. From 2.16 on, ``tf.keras`` is Keras 3, which NengoDL cannot
use; the package tf-keras carries the Keras that it knows, under other module names.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from loihi_deploy.errors import MissingExtraError, missing_extra

LEGACY_KERAS = "TF_USE_LEGACY_KERAS"  # read by TensorFlow >= 2.16 when tf.keras is first used


def import_tensorflow(feature: str = "Building or training a Keras model") -> Any:
    """Import TensorFlow so that ``tf.keras`` is the Keras that NengoDL works with.

    Call it before anything else imports TensorFlow; setting ``TF_USE_LEGACY_KERAS=1`` has the same effect.

    Parameters
    ----------
    feature : str
        What needs it, for the error message.

    Returns
    -------
    module
        ``tensorflow``.

    Raises
    ------
    MissingExtraError
        If TensorFlow or tf-keras is not installed, or if Keras 3 is ``tf.keras`` already.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault(LEGACY_KERAS, "1")
    try:
        tf = importlib.import_module("tensorflow")
    except ImportError as error:
        raise missing_extra("tensorflow", feature) from error
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version >= (2, 16):
        try:
            importlib.import_module("tf_keras")
        except ImportError as error:
            raise missing_extra("tf-keras", feature) from error
        # tf.keras is settled in two places when TensorFlow is imported: its search path and a lazy attribute
        on_path = any("tf_keras" in Path(folder).parts for folder in tf.__path__)
        if not (on_path and tf.keras.Model.__module__.startswith("tf_keras")):
            raise MissingExtraError.single(
                f"{feature} needs legacy Keras, but TensorFlow was loaded with Keras 3 as tf.keras",
                remedy=f"Set {LEGACY_KERAS}=1 before TensorFlow is imported,"
                " or call loihi_deploy.frontends.import_tensorflow() first",
            )
    return tf


def import_keras(version: int, feature: str = "Reading a Keras model") -> Any:
    """Import the Keras that wrote a file, whichever of the two ``tf.keras`` is: both can be used side by side.

    Parameters
    ----------
    version : int
        3, or 2 for legacy Keras.
    feature : str
        What needs it, for the error message.

    Returns
    -------
    module

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault(LEGACY_KERAS, "1")  # leaves NengoDL its Keras where TensorFlow is not loaded yet
    try:
        tf = importlib.import_module("tensorflow")
    except ImportError as error:
        raise missing_extra("tensorflow", feature) from error
    if version < 3:
        if tuple(int(part) for part in tf.__version__.split(".")[:2]) < (2, 16):
            return tf.keras
        try:
            return importlib.import_module("tf_keras")
        except ImportError as error:
            raise missing_extra("tf-keras", feature) from error
    keras = importlib.import_module("keras")
    if not keras.__version__.startswith("3."):
        raise MissingExtraError.single(
            f"{feature} needs Keras 3, which wrote it",
            value=f"keras {keras.__version__}",
            remedy="Install it with: pip install 'tensorflow>=2.16'",
        )
    return keras


def import_nengo_dl(feature: str = "Training or converting with NengoDL") -> Any:
    """Import NengoDL, on TensorFlow >= 2.16 through legacy Keras.

    Parameters
    ----------
    feature : str
        What needs it, for the error message.

    Returns
    -------
    module
        ``nengo_dl``.

    Raises
    ------
    MissingExtraError
        If NengoDL, TensorFlow or tf-keras is not installed, or if Keras 3 is ``tf.keras`` already.
    """
    if "nengo_dl" in sys.modules:
        return sys.modules["nengo_dl"]
    tf = import_tensorflow(feature)
    legacy = tf.keras.Model.__module__.startswith("tf_keras")
    try:
        with warnings.catch_warnings(), _legacy_names() if legacy else nullcontext():
            # NengoDL 3.6 names Nengo 3.2 as the newest it was tested with; its converter's tests pass with 4.1
            warnings.filterwarnings("ignore", "This version of NengoDL has not been tested", UserWarning)
            nengo_dl = importlib.import_module("nengo_dl")
    except ImportError as error:
        raise missing_extra("nengo-dl", feature) from error
    _complete_rate_curves(nengo_dl, tf)
    return nengo_dl


def _complete_rate_curves(nengo_dl: Any, tf: Any) -> None:
    """Give nengo-loihi, if it was loaded first, the NengoDL that it looked for in vain, to train its neurons there."""
    neurons: Any = sys.modules.get("nengo_loihi.neurons")
    curves: Any = sys.modules.get("nengo_extras.loihi_training")
    if neurons is None or curves is None or neurons.HAS_DL:
        return
    builders = nengo_dl.neuron_builders
    curves.tf, neurons.tf, neurons.HAS_TF = tf, tf, True
    curves.LoihiLIFBuilder.__bases__ = (builders.LIFBuilder,)
    curves.LoihiSpikingRectifiedLinearBuilder.__bases__ = (builders.SpikingRectifiedLinearBuilder,)
    neurons.nengo_dl, neurons.HAS_DL = nengo_dl, True


@contextmanager
def _legacy_names() -> Iterator[None]:
    """Let the two imports that NengoDL makes from ``keras`` resolve to tf-keras while the block runs."""
    functional = importlib.import_module("tf_keras.src.engine.functional")
    normalization = "tf_keras.src.layers.normalization"
    version_1 = importlib.import_module(f"{normalization}.batch_normalization_v1")
    version_2 = importlib.import_module(f"{normalization}.batch_normalization")
    layers = ModuleType("keras.layers")
    layers.BatchNormalizationV1 = version_1.BatchNormalization  # type: ignore[attr-defined]
    layers.BatchNormalizationV2 = version_2.BatchNormalization  # type: ignore[attr-defined]
    standing_in = {
        "keras": ModuleType("keras"),
        "keras.engine": ModuleType("keras.engine"),
        "keras.engine.functional": functional,
        "keras.layers": layers,
    }
    before = {name: sys.modules.get(name) for name in standing_in}
    sys.modules.update(standing_in)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def refuse_numpy_2(feature: str) -> None:
    """Raise where nengo-loihi cannot work: it calls ``np.array(..., copy=False)`` for every network.

    Parameters
    ----------
    feature : str
        What needs nengo-loihi, for the error message.

    Raises
    ------
    MissingExtraError
        If numpy is 2 or newer.
    """
    if int(np.__version__.split(".")[0]) >= 2:
        raise MissingExtraError.single(
            f"{feature} needs nengo-loihi, which does not work with numpy 2",
            value=f"numpy {np.__version__}",
            limit="below 2",
            remedy="Install it with: pip install 'numpy<2'",
        )


def is_instance(source: Any, package: str, name: str) -> bool:
    """Whether `source` is of a class of a framework; none can exist before the framework is loaded."""
    return isinstance(source, getattr(sys.modules.get(package), name, ()))
