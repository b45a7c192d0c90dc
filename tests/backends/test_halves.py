"""One sample on two threads: what one thread gives, wherever the network is cut."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.backends import RunOptions, halves
from loihi_deploy.backends.job import checked_job
from loihi_deploy.backends.line import line
from loihi_deploy.backends.running import run
from loihi_deploy.ir import Dense, Graph, Input, Link, NeuronModel, Population, Projection, Readout, Samples
from loihi_deploy.ir.program import BiasInput, Compartments, HostLimit, Noise, Program, SpikeSource, Synapses

SIZES = {"a": 300, "b": 40, "c": 60, "d": 20}


def program(ways=(), hosts=("a",), decoded=("d",), noise=None, threshold=64 * 700, biased=()):
    """Four layers behind each other, the second and the third recurrent; `ways` are more synapses between them."""
    rng = np.random.default_rng(0)

    def synapses(pre, post, n_pre, delays=None):
        weights = rng.integers(-60, 100, (SIZES[post], n_pre)).astype(np.int8)
        return Synapses(pre, post, Dense(weights), 6, delays=delays)

    pairs = [*zip("abc", "bcd", strict=True), ("b", "b"), ("c", "c"), *ways]
    values = {name: Projection("x", name, Dense(rng.normal(0, 1, (SIZES[name], 7)))) for name in biased}
    return Program(
        Graph(
            (Input("x", (7,)),),
            (Population("e", (50,), NeuronModel("if"), np.ones(()), rng.random(50) * 90),),
            (Projection("x", "e", Dense(rng.normal(0, 90, (50, 7)))), *values.values()),
            tuple(Readout(name, (SIZES[name],), np.zeros(SIZES[name])) for name in biased),
        ),
        (SpikeSource("e", (50,)),),
        tuple(
            Compartments(name, (size,), 741, 0, threshold, rng.integers(0, 900, size), noise=noise)
            for name, size in SIZES.items()
        ),
        (
            *(synapses("e", name, 50) for name in hosts),
            *(synapses(pre, post, SIZES[pre], 3 if pre == "a" else None) for pre, post in pairs),
        ),
        Graph(
            tuple(Input(name, (SIZES.get(name, 50),)) for name in decoded),
            (),
            tuple(
                Projection(name, "out", Dense(rng.normal(0, 1, (3, SIZES.get(name, 50)))), 0.005)
                for name in decoded
            ),
            (Readout("out", (3,), np.zeros(3)),),
        ),
        (Link("e", "to_chip", 2), Link("d", "from_chip", 1)),
        bias_inputs=tuple(BiasInput(name, 500.0, 4095, 7) for name in biased),
    )


def samples(n=1, n_frames=1):
    return Samples({"x": np.random.default_rng(1).random((n, n_frames, 7))}, static=False)


def is_cut(made, given=None, **options):
    job = checked_job(made, given or samples(), RunOptions(**{"steps": 60, "threads": 2, **options}))
    return job._halves is not None


@pytest.fixture
def any_pays(monkeypatch):
    monkeypatch.setattr(halves, "WORTH_NS", 0)


@pytest.mark.parametrize("ways", [(), (("a", "c"), ("a", "d"), ("d", "c"))], ids=["chain", "other ways"])
@pytest.mark.parametrize("biased", [(), ("a",)])
@pytest.mark.parametrize("n_frames", [1, 4])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_equals_one_thread(any_pays, monkeypatch, ways, biased, n_frames, block):
    monkeypatch.setattr(halves, "BLOCKS", -(-60 // block))
    made, given = program(ways, biased=biased), samples(n_frames=n_frames)
    assert is_cut(made, given)
    alone = run(made, given, RunOptions(60, threads=1))
    assert all(alone.counters.populations[name].spikes > 20 for name in SIZES)
    for _ in range(2):  # what a run leaves in a thread's memory is nothing to the next one
        both = run(made, given, RunOptions(60, threads=2))
        assert (both.outputs == alone.outputs).all()
        assert both.counters == alone.counters


def test_the_longer_half_is_as_short_as_it_can_be():
    found = halves.halves(program())
    assert [[p.name for p in half.populations] for half in (found.ahead, found.behind)] == [["a"], [*"bcd"]]
    assert [(source.name, source.size) for source in found.behind.sources] == [("a", 300)]


@pytest.mark.parametrize(
    "given",
    [
        {"ways": [("d", "a")]},
        {"hosts": ("a", "d")},
        {"decoded": ("a", "d")},
        {"decoded": ("d", "e")},
        {"biased": ("d",)},
        {"noise": Noise(5)},
    ],
    ids=str,
)
def test_what_cannot_be_cut(any_pays, given):
    assert line(program(**given)).halves is None
    assert not is_cut(program(**given))


def test_only_one_sample_of_which_only_outputs_are_wanted(any_pays):
    made = program()
    assert is_cut(made)
    state = run(made, samples(), RunOptions(6, return_state=True)).state
    for options in (
        {"threads": 1},
        {"return_state": True},
        {"record": ["c"]},
        {"state": state},
        {"backend": "numpy"},
        {"stream": True},
    ):
        assert not is_cut(made, **options), options
    assert not is_cut(made, samples(2))


def test_few_steps_are_not_worth_it():
    made = program(threshold=64 * 702)  # of this test alone: others leave both halves of theirs laid out
    assert not is_cut(made, steps=200)
    run(made, samples(), RunOptions(200, threads=2))
    assert "engines" not in vars(line(made).halves)
    assert is_cut(made, steps=200_000)


def test_the_first_wrap_of_either_half(any_pays):
    made = program(threshold=64 * (2**17 - 1))
    wild = replace(
        made,
        populations=tuple(
            replace(p, decay_u=0, bias=4095 << 7, v_min=-(2**31) + 1) for p in made.populations
        ),
        synapses=tuple(
            replace(s, transform=Dense(np.full_like(s.transform.weights, 127))) for s in made.synapses
        ),
    )
    assert is_cut(wild, steps=400)
    alone = run(wild, samples(), RunOptions(400, threads=1))
    both = run(wild, samples(), RunOptions(400, threads=2))
    assert sum(count.overflows_u for count in alone.counters.populations.values()) > 0
    assert both.counters == alone.counters
    with pytest.raises(Exception, match="wrapped around at step") as expected:
        run(wild, samples(), RunOptions(400, threads=1, on_overflow="raise"))
    with pytest.raises(type(expected.value)) as found:
        run(wild, samples(), RunOptions(400, threads=2, on_overflow="raise"))
    assert str(found.value) == str(expected.value)


def test_an_error_on_the_second_thread_is_told(any_pays, monkeypatch):
    made = program()
    cut = line(made).halves
    _, engine = cut.engines

    def fails(*given):
        raise RuntimeError("broken")

    monkeypatch.setattr(engine, "run", fails)
    with pytest.raises(RuntimeError, match="broken"):
        run(made, samples(), RunOptions(60, threads=2))


@pytest.mark.parametrize("helps", [True, False])
def test_blocks_are_in_order_whoever_does_them(monkeypatch, helps):
    if not helps:
        monkeypatch.setattr(halves.ThreadPoolExecutor, "submit", lambda pool, function: None)
    blocks, done = [(first, 1) for first in range(50)], []
    halves.in_two_threads(blocks, lambda first, n: first, lambda first, n, given: done.append((first, given)))
    assert done == [(first, first) for first in range(50)]


def test_after_an_error_no_more_is_begun(monkeypatch):
    monkeypatch.setattr(halves.ThreadPoolExecutor, "submit", lambda pool, function: None)
    begun = []

    def fails(*given):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halves.in_two_threads(
            [(first, 1) for first in range(50)], lambda first, n: begun.append(first), fails
        )
    assert begun == list(range(halves.AHEAD + 1))


def test_an_error_on_the_first_thread_is_told(any_pays, monkeypatch):
    made = program()

    def fails(*given):
        raise RuntimeError("broken")

    monkeypatch.setattr(line(made).encoder, "run", fails)
    with pytest.raises(RuntimeError, match="broken"):
        run(made, samples(), RunOptions(60, threads=2))


def test_a_second_half_that_hears_nothing_of_the_first(any_pays):
    made = program()
    made = replace(made, synapses=tuple(s for s in made.synapses if (s.pre, s.post) != ("a", "b")))
    assert is_cut(made)
    assert line(made).halves.behind.sources == ()
    alone, both = (run(made, samples(), RunOptions(60, threads=n)) for n in (1, 2))
    assert (both.outputs == alone.outputs).all()
    assert both.counters == alone.counters


def test_what_the_host_holds_back_and_loses(any_pays):
    made = replace(program(), host_limit=HostLimit(2, np.ones((1, 50), np.int32)))
    assert is_cut(made)
    alone, both = (run(made, samples(), RunOptions(60, threads=n)) for n in (1, 2))
    assert alone.counters.populations["e"].lost_spikes > 0
    assert (both.outputs == alone.outputs).all()
    assert both.counters == alone.counters
    assert both.warnings == alone.warnings
