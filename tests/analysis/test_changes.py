"""What verification tries, what is said of it, and what is told of layers: both sides of every bound."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.remedies import (
    Deployed,
    Trial,
    _changes,
    _other_options,
    advice,
    overflow_advice,
    trials,
)
from loihi_deploy.analysis.resets import resets
from loihi_deploy.analysis.verify import (
    INTEGER,
    RATE,
    SOURCE,
    LayerAgreement,
    Stage,
    Verification,
    layer_agreements,
    remedies,
    worst_layer,
)
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem
from loihi_deploy.ir import samples_for
from loihi_deploy.stages.normalize import scale_firing_rates
from tests.analysis.test_frames import BIAS
from tests.sequences import frames, network

SHORT = {"second": 0.001, "classes": 0.001}


def tried(source=None, **options):
    """What is tried, by its text; each text is what is changed."""
    options = ld.DeployOptions(**options)
    found = dict(_other_options(options, source or network()))
    for text, changed in found.items():
        given = eval(f"dict({text})")  # our own text
        for name, value in given.items():
            if name == "layer_synapses":
                value = {**options.layer_synapses, **value}
            given[name] = type(getattr(options, name))(value)
        if "target_rate" in given:  # of which six digits are told
            assert changed.target_rate == pytest.approx(given.pop("target_rate"), rel=1e-6)
            given["target_rate"] = changed.target_rate
        assert changed == replace(options, **given)
    return list(found)


def test_everything_that_is_tried():
    others = ["equalize=True", "rounding='mean'", "weight_percentile=99.9"]
    others = [f"layer_synapses={dict(sorted(SHORT.items()))}", *others]
    rates = ["target_rate=350", "target_rate=175", "target_rate=980", "normalization='none'"]
    assert tried() == [*rates, *others]
    assert tried(layer_synapses={"first": 0.002}) == [*rates, *others]
    for normalization in ("none", "scale_firing_rates"):
        assert tried(normalization=normalization) == ["normalization='percentile'", *others]


@pytest.mark.parametrize(("target", "rates"), [(2000.0, [1000, 500]), (2001.0, [500.25])])
def test_no_rate_is_tried_beyond_a_spike_in_each_step(target, rates):
    assert tried(target_rate=target)[: len(rates) + 1] == [
        *(f"target_rate={rate:g}" for rate in rates),
        "normalization='none'",
    ]


@pytest.mark.parametrize(
    ("percentile", "other"), [(100.0, [99.9]), (99.95, [99.9]), (99.9, [100]), (95.0, [100])]
)
def test_weights_are_clipped_or_not(percentile, other):
    found = [text for text in tried(weight_percentile=percentile) if "weight_percentile" in text]
    assert found == [f"weight_percentile={value:g}" for value in other]


def test_what_is_there_is_not_tried():
    there = tried(equalize=True, rounding="mean", bias_correction_steps=0)
    assert "equalize=True" not in there
    assert "rounding='mean'" not in there
    assert there[-1] == "bias_correction_steps=100"
    assert "bias_correction_steps=100" not in tried(bias_correction_steps=1)


def test_only_longer_synapses_of_neurons_are_shortened():
    source = network()
    for tau, slow in ((0.001, []), (0.0011, ["classes", "second"])):
        with_taus = replace(
            source,
            projections=tuple(replace(p, tau=tau if p.pre != "frame" else 0.1) for p in source.projections),
        )
        texts = [text for text in tried(with_taus) if "synapses" in text]
        assert texts == ([f"layer_synapses={dict.fromkeys(slow, 0.001)}"] if slow else [])


def deployed(scale=1.0, n_frames=1):
    source = network("mean")
    graph = scale_firing_rates(source, scale)
    samples = samples_for(source, frames(5, n_frames))
    program = ld.quantize(ld.partition(graph))
    return Deployed.of(graph, source, program, ld.DeployOptions(), ld.load_board("loihi"), samples, 30)


def test_a_network_that_kept_its_gains_was_not_normalized():
    assert deployed(1.0).options == ld.DeployOptions(normalization="none")
    assert deployed(50.0).options == ld.DeployOptions()
    assert deployed(1.0, 3).decisions.shape == (5,)


def test_longer_presentations_are_tried_first():
    texts = [text for text, _ in _changes(deployed(50.0))]
    assert texts[:2] == ["present samples for 60 steps", "present samples for 120 steps"]
    assert texts[2:] == [f"deploy it with {text}" for text in tried()]


@pytest.mark.parametrize(("best", "worth"), [(0.625, True), (0.624, False)])
def test_a_quarter_of_what_is_lost_must_be_given_back(best, worth):
    found = advice("it", 0.5, 0.5, [Trial("a", 0.5), Trial("b", best)])
    assert found.startswith("it loses most, 50.0 % of decisions")
    assert (": b, which leaves 37.5 % lost" in found) == worth
    assert ("a quarter of them back: a; b" in found) != worth


def test_what_the_chip_cannot_take_is_no_advice_and_a_trial_warns_nobody(monkeypatch):
    def warns():
        warnings.warn(LoihiDeployWarning(Problem("of a trial", "nowhere")), stacklevel=1)
        return 0.5

    def fails():
        raise InputError.single("does not fit", "nowhere")

    monkeypatch.setattr(
        "loihi_deploy.analysis.remedies._changes",
        lambda made: [("a", warns), ("b", fails), ("c", lambda: 0.75)],
    )
    assert list(trials(deployed())) == [Trial("a", 0.5), Trial("c", 0.75)]


def test_nothing_to_try_helps_nothing():
    assert advice("it", 0.1, 0.9, []).endswith("gives a quarter of them back: ")


def stages(agreement, layer):
    names = (SOURCE, RATE, INTEGER)
    return [Stage(n, None, agreement if n == INTEGER else 1.0, 100, (layer,)) for n in names]


@pytest.mark.parametrize(
    ("layer", "zeroed", "said"),
    [
        (LayerAgreement("b", 0.9, 0.5, 0.1, 0.01), {"b": 0.5}, ""),
        (LayerAgreement("b", 0.9, 0.5, 0.11, 0.5), {"b": 0.6}, ", 11 % of neurons silent"),
        (LayerAgreement("b", 0.9, 0.5, 0.1, 0.011), {"b": 0.6}, ", 1.1 % of neurons saturated"),
        (LayerAgreement("b", 0.9, 0.5, 0.1, 0.01), {"b": 0.51}, ", 51 % of its weights are 0"),
        (LayerAgreement("b", 0.9, 0.5, 0.1, 0.01), {"a": 0.51}, ""),
    ],
)
def test_what_is_wrong_with_a_layer(layer, zeroed, said):
    found = worst_layer(stages(0.9, layer), zeroed)
    assert found.startswith(f"b: relative error of firing rates 50 %{said}")
    assert said or found.endswith("50 %")


@pytest.mark.parametrize(("agreement", "lines"), [(0.996, 0), (0.994, 2)])
def test_advice_is_given_from_half_a_percent_on(agreement, lines):
    given = stages(agreement, LayerAgreement("b", 0.9, 0.5, 0.0, 0.0))
    assert len(list(remedies(given, {}, 0, lambda: [Trial("a", 1.0)]))) == lines
    assert list(remedies(given, {}, 0, None)) == []


def test_only_populations_that_wrapped_are_named():
    assert [text.partition(":")[0] for text in overflow_advice({"a": 0, "b": 1, "c": 7})] == ["b", "c"]


def test_agreement_counts_what_should_fire_and_what_fires_in_nine_steps_of_ten():
    ideal = {"a": np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])}
    found = {"a": np.array([[0.0, 0.0, 900.0], [0.0, 0.0, 899.0]])}
    (layer,) = layer_agreements(ideal, found, 0.001)
    assert (layer.name, layer.silent, layer.saturated) == ("a", 1 / 2, 1 / 6)
    error = np.sqrt((9 + 896**2 + 899**2) / 25)
    assert layer.relative_error == pytest.approx(error)
    assert layer.correlation == pytest.approx(np.corrcoef(ideal["a"].ravel(), found["a"].ravel())[0, 1])
    (other,) = layer_agreements({"a": np.zeros((1, 2))}, {"a": np.array([[0.0, 5.0]])}, 0.001)
    assert (other.relative_error, other.correlation) == (np.inf, 0)
    (same,) = layer_agreements({"a": np.ones((1, 2))}, {"a": np.ones((1, 2))}, 0.001)
    assert (same.relative_error, same.correlation) == (0, 1)


def test_layers_stand_together_stage_by_stage_and_what_wrapped_is_a_warning():
    a, b = LayerAgreement("a", 1.0, 0.25, 0.5, 0.125), LayerAgreement("b", 0.5, 0.0, 0.0, 0.0)
    names = (SOURCE, RATE, INTEGER)
    made = [Stage(n, None, 1.0, 4, () if n == SOURCE else (a, b)) for n in names]
    text = Verification(tuple(made), {}, {}, {"a": 1234, "b": 0}, (), ("do this",)).page().as_text(200)
    rows = [line.split() for line in text.splitlines() if INTEGER in line]
    assert [row[0] for row in rows if row[0] in "ab"] == ["a", "b"]
    assert [row[-7:] for row in rows if row[0] == "a"] == [
        ["1.0000", "25.00", "%", "50.00", "%", "12.50", "%"]
    ]
    assert not [line for line in text.splitlines() if line.startswith("a ") and RATE in line]
    assert "a: 1,234 accumulators wrapped around" in text
    assert "b: 0" not in text
    assert "do this" in text


class Found:
    """An evaluation of ten decisions."""

    n_total = 10

    def __init__(self, n_correct):
        self.n_correct = n_correct


def test_each_way_to_the_next_sample_is_evaluated_with_what_asks_for_it():
    asked = []

    def evaluate(**arguments):
        asked.append(arguments)
        return Found(8 - arguments.get("gap", 0) // 5)

    found = resets(evaluate, [5, 20])
    assert asked == [{"reset": True}, {"reset": "gap", "gap": 5}, {"reset": "gap", "gap": 20}]
    assert [way["accuracy"] for way in found.values()] == [0.8, 0.7, 0.4]
    assert [way["n_correct"] for way in found.values()] == [8, 7, 4]
    text = str(found)
    for said in ("80.00 %", "+0.00", "70.00 %", "-10.00", "-40.00", "a gap of 20 steps", "10 decisions"):
        assert said in text


def test_changes_are_tried_on_a_hundred_samples(monkeypatch):
    tried = []

    def kept(made, client):
        tried.append((len(made.samples), len(made.decisions), made.steps, client))
        return [Trial("do this", 1.0)]

    monkeypatch.setattr("loihi_deploy.analysis.verify.trials", kept)
    x = frames(110, 1)[:, 0]
    source = network("mean", bias=BIAS)
    made = ld.deploy(source, calibration=x, options=ld.DeployOptions(bias_correction_steps=0))
    found = made.verify(x, steps=3, reference_samples=0)
    assert tried == [(100, 100, 3, None)]
    assert "do this, which leaves 0.0 % lost" in found.remedies[0]


def test_trials_are_shared_by_the_workers_of_a_cluster_in_order(monkeypatch):
    def fails():
        raise InputError.single("does not fit", "nowhere")

    changes = [("a", lambda: 0.5), ("b", fails), ("c", lambda: 0.75)]
    monkeypatch.setattr("loihi_deploy.analysis.remedies._changes", lambda made: changes)
    given = []

    def results(client, function, calls):
        calls = list(calls)
        given.append((client, calls))
        return iter([function(*call) for call in calls])

    monkeypatch.setattr("loihi_deploy.backends.cluster.results", results)
    assert list(trials(deployed(), "a client")) == [Trial("a", 0.5), Trial("c", 0.75)]
    assert given == [("a client", [(0,), (1,), (2,)])]
