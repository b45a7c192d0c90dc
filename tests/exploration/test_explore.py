"""Exploration of a small network: what is found holds, is made again, and survives being killed."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.gate.criteria import FIGURES
from loihi_deploy.errors import InputError, MissingExtraError
from loihi_deploy.exploration import explorer, trial
from loihi_deploy.exploration.outcome import Point, front_of, holds
from loihi_deploy.exploration.space import Between, checked_space, default_space
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from tests.frontends.keras_models import keras, layers
from tests.remedies import follows

pytest.importorskip("optuna")

N = 500
KEEP = ld.Criteria(max_drop=0.1)
BOTH = ("drop", "expected_drop")


def network():
    """Twelve values, one layer, four classes."""
    rng = np.random.default_rng(0)
    return Graph(
        (Input("x", (12,)),),
        (
            Population("encoder", (12,), NeuronModel(), 1.0, 0.0),
            Population("hidden", (24,), NeuronModel(), 1.0, 0.05),
        ),
        (
            Projection("x", "encoder", Dense(np.eye(12))),
            Projection("encoder", "hidden", Dense(rng.normal(size=(24, 12))), 0.003),
            Projection("hidden", "classes", Dense(rng.normal(size=(4, 24))), 0.003),
        ),
        (Readout("classes", (4,), np.zeros(4)),),
    )


def samples():
    return np.random.default_rng(1).uniform(0, 1, (N, 12)).astype(np.float32)


def explored(**given):
    what = {"board": "loihi", "keep": KEEP, "n_trials": 8, "progress": False, **given}
    return ld.explore(network(), samples(), **what)


@pytest.fixture(scope="module")
def found():
    return explored(n_trials=24)


def test_the_front_holds_every_limit_and_nothing_beats_it(found):
    assert found.front
    assert len(found.points) + len(found.failed) == 25
    judged = [point for point in found.points if not point.stopped]
    for point in found.front:
        assert holds(point.figures, KEEP)
        for other in judged:
            if holds(other.figures, KEEP):
                costs = [[each.figures[name] for name in found.minimize] for each in (other, point)]
                assert not trial.beats(*costs)


def test_a_point_is_made_again_by_its_options_and_by_its_name(found, tmp_path):
    calibration = found.maker.calibration
    for point in found.front:
        again = found.deployment(point.name)
        assert again.mapping.n_cores == point.figures["cores"]
        by_hand = ld.deploy(network(), "loihi", calibration, point.options)
        assert by_hand.program == again.program
    found.save(found.front[0].name, tmp_path / "best.loihi")
    assert ld.load(tmp_path / "best.loihi") == found.deployment(found.front[0].name)


def test_figures_are_those_of_the_deployment(found):
    point, judged = found.front[0], found.maker.judged
    checked = found.deployment(point.name).check(judged.samples, judged.right, KEEP)
    limited = replace(found.maker, keep=ld.Criteria(max_host_spikes=1e9))(point.options).figures
    assert limited["host_spikes"] == checked.measured.figures["host_spikes"]
    for name in ("accuracy", "drop", "cores", "chips", "energy_mj", "latency_ms", "overflows"):
        assert point.figures[name] == pytest.approx(checked.measured.figures[name], rel=1e-12)


def test_final_figures_are_of_samples_that_no_choice_was_made_on(found):
    assert found.n_chosen_on + found.n_held_out == N
    parts = explorer._parts(
        network(),
        samples(),
        None,
        ld.DeployOptions(),
        (None, None),
        0.5,
        0,
        KEEP,
        ("energy_mj", "latency_ms", "cores"),
    )
    ours, theirs = (
        {row.tobytes() for row in part.samples.first_frames()["x"]}
        for part in (parts.chosen_on, parts.held_out)
    )
    assert not ours & theirs
    assert {row.tobytes() for row in parts.calibration.first_frames()["x"]} <= ours
    for point in found.front:
        deployment = found.deployment(point.name)
        accuracy = deployment.evaluate(parts.held_out.samples, parts.held_out.right).accuracy
        assert point.final["accuracy"] == accuracy
        assert point.final["drop"] == 1 - accuracy  # without labels the network's own decisions are right


def test_it_finds_less_than_what_auto_chooses(found):
    auto = found.point("auto")
    assert auto.options.steps != "auto"
    assert holds(auto.figures, KEEP)
    assert min(point.figures["energy_mj"] for point in found.front) <= auto.figures["energy_mj"]
    assert f"{found.front[0].figures['energy_mj'] / auto.figures['energy_mj']:.2f} times" in str(found)


def test_the_table_and_the_picture(found):
    pytest.importorskip("matplotlib")
    text = str(found)
    for point in found.front:
        assert f"{point.name}: " in text
        assert FIGURES["drop"].shown(point.final["drop"]) in text
    plot = found.plot().axes[0]
    assert plot.get_ylabel() == "energy, high end, mJ"
    assert plot.get_xlabel() == "below the rate network, %"  # without labels no drop is expected
    names = [text.get_text().split(" (")[0] for text in plot.texts]
    assert [name for name in names if name != "auto"] == [p.name for p in found.front if p.name != "auto"]
    assert plot.texts[0].get_text().endswith(f"({found.front[0].figures['cores']:.0f})")
    front, limit = plot.collections[-1 if "auto" in {p.name for p in found.front} else -2], plot.lines[0]
    assert {tuple(place) for place in front.get_offsets().tolist()} == {
        (point.figures["drop"], point.figures["energy_mj"]) for point in found.front
    }
    assert list(limit.get_xdata()) == [KEEP.max_drop] * 2
    values = found.values()
    assert [point["name"] for point in values["front"]] == [point.name for point in found.front]


def test_it_is_said_why_there_is_nothing_to_compare_with(found):
    text = str(
        replace(found, failed=("auto: cannot be deployed: too deep", "7: cannot be deployed: too short"))
    )
    assert "auto: cannot be deployed: too deep" in text
    assert "7: cannot be deployed" not in text


def test_nothing_near_auto_is_tried_twice():
    """In a narrow space the first trials fall together."""
    steps = explored(n_trials=1).point("auto").options.steps
    tried = [
        p.options.steps for p in explored(n_trials=4, space={"steps": (steps + 5, steps + 40)}).points[1:]
    ]
    assert tried.count(steps + 5) == 1


def test_the_same_seed_gives_the_same_trials(found):
    again = explored(n_trials=6)
    assert [point.options for point in again.points[:6]] == [point.options for point in found.points[:6]]


def test_hopeless_trials_end_on_few_samples(found):
    ended = [point for point in found.points if "asked, on 200 samples" in point.stopped]
    judged = replace(found.maker, keep=ld.Criteria(max_drop=0.0, max_cores=1))
    few = judged(ld.DeployOptions(steps=3, target_rate=50.0, readout_window=0.3, bias_correction_steps=0))
    assert few.stopped.endswith("asked, on 200 samples")
    assert few.figures["drop"] > 0.3
    assert all(point.figures["drop"] > KEEP.max_drop for point in ended)
    none = replace(found.maker, keep=ld.Criteria(max_cores=0))
    assert none(ld.DeployOptions(steps=20)).stopped == "cores 1, ≤ 0 asked"


def test_trials_that_cost_more_than_a_record_are_not_judged_further(found):
    options = found.front[0].options
    costs = [found.front[0].figures[name] for name in found.minimize]
    assert found.maker(options).stopped == ""
    assert found.maker(options, [costs]).stopped == ""  # no worse than itself
    assert "costs less" in found.maker(options, [[cost * 0.9 for cost in costs]]).stopped


def test_what_cannot_be_deployed_is_told_of():
    space = {"steps": [1, 30], "target_rate": [600.0]}
    result = explored(space=space, n_trials=3, minimize=["energy"], keep=ld.Criteria(max_cores=0))
    assert result.front == ()
    assert len(result.failed) >= 1
    assert "too short for the depth" in result.failed[-1]
    assert "No trial holds every limit: cores 1 at best" in str(result)


@pytest.mark.follows("Explore as before, or give another file")
def test_an_exploration_goes_on_where_it_was_ended(tmp_path):
    store = tmp_path / "trials.db"
    first = explored(n_trials=3, storage=store)
    then = explored(n_trials=7, storage=store)
    assert len(then.points) + len(then.failed) == 8
    assert [point.name for point in then.points][: len(first.points)] == [
        point.name for point in first.points
    ]
    assert [point.figures for point in then.points][: len(first.points)] == [p.figures for p in first.points]
    other = {"n_trials": 7, "keep": ld.Criteria(max_drop=0.2)}
    with pytest.raises(InputError, match=r"limits: differs.*Explore as before, or give another file"):
        explored(storage=store, **other)
    same = explored(n_trials=7, storage=store)
    assert same.points == then.points
    assert explored(storage=tmp_path / "another.db", **(other | {"n_trials": 1})).points


KILLED = """
import os, signal, sys
from loihi_deploy.exploration import trial
from tests.exploration.test_explore import explored

made = trial.Maker.__call__
count = 0

def die(self, *args):
    global count
    count += 1
    if count == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return made(self, *args)

trial.Maker.__call__ = die
explored(n_trials=16, storage=sys.argv[1])
"""


def test_a_killed_exploration_goes_on_with_the_trial_that_was_lost(tmp_path):
    import optuna

    store = tmp_path / "trials.db"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(store)], cwd=root, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{store}")
    lost = [each for each in study.trials if each.state.name == "RUNNING"]
    assert len(lost) == 1
    result = explored(n_trials=16, storage=store)
    assert len(result.points) + len(result.failed) == 17
    again = [each for each in study.trials if each.params == lost[0].params and each.number > lost[0].number]
    assert [each.state.name for each in again if "trial" in each.user_attrs] != []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"space": {"stepz": (1, 2)}}, "The nearest is 'steps'"),
        ({"space": {"steps": (9, 3)}}, "a list of choices"),
        ({"space": {"steps": (0, 3)}}, "not a presentation time"),
        ({"space": {"encoder": ["auto", "nothing"]}}, "unknown choice"),
        ({"space": {"encoder": []}}, "at least one value"),
        ({"labels": np.zeros(N, int)}, "Give calibration, too"),
        ({"calibration": samples()[:9], "labels": np.full(9, 7)}, "labels out of range"),
        ({"minimize": ["accuracy"]}, "Give drop"),
        ({"minimize": []}, "at least one"),
        ({"minimize": ["weight"]}, "energy, latency, drop, rmse, cores, chips, host_spikes, overflows"),
        ({"n_trials": 0}, "1 to 10000"),
        ({"held_out": 0.95}, "0.9"),
        ({"keep": ld.Criteria(max_rmse=0.1)}, "labels that are values"),
        ({"y": np.zeros((N, 4)) + 0.5}, "max_rmse"),
    ],
)
def test_what_cannot_be_explored_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        explored(**given)


VALUES = samples()[:60, :4] + 0.5


@pytest.mark.parametrize(
    ("broken", "advised"),
    [
        follows("The nearest is …", {"space": {"stepz": (4, 6)}}, {"space": {"steps": (4, 6)}}),
        follows(
            "Give (low, high) for a range, or a list of choices",
            {"space": {"target_rate": (900.0, 300.0)}},
            {"space": {"target_rate": (300.0, 900.0)}},
            id="a range",
        ),
        follows(
            "Give (low, high) for a range, or a list of choices",
            {"space": {"target_rate": (900.0, 300.0)}},
            {"space": {"target_rate": [900.0, 300.0]}},
            id="choices",
        ),
        follows("Give at least one value", {"space": {"encoder": []}}, {"space": {"encoder": ["on_off"]}}),
        follows(
            "Give calibration, too",
            {"labels": np.zeros(9, int)},
            {"labels": np.zeros(9, int), "calibration": samples()[:9]},
        ),
        follows(
            "Give drop, which is less where accuracy is more",
            {"minimize": ["accuracy"]},
            {"minimize": ["drop"]},
        ),
        follows("Give at least one", {"minimize": []}, {"minimize": ["cores"]}),
        follows(
            "Give labels, or minimize drop",
            {"minimize": ["expected_drop"]},
            {"minimize": ["expected_drop"], "y": np.arange(60) % 4},
            id="labels",
        ),
        follows(
            "Give labels, or minimize drop",
            {"minimize": ["expected_drop"]},
            {"minimize": ["drop"]},
            id="drop",
        ),
        follows(
            "Give labels that are values",
            {"keep": ld.Criteria(max_rmse=1e6)},
            {"keep": ld.Criteria(max_rmse=1e6), "y": VALUES},
        ),
        follows(
            "Give keep=Criteria(max_rmse=...)",
            {"y": VALUES},
            {"y": VALUES, "keep": ld.Criteria(max_rmse=1e6)},
        ),
        follows(
            "Minimize rmse in its place",
            {"y": VALUES, "keep": ld.Criteria(max_rmse=1e6), "minimize": ["drop"]},
            {"y": VALUES, "keep": ld.Criteria(max_rmse=1e6), "minimize": ["rmse"]},
        ),
    ],
)
def test_what_is_advised_is_explored(broken, advised):
    def points(given):
        what = {"keep": KEEP, "space": {"target_rate": 500.0}, **given}
        return ld.explore(network(), samples()[:60], board="loihi", n_trials=1, progress=False, **what).points

    with pytest.raises(InputError):
        points(broken)
    assert points(advised)


@pytest.mark.follows("Give the path of a file that is to be made")
def test_a_file_of_something_else_keeps_no_trials(tmp_path):
    (tmp_path / "notes.txt").write_text("something else", encoding="utf-8")
    how = {"n_trials": 1, "space": {"target_rate": 500.0}}
    with pytest.raises(InputError, match="holds no exploration"):
        explored(storage=tmp_path / "notes.txt", **how)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "something else"
    assert explored(storage=tmp_path / "trials.db", **how).points


@pytest.mark.follows("Points on the front: …")
def test_a_point_that_was_not_tried_is_answered_with_those_of_the_front(found):
    with pytest.raises(InputError, match="no such point") as refusal:
        found.deployment("best")
    names = refusal.value.problems[0].remedy.partition(": ")[2].split(", ")
    assert [found.point(name) for name in names] == list(found.front)


def test_the_default_space_leaves_nothing_to_be_chosen_by_labels():
    """So that options alone make a point again: a value that is the default one would be chosen anew by `deploy`."""
    made = ld.ir.samples_for(network(), samples())
    space = checked_space(default_space(network(), made, ld.DeployOptions(), 40), ld.DeployOptions())
    assert space["steps"] == Between(4.0, 40.0, True)
    for name in ("target_rate", "readout_window"):
        assert not space[name].whole
    assert ld.DeployOptions.bias_correction_steps != explorer.CORRECTION_STEPS
    assert {"synapse", "encoder", "weight_bits", "percentile"} <= set(space)
    assert "encoder_percentile" not in space
    on_host = ld.DeployOptions(encoder="first_layer")
    space = checked_space(default_space(network(), made, on_host, 40), on_host)
    assert space["encoder_percentile"].high < ld.DeployOptions.encoder_percentile


def test_a_board_with_another_limit_makes_another_exploration(found):
    maker, board = found.maker, found.maker.board
    other = replace(board, chip=replace(board.chip, core=replace(board.chip.core, max_in_axons=7)))
    parts = explorer._Parts(maker.calibration, maker.labels, maker.judged, None)
    ours, theirs = (
        explorer._asked(replace(maker, board=each), parts, ld.DeployOptions(), None)["board"]
        for each in (board, other)
    )
    assert ours != theirs


def test_sequences_are_explored_by_steps_for_each_frame():
    frames = np.repeat(samples()[:60, None], 3, axis=1)
    options = ld.DeployOptions(readout="mean", bias_correction_steps=0)
    what = {"board": "loihi", "keep": KEEP, "n_trials": 2, "progress": False, "options": options}
    result = ld.explore(network(), frames, **what)
    assert {point.name for point in result.points} == {"0", "1"}
    assert all(point.options.steps_per_frame for point in result.points)


def test_values_are_explored_by_their_error():
    graph = network()
    x = samples()[:80]
    wanted = ld.engines.rate_network.rate_outputs(graph, {"x": x})["classes"]
    result = ld.explore(
        *(graph, x, wanted + 0.5, "loihi"),
        keep=ld.Criteria(max_rmse=1e6),
        space={"target_rate": (100.0, 900.0)},
        n_trials=2,
        progress=False,
    )
    assert len(result.front) >= 1
    assert result.front[0].figures["rmse"] > 0
    assert "drop" not in result.front[0].figures
    assert result.plot().axes[0].get_xlabel() == "root mean square error"


def test_the_synapse_is_set_without_converting_anew():
    keras = pytest.importorskip("tf_keras")
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((12,)), layers.Dense(8, "relu"), layers.Dense(8, "relu"), layers.Dense(3)]
    )
    marked = ld.convert(model, ld.DeployOptions(synapse=trial.MARK))
    for tau in (0.0, 0.001, 0.005):
        assert trial.with_synapse(marked, tau) == ld.convert(model, ld.DeployOptions(synapse=tau))


def test_points_of_equal_cost_stand_once():
    points = [
        Point(name, ld.DeployOptions(), {"energy_mj": e, "cores": c, "drop": d}, stopped)
        for name, e, c, d, stopped in (
            ("0", 2.0, 1, 0.0, ""),
            ("1", 1.0, 2, 0.0, ""),
            ("2", 1.0, 2, 0.05, ""),
            ("3", 3.0, 3, 0.0, ""),
            ("4", 0.5, 1, 0.2, ""),
            ("5", 0.5, 1, 0.0, "on few samples"),
        )
    ]
    assert [point.name for point in front_of(points, ("energy_mj", "cores"), KEEP)] == ["1", "0"]


def test_a_limit_that_held_out_samples_do_not_confirm_is_said(found):
    limit = min(point.final["drop"] for point in (*found.front, found.point("auto"))) - 0.01
    kept = replace(found, keep=ld.Criteria(max_drop=limit))
    said = f", on {found.n_held_out:,} samples held out"
    text = str(kept)
    assert text.count(said) == len({"auto", *(point.name for point in found.front)})
    assert f"{found.front[0].name}: below the rate network" in text
    assert said not in str(replace(found, keep=ld.Criteria(max_drop=1.0)))


def test_the_expected_drop_is_by_how_sure_the_rate_network_is():
    """A decision that differs where it was a toss-up costs nothing, whatever the label happens to be."""
    graph, x = network(), samples()
    values = ld.engines.rate_network.rate_outputs(graph, {"x": x})["classes"]
    chances = np.exp(0.5 * values)
    chances /= chances.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(3)
    y = (rng.random((N, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    found = explored(y=y, n_trials=1, space={"target_rate": 500.0})
    judged = found.maker.judged
    mine = {row.tobytes(): k for k, row in enumerate(x)}
    which = [mine[row.tobytes()] for row in judged.samples.arrays["x"][:, 0].astype(np.float32)]
    assert np.abs(judged.odds - chances[which]).max() < 0.15
    point = found.points[0]
    decided = found.deployment(point.name).run(judged.samples, progress=False).outputs.argmax(axis=1)
    rows = np.arange(len(decided))
    lost = judged.odds[rows, values[which].argmax(axis=1)] - judged.odds[rows, decided]
    assert point.figures["expected_drop"] == pytest.approx(lost.mean(), abs=1e-6)
    assert (lost >= 0).all()
    assert "expected_drop" in point.final
    assert "below the rate network, expected" in str(found)
    kept = replace(found, keep=ld.Criteria(max_drop=point.figures["expected_drop"] - 1e-6))
    assert f"{point.name}: below the rate network, expected" in str(kept)
    for minimize, title, x in (
        (("cores",), "below the rate network, counted or expected, %", max(point.figures[n] for n in BOTH)),
        (("drop", "cores"), "below the rate network, %", point.figures["drop"]),
        (("expected_drop",), "below the rate network, expected, %", point.figures["expected_drop"]),
    ):
        plot = replace(found, minimize=minimize).plot().axes[0]
        assert plot.get_xlabel() == title
        assert plot.get_ylabel() == ("cores" if "cores" in minimize else "energy, high end, mJ")
        assert plot.collections[-1].get_offsets()[0][0] == x


def test_the_limit_of_the_drop_is_that_of_the_expected_one():
    keep = ld.Criteria(max_drop=0.01)
    assert not holds({"drop": 0.0, "expected_drop": 0.02}, keep)
    assert not holds({"drop": 0.02, "expected_drop": 0.0}, keep)
    assert holds({"drop": 0.01, "expected_drop": 0.01}, keep)
    assert holds({"drop": 0.01}, keep)  # without labels


def test_a_figure_that_is_over_its_limit_by_little_is_not_said_to_be_at_it():
    assert trial.over("drop", 0.00503, 0.005) == "below the rate network more than 0.50 %, ≤ 0.50 % asked"
    assert trial.over("accuracy", 0.89999, 0.9) == "accuracy less than 90.00 %, ≥ 90.00 % asked"
    assert trial.over("drop", 0.006, 0.005, ", x") == "below the rate network 0.60 %, ≤ 0.50 % asked, x"


def test_without_labels_nothing_is_expected(found):
    assert all("expected_drop" not in point.figures for point in found.points)


def test_toml_names_what_differs_from_the_defaults():
    options = ld.DeployOptions(steps=9, equalize=True, encoder="bias", layer_synapses={"a b": 0.002})
    text = Point("7", options, {}).toml()
    assert text.splitlines() == [
        'layer_synapses = {"a b" = 0.002}',
        'encoder = "bias"',
        'normalization = "auto"',
        "equalize = true",
        "steps = 9",
    ]


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"loihi-deploy\[explore\]"):
        explored()


def test_trials_are_made_by_workers():
    distributed = pytest.importorskip("distributed")
    how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**how) as workers, distributed.Client(workers) as client:
        result = explored(client=client, n_trials=6)
    assert len(result.points) + len(result.failed) == 7
    assert result.front
    for point in result.front:
        assert trial.Maker.__call__(result.maker, point.options).figures == point.figures
        assert point.final["accuracy"] > 0


def test_networks_with_memory_are_judged_by_what_they_remember_and_nothing_else():
    """Synapses that deploying gives to a Keras model are none of its own."""
    keras_spiking = pytest.importorskip("keras_spiking")
    k = layers()
    model = keras().Sequential(
        [
            k.Input((6, 12), name="frames"),
            k.TimeDistributed(k.Dense(20, "relu")),
            k.TimeDistributed(k.Dense(20, "relu")),
            keras_spiking.Lowpass(0.1),
            k.GlobalAveragePooling1D(),
            k.Dense(4),
        ]
    )
    x = np.random.default_rng(2).uniform(0, 1, (60, 6, 12)).astype(np.float32)
    options = ld.DeployOptions(bias_correction_steps=0)
    what = {
        "space": {"steps_per_frame": 2},
        "keep": ld.Criteria(max_drop=1.0),
        "n_trials": 1,
        "held_out": 0.0,
    }
    found = ld.explore(model, x, board="loihi", options=options, progress=False, **what)
    judged = found.maker.judged
    expected = model.predict(judged.samples.arrays["frames"].astype(np.float32), verbose=0)
    np.testing.assert_array_equal(judged.right, expected.argmax(axis=1))
