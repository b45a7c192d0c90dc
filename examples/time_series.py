"""Tell motions apart, one frame in each step of the chip: one definition of a network for two data sets.

    python examples/time_series.py aeon-1.6.0-py3-none-any.whl [--seeds 5] [--epochs 300] [--choose]

BasicMotions (six values a frame) and GunPoint (one) lie in the PyPI package aeon (`pip download --no-deps aeon`).
`--choose` compares definitions in cross-validation on both training sets.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.lmu_layers import legendre_memory

tf = import_tensorflow()
DEFINITIONS = {  # order of the memory, the part of a sequence that it spans, the last part that is read
    "order 6 over a fifth, mean": (6, 0.2, 1.0),
    "order 6 over a fifth, last half": (6, 0.2, 0.5),
    "order 8 over half, last half": (8, 0.5, 0.5),
    "order 12 over all, last third": (12, 1.0, 0.33),
}
CHOSEN = next(iter(DEFINITIONS))  # by cross-validation
ROW = (
    "{}: floats {:.2%}, chip {:.2%}, {:,.0f} spikes, {:,.0f} synaptic events ({:.0f} a frame), {:.0f} µJ, {:.2f} ms; "
    "worst {:.2%}"
)


def read(source: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, n_frames, values) and their classes' names, from a folder or from the wheel."""
    inside = zipfile.Path(source, f"aeon/datasets/data/{name}/") if source.is_file() else source
    text = (inside / f"{name}_{part}.ts").read_text(encoding="utf-8")
    rows = [line.split(":") for line in text.partition("@data")[2].split()]
    values = np.array([[dim.split(",") for dim in row[:-1]] for row in rows], np.float32)
    return values.transpose(0, 2, 1), np.array([row[-1] for row in rows])


def remembering(order: int, part: float, x: np.ndarray) -> "tf.keras.Model":
    """The frame and the linear memory of a Legendre memory unit, on the host: a causal convolution."""
    (n_frames, n), layers = x.shape[1:], tf.keras.layers
    state, given = legendre_memory(order, part * n_frames, "zoh")
    response = np.array([np.linalg.matrix_power(state, k) @ given for k in range(n_frames)])[::-1]
    kernel = np.einsum("ij,ko->kijo", np.eye(n), response).reshape(n_frames, n, n * order)
    memory = layers.Conv1D(n * order, n_frames, padding="causal", use_bias=False, trainable=False)
    model = tf.keras.Model(frames := layers.Input((None, n)), layers.Concatenate()([frames, memory(frames)]))
    memory.set_weights([kernel])
    memory.set_weights([kernel / memory(x).numpy().std(axis=(0, 1))])
    return model


def train(how: tuple, x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> "tf.keras.Model":
    """With the loss on the mean over the frames that are read; what the host remembers is computed once."""
    tf.keras.utils.set_random_seed(seed)
    layers, memory, first = tf.keras.layers, remembering(*how[:2], x), round((1 - how[2]) * x.shape[1])
    seen = layers.Input((None, memory.output_shape[-1]))
    hidden = layers.Dense(100, activation="relu")(layers.GaussianNoise(0.1)(seen))
    hidden = layers.Dense(64, activation="relu")(layers.Dropout(0.2)(hidden))
    head = tf.keras.Model(seen, layers.Dense(int(y.max()) + 1)(layers.Dropout(0.2)(hidden)))
    rate, learning = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs), head.trainable_variables
    adam, held = tf.keras.optimizers.AdamW(rate, weight_decay=1e-4), memory(x)[:, first:]
    adam.build(learning)

    @tf.function
    def run() -> None:
        for _ in tf.range(epochs):
            with tf.GradientTape() as tape:
                mean = tf.reduce_mean(head(held, training=True), axis=1)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, mean))
            adam.apply_gradients(zip(tape.gradient(loss, learning), learning, strict=True))

    run()
    return tf.keras.Model(memory.input, head(memory.output))


def score(how: tuple, model: "tf.keras.Model", x: np.ndarray, test_x: np.ndarray, y: np.ndarray) -> tuple:
    """Accuracy in floats and on the chip, and what a sequence costs, at one step for each frame."""
    reading = {"steps_per_frame": 1, "readout": "window", "readout_window": how[2]}
    options = ld.DeployOptions(encoder="first_layer", **reading)
    deployment = ld.deploy(model, calibration=x, options=options)
    found, ideal = deployment.evaluate(test_x, y, energy=True), deployment.rate_accuracy(test_x, y)
    counts = [(c.spikes, c.synaptic_events) for c in found.counters.populations.values()]
    spikes, events = np.sum(counts, axis=0) / len(y)
    cost = (1e6 * found.energy.total.value, 1e3 * found.energy.seconds.value)
    return ideal, found.accuracy, spikes, events, events / x.shape[1], *cost


def show(title: str, found: list) -> None:
    """Means over trainings, and the worst of them on the chip."""
    print(ROW.format(title, *np.mean(found, axis=0), np.min(found, axis=0)[1]), flush=True)


def main() -> None:
    """Compare definitions on the training sets if asked to, then train on all of them and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the wheel of aeon, or a folder with the four .ts files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    for name in ("BasicMotions", "GunPoint"):
        (x, names), (test_x, test_names) = (read(args.data, name, part) for part in ("TRAIN", "TEST"))
        classes, y = np.unique(names, return_inverse=True)
        x, test_x = ((part - x.mean(axis=(0, 1))) / x.std(axis=(0, 1)) for part in (x, test_x))
        for title, how in DEFINITIONS.items() if args.choose else ():
            folds = [np.arange(len(x)) % 5 == k for k in range(5)]
            made = [train(how, x[~out], y[~out], k, args.epochs) for k, out in enumerate(folds)]
            found = [score(how, m, x[~out], x[out], y[out]) for m, out in zip(made, folds, strict=True)]
            show(f"{name}, cross-validation, {title}", found)
        how, test_y = DEFINITIONS[CHOSEN], np.searchsorted(classes, test_names)
        made = [train(how, x, y, seed, args.epochs) for seed in range(args.seeds)]
        show(f"{name}, test, {CHOSEN}", [score(how, model, x, test_x, test_y) for model in made])


if __name__ == "__main__":
    main()
