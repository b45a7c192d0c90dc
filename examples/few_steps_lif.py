"""LIF neurons trained in NengoDL: what their rates say, their spikes there, and what a chip makes of them.

    python examples/few_steps_lif.py [--data FOLDER] [--seeds 3] [--epochs 4] [--steps 100] [--limit 10000]

FOLDER holds MNIST or Fashion-MNIST in IDX files (a part of Fashion-MNIST if not given). For each seed a network is
trained with LIF rates, and then trained on, for as many epochs again, with the rates of nengo-loihi's LoihiLIF, whose
periods are whole steps. Both are shown to NengoDL and to the chip for as many steps. Options are chosen on validation
images.
"""

import argparse

import nengo
import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_nengo_dl, import_tensorflow

nengo_dl = import_nengo_dl()
tf = import_tensorflow()

SYNAPSE = 0.005  # seconds, between neurons that spike: with 1 ms validation images lost half a point more
BATCH = 100
ROW = (
    "rates {:.2%}, spikes in NengoDL {:.2%}, chip {:.2%}; an image {:,.0f} spikes and {:,.0f} synaptic events on chip, "
    "{:.0f} µJ, {:.2f} ms; {:.0f} cores"
)
LIF = {"tau_ref": 0.001, "amplitude": 0.005}


def build(shape: tuple[int, ...], n_classes: int, seed: int) -> tuple[nengo.Network, nengo.Node, nengo.Probe]:
    """Pixels as on and off rates on the host, two convolutions of LIF neurons on chip, class scores."""
    with nengo.Network(label="lif", seed=seed) as network:
        network.config[nengo.Connection].synapse = None  # while it is trained
        nengo_dl.configure_settings(stateful=False, lif_smoothing=0.02)
        image = nengo.Node(np.zeros(int(np.prod(shape))), label="image")
        source = image
        for name, filters, size, stride in (("encoder", 2, 1, 1), ("conv1", 16, 5, 2), ("conv2", 32, 3, 2)):
            host = name == "encoder"
            init = np.array([[[[1.0, -1.0]]]]) if host else nengo_dl.dists.Glorot()
            transform = nengo.Convolution(filters, shape, (size, size), (stride, stride), init=init)
            shape = transform.output_shape.shape
            layer = nengo.Ensemble(int(np.prod(shape)), 1, label=name)
            layer.gain = np.full(layer.n_neurons, 500.0 if host else 4.0)
            off = np.arange(layer.n_neurons) % 2  # the second filter stands for what is dark
            layer.bias = 500.0 * off if host else np.ones(layer.n_neurons)
            layer.neuron_type = nengo.SpikingRectifiedLinear(amplitude=0.002) if host else nengo.LIF(**LIF)
            nengo.Connection(source, layer.neurons, transform=transform)
            source = layer.neurons
        scores = nengo.Node(size_in=n_classes, label="scores")
        nengo.Connection(source, scores, transform=nengo_dl.dists.Glorot())
        return network, image, nengo.Probe(scores, label="classes")


def for_the_chip(network: nengo.Network) -> None:
    """Put the chip's neurons, as nengo-loihi has them, in the place of the LIF neurons."""
    from nengo_extras.loihi_training import LoihiLIFBuilder
    from nengo_loihi import LoihiLIF

    nengo_dl.neuron_builders.SimNeuronsBuilder.TF_NEURON_IMPL[LoihiLIF] = LoihiLIFBuilder
    for layer in network.all_ensembles[1:]:
        layer.neuron_type = LoihiLIF(**LIF)


def main() -> None:
    """Train, present, deploy, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with IDX files")
    for name, usual in (("--seeds", 3), ("--epochs", 4), ("--steps", 100), ("--limit", 10_000)):
        parser.add_argument(name, type=int, default=usual)
    args = parser.parse_args()
    data = ld.data.load_idx(args.data) if args.data else ld.data.fashion_mnist()
    x, y = data.x_test[: args.limit], data.y_test[: args.limit]
    n_held = len(data.x_train) // 12
    held = data.x_train[-n_held:][:500], data.y_train[-n_held:][:500]
    n = (len(data.x_train) - n_held) // BATCH * BATCH
    images, labels = data.x_train[:n].reshape(n, 1, -1), data.y_train[:n].reshape(n, 1, 1)

    found: dict[str, list] = {"LIF": [], "LoihiLIF": []}
    for seed in range(args.seeds):
        tf.keras.utils.set_random_seed(seed)
        network, image, classes = build(x.shape[1:], len(data.class_names), seed)
        for name, rate in zip(found, (3e-3, 1e-3), strict=True):
            if name == "LoihiLIF":
                for_the_chip(network)
            for connection in network.all_connections:
                connection.synapse = None
            with nengo_dl.Simulator(network, minibatch_size=BATCH, progress_bar=False, seed=seed) as sim:
                falling = tf.keras.optimizers.schedules.CosineDecay(rate, args.epochs * n // BATCH)
                loss = {classes: tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
                sim.compile(optimizer=tf.keras.optimizers.Adam(falling), loss=loss)
                sim.fit({image: images}, {classes: labels}, epochs=args.epochs, verbose=2)
                sim.freeze_params(network)
            for connection in network.all_connections:
                connection.synapse = None if connection.pre_obj is image else SYNAPSE
            batch, decided = int(np.gcd(len(x), BATCH)), []
            with nengo_dl.Simulator(network, minibatch_size=batch, progress_bar=False) as sim:
                for i in range(0, len(x), 10 * batch):  # what is shown fits into memory
                    shown = np.repeat(x[i : i + 10 * batch].reshape(-1, 1, x[0].size), args.steps, axis=1)
                    outputs = sim.predict({image: shown}, verbose=0)[classes]
                    decided.append(outputs[:, args.steps // 2 :].mean(axis=1).argmax(axis=1))
            spiking = np.mean(np.concatenate(decided) == y)
            options = ld.DeployOptions(steps=args.steps)
            deployment = ld.deploy(network, calibration=held[0], labels=held[1], options=options)
            result, few = deployment.evaluate(x, y), deployment.evaluate(x[:500], y[:500], energy=True)
            counts = [result.counters.populations[p.name] for p in deployment.program.populations]
            row = deployment.rate_accuracy(x, y), spiking, result.accuracy
            row += tuple(np.sum([(c.spikes, c.synaptic_events) for c in counts], axis=0) / len(x))
            spent = 1e6 * few.energy.total.value, 1e3 * few.energy.seconds.value
            found[name].append((*row, *spent, deployment.mapping.n_cores))
            print(f"seed {seed}, {name}:", ROW.format(*found[name][-1]), flush=True)
    for name, rows in found.items():
        print(f"{args.steps} steps, mean, {name}:", ROW.format(*np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
