"""Firing rates while a model is trained."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import FiringRates, folded, with_chip_neurons
from tests.training.small import task, trained

X, Y = task()


@pytest.mark.parametrize("version", [2, 3])
def test_lines_history_and_picture(version, capsys):
    pytest.importorskip("matplotlib")
    k = import_keras(version)
    model = with_chip_neurons(folded(trained(version, epochs=2)), X[:200], levels=0)
    rates = FiringRates(model, X[:200], low=100.0, high=900.0)
    model.compile(k.optimizers.Adam(1e-3), k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[rates.callback()])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("relu1: ")
    assert lines[0].endswith("Hz, in range")
    assert {name: len(found) for name, found in rates.history.items()} == {"relu1": 2, "conv2": 2}
    assert rates.measure()["conv2"] == pytest.approx(rates.history["conv2"][-1])
    axes = rates.plot().axes[0]
    assert [line.get_ydata()[0] for line in axes.lines[-2:]] == [100.0, 900.0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), rates.history["relu1"])


def test_rates_are_those_on_chip():
    model = with_chip_neurons(folded(trained(epochs=2)), X[:200], levels=0)
    found = FiringRates(model, X[:50], percentile=90.0).measure()
    deployment = ld.deploy(model, "loihi", X[:200], ld.DeployOptions(steps=200, bias_correction_steps=0))
    spikes = deployment.run(X[:50], 200, record=["relu1"]).recorded["relu1"]["spikes"]
    rates = 1000 * spikes.mean(axis=1)
    assert found["relu1"] == pytest.approx(np.percentile(rates[rates > 0], 90.0), rel=0.15)


def test_out_of_range_is_said():
    rates = FiringRates(trained(epochs=1), X[:50], low=1e4, high=2e4)
    assert all(line.endswith("too low") for line in rates.lines())
