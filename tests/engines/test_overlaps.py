"""Kernels are compiled for arrays that do not overlap (`kept_code`): no call gives them any that do."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.backends import RunOptions, halves
from loihi_deploy.bench.floor import measure_floor
from loihi_deploy.engines import activity
from loihi_deploy.engines.chip import kernels as on_chip
from loihi_deploy.engines.chip import loops
from loihi_deploy.engines.host import holding_back
from loihi_deploy.engines.host import kernels as on_host
from loihi_deploy.engines.spiking_network import spiking_outputs
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout, Samples
from loihi_deploy.ir.program import HostLimit, Noise
from tests.backends import test_halves
from tests.backends.test_running import EVERYTHING, LINKS, make_inputs, make_program

KERNELS = {
    on_host: ("decode", "simulate_network"),
    holding_back: ("_hold_back",),
    activity: ("_tally", "_note_spikes", "_note_arrivals", "_count_updates"),
    loops: ("add_all", "deliver_all", "list_all"),
}
MADE = {
    on_chip: {"simulate_with": "simulate"},
    on_host: {"encode_with": "encode"},
    loops: {"update_with": "update_all"},
}
"""By the functions that make them."""


def arrays_of(arguments):
    for given in arguments:
        if isinstance(given, np.ndarray):
            yield given
        elif isinstance(given, tuple):
            yield from arrays_of(given)


@pytest.fixture
def called(monkeypatch):
    """Names of the kernels that were called, whose arrays are looked at."""
    names = set()

    def checked(name, kernel):
        def call(*arguments):
            names.add(name)
            for one, other in combinations(arrays_of(arguments), 2):
                assert not np.shares_memory(one, other), name
            return kernel(*arguments)

        call._cache = None  # there is nothing to be compiled beside another process
        return call

    def checking(make, name):
        return lambda *given: checked(name, make(*given))

    for module, kernels in KERNELS.items():
        for name in kernels:
            monkeypatch.setattr(module, name, checked(name, getattr(module, name)))
    for module, makers in MADE.items():
        for maker, name in makers.items():
            monkeypatch.setattr(module, maker, checking(getattr(module, maker), name))
    return names


def small_network():
    rng = np.random.default_rng(0)
    relu = NeuronModel("if", discretized=True)
    return Graph(
        (Input("x", (12,)),),
        tuple(
            Population(name, (30,), relu, np.ones(()), bias * rng.random(30))
            for name, bias in zip("ab", (40, 0), strict=True)
        ),
        (
            Projection("x", "a", Dense(rng.normal(0, 40, (30, 12)))),
            Projection("a", "b", Dense(rng.normal(0.2, 0.5, (30, 30))), 0.005),
            Projection("b", "y", Dense(rng.normal(0, 0.1, (5, 30))), 0.005),
        ),
        (Readout("y", (5,), np.zeros(5)),),
    )


def test_no_two_arrays_of_a_kernel_overlap(called, monkeypatch):
    monkeypatch.setattr(halves, "WORTH_NS", 0)
    noisy = make_program(51, links=LINKS, noise=Noise(5))
    limited = make_program(61, tau=0.01)
    limited = replace(limited, host_limit=HostLimit(9, np.ones((1, 113), np.int32)))
    for program in (noisy, limited):
        samples = Samples(make_inputs(3, 2), static=False)
        first = backends.run(program, samples, RunOptions(20, record=EVERYTHING, return_state=True))
        backends.run(program, samples, RunOptions(20, state=first.state, record=EVERYTHING))
    one = make_program(71), Samples(make_inputs(1), static=True)
    recorded = backends.run(*one, RunOptions(20, record=[*"fecd"])).recorded
    measure_floor(*one, recorded, 20)
    cut = test_halves.program(biased=("a",), threshold=64 * 701)
    assert test_halves.is_cut(cut)
    backends.run(cut, test_halves.samples(n_frames=2), RunOptions(60, threads=2))
    x = np.random.default_rng(1).random((3, 12))
    ld.deploy(small_network(), "loihi", options=ld.DeployOptions(normalization="none")).energy(x, 20)
    spiking_outputs(small_network(), {"x": x[:, None]}, 20)
    assert called == {name for names in KERNELS.values() for name in names} | {
        name for makers in MADE.values() for name in makers.values()
    }


def test_overlapping_arrays_are_seen(called):
    values = np.zeros(100, np.uint8)
    with pytest.raises(AssertionError, match="list_all"):
        loops.list_all(values[:64].reshape(1, 64), values[60:], np.zeros(64, np.int32))


def test_these_are_all_kernels():
    texts = [path.read_text(encoding="utf-8") for path in Path(ld.__file__).parent.rglob("*.py")]
    found = re.findall(r"@compiled\ndef (\w+)|= compiled\((\w+)\)", "\n".join(texts))
    known = [name for names in KERNELS.values() for name in names]
    known += [name for makers in MADE.values() for name in makers.values()]
    assert sorted(a or b for a, b in found) == sorted([*known, "run"])  # the simulator's: tests/simulator
