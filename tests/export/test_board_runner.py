"""The script that runs a deployment on a board: its syntax, its arithmetic, and the whole without this package."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy
from loihi_deploy.analysis.host_link import with_limit
from loihi_deploy.backends import RunOptions, board_driver, run
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.deployment import Deployment
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.engines.host.readout import answers
from loihi_deploy.errors import BackendError, LoihiDeployWarning, OutputError
from loihi_deploy.export import board_folder, to_board_runner
from loihi_deploy.ir import Dense, Graph, HostMap, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.samples import samples_for
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from tests.hardware import snips, standin

pytest.importorskip("nengo_loihi")
ROOT = Path(loihi_deploy.__file__).parent
RUNNER = ROOT / "export" / "board_runner.py"
FILES = RUNNER, ROOT / "backends" / "board_driver.py", ROOT / "export" / "board_tester.py"
RNG = np.random.default_rng(0)

VERMIN = sys.executable, "-c", "import vermin; vermin.main()", "--target=3.6-", "--violations", "--no-tips"

# In an interpreter without the environment's settings, with the stand-in in the place of NxSDK.
LAUNCH = """
import importlib.util, json, os, runpy, sys
tests, packages, folder, calls = sys.argv[1:]
sys.path[:0] = [folder, tests]
sys.path.append(packages)
sys.modules["nengo_dl"] = sys.modules["tensorflow"] = None
assert importlib.util.find_spec("loihi_deploy.deployment") is None
from tests.hardware import standin
standin.install()
for call in json.loads(calls):
    sys.argv = ["run.py", *call]
    runpy.run_path(os.path.join(folder, "run.py"), run_name="__main__")
"""


def graph(size=8, readouts=1, seed=0, **activation):
    """An encoder, two layers, and readouts."""
    rng = np.random.default_rng(seed)
    neuron = NeuronModel("if", discretized=True)
    outputs = [Readout(f"y{k}", (3,), rng.normal(0, 1, 3), **activation) for k in range(readouts)]
    return Graph(
        (Input("x", (size,)),),
        (
            Population("front", (size,), NeuronModel(), np.ones(()) * 200, np.zeros(size)),
            Population("hidden", (12,), neuron, np.ones(()), np.full(12, 10.0)),
            Population("last", (5,), neuron, np.ones(()), np.full(5, 20.0)),
        ),
        (
            Projection("x", "front", Dense(np.eye(size)), 0.0),
            Projection("front", "hidden", Dense(rng.normal(0.3, 0.5, (12, size))), 0.005),
            Projection("hidden", "last", Dense(rng.normal(0.3, 0.5, (5, 12))), 0.005),
            *(Projection("last", node.name, Dense(rng.normal(0, 1, (3, 5))), 0.01) for node in outputs),
        ),
        tuple(outputs),
    )


def deployed(source, options=None, change=lambda program: program, **cut):
    options = options or DeployOptions()
    program = change(quantize(partition(source, **cut)))
    return Deployment.from_parts(source, program, map_to_cores(program, "loihi"), options)


@pytest.fixture
def runner(monkeypatch):
    """The script as a module of this process, with the stand-in."""
    monkeypatch.setitem(sys.modules, "board_driver", board_driver)
    spec = importlib.util.spec_from_file_location("board_runner", RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.bench = standin.patch(monkeypatch)
    return module


@pytest.fixture
def call(runner, tmp_path, monkeypatch):
    """Run the script on samples, as from a command line; gives its outputs."""

    def run_it(deployment, x, *arguments, output="out.npy"):
        to_board_runner(deployment, tmp_path / "folder")
        if isinstance(x, dict):
            samples = tmp_path / "x.npz"
            np.savez(samples, **x)
        else:
            samples = tmp_path / "x.npy"
            np.save(samples, x)
        monkeypatch.setattr(runner, "__file__", str(tmp_path / "folder" / "run.py"))
        monkeypatch.setattr(sys, "argv", ["run.py", str(samples), "-o", str(tmp_path / output), *arguments])
        runner.main()
        return np.load(tmp_path / output)

    return run_it


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_kept_to_old_syntax(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    command = [*VERMIN, str(path)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_check_of_syntax_sees_newer_python(tmp_path):
    path = tmp_path / "new.py"
    path.write_text("if (n := 3) > 2:\n    print(f'{n=}')\n")
    command = [*VERMIN, str(path)]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_it_imports_nothing_else():
    imported = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    ours = {"numpy", "nengo_loihi", "board_driver", "run"}
    assert imported - set(sys.stdlib_module_names) == ours


@pytest.mark.parametrize(
    ("neuron", "tau"),
    [
        (NeuronModel(), 0.0),
        (NeuronModel("if", discretized=True), 0.004),
        (NeuronModel("lif", 0.02, 0.002), 0.0),
        (NeuronModel("lif", 0.02, 0.003, discretized=True), 0.004),
        (NeuronModel("poisson"), 0.0),
        (NeuronModel("ttfs"), 0.0),
    ],
    ids=lambda value: f"{value.kind}-{value.discretized}" if isinstance(value, NeuronModel) else str(value),
)
@pytest.mark.parametrize("frames", [1, 3])
def test_the_host_computes_what_ours_does(runner, neuron, tau, frames):
    """Bit by bit: sums are made in the same order."""
    gain = 300.0 if neuron.kind != "lif" else 6.0
    sizes = {"a": 40, "b": 30}
    encoders = tuple(
        Population(
            *(name, (size,), neuron, gain * RNG.uniform(0.5, 1.5, size), RNG.uniform(0, 1, size), 1.0),
            RNG.uniform(-2, 1, size),
        )
        for name, size in sizes.items()
    )
    projections = [
        Projection(pre, name, Dense(RNG.normal(0.2, 1, (size, 20))), kept)
        for name, size in sizes.items()
        for pre, kept in (("x", tau), ("z", 0.0))
    ]
    encoder = Graph((Input("x", (20,)), Input("z", (20,))), encoders, tuple(projections))
    program = replace(deployed(graph()).program, encoder=encoder, sources=(), synapses=(), links=())
    steps, n = 30, 3
    frames_of = {name: RNG.normal(0, 1, (n, frames, 20)) for name in "xz"}
    for values in frames_of.values():
        values[RNG.random(values.shape) < 0.3] = 0
    ours = Encoder(encoder)
    lost = np.zeros(2, np.int64)
    state = ours.start(n, seed=5)
    expected = ours.run(ours.together(frames_of), 0, steps, steps // frames, state, lost).to_dense()
    n_lost = 0
    made = runner.Encoder({"dt": program.dt, **board_folder.describe_host(program)})
    for k in range(n):
        spikes, of_sample = made.run({name: x[k] for name, x in frames_of.items()}, steps, k, 5)
        n_lost += of_sample
        for name in sizes:
            np.testing.assert_array_equal(spikes[name], expected[name][k])
    assert n_lost == lost.sum()
    assert sum(array.sum() for array in expected.values()) > 50


def test_neurons_that_only_add(runner):
    source = graph()
    deployment = deployed(source, encoder="on_off")
    [population] = deployment.program.encoder.populations
    assert population.adds_only
    x = RNG.normal(0, 1.5, (4, 1, 8))
    ours = Encoder(deployment.program.encoder)
    lost = np.zeros(1, np.int64)
    expected = ours.run(ours.together({"x": x}), 0, 40, 40, ours.start(4), lost).to_dense()[population.name]
    made, total = runner.Encoder({"dt": 0.001, **board_folder.describe_host(deployment.program)}), 0
    for k in range(4):
        spikes, of_sample = made.run({"x": x[k]}, 40, k, 0)
        np.testing.assert_array_equal(spikes[population.name], expected[k])
        total += of_sample
    assert total == lost.sum() > 0


@pytest.mark.parametrize("activation", ["linear", "softmax", "sigmoid", "tanh"])
def test_the_readout_computes_what_ours_does(runner, activation):
    deployment = deployed(graph(readouts=2, activation=activation))
    program = deployment.program
    spikes = {"last": RNG.random((3, 40, 5)) < 0.3}
    from loihi_deploy.engines.events import Events

    decoder = Decoder(program, {"last": 5})
    trace = np.zeros((3, 40, 6))
    decoder.run(Events.from_dense(spikes, 3, 40), decoder.start(3), trace)
    expected = answers(program.readout, trace, 20)
    tree = {"dt": program.dt, **board_folder.describe_host(deployment.program)}
    for k in range(3):
        found = runner.decode(tree, {"last": spikes["last"][k]}, 40, 20)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values[k].astype(found[name].dtype))


def test_samples_and_readouts_of_several_forms(call):
    deployment = deployed(graph(readouts=2))
    x = RNG.random((3, 8)).astype(np.float32)
    ours = deployment.run(x, 40)
    with call(deployment, {"x": x}, "--steps", "40", output="out.npz") as theirs:
        for name, values in ours.all_outputs.items():
            np.testing.assert_array_equal(theirs[name], values)
    assert len(np.unique(ours.outputs)) > 3
    with pytest.raises(SystemExit, match=r"out\.npz|FILE\.npz"):
        call(deployment, x)


def test_frames_and_what_it_was_deployed_for(call):
    source = graph()
    x = RNG.random((2, 3, 8))
    for options in (DeployOptions(steps_per_frame=10), DeployOptions(readout="last")):
        deployment = deployed(source, options)
        np.testing.assert_array_equal(call(deployment, x), deployment.run(x).outputs)
    begun = graph(over_frames="mean", first_frame=1)
    ours = deployed(begun, DeployOptions(steps_per_frame=10)).run(x).outputs
    np.testing.assert_array_equal(call(deployed(begun, DeployOptions(steps_per_frame=10)), x), ours)
    whole = deployed(graph(over_frames="mean"), DeployOptions(steps_per_frame=10)).run(x).outputs
    assert (ours != whole).any()
    with pytest.raises(SystemExit, match="1 frames, and the network looks at 2"):
        call(deployed(begun), x[:, :1])
    deployment = deployed(source, DeployOptions(steps=30))
    np.testing.assert_array_equal(call(deployment, x[:, 0]), deployment.run(x[:, 0]).outputs)
    with pytest.raises(SystemExit, match="multiple of the 3 frames"):
        call(deployment, x, "--steps", "10")


def test_images_with_their_channels_first(call):
    source = replace(graph(8), inputs=(Input("x", (2, 2, 2), channels_first=True),))
    deployment = deployed(source)
    x = RNG.random((2, 2, 2, 2))
    np.testing.assert_array_equal(call(deployment, x, "--steps", "30"), deployment.run(x, 30).outputs)


def test_values_that_are_biases(call):
    deployment = deployed(graph(), encoder="bias")
    x = RNG.random((3, 8))
    np.testing.assert_array_equal(call(deployment, x, "--steps", "60"), deployment.run(x, 60).outputs)
    with pytest.raises(SystemExit, match="no --reset"):
        call(deployment, x, "--reset", "gap")


def with_start(program):
    return replace(
        program,
        populations=tuple(
            replace(p, initial_voltage=RNG.integers(0, p.threshold, p.size).astype(np.int32))
            for p in program.populations
        ),
    )


@pytest.mark.skipif(not snips.HAVE_COMPILERS, reason="snips are compiled with gcc and g++")
def test_voltages_at_the_start_take_a_snip(call, runner):
    deployment = deployed(graph(), change=with_start)
    x = RNG.random((3, 8))
    ours = deployment.run(x, 40).outputs
    np.testing.assert_array_equal(call(deployment, x, "--steps", "40"), ours)
    assert len(runner.bench.boards) == 1
    np.testing.assert_array_equal(call(deployment, x, "--steps", "40", "--stream"), ours)
    with pytest.raises(SystemExit, match="only --reset snip"):
        call(deployment, x, "--reset", "load")


def test_spikes_are_written_of_the_readout_and_of_what_is_recorded(call, tmp_path):
    deployment = deployed(graph())
    layers = [p.name for p in deployment.program.populations]
    x = RNG.random((2, 8))
    ours = deployment.run(x, 40, record=layers).recorded
    spikes = str(tmp_path / "spikes.npz")
    for arguments, names in (
        ([], ["last"]),
        (["--record"], layers),
        (["--record", "hidden"], ["hidden", "last"]),
    ):
        call(deployment, x, "--steps", "40", "--spikes", spikes, *arguments)
        with np.load(spikes) as theirs:
            assert sorted(theirs.files) == sorted(names)
            for name in names:
                np.testing.assert_array_equal(theirs[name], ours[name]["spikes"])
    with pytest.raises(SystemExit, match="the layers on the chip are front, hidden, last"):
        call(deployment, x, "--spikes", spikes, "--record", "x")
    with pytest.raises(SystemExit, match="goes with --spikes"):
        call(deployment, x, "--record")


def test_gaps(call):
    deployment = deployed(graph())
    x = RNG.random((3, 8))
    ours = deployment.run(x, 40, reset="gap", gap=5).outputs
    np.testing.assert_array_equal(call(deployment, x, "--steps", "40", "--reset", "gap", "--gap", "5"), ours)
    with pytest.raises(SystemExit, match="goes with"):
        call(deployment, x, "--gap", "5")


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((2, 9)), r"takes \(n, 8\)"),
        (np.zeros((2, 8), complex), "complex"),
        (np.full((2, 8), np.nan), "not finite"),
        ({"z": np.zeros((2, 8))}, "takes"),
    ],
)
def test_samples_that_do_not_fit(call, x, match):
    with pytest.raises(SystemExit, match=match):
        call(deployed(graph()), x)


def test_spikes_that_a_snip_cannot_carry(call, runner):
    deployment = deployed(graph())
    chip = replace(deployment.board.chip, host_spikes_per_step=1)
    mapping = map_to_cores(deployment.program, replace(deployment.board, chip=chip))
    deployment = Deployment.from_parts(deployment.graph, deployment.program, mapping)
    with pytest.raises(SystemExit, match="snips carry 1"):
        call(deployment, np.ones((1, 8)), "--stream")
    assert not runner.bench.boards


def test_a_limit_on_what_the_host_sends(call, capsys):
    free = deployed(graph())
    program, mapping = with_limit(free.program, free.mapping, 3)
    deployment = Deployment.from_parts(free.graph, program, mapping)
    bright = np.ones((3, 8))
    with pytest.warns(LoihiDeployWarning):
        ours = deployment.run(bright, 40).outputs
    np.testing.assert_array_equal(call(deployment, bright, "--steps", "40"), ours)
    assert "were not sent" in capsys.readouterr().out


def test_inputs_of_different_numbers_of_samples(call):
    source = graph()
    both = replace(
        source,
        inputs=(*source.inputs, Input("z", (8,))),
        projections=(*source.projections, Projection("z", "front", Dense(np.eye(8)), 0.0)),
    )
    deployment = deployed(both)
    x = RNG.random((2, 8))
    ours = deployment.run({"x": x, "z": x}, 30).outputs
    np.testing.assert_array_equal(call(deployment, {"x": x, "z": x}, "--steps", "30"), ours)
    with pytest.raises(SystemExit, match="different numbers"):
        call(deployment, {"x": x, "z": x[:1]})


def test_a_population_that_only_filtered_inputs_drive(runner):
    """Nothing comes without a filter: the sum starts at zero."""
    assert runner.summed([], 3).tolist() == [0, 0, 0]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        to_board_runner(deployed(graph()), tmp_path / "file" / "folder")


@pytest.mark.follows(
    "Deploy the network from behind it, or run it with this package: backend='hardware'",
)
def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    source = graph()
    node = replace(source.inputs[0], origin=Input("x", (8,)), before=(HostMap(None, np.zeros(8), low=0.0),))
    refused = deployed(replace(source, inputs=(node,)))
    with pytest.raises(BackendError, match="computes something of the samples"):
        to_board_runner(refused, tmp_path)
    assert (to_board_runner(deployed(source), tmp_path) / "run.py").exists()
    standin.patch(monkeypatch)
    x = RNG.uniform(0, 0.9, (2, 8))
    np.testing.assert_array_equal(refused.run(x, 20, backend="hardware").outputs, refused.run(x, 20).outputs)


def check_alone(tmp_path, deployment, x, *calls):
    """Run the script where this package is not; gives the outputs of each call."""
    folder, tests = tmp_path / "folder", tmp_path / "tests" / "hardware"
    to_board_runner(deployment, folder)
    tests.mkdir(parents=True)
    for package in (tests, tests.parent):
        (package / "__init__.py").touch()
    for name in ("standin", "replay", "snips"):
        source = Path(standin.__file__).with_name(f"{name}.py")
        (tests / source.name).write_bytes(source.read_bytes())
    np.save(tmp_path / "x.npy", x)
    paths = [tmp_path / f"out{k}.npy" for k in range(len(calls))]
    arguments = [
        [str(tmp_path / "x.npy"), "-o", str(path), *call] for path, call in zip(paths, calls, strict=True)
    ]
    launch = tmp_path / "launch.py"
    launch.write_text(LAUNCH)
    packages = str(Path(np.__file__).parents[1])
    command = [
        sys.executable,
        "-I",
        "-S",
        str(launch),
        str(tmp_path),
        packages,
        str(folder),
        json.dumps(arguments),
    ]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stderr[-3000:]
    return [np.load(path) for path in paths]


def test_it_runs_without_this_package(tmp_path):
    deployment = deployed(graph())
    x = RNG.random((100, 8))
    ours = deployment.run(x, 40).outputs
    calls = [["--steps", "40"]]
    if snips.HAVE_COMPILERS:
        calls.append(["--steps", "40", "--reset", "snip"])
    for theirs in check_alone(tmp_path, deployment, x, *calls):
        np.testing.assert_array_equal(theirs, ours)
    assert len(np.unique(ours)) > 3


@pytest.mark.skipif("LOIHI_DEPLOY_REHEARSAL" not in os.environ, reason="make rehearsal")
def test_a_hundred_images_without_this_package(tmp_path):
    """All in one load: a load of this network takes the stand-in some seconds."""
    source = benchmarks.NETWORKS["mnist-convnet"]()
    program = quantize(partition(source))
    deployment = Deployment.from_parts(source, program, map_to_cores(program, "nahuku32"))
    x = benchmarks.inputs("mnist-convnet", 100)
    ours = run(program, samples_for(source, x), RunOptions(50)).outputs
    [theirs] = check_alone(tmp_path, deployment, x, ["--steps", "50", "--reset", "snip"])
    np.testing.assert_array_equal(theirs, ours)
    assert len(np.unique(ours.argmax(axis=1))) > 1
