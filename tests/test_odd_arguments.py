"""Every public function takes the wrong type, the wrong range and an extreme for each of its arguments, one at a time.

What comes back is a result, or an error of this package. The arguments of a run stand in tests/test_run_arguments.py,
those of the command line in tests/cli/test_odd_commands.py.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy import export
from loihi_deploy.errors import LoihiDeployError, LoihiDeployWarning
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (5, 4, 4, 1))
Y = np.array([0, 1, 2, 0, 1])
GRAPH = Graph(
    (Input("image", (4, 4, 1)),),
    (
        Population("[/x]", (4, 4, 1), NeuronModel(), 1.0, 0.0),
        Population("dense", (6,), NeuronModel(), 1.0, 0.1),
    ),
    (
        Projection("image", "[/x]", Conv2D(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (4, 4, 1), (4, 4, 1))),
        Projection("[/x]", "dense", Dense(RNG.normal(size=(6, 16))), 0.005),
        Projection("dense", "classes", Dense(RNG.normal(size=(3, 6))), 0.005),
    ),
    (Readout("classes", (3,), np.zeros(3)),),
)
OPTIONS = ld.DeployOptions(bias_correction_steps=10)
PARTS = ld.partition(ld.normalize(GRAPH, X))
PROGRAM = ld.quantize(PARTS)
MAPPING = ld.map_to_cores(PROGRAM, "loihi")
DEPLOYMENT = ld.Deployment.from_parts(GRAPH, PROGRAM, MAPPING, OPTIONS, X)

ODD = (
    *(None, True, -1, 0, 2.5, 10**30, float("nan"), float("inf"), 1j, "", "[/x]", "nul\0", b"bytes"),
    *((), [], {}, {"x": "y"}, {1: 2}, [[1], [2, 3]], object(), int, lambda: None, Path("missing"), slice(3)),
    *(
        np.array(3.0),
        np.zeros((0, 3)),
        np.array(["a", "b"]),
        np.full((2, 4, 4, 1), np.nan),
        np.zeros((2, 4, 4, 1), complex),
    ),
    np.datetime64("2024-01-01"),
)

# Each call with arguments that are right.
CALLS = {
    "load": (ld.load, {"path": "missing"}),
    "load_board": (ld.load_board, {"name_or_path": "loihi"}),
    "DeployOptions": (ld.DeployOptions, OPTIONS.as_dict()),
    "convert": (ld.convert, {"source": GRAPH, "options": OPTIONS, "trust": False}),
    "deploy": (
        ld.deploy,
        {
            "source": GRAPH,
            "board": "loihi",
            "calibration": X,
            "options": OPTIONS,
            "fix": None,
            "max_cores": None,
            "downgrade": (),
            "trust": False,
        },
    ),
    "chip_memory": (
        ld.chip_memory,
        {"order": 1, "frames": 2.0, "steps_per_frame": 2, "neurons": 20, "board": "loihi", "seed": 0},
    ),
    "normalize": (
        ld.normalize,
        {
            "graph": GRAPH,
            "calibration": X,
            "target_rate": 100.0,
            "percentile": 99.0,
            "encoder": "auto",
            "encoder_rate": 500.0,
        },
    ),
    "with_frame_delays": (ld.with_frame_delays, {"graph": GRAPH, "steps_per_frame": 3}),
    "scale_firing_rates": (ld.scale_firing_rates, {"graph": GRAPH, "scale": 2.0}),
    "with_leaky_neurons": (
        ld.with_leaky_neurons,
        {"graph": GRAPH, "encoder": "auto", "tau_rc": 0.02, "tau_ref": 0.0},
    ),
    "equalize": (ld.equalize, {"graph": GRAPH, "encoder": "auto"}),
    "partition": (ld.partition, {"graph": GRAPH, "encoder": "auto", "encoder_rate": 500.0}),
    "correct_biases": (
        ld.correct_biases,
        {"partitioned": PARTS, "calibration": X, "steps": 10, "readout_window": 0.5, "board": "loihi"},
    ),
    "quantize": (
        ld.quantize,
        {"partitioned": PARTS, "board": "loihi", "weight_percentile": 100.0, "rates": None},
    ),
    "mean_rates": (ld.mean_rates, {"program": PROGRAM, "calibration": X}),
    "map_to_cores": (
        ld.map_to_cores,
        {
            "program": PROGRAM,
            "board": "loihi",
            "fix": None,
            "max_cores": None,
            "downgrade": (),
            "rates": None,
        },
    ),
    "from_parts": (
        ld.Deployment.from_parts,
        {"graph": GRAPH, "program": PROGRAM, "mapping": MAPPING, "options": OPTIONS, "calibration": X},
    ),
    "save": (DEPLOYMENT.save, {"path": "net.loihi"}),
    "report": (DEPLOYMENT.report, {"path": "report.txt", "x": X, "y": Y, "steps": 3}),
    "check": (
        DEPLOYMENT.check,
        {"x": X, "y": Y, "criteria": ld.Criteria(max_chips=1), "hardware": False, "steps": 3},
    ),
    "Criteria": (ld.Criteria, {"min_accuracy": 0.5, "max_chips": 1, "no_overflow": True, "tolerance": {}}),
    "plot.cores": (DEPLOYMENT.plot.cores, {"kind": "population"}),
    "plot.rates": (DEPLOYMENT.plot.rates, {"x": X, "steps": 3}),
    "plot.accuracy_by_step": (DEPLOYMENT.plot.accuracy_by_step, {"x": X, "y": Y, "steps": 3}),
    "plot.raster": (DEPLOYMENT.plot.raster, {"x": X, "steps": 3, "sample": 0}),
    "check_labels": (DEPLOYMENT.check_labels, {"y": Y, "n_samples": 5}),
    "rate_accuracy": (DEPLOYMENT.rate_accuracy, {"x": X, "y": Y}),
    "with_readout_window": (DEPLOYMENT.with_readout_window, {"window": 0.5}),
    "energy": (
        DEPLOYMENT.energy,
        {"x": X, "steps": 3, "coefficients": "sanafe2025", "steps_per_frame": None, "seed": 0, "threads": 1},
    ),
    "predict": (DEPLOYMENT.predict, {"x": X, "steps": 3}),
    "compare_resets": (DEPLOYMENT.compare_resets, {"x": X, "y": Y, "steps": 3, "gaps": (0,)}),
    "preflight": (DEPLOYMENT.preflight, {"n_frames": 1}),
    "stream": (DEPLOYMENT.stream, {"steps_per_frame": 3}),
    "stream.step": (lambda frame: DEPLOYMENT.stream(3).step(frame), {"frame": X[0]}),
    "Sequences": (ld.Sequences, {"x": [X]}),
    "report_values": (DEPLOYMENT.report_values, {"x": X, "y": Y, "steps": 3}),
    "explore": (
        ld.explore,
        {
            "model": GRAPH,
            "x": X,
            "y": Y,
            "board": "loihi",
            "calibration": X,
            "space": {"target_rate": [100.0]},
            "minimize": ("cores",),
            "keep": None,
            "n_trials": 1,
            "options": OPTIONS,
            "storage": None,
            "held_out": 0.4,
            "seed": 0,
            "progress": False,
        },
    ),
    "to_sanafe": (
        export.to_sanafe,
        {"deployment": DEPLOYMENT, "x": X[:1], "folder": "sanafe", "steps": 3, "neurons": "lif"},
    ),
    "to_netx": (export.to_netx, {"deployment": DEPLOYMENT, "path": "net.net"}),
    "to_nir": (export.to_nir, {"deployment": DEPLOYMENT, "path": "net.nir"}),
    "to_board_runner": (export.to_board_runner, {"deployment": DEPLOYMENT, "folder": "board"}),
    "to_nengo": (export.to_nengo, {"deployment": DEPLOYMENT}),
    "fashion_mnist": (ld.data.fashion_mnist, {"n_train": 5, "n_test": 5}),
    "spike_frames": (
        ld.data.spike_frames,
        {"events": np.array([[0, 1, 2], [1, 0, 3]]), "shape": (5,), "n_samples": 2, "n_steps": 3},
    ),
    "camera_frames": (
        ld.data.camera_frames,
        {
            **{name: np.array([0, 1, 1]) for name in ("t", "x", "y", "polarity")},
            "shape": (4, 5),
            "bin_width": 1,
            "n_steps": 3,
        },
    ),
    "read_events": (ld.data.read_events, {"path": "missing.npy"}),
    "load_idx": (ld.data.load_idx, {"directory": "missing"}),
    "load_cifar10": (ld.data.load_cifar10, {"directory": "missing"}),
}
N_ODD = sum(len(arguments) for _, arguments in CALLS.values()) * len(ODD)


def outcome(call, arguments):
    """None where a call gives a result or an error of ours; otherwise what was raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoihiDeployWarning)
        try:
            call(**arguments)
        except LoihiDeployError:
            return None
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_give_a_result_or_an_error_of_ours(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[name]
    assert outcome(call, right) is None
    raw = {
        f"{argument}={odd!r}": found
        for argument in right
        for odd in ODD
        if (found := outcome(call, {**right, argument: odd})) is not None
    }
    assert raw == {}


def test_there_are_many():
    assert N_ODD >= 1000


def test_nothing_public_is_left_out():
    functions = {
        name for name in ld.__all__ if callable(getattr(ld, name)) and not isinstance(getattr(ld, name), type)
    }
    assert functions - {"balance", "board_names"} <= set(CALLS)
