"""Train nengo-loihi's CIFAR-10 network in plain Keras, deploy it on Loihi, and classify test images with spikes.

    python examples/cifar10.py --data FOLDER [--epochs 30] [--board nahuku32] [--limit 1000]

FOLDER holds the binary version of CIFAR-10: data_batch_1.bin to data_batch_5.bin, and test_batch.bin. The first layer,
four 1x1 filters that learn how to turn colours into spikes, stays on the host; all others but the last are on chip.
"""

import argparse

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow

tf = import_tensorflow()  # with the Keras that NengoDL knows

BATCH_SIZE = 100
LEARNING_RATE = 1e-3
CONVOLUTIONS = (  # filters, kernel size, stride
    (64, 3, 2),
    (72, 3, 1),
    (256, 3, 2),
    (256, 1, 1),
    (64, 1, 1),
)


def build(n_classes: int) -> "tf.keras.Model":
    """The network of nengo-loihi's example, with dropout between the layers while it is trained."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((32, 32, 3), name="image"), layers.Conv2D(4, 1, activation="relu", name="encoder")]
    )
    for number, (filters, size, stride) in enumerate(CONVOLUTIONS, start=1):
        model.add(layers.Conv2D(filters, size, strides=stride, activation="relu", name=f"conv{number}"))
        model.add(layers.Dropout(0.1))
    model.add(layers.Flatten())
    model.add(layers.Dense(100, activation="relu", name="dense"))
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(n_classes, name="classes"))
    return model


def augmented(images: "tf.Tensor", labels: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """One image, moved by up to four pixels and mirrored half of the time."""
    moved = tf.image.random_crop(tf.pad(images, [[4, 4], [4, 4], [0, 0]]), (32, 32, 3))
    return tf.image.random_flip_left_right(moved), labels


def main() -> None:
    """Train, deploy, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with the binary files of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--board", default="nahuku32")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--limit", type=int, help="use only so many test images")
    args = parser.parse_args()
    data = ld.data.load_cifar10(args.data)

    tf.keras.utils.set_random_seed(0)
    model = build(len(data.class_names))
    n_batches = -(-len(data.x_train) // BATCH_SIZE)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, args.epochs * n_batches)
        ),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    samples = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
    samples = samples.shuffle(len(data.x_train), seed=0).map(augmented).batch(BATCH_SIZE).prefetch(2)
    model.fit(samples, epochs=args.epochs, verbose=2)

    deployment = ld.deploy(model, board=args.board, calibration=data.x_train[:500])
    x, y = data.x_test[: args.limit], data.y_test[: args.limit]
    result = deployment.evaluate(x, y, steps=args.steps)
    print(f"Rate network:         {100 * deployment.rate_accuracy(x, y):.2f} % of {len(x):,} test images")
    print(f"Integers on the chip: {100 * result.accuracy:.2f} %, {args.steps} steps, {result.seconds:.1f} s")
    print(f"{deployment.mapping.n_cores} cores on {deployment.mapping.n_chips} chip(s) of {args.board}")
    for name in result.counters.populations:
        print(f"  {name:10s} {result.counters.firing_rate(name, deployment.program.dt):6.1f} Hz")


if __name__ == "__main__":
    main()
