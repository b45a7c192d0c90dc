import io

import pytest
from rich.console import Console

from loihi_deploy.bench import bench, table
from loihi_deploy.bench.table import PARTS
from loihi_deploy.errors import InputError

KEYS = {
    *("network", "batch", "threads", "steps_per_s", "reference_steps_per_s", "ratio", "spikes_equal"),
    *("floor_ns_per_neuron", "floor_ns_per_event", "ratio_to_floor", "parts"),
    *("spikes_per_step", "peak_memory_mb", "build_s", "reference_build_s"),
}


@pytest.mark.parametrize("reference", [False, True])
def test_measurements(reference):
    if reference:
        pytest.importorskip("nengo_loihi")
    said = []
    (row,) = bench(
        ["recurrent-lif"],
        2,
        1,
        steps=30,
        repeats=2,
        reference_repeats=1,
        reference=reference,
        nengo_dl=False,
        say=said.append,
    )
    assert row.keys() >= KEYS
    assert (row["network"], row["batch"], row["threads"]) == ("recurrent-lif", 2, 1)
    assert row["steps_per_s"] > 0
    assert row["spikes_per_step"] > 5
    assert row["nengo_dl_ratio"] is None
    assert 0.01 < row["floor_ns_per_neuron"] < row["ns_per_neuron_update"]
    assert 0.001 < row["floor_ns_per_event"] < row["ns_per_synaptic_event"]
    assert row["ratio_to_floor"] > 1
    assert row["parts"].keys() == set(PARTS)
    assert min(row["parts"][part] for part in ("neurons", "events", "listing", "encoder", "readout")) > 0
    assert 50 < row["peak_memory_mb"] < 1000
    assert len(said) == 1
    if reference:
        assert row["spikes_equal"] is True
        assert row["ratio"] == pytest.approx(row["steps_per_s"] / row["reference_steps_per_s"])
        assert row["ratio"] > 5
    else:
        assert row["spikes_equal"] is row["ratio"] is row["reference_build_s"] is None
    console = Console(file=io.StringIO(), width=250)
    console.print(table([row]))
    assert "recurrent-lif" in console.file.getvalue()


def test_unknown_network():
    with pytest.raises(InputError, match="cifar10-convnet"):
        bench(["nothing"])
