"""Criteria, what they are judged by, and baselines."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.gate import Verdict, read_baseline
from loihi_deploy.errors import DataError, InputError, OutputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
STEPS = 40


def network(n_hidden=12, n_outputs=3, name="hidden", seed=0):
    rng = np.random.default_rng(seed)
    return Graph(
        (Input("x", (6,)),),
        (
            Population("encoder", (6,), NeuronModel(), 1.0, 0.0),
            Population(name, (n_hidden,), NeuronModel(), 1.0, 0.1),
        ),
        (
            Projection("x", "encoder", Dense(np.eye(6))),
            Projection("encoder", name, Dense(rng.normal(size=(n_hidden, 6))), 0.003),
            Projection(name, "out", Dense(rng.normal(size=(n_outputs, n_hidden))), 0.003),
        ),
        (Readout("out", (n_outputs,), np.zeros(n_outputs)),),
    )


X = RNG.uniform(0, 1, (30, 6))
OPTIONS = ld.DeployOptions(bias_correction_steps=0)
DEPLOYMENT = ld.deploy(network(), "loihi", X, OPTIONS)
RUN = DEPLOYMENT.run(X, STEPS)
Y = np.where(np.arange(30) < 27, RUN.outputs.argmax(axis=1), (RUN.outputs.argmax(axis=1) + 1) % 3)


def check(criteria, deployment=DEPLOYMENT, x=X, y=Y, **named):
    return deployment.check(x, y, criteria, steps=STEPS, **named)


def test_every_figure_is_what_the_other_methods_give():
    figures = check(ld.Criteria()).measured.figures
    evaluation = DEPLOYMENT.evaluate(X, Y, STEPS)
    energy = DEPLOYMENT.energy(X[np.arange(20) * 30 // 20], STEPS)
    assert evaluation.accuracy == 0.9
    [encoder] = DEPLOYMENT.program.encoder.populations
    sent = DEPLOYMENT.run(X, STEPS, record=[encoder.name]).recorded[encoder.name]["spikes"]
    assert figures == {
        "accuracy": 0.9,
        "drop": DEPLOYMENT.rate_accuracy(X, Y) - 0.9,
        "cores": DEPLOYMENT.mapping.n_cores,
        "chips": 1,
        "host_spikes": sent.sum(axis=2).max(),  # one core, so that a spike is one message
        "overflows": 0,
        "energy_mj": energy.total.high / 1e-3,
        "latency_ms": energy.seconds.high / 1e-3,
    }


def test_limits_hold_up_to_the_limit_itself_and_fail_beyond():
    figures = check(ld.Criteria()).measured.figures
    at = ld.Criteria(
        min_accuracy=0.9,
        max_drop=max(figures["drop"], 0.0),
        max_cores=1,
        max_chips=1,
        max_energy_mj=figures["energy_mj"],
        max_latency_ms=figures["latency_ms"],
        max_host_spikes=figures["host_spikes"],
        no_overflow=True,
    )
    result = check(at)
    assert result.passed
    assert [verdict.name for verdict in result.verdicts] == [
        *("min_accuracy", "max_drop", "max_cores", "max_chips", "max_energy_mj", "max_latency_ms"),
        *("max_host_spikes", "no_overflow"),
    ]
    beyond = ld.Criteria(
        min_accuracy=0.9001,
        max_cores=0,
        max_chips=0,
        max_energy_mj=0.999 * figures["energy_mj"],
        max_latency_ms=0.999 * figures["latency_ms"],
        max_host_spikes=0.999 * figures["host_spikes"],
    )
    result = check(beyond)
    assert not result.passed
    assert not any(verdict.passed for verdict in result.verdicts)
    assert all(verdict.margin < 0 for verdict in result.verdicts)


def test_a_line_for_each_criterion_with_value_limit_and_margin():
    text = str(check(ld.Criteria(min_accuracy=0.8, max_cores=0)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "holds accuracy 90.00 % ≥ 80.00 % +10.00 %" in lines
    assert "FAILS cores 1 ≤ 0 -1" in lines
    assert text.endswith("1 of 2 criteria FAIL")


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_overflows_fail():
    verdicts = check(ld.Criteria(no_overflow=True)).verdicts
    assert verdicts == (Verdict("no_overflow", "overflows", 0.0, 0.0, 0.0, True),)
    graph = Graph(
        (Input("x", (20,)),),
        (
            Population("many", (1500,), NeuronModel(), 1.0, 0.0),
            Population("few", (3,), NeuronModel(), 1.0, 0.0),
        ),
        (
            Projection("x", "many", Dense(RNG.uniform(0.5, 1, (1500, 20)))),
            Projection("many", "few", Dense(np.ones((3, 1500))), 0.003),
            Projection("few", "y", Dense(np.eye(3)), 0.003),
        ),
        (Readout("y", (3,), np.zeros(3)),),
    )
    scales = {"many": 120.0, "few": 1.0}
    options = replace(OPTIONS, normalization="scale_firing_rates", scale_firing_rates=scales)
    x = RNG.uniform(0, 1, (10, 20))
    deployment = ld.deploy(graph, "loihi", x, options)
    (verdict,) = check(ld.Criteria(no_overflow=True), deployment, x[:5], None).verdicts
    counted = deployment.run(x[:5], STEPS).counters.populations["few"]
    assert verdict.value == counted.overflows_q + counted.overflows_u > 0
    assert not verdict.passed


def test_values_in_place_of_classes():
    wanted = RUN.outputs + 0.5
    result = check(ld.Criteria(max_rmse=0.5 + 1e-9), y=wanted)
    assert result.passed
    assert result.measured.figures["rmse"] == pytest.approx(0.5)
    assert not check(ld.Criteria(max_rmse=0.49), y=wanted).passed


def test_labels_of_frames():
    """The source answers every frame: labels are those of frames, and so are accuracy and drop."""
    graph = network()
    graph = replace(graph, readouts=(replace(graph.readouts[0], over_frames="each"),))
    frames = RNG.uniform(0, 1, (10, 4, 6))
    options = replace(OPTIONS, steps_per_frame=10)
    deployment = ld.deploy(graph, "loihi", frames, options)
    decided = deployment.predict(frames).argmax(axis=2)
    labels = np.where(np.arange(40).reshape(10, 4) % 5, decided, (decided + 1) % 3)
    found = deployment.check(frames, labels, ld.Criteria(min_accuracy=0.8)).measured.figures
    assert found["accuracy"] == 0.8
    assert found["drop"] == deployment.rate_accuracy(frames, labels) - 0.8
    listed = [x[: 1 + k % 4] for k, x in enumerate(frames)]
    of_them = [row[: len(x)].tolist() for row, x in zip(labels, listed, strict=True)]
    found = deployment.check(listed, of_them, ld.Criteria()).measured.figures
    assert found["accuracy"] == deployment.evaluate(listed, of_them).accuracy
    outputs = deployment.predict(frames)
    found = deployment.check(frames, outputs + 0.25, ld.Criteria()).measured.figures
    assert found["rmse"] == pytest.approx(0.25)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError) as caught:
        DEPLOYMENT.check(np.full((30, 6), np.nan), Y + 3, {"min": 1}, steps="4", threads=0)
    found = {problem.where for problem in caught.value.problems}
    assert found == {"x", "y", "criteria", "steps", "threads"}


@pytest.mark.follows("Give samples, too")
def test_labels_without_samples_are_refused():
    with pytest.raises(InputError, match="labels without samples"):
        DEPLOYMENT.check(y=Y, criteria=ld.Criteria(max_cores=1))
    DEPLOYMENT.check(X, Y, ld.Criteria(max_cores=1), steps=STEPS)


@pytest.mark.parametrize("kind", [float, int])
def test_values_of_an_output_that_decides_nothing(kind):
    one = ld.deploy(network(n_outputs=1), "loihi", X, OPTIONS)
    wanted = np.round(one.run(X, STEPS).outputs[:, 0]).astype(kind)
    error = one.run(X, STEPS).outputs[:, 0] - wanted
    for given in (wanted, wanted[:, None], wanted.tolist()):
        found = check(ld.Criteria(), one, y=given).measured.figures
        assert found["rmse"] == pytest.approx(np.sqrt(np.square(error).mean()))


def test_cores_and_chips_need_no_samples():
    assert DEPLOYMENT.check(criteria=ld.Criteria(max_cores=1, max_chips=1)).passed


@pytest.mark.parametrize(
    ("criteria", "data", "says"),
    [
        (
            ld.Criteria(min_accuracy=0.5),
            {"y": None},
            "no accuracy was measured. Give samples with a class label",
        ),
        (ld.Criteria(max_rmse=0.5), {}, "no rmse was measured. Give samples with the values"),
        (ld.Criteria(max_energy_mj=1), {"x": None, "y": None}, "no energy_mj was measured. Give samples"),
        (ld.Criteria(min_accuracy=0.5), {"x": X[:0], "y": Y[:0]}, "no sample"),
        (ld.Criteria(min_accuracy=0.5), {"y": Y[:3]}, "labels do not fit the samples"),
        (ld.Criteria(min_accuracy=0.5), {"y": np.array(["a"] * 30)}, "labels must be integers"),
        (ld.Criteria(tolerance={"accuracy": 0.1}), {}, "a tolerance is for a baseline"),
        (None, {}, "no limit to check"),
        ({"min_accuracy": 1}, {}, "allowed Criteria"),
    ],
)
def test_what_cannot_be_judged(criteria, data, says):
    with pytest.raises(InputError, match=says):
        check(criteria, **data)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"min-acuracy": 0.5}, "min_acuracy: unknown criterion .*The nearest is 'min_accuracy'"),
        ({"min-acuracy": 0.5, "max-cores": 2.5}, r"(?s)min_acuracy: unknown.*max_cores: not what"),
        ({"min-accuracy": 90}, r"min_accuracy: out of range \(found 90, allowed 0 to 1\)"),
        ({"max-cores": 2.5}, "max_cores: not what is expected"),
        ({"no-overflow": 1}, "no_overflow: not what is expected"),
        ({"max-energy-mj": float("nan")}, "max_energy_mj: out of range"),
        (
            {"tolerance": {"acuracy": 0.1}},
            "tolerance 'acuracy': unknown criterion .*The nearest is 'accuracy'",
        ),
        ({"tolerance": {"accuracy": -0.1}}, "out of range"),
        ({"tolerance": 0.1}, "tolerance: not what is expected"),
    ],
)
def test_criteria_that_cannot_be_used(names, says):
    with pytest.raises(InputError, match=says):
        ld.Criteria.from_names(names)


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "baseline.json"
    check(ld.Criteria()).write_baseline(path)
    return path


def test_a_baseline_holds_for_what_it_was_made_of_and_is_written_alike(baseline, tmp_path):
    result = check(None, baseline=baseline)
    assert result.passed
    assert result.changes == ()
    assert len(result.verdicts) == 8
    result.write_baseline(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == baseline.read_bytes()


def test_the_baseline_tells_what_changed(baseline):
    other = ld.deploy(network(), "loihi", X, replace(OPTIONS, target_rate=200.0, weight_percentile=80.0))
    values = json.loads(baseline.read_text())
    values["figures"]["accuracy"] = 1.0
    baseline.write_text(json.dumps(values))
    result = check(ld.Criteria(tolerance={"energy_mj": 1.0}), other, baseline=baseline)
    changed = {(where, what): (then, now) for where, what, then, now in result.changes}
    assert changed["deployment", "target_rate"] == ("700.0", "200.0")
    assert changed["deployment", "weight_percentile"] == ("100.0", "80.0")
    assert ("hidden", "firing rate") in changed
    assert ("hidden", "rounding error") in changed
    assert ("hidden", "integers") in changed
    assert not result.passed
    assert "What changed since the baseline" in str(result)
    assert next(v for v in result.verdicts if v.figure == "energy_mj").passed


def test_other_steps_are_named(baseline):
    changed = DEPLOYMENT.check(X, Y, baseline=baseline, steps=10).changes
    assert ("deployment", "steps", "40", "10") in changed


def test_tolerance(baseline):
    values = json.loads(baseline.read_text())
    values["figures"]["accuracy"] = 0.93
    baseline.write_text(json.dumps(values))
    assert not check(None, baseline=baseline).passed
    assert not check(ld.Criteria(tolerance={"accuracy": 0.029}), baseline=baseline).passed
    assert check(ld.Criteria(tolerance={"accuracy": 0.03}), baseline=baseline).passed
    with pytest.raises(InputError, match="the baseline has no such figure"):
        check(ld.Criteria(tolerance={"rmse": 0.1}), baseline=baseline)


def test_layers_need_no_order_of_their_names(tmp_path):
    deployment = ld.deploy(network(name="a layer"), "loihi", X, OPTIONS)
    check(ld.Criteria(), deployment).write_baseline(tmp_path / "baseline.json")
    assert check(None, deployment, baseline=tmp_path / "baseline.json").passed


def test_a_baseline_of_another_network_or_other_samples(baseline):
    other = ld.deploy(network(name="other"), "loihi", X, OPTIONS)
    says = r"another network: layers differ \(found other 12, allowed hidden 12\).*--update-baseline"
    with pytest.raises(InputError, match=says):
        check(None, other, baseline=baseline)
    with pytest.raises(InputError, match="other samples or labels"):
        check(None, x=X[::-1], baseline=baseline)
    with pytest.raises(InputError, match="other samples or labels"):
        check(None, y=Y[::-1], baseline=baseline)
    with pytest.raises(InputError, match="the baseline has accuracy, and none was measured"):
        check(None, y=None, baseline=baseline)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values: values.pop("kind"), "is no baseline"),
        (lambda values: values.update(format=2), r"another version \(found 2, allowed 1\)"),
        (lambda values: values.pop("layers"), "is a damaged baseline"),
        (lambda values: values.update(figures=[1]), "is a damaged baseline"),
        (lambda values: values.update(data=None), "is a damaged baseline"),
        (lambda values: values["figures"].update(speed=1.0), "is a damaged baseline"),
        (lambda values: values["figures"].update(accuracy=float("nan")), "nan is no figure"),
        (lambda values: values["layers"]["hidden"].update(firing_rate="fast"), "firing_rate is 'fast'"),
        (lambda values: values["network"]["layers"].update(hidden=3), "is a damaged baseline"),
        (lambda values: values["data"].update(steps=float("inf")), "is a damaged baseline"),
    ],
)
def test_a_file_that_is_no_baseline(baseline, change, says):
    values = json.loads(baseline.read_text())
    change(values)
    baseline.write_text(json.dumps(values))
    with pytest.raises(DataError, match=says):
        read_baseline(baseline)


def test_a_baseline_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(DataError, match=r"there is no such baseline.*--update-baseline"):
        read_baseline(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(DataError, match="is no baseline that can be read"):
        read_baseline(tmp_path / "bad.json")


def test_files_that_cannot_be_written(tmp_path):
    result = check(ld.Criteria())
    with pytest.raises(OutputError):
        result.write_baseline(tmp_path / "no" / "baseline.json")
    with pytest.raises(OutputError):
        result.write_junit(tmp_path)
    with pytest.raises(InputError, match="Give samples"):
        DEPLOYMENT.check(criteria=ld.Criteria()).write_baseline(tmp_path / "baseline.json")
    assert list(tmp_path.iterdir()) == []


def test_junit(tmp_path):
    result = check(ld.Criteria(min_accuracy=0.95, max_chips=1))
    result.write_junit(tmp_path / "out.xml", 'net "&<\x01>.loihi')
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert first.get("name") == "min_accuracy"
    assert first.find("failure").get("message") == "90.00 %, allowed ≥ 95.00 %"
    assert second.find("failure") is None


def test_results_do_not_depend_on_threads(baseline):
    assert check(ld.Criteria(), threads=2).values() == check(ld.Criteria(), threads=1).values()
