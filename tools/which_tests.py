"""Which tests are tried on a change, in which order: what each runs, and for how long, is recorded once for each file.

A record says what is tried first, never whether a change counts as noticed. So it is kept for as long as the file of
tests stays the same; where a module has changed since, its lines are found again by what stands in them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mutants import (
    AREAS,
    COMPILING,
    FAR_LONGER,
    MOST_SECONDS,
    NAME,
    OUT,
    QUICK,
    QUIETLY,
    REWRITING,
    SPARE,
    TESTS,
    TREE,
    Mutant,
    digest,
    forked,
    modules_of,
    shared,
    used_seconds,
)
from readers import readers_of, statement_at


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
    data = measured.get_data()
    modules = {str(path.relative_to(TREE)) for area in AREAS for path in modules_of(area)}
    names: dict[str, int] = {}
    lines, sources = {}, {}
    for path in data.measured_files():
        place = str(Path(path).relative_to(TREE))
        if place in modules:
            lines[place] = {
                line: [names.setdefault(name, len(names)) for name in contexts]
                for line, contexts in data.contexts_by_lineno(path).items()
            }
            sources[place] = Path(path).read_text(encoding="utf-8").splitlines()
    return {
        "tests": {name: used for name, used in watcher.fixtures.items() if name not in failed},
        "seconds": watcher.seconds,
        "collecting": used_seconds() - begun - sum(watcher.seconds.values()),
        "failed": dict(watcher.failed),
        "names": list(names),
        "lines": lines,
        "sources": sources,
    }


def test_files() -> list[str]:
    """The files of tests that are tried."""
    found: set[Path] = set()
    for place in TESTS:
        path = TREE / "tests" / place
        found |= set(path.rglob("test_*.py")) if path.is_dir() else {path}
    return sorted(str(path.relative_to(TREE)) for path in found)


def recorded(files: list[str]) -> dict[str, dict[str, Any]]:
    """What each file of tests runs; recorded now, where that was not kept."""
    places = {file: OUT / "reached" / f"{Path(file).stem} {digest(TREE / file)}.json" for file in files}

    def keep(file: str) -> None:
        log = OUT / f"log {NAME} {Path(file).stem}.txt"
        result, seconds = forked(lambda: record(file), 3600, log)
        if result is None:
            sys.exit(f"{file} could not be run: see {log}")
        for name, why in result["failed"].items():
            print(f"  left out, since it fails without a change: {name}: {why}", flush=True)
        sources = OUT / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        result["sources"] = {
            path: kept_text(sources, "\n".join(lines)) for path, lines in result["sources"].items()
        }
        places[file].parent.mkdir(parents=True, exist_ok=True)
        places[file].write_text(json.dumps(result))
        print(f"  {file}: {len(result['tests'])} tests, {seconds:.0f} s", flush=True)

    shared(keep, [file for file, kept in places.items() if not kept.exists()])
    return {file: up_to_date(json.loads(kept.read_text())) for file, kept in places.items()}


def kept_text(folder: Path, text: str) -> str:
    """Keep a text; the name of its file."""
    name = hashlib.sha256(text.encode()).hexdigest()[:20]
    (folder / name).write_text(text, encoding="utf-8")
    return name


def up_to_date(kept: dict[str, Any]) -> dict[str, Any]:
    """A record whose lines are those of the modules as they are now."""
    for path, name in kept["sources"].items():
        if (TREE / path).exists():
            moved = moves(path, name)
            lines = kept["lines"][path].items()
            kept["lines"][path] = {moved[int(k)]: names for k, names in lines if int(k) in moved}
    return kept


@cache
def moves(path: str, name: str) -> dict[int, int]:
    """Where each line of a module stands now that stood in a kept text."""
    old = (OUT / "sources" / name).read_text(encoding="utf-8").splitlines()
    new = (TREE / path).read_text(encoding="utf-8").splitlines()
    if old == new:
        return {k: k for k in range(1, len(old) + 1)}
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return {block.a + k + 1: block.b + k + 1 for block in blocks for k in range(block.size)}


def lines_of(mutant: Mutant) -> dict[str, Set[int]]:
    """Where to see that a change is reached: modules and lines, of which none stand for any that runs in a function."""
    if not mutant.change.compiled:
        if mutant.change.inside:
            tree = ast.parse((TREE / mutant.path).read_text(encoding="utf-8"))
            return {mutant.path: statement_at(tree, mutant.change.line)}
        return readers_of(mutant.path, mutant.change.line)
    found, folder = {mutant.path}, "loihi_deploy/engines/"
    for _ in range(2):  # a kernel may be part of others
        named = {path.removesuffix(".py").replace("/", ".") for path in found}
        for path in modules_of("engines"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                    if names & named:
                        found.add(str(path.relative_to(TREE)))
    return {path: frozenset() for path in found if path.startswith(folder)}


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

    def until(self, last: str) -> Trial:
        """The tests up to one of them; none, if the file itself is meant."""
        names = list(self.tests)
        stop = names.index(last) + 1 if last in names else 0
        return replace(self, tests={name: self.tests[name] for name in names[:stop]})

    def without(self, name: str) -> Trial:
        """The others; none of the file, if the file itself is meant."""
        left = {} if name == self.file else {test: end for test, end in self.tests.items() if test != name}
        return replace(self, tests=left)


def running(where: Mapping[str, Set[int]], kept: Mapping[str, Any]) -> list[str]:
    """The tests of a file that run one of these lines: by themselves, by a fixture, or as the file is collected."""
    found: set[int] = set()
    for path, lines in where.items():
        for number, contexts in kept["lines"].get(path, {}).items():
            if number in lines:
                found.update(contexts)
            elif not lines:
                found.update(k for k in contexts if kept["names"][k])
    names = {kept["names"][k] for k in found}
    return [test for test, used in kept["tests"].items() if "" in names or names & {test, *used}]


def tests_of(mutant: Mutant, reached: dict[str, dict[str, Any]]) -> list[Trial]:
    """The tests to be tried on a change: all of the module's own, those that run it, the others of the same files."""
    where = lines_of(mutant)
    direct = {file: running(where, kept) for file, kept in reached.items()}
    if not any(direct.values()):  # of a line that is new nothing is known
        anywhere = dict.fromkeys({mutant.path, *where}, frozenset[int]())
        direct = {file: running(anywhere, kept) for file, kept in reached.items()}
    stem, folder = Path(mutant.path).stem, Path(mutant.path).parts[1]
    more = COMPILING if mutant.change.compiled else SPARE
    usual = min(kept["collecting"] for kept in reached.values())  # to import the package, which is done once
    order: list[tuple[tuple[int, float], str, list[str]]] = []
    for file, tests in direct.items():
        own, near = stem in Path(file).stem, folder in Path(file).parts
        if not (tests or own):
            continue
        kept = reached[file]
        each = {test: cost(test, kept, set()) for test in kept["tests"]}
        quick = {test for test in tests if each[test] <= QUICK}
        for rank, chosen in (
            (0 if own else 3 if near else 4, quick),
            (1 if own else 5 if near else 6, set(tests) - quick),
            (
                2 if own else 7 if near else 8,
                set(each) - set(tests),
            ),  # they may run it in processes that they start
        ):
            if chosen:
                names = sorted(chosen, key=lambda test, each=each: (each[test], test))
                order.append(((rank, each[names[0]]), file, names))
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
