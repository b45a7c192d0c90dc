"""Read CIFAR-10 in its binary format (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, "binary version").

A file is a sequence of records without any header: one byte for the label, 0 to 9, then 3,072 bytes for 32x32 pixels:
all of red, all of green, all of blue, each row by row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import Problem

TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
SHAPE = (32, 32, 3)
RECORD_BYTES = 1 + 32 * 32 * 3
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def read_batch(path: Path, problems: list[Problem]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Read images (n, 32, 32, 3) and labels (n,) of one file; where that fails, add to `problems` and return None."""
    remedy = "Fetch the file again"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        problems.append(
            Problem("file is missing", str(path), remedy="Unpack the binary version of CIFAR-10 there")
        )
        return None
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error}", str(path), remedy=remedy))
        return None
    if not content or len(content) % RECORD_BYTES:
        limit = f"a multiple of {RECORD_BYTES:,} bytes"
        problems.append(
            Problem("truncated, or not such a file", str(path), f"{len(content):,} bytes", limit, remedy)
        )
        return None
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0]
    if labels.max() >= len(CIFAR10_CLASSES):
        problems.append(
            Problem(
                "label out of range", str(path), int(labels.max()), f"0 to {len(CIFAR10_CLASSES) - 1}", remedy
            )
        )
        return None
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
