"""Spikes that synapses hold back: the plain engine by hand, the compiled one beside it."""

import numpy as np
import pytest

from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Sparse
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses

NOTHING = Graph((), (), ())


def relay_program(delays, transform=None, recurrent=None):
    """Inputs that each make one neuron spike a step after they arrive, held back by `delays`."""
    n = 4
    eye = Dense(np.eye(n, dtype=np.int8) * 127) if transform is None else transform
    synapses = [Synapses("in", "out", eye, 6, delays=delays)]
    if recurrent is not None:
        synapses.append(
            Synapses("out", "out", Dense(np.eye(n, dtype=np.int8)[::-1] * 100), 6, delays=recurrent)
        )
    out = Compartments("out", (n,), 4095, 4095, 64, np.zeros(n, np.int32))
    return Program(NOTHING, (SpikeSource("in", (n,)),), (out,), tuple(synapses), NOTHING)


def spikes_of(engine, program, sent, **options):
    return engine.simulate(program, {"in": sent}, sent.shape[1], {"out": ["spikes"]}, **options)


@pytest.mark.parametrize("engine", [plain, compiled])
@pytest.mark.parametrize("delays", [0, 1, 7, 62, [0, 3, 5, 62]])
def test_a_spike_arrives_so_many_steps_later(engine, delays):
    program = relay_program(delays)
    sent = np.zeros((1, 80, 4), bool)
    sent[0, [2, 3, 4, 5], np.arange(4)] = True
    found = spikes_of(engine, program, sent)
    expected = [(0, 2 + k + 1 + delay, k) for k, delay in enumerate(np.broadcast_to(delays, 4).tolist())]
    assert sorted(map(tuple, np.argwhere(found.recorded["out"]["spikes"]).tolist())) == sorted(expected)
    assert found.counts["out"].synaptic_events == 16  # a dense matrix has its zeros as well


@pytest.mark.parametrize("seed", range(4))
def test_engines_agree_in_one_run_and_in_parts(seed):
    """Random weights and delays, each neuron's own, with feedback; `==` in every variable."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 300, "a": 37, "b": 270}

    def synapses(pre, post, kind):
        n_in, n_out = sizes[pre], sizes[post]
        weights = rng.integers(-127, 128, (n_out, n_in)).astype(np.int8)
        if kind == "sparse":
            rows, columns = np.nonzero(rng.random((n_out, n_in)) < 0.1)
            transform = Sparse.from_entries(rows, columns, weights[rows, columns], (n_out, n_in))
        else:
            transform = Dense(weights)
        delays = (
            rng.integers(0, [9, 2, 30][seed % 3], n_in) if rng.random() < 0.7 else int(rng.integers(1, 12))
        )
        return Synapses(pre, post, transform, int(rng.integers(6, 8)), delays=delays)

    parts = [
        ("in", "a", "dense"),
        ("in", "b", "sparse"),
        ("a", "b", "dense"),
        ("b", "a", "sparse"),
        ("b", "b", "sparse"),
    ]
    program = Program(
        NOTHING,
        (SpikeSource("in", (300,)),),
        tuple(
            Compartments(
                name, (sizes[name],), 500, 200, 64 * 4000, rng.integers(0, 99, sizes[name]).astype(np.int32)
            )
            for name in ("a", "b")
        ),
        tuple(synapses(*part) for part in parts),
        NOTHING,
    )
    sent = rng.random((3, 60, 300)) < 0.2
    record = {name: ["spikes", "u", "v"] for name in ("a", "b")}
    runs = []
    for engine in (plain, compiled):
        whole = engine.simulate(program, {"in": sent}, 60, record)
        first = engine.simulate(program, {"in": sent[:, :23]}, 23, record)
        second = engine.simulate(program, {"in": sent[:, 23:]}, 37, record, first.state)
        for name, variables in whole.recorded.items():
            assert variables["spikes"].any()
            for key, values in variables.items():
                joined = np.concatenate([first.recorded[name][key], second.recorded[name][key]], axis=1)
                assert (values == joined).all()
        runs.append(whole)
    for name, variables in runs[0].recorded.items():
        for key, values in variables.items():
            assert (values == runs[1].recorded[name][key]).all()
        assert runs[0].counts[name] == runs[1].counts[name]
        assert (runs[0].state.delayed["in"] == runs[1].state.delayed["in"]).all()


def test_impossible_delays_are_refused():
    for delays, what in ((-1, "no numbers of steps"), ([1, 2], "do not fit"), (0.5, "wrong type")):
        with pytest.raises(InputError, match=what):
            relay_program(delays)
    assert relay_program(0) == relay_program([0, 0, 0, 0]) == relay_program(None)
    assert relay_program(3) == relay_program([3, 3, 3, 3]) != relay_program(None)
