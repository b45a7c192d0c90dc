"""The chip: every block of a network, stepped together.

Equal to nengo-loihi 1.1.0's emulator (``emulator/interface.py``): integers, order of random draws, floats of probes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nengo_loihi.probe import LoihiProbe
from numpy.typing import NDArray

from loihi_deploy.simulator.block_kernels import run
from loihi_deploy.simulator.block_layout import lay_out, settings
from loihi_deploy.simulator.learning import Learning

RECORDED = ("spiked", "voltage", "current")
NOISE_STEPS = 256
"""Steps for which noise is drawn at once."""

Events = NDArray[np.int64]
NO_EVENTS: Events = np.zeros(0, np.int64)


class Chip:
    """All blocks of a network.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
        A built model with discretized blocks.
    seed : int
        Of noise and stochastic rounding.
    initial_voltages : dict of int32 arrays
        By block; zero where none is given.
    """

    def __init__(self, model: Any, seed: int, initial_voltages: Mapping[Any, NDArray[np.int32]]) -> None:
        self.layout = lay_out(list(model.blocks), list(model.inputs))
        self._settings = settings(list(model.blocks))
        self._noisy = bool(self._settings.noise_scale.any())
        self._start_voltage = np.zeros(self.layout.n_compartments, np.int32)
        for block, voltage in initial_voltages.items():
            self._start_voltage[self.layout.slices[block]] = voltage
        self._start_weights = self.layout.weights.copy()
        self._from_file = _spikes_from_files(model.inputs, self.layout.first_input)
        self._learning = Learning(model, self.layout)
        self._columns, self._index = self._recorded_columns(model.probes)
        self.reset(seed)
        self.begin(0)
        self._run(
            []
        )  # no step: what is compiled is compiled or loaded now, and the first step takes as long as any

    def _recorded_columns(
        self, probes: Sequence[LoihiProbe]
    ) -> tuple[dict[LoihiProbe, list[slice]], dict[str, NDArray[np.int64]]]:
        """Where each part of a probe lies in what is recorded, and the compartments to record by variable."""
        columns: dict[LoihiProbe, list[slice]] = {}
        index: dict[str, list[NDArray[np.int64]]] = {key: [np.zeros(0, np.int64)] for key in RECORDED}
        for probe in probes:
            columns[probe] = []
            for block, part in zip(probe.target, probe.slice, strict=True):
                start = sum(map(len, index[probe.key]))
                compartments = np.arange(block.n_neurons)[part] + self.layout.slices[block].start
                index[probe.key].append(compartments)
                columns[probe].append(slice(start, start + len(compartments)))
        return columns, {key: np.concatenate(parts) for key, parts in index.items()}

    def copy(self) -> Chip:
        """Another chip with the same blocks; to be reset."""
        return copy.copy(self)

    def reset(self, seed: int) -> None:
        """Go back to the state before the first step."""
        n = self.layout.n_compartments
        self.t = 0
        self.wrapped = np.zeros(3, np.int64)
        self._rng = np.random.RandomState(seed)
        self._state = np.stack([np.zeros(n, np.int32), self._start_voltage, np.zeros(n, np.int32)])
        self._spiked = np.zeros(n, np.bool_)
        self._q = np.zeros(n, np.int32)
        self._arriving = NO_EVENTS
        self._outputs: dict[str, NDArray[Any]] = {}
        self._written = 0
        self.layout.weights[:] = self._start_weights
        self._learning.reset()

    def set_errors(self, errors: Mapping[Any, NDArray[Any]]) -> None:
        """Set the errors of learning from here on, by synapse; zero where none is given."""
        self._learning.set_errors(errors)

    def begin(self, steps: int) -> None:
        """Forget what was recorded and make room for some steps."""
        self._written = 0
        self._outputs = {
            key: np.empty((steps, len(index)), np.bool_ if key == "spiked" else np.int32)
            for key, index in self._index.items()
        }

    def advance(self, events: Sequence[Events]) -> None:
        """Advance by ``len(events)`` steps.

        Parameters
        ----------
        events : sequence of int64 arrays
            For each step, the sources among the inputs that spike in it; they arrive in the step after.
        """
        sent = [self._with_files(self.t + 1 + k, spikes) for k, spikes in enumerate(events)]
        arriving = [self._arriving, *sent[:-1]]
        self._arriving = sent[-1]
        if self._learning.synapses:
            for spikes in arriving:
                everywhere = np.concatenate([np.flatnonzero(self._spiked), spikes])
                change_weights = self._learning.step(self.t + 1, everywhere, self._rng)
                self._run([spikes])
                change_weights()
        else:
            chunk = NOISE_STEPS if self._noisy else len(events)
            for k in range(0, len(events), chunk):
                self._run(arriving[k : k + chunk])

    def _with_files(self, t: int, events: Events) -> Events:
        return np.concatenate([events, self._from_file[t]]) if t in self._from_file else events

    def _noise(self, steps: int) -> NDArray[np.int32]:
        """Noise of some steps; nengo-loihi draws for every compartment, whether noisy or not."""
        none = np.zeros((0, 0), np.int32)
        if not self._noisy and not self._learning.synapses:
            return none  # nobody else draws
        draws = self._rng.randint(-127, 128, size=(steps, self.layout.n_compartments), dtype=np.int32)
        if not self._noisy:
            return none
        return ((draws + self._settings.noise_offset) * self._settings.noise_scale).astype(np.int32)

    def _run(self, arriving: Sequence[Events]) -> None:
        layout, steps = self.layout, len(arriving)
        written = slice(self._written, self._written + steps)
        wrapped = run(
            np.cumsum([0, *map(len, arriving)]),
            np.concatenate([*arriving, NO_EVENTS]),
            layout.links,
            layout.axons,
            layout.rows,
            layout.targets,
            layout.weights,
            self._settings.values,
            self._noise(steps),
            self._settings.noise_at_u,
            self._q,
            self._state,
            self._spiked,
            *(self._index[key] for key in RECORDED),
            *(self._outputs[key][written] for key in RECORDED),
        )
        if any(wrapped):
            self._warn_of_overflow(np.array(wrapped))
        self.t += steps
        self._written += steps

    def _warn_of_overflow(self, wrapped: NDArray[np.int64]) -> None:
        for name, before, now in zip(("q0", "current", "u2"), self.wrapped, wrapped, strict=True):
            if now and not before:
                warnings.warn(f"Overflow in {name}: an accumulator on chip wrapped around", stacklevel=2)
        self.wrapped += wrapped

    def recorded(self, probe: LoihiProbe, steps: int | None = None) -> NDArray[Any]:
        """What a probe recorded since `begin`, or in the last `steps`, weighted and not filtered: (steps, size)."""
        first = 0 if steps is None else self._written - steps
        values = self._outputs[probe.key][first : self._written]
        parts = [np.ascontiguousarray(values[:, columns]) for columns in self._columns[probe]]
        result: NDArray[Any] = probe.weight_outputs(parts)
        return result


def _spikes_from_files(inputs: Sequence[Any], first_input: Mapping[Any, int]) -> dict[int, Events]:
    """Spikes that were known at build, by step: those of recordings of an event camera."""
    at: dict[int, list[Events]] = {}
    for source in inputs:
        for t in source.permanent:
            at.setdefault(t, []).append(first_input[source] + np.asarray(source.spikes[t], dtype=np.int64))
    return {t: np.concatenate(events) for t, events in at.items()}
