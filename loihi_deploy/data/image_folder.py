"""Images in a folder for each class, read as ``keras.utils.image_dataset_from_directory`` reads them.

Classes are the subfolders in alphabetical order; images lie in them or deeper. Images of another size are resized
bilinearly without smoothing, with pixel centres at one half, as ``tf.image.resize`` does.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import DataError, Problem, missing_extra

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def image_files(folder: Path) -> tuple[list[Path], NDArray[np.int64] | None, tuple[str, ...]]:
    """The images below a folder with their labels and the names of the classes.

    Labels are None where the images lie in the folder itself.
    """
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    found = [(path, label) for label, each in enumerate(classes) for path in _images_below(each)]
    if found:
        paths, labels = zip(*found, strict=True)
        return list(paths), np.array(labels, np.int64), tuple(each.name for each in classes)
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS], None, ()


def _images_below(folder: Path) -> list[Path]:
    return sorted(
        Path(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDINGS)
    )


def read_images(paths: list[Path], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Read images and make them fit a network.

    Parameters
    ----------
    paths : list of Path
    shape : (rows, columns, channels)
        Of the network's input: 1 channel for grey, 3 for colours, 4 with transparency.

    Returns
    -------
    (n, rows, columns, channels) float32 array
        0 to 255.

    Raises
    ------
    MissingExtraError
        If Pillow is not installed.
    DataError
        Naming every file that is no image.
    """
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(shape[2])
    if mode is None:
        raise DataError.single("images have 1, 3 or 4 channels", "network input", shape)
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("pillow", "Reading images", "images") from error
    images = np.empty((len(paths), *shape), np.float32)
    problems = []
    for k, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert(mode), np.float32)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append(Problem(f"not a readable image: {error}", str(path), remedy="Take it out"))
            continue
        images[k] = resized(pixels.reshape(*pixels.shape[:2], shape[2]), shape[:2])
    if problems:
        raise DataError("Cannot read the images", problems)
    return images


def resized(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """An image (rows, columns, channels) at another size, bilinearly."""
    for axis, wanted in enumerate(size):
        there = image.shape[axis]
        if there == wanted:
            continue
        position = np.clip((np.arange(wanted) + 0.5) * there / wanted - 0.5, 0, there - 1)
        below = position.astype(np.int64)
        above = np.minimum(below + 1, there - 1)
        part = (position - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        image = np.asarray(image.take(below, axis) * (1 - part) + image.take(above, axis) * part, np.float32)
    return image
