"""What is read of HDF5 files, and everything that is refused, as whole text."""

import h5py
import numpy as np
import pytest

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends import hdf5
from loihi_deploy.frontends.hdf5 import MAX_PACKED, MAX_VALUES, Reader

REMEDY = "Write it again"


def read(path, fill, wanted=("a",), **settings):
    with h5py.File(path, "w") as file:
        fill(file)
    reader = Reader(h5py, REMEDY, wanted, **settings)
    return reader.read(path), reader.problems


def test_numbers_texts_and_groups(tmp_path):
    def fill(file):
        file["a/number"] = 3
        file["a/truth"] = np.array([True, False])
        file["a/half"] = np.array([[0.5, 1], [2, -3]], np.float16)
        file["a/text"] = "für"
        file["a/bytes"] = np.bytes_(b"x\xff")
        file["a/texts"] = np.array([[b"a", b"bc"]])
        file["a/deep/er"] = np.uint8(7)
        file["other"] = 1

    found, problems = read(tmp_path / "f", fill)
    assert problems == []
    assert list(found) == ["a"]
    values = found["a"]
    assert (values["number"], values["text"], values["bytes"]) == (3, "für", "x\N{REPLACEMENT CHARACTER}")
    assert values["number"].shape == ()
    assert values["truth"].tolist() == [True, False]
    assert values["half"].tolist() == [[0.5, 1], [2, -3]]
    assert values["texts"].tolist() == [["a", "bc"]]
    assert values["deep"] == {"er": 7}


def test_what_is_not_wanted_or_passed_over(tmp_path):
    def fill(file):
        for place in ("a/a", "a/skip", "b/a", "skip/a", "a/b/skip/c"):
            file[place] = 1

    found, problems = read(tmp_path / "f", fill, unread=("skip",))
    assert (found, problems) == ({"a": {"a": 1, "b": {}}}, [])
    found, _ = read(tmp_path / "f", fill, ("a", "b", "skip"))
    assert list(found) == ["a", "b", "skip"]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_groups_as_deep_as_they_may_be(depth, tmp_path):
    def nested(n):
        def fill(file):
            file["/".join("a" * (n + 1))] = 1

        return fill

    found, problems = read(tmp_path / "f", nested(depth), depth=depth)
    assert problems == []
    for _ in range(depth + 1):
        found = found["a"]
    assert found == 1
    _, problems = read(tmp_path / "f", nested(depth + 1), depth=depth)
    assert problems == [Problem("neither numbers nor text", "/".join("a" * (depth + 1)), remedy=REMEDY)]


def test_groups_lie_four_deep_where_nothing_is_said():
    assert Reader(h5py, REMEDY, ("a",)).depth == 4


@pytest.mark.parametrize(
    ("fill", "problem"),
    [
        (lambda g: g.__setitem__("x", h5py.SoftLink("/other")), ("a link, which is not followed", None)),
        (lambda g: g.__setitem__("x", h5py.ExternalLink("b", "/")), ("a link, which is not followed", None)),
        (lambda g: g.__setitem__("x", np.zeros((3, 0))), ("no values", (3, 0))),
        (lambda g: g.__setitem__("x", h5py.Empty("f")), ("no values", None)),
        (lambda g: g.__setitem__("x", np.array([1j])), ("neither numbers nor text", np.dtype(complex))),
        (
            lambda g: g.__setitem__("x", np.array([1, np.nan, -np.inf])),
            ("values are not finite", "2 NaN or infinite values"),
        ),
        (lambda g: g.__setitem__("x", np.dtype("f4")), ("neither numbers nor text", None)),
        (
            lambda g: g.create_dataset("x", (3,), "f4", external=[("elsewhere", 0, 12)]),
            ("data that are kept in another file", None),
        ),
        (
            lambda g: g.create_virtual_dataset("x", h5py.VirtualLayout((3,), "f4")),
            ("data that are kept in another file", None),
        ),
    ],
)
def test_what_is_refused(fill, problem, tmp_path):
    def both(file):
        fill(file.create_group("a"))
        file["a/y"] = 2

    what, value = problem
    found, problems = read(tmp_path / "f", both)
    assert problems == [Problem(what, "a/x", value, remedy=REMEDY)]
    assert found == {"a": {"y": 2}}


def test_more_numbers_than_a_file_can_hold(tmp_path, monkeypatch):
    """Of compressed data a byte can stand for so many; numbers beyond what a network has are refused in any case."""
    what = "more numbers are claimed than the file can hold, or than a network has"

    def filled(n):
        return lambda file: file.create_dataset(
            "a", data=np.zeros(n, np.int8), compression="gzip", chunks=(n,)
        )

    n = 1 << 20
    found, problems = read(tmp_path / "f", filled(n))
    assert (found["a"].shape, problems) == ((n,), [])
    with h5py.File(tmp_path / "f") as file:
        stored = file["a"].id.get_storage_size()
    assert n / stored > 900  # the best that its compression reaches
    monkeypatch.setattr(hdf5, "MAX_PACKED", n // stored)
    found, problems = read(tmp_path / "f", filled(n))
    assert problems == [Problem(what, "a", f"({n},), {stored:,} bytes", f"{MAX_VALUES:,} numbers", REMEDY)]
    monkeypatch.setattr(hdf5, "MAX_PACKED", MAX_PACKED)
    for limit, fine in ((n, True), (n - 1, False)):
        monkeypatch.setattr(hdf5, "MAX_VALUES", limit)
        found, problems = read(tmp_path / "f", filled(n))
        assert (("a" in found), not problems) == (fine, fine)


def test_sizes_that_a_network_may_have():
    assert (MAX_VALUES, MAX_PACKED) == (134_217_728, 1100)


def test_damaged_files(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ConversionError) as caught:
        Reader(h5py, REMEDY, ("a",)).read(path)
    (problem,) = caught.value.problems
    assert (problem.what, problem.where, problem.remedy) == ("damaged", str(path), REMEDY)
    assert "signature" in problem.value
    assert "\n" not in problem.value
