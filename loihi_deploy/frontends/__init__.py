"""From a trained network of some framework to a `Graph`."""

from __future__ import annotations

import os
from typing import Any

from loihi_deploy.checked import checked
from loihi_deploy.errors import InputError
from loihi_deploy.file_kinds import file_kind
from loihi_deploy.frontends.compat import import_nengo_dl, import_tensorflow, is_instance
from loihi_deploy.frontends.netx_file import is_netx
from loihi_deploy.frontends.nir_file import NirNetwork, is_nir, network_of_object, read_nir
from loihi_deploy.ir import Graph
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions

__all__ = ["check_conversion", "convert", "import_nengo_dl", "import_tensorflow", "opened"]


@checked
def convert(source: Any, options: DeployOptions | None = None, *, trust: bool = False) -> Graph:
    """Convert a trained network to the float graph that every later stage works on.

    Parameters
    ----------
    source : Keras model, nengo_dl.Converter, nengo.Network, Graph or path
        A model of Keras 3 or of legacy Keras, or the path of one: .keras, .h5, or a SavedModel folder; or an ONNX model
        or a NIR graph, or its path. A graph is returned as it is.
    options : DeployOptions or None
        `synapse` and `dt` are used; None takes the defaults. What a rectified linear neuron becomes on chip is said
        later: `loihi_deploy.with_leaky_neurons`.
    trust : bool
        Whether code in a model file (``Lambda`` layers and the like) may run.

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
    source = opened(source, trust)
    if isinstance(source, Graph):
        return source
    if isinstance(source, Program):
        raise InputError.single(
            "a network in integers, which has no floats to convert",
            "source",
            remedy="Deploy it as it is: loihi_deploy.deploy(path)",
        )
    if any(is_instance(source, package, "Model") for package in ("keras", "tf_keras")):
        from loihi_deploy.frontends.keras import convert_keras

        return convert_keras(source, options)
    if is_instance(source, "nengo_dl", "Converter"):
        from loihi_deploy.frontends.converter import convert_converter

        return convert_converter(source, options)
    if is_instance(source, "nengo", "Network"):
        from loihi_deploy.frontends.nengo_network import convert_network

        return convert_network(source, options)
    if is_instance(source, "onnx", "ModelProto"):
        from loihi_deploy.frontends.onnx_models import convert_onnx

        return convert_onnx(source, options)
    if isinstance(source, NirNetwork):
        from loihi_deploy.frontends.nir import convert_nir

        return convert_nir(source, options)
    raise InputError.single(
        "not a network that can be converted",
        "source",
        type(source).__name__,
        "a Keras or ONNX model or NIR graph or the path of one, a nengo_dl.Converter, a nengo.Network or a Graph",
        "Give the trained model itself, or the file that model.save() wrote, not its outputs",
    )


def opened(source: Any, trust: bool = False) -> Any:
    """The model in a file, where `source` is a path, and the network of a NIR graph; else `source` itself.

    A network of lava-dl (HDF5, ``.net``) is a `Program`: integers that stay as they are. So is a NIR graph of the
    chip's integers, as `loihi_deploy.export.to_nir` writes it.

    Raises
    ------
    InputError, ConversionError, MissingExtraError
        See `loihi_deploy.frontends.saved_models.load_keras_model` and `loihi_deploy.frontends.netx.read_netx`.
    """
    if is_instance(source, "nir", "NIRGraph"):
        return _nir(network_of_object(source))
    if not isinstance(source, (str, os.PathLike)):
        return source
    kind = file_kind(source)
    if kind in ("hdf5", "unknown") and is_netx(source):
        from loihi_deploy.frontends.netx import read_netx

        return read_netx(source)
    if kind in ("hdf5", "nir") and is_nir(source):
        return _nir(read_nir(source))
    if kind == "onnx":
        from loihi_deploy.frontends.onnx_models import load_onnx

        return load_onnx(source)
    from loihi_deploy.frontends.saved_models import load_keras_model

    return load_keras_model(source, trust)


def _nir(network: NirNetwork) -> NirNetwork | Program:
    """The network, or its integers where it holds those of the chip."""
    from loihi_deploy.frontends.nir_program import program_of

    return program_of(network) or network


def check_conversion(source: Any, graph: Graph, x: Any, n_samples: int = 4) -> bool:
    """Compare the rate network of `graph` with its source; see `loihi_deploy.frontends.conversion_check`."""
    if isinstance(source, Graph):
        return False  # nothing was converted
    from loihi_deploy.frontends import conversion_check as verification

    return verification.check_conversion(source, graph, x, n_samples)


def sets_firing_rates(source: Any) -> bool:
    """Whether the source comes with firing rates.

    So do a Converter with `scale_firing_rates`, a network of spikes (NIR), and ensembles of Nengo that values are
    encoded into or decoded from, whose rates were chosen with their encoders.
    """
    if takes_spikes(source):
        return True
    if is_instance(source, "nengo", "Network"):
        from loihi_deploy.frontends.decoding import uses_values

        return uses_values(source)
    return is_instance(source, "nengo_dl", "Converter") and source.scale_firing_rates is not None


def rescaling(source: Any) -> float:
    """What a source multiplies samples by, before anything else: 1 where it does not, or is no Keras model."""
    if any(is_instance(source, package, "Model") for package in ("keras", "tf_keras")):
        from loihi_deploy.frontends.keras import rescaling as of_keras

        return of_keras(source)
    return 1.0


def takes_spikes(source: Any) -> bool:
    """Whether the source is a network of spiking neurons that frames of spikes are given to, one for each step: NIR."""
    return isinstance(source, NirNetwork)
