"""A Legendre memory on the chip: a recurrent population of different neurons that holds a window of its input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.fading import spectral_radius
from loihi_deploy.checked import Range, checked
from loihi_deploy.chip.boards import BoardLike
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import LoihiDeployWarning, Problem
from loihi_deploy.frontends.lmu_layers import legendre_memory
from loihi_deploy.ir.content import OneLine
from loihi_deploy.options import DeployOptions
from loihi_deploy.pipeline import deploy
from loihi_deploy.tables import Page, Shown

if TYPE_CHECKING:
    import nengo

TAU, DT = 0.02, 0.001
"""Time constant of the recurrent synapse, and a step, in seconds."""
MOST_ORDER, MOST_ERROR = 6, 0.25
"""What a memory in spikes is good for: its order, and the relative error of its state."""
SIGNALS, LONG = 6, 3
"""Smooth signals that the error is measured on, each so many times as long as the memory."""


@dataclass(frozen=True)
class ChipMemory(Shown, OneLine):
    """What `chip_memory` gives.

    Parameters
    ----------
    deployment : Deployment
        Of sequences (n, n_frames, 1) of values within -1 and 1; its outputs are the state after each frame,
        (n, n_frames, order).
    error : float
        Of the state, on smooth signals: root mean square of what it is off by, relative to its own.
    radius : float
        Spectral radius of the recurrence in the chip's integers (`spectral_radius`): below 1 what it holds fades.
    """

    deployment: Deployment
    error: float
    radius: float

    def page(self) -> Page:
        """The error, the radius, and the cores in use."""
        cores = self.deployment.mapping.n_cores
        text = f"Relative error of the state {self.error:.2f}, spectral radius {self.radius:.4f}, cores in use {cores}"
        return Page((text,))


@checked
def chip_memory(
    order: Annotated[int, Range(1, 64)] = 4,
    frames: Annotated[float, Range(1, 1000)] = 10.0,
    steps_per_frame: Annotated[int, Range(1, 1000)] = 20,
    neurons: Annotated[int, Range(10, 4096)] = 320,
    board: BoardLike = "nahuku32",
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
) -> ChipMemory:
    """Deploy the linear memory of a Legendre memory unit (Voelker, Kajic, Eliasmith 2019), without training.

    An ensemble of Nengo whose recurrent connection is the matrix of the memory, as its synapse has it in steps, with
    decoders that are solved for the rates of the chip's neurons. Order 4 to 6 is what neurons hold; a network of Keras
    keeps a memory of any order on the host (`keras_lmu.LMU` as its first layer).

    Parameters
    ----------
    order : int
        Legendre polynomials, values of the state.
    frames : float
        That are remembered.
    steps_per_frame : int
    neurons : int
    board : str, path, Board or Chip
    seed : int
        Of the neurons.

    Returns
    -------
    ChipMemory

    Warns
    -----
    LoihiDeployWarning
        With the error of its state, where this or the order is more than neurons are good for; and where it does not
        forget, for its neurons are too few.
    """
    state, given = legendre_memory(order, frames * steps_per_frame, "zoh")
    options = DeployOptions(steps_per_frame=steps_per_frame, readout="each", flush=2)
    deployment = deploy(_ensemble(state, given, neurons, seed), board, options=options)
    error = _error(deployment, state, given, max(2, round(LONG * frames)), steps_per_frame)
    radius = spectral_radius(deployment.program, deployment.graph.populations[0])
    for problem in _problems(order, error, radius):
        warnings.warn(LoihiDeployWarning(problem), stacklevel=3)
    return ChipMemory(deployment, error, radius)


def _problems(order: int, error: float, radius: float) -> Iterator[Problem]:
    if order > MOST_ORDER or error > MOST_ERROR:
        yield Problem(
            f"a memory in spikes of order {order}: the relative error of its state",
            "chip_memory",
            f"{error:.2f}",
            f"{MOST_ERROR}, and order {MOST_ORDER}",
            "Take more steps a frame and more neurons, or keep it on the host: keras_lmu.LMU as the first layer",
        )
    if radius >= 1:
        yield Problem(
            "a memory that keeps what it should forget: the spectral radius of its rounded recurrence",
            "chip_memory",
            f"{radius:.4f}",
            "below 1",
            "Take more neurons, or others: another seed",
        )


def _ensemble(
    state: NDArray[np.float64], given: NDArray[np.float64], neurons: int, seed: int
) -> nengo.Network:
    """An ensemble that does in each step what ``state @ m + given * x`` does."""
    import nengo

    kept, order = np.exp(-DT / TAU), len(state)  # of what the synapse holds
    with nengo.Network(seed=seed) as network:
        network.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(150, 250)
        network.config[nengo.Ensemble].intercepts = nengo.dists.Uniform(-1, 0.5)
        value = nengo.Node([0.0], label="value")
        memory = nengo.Ensemble(neurons, order, neuron_type=nengo.LIF(tau_ref=DT), label="memory")
        nengo.Connection(value, memory, transform=given[:, None] / (1 - kept), synapse=TAU)
        nengo.Connection(memory, memory, transform=(state - kept * np.eye(order)) / (1 - kept), synapse=TAU)
        nengo.Probe(memory, synapse=None, label="state")
    return network


def _error(
    deployment: Deployment, state: NDArray[np.float64], given: NDArray[np.float64], n_frames: int, hold: int
) -> float:
    """Of the state, relative to its own root mean square."""
    noise = np.random.default_rng(1).normal(size=(SIGNALS, n_frames + 7))
    smooth = np.stack([np.convolve(row, np.exp(-np.arange(8) / 3), mode="valid") for row in noise])
    x = (smooth / np.abs(smooth).max(axis=1, keepdims=True))[:, :, None]
    found = deployment.run(x, progress=False).by_frame["state"]
    exact, m = np.zeros_like(found), np.zeros((SIGNALS, len(state)))
    for step in range(n_frames * hold):
        m = m @ state.T + x[:, step // hold] * given
        exact[:, step // hold] += m / hold
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))
