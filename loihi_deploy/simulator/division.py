"""What of a Nengo network runs on the chip: nengo-loihi's split, which leaves to the host what the chip cannot do."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import nengo
import numpy as np
from nengo.connection import LearningRule
from nengo.ensemble import Neurons
from nengo.exceptions import BuildError
from nengo_loihi.compat import is_transform_type
from nengo_loihi.inputs import ChipProcess
from nengo_loihi.neurons import LoihiLIF, LoihiSpikingRectifiedLinear
from nengo_loihi.passthrough import Cluster, PassthroughSplit, base_obj
from nengo_loihi.splitter import HostChipSplit, PrecomputableSplit, Split

from loihi_deploy.errors import ConversionError, LoihiDeployWarning, Problem

ON_CHIP = (nengo.LIF, nengo.SpikingRectifiedLinear, LoihiLIF, LoihiSpikingRectifiedLinear)
"""Neuron types that the chip implements, and all that inherit their step."""
PROBES = {
    nengo.Ensemble: ("decoded_output",),
    Neurons: ("output", "spikes", "voltage", "input"),
}


class NotOnChipError(ConversionError, BuildError):  # type: ignore[misc]
    """A network that asks for something on the chip which the chip cannot do."""


def is_on_chip_type(neuron_type: Any) -> bool:
    """Whether the chip has this neuron model; a subclass with a step or a state of its own is another model."""
    if isinstance(neuron_type, nengo.RegularSpiking):
        base = neuron_type.base_type
        return type(base) in (nengo.LIFRate, nengo.RectifiedLinear) and base.amplitude == 1
    own = type(neuron_type)
    return any(
        isinstance(neuron_type, known) and own.step is known.step and own.make_state is known.make_state
        for known in ON_CHIP
    )


class Placement(HostChipSplit):  # type: ignore[misc]
    """Objects on the host and on the chip.

    What the chip cannot do goes to the host with a warning that names it; where ``on_chip = True`` was set for it, that
    is an error.

    Parameters
    ----------
    network : nengo.Network
    no_place : dict of Problem
        Ensembles that the chip cannot hold, as a build has found.
    """

    def __init__(
        self, network: nengo.Network, no_place: Mapping[nengo.Ensemble, Problem] | None = None
    ) -> None:
        self._no_place = dict(no_place or {})
        tensors = [node for node in network.all_nodes if type(node).__name__ == "TensorNode"]
        if tensors:
            remedy = "Give the Converter itself to the simulator, or write the layer with Nengo's own objects"
            problems = [
                Problem("a layer that only TensorFlow can run", str(node), remedy=remedy) for node in tensors
            ]
            raise NotOnChipError("Cannot simulate the network", problems)
        super().__init__(network)
        self.host_objs.update(probe for probe in network.all_probes if not self._is_at_object(probe))

    @staticmethod
    def _is_at_object(probe: nengo.Probe) -> bool:
        return isinstance(base_obj(probe.target), nengo.Ensemble | nengo.Node)

    def _place_ensembles(self, network: nengo.Network) -> None:
        super()._place_ensembles(network)
        moved: dict[Any, Problem] = {}
        while found := {
            ensemble: why for ensemble, why in self._refused(network) if ensemble in self.chip_objs
        }:
            moved.update(found)
            self.chip_objs.difference_update(found)
            self.host_objs.update(found)
        demanded = [ensemble for ensemble in moved if network.config[ensemble].on_chip]
        if demanded:
            problems = [moved[ensemble] for ensemble in demanded]
            raise NotOnChipError("The chip cannot do what on_chip = True asks for", problems)
        if moved:
            names = "; ".join(str(problem).rstrip(".") for problem in moved.values())
            warnings.warn(
                LoihiDeployWarning(Problem(f"Runs on the host, for the chip cannot do it: {names}")),
                stacklevel=2,
            )

    def _refused(self, network: nengo.Network) -> Iterator[tuple[nengo.Ensemble, Problem]]:
        yield from self._no_place.items()
        for ensemble, why in self._not_done(network):
            yield ensemble, Problem(why, str(ensemble), remedy="Set on_chip = False for it")

    def _not_done(self, network: nengo.Network) -> Iterator[tuple[nengo.Ensemble, str]]:
        """Ensembles that need something that the chip does not do, and what."""
        for ensemble in network.all_ensembles:
            if not is_on_chip_type(ensemble.neuron_type):
                yield ensemble, f"neuron type {type(ensemble.neuron_type).__name__}"
            elif ensemble.noise is not None:
                yield ensemble, "noise of an ensemble"
            elif (ensemble.gain is None) != (ensemble.bias is None):
                yield ensemble, "one of gain and bias given without the other"
        for connection in network.all_connections:
            ends = [base_obj(connection.pre), base_obj(connection.post)]
            for end, why in self._refused_ends(connection):
                if isinstance(ends[end], nengo.Ensemble):
                    yield ends[end], why
        for probe in network.all_probes:
            yield from self._refused_probe(probe)

    def _refused_ends(self, connection: nengo.Connection) -> Iterator[tuple[int, str]]:
        pre, post = base_obj(connection.pre), base_obj(connection.post)
        pre_on_chip, post_on_chip = pre in self.chip_objs, post in self.chip_objs
        rule = connection.learning_rule_type
        learns_on_chip = (
            isinstance(rule, nengo.PES)
            and isinstance(rule.pre_synapse, nengo.Lowpass)
            and isinstance(connection.pre_obj, nengo.Ensemble)
            and isinstance(connection.post_obj, nengo.Ensemble | nengo.Node)
            and not connection.solver.weights
        )
        if rule is not None and not learns_on_chip:
            yield 0, f"learning rule {rule}"
            yield 1, f"learning rule {rule}"
        solver = connection.solver
        decodes = pre_on_chip and not post_on_chip and isinstance(connection.pre_obj, nengo.Ensemble)
        if decodes and solver.weights and not _can_decode(solver):
            yield 0, f"weights to neurons on the host, {solver}"
        sends_spikes = isinstance(connection.pre_obj, Neurons) or pre_on_chip
        if not (sends_spikes and post_on_chip):
            return
        if connection.synapse is not None and not isinstance(connection.synapse, nengo.Lowpass):
            yield 1, f"a synapse that is not a lowpass, {connection.synapse}"
        if is_transform_type(connection.transform, ("Convolution", "ConvolutionTranspose")):
            if connection.transform.dimensions != 2:
                yield 1, f"a convolution of {connection.transform.dimensions} dimension(s)"
            if not (isinstance(connection.pre_obj, Neurons) and isinstance(connection.post_obj, Neurons)):
                yield 1, "a convolution that is not between neurons"

    def _refused_probe(self, probe: nengo.Probe) -> Iterator[tuple[nengo.Ensemble, str]]:
        obj = probe.obj.connection if isinstance(probe.obj, LearningRule) else probe.obj
        why = f"probe of '{probe.attr}'"
        if isinstance(obj, nengo.Connection):
            yield from (
                (end, why)
                for end in (base_obj(obj.pre), base_obj(obj.post))
                if isinstance(end, nengo.Ensemble)
            )
        elif not isinstance(obj, nengo.Node) and probe.attr not in PROBES[type(obj)]:
            yield base_obj(obj), why

    def _place_probes(self, network: nengo.Network) -> None:
        for probe in filter(self._is_at_object, network.all_probes):
            on_chip = base_obj(probe.target) in self.chip_objs
            (self.chip_objs if on_chip else self.host_objs).add(probe)


def _can_decode(solver: Any) -> bool:
    """Whether a solver for weights finds decoders, too."""
    return solver.compositional and not isinstance(solver, nengo.solvers.NoSolver)


def anything_on_chip(placement: Placement) -> bool:
    """Whether there is anything for the chip to do."""
    return any(
        isinstance(obj, nengo.Ensemble)
        or (isinstance(obj, nengo.Node) and isinstance(obj.output, ChipProcess))
        for obj in placement.chip_objs
    )


class Passthrough(PassthroughSplit):  # type: ignore[misc]
    """Passthrough nodes to be removed.

    Those whose connections cannot be merged stay on the host, and those that lead nowhere, which Nengo builds, too.
    """

    def _split_cluster(self, cluster: Cluster) -> None:
        connections: Iterable[nengo.Connection] = cluster.conns_in | cluster.conns_mid | cluster.conns_out
        leads_somewhere = cluster.conns_out or cluster.probed_objs
        if leads_somewhere and all(_is_mergeable(connection) for connection in connections):
            super()._split_cluster(cluster)


def _is_mergeable(connection: nengo.Connection) -> bool:
    transform = connection.transform
    return (
        (connection.synapse is None or isinstance(connection.synapse, nengo.Lowpass))
        and connection.learning_rule_type is None
        and is_transform_type(transform, ("Dense", "NoTransform"))
        and (
            is_transform_type(transform, "NoTransform")
            or (isinstance(transform.init, np.ndarray) and transform.init.ndim in (0, 2))
        )
    )


class Division(Split):  # type: ignore[misc]
    """How a network is divided in host, chip, and what can run ahead of the chip; and what its build found out.

    Attributes
    ----------
    initial_voltages : dict of arrays
        Initial voltages that were asked for, by ensemble, in Nengo's units (threshold 1).
    solved : tuple or None
        Evaluation points, decoders and solver's information of the connection built last, where its pre is on chip.
    filtered_on_chip : dict of float
        Connections of decoded values whose filter acts at the neurons on chip, with its time constant in seconds.
    """

    def __init__(
        self, network: nengo.Network, placement: Placement, precompute: bool | None, remove_passthrough: bool
    ) -> None:
        self.network = network
        self.hostchip = placement
        self.passthrough = (
            Passthrough(network, placement) if remove_passthrough else PassthroughSplit(None, None)
        )
        self._precomputable = PrecomputableSplit(
            network, placement, self.passthrough, strict=precompute is True
        )
        self.precompute = self.precomputable() if precompute is None else precompute
        self.initial_voltages: dict[Any, Any] = {}
        self.solved: Any = None
        self.filtered_on_chip: dict[Any, float] = {}

    def precomputable(self, obj: Any = None) -> bool:
        """Whether an object, or without one the network, can run ahead of the chip."""
        if isinstance(obj, nengo.Probe):
            target = obj.obj.connection if isinstance(obj.obj, LearningRule) else obj.target
            obj = base_obj(target.pre if isinstance(target, nengo.Connection) else target)
        return bool(self._precomputable.precomputable(obj))
