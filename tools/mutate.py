"""Small wrong changes, and whether the tests notice them: ``python tools/mutate.py 150 1`` or ``make mutants``.

As many places as the first number says are drawn with the second one, the same number from each area; areas that are
named behind it are tried alone. Every change is made by itself, over a copy of the tree, and the tests of its area
run there until the first one fails: of the files that run the changed line, the module's own first and then the
quickest; of each the tests that run the line, then the others, which may use what the first one made. Which lines a
test runs, and for how long, is recorded once and kept for as long as the package and that file stay the same. Kernels
leave no trace: for what is compiled, and for what runs when a module is imported, all tests of the area are tried. So
that no test pays for it, libraries are loaded once, and each change gets a process that is forked from there and
reads the changed source for the module's own; processes that a test starts do not see it. A changed kernel is
compiled anew and kept under a name of its own, as every kernel is: see `loihi_deploy.engines.kept_code`.

A change counts as noticed when a test fails, or takes far longer than it did. Changes that change nothing stand in
`tools.equivalent_changes` with the reason; they are counted by themselves. Run again with the same numbers, those that
were not noticed are tried once more; without the folder out/mutants everything begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from equivalent_changes import EQUIVALENT
from wrong_changes import Change, changes

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "mutants"
CHOSEN = sys.argv[3:]
"""Areas; all, if none is named."""
NAME = "_".join(CHOSEN or ["all"])
TREE = OUT / "tree"
NUMBA = OUT / "numba"
AREAS = {
    "quantization": (
        ("stages/*.py", "chip/fixed_point.py"),
        ("stages", "encoders", "chip/test_fixed_point.py", "conformance/test_engines.py"),
    ),
    "mapping": (("mapping/*.py",), ("mapping", "conformance/test_nengo_loihi_mapping.py")),
    "engines": (
        ("engines/**/*.py",),
        (
            *("engines", "encoders", "conformance/test_engines.py", "backends/test_running.py"),
            *("backends/test_losses.py", "analysis/test_host_link.py", "analysis/energy/test_energy.py"),
        ),
    ),
    "frontends": (("frontends/*.py",), ("frontends", "export/test_nir.py", "export/test_netx.py")),
    "verification": (
        ("analysis/*.py",),
        ("analysis/test_*.py", "report/test_report.py", "backends/test_errors_of_values.py"),
    ),
}
"""Modules, below the package, and the tests that mirror them, below tests/."""
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
    "pytest",
)
REWRITING = "ignore:Module already imported so cannot be rewritten"
"""What pytest says of libraries that were loaded before it."""
MOST_SECONDS = 45.0
"""Of the processor, for the tests that are tried on a change, as they were recorded."""


@dataclass(frozen=True)
class Mutant:
    """A change of a module."""

    area: str
    path: str
    change: Change

    @property
    def line(self) -> str:
        """The line where it begins, as it is."""
        return (ROOT / self.path).read_text(encoding="utf-8").splitlines()[self.change.line - 1].strip()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is named by where line numbers change."""
        return self.path.removeprefix("loihi_deploy/"), self.line, self.change.old, self.change.new

    def source(self) -> bytes:
        """The changed module."""
        content = (ROOT / self.path).read_bytes()
        return content[: self.change.start] + self.change.new.encode() + content[self.change.end :]


def modules_of(area: str) -> list[Path]:
    """The modules of an area."""
    patterns, _ = AREAS[area]
    return [path for pattern in patterns for path in sorted((ROOT / "loihi_deploy").glob(pattern))]


def drawn(number: int, seed: int) -> list[Mutant]:
    """As many changes from every area."""
    found = []
    for area in CHOSEN or AREAS:
        rng = random.Random(f"{area} {seed}")
        places = [
            [Mutant(area, str(path.relative_to(ROOT)), change) for change in ways]
            for path in modules_of(area)
            for ways in changes(path.read_text(encoding="utf-8"), path.name == "kernels.py")
        ]
        found += [rng.choice(ways) for ways in rng.sample(places, -(-number // len(AREAS)))]
    return found


def copy_tree() -> None:
    """Bring the copy up to date: what is not ignored, each file with its time."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    names = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in TREE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]:
        if str(path.relative_to(TREE)) not in names:
            path.unlink(missing_ok=True)
    for name in names:
        ours, theirs = ROOT / name, TREE / name
        if not theirs.exists() or ours.read_bytes() != theirs.read_bytes():
            theirs.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ours, theirs)


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


def used_seconds() -> float:
    """Of the processor, by this process and those that it waited for."""
    return sum(os.times()[:4])


class Watcher:
    """Looks on as pytest runs: which tests pass and for how long, and the first that fails.

    Parameters
    ----------
    wanted : list of str, optional
        The tests that run, in this order; all of the file, if not given.
    coverage : Coverage, optional
        What is told which test runs.
    """

    def __init__(self, wanted: list[str] | None = None, coverage: Any = None) -> None:
        self.wanted, self.coverage = wanted, coverage
        self.seconds: dict[str, float] = {}
        self.failed: list[tuple[str, str]] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what is wanted."""
        if self.wanted is not None:
            place = {name: k for k, name in enumerate(self.wanted)}
            items[:] = sorted((i for i in items if i.nodeid in place), key=lambda i: place[i.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin to measure."""
        self.begun = used_seconds()
        if self.coverage:
            self.coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Measured."""
        self.seconds[nodeid] = used_seconds() - self.begun
        if self.coverage:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep why a test failed."""
        if report.failed:
            self.failed.append((report.nodeid, str(report.longrepr).strip().splitlines()[-1][:200]))

    def pytest_collectreport(self, report: Any) -> None:
        """Keep why a file has no tests."""
        if report.failed:
            self.failed.append((report.nodeid, str(report.longrepr).strip().splitlines()[-1][:200]))


def run_tests(file: str, watcher: Watcher, *arguments: str) -> int:
    """Run the tests of a file in this process."""
    import pytest

    return int(
        pytest.main(["-q", "-p", "no:cacheprovider", "-W", REWRITING, *arguments, file], plugins=[watcher])
    )


def record(file: str) -> dict[str, Any]:
    """Run a file of tests: the seconds of those that pass, and the lines that they run, by file."""
    from coverage import Coverage

    measured = Coverage(data_file=None, source=["loihi_deploy"], config_file=False)
    watcher = Watcher(coverage=measured)
    measured.start()
    run_tests(file, watcher)
    measured.stop()
    failed = {name for name, _ in watcher.failed}
    names = [name for name in watcher.seconds if name not in failed]
    number = {name: k for k, name in enumerate(names)}
    data, lines = measured.get_data(), {}
    modules = {str(path.relative_to(ROOT)) for area in AREAS for path in modules_of(area)}
    for path in data.measured_files():
        place = str(Path(path).relative_to(TREE))
        if place not in modules:
            continue
        by_line = {
            str(line): [number[name] for name in contexts if name in number]
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        lines[place] = by_line  # without a test where a file runs it as it is collected
    return {
        "tests": names,
        "seconds": [watcher.seconds[name] for name in names],
        "failed": sorted(failed),
        "lines": lines,
    }


def test_files(area: str) -> list[str]:
    """The files of tests that mirror an area."""
    found: set[Path] = set()
    for place in AREAS[area][1]:
        for path in (ROOT / "tests").glob(place):
            found |= set(path.rglob("test_*.py")) if path.is_dir() else {path}
    return sorted(str(path.relative_to(ROOT)) for path in found)


def digest(*paths: Path) -> str:
    """Of the files' content."""
    state = hashlib.sha256()
    for path in paths:
        state.update(path.read_bytes())
    return state.hexdigest()[:20]


def recorded(files: list[str]) -> dict[str, dict[str, Any]]:
    """What each file of tests runs; recorded now, where that was not kept."""
    package = digest(*sorted((ROOT / "loihi_deploy").rglob("*.py")))
    found = {}
    for file in files:
        kept = OUT / "reached" / f"{digest(ROOT / file)}-{package}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            result, seconds = forked(lambda file=file: record(file), 3600, OUT / f"log {NAME}.txt")  # type: ignore[misc]
            if result is None:
                sys.exit(f"{file} could not be run: see {OUT / 'log.txt'}")
            if result["failed"]:
                print(
                    f"  left out, since they fail without a change: {', '.join(result['failed'])}", flush=True
                )
            kept.write_text(json.dumps(result))
            print(f"  {file}: {len(result['tests'])} tests, {seconds:.0f} s", flush=True)
        found[file] = json.loads(kept.read_text())
    return found


def tests_of(mutant: Mutant, reached: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The tests to be tried on a change, file by file."""
    stem = Path(mutant.path).stem
    traced = mutant.change.inside and not mutant.change.compiled
    chosen: list[tuple[bool, float, str, list[tuple[float, str]]]] = []
    for file in test_files(mutant.area):
        kept = reached[file]
        lines = kept["lines"].get(mutant.path, {})
        first = lines.get(str(mutant.change.line), []) if traced else range(len(kept["tests"]))
        if traced and str(mutant.change.line) not in lines:
            continue
        order = [*sorted(first, key=kept["seconds"].__getitem__)]
        order += sorted(set(range(len(kept["tests"]))) - set(first), key=kept["seconds"].__getitem__)
        of_file = [(kept["seconds"][n], kept["tests"][n]) for n in order]
        if of_file:
            mean = sum(seconds for seconds, _ in of_file) / len(of_file)
            chosen.append((stem not in Path(file).stem, mean, file, of_file))
    left, found = MOST_SECONDS, []
    for _, _, file, of_file in sorted(chosen):
        names = []
        for seconds, name in of_file:
            if seconds <= left:
                left -= seconds
                names.append(name)
        if names:
            found.append((file, names))
    return found


def attempt(mutant: Mutant, tests: list[tuple[str, list[str]]]) -> dict[str, Any]:
    """What becomes of a change: noticed or not, by which test, and why."""
    if not tests:
        return {"noticed": False, "by": "", "why": "no test runs it"}
    target, source = str(TREE / mutant.path), mutant.source()
    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> Any:
        changed = loader.path == target
        return compile(source, target, "exec", dont_inherit=True) if changed else read(loader, name)

    def work() -> dict[str, Any]:
        SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
        for file, names in tests:
            watcher = Watcher(names)
            code = run_tests(file, watcher, "-x")
            if code not in (0, 5):
                name, why = watcher.failed[0] if watcher.failed else (file, f"pytest ends with {code}")
                return {"noticed": True, "by": name, "why": why}
        return {"noticed": False, "by": "", "why": f"{sum(len(names) for _, names in tests)} tests pass"}

    result, seconds = forked(work, 60 + 4 * MOST_SECONDS, OUT / f"log {NAME}.txt")
    if result is None:
        result = {"noticed": True, "by": "", "why": "ended, or took too long"}
    return {**result, "seconds": round(seconds, 1)}


def load_libraries() -> None:
    """What every test would load, once; nothing of the package itself."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ |= {"PYTHONPATH": str(TREE), "NUMBA_CACHE_DIR": str(NUMBA)}
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    sys.path[0] = str(TREE)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            importlib.import_module(name)
        importlib.import_module("tensorflow").keras.Model  # noqa: B018  it is loaded late
    NUMBA.mkdir(parents=True, exist_ok=True)
    importlib.import_module("numba").config.CACHE_DIR = str(NUMBA)
    for name in [name for name in sys.modules if name.split(".")[0] in ("loihi_deploy", "tests", "tools")]:
        del sys.modules[name]


def report(mutants: list[Mutant], outcomes: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Figures for each area and all, then what was not noticed."""
    counts: Counter[tuple[str, str]] = Counter()
    for mutant in mutants:
        kind = (
            "same"
            if mutant.key in EQUIVALENT
            else "noticed"
            if outcomes[str(mutant)]["noticed"]
            else "missed"
        )
        counts[mutant.area, kind] += 1
        counts["all", kind] += 1
    for area in (*(CHOSEN or AREAS), "all"):
        noticed, missed, same = (counts[area, kind] for kind in ("noticed", "missed", "same"))
        share = 100 * noticed / max(noticed + missed, 1)
        yield f"{area:13} {noticed} of {noticed + missed} noticed ({share:.1f} %), {same} that change nothing"
    for mutant in mutants:
        result = outcomes[str(mutant)]
        if not result["noticed"]:
            change = mutant.change
            reason = EQUIVALENT.get(mutant.key, "")
            at = f"{mutant.path}:{change.line}: {change.old} -> {change.new} in: {mutant.line}"
            yield f"{at} ({result['why']}) {reason}"


def main(number: int, seed: int) -> int:
    """Draw, try, and tell; 1 where less than 92 of a hundred were noticed."""
    start = time.time()
    mutants = drawn(number, seed)
    copy_tree()
    load_libraries()
    kept = OUT / f"{number} by {seed} {NAME}.json"
    outcomes: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    print(f"{len(mutants)} changes", flush=True)
    reached = recorded(sorted({file for area in CHOSEN or AREAS for file in test_files(area)}))
    for n, mutant in enumerate(mutants):
        if not outcomes.get(str(mutant), {}).get("noticed"):
            outcomes[str(mutant)] = attempt(mutant, tests_of(mutant, reached))
            kept.write_text(json.dumps(outcomes, indent=1))
            result = outcomes[str(mutant)]
            said = f"noticed by {result['by']}" if result["noticed"] else "NOT NOTICED"
            at = f"{mutant.path}:{mutant.change.line}: {mutant.change.old} -> {mutant.change.new}"
            print(
                f"{n + 1}/{len(mutants)} {at}: {said}: {result['why']} ({result.get('seconds', 0)} s)",
                flush=True,
            )
    lines = list(report(mutants, outcomes))
    print("\n".join(lines))
    print(f"{used_seconds():.0f} s of the processor, {time.time() - start:.0f} s")
    return int(float(lines[len(CHOSEN or AREAS)].split("(")[1].split(" ")[0]) < 92)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:3]]
    sys.exit(main(*(given or (150, 1))))
