"""Training through the chip's integers: every step computed as the chip does, with derivatives that stand in.

The forward pass is that of `loihi_deploy.engines.chip.plain`, spike for spike. Backwards, rounding and truncation count
as if they did nothing, and a spike has the derivative of a fast sigmoid of the voltage (Zenke & Ganguli 2018,
doi:10.1162/neco_a_01086). For a short presentation behind `fine_tune`; longer ones take time and memory for each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import Range, checked
from loihi_deploy.chip.fixed_point import bias_mantissa_exponent
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.engines.host.plain import encode
from loihi_deploy.engines.host.readout import window_steps
from loihi_deploy.errors import InputError, Problem, TrainingError
from loihi_deploy.ir import Conv2D, Dense, Samples, Transform, samples_for
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.options import Window
from loihi_deploy.stages.rounding import Levels


class SurrogateChip:
    """A program whose weights and biases on chip can learn; encoder and readout stay as they are.

    Parameters
    ----------
    program : Program
        Of matrices and convolutions, without noise, biases from the input, or refractory periods.
    steps : int
        Of a presentation.
    readout_window : float
        The last part of it that outputs are averaged over.
    slope : float
        Width of a spike's derivative, in thresholds.

    Raises
    ------
    InputError
        Listing everything in the program that this cannot compute.
    """

    @checked
    def __init__(
        self,
        program: Program,
        steps: Annotated[int, Range(1, 2**20)],
        readout_window: Window = 0.5,
        slope: Annotated[float, Range(1e-6, 1e6)] = 0.5,
    ) -> None:
        import tensorflow as tf

        problems = list(_problems(program))
        if problems:
            raise InputError("The program cannot be trained in integers", problems)
        self._tf, self._source, self._steps, self._slope = tf, program, steps, slope
        self._weights = [
            tf.Variable(s.transform.values.astype(np.float64), name=s.name) for s in program.synapses
        ]
        self._biases = [tf.Variable(p.bias.astype(np.float64), name=p.name) for p in program.populations]
        length = window_steps(steps, readout_window)
        self._window = np.r_[np.zeros(steps - length), np.full(length, 1 / length)]

    @property
    def variables(self) -> list[Any]:
        """What learns: weights in mantissas, biases in integers, between which they move."""
        return [*self._weights, *self._biases]

    @property
    def program(self) -> Program:
        """The program with what was learned."""
        source = self._source
        weights = [self._rounded(index).numpy().astype(np.int8) for index in range(len(self._weights))]
        biases = [self._bias(index).numpy().astype(np.int32) for index in range(len(self._biases))]
        return replace(
            source,
            synapses=tuple(
                replace(s, transform=s.transform.with_values(values))
                for s, values in zip(source.synapses, weights, strict=True)
            ),
            populations=tuple(
                replace(p, bias=bias) for p, bias in zip(source.populations, biases, strict=True)
            ),
        )

    def spikes(self, x: Any) -> dict[str, NDArray[np.bool_]]:
        """Spikes on chip, (n, steps, size) by population, for samples as for `Deployment.run`."""
        trains, _ = self._simulate(self._encoded(samples_for(self._source.encoder, x)))
        return {name: np.stack([s.numpy() > 0 for s in train], axis=1) for name, train in trains.items()}

    def logits(self, x: Any) -> Any:
        """The first readout's values, (n, size), as a tensor that can be derived by `variables`."""
        return self._simulate(self._encoded(samples_for(self._source.encoder, x)))[1]

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 1,
        batch_size: int = 64,
        learning_rate: float = 0.3,
        seed: int = 0,
    ) -> list[float]:
        """Learn classes; gives the mean loss of each epoch.

        Parameters
        ----------
        x : array or mapping of arrays
        y : (n,) int array or one-hot rows
        epochs, batch_size : int
        learning_rate : float
            Of Adam, in levels of a stored weight, and in 127th of the largest bias.
        seed : int
            Of the order of samples.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        TrainingError
            At a loss that is not a number.
        """
        tf = self._tf
        samples = samples_for(self._source.encoder, x)
        labels = checked_labels(y, len(samples), self._source.readout.readouts[0])
        spikes = self._encoded(samples)
        rng = np.random.default_rng(seed)
        adam = tf.keras.optimizers.Adam(learning_rate)
        sizes = [
            *(float(self._unit(index)) for index in range(len(self._weights))),
            *(max(1.0, float(np.abs(bias.numpy()).max()) / 127) for bias in self._biases),
        ]
        steps = [tf.Variable(tf.zeros_like(v)) for v in self.variables]  # in units of `sizes`
        adam.build(steps)
        means = []
        for _ in range(epochs):
            losses, order = [], rng.permutation(len(labels))
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                with tf.GradientTape() as tape:
                    values = self._simulate({name: train[rows] for name, train in spikes.items()})[1]
                    loss = tf.reduce_mean(
                        tf.nn.sparse_softmax_cross_entropy_with_logits(labels[rows], values)
                    )
                if not np.isfinite(loss.numpy()):
                    raise TrainingError("Training stopped", Problem("the loss is not a number", "fit"))
                found = tape.gradient(loss, self.variables)
                before = [step.numpy() for step in steps]
                adam.apply_gradients((g * size, s) for g, s, size in zip(found, steps, sizes, strict=True))
                for variable, step, old, size in zip(self.variables, steps, before, sizes, strict=True):
                    variable.assign_add(size * (step.numpy() - old))
                losses.append(float(loss))
            means.append(float(np.mean(losses)))
        return means

    def _encoded(self, samples: Samples) -> dict[str, NDArray[np.float64]]:
        """Spikes of the host when they arrive, (n, steps, size)."""
        spikes, _, _ = encode(self._source.encoder, samples.arrays, self._steps)
        delays = arrival_delays(self._source)
        return {
            name: np.pad(train, ((0, 0), (delays[name], 0), (0, 0)))[:, : self._steps].astype(np.float64)
            for name, train in spikes.items()
        }

    def _simulate(self, arriving: dict[str, NDArray[np.float64]]) -> tuple[dict[str, list[Any]], Any]:
        tf, program = self._tf, self._source
        arithmetic = program.arithmetic
        n = len(next(iter(arriving.values())))
        zeros = {p.name: tf.zeros((n, p.size), tf.float64) for p in program.populations}
        start = {p.name: 0.0 if p.initial_voltage is None else p.initial_voltage for p in program.populations}
        u, spiked = dict(zeros), dict(zeros)
        v = {name: zero + np.asarray(start[name], np.float64) for name, zero in zeros.items()}
        weights = [self._rounded(index) for index in range(len(self._weights))]
        trains: dict[str, list[Any]] = {p.name: [] for p in program.populations}
        for t in range(self._steps):
            now = {**spiked, **{name: tf.constant(train[:, t]) for name, train in arriving.items()}}
            for index, p in enumerate(program.populations):
                q = zeros[p.name]
                for s, values in zip(program.synapses, weights, strict=True):
                    if s.post == p.name:
                        q += _applied(tf, s.transform, values, now[s.pre]) * 2.0**s.shift
                u[p.name] = self._kept(u[p.name], arithmetic.current_factor(p.decay_u)) + q
                kept = self._kept(v[p.name], arithmetic.voltage_factor(p.decay_v))
                voltage = tf.clip_by_value(
                    kept + u[p.name] + self._bias(index), float(p.v_min), float(p.v_max)
                )
                spikes = self._spike(voltage, p)
                v[p.name] = voltage * (1 - tf.stop_gradient(spikes))
                trains[p.name].append(spikes)
            spiked = {name: train[-1] for name, train in trains.items()}
        return trains, self._decoded(trains, arriving)

    def _decoded(self, trains: dict[str, list[Any]], arriving: dict[str, Any]) -> Any:
        """The first readout: what filter and window make of spikes is a weighted sum of them."""
        tf, readout = self._tf, self._source.readout
        node = readout.readouts[0]
        delays = {link.population: link.delay for link in self._source.links if link.kind == "from_chip"}
        total = tf.constant(node.bias)[None]
        for projection in readout.into(node.name):
            a = float(np.exp(-readout.dt / projection.tau)) if projection.tau > 0 else 0.0
            delay = delays.get(projection.pre, 0)
            shares = [
                (1 - a) * sum(self._window[k] * a ** (k - t - delay) for k in range(t + delay, self._steps))
                for t in range(self._steps)
            ]
            summed = tf.add_n(
                [float(c) * train for c, train in zip(shares, trains[projection.pre], strict=True)]
            )
            values = tf.constant(projection.transform.values.astype(np.float64))
            total += _applied(tf, projection.transform, values, summed) / readout.dt
        return total

    def _rounded(self, index: int) -> Any:
        """Weights as the chip stores them."""
        exact, unit, tf = self._weights[index], self._unit(index), self._tf
        most = float(self._source.arithmetic.weight_limit // unit)
        levels = unit * tf.clip_by_value(tf.round(exact / unit), -most, most)
        return exact + tf.stop_gradient(levels - exact)

    def _unit(self, index: int) -> int:
        """What a level of a stored weight stands for among the chip's mantissas."""
        bits = self._source.synapses[index].weight_bits
        return 1 if bits is None else int(Levels(self._source.arithmetic.weight_limit, bits).unit)

    def _bias(self, index: int) -> Any:
        """Biases as the chip stores them."""
        exact = self._biases[index]
        most = self._source.arithmetic.bias_mantissa_max

        def stored(values: Any) -> Any:
            limits = self._source.arithmetic.bias_max
            mantissa, exponent = bias_mantissa_exponent(
                np.clip(np.round(values.numpy()), -limits, limits), most
            )
            return (mantissa << exponent).astype(np.float64)

        return exact + self._tf.stop_gradient(stored(exact) - exact)

    def _kept(self, x: Any, factor: int) -> Any:
        """One step of decay, truncated towards zero."""
        tf, share = self._tf, factor / 2**self._source.arithmetic.decay_bits
        exact = x * share
        return exact + tf.stop_gradient(tf.sign(x) * tf.floor(tf.abs(x) * share) - exact)

    def _spike(self, voltage: Any, p: Compartments) -> Any:
        tf, slope = self._tf, self._slope

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def spike(v: Any) -> tuple[Any, Any]:
            distance = tf.abs(v - p.threshold) / (slope * p.threshold)
            return tf.cast(v > p.threshold, v.dtype), lambda g: g / (p.threshold * tf.square(1 + distance))

        return spike(voltage)


def _applied(tf: Any, transform: Transform, values: Any, spikes: Any) -> Any:
    """What a transform with these values makes of a batch (n, in_size)."""
    if isinstance(transform, Dense):
        return tf.matmul(spikes, values, transpose_b=True)
    assert isinstance(transform, Conv2D)
    images = tf.reshape(spikes, (-1, *transform.in_shape))
    needed = [
        (transform.out_shape[axis] - 1) * transform.strides[axis] + transform.kernel.shape[axis]
        for axis in (0, 1)
    ]
    after = [needed[axis] - transform.in_shape[axis] - transform.padding[axis] for axis in (0, 1)]
    margins = [(0, 0), *((transform.padding[axis], max(after[axis], 0)) for axis in (0, 1)), (0, 0)]
    images = tf.pad(images, margins)[:, : needed[0], : needed[1]]
    made = tf.nn.conv2d(images, values, transform.strides, "VALID")
    return tf.reshape(made, (-1, transform.out_size))


def _problems(program: Program) -> Iterator[Problem]:
    yield from program.delay_problems("this training", readout=True)
    for p in program.populations:
        if p.noise is not None or p.refractory > 1:
            yield Problem("noise or a refractory period", p.name, remedy="Train it with rates")
    for bias_input in program.bias_inputs:
        yield Problem("takes its biases from the input", bias_input.population, remedy="Use another encoder")
    readout = program.readout
    named = [(s.name, s.transform) for s in program.synapses]
    named += [(p.name, p.transform) for p in readout.into(readout.readouts[0].name)]
    for name, transform in named:
        plain = isinstance(transform, Conv2D) and transform.groups == 1 and min(transform.padding) >= 0
        if not (plain or isinstance(transform, Dense)):
            yield Problem("neither a matrix nor a plain convolution", name, type(transform).__name__)
