"""nengo-loihi's builder, with what it refuses and this simulator does not."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import nengo
import numpy as np
from nengo.builder.connection import BuiltConnection
from nengo.builder.network import build_network as nengo_build_network
from nengo.builder.network import seed_network
from nengo.builder.transforms import multiply
from nengo.ensemble import Neurons
from nengo_loihi.builder import Builder as LoihiBuilder
from nengo_loihi.builder import Model
from nengo_loihi.builder.connection import build_connection as loihi_build_connection
from nengo_loihi.builder.connection import build_solver as loihi_build_solver
from nengo_loihi.builder.discretize import discretize_model
from nengo_loihi.builder.split_blocks import split_model
from nengo_loihi.builder.validate import validate_model
from nengo_loihi.compat import is_transform_type, sample_transform
from nengo_loihi.passthrough import base_obj
from numpy.typing import NDArray

from loihi_deploy.errors import Problem
from loihi_deploy.simulator.division import Division, NotOnChipError


def build(model: Model, network: nengo.Network, division: Division) -> None:
    """Build a network into a model: host, chip, and the discretized blocks on the chip.

    Raises
    ------
    nengo.exceptions.BuildError
        If the network cannot be built, or a block does not fit on a core.
    """
    model.builder = Builder()
    seed_network(network, seeds=model.seeds, seeded=model.seeded)
    model.split = division
    _refuse_mixed_synapses(model, network)
    model.build(network)
    for connection in division.passthrough.to_add:
        model.seeds[connection] = None
        model.seeded[connection] = False
        model.build(connection)
    blocks = split_model(model)
    model.block_comp_map = {new: indices for parts in blocks.values() for new, indices in parts.items()}
    discretize_model(model)
    validate_model(model)
    for ensemble in division.hostchip.chip_objs & model.params.keys():
        if isinstance(ensemble, nengo.Ensemble):  # nengo-loihi leaves out the radius
            built = model.params[ensemble]
            scaled = built.encoders * (built.gain / ensemble.radius)[:, np.newaxis]
            model.params[ensemble] = built._replace(scaled_encoders=scaled)


def build_network(model: Model, network: nengo.Network) -> None:
    """Build a network, or one within a network, as Nengo does."""
    nengo_build_network(model, network, progress=None)


def _build_neurons(model: Model, neuron_type: Any, neurons: Neurons, block: Any) -> None:
    """Build neurons; initial voltages that the network sets are kept, Nengo's random default is not."""
    asked_for = neuron_type.initial_state is not None and "voltage" in neuron_type.initial_state
    with warnings.catch_warnings():
        if asked_for:
            state = neuron_type.make_state(
                block.n_neurons, rng=np.random.RandomState(model.seeds[neurons.ensemble] + 1)
            )
            model.split.initial_voltages[neurons.ensemble] = np.asarray(state["voltage"], dtype=np.float64)
            warnings.filterwarnings("ignore", "NengoLoihi does not support initial values for 'voltage'")
        LoihiBuilder.build(model, neuron_type, neurons, block)


def initial_voltages(model: Model) -> dict[Any, NDArray[np.int32]]:
    """Initial voltages of a built model's blocks, in the chip's units."""
    voltages = {}
    for ensemble, values in model.split.initial_voltages.items():
        for block in model.objs[ensemble]["in"]:
            part = values[np.asarray(list(model.block_comp_map[block]))]
            voltages[block] = np.round(part * block.compartment.vth).astype(np.int32)
    return voltages


def build_solver(model: Model, solver: Any, connection: Any, rng: Any, transform: Any) -> Any:
    """Solve for decoders as nengo-loihi does, and keep them as they are before its scaling."""
    model.split.solved = loihi_build_solver(model, solver, connection, rng, transform)
    return model.split.solved


def build_connection(model: Model, connection: nengo.Connection) -> None:
    """Build a connection, in a form that nengo-loihi takes, and keep its parameters as Nengo gives them."""
    division = model.split
    pre, post = base_obj(connection.pre), base_obj(connection.post)
    pre_on_chip, post_on_chip = (
        isinstance(end, nengo.Ensemble | nengo.Node) and division.on_chip(end) for end in (pre, post)
    )
    division.solved = None
    ahead, behind = (dict(part.params) for part in (model.host_pre, model.host))
    for part in _in_loihi_form(model, connection, pre_on_chip=pre_on_chip, post_on_chip=post_on_chip):
        loihi_build_connection(model, part)
    if pre_on_chip or post_on_chip:
        added = [
            built
            for part, before in ((model.host_pre, ahead), (model.host, behind))
            for obj, built in part.params.items()
            if obj not in before and getattr(built, "solver_info", None) is not None
        ]
        model.params[connection] = _parameters(model, connection, added)


def _in_loihi_form(
    model: Model, connection: nengo.Connection, *, pre_on_chip: bool, post_on_chip: bool
) -> list[nengo.Connection]:
    """One or two connections that do the same and that nengo-loihi can build."""
    spikes = isinstance(connection.pre_obj, Neurons)
    simple = is_transform_type(connection.transform, ("Dense", "NoTransform"))
    if pre_on_chip != post_on_chip and not simple and not (post_on_chip and spikes):
        return _relayed(model, connection, transform_first=post_on_chip)
    weights = pre_on_chip and isinstance(connection.pre_obj, nengo.Ensemble) and connection.solver.weights
    sliced = post_on_chip and not weights and not _is_everything(connection.post_slice)
    repeated = (
        (pre_on_chip or post_on_chip)
        and not isinstance(connection.pre_obj, nengo.Ensemble)
        and connection.function is None
        and isinstance(connection.pre_slice, list | np.ndarray)
    )
    if simple and (sliced or repeated):
        return [_whole(model, connection, sliced=sliced, repeated=repeated)]
    return [connection]


def _is_everything(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _relayed(model: Model, connection: nengo.Connection, *, transform_first: bool) -> list[nengo.Connection]:
    """Apply a transform that nengo-loihi has only on chip on the host, before or behind a relay."""
    pre = base_obj(connection.pre)
    relay = nengo.Node(
        size_in=connection.size_out if transform_first else connection.size_mid, add_to_container=False
    )
    model.split.hostchip.host_objs.add(relay)
    if model.split.precomputable(pre):
        model.split._precomputable.objs.add(relay)
    decoded = {key: getattr(connection, key) for key in _DECODED}
    rest = {"transform": connection.transform, "synapse": connection.synapse}
    first = {**decoded, **rest} if transform_first else {**decoded, "synapse": None}
    halves = [
        nengo.Connection(connection.pre, relay, add_to_container=False, **first),
        nengo.Connection(
            relay, connection.post, add_to_container=False, **({"synapse": None} if transform_first else rest)
        ),
    ]
    _inherit_seed(model, connection, relay, *halves)
    model.build(relay)
    return halves


def _whole(model: Model, connection: nengo.Connection, *, sliced: bool, repeated: bool) -> nengo.Connection:
    """Make a connection between all neurons out of one between slices."""
    matrix = _matrix(model, connection)
    if sliced:
        rows = np.zeros((connection.post_obj.size_in, matrix.shape[1]))
        np.add.at(rows, connection.post_slice, matrix)
        matrix = rows
    if repeated:
        columns = np.zeros((connection.pre_obj.size_out, matrix.shape[0]))
        np.add.at(columns, connection.pre_slice, matrix.T)
        matrix = columns.T
    whole = nengo.Connection(
        connection.pre_obj if repeated else connection.pre,
        connection.post_obj if sliced else connection.post,
        transform=matrix,
        synapse=connection.synapse,
        add_to_container=False,
        **{key: getattr(connection, key) for key in _DECODED},
    )
    _inherit_seed(model, connection, whole)
    return whole


_DECODED = ("function", "solver", "eval_points", "scale_eval_points")


def _inherit_seed(model: Model, connection: nengo.Connection, *objects: Any) -> None:
    for obj in objects:
        model.seeds[obj], model.seeded[obj] = model.seeds[connection], model.seeded[connection]


def _sampled(model: Model, connection: nengo.Connection) -> Any:
    return sample_transform(connection, rng=np.random.RandomState(model.seeds[connection]))


def _matrix(model: Model, connection: nengo.Connection) -> NDArray[np.float64]:
    transform = np.asarray(_sampled(model, connection))
    if transform.ndim < 2:
        transform = np.diag(np.broadcast_to(transform, connection.size_mid))
    return transform


def _composed(transform: Any, decoders: NDArray[Any]) -> NDArray[Any]:
    """Transform times decoders; a transform that is no matrix is left out, as in Nengo, which applies it by itself."""
    composed: NDArray[Any] = multiply(transform, decoders) if np.ndim(transform) <= 2 else decoders
    return composed


def _parameters(
    model: Model, connection: nengo.Connection, on_host: list[BuiltConnection]
) -> BuiltConnection:
    """What Nengo would give for a connection: without the scaling of weights that the chip needs."""
    transform = _sampled(model, connection)
    has_transform = not is_transform_type(connection.transform, "NoTransform")
    post = connection.post_obj
    if model.split.solved is not None:
        eval_points, weights, solver_info = model.split.solved
        if isinstance(connection.solver, nengo.solvers.NoSolver):
            eval_points = None
        if not (connection.solver.weights and not connection.solver.compositional):
            weights = _composed(transform, weights)
            if connection.solver.weights:
                encoders = model.params[post].scaled_encoders / post.radius
                weights = multiply(encoders[:, connection.post_slice], weights)
    elif on_host:
        eval_points, solver_info, weights = on_host[0].eval_points, on_host[0].solver_info, on_host[0].weights
        weights = weights * post.radius if isinstance(post, nengo.Ensemble) else _composed(transform, weights)
    else:
        eval_points, solver_info, weights = None, None, transform if has_transform else None
    return BuiltConnection(
        eval_points=eval_points, solver_info=solver_info, transform=connection.transform, weights=weights
    )


def _refuse_mixed_synapses(model: Model, network: nengo.Network) -> None:
    """Refuse synapses of different time constants at the same neurons; nengo-loihi takes the longest for all."""
    passthrough, placement = model.split.passthrough, model.split.hostchip
    taus: dict[Any, set[float]] = {}
    for connection in (set(network.all_connections) | passthrough.to_add) - passthrough.to_remove:
        post = base_obj(connection.post)
        if isinstance(post, nengo.Ensemble) and placement.on_chip(post):
            taus.setdefault(post, set()).add(_tau_on_chip(model, connection))
    problems = [
        Problem(
            "synapses of different time constants end at the same neurons, and a compartment has only one",
            str(ensemble),
            ", ".join(f"{tau:g} s" for tau in sorted(taus[ensemble])),
            "one",
            "Give these connections the same synapse, or the ensemble on_chip = False",
        )
        for ensemble in network.all_ensembles
        if len(taus.get(ensemble, ())) > 1
    ]
    if problems:
        raise NotOnChipError("The synapses do not fit the chip", problems)


def _tau_on_chip(model: Model, connection: nengo.Connection) -> float:
    """Time constant of a connection at its target: that of decoding, where a decoded value is what is sent."""
    pre = connection.pre_obj
    spikes = isinstance(pre, Neurons)
    pre_on_chip = spikes or model.split.on_chip(pre)
    weights = pre_on_chip and isinstance(pre, nengo.Ensemble) and connection.solver.weights
    if weights or (pre_on_chip and isinstance(connection.post_obj, Neurons)):
        return 0.0 if connection.synapse is None else float(connection.synapse.tau)
    return float(model.decode_tau)


class Builder(LoihiBuilder):  # type: ignore[misc]
    """Build functions: nengo-loihi's, and those of this module instead of them."""

    builders: ClassVar[dict[Any, Any]] = {
        **LoihiBuilder.builders,
        nengo.Network: build_network,
        nengo.Connection: build_connection,
        nengo.solvers.Solver: build_solver,
        **dict.fromkeys((nengo.LIF, nengo.SpikingRectifiedLinear, nengo.RegularSpiking), _build_neurons),
    }
