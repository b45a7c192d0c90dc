"""Every argument of the methods that run a deployment: a wrong type, a wrong range, an extreme. No raw exception."""

import warnings

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError, LoihiDeployError, LoihiDeployWarning
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (12, 6))
Y = np.arange(12) % 3


def make(seed=0):
    rng = np.random.default_rng(seed)
    graph = Graph(
        (Input("x", (6,)),),
        tuple(Population(name, (10,), NeuronModel(), 1.0, 0.1) for name in "ab"),
        (
            Projection("x", "a", Dense(rng.normal(size=(10, 6)))),
            Projection("a", "b", Dense(rng.normal(size=(10, 10))), 0.003),
            Projection("b", "y", Dense(rng.normal(size=(3, 10))), 0.003),
        ),
        (Readout("y", (3,), np.zeros(3)),),
    )
    return ld.deploy(graph, "loihi", X)


DEPLOYMENT = make()
STATE = DEPLOYMENT.run(X, 10, return_state=True).state
HUGE = 10**12

ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    1.5,
    20.0,
    float("nan"),
    float("inf"),
    HUGE,
    10**40,
    "",
    "10",
    "x",
    b"x",
]
ODD += [(), [], {}, [1], ["a"], {"a": 1}, {1: 2}, [["a"]], object(), np.zeros(()), np.zeros(3), np.array("a")]
ODD += [
    np.array([True]),
    1j,
    slice(3),
    np.datetime64("2026-01-01"),
    np.ma.masked,
    len,
    np.float32(3),
    np.int8(4),
]

SAMPLES = [
    *ODD,
    *(X.astype(kind) for kind in ("complex", "datetime64[s]", "U8", object, bool, np.float16)),
    *(np.full_like(X, value) for value in (np.nan, np.inf, -1.0, 1e300, 1e-300)),
    *(X[:0], X[0], X[:, :3], X[:, None, :], X[:, :0], np.ma.masked_less(X, 0.5), {"x": X, "z": X}, {"x": X}),
    *([[1.0, 2.0], [3.0]], [X, X]),
]
LABELS = [
    *ODD,
    *(Y.astype(kind) for kind in (float, complex, bool, object, "U8", "datetime64[s]", np.uint8)),
    *(
        Y[:5],
        Y - 1,
        Y + 1,
        Y + 10**15,
        np.eye(3, dtype=int)[Y],
        Y[:, None],
        np.ma.masked_less(Y, 1),
        [[1], [2, 3]],
    ),
]
RECORDS = [
    *ODD,
    *(["a", "b"], {"b": ["spikes", "u", "v", "events"]}, {"a": ["u"]}, {"b": "u"}, {"b": 3}, {"b": [3]}),
    *({"b": [["u"]]}, {"nowhere": ["u"]}, iter(["b"]), {"b": []}),
]
NEURONS = [
    *ODD,
    *({"b": value} for value in ODD),
    *(
        {"b": value}
        for value in ([0.5], [0, 10], [-11], [10**30], [True] * 10, [True] * 9, np.ones((2, 2), int))
    ),
    *(
        {"b": value}
        for value in (slice("a"), slice(2, 5), slice(0, 10**30), range(3), "12", {1: 2}, [[1], [2, 3]])
    ),
    *({"a": [0]}, {"nowhere": [0]}),
]
STATES = [*ODD, STATE.chip, STATE]

CALLS = {
    "run": lambda **given: DEPLOYMENT.run(**{"x": X, "steps": 4, "record": ["b"], **given}),
    "evaluate": lambda **given: DEPLOYMENT.evaluate(**{"x": X, "y": Y, "steps": 4, **given}),
    "verify": lambda **given: DEPLOYMENT.verify(
        **{"x": X, "y": Y, "steps": 4, "reference_samples": 0, **given}
    ),
    "tune": lambda **given: DEPLOYMENT.tune(**{"x": X, "y": Y, "max_steps": 4, "max_drop": 1.0, **given}),
}
SHARED = {
    "x": SAMPLES,
    "steps": ODD,
    "backend": ODD,
    "steps_per_frame": ODD,
    "reset": ODD,
    "stream": ODD,
    "on_overflow": ODD,
    "seed": ODD,
    "threads": ODD,
    "chunk_size": ODD,
    "progress": [odd for odd in ODD if odd is not True],
}
ARGUMENTS = {
    "run": {**SHARED, "record": RECORDS, "neurons": NEURONS, "state": STATES, "return_state": ODD},
    "evaluate": {**SHARED, "y": LABELS, "by_step": ODD},
    "verify": {
        "x": SAMPLES,
        "y": LABELS,
        "steps": ODD,
        "reference_samples": [odd for odd in ODD if type(odd) not in (int, np.int8)] + [0, -1, -(10**40)],
    },
    "tune": {"x": SAMPLES, "y": LABELS, "max_steps": ODD, "max_drop": ODD},
}


@pytest.mark.parametrize(
    ("call", "argument"), [(call, name) for call, named in ARGUMENTS.items() for name in named]
)
def test_an_error_of_ours_or_a_result(call, argument):
    refused = 0
    for value in ARGUMENTS[call][argument]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LoihiDeployWarning)
            try:
                CALLS[call](**{argument: value})
            except LoihiDeployError as error:
                refused += len(str(error)) > 0
    assert refused > 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"steps": "10"}, r"steps: not a whole number \(found '10', allowed a whole number, 1 or more\)"),
        ({"steps": 20.0}, "steps: not a whole number"),
        ({"steps": np.float32(20)}, "steps: not a whole number"),
        ({"steps": True}, "steps: not a whole number"),
        ({"steps": 0}, "steps: out of range"),
        ({"steps": HUGE}, "steps: needs more memory than there is"),
        ({"steps": 10**40}, "needs more memory|integer of 133 bits"),
        (
            {"steps": 10**9, "record": ["b"]},
            r"record: needs more memory .* GB for 12 samples of 1,000,000,000 steps",
        ),
        ({"steps_per_frame": 2.0}, "steps_per_frame: not a whole number"),
        ({"chunk_size": 1.5}, "chunk_size: not a whole number"),
        ({"threads": float("nan")}, "threads: not a whole number"),
        ({"seed": -1}, "seed: out of range"),
        ({"seed": 2**32}, "seed: out of range"),
        ({"reset": 0}, "reset: not a way to reset"),
        ({"reset": "no"}, r"deployment\. reset: not a way to reset"),
        ({"steps_per_frame": 5}, "given together with steps_per_frame .* Give one of them"),
        ({"stream": 1}, "stream: neither True nor False"),
        ({"record": "b"}, r"not a list of populations .* Give record=\['b'\]"),
        ({"record": {"b": "u"}}, "not a list of variables"),
        ({"record": ["b"], "neurons": {"b": [0.5, 1.0]}}, "not a list of whole numbers"),
        ({"record": ["b"], "neurons": {"b": [True, False]}}, "a mask must have a value for each neuron"),
        ({"record": ["b"], "neurons": {"b": [True, 3]}}, "not a list of whole numbers"),
        ({"record": ["b"], "neurons": {"b": np.ma.masked_less([1, 2], 2)}}, "a masked array"),
        ({"state": STATE.chip}, "not a state"),
    ],
)
def test_what_is_said(arguments, told):
    with pytest.raises(InputError, match=told):
        DEPLOYMENT.run(X, **{"steps": 4, **arguments})


MASKED = np.ma.masked_less(X, 0.5)


@pytest.mark.follows("Fill them in, or leave the samples out")
@pytest.mark.parametrize("made", [lambda x: x, list, lambda x: {"x": x}, lambda x: [x]])
def test_masked_values_are_not_taken_for_what_stands_behind_them(made):
    with pytest.raises(InputError, match=f"{MASKED.mask.sum()} masked values"):
        DEPLOYMENT.run(made(MASKED), 4)
    DEPLOYMENT.run(made(MASKED.filled(0.0)), 4)
    DEPLOYMENT.run(made(np.ma.masked_less(X, -1.0)), 4)


def test_masked_values_in_sequences():
    frames = [np.ma.masked_less(X[:n], 0.5) for n in (3, 5)]
    for given in (frames, ld.Sequences(frames), {"x": frames}):
        with pytest.raises(InputError, match="some samples are masked"):
            DEPLOYMENT.run(given, steps_per_frame=2)


def test_following_the_advice_on_records():
    assert DEPLOYMENT.run(X, 4, record=["b"]).recorded["b"]["spikes"].shape == (12, 4, 10)


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(InputError) as error:
        DEPLOYMENT.run(X, "4", threads=0, chunk_size=1.5, seed=-1, record=["c"], state=3, progress="yes")
    assert {problem.where for problem in error.value.problems} == {
        *("steps", "threads", "chunk_size", "seed", "record", "state", "progress")
    }


EVERYTHING = {
    "run": ({"steps": 0, "record": ["c"], "backend": "no", "stream": 3}, "steps record backend stream x"),
    "evaluate": (
        {"y": Y - 1, "steps": "4", "chunk_size": 0, "by_step": 1, "on_overflow": "no"},
        "y steps chunk_size by_step on_overflow x",
    ),
    "verify": ({"y": Y + 7, "steps": -1, "reference_samples": 0.5}, "y steps reference_samples x"),
    "tune": ({"y": Y * 0.5, "max_steps": 0, "max_drop": 3}, "y max_steps max_drop x"),
}


@pytest.mark.parametrize("call", EVERYTHING)
@pytest.mark.parametrize("samples", [X, np.full_like(X, np.nan)], ids=["good samples", "bad samples"])
def test_samples_labels_and_options_are_told_of_at_once(call, samples):
    given, places = EVERYTHING[call]
    with pytest.raises(InputError) as error:
        CALLS[call](**{"x": samples, **given})
    told = {problem.where for problem in error.value.problems}
    assert told == set(places.split()) - ({"x"} if samples is X else set())


@pytest.mark.follows(
    "Evaluate without it, and estimate energy with deployment.energy(x)",
)
def test_energy_from_another_engine_is_told_of_with_the_rest():
    with pytest.raises(InputError) as error:
        DEPLOYMENT.evaluate(X, Y[:3], 4, energy=True, backend="numpy", threads=0)
    assert [problem.where for problem in error.value.problems] == ["energy", "y", "threads"]
    (remedy, *_) = (problem.remedy for problem in error.value.problems)
    assert "Evaluate without it, and estimate energy with deployment.energy(x)" in remedy
    assert DEPLOYMENT.evaluate(X, Y, 4, backend="numpy").n_total == 12
    assert DEPLOYMENT.energy(X, 4).total.high > 0


def test_a_mask_picks_the_neurons_that_are_true():
    mask = np.arange(10) % 3 == 0
    whole = DEPLOYMENT.run(X, 10, record=["b"]).recorded["b"]["spikes"]
    for given in (mask, list(mask), mask.tolist()):
        some = DEPLOYMENT.run(X, 10, record=["b"], neurons={"b": given}).recorded["b"]["spikes"]
        assert (some == whole[:, :, mask]).all()


@pytest.mark.follows(
    "Give what a run of this program with return_state=True returned",
)
def test_a_state_of_another_program_is_refused():
    other = make(seed=1)
    assert other.program != DEPLOYMENT.program
    with pytest.raises(InputError, match="one of another program"):
        other.run(X, 10, state=STATE)
    state = other.run(X, 10, return_state=True).state  # the advice
    other.run(X, 10, state=state)


def test_labels_that_are_masked_or_no_array():
    with pytest.raises(InputError, match="4 masked values"):
        DEPLOYMENT.evaluate(X, np.ma.masked_less(Y, 1), 4)
    with pytest.raises(InputError, match="not an array"):
        DEPLOYMENT.evaluate(X, [[1], [2, 3]], 4)


def test_ranges_of_tune_and_verify():
    with pytest.raises(InputError, match=r"max_drop: out of range \(found 2, allowed a number from 0 to 1\)"):
        DEPLOYMENT.tune(X, Y, max_drop=2)
    with pytest.raises(InputError, match="reference_samples: out of range"):
        DEPLOYMENT.verify(X, Y, 4, reference_samples=-1)
    with pytest.raises(InputError, match="steps: out of range"):
        DEPLOYMENT.verify(X, Y, 0)
    with pytest.raises(InputError, match="needs more memory"):
        DEPLOYMENT.verify(X, Y, HUGE)
    with pytest.raises(InputError, match="needs more memory"):
        DEPLOYMENT.tune(X, Y, HUGE)
