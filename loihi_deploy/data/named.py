"""Samples and labels that a user names: a file, a folder or a bundled set; the name goes where their figures go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.data import Dataset, fashion_mnist, load_cifar10, load_idx
from loihi_deploy.data.arrays import FORMS, LABEL_COLUMNS, read_arrays, split_key
from loihi_deploy.data.cifar import TRAIN_FILES
from loihi_deploy.data.idx import FILE_NAMES
from loihi_deploy.data.image_folder import image_files, read_images
from loihi_deploy.errors import DataError, InputError, Problem

BUNDLED: Mapping[str, Callable[[], Dataset]] = {"fashion-mnist": fashion_mnist}
"""Data sets that come with the package, by the name that asks for them."""
Part = Literal["train", "test"]
PARTS: Mapping[Part, tuple[str, str]] = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
PIXELS = {"0..1": 1.0, "0..255": 255.0}
"""Largest value of a pixel, by the name of the range."""


@dataclass(frozen=True)
class Form:
    """What a network takes, as far as reading its samples depends on it.

    Parameters
    ----------
    shapes : dict of tuples
        Of each input by name, without the number of samples.
    channels_first : bool
        Whether images have their channels first.
    pixels : {'0..1', '0..255'}
        The range that pixels of images are given in.
    """

    shapes: Mapping[str, tuple[int, ...]]
    channels_first: bool = False
    pixels: str = "0..1"


@dataclass(frozen=True, eq=False)
class NamedSamples:
    """Samples with the name of where they come from.

    Parameters
    ----------
    name : str
        ``"x.npy"``, ``"test images of fashion-mnist"``.
    x : array or dict of arrays
        Samples first; a dict by input name for a network of several inputs.
    y : array or None
        Labels, where they were given.
    n_there : int
        How many samples there are, of which `x` may be a part, evenly spaced.
    """

    name: str
    x: Any
    y: NDArray[Any] | None
    n_there: int

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x)

    def without(self, others: NamedSamples) -> NamedSamples:
        """Those that are not among others of the same place."""
        left = ~np.isin(evenly(self.n_there, self.n), evenly(others.n_there, others.n))
        x = (
            {name: each[left] for name, each in self.x.items()}
            if isinstance(self.x, Mapping)
            else self.x[left]
        )
        return replace(self, x=x, y=None if self.y is None else self.y[left])

    def __str__(self) -> str:
        of = "" if self.n == self.n_there else f" of {self.n_there:,}"
        return f"{self.n:,}{of} samples of {self.name}"


def evenly(n: int, limit: int | None) -> NDArray[np.int64]:
    """Indices of at most `limit` of n samples, evenly spaced, so that data sorted by class keeps every class."""
    wanted = n if limit is None else min(n, limit)
    return np.arange(wanted) * n // max(wanted, 1)


def read_labelled(name: str, form: Form, limit: int | None = None, part: Part = "test") -> NamedSamples:
    """Samples with labels from one place.

    Parameters
    ----------
    name : str
        A bundled set by its name; a folder of IDX files, of CIFAR-10's binary files, or of images by class; a .npz file
        with x_test and y_test, or x and y; a CSV file with a header and a column of labels.
    form : Form
        Of the network that takes them.
    limit : int, optional
        Take only so many, evenly spaced.
    part : {'train', 'test'}
        Which part of a set that has both.

    Raises
    ------
    DataError
        If it is not there, is damaged, or has no labels; everything found is named.
    """
    samples = read_samples(name, form, limit, part)
    if samples.y is None:
        raise DataError.single(
            "has no labels",
            name,
            remedy="Give a folder of images by class, IDX files, a .npz file with x and y, or a .csv file with a "
            f"column named {' or '.join(LABEL_COLUMNS[:2])}; or --samples and --labels",
        )
    return samples


def check_named(*names: str) -> None:
    """Refuse names that nothing stands behind, before any work begins.

    Raises
    ------
    DataError
        Naming each.
    """
    problems = [
        Problem("no such file or folder", name, remedy=_near(name))
        for name in names
        if name not in BUNDLED and not os.path.exists(split_key(name)[0])
    ]
    if problems:
        raise DataError("Cannot read the data", problems)


def _near(name: str) -> str:
    """The bundled set that may have been meant, or everything that may be given."""
    near = get_close_matches(name, BUNDLED, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Give one of: {FORMS}; or {', '.join(BUNDLED)}"


def read_labels(name: str) -> NDArray[Any]:
    """Labels or target values from a .npy, .npz, .csv or IDX file: one entry for each sample."""
    arrays = read_arrays(name)
    array = _one_of(name, arrays, ("y", "y_test", "labels"))
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def read_samples(
    name: str,
    form: Form,
    limit: int | None = None,
    part: Part = "test",
    labels: NDArray[Any] | None = None,
) -> NamedSamples:
    """Samples, labelled or not; as `read_labelled`, and also single arrays: .npy, file.npz:key, an IDX file.

    `labels` stand in place of what the samples bring; there must be as many, before any limit.
    """
    samples = _read(name, form, limit, part)
    if labels is None:
        return samples
    if len(labels) != samples.n_there:
        raise DataError.single("labels differ in number from the samples", name, len(labels), samples.n_there)
    return replace(samples, y=labels[evenly(len(labels), limit)])


def _read(name: str, form: Form, limit: int | None, part: Part) -> NamedSamples:
    if name in BUNDLED:
        return _of_set(BUNDLED[name](), name, form, limit, part)
    path = Path(name)
    if not os.path.isdir(name):
        return _of_file(name, form, limit, part)
    try:
        here = {entry.removesuffix(".gz") for entry in os.listdir(path)}
    except OSError as error:
        raise DataError.single(f"cannot be read: {error.strerror}", name) from error
    idx_names = {each for stem, _ in FILE_NAMES.values() for each in (stem, stem.replace("-idx", ".idx"))}
    if here & idx_names:
        return _of_set(load_idx(path), name, form, limit, part)
    if TRAIN_FILES[0] in here:
        return _of_set(load_cifar10(path), name, form, limit, part)
    return _of_images(path, form, limit, part)


def _of_set(data: Dataset, name: str, form: Form, limit: int | None, part: Part) -> NamedSamples:
    x, y = (getattr(data, field) for field in PARTS[part])
    chosen = evenly(len(x), limit)
    images = x[chosen] * np.float32(PIXELS[form.pixels])
    shape = next(iter(form.shapes.values()))
    if form.channels_first:
        images = np.moveaxis(images, -1, 1)
    elif len(shape) == 1 and shape[0] == images[0].size:
        images = images.reshape(len(images), -1)
    return NamedSamples(f"the {part}{'ing' * (part == 'train')} images of {name}", images, y[chosen], len(x))


def _of_images(folder: Path, form: Form, limit: int | None, part: Part) -> NamedSamples:
    if all((folder / each).is_dir() for each in PARTS):
        folder /= part
    paths, labels, classes = image_files(folder)
    if not paths:
        raise DataError.single("holds no data that is known", str(folder), remedy=f"Give one of: {FORMS}")
    shape = next(iter(form.shapes.values()))
    if len(shape) != 3 or len(form.shapes) > 1:
        raise InputError.single(
            "the network does not take images", str(folder), " and ".join(map(str, form.shapes.values()))
        )
    rows, columns, channels = (*shape[1:], shape[0]) if form.channels_first else shape
    chosen = evenly(len(paths), limit)
    images = read_images([paths[k] for k in chosen], (rows, columns, channels))
    images *= np.float32(PIXELS[form.pixels] / 255)
    if form.channels_first:
        images = np.moveaxis(images, -1, 1)
    name = f"{folder} ({len(classes)} classes)" if classes else str(folder)
    return NamedSamples(name, images, None if labels is None else labels[chosen], len(paths))


def _of_file(name: str, form: Form, limit: int | None, part: Part) -> NamedSamples:
    arrays = read_arrays(name)
    x: Any
    y: NDArray[Any] | None
    if len(form.shapes) > 1:
        if not set(form.shapes) <= set(arrays):
            raise DataError.single(
                "not an array for each input",
                name,
                ", ".join(arrays) or "one array",
                ", ".join(form.shapes),
                "Write them with numpy.savez, each under the name of its input",
            )
        x, y = {each: arrays[each] for each in form.shapes}, arrays.get("y")
    else:
        x_key, y_key = PARTS[part] if PARTS[part][0] in arrays else ("x", "y")
        x = _one_of(name, arrays, (x_key,))
        y = arrays.get(y_key) if len(arrays) > 1 else None
        if len(arrays) > 1 and split_key(name)[0].suffix.lower() == ".npz":
            name = f"{name}:{x_key}"
    sizes = {len(each) for each in (x.values() if isinstance(x, dict) else [x])} | (
        {len(y)} if y is not None else set()
    )
    if len(sizes) > 1:
        raise DataError.single(
            "arrays differ in their number of samples", name, ", ".join(map(str, sorted(sizes)))
        )
    n = sizes.pop()
    chosen = evenly(n, limit)
    picked = {key: each[chosen] for key, each in x.items()} if isinstance(x, dict) else x[chosen]
    return NamedSamples(name, picked, None if y is None else y[chosen], n)


def _one_of(name: str, arrays: Mapping[str, NDArray[Any]], wanted: tuple[str, ...]) -> NDArray[Any]:
    """The only array, or the one of several with one of the wanted names."""
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    for each in wanted:
        if each in arrays:
            return arrays[each]
    raise DataError.single(
        "holds several arrays",
        name,
        ", ".join(arrays) or "none",
        remedy=f"Say which: {split_key(name)[0]}:{next(iter(arrays), 'key')}",
    )
