"""Functions that train take the wrong type, the wrong range and an extreme for each argument, as all others do."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import training
from loihi_deploy.errors import InputError
from loihi_deploy.frontends.compat import import_keras
from tests.test_odd_arguments import GRAPH, ODD, PROGRAM, outcome

pytest.importorskip("tensorflow")
X = np.random.default_rng(0).uniform(0, 1, (5, 4, 4, 1)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1])


@pytest.fixture(scope="module")
def model():
    layers = import_keras(2).layers
    inputs = layers.Input((4, 4, 1))
    hidden = layers.Conv2D(2, 1, activation="relu", bias_initializer="ones")(inputs)
    hidden = layers.Dense(6, "relu", bias_initializer="ones")(layers.Flatten()(hidden))
    return import_keras(2).Model(inputs, layers.Dense(3)(hidden))


CALLS = {
    "event_costs": {"graph": GRAPH, "weight": 0.1},
    "energy_costs": {"graph": GRAPH, "weight": 0.1, "coefficients": "sanafe2025"},
    "moved_images": {"pixels": 1, "mirrored": False},
    "RateRange": {"low": 1.0, "high": 2.0, "percentile": 99.9, "weight": 1.0, "hertz": 1.0},
    "EventPenalty": {"cost": 1.0, "steps": 3, "scale": 1.0},
    "SurrogateChip": {"program": PROGRAM, "steps": 3, "readout_window": 0.5, "slope": 0.5, "flush": 0},
    "with_recurrence": {"graph": GRAPH, "name": GRAPH.populations[-1].name, "strength": 0.1, "seed": 0},
}
OF_MODELS = {
    "folded": {},
    "with_chip_layers": {},
    "with_chip_neurons": {"x": X, "encoder": "auto", "levels": 32, "percentile": 99.9, "largest": 1.5},
    "with_encoder": {"filters": 2, "signed": False, "seed": 0},
    "QuantizedWeights": {"bits": 8, "encoder": "auto", "board": "loihi"},
    "FiringRates": {"x": X, "low": 0.0, "high": 9.0, "percentile": 99.9, "hertz": 1.0, "encoder": "auto"},
    "retrain": {
        "x": X,
        "y": Y,
        "validation": 0.4,
        "teacher": None,
        "epochs": 1,
        "batch_size": 3,
        "learning_rate": 1e-3,
        "temperature": 2.0,
        "label_smoothing": 0.0,
        "patience": None,
        "weights": None,
        "penalties": None,
        "checkpoint": None,
        "seed": 0,
        "progress": False,
    },
}
EVERY = 6
"""Of the odd values those that functions of models take, some of which build or train one."""


def raw(name, right, odd):
    call = getattr(training, name)
    assert outcome(call, right) is None
    return {
        f"{argument}={value!r}": found
        for k, argument in enumerate(right)
        for value in odd(k)
        if (found := outcome(call, {**right, argument: value})) is not None
    }


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert raw(name, CALLS[name], lambda k: ODD) == {}


def test_odd_arguments_of_learning_through_spikes():
    chip = training.SurrogateChip(PROGRAM, 3)
    right = {"x": X, "y": Y, "epochs": 1, "batch_size": 3, "learning_rate": 0.3, "seed": 0}
    for argument in right:
        found = [outcome(chip.fit, {**right, argument: value}) for value in ODD]
        assert found == [None] * len(ODD), argument
    with pytest.raises(InputError, match=r"fit cannot use its arguments.*batch_size"):
        chip.fit(X, Y, batch_size=0)


@pytest.mark.parametrize("name", OF_MODELS)
def test_odd_arguments_of_what_takes_a_model(name, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert raw(name, {"model": model, **OF_MODELS[name]}, lambda k: ODD[k % EVERY :: EVERY]) == {}


def test_what_is_no_model_or_no_samples_is_said(model):
    with pytest.raises(InputError, match=r"not a model to train \(found int, allowed a Keras model"):
        training.folded(3)
    with pytest.raises(InputError, match=r"samples do not fit \(found \(5, 16\), allowed \(n, 4, 4, 1\)\)"):
        training.retrain(model, X.reshape(5, 16), Y)
    with pytest.raises(InputError, match="samples are not finite"):
        training.retrain(model, np.full_like(X, np.nan), Y)
    layers = import_keras(2).layers
    teacher = import_keras(2).Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(InputError, match="another number of outputs"):
        training.retrain(model, X, Y, teacher=teacher)
    with pytest.raises(InputError, match="RateRange cannot use its arguments"):
        training.RateRange("1", 2.0)
    with pytest.raises(ld.errors.OutputError):
        training.retrain(model, X, Y, checkpoint="")
