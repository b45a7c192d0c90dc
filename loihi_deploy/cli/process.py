"""What the command line does to its own process, to no other that uses its commands: quiet libraries, quick imports."""

from __future__ import annotations

import atexit
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

# TensorFlow's C++ code writes such lines whatever TF_CPP_MIN_LOG_LEVEL says, until its logging is set up: I for
# information, W, E; F, for what ends the process, is let through. (absl/log/internal/log_format.cc)
CHATTER = re.compile(
    rb"[IWE]\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\]|\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called|"
    rb"To enable the following instructions: "
)


@contextmanager
def quiet_errors() -> Iterator[None]:
    """Keep the log lines of compiled libraries off standard error; what Python writes there goes on to the terminal."""
    if sys.stderr is None or sys.stderr.fileno() != 2:
        yield
        return
    sys.stderr.flush()
    ours = os.dup(2)
    read, write = os.pipe()
    os.dup2(write, 2)
    os.close(write)
    python_errors, sys.stderr = (
        sys.stderr,
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(ours, "w")),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        ),
    )
    thread = threading.Thread(target=_pass_on, args=(read, ours), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(ours, 2)  # the last writer is gone: the thread ends
        thread.join(1)
        sys.stderr.flush()
        sys.stderr = python_errors


def _pass_on(read: int, write: int) -> None:
    """Copy lines that are no chatter until nobody writes any more."""
    with open(read, "rb") as lines:
        for line in lines:
            if not CHATTER.match(line):
                os.write(write, line)


def leave(status: int) -> NoReturn:
    """End this process, whose work is done, without taking it apart.

    With TensorFlow loaded, Python frees one module after the other for more than a second of CPU time, and then ends
    the process, which frees everything.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # what was to be said was flushed; nobody reads the rest
                stream.flush()
    os._exit(status)


def without(*modules: str) -> None:
    """Let imports of these modules fail at once.

    A saved deployment needs neither TensorFlow nor NengoDL, but nengo-loihi imports both where they are installed (its
    compat.py), and NengoDL imports TensorFlow a second time in a process of its own (its utils.py): 15 s for nothing.
    """
    modules_there: dict[str, Any] = sys.modules  # None for what must not be imported
    for name in modules:
        modules_there.setdefault(name, None)
