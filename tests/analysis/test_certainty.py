"""How sure a network is, and what other decisions cost by that."""

import numpy as np

from loihi_deploy.analysis.certainty import expected_losses, odds


def test_a_sigmoid_has_two_classes():
    values, right = np.array([[-2.0], [0.0], [1.0], [3.0]]), np.array([0, 1, 1, 1])
    chances = odds(values, right, np.arange(4))
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (chances.argmax(axis=1)[[0, 2, 3]] == [0, 1, 1]).all()
    assert chances[1].tolist() == [0.5, 0.5]


def test_a_network_is_as_sure_as_it_is_right():
    """One that says the same of every sample, and is right in three of four."""
    values = np.tile([5.0, 0.0], (400, 1))
    chances = odds(values, np.repeat([0, 0, 0, 1], 100), np.arange(400))
    assert np.abs(chances[:, 0] - 0.75).max() < 0.05
    unknown = odds(values, np.repeat([0, 1], 200), np.arange(200))  # the others are not looked at
    assert unknown[0, 0] > 0.999


def test_a_decision_costs_what_the_likeliest_is_above_it():
    rows = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
    np.testing.assert_allclose(expected_losses(rows, np.array([1, 1, 1])), [0.2, 0.0, 0.0])
    np.testing.assert_allclose(expected_losses(rows, np.array([0, 0, 0])), [0.0, 0.0, 0.8])
