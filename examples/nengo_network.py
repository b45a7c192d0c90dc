"""Build a convolution network in Nengo, train it in NengoDL on Fashion-MNIST, deploy it on Loihi.

    python examples/nengo_network.py [--data FOLDER] [--epochs 6] [--board nahuku32] [--limit 1000]

Neurons are connected to neurons by convolutions and a matrix. The first ensemble sees the image through a 1x1
convolution and stays on the host, where it turns pixels into spikes; a node collects the class scores.
"""

import argparse

import nengo
import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends import import_nengo_dl, import_tensorflow

nengo_dl = import_nengo_dl()  # on any TensorFlow, with the Keras that NengoDL knows
tf = import_tensorflow()

SYNAPSE = 0.003  # seconds, between neurons


def build(n_classes: int) -> tuple[nengo.Network, nengo.Node, nengo.Probe]:
    """The network, its input, and the probe that its class scores are read from."""
    with nengo.Network(label="fashion", seed=0) as network:
        network.config[nengo.Ensemble].neuron_type = nengo.SpikingRectifiedLinear()
        network.config[nengo.Ensemble].gain = nengo.dists.Choice([1])
        network.config[nengo.Ensemble].bias = nengo.dists.Choice([0])
        network.config[nengo.Connection].synapse = None  # while it is trained
        nengo_dl.configure_settings(stateful=False)

        image = nengo.Node(np.zeros(28 * 28), label="image")
        source, shape = image, (28, 28, 1)
        for name, filters, size, stride in (("encoder", 2, 1, 1), ("conv1", 16, 3, 2), ("conv2", 32, 3, 2)):
            transform = nengo.Convolution(
                filters, shape, (size, size), (stride, stride), init=nengo_dl.dists.Glorot()
            )
            shape = transform.output_shape.shape
            layer = nengo.Ensemble(int(np.prod(shape)), 1, label=name)
            nengo.Connection(source, layer.neurons, transform=transform)
            source = layer.neurons
        scores = nengo.Node(size_in=n_classes, label="scores")
        nengo.Connection(source, scores, transform=nengo_dl.dists.Glorot())
        return network, image, nengo.Probe(scores, label="classes")


def main() -> None:
    """Train, deploy, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with the full Fashion-MNIST or MNIST in IDX files")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--board", default="nahuku32")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--limit", type=int, help="use only so many test images")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data) if args.data else ld.data.fashion_mnist()

    tf.keras.utils.set_random_seed(0)
    network, image, classes = build(len(data.class_names))
    x, y = data.x_train.reshape(-1, 1, 28 * 28), data.y_train.reshape(-1, 1, 1)  # one step for each image
    with nengo_dl.Simulator(network, minibatch_size=100, progress_bar=False) as sim:
        sim.compile(
            optimizer=tf.keras.optimizers.Adam(2e-3),
            loss={classes: tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
            metrics={classes: ["accuracy"]},
        )
        # NengoDL trains with the rates that the spiking neurons stand for
        sim.fit({image: x}, {classes: y}, epochs=args.epochs, verbose=2)
        sim.freeze_params(network)

    for connection in network.all_connections:
        if connection.pre_obj is not image:
            connection.synapse = SYNAPSE
    deployment = ld.deploy(network, board=args.board, calibration=data.x_train[:500])
    rate_accuracy = deployment.rate_accuracy(data.x_test[: args.limit], data.y_test[: args.limit])
    result = deployment.evaluate(data.x_test[: args.limit], data.y_test[: args.limit], steps=args.steps)

    mapping = deployment.mapping
    print(f"Rate network:         {100 * rate_accuracy:.2f} %")
    print(f"Integers on the chip: {100 * result.accuracy:.2f} %, {args.steps} steps, {result.seconds:.1f} s")
    print(f"{mapping.n_cores} cores on {mapping.n_chips} chip(s) of {args.board}")
    for name in result.counters.populations:
        print(f"  {name:10s} {result.counters.firing_rate(name, deployment.program.dt):6.1f} Hz")


if __name__ == "__main__":
    main()
