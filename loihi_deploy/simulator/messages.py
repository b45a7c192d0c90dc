"""What passes between the host's Nengo simulators and the chip, and input data for nodes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import nengo
import numpy as np
from nengo.builder.processes import SimProcess
from numpy.typing import NDArray

from loihi_deploy.simulator.block_chip import Chip, Events


class Messages:
    """Queues between host and chip, as nengo-loihi's builder lays them.

    Parameters
    ----------
    built : nengo_loihi.builder.Model
    simulators : sequence of nengo.Simulator
        Those that run on the host; their steps hold the queues, and a reset makes new ones.
    chip : Chip
    """

    def __init__(self, built: Any, simulators: Sequence[nengo.Simulator], chip: Chip) -> None:
        self._chip = chip
        self._dt = built.dt
        steps = {
            id(operator.process): inspect.getclosurevars(step).nonlocals["step_f"]
            for simulator in simulators
            for operator, step in zip(simulator.step_order, simulator._steps, strict=True)
            if isinstance(operator, SimProcess)
        }
        self._spikes = [
            (chip.layout.first_input[built.spike_targets[receiver]], steps[id(sender.output)].queue)
            for sender, receiver in built.host2chip_senders.items()
        ]
        self._errors = [
            (
                built.objs[built.nengo_probe_conns[target.error_target]]["decoders"],
                steps[id(sender.output)].queue,
            )
            for sender, target in built.host2chip_pes_senders.items()
        ]
        self._receivers = [
            (built.objs[probe]["out"], steps[id(receiver.output)])
            for probe, receiver in built.chip2host_receivers.items()
        ]

    @property
    def queues(self) -> list[list[Any]]:
        """What is on its way: for the chip, for learning on chip, for the host."""
        everything = [*(queue for _, queue in (*self._spikes, *self._errors))]
        return [*everything, *(receiver.queue for _, receiver in self._receivers)]

    @queues.setter
    def queues(self, contents: list[list[Any]]) -> None:
        for queue, content in zip(self.queues, contents, strict=True):
            queue[:] = content

    def take_spikes(self, steps: int) -> list[Events]:
        """Spikes that the host has sent for the chip's next steps, as sources of the chip."""
        sent: list[list[Events]] = [[np.zeros(0, np.int64)] for _ in range(steps)]
        for first, queue in self._spikes:
            for t, values in queue:
                sent[round(t / self._dt) - self._chip.t - 1].append(first + values.nonzero()[0])
            queue.clear()
        return [np.concatenate(spikes) for spikes in sent]

    def take_errors(self) -> dict[Any, NDArray[Any]]:
        """Errors that the host has sent, summed by learning synapse."""
        errors: dict[Any, NDArray[Any]] = {}
        for synapse, queue in self._errors:
            for _, values in queue:
                errors[synapse] = errors[synapse] + values if synapse in errors else values
            queue.clear()
        return errors

    def give(self, steps: int) -> None:
        """Give the host what the chip decoded in its last steps; each value arrives in the step after."""
        for probe, receiver in self._receivers:
            for k, values in enumerate(self._chip.recorded(probe, steps)):
                receiver.receive(self._dt * (self._chip.t - steps + k + 2), values)


@contextmanager
def fed(simulators: Sequence[nengo.Simulator], rows: Mapping[nengo.Node, NDArray[Any]]) -> Iterator[None]:
    """Let nodes put out given rows, one a step, instead of their own output.

    Parameters
    ----------
    simulators : sequence of nengo.Simulator
        Those that may hold the nodes.
    rows : dict of (steps, size) arrays
    """
    before = [(simulator, simulator._steps) for simulator in simulators]
    constants = []
    for node, values in rows.items():
        for simulator in simulators:
            signal = simulator.model.sig[node]["out"] if node in simulator.model.sig else None
            if signal is None:
                continue
            target = simulator.signals[signal]

            feed = partial(_put_next, target, iter(values))
            steps = [
                feed if signal in operator.sets else step
                for operator, step in zip(
                    simulator.step_order, simulator._steps[-len(simulator.step_order) :], strict=True
                )
            ]
            earlier = simulator._steps[: -len(simulator.step_order)]
            if feed not in steps:  # a constant, which no operator sets
                earlier = [*earlier, feed]
                constants.append((target, target.copy()))
            simulator._steps = earlier + steps
    try:
        yield
    finally:
        for simulator, steps in before:
            simulator._steps = steps
        for target, value in constants:
            target[...] = value


def _put_next(target: NDArray[Any], values: Iterator[Any]) -> None:
    target[...] = next(values)
