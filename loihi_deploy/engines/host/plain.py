"""Encoder and readout in plain numpy: slow, and easy to check line by line; the compiled ones equal them.

Filters: y[t] = a y[t-1] + (1 - a) x[t] with a = exp(-dt / tau). An input's filter acts one step late, as Nengo's
filters do: neurons see y[t-1] at step t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.host import neurons
from loihi_deploy.ir import Graph
from loihi_deploy.ir.program import Program
from loihi_deploy.results import HostState


def encode(
    encoder: Graph,
    inputs: Mapping[str, NDArray[Any]],
    steps: int,
    state: HostState | None = None,
    first_sample: int = 0,
    seed: int = 0,
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, int], HostState]:
    """Turn real inputs into spikes.

    Parameters
    ----------
    encoder : Graph
        Inputs and the populations they drive.
    inputs : dict of (n, n_frames, size) arrays
        Each frame is shown for ``steps / n_frames`` steps.
    steps : int
    state : HostState, optional
        From an earlier call, to be continued; from rest if not given.
    first_sample, seed : int
        Number of the first sample, and a seed: what random spikes depend on.

    Returns
    -------
    spikes : dict of (n, steps, size) bool arrays
        By population; a link to the chip carries at most one spike per neuron and step.
    lost : dict of int
        Spikes beyond that one, by population.
    state : HostState
    """
    n, n_frames = next(iter(inputs.values())).shape[:2]
    hold = steps // n_frames
    arrays = {name: array.copy() for name, array in state.arrays.items()} if state else {}
    spikes, lost = {}, {}
    for population in encoder.populations:
        projections = {key: p for key, p in neurons.numbered(encoder).items() if p.post == population.name}
        drives = {}
        for key, p in projections.items():
            frames = inputs[p.pre].astype(np.float64).reshape(n * n_frames, -1)
            drives[key] = p.transform.apply(frames).reshape(n, n_frames, population.size)
            if p.tau > 0:
                arrays.setdefault(f"{key}/filtered", np.zeros((n, population.size)))
        voltage = arrays.setdefault(
            f"{population.name}/voltage",
            neurons.initial_voltages(population, encoder.dt, first_sample + np.arange(n), seed),
        )
        refractory = arrays.setdefault(f"{population.name}/refractory_time", np.zeros((n, population.size)))
        out = np.zeros((n, steps, population.size), dtype=bool)
        lost[population.name] = 0
        for t in range(steps):
            total = np.zeros((n, population.size))
            for key, p in projections.items():
                x = drives[key][:, t // hold]
                if p.tau > 0:
                    filtered = arrays[f"{key}/filtered"]
                    total += filtered
                    a = neurons.lowpass_factor(p.tau, encoder.dt)
                    filtered[:] = a * filtered + (1 - a) * x
                else:
                    total += x
            if population.adds_only:
                threshold = neurons.summed_threshold(population, encoder.dt)
                n_spikes = neurons.step_adding(total + population.bias / population.gain, voltage, threshold)
            else:
                n_spikes = neurons.step(
                    population.neuron, encoder.dt, population.currents(total), voltage, refractory, hold
                )
            out[:, t] = n_spikes > 0
            lost[population.name] += int(np.maximum(n_spikes - 1, 0).sum())
        spikes[population.name] = out
    return spikes, lost, HostState(arrays)


def decode(
    program: Program, spikes: Mapping[str, NDArray[np.bool_]], state: HostState | None = None
) -> tuple[dict[str, NDArray[np.float64]], HostState]:
    """Decode spikes into the readouts' filtered values, step by step.

    Parameters
    ----------
    program : Program
    spikes : dict of (n, steps, size) bool arrays
        Of every population that a readout decodes.
    state : HostState, optional
        From an earlier call, to be continued; from rest if not given.

    Returns
    -------
    traces : dict of (n, steps, size) float64 arrays
        By readout, without its bias.
    state : HostState
    """
    readout = program.readout
    n, steps = next(iter(spikes.values())).shape[:2]
    arrays = {name: array.copy() for name, array in state.arrays.items()} if state else {}
    delays = {link.population: link.delay for link in program.links if link.kind == "from_chip"}
    traces = {node.name: np.zeros((n, steps, node.size)) for node in readout.readouts}
    for key, p in neurons.numbered(readout).items():
        delay = delays.get(p.pre, 0) + p.most_delay
        x = p.transform.apply(spikes[p.pre].reshape(n * steps, -1).astype(np.float64)) / readout.dt
        x = x.reshape(n, steps, -1)
        waiting = arrays.setdefault(f"{key}/delayed", np.zeros((n, delay, x.shape[2])))
        x = np.concatenate([waiting, x], axis=1)
        arrays[f"{key}/delayed"] = x[:, steps:]
        filtered = arrays.setdefault(f"{key}/filtered", np.zeros((n, x.shape[2])))
        a = neurons.lowpass_factor(p.tau, readout.dt)
        for t in range(steps):
            filtered[:] = a * filtered + (1 - a) * x[:, t]
            traces[p.post][:, t] += filtered
    return traces, HostState(arrays)
