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


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_it_is_as_sure_as_by_the_best_of_forty_factors_from_a_hundredth_to_ten():
    rng = np.random.default_rng(0)
    factors = 0.01 * 1000 ** (np.arange(40) / 39)
    values, right = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    decided = values.argmax(axis=1)
    least = np.where(values == values.min(axis=1, keepdims=True))[1]
    np.testing.assert_allclose(odds(values, decided, np.arange(50)), softmax(10 * values))
    np.testing.assert_allclose(odds(values, least, np.arange(50)), softmax(0.01 * values))
    for scale in (0.2, 1.0, 5.0):
        values = scale * rng.normal(size=(50, 3))
        right = np.where(rng.random(50) < 0.8, values.argmax(axis=1), right)
        known = np.arange(0, 50, 2)
        each = [np.log(softmax(factor * values)[known, right[known]]).mean() for factor in factors]
        best = factors[int(np.argmax(each))]
        np.testing.assert_allclose(odds(values, right, known), softmax(best * values))
