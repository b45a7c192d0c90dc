"""Quantization-aware training: weights take the levels of the chip in the forward pass, and learn between them.

Before each batch the kernels on chip are rounded as `quantize` rounds them, behind it the change that the optimizer
made is added to the exact values: the gradient passes straight through the rounding (Jacob et al. 2018,
arXiv 1712.05877, section 3). Which optimizer and which layers makes no difference, and in the end the model holds the
rounded weights, which `quantize` finds again, integer for integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.chip.boards import as_board
from loihi_deploy.errors import InputError
from loihi_deploy.ir.program import Program
from loihi_deploy.options import WEIGHT_BITS
from loihi_deploy.stages.quantize import level_step
from loihi_deploy.stages.rounding import Levels, least_squares_clip
from loihi_deploy.training.onchip import Layered, kernel, on_chip
from loihi_deploy.training.rewriting import keras_of
from loihi_deploy.training.trainable import keras_with

CLIPPED_EVERY = 50
"""Batches between two searches for the clip of few bits."""


class QuantizedWeights:
    """The weights on chip of a model in training: exact values, and what the chip makes of them.

    Parameters
    ----------
    model : Keras model
    bits : {8, 6, 5, 4, 3, 2}
        As ``DeployOptions.weight_bits``.
    encoder : str
        As for `partition`: weights of host neurons and readouts stay as they are.
    board : str, path, Board or Chip
        As for `map_to_cores`.
    """

    @checked
    def __init__(self, model: Any, bits: int = 8, encoder: str = "auto", board: Any = "loihi") -> None:
        if bits not in WEIGHT_BITS:
            allowed = ", ".join(map(str, WEIGHT_BITS))
            raise InputError.single("not a number of bits of a weight", "bits", bits, allowed)
        self._limits = as_board(board).chip.arithmetic
        self.bits = bits
        self._levels = Levels(self._limits.weight_limit, bits)
        self._model = model
        keras_with(model)
        _, populations = on_chip(model, encoder)
        self.groups = [population for population in populations if _can_round(population)]
        self._exact = [[_values(layer) for layer in group.layers] for group in self.groups]
        self._rounded = [[values.copy() for values in exact] for exact in self._exact]
        self._clips = [0.0] * len(self.groups)
        self._steps = [1.0] * len(self.groups)
        self._batches = 0

    def round(self) -> None:
        """Give the model rounded weights: before a batch, and at the end."""
        for index, group in enumerate(self.groups):
            step = self._steps[index] = self._step(index)
            for number, layer in enumerate(group.layers):
                levels = np.round(self._exact[index][number] * group.amplitudes[number] / step)
                levels = np.clip(levels, -self._levels.largest, self._levels.largest)
                rounded = (levels * step / group.amplitudes[number]).astype(np.float32)
                kernel(layer).assign(rounded)
                self._rounded[index][number] = rounded
        self._batches += 1

    def learn(self) -> None:
        """Add what has changed in the model's weights since `round` to the exact ones: behind a batch."""
        for index, group in enumerate(self.groups):
            for number, layer in enumerate(group.layers):
                change = _values(layer) - self._rounded[index][number]
                self._exact[index][number] += change

    @property
    def state(self) -> list[NDArray[np.float64]]:
        """All that a later run needs to go on: exact weights, then clips and the number of batches."""
        exact = [values for group in self._exact for values in group]
        return [*exact, np.array([*self._clips, self._batches])]

    @state.setter
    def state(self, state: Sequence[NDArray[np.float64]]) -> None:
        *exact, rest = state
        values = iter(exact)
        self._exact = [[np.array(next(values)) for _ in group] for group in self._exact]
        self._clips, self._batches = [float(clip) for clip in rest[:-1]], int(rest[-1])

    def _step(self, index: int) -> float:
        """What a level stands for in a group's weights."""
        pairs = zip(self._exact[index], self.groups[index].amplitudes, strict=True)
        magnitudes = np.concatenate([np.abs(values * amplitude).ravel() for values, amplitude in pairs])
        largest = float(magnitudes.max(initial=0.0)) or 1.0
        if self._levels.stored_bits is None:
            return level_step(largest, self._limits, self._levels)
        if self._batches % CLIPPED_EVERY == 0:
            self._clips[index] = least_squares_clip(magnitudes, largest, self._levels)
        return level_step(self._clips[index], self._limits, self._levels)

    def integers(self) -> dict[str, tuple[NDArray[np.int64], ...]]:
        """Levels of the model's rounded weights, by population and, within it, by layer, each shaped as its kernel."""
        found = {}
        for index, group in enumerate(self.groups):
            step = self._steps[index]
            found[group.name] = tuple(
                np.round(rounded.astype(np.float64) * amplitude / step).astype(np.int64) * self._levels.unit
                for rounded, amplitude in zip(self._rounded[index], group.amplitudes, strict=True)
            )
        return found

    def differing(self, program: Program) -> list[str]:
        """Populations whose integers in a program are not those that were trained, or cannot be told apart.

        So it is where several layers make up one synapse, as behind overlapping average pooling, or where biases need
        a smaller scale.
        """
        trained = {name: values for name, values in self.integers().items() if len(values) == 1}
        names = []
        for population in program.populations:
            synapses = program.into(population.name)
            if len(synapses) != 1 or population.name not in trained:
                names.append(population.name)
                continue
            (found,), (wanted,) = (s.transform.values for s in synapses), trained[population.name]
            if not _same_integers(np.asarray(found), wanted):
                names.append(population.name)
        return names

    def callback(self) -> Any:
        """For ``model.fit``: a callback of the model's Keras that does all of this."""
        weights = self
        base: Any = keras_of(self._model).callbacks.Callback

        class Rounding(base):  # type: ignore[misc]
            """Rounds before each batch and learns behind it."""

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                weights.round()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                weights.learn()

            def on_test_begin(self, logs: Any = None) -> None:
                weights.round()

            def on_train_end(self, logs: Any = None) -> None:
                weights.round()

        return Rounding()


def _same_integers(found: NDArray[Any], wanted: NDArray[np.int64]) -> bool:
    """Whether a transform's values are a kernel's integers.

    As they lie, or as a matrix; repeated, as behind average pooling; and each beside its opposite, as behind on and off
    neurons.
    """
    if found.ndim == 2:
        found = found.T
        wanted = wanted.reshape(-1, wanted.shape[-1])
    if found.ndim != wanted.ndim or any(np.array(found.shape) % wanted.shape):
        return False
    inputs = found.ndim - 2
    if found.shape[inputs] == 2 * wanted.shape[inputs]:
        wanted = np.stack([wanted, -wanted], inputs + 1).reshape(*wanted.shape[:inputs], -1, wanted.shape[-1])
    for axis in range(inputs):
        wanted = wanted.repeat(found.shape[axis] // wanted.shape[axis], axis)
    return found.shape == wanted.shape and bool((found == wanted).all())


def _can_round(population: Layered) -> bool:
    """Whether the layers' kernels are the synapses as they are: at least one, and each only once."""
    return len(population.layers) > 0 and len(set(map(id, population.layers))) == len(population.layers)


def _values(layer: Any) -> NDArray[np.float64]:
    return np.asarray(kernel(layer).numpy(), np.float64)
