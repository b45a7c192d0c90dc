"""Training a rate network on with what the chip makes of it, for presentations of few steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loihi_deploy.analysis.presentation import ENCODER_PERCENTILES
from loihi_deploy.checked import checked
from loihi_deploy.frontends import opened
from loihi_deploy.frontends.chip_activations import chip_activations
from loihi_deploy.ir.content import OneLine
from loihi_deploy.options import DeployOptions
from loihi_deploy.pipeline import deploy
from loihi_deploy.tables import Page, Shown, Table, percent
from loihi_deploy.training.conversion import LARGEST, folded, with_chip_neurons
from loihi_deploy.training.loop import Augment, Epoch, Task, accuracy_of, retrain
from loihi_deploy.training.onchip import on_chip, on_host
from loihi_deploy.training.penalties import EventPenalty, energy_costs, event_costs
from loihi_deploy.training.quantized import QuantizedWeights

CALIBRATION = 500
"""Samples that deployments are set from and scales are measured on."""
JUDGED = 5000
"""Validation samples that deployments are judged by; on fewer chance decides between networks that are alike."""
LARGEST_SUM, SMALLEST = 15.0, 0.35
"""Thresholds that the fast neurons' input comes to in a presentation, and the least of them in a step; chosen on
validation images of Fashion-MNIST at 10, 20 and 32 steps."""

FEWER_EVENTS = 99.9
"""Percentile of the encoder's rates where events cost; on validation images of Fashion-MNIST at 20 steps as accurate as
with 99.5, which is chosen there for accuracy alone, with 16 % fewer events."""


@dataclass(frozen=True)
class Compared:
    """A network by itself and on chip, on validation samples.

    Parameters
    ----------
    name : str
    rate_accuracy, accuracy : float
        Of the network as Keras computes it, and of the integers on the emulator.
    spikes, events : float
        Per sample, on chip.
    cores : int
    """

    name: str
    rate_accuracy: float
    accuracy: float
    spikes: float
    events: float
    cores: int


@dataclass(frozen=True)
class FineTuned(Shown, OneLine):
    """What `fine_tune` gives.

    Parameters
    ----------
    model : Keras model
        `tuned`, or `plain` where that is right on more of the validation samples on chip and no penalty was asked for.
    options : DeployOptions
        To deploy it with: ``deploy(result.model, calibration=x, options=result.options)``.
    plain : Keras model or None
        The same network trained for as long without the chip.
    tuned : Keras model
        With the chip's neurons, and with the integers' weights.
    steps : int
    compared : tuple of Compared
        The model as it was given, the plain one, and the tuned one.
    history : dict of tuples of Epoch
        By name: 'tuned' and 'plain'.
    differing : tuple of str
        Populations of the tuned model whose integers are not those that were trained.
    """

    model: Any
    options: DeployOptions
    plain: Any
    tuned: Any
    steps: int
    compared: tuple[Compared, ...]
    history: Mapping[str, tuple[Epoch, ...]] = field(default_factory=dict)
    differing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What `compared` calls `model`."""
        return "tuned" if self.model is self.tuned else "trained on"

    def page(self) -> Page:
        """Before and after, beside the network that was trained for as long without the chip."""
        columns = ("network", "rate accuracy", "on chip", "spikes", "synaptic events", "cores")
        rows = tuple(
            (
                f"{one.name} (given back)" if one.name == self.name else one.name,
                percent(one.rate_accuracy),
                percent(one.accuracy),
                f"{one.spikes:,.0f}",
                f"{one.events:,.0f}",
                str(one.cores),
            )
            for one in self.compared
        )
        return Page((Table(f"{self.steps} steps, on validation samples", columns, rows),))


@checked
def fine_tune(
    model: Any,
    x: Any,
    y: Any,
    steps: int,
    *,
    validation: float | tuple[Any, Any] = 0.1,
    weight_bits: int = 8,
    encoder: str = "auto",
    board: Any = "nahuku32",
    levels: int = 32,
    noise: float = 0.0,
    epochs: int = 4,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    teacher: Any = None,
    penalty: Literal["events", "energy"] = "events",
    penalty_weight: float = 0.0,
    patience: int | None = None,
    augment: Augment | None = None,
    compare: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FineTuned:
    """Train a rate network on, with the chip's neurons and weights and without, and take what is better on chip.

    Deployed for that time, ``DeployOptions(steps=steps)``, a network as it is loses little; training with the chip
    brings fewer spikes, and fewer events with a penalty. The page on few steps has figures of both.

    Starting from the trained network: batch normalization is folded; ReLUs on chip become neurons with the mean rate of
    the chip's, in `levels`; weights on chip are rounded in the forward pass as the chip stores them; the loss is the
    cross entropy to the labels and to the teacher's outputs.

    Parameters
    ----------
    model : Keras model or path
        A trained classifier, of Keras 3 or legacy Keras.
    x : (n, *input_shape) array
    y : (n,) int array or one-hot rows
        Classes.
    steps : int
        Presentation time that it is meant for: what the table is measured at, and what the penalty counts. The longer,
        the slower are the neurons in training.
    validation : float or (x, y)
        The part of the samples, their last, or samples of their own, that choose the epoch and fill the table.
    weight_bits : {8, 6, 5, 4, 3, 2}
        As of `DeployOptions`.
    encoder, board
        As for `deploy`.
    levels : int
        Rates in training are rounded to so many levels.
    noise : float
        On rates in training, in spikes per step; see `ChipActivation`.
    epochs, batch_size, learning_rate, patience, augment, seed, progress
        As for `retrain`.
    teacher : Keras model, optional
        The model itself, as it was given, if not given.
    penalty : {'events', 'energy'}
        What spikes cost in training: synaptic events, or energy.
    penalty_weight : float
        Loss for 100,000 events, or 10 µJ, per sample, of spikes of the encoder and of the chip; 0 for no penalty. With
        one, fewer of the encoder's neurons spike in each step: ``options.encoder_percentile`` is 99.9.
    compare : bool
        Also train the same network for as long without the chip: much of what tuning seems to gain is more training.
        It is what `FineTuned.model` is, if it is right on more validation samples on chip and there is no penalty.
    checkpoint : path, optional
        A folder that the same call goes on from after a kill.

    Returns
    -------
    FineTuned

    Raises
    ------
    ConversionError
        If the model, or an activation of it, cannot be put on chip.
    InputError
        If samples, labels or options do not fit; if `steps` is too short for the depth of the network: before any
        training.
    TrainingError
        At the first loss or gradient that is not a number.
    """
    model = opened(model)
    options = DeployOptions(steps=steps, weight_bits=weight_bits, encoder=encoder)
    start = folded(model)
    task = Task(start, x, y, validation, None)
    calibration, labels = task.x[:CALIBRATION], task.labels[:CALIBRATION]

    def compared(name: str, network: Any, how: DeployOptions) -> tuple[Compared, Any]:
        deployment = deploy(network, board, calibration, how, labels=labels)
        judged = deployment.evaluate(task.held_x[:JUDGED], task.held_y[:JUDGED], progress=False)
        rate = accuracy_of(network, task.held_x, task.held_y)
        counts = [judged.counters.populations[p.name] for p in deployment.program.populations]
        spikes, events = sum(c.spikes for c in counts), sum(c.synaptic_events for c in counts)
        n = judged.n_total
        row = Compared(name, rate, judged.accuracy, spikes / n, events / n, deployment.mapping.n_cores)
        return row, deployment.program

    rows = [compared("as given", start, options)[0]]
    largest = largest_input(steps)
    tuned = with_chip_neurons(
        start, calibration, encoder=encoder, levels=levels, noise=noise, largest=largest
    )
    weights = QuantizedWeights(tuned, weight_bits, encoder, board)
    folder = None if checkpoint is None else Path(checkpoint)
    how = {
        "validation": (task.held_x, task.held_y),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "teacher": model if teacher is None else teacher,
        "patience": patience,
        "augment": augment,
        "seed": seed,
        "progress": progress,
    }
    history, plain = {}, None
    if compare:
        plain = folded(start)
        at = None if folder is None else folder / "plain.npz"
        history["plain"] = retrain(plain, task.x, task.labels, checkpoint=at, **how)
        rows.append(compared("trained on", plain, options)[0])
    at = None if folder is None else folder / f"tuned for {steps}.npz"
    costs = _penalties(tuned, encoder, steps, penalty, penalty_weight)
    history["tuned"] = retrain(
        tuned, task.x, task.labels, weights=weights, penalties=costs, checkpoint=at, **how
    )
    for_tuned = replace(options, bias_correction_steps=0)
    if penalty_weight:
        for_tuned = replace(for_tuned, encoder_percentile=FEWER_EVENTS)
    row, program = compared("tuned", tuned, for_tuned)
    differing = QuantizedWeights(tuned, weight_bits, encoder, board)
    differing.round()
    names = tuple(differing.differing(program))
    better = plain is not None and not penalty_weight and rows[-1].accuracy > row.accuracy
    chosen = (plain, options) if better else (tuned, for_tuned)
    return FineTuned(*chosen, plain, tuned, steps, (*rows, row), history, names)


def largest_input(steps: int) -> float:
    """Input of the fast neurons, in thresholds per step, for a presentation of so many steps.

    The less, the nearer are the chip's neurons to the rectified line that the network was trained with, and the less
    there is to learn; in few steps they then say too little.
    """
    return float(np.clip(LARGEST_SUM / steps, SMALLEST, LARGEST))


def _penalties(model: Any, encoder: str, steps: int, penalty: str, weight: float) -> dict[str, EventPenalty]:
    """What the outputs of each layer cost, of those on chip and of those that encode."""
    if not weight:
        return {}
    graph, populations = on_chip(model, encoder)
    costs = (event_costs if penalty == "events" else energy_costs)(graph, weight)
    scales = {id(layer): layer.settings["scale"] for layer in chip_activations(model)}
    return {
        population.layer.name: EventPenalty(
            costs[population.name], steps, scales[id(_neurons(population.layer))]
        )
        for population in populations
    } | {
        population.layer.name: EventPenalty(costs[population.name], steps, percentile=ENCODER_PERCENTILES[0])
        for population in on_host(model, encoder)
    }


def _neurons(layer: Any) -> Any:
    """The `ChipActivation` that a layer is, or has."""
    return layer if hasattr(layer, "chip_neuron") else layer.activation
