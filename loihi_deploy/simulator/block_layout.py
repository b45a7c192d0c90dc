"""The blocks that nengo-loihi's builder makes, laid out as flat arrays for compiled code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.boards import loihi_arithmetic


@dataclass(frozen=True)
class Layout:
    """Blocks and inputs as arrays.

    A *source* is a compartment (0 .. n_compartments - 1, block after block) or a neuron of an input (behind them).
    Source s sends to the axons ``links[s] .. links[s + 1]``; an axon is a row of weights and the compartment that the
    row's targets count from. A row is its first weight, its number of weights, and its first target where the targets
    lie side by side, else -1.

    Parameters
    ----------
    n_compartments : int
    slices : dict of slices
        Compartments of each block.
    first_input : dict of int
        First source of each input.
    links : (n_sources + 1,) int64 array
    axons : (n_axons, 2) int64 array
    rows : (n_rows, 3) int64 array
    targets, weights : (n_weights,) int32 arrays
    first_weight : dict of int
        First weight of each synapse object of nengo-loihi; the weights of one lie side by side.
    """

    n_compartments: int
    slices: Mapping[Any, slice]
    first_input: Mapping[Any, int]
    links: NDArray[np.int64]
    axons: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]
    first_weight: Mapping[Any, int]

    @property
    def senders(self) -> list[tuple[Any, int]]:
        """Blocks and inputs, each with its first source."""
        return [*((block, part.start) for block, part in self.slices.items()), *self.first_input.items()]


def lay_out(blocks: Sequence[Any], inputs: Sequence[Any]) -> Layout:
    """Lay out discretized blocks and their inputs.

    Parameters
    ----------
    blocks : sequence of nengo_loihi.block.LoihiBlock
    inputs : sequence of nengo_loihi.inputs.SpikeInput
    """
    ends = [int(end) for end in np.cumsum([0, *(block.n_neurons for block in blocks)])]
    slices = {block: slice(a, b) for block, a, b in zip(blocks, ends[:-1], ends[1:], strict=True)}
    input_ends = [int(end) for end in ends[-1] + np.cumsum([0, *(source.n_neurons for source in inputs)])]
    first_input = dict(zip(inputs, input_ends[:-1], strict=True))

    block_of: dict[Any, Any] = {}
    first_row: dict[Any, NDArray[np.int64]] = {}
    first_weight: dict[Any, int] = {}
    rows: list[tuple[int, int, int]] = []
    weights: list[NDArray[np.int32]] = []
    targets: list[NDArray[np.int32]] = []
    n_weights = 0
    for block in blocks:
        for synapse in block.synapses:
            block_of[synapse], first_weight[synapse] = block, n_weights
            starts = []
            for values, indices in zip(synapse.weights, synapse.indices, strict=True):
                starts.append(len(rows))
                for row, places in zip(values, indices, strict=True):
                    adjacent = len(row) > 0 and places[-1] - places[0] == len(row) - 1
                    adjacent = bool(adjacent and np.all(np.diff(places) == 1))
                    rows.append((n_weights, len(row), int(places[0]) if adjacent else -1))
                    weights.append(row)
                    targets.append(places)
                    n_weights += len(row)
            first_row[synapse] = np.array(starts, dtype=np.int64)

    layout = Layout(
        ends[-1],
        slices,
        first_input,
        np.zeros(0, np.int64),
        np.zeros((0, 2), np.int64),
        np.array(rows, dtype=np.int64).reshape(-1, 3),
        np.concatenate([*targets, np.zeros(0, np.int32)]),
        np.concatenate([*weights, np.zeros(0, np.int32)]),
        first_weight,
    )
    sources: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    axons: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for sender, first in layout.senders:
        for axon in sender.axons:
            neurons, reached_rows, bases = _reached_rows(axon, sender.n_neurons, first_row[axon.target])
            sources.append(first + neurons)
            axons.append(np.stack([reached_rows, slices[block_of[axon.target]].start + bases], axis=1))
    source_of = np.concatenate(sources)
    counts = np.bincount(source_of, minlength=input_ends[-1])
    return replace(
        layout,
        links=np.concatenate([[0], np.cumsum(counts)]),
        axons=np.concatenate(axons)[np.argsort(source_of, kind="stable")],
    )


def reached_axons(axon: Any, n_neurons: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neurons that use an axon, and the axon of the target synapse that each of them reaches."""
    reached = np.asarray(axon.map_axon(np.arange(n_neurons)), dtype=np.int64)
    neurons = np.flatnonzero(reached >= 0)
    return neurons, reached[neurons]


def _reached_rows(
    axon: Any, n_neurons: int, first_row: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Neurons that use an axon, the row of weights that each of them reaches, and the base of the row's targets."""
    synapse = axon.target
    neurons, reached = reached_axons(axon, n_neurons)
    bases = np.zeros(synapse.n_axons, np.int64)
    if synapse.axon_compartment_bases is not None:
        bases = np.asarray(synapse.axon_compartment_bases, dtype=np.int64)
        used = bases[reached] >= 0
        neurons, reached = neurons[used], reached[used]
    atoms = np.asarray(axon.map_atoms(neurons), dtype=np.int64)
    sets = np.arange(synapse.n_axons)
    if synapse.axon_to_weight_map is not None:
        sets = np.array([synapse.axon_to_weight_map[i] for i in sets], dtype=np.int64)
    return neurons, first_row[sets[reached]] + atoms, bases[reached]


@dataclass(frozen=True)
class Settings:
    """Settings of all compartments.

    Parameters
    ----------
    values : (7, n) int64 array
        Bias, threshold, v_min, v_max, what is kept of u and of v in a step (of 4096), refractory delay.
    noise_scale : (n,) float64 array
        0 where there is no noise.
    noise_offset : (n,) int32 array
    noise_at_u : (n,) bool array
        Noise is added to the current instead of the synaptic input.
    """

    values: NDArray[np.int64]
    noise_scale: NDArray[np.float64]
    noise_offset: NDArray[np.int32]
    noise_at_u: NDArray[np.bool_]


def settings(blocks: Sequence[Any]) -> Settings:
    """Read the settings of discretized blocks."""

    def gather(read: Callable[[Any], Any], dtype: type) -> NDArray[Any]:
        parts = [np.broadcast_to(read(block.compartment), block.n_neurons) for block in blocks]
        gathered: NDArray[Any] = np.concatenate(parts).astype(dtype)
        return gathered

    arithmetic = loihi_arithmetic()  # nengo-loihi's, whatever the board: see `Simulator`
    readers: tuple[Callable[[Any], Any], ...] = (
        lambda c: c.bias,
        lambda c: c.vth,
        lambda c: c.vmin,
        lambda c: c.vmax,
        lambda c: arithmetic.current_factor(c.decay_u.astype(np.int64)),
        lambda c: arithmetic.voltage_factor(c.decay_v.astype(np.int64)),
        lambda c: c.refract_delay,
    )
    enabled = gather(lambda c: c.enable_noise, bool)
    exponent = gather(lambda c: c.noise_exp, float)
    return Settings(
        np.stack([gather(read, np.int64) for read in readers]),
        np.where(enabled, 2.0 ** (exponent - 7), 0.0),
        gather(lambda c: c.noise_offset, np.int32) * np.int32(64),
        gather(lambda c: c.noise_at_membrane, bool),
    )
