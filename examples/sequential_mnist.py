"""Read digits row by row: the host keeps a Legendre memory of each column, and the chip tells the digit.

    python examples/sequential_mnist.py --data mnist/ [--seeds 5] [--epochs 10] [--tune 20000] [--validation]

`--data` is a folder with the four IDX files. The chip is shown the last 8 rows, from rest, with what the host remembers
of all rows before; or a stream of all 28, read at the last 8. A rate network is trained first; for two steps a row its
layers on the chip are trained on through their spikes, with `--tune` images. With `--validation` the last 5,000
training images, on which nothing is trained, stand for the test images.
"""

import argparse
from collections.abc import Callable

import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow
from loihi_deploy.frontends.keras_time import legendre_memory
from loihi_deploy.training import SurrogateChip, moved_images

tf = import_tensorflow()
ORDER, ROWS, READ, VALIDATION, BATCH, BOARD = 12, 28, 8, 5000, 256, "nahuku32"
PRESENTATIONS = {  # rows that are shown, steps of each, whether the chip was trained through spikes
    "the last 8 rows, 2 steps, no training through spikes": (READ, 2, False),
    "the last 8 rows, 2 steps": (READ, 2, True),
    "the last 8 rows, 5 steps, no training through spikes": (READ, 5, False),
    "all rows in a stream, 2 steps": (ROWS, 2, True),
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
    """Two rows of the last 8, drawn anew for each batch, stand for all of them: the loss is on their mean."""
    tf.keras.utils.set_random_seed(seed)
    layers, rng, move = tf.keras.layers, np.random.default_rng(seed), moved_images(1)
    rows = layers.Input((None, ROWS * (ORDER + 1)), name="rows")
    hidden = layers.Dense(512, "relu", name="encoder")(layers.GaussianNoise(0.1)(rows))
    hidden = layers.Dense(256, "relu", name="hidden")(layers.Dropout(0.2)(hidden))
    model = tf.keras.Model(rows, layers.Dense(10, name="classes")(layers.Dropout(0.2)(hidden)))
    x, y = data.x_train[:-VALIDATION], data.y_train[:-VALIDATION]
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
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            which = order[start : start + BATCH]
            chosen = ROWS - 1 - rng.permutation(READ)[:2]
            step(seen(move(x[which], rng)[:, :, :, 0])[:, chosen], y[which])
    return model


def options(shown: int, steps: int, **more: object) -> ld.DeployOptions:
    """Read at the last rows."""
    reading = {"steps_per_frame": steps, "readout": "window", "readout_window": READ / shown}
    return ld.DeployOptions(**reading, **more)


def deployed(model: "tf.keras.Model", shown: int, steps: int, seen: np.ndarray) -> ld.Deployment:
    """The rate network on the chip."""
    how = {"encoder": "first_layer", "synapse": 0.001, "target_rate": 1000, "bias_correction_steps": 0}
    return ld.deploy(model, BOARD, seen[:, -shown:], options(shown, steps, **how))


def trained_on(plain: ld.Deployment, data: ld.data.Dataset, seen: Callable, n: int) -> SurrogateChip:
    """The chip's layers, and what reads them, trained through spikes of the last rows."""
    chip, rng = SurrogateChip(plain.program, 2, 1.0), np.random.default_rng(0)
    parts = np.array_split(rng.permutation(len(data.x_train) - VALIDATION)[:n], 10)
    for number, part in enumerate(parts):
        moved = moved_images(1)(data.x_train[part], rng)[:, :, :, 0]
        rate = 0.3 * np.cos(np.pi / 2 * number / len(parts)) ** 2
        chip.fit(seen(moved)[:, -READ:], data.y_train[part], batch_size=64, learning_rate=rate)
    return chip


def score(deployment: ld.Deployment, plain: ld.Deployment, x: np.ndarray, y: np.ndarray) -> tuple:
    """Steps, accuracy in floats and on the chip, spikes, events, energy and time of an image."""
    found, energy = deployment.evaluate(x, y), deployment.energy(x[:200])
    counts = [(c.spikes, c.synaptic_events) for c in found.counters.populations.values()]
    spikes, events = np.sum(counts, axis=0) / len(y)
    cost = (1e6 * energy.total.value, 1e3 * energy.seconds.value)
    return energy.steps, plain.rate_accuracy(x, y), found.accuracy, spikes, events, events / x.shape[1], *cost


def main() -> None:
    """Train each network, present its rows in each way, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with IDX files")
    for name, usual in (("--seeds", 5), ("--epochs", 10), ("--tune", 20_000), ("--limit", 10_000)):
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
        chip = trained_on(deployed(model, READ, 2, calibration), data, seen, args.tune)
        for name, (shown, steps, tuned) in PRESENTATIONS.items():
            plain = deployment = deployed(model, shown, steps, calibration)
            if tuned:
                deployment = ld.deploy(chip.program, BOARD, options=options(shown, steps, flush=chip.flush))
            found[name].append(score(deployment, plain, x[:, -shown:], test_y))
            print(f"Seed {seed}, {ROW.format(name, *found[name][-1])}", flush=True)
    for name, rows in found.items():
        print(ROW.format(f"Mean, {name}", *np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
