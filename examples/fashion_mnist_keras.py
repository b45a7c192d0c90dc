"""Train a Keras network on Fashion-MNIST, deploy it on Loihi, and compare the two.

    python examples/fashion_mnist_keras.py [--data FOLDER] [--epochs 12] [--board nahuku32] [--limit 1000]

The first layer, a 1x1 convolution, stays on the host and turns pixels into spikes; the last one decodes
spikes into class scores, on the host too. Everything between runs on the chip, in integers.
"""

import argparse

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow

tf = import_tensorflow()  # with the Keras that NengoDL knows


def build(n_classes: int) -> "tf.keras.Model":
    """A small convolution network; biases, padding and a separate activation layer are all welcome."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((28, 28, 1), name="image"),
            layers.Conv2D(2, 1, activation="relu", name="encoder"),
            layers.Conv2D(24, 3, strides=2, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(48, 3, strides=2, name="conv2"),
            layers.ReLU(name="relu2"),
            layers.Flatten(),
            layers.Dense(100, activation="relu", name="dense"),
            layers.Dense(n_classes, name="classes"),
        ]
    )


def main() -> None:
    """Train, deploy, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with the full Fashion-MNIST or MNIST in IDX files")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--board", default="nahuku32")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--limit", type=int, help="use only so many test images")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data) if args.data else ld.data.fashion_mnist()

    tf.keras.utils.set_random_seed(0)
    model = build(len(data.class_names))
    model.compile(
        optimizer=tf.keras.optimizers.Adam(2e-3),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=args.epochs, verbose=2)
    _, keras_accuracy = model.evaluate(data.x_test, data.y_test, verbose=0)

    deployment = ld.deploy(model, board=args.board, calibration=data.x_train[:500])
    deployment.save("fashion_mnist.loihi")
    result = deployment.evaluate(data.x_test[: args.limit], data.y_test[: args.limit], steps=args.steps)

    mapping = deployment.mapping
    print(f"Keras network:        {100 * keras_accuracy:.2f} %")
    print(f"Integers on the chip: {100 * result.accuracy:.2f} %, {args.steps} steps, {result.seconds:.1f} s")
    print(f"{mapping.n_cores} cores on {mapping.n_chips} chip(s) of {args.board}")
    for name in result.counters.populations:
        print(f"  {name:10s} {result.counters.firing_rate(name, deployment.program.dt):6.1f} Hz")


if __name__ == "__main__":
    main()
