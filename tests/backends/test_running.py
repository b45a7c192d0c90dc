"""Encoder, chip and readout together: the compiled line against the plain one, however the samples are cut up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loihi_deploy import backends
from loihi_deploy.backends import RunOptions
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.engines.host import plain as host_reference
from loihi_deploy.engines.host.readout import answers
from loihi_deploy.engines.threads import VARIABLE
from loihi_deploy.errors import AccumulatorOverflowError, BackendError, InputError
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Samples,
)
from loihi_deploy.ir.program import Compartments, Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores

EVERYTHING = {"c": ("spikes", "u", "v", "events"), "d": ("events",), "e": ("spikes", "events")}


def make_program(seed=0, neuron=None, tau=0.0, links=(), noise=None, threshold=64 * 1500):
    """A 1x1 convolution on the host, a convolution and a recurrent dense layer on chip, two readouts."""
    rng = np.random.default_rng(seed)
    neuron = neuron or NeuronModel("if")
    scale = 300 if neuron.kind == "if" else 3

    def mantissas(*shape):
        return rng.integers(-100, 128, shape).astype(np.int8)

    kernel = rng.normal(0, scale, (1, 1, 1, 3))
    encoder = Graph(
        (Input("x", (6, 6, 1)), Input("y", (4,))),
        (
            Population("e", (6, 6, 3), neuron, np.ones(()), rng.random(108), initial_voltage=rng.random(108)),
            Population("f", (5,), NeuronModel("lif", 0.02, 0.002), np.array(2.0), np.full(5, 0.5)),
        ),
        (
            Projection("x", "e", Conv2D(kernel, (1, 1), (0, 0), (6, 6, 1), (6, 6, 3)), tau),
            Projection("y", "f", Dense(rng.normal(0, 3, (5, 4)))),
            Projection("y", "f", Dense(rng.normal(0, 3, (5, 4))), 0.002),
            Projection("y", "f", Dense(rng.normal(0, 3, (5, 4))), 0.02),
        ),
    )
    readout = Graph(
        (Input("c", (3, 3, 4)), Input("d", (20,)), Input("f", (5,))),
        (),
        (
            Projection("d", "out", Dense(rng.normal(0, 1, (3, 20))), 0.005),
            Projection("c", "out", Dense(rng.normal(0, 1, (3, 36))), 0.01),
            Projection("c", "out", Dense(rng.normal(0, 1, (3, 36))), 0.002),
            Projection("f", "other", Dense(rng.normal(0, 1, (2, 5)))),
        ),
        (Readout("out", (3,), rng.normal(0, 1, 3), "softmax"), Readout("other", (2,), np.zeros(2))),
    )
    return Program(
        encoder,
        (SpikeSource("f", (5,)), SpikeSource("e", (6, 6, 3))),
        (
            Compartments("c", (3, 3, 4), 741, 0, threshold, rng.integers(-500, 500, 36), noise=noise),
            Compartments("d", (20,), 389, 200, threshold, 1000, refractory=3),
        ),
        (
            Synapses("e", "c", Conv2D(mantissas(2, 2, 3, 4), (2, 2), (0, 0), (6, 6, 3), (3, 3, 4)), 6),
            Synapses("c", "d", Dense(mantissas(20, 36)), 7),
            Synapses("f", "d", Dense(mantissas(20, 5)), 6),
            Synapses("d", "d", Dense(mantissas(20, 20)), 6),
            Synapses("d", "d", Dense(mantissas(20, 20)), 7),
        ),
        readout,
        links,
    )


PROGRAM = make_program()
LINKS = (Link("e", "to_chip", 3), Link("d", "from_chip", 2), Link("f", "from_chip", 1))


def make_inputs(n, n_frames=1, seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.random((n, n_frames, 36)), "y": rng.random((n, n_frames, 4))}


def run(program, inputs, steps=None, **options):
    return backends.run(program, Samples(inputs, static=False), RunOptions(steps, **options))


def evaluate(program, inputs, labels, steps, by_step=False, **options):
    options = RunOptions(steps, **options)
    return backends.evaluate(program, Samples(inputs, static=False), labels, options, by_step=by_step)


def part(inputs, samples):
    return {name: x[samples] for name, x in inputs.items()}


def assert_same(ours, theirs):
    for name, outputs in theirs.all_outputs.items():
        assert (ours.all_outputs[name] == outputs).all(), name
    assert ours.counters == theirs.counters
    for name, variables in theirs.recorded.items():
        for variable, values in variables.items():
            assert ours.recorded[name][variable].dtype == values.dtype
            assert (ours.recorded[name][variable] == values).all(), (name, variable)


NEURONS = [
    NeuronModel("if"),
    NeuronModel("if", discretized=True),
    NeuronModel("lif", 0.02, 0.002, discretized=True),
    NeuronModel("lif", 0.03, 0.0017),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("tau", [0.0, 0.01])
@pytest.mark.parametrize("links", [(), LINKS], ids=["plain", "delays"])
def test_against_plain_numpy(neuron, tau, links):
    program = make_program(1, neuron, tau, links)
    inputs = make_inputs(3, n_frames=2)
    result = run(program, inputs, 60, record=EVERYTHING, readout_window=0.4)
    spikes, lost, _ = host_reference.encode(program.encoder, inputs, 60)
    simulation = reference.simulate(program, spikes, 60, {"c": EVERYTHING["c"], "d": ("spikes", "events")})
    emitted = {
        "f": spikes["f"],
        "c": simulation.recorded["c"]["spikes"],
        "d": simulation.recorded["d"]["spikes"],
    }
    traces, _ = host_reference.decode(program, emitted)
    expected = answers(program.readout, np.concatenate(list(traces.values()), axis=2), 24)

    assert (result.recorded["e"]["spikes"] == spikes["e"]).all()
    assert spikes["e"].any(axis=(1, 2)).all()
    for variable, values in simulation.recorded["c"].items():
        assert (result.recorded["c"][variable] == values).all()
    assert (result.recorded["d"]["events"] == simulation.recorded["d"]["events"]).all()
    assert simulation.counts["d"].spikes > 0
    for name, count in simulation.counts.items():
        assert result.counters.populations[name] == count
    for name in ("e", "f"):
        assert result.counters.populations[name].spikes == spikes[name].sum()
        assert result.counters.populations[name].lost_spikes == lost[name]
    for name, output in expected.items():
        np.testing.assert_allclose(result.all_outputs[name], output, rtol=1e-12)
    assert (result.outputs == result.all_outputs["out"]).all()


def test_fast_spikes_beyond_one_are_counted():
    inputs = make_inputs(2)
    inputs["x"] *= 20
    counters = run(PROGRAM, inputs, 30).counters
    _, lost, _ = host_reference.encode(PROGRAM.encoder, inputs, 30)
    assert counters.populations["e"].lost_spikes == lost["e"] > 0


@pytest.mark.parametrize("program", [PROGRAM, make_program(links=LINKS, noise=Noise(12, at_membrane=True))])
def test_backends_agree(program):
    inputs = make_inputs(3)
    assert_same(
        run(program, inputs, 40, record=EVERYTHING, seed=3),
        run(program, inputs, 40, record=EVERYTHING, seed=3, backend="numpy"),
    )


@given(st.integers(1, 4), st.integers(1, 5), st.permutations(range(5)))
@settings(max_examples=15)
def test_threads_chunks_and_order_change_nothing(threads, chunk_size, order):
    program = make_program(noise=Noise(10))
    inputs = make_inputs(5)
    whole = run(program, inputs, 30, record=EVERYTHING, threads=1, chunk_size=5)
    assert_same(run(program, inputs, 30, record=EVERYTHING, threads=threads, chunk_size=chunk_size), whole)
    shuffled = run(program, part(inputs, order), 30, threads=threads, chunk_size=chunk_size)
    assert (shuffled.outputs == whole.outputs[order]).all()
    assert shuffled.counters == whole.counters


def test_long_presentations_in_blocks(monkeypatch):
    program = make_program(tau=0.01, links=LINKS, noise=Noise(10))
    inputs = make_inputs(2, n_frames=4)
    whole = run(program, inputs, 48, record=EVERYTHING, return_state=True)
    monkeypatch.setattr("loihi_deploy.backends.line.BLOCK_BYTES", 4 * 140 * 7)
    assert_same(run(program, inputs, 48, record=EVERYTHING), whole)


def test_frames():
    """A frame that is repeated is a longer frame."""
    inputs = make_inputs(2, n_frames=3)
    once = run(PROGRAM, inputs, 36, record=EVERYTHING)
    assert_same(run(PROGRAM, inputs, steps_per_frame=12, record=EVERYTHING), once)
    twice = {name: x.repeat(2, axis=1) for name, x in inputs.items()}
    assert_same(run(PROGRAM, twice, steps_per_frame=6, record=EVERYTHING), once)


@pytest.mark.parametrize("backend", ["emulator", "numpy"])
@pytest.mark.parametrize("links", [(), LINKS], ids=["plain", "delays"])
@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_run_can_be_continued(backend, links, cut):
    program = make_program(tau=0.01, links=links, noise=Noise(10))
    inputs = make_inputs(3)
    arguments = {
        "backend": backend,
        "record": {"c": ("spikes", "u", "v")},
        "return_state": True,
        "chunk_size": 2,
    }
    whole = run(program, inputs, 40, readout_window=1.0, **arguments)
    first = run(program, inputs, cut, **arguments)
    second = run(program, inputs, 40 - cut, state=first.state, **arguments)
    for variable, values in whole.recorded["c"].items():
        parts = [first.recorded["c"][variable], second.recorded["c"][variable]]
        assert (np.concatenate(parts, axis=1) == values).all()
    for group in ("encoder", "readout"):
        ends = getattr(whole.state, group).arrays, getattr(second.state, group).arrays
        for name, array in ends[0].items():
            np.testing.assert_allclose(ends[1][name], array, rtol=1e-12, atol=1e-12)
    counts = first.counters + second.counters
    assert counts.populations == whole.counters.populations


def test_states_are_engine_independent():
    inputs = make_inputs(2)
    state = run(PROGRAM, inputs, 15, return_state=True).state
    assert_same(
        run(PROGRAM, inputs, 15, state=state, record=EVERYTHING),
        run(PROGRAM, inputs, 15, state=state, record=EVERYTHING, backend="numpy"),
    )


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_a_stream_is_one_long_presentation(chunk_size):
    inputs = make_inputs(5)
    stream = run(
        PROGRAM, inputs, 20, stream=True, chunk_size=chunk_size, record=EVERYTHING, return_state=True
    )
    frames = {name: x.reshape(1, 5, -1) for name, x in inputs.items()}
    long = run(PROGRAM, frames, 100, record=EVERYTHING, return_state=True)
    for name, variables in long.recorded.items():
        for variable, values in variables.items():
            if variable == "events":
                values = np.stack([values[:, 1] // 20, values[:, 1] % 20, values[:, 2]], axis=1)
            else:
                values = values.reshape(5, 20, -1)
            assert (stream.recorded[name][variable] == values).all()
    assert stream.counters.populations == long.counters.populations
    assert stream.counters.samples == 5
    assert (stream.state.chip.v["d"] == long.state.chip.v["d"]).all()
    batched = run(PROGRAM, inputs, 20, record=["c"])
    assert not (batched.recorded["c"]["spikes"] == stream.recorded["c"]["spikes"]).all()


def test_recording_some_neurons():
    inputs = make_inputs(3)
    whole = run(PROGRAM, inputs, 30, record=EVERYTHING).recorded
    neurons = {"c": slice(3, 9, 2), "e": [7, 100], "d": [-1]}
    for backend in ("emulator", "numpy"):
        some = run(PROGRAM, inputs, 30, record=EVERYTHING, neurons=neurons, backend=backend).recorded
        for variable in ("spikes", "u", "v"):
            assert (some["c"][variable] == whole["c"][variable][:, :, 3:9:2]).all()
        assert (some["e"]["spikes"] == whole["e"]["spikes"][:, :, [7, 100]]).all()
        rows = whole["d"]["events"]
        assert (some["d"]["events"] == rows[rows[:, 2] == 19]).all()


def test_recording_by_name_means_spikes():
    result = run(PROGRAM, make_inputs(1), 10, record=["d", "e"])
    assert {name: list(variables) for name, variables in result.recorded.items()} == {
        "d": ["spikes"],
        "e": ["spikes"],
    }


def overflowing(sample):
    """A program whose layer 'd' wraps, and inputs of which only one sample makes it."""
    program = make_program()
    n = program.nodes["d"].size
    strong = Synapses("e", "d", Dense(np.full((n, 108), 127, np.int8)), 7)
    program = replace(program, synapses=(*program.synapses, strong))
    inputs = make_inputs(6)
    inputs["x"][:] = 0
    inputs["x"][sample] = 100
    return program, inputs


@pytest.mark.parametrize("backend", ["emulator", "numpy", "nengo_loihi"])
@pytest.mark.follows(
    "Lower the firing rate of this layer, so that its weights are smaller beside its threshold, or count…",
)
def test_overflow_names_layer_step_and_sample(backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    program, inputs = overflowing(4)
    counts = run(program, inputs, 20).counters.populations
    assert counts["d"].overflows_u > 0
    assert counts["c"].overflows_u == counts["c"].overflows_q == 0
    history = run(program, inputs, 20, backend="numpy", record={"d": ("u",)})
    assert history.counters.populations == counts
    with pytest.raises(AccumulatorOverflowError, match=r"layer 'd': .* at step \d+ of sample 4") as error:
        run_mapped(program, inputs, 20, backend=backend, on_overflow="raise")
    first = next(t for t in range(1, 21) if _wraps(program, inputs, t))
    assert f"at step {first} of sample 4" in str(error.value)
    run_mapped(program, part(inputs, [0, 1, 2, 3, 5]), 20, backend=backend, on_overflow="raise")


def run_mapped(program, inputs, steps, **options):
    mapping = map_to_cores(program, "nahuku32")
    return backends.run(program, Samples(inputs, static=False), RunOptions(steps, **options), mapping)


def _wraps(program, inputs, steps):
    counts = run(program, inputs, steps, backend="numpy").counters.populations["d"]
    return counts.overflows_u + counts.overflows_q > 0


@pytest.mark.parametrize("backend", ["emulator", "numpy", "nengo_loihi"])
def test_overflow_in_a_stream(backend):
    if backend == "nengo_loihi":
        pytest.importorskip("nengo_loihi")
    program, inputs = overflowing(1)
    with pytest.raises(AccumulatorOverflowError, match="of sample 1"):
        run_mapped(program, inputs, 20, backend=backend, on_overflow="raise", stream=True, chunk_size=6)


@pytest.mark.parametrize("backend", ["emulator", "numpy"])
def test_overflow_between_gaps(backend):
    program, inputs = overflowing(4)
    with pytest.raises(AccumulatorOverflowError, match=r"at step \d+ of sample 4"):
        run_mapped(
            program, inputs, 20, backend=backend, on_overflow="raise", reset="gap", gap=30, chunk_size=3
        )


@pytest.mark.follows(
    "Use backend='emulator', which gives the same spikes, or on_overflow='count'",
)
def test_overflow_that_a_board_does_not_tell_of():
    program, inputs = overflowing(1)
    with pytest.raises(BackendError, match="does not tell when an accumulator wraps") as caught:
        run(program, inputs, 20, backend="hardware", on_overflow="raise")
    assert caught.value.problems[0].where == "backend 'hardware'"
    with pytest.raises(AccumulatorOverflowError):  # what the remedy says
        run(program, inputs, 20, on_overflow="raise")


def test_evaluation_counts():
    inputs = make_inputs(9)
    outputs = run(PROGRAM, inputs, 40, readout_window=0.3).outputs
    labels = np.where(np.arange(9) < 7, outputs.argmax(axis=1), (outputs.argmax(axis=1) + 1) % 3)
    result = evaluate(PROGRAM, inputs, labels, 40, readout_window=0.3, by_step=True)
    assert (result.n_correct, result.n_total) == (7, 9)
    assert result.n_correct_by_step.shape == (40,)
    for steps in (1, 2, 13, 40):
        shorter = evaluate(PROGRAM, inputs, labels, steps, readout_window=0.3)
        assert shorter.n_correct_by_step is None
        assert result.n_correct_by_step[steps - 1] == shorter.n_correct
    assert result.accuracy_by_step[-1] == result.accuracy
    both = result + result
    assert both.n_total == 18
    assert (both.n_correct_by_step == 2 * result.n_correct_by_step).all()


def test_threads_from_the_environment(monkeypatch):
    inputs = make_inputs(2)
    monkeypatch.setenv(VARIABLE, "2")
    assert run(PROGRAM, inputs, 5).counters.samples == 2
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(InputError, match=VARIABLE):
            run(PROGRAM, inputs, 5)
    assert run(PROGRAM, inputs, 5, threads=1).counters.samples == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 7}, "multiple of the 2 frames"),
        ({"readout_window": 0}, "readout_window"),
        ({"on_overflow": "ignore"}, "on_overflow"),
        ({"threads": 0}, "threads"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"record": ["nothing"]}, "nothing"),
        ({"record": {"e": ["u"]}}, "cannot be recorded"),
        ({"record": {"c": ["w"]}}, "cannot be recorded"),
        ({"record": ["c"], "neurons": {"c": [36]}}, "no such neuron"),
        ({"neurons": {"c": [0]}}, "not recorded"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        run(PROGRAM, make_inputs(2, n_frames=2), **{"steps": 8, **arguments})


def test_all_problems_at_once():
    with pytest.raises(InputError) as error:
        run(PROGRAM, make_inputs(1), 0, threads=0, record=["nothing"], readout_window=2)
    assert len(error.value.problems) == 4


def test_a_state_of_other_samples():
    state = run(PROGRAM, make_inputs(2), 5, return_state=True).state
    with pytest.raises(InputError, match="state"):
        run(PROGRAM, make_inputs(3), 5, state=state)


def test_unknown_backend():
    with pytest.raises(BackendError, match="emulator"):
        run(PROGRAM, make_inputs(1), 5, backend="gpu")


@pytest.mark.parametrize("backend", ["nengo_loihi", "reference", "hardware"])
def test_nengo_loihi_cannot_be_continued(backend):
    with pytest.raises(BackendError, match="continue a run"):
        run(PROGRAM, make_inputs(1), 5, backend=backend, return_state=True)


def test_progress_goes_to_stderr(capsys):
    run(PROGRAM, make_inputs(3), 5, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    run(PROGRAM, make_inputs(3), 5)
    assert capsys.readouterr().err == ""
