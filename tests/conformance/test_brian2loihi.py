"""Currents, voltages and spikes beside Brian2Loihi's (Michaelis et al. 2022), to the bit: make brian2loihi.

It runs as a program of its own where it is installed. It has neither biases nor bounds of registers, so networks here
have none and stay within them.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.ir import Dense, Graph, Link
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses

PYTHON = os.environ.get("LOIHI_DEPLOY_BRIAN2_PYTHON", str(Path(".venv-brian2/bin/python").absolute()))
RUNNER = Path(__file__).with_name("brian2loihi_runner.py")
STEPS = 250
NOTHING = Graph((), (), ())
pytestmark = pytest.mark.skipif(
    not Path(PYTHON).is_file(), reason="Brian2Loihi is not installed: `make brian2loihi` installs and runs it"
)


def drawn(seed):
    """A source, two populations, and a matrix between any two: settings of decays, thresholds and refractory delays."""
    rng = np.random.default_rng(seed)
    sizes = {"source": 20, "a": 30, "b": 25}
    populations = [
        Compartments(
            name,
            (sizes[name],),
            decay_u=int(rng.choice([40, 199, 741, 2588, 4094, 4095])),
            decay_v=int(rng.choice([0, 1, 40, 200, 1000, 2500])),
            threshold=64 * int(rng.integers(50, 500)),
            bias=0,
            refractory=int(rng.choice([1, 1, 2, 5, 20])),
            v_min=1 - 2**31,
        )
        for name in ("a", "b")
    ]
    synapses = []
    for pre, post, mean in (
        ("source", "a", 60),
        ("a", "b", 30),
        ("a", "a", -2),
        ("b", "a", -2),
        ("b", "b", 5),
    ):
        weights = np.clip(rng.normal(mean, 30, (sizes[post], sizes[pre])).round(), -127, 127)
        synapses.append(Synapses(pre, post, Dense(weights.astype(np.int8)), int(rng.choice([6, 7]))))
    return Program(
        NOTHING,
        (SpikeSource("source", (20,)),),
        tuple(populations),
        tuple(synapses),
        NOTHING,
        (Link("source", "to_chip", 0),),
    )


@pytest.mark.parametrize("seed", range(6))
def test_currents_voltages_and_spikes(seed, tmp_path):
    program = drawn(seed)
    spikes = np.random.default_rng(seed).random((STEPS, 20)) < 0.1
    arrays = {
        "spikes": spikes,
        "names": np.array([p.name for p in program.populations]),
        "settings": np.array(
            [(p.size, p.decay_u, p.decay_v, p.threshold // 64, p.refractory) for p in program.populations]
        ),
        "edges": np.array([(s.pre, s.post, s.shift - 7) for s in program.synapses]),
    }
    for s in program.synapses:
        arrays[f"weights_{s.pre}_{s.post}"] = s.transform.values.astype(np.int64) * 2
    np.savez(tmp_path / "network.npz", **arrays)
    command = [PYTHON, str(RUNNER), str(tmp_path / "network.npz"), str(tmp_path / "results.npz")]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    theirs = np.load(tmp_path / "results.npz")
    record = {p.name: ("spikes", "u", "v") for p in program.populations}
    assert theirs["a_spikes"].sum() > 50
    assert theirs["b_spikes"].sum() > 20
    for engine in (plain, compiled):
        ours = engine.simulate(program, {"source": spikes[None]}, STEPS, record).recorded
        for name, variables in ours.items():
            assert np.array_equal(variables["u"][0], theirs[f"{name}_I"]), name
            assert np.array_equal(variables["v"][0], theirs[f"{name}_v"]), name
            assert np.array_equal(variables["spikes"][0], theirs[f"{name}_spikes"]), name
