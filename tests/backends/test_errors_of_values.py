"""Targets that are values: how far outputs are from them, by step and by frame."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
W1, W2 = RNG.normal(size=(40, 3)), RNG.normal(size=(2, 40)) / 40
X = RNG.uniform(0, 1, (12, 5, 3))
EXACT = np.maximum(X @ W1.T, 0) @ W2.T


def deployed(over_frames, size=2, **options):
    graph = Graph(
        (Input("x", (3,)),),
        (Population("hidden", (40,), NeuronModel(), 1.0, np.zeros(40)),),
        (Projection("x", "hidden", Dense(W1)), Projection("hidden", "y", Dense(W2[:size]), 0.003)),
        (Readout("y", (size,), np.zeros(size), over_frames=over_frames),),
    )
    return ld.deploy(graph, calibration=X, options=ld.DeployOptions(**options))


def test_errors_are_those_of_the_outputs():
    deployment = deployed("mean", steps_per_frame=10)
    wanted = EXACT.mean(axis=1)
    found = deployment.evaluate(X, wanted, by_step=True, by_frame=True)
    result = deployment.run(X, by_frame=True)
    difference = result.outputs - wanted
    assert found.errors.rmse == pytest.approx(np.sqrt(np.square(difference).mean()), rel=1e-12)
    relative = np.sqrt(np.square(difference).sum() / np.square(wanted).sum())
    assert found.errors.relative == pytest.approx(relative, rel=1e-12)
    assert 0 < relative < 0.2
    by_frame = np.sqrt(
        np.square(result.by_frame["y"] - wanted[:, None]).sum(axis=(0, 2)) / np.square(wanted).sum()
    )
    np.testing.assert_allclose(found.errors.relative_by_frame, by_frame, rtol=1e-9)
    assert found.errors.relative_by_step[-1] == pytest.approx(relative, rel=1e-9)
    assert found.errors.relative_by_step[5] > 3 * relative
    assert (found.n_total, found.n_correct) == (0, 0)
    assert "relative error" in str(found.page())


def test_targets_of_frames_are_compared_frame_by_frame():
    deployment = deployed("each", steps_per_frame=40)
    found = deployment.evaluate(X, EXACT)
    outputs = deployment.predict(X)
    assert found.errors.relative == pytest.approx(
        np.sqrt(np.square(outputs - EXACT).sum() / np.square(EXACT).sum())
    )
    by_frame = np.sqrt(np.square(outputs - EXACT).sum(axis=(0, 2)) / np.square(EXACT).sum(axis=(0, 2)))
    np.testing.assert_allclose(found.errors.relative_by_frame, by_frame, rtol=1e-9)
    assert found.errors.n_values == EXACT.size


def test_errors_of_parts_add():
    deployment = deployed("mean", steps_per_frame=10)
    wanted = EXACT.mean(axis=1)
    whole = deployment.evaluate(X, wanted, by_step=True)
    parts = deployment.evaluate(X[:5], wanted[:5], by_step=True) + deployment.evaluate(
        X[5:], wanted[5:], by_step=True
    )
    assert parts.errors.rmse == pytest.approx(whole.errors.rmse, rel=1e-12)
    np.testing.assert_allclose(parts.errors.relative_by_step, whole.errors.relative_by_step, rtol=1e-9)


def test_sequences_of_different_length_have_errors():
    deployment = deployed("mean", steps_per_frame=10)
    listed = [x[: 1 + k % 5] for k, x in enumerate(X)]
    wanted = np.array([e[: 1 + k % 5].mean(axis=0) for k, e in enumerate(EXACT)])
    found = deployment.evaluate(listed, wanted)
    difference = deployment.run(listed).outputs - wanted
    assert found.errors.rmse == pytest.approx(np.sqrt(np.square(difference).mean()), rel=1e-12)


def test_still_samples_and_a_single_value():
    deployment = deployed("", size=1)
    wanted = EXACT[:, 0, :1]
    found = deployment.evaluate(X[:, 0], wanted)
    assert found.errors.rmse == pytest.approx(
        np.sqrt(np.square(deployment.run(X[:, 0]).outputs - wanted).mean())
    )


def test_what_is_no_target_is_refused():
    deployment = deployed("mean", steps_per_frame=2)
    wanted = EXACT.mean(axis=1)
    for bad, what in (
        (wanted[:5], "labels do not fit"),
        (np.full_like(wanted, np.nan), "targets are not finite"),
    ):
        with pytest.raises(InputError, match=what):
            deployment.evaluate(X, bad)
    with pytest.raises(InputError, match="labels"):
        deployment.rate_accuracy(X, wanted)
    classes = deployment.evaluate(X, np.eye(2)[np.arange(12) % 2])  # one-hot rows are labels
    assert classes.errors is None
    assert classes.n_total == 12


def test_targets_of_frames_may_be_of_sequences_of_different_length():
    deployment, lengths = deployed("each", steps_per_frame=10), np.array([3, 5, 1] * 4)
    listed, wanted = ([values[:n] for values, n in zip(all_, lengths, strict=True)] for all_ in (X, EXACT))
    found = deployment.evaluate(listed, wanted).errors
    outputs = deployment.predict(listed)
    there = np.arange(5) < lengths[:, None]
    squared, power = (np.square(each).sum(axis=2) * there for each in (outputs - EXACT, EXACT))
    assert found.relative == pytest.approx(np.sqrt(squared.sum() / power.sum()))
    np.testing.assert_allclose(found.relative_by_frame, np.sqrt(squared.sum(axis=0) / power.sum(axis=0)))
    padded = np.where(there[:, :, None], EXACT, np.nan)
    again = deployment.evaluate(ld.Sequences(X, lengths), padded).errors
    assert again.relative == found.relative
    wanted[4] = wanted[4][:2]
    with pytest.raises(InputError, match=r"y\[4\]"):
        deployment.evaluate(listed, wanted)
    assert str(found) == f"RMSE {found.rmse:.4g}, relative error {100 * found.relative:.2f} %"


def test_labels_of_frames_may_be_one_hot():
    deployment = deployed("each", steps_per_frame=40)
    labels = EXACT.argmax(axis=2)
    found = deployment.evaluate(X, labels)
    for one_hot in (np.eye(2)[labels], np.eye(2, dtype=int)[labels], list(np.eye(2)[labels])):
        again = deployment.evaluate(X, one_hot)
        assert (again.n_correct, again.n_total, again.errors) == (found.n_correct, 60, None)
    assert f"that has an answer on: {100 * found.accuracy_by_frame[0]:.2f} % (1), " in str(found.page())
