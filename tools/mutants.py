"""What `tools.mutate` tries and where: settings, a change of a module as it is drawn, and processes of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wrong_changes import Change, changes

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "mutants"
CHOSEN = sys.argv[3:]
"""Areas; all, if none is named."""
NAME = "_".join(CHOSEN or ["all"])
TREE = OUT / "tree"
"""A copy, as it was when a draw began."""
NUMBA = OUT / "numba"
AREAS = {
    "quantization": ("stages/*.py", "chip/fixed_point.py"),
    "mapping": ("mapping/*.py",),
    "engines": ("engines/**/*.py",),
    "frontends": ("frontends/*.py",),
    "verification": ("analysis/*.py",),
}
"""Modules, below the package."""
TESTS = (
    *(
        "stages",
        "encoders",
        "mapping",
        "engines",
        "frontends",
        "analysis",
        "chip/test_fixed_point.py",
        "bench/test_floor.py",
    ),
    *("conformance/test_engines.py", "conformance/test_nengo_loihi_mapping.py", "backends", "ir", "export"),
    *("simulator/test_simulator.py", "simulator/test_division.py", "simulator/test_remedies.py"),
    *("test_deployment.py", "test_architectures_end_to_end.py", "test_artifact.py", "test_run_arguments.py"),
)
"""Tests that are tried, below tests/: those that mirror the areas, and those that use them."""
LIBRARIES = (
    "numpy",
    "scipy.sparse",
    "numba",
    "nengo",
    "tensorflow",
    "h5py",
    "nir",
    "onnx",
    "click",
    "hypothesis.strategies",
    "hypothesis.extra.numpy",
)
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
"""Variables that say how many threads a library takes."""
QUIETLY = ("-q", "-p", "no:cacheprovider", "--timeout=0")
"""Options of pytest; seconds on the clock say nothing where others use the machine, too."""
REWRITING = "ignore:Module already imported so cannot be rewritten"
"""What pytest says of libraries that were loaded before it."""
MOST_SECONDS = 60.0
"""Of the processor, for the tests that are tried on a change, as they were recorded."""
QUICK = 0.25
"""Seconds of a test that is tried before others."""
WORKERS = int(os.environ.get("WORKERS", "3"))
"""Processes that try changes at a time; the environment variable of this name says otherwise."""
FAR_LONGER, SPARE, COMPILING = 5.0, 10.0, 40.0
"""A test takes far longer with so many times its seconds, and so many more; with these where kernels are compiled."""


@dataclass(frozen=True)
class Mutant:
    """A change of a module."""

    area: str
    path: str
    change: Change

    @property
    def line(self) -> str:
        """The line where it begins, as it is."""
        return (TREE / self.path).read_text(encoding="utf-8").splitlines()[self.change.line - 1].strip()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is named by where line numbers change."""
        return self.path.removeprefix("loihi_deploy/"), self.line, self.change.old, self.change.new

    def source(self) -> bytes:
        """The changed module."""
        content = (TREE / self.path).read_bytes()
        return content[: self.change.start] + self.change.new.encode() + content[self.change.end :]


def modules_of(area: str) -> list[Path]:
    """The modules of an area."""
    return [path for pattern in AREAS[area] for path in sorted((TREE / "loihi_deploy").glob(pattern))]


def drawn(number: int, seed: int) -> list[Mutant]:
    """As many changes from every area."""
    found = []
    for area in CHOSEN or AREAS:
        rng = random.Random(f"{area} {seed}")
        places = [
            [Mutant(area, str(path.relative_to(TREE)), change) for change in ways]
            for path in modules_of(area)
            for ways in changes(path.read_text(encoding="utf-8"), path.name == "kernels.py")
        ]
        found += [rng.choice(ways) for ways in rng.sample(places, -(-number // len(AREAS)))]
    return found


def digest(*paths: Path) -> str:
    """Of the files' content."""
    state = hashlib.sha256()
    for path in paths:
        state.update(path.read_bytes())
    return state.hexdigest()[:20]


def used_seconds() -> float:
    """Of the processor, by this process and those that it waited for."""
    return sum(os.times()[:4])


def forked(work: Callable[[], Any], seconds: float, log: Path) -> tuple[Any, float]:
    """What a function gives in a process of its own, None if that was ended, and its seconds of the processor."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        os.setpgid(0, 0)
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(TREE)
        try:
            answer = json.dumps(work()).encode()
            with os.fdopen(writing, "wb") as stream:
                stream.write(answer)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    _, _, used = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return (json.loads(content) if content else None), used.ru_utime + used.ru_stime


def shared(work: Callable[[T], None], items: Sequence[T]) -> None:
    """Do work on all items, in some processes that each take the next one, from a pipe, as they become free."""
    left, giving = os.pipe()
    with os.fdopen(giving, "wb") as stream:
        stream.write(b"".join(k.to_bytes(2, "big") for k in range(len(items))))
    children = []
    for _ in range(WORKERS):
        child = os.fork()
        if child == 0:
            os.setsid()  # the system shares the processor among sessions
            code = 1
            try:
                while number := os.read(left, 2):
                    work(items[int.from_bytes(number, "big")])
                code = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        children.append(child)
    os.close(left)
    codes = [os.waitpid(child, 0)[1] for child in children]
    if any(codes):
        sys.exit("A process ended before its work was done.")
