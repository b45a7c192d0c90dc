"""Decoders of the neural engineering framework (NEF), solved for the rates that the chip's neurons have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nengo
import numpy as np
from nengo.builder.connection import get_eval_points, get_targets
from nengo.exceptions import BuildError
from nengo.solvers import NoSolver
from numpy.typing import NDArray

from loihi_deploy.frontends.connections import UnsupportedConnectionError
from loihi_deploy.frontends.parameters import Parameters
from loihi_deploy.ir import NeuronModel


def uses_values(network: nengo.Network) -> bool:
    """Whether a network decodes values from neurons, or encodes values into them."""
    ends = [end for c in network.all_connections for end in (c.pre_obj, c.post_obj)]
    return any(isinstance(obj, nengo.Ensemble) for obj in (*ends, *(p.obj for p in network.all_probes)))


def decoded_by_solver(network: nengo.Network) -> set[nengo.Ensemble]:
    """Ensembles for which decoders are still to be solved: none of a training stand there."""
    solved = [(c.pre_obj, c.solver) for c in network.all_connections]
    solved += [(p.obj, p.solver) for p in network.all_probes]
    return {
        obj for obj, solver in solved if isinstance(obj, nengo.Ensemble) and not isinstance(solver, NoSolver)
    }


def as_stepped(neuron: NeuronModel, dt: float) -> NeuronModel:
    """The neuron with the rates that it has in the chip's steps."""
    return replace(neuron, tau_ref=float(np.round(neuron.tau_ref / dt) * dt), discretized=True, step=dt)


def probe_connection(probe: nengo.Probe) -> nengo.Connection:
    """The connection that a probe of decoded values is to Nengo, without its synapse."""
    target = nengo.Node(size_in=probe.size_in, label="probe", add_to_container=False)
    return nengo.Connection(probe.target, target, synapse=None, solver=probe.solver, add_to_container=False)


def solved_decoders(
    parameters: Parameters, connection: Any, neuron: NeuronModel, amplitude: float
) -> NDArray[np.float64]:
    """Decoders (size_mid, n_neurons) of what neurons say, times their amplitude.

    As Nengo's builder solves for them, with its evaluation points and solver, but for the rates of `neuron`.

    Raises
    ------
    UnsupportedConnectionError
    """
    solver, ensemble = connection.solver, connection.pre_obj
    if solver.weights and not solver.compositional:
        raise UnsupportedConnectionError(
            "a solver for whole weights",
            type(solver).__name__,
            "Use one for decoders: solver=nengo.solvers.LstsqL2()",
        )
    rng = np.random.RandomState(parameters.model.seeds[connection])
    if isinstance(solver, NoSolver):
        activities, targets = np.zeros((1, ensemble.n_neurons)), np.zeros((1, connection.size_mid))
    else:
        built = parameters.built(ensemble)
        points = get_eval_points(parameters.model, connection, rng)
        try:
            targets = get_targets(connection, points)
        except BuildError as error:
            raise UnsupportedConnectionError(
                "the function gives nothing", str(error), "Let it return a value for every point"
            ) from None
        drive = points @ built.encoders.T / ensemble.radius
        activities = amplitude * neuron.rates(built.gain * drive + built.bias)
        if not activities.any():
            raise UnsupportedConnectionError(
                "no neuron fires at any evaluation point",
                ensemble.n_neurons,
                "Give the ensemble other intercepts, or more neurons",
            )
    decoders, _ = solver(activities, targets, rng=rng)
    return np.asarray(decoders, np.float64).T
