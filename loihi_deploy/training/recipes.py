"""Networks and training procedures that are known to deploy well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.data import Dataset
from loihi_deploy.frontends.compat import import_tensorflow


def few_steps_convnet(
    shape: tuple[int, int, int],
    n_classes: int,
    filters: tuple[int, int, int] = (24, 64, 128),
    seed: int = 0,
) -> Any:
    """A network for images that says much in few steps, whose first convolution is meant for the host.

    Two layers are left for the chip: each hop less saves its steps, and with them what biases do before the input is
    there. An average over four neurons counts four times as finely as one. Deploy it with ``encoder='first_layer'``;
    `fine_tune` folds its batch norms.

    Parameters
    ----------
    shape : (height, width, channels)
    n_classes : int
    filters : three ints
        Of the convolutions.
    seed : int
        Of initial weights.

    Returns
    -------
    tf.keras.Model
        Not compiled; its outputs are logits.
    """
    tf = import_tensorflow("Building a network")
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    stack = [layers.Input(shape, name="image")]
    for number, n in enumerate(filters, start=1):
        stack += [
            layers.Conv2D(n, 3, use_bias=False, kernel_initializer="he_normal", name=f"conv{number}"),
            layers.BatchNormalization(momentum=0.98, name=f"norm{number}"),
            layers.ReLU(name=f"relu{number}"),
        ]
        if number < len(filters):
            stack.append(layers.AveragePooling2D(2, name=f"pool{number}"))
    stack += [layers.Flatten(name="flatten"), layers.Dropout(0.3, name="drop")]
    return tf.keras.Sequential([*stack, layers.Dense(n_classes, name="classes")], name="few_steps")


def moved_images(
    pixels: int = 1, mirrored: bool = False
) -> Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]:
    """An `augment` for images: each is moved by up to some pixels, and mirrored half of the time.

    Parameters
    ----------
    pixels : int
    mirrored : bool
        Not for digits and letters.
    """

    def augment(batch: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        height, width = batch.shape[1:3]
        padded = np.pad(batch, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
        view: Any = np.lib.stride_tricks.sliding_window_view  # numpy's type of it knows one axis only
        windows = view(padded, (height, width), axis=(1, 2))
        rows, columns = rng.integers(0, 2 * pixels + 1, (2, len(batch)))
        made = np.moveaxis(windows[np.arange(len(batch)), rows, columns], 1, -1).copy()
        if mirrored:
            chosen = rng.random(len(batch)) < 0.5
            made[chosen] = made[chosen, :, ::-1]
        return made

    return augment


def train_convnet(data: Dataset, epochs: int = 8, seed: int = 0, verbose: bool = False) -> Any:
    """Train a small convolution network for 28x28 images, whose first layer is meant for the host.

    A 1x1 convolution (2 filters) turns pixels into rates; two strided 3x3 convolutions (16 and 32 filters) and a dense
    layer (100 neurons) run on chip; the last dense layer decodes.

    Parameters
    ----------
    data : Dataset
    epochs : int
    seed : int
        Of initial weights and of the order of the samples.
    verbose : bool
        Let Keras print its progress.

    Returns
    -------
    tf.keras.Model

    Raises
    ------
    MissingExtraError
        If TensorFlow is not installed.
    """
    tf = import_tensorflow("Training a network")
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input(data.x_train.shape[1:], name="image"),
            layers.Conv2D(2, 1, activation="relu", name="encoder"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(32, 3, strides=2, activation="relu", name="conv2"),
            layers.Flatten(name="flatten"),
            layers.Dense(100, activation="relu", name="dense"),
            layers.Dense(len(data.class_names), name="classes"),
        ],
        name="convnet",
    )
    batch_size = 64
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        3e-3, max(1, epochs * len(data.x_train) // batch_size)
    )
    model.compile(
        optimizer=tf.keras.optimizers.Adam(schedule),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data.x_train, data.y_train, batch_size=batch_size, epochs=epochs, verbose=2 if verbose else 0)
    return model
