"""Read digits row by row: the host keeps a Legendre memory of each column, and the chip tells the digit.

    python examples/sequential_mnist.py --data mnist/ [--seeds 5] [--epochs 15] [--limit 10000] [--validation]

`--data` is a folder with the four IDX files. One training serves two presentations: only the last 8 rows are shown to
the chip, from rest, with what the host remembers of all rows before; or a stream of all 28, read at the last 8.
With `--validation` the last 5,000 training images, on which nothing is trained, stand for the test images.
"""

import argparse
from collections.abc import Callable

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.keras_time import legendre_memory
from loihi_deploy.training import moved_images

tf = import_tensorflow()
ORDER, ROWS, READ, VALIDATION = 12, 28, 8, 5000
PRESENTATIONS = {  # rows that are shown, and steps of each
    "the last 8 rows, 1 step": (READ, 1),
    "the last 8 rows, 2 steps": (READ, 2),
    "the last 8 rows, 5 steps": (READ, 5),
    "all rows in a stream, 2 steps": (ROWS, 2),
}
ROW = (
    "{}, {:.0f} in all: floats {:.2%}, chip {:.2%}, an image {:,.0f} spikes, {:,.0f} synaptic events "
    "({:,.0f} a row), {:.0f} µJ, {:.2f} ms"
)


def remembered(images: np.ndarray) -> np.ndarray:
    """Rows with what the memory of each column holds at them: (n, 28, 28 + 28 * ORDER), standardised by the caller."""
    state, given = legendre_memory(ORDER, float(ROWS), "zoh")
    response = [np.linalg.matrix_power(state, k) @ given for k in range(ROWS)]
    kernel = np.zeros((ROWS, ROWS, ORDER), np.float32)  # of a row, at a row, in the memory
    for at in range(ROWS):
        for row in range(at + 1):
            kernel[row, at] = response[at - row]
    held = np.tensordot(images, kernel, axes=(1, 0))  # (n, columns, at, ORDER)
    return np.concatenate([images, held.transpose(0, 2, 1, 3).reshape(len(images), ROWS, -1)], axis=2)


def train(data: ld.data.Dataset, seen: Callable, seed: int, epochs: int) -> "tf.keras.Model":
    """Three rows of the last 8, drawn anew for each batch, stand for all of them: the loss is on their mean."""
    tf.keras.utils.set_random_seed(seed)
    layers, rng, move = tf.keras.layers, np.random.default_rng(seed), moved_images(2)
    rows = layers.Input((None, ROWS * (ORDER + 1)), name="rows")
    hidden = layers.Dense(512, "relu", name="encoder")(layers.GaussianNoise(0.1)(rows))
    hidden = layers.Dense(256, "relu", name="hidden")(layers.Dropout(0.2)(hidden))
    model = tf.keras.Model(rows, layers.Dense(10, name="classes")(layers.Dropout(0.2)(hidden)))
    x, y = data.x_train[:-VALIDATION, :, :, 0], data.y_train[:-VALIDATION]
    batch = 128
    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(x) // batch))
    adam = tf.keras.optimizers.AdamW(rate, weight_decay=1e-4)
    learning = model.trainable_variables
    adam.build(learning)
    cross_entropy = tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05)

    @tf.function(reduce_retracing=True)
    def step(shown: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(model(shown, training=True), axis=1)
            loss = cross_entropy(tf.one_hot(labels, 10), mean)
        adam.apply_gradients(zip(tape.gradient(loss, learning), learning, strict=True))

    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch):
            which = order[start : start + batch]
            chosen = ROWS - 1 - rng.permutation(READ)[:3]
            step(seen(move(x[which, :, :, None], rng)[:, :, :, 0])[:, chosen], y[which])
    return model


def score(
    model: "tf.keras.Model", how: tuple, calibration: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple:
    """Accuracy in floats and on the chip, spikes, events, energy and time of an image."""
    shown, steps = how
    reading = {"steps_per_frame": steps, "readout": "window", "readout_window": READ / shown}
    options = ld.DeployOptions(
        encoder="first_layer", synapse=0.001, target_rate=1000, bias_correction_steps=0, **reading
    )
    calibration, x = calibration[:, -shown:], x[:, -shown:]
    deployment = ld.deploy(model, calibration=calibration, options=options)
    found = deployment.evaluate(x, y)
    energy = deployment.energy(x[:200])
    ideal = deployment.rate_accuracy(x, y)
    counts = [(c.spikes, c.synaptic_events) for c in found.counters.populations.values()]
    spikes, events = np.sum(counts, axis=0) / len(y)
    cost = (1e6 * energy.total.value, 1e3 * energy.seconds.value)
    return energy.steps, ideal, found.accuracy, spikes, events, events / shown, *cost


def main() -> None:
    """Train each network, present its rows in each way, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with IDX files")
    for name, usual in (("--seeds", 5), ("--epochs", 15), ("--limit", 10_000)):
        parser.add_argument(name, type=int, default=usual)
    parser.add_argument("--validation", action="store_true")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data)
    some = remembered(data.x_train[:2000, :, :, 0])
    mean, scale = some.mean(axis=(0, 1)), some.std(axis=(0, 1)) + 0.02

    def seen(images: np.ndarray) -> np.ndarray:
        return ((remembered(images) - mean) / scale).astype(np.float32)

    test_x, test_y = data.x_test[: args.limit, :, :, 0], data.y_test[: args.limit]
    if args.validation:
        test_x, test_y = data.x_train[-VALIDATION:, :, :, 0], data.y_train[-VALIDATION:]
    calibration, x = seen(data.x_train[:500, :, :, 0]), seen(test_x)
    found: dict[str, list] = {name: [] for name in PRESENTATIONS}
    for seed in range(args.seeds):
        model = train(data, seen, seed, args.epochs)
        for name, how in PRESENTATIONS.items():
            found[name].append(score(model, how, calibration, x, test_y))
    for name, rows in found.items():
        print(ROW.format(name, *np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
