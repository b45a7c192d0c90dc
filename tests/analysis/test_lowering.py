"""Which stages a network goes through, in which order, by its options; and what is said meanwhile."""

import logging

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import lowering
from loihi_deploy.analysis.lowering import lower
from loihi_deploy.errors import InputError
from loihi_deploy.ir import samples_for
from tests.sequences import frames, network

X = samples_for(network(), frames(5, 1)[:, 0])
STAGES = (
    *(
        "with_input_ranges",
        "normalize",
        "scale_firing_rates",
        "balance_thresholds",
        "search_rates",
        "equalize",
    ),
    *("with_leaky_neurons", "function_problems", "rate_problems", "partition", "with_slower_synapses"),
    *("with_initial_voltages", "corrected", "quantize", "mean_rates"),
)


def gone_through(monkeypatch, calibration=X, slow_rate=None, **options):
    """The stages in order, each with its arguments."""
    calls = []

    def watched(name):
        stage = getattr(lowering, name)

        def call(*args, **how):
            calls.append((name, args, how))
            return stage(*args, **how)

        return call

    for name in STAGES:
        monkeypatch.setattr(lowering, name, watched(name))
    options = ld.DeployOptions(**{"normalization": "percentile", **options})
    made = lower(network(), calibration, options, ld.load_board("loihi"), slow_rate)
    return made, calls


RATES = ["with_input_ranges", "normalize"]
CHECKS = ["function_problems", "rate_problems"]


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize(
    ("how", "stages"),
    [
        ({}, [*RATES, *CHECKS, "partition", "corrected", "quantize"]),
        ({"bias_correction_steps": 0}, [*RATES, *CHECKS, "partition", "quantize"]),
        ({"equalize": True}, [*RATES, "equalize", *CHECKS, "partition", "corrected", "quantize"]),
        (
            {"neuron": "lif"},
            [*RATES, "with_leaky_neurons", *CHECKS, "partition", "corrected", "quantize"],
        ),
        ({"slow_rate": 9.0}, [*RATES, *CHECKS, "partition", "with_slower_synapses", "corrected", "quantize"]),
        ({"steps": 20}, [*RATES, *CHECKS, "partition", "with_initial_voltages", "corrected", "quantize"]),
        (
            {"rounding": "mean"},
            [*RATES, *CHECKS, "partition", "corrected", "quantize", "mean_rates", "quantize"],
        ),
        (
            {"normalization": "none"},
            ["with_input_ranges", *CHECKS, "partition", "corrected", "quantize"],
        ),
        (
            {"normalization": "scale_firing_rates"},
            ["with_input_ranges", "scale_firing_rates", *CHECKS, "partition", "corrected", "quantize"],
        ),
        (
            {"normalization": "thresholds"},
            [*RATES, "balance_thresholds", *CHECKS, "partition", "corrected", "quantize"],
        ),
        (
            {"normalization": "search"},
            [*RATES, "search_rates", *CHECKS, "partition", "corrected", "quantize"],
        ),
        ({"calibration": None, "normalization": "none"}, ["partition", "quantize"]),
        (
            {"calibration": None, "normalization": "scale_firing_rates"},
            ["scale_firing_rates", "partition", "quantize"],
        ),
        ({"calibration": None, "normalization": "none", "rounding": "mean"}, ["partition", "quantize"]),
    ],
)
def test_stages_by_options(how, stages, monkeypatch):
    made, calls = gone_through(monkeypatch, **how)
    assert [name for name, *_ in calls] == stages
    assert (made.rates is None) == (made.calibration is None)


@pytest.mark.parametrize(("normalization", "percentile"), [("percentile", 97.0), ("maximum", 100.0)])
def test_stages_are_given_what_the_options_say(normalization, percentile, monkeypatch):
    options = {
        "target_rate": 111.0,
        "percentile": 97.0,
        "encoder": "first_layer",
        "encoder_rate": 222.0,
        "encoder_percentile": 98.0,
        "weight_percentile": 99.0,
        "weight_bits": 6,
        "rounding": "mean",
    }
    _, calls = gone_through(monkeypatch, normalization=normalization, bias_correction_steps=0, **options)
    given = {name: args for name, args, _ in calls}
    assert given["normalize"][2:] == (111.0, percentile, "first_layer", 222.0, 98.0)
    assert given["partition"][1:] == ("first_layer", 222.0)
    (_, first, of_first), (_, last, of_last) = [call for call in calls if call[0] == "quantize"]
    assert first[2:] == (99.0,)
    assert of_first == {"weight_bits": 6}
    assert (last[2], last[4], of_last) == (99.0, 6, {})
    assert set(last[3]) == {"first", "second"}


@pytest.mark.parametrize(("steps", "shown"), [(None, 100), (20, 20)])
def test_rates_are_checked_for_the_time_that_is_deployed_for(steps, shown, monkeypatch):
    _, calls = gone_through(monkeypatch, steps=steps)
    assert next(args[3] for name, args, _ in calls if name == "rate_problems") == shown


def test_firing_rates_need_samples():
    with pytest.raises(InputError, match="without calibration data"):
        lower(network(), None, ld.DeployOptions(normalization="percentile"), ld.load_board("loihi"))


def test_each_stage_is_named_as_it_begins(caplog):
    caplog.set_level(logging.INFO, "loihi_deploy.analysis")
    made = ld.deploy(network(), calibration=X)
    lowered = [record.getMessage() for record in caplog.records if "lowering" in record.name]
    assert lowered == [
        "setting firing rates",
        "checking firing rates",
        "correcting biases on the integer network",
        "quantizing",
    ]
    caplog.clear()
    labels = 2 - made.run(X.given["frame"], 6).outputs.argmax(axis=1)
    made.verify(X.given["frame"], labels, steps=6, reference_samples=0)
    said = [record.getMessage() for record in caplog.records]
    stages = ["spiking network, floats", "rate network, quantized", "integer program"]
    assert said[: len(stages)] == stages
    assert "other settings" in said[len(stages) :]
    caplog.clear()
    ld.deploy(network(), calibration=X, options=ld.DeployOptions(steps=20, target_rate=500.0))
    (lost,) = [text for text in (each.getMessage() for each in caplog.records) if "lost" in text]
    assert lost.startswith("20 steps: ")
    assert lost.endswith(" % lost")


def test_what_a_check_tells_is_a_note_of_the_network():
    x = samples_for(network(), np.zeros((3, 8)))
    with pytest.warns(ld.errors.LoihiDeployWarning, match="never fires"):
        made = lower(network(), x, ld.DeployOptions(normalization="none"), ld.load_board("loihi"))
    assert any("never fires" in note for note in made.graph.notes)
