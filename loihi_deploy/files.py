"""Write files: a regular file appears whole or not at all; whatever else stands at a path is written into.

Symbolic links are followed, and an existing file keeps its mode and, where that is allowed, its owner. A FIFO, a device
or an open file of this process (``/dev/stdout``, ``/dev/fd/3``) is never replaced.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from loihi_deploy.errors import OutputError

PathOrStream = str | os.PathLike[str] | BinaryIO
MAX_LINKS = 40
"""Symbolic links that Linux follows in one path (path_resolution(7))."""


def write_file(target: PathOrStream, data: bytes) -> None:
    """Write bytes to a path or to an open binary stream.

    Parameters
    ----------
    target : path or binary stream
    data : bytes

    Raises
    ------
    OutputError
        If the path cannot be written; nothing is left behind then.
    BrokenPipeError
        If `target` is a stream that nobody reads any more.
    """
    if not isinstance(target, (str, os.PathLike)):
        _check_stream(target)
        target.write(data)
        target.flush()
        return
    path = _checked(target)
    try:
        descriptor = _open_descriptor(path)
        if descriptor is not None:
            sys.stdout.flush()  # what was printed before comes first
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
        elif os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(os.path.realpath(path), data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_writable(target: PathOrStream) -> None:
    """Refuse, before any work begins, a path that `write_file` could not write; nothing is opened or left behind.

    Raises
    ------
    OutputError
        If it is a folder, no path at all, stands in a folder that does not exist, or may not be written.
    """
    if not isinstance(target, (str, os.PathLike)):
        _check_stream(target)
        return
    path = _checked(target)
    if _open_descriptor(path) is not None:
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(13, os.strerror(13))
        else:
            handle, temporary = _temporary_beside(os.path.realpath(path))
            os.close(handle)
            os.unlink(temporary)
    except OSError as error:
        raise _cannot_write(path, error) from error


def written(write: Callable[..., Any], *values: Any, **named: Any) -> bytes:
    """What a function like `numpy.savez` writes to a stream, its first argument, of the others."""
    stream = io.BytesIO()
    write(stream, *values, **named)
    return stream.getvalue()


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and those that it stands in, where they are not there.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError.single(f"cannot be made: {reason}", str(folder)) from error
    return folder


def _check_stream(target: Any) -> None:
    if not (callable(getattr(target, "write", None)) and callable(getattr(target, "flush", None))):
        raise OutputError.single(
            "not a path",
            value=type(target).__name__,
            remedy="Give the path of a file, or an open binary file",
        )


def _checked(path: str | os.PathLike[str]) -> str:
    """The path as text, where it can name a file at all."""
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise OutputError.single("not the name of a file", value=text, remedy="Give the path of a file")
    try:
        is_folder = stat.S_ISDIR(os.stat(text).st_mode)
    except FileNotFoundError:
        is_folder = text.endswith(os.sep)
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long or cannot be encoded
        raise _cannot_write(text, error) from error
    if is_folder:
        raise OutputError.single(
            "cannot be written: it is a folder", text, remedy="Give the path of a file in it"
        )
    return text


def _open_descriptor(path: str) -> int | None:
    """The number of the open file of this process that a path such as /dev/stdout stands for, or None."""
    for _ in range(MAX_LINKS):
        folder, name = os.path.split(os.path.abspath(path))
        if os.path.realpath(folder) in ("/dev/fd", f"/proc/{os.getpid()}/fd") and name.isdecimal():
            return int(name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def _temporary_beside(path: str) -> tuple[int, str]:
    """A new file in the folder of `path`, which itself may be written."""
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError(13, os.strerror(13))
    return tempfile.mkstemp(prefix=".loihi-deploy-", dir=os.path.dirname(path))


def _replace(path: str, data: bytes) -> None:
    """Write a regular file whole or not at all."""
    handle, temporary = _temporary_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if os.path.exists(path):
            before = os.stat(path)
            with suppress(PermissionError):  # only root gives files away
                os.chown(temporary, before.st_uid, before.st_gid)
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        else:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:  # also an interrupt leaves nothing behind
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _cannot_write(path: str, error: OSError | ValueError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return OutputError.single(
        f"cannot be written: {reason}", path, remedy="Choose a path in a folder that exists and is writable"
    )
