"""The demonstration, on a few images."""

import json

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.demo import run_demo
from loihi_deploy.errors import OutputError


@pytest.mark.filterwarnings("ignore:.*HDF5:UserWarning")
def test_demo(tmp_path):
    pytest.importorskip("tensorflow", reason="the extra 'convert' is not installed")
    said = []
    data = ld.data.fashion_mnist(1000, 40)
    result = run_demo(data, "loihi", 30, 2, 30, tmp_path / "out", said.append)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.loihi", "report.html"}
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "At a glance" in report
    assert "<svg" in report
    assert json.loads(json.dumps(result)) == result
    wanted = {
        "accuracy_rate",
        "accuracy_spiking",
        "accuracy_emulator",
        "n_test",
        "steps",
        "reference_samples",
    }
    assert wanted | {"reference_spikes_equal", "n_cores", "n_chips", "layers"} <= set(result)
    assert result["reference_spikes_equal"] is True
    assert (result["n_test"], result["steps"], result["reference_samples"]) == (30, 30, 20)
    loaded = ld.load(tmp_path / "out" / "demo.loihi")
    assert loaded.mapping.n_cores == result["n_cores"]
    again = loaded.evaluate(data.x_test[:30], data.y_test[:30], 30)
    assert again.accuracy == result["accuracy_emulator"]
    assert np.isclose(result["accuracy_rate"], loaded.rate_accuracy(data.x_test[:30], data.y_test[:30]))
    assert said


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        run_demo(ld.data.fashion_mnist(20, 20), "loihi", 10, 1, 5, tmp_path / "file" / "out", print)
