"""Frames one by one: what a run of the whole gives, in memory that does not grow."""

import os
import resource

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from tests.sequences import frames, network


def deployed(over_frames, per_frame, encoder="on_off", recurrent=False, **options):
    if recurrent:
        options = {"normalization": "scale_firing_rates", "scale_firing_rates": 200.0, **options}
    options = ld.DeployOptions(steps_per_frame=per_frame, encoder=encoder, **options)
    return ld.deploy(network(over_frames, recurrent), calibration=frames(20, 6), options=options)


@pytest.mark.parametrize(
    ("encoder", "recurrent"), [("on_off", True), ("bias", False), ("poisson", False), ("first_layer", False)]
)
@pytest.mark.parametrize(("over_frames", "per_frame"), [("mean", 1), ("last", 3), ("each", 20)])
def test_answers_are_those_of_a_run_of_the_whole(over_frames, per_frame, encoder, recurrent):
    deployment = deployed(over_frames, per_frame, encoder, recurrent)
    x = frames(1, 30)
    whole = deployment.run(x, by_frame=True).by_frame["classes"][0]
    late = []
    with deployment.stream() as stream:
        for _ in range(2):  # the second time after a reset
            answers = [stream.step(frame) for frame in x[0]]
            for number, answer in enumerate(answers):
                if answer.frame is None:
                    continue
                assert (answer.outputs == whole[answer.frame]).all()
                assert answer.decision == whole[answer.frame].argmax()
                assert answer.late == (number - answer.frame) * per_frame
                late.append(answer.late)
            last = stream.finish()
            assert last.frame == 29
            assert (last.outputs == whole[-1]).all()
            with pytest.raises(InputError, match=r"behind the end.*reset\(\)"):
                stream.step(x[0, 0])
            stream.reset()
        assert stream.real_time_factor > 0
    flush = len(deployment.run(x, record=["second"]).recorded["second"]["spikes"][0]) - 30 * per_frame
    assert set(late) == {-(-flush // per_frame) * per_frame}  # no sooner than it can be known, and no later


def test_samples_that_stand_still_are_read_as_a_run_without_resets_reads_them():
    deployment = ld.deploy(network(), calibration=frames(20, 1)[:, 0])
    x = frames(1, 7)[0]
    whole = deployment.run(x, 40, reset=False).outputs
    with deployment.stream(40) as stream:
        answers = [stream.step(frame) for frame in x]
    assert [answer.frame for answer in answers] == list(range(7))
    assert (np.array([answer.outputs for answer in answers]) == whole).all()


def test_what_does_not_fit_a_stream_is_refused():
    deployment = deployed("mean", 2)
    with deployment.stream() as stream:
        with pytest.raises(InputError, match="no frame was presented"):
            stream.finish()
        for frame, what in (
            (np.zeros(7), "wrong shape"),
            (np.full(8, np.nan), "not finite"),
            (np.zeros((2, 8)), "not a single frame"),
        ):
            with pytest.raises(InputError, match=what):
                stream.step(frame)
        stream.step(np.zeros(8))
        stream.step({"frame": np.zeros(8)})
    for arguments in (
        {"steps_per_frame": -1},
        {"steps_per_frame": 1.5},
        {"seed": -1},
        {"on_overflow": "never"},
    ):
        with pytest.raises(InputError, match=next(iter(arguments))):
            deployment.stream(**arguments)
    still = ld.deploy(
        network(),
        calibration=frames(20, 1)[:, 0],
        options=ld.DeployOptions(encoder="ttfs", bias_correction_steps=0),
    )
    with pytest.raises(InputError, match="no frames and no stream"):
        still.stream()


def test_memory_does_not_grow():
    steps = int(os.environ.get("LOIHI_DEPLOY_STREAM_STEPS", "20000"))
    deployment = deployed("mean", 100)
    x = frames(1, 50)[0]
    with deployment.stream() as stream:
        for k in range(100):
            stream.step(x[k % 50])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for k in range(steps // 100 - 100):
            answer = stream.step(x[k % 50])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert answer.frame == steps // 100 - 2 or answer.frame == steps // 100 - 1
    assert grown < 2_000  # kB
