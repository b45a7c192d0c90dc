"""A whole spiking network in floats: what the integer program on chip approximates.

Populations step with the neurons of `loihi_deploy.engines.host.neurons`. Every projection between populations takes
one step: neurons see at step t what others spiked up to step t - 1, filtered. Readouts see the spikes of step t. Delays
come on top of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.delivery import block_marks, layout, room_for_words
from loihi_deploy.engines.host import kernels
from loihi_deploy.engines.host.encoder import KINDS
from loihi_deploy.engines.host.neurons import effective_taus, initial_voltage, lowpass_factor, starts
from loihi_deploy.engines.host.readout import answers, window_steps
from loihi_deploy.engines.threads import in_order, parts_of, thread_count
from loihi_deploy.ir import Graph, Population, Projection, Readout, Sparse
from loihi_deploy.ir.delays import as_delays, by_delay
from loihi_deploy.ir.samples import held

CHUNK = 8
TRACE_BYTES = 1 << 25
"""Room for the readouts' values at every step, for each thread."""


def spiking_outputs(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    steps: int,
    window: float | None = 0.5,
    threads: int | None = None,
    flush: int = 0,
) -> NDArray[np.float64]:
    """Run the spiking network and average its first readout over the last part of the presentation.

    Parameters
    ----------
    graph : Graph
    inputs : dict of (n, n_frames, size) arrays
        Each frame is shown for ``steps / n_frames`` steps; see `loihi_deploy.ir.samples`.
    steps : int
    window : float or None
        Fraction of the presentation that is averaged over, 0..1; None is the last frame.
    threads : int, optional
        See `thread_count`.
    flush : int
        Steps that the last frame is held longer: the window is so much later.

    Returns
    -------
    (n, size) array
        After the readout's activation.
    """
    return next(iter(_readouts(graph, inputs, steps, window, threads, flush).values()))


def spiking_rates(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    steps: int,
    window: float | None = 0.5,
    threads: int | None = None,
    flush: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Mean firing rates of every neuron in the last part of the presentation; arguments as for `spiking_outputs`.

    Returns
    -------
    dict of (n, size) arrays
        In Hz, by population.
    """
    taps = tuple(
        Readout(p.name, p.shape, np.zeros(1), first_frame=graph.first_frame) for p in graph.populations
    )
    renamed = tuple(replace(tap, name=f"{tap.name} (rate)") for tap in taps)
    count = tuple(
        Projection(p.name, tap.name, Sparse(np.full(p.size, 1 / p.amplitude), *_diagonal(p.size), p.size))
        for p, tap in zip(graph.populations, renamed, strict=True)
    )
    kept = tuple(p for p in graph.projections if p.post not in {node.name for node in graph.readouts})
    tapped = replace(graph, projections=(*kept, *count), readouts=renamed)
    found = _readouts(tapped, inputs, steps, window, threads, flush)
    return {tap.name: found[f"{tap.name} (rate)"] for tap in taps}


def _diagonal(n: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Columns and row starts of an identity matrix."""
    return np.arange(n, dtype=np.int32), np.arange(n + 1)


def _readouts(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    steps: int,
    window: float | None,
    threads: int | None,
    flush: int,
) -> dict[str, NDArray[np.float64]]:
    """Averages (n, size) of every readout, after its activation."""
    network = _Network(graph)
    hold = steps // next(iter(inputs.values())).shape[1]
    width = window_steps(steps, window, hold, graph.first_frame)
    inputs, hold = held(inputs, hold, flush)
    steps += flush
    frames = np.concatenate([inputs[node.name] for node in graph.inputs], axis=2, dtype=np.float64)
    n = len(frames)
    outputs = {node.name: np.zeros((n, node.size)) for node in graph.readouts}
    chunk = max(1, min(CHUNK, TRACE_BYTES // (8 * steps * sum(node.size for node in graph.readouts))))
    for part, trace in in_order(
        lambda p: network.run(frames[p], steps, hold), parts_of(n, chunk), thread_count(threads)
    ):
        for name, values in answers(graph, trace, width).items():
            outputs[name][part] = values.reshape(-1, outputs[name].shape[1])
    return outputs


class _Network:
    """A graph laid out for the compiled loop.

    Populations, then readouts, lie one behind the other, each from a multiple of 8 on. Projections into one of them
    with one time constant form a group with an accumulator of its own; those of inputs and of spikes are kept apart.
    """

    def __init__(self, graph: Graph) -> None:
        targets: tuple[Population | Readout, ...] = (*graph.populations, *graph.readouts)
        first = dict(
            zip((node.name for node in targets), starts(_padded(node.size) for node in targets), strict=True)
        )
        order = {p.name: i for i, p in enumerate(graph.populations)}
        first_input = dict(
            zip((node.name for node in graph.inputs), starts(node.size for node in graph.inputs), strict=True)
        )
        n_neurons = sum(_padded(p.size) for p in graph.populations)

        parts = [
            replace(p, transform=transform, delays=as_delays(late))
            for p in graph.projections
            for late, transform in by_delay(p.delays, p.transform)
        ]
        self._n_kept = 2 + max((p.most_delay for p in parts), default=0)
        projections: list[Projection] = []
        groups: list[tuple[int, int, bool, int, int]] = []
        factors, ranges = [], []
        place = 0
        for node in targets:
            into = [p for p in parts if p.post == node.name]
            keys = sorted({(p.pre in order, p.tau) for p in into})
            ranges.append((len(groups), len(groups) + len(keys)))
            for spiking, tau in keys:
                members = [p for p in into if (p.pre in order, p.tau) == (spiking, tau)]
                groups.append(
                    (place, node.size, not spiking, len(projections), len(projections) + len(members))
                )
                factors.append(lowpass_factor(tau, graph.dt))
                projections += members
                place += node.size
        laid_out = layout([p.transform for p in projections], np.float64)
        pres = [
            (order[p.pre], 0, p.most_delay)
            if p.pre in order
            else (first_input[p.pre], p.transform.in_size, 0)
            for p in projections
        ]

        populations = np.zeros((len(targets), 5), np.int64)
        constants = np.zeros((len(targets), 4))
        gain, bias, voltage = np.zeros((3, n_neurons))
        for row, node in enumerate(targets):
            populations[row] = first[node.name], node.size, -1, *ranges[row]
        for row, p in enumerate(replace(p, adds_only=False) for p in graph.populations):  # which spike alike
            part = slice(first[p.name], first[p.name] + p.size)
            gain[part], bias[part], voltage[part] = p.gain, p.bias, initial_voltage(p, graph.dt)
            populations[row, 2] = KINDS[p.neuron.kind, p.neuron.discretized]
            constants[row, 3] = p.amplitude / graph.dt
            if p.neuron.kind == "lif":
                tau_rc, tau_ref = effective_taus(p.neuron, graph.dt)
                constants[row, :3] = tau_rc, tau_ref, np.expm1(-graph.dt / tau_rc)
        self._n_neurons, self._n_accumulators = n_neurons, place
        self._n_places = sum(_padded(node.size) for node in targets)
        self._n_populations = len(graph.populations)
        self._largest = max(p.size for p in graph.populations)
        self._n_outputs = sum(node.size for node in graph.readouts)
        self._arguments = (
            *(populations, constants, np.array(groups, np.int64).reshape(-1, 5), np.array(factors)),
            *(laid_out.table, laid_out.geometry, laid_out.weights, np.array(pres, np.int64).reshape(-1, 3)),
            *(gain, bias, voltage, graph.dt),
        )

    def run(self, frames: NDArray[np.float64], steps: int, hold: int) -> NDArray[np.float64]:
        """Traces (n, steps, total readout size) of samples (n, n_frames, total input size) from rest.

        Each frame is shown for `hold` steps.
        """
        trace = np.zeros((len(frames), steps, self._n_outputs))
        n = self._n_neurons
        kernels.simulate_network(
            *(*self._arguments, frames, hold, trace),
            *(np.zeros(self._n_accumulators), np.zeros(self._n_accumulators), np.zeros(self._n_places)),
            *(block_marks(self._n_accumulators), np.zeros(n), np.zeros(n)),
            np.zeros((self._n_kept, n), np.uint8),
            np.zeros((self._n_kept, self._n_populations, self._largest), np.int32),
            np.zeros((self._n_kept, self._n_populations), np.int64),
            room_for_words(n),
        )
        return trace


def _padded(size: int) -> int:
    return -(-size // 8) * 8
