"""What a call is given, checked together: which labels are classes and which are values, and what run is asked for."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import asking
from loihi_deploy.analysis.asking import _targets, asked
from loihi_deploy.backends import RunOptions, request_problems
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Readout, samples_for
from tests.sequences import frames, network

RNG = np.random.default_rng(0)
STILL, MOVING = (samples_for(network(), x) for x in (frames(4, 1)[:, 0], frames(4, 3)))
IMAGE, SINGLE = Readout("y", (2, 2), np.zeros(4)), Readout("y", (1,), np.zeros(1))
YES_OR_NO = Readout("y", (1,), np.zeros(1), "sigmoid")


def parts(over_frames="each", **options):
    made = ld.deploy(
        network(over_frames),
        calibration=frames(4, 3),
        options=ld.DeployOptions(bias_correction_steps=0, **options),
    )
    return made.graph, made.program, made.mapping, made.options


EACH, MEAN = parts("each"), parts("mean")


@pytest.mark.parametrize(
    ("readout", "samples", "of_samples", "of_frames", "neither"),
    [
        (IMAGE, STILL, [(4, 2, 2), (4, 4)], [], [(4,), (4, 2), (3, 4), (4, 3, 4), (4, 1)]),
        (IMAGE, MOVING, [(4, 2, 2), (4, 4)], [(4, 3, 4), (4, 3, 2, 2)], [(4,), (4, 3), (4, 2, 4)]),
        (SINGLE, STILL, [(4,), (4, 1)], [], [(4, 2), (4, 3), (3,), ()]),
        (SINGLE, MOVING, [(4,), (4, 1)], [(4, 3), (4, 3, 1)], [(4, 2), (3,), (4, 1, 3)]),
    ],
)
def test_values_are_those_of_samples_or_of_frames_by_their_shape(
    readout, samples, of_samples, of_frames, neither
):
    for shapes, of in ((of_samples, (4,)), (of_frames, (4, 3))):
        for shape in shapes:
            y = RNG.normal(size=shape)
            found = _targets(readout, samples, y, 4, whole=False)
            np.testing.assert_array_equal(found, y.reshape(*of, readout.size))
    for shape in neither:
        assert _targets(readout, samples, RNG.normal(size=shape), 4, whole=False) is None


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_whole_numbers_are_values_of_an_output_that_decides_nothing_and_only_where_no_labels_are_wanted(kind):
    y = np.array([0, 1, 1, 0]).astype(kind)
    np.testing.assert_array_equal(_targets(SINGLE, STILL, y, 4, whole=True), [[0], [1], [1], [0]])
    assert _targets(SINGLE, STILL, y, 4, whole=False) is None
    assert _targets(YES_OR_NO, STILL, y, 4, whole=True) is None
    assert _targets(IMAGE, STILL, np.eye(4).astype(kind), 4, whole=True) is None


def test_rows_of_zeros_and_ones_are_classes_where_there_are_any():
    assert _targets(IMAGE, STILL, np.eye(4), 4, whole=False) is None
    assert _targets(IMAGE, STILL, 2 * np.eye(4), 4, whole=False) is not None
    assert _targets(IMAGE, STILL, np.eye(4).reshape(4, 2, 2), 4, whole=False) is not None
    np.testing.assert_array_equal(_targets(SINGLE, STILL, np.eye(4)[:, :1], 4, whole=False), np.eye(4)[:, :1])


@pytest.mark.parametrize("y", ["abcd", np.ma.masked_less(np.arange(4.0), 2), [[1.0], [2.0, 3.0]], 4.0, None])
def test_what_is_no_array_is_no_values(y):
    assert _targets(SINGLE, STILL, y, 4, whole=True) is None


def test_values_that_are_not_finite_are_counted():
    with pytest.raises(InputError, match="2 NaN or infinite values"):
        _targets(SINGLE, STILL, [1.0, np.nan, np.inf, 2.0], 4, whole=False)


def test_labels_are_asked_for_where_they_are_needed_or_given():
    x = frames(4, 3)
    assert asked("no", MEAN, x).labels is None
    assert asked("no", MEAN, x).problems == ()
    assert asked("no", MEAN, x, labelled=True).problems != ()
    given = asked("no", MEAN, x, [0, 1, 2, 0])
    assert given.labels.tolist() == given.classes.tolist() == [0, 1, 2, 0]
    assert [p.what for p in asked("no", MEAN, x, np.ones((4, 3)) / 2).problems] != []
    assert asked("no", MEAN, x, np.ones((4, 3)) / 2, values=True).labels.shape == (4, 3)
    with pytest.raises(InputError, match=r"^no. y: labels out of range"):
        _ = asked("no", MEAN, x, [0, 1, 3, 0]).samples


def test_a_label_for_every_frame_only_where_every_frame_is_answered():
    x, y = frames(4, 3), np.arange(12).reshape(4, 3) % 3
    np.testing.assert_array_equal(asked("no", EACH, x, y).labels, y)
    assert asked("no", MEAN, x, y).problems != ()
    assert asked("no", EACH, x, y[:, 0]).labels.shape == (4,)
    assert asked("no", EACH, x[:, 0], y).problems != ()
    padded = ld.Sequences(x, lengths=[3, 2, 1, 3])
    assert asked("no", EACH, padded, y).labels.tolist() == [[0, 1, 2], [0, 1, -1], [0, -1, -1], [0, 1, 2]]


def test_samples_are_read_in_parts_where_that_is_asked_for():
    whole, part = (asked("no", MEAN, frames(4, 3), in_parts=in_parts) for in_parts in (False, True))
    assert whole.source is None
    assert len(whole.samples) == len(part.source) == 4
    assert part.given is not None


@pytest.mark.parametrize(
    ("deployed", "labels", "by_frame"),
    [
        (EACH, None, True),
        (EACH, np.zeros(4, int), False),
        (EACH, np.zeros((4, 3), int), True),
        (MEAN, None, False),
        (MEAN, np.zeros(4, int), False),
    ],
)
def test_every_frame_is_answered_where_the_source_does_and_labels_say_nothing_else(
    deployed, labels, by_frame
):
    options = asked("no", deployed, frames(4, 3), labels).run_options()
    assert options.by_frame is by_frame
    assert options.steps == RunOptions().total_steps(3)


def test_a_run_is_that_of_the_deployment_where_nothing_is_said():
    x = frames(4, 3)
    given = asked("no", parts("mean", steps_per_frame=7, flush=5), x)
    assert (given.run_options().steps, given.run_options().flush) == (21, 5)
    assert given.run_options(steps=30).steps == 30
    of_frame = given.run_options(steps_per_frame=4)
    assert (of_frame.steps, of_frame.steps_per_frame) == (None, 4)
    assert given.run_options(flush=1).flush == 1
    assert given.run_options().readout_window == 1.0


def test_what_is_wrong_with_a_run_stands_beside_the_rest_and_once():
    x = frames(4, 3)
    (of_steps,) = request_problems(MEAN[1], samples_for(MEAN[0], x), RunOptions(0))
    other = Problem("wrong", "elsewhere")
    with pytest.raises(InputError) as error:
        asked("no", MEAN, x, problems=[other]).run_options(steps=0)
    assert list(error.value.problems) == [other, of_steps]
    with pytest.raises(InputError) as error:
        asked("no", MEAN, x, problems=[of_steps, other]).run_options(steps=0)
    assert list(error.value.problems) == [of_steps, other]
    assert asked("no", MEAN, x).run_options(steps=0).steps == 0  # told of where it is run


def test_frames_in_front_of_the_first_answer_have_no_labels_and_no_values():
    """Of three frames the last two are answered; of a sequence of two, the last one."""
    late = Readout("y", (2,), np.zeros(2), over_frames="each", first_frame=1)
    y = RNG.normal(size=(4, 2, 2))
    np.testing.assert_array_equal(_targets(late, MOVING, y, 4, whole=False), y)
    assert _targets(late, MOVING, RNG.normal(size=(4, 3, 2)), 4, whole=False) is None
    graph, *others = EACH
    first = replace(graph.readouts[0], first_frame=1)
    made = (replace(graph, readouts=(first,)), *others)
    padded = ld.Sequences(frames(4, 3), lengths=[3, 2, 3, 3])
    labels = [[0, 1], [2, -1], [1, 1], [0, 2]]
    assert asked("no", made, padded, labels).labels.tolist() == labels
    assert asked("no", made, frames(4, 3), np.zeros((4, 2), int)).labels.shape == (4, 2)
    assert asked("no", made, frames(4, 3), np.zeros((4, 3), int)).problems != ()


def test_rows_of_different_length_are_no_values_of_a_single_sample():
    assert (
        _targets(SINGLE, samples_for(network(), frames(1, 1)[:, 0]), [[1.0], [2.0, 3.0]], 1, whole=False)
        is None
    )


@pytest.mark.parametrize(
    ("in_parts", "lies_in_parts", "parted"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_samples_are_read_in_parts_where_they_lie_so_unless_it_is_said(
    in_parts, lies_in_parts, parted, monkeypatch
):
    monkeypatch.setattr(asking, "is_read_in_parts", lambda x: lies_in_parts)
    found = asked("no", MEAN, frames(4, 3), [0, 1, 2, 0], in_parts=in_parts)
    assert (found.source is not None) == parted
    assert found.labels.tolist() == [0, 1, 2, 0]
