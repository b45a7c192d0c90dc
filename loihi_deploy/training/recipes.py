"""Networks and training procedures that are known to deploy well."""

from __future__ import annotations

from typing import Any

from loihi_deploy.data import Dataset
from loihi_deploy.frontends.compat import import_tensorflow


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
