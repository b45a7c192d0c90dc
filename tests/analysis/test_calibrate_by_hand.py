"""What corrections, balancing and searches are asked for, and what is made of the rates that they measure."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import backends
from loihi_deploy.analysis import calibrate
from loihi_deploy.analysis.calibrate import balance_thresholds, corrected, mean_rates, search_rates
from loihi_deploy.ir import NeuronModel, samples_for
from tests.sequences import frames, network


def slow(source):
    """The network with a synapse of its own that remembers."""
    projections = (replace(p, tau=0.05) if p.pre == "first" else p for p in source.projections)
    return replace(source, projections=tuple(projections))


def back(source):
    projections = (
        replace(p, delays=np.array(3), frames_back=1) if p.pre == "first" else p for p in source.projections
    )
    return replace(source, projections=tuple(projections))


STILL, MOVING = frames(120, 1)[:, 0], frames(120, 3)


@pytest.mark.parametrize(
    ("source", "x", "options", "steps", "window", "intended", "flush"),
    [
        (network(), STILL, {}, 100, 0.5, False, 0),
        (network(), STILL, {"readout_window": 0.3}, 100, 0.3, False, 0),
        (network(), STILL, {"readout_window": 0.3, "steps": 20}, 100, 0.5, False, 0),
        (network(), STILL, {"bias_correction_steps": 40}, 40, 0.5, False, 0),
        (network("mean"), MOVING, {}, 102, 1.0, True, None),
        (network("mean"), MOVING, {"flush": 0}, 102, 1.0, True, 0),
        (network("mean"), MOVING, {"flush": 4}, 102, 1.0, True, None),
        (network("last"), MOVING, {"steps_per_frame": 5}, 15, None, True, None),
        (network(), MOVING, {}, 102, 0.5, True, None),
        (slow(network("mean")), MOVING, {}, 102, 1.0, False, None),
        (network("mean"), MOVING[:, :1], {}, 100, 1.0, False, None),
        (back(network("last")), MOVING, {}, 102, 1.0, True, None),
        (back(network("last")), MOVING[:, :1], {}, 100, 1.0, True, None),
    ],
)
def test_what_a_correction_is_asked_for(source, x, options, steps, window, intended, flush, monkeypatch):
    given = []
    monkeypatch.setattr(calibrate, "correct_biases", lambda *args, **how: given.append((*args, how)))
    corrected(None, source, samples_for(source, x), ld.DeployOptions(**options), "loihi")
    ((_, samples, n_steps, how_late, board, bits, wanted, how),) = given
    assert (len(samples), n_steps, how_late, board, bits) == (120, steps, window, "loihi", 8)
    assert how == {"flush": flush}
    assert (wanted is not None) == intended
    if wanted is not None:
        assert {name: values.shape for name, values in wanted.items()} == {
            "first": (100, 30),
            "second": (100, 20),
            "classes": (100, 3),
        }


def program_of(source=None):
    return ld.quantize(ld.partition(ld.normalize(source or network(), STILL, encoder="on_off"), "on_off"))


@pytest.mark.parametrize(
    ("n_frames", "frame_steps", "events", "steps"),
    [(1, None, False, 50), (3, None, False, 150), (3, 4, False, 12), (3, None, True, 3)],
)
def test_traffic_is_measured_for_fifty_steps_of_a_frame_or_those_that_it_was_made_for(
    n_frames, frame_steps, events, steps, monkeypatch
):
    asked = []

    def measured(program, samples, n, window):
        asked.append((len(samples), n, window))
        return {"first": np.arange(6.0).reshape(2, 3)}

    monkeypatch.setattr(backends, "firing_rates", measured)
    program = program_of()
    if events:
        inputs = tuple(replace(node, events=True) for node in program.encoder.inputs)
        program = replace(program, encoder=replace(program.encoder, inputs=inputs))
    if frame_steps:
        object.__setattr__(program, "frame_steps", frame_steps)
    x = np.ones((30, n_frames, 8)) if events else frames(30, n_frames)
    found = mean_rates(program, x)
    assert asked == [(20, steps, 1.0)]
    assert found["first"].tolist() == [1.5, 2.5, 3.5]


def test_thresholds_are_balanced_by_a_percentile_of_the_rates_that_are_not_zero(monkeypatch):
    """Of layers on chip whose neurons scale; three times, each from what the one before left."""
    source = ld.normalize(network(), STILL, encoder="first_layer")
    rates = {
        "first": np.full((2, 30), 7.0),
        "second": np.append(np.zeros(20), np.arange(1.0, 21.0)).reshape(2, 20),
    }
    given = []

    def scaled(graph, factors):
        given.append(factors)
        return graph

    monkeypatch.setattr(backends, "firing_rates", lambda *_: rates)
    monkeypatch.setattr(calibrate, "scale_firing_rates", scaled)
    options = ld.DeployOptions(encoder="first_layer", target_rate=300.0, percentile=90.0)
    balance_thresholds(source, samples_for(source, STILL), options)
    assert given == 3 * [{"second": pytest.approx(300.0 / np.percentile(np.arange(1, 21), 90))}]
    given.clear()
    rates["second"] = np.zeros((2, 20))
    balance_thresholds(source, samples_for(source, STILL), options)
    assert given == 3 * [{}]
    given.clear()
    rates["second"] = np.ones((2, 20))
    second = replace(source.populations[1], neuron=NeuronModel(discretized=True))
    stepped = replace(source, populations=(source.populations[0], second))
    balance_thresholds(stepped, samples_for(source, STILL), options)
    assert given == 3 * [{}]


def test_a_search_keeps_the_scales_that_come_closest(monkeypatch):
    """Errors by hand: of the first layer twice as much is best, of the second nothing else is better."""
    source = ld.normalize(network(), STILL, encoder="on_off")
    samples = samples_for(source, STILL)
    exact = calibrate.read_rates(source, samples, 0.5)["classes"]
    scales = {id(source): (1.0, 1.0)}
    of_graph = {}

    def scaled(graph, factors):
        made = replace(graph)
        one, other = scales[id(graph)]
        scales[id(made)] = one * factors.get("first", 1.0), other * factors.get("second", 1.0)
        of_graph[id(made)] = made  # kept, so that its number is its own
        return made

    class Outputs:
        def __init__(self, outputs):
            self.outputs = outputs

    last = []

    def partitioned(graph, *_):
        last.append(scales[id(graph)])
        return ld.partition(graph, "on_off")

    def run(*_, **__):
        one, other = last[-1]
        return Outputs(exact + abs(one - 2.0) + abs(other - 1.2))

    monkeypatch.setattr(calibrate, "scale_firing_rates", scaled)
    monkeypatch.setattr(calibrate, "partition", partitioned)
    monkeypatch.setattr(backends, "run", run)
    options = ld.DeployOptions(encoder="on_off", bias_correction_steps=0)
    found = search_rates(source, samples, options)
    assert scales[id(found)] == (2.0, 1.0)
    assert last == [
        *[(factor, 1.0) for factor in (1.0, 0.5, 0.7, 1.4, 2.0)],
        *[(2.0, factor) for factor in (0.5, 0.7, 1.4, 2.0)],
    ]


@pytest.mark.parametrize(
    ("layers", "intended", "rounds"), [(2, None, 2), (3, None, 2), (2, {}, 2), (3, {}, 3), (5, {}, 5)]
)
@pytest.mark.parametrize(("flush", "late"), [(0, False), (None, True)])
def test_where_rates_are_intended_there_is_a_round_for_each_layer(
    layers, intended, rounds, flush, late, monkeypatch
):
    calls = []
    parts = ld.partition(network(), "on_off")
    more = (replace(parts.chip.populations[1], name=f"more {k}") for k in range(layers - 2))
    cut = replace(parts, chip=replace(parts.chip, populations=(*parts.chip.populations, *more)))

    def measured(program, samples, steps, window, kept, delays):
        calls.append((steps, window, kept, delays))
        return {}

    monkeypatch.setattr(calibrate, "quantize", lambda *_, **__: program_of())
    monkeypatch.setattr(calibrate, "transport_delays", lambda program: "late")
    monkeypatch.setattr(backends, "firing_rates", measured)
    monkeypatch.setattr(calibrate, "correct", lambda first, current, rates, wanted: current)
    calibrate.correct_biases(cut, STILL, 30, 0.4, intended=intended, flush=flush)
    assert calls == [(30, 0.4, [], "late" if late else None)] * rounds


def test_rates_of_neurons_that_spike_once_are_kept_whole(monkeypatch):
    calls = []

    def measured(program, samples, steps, window, kept, delays):
        calls.append(kept)
        return {}

    monkeypatch.setattr(backends, "firing_rates", measured)
    monkeypatch.setattr(calibrate, "correct", lambda first, current, rates, wanted: current)
    parts = ld.partition(ld.normalize(network(), STILL, encoder="ttfs"), "ttfs")
    calibrate.correct_biases(parts, STILL, 30)
    assert calls == [[p.name for p in parts.encoder.populations]] * 2
    assert calls[0]
