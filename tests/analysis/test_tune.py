"""The shortest presentation of sequences, and what is known of their source."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import tune
from loihi_deploy.analysis.frames import Reading, has_decisions
from loihi_deploy.analysis.latency import latencies
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Link, samples_for
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from tests.sequences import frames, network


@pytest.mark.parametrize("readout", ["each", "mean"])
def test_steps_of_a_frame_are_tuned_and_its_window_is_what_was_read(readout):
    x = frames(12, 5)
    options = ld.DeployOptions(readout=readout, steps_per_frame=20)
    deployment = ld.deploy(network(readout), calibration=x, options=options)
    y = deployment.run(x, steps=200).outputs
    y = y.argmax(-1)
    found = deployment.tune(x, y, max_steps=200, max_drop=0.2)
    assert found.steps % 5 == 0
    assert 5 <= found.steps <= 200
    assert found.readout_window == pytest.approx({"each": 1 / 5, "mean": 1.0}[readout])


@pytest.mark.parametrize(
    ("recurrent", "n_frames", "known"),
    [(False, 1, True), (False, 4, True), (True, 1, False), (True, 4, True)],
)
def test_a_source_decides_unless_it_is_recurrent_and_samples_stand_still(recurrent, n_frames, known):
    source = network("mean", recurrent)
    assert has_decisions(source, samples_for(source, frames(3, n_frames)), ld.DeployOptions()) == known
    assert not has_decisions(
        ld.ir.Graph((), (), ()), samples_for(source, frames(3, n_frames)), ld.DeployOptions()
    )


@pytest.mark.parametrize(("enough", "most"), [*((n, 40) for n in (1, 4, 5, 6, 9, 13, 20, 33, 40)), (40, 400)])
def test_little_more_is_taken_than_is_enough(enough, most, monkeypatch):
    x = frames(3, 5)
    options = ld.DeployOptions(readout="each", steps_per_frame=2)
    deployment = ld.deploy(network("each"), calibration=x, options=options)

    def evaluated(program, samples, labels, options):
        return SimpleNamespace(accuracy=float(options.steps_per_frame >= enough))

    monkeypatch.setattr("loihi_deploy.analysis.tune.backends.evaluate", evaluated)
    y = deployment.run(x).outputs.argmax(-1)
    found = deployment.tune(x, y, max_steps=5 * most, max_drop=0.0)
    assert enough <= found.steps / 5 <= max(5, np.sqrt(2) * enough)


def test_a_current_delays_only_what_arrives():
    """Of a layer that nothing drives but biases, and of currents without a decay."""
    nothing = Graph((), (), ())
    populations = tuple(
        Compartments(name, (2,), decay_u=decay, decay_v=0, threshold=640, bias=64)
        for name, decay in (("alone", 199), ("heard", 199), ("kept", 0))
    )
    synapses = tuple(
        Synapses("source", name, Dense(np.ones((2, 2), np.int8)), 6) for name in ("heard", "kept")
    )
    link = Link("source", "to_chip", 1)
    program = Program(nothing, (SpikeSource("source", (2,)),), populations, synapses, nothing, (link,))
    alone, heard, kept = latencies(program)[:3]
    assert (alone.hops, alone.delay) == (0, 0.0)
    assert (heard.hops, kept.hops, kept.delay) == (1, 1, 1.0)
    assert heard.delay == pytest.approx(1 + 3896 / 200, rel=1e-3)


def test_windows_are_tried_in_even_steps():
    np.testing.assert_allclose(tune.WINDOWS, np.arange(3, 9) / 10)


@pytest.mark.follows("Allow …")
def test_frames_are_shown_for_the_steps_that_delays_were_made_for(monkeypatch):
    asked = []

    def evaluate(program, given, labels, options):
        asked.append(options.steps_per_frame)
        return SimpleNamespace(accuracy=1.0)

    monkeypatch.setattr("loihi_deploy.analysis.tune.backends.evaluate", evaluate)
    source = network("mean")
    program = ld.quantize(ld.partition(ld.normalize(source, frames(9, 1))))
    made = replace(program, frame_steps=4)
    given = samples_for(source, frames(2, 5))

    def found(max_steps):
        return tune.shortest_for_each_frame(made, given, np.zeros(2, int), 1.0, max_steps, 0.0, Reading(1.0))

    for most in (20, 24, 400):
        asked.clear()
        assert found(most).steps == 20
        assert asked == [4]
    with pytest.raises(InputError, match="made for more") as refusal:
        found(19)
    assert refusal.value.problems[0].remedy == "Allow 20"


def test_the_drop_that_is_named_is_rounded_up(monkeypatch):
    program = ld.quantize(ld.partition(ld.normalize(network(), frames(9, 1))))
    problem = tune._too_short(program, {0.5: np.full(400, 2 / 3)}, 1.0, 0.1)
    assert "a drop of 0.3334," in problem.remedy
    monkeypatch.setattr(
        "loihi_deploy.analysis.tune.backends.evaluate", lambda *_: SimpleNamespace(accuracy=1 / 3)
    )
    given = samples_for(network("mean"), frames(2, 5))
    with pytest.raises(InputError, match=r"a drop of 0\.6667,"):
        tune.shortest_for_each_frame(program, given, np.zeros(2, int), 1.0, 50, 0.1, Reading(1.0))
