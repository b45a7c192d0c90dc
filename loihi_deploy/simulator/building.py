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
from nengo.connection import LearningRule
from nengo.ensemble import Neurons
from nengo.exceptions import BuildError, NengoWarning
from nengo_loihi.block import Compartment
from nengo_loihi.builder import Builder as LoihiBuilder
from nengo_loihi.builder import Model
from nengo_loihi.builder.connection import build_chip_to_host, build_host_to_learning_rule
from nengo_loihi.builder.connection import build_connection as loihi_build_connection
from nengo_loihi.builder.connection import build_solver as loihi_build_solver
from nengo_loihi.builder.discretize import VTH_MAN_MAX, discretize_block, discretize_probe
from nengo_loihi.builder.ensemble import build_ensemble as loihi_build_ensemble
from nengo_loihi.builder.split_blocks import split_model
from nengo_loihi.builder.validate import validate_model
from nengo_loihi.compat import is_transform_type, sample_transform
from nengo_loihi.passthrough import base_obj
from numpy.typing import NDArray

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.chip.fixed_point import decay_magnitude
from loihi_deploy.errors import LoihiDeployWarning, Problem
from loihi_deploy.simulator.division import Division, NotOnChipError


def build(model: Model, network: nengo.Network, division: Division) -> None:
    """Build a network into a model: host, chip, and the discretized blocks on the chip.

    Raises
    ------
    nengo.exceptions.BuildError
        If the network cannot be built, or a block does not fit on a core.
    NoPlaceError
        If there are ensembles that the chip cannot hold.
    """
    model.builder = Builder()
    seed_network(network, seeds=model.seeds, seeded=model.seeded)
    model.split = division
    _settle_synapses(model, network)
    model.build(network)
    for connection in division.passthrough.to_add:
        model.seeds[connection] = None
        model.seeded[connection] = False
        model.build(connection)
    blocks = split_model(model)
    model.block_comp_map = {new: indices for parts in blocks.values() for new, indices in parts.items()}
    _discretize(model)
    validate_model(model)
    for ensemble in division.hostchip.chip_objs & model.params.keys():
        if isinstance(ensemble, nengo.Ensemble):  # nengo-loihi leaves out the radius
            built = model.params[ensemble]
            scaled = built.encoders * (built.gain / ensemble.radius)[:, np.newaxis]
            model.params[ensemble] = built._replace(scaled_encoders=scaled)


class NoPlaceError(NotOnChipError):
    """Ensembles that turn out, while they are built, to have something that the chip cannot hold.

    Attributes
    ----------
    ensembles : dict of Problem
        What is wrong, by ensemble.
    """

    def __init__(self, ensembles: dict[nengo.Ensemble, Problem]) -> None:
        super().__init__("The chip cannot hold these ensembles", ensembles.values())
        self.ensembles = ensembles


def _discretize(model: Model) -> None:
    """Discretize all blocks as nengo-loihi does; what does not fit is an error that names the ensemble."""
    owners = {
        block: obj
        for obj, parts in model.objs.items()
        if isinstance(obj, nengo.Ensemble)
        for block in parts.get("in", ())
    }
    scales, too_large, others = {}, {}, []
    for block in model.blocks:
        compartment = block.compartment
        weight = max((synapse.max_abs_weight() for synapse in block.synapses), default=0.0)
        before = float(np.max(compartment.vth)), bool(compartment.scale_u), bool(compartment.scale_v)
        try:
            scales[block] = discretize_block(block)
        except (AssertionError, BuildError) as error:  # nengo-loihi's own checks, most of them without a text
            ensemble = owners.get(block)
            problem = _too_large(block, ensemble, weight, before, error)
            if ensemble is None:
                others.append(problem)
            else:
                too_large[ensemble] = problem
    if too_large:  # on the host; with them go the connections between them
        raise NoPlaceError(too_large)
    if others:
        raise NotOnChipError("The chip's integers cannot hold these values", others)
    for probe in model.probes:
        for k, block in enumerate(probe.target):
            discretize_probe(probe, k, scales[block])


def _too_large(
    block: Any, ensemble: Any, weight: float, before: tuple[float, bool, bool], error: Exception
) -> Problem:
    """Say what of a block does not fit; `before` is its threshold, and whether its decays are scaled for."""
    where = f"connection {block.label}" if ensemble is None else str(ensemble)
    threshold, scale_u, scale_v = before
    arithmetic = loihi_arithmetic()
    kept_u = arithmetic.current_factor(block.compartment.decay_u)
    kept_v = arithmetic.voltage_factor(block.compartment.decay_v)
    u_sum = decay_magnitude(kept_u, arithmetic.decay_bits).min() if scale_u else 1.0
    v_sum = decay_magnitude(kept_v, arithmetic.decay_bits).min() if scale_v else 1.0
    mantissa = float(threshold * 255.0 / weight * u_sum * v_sum) if weight else np.inf
    if round(min(mantissa, 1.0)) < 1:
        return Problem(
            f"weights too large for the threshold, which rounds to mantissa {mantissa:.2g}",
            where,
            f"largest weight {weight:g} at threshold {threshold:g}",
            f"mantissa 1 to {VTH_MAN_MAX}",
            f"Scale the transforms into it down by {np.ceil(1 / mantissa):g} or more",
        )
    text = (
        str(error) or "a check of nengo-loihi's fails: its weights, biases or learning rate are out of range"
    )
    remedy = "Set on_chip = False for " + ("an ensemble at its ends" if ensemble is None else "it")
    return Problem(text, where, f"largest weight {weight:g}", remedy=remedy)


def _too_slow(model: Model, error: BuildError, ensemble: Any, what: str, tau: float) -> BuildError:
    """Say which time constant the chip's decays are too coarse for; another error of the builder as it is."""
    if "scaling is required" not in str(error):
        return error
    problem = Problem(
        "a time constant that is too long for the chip's decays",
        f"{what} of {ensemble}",
        f"{tau:g} s",
        f"up to {-model.dt / np.log1p(-Compartment.DECAY_SCALE_TH):.3g} s",
        "Give a shorter one, or set on_chip = False for it",
    )
    return NoPlaceError({ensemble: problem})


def build_network(model: Model, network: nengo.Network) -> None:
    """Build a network, or one within a network, as Nengo does."""
    nengo_build_network(model, network, progress=None)


class GivenWarning(LoihiDeployWarning, NengoWarning):  # type: ignore[misc]
    """Something given for an ensemble that has no effect, of which Nengo warns, too."""


def build_ensemble(model: Model, ensemble: nengo.Ensemble) -> None:
    """Build an ensemble, after checks of what was given for it that are Nengo's and not nengo-loihi's."""
    if ensemble.gain is not None:
        for name in ("max_rates", "intercepts"):
            value = getattr(ensemble, name)
            if isinstance(value, np.ndarray) or value != getattr(nengo.Ensemble, name).default:
                problem = Problem(f"{name} have no effect beside gain and bias", str(ensemble), value)
                warnings.warn(GivenWarning(problem), stacklevel=2)
    elif isinstance(ensemble.intercepts, np.ndarray) and np.any(ensemble.intercepts >= 1):
        problem = Problem(
            "no gain lets neurons start to fire there",
            f"intercepts of {ensemble}",
            f"{ensemble.intercepts.max():g}",
            "below 1",
            "Give smaller intercepts",
        )
        raise NotOnChipError("Cannot build the ensemble", [problem])
    try:
        loihi_build_ensemble(model, ensemble)
    except BuildError as error:
        tau = getattr(ensemble.neuron_type, "tau_rc", 0.0)
        raise _too_slow(model, error, ensemble, "tau_rc", tau) from error


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
    if isinstance(connection.post_obj, LearningRule):
        _build_error(model, connection)
        return
    division = model.split
    pre, post = base_obj(connection.pre), base_obj(connection.post)
    pre_on_chip, post_on_chip = (
        isinstance(end, nengo.Ensemble | nengo.Node) and division.on_chip(end) for end in (pre, post)
    )
    if post_on_chip and isinstance(connection.pre_obj, Neurons):
        _check_gains(model, connection)
    spikes = isinstance(connection.pre_obj, Neurons)
    division.solved = None
    ahead, behind = (dict(part.params) for part in (model.host_pre, model.host))
    decode_tau = model.decode_tau
    built = connection
    if connection in division.filtered_on_chip:
        built, model.decode_tau = _unfiltered(model, connection), division.filtered_on_chip[connection]
    for part in _in_loihi_form(model, built, pre_on_chip=pre_on_chip, post_on_chip=post_on_chip):
        try:
            loihi_build_connection(model, part)
        except BuildError as error:
            raise _too_slow(
                model, error, post if spikes or not pre_on_chip else pre, "synapse", _tau(part)
            ) from error
    model.decode_tau = decode_tau
    if pre_on_chip or post_on_chip:
        added = [
            found
            for part, before in ((model.host_pre, ahead), (model.host, behind))
            for obj, found in part.params.items()
            if obj not in before and getattr(found, "solver_info", None) is not None
        ]
        model.params[connection] = _parameters(model, connection, added)


def _check_gains(model: Model, connection: nengo.Connection) -> None:
    """Check that a convolution, whose weights are shared, ends at neurons of one gain."""
    if is_transform_type(connection.transform, ("Convolution", "ConvolutionTranspose")):
        ensemble = base_obj(connection.post)
        gain = model.params[ensemble].gain
        if not np.all(gain == gain[0]):
            problem = Problem(
                "neurons of different gains at the end of a convolution, whose weights are shared",
                str(ensemble),
                f"{gain.min():g} to {gain.max():g}",
                "one",
                "Give it gain and bias, or set on_chip = False for it",
            )
            raise NoPlaceError({ensemble: problem})


def _build_error(model: Model, connection: nengo.Connection) -> None:
    """Build a connection that brings an error to a learning rule, on chip or on the host."""
    learning = connection.post_obj.connection
    from_chip, learns_on_chip = (
        isinstance(obj := base_obj(end), nengo.Ensemble) and model.split.on_chip(obj)
        for end in (connection.pre, learning.pre)
    )
    if learns_on_chip:
        build_host_to_learning_rule(model, connection)
    elif from_chip:
        build_chip_to_host(model, connection)
    else:
        host = model.host_model(base_obj(connection.pre))
        _inherit_host_seed(host, model, connection)
        host.build(connection)


def _inherit_host_seed(host: Any, model: Model, connection: nengo.Connection) -> None:
    host.seeds[connection], host.seeded[connection] = model.seeds[connection], model.seeded[connection]


def _unfiltered(model: Model, connection: nengo.Connection) -> nengo.Connection:
    """The same connection without its synapse."""
    bare = nengo.Connection(
        connection.pre,
        connection.post,
        transform=connection.transform,
        synapse=None,
        add_to_container=False,
        **({key: getattr(connection, key) for key in _DECODED}),
    )
    _inherit_seed(model, connection, bare)
    return bare


def _decoding(model: Model, connection: nengo.Connection) -> nengo.Connection:
    """The same connection from the chip to neurons on the host, by decoders: the host has the neurons' encoders."""
    solver = object.__new__(type(connection.solver))  # solvers cannot be changed
    solver.__setstate__({**connection.solver.__getstate__(), "weights": False})
    decoding = nengo.Connection(
        connection.pre,
        connection.post,
        transform=connection.transform,
        synapse=connection.synapse,
        add_to_container=False,
        **{**{key: getattr(connection, key) for key in _DECODED}, "solver": solver},
    )
    _inherit_seed(model, connection, decoding)
    return decoding


def _in_loihi_form(
    model: Model, connection: nengo.Connection, *, pre_on_chip: bool, post_on_chip: bool
) -> list[nengo.Connection]:
    """One or two connections that do the same and that nengo-loihi can build."""
    spikes = isinstance(connection.pre_obj, Neurons)
    simple = is_transform_type(connection.transform, ("Dense", "NoTransform"))
    nothing = (  # of which nengo-loihi makes a synapse without an index, and fails
        (pre_on_chip and post_on_chip and spikes)
        and is_transform_type(connection.transform, "Dense")
        and not np.any(_sampled(model, connection))
    )
    if pre_on_chip != post_on_chip and not simple and not (post_on_chip and spikes):
        return _relayed(model, connection, transform_first=post_on_chip)
    weights = pre_on_chip and isinstance(connection.pre_obj, nengo.Ensemble) and connection.solver.weights
    if weights and not post_on_chip:
        return [_decoding(model, connection)]
    sliced = post_on_chip and not weights and not _is_everything(connection.post_slice)
    repeated = (
        (pre_on_chip or post_on_chip)
        and not isinstance(connection.pre_obj, nengo.Ensemble)
        and connection.function is None
        and isinstance(connection.pre_slice, list | np.ndarray)
    )
    if simple and (sliced or repeated or nothing):
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


def _built_parameters(model: Model, obj: Any) -> Any:
    """Parameters of an object, on chip or on either part of the host."""
    return next(part.params[obj] for part in (model, model.host, model.host_pre) if obj in part.params)


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
                encoders = _built_parameters(model, post).scaled_encoders / post.radius
                weights = multiply(encoders[:, connection.post_slice], weights)
    elif on_host:
        eval_points, solver_info, weights = on_host[0].eval_points, on_host[0].solver_info, on_host[0].weights
        weights = weights * post.radius if isinstance(post, nengo.Ensemble) else _composed(transform, weights)
    else:
        eval_points, solver_info, weights = None, None, transform if has_transform else None
    return BuiltConnection(
        eval_points=eval_points, solver_info=solver_info, transform=connection.transform, weights=weights
    )


def _settle_synapses(model: Model, network: nengo.Network) -> None:
    """Settle on one time constant for the neurons of each ensemble; nengo-loihi takes the longest for all.

    Decoded values are filtered before they are sent, and pass the neurons' own filter of `decode_tau` on top. Where the
    other synapses have one time constant, and the decoded connections have the same, the neurons' filter does for all.
    """
    passthrough, placement = model.split.passthrough, model.split.hostchip
    into: dict[Any, list[nengo.Connection]] = {}
    for connection in (set(network.all_connections) | passthrough.to_add) - passthrough.to_remove:
        post = base_obj(connection.post)
        if isinstance(post, nengo.Ensemble) and placement.on_chip(post):
            into.setdefault(post, []).append(connection)
    problems = []
    for ensemble in network.all_ensembles:
        connections = into.get(ensemble, [])
        decoded = [c for c in connections if _sends_decoded_values(model, c)]
        taus = {_tau(c) for c in connections if c not in decoded}
        if not taus or taus == {float(model.decode_tau)} or (len(taus) == 1 and not decoded):
            continue
        tau = min(taus)
        if len(taus) == 1 and all(_tau(c) == tau and c.learning_rule_type is None for c in decoded):
            model.split.filtered_on_chip.update(dict.fromkeys(decoded, tau))
            continue
        remedy = "Give all of them the same synapse, or the ensemble on_chip = False"
        if decoded:
            remedy = (
                "Give all connections into it the same synapse, those from nodes and ensembles too, or those from "
                f"neurons {model.decode_tau:g} s; or the ensemble on_chip = False"
            )
        own = [f"{t:g} s" for t in sorted(taus)]
        if decoded:
            own.append(f"{model.decode_tau:g} s for decoded values (decode_tau)")
        problems.append(
            Problem(
                "synapses of different time constants end at the same neurons, and a compartment has only one",
                str(ensemble),
                ", ".join(own),
                "one",
                remedy,
            )
        )
    if problems:
        raise NotOnChipError("The synapses do not fit the chip", problems)


def _tau(connection: nengo.Connection) -> float:
    """Time constant in seconds of a lowpass; not a number for another filter, which only the host has."""
    if isinstance(connection.synapse, nengo.Lowpass):
        return float(connection.synapse.tau)
    return 0.0 if connection.synapse is None else np.nan


def _sends_decoded_values(model: Model, connection: nengo.Connection) -> bool:
    """Whether the neurons at its end receive a decoded value, through neurons that encode it."""
    pre = connection.pre_obj
    pre_on_chip = isinstance(pre, Neurons) or model.split.on_chip(pre)
    weights = pre_on_chip and isinstance(pre, nengo.Ensemble) and connection.solver.weights
    return not (weights or (pre_on_chip and isinstance(connection.post_obj, Neurons)))


class Builder(LoihiBuilder):  # type: ignore[misc]
    """Build functions: nengo-loihi's, and those of this module instead of them."""

    builders: ClassVar[dict[Any, Any]] = {
        **LoihiBuilder.builders,
        nengo.Network: build_network,
        nengo.Connection: build_connection,
        nengo.Ensemble: build_ensemble,
        nengo.solvers.Solver: build_solver,
        **dict.fromkeys((nengo.LIF, nengo.SpikingRectifiedLinear, nengo.RegularSpiking), _build_neurons),
    }
