"""How long spikes take through a program: a step for each hop, and what the synapses' filters add to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.ir.program import Program

SHORT_SYNAPSE = 0.001
"""Time constant in seconds of the synapses that are advised where latency matters."""

ROUNDING = 1.01
"""Factor within which delays of rounded decays are those of exact ones."""


@dataclass(frozen=True)
class LayerLatency:
    """When a layer hears of the input.

    Parameters
    ----------
    name : str
    hops : int
        Steps from the first input value to the first spike that can arrive: the first step at which it can speak.
    delay : float
        Steps until its input stands for the sample on average, along the longest path: a step for each hop, and
        a / (1 - a) for each synapse, a = exp(-dt / tau).
    """

    name: str
    hops: int
    delay: float


def latencies(
    program: Program, longest_synapse: float = np.inf, memory: float = np.inf
) -> tuple[LayerLatency, ...]:
    """Latencies of the populations on chip and the readouts, recurrent projections aside.

    Parameters
    ----------
    program : Program
    longest_synapse : float
        Time constant in seconds that longer ones are taken for.
    memory : float
        Time constant in seconds of synapses beyond which they delay nothing.
    """
    arithmetic = program.arithmetic
    most, none_from = (_filter_delay(float(np.exp(-program.dt / tau))) for tau in (longest_synapse, memory))

    def held_back(factor: float) -> float:
        delay = _filter_delay(factor)
        return 0.0 if delay > ROUNDING * none_from else min(delay, most)

    links = {link.population: link.delay for link in program.links if link.kind == "to_chip"}
    found = {source.name: (0, 0.0) for source in program.sources}
    layers = []
    for population in program.populations:
        arriving = _shortest((s.pre, s.delays) for s in program.into(population.name) if s.pre in found)
        hops = [found[pre][0] + links.get(pre, 1) + late for pre, late in arriving.items()]
        delays = [found[pre][1] + links.get(pre, 1) + late for pre, late in arriving.items()]
        filtered = 0.0
        if (
            arriving and population.decay_u
        ):  # without decay currents stay to the end: there is no delay to speak of
            factor = arithmetic.current_factor(population.decay_u) / 2**arithmetic.decay_bits
            filtered = held_back(factor)
        found[population.name] = min(hops, default=0), max(delays, default=0.0) + filtered
        layers.append(LayerLatency(population.name, *found[population.name]))
    for readout in program.readout.readouts:
        into = [p for p in program.readout.into(readout.name) if p.pre in found]
        if into:
            late = _shortest((p.pre, p.delays) for p in into)
            decays = [float(np.exp(-program.dt / p.tau)) if p.tau > 0 else 0.0 for p in into]
            delays = [found[p.pre][1] + late[p.pre] + held_back(a) for p, a in zip(into, decays, strict=True)]
            first = min(found[pre][0] + steps for pre, steps in late.items())
            layers.append(LayerLatency(readout.name, first, max(delays)))
    return tuple(layers)


def _shortest(arriving: Iterable[tuple[str, NDArray[np.int64] | None]]) -> dict[str, int]:
    """The shortest delay of the spikes of each sender: what longer ones hold back is memory."""
    found: dict[str, int] = {}
    for pre, delays in arriving:
        late = 0 if delays is None else int(delays.min())
        found[pre] = min(found.get(pre, late), late)
    return found


def latency_values(program: Program) -> list[dict[str, Any]]:
    """For each layer on chip and readout: when it first speaks and when it has heard the whole sample, in steps from 1.

    Returns
    -------
    list of dict
        'layer', 'first_step', 'heard_from', and 'heard_from_short' with synapses of `SHORT_SYNAPSE`; None for never.
    """
    short = latencies(program, SHORT_SYNAPSE)
    return [
        {
            "layer": layer.name,
            "first_step": layer.hops + 1,
            "heard_from": layer.delay + 1 if np.isfinite(layer.delay) else None,
            "heard_from_short": shorter.delay + 1 if np.isfinite(shorter.delay) else None,
        }
        for layer, shorter in zip(latencies(program), short, strict=True)
    ]


LONGEST_TRANSPORT = 0.01
"""Time constant in seconds beyond which a synapse is taken for memory that the source means to have."""


def transport_delays(program: Program) -> dict[str, int]:
    """Whole steps until populations and readouts hear of a frame, by name, encoders included (at once).

    Each hop takes a step and, on average, the delay of its synapse. Synapses longer than `LONGEST_TRANSPORT` are
    memory: what they hold back is what the network is to compute, so only their hop counts.
    """
    found = {source.name: 0 for source in program.sources}
    return found | {layer.name: round(layer.delay) for layer in latencies(program, memory=LONGEST_TRANSPORT)}


def answer_delay(program: Program) -> int:
    """Steps until the slowest readout hears of a frame; see `transport_delays`."""
    delays = transport_delays(program)
    return max((delays.get(readout.name, 0) for readout in program.readout.readouts), default=0)


def _filter_delay(a: float) -> float:
    """Mean delay in steps of a lowpass filter y[t] = a y[t-1] + (1 - a) x[t]; infinite where it never decays."""
    return a / (1 - a) if a < 1 else np.inf


def latency_sentence(program: Program, steps: int) -> str:
    """One sentence on the slowest layer: when it first speaks, when it hears everything, and what shortens that."""
    last = max(reversed(latencies(program)), key=lambda layer: layer.delay)
    short = max(layer.delay for layer in latencies(program, SHORT_SYNAPSE))
    text = (
        f"{last.name} first speaks at step {last.hops + 1} of {steps} and hears the whole sample from step "
        f"{last.delay + 1:.0f} on: a step for each of {last.hops} hops, and the delays of the synapses"
    )
    if short < last.delay - 1:
        text += (
            f"; synapses of {1000 * SHORT_SYNAPSE:g} ms (DeployOptions(synapse={SHORT_SYNAPSE:g}), or layer_synapses) "
            f"make that step {short + 1:.0f}"
        )
    return text
