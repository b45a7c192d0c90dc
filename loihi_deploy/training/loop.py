"""A training loop that stops at the first number that is none, keeps the best epoch, and goes on after a kill."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import Range, checked
from loihi_deploy.data.arrays import read_numpy
from loihi_deploy.errors import DataError, InputError, OutputError, Problem, TrainingError
from loihi_deploy.files import check_writable
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.chip_activations import chip_activations
from loihi_deploy.frontends.keras_graph import listed
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.options import DeployOptions
from loihi_deploy.training.quantized import QuantizedWeights
from loihi_deploy.training.rewriting import keras_of
from loihi_deploy.training.trainable import keras_with, samples_of

logger = logging.getLogger(__name__)

Augment = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""From a batch of samples to what is trained on."""


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    Parameters
    ----------
    number : int
        From 1 on.
    loss : float
        Mean over its batches.
    accuracy : float
        Fraction of the validation samples that the model classifies rightly, with rounded weights where it has them.
    seconds : float
    """

    number: int
    loss: float
    accuracy: float
    seconds: float


Whole = Annotated[int, Range(1, 2**31)]
Factor = Annotated[float, Range(1e-9, 1e9)]


@checked
def retrain(
    model: Any,
    x: Any,
    y: Any,
    *,
    validation: float | tuple[Any, Any] = 0.1,
    teacher: Any = None,
    epochs: Whole = 4,
    batch_size: Whole = 128,
    learning_rate: Factor = 1e-3,
    temperature: Factor = 2.0,
    label_smoothing: Annotated[float, Range(0.0, 1.0)] = 0.0,
    patience: Whole | None = None,
    augment: Augment | None = None,
    weights: QuantizedWeights | None = None,
    penalties: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: Annotated[int, Range(0, 2**31)] = 0,
    progress: bool = True,
) -> tuple[Epoch, ...]:
    """Train a classifier on, in place: some epochs with a falling learning rate, after which the best one is kept.

    With the model that it was made of as teacher, that is what `with_chip_layers` needs. The loss is the cross entropy
    to the labels and, with a teacher, that to its softmax (Hinton et al. 2015, arXiv 1503.02531).

    Parameters
    ----------
    model : Keras model
        Of Keras 3 or legacy Keras, with one input; its outputs are logits, or end in a softmax.
    x : (n, *input_shape) array
    y : (n,) int array or one-hot rows
        Classes.
    validation : float or (x, y)
        The part of the samples, their last, that is not trained on but chooses the epoch; or samples and labels of
        their own.
    teacher : Keras model, optional
        With as many outputs, which sees what the model sees.
    epochs, batch_size : int
    learning_rate : float
        At the start; a cosine takes it to 0 (Adam).
    temperature : float
        That both softmaxes are softened with.
    label_smoothing : float
        Part of a label that is spread over all classes, 0..1.
    patience : int, optional
        Stop when so many epochs have brought no better one.
    augment : callable, optional
        ``augment(batch, rng)`` gives what is trained on in place of a batch.
    weights : QuantizedWeights, optional
        Of the model: trained with the chip's rounding.
    penalties : dict, optional
        By layer name, a function of the layer's outputs that gives the cost of a batch, summed over its samples; see
        `RateRange` and `EventPenalty`.
    checkpoint : path, optional
        A file, written at the end of every epoch, that the same call goes on from after a kill.
    seed : int
        Of the order of samples and of `augment`.
    progress : bool
        Print a line for each epoch.

    Returns
    -------
    tuple of Epoch

    Raises
    ------
    InputError
        If samples and labels do not fit, or the checkpoint is that of another run.
    TrainingError
        At the first loss or gradient that is not a number, with step and layer.
    """
    if checkpoint is not None:
        try:
            Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise OutputError.single(f"cannot be written: {error}", str(checkpoint)) from error
        check_writable(checkpoint)
    task = Task(model, x, y, validation, teacher, label_smoothing)
    batches = max(1, len(task.x) // batch_size)
    stepper = _Stepper(model, task, batches * epochs, learning_rate, temperature, penalties or {})
    run = {
        "samples": len(task.x),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "temperature": temperature,
        "label_smoothing": label_smoothing,
        "seed": seed,
        "taught": teacher is not None,
        "rounded": weights is not None and weights.bits,
        "penalties": [[name, _known_by(cost)] for name, cost in sorted((penalties or {}).items())],
        "weights": [list(values.shape) for values in model.get_weights()],
    }
    if neurons := [dict(layer.settings) for layer in chip_activations(model)]:
        run["neurons"] = neurons
    kept = _Kept(None if checkpoint is None else Path(checkpoint), run, stepper, weights)
    history, best = kept.restore()
    for number in range(len(history) + 1, epochs + 1):
        if patience is not None and _since_best(history) >= patience:
            break
        start, rng = time.perf_counter(), np.random.default_rng([seed, number])
        order, losses = rng.permutation(len(task.x)), []
        for index in range(batches):
            rows = order[index * batch_size : (index + 1) * batch_size]
            batch = task.x[rows] if augment is None else augment(task.x[rows], rng).astype(task.x.dtype)
            if weights is not None:
                weights.round()
            losses.append(stepper.step(batch, task.targets(batch, rows), (number - 1) * batches + index + 1))
            if weights is not None:
                weights.learn()
        exact = model.get_weights()
        if weights is not None:
            weights.round()
        accuracy = task.accuracy()
        history = (*history, Epoch(number, float(np.mean(losses)), accuracy, time.perf_counter() - start))
        if accuracy >= max(epoch.accuracy for epoch in history):
            best = model.get_weights()
        if weights is not None:
            model.set_weights(exact)
        kept.save(history, best)
        line = f"epoch {number} of {epochs}: loss {history[-1].loss:.4f}, validation {100 * accuracy:.2f} %"
        logger.info(line)
        if progress:
            print(line, flush=True)
    model.set_weights(best)
    return history


def _known_by(penalty: Any) -> Any:
    """What a checkpoint knows a penalty by."""
    return penalty.get_config() if hasattr(penalty, "get_config") else type(penalty).__name__


def _since_best(history: tuple[Epoch, ...]) -> int:
    accuracies = [epoch.accuracy for epoch in history]
    return len(accuracies) - 1 - int(np.argmax(accuracies)) if accuracies else 0


class Task:
    """Samples, labels and the teacher's view, checked."""

    def __init__(
        self, model: Any, x: Any, y: Any, validation: Any, teacher: Any, smoothing: float = 0.0
    ) -> None:
        import tensorflow as tf

        for each in (model,) if teacher is None else (model, teacher):
            keras_with(each)
        dt = next((layer.settings["dt"] for layer in chip_activations(model)), DeployOptions.dt)
        readout = convert(model, DeployOptions(dt=dt)).readouts[0]
        self.model, self.teacher, self._smoothing = model, teacher, smoothing
        self.n_classes, self.softmax = readout.n_classes, readout.activation == "softmax"
        if readout.activation not in ("linear", "softmax") or self.n_classes < 2:
            raise InputError.single(
                "not a classifier that can be trained so",
                readout.name,
                f"{self.n_classes} outputs, {readout.activation}",
                "logits or a softmax",
            )
        if teacher is not None and teacher.outputs[0].shape[-1] != self.n_classes:
            found = teacher.outputs[0].shape[-1]
            raise InputError.single(
                "a teacher with another number of outputs", "teacher", found, self.n_classes
            )
        x = samples_of(model, x)
        labels = checked_labels(y, len(x), readout)
        if isinstance(validation, tuple) and len(validation) == 2:
            self.held_x = samples_of(model, validation[0])
            self.held_y = checked_labels(validation[1], len(self.held_x), readout)
        elif not (isinstance(validation, float) and 0 < validation < 1):
            raise InputError.single("not a part of the samples", "validation", validation, "between 0 and 1")
        else:
            held = max(1, int(validation * len(x)))
            self.held_x, self.held_y = x[-held:], labels[-held:]
            x, labels = x[:-held], labels[:-held]
        if not len(x) or not len(self.held_x):
            raise InputError.single("too few samples", "x", len(x), "some to train on, some to judge by")
        self.x, self.labels = x, labels
        self._taught = tf.function(lambda batch: teacher(batch, training=False))

    def targets(self, batch: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float32]:
        """One-hot labels and, behind them, the teacher's outputs."""
        targets: NDArray[np.float32] = np.eye(self.n_classes, dtype=np.float32)[self.labels[rows]]
        targets = targets * (1 - self._smoothing) + self._smoothing / self.n_classes
        if self.teacher is None:
            return targets
        return np.concatenate([targets, np.asarray(self._taught(batch))], axis=1)

    def accuracy(self) -> float:
        """Of the model, on the validation samples."""
        return accuracy_of(self.model, self.held_x, self.held_y)


def accuracy_of(model: Any, x: NDArray[Any], y: NDArray[Any]) -> float:
    """Fraction of samples that a model classifies rightly."""
    found = [np.asarray(model(x[i : i + 500], training=False)).argmax(axis=-1) for i in range(0, len(x), 500)]
    return float((np.concatenate(found) == y).mean())


class _Stepper:
    """One step of training after the other."""

    def __init__(
        self,
        model: Any,
        task: Task,
        n_steps: int,
        learning_rate: float,
        temperature: float,
        penalties: Mapping[str, Any],
    ) -> None:
        import tensorflow as tf

        keras = keras_of(model)
        self.model = model
        self.variables = list(model.trainable_variables)
        optimizers = keras.optimizers
        self.optimizer = optimizers.Adam(optimizers.schedules.CosineDecay(learning_rate, n_steps))
        self.optimizer.build(self.variables)
        watched = [layer for layer in model.layers if not type(layer).__name__.startswith("Input")]
        self.names = [layer.name for layer in watched]
        bad = sorted(name for name, cost in penalties.items() if not callable(cost))
        if bad:
            raise InputError.single("not a function of outputs", "penalties", ", ".join(bad))
        unknown = sorted(set(penalties) - set(self.names))
        if unknown:
            raise InputError.single("no such layer", ", ".join(unknown), limit=", ".join(self.names))
        outputs = {layer.name: layer.output for layer in watched}
        costly = sorted(penalties)
        extended = keras.Model(model.inputs[0], [model.outputs[0], *(outputs[name] for name in costly)])
        every_layer = keras.Model(model.inputs[0], list(outputs.values()))
        softmax, has_teacher, n_classes = task.softmax, task.teacher is not None, task.n_classes

        def logits(outputs: Any) -> Any:
            return tf.math.log(tf.maximum(outputs, 1e-7)) if softmax else outputs

        def finite(values: Any) -> Any:
            return tf.stack([tf.reduce_all(tf.math.is_finite(value)) for value in values])

        @tf.function  # type: ignore[untyped-decorator]
        def gradients(batch: Any, targets: Any) -> Any:
            with tf.GradientTape() as tape:
                values = listed(extended(batch, training=True))
                ours = logits(values[0])
                cross_entropy = tf.nn.softmax_cross_entropy_with_logits
                loss = tf.reduce_mean(cross_entropy(targets[:, :n_classes], ours))
                if has_teacher:
                    taught = tf.nn.softmax(logits(targets[:, n_classes:]) / temperature)
                    loss += tf.reduce_mean(cross_entropy(taught, ours / temperature))
                for name, value in zip(costly, values[1:], strict=True):
                    loss += penalties[name](value) / tf.cast(tf.shape(value)[0], loss.dtype)
                if model.losses:
                    loss += tf.add_n(model.losses)
            found = tape.gradient(loss, self.variables)
            return loss, found, finite([loss, *found])

        @tf.function  # type: ignore[untyped-decorator]
        def layers(batch: Any) -> Any:
            return finite(listed(every_layer(batch, training=True)))

        @tf.function  # type: ignore[untyped-decorator]
        def apply(found: Any) -> None:
            self.optimizer.apply_gradients(zip(found, self.variables, strict=True))

        self._gradients, self._layers, self._apply = gradients, layers, apply

    def step(self, batch: NDArray[Any], targets: NDArray[Any], number: int) -> float:
        """The loss of a batch, which the weights have learned from."""
        loss, found, finite = self._gradients(batch, targets)
        good = np.asarray(finite)
        if not good.all():
            owners = [getattr(variable, "path", variable.name).split("/")[0] for variable in self.variables]
            where = [*self.names, "the loss", *(f"the gradient of {owner}" for owner in owners)]
            good = np.concatenate([np.asarray(self._layers(batch)), good])
            raise TrainingError(
                "Training stopped",
                Problem(
                    "values that are no numbers",
                    f"step {number}, layer {where[int(np.argmin(good))]}",
                    remedy="Check the samples for such values, or take a lower learning_rate",
                ),
            )
        self._apply(found)
        return float(loss)

    @property
    def state(self) -> list[NDArray[Any]]:
        """Variables of the optimizer."""
        variables = self.optimizer.variables
        return [
            np.asarray(v.numpy() if hasattr(v, "numpy") else v)
            for v in (variables() if callable(variables) else variables)
        ]

    @state.setter
    def state(self, values: list[NDArray[Any]]) -> None:
        variables = self.optimizer.variables
        for variable, value in zip(variables() if callable(variables) else variables, values, strict=True):
            variable.assign(value)


class _Kept:
    """The file that a run goes on from."""

    def __init__(
        self, path: Path | None, run: dict[str, Any], stepper: _Stepper, weights: QuantizedWeights | None
    ) -> None:
        self._path, self._run, self._stepper, self._weights = path, run, stepper, weights

    def save(self, history: tuple[Epoch, ...], best: list[NDArray[Any]]) -> None:
        """Write everything, whole or not at all."""
        if self._path is None:
            return
        arrays = {
            "model": self._stepper.model.get_weights(),
            "best": best,
            "optimizer": self._stepper.state,
            "exact": [] if self._weights is None else self._weights.state,
        }
        text = json.dumps({"run": self._run, "history": [asdict(epoch) for epoch in history]})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(self._path.name + ".part")
        with part.open("wb") as file:
            named = {f"{name}{i:05d}": v for name, values in arrays.items() for i, v in enumerate(values)}
            np.savez(file, text=np.array(text), **named)
        os.replace(part, self._path)

    def restore(self) -> tuple[tuple[Epoch, ...], list[NDArray[Any]]]:
        """History and best weights so far; the rest goes where it belongs."""
        if self._path is None or not self._path.exists():
            return (), self._stepper.model.get_weights()
        try:
            arrays = read_numpy(self._path)
            about = json.loads(str(arrays.pop("text")))
            run, history = dict(about["run"]), tuple(Epoch(**epoch) for epoch in about["history"])
        except (DataError, KeyError, TypeError, ValueError) as error:
            remedy = "Remove the file, or name one that is not there: the run begins anew then"
            raise InputError.single(
                "not a checkpoint", str(self._path), f"{type(error).__name__}: {error}", remedy=remedy
            ) from error
        if run != self._run:
            names = {**run, **self._run}
            changed = [name for name in names if run.get(name) != self._run.get(name)]
            raise InputError.single(
                "a checkpoint of another run",
                str(self._path),
                ", ".join(f"{name} {run.get(name)}" for name in changed),
                ", ".join(f"{name} {self._run.get(name)}" for name in changed),
                "Remove the file, or give the arguments that it was written with",
            )

        def of(kind: str) -> list[NDArray[Any]]:
            return [arrays[name] for name in sorted(arrays) if name[:-5] == kind]

        self._stepper.model.set_weights(of("model"))
        self._stepper.state = of("optimizer")
        if self._weights is not None:
            self._weights.state = of("exact")
        return history, of("best")
