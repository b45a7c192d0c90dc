"""Samples and labels that a user names, in every form; and what is wrong with a file, in one error."""

import gzip

import numpy as np
import pytest

from loihi_deploy.data import fashion_mnist
from loihi_deploy.data.image_folder import resized
from loihi_deploy.data.named import Form, check_named, evenly, read_labelled, read_labels, read_samples
from loihi_deploy.errors import DataError, InputError

FLAT = Form({"x": (3,)})
IMAGES = Form({"image": (4, 5, 3)})
X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim, *b"".join(n.to_bytes(4, "big") for n in array.shape)]) + array.tobytes()
    )


def write_each_form():
    """The same samples and labels in every form; the names under which they are read."""
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.savez("set.npz", x=X, y=Y)
    np.savez("parts.npz", x_train=X[::-1], y_train=Y[::-1], x_test=X, y_test=Y)
    rows = [f"{a},{b},{c},{label}" for (a, b, c), label in zip(X, Y, strict=True)]
    with open("set.csv", "w") as file:
        file.write("\n".join(["a,b,c,Label", *rows]) + "\n")
    with open("x.csv", "w") as file:
        file.write("\n".join(row.rpartition(",")[0] for row in rows))
    with open("y.csv", "w") as file:
        file.write("\n".join(row.rpartition(",")[2] for row in rows))
    with open("y.idx1-ubyte", "wb") as file:
        file.write(idx(Y.astype(np.uint8)))
    with gzip.open("y-idx1-ubyte.gz", "wb") as file:
        file.write(idx(Y.astype(np.uint8)))


@pytest.mark.parametrize("name", ["set.npz", "parts.npz", "set.csv"])
def test_samples_with_labels(folder, name):
    write_each_form()
    found = read_labelled(name, FLAT)
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    assert found.y.dtype.kind == "i"
    assert str(found).startswith("4 samples of " + name)


@pytest.mark.parametrize("name", ["x.npy", "set.npz:x", "parts.npz:x_test", "set.npz", "x.csv", "set.csv"])
def test_samples_alone(folder, name):
    write_each_form()
    np.testing.assert_array_equal(read_samples(name, FLAT).x, X)


@pytest.mark.parametrize(
    "name", ["y.npy", "set.npz:y", "set.npz", "y.csv", "set.csv", "y.idx1-ubyte", "y-idx1-ubyte.gz"]
)
def test_labels_alone(folder, name):
    write_each_form()
    np.testing.assert_array_equal(read_labels(name), Y)
    assert read_samples("x.npy", FLAT, 2, labels=read_labels(name)).y.tolist() == [0, 2]


def test_calibration_takes_the_training_part(folder):
    write_each_form()
    np.testing.assert_array_equal(read_samples("parts.npz", FLAT, part="train").x, X[::-1])
    bundled = read_samples("fashion-mnist", Form({"image": (28, 28, 1)}), 5, "train")
    np.testing.assert_array_equal(bundled.x, fashion_mnist().x_train[::2000])
    assert str(bundled) == "5 of 10,000 samples of the training images of fashion-mnist"


def test_forms_of_bundled_images():
    first = fashion_mnist().x_test[:1]
    flat = read_samples("fashion-mnist", Form({"image": (784,)}, pixels="0..255"), 1).x
    np.testing.assert_allclose(flat, 255 * first.reshape(1, 784), rtol=1e-6)
    assert read_samples("fashion-mnist", Form({"image": (1, 28, 28)}, True), 1).x.shape == (1, 1, 28, 28)


def test_several_inputs(folder):
    np.savez("two.npz", a=X, b=X + 1, y=Y)
    found = read_labelled("two.npz", Form({"a": (3,), "b": (3,)}), 2)
    np.testing.assert_array_equal(found.x["b"], X[[0, 2]] + 1)
    assert found.n == 2
    with pytest.raises(DataError, match="not an array for each input"):
        read_samples("two.npz", Form({"a": (3,), "c": (3,)}))


@pytest.mark.parametrize(("n", "limit"), [(10, None), (10, 3), (3, 10), (7, 7)])
def test_a_part_is_evenly_spaced(n, limit):
    chosen = evenly(n, limit)
    assert len(set(chosen)) == len(chosen) == min(n, limit or n)
    assert np.ptp(np.diff(chosen)) <= 1
    assert chosen.min() == 0
    assert chosen.max() < n


def write_pictures(shape=(4, 5, 3), endings=("png", "bmp")):
    from pathlib import Path

    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
    for k, image in enumerate(pixels):
        path = Path("pictures", "ab"[k % 2], f"{k}.{endings[k % len(endings)]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    Path("pictures/a/notes.txt").write_text("no image")
    return pixels


def test_images_by_class(folder):
    pixels = write_pictures()
    found = read_labelled("pictures", IMAGES)
    np.testing.assert_array_equal(found.y, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(found.x, pixels[[0, 2, 4, 1, 3, 5]] / 255, rtol=1e-6)
    assert str(found) == "6 samples of pictures (2 classes)"
    np.testing.assert_array_equal(read_labelled("pictures", IMAGES, 2).y, [0, 1])
    first = read_samples("pictures", Form({"x": (3, 4, 5)}, True, "0..255"), 1).x
    np.testing.assert_array_equal(first[0].transpose(1, 2, 0), pixels[0])
    assert read_samples("pictures", Form({"x": (4, 5, 1)})).x.shape == (6, 4, 5, 1)
    np.testing.assert_array_equal(read_samples("pictures/a", IMAGES).x, found.x[:3])
    with pytest.raises(DataError, match="has no labels"):
        read_labelled("pictures/a", IMAGES)
    with pytest.raises(InputError, match="does not take images"):
        read_samples("pictures", FLAT)


def test_images_as_keras_reads_them(folder):
    from loihi_deploy.frontends import import_tensorflow

    write_pictures((9, 12, 3), ("png",))
    keras = import_tensorflow().keras
    theirs = keras.utils.image_dataset_from_directory(
        "pictures", image_size=(4, 5), shuffle=False, batch_size=6
    )
    x, y = next(iter(theirs))
    ours = read_labelled("pictures", Form({"x": (4, 5, 3)}, pixels="0..255"))
    np.testing.assert_allclose(ours.x, x.numpy(), atol=1e-3)
    np.testing.assert_array_equal(ours.y, y.numpy())
    enlarged = read_labelled("pictures", Form({"x": (11, 30, 3)}, pixels="0..255"))
    theirs = keras.utils.image_dataset_from_directory(
        "pictures", image_size=(11, 30), shuffle=False, batch_size=6
    )
    np.testing.assert_allclose(enlarged.x, next(iter(theirs))[0].numpy(), atol=1e-3)


def test_an_image_of_the_right_size_is_not_touched():
    image = np.random.default_rng(0).random((4, 5, 3), np.float32)
    assert resized(image, (4, 5)) is image


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"", "not a readable .npy file"),
        ("a.npy", b"\x93NUMPY\x01\x00", "not a readable .npy file"),
        ("a.npz", b"PK\x03\x04", "not a readable .npz file"),
        ("a.npz:x", b"nothing", "not a readable .npz file"),
        ("a.csv", b"", "holds no sample"),
        ("a.csv", b"a,b\n", "holds no sample"),
        ("a.csv", b"1,2\n3\n", "another number of columns"),
        ("a.csv", b"1,2\n3,x\n", "line 2: not a number"),
        ("a.csv", b"\xff\xfe", "cannot be read"),
        ("a.idx", b"\0\0\x08\x02\0\0", "truncated in its header"),
        ("a.idx", b"\0\0\x08\x01\0\0\0\x09abc", "truncated"),
        ("a.idx", b"\0\0\x08\xff" + b"\xff" * 2000, "truncated"),
        ("a.pdf", b"%PDF", "not a kind of data file"),
        ("missing.npy", None, "no such file or folder"),
        ("x" * 300, None, "no such file or folder"),
        ("nul\0", None, "no such file or folder"),
        ("", None, "no such file or folder"),
    ],
)
def test_files_that_are_no_data(folder, name, content, message):
    if content is not None:
        (folder / name.partition(":")[0]).write_bytes(content)
    for read in (lambda: read_samples(name, FLAT), lambda: read_labels(name)):
        with pytest.raises(DataError, match=message):
            read()


@pytest.mark.parametrize("array", [np.array(3.0), np.array(["a"]), np.array([1j]), np.array([None])])
def test_arrays_that_are_no_samples(folder, array):
    np.save("a.npy", array, allow_pickle=True)
    with pytest.raises(DataError):
        read_samples("a.npy", FLAT)


def test_what_does_not_fit_together(folder):
    write_each_form()
    np.savez("uneven.npz", x=X, y=Y[:3])
    with pytest.raises(DataError, match="differ in their number"):
        read_labelled("uneven.npz", FLAT)
    with pytest.raises(DataError, match="labels differ in number"):
        read_samples("x.npy", FLAT, labels=Y[:3])
    with pytest.raises(DataError, match="has no labels"):
        read_labelled("x.npy", FLAT)
    np.savez("two.npz", a=X, b=X)
    with pytest.raises(DataError, match=r"Say which: two.npz:a"):
        read_samples("two.npz", FLAT)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data that is known"):
        read_labelled("empty", IMAGES)
    with pytest.raises(DataError, match="no such file"):
        check_named("x.npy", "missing", "fashion-mnist")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        read_samples("pictures", IMAGES)
