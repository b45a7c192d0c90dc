"""nengo-loihi's own emulator in the place of the chip, to compare with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.probe import LoihiProbe
from numpy.typing import NDArray

from loihi_deploy.simulator.block_chip import Events
from loihi_deploy.simulator.block_layout import lay_out


class ReferenceChip:
    """nengo-loihi's emulator; the interface is that of `loihi_deploy.simulator.block_chip.Chip`."""

    def __init__(self, model: Any, seed: int, initial_voltages: Mapping[Any, NDArray[np.int32]]) -> None:
        self.layout = lay_out(list(model.blocks), list(model.inputs))
        self._model = model
        self._start_voltages = initial_voltages
        self._start_weights = {
            synapse: [weights.copy() for weights in synapse.weights]
            for block in model.blocks
            for synapse in block.synapses
            if synapse.learning
        }
        self.reset(seed)

    def copy(self) -> ReferenceChip:
        """Another chip with the same blocks; to be reset."""
        return copy.copy(self)

    def reset(self, seed: int) -> None:
        """Go back to the state before the first step."""
        for synapse, start in self._start_weights.items():
            for weights, values in zip(synapse.weights, start, strict=True):
                weights[:] = values
        for source in self._model.inputs:
            source.spikes = {t: source.spikes[t] for t in source.permanent}
        self._emulator = EmulatorInterface(self._model, seed=seed)
        for block, voltage in self._start_voltages.items():
            self._emulator.compartment.voltage[self.layout.slices[block]] = voltage
        self._errors: dict[Any, NDArray[Any]] = {}

    @property
    def t(self) -> int:
        """Steps so far."""
        return int(self._emulator.t)

    def set_errors(self, errors: Mapping[Any, NDArray[Any]]) -> None:
        """Set the errors of learning from here on, by synapse."""
        self._errors = dict(errors)

    def begin(self, steps: int) -> None:
        """Forget what was recorded."""
        for probe in self._model.probes:
            self._emulator.probes.clear_probe(probe)

    def advance(self, events: Sequence[Events]) -> None:
        """Advance by ``len(events)`` steps."""
        for spikes in events:
            sent = []
            for source, first in self.layout.first_input.items():
                own = spikes[(spikes >= first) & (spikes < first + source.n_neurons)] - first
                if self.t + 1 not in source.permanent:
                    sent.append((source, self.t + 1, own))
            self._emulator.host2chip(sent, [(synapse, self.t, e) for synapse, e in self._errors.items()])
            self._emulator.step()

    def recorded(self, probe: LoihiProbe, steps: int | None = None) -> NDArray[Any]:
        """What a probe recorded since `begin`, or in the last `steps`, weighted and not filtered."""
        outputs = [part[-steps:] if steps else part for part in self._emulator.probes.outputs[probe]]
        result: NDArray[Any] = probe.weight_outputs(outputs)
        return result
