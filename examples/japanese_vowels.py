"""Tell nine speakers apart by sequences of 7 to 29 frames, with five trained networks, on the emulated chip.

    python examples/japanese_vowels.py aeon-1.6.0-py3-none-any.whl [--seeds 5] [--epochs 120] [--choose]

The data lie in the PyPI package aeon (`pip download --no-deps aeon`). `--choose` compares networks in cross-validation.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.lmu_layers import legendre_memory

tf = import_tensorflow()
MOST, STEPS = 29, (1, 2, 5)  # frames of a sequence, and steps of a frame
NETWORKS = {  # order and length of the memory, and the last part of a sequence that is read
    "no memory, mean": (0, 0, 1.0),
    "memory of order 4 over 10 frames, last half": (4, 10, 0.5),
    "memory of order 6 over 20 frames, mean": (6, 20, 1.0),
}
CHOSEN = list(NETWORKS)[2]  # by cross-validation
ROW = "{}, {} steps a frame: floats {:.2%}, chip {:.2%}, {:,.0f} events, {:,.0f} spikes, {:.2g} J, {:.2g} s"


def read(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n_frames, 12) and speakers, from a folder or from the wheel."""
    inside = zipfile.Path(source, "aeon/datasets/data/JapaneseVowels/") if source.is_file() else source
    text = (inside / f"JapaneseVowels_{part}.ts").read_text(encoding="utf-8")
    rows = [line.split(":") for line in text.partition("@data")[2].split()]
    sequences = np.empty(len(rows), object)
    sequences[:] = [np.array([dim.split(",") for dim in row[:-1]], np.float32).T for row in rows]
    return sequences, np.array([int(row[-1]) - 1 for row in rows])


def build(order: int, theta: int, sequences: np.ndarray) -> "tf.keras.Model":
    """The host keeps the linear memory of a Legendre memory unit, a causal convolution that is not trained."""
    layers, n = tf.keras.layers, sequences[0].shape[1]
    frames = seen = layers.Input((None, n), name="frames")
    if order:
        state, given = legendre_memory(order, theta, "zoh")
        response = np.array([np.linalg.matrix_power(state, k) @ given for k in range(MOST)])[::-1]
        kernel = np.einsum("ij,ko->kijo", np.eye(n), response).reshape(MOST, n, n * order)
        memory = layers.Conv1D(n * order, MOST, padding="causal", use_bias=False, trainable=False)
        seen = layers.Concatenate()([frames, memory(frames)])
        memory.set_weights([kernel])
        held = np.concatenate([memory(sequence[None]).numpy()[0] for sequence in sequences])
        memory.set_weights([kernel / held.std(axis=0)])
    hidden = layers.Dense(100, activation="relu")(layers.GaussianNoise(0.3)(seen))
    hidden = layers.Dense(64, activation="relu")(layers.Dropout(0.2)(hidden))
    return tf.keras.Model(frames, layers.Dense(9)(layers.Dropout(0.2)(hidden)))


def train(how: tuple, x: np.ndarray, labels: np.ndarray, seed: int, epochs: int) -> "tf.keras.Model":
    """With the loss on the mean over what is read: targets of other frames are 0."""
    tf.keras.utils.set_random_seed(seed)
    padded, wanted = np.zeros((len(x), MOST, 12), np.float32), np.zeros((len(x), MOST, 9), np.float32)
    for k, sequence in enumerate(x):
        end, first = len(sequence), round((1 - how[2]) * len(sequence))
        padded[k, :end] = sequence
        wanted[k, first:end, labels[k]] = 1 / (end - first)

    def loss(wanted: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_sum(tf.reduce_sum(wanted, 2, keepdims=True) * values, 1)
        return tf.keras.losses.categorical_crossentropy(tf.reduce_sum(wanted, 1), mean, from_logits=True)

    model = build(*how[:2], x)
    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(x) // 32))
    model.compile(tf.keras.optimizers.AdamW(rate, weight_decay=1e-4), loss)
    model.fit(padded, wanted, batch_size=32, epochs=epochs, verbose=0)
    return model


def scores(network: str, model: "tf.keras.Model", x: np.ndarray, test_x: np.ndarray, y: np.ndarray) -> list:
    """Accuracy in floats and on the chip, and what a sequence costs, at each of `STEPS`."""
    rows, x, test_x = [], list(x), list(test_x)
    window = {"readout": "window", "readout_window": NETWORKS[network][2]}
    for steps in STEPS:
        options = ld.DeployOptions(encoder="first_layer", steps_per_frame=steps, **window)
        deployment = ld.deploy(model, calibration=x, options=options)
        ideal, found = deployment.rate_accuracy(test_x, y), deployment.evaluate(test_x, y)
        energy = deployment.energy(test_x)
        counts = np.sum([(c.synaptic_events, c.spikes) for c in found.counters.populations.values()], axis=0)
        rows.append((ideal, found.accuracy, *counts / len(y), energy.total.value, energy.seconds.value))
    return rows


def show(title: str, found: list) -> None:
    """Means over trainings."""
    for steps, values in zip(STEPS, np.mean(found, axis=0), strict=True):
        print(ROW.format(title, steps, *values), flush=True)


def main() -> None:
    """Compare networks on the training set if asked to, then train on all of it and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the wheel of aeon, or a folder with the two .ts files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    (x, y), (test_x, test_y) = read(args.data, "TRAIN"), read(args.data, "TEST")
    frames = np.concatenate(x)
    for part in (x, test_x):
        part[:] = [(sequence - frames.mean(axis=0)) / frames.std(axis=0) for sequence in part]
    for network in NETWORKS if args.choose else ():
        folds = [np.arange(len(x)) % 3 == k for k in range(3)]
        made = [train(NETWORKS[network], x[~out], y[~out], k, args.epochs) for k, out in enumerate(folds)]
        parts = zip(made, folds, strict=True)
        show(f"Cross-validation, {network}", [scores(network, m, x[~k], x[k], y[k]) for m, k in parts])
    made = [train(NETWORKS[CHOSEN], x, y, seed, args.epochs) for seed in range(args.seeds)]
    show(f"Test, {CHOSEN}", [scores(CHOSEN, model, x, test_x, test_y) for model in made])


if __name__ == "__main__":
    main()
