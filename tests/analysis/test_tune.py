"""The shortest presentation of sequences, and what is known of their source."""

import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.frames import has_decisions
from loihi_deploy.ir import samples_for
from tests.sequences import frames, network


@pytest.mark.parametrize("readout", ["each", "mean"])
def test_steps_of_a_frame_are_tuned_and_its_window_is_what_was_read(readout):
    x = frames(12, 5)
    options = ld.DeployOptions(readout=readout, steps_per_frame=20)
    deployment = ld.deploy(network(readout), calibration=x, options=options)
    y = deployment.run(x, steps=200).outputs
    y = y.argmax(-1)
    found = deployment.tune(x, y, max_steps=200, max_drop=0.2)
    assert found.steps % 5 == 0
    assert 5 <= found.steps <= 200
    assert found.readout_window == pytest.approx({"each": 1 / 5, "mean": 1.0}[readout])


@pytest.mark.parametrize(
    ("recurrent", "n_frames", "known"),
    [(False, 1, True), (False, 4, True), (True, 1, False), (True, 4, True)],
)
def test_a_source_decides_unless_it_is_recurrent_and_samples_stand_still(recurrent, n_frames, known):
    source = network("mean", recurrent)
    assert has_decisions(source, samples_for(source, frames(3, n_frames)), ld.DeployOptions()) == known
    assert not has_decisions(
        ld.ir.Graph((), (), ()), samples_for(source, frames(3, n_frames)), ld.DeployOptions()
    )
