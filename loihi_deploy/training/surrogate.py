"""Training through the chip's integers: every step computed as the chip does, with derivatives that stand in.

The forward pass is that of `loihi_deploy.engines.chip.plain`, spike for spike, recurrent synapses included. Backwards,
rounding and truncation count as if they did nothing, and a spike has the derivative of a fast sigmoid of the voltage
(Zenke & Ganguli 2018, doi:10.1162/neco_a_01086). For short presentations behind `fine_tune`, for sequences at few steps
a frame, and for recurrent layers, which no rate network trains; time and memory grow with the steps.

Integers are kept in float32, which holds those of 24 bits: the first Loihi's are, and its larger sums are multiples
of 2^6. Chips with wider ones are computed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.latency import answer_delay
from loihi_deploy.checked import Range, checked
from loihi_deploy.chip.fixed_point import bias_mantissa_exponent
from loihi_deploy.errors import InputError, Problem, TrainingError
from loihi_deploy.ir import Conv2D, Dense, Samples, Transform, samples_for
from loihi_deploy.ir.labels import checked_labels
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.options import Window
from loihi_deploy.stages.rounding import Levels
from loihi_deploy.training.presented import Presented, presented

FINEST_BIAS = 2.0**-10
"""Of a threshold: what a bias is moved by in a step at a learning rate of 1, or more where biases are large."""
FLOAT32_BITS, FLOAT32_DECAY_BITS = 23, 12
"""Bits, without sign, of currents that float32 holds, and of decays that they are multiplied with in two parts."""


class SurrogateChip:
    """A program whose weights and biases on chip can learn, and whose readout can; the encoder stays as it is.

    Parameters
    ----------
    program : Program
        Of matrices and convolutions, recurrent ones too, without noise, biases from the input, or refractory periods.
    steps : int
        Of a presentation; of sequences those of each frame.
    readout_window : float or None
        The last part of it that outputs are averaged over; None is the last frame.
    slope : float
        Width of a spike's derivative, in thresholds.
    flush : int, optional
        Steps that the last frame of a sequence is held longer, and that all is read later; the network's latency if not
        given.

    Attributes
    ----------
    flush : int

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
        readout_window: Window | None = 0.5,
        slope: Annotated[float, Range(1e-6, 1e6)] = 0.5,
        flush: Annotated[int, Range(0, 10_000)] | None = None,
    ) -> None:
        import tensorflow as tf

        problems = list(_problems(program))
        if problems:
            raise InputError("The program cannot be trained in integers", problems)
        self._tf, self._source, self._steps, self._slope = tf, program, steps, slope
        self._window = readout_window
        self.flush = answer_delay(program) if flush is None else flush
        node = program.readout.readouts[0]
        self._decoders = program.readout.into(node.name)
        weights = [s.transform.values for s in program.synapses]
        biases = [p.bias for p in program.populations]
        decoders = [p.transform.values for p in self._decoders]
        sizes = [
            *(float(self._unit(index)) for index in range(len(weights))),
            *(max(_level(p.bias), FINEST_BIAS * p.threshold) for p in program.populations),
            *map(_level, (*decoders, node.bias)),
        ]
        self._sizes = [2.0 ** float(np.floor(np.log2(size))) for size in sizes]
        arithmetic = program.arithmetic
        narrow = arithmetic.current_bits <= FLOAT32_BITS and arithmetic.decay_bits <= FLOAT32_DECAY_BITS
        self._dtype = tf.float32 if narrow else tf.float64
        dtypes = [self._dtype] * (len(weights) + len(biases)) + [tf.float64] * (len(decoders) + 1)
        self._variables = [
            tf.Variable(values.astype(np.float64) / size, dtype=dtype)
            for values, size, dtype in zip(
                (*weights, *biases, *decoders, node.bias), self._sizes, dtypes, strict=True
            )
        ]
        self._adam = tf.keras.optimizers.Adam()
        self._adam.build(self._variables)
        self._trains = tf.function(self._simulated, reduce_retracing=True)
        self._step = tf.function(self._learned, reduce_retracing=True)

    @property
    def variables(self) -> list[Any]:
        """What learns: weights, biases, decoders and the readout's biases, each by a power of two near a level."""
        return list(self._variables)

    @property
    def program(self) -> Program:
        """The program with what was learned."""
        source, readout = self._source, self._source.readout
        node = readout.readouts[0]
        weights = [self._rounded(index).numpy().astype(np.int8) for index in range(len(source.synapses))]
        biases = [self._bias(index).numpy().astype(np.int32) for index in range(len(source.populations))]
        *decoders, offsets = (values.numpy() for values in self._decoding())
        left = iter(decoders)
        return replace(
            source,
            synapses=tuple(
                replace(s, transform=s.transform.with_values(values))
                for s, values in zip(source.synapses, weights, strict=True)
            ),
            populations=tuple(
                replace(p, bias=bias) for p, bias in zip(source.populations, biases, strict=True)
            ),
            readout=replace(
                readout,
                readouts=(replace(node, bias=offsets), *readout.readouts[1:]),
                projections=tuple(
                    replace(p, transform=p.transform.with_values(next(left))) if p.post == node.name else p
                    for p in readout.projections
                ),
            ),
        )

    def spikes(self, x: Any) -> dict[str, NDArray[np.bool_]]:
        """Spikes on chip, (n, steps, size) by population, for samples as for `Deployment.run`."""
        trains = self._trains(self._presented(samples_for(self._source.encoder, x)).spikes)
        return {name: np.moveaxis(train.numpy() > 0, 0, 1) for name, train in trains.items()}

    def logits(self, x: Any) -> Any:
        """The first readout's values, (n, size), as a tensor that can be derived by `variables`."""
        shown = self._presented(samples_for(self._source.encoder, x))
        return self._decoded(self._trains(shown.spikes), shown.shares)

    @checked
    def fit(
        self,
        x: Any,
        y: Any,
        epochs: Annotated[int, Range(1, 2**31)] = 1,
        batch_size: Annotated[int, Range(1, 2**31)] = 64,
        learning_rate: Annotated[float, Range(0.0, 1e6)] = 0.3,
        seed: Annotated[int, Range(0, 2**31)] = 0,
    ) -> list[float]:
        """Learn classes; gives the mean loss of each epoch.

        Called again, with samples that were changed or at another rate, it goes on where it was.

        Parameters
        ----------
        x : array, mapping of arrays, or sequences
        y : (n,) int array or one-hot rows
        epochs, batch_size : int
        learning_rate : float
            Of Adam, in levels of a stored weight, and in 127th of the largest bias and of the largest decoder.
        seed : int
            Of the order of samples.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        TrainingError
            At a loss that is not a number.
        """
        samples = samples_for(self._source.encoder, x)
        labels = checked_labels(y, len(samples), self._source.readout.readouts[0])
        shown = self._presented(samples)
        rng = np.random.default_rng(seed)
        self._adam.learning_rate = learning_rate
        means = []
        for _ in range(epochs):
            losses, order = [], rng.permutation(len(labels))
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                spikes = {name: train[rows] for name, train in shown.spikes.items()}
                loss = float(self._step(spikes, tuple(share[rows] for share in shown.shares), labels[rows]))
                if not np.isfinite(loss):
                    raise TrainingError("Training stopped", Problem("the loss is not a number", "fit"))
                losses.append(loss)
            means.append(float(np.mean(losses)))
        return means

    def _learned(self, spikes: Mapping[str, Any], shares: tuple[Any, ...], labels: Any) -> Any:
        """The loss of a batch, from which everything has learned."""
        tf = self._tf
        with tf.GradientTape() as tape:
            values = self._decoded(self._simulated(spikes), shares)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, values))
        found = tape.gradient(loss, self._variables, unconnected_gradients="zero")
        self._adam.apply_gradients(zip(found, self._variables, strict=True))
        return loss

    def _presented(self, samples: Samples) -> Presented:
        return presented(self._source, samples, self._steps, self._window, self.flush)

    def _simulated(self, arriving: Mapping[str, Any]) -> dict[str, Any]:
        """Spikes on chip, (steps, n, size), of those that arrive, (n, steps, size) bool."""
        tf, program = self._tf, self._source
        arithmetic = program.arithmetic
        n = tf.shape(next(iter(arriving.values())))[0]
        zeros = {p.name: tf.zeros((n, p.size), self._dtype) for p in program.populations}
        start = {p.name: 0.0 if p.initial_voltage is None else p.initial_voltage for p in program.populations}
        v_start = {name: zero + tf.constant(start[name], self._dtype) for name, zero in zeros.items()}
        weights = [self._rounded(index) for index in range(len(program.synapses))]
        biases = [self._bias(index) for index in range(len(program.populations))]

        def step(state: Any, now: Mapping[str, Any]) -> Any:
            u, v, spiked = state
            arrived = {**spiked, **now}
            new_u, new_v, spikes = {}, {}, {}
            for bias, p in zip(biases, program.populations, strict=True):
                q = zeros[p.name]
                for s, values in zip(program.synapses, weights, strict=True):
                    if s.post == p.name:
                        q += _applied(tf, s.transform, values, arrived[s.pre]) * 2.0**s.shift
                q = self._wrapped(q, arithmetic.accumulator_bits)
                kept = self._kept(u[p.name], arithmetic.current_factor(p.decay_u))
                new_u[p.name] = self._wrapped(kept + q, arithmetic.current_bits)
                u2 = self._wrapped(new_u[p.name] + bias, arithmetic.current_bits)
                kept = self._kept(v[p.name], arithmetic.voltage_factor(p.decay_v))
                voltage = tf.clip_by_value(kept + u2, float(p.v_min), float(p.v_max))
                spikes[p.name] = self._spike(voltage, p)
                new_v[p.name] = voltage * (1 - tf.stop_gradient(spikes[p.name]))
            return new_u, new_v, spikes

        lines = {
            name: tf.transpose(tf.cast(train, self._dtype), (1, 0, 2)) for name, train in arriving.items()
        }
        _, _, trains = tf.scan(step, lines, (dict(zeros), v_start, dict(zeros)))
        return dict(trains)

    def _decoded(self, trains: Mapping[str, Any], shares: tuple[Any, ...]) -> Any:
        """The first readout: what filter and window make of spikes is a weighted sum of them."""
        tf = self._tf
        *decoders, total = self._decoding()
        for projection, values, share in zip(self._decoders, decoders, shares, strict=True):
            spikes = tf.cast(trains[projection.pre], tf.float64)
            summed = tf.einsum("nt,tns->ns", tf.convert_to_tensor(share), spikes)
            total += _applied(tf, projection.transform, values, summed)
        return total

    def _decoding(self) -> list[Any]:
        """Values of the projections into the first readout, and its biases."""
        first = len(self._source.synapses) + len(self._source.populations)
        return [v * s for v, s in zip(self._variables[first:], self._sizes[first:], strict=True)]

    def _rounded(self, index: int) -> Any:
        """Weights as the chip stores them."""
        tf, unit = self._tf, self._unit(index)
        most = float(self._source.arithmetic.weight_limit // unit)
        exact = self._variables[index] * (self._sizes[index] / unit)
        return unit * (exact + tf.stop_gradient(tf.clip_by_value(tf.round(exact), -most, most) - exact))

    def _unit(self, index: int) -> int:
        """What a level of a stored weight stands for among the chip's mantissas."""
        bits = self._source.synapses[index].weight_bits
        return 1 if bits is None else int(Levels(self._source.arithmetic.weight_limit, bits).unit)

    def _bias(self, index: int) -> Any:
        """Biases as the chip stores them."""
        tf, arithmetic, place = self._tf, self._source.arithmetic, len(self._source.synapses) + index
        exact = self._variables[place] * self._sizes[place]

        def stored(values: Any) -> Any:
            limits = arithmetic.bias_max
            mantissa, exponent = bias_mantissa_exponent(
                np.clip(np.round(values), -limits, limits), arithmetic.bias_mantissa_max
            )
            return (mantissa << exponent).astype(values.dtype)

        found = tf.ensure_shape(tf.numpy_function(stored, [exact], exact.dtype), exact.shape)
        return exact + tf.stop_gradient(found - exact)

    def _kept(self, x: Any, factor: int) -> Any:
        """One step of decay, truncated towards zero; in two parts, as float32 holds no product of 36 bits."""
        tf, bits = self._tf, self._source.arithmetic.decay_bits
        if factor == 1 << bits:
            return x
        full = float(1 << bits)
        size = tf.abs(x)
        high = tf.floor(size / full)
        kept = high * factor + tf.floor((size - high * full) * factor / full)
        exact = x * (factor / full)
        return exact + tf.stop_gradient(tf.sign(x) * kept - exact)

    def _wrapped(self, x: Any, bits: int) -> Any:
        """Two's complement of `bits` bits and sign."""
        tf, half = self._tf, float(1 << bits)
        return x - tf.stop_gradient(2 * half * tf.floor((x + half) / (2 * half)))

    def _spike(self, voltage: Any, p: Compartments) -> Any:
        tf, slope = self._tf, self._slope

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def spike(v: Any) -> tuple[Any, Any]:
            distance = tf.abs(v - p.threshold) / (slope * p.threshold)
            return tf.cast(v > p.threshold, v.dtype), lambda g: g / (p.threshold * tf.square(1 + distance))

        return spike(voltage)


def _level(values: NDArray[Any]) -> float:
    """The 127th part of the largest magnitude of some values, or of 1 where all are 0."""
    return (float(np.abs(values).max(initial=0.0)) or 1.0) / 127


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
    if program.host_limit is not None:
        yield Problem(
            "the host holds spikes back",
            "max_host_spikes",
            program.host_limit.spikes,
            remedy="Train it without that limit",
        )
    readout = program.readout
    sources = {source.name for source in program.sources}
    for projection in readout.into(readout.readouts[0].name):
        if projection.pre in sources:
            yield Problem("decodes spikes of the host", projection.name, remedy="Train it with rates")
    named = [(s.name, s.transform) for s in program.synapses]
    named += [(p.name, p.transform) for p in readout.into(readout.readouts[0].name)]
    for name, transform in named:
        plain = isinstance(transform, Conv2D) and transform.groups == 1 and min(transform.padding) >= 0
        if not (plain or isinstance(transform, Dense)):
            yield Problem("neither a matrix nor a plain convolution", name, type(transform).__name__)
