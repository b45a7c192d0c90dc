"""Read digits row by row: the host keeps a Legendre memory of each column, and the chip tells the digit.

    python examples/sequential_mnist.py --data mnist/ [--seeds 5] [--epochs 10]

The chip is shown the last 8 rows, from rest, with what the host remembers of all rows before; or a stream of all 28,
read at the last 8. `--data` is a folder with the four IDX files.
"""

import argparse
from collections.abc import Callable

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.lmu_layers import legendre_memory
from loihi_deploy.training import moved_images

tf = import_tensorflow()
ORDER, ROWS, READ, BATCH = 12, 28, 8, 256
LAST = np.arange(ROWS - READ, ROWS)
PRESENTATIONS = {  # rows that are shown, and steps of each
    "the last 8 rows, 2 steps": (READ, 2),
    "the last 8 rows, 5 steps": (READ, 5),
    "all rows in a stream, 2 steps": (ROWS, 2),
}
ROW = (
    "{}, {:.0f} in all: floats {:.2%}, chip {:.2%}, an image {:,.0f} spikes, {:,.0f} synaptic events "
    "({:,.0f} a row), {:.0f} µJ, {:.2f} ms"
)


def remembered(images: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Some rows with what the memory of each column holds at them, (n, len(at), 28 + 28 * ORDER)."""
    state, given = legendre_memory(ORDER, float(ROWS), "zoh")
    response = np.array([np.linalg.matrix_power(state, k) @ given for k in range(ROWS)])
    ago = at - np.arange(ROWS)[:, None]  # of each row, at those
    kernel = np.where(ago[:, :, None] >= 0, response[ago], 0).astype(np.float32)
    held = np.tensordot(images, kernel, axes=(1, 0))  # (n, columns, at, ORDER)
    return np.concatenate(
        [images[:, at], held.transpose(0, 2, 1, 3).reshape(len(images), len(at), -1)], axis=2
    )


def train(x: np.ndarray, y: np.ndarray, seen: Callable, seed: int, epochs: int) -> "tf.keras.Model":
    """Two rows of the last 8, drawn anew for each batch, stand for all of them: the loss is on their mean."""
    tf.keras.utils.set_random_seed(seed)
    layers, rng, move = tf.keras.layers, np.random.default_rng(seed), moved_images(1)
    rows = layers.Input((None, ROWS * (ORDER + 1)), name="rows")
    hidden = layers.Dense(512, "relu")(layers.GaussianNoise(0.1)(rows))
    hidden = layers.Dense(256, "relu")(layers.Dropout(0.2)(hidden))
    model = tf.keras.Model(rows, layers.Dense(10)(layers.Dropout(0.2)(hidden)))
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(x) // BATCH))
    adam, learning = tf.keras.optimizers.AdamW(rate, weight_decay=1e-4), model.trainable_variables
    adam.build(learning)
    cross_entropy = tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05)

    @tf.function(reduce_retracing=True)
    def step(shown: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(model(shown, training=True), axis=1)
            loss = cross_entropy(tf.one_hot(labels, 10), mean)
        adam.apply_gradients(zip(tape.gradient(loss, learning), learning, strict=True))

    for _ in range(epochs):
        for which in np.array_split(rng.permutation(len(x)), -(-len(x) // BATCH)):
            step(seen(move(x[which], rng), rng.permutation(LAST)[:2]), y[which])
    return model


def main() -> None:
    """Train each network, present its rows in each way, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("--seeds", 5), ("--epochs", 10)):
        parser.add_argument(name, type=int, default=usual)
    parser.add_argument("--data", required=True, help="folder with IDX files")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data)
    some = remembered(data.x_train[:2000, :, :, 0], np.arange(ROWS))
    mean, scale = some.mean(axis=(0, 1)), some.std(axis=(0, 1)) + 0.02

    def seen(images: np.ndarray, at: np.ndarray) -> np.ndarray:
        return ((remembered(images[..., 0], at) - mean) / scale).astype(np.float32)

    calibration, test_x = (seen(part, np.arange(ROWS)) for part in (data.x_train[:500], data.x_test))
    found: dict[str, list] = {name: [] for name in PRESENTATIONS}
    for seed in range(args.seeds):
        model = train(data.x_train, data.y_train, seen, seed, args.epochs)
        ideal = np.mean(model(test_x[:, LAST]).numpy().mean(axis=1).argmax(axis=1) == data.y_test)
        for name, (shown, steps) in PRESENTATIONS.items():
            reading = {"steps_per_frame": steps, "readout": "window", "readout_window": READ / shown}
            rates = {"target_rate": 1000, "synapse": 0.001, "bias_correction_steps": 0}
            options = ld.DeployOptions(encoder="first_layer", **reading, **rates)
            deployment = ld.deploy(model, calibration=calibration[:, -shown:], options=options)
            rows = test_x[:, -shown:]
            result, energy = deployment.evaluate(rows, data.y_test), deployment.energy(rows[:200])
            counts = [(c.spikes, c.synaptic_events) for c in result.counters.populations.values()]
            spikes, events = np.sum(counts, axis=0) / len(rows)
            cost = (1e6 * energy.total.value, 1e3 * energy.seconds.value)
            found[name].append((energy.steps, ideal, result.accuracy, spikes, events, events / shown, *cost))
            print(f"Seed {seed}, {ROW.format(name, *found[name][-1])}", flush=True)
    for name, means in found.items():
        print(ROW.format(f"Mean, {name}", *np.mean(means, axis=0)))


if __name__ == "__main__":
    main()
