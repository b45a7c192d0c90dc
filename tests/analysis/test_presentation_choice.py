"""How a presentation time and what goes with it are chosen: each step of the search, on distances made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import presentation
from loihi_deploy.analysis.latency import latencies
from loihi_deploy.analysis.presentation import (
    ENCODER_PERCENTILES,
    FIRST_PERCENTILE,
    FIRST_RATE,
    LADDER,
    RATES,
    WINDOWS,
    Chosen,
    _chosen,
    _divergence,
    _Judge,
    _Judged,
    _tried,
    for_presentation,
)
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, NeuronModel, samples_for
from tests.sequences import frames, network

PROGRAM = ld.quantize(ld.partition(ld.normalize(network(), frames(9, 1))))
LEAST = 3
"""Steps from which on its readout hears of the input."""
SAMPLES = samples_for(network(), frames(9, 1)[:, 0])
STEPS = ld.DeployOptions(steps=20)


def test_rates_and_percentiles_that_are_tried_rise_by_little_through_the_first_one():
    """A fast neuron spikes in every step at 1; up to twice that, since few neurons are as fast as the percentile."""
    growth = np.divide(RATES[1:], RATES[:-1])
    assert growth.min() >= 1.3
    assert growth.max() <= 1.5
    assert RATES[-1] == 2 * FIRST_RATE == 2.0
    left_out = 100 - np.array(ENCODER_PERCENTILES)
    assert left_out == pytest.approx([0.5, 0.1, 0.0])
    assert ENCODER_PERCENTILES[1] == FIRST_PERCENTILE


def test_windows_are_tried_in_even_steps_and_times_rise_by_a_quarter_or_a_fifth_or_so():
    np.testing.assert_allclose(WINDOWS, np.arange(3, 9) / 10)
    assert (LADDER[0], LADDER[-1]) == (8, 200)
    growth = np.divide(LADDER[1:], LADDER[:-1])
    assert growth.min() >= 1.2
    assert growth.max() <= 4 / 3
    doubled = [2 * steps for steps in LADDER if 2 * steps <= LADDER[-1]]
    assert set(doubled) - set(LADDER) == {24}


def found(distance, tried=((350.0, 500.0, 700.0, 1000.0, 1500.0, 2000.0), (98.0,)), given=frozenset()):
    """The target rate and percentile that are chosen by a distance of both, and all that were judged, in order."""
    judged = []

    def judge(made, candidate, windows):
        assert made is PROGRAM
        judged.append((candidate.target_rate, candidate.encoder_percentile))
        return _Judged(distance(*judged[-1]), 0.125, windows[-1])

    def program(candidate):
        assert candidate.steps == presentation.ANY
        return PROGRAM

    options = replace(STEPS, target_rate=321.0, encoder_percentile=98.0, readout_window=0.45)
    made = _chosen(program, options, tried, judge, given)
    assert made.drop == 0.125
    assert made.options.steps == 20
    corrected = made.options.bias_correction_steps
    assert corrected == (100 if "bias_correction_steps" in given else 50)
    assert made.options.readout_window == (0.45 if "readout_window" in given else WINDOWS[-1])
    return (made.options.target_rate, made.options.encoder_percentile), judged


@pytest.mark.parametrize(
    ("distances", "best", "tried"),
    [
        ((9, 9, 9, 5, 4, 3), 2000, [1000, 1500, 2000]),
        ((9, 9, 9, 5, 4, 4), 1500, [1000, 1500, 2000]),  # no closer
        ((0, 0, 0, 5, 4, 6), 1500, [1000, 1500, 2000]),  # up, so not down
        ((1, 2, 3, 5, 5, 0), 350, [1000, 1500, 700, 500, 350]),
        ((0, 4, 3, 5, 6, 0), 700, [1000, 1500, 700, 500]),
        ((0, 0, 5, 5, 6, 0), 1000, [1000, 1500, 700]),
    ],
)
def test_rates_are_climbed_up_or_else_down_while_the_next_one_is_closer(distances, best, tried):
    table = dict(zip((350, 500, 700, 1000, 1500, 2000), distances, strict=True))
    (rate, percentile), judged = found(lambda rate, _: table[int(rate)])
    assert (rate, percentile) == (best, 98.0)
    assert {rate for rate, _ in judged} == set(tried)
    assert len(judged) == len(set(judged))  # none twice


def test_percentiles_are_climbed_before_rates_and_once_more_behind_them():
    rates = (350.0, 500.0, 700.0, 1000.0, 1500.0, 2000.0)

    def distance(rate, percentile):
        """At the first rate the lowest percentile is best, at half as much more the highest."""
        return {1000.0: percentile, 1500.0: 98.5 - percentile / 100, 2000.0: 200.0}.get(rate, 300.0)

    best, judged = found(distance, (rates, ENCODER_PERCENTILES))
    assert best == (1500.0, 100.0)
    assert set(judged[:3]) == {(1000.0, percentile) for percentile in ENCODER_PERCENTILES}
    assert set(judged[3:5]) == {(1500.0, 99.5), (2000.0, 99.5)}


@pytest.mark.parametrize("given", [set(), {"readout_window"}, {"bias_correction_steps"}])
def test_what_is_given_is_judged_as_it_is(given):
    best, judged = found(lambda *_: 1.0, ((321.0,), (98.0,)), given)
    assert best == (321.0, 98.0)
    assert judged == [best]


def test_a_trial_that_is_too_short_for_the_depth_is_refused():
    assert max(layer.hops for layer in latencies(PROGRAM)) == LEAST - 1
    for steps, fits in ((LEAST - 1, False), (LEAST, True)):
        options = replace(STEPS, steps=steps)
        if fits:
            presentation._check_depth(PROGRAM, options)
        else:
            with pytest.raises(InputError, match=f"{LEAST} or more"):
                presentation._check_depth(PROGRAM, options)


# The shortest time


def shortest(monkeypatch, drops, max_drop, labels=None, ladder=(8, 10, 12)):
    """The time that 'auto' takes where each loses something, and the times that were tried."""
    tried = []

    def chosen(program, options, *_):
        tried.append(options.steps)
        return Chosen(options, drops[options.steps])

    monkeypatch.setattr(presentation, "LADDER", ladder)
    monkeypatch.setattr(presentation, "_chosen", chosen)
    monkeypatch.setattr(presentation, "_quietly", lambda *_: PROGRAM)
    options = ld.DeployOptions(steps="auto", max_drop=max_drop)
    return for_presentation(network(), SAMPLES, labels, options, ld.load_board("loihi")).steps, tried


@pytest.mark.parametrize(
    ("max_drop", "steps", "tried"), [(0.3, 8, [8]), (0.2, 12, [8, 10, 12]), (0.0625, 12, [8, 10, 12])]
)
def test_the_first_time_that_loses_no_more_than_allowed_is_taken(max_drop, steps, tried, monkeypatch):
    drops = {8: 0.3 + 1e-10, 10: 0.5, 12: 0.0625}  # what floats are off by does not count
    assert shortest(monkeypatch, drops, max_drop) == (steps, tried)


def test_times_that_end_before_the_readout_hears_are_not_tried(monkeypatch):
    assert shortest(monkeypatch, {LEAST: 0.1}, 0.1, ladder=(1, LEAST - 1, LEAST, 8)) == (LEAST, [LEAST])


@pytest.mark.follows("Allow a drop of …")
@pytest.mark.parametrize("labels", [None, np.zeros(9, int)])
def test_where_none_is_long_enough_the_one_that_loses_least_is_named(labels, monkeypatch):
    drops = {8: 0.3, 10: 0.12341, 12: 0.2}
    with pytest.raises(InputError) as caught:
        shortest(monkeypatch, drops, 0.0625, labels)
    (problem,) = caught.value.problems
    lost = "decided otherwise (there are no labels)" if labels is None else "lost"
    assert problem.value == f"12.34 % {lost} at 10 steps"
    assert problem.where == "steps='auto', max_drop=0.0625"
    assert problem.remedy == "Allow a drop of 0.1235"
    assert shortest(monkeypatch, drops, 0.1235, labels) == (10, [8, 10])


def test_outputs_that_are_all_zero_are_an_error_of_nothing():
    graph = network()
    silent = replace(
        graph,
        projections=(
            *graph.projections[:-1],
            replace(graph.projections[-1], transform=Dense(np.zeros((1, 20)))),
        ),
        readouts=(replace(graph.readouts[0], shape=(1,), bias=np.zeros(1)),),
    )
    found = _Judge(silent, SAMPLES, None)._judged(np.ones((9, 1)), 0.5)
    assert found == _Judged(0.0, 0.0, 0.5)
    assert SimpleNamespace(**vars(_Judge(silent, SAMPLES, None))).compares_decisions is False
    assert _Judge(graph, SAMPLES, None).compares_decisions is True
    assert _Judge(graph, SAMPLES, np.zeros(9, int)).compares_decisions is False


def test_rates_are_tried_only_where_a_layer_on_chip_scales():
    stepped = replace(
        network(),
        populations=tuple(replace(p, neuron=NeuronModel(discretized=True)) for p in network().populations),
    )
    options = replace(STEPS, target_rate=321.0, encoder="first_layer", encoder_percentile=98.0)
    assert _tried(options, stepped, set()) == ((321.0,), (98.0,))
    first, second = network().populations
    on_host = replace(network(), populations=(first, stepped.populations[1]))
    assert _tried(options, on_host, set()) == ((321.0,), ENCODER_PERCENTILES)
    on_chip = replace(network(), populations=(stepped.populations[0], second))
    assert _tried(options, on_chip, set())[1] == (98.0,)
    assert len(_tried(options, on_chip, set())[0]) == len(RATES)


def test_outputs_as_large_as_they_like_have_a_divergence():
    wanted = np.array([[0.0, 2000.0, -2000.0], [1500.0, 0.0, 0.0]])
    assert _divergence(wanted, wanted) == 0.0
    assert np.isfinite(_divergence(wanted, -wanted))
