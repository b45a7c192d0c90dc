import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy.data
from loihi_deploy.data import fashion_mnist, load_idx
from loihi_deploy.data.idx import FILE_NAMES
from loihi_deploy.errors import DataError, InputError

IMAGES, LABELS = FILE_NAMES["train images"][0], FILE_NAMES["train labels"][0]


def idx(array):
    return (
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def folder(tmp_path, rng_arrays):
    for part, (name, _) in FILE_NAMES.items():
        (tmp_path / name).write_bytes(idx(rng_arrays[part]))
    return tmp_path


@pytest.fixture
def rng_arrays():
    rng = np.random.default_rng(0)
    return {
        "train images": rng.integers(0, 256, (12, 5, 4)),
        "train labels": np.arange(12) % 3,
        "test images": rng.integers(0, 256, (6, 5, 4)),
        "test labels": np.arange(6) % 3,
    }


def problems_of(folder):
    with pytest.raises(DataError) as caught:
        load_idx(folder)
    return caught.value.problems


def test_bundled_subset():
    data = fashion_mnist()
    assert data.x_train.shape == (10_000, 28, 28, 1)
    assert data.x_test.shape == (2_000, 28, 28, 1)
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert np.bincount(data.y_train).tolist() == [1000] * 10
    assert np.bincount(data.y_test).tolist() == [200] * 10
    assert len(data.class_names) == 10
    # the first labels of the full set, whose original order is kept
    assert data.y_train[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert data.y_test[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


def test_bundled_files_are_small_and_credited():
    folder = Path(loihi_deploy.data.__file__).parent
    assert sum(path.stat().st_size for path in folder.rglob("*.gz")) <= 6_000_000
    credit = (folder / "LICENSE-fashion-mnist.txt").read_text()
    assert "MIT License" in credit
    assert "Zalando SE" in credit


def test_arrays_are_read_only():
    data = fashion_mnist(n_train=3, n_test=2)
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        assert not array.flags.writeable


def test_first_images_of_the_subset():
    data, full = fashion_mnist(n_train=3, n_test=2), fashion_mnist()
    np.testing.assert_array_equal(data.x_train, full.x_train[:3])
    np.testing.assert_array_equal(data.y_test, full.y_test[:2])
    assert len(data.y_train) == 3


def test_more_images_than_there_are():
    with pytest.raises(InputError) as caught:
        fashion_mnist(n_train=0, n_test=2001)
    assert [problem.where for problem in caught.value.problems] == ["n_train", "n_test"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
def test_idx_files(folder, rng_arrays, compress, spelling):
    for path in list(folder.iterdir()):
        content = gzip.compress(path.read_bytes()) if compress else path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", spelling) + (".gz" if compress else "")
        (folder / name).write_bytes(content)
    data = load_idx(str(folder))
    for part, images, labels in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        expected = rng_arrays[f"{part} images"].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(images, expected[..., np.newaxis])
        np.testing.assert_array_equal(labels, rng_arrays[f"{part} labels"])
    assert data.class_names == ("0", "1", "2")
    assert data.name == folder.name


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load_idx(tmp_path / "none")


def test_all_missing_files_are_named(tmp_path):
    problems = problems_of(tmp_path)
    assert [problem.what for problem in problems] == ["file is missing"] * 4
    assert {Path(problem.where).name for problem in problems} == {name for name, _ in FILE_NAMES.values()}


@pytest.mark.parametrize("n_bytes", [0, 3, 4, 15, 16, 100])
def test_truncated_file(folder, n_bytes):
    path = folder / IMAGES
    path.write_bytes(path.read_bytes()[:n_bytes])
    (problem,) = problems_of(folder)
    assert problem.what.startswith("wrong magic number" if n_bytes < 4 else "truncated")
    assert problem.where == str(path)


def test_bytes_after_the_end(folder):
    with (folder / LABELS).open("ab") as file:
        file.write(b"\0")
    (problem,) = problems_of(folder)
    assert problem.what == "bytes after its end"


def test_truncated_gzip_file(folder):
    path = folder / IMAGES
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])
    (problem,) = problems_of(folder)
    assert problem.what.startswith("cannot be read")


@pytest.mark.parametrize("position", [10, 40, -5])
def test_damaged_gzip_file(folder, position):
    path = folder / IMAGES
    content = bytearray(gzip.compress(path.read_bytes()))
    content[position] ^= 0xFF
    path.write_bytes(content)
    (problem,) = problems_of(folder)
    assert problem.what.startswith("cannot be read")


@pytest.mark.parametrize("position", [0, 2, 3])
def test_wrong_magic_number(folder, position):
    path = folder / IMAGES
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    (problem,) = problems_of(folder)
    assert problem.what.startswith("wrong magic number")


def test_labels_in_place_of_images(folder):
    (folder / IMAGES).write_bytes((folder / LABELS).read_bytes())
    (problem,) = problems_of(folder)
    assert (problem.value, problem.limit) == ("00 00 08 01", "00 00 08 03")


def test_images_and_labels_of_different_length(folder):
    (folder / LABELS).write_bytes(idx(np.arange(11) % 3))
    (problem,) = problems_of(folder)
    assert (problem.what, problem.value) == ("train images and labels differ in number", "12 and 11")


def test_no_images(folder):
    (folder / IMAGES).write_bytes(idx(np.zeros((0, 5, 4))))
    (problem,) = problems_of(folder)
    assert problem.what == "holds no data"


def test_test_data_that_does_not_fit_the_training_data(folder):
    (folder / FILE_NAMES["test images"][0]).write_bytes(idx(np.zeros((6, 5, 5))))
    (folder / FILE_NAMES["test labels"][0]).write_bytes(idx(np.full(6, 3)))
    size, label = problems_of(folder)
    assert size.value == (5, 5)
    assert (label.value, label.limit) == (3, "0 to 2")


def test_all_problems_are_in_one_error(folder):
    (folder / IMAGES).unlink()
    (folder / LABELS).write_bytes(b"\x89PNG")
    with (folder / FILE_NAMES["test images"][0]).open("ab") as file:
        file.write(b"\0")
    assert len(problems_of(folder)) == 3
