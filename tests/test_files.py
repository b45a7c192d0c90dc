"""Writing files: links, modes, what is no regular file, and paths that cannot be written."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from loihi_deploy import files
from loihi_deploy.errors import OutputError
from loihi_deploy.files import check_writable, write_file


def test_a_new_file_has_the_mode_that_open_gives(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    write_file(tmp_path / "new", b"content")
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_an_existing_file_keeps_its_mode(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("dangling", [False, True])
def test_links_are_followed(tmp_path, dangling):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if not dangling:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    write_file(tmp_path / "link2", b"new")
    assert (tmp_path / "link2").is_symlink()
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()


def test_a_fifo_is_written_into(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_writable(fifo)  # and does not wait for a reader
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    write_file(fifo, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_into(tmp_path):
    check_writable("/dev/null")
    write_file("/dev/null", b"content")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    write_file(tmp_path / "link", b"content")
    assert stat.S_ISCHR(os.stat(tmp_path / "link").st_mode)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "link"])
def test_standard_output_in_order_with_what_is_printed(tmp_path, path):
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "import sys; from loihi_deploy.files import check_writable, write_file;"
        "print('before'); check_writable(sys.argv[1]); write_file(sys.argv[1], b'content\\n'); print('after')"
    )
    expected = b"before\ncontent\nafter\n"
    command = [sys.executable, "-c", code, path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    piped = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True)
    assert piped.stdout == expected
    with open(tmp_path / "out", "wb") as out:
        subprocess.run(command, cwd=tmp_path, env=environment, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == expected


def test_a_stream(tmp_path):
    with open(tmp_path / "file", "wb") as stream:
        check_writable(stream)
        write_file(stream, b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    "path",
    [
        "missing/file",
        "",
        ".",
        "folder",
        "folder/",
        "new/",
        "nul\0byte",
        "x" * 300,
        "loop",
        "file/below",
        3,
        None,
        b"x",
    ],
)
def test_what_cannot_be_written_is_refused_before_and_when_writing(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    for act in (check_writable, lambda target: write_file(target, b"content")):
        with pytest.raises(OutputError):
            act(path)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_that_may_not_be_written(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    for act in (check_writable, lambda target: write_file(target, b"content")):
        with pytest.raises(OutputError, match="Permission denied"):
            act(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_goes_wrong_on_the_way_leaves_nothing_behind(tmp_path, monkeypatch, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OutputError):
        write_file(path, b"content")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_device():
    with pytest.raises(OutputError, match="No space left"):
        write_file("/dev/full", b"content")
