"""One sample on two threads: the encoder and the first populations on one, the others and the readout on another.

Where nothing leads back from the populations behind to the first ones, these can be stepped ahead. The first thread
does so for a block of steps at a time, and hands over the spikes of those that drive the others, for which they are
what spikes of a host are. No spike depends on where the cut is, nor on whether there is one.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from loihi_deploy.engines.chip.compiled import Engine
from loihi_deploy.engines.chip.plain import Biases
from loihi_deploy.engines.events import Events
from loihi_deploy.ir import Conv2D, Graph, Transform
from loihi_deploy.ir.program import Program, SpikeSource
from loihi_deploy.results import PopulationCounts

NEURON_NS, WEIGHT_NS, ENCODER_NS = 0.4, 0.06, 0.4
"""About what it takes to update a neuron on chip, to add the weight of a spike, and to step a neuron of the host."""
SPIKES = 0.025
"""About how many spikes a neuron sends in a step."""
WORTH_NS = 3_000_000
"""What a second thread must save at least: to wake it, and to hand over the interpreter, takes about half of that."""
BLOCKS = 8
"""Into how many blocks of steps a presentation is cut: the second thread waits for the first of them."""
BLOCK_SPIKES = 1 << 22
"""Spikes of a block for which there is room at most."""
AHEAD = 3
"""Blocks that the first thread is ahead at most."""


@dataclass(frozen=True)
class Halves:
    """The chip part of a program, cut in two.

    Parameters
    ----------
    ahead, behind : Program
    saved_ns : float
        About what a step takes less on two threads.
    """

    ahead: Program
    behind: Program
    saved_ns: float

    @cached_property
    def engines(self) -> tuple[Engine, Engine]:
        """Both halves, laid out when they are first run: most presentations of one sample are too short for that."""
        return Engine(self.ahead), Engine(self.behind)

    def pay(self, steps: int) -> bool:
        """Whether so many steps of a sample are worth a second thread."""
        return steps * self.saved_ns > WORTH_NS

    def run(
        self,
        steps: int,
        hold: int,
        biases: Biases,
        watched: Mapping[str, int],
        encode: Callable[[int, int], Events],
        decode: Callable[[int, Events], None],
    ) -> tuple[dict[str, PopulationCounts], tuple[int, int, str] | None]:
        """Run one sample from rest.

        Parameters
        ----------
        steps, hold : int
            Of the presentation, and of a frame of its biases.
        biases : dict of (1, n_frames, size) int32 arrays
        watched : dict of int
            Sizes of the populations whose spikes are decoded; all are in the second half.
        encode : callable
            Gives what the host sends in a block of steps, of which the first step and the number are given.
        decode : callable
            Takes the first step of a block and the spikes of `watched`, on the second thread.

        Returns
        -------
        counts : dict of PopulationCounts
        first_wrap : (int, int, str) or None
            Sample, step and population of the first accumulator that wrapped.
        """
        crossing = {source.name: source.size for source in self.behind.sources}
        listed = sum(source.size for source in self.ahead.sources) + sum(
            (*crossing.values(), *watched.values())
        )
        size = max(1, min(-(-steps // BLOCKS), BLOCK_SPIKES // max(listed, 1)))
        blocks = [(first, min(size, steps - first)) for first in range(0, steps, size)]
        first, second = (_Half(engine, steps) for engine in self.engines)
        in_two_threads(
            blocks,
            lambda begin, n: first.run(encode(begin, n), begin, n, crossing, biases, hold),
            lambda begin, n, spikes: decode(begin, second.run(spikes, begin, n, watched)),
        )
        found = [half.totals for half in (first, second)]
        counts = {name: count for of_half, _ in found for name, count in of_half.items()}
        wraps = [wrap for _, wrap in found if wrap is not None]
        return counts, min(wraps, key=lambda wrap: wrap[:2], default=None)


class _Half:
    """One sample on one of the engines."""

    def __init__(self, engine: Engine, steps: int) -> None:
        self._engine, self._arrays = engine, engine.start(1)
        self._counts = engine.empty_counts(1)
        nothing = np.zeros((1, steps, 0), bool), np.zeros((1, steps, 0), np.int32)
        self._recorded = engine.recording({}), nothing, self._counts

    def run(
        self,
        events: Events,
        first_step: int,
        steps: int,
        watched: Mapping[str, int],
        biases: Biases | None = None,
        hold: int = 1,
    ) -> Events:
        """Run some steps; gives the spikes of `watched`."""
        noise = self._engine.noise_values(None, steps)
        return self._engine.run(
            *(events, self._arrays, first_step, steps, noise, watched, *self._recorded, biases, hold)
        )

    @property
    def totals(self) -> tuple[dict[str, PopulationCounts], tuple[int, int, str] | None]:
        """See `Engine.totals`."""
        return self._engine.totals(self._counts)


def halves(program: Program) -> Halves | None:
    """Cut a program where the longer half is shortest; None where it cannot be cut, or one thread would do nearly all.

    The first half has all that the host drives, and the second all that it decodes.
    """
    names = [p.name for p in program.populations]
    hosts = {source.name for source in program.sources}
    decoded = {projection.pre for projection in program.readout.projections}
    driven = {bias_input.population for bias_input in program.bias_inputs}
    if decoded & hosts or any(p.noise is not None for p in program.populations):
        return None
    encoder = ENCODER_NS * sum(p.size for p in program.encoder.populations)
    work = [_work_ns(program, name) for name in names]
    best, cut = encoder + sum(work), 0
    for n in range(1, len(names)):
        first, second = set(names[:n]), set(names[n:])
        stays = not any(s.post in first and s.pre in second for s in program.synapses)
        alone = not any(s.post in second and s.pre in hosts for s in program.synapses)
        longer = max(encoder + sum(work[:n]), sum(work[n:]))
        if stays and alone and not decoded & first and not driven & second and longer < best:
            best, cut = longer, n
    if cut == 0:
        return None
    return Halves(*_cut(program, cut), encoder + sum(work) - best)


def _work_ns(program: Program, name: str) -> float:
    """About what a step of a population takes."""
    n_weights = sum(_n_synapses(synapses.transform) for synapses in program.into(name))
    return NEURON_NS * program.nodes[name].size + WEIGHT_NS * SPIKES * n_weights


def _n_synapses(transform: Transform) -> int:
    """About how many weights there are between neurons, shared ones counted for each."""
    if isinstance(transform, Conv2D):
        return transform.out_size * prod(transform.kernel.shape[:3])
    return transform.values.size


def _cut(program: Program, n: int) -> tuple[Program, Program]:
    """The first `n` populations, and the others, driven by spikes of the former as by those of a host."""
    first, second = program.populations[:n], program.populations[n:]
    names = {p.name for p in first}
    into_second = tuple(s for s in program.synapses if s.post not in names)
    crossing = {s.pre for s in into_second}
    nothing = Graph((), (), (), dt=program.dt)
    ahead = replace(
        program,
        populations=first,
        synapses=tuple(s for s in program.synapses if s.post in names),
        readout=nothing,
        links=tuple(link for link in program.links if link.kind == "to_chip"),
        scale_groups=(),
        host_limit=None,
    )
    sources = tuple(SpikeSource(p.name, p.shape) for p in first if p.name in crossing)
    behind = replace(
        ahead,
        encoder=nothing,
        sources=sources,
        populations=second,
        synapses=into_second,
        links=(),
        bias_inputs=(),
    )
    return ahead, behind


def in_two_threads(
    blocks: list[tuple[int, int]],
    ahead: Callable[[int, int], Events],
    behind: Callable[[int, int, Events], None],
) -> None:
    """Do the first half of each block here, and the second half, in order, on another thread while that has time.

    What it has not come to is done here: on a busy machine it may take longer to begin than all would take.
    """
    ready: deque[tuple[int, int, Events]] = deque()
    errors: list[BaseException] = []
    one_at_a_time = threading.Lock()

    def catch_up() -> None:
        with one_at_a_time:
            try:
                while ready and not errors:
                    behind(*ready.popleft())
            except BaseException as error:
                errors.append(error)

    for first, length in blocks:
        if errors:
            break
        ready.append((first, length, ahead(first, length)))
        if len(ready) == 1:  # else it has been called, and has not come to the one before
            _second_thread(os.getpid()).submit(catch_up)
        elif len(ready) > AHEAD:
            catch_up()
    catch_up()
    if errors:
        raise errors[0]


@lru_cache(maxsize=1)
def _second_thread(process: int) -> ThreadPoolExecutor:
    """The thread of a process: a fork has none."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"second half {process}")
