"""What samples are to a chip that learns: the host's spikes as they arrive, and what each step counts in the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.engines.host.neurons import lowpass_factor
from loihi_deploy.engines.host.plain import encode
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.ir import Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.ir.samples import held

AT_ONCE = 500
"""Samples that are encoded at a time."""


@dataclass(frozen=True)
class Presented:
    """All that does not learn.

    Parameters
    ----------
    spikes : dict of (n, steps, size) bool arrays
        Of the host, when they arrive on chip, by source.
    shares : tuple of (n, steps) arrays
        What a spike in each step counts in the answer, for each projection into the first readout: its filter, its
        delay and the readout window in one.
    """

    spikes: dict[str, NDArray[np.bool_]]
    shares: tuple[NDArray[np.float64], ...]


def presented(program: Program, samples: Samples, steps: int, window: float | None, flush: int) -> Presented:
    """Encode samples, each for as long as it is.

    Parameters
    ----------
    program : Program
    samples : Samples
    steps : int
        Of a sample that stands still, or of each frame of a sequence.
    window : float or None
        Last part of all frames that is read; None is the last frame.
    flush : int
        Steps that the last frame of a sequence is held longer, and that all is read later.
    """
    flush = 0 if samples.static else flush
    total = samples.n_frames * steps + flush
    delays = arrival_delays(program)
    spikes = {s.name: np.zeros((len(samples), total, s.size), np.bool_) for s in program.sources}
    shares: list[NDArray[np.float64]] = []
    drawn = any(p.neuron.kind == "poisson" for p in program.encoder.populations)
    # what is drawn goes by the sample's number
    at_once = 1 if drawn and samples.lengths is not None else AT_ONCE
    for which, part in samples.of_equal_length():
        until = part.n_frames * steps + flush
        for start in range(0, len(which), at_once):
            chosen = slice(start, start + at_once)
            frames, _ = held(part.take(chosen).arrays, steps, flush)
            n_frames = next(iter(frames.values())).shape[1]
            found, _, _ = encode(program.encoder, frames, n_frames * steps, first_sample=int(which[start]))
            for name, rows in spikes.items():
                late = delays[name]
                rows[which[chosen], late:until] = found[name][:, : until - late]
        width = window_steps(until - flush, window, steps, program.readout.first_frame)
        counted = _shares(program, part.n_frames * steps, width, flush)
        shares = shares or [np.zeros((len(samples), total)) for _ in counted]
        for rows_of_shares, row in zip(shares, counted, strict=True):
            rows_of_shares[which, :until] = row
    return Presented(spikes, tuple(shares))


def _shares(program: Program, shown: int, width: int, flush: int) -> list[NDArray[np.float64]]:
    """What a spike in each of ``shown + flush`` steps counts, for each projection into the first readout."""
    readout = program.readout
    links = {link.population: link.delay for link in program.links if link.kind == "from_chip"}
    step = np.arange(shown + flush)
    read = (step >= shown + flush - width) / width
    found = []
    for projection in readout.into(readout.readouts[0].name):
        a = lowpass_factor(projection.tau, readout.dt)
        later = step[None] - step[:, None] - links.get(projection.pre, 0)
        heard = np.where(later >= 0, (1 - a) * a ** np.maximum(later, 0), 0)
        found.append(heard @ read / readout.dt)
    return found
