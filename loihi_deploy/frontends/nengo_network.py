"""Nengo networks, and the networks that NengoDL's Converter makes, without importing TensorFlow.

Neurons become populations; whatever stands between them (nodes that pass their input on, connections, constants) is an
affine expression of them. Parameters are taken as Nengo's builder would draw them from the network's seeds. Values that
are decoded from neurons and encoded into others (NEF) are such expressions, too: weights are encoders times transform
times decoders, and the decoders are solved for the rates of the chip's neurons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import nengo
import numpy as np
from nengo.exceptions import BuildError
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder, Source, add
from loihi_deploy.frontends.connections import (
    UnsupportedConnectionError,
    connection_map,
    decoded_map,
)
from loihi_deploy.frontends.decoding import (
    as_stepped,
    decoded_by_solver,
    probe_connection,
    solved_decoders,
)
from loihi_deploy.frontends.keras_layers import (
    HANDLERS,
    activation_name,
    is_softmax,
    maximum_refused,
    refusal,
    type_name,
)
from loihi_deploy.frontends.layouts import Layout, convolution_layouts, image_layout
from loihi_deploy.frontends.parameters import Parameters
from loihi_deploy.frontends.tensors import Tensor, UnsupportedLayerError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Shape, Transform
from loihi_deploy.options import DeployOptions

SPIKING = {
    "SpikingRectifiedLinear": ("if", False),
    "LoihiSpikingRectifiedLinear": ("if", True),
    "LIF": ("lif", False),
    "LoihiLIF": ("lif", True),
}
RATE = {"RectifiedLinear": "if", "LIFRate": "lif", "SoftLIFRate": "lif"}
PROBE_REMEDY = "Probe an ensemble, a node, or the output of neurons"


LayerNeuron = Callable[[Any, Any], tuple[Any, float]]


def convert_network(network: nengo.Network, options: DeployOptions) -> Graph:
    """Convert a Nengo network; see `loihi_deploy.frontends.convert`."""
    return walk_network(network, options).graph()


def walk_network(network: nengo.Network, options: DeployOptions) -> NetworkWalk:
    """Evaluate a Nengo network as affine expressions."""
    builder = GraphBuilder(f"Nengo network {network.label!r}" if network.label else "the Nengo network", 0.0)
    walk = NetworkWalk(network, builder, options.dt, convolution_layouts(network))
    if not network.all_probes:
        builder.problems.append(
            Problem("the network has no probe", remedy="Probe the node or the neurons that hold its output")
        )
    for probe in network.all_probes:
        walk.readout(probe, probe.label or getattr(_owner(probe.obj), "label", None) or "output")
    return walk


def _owner(obj: Any) -> Any:
    return obj.ensemble if isinstance(obj, nengo.ensemble.Neurons) else obj


def describe(obj: Any) -> str:
    """An object for error messages: ``ensemble 'hidden'``."""
    owner = _owner(obj)
    return f"{type(owner).__name__.lower()} {owner.label!r}" if owner.label else str(owner)


class NetworkWalk:
    """Evaluates the objects of a network as affine expressions, from the probes backwards.

    Parameters
    ----------
    network : nengo.Network
    builder : GraphBuilder
    dt : float
    layouts : dict from object to Layout
        Of objects that hold images.
    names : dict from object to str
        Names of objects, where they are known better than by their labels.
    inputs : dict from node to shape, or None
        The nodes that are given values, and their samples' shapes; None takes those whose output is a function or zero.
    rate_neurons : bool
        Whether rate neurons stand for their spiking counterparts.
    neuron_synapse : nengo synapse, float or None
        Of connections from neurons that have none.
    layer_neuron : function from TensorNode and activation to (neuron type, scale of firing rates), or None
        What computes the activation inside a Keras layer that NengoDL runs as it is; None refuses such a layer.

    Attributes
    ----------
    input_names, populations : dict from object to str
        Names of the nodes that are inputs, and of the neurons that became populations.
    drawn : dict from object to (gain, bias)
        Of the neurons that became populations, in the network's own order.
    models : dict from object to (NeuronModel, amplitude)
        Of neurons.
    known : dict from object to Affine
        The expressions found so far.
    """

    def __init__(
        self,
        network: nengo.Network,
        builder: GraphBuilder,
        dt: float,
        layouts: dict[Any, Layout],
        names: dict[Any, str] | None = None,
        inputs: dict[Any, Shape] | None = None,
        rate_neurons: bool = False,
        neuron_synapse: Any = None,
        layer_neuron: LayerNeuron | None = None,
    ) -> None:
        self.builder = builder
        self.dt = dt
        self.layouts = layouts
        self.names = names or {}
        self.rate_neurons = rate_neurons
        self.neuron_synapse = neuron_synapse
        self.layer_neuron = layer_neuron
        self.parameters = Parameters(network)
        self.reserved: dict[Any, str] = {}
        self.input_names: dict[Any, str] = {}
        self.populations: dict[Any, str] = {}
        self.drawn: dict[Any, tuple[NDArray[Any], NDArray[Any]]] = {}
        self.known: dict[Any, Affine] = {}
        self.active: list[Any] = []
        self.spiking_layers: set[Any] = set()
        self.counted: Counter[str] = Counter()
        self.solved = decoded_by_solver(network)
        self.models: dict[Any, tuple[NeuronModel, float]] = {}
        self.into: dict[Any, list[Any]] = {}
        for connection in network.all_connections:
            self.into.setdefault(connection.post_obj, []).append(connection)
        if inputs is None:
            inputs = {node: self.layout(node).shape for node in network.all_nodes if _is_input(node)}
        for node, shape in inputs.items():
            order = self.layout(node).order
            shape = shape if order is None else self.layout(node).shape
            self.input_names[node] = self.name(node, "input")
            self.known[node] = builder.input(self.input_names[node], shape, order)

    def name(self, obj: Any, kind: str) -> str:
        """A unique name, made when it is first asked for."""
        if obj not in self.reserved:
            label = self.names.get(obj) or _owner(obj).label or kind
            self.reserved[obj] = self.builder.unique(label)
        return self.reserved[obj]

    def layout(self, obj: Any) -> Layout:
        """How the object's output is stored."""
        return self.layouts.get(obj) or Layout((int(obj.size_out),))

    def input_layout(self, obj: Any) -> Layout:
        """How what arrives at the object is stored."""
        if _is_tensor_node(obj):
            return image_layout(obj.shape_in, channels_last=self.layout(obj).order is None)
        return self.layout(obj)

    def problem(self, obj: Any, what: str, value: object = None, remedy: str = "") -> None:
        """Note something that cannot be converted."""
        where = obj if isinstance(obj, str) else describe(obj)
        self.builder.problems.append(Problem(what, where, value, remedy=remedy))

    def expression(self, obj: Any) -> Affine:
        """The expression of a node's or population's output."""
        if obj in self.known:
            return self.known[obj]
        neurons = isinstance(obj, nengo.ensemble.Neurons)
        if neurons and obj in self.active:
            return self._source(obj)
        if obj in self.active and not self._behind_neurons(obj):
            self.problem(obj, "nodes feed each other in a circle", remedy="Put neurons into the circle")
            return self._nothing(obj)
        self.active.append(obj)
        result = self._population(obj) if neurons else self._node(obj)
        self.active.pop()
        self.known[obj] = result
        return result

    def _behind_neurons(self, node: Any) -> bool:
        """Whether neurons, whose output is known, stand between a node that is being evaluated and itself."""
        since = self.active[len(self.active) - self.active[::-1].index(node) :]
        return any(isinstance(obj, nengo.ensemble.Neurons) for obj in since)

    def _source(self, neurons: Any) -> Affine:
        layout = self.layout(neurons)
        name = self.name(neurons, "ensemble")
        return Affine({Source(name, 0.0): None}, np.zeros(neurons.size_out), layout.shape, layout.order)

    def _nothing(self, obj: Any) -> Affine:
        layout = self.layout(obj)
        return Affine({}, np.zeros(int(obj.size_out)), layout.shape, layout.order)

    def _sum(self, obj: Any) -> Affine:
        """What arrives at an object."""
        layout = self.input_layout(obj)
        parts = [Affine({}, np.zeros(int(obj.size_in)), layout.shape, layout.order)]
        for connection in self.into.get(obj, []):
            parts.append(self._connection(connection))
        return add(parts)

    def _connection(self, connection: Any) -> Affine:
        source, target = connection.pre_obj, connection.post_obj
        where = f"connection from {describe(source)} to {describe(target)}"
        layout = self.input_layout(target)
        nothing = Affine({}, np.zeros(int(target.size_in)), layout.shape, layout.order)
        try:
            decoded = isinstance(source, nengo.Ensemble)
            expression = self.expression(source.neurons if decoded else source)
            if decoded and source.neurons not in self.models:
                return nothing  # of neurons that are refused
            weights = self.parameters.weights(connection)
            if decoded:
                expression = expression.ordered(None, (source.n_neurons,))
                decoders = solved_decoders(self.parameters, connection, *self.models[source.neurons])
                transform: Transform | None = decoded_map(connection, weights, decoders, layout)
            else:
                transform = connection_map(connection, weights, self.layout(source), layout)
            synapse = connection.synapse
            spikes = isinstance(source, nengo.ensemble.Neurons) or source in self.spiking_layers
            if synapse is None and spikes and self.neuron_synapse:
                synapse = self.neuron_synapse
                self.counted["connections from neurons without a synapse were given the Converter's"] += 1
            tau = _time_constant(synapse)
        except UnsupportedConnectionError as reason:
            self.problem(where, reason.what, reason.value, reason.remedy)
            return nothing
        if transform is not None:
            expression = expression.mapped(transform, layout.shape, layout.order)
        try:
            expression = expression.filtered(tau)
        except ValueError:
            self.problem(
                where,
                "two synapses in a row",
                tau,
                remedy="Set synapse=None on one of the connections between two populations",
            )
        if tau and expression.offset.any():
            self.counted["constant values were taken as they are behind their synapses"] += 1
        return expression

    def _node(self, node: Any) -> Affine:
        if _is_tensor_node(node):
            return self._tensor_node(node)
        if node.size_in == 0 and isinstance(node.output, np.ndarray):
            layout = self.layout(node)
            values = np.asarray(node.output, np.float64)
            return Affine({}, values, (values.size,)).ordered(layout.order, layout.shape)
        if node.output is not None:
            self.problem(
                node,
                "a function of other values is computed outside the chip",
                remedy="Give the node no output function, or compute it on the samples before they are passed in",
            )
            return self._nothing(node)
        return self._sum(node)

    def _tensor_node(self, node: Any) -> Affine:
        """A Keras layer that NengoDL runs as it is."""
        layer = node.tensor_func
        try:
            if not hasattr(layer, "get_config") or node.pass_time:
                raise UnsupportedLayerError(
                    "TensorFlow code has no counterpart on the chip",
                    getattr(layer, "__name__", type(layer).__name__),
                    "Use nengo.Node, nengo.Ensemble and nengo.Connection objects in its place",
                )
            if type_name(layer) not in HANDLERS:
                raise refusal(layer)
            tensor = HANDLERS[type_name(layer)](layer, [Tensor(self._sum(node), tuple(node.shape_in))])
            if tensor.windows is not None:
                raise maximum_refused(layer)
            if activation_name(tensor.activation) != "linear" or tensor.host != "linear":
                return self._layer_population(node, tensor)
        except UnsupportedLayerError as reason:
            self.problem(node, reason.what, reason.value, reason.remedy)
            return self._nothing(node)
        layout = self.layout(node)
        return tensor.affine.ordered(layout.order, layout.shape)

    def _layer_population(self, node: Any, tensor: Tensor) -> Affine:
        """Neurons in place of the activation inside a Keras layer."""
        neuron, scale = (None, 1.0)
        if self.layer_neuron is not None and tensor.host == "linear":
            neuron, scale = self.layer_neuron(node, tensor.activation)
        if neuron is None:
            raise UnsupportedLayerError(
                "the activation inside a TensorFlow layer has no spiking counterpart",
                activation_name(tensor.activation),
                "Let an ensemble of spiking neurons compute it; softmax only at the end",
            )
        layout = self.layout(node)
        currents = tensor.affine.ordered(layout.order, layout.shape)
        model, amplitude = self._neuron_model(node, neuron)
        self.spiking_layers.add(node)
        name = self.name(node, "layer")
        self.builder.population(name, currents, model, scale, 0.0, amplitude / scale)
        return Affine({Source(name, 0.0): None}, np.zeros(currents.size), currents.shape, currents.order)

    def _population(self, neurons: Any) -> Affine:
        ensemble = neurons.ensemble
        if ensemble.noise is not None:
            self.problem(ensemble, "injected noise is not converted", remedy="Set noise=None")
        n_problems = len(self.builder.problems)
        model, amplitude = self._neuron_model(ensemble, ensemble.neuron_type)
        if ensemble in self.solved:
            model = as_stepped(model, self.dt)
        try:
            if ensemble in self.into or ensemble in self.solved:
                self.parameters.built(ensemble)
        except BuildError as error:
            remedy = "Give it other gains, intercepts, encoders or evaluation points, which Nengo can build"
            self.problem(ensemble, "Nengo cannot build it", str(error), remedy)
        if len(self.builder.problems) > n_problems:
            self._sum(neurons)  # what is wrong in front of it is told, too
            return self._nothing(neurons)
        self.models[neurons] = model, amplitude
        currents = self._sum(neurons)
        if ensemble in self.into:
            currents = add([currents, self._encoded(ensemble)])
        drawn = self.parameters.neurons(ensemble, may_draw=ensemble in self.into or ensemble in self.solved)
        if drawn is None:
            self.problem(
                ensemble,
                "gains, biases or initial voltages are drawn anew in every build",
                remedy="Call sim.freeze_params(network) after training, or give the network a seed",
            )
            return self._nothing(neurons)
        gain, bias, voltage = drawn
        self.drawn[neurons] = gain, bias
        if currents.order is not None:
            back = np.argsort(currents.order)
            gain, bias = gain[back], bias[back]
            voltage = voltage if voltage is None else voltage[back]
        name = self.populations[neurons] = self.name(neurons, "ensemble")
        self.builder.population(name, currents, model, gain, bias, amplitude, voltage)
        return self._source(neurons)

    def _encoded(self, ensemble: Any) -> Affine:
        """What an ensemble's input is to its neurons, before their gains."""
        layout = self.layout(ensemble.neurons)
        encoders = Dense(self.parameters.built(ensemble).encoders / ensemble.radius)
        values = self._sum(ensemble).ordered(None, (ensemble.dimensions,))
        return values.mapped(encoders, (ensemble.n_neurons,)).ordered(layout.order, layout.shape)

    def _neuron_model(self, ensemble: Any, neuron: Any) -> tuple[NeuronModel, float]:
        base, amplitude = neuron, float(getattr(neuron, "amplitude", 1.0))
        if type(neuron).__name__ == "RegularSpiking":
            base = neuron.base_type
            amplitude *= float(getattr(base, "amplitude", 1.0))
        name = type(base).__name__
        if base is neuron and name in SPIKING:
            kind, discretized = SPIKING[name]
        elif name in RATE and (self.rate_neurons or base is not neuron):
            kind, discretized = RATE[name], False
            if base is neuron:
                self.counted["populations of rate neurons were taken as spiking ones"] += 1
        elif name in RATE:
            self.problem(ensemble, "rate neurons do not spike", name, _spiking_remedy(base))
            return NeuronModel(), 1.0
        else:
            what = "the neuron type has no counterpart on the chip"
            self.problem(ensemble, what, name, _spiking_remedy(getattr(base, "base_type", base)))
            return NeuronModel(), 1.0
        if kind == "if":
            return NeuronModel("if", discretized=discretized), amplitude
        if getattr(base, "min_voltage", 0) != 0:
            self.problem(ensemble, "a minimum voltage below 0", base.min_voltage, "Set min_voltage=0")
        return NeuronModel("lif", base.tau_rc, base.tau_ref, discretized), amplitude

    def readout(
        self,
        probe: Any,
        name: str,
        shape: Shape | None = None,
        dtype: Literal["float16", "float32", "float64"] = "float64",
        over_frames: Literal["", "each"] = "",
    ) -> None:
        """Make a probe a readout, of a shape where it is not flat."""
        target = probe.obj
        where = f"probe of {describe(target)}"
        if not isinstance(target, (nengo.Node, nengo.Ensemble, nengo.ensemble.Neurons)):
            self.problem(where, "only neurons and values can be read out", remedy=PROBE_REMEDY)
            return
        if probe.attr not in ("output", "spikes", "decoded_output"):
            self.problem(where, "only spikes, and what they say, can be read out", probe.attr, PROBE_REMEDY)
            return
        softmax = _is_tensor_node(target) and is_softmax(target.tensor_func)
        if isinstance(target, nengo.Ensemble):
            connection = probe_connection(probe)
            self.parameters.model.seeds[connection] = self.parameters.model.seeds[probe]
            expression = self._connection(connection)
        else:
            expression = self._sum(target) if softmax else self.expression(target)
            if probe.slice is not None:
                expression = expression.take(np.arange(target.size_out)[probe.slice])
        try:
            tau = _time_constant(probe.synapse)
            expression = expression.filtered(tau)
        except UnsupportedConnectionError as reason:
            self.problem(where, reason.what, reason.value, reason.remedy)
        except ValueError:
            self.counted[
                "synapses of probes were left out: outputs are averaged over the readout window"
            ] += 1
        self.builder.readout(name, expression, shape, "softmax" if softmax else "linear", dtype, over_frames)

    def graph(self) -> Graph:
        """The finished graph."""
        for text, count in self.counted.items():
            self.builder.notes.append(f"{count} {text}")
        graph = self.builder.graph(self.dt)
        encoded = {name for obj, name in self.populations.items() if obj.ensemble in self.into}
        return replace(graph, inputs=tuple(_with_radius(graph, node, encoded) for node in graph.inputs))


def _with_radius(graph: Graph, node: Input, encoded: set[str]) -> Input:
    """The input with the magnitude that ensembles have room for, by their radius, but 1 at least.

    Where it goes to ensembles alone; values of Nengo are within 1 where nothing else is said.
    """
    into = graph.out_of(node.name)
    if not into or any(p.post not in encoded for p in into):
        return node
    largest = [float(np.abs(p.transform.values).max(initial=0.0)) for p in into]
    return replace(node, scale=max(1.0, *(1 / most for most in largest if most))) if any(largest) else node


def _spiking_remedy(neuron: Any) -> str:
    """Which spiking type has the rates of a rate type."""
    kind = RATE.get(type(neuron).__name__)
    if kind is None:
        return "Use nengo.SpikingRectifiedLinear or nengo.LIF, or their nengo_loihi counterparts"
    taus = f"tau_rc={neuron.tau_rc:g}, tau_ref={neuron.tau_ref:g}, " if kind == "lif" else ""
    spiking = "LIF" if kind == "lif" else "SpikingRectifiedLinear"
    return f"Set ens.neuron_type = nengo.{spiking}({taus}amplitude={neuron.amplitude:g}), which spikes at these rates"


def _is_input(node: Any) -> bool:
    """Whether values are given to the node from outside: it has no input, and a function or zeros as output."""
    if node.size_in > 0 or _is_tensor_node(node):
        return False
    return not isinstance(node.output, np.ndarray) or not node.output.any()


def _is_tensor_node(obj: Any) -> bool:
    return type(obj).__name__ == "TensorNode"


def _time_constant(synapse: Any) -> float:
    if synapse is None:
        return 0.0
    if isinstance(synapse, (int, float)):
        return float(synapse)
    if type(synapse) is nengo.Lowpass:
        return float(synapse.tau)
    raise UnsupportedConnectionError(
        "only lowpass synapses exist on the chip", type(synapse).__name__, "Use nengo.Lowpass(tau)"
    )
