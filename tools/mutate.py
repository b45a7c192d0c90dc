"""Small wrong changes, and whether the tests notice them: ``python tools/mutate.py 150 1`` or ``make mutants``.

As many places as the first number says are drawn with the second one, the same number from each area; areas that are
named behind it are tried alone. Every change is made by itself, over a copy of the tree, and tests run there until the
first one fails: those that run the changed line, by themselves or by what a fixture makes for them, the module's own,
those of its folder and then all, of each the quick ones first; then the others of these files, which may use what the
first one made. Which lines a test runs, and for how long, is recorded once and kept for as long as the package and that
file stay the same. Kernels leave no trace: for what is compiled, tests that run the modules that use it are tried, and
for what runs when a module is imported those that run anything of it. So that no test pays for it, libraries are loaded
once, and each change gets a process that is forked from there and reads the changed source for the module's own;
processes that a test starts do not see it. A changed kernel is compiled anew and kept under a name of its own, as every
kernel is: see `loihi_deploy.engines.kept_code`.

A change counts as noticed when a test fails, or takes far longer than it did; how many are of the second kind is told.
Changes that change nothing stand in `tools.equivalent_changes` with the reason; they are counted by themselves. Run
again with the same numbers, a draw that was stopped goes on; once the package or a test changed, it begins anew, so
that a figure is always that of one state.
"""

from __future__ import annotations

import ast
import contextlib
import gc
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
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
    "quantization": ("stages/*.py", "chip/fixed_point.py"),
    "mapping": ("mapping/*.py",),
    "engines": ("engines/**/*.py",),
    "frontends": ("frontends/*.py",),
    "verification": ("analysis/*.py",),
}
"""Modules, below the package."""
TESTS = (
    *("stages", "encoders", "mapping", "engines", "frontends", "analysis", "chip/test_fixed_point.py"),
    *("conformance/test_engines.py", "backends/test_running.py", "backends/test_losses.py"),
    "backends/test_errors_of_values.py",
)
"""Tests that are tried, below tests/: those that mirror the areas, and some that use them."""
LONG = ("test_drawn_models.py", "test_saved_models.py")
"""Files that are not tried: they take long for what the others do not show."""
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
MOST_SECONDS = 40.0
"""Of the processor, for the tests that are tried on a change, as they were recorded."""
QUICK = 0.25
"""Seconds of a test that is tried before others."""
FAR_LONGER, SPARE, COMPILING = 5.0, 10.0, 40.0
"""A test takes far longer with so many times its seconds, and so many more; with these where kernels are compiled."""


ENDED = "crashed, or took far longer"
"""Why a change was noticed without a test that fails."""


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
    return [path for pattern in AREAS[area] for path in sorted((ROOT / "loihi_deploy").glob(pattern))]


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
    wanted : dict of float, optional
        The tests that run, in this order, each with the seconds of the processor after which it is ended; all of the
        file, without an end, if not given.
    coverage : Coverage, optional
        What is told which test runs, or which fixture that several share is made.
    """

    def __init__(self, wanted: Mapping[str, float] | None = None, coverage: Any = None) -> None:
        self.wanted, self.coverage = wanted, coverage
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.fixtures: dict[str, list[str]] = {}
        self.failed: list[tuple[str, str]] = []
        self.stack: list[tuple[str, float]] = []

    def begin(self, name: str) -> None:
        """Count seconds, and lines, for a test or a fixture from here on."""
        self.stack.append((name, used_seconds()))
        if self.coverage:
            self.coverage.switch_context(name)

    def end(self) -> None:
        """Go back to what it was made for, which these seconds do not count for."""
        name, begun = self.stack.pop()
        passed = used_seconds() - begun
        self.seconds[name] += passed
        if self.stack:
            self.seconds[self.stack[-1][0]] -= passed
        if self.coverage:
            self.coverage.switch_context(self.stack[-1][0] if self.stack else "")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what is wanted."""
        if self.wanted is not None:
            place = {name: k for k, name in enumerate(self.wanted)}
            items[:] = sorted((i for i in items if i.nodeid in place), key=lambda i: place[i.nodeid])
        for item in items:
            made = item._fixtureinfo.name2fixturedefs if hasattr(item, "_fixtureinfo") else {}
            self.fixtures[item.nodeid] = [
                _shared(known[-1]) for known in made.values() if known[-1].scope != "function"
            ]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin to measure, and let the system end the process where it takes far longer."""
        self.begin(nodeid)
        if self.wanted is not None:
            signal.setitimer(signal.ITIMER_PROF, self.wanted[nodeid])

    def pytest_runtest_logfinish(self) -> None:
        """Measured."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Measure what is made for several tests by itself."""
        if fixturedef.scope == "function":
            return (yield)
        self.begin(_shared(fixturedef))
        try:
            return (yield)
        finally:
            self.end()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep why a test failed."""
        if report.failed:
            self.failed.append((report.nodeid, str(report.longrepr).strip().splitlines()[-1][:200]))

    def pytest_collectreport(self, report: Any) -> None:
        """Keep why a file has no tests."""
        self.pytest_runtest_logreport(report)


def _shared(fixturedef: Any) -> str:
    """The name of a fixture that several tests share."""
    return f"fixture {fixturedef.baseid}::{fixturedef.argname}"


def run_tests(file: str, watcher: Watcher, *arguments: str) -> int:
    """Run the tests of a file in this process."""
    return int(pytest.main([*QUIETLY, "-W", REWRITING, *arguments, file], plugins=[watcher]))


def record(file: str) -> dict[str, Any]:
    """Run a file of tests.

    Returns
    -------
    dict
        'tests': the fixtures that they share, by test that passes; 'seconds': by test and shared fixture; 'collecting':
        seconds until the first test begins; 'failed': tests; 'lines': tests and fixtures by file and line, '' for what
        runs as the file is collected.
    """
    from coverage import Coverage

    measured = Coverage(data_file=None, source=["loihi_deploy"], config_file=False)
    watcher, begun = Watcher(coverage=measured), used_seconds()
    measured.start()
    run_tests(file, watcher)
    measured.stop()
    failed = {name for name, _ in watcher.failed}
    data, lines = measured.get_data(), {}
    modules = {str(path.relative_to(ROOT)) for area in AREAS for path in modules_of(area)}
    for path in data.measured_files():
        place = str(Path(path).relative_to(TREE))
        if place in modules:
            lines[place] = {str(k): names for k, names in data.contexts_by_lineno(path).items()}
    return {
        "tests": {name: used for name, used in watcher.fixtures.items() if name not in failed},
        "seconds": watcher.seconds,
        "collecting": used_seconds() - begun - sum(watcher.seconds.values()),
        "failed": sorted(failed),
        "lines": lines,
    }


def test_files() -> list[str]:
    """The files of tests that are tried."""
    found: set[Path] = set()
    for place in TESTS:
        path = ROOT / "tests" / place
        found |= set(path.rglob("test_*.py")) if path.is_dir() else {path}
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name not in LONG)


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
                sys.exit(f"{file} could not be run: see {OUT / f'log {NAME}.txt'}")
            if result["failed"]:
                print(
                    f"  left out, since they fail without a change: {', '.join(result['failed'])}", flush=True
                )
            kept.write_text(json.dumps(result))
            print(f"  {file}: {len(result['tests'])} tests, {seconds:.0f} s", flush=True)
        found[file] = json.loads(kept.read_text())
    return found


def lines_of(mutant: Mutant) -> dict[str, str]:
    """Where to see that a change is reached: modules, and the line, or '' for any that runs in a function."""
    if not mutant.change.compiled:
        return {mutant.path: str(mutant.change.line) if mutant.change.inside else ""}
    found, folder = {mutant.path}, "loihi_deploy/engines/"
    for _ in range(2):  # a kernel may be part of others
        named = {path.removesuffix(".py").replace("/", ".") for path in found}
        for path in modules_of("engines"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                    if names & named:
                        found.add(str(path.relative_to(ROOT)))
    return dict.fromkeys((path for path in found if path.startswith(folder)), "")


@dataclass(frozen=True)
class Trial:
    """Tests of a file that are tried on a change.

    Parameters
    ----------
    file : str
    tests : dict of float
        In this order, each with the seconds of the processor after which it is ended.
    end : float
        The same for what runs before the first one.
    """

    file: str
    tests: dict[str, float]
    end: float


def running(where: Mapping[str, str], kept: Mapping[str, Any]) -> list[str]:
    """The tests of a file that run one of these lines: by themselves, by a fixture, or as the file is collected."""
    names: set[str] = set()
    for path, line in where.items():
        for number, contexts in kept["lines"].get(path, {}).items():
            if line in ("", number):
                names |= {name for name in contexts if name or line}
    return [test for test, used in kept["tests"].items() if "" in names or names & {test, *used}]


def tests_of(mutant: Mutant, reached: dict[str, dict[str, Any]]) -> list[Trial]:
    """The tests to be tried on a change: those that run it, then the others of the same files."""
    where = lines_of(mutant)
    direct = {file: running(where, kept) for file, kept in reached.items()}
    if not any(direct.values()):  # of a line within a statement nothing may be known
        direct = {file: running(dict.fromkeys(where, ""), kept) for file, kept in reached.items()}
    stem, folder = Path(mutant.path).stem, Path(mutant.path).parts[1]
    more = COMPILING if mutant.change.compiled else SPARE
    usual = min(kept["collecting"] for kept in reached.values())  # to import the package, which is done once
    order: list[tuple[tuple[bool, bool, bool, bool, float], str, list[str]]] = []
    for file, tests in direct.items():
        if not tests:
            continue
        kept = reached[file]
        each = {test: cost(test, kept, set()) for test in kept["tests"]}
        elsewhere = stem not in Path(file).stem, folder not in Path(file).parts
        quick = {test for test in tests if each[test] <= QUICK}
        for rank, chosen in (
            ((False, False), quick),
            ((False, True), set(tests) - quick),
            ((True, True), set(each) - set(tests)),
        ):
            if chosen:
                names = sorted(chosen, key=lambda test, each=each: (each[test], test))
                order.append(((rank[0], *elsewhere, rank[1], each[names[0]]), file, names))
    left, found = MOST_SECONDS, []
    for _, file, names in sorted(order):
        kept, ready = reached[file], set[str]()
        ends: dict[str, float] = {}
        for test in names:
            seconds = cost(test, kept, ready) + (0 if ends else kept["collecting"] - usual)
            if seconds <= left:
                left -= seconds
                ready |= set(kept["tests"][test])
                ends[test] = FAR_LONGER * seconds + more
        if ends:
            found.append(Trial(file, ends, FAR_LONGER * kept["collecting"] + more))
    return found


def cost(test: str, kept: Mapping[str, Any], ready: Set[str]) -> float:
    """Seconds of a test, and of the fixtures that are to be made for it."""
    used = set(kept["tests"][test]) - ready
    return float(kept["seconds"][test] + sum(kept["seconds"].get(name, 0.0) for name in used))


def attempt(mutant: Mutant, tests: list[Trial]) -> dict[str, Any]:
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
        for trial in tests:
            watcher = Watcher(trial.tests)
            signal.setitimer(signal.ITIMER_PROF, trial.end)
            code = run_tests(trial.file, watcher, "-x")
            if code not in (0, 5):
                name, why = watcher.failed[0] if watcher.failed else (trial.file, f"pytest ends with {code}")
                return {"noticed": True, "by": name, "why": why}
        return {"noticed": False, "by": "", "why": f"{sum(len(t.tests) for t in tests)} tests pass"}

    result, seconds = forked(work, 2 * COMPILING + FAR_LONGER * MOST_SECONDS, OUT / f"log {NAME}.txt")
    if result is None:
        result = {"noticed": True, "by": "", "why": ENDED}
    return {**result, "seconds": round(seconds, 1)}


def load_libraries() -> None:
    """What every test would load, once; nothing of the package itself."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ |= {"PYTHONPATH": str(TREE), "NUMBA_CACHE_DIR": str(NUMBA)}
    os.environ |= dict.fromkeys(THREADS, "1")
    sys.path[0] = str(TREE)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            importlib.import_module(name)
        importlib.import_module("tensorflow").keras.Model  # noqa: B018  it is loaded late
        importlib.import_module(
            "loihi_deploy.frontends.compat"
        ).import_nengo_dl()  # it starts a TensorFlow, too
        importlib.import_module("nengo_loihi")
    NUMBA.mkdir(parents=True, exist_ok=True)
    importlib.import_module("numba").config.CACHE_DIR = str(NUMBA)
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--version", "-c", os.devnull])  # its plugins
    for name in [name for name in sys.modules if name.split(".")[0] in ("loihi_deploy", "tests", "tools")]:
        del sys.modules[name]
    gc.freeze()  # what is there is not looked through by each process


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
    ended = sum(outcomes[str(mutant)]["why"] == ENDED for mutant in mutants)
    yield f"of those noticed {ended} {ENDED}"
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
    state = digest(
        *(path for part in ("loihi_deploy", "tests") for path in sorted((ROOT / part).rglob("*.py")))
    )
    kept = OUT / f"{number} by {seed} {NAME} {state}.json"
    outcomes: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    print(f"{len(mutants)} changes of the state {state}", flush=True)
    reached = recorded(test_files())
    for n, mutant in enumerate(mutants):
        if str(mutant) not in outcomes:
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
