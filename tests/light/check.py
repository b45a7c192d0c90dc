"""What an installation without extras can do, checked in plain Python: no pytest, no framework, any numpy.

``make light`` runs it in an environment that has the core dependencies alone and numpy 2; the other tests run it
beside everything else, with numpy 1.26. Both must give the integers in ``integers.json``, which
``python tests/light/check.py --write`` writes.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import loihi_deploy as ld
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

EXPECTED = Path(__file__).with_name("integers.json")
EXTRAS = ("nengo", "nengo_dl", "nengo_loihi", "scipy", "tensorflow", "keras", "tf_keras", "matplotlib")
STEPS = 50
OPTIONS = {
    "defaults": {},
    "leaky": {"neuron": "lif", "equalize": True},
    "mean": {"rounding": "mean", "weight_percentile": 99.0},
    "thresholds": {"normalization": "thresholds", "target_rate": 200.0},
    "first_layer": {"encoder": "first_layer", "bias_correction_steps": 0},
    "on_off": {"encoder": "on_off", "encoder_rate": 500.0},
    "bias": {"encoder": "bias"},
    "poisson": {"encoder": "poisson"},
    "ttfs": {"encoder": "ttfs"},
}


def numbers(seed: int, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Numbers that are the same with every numpy."""
    draw = random.Random(seed)
    return np.array([draw.uniform(low, high) for _ in range(int(np.prod(shape)))], np.float64).reshape(shape)


def network() -> Graph:
    """Input 6x6x1 -> 1x1 convolution -> 3x3 convolution -> dense -> three classes."""
    return Graph(
        (Input("image", (6, 6, 1)),),
        (
            Population("encoder", (6, 6, 2), NeuronModel(), 1.0, numbers(0, 72, low=0, high=0.1)),
            Population("conv", (4, 4, 8), NeuronModel(), 1.0, np.tile(numbers(1, 8, low=0, high=0.1), 16)),
            Population("dense", (20,), NeuronModel(), 1.0, numbers(2, 20, low=0, high=0.1)),
        ),
        (
            Projection(
                "image",
                "encoder",
                Conv2D(numbers(3, 1, 1, 1, 2, low=0.5), (1, 1), (0, 0), (6, 6, 1), (6, 6, 2)),
            ),
            Projection(
                "encoder", "conv", Conv2D(numbers(4, 3, 3, 2, 8), (1, 1), (0, 0), (6, 6, 2), (4, 4, 8)), 0.005
            ),
            Projection("conv", "dense", Dense(numbers(5, 20, 128) / 3), 0.005),
            Projection("dense", "classes", Dense(numbers(6, 3, 20)), 0.005),
        ),
        (Readout("classes", (3,), np.zeros(3)),),
    )


X = numbers(7, 30, 6, 6, 1, low=0.0)


def digest(*values: object) -> str:
    """SHA-256 of integers and arrays of integers."""
    state = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        assert array.dtype.kind in "biu", array.dtype
        state.update(f"{array.shape}".encode() + np.ascontiguousarray(array, np.int64).tobytes())
    return state.hexdigest()


def integers(deployment: ld.Deployment) -> dict[str, str]:
    """What the chip computes with, and what it answers, as digests; where on the chip does not matter."""
    program = deployment.program
    populations = [
        value
        for p in program.populations
        for value in (p.decay_u, p.decay_v, p.threshold, p.bias, p.refractory, p.v_min, p.v_max)
    ]
    synapses = [value for s in program.synapses for value in (s.transform.values, s.shift)]
    names = list(program.nodes)
    recorded = deployment.run(X, STEPS, record=names).recorded
    return {
        "populations": digest(*populations),
        "synapses": digest(*synapses),
        "spikes": digest(*(recorded[name]["spikes"] for name in names)),
    }


def all_integers() -> dict[str, dict[str, str]]:
    """`integers` of the network, deployed with each of `OPTIONS`."""
    return {
        name: integers(ld.deploy(network(), "loihi", X, ld.DeployOptions(**options)))
        for name, options in OPTIONS.items()
    }


def check_integers() -> None:
    """Deploying a graph, and running it, give the same integers with every numpy."""
    found, expected = all_integers(), json.loads(EXPECTED.read_text())
    different = [
        f"{name}: {part}"
        for name in expected
        for part in expected[name]
        if found[name][part] != expected[name][part]
    ]
    assert found == expected, f"numpy {np.__version__} gives other integers: {different}"


def check_files_and_reports(folder: Path) -> None:
    """A deployment is saved, loaded, run, evaluated, verified, reported."""
    made = ld.deploy(network(), "nahuku32", calibration=X)
    made.save(folder / "net.loihi")
    loaded = ld.load(folder / "net.loihi")
    assert loaded == made
    labels = loaded.run(X, 20).outputs.argmax(axis=1)
    evaluation = loaded.evaluate(X, labels, 20)
    assert evaluation.n_correct == evaluation.n_total == len(X)
    assert loaded.verify(X, labels, 20, reference_samples=0).stages
    for ending in ("json", "txt"):
        loaded.report(folder / f"report.{ending}")
        assert "dense" in (folder / f"report.{ending}").read_text()
    for value in (made, made.program, made.mapping, evaluation):
        assert str(value)


def check_commands(folder: Path) -> None:
    """The command line works on a saved deployment."""
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", np.zeros(len(X), np.int64))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "loihi_deploy", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    names = [board["name"] for board in json.loads(run("boards", "--json"))["boards"]]
    assert names == list(ld.board_names())
    assert json.loads(run("run", "net.loihi", "x.npy", "--steps", "10", "--json"))["samples"] == len(X)
    labelled = ("--samples", "x.npy", "--labels", "y.npy")
    assert json.loads(run("evaluate", "net.loihi", *labelled, "--json"))["n_total"] == len(X)
    run("report", "net.loihi", "-o", "again.json")
    again, before = (json.loads((folder / f"{name}.json").read_text()) for name in ("again", "report"))
    assert {**again, "command": ""} == {**before, "command": ""}
    page = [sys.executable, "-m", "loihi_deploy", "report", "net.loihi", "-o", "report.html"]
    made = subprocess.run(page, cwd=folder, check=False, capture_output=True, text=True)
    if find_spec("jinja2") is None:
        assert made.returncode == 2
        assert "loihi-deploy[report]" in made.stderr
    else:
        assert made.returncode == 0


def check_bench() -> None:
    """The emulator is measured; what others do is left out."""
    (row,) = ld.bench.bench(["mnist-convnet"], 1, 1, steps=20, repeats=1)
    assert row["steps_per_s"] > 0
    foreign = any(find_spec(name) for name in ("nengo_loihi",))
    assert foreign or row["reference_steps_per_s"] is None


def main() -> None:
    """Run every check, or write the integers."""
    if sys.argv[1:] == ["--write"]:
        EXPECTED.write_text(json.dumps(all_integers(), indent=2) + "\n")
        return
    there = [name for name in EXTRAS if find_spec(name)]
    assert not there, f"these belong to extras: {', '.join(there)}"
    with tempfile.TemporaryDirectory() as folder:
        check_integers()
        check_files_and_reports(Path(folder))
        check_commands(Path(folder))
        check_bench()
    print(f"All that needs no extra works, with numpy {np.__version__}; integers equal those of numpy 1.26")


if __name__ == "__main__":
    main()
