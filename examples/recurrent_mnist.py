"""Read digits row by row, one row in each step, with no memory but spikes: recurrent layers on the chip.

    python examples/recurrent_mnist.py --data mnist/ [--seeds 1] [--epochs 5]

`--data` is a folder with the four IDX files. The host turns pixels into spikes, one neuron for each column, and weighs
the spikes of the chip; all else is trained in the chip's own arithmetic.
"""

import argparse

import numpy as np

import loihi_deploy as ld
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.training import SurrogateChip, moved_images

DT, ROWS, BOARD, BATCH = 0.001, 28, "nahuku32", 128
WINDOW, FLUSH = 0.25, 3  # the last part of the rows that is read, and steps that the answer takes
LAYERS = {"fast": (128, 0.001), "slow": (128, 0.01)}  # neurons, and seconds that their synapses take
ROW = (
    "training model {:.2%}, chip {:.2%}, an image {:,.0f} spikes, {:,.0f} synaptic events ({:,.0f} a row), "
    "{:.0f} µJ, {:.2f} ms"
)


def build(seed: int) -> Graph:
    """Layers that drive themselves and each other, with weights at random: 1 is a threshold."""
    rng = np.random.default_rng(seed)
    populations = [Population("pixels", (ROWS,), NeuronModel(), 1 / DT, np.zeros(ROWS))]
    projections = [Projection("row", "pixels", Dense(np.eye(ROWS)))]
    for name, (size, tau) in LAYERS.items():
        populations.append(Population(name, (size,), NeuronModel(), 1.0, np.zeros(size)))
        projections.append(Projection("pixels", name, Dense(rng.normal(0, 0.2, (size, ROWS))), tau))
        projections.append(Projection(name, "digit", Dense(rng.normal(0, 0.3 * DT, (10, size)))))
        for other, (n, _) in LAYERS.items():
            projections.append(Projection(other, name, Dense(rng.normal(0, 0.06, (size, n))), tau))
    return Graph(
        (Input("row", (ROWS,)),),
        tuple(populations),
        tuple(projections),
        (Readout("digit", (10,), np.zeros(10)),),
    )


def train(data: ld.data.Dataset, seed: int, epochs: int) -> SurrogateChip:
    """Through spikes from the start: images are moved by up to a pixel, and the rate falls to 0."""
    options = ld.DeployOptions(encoder="first_layer", normalization="none", bias_correction_steps=0)
    program = ld.deploy(build(seed), BOARD, options=options).program
    chip = SurrogateChip(program, 1, WINDOW, slope=0.25, flush=FLUSH)
    x, y = data.x_train, data.y_train
    move, rng = moved_images(1), np.random.default_rng(seed)
    for epoch in range(epochs):
        for tenth, part in enumerate(np.array_split(rng.permutation(len(x)), 10)):
            rate = 1.5 * np.cos(np.pi / 2 * (epoch + tenth / 10) / epochs) ** 2
            chip.fit(move(x[part], rng)[:, :, :, 0], y[part], 1, BATCH, rate, seed=epoch)
    return chip


def main() -> None:
    """Train, and compare the training model with the chip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with IDX files")
    for name, usual in (("--seeds", 1), ("--epochs", 5)):
        parser.add_argument(name, type=int, default=usual)
    args = parser.parse_args()
    data = ld.data.load_idx(args.data)
    x, y = data.x_test[:, :, :, 0], data.y_test
    reading = {"steps_per_frame": 1, "readout": "window", "readout_window": WINDOW, "flush": FLUSH}
    rows = []
    for seed in range(args.seeds):
        chip = train(data, seed, args.epochs)
        deployment = ld.deploy(chip.program, BOARD, options=ld.DeployOptions(**reading))
        found, energy = deployment.evaluate(x, y), deployment.energy(x[:200])
        parts = [chip.logits(x[start : start + 1000]).numpy() for start in range(0, len(x), 1000)]
        trained = np.mean(np.concatenate(parts).argmax(axis=1) == y)
        counts = [(c.spikes, c.synaptic_events) for c in found.counters.populations.values()]
        spikes, events = np.sum(counts, axis=0) / len(y)
        cost = (1e6 * energy.total.value, 1e3 * energy.seconds.value)
        rows.append((trained, found.accuracy, spikes, events, events / ROWS, *cost))
        print(f"Seed {seed}: {ROW.format(*rows[-1])}", flush=True)
    print(f"Mean: {ROW.format(*np.mean(rows, axis=0))}")


if __name__ == "__main__":
    main()
