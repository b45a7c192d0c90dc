"""Images to train and test on: a bundled subset of Fashion-MNIST, any set in IDX files, and CIFAR-10.

The bundled files hold, of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747; MIT licence, Zalando
SE), the first 1,000 training and the first 200 test images of each class in their original order;
``tools/make_fashion_subset.py`` made them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.data.cifar import CIFAR10_CLASSES, TEST_FILE, TRAIN_FILES, read_batch
from loihi_deploy.data.event_files import read_events
from loihi_deploy.data.idx import FILE_NAMES, read_idx
from loihi_deploy.data.sensor_events import camera_frames, spike_frames
from loihi_deploy.errors import DataError, InputError, Problem

__all__ = [
    "CIFAR10_CLASSES",
    "FASHION_MNIST_CLASSES",
    "Dataset",
    "camera_frames",
    "fashion_mnist",
    "load_cifar10",
    "load_idx",
    "read_events",
    "spike_frames",
]

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images for training and testing.

    Attributes
    ----------
    name : str
        What the set is called in tables and reports.
    x_train, x_test : ndarray of float32, shape (n, rows, columns, channels), range 0 to 1
        Images; read-only.
    y_train, y_test : ndarray of int64, shape (n,), range 0 to ``len(class_names) - 1``
        Labels; read-only.
    class_names : tuple of str
        One name per label.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.flags.writeable = False


@checked
def fashion_mnist(n_train: int | None = None, n_test: int | None = None) -> Dataset:
    """Load the bundled subset of Fashion-MNIST: 10,000 training and 2,000 test images of 28 x 28, 10 classes.

    Parameters
    ----------
    n_train, n_test : int, optional
        Take only the first so many images.

    Raises
    ------
    InputError
        A number that is not between 1 and what there is.
    """
    folder = Path(__file__).parent / "fashion_mnist"
    full = replace(load_idx(folder), name="Fashion-MNIST subset", class_names=FASHION_MNIST_CLASSES)
    wanted = [("n_train", n_train, len(full.y_train)), ("n_test", n_test, len(full.y_test))]
    problems = [
        Problem("not that many images", name, n, f"1 to {there}")
        for name, n, there in wanted
        if n is not None and not 1 <= n <= there
    ]
    if problems:
        raise InputError("Cannot take this part of the data", problems)
    return replace(
        full,
        x_train=full.x_train[:n_train],
        y_train=full.y_train[:n_train],
        x_test=full.x_test[:n_test],
        y_test=full.y_test[:n_test],
    )


@checked
def load_idx(directory: str | Path) -> Dataset:
    """Load a set of images from the four IDX files of MNIST, Fashion-MNIST and their kin, gzipped or not.

    Parameters
    ----------
    directory : str or Path
        Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, each with or without ``.gz``.

    Returns
    -------
    Dataset
        Named like the folder; the classes are named by their numbers, which is all the files say.

    Raises
    ------
    DataError
        Files are missing or damaged, images and labels differ in number, or test data does not fit the
        training data; everything found is named.
    """
    folder = Path(directory)
    if not os.path.isdir(folder):
        raise DataError.single(
            "no such folder", str(folder), remedy="Name the folder that holds the IDX files"
        )
    problems: list[Problem] = []
    arrays = {key: read_idx(folder, key, problems) for key in FILE_NAMES}
    x_train, y_train = arrays["train images"], arrays["train labels"]
    x_test, y_test = arrays["test images"], arrays["test labels"]
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x is not None and y is not None and len(x) != len(y):
            problems.append(
                Problem(f"{part} images and labels differ in number", str(folder), f"{len(x)} and {len(y)}")
            )
    if x_train is not None and x_test is not None and x_train.shape[1:] != x_test.shape[1:]:
        problems.append(
            Problem(
                "test images of another size",
                str(folder),
                x_test.shape[1:],
                f"{x_train.shape[1:]} as in training",
            )
        )
    if y_train is not None and y_test is not None and y_test.max() > y_train.max():
        problems.append(
            Problem(
                "test label that no training image has", str(folder), y_test.max(), f"0 to {y_train.max()}"
            )
        )
    if problems or x_train is None or y_train is None or x_test is None or y_test is None:
        raise DataError(f"Cannot read the data in {folder}", problems)
    return Dataset(
        name=folder.resolve().name,
        x_train=_as_images(x_train),
        y_train=y_train.astype(np.int64),
        x_test=_as_images(x_test),
        y_test=y_test.astype(np.int64),
        class_names=tuple(str(label) for label in range(int(y_train.max()) + 1)),
    )


@checked
def load_cifar10(directory: str | Path) -> Dataset:
    """Load CIFAR-10 from the six files of its binary version.

    Parameters
    ----------
    directory : str or Path
        Folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.

    Returns
    -------
    Dataset
        Images of 32x32 pixels and 3 channels.

    Raises
    ------
    DataError
        Files are missing or damaged; everything found is named.
    """
    folder = Path(directory)
    if not os.path.isdir(folder):
        raise DataError.single(
            "no such folder", str(folder), remedy="Name the folder that holds the files of CIFAR-10"
        )
    problems: list[Problem] = []
    batches = [read_batch(folder / name, problems) for name in (*TRAIN_FILES, TEST_FILE)]
    read = [batch for batch in batches if batch is not None]
    if problems:
        raise DataError(f"Cannot read the data in {folder}", problems)
    *train, test = read
    return Dataset(
        name="CIFAR-10",
        x_train=_scaled(np.concatenate([images for images, _ in train])),
        y_train=np.concatenate([labels for _, labels in train]).astype(np.int64),
        x_test=_scaled(test[0]),
        y_test=test[1].astype(np.int64),
        class_names=CIFAR10_CLASSES,
    )


def _scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _as_images(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _scaled(pixels)[..., np.newaxis]
