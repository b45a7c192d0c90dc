"""Firing rates while a model is trained: a line for each layer behind every epoch, and a picture afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from loihi_deploy.checked import Range, checked
from loihi_deploy.frontends.chip_activations import chip_activations
from loihi_deploy.options import Percentile
from loihi_deploy.report import pictures
from loihi_deploy.report.drawing import drawn
from loihi_deploy.training.onchip import on_chip
from loihi_deploy.training.rewriting import keras_of
from loihi_deploy.training.trainable import keras_with, samples_of


class FiringRates:
    """Rates of the neurons on chip of a model in training, on some samples.

    Parameters
    ----------
    model : Keras model
    x : (n, *input_shape) array
        Some hundred samples.
    low, high : float, optional
        Hz: the range that the percentile should be in, which is marked.
    percentile : float
        0..100, of rates above 0, over neurons and samples.
    hertz : float
        Rate that an activity of 1 of a ReLU stands for. The chip's neurons say themselves what theirs stand for.
    encoder : str
        As for `partition`.

    Attributes
    ----------
    history : dict of lists
        By population, its percentile in Hz behind every epoch.
    """

    @checked
    def __init__(
        self,
        model: Any,
        x: Any,
        low: float = 0.0,
        high: float = np.inf,
        percentile: Percentile = 99.9,
        hertz: Annotated[float, Range(1e-12, 1e12)] = 1.0,
        encoder: str = "auto",
    ) -> None:
        keras = keras_with(model)
        self._model, self._x = model, samples_of(model, x)
        self.low, self.high, self.percentile = low, high, percentile
        _, populations = on_chip(model, encoder)
        self._names = [population.name for population in populations]
        self._watch = keras.Model(model.inputs[0], [population.tensor for population in populations])
        own = {id(layer): layer.settings for layer in chip_activations(model)}
        settings = [
            own.get(id(p.layer)) or own.get(id(getattr(p.layer, "activation", None))) for p in populations
        ]
        self._hertz = [one["scale"] / one["dt"] if one else hertz for one in settings]
        self.history: dict[str, list[float]] = {name: [] for name in self._names}

    def measure(self) -> Mapping[str, float]:
        """The percentile of each population now, in Hz; 0 where none is active."""
        found = {}
        values = self._watch(self._x, training=False)
        values = values if isinstance(values, (list, tuple)) else [values]
        for name, value, hertz in zip(self._names, values, self._hertz, strict=True):
            active = np.asarray(value)
            active = active[active > 0]
            found[name] = hertz * float(np.percentile(active, self.percentile)) if active.size else 0.0
        return found

    def lines(self) -> list[str]:
        """Measure, remember, and say it: a line for each layer."""
        lines = []
        for name, rate in self.measure().items():
            self.history[name].append(rate)
            where = "too low" if rate < self.low else "too high" if rate > self.high else "in range"
            mark = "" if self.low == 0 and self.high == np.inf else f", {where}"
            lines.append(f"{name}: {rate:.3g} Hz{mark}")
        return lines

    def callback(self) -> Any:
        """For ``model.fit``: a callback of the model's Keras that prints the lines behind every epoch."""
        rates = self
        base: Any = keras_of(self._model).callbacks.Callback

        class Lines(base):  # type: ignore[misc]
            """Prints rates."""

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                print("\n".join(rates.lines()), flush=True)

        return Lines()

    def plot(self) -> Any:
        """The course of the percentiles, and the range: a ``matplotlib.figure.Figure``.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        with drawn():
            return pictures.rates_by_epoch(self.history, self.low, self.high)
