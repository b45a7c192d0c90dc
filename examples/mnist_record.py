"""Train on MNIST, deploy on Loihi, and classify the 10,000 test images with spikes.

    python examples/mnist_record.py --data FOLDER [--epochs 20] [--board nahuku32] [--limit 10000]

FOLDER holds the four IDX files of MNIST. Plain Keras and default options: 20 epochs give a rate network with 0.57 %
error, and as little on the emulated chip in 100 steps, on 10 cores. For comparison: 0.79 % in 100 steps on 14 cores
(NxTF, Rueckauer et al. 2022, doi:10.1145/3501770).
"""

import argparse

import loihi_deploy as ld
from loihi_deploy.frontends import import_tensorflow

tf = import_tensorflow()  # with the Keras that NengoDL knows

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
LARGEST_SHIFT = 2  # pixels


def build() -> "tf.keras.Model":
    """Encoder on the host, three convolutions and a dense layer on chip, readout on the host."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((28, 28, 1), name="image"),
            layers.Conv2D(2, 1, activation="relu", name="encoder"),
            layers.Conv2D(24, 5, strides=2, padding="same", activation="relu", name="conv1"),
            layers.Dropout(0.1),
            layers.Conv2D(48, 3, strides=2, padding="same", activation="relu", name="conv2"),
            layers.Dropout(0.1),
            layers.Conv2D(64, 3, activation="relu", name="conv3"),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dropout(0.4),
            layers.Dense(10, name="classes"),
        ]
    )


def shifted(images: "tf.Tensor") -> "tf.Tensor":
    """A batch of images, all moved by the same random number of pixels."""
    height, width = images.shape[1:3]
    border = [LARGEST_SHIFT, LARGEST_SHIFT]
    down, right = tf.unstack(tf.random.uniform([2], 0, 2 * LARGEST_SHIFT + 1, tf.int32))
    moved = tf.pad(images, [[0, 0], border, border, [0, 0]])[:, down : down + height, right : right + width]
    return tf.ensure_shape(moved, images.shape)


def training_data(data: ld.data.Dataset) -> "tf.data.Dataset":
    """Shuffled batches; 32 images at a time are moved together, then mixed into larger batches."""
    samples = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
    samples = samples.shuffle(len(data.x_train), seed=0).batch(32)
    moved = samples.map(lambda images, labels: (shifted(images), labels))
    return moved.unbatch().batch(BATCH_SIZE).prefetch(2)


def main() -> None:
    """Train, deploy, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with the IDX files of MNIST")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--board", default="nahuku32")
    parser.add_argument("--limit", type=int, help="use only so many test images")
    args = parser.parse_args()
    data = ld.data.load_idx(args.data)

    tf.keras.utils.set_random_seed(0)
    model = build()
    n_batches = -(-len(data.x_train) // BATCH_SIZE)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(
            tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, args.epochs * n_batches)
        ),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(training_data(data), epochs=args.epochs, verbose=2)

    deployment = ld.deploy(model, board=args.board, calibration=data.x_train[:500])
    x, y = data.x_test[: args.limit], data.y_test[: args.limit]
    print(f"Error on {len(x):,} test images:")
    print(f"  rate network     {100 * (1 - deployment.rate_accuracy(x, y)):.2f} %")
    for steps in (100, 50):
        result = deployment.evaluate(x, y, steps=steps)
        print(f"  chip, {steps:3d} steps  {100 * (1 - result.accuracy):.2f} %, {result.seconds:.1f} s")
    print(f"{deployment.mapping.n_cores} cores on {deployment.mapping.n_chips} chip(s) of {args.board}")


if __name__ == "__main__":
    main()
