"""Every example runs, on little data and for a short time."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import nengo
import numpy as np
import pytest

from tests.data.test_cifar import write_cifar10
from tests.data.test_data import idx

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.name: path for path in (ROOT / "examples").glob("*.py")}
QUICK = {
    "backend_choice.py": ["--neurons", "20", "--seconds", "0.05"],
    "cifar10.py": ["--data", "cifar10", "--epochs", "1", "--steps", "20", "--limit", "5"],
    "fashion_mnist_keras.py": ["--data", "mnist", "--epochs", "1", "--steps", "20", "--limit", "5"],
    "few_steps.py": [
        *("--data", "mnist", "--digits", "--seeds", "1", "--epochs", "1", "--tune", "1"),
        *("--filters", "3", "4", "5", "--steps", "12", "--limit", "5"),
    ],
    "few_steps_lif.py": [
        *("--data", "mnist", "--seeds", "1", "--epochs", "1", "--steps", "12", "--limit", "5"),
    ],
    "japanese_vowels.py": ["vowels", "--epochs", "1", "--seeds", "1"],
    "legendre_memory.py": ["--neurons", "60", "--steps", "5"],
    "mnist_record.py": ["--data", "mnist", "--epochs", "1", "--limit", "5"],
    "nef_deploy.py": ["--neurons", "50", "--seconds", "0.2"],
    "nef_oscillator.py": ["--neurons", "50", "--seconds", "0.3"],
    "nengo_network.py": ["--data", "mnist", "--epochs", "1", "--steps", "20", "--limit", "5"],
    "recurrent_mnist.py": ["--data", "mnist", "--epochs", "1"],
    "sequential_mnist.py": ["--data", "mnist", "--seeds", "1", "--epochs", "1"],
    "spiking_memory.py": ["vowels", "--on-chip", "--seeds", "1", "--epochs", "1", "--tune", "1"],
    "time_series.py": ["motions", "--seeds", "1", "--epochs", "2"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small data sets of random images in the formats of MNIST and CIFAR-10."""
    path = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    (path / "mnist").mkdir()
    for part, n in (("train", 200), ("t10k", 20)):
        images, labels = rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        (path / "mnist" / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (path / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    (path / "cifar10").mkdir()
    write_cifar10(path / "cifar10", n=20)
    (path / "motions").mkdir()
    for name, n_values, n_frames in (("BasicMotions", 6, 12), ("GunPoint", 1, 15)):
        for part in ("TRAIN", "TEST"):
            rows = [
                ":".join(
                    ",".join(f"{value:.3f}" for value in dim) for dim in rng.normal(size=(n_values, n_frames))
                )
                + f":class{k % 3}"
                for k in range(9)
            ]
            text = "\n".join(["@classLabel true", "@data", *rows])
            (path / "motions" / f"{name}_{part}.ts").write_text(text, encoding="utf-8")
    (path / "vowels").mkdir()
    for part in ("TRAIN", "TEST"):
        sequences = [rng.normal(size=(12, 7 + k % 23)) for k in range(20)]
        rows = [
            ":".join(",".join(f"{value:.3f}" for value in dim) for dim in sequence) + f":{1 + k % 9}"
            for k, sequence in enumerate(sequences)
        ]
        text = "\n".join(["@classLabel true", "@data", *rows])
        (path / "vowels" / f"JapaneseVowels_{part}.ts").write_text(text, encoding="utf-8")
    return path


def test_every_example_is_run():
    assert set(QUICK) == set(EXAMPLES)


@pytest.fixture
def defaults(monkeypatch):
    """What ``nengo_loihi.set_defaults()`` changes is as it was for the tests that come after."""
    for parameter in (nengo.Ensemble.max_rates, nengo.Ensemble.intercepts):
        monkeypatch.setattr(parameter, "default", parameter.default)
    for neurons in (nengo.LIF, nengo.SpikingRectifiedLinear):
        monkeypatch.setitem(neurons.state, "voltage", neurons.state["voltage"])


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.filterwarnings("default")
def test_example(name, folder, defaults, monkeypatch, capsys):
    """In this process, which has TensorFlow already."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLES[name]), *QUICK[name]])
    runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_an_example_in_a_process_of_its_own(folder):
    name = "fashion_mnist_keras.py"
    done = subprocess.run(
        [sys.executable, EXAMPLES[name], *QUICK[name]],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_are_short(name):
    assert len(EXAMPLES[name].read_text().splitlines()) < 120
