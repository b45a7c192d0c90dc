"""Answers from traces: every window and frame against a loop that sums them one by one."""

import numpy as np
import pytest

from loihi_deploy.engines.host import readout
from loihi_deploy.ir import Graph, Readout


def graph(first_frame=0, activation="linear"):
    """Two readouts, of 3 and of 2 values."""
    return Graph(
        (),
        (),
        (),
        (
            Readout("y", (3,), np.array([0.5, -0.25, 0.0]), activation, first_frame=first_frame),
            Readout("z", (2,), np.array([4.0, 8.0]), first_frame=first_frame),
        ),
    )


@pytest.mark.parametrize(
    ("steps", "window", "hold", "first_frame", "width"),
    [
        (10, 0.5, 1, 0, 5),
        (10, 1.0, 1, 0, 10),
        (10, 0.0, 1, 0, 1),
        (10, 0.04, 1, 0, 1),
        (7, 0.5, 1, 0, 4),  # 3.5, to the even one
        (5, 0.5, 1, 0, 2),  # 2.5
        (12, None, 4, 0, 4),
        (12, None, 4, 2, 4),
        (12, 1.0, 4, 1, 8),
        (12, 1.0, 4, 2, 4),
        (12, 0.25, 4, 2, 3),
        (1, 0.1, 1, 0, 1),
    ],
)
def test_steps_of_a_window(steps, window, hold, first_frame, width):
    assert readout.window_steps(steps, window, hold, first_frame) == width


def test_a_window_is_one_step_where_nothing_is_said():
    assert readout.window_steps(10, None) == 1
    assert readout.window_steps(10, 1.0) == 10


TRACE = np.random.default_rng(0).normal(size=(4, 12, 5))
BIAS = {"y": [0.5, -0.25, 0.0], "z": [4.0, 8.0]}
COLUMNS = {"y": [0, 1, 2], "z": [3, 4]}


def mean(name, first, end, sample):
    """Of the steps from `first` up to `end`, with the bias."""
    return [
        sum(TRACE[sample, t, column] for t in range(first, end)) / (end - first) + bias
        for column, bias in zip(COLUMNS[name], BIAS[name], strict=True)
    ]


@pytest.mark.parametrize("width", [1, 5, 12])
def test_answers_are_means_of_the_last_steps(width):
    found = readout.answers(graph(), TRACE, width)
    for name in ("y", "z"):
        expected = [mean(name, 12 - width, 12, sample) for sample in range(4)]
        np.testing.assert_allclose(found[name], expected)
    np.testing.assert_allclose(readout.means_of_last(graph(), TRACE, width), found["y"])
    assert readout.decisions(graph(), TRACE, width).tolist() == found["y"].argmax(axis=1).tolist()
    tanh = graph(activation="tanh")
    np.testing.assert_allclose(readout.answers(tanh, TRACE, width)["y"], np.tanh(found["y"]))
    np.testing.assert_allclose(readout.means_of_last(tanh, TRACE, width), found["y"])


@pytest.mark.parametrize("window", [None, 0.3, 1.0])
@pytest.mark.parametrize(("hold", "flush"), [(1, 0), (4, 0), (3, 3), (4, 4), (5, 2)])
@pytest.mark.parametrize("first_frame", [0, 1])
def test_had_the_presentation_ended_after_each_step(window, hold, flush, first_frame):
    """A window lies within the steps that were there, and counts those of the frames alone, without what is flushed."""
    given = graph(first_frame)
    expected = []
    for end in range(1, 13):
        width = readout.window_steps(max(end - flush, 1), window, hold, first_frame)
        width = min(width, end)
        expected.append([mean("y", end - width, end, sample) for sample in range(4)])
    found = readout.values_by_step(given, TRACE, window, hold, flush)
    np.testing.assert_allclose(found, np.swapaxes(expected, 0, 1))
    classes = readout.decisions_by_step(given, TRACE, window, hold, flush)
    assert classes.tolist() == found.argmax(axis=2).tolist()


@pytest.mark.parametrize("window", [None, 0.3, 1.0])
@pytest.mark.parametrize(("hold", "flush"), [(1, 0), (4, 0), (3, 3), (4, 4), (2, 4), (5, 2)])
@pytest.mark.parametrize("first_frame", [0, 1])
def test_had_the_sequence_ended_after_each_frame(window, hold, flush, first_frame):
    n_frames = (12 - flush) // hold
    found = readout.values_by_frame(graph(first_frame), TRACE, window, hold, flush)
    for name in ("y", "z"):
        expected = []
        for frame in range(first_frame, n_frames):
            end = (frame + 1) * hold
            width = readout.window_steps(end, window, hold, first_frame)
            expected.append([mean(name, end + flush - width, end + flush, sample) for sample in range(4)])
        assert found[name].shape == (4, n_frames - first_frame, len(COLUMNS[name]))
        np.testing.assert_allclose(found[name], np.swapaxes(expected, 0, 1))
