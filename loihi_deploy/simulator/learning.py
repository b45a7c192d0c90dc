"""PES learning on chip: traces of presynaptic spikes, and weights that follow an error.

Equal to nengo-loihi 1.1.0's emulator (``emulator/interface.py``, ``SynapseState``), the order of random draws included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nengo_loihi.builder.discretize import LEARN_FRAC, learn_overflow_bits, scale_pes_errors, shift
from numpy.typing import NDArray

from loihi_deploy.simulator.block_layout import Layout, reached_axons

TRACE_MAX = 127


class LearningSynapse:
    """State of one learning synapse.

    Parameters
    ----------
    synapse : nengo_loihi.block.Synapse
    n_errors : int
        Dimensions of the error.
    layout : Layout
        Holds the weights, which are changed.
    axon_of_source : (n_sources,) int array
        Axon that a source reaches, -1 for none.
    """

    def __init__(
        self, synapse: Any, n_errors: int, layout: Layout, axon_of_source: NDArray[np.int64]
    ) -> None:
        self.synapse = synapse
        self.layout = layout
        self.axon_of_source = axon_of_source
        self.errors = np.zeros(n_errors, np.int32)
        self.trace = np.zeros(synapse.n_axons, np.int32)
        self.arrived = np.zeros(synapse.n_axons, np.bool_)

    @property
    def weights(self) -> NDArray[np.int32]:
        """The weights that the chip reads, as they are there: (n_axons, n_targets)."""
        first = self.layout.first_weight[self.synapse]
        return self.layout.weights[first : first + self.synapse.size()].reshape(self.synapse.n_axons, -1)

    def trace_spikes(self, t: int, spikes: NDArray[np.int64], rng: np.random.RandomState) -> None:
        """Note the spikes that arrive in step t; at the end of an epoch, add them to the decayed trace."""
        axons = self.axon_of_source[spikes]
        axons, counts = np.unique(axons[axons >= 0], return_counts=True)
        if self.arrived[axons].any() or (counts > 1).any():
            warnings.warn("Synaptic trace spikes lost: more than one in a learning epoch", stacklevel=2)
        self.arrived[axons] = True
        if t % self.synapse.train_epoch == 0:
            trace = np.exp(-self.synapse.train_epoch / self.synapse.tracing_tau) * self.trace
            trace[self.arrived] += self.synapse.tracing_mag
            self.trace = _round_stochastically(trace, TRACE_MAX, "synapse trace", rng)
            self.arrived[:] = False

    def learned(self, t: int, rng: np.random.RandomState) -> NDArray[np.int32] | None:
        """Weights after step t; None in a step that does not learn."""
        if t % self.synapse.learn_epoch:
            return None
        config = self.synapse.synapse_cfg
        exponent, shift_bits = config.real_weight_exp, config.shift_bits
        delta = np.outer(self.trace, np.hstack([-self.errors, self.errors]))
        bits = LEARN_FRAC + self.synapse._lr_exp - learn_overflow_bits(n_factors=2)
        learned = shift(self.weights, LEARN_FRAC - exponent) + shift(delta * self.synapse._lr_int, bits)
        rounded = _round_stochastically(
            learned * 2.0 ** (-LEARN_FRAC - shift_bits), 2 ** (8 - shift_bits) - 1, "learning weights", rng
        )
        weights: NDArray[np.int32] = np.left_shift(rounded, exponent + shift_bits)
        return weights


def _round_stochastically(
    x: NDArray[np.float64], limit: int, name: str, rng: np.random.RandomState
) -> NDArray[np.int32]:
    """Round away from zero with the probability of the fraction, and clip."""
    fraction, whole = np.modf(np.abs(x))
    size = whole.astype(np.int32) + (fraction > rng.rand(*x.shape))
    if (size > limit).any():
        warnings.warn(f"Clipping {name}", stacklevel=2)
    rounded: NDArray[np.int32] = np.sign(x).astype(np.int32) * np.minimum(size, limit).astype(np.int32)
    return rounded


class Learning:
    """All learning synapses of a network.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
    layout : Layout
        Its weights are changed.
    """

    def __init__(self, model: Any, layout: Layout) -> None:
        self._scale = model.pes_error_scale
        self.synapses: dict[Any, LearningSynapse] = {}
        n_sources = len(layout.links) - 1
        for block in model.blocks:
            for synapse in (s for s in block.synapses if s.learning):
                axon_of_source = np.full(n_sources, -1)
                for sender, start in layout.senders:
                    for axon in (a for a in sender.axons if a.target is synapse):
                        neurons, reached = reached_axons(axon, sender.n_neurons)
                        axon_of_source[start + neurons] = reached
                self.synapses[synapse] = LearningSynapse(
                    synapse, block.n_neurons // 2, layout, axon_of_source
                )

    def reset(self) -> None:
        """Forget traces and errors; the chip restores the weights."""
        for state in self.synapses.values():
            state.errors[:] = 0
            state.trace[:] = 0
            state.arrived[:] = False

    def set_errors(self, errors: Mapping[Any, NDArray[Any]]) -> None:
        """Set the errors from here on, by synapse; zero where none is given."""
        for synapse, state in self.synapses.items():
            state.errors[:] = scale_pes_errors(errors[synapse], scale=self._scale) if synapse in errors else 0

    def step(self, t: int, spikes: NDArray[np.int64], rng: np.random.RandomState) -> Callable[[], None]:
        """Learn from step t; weights change when the returned function is called, after the step's spikes arrived."""
        for state in self.synapses.values():
            state.trace_spikes(t, spikes, rng)
        learned = {key: state.learned(t, rng) for key, state in self.synapses.items()}

        def change_weights() -> None:
            for key, weights in learned.items():
                if weights is not None:
                    self.synapses[key].weights[:] = weights

        return change_weights
