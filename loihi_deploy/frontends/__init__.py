"""From a trained network of some framework to a `Graph`."""

from __future__ import annotations

import sys
from typing import Any

from loihi_deploy.errors import InputError
from loihi_deploy.frontends.compat import import_nengo_dl, import_tensorflow
from loihi_deploy.graph import Graph
from loihi_deploy.options import DeployOptions

__all__ = ["convert", "import_nengo_dl", "import_tensorflow"]


def convert(source: Any, options: DeployOptions | None = None) -> Graph:
    """Convert a trained network to the float graph that every later stage works on.

    Parameters
    ----------
    source : tf.keras.Model, nengo_dl.Converter, nengo.Network or Graph
        A graph is returned as it is.
    options : DeployOptions or None
        `neuron`, `synapse` and `dt` are used; None takes the defaults.

    Returns
    -------
    Graph

    Raises
    ------
    ConversionError
        Listing every part of the network that has no counterpart on the chip, with reason and remedy.
    InputError
        If `source` is something else.
    """
    options = DeployOptions() if options is None else options
    if isinstance(source, Graph):
        return source
    if _is_keras_model(source):
        from loihi_deploy.frontends.keras import convert_keras

        return convert_keras(source, options)
    raise InputError.single(
        "not a network that can be converted",
        "source",
        type(source).__name__,
        "a Keras model, a nengo_dl.Converter, a nengo.Network or a Graph",
        "Give the trained model itself, not a file or its outputs",
    )


def _is_keras_model(source: Any) -> bool:
    """Whether `source` is a model of legacy Keras or Keras 3; none can exist before its package is loaded."""
    models = [getattr(sys.modules.get(name), "Model", ()) for name in ("keras", "tf_keras")]
    return any(isinstance(source, model) for model in models)
