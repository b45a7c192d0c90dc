"""The file format: what goes in comes out, and nothing else is accepted."""

import io
import json
import os
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loihi_deploy.artifact import VERSION, read_artifact, write_artifact
from loihi_deploy.errors import ArtifactError, OutputError
from loihi_deploy.ir.content import Content


@dataclass(frozen=True, eq=False)
class Leaf(Content):
    """A value with an array."""

    name: str
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Tree(Content):
    """A value with others inside."""

    leaves: tuple[Leaf, ...]
    number: float | None
    table: dict


TYPES = (Leaf, Tree)
TREE = Tree(
    (Leaf("a", np.arange(6.0).reshape(2, 3)), Leaf("b", np.zeros(0, np.int8))), float("inf"), {"k": (1, "x")}
)


@pytest.fixture
def saved(tmp_path):
    """A good file."""
    path = tmp_path / "net.loihi"
    write_artifact(path, {"tree": TREE, "note": "ü"})
    return path


def test_round_trip(saved):
    assert read_artifact(saved, TYPES) == {"tree": TREE, "note": "ü"}


def test_the_same_content_gives_the_same_bytes(saved, tmp_path):
    write_artifact(tmp_path / "again.loihi", {"tree": TREE, "note": "ü"})
    assert (tmp_path / "again.loihi").read_bytes() == saved.read_bytes()


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text()
arrays = hnp.arrays(st.sampled_from([np.int8, np.int32, np.float64, np.bool_]), hnp.array_shapes(min_side=0))
trees = st.builds(
    Tree,
    st.lists(st.builds(Leaf, st.text(), arrays), max_size=3).map(tuple),
    st.none() | st.floats(allow_nan=False),
    st.dictionaries(st.text(), scalars, max_size=3),
)


@given(tree=trees)
def test_any_tree_comes_back_equal(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "t.loihi"
    write_artifact(path, {"tree": tree})
    assert read_artifact(path, TYPES) == {"tree": tree}


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -30])
def test_truncated(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[:keep])
    with pytest.raises(ArtifactError, match="damaged, truncated"):
        read_artifact(saved, TYPES)


def test_every_flipped_byte_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    good = {"tree": TREE, "note": "ü"}
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            content = read_artifact(saved, TYPES)
        except ArtifactError:
            continue
        assert content == good, f"byte {position}"  # a byte that stands for nothing, a file time for instance


def _rewrite(path, change):
    """Change the manifest of a file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    change(manifest, files)
    files["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_newer_version(saved):
    _rewrite(saved, lambda manifest, files: manifest.update(version=VERSION + 1))
    with pytest.raises(ArtifactError, match=r"newer version.*Upgrade"):
        read_artifact(saved, TYPES)


def test_other_format(saved):
    _rewrite(saved, lambda manifest, files: manifest.update(format="onnx"))
    with pytest.raises(ArtifactError, match="not a saved deployment"):
        read_artifact(saved, TYPES)


def test_altered_manifest(saved):
    _rewrite(saved, lambda manifest, files: manifest["content"].update(note="other"))
    with pytest.raises(ArtifactError, match="digest"):
        read_artifact(saved, TYPES)


def test_altered_array(saved):
    stream = io.BytesIO()
    np.save(stream, np.ones((2, 3)))
    _rewrite(saved, lambda manifest, files: files.update({"arrays/0000.npy": stream.getvalue()}))
    with pytest.raises(ArtifactError, match="digest"):
        read_artifact(saved, TYPES)


def test_pickled_array_is_refused(saved):
    import hashlib

    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)

    def put(manifest, files):
        files["arrays/0000.npy"] = stream.getvalue()
        manifest["arrays"]["arrays/0000.npy"] = hashlib.sha256(stream.getvalue()).hexdigest()

    _rewrite(saved, put)
    with pytest.raises(ArtifactError, match="pickle"):
        read_artifact(saved, TYPES)


def test_unknown_type(saved):
    with pytest.raises(ArtifactError, match="Tree"):
        read_artifact(saved, (Leaf,))


def test_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        read_artifact(tmp_path / "none.loihi", TYPES)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(ArtifactError):
        read_artifact(tmp_path, TYPES)


def test_path_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_artifact(tmp_path / "missing" / "net.loihi", {"a": 1})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_artifact(tmp_path / "folder", {"a": 1})
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_a_value_with_no_place_in_a_file(tmp_path):
    with pytest.raises(TypeError, match="no place"):
        write_artifact(tmp_path / "net.loihi", {"a": object()})
    assert os.listdir(tmp_path) == []
