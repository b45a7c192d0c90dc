"""Small wrong changes, and whether the tests notice them: ``python tools/mutate.py 150 1`` or ``make mutants``.

As many places as the first number says are drawn with the second one, the same number from each area; areas that are
named behind it are tried alone. Every change is made by itself, over a copy of the tree, and tests run there until the
first one fails: the module's own, then those that run the changed line, by themselves or by what a fixture makes for
them, the quick ones of its folder and of all first, then the others of these files, which may use what those made. For
what runs when a module is imported, as a constant does, those are tried that run a line where it is read; see
`tools.readers`. Kernels leave no trace: for what is compiled, tests that run the modules that use it are tried. So that
no test pays for it, libraries are loaded once, and each change gets a process that is forked from there and reads the
changed source for the module's own, as do the processes that a test starts. A changed kernel is compiled anew and
kept under a name of its own, as every kernel is: see `loihi_deploy.engines.kept_code`.

A change counts as noticed when a test fails that passes without it, tried behind the same tests of its file; or when
the process crashes or takes far longer than it did, and how many are of that kind is told. Changes that change nothing
stand in `tools.equivalent_changes` with the reason; they are counted by themselves. Run again with the same numbers, a
draw that was stopped goes on; once the package or a test changed, it begins anew, so that a figure is always that of
one state.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from equivalent_changes import EQUIVALENT
from mutants import (
    AREAS,
    CHOSEN,
    COMPILING,
    FAR_LONGER,
    LIBRARIES,
    MOST_SECONDS,
    NAME,
    NUMBA,
    OUT,
    ROOT,
    THREADS,
    TREE,
    Mutant,
    digest,
    drawn,
    forked,
    shared,
    used_seconds,
)
from which_tests import Trial, Watcher, recorded, run_tests, test_files, tests_of

ENDED = "crashed, or took far longer"
"""Why a change was noticed without a test that fails."""


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


def tried(trials: list[Trial], mutant: Mutant | None, log: Path) -> tuple[dict[str, Any], float]:
    """What the tests say of a change, or of the code as it is, and seconds of the processor."""
    target = str(TREE / mutant.path) if mutant else ""
    source = mutant.source() if mutant else b""
    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> Any:
        changed = loader.path == target
        return compile(source, target, "exec", dont_inherit=True) if changed else read(loader, name)

    def work() -> dict[str, Any]:
        SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
        changed = log.with_suffix(".py")
        changed.write_bytes(source)
        os.environ |= {"CHANGED_MODULE": target, "CHANGED_SOURCE": str(changed)}
        for trial in trials:
            watcher = Watcher(trial.tests)
            signal.setitimer(signal.ITIMER_PROF, trial.end)
            code = run_tests(trial.file, watcher, "-x")
            if code not in (0, 5):
                name, why = watcher.failed[0] if watcher.failed else (trial.file, f"pytest ends with {code}")
                return {"noticed": True, "by": name, "why": why}
        return {"noticed": False, "by": "", "why": f"{sum(len(t.tests) for t in trials)} tests pass"}

    result, seconds = forked(work, 2 * COMPILING + FAR_LONGER * MOST_SECONDS, log)
    return result or {"noticed": True, "by": "", "why": ENDED}, seconds


def attempt(mutant: Mutant, trials: list[Trial], log: Path, sound: dict[str, bool]) -> dict[str, Any]:
    """What becomes of a change: noticed or not, by which test, and why.

    Parameters
    ----------
    mutant : Mutant
    trials : list of Trial
    log : Path
        Of what the tests print.
    sound : dict of bool
        Tests that were found to pass, or not, without a change, after those that were tried before them.
    """
    if not trials:
        return {"noticed": False, "by": "", "why": "no test runs it"}
    used = 0.0
    while True:
        result, seconds = tried(trials, mutant, log)
        used += seconds
        last = result["by"]
        found = next((trial for trial in trials if last in (trial.file, *trial.tests)), None)
        if found:
            before = found.until(last)
            key = "\n".join([before.file, *before.tests])
            if key not in sound:
                unchanged, seconds = tried([before], None, log)
                used += seconds
                sound[key] = not unchanged["noticed"]
            if not sound[key]:
                print(f"  {last} fails without a change: not counted", flush=True)
                trials = [left for trial in trials if (left := trial.without(last)).tests]
                continue
        return {**result, "seconds": round(used, 1)}


def load_libraries() -> None:
    """What every test would load, once; nothing of the package itself."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    others = ROOT / "tools" / "other_processes"  # what a test starts reads the changed source there
    os.environ |= {"PYTHONPATH": f"{others}{os.pathsep}{TREE}", "NUMBA_CACHE_DIR": str(NUMBA)}
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
    copy_tree()
    mutants = drawn(number, seed)
    load_libraries()
    state = digest(
        *(path for part in ("loihi_deploy", "tests") for path in sorted((TREE / part).rglob("*.py")))
    )
    kept = OUT / f"{number} by {seed} {NAME} {state}"
    kept.mkdir(exist_ok=True)
    print(f"{len(mutants)} changes of the state {state}", flush=True)
    reached = recorded(test_files())
    gc.freeze()
    sound: dict[str, bool] = {}

    def outcome(n: int) -> None:
        """Try a change, and keep what becomes of it."""
        mutant = mutants[n]
        if (kept / f"{n}.json").exists():
            return
        result = attempt(mutant, tests_of(mutant, reached), OUT / f"log {NAME} {os.getpid()}.txt", sound)
        (kept / f"{n}.json").write_text(json.dumps(result))
        said = f"noticed by {result['by']}" if result["noticed"] else "NOT NOTICED"
        at = f"{mutant.path}:{mutant.change.line}: {mutant.change.old} -> {mutant.change.new}"
        print(f"{n} {at}: {said}: {result['why']} ({result.get('seconds', 0)} s)", flush=True)

    shared(outcome, range(len(mutants)))
    outcomes = {str(mutant): json.loads((kept / f"{n}.json").read_text()) for n, mutant in enumerate(mutants)}
    lines = list(report(mutants, outcomes))
    print("\n".join(lines))
    print(f"{used_seconds():.0f} s of the processor, {time.time() - start:.0f} s")
    return int(float(lines[len(CHOSEN or AREAS)].split("(")[1].split(" ")[0]) < 92)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:3]]
    sys.exit(main(*(given or (150, 1))))
