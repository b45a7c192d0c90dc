import numpy as np
import pytest

from loihi_deploy.data import CIFAR10_CLASSES, load_cifar10
from loihi_deploy.data.cifar import RECORD_BYTES, TEST_FILE, TRAIN_FILES
from loihi_deploy.errors import DataError


def write_cifar10(folder, n=3, seed=0):
    """The six files with `n` random images each; returns (labels, images as they were) in the order of the files."""
    rng = np.random.default_rng(seed)
    written = []
    for name in (*TRAIN_FILES, TEST_FILE):
        labels, images = rng.integers(0, 10, n), rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
        content = b"".join(
            bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
            for label, image in zip(labels.tolist(), images, strict=True)
        )
        (folder / name).write_bytes(content)
        written.append((labels, images))
    return written


def test_images_and_labels_come_back(tmp_path):
    written = write_cifar10(tmp_path)
    data = load_cifar10(str(tmp_path))
    for i, (labels, images) in enumerate(written[:5]):
        part = slice(3 * i, 3 * i + 3)
        np.testing.assert_array_equal(data.y_train[part], labels)
        np.testing.assert_array_equal(data.x_train[part], images.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.y_test, written[5][0])
    np.testing.assert_array_equal(data.x_test, written[5][1].astype(np.float32) / np.float32(255))
    assert data.class_names == CIFAR10_CLASSES
    assert data.x_train.dtype == np.float32
    assert not data.x_train.flags.writeable


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_cifar10(tmp_path / "none")


def test_every_problem_is_named(tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / TRAIN_FILES[0]).unlink()
    (tmp_path / TRAIN_FILES[1]).write_bytes(b"")
    (tmp_path / TRAIN_FILES[2]).write_bytes((tmp_path / TRAIN_FILES[2]).read_bytes()[:-1])
    (tmp_path / TRAIN_FILES[3]).write_bytes(bytes([10]) + bytes(RECORD_BYTES - 1))
    (tmp_path / TRAIN_FILES[4]).unlink()
    (tmp_path / TRAIN_FILES[4]).mkdir()
    with pytest.raises(DataError) as caught:
        load_cifar10(tmp_path)
    problems = [(p.where.split("/")[-1], p.what.split(":")[0]) for p in caught.value.problems]
    assert problems == [
        (TRAIN_FILES[0], "file is missing"),
        (TRAIN_FILES[1], "truncated, or not such a file"),
        (TRAIN_FILES[2], "truncated, or not such a file"),
        (TRAIN_FILES[3], "label out of range"),
        (TRAIN_FILES[4], "cannot be read"),
    ]
