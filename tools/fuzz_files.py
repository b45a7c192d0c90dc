"""Altered ``.loihi`` files, loaded and run: ``python tools/fuzz_files.py 10000`` or ``make fuzz``.

Files of tests/files are altered in their bytes, their members, their fields (with digests made anew) and across fields;
which one and how follows from a number. What comes back must be an error of this package or a result: no crash, no
other exception, no access out of bounds (with ``NUMBA_BOUNDSCHECK=1``), no more than 1 GB or 10 s. What runs is run on
nengo-loihi's emulator, too, where that is installed: the spikes must be equal.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

FILES = sorted((Path(__file__).parents[1] / "tests" / "files").glob("version_*/*.loihi"))
STEPS = 5
MAX_SECONDS = 10
"""Of the processor, which other work on the machine does not stretch."""
MAX_WAIT = 100
"""Seconds after which a file is given up that takes no processor time."""
MAX_BYTES = 1 << 30
NUMBERS: tuple[Any, ...] = (
    *(
        -1,
        0,
        1,
        2,
        3,
        7,
        63,
        64,
        255,
        257,
        4095,
        4096,
        65_536,
        2**20,
        2**31 - 1,
        2**31,
        2**32 + 5,
        2**63,
        10**30,
    ),
    *(
        -(2**31),
        -(2**63),
        0.5,
        -0.5,
        1e-320,
        1e308,
        True,
        False,
        None,
        "",
        "x",
        [],
        [1],
        {"type": "dict", "items": []},
    ),
    *({"float": "nan"}, {"float": "inf"}, {"float": "-inf"}, {"array": "arrays/0000.npy"}),
)
Members = dict[str, bytes]
GOOD = (
    *("refused", "ran", "refused to run"),
    *("ran twice", "ran twice, with noise", "ran, not on nengo-loihi"),
)
"""What may come of a file."""


def altered(number: int) -> bytes:
    """The altered file of a number."""
    rng = random.Random(number)
    data = rng.choice(FILES).read_bytes()
    kind = rng.choices(("bytes", "members", "fields", "arrays", "across"), (1, 1, 4, 3, 3))[0]
    if kind == "bytes":
        return _in_bytes(data, rng)
    members = _members(data)
    manifest = json.loads(members["manifest.json"])
    if kind == "members":
        return _in_members(members, manifest, rng)
    change: Callable[[Any, Members, random.Random], None]
    change = {"fields": _in_fields, "arrays": _in_arrays, "across": _across}[kind]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change(manifest["content"], members, rng)
    return _packed(members, manifest)


def _members(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members: Members, manifest: Any) -> bytes:
    """A file with every digest made anew."""
    tree = json.dumps(manifest["content"], sort_keys=True).encode()
    arrays = {
        name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != "manifest.json"
    }
    manifest = {**manifest, "digest": hashlib.sha256(tree).hexdigest(), "arrays": arrays}
    return _zipped({**members, "manifest.json": json.dumps(manifest).encode()})


def _zipped(members: Members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # without the time of day
    return stream.getvalue()


def _in_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed))
        what = rng.randrange(5)
        if what == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            changed[at] = rng.randrange(256)
        elif what == 2:
            del changed[at : at + rng.randrange(1, 200)]
        elif what == 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 200))
        else:
            changed[at:at] = changed[at : at + 100]
        if not changed:
            break
    return bytes(changed)


def _in_members(members: Members, manifest: Any, rng: random.Random) -> bytes:
    names = list(members)
    name, other = rng.choice(names), rng.choice(names)
    what = rng.randrange(7)
    if what == 0:
        del members[name]
    elif what == 1:
        members[name], members[other] = members[other], members[name]
    elif what == 2:
        members[name] = rng.randbytes(rng.randrange(300))
    elif what == 3:
        return _packed({**members, name: members[other]}, manifest)
    elif what == 4:  # far more than it seems
        return _packed(
            {**members, "arrays/0000.npy": _npy(np.zeros(rng.choice((10**7, 10**8)), np.int8))}, manifest
        )
    elif what == 5:
        depth = rng.choice((30, 1000, 100_000))
        members["manifest.json"] = b"[" * depth + b"]" * depth
    else:
        shape = rng.choice(("(1000000000000,)", "(-1,)", "(2, 2.5)", "(99999, 99999)", "0", "()"))
        members[name] = members[name].replace(b"'shape': (", f"'shape': {shape}, 'x': (".encode(), 1)
        return _packed(members, manifest)
    return _zipped(members)


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    items = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    for key, item in list(items):
        yield tree, key
        yield from _places(item)


def _in_fields(tree: Any, members: Members, rng: random.Random) -> None:
    places = list(_places(tree))
    container, key = rng.choice(places)
    value = container[key]
    what = rng.randrange(6)
    if what == 0 and isinstance(container, dict):
        del container[key]
    elif what == 1 and isinstance(value, (int, float)) and not isinstance(value, bool):
        container[key] = value + rng.choice((-1, 1, 0.5, 2**31, -value, value))
    elif what == 2:
        container[key] = copy.deepcopy(rng.choice(places)[0])
    else:
        container[key] = rng.choice(NUMBERS)


def _in_arrays(tree: Any, members: Members, rng: random.Random) -> None:
    name = rng.choice([name for name in members if name.endswith(".npy")])
    array = np.load(io.BytesIO(members[name])).copy()
    what = rng.randrange(7)
    if what == 0:
        array = array.astype(rng.choice(("i1", "i4", "i8", "f4", "f8", "b1", "u8", "c16", "U3", ">f8")))
    elif what == 1:
        array = array.reshape(-1)[: rng.randrange(array.size + 1)]
    elif what == 2:
        array = np.concatenate([array.reshape(-1)] * 2)
    elif what == 3 and array.ndim:
        array = np.moveaxis(array, 0, -1)
    elif what == 4:
        array = np.zeros((0, *array.shape[1:]), array.dtype)
    elif array.size:
        for _ in range(rng.choice((1, 5))):
            value = rng.choice((-1, 0, 1, 127, -128, 2**31 - 1, -(2**31), np.inf, np.nan, 1e300, array.size))
            with np.errstate(all="ignore"):
                array.reshape(-1)[rng.randrange(array.size)] = np.float64(value).astype(array.dtype)
    members[name] = _npy(array)


def _across(tree: Any, members: Members, rng: random.Random) -> None:
    """Values that are right for themselves, in the place of others of their kind."""
    places = list(_places(tree))
    what = rng.randrange(5)
    if what == 0:  # two values of one type change places
        typed = [
            (c, k) for c, k in places if isinstance(c[k], dict) and c[k].get("type") not in (None, "dict")
        ]
        (a, i) = rng.choice(typed)
        (b, j) = rng.choice([(c, k) for c, k in typed if c[k]["type"] == a[i]["type"]])
        a[i], b[j] = copy.deepcopy(b[j]), copy.deepcopy(a[i])
    elif what == 1:  # a list loses, doubles or turns its items
        items = rng.choice([c[k] for c, k in places if isinstance(c[k], list) and c[k]])
        rng.choice((items.pop, items.reverse, lambda: items.append(copy.deepcopy(rng.choice(items)))))()
    elif what == 2:  # a name becomes another
        names = [(c, k) for c, k in places if k in ("name", "pre", "post", "population")]
        (a, i), (b, j) = rng.choice(names), rng.choice(names)
        a[i] = b[j]
    elif what == 3:  # a shape, size, stride or index moves
        keys = (
            "shape",
            "in_shape",
            "out_shape",
            "strides",
            "padding",
            "start",
            "stop",
            "margin",
            "slice_shape",
        )
        shapes = [c[k] for c, k in places if k in keys and isinstance(c[k], list) and c[k]]
        shape = rng.choice(shapes)
        shape[rng.randrange(len(shape))] = rng.choice(
            (0, 1, 2, 3, 5, 8, 9, 64, 1000, 65_535, 2**20, 2**31, -1)
        )
    else:  # one array in the place of another
        arrays = [c for c, k in places if k == "array"]
        rng.choice(arrays)["array"] = rng.choice(arrays)["array"]


def outcome(path: Path, reference: bool, before: int) -> str:
    """Load and run a file: one of `GOOD`, or what went wrong; `before` is the memory that the libraries take."""
    import loihi_deploy as ld

    started = time.process_time()
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _too_slow)
    signal.alarm(MAX_WAIT)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        found = _outcome(path, ld, reference)
    except Exception as error:
        kind = "out of bounds" if isinstance(error, IndexError) else "raw"
        found = f"{kind}: {type(error).__name__}: {error}"[:200].replace("\n", " ")
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    if time.process_time() - started > MAX_SECONDS:
        return "slow"
    if _peak() - before > MAX_BYTES:
        return "large"
    return found


def _outcome(path: Path, ld: Any, reference: bool = False) -> str:
    """Load and run a file, on our engine and, where `reference` says so, on nengo-loihi's emulator."""
    try:
        deployment = ld.load(path)
    except ld.errors.ArtifactError:
        return "refused"
    try:
        x = {
            node.given.name: np.random.default_rng(0).random((2, node.given.size), np.float32)
            for node in deployment.graph.inputs
        }
        everyone = [p.name for p in deployment.program.populations]
        ours = deployment.run(x, steps=STEPS, record=everyone)
        str(deployment.mapping)
        deployment.report(path.with_suffix(".json"))
    except ld.errors.LoihiDeployError:
        return "refused to run"
    if not reference:
        return "ran"
    try:
        theirs = deployment.run(x, steps=STEPS, record=everyone, backend="nengo_loihi")
    except ld.errors.LoihiDeployError:
        return "ran, not on nengo-loihi"
    if any(p.noise is not None for p in deployment.program.populations):
        return "ran twice, with noise"  # nengo-loihi draws it in another order
    same = all(
        np.array_equal(values["spikes"], theirs.recorded[name]["spikes"])
        for name, values in ours.recorded.items()
    )
    return "ran twice" if same else "spikes differ"


def _peak() -> int:
    """The most memory that this process has taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _too_slow(*_: Any) -> None:
    raise TimeoutError


def work(first: int, stop: int) -> None:
    """Try the files of some numbers, and say a line about each."""
    import loihi_deploy as ld

    warnings.simplefilter("ignore")
    reference = importlib.util.find_spec("nengo_loihi") is not None
    for path in FILES:  # what is compiled, or imported, is so before the time is taken
        deployment = ld.load(path)
        x = {n.given.name: np.zeros((1, n.given.size), np.float32) for n in deployment.graph.inputs}
        deployment.run(x, steps=STEPS, record=[p.name for p in deployment.program.populations])
        if reference:
            with suppress(ld.errors.LoihiDeployError):  # one of them is for a chip that nengo-loihi is not
                deployment.run(x, steps=STEPS, backend="nengo_loihi")
    before = _peak() if reference else 0  # TensorFlow, which nengo-loihi imports, takes most of a gigabyte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "altered.loihi"
        for number in range(first, stop):
            path.write_bytes(altered(number))
            found = outcome(path, reference, before)
            print(number, found, flush=True)
            if found in ("large", "slow"):
                return


def main(count: int, first: int = 0) -> int:
    """Try many files in processes of their own; returns 1 where any went wrong."""
    totals: Counter[str] = Counter()
    number = first
    while number < first + count:
        command = [sys.executable, __file__, "--work", str(number), str(first + count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told, found = line.rstrip("\n").split(" ", 1)
                number = int(told) + 1
                totals[found.split(":")[0]] += 1
                if found not in GOOD:
                    print(f"file {told}: {found}", flush=True)
        if process.returncode:
            print(f"file {number}: crash, exit status {process.returncode}", flush=True)
            totals["crash"] += 1
            number += 1
    checked = os.environ.get("NUMBA_BOUNDSCHECK", "0")
    print(f"{count} files: {dict(totals)}; bounds checking {checked}")
    return int(not totals.keys() <= set(GOOD))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:] if argument != "--work"]
    if "--work" in sys.argv:
        work(*numbers)
    else:
        sys.exit(main(*numbers))
