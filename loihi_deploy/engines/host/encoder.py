"""From real values to spikes: the neurons that stand in front of the chip."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.delivery import block_marks, layout, room_for_words
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host import kernels
from loihi_deploy.engines.host.holding_back import Holding
from loihi_deploy.engines.host.neurons import (
    effective_taus,
    initial_voltage,
    initial_voltages,
    lowpass_factor,
    numbered,
    starts,
    summed_threshold,
)
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Graph
from loihi_deploy.ir.program import HostLimit
from loihi_deploy.results import HostState

HELD = "spikes that wait", "whose turn it is"
"""Names in a state of what a limit holds back."""
KINDS = {
    ("if", False): kernels.IF,
    ("if", True): kernels.IF_DISCRETIZED,
    ("lif", False): kernels.LIF,
    ("lif", True): kernels.LIF_DISCRETIZED,
    ("poisson", False): kernels.POISSON,
    ("ttfs", False): kernels.TTFS,
}


class Encoder:
    """The encoder of a program, laid out for the compiled loop.

    Populations lie one behind the other, each from a multiple of 8 on. Totals of filtered projections lie behind them.

    Parameters
    ----------
    graph : Graph
        Inputs and the populations they drive.
    limit : HostLimit, optional
        What may be sent in a step; spikes beyond it are sent later.

    Raises
    ------
    InputError
        If a population is driven by another: one layer encodes.
    """

    def __init__(self, graph: Graph, limit: HostLimit | None = None) -> None:
        inputs = {node.name for node in graph.inputs}
        deep = [p.name for p in graph.projections if p.pre not in inputs]
        if deep:
            raise InputError(
                "Cannot run the encoder",
                [Problem("an encoder population is driven by another", name) for name in deep],
            )
        self.graph = graph
        self._threads = threading.local()
        self._holding = None if limit is None else Holding(limit)
        self.sizes = {p.name: p.size for p in graph.populations}
        offsets = np.cumsum([0, *((p.size + 7) // 8 * 8 for p in graph.populations)])
        self._first = dict(zip(self.sizes, offsets.tolist(), strict=False))
        self._n_neurons = int(offsets[-1])
        first_input = dict(
            zip(
                inputs_in_order := [n.name for n in graph.inputs],
                starts(n.size for n in graph.inputs),
                strict=True,
            )
        )
        self._inputs = inputs_in_order
        order = list(self.sizes)
        self._projections = {key: p for key, p in numbered(graph).items() if p.post in self.sizes}
        rows = []
        self._filtered: dict[str, slice] = {}
        n_filtered = 0
        for key, p in self._projections.items():
            size = self.sizes[p.post]
            first_out = self._first[p.post]
            if p.tau > 0:
                self._filtered[key] = slice(n_filtered, n_filtered + size)
                first_out = self._n_neurons + n_filtered
                n_filtered += size
            rows.append(
                (
                    order.index(p.post),
                    first_input[p.pre],
                    p.transform.in_size,
                    first_out,
                    size if p.tau > 0 else 0,
                )
            )
        self._n_filtered = n_filtered
        self._start = np.zeros(self._n_neurons)
        self.drawn = [p for p in graph.populations if p.neuron.kind == "poisson"]  # anew for every sample
        for population in graph.populations:
            self._start[self._part(population.name)] = initial_voltage(population, graph.dt)
        laid_out = layout([p.transform for p in self._projections.values()], np.float64)
        gain, bias = np.zeros(self._n_neurons), np.zeros(self._n_neurons)
        constants = np.zeros((len(order), 3))
        populations = np.zeros((len(order), 3), np.int64)
        for row, population in enumerate(graph.populations):
            part, neuron = self._part(population.name), population.neuron
            gain[part], bias[part] = population.gain, population.bias
            populations[row] = part.start, population.size, KINDS[neuron.kind, neuron.discretized]
            if neuron.kind == "lif":
                tau_rc, tau_ref = effective_taus(neuron, graph.dt)
                constants[row] = tau_rc, tau_ref, np.expm1(-graph.dt / tau_rc)
            if population.adds_only:
                populations[row, 2] = kernels.IF_ADDING
                bias[part] = population.bias / population.gain
                constants[row, 0] = summed_threshold(population, graph.dt)
        kinds = {int(kind) for kind in populations[:, 2]}
        self.kernel = kernels.encode_with(kinds.pop() if len(kinds) == 1 else None)
        self._constants = (
            *(populations, constants, laid_out.table, laid_out.geometry, laid_out.weights),
            np.array(rows, np.int64).reshape(-1, 5),
            np.array([lowpass_factor(p.tau, graph.dt) for p in self._projections.values()]),
            *(gain, bias, graph.dt),
        )

    def together(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Arrays (n, frames, size) of every input side by side, in float64, that can be written to."""
        if len(self._inputs) == 1:
            return inputs[self._inputs[0]].astype(np.float64, "C")
        return np.concatenate([inputs[name] for name in self._inputs], axis=2, dtype=np.float64)

    def none(self) -> NDArray[np.int64]:
        """No spikes of any population, to be added to."""
        return np.zeros(len(self.sizes), np.int64)

    def start(
        self, n: int, numbers: NDArray[np.int64] | None = None, seed: int = 0
    ) -> tuple[NDArray[Any], ...]:
        """Voltages, refractory times and filtered values of `n` samples at rest; see `neurons.initial_voltages`."""
        voltage = np.empty((n, self._n_neurons))
        voltage[:] = self._start
        for p in self.drawn:
            which = np.arange(n) if numbers is None else numbers
            voltage[:, self._part(p.name)] = initial_voltages(p, self.graph.dt, which, seed)
        held = () if self._holding is None else self._holding.start(n)
        return voltage, np.zeros(voltage.shape), np.zeros((n, self._n_filtered)), *held

    def lose_unsent(self, arrays: tuple[NDArray[Any], ...], lost: NDArray[np.int64]) -> None:
        """Add to `lost` the spikes of each population that still wait to be sent, in the arrays of `start`."""
        if self._holding is not None:
            ends = np.cumsum(list(self.sizes.values()))
            lost += [part.sum() for part in np.split(arrays[3], ends[:-1], axis=1)]

    def _part(self, name: str) -> slice:
        return slice(self._first[name], self._first[name] + self.sizes[name])

    def load(self, state: HostState, n: int) -> tuple[NDArray[Any], ...]:
        """The arrays of `start` from a state."""
        voltage, refractory_time, filtered, *held = self.start(n)
        for name in self.sizes:
            voltage[:, self._part(name)] = state.arrays[f"{name}/voltage"]
            refractory_time[:, self._part(name)] = state.arrays[f"{name}/refractory_time"]
        for name, part in self._filtered.items():
            filtered[:, part] = state.arrays[f"{name}/filtered"]
        for name, array in zip(HELD, held, strict=False):
            array[:] = state.arrays[name]
        return voltage, refractory_time, filtered, *held

    def save(self, arrays: tuple[NDArray[Any], ...]) -> HostState:
        """A state from the arrays of `start`."""
        voltage, refractory_time, filtered, *held = arrays
        return HostState(
            {f"{name}/voltage": voltage[:, self._part(name)].copy() for name in self.sizes}
            | {f"{name}/refractory_time": refractory_time[:, self._part(name)].copy() for name in self.sizes}
            | {f"{name}/filtered": filtered[:, part].copy() for name, part in self._filtered.items()}
            | {name: array.copy() for name, array in zip(HELD, held, strict=False)}
        )

    def run(
        self,
        inputs: NDArray[np.float64],
        first_step: int,
        steps: int,
        hold: int,
        arrays: tuple[NDArray[Any], ...],
        lost: NDArray[np.int64],
        room: NDArray[np.int32] | None = None,
        sent: NDArray[np.int64] | None = None,
    ) -> Events:
        """Step all samples, changing `arrays` in place and adding to `lost` and `sent`.

        Parameters
        ----------
        inputs : (n, n_frames, total_size) float64 array
            From `together`.
        first_step, steps : int
            Steps ``first_step .. first_step + steps - 1`` of the presentation.
        hold : int
            Steps that a frame is shown.
        arrays : tuple of arrays
            From `start` or `load`.
        lost : (n_populations,) int64 array
            Spikes beyond one for a neuron and step.
        room : int32 array, optional
            Memory for the spikes that are returned; see `Events.empty`.
        sent : (n_populations,) int64 array, optional
            Spikes that are returned.
        """
        emitted = np.zeros_like(lost) if sent is None or self._holding is not None else sent
        events = Events.empty(self.sizes, len(inputs), steps, room)
        self.kernel(
            *self._constants,
            *(inputs, first_step, steps, hold),
            *(*arrays[:3], events.counts, events.indices, lost, emitted),
            *self._memory(),
        )
        if self._holding is None:
            return events
        let_out = self._holding.run(events, *arrays[3:])
        if sent is not None:
            sent += let_out.totals()
        return let_out

    def _memory(self) -> tuple[NDArray[Any], ...]:
        """The thread's own working memory, used for run after run: the kernel empties what it does not overwrite."""
        made: tuple[NDArray[Any], ...] | None = getattr(self._threads, "memory", None)
        if made is None:
            n_sums = self._n_neurons + self._n_filtered
            made = self._threads.memory = (
                np.zeros(n_sums),
                np.zeros(self._n_neurons),
                np.zeros(self._n_neurons, np.uint8),
                block_marks(n_sums),
                room_for_words(self._n_neurons),
                np.zeros(self._n_neurons, np.int32),
                np.zeros(self._n_neurons),
                np.zeros(len(self.sizes), np.int64),
            )
        return made
