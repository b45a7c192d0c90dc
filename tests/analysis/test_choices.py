"""What is measured on how many samples and steps, and what a presentation time is chosen among."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis import calibrate, presentation, tune
from loihi_deploy.analysis.calibrate import balance_thresholds, correct_biases, mean_rates, search_rates
from loihi_deploy.analysis.frames import (
    Reading,
    are_sequences,
    correction_steps,
    frame_weights,
    gives_every_frame,
    measuring_steps,
    presentation_steps,
    read_window,
    reading,
)
from loihi_deploy.analysis.host_link import encoder_rate, messages, with_slower_synapses
from loihi_deploy.analysis.latency import (
    LayerLatency,
    answer_delay,
    latencies,
    latency_sentence,
    latency_values,
)
from loihi_deploy.analysis.presentation import RATES, _divergence, _tried
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, Link, Projection, Readout, samples_for
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from loihi_deploy.stages.normalize import scale_firing_rates
from tests.sequences import frames, network

X = frames(120, 1)[:, 0]


def parts(encoder="on_off"):
    return ld.partition(ld.normalize(network(), X, encoder=encoder), encoder)


# How many samples and steps


def test_traffic_is_measured_on_twenty_samples_for_fifty_steps():
    program = ld.quantize(parts())
    rates = backends.firing_rates(program, samples_for(program.encoder, X[:20]), 50, 1.0)
    for name, found in mean_rates(program, X).items():
        np.testing.assert_array_equal(found, rates[name].mean(axis=0, dtype=np.float64))
    moving = frames(3, 4)
    rates = backends.firing_rates(program, samples_for(program.encoder, moving), 200, 1.0)
    for name, found in mean_rates(program, moving).items():
        np.testing.assert_array_equal(found, rates[name].mean(axis=0, dtype=np.float64))


def test_biases_are_corrected_on_a_hundred_samples():
    cut = parts()
    whole, hundred, fewer = (correct_biases(cut, X[:n], 20) for n in (120, 100, 99))
    assert whole == hundred
    assert whole != fewer
    assert correct_biases(cut, frames(4, 3), 19) == correct_biases(cut, frames(4, 3), 21)
    assert correct_biases(cut, frames(4, 3), 21) != correct_biases(cut, frames(4, 3), 24)


def test_biases_are_corrected_twice_and_thresholds_balanced_three_times(monkeypatch):
    runs = []

    def counted(program, given, steps, *how):
        runs.append((len(given), steps))
        return measure(program, given, steps, *how)

    measure = backends.firing_rates
    monkeypatch.setattr(backends, "firing_rates", counted)
    correct_biases(parts(), X, 20)
    assert runs == [(100, 20)] * 2
    runs.clear()
    options = ld.DeployOptions(encoder="on_off", bias_correction_steps=30)
    given = samples_for(network(), X)
    balance_thresholds(ld.normalize(network(), X, encoder="on_off"), given, options, "loihi")
    assert runs == [(100, 30)] * 3


def test_a_search_tries_four_scales_of_each_layer_on_chip_on_two_hundred_samples(monkeypatch):
    tried, many = [], frames(210, 1)[:, 0]

    def scaled(graph, scales):
        tried.append(scales)
        return scale_firing_rates(graph, scales)

    monkeypatch.setattr(calibrate, "scale_firing_rates", scaled)
    options = ld.DeployOptions(encoder="on_off", bias_correction_steps=0)
    graph = ld.normalize(network(), many, encoder="on_off")
    found = [search_rates(graph, samples_for(graph, many[:n]), options, "loihi") for n in (200, 210)]
    assert found[0] == found[1]
    assert tried == 2 * [{name: factor} for name in ("first", "second") for factor in (0.5, 0.7, 1.4, 2.0)]


def test_a_presentation_time_is_chosen_on_five_hundred_samples_with_corrections_of_fifty_steps(monkeypatch):
    judged, made = [], presentation._Judge

    def kept(source, given, labels):
        judged.append((len(given), None if labels is None else len(labels)))
        return made(source, given, labels)

    monkeypatch.setattr(presentation, "_Judge", kept)
    many = frames(510, 1)[:, 0]
    options = ld.DeployOptions(steps=12, target_rate=1000.0)
    found = ld.deploy(network(), calibration=many, options=options, labels=np.zeros(510, int))
    assert judged == [(500, 500)]
    assert found.options.bias_correction_steps == 50


def samples(n_frames, lengths=None):
    x = frames(2, max(n_frames, 1))
    return samples_for(network(), ld.Sequences(x, lengths=lengths) if lengths else x if n_frames else x[:, 0])


@pytest.mark.parametrize(
    ("options", "n_frames", "correcting", "measuring", "presenting"),
    [
        ({}, 0, 100, 100, 100),
        ({}, 7, 105, 105, 105),
        ({"bias_correction_steps": 0}, 7, 0, 105, 105),
        ({"bias_correction_steps": 50}, 0, 50, 50, 100),
        ({"bias_correction_steps": 50, "steps_per_frame": 3}, 7, 21, 21, 21),
        ({"bias_correction_steps": 0, "steps_per_frame": 3}, 7, 0, 21, 21),
        ({"steps_per_frame": 3}, 0, 100, 100, 100),
        ({"steps": 30}, 0, 100, 100, 30),
        ({"steps": 30}, 7, 105, 105, 105),
        ({"steps": "auto"}, 0, 100, 100, 100),
    ],
)
def test_steps_of_corrections_and_presentations(options, n_frames, correcting, measuring, presenting):
    options, given = ld.DeployOptions(**options), samples(n_frames)
    assert correction_steps(options, given) == correcting
    assert measuring_steps(options, given) == measuring
    assert presentation_steps(options, given) == presenting


@pytest.mark.parametrize(
    ("window", "lengths", "weights"),
    [
        (1.0, None, [[1 / 4] * 4] * 2),
        (0.5, None, [[0, 0, 1 / 2, 1 / 2]] * 2),
        (0.3, None, [[0, 0, 1 / 6, 5 / 6]] * 2),
        (None, None, [[0, 0, 0, 1]] * 2),
        (0.5, [2, 4], [[0, 1, 0, 0], [0, 0, 1 / 2, 1 / 2]]),
        (1.0, [2, 4], [[1 / 2, 1 / 2, 0, 0], [1 / 4] * 4]),
        (None, [3, 4], [[0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_frames_count_by_what_lies_in_the_window(window, lengths, weights):
    np.testing.assert_allclose(frame_weights(samples(4, lengths), window), weights, atol=1e-12)


@pytest.mark.parametrize(
    ("readout", "n_frames", "window", "sequences", "every"),
    [
        ("mean", 3, 1.0, True, False),
        ("last", 3, None, True, False),
        ("each", 3, None, True, True),
        ("window", 3, 0.5, True, False),
        ("mean", 0, 0.5, False, False),
        ("each", 0, 0.5, False, False),
        ("mean", 1, 1.0, True, False),
        ("last", 1, None, True, False),
        ("each", 1, None, True, True),
        ("window", 1, 0.5, False, False),
        ("auto", 1, 0.5, False, False),
    ],
)
def test_how_samples_are_read(readout, n_frames, window, sequences, every):
    options, given = ld.DeployOptions(readout=readout), samples(n_frames)
    assert read_window(network(), options, given) == window
    assert are_sequences(network(), options, given) == sequences
    assert gives_every_frame(network(), options, given) == every
    program = ld.quantize(parts())
    assert reading(program, replace(options, flush=9), given) == Reading(window, 9 if sequences else 0)
    assert (reading(program, options, given).flush > 0) == sequences


def test_a_network_says_how_it_is_read_where_options_do_not():
    given = samples(3)
    assert read_window(network("last"), ld.DeployOptions(), given) is None
    assert read_window(network("last"), ld.DeployOptions(readout="mean"), given) == 1.0
    assert read_window(Graph((), (), ()), ld.DeployOptions(), given) == 0.5


# What a presentation time is chosen among


@pytest.mark.parametrize(
    ("options", "given", "rates", "percentiles"),
    [
        ({"encoder": "first_layer"}, set(), True, True),
        ({"encoder": "on_off"}, set(), True, False),
        ({"encoder": "first_layer", "normalization": "maximum"}, set(), True, True),
        ({"encoder": "first_layer", "normalization": "none"}, set(), False, False),
        ({"encoder": "first_layer", "normalization": "thresholds"}, set(), False, False),
        ({"encoder": "first_layer"}, {"target_rate"}, False, True),
        ({"encoder": "first_layer"}, {"encoder_percentile"}, True, False),
        ({"encoder": "first_layer"}, {"encoder_rate"}, True, False),
        ({"encoder": "first_layer"}, {"max_host_spikes"}, True, False),
        ({"encoder": "first_layer"}, {"synapse"}, True, True),
    ],
)
def test_rates_and_percentiles_are_tried_where_they_act_and_are_not_given(options, given, rates, percentiles):
    options = ld.DeployOptions(steps=20, target_rate=321.0, encoder_percentile=98.0, **options)
    found = _tried(options, network(), given)
    assert found[0] == pytest.approx([1000 * rate for rate in RATES] if rates else [321.0])
    assert found[1] == ((99.5, 99.9, 100.0) if percentiles else (98.0,))


def test_the_divergence_is_that_of_the_softmax_of_what_fits_best():
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(5, 4))
    assert _divergence(wanted, wanted) == pytest.approx(0, abs=1e-12)
    assert _divergence(wanted, 0.01 * wanted + 7) == pytest.approx(0, abs=1e-12)
    p = np.exp(wanted) / np.exp(wanted).sum(axis=1, keepdims=True)
    from_even = (p * np.log(4 * p)).sum(axis=1).mean()
    assert _divergence(wanted, -wanted) == pytest.approx(from_even)  # no scale below 0
    assert _divergence(wanted, np.ones((5, 4))) == pytest.approx(from_even)
    values = wanted + rng.normal(size=(5, 4))
    a, b = (v - v.mean(axis=1, keepdims=True) for v in (wanted, values))
    q = np.exp(b * ((a * b).sum() / (b * b).sum()))
    q /= q.sum(axis=1, keepdims=True)
    assert _divergence(wanted, values) == pytest.approx((p * np.log(p / q)).sum(axis=1).mean())


# How few steps a frame needs


def evaluated_as(accuracies, monkeypatch):
    """Accuracy by steps of a frame, as it is asked for."""
    asked = []

    def evaluate(program, given, labels, options):
        asked.append(options.steps_per_frame)
        return SimpleNamespace(accuracy=accuracies(options.steps_per_frame))

    monkeypatch.setattr("loihi_deploy.analysis.tune.backends.evaluate", evaluate)
    return asked


def found_for(max_steps, drop, window=1.0, rate_accuracy=1.0):
    program = ld.quantize(parts())
    given = samples_for(network("mean"), frames(2, 5))
    how = (rate_accuracy, max_steps, drop, Reading(window))
    return tune.shortest_for_each_frame(program, given, np.zeros(2, int), *how)


def test_fewer_steps_count_only_where_all_more_are_good_enough(monkeypatch):
    asked = evaluated_as(lambda n: 0.5 if n == 4 else 0.75, monkeypatch)
    found = found_for(80, 0.25)
    assert sorted(asked) == [1, 2, 3, 4, 5, 8, 11, 16]  # to 5, and half as many twice over from the most
    assert (found.steps, found.accuracy, found.rate_accuracy, found.readout_window) == (25, 0.75, 1.0, 1.0)
    assert found.latency == latencies(ld.quantize(parts()))
    assert found_for(80, 0.25, None).readout_window == 1 / 5
    assert found_for(80, 0.5).steps == 5
    asked.clear()
    found_for(2000, 0.25)
    assert sorted(asked) == [1, 2, 3, 4, 5, 35, 50, 70, 100, 141, 200, 282, 400]


@pytest.mark.follows(
    "Allow more steps, or a drop of …, which … steps for each frame reach",
)
def test_a_goal_that_no_steps_reach(monkeypatch):
    evaluated_as(lambda n: 0.6, monkeypatch)
    with pytest.raises(InputError, match=r"60\.00 % at 3 steps for each of 5 frames") as error:
        found_for(19, 0.125)
    assert "87.50 %" in str(error.value)
    assert "a drop of 0.4, which 3 steps" in str(error.value)
    assert found_for(19, 0.4).steps == 5


@pytest.mark.follows("Allow …")
def test_a_frame_takes_a_step_at_least(monkeypatch):
    evaluated_as(lambda n: 1.0, monkeypatch)
    assert found_for(5, 0.0).steps == 5
    with pytest.raises(InputError, match="Allow 5"):
        found_for(4, 0.0)


def test_what_was_found_is_said():
    layers = (LayerLatency("a", 1, 1.0), LayerLatency("b", 2, 4.56))
    text = str(tune.Tuning(30, 0.4, 0.875, 0.9, {}, layers))
    for said in ("30 steps", "last 40.00 %", "87.50 %", "90.00 % of the rate network"):
        assert said in text
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["a"], ["b"])]
    assert rows == [["a", "1", "1.0"], ["b", "2", "4.6"]]


@pytest.mark.parametrize(("steps", "told"), [(12, True), (400, False)])
def test_latency_is_told_of_where_it_takes_half_of_the_presentation(steps, told):
    program = ld.quantize(parts())
    curves = {0.3: np.full(steps, 0.5), 0.5: np.full(steps, 0.75), 0.8: np.full(steps, 0.625)}
    problem = tune._too_short(program, curves, 1.0, 0.1)
    assert problem.value == "75.00 % at the end, with a window of 0.5"
    assert problem.limit == "90.00 %"
    assert problem.remedy.startswith(f"Allow more steps, or a drop of 0.25, which {steps} steps reach")
    assert ("first speaks" in problem.remedy) == told


# Latency


def two_ways(far=0.02):
    """A source, a layer behind it, one behind both, and two readouts: decays that stand for exact time constants."""

    def compartments(name, tau):
        decay = round(4096 * (1 - np.exp(-0.001 / tau))) - 1
        return Compartments(name, (2,), decay_u=decay, decay_v=0, threshold=640, bias=64)

    ones = Dense(np.ones((2, 2), np.int8))
    into = [Synapses("source", "near", ones, 6), Synapses("near", "far", ones, 6)]
    into.append(Synapses("source", "far", ones, 6))
    readouts = (Readout("early", (2,), np.zeros(2)), Readout("late", (2,), np.zeros(2)))
    host = Graph(
        (Input("near", (2,)), Input("far", (2,))),
        (),
        (
            Projection("near", "early", Dense(np.eye(2)), 0.002),
            Projection("near", "late", Dense(np.eye(2)), 0.0),
            Projection("far", "late", Dense(np.eye(2)), 0.004),
        ),
        readouts,
    )
    populations = (compartments("near", 0.005), compartments("far", far))
    links = (Link("source", "to_chip", 3), Link("near", "from_chip", 0), Link("far", "from_chip", 0))
    return Program(Graph((), (), ()), (SpikeSource("source", (2,)),), populations, tuple(into), host, links)


def delay_of(tau):
    return 1 / np.expm1(0.001 / tau)


def test_a_layer_speaks_by_the_shortest_way_and_has_heard_everything_by_the_longest():
    near, far, early, late = latencies(two_ways())
    assert [layer.hops for layer in (near, far, early, late)] == [3, 3, 3, 3]
    assert near.delay == pytest.approx(3 + delay_of(0.005), rel=0.01)
    assert far.delay == pytest.approx(near.delay + 1 + delay_of(0.02), rel=0.01)
    assert early.delay == pytest.approx(near.delay + delay_of(0.002), rel=1e-9)
    assert late.delay == pytest.approx(far.delay + delay_of(0.004), rel=1e-9)
    memoryless = latencies(two_ways(), memory=0.01)
    assert memoryless[0].delay == near.delay
    assert memoryless[1].delay == near.delay + 1
    short = latencies(two_ways(), longest_synapse=0.001)
    assert short[1].delay == pytest.approx(3 + 1 + 2 * delay_of(0.001), rel=0.01)


@pytest.mark.parametrize(("tau", "memory"), [(0.01, False), (0.0105, True)])
def test_what_is_longer_than_any_transport_is_memory_but_not_by_rounding(tau, memory):
    near, far, *_ = latencies(two_ways(tau), memory=0.01)
    assert far.delay == pytest.approx(near.delay + 1 + (0 if memory else delay_of(tau)), rel=0.01)


def test_spikes_that_come_back_add_nothing_to_what_is_heard_first():
    program = two_ways()
    back = tuple(Synapses("far", name, Dense(np.ones((2, 2), np.int8)), 6) for name in ("near", "far"))
    looped = replace(program, synapses=(*program.synapses, *back))
    assert latencies(looped) == latencies(program)


def test_tables_and_sentences_say_the_same():
    program = two_ways()
    layers, short = latencies(program), latencies(program, 0.001)
    rows = latency_values(program)
    assert [row["layer"] for row in rows] == ["near", "far", "early", "late"]
    for row, layer, shorter in zip(rows, layers, short, strict=True):
        assert row["first_step"] == layer.hops + 1
        assert (row["heard_from"], row["heard_from_short"]) == (layer.delay + 1, shorter.delay + 1)
    text = latency_sentence(program, 50)
    assert text.startswith(
        f"late first speaks at step 4 of 50 and hears the whole sample from step {layers[3].delay + 1:.0f} on"
    )
    assert "each of 3 hops" in text
    assert f"make that step {max(layer.delay for layer in short) + 1:.0f}" in text
    lasting = replace(
        program, populations=(replace(program.populations[0], decay_u=0), program.populations[1])
    )
    assert np.isfinite(latencies(lasting)[0].delay)


# What the host sends


def test_the_hosts_spikes_are_filtered_longer_only_where_nothing_else_drives_their_targets():
    cut = parts()
    (host,) = cut.encoder.populations
    before = {(p.pre, p.post): p.tau for p in cut.chip.projections}
    after = {(p.pre, p.post): p.tau for p in with_slower_synapses(cut, 50.0).chip.projections}
    assert after == {**before, (host.name, "first"): 1 / 50}
    kept = {(p.pre, p.post): p.tau for p in with_slower_synapses(cut, 1e5).chip.projections}
    assert kept == before
    looped = ld.partition(ld.normalize(network(), X, encoder="on_off"), "on_off")
    loop = Projection("second", "first", Dense(np.ones((30, 20))), 0.003)
    looped = replace(looped, chip=replace(looped.chip, projections=(*looped.chip.projections, loop)))
    assert [p.tau for p in with_slower_synapses(looped, 50.0).chip.projections] == [
        p.tau for p in looped.chip.projections
    ]


def test_the_encoders_rate_is_lowered_by_what_nearly_all_samples_send():
    made = ld.deploy(network(), calibration=X, options=ld.DeployOptions(bias_correction_steps=0))
    given = samples_for(made.graph, X)
    program, mapping = made.program, made.mapping
    means = messages(program, mapping, given, 100).mean(axis=1).max(axis=1)
    highest = np.percentile(means, 99.0)
    for limit in (1, 2):
        found = encoder_rate(program, mapping, given, replace(made.options, max_host_spikes=limit))
        assert found == pytest.approx(1000.0 * min(1.0, 0.9 * limit / highest))
    found = encoder_rate(program, mapping, given, replace(made.options, max_host_spikes=10**6))
    assert found == 1000.0
    slow = replace(made.options, max_host_spikes=10**6, encoder_rate=400.0)
    assert encoder_rate(program, mapping, given, slow) == 400.0
    fast = replace(made.options, max_host_spikes=10**6, encoder_rate=3000.0)
    assert encoder_rate(program, mapping, given, fast) == 1000.0  # a spike in each step
    held_longer = messages(program, mapping, given.take(slice(2)), 10, 3)
    assert held_longer.shape == (2, 13, 1)


def test_the_shortest_delay_of_each_sender_counts():
    """Of two projections from a layer, and of its neurons."""
    program = two_ways()
    near, far, direct = program.synapses
    before, last = latencies(program)[1], latencies(program)[3]
    far_2, far_5 = (replace(far, delays=np.array([late, late + 3])) for late in (2, 5))
    made = replace(program, synapses=(near, far_5, far_2, direct))
    after = latencies(made)[1]
    assert (after.hops, after.delay) == (before.hops, pytest.approx(before.delay + 2))
    made = replace(program, synapses=(near, far_5, far_2, replace(direct, delays=np.array([4, 1]))))
    assert latencies(made)[1].hops == before.hops + 1
    late = tuple(replace(p, delays=np.array(3)) if p.pre == "far" else p for p in program.readout.projections)
    made = replace(program, readout=replace(program.readout, projections=late))
    assert latencies(made)[3].delay == pytest.approx(last.delay + 3)
    assert answer_delay(program) == round(latencies(program, memory=0.01)[3].delay) == 12
    assert answer_delay(replace(program, readout=Graph((), (), ()))) == 0


def test_what_never_decays_is_never_heard_as_a_whole():
    program = two_ways()
    kept = tuple(replace(p, tau=np.inf) if p.pre == "far" else p for p in program.readout.projections)
    made = replace(program, readout=replace(program.readout, projections=kept))
    row = latency_values(made)[3]
    assert row["layer"] == "late"
    assert row["heard_from"] is None
    assert row["heard_from_short"] > 1


@pytest.mark.parametrize(("short", "told"), [(4.0, False), (3.99, True)])
def test_shorter_synapses_are_told_of_where_they_save_more_than_a_step(short, told, monkeypatch):
    def made(program, longest_synapse=np.inf, memory=np.inf):
        delays = (1.0, 5.0, 5.0) if longest_synapse == np.inf else (0.5, short, 2.0)
        return tuple(LayerLatency(name, 2, delay) for name, delay in zip("abc", delays, strict=True))

    monkeypatch.setattr("loihi_deploy.analysis.latency.latencies", made)
    text = latency_sentence(None, 30)
    assert text.startswith("c first speaks at step 3 of 30 and hears the whole sample from step 6 on")
    assert (f"make that step {short + 1:.0f}" in text) == told
