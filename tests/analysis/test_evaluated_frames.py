"""How networks are evaluated frame by frame: at once or over time, how long each is held, and what is left out."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import frames as of_frames
from loihi_deploy.analysis.frames import (
    are_sequences,
    frame_weights,
    gives_every_frame,
    has_decisions,
    has_memory,
    presentation_steps,
    rate_decisions,
    rate_values,
    rates_by_frame,
    read_rates,
    reading_of,
    reading_problems,
    synapse_problems,
)
from loihi_deploy.engines.rate_sequence import SAMPLES_AT_ONCE
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Graph, samples_for
from tests.sequences import frames, network

OPTIONS = ld.DeployOptions()


def with_projection(source, **changed):
    """The network whose projection from the first to the second layer is another."""
    return replace(
        source,
        projections=tuple(replace(p, **changed) if p.pre == "first" else p for p in source.projections),
    )


DELAYED = {"delays": np.array(3)}
BACK = {"delays": np.array(4), "frames_back": 2}


@pytest.mark.parametrize(
    ("over_frames", "changed", "hold", "delayed"),
    [
        ("", {"tau": 0.05}, 7, True),  # seconds
        ("", DELAYED, 7, True),
        ("mean", {"tau": 0.05}, 1, False),  # a frame is a step
        ("mean", DELAYED, 7, False),
        ("mean", BACK, 1, False),
        ("mean", {"frames_back": 2}, 1, False),
    ],
)
def test_what_counts_in_seconds_is_held_for_all_steps_of_a_frame(
    over_frames, changed, hold, delayed, monkeypatch
):
    given = []

    def over_time(graph, x, steps, delayed):
        given.append((len(x["frame"]), steps, delayed, sorted({p.tau for p in graph.projections})))
        return {"classes": np.zeros((len(x["frame"]), 3, 3))}

    monkeypatch.setattr(of_frames, "rates_over_time", over_time)
    source = with_projection(network(over_frames), **changed)
    samples = samples_for(source, frames(SAMPLES_AT_ONCE + 2, 3))
    found = list(rates_by_frame(source, samples, OPTIONS, 7))
    # synapses of 3 ms are those that deploying gives, where the source counts in frames
    kept = {p.tau for p in source.projections if over_frames == "" or p.tau != OPTIONS.synapse} | {0.0}
    assert given == [(n, hold, delayed, sorted(kept)) for n in (SAMPLES_AT_ONCE, 2)]
    assert [part for part, _ in found] == [
        slice(0, SAMPLES_AT_ONCE),
        slice(SAMPLES_AT_ONCE, SAMPLES_AT_ONCE + 2),
    ]


@pytest.mark.parametrize(
    ("n_frames", "options", "over_time"), [(3, OPTIONS, True), (1, OPTIONS, False), (3, None, False)]
)
def test_a_network_without_memory_or_options_is_evaluated_on_each_frame(
    n_frames, options, over_time, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        of_frames,
        "rates_over_time",
        lambda *_, **how: asked.append(how) or {"classes": np.zeros((2, n_frames, 3))},
    )
    source = with_projection(network("mean"), tau=0.05)
    list(rates_by_frame(source, samples_for(source, frames(2, n_frames)), options, 7))
    assert bool(asked) == over_time
    asked.clear()
    plain = network("mean")
    list(rates_by_frame(plain, samples_for(plain, frames(2, 3)), OPTIONS, 7))
    assert asked == []


@pytest.mark.parametrize(("n_frames", "at_once"), [(1, 100), (3, 33), (100, 1), (101, 1)])
def test_a_hundred_frames_are_evaluated_at_a_time_and_a_sample_at_least(n_frames, at_once):
    source = network("mean")
    samples = samples_for(source, frames(at_once + 1, n_frames))
    parts = [part for part, _ in rates_by_frame(source, samples, OPTIONS, 1)]
    assert parts == [slice(0, at_once), slice(at_once, at_once + 1)]


@pytest.mark.parametrize(
    ("over_frames", "changed", "options", "memory"),
    [
        ("mean", {}, {}, False),
        ("", {}, {}, False),
        ("mean", {"tau": 0.01}, {}, False),  # as long as any that only transports
        ("mean", {"tau": 0.0101}, {}, True),
        ("mean", {"tau": 0.0101}, {"layer_synapses": {"second": 0.0101}}, False),
        ("", {"tau": 0.0101}, {"layer_synapses": {"second": 0.0101}}, False),
        ("", {"tau": 0.0101}, {"synapse": 0.0101}, True),  # of the network itself
        ("mean", {"tau": 0.0101}, {"synapse": 0.0101}, False),
        ("mean", DELAYED, {}, True),
        ("mean", {"frames_back": 1}, {}, True),
    ],
)
def test_what_a_network_remembers(over_frames, changed, options, memory):
    source = with_projection(network(over_frames), **changed)
    assert has_memory(source, ld.DeployOptions(**options)) == memory


@pytest.mark.parametrize(
    ("over_frames", "tau", "steps_per_frame", "told"),
    [
        ("mean", 0.05, None, "frames of several steps"),
        ("mean", 0.05, 2, "2 steps for each frame"),
        ("mean", 0.05, 1, None),
        ("mean", 0.003, 2, None),  # given in deploying
        ("mean", 0.0, 2, None),
        ("", 0.05, 2, None),  # in seconds
    ],
)
def test_synapses_of_a_source_that_counts_in_frames_need_frames_of_a_step(
    over_frames, tau, steps_per_frame, told
):
    source = with_projection(network(over_frames), tau=tau)
    found = list(synapse_problems(source, ld.DeployOptions(steps_per_frame=steps_per_frame)))
    assert [(p.where, p.value, p.limit) for p in found] == ([("second", told, 1)] if told else [])
    assert (
        list(synapse_problems(replace(source, readouts=(), projections=source.projections[:2]), OPTIONS))
        == []
    )


def static_or(n_frames, source):
    x = frames(2, max(n_frames, 1))
    return samples_for(source, x if n_frames else x[:, 0])


@pytest.mark.parametrize(
    ("over_frames", "readout", "read"),
    [("", "auto", ""), ("mean", "auto", "mean"), ("mean", "last", "last"), ("", "window", "window")],
)
def test_how_sequences_are_read_is_what_the_options_say_else_the_source(over_frames, readout, read):
    source, options = network(over_frames), ld.DeployOptions(readout=readout)
    assert reading_of(source, options) == read
    assert reading_of(Graph((), (), ()), OPTIONS) == "auto"
    several = static_or(3, source)
    unknown = read in ("", "auto")
    assert bool(list(reading_problems(source, options, several))) == unknown
    assert list(reading_problems(source, options, static_or(1, source))) == []
    assert has_decisions(source, several, options) != unknown
    assert are_sequences(source, options, several)
    assert are_sequences(source, options, static_or(1, source)) == (read in ("mean", "last", "each"))
    assert not are_sequences(source, options, static_or(0, source))
    assert not gives_every_frame(source, options, several)


def test_no_decisions_where_there_is_nothing_that_decides():
    source = network("mean")
    samples = static_or(3, source)
    assert has_decisions(source, samples, OPTIONS)
    assert not has_decisions(
        replace(source, readouts=(), projections=source.projections[:2]), samples, OPTIONS
    )


@pytest.mark.parametrize(
    ("options", "n_frames", "steps"),
    [
        ({}, 0, 100),
        ({}, 3, 102),
        ({"steps": 30}, 0, 30),
        ({"steps": 30}, 1, 30),
        ({"steps": 30}, 3, 102),
        ({"steps_per_frame": 7}, 3, 21),
        ({"steps_per_frame": 7}, 1, 7),
        ({"steps_per_frame": 7}, 0, 100),
        ({"steps": "auto"}, 0, 100),
    ],
)
def test_steps_of_a_presentation(options, n_frames, steps):
    assert presentation_steps(ld.DeployOptions(**options), static_or(n_frames, network())) == steps


@pytest.mark.parametrize(
    ("window", "first", "weights"),
    [
        (1.0, 0, [0.2] * 5),
        (1.0, 2, [0, 0, 1 / 3, 1 / 3, 1 / 3]),  # no answer to the first two
        (0.5, 2, [0, 0, 0.2, 0.4, 0.4]),
        (0.5, 3, [0, 0, 0, 0.5, 0.5]),
        (None, 3, [0, 0, 0, 0, 1]),
    ],
)
def test_frames_that_there_is_no_answer_to_do_not_count(window, first, weights):
    found = frame_weights(samples_for(network(), frames(2, 5)), window, first)
    np.testing.assert_allclose(found, [weights] * 2, atol=1e-12)


@pytest.mark.parametrize("function", [read_rates, rate_values, rate_decisions])
def test_a_frame_is_a_step_where_nothing_is_said(function, monkeypatch):
    held = []

    def over_time(graph, x, hold, **how):
        held.append(hold)
        return {"classes": np.arange(12.0).reshape(2, 2, 3)}

    monkeypatch.setattr(of_frames, "rates_over_time", over_time)
    source = replace(with_projection(network(), tau=0.05))
    samples = samples_for(source, frames(2, 2))
    options = ld.DeployOptions(readout="last")
    found = (
        function(source, samples, None, options)
        if function is read_rates
        else function(source, samples, options)
    )
    assert held == [1]
    values = found["classes"] if function is read_rates else found
    assert values.tolist() == ([2, 2] if function is rate_decisions else [[3, 4, 5], [9, 10, 11]])


@pytest.mark.parametrize("every_frame", [False, True])
def test_nobody_knows_what_a_source_decides_that_does_not_say_how_it_is_read(every_frame):
    source = network()
    with pytest.raises(InputError, match="cannot be evaluated"):
        rate_decisions(source, static_or(3, source), OPTIONS, every_frame=every_frame)
    with pytest.raises(InputError, match="cannot be evaluated"):
        rate_values(source, static_or(3, source), OPTIONS)
    known = rate_decisions(
        source, static_or(3, source), ld.DeployOptions(readout="each"), every_frame=every_frame
    )
    assert known.shape == ((2, 3) if every_frame else (2,))
