"""The chip in plain numpy: slow, and easy to check line by line.

Notation: q is the synaptic input of a step, u the current, u2 the current with the bias, v the voltage; how many bits
they have stands in the program's `Arithmetic`. Order of one step: spikes of the last step arrive; q; u; u2; v;
refractory compartments are held at 0; spikes where v > threshold; reset. Equal to nengo-loihi 1.1.0,
``emulator/interface.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.fixed_point import decay, wrap
from loihi_deploy.ir import Transform
from loihi_deploy.ir.delays import by_delay
from loihi_deploy.ir.program import Noise, Program
from loihi_deploy.results import ChipState, PopulationCounts, Simulation

Record = Mapping[str, Iterable[str]]
"""Variables to be recorded by population: 'spikes', 'u', 'v', 'events'."""


Biases = Mapping[str, NDArray[np.int32]]
"""Biases taken from the input, (n, n_frames, size) by population."""


def n_samples(spikes: Mapping[str, NDArray[Any]], biases: Biases) -> int:
    """Samples that are presented; 1 where nothing is given."""
    return next((len(array) for array in (*spikes.values(), *biases.values())), 1)


def arrival_delays(program: Program) -> dict[str, int]:
    """Steps from a host spike to its arrival on chip, by source; 1 where no link says otherwise."""
    links = {link.population: link.delay for link in program.links if link.kind == "to_chip"}
    return {source.name: links.get(source.name, 1) for source in program.sources}


def longest_delays(program: Program) -> dict[str, int]:
    """Steps that spikes of a sender are held back by synapses at most, of those with any."""
    found: dict[str, int] = {}
    for synapses in program.delayed:
        found[synapses.pre] = max(found.get(synapses.pre, 0), synapses.most_delay)
    return found


def fan_out(transform: Transform) -> NDArray[np.int64]:
    """Synapses of each input: (in_size,)."""
    ones = transform.with_values(np.ones_like(transform.values, dtype=np.int64))
    return np.bincount(ones.csr().indices, minlength=transform.in_size)


def initial_state(program: Program, n: int, seed: int) -> ChipState:
    """The chip before the first step, for `n` samples."""
    populations = program.populations
    zeros = {p.name: np.zeros((n, p.size), np.int32) for p in populations}
    start = {p.name: 0 if p.initial_voltage is None else p.initial_voltage for p in populations}
    delays = arrival_delays(program)
    noisy = any(p.noise is not None for p in populations)
    return ChipState(
        u=zeros,
        v={name: np.broadcast_to(start[name], array.shape).astype(np.int32) for name, array in zeros.items()},
        refractory=zeros,
        spikes={name: np.zeros(array.shape, bool) for name, array in zeros.items()},
        pending={s.name: np.zeros((n, delays[s.name], s.size), bool) for s in program.sources},
        delayed={
            name: np.zeros((n, steps, program.nodes[name].size), bool)
            for name, steps in longest_delays(program).items()
        },
        noise=tuple(np.random.RandomState(seed).get_state(legacy=True)) if noisy else None,
    )


def simulate(
    program: Program,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    record: Record | None = None,
    state: ChipState | None = None,
    seed: int = 0,
    biases: Biases | None = None,
) -> Simulation:
    """Run the chip part of a program.

    Parameters
    ----------
    program : Program
    spikes : dict of (n, steps, size) bool arrays
        What the host emits at each step, by source. It arrives after the link's delay.
    steps : int
    record : dict of iterables of {'spikes', 'u', 'v', 'events'}, optional
        What to record, by population.
    state : ChipState, optional
        From an earlier call, to be continued; from rest if not given.
    seed : int
        Of the noise, which is the same for every sample; nengo-loihi with this seed draws the same.
    biases : dict of (n, n_frames, size) int32 arrays, optional
        Biases of the populations that take them from the input, each for ``steps / n_frames`` steps.

    Returns
    -------
    Simulation
    """
    biases = biases or {}
    n = n_samples(spikes, biases)
    state = state or initial_state(program, n, seed)
    u, v, refractory = (
        {name: array.copy() for name, array in group.items()}
        for group in (state.u, state.v, state.refractory)
    )
    spiked: dict[str, NDArray[np.bool_]] = dict(state.spikes)
    lines = {name: np.concatenate([state.pending[name], spikes[name]], axis=1) for name in state.pending}
    rng = np.random.RandomState()
    if state.noise is not None:
        rng.set_state(state.noise)
    parts = {synapses: by_delay(synapses.delays, synapses.transform) for synapses in program.synapses}
    fans = {synapses: [fan_out(part) for _, part in found] for synapses, found in parts.items()}
    earlier = dict(state.delayed)  # what arrived in the last steps, oldest first
    counts = {p.name: PopulationCounts(p.size) for p in program.populations}
    first_wraps: list[tuple[int, int, str]] = []  # of each sample, those of its first step with any
    sound = np.ones(n, bool)  # samples without any so far
    history: dict[str, dict[str, list[NDArray[Any]]]] = {
        p.name: {"spikes": [], "u": [], "v": []} for p in program.populations
    }

    arithmetic = program.arithmetic
    q_bits, u_bits, decay_bits = arithmetic.accumulator_bits, arithmetic.current_bits, arithmetic.decay_bits
    for t in range(steps):
        arriving = {**spiked, **{name: line[:, t] for name, line in lines.items()}}
        draws = _noise_draws(program, rng) if state.noise is not None else {}
        wrapped_now = np.zeros(n, bool)
        for p in program.populations:
            q = np.zeros((n, p.size), np.int64)
            events = 0
            for synapses in program.into(p.name):
                for (delay, transform), fan in zip(parts[synapses], fans[synapses], strict=True):
                    now_or_then = earlier[synapses.pre][:, -delay] if delay else arriving[synapses.pre]
                    arrived = now_or_then.astype(np.float64)  # exact: sums stay far below 2^53
                    q += transform.apply(arrived).astype(np.int64) << synapses.shift
                    events += int((arrived @ fan).sum())
            noise = _noise(p.noise, draws[p.name]) if p.noise is not None else np.zeros(p.size, np.int64)
            at_membrane = p.noise is not None and p.noise.at_membrane

            q, in_q = _wrapped(q if at_membrane else q + noise, q_bits)
            kept = decay(u[p.name], arithmetic.current_factor(p.decay_u), decay_bits)
            u_new, in_u = _wrapped(kept + q, u_bits)
            bias = p.bias
            if p.name in biases:
                bias = biases[p.name][:, t * biases[p.name].shape[1] // steps]
            u2, in_u2 = _wrapped(u_new + bias + (noise if at_membrane else 0), u_bits)
            any_wrap = (in_q + in_u + in_u2) > 0
            first_wraps += [(int(sample), t, p.name) for sample in np.flatnonzero(any_wrap & sound)]
            wrapped_now |= any_wrap
            factor = arithmetic.voltage_factor(p.decay_v)
            decayed: NDArray[np.int32] = decay(v[p.name], factor, decay_bits)
            v_new = np.clip(decayed + u2.astype(np.int32), p.v_min, p.v_max)
            v_new[refractory[p.name] > 0] = 0
            spiked_now = v_new > p.threshold
            v_new[spiked_now] = 0
            refractory[p.name][spiked_now] = p.refractory
            refractory[p.name] = np.maximum(refractory[p.name] - 1, 0)

            u[p.name], v[p.name], spiked[p.name] = u_new.astype(np.int32), v_new, spiked_now
            n_spikes = int(spiked_now.sum())
            wraps_q, wraps_u = int(in_q.sum()), int((in_u + in_u2).sum())
            counts[p.name] += PopulationCounts(p.size, n_spikes, events, wraps_q, wraps_u)
            now: dict[str, NDArray[Any]] = {"spikes": spiked_now, "u": u[p.name], "v": v_new}
            for variable in _needed(record, p.name) & now.keys():
                history[p.name][variable].append(now[variable].copy())
        sound &= ~wrapped_now
        earlier = {
            name: np.concatenate([rows[:, 1:], arriving[name][:, None]], axis=1)
            for name, rows in earlier.items()
        }

    end = ChipState(
        u,
        v,
        refractory,
        spiked,
        {name: line[:, steps:] for name, line in lines.items()},
        tuple(rng.get_state(legacy=True)) if state.noise is not None else None,
        earlier,
    )
    first_wrap = min(first_wraps, key=lambda wrap: wrap[0], default=None)  # they are there step by step
    return Simulation(_recorded(program, record, history, n), counts, end, first_wrap)


def _wrapped(x: NDArray[np.int64], bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The wrapped values, and how many of each sample changed."""
    wrapped: NDArray[np.int64] = wrap(x, bits)
    return wrapped, (wrapped != x).sum(axis=1)


def _noise_draws(program: Program, rng: np.random.RandomState) -> dict[str, NDArray[np.int64]]:
    """One draw for every compartment of the program, noisy or not, as nengo-loihi draws them."""
    draws = rng.randint(-127, 128, size=program.n_compartments, dtype=np.int32).astype(np.int64)
    ends = np.cumsum([p.size for p in program.populations])
    return {p.name: draws[end - p.size : end] for p, end in zip(program.populations, ends, strict=True)}


def _noise(noise: Noise, draw: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.trunc((draw + 64 * noise.offset) * 2.0 ** (noise.exponent - 7)), dtype=np.int64)


def _needed(record: Record | None, name: str) -> set[str]:
    wanted = set((record or {}).get(name, ()))
    return wanted | {"spikes"} if "events" in wanted else wanted


def _recorded(
    program: Program,
    record: Record | None,
    history: Mapping[str, Mapping[str, list[NDArray[Any]]]],
    n: int,
) -> dict[str, dict[str, NDArray[Any]]]:
    recorded: dict[str, dict[str, NDArray[Any]]] = {}
    for name, variables in (record or {}).items():
        dtypes = {"spikes": bool, "u": np.int32, "v": np.int32}
        empty = {key: np.zeros((n, 0, program.nodes[name].size), dtype) for key, dtype in dtypes.items()}
        stacked = {key: np.stack(rows, axis=1) if rows else empty[key] for key, rows in history[name].items()}
        stacked["events"] = np.argwhere(stacked["spikes"])
        recorded[name] = {variable: stacked[variable] for variable in variables}
    return recorded
