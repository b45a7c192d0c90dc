"""A task that is learned in a second, and networks for it."""

import numpy as np

from loihi_deploy.frontends.compat import import_keras

SHAPE = (8, 8, 1)
CLASSES = 3


def task(n=600, seed=0):
    """Images with a brighter band for each class."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 0.7, (n, *SHAPE)).astype(np.float32), rng.integers(0, CLASSES, n)
    for c in range(CLASSES):
        x[y == c, 2 * c : 2 * c + 2] += 0.2
    return x, y


def network(version=2, pooled=True, softmax=False):
    """Convolution with batch norm, average pooling, convolution, classes; not trained."""
    k = import_keras(version)
    k.utils.set_random_seed(0)
    make = k.layers
    pooling = [make.AveragePooling2D(2, name="pool")] if pooled else []
    return k.Sequential(
        [
            make.Input(SHAPE, name="image"),
            make.Conv2D(6, 3, use_bias=False, name="conv1"),
            make.BatchNormalization(name="norm"),
            make.ReLU(name="relu1"),
            *pooling,
            make.Conv2D(8, 3, activation="relu", name="conv2"),
            make.Flatten(name="flat"),
            make.Dropout(0.2, name="drop"),
            make.Dense(CLASSES, activation="softmax" if softmax else None, name="classes"),
        ]
    )


def trained(version=2, epochs=5, **how):
    """The network, trained by Keras."""
    k, model = import_keras(version), network(version, **how)
    model.compile("adam", k.losses.SparseCategoricalCrossentropy(from_logits=not how.get("softmax")))
    model.fit(*task(), epochs=epochs, verbose=0)
    return model
