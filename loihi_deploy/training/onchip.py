"""Which layers of a Keras model have their neurons, and their weights, on chip, and which are the host's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loihi_deploy.encoders import encoder_populations
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.chip_activations import chip_activations
from loihi_deploy.frontends.keras import walk_keras
from loihi_deploy.frontends.keras_graph import calls, key, listed, model_outputs, node_inputs
from loihi_deploy.ir import Graph
from loihi_deploy.options import DeployOptions


@dataclass(frozen=True)
class Layered:
    """A population, as the model has it.

    Parameters
    ----------
    name : str
        Of the population.
    layer : Keras layer
        That its activation belongs to.
    tensor : symbolic tensor
        Its activities.
    layers : tuple of Keras layers
        Whose kernels are the synapses into it.
    amplitudes : tuple of float
        What a spike of what drives each of them stands for, times dt.
    """

    name: str
    layer: Any
    tensor: Any
    layers: tuple[Any, ...]
    amplitudes: tuple[float, ...]


def on_chip(model: Any, encoder: str = "auto") -> tuple[Graph, list[Layered]]:
    """Find the populations on chip and the layers that drive them; layers within nested models are left out.

    Parameters
    ----------
    model : Keras model
    encoder : str
        As for `partition`.

    Returns
    -------
    graph : Graph
        What the model is converted to.
    populations : list of Layered

    Raises
    ------
    ConversionError
        If the model cannot be put on chip.
    """
    graph, found = _layered(model)
    host = encoder_populations(graph, encoder)
    return graph, [population for population in found if population.name not in host]


def on_host(model: Any, encoder: str = "auto") -> list[Layered]:
    """Find the model's own populations that run on the host: what encodes; none where other neurons stand in front."""
    graph, found = _layered(model)
    host = encoder_populations(graph, encoder)
    return [population for population in found if population.name in host]


def _layered(model: Any) -> tuple[Graph, list[Layered]]:
    """What a model is converted to, and its populations."""
    dt = next((layer.settings["dt"] for layer in chip_activations(model)), DeployOptions.dt)
    options = DeployOptions(dt=dt)
    graph = convert(model, options)
    sites = walk_keras(model, options).sites
    amplitude = {population.name: population.amplitude for population in graph.populations}
    pending: dict[Any, tuple[tuple[Any, float], ...]] = {key(tensor): () for tensor in listed(model.inputs)}
    driving = {key(tensor): 1.0 for tensor in listed(model.inputs)}
    found = []
    for layer, node in calls(model_outputs(model), set(pending)):
        inputs, outputs = [key(tensor) for tensor in node_inputs(node)], listed(node.outputs)
        above = tuple(pair for one in inputs for pair in pending[one])
        before = driving[inputs[0]]
        if kernel(layer) is not None:
            above += ((layer, before),)
        name, _ = sites.get((key(outputs[0]),), ("", None))
        if name:
            layers, amplitudes = tuple(one for one, _ in above), tuple(factor for _, factor in above)
            found.append(Layered(name, layer, outputs[0], layers, amplitudes))
            above, before = (), amplitude[name]
        for output in outputs:
            pending[key(output)], driving[key(output)] = above, before
    return graph, found


def kernel(layer: Any) -> Any:
    """The variable of a layer's weights; None where there is none, or more than one."""
    names = [name for name in ("depthwise_kernel", "pointwise_kernel", "kernel") if hasattr(layer, name)]
    return getattr(layer, names[0]) if names and "pointwise_kernel" not in names else None
