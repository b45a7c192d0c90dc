"""The command line: what it prints, what it writes, and how it refuses bad input."""

import io
import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import fields

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)


def cli(*arguments):
    """Run the command line; its exit status, standard output and standard error."""
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed(*arguments):
    """What a command prints with --json."""
    result = cli(*arguments, "--json")
    assert result.stderr == ""
    values = json.loads(result.stdout)
    assert values["schema_version"] == 1
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a deployment for 28x28 images, samples and labels."""
    path = tmp_path_factory.mktemp("cli")
    graph = Graph(
        (Input("image", (28, 28, 1)),),
        (
            Population("encoder", (28, 28, 1), NeuronModel(), 1.0, 0.0),
            Population("dense", (20,), NeuronModel(), 1.0, 0.1),
        ),
        (
            Projection(
                "image", "encoder", Conv2D(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (28, 28, 1), (28, 28, 1))
            ),
            Projection("encoder", "dense", Dense(RNG.normal(size=(20, 784))), 0.005),
            Projection("dense", "classes", Dense(RNG.normal(size=(10, 20))), 0.005),
        ),
        (Readout("classes", (10,), np.zeros(10)),),
    )
    x = RNG.uniform(0, 1, (6, 28, 28, 1))
    ld.deploy(graph, "loihi", x).save(path / "net.loihi")
    np.save(path / "x.npy", x)
    np.save(path / "y.npy", np.arange(6))
    np.save(path / "scalar.npy", np.float32(1))
    (path / "model.h5").write_bytes(
        b"\x89HDF\r\n\x1a\n"
    )  # looks like one, for what is checked before it is read
    np.savez(path / "two.npz", a=x, b=x)
    return path


def test_boards():
    result = cli("boards")
    assert result.exit_code == 0
    assert "nahuku32" in result.output
    listed = printed("boards")["boards"]
    assert {board["name"]: board["n_chips"] for board in listed}["kapoho_bay"] == 2
    assert len(printed("boards", "loihi")["boards"]) == 1


def test_run(folder):
    result = cli("run", folder / "net.loihi", folder / "x.npy", "-o", folder / "out.npy", "--steps", 20)
    assert result.exit_code == 0
    assert "dense" in result.output
    assert f"6 samples of {folder / 'x.npy'}" in result.output
    outputs = np.load(folder / "out.npy")
    assert outputs.shape == (6, 10)
    values = printed("run", folder / "net.loihi", folder / "x.npy", "--steps", 20)
    np.testing.assert_array_equal(values["outputs"], outputs)
    assert values["populations"]["dense"]["spikes"] > 0


def test_run_streams_its_outputs(folder):
    result = cli("run", folder / "net.loihi", folder / "x.npy", "-o", "-", "--steps", 20)
    assert result.exit_code == 0
    expected = ld.load(folder / "net.loihi").run(np.load(folder / "x.npy"), 20).outputs
    np.testing.assert_array_equal(np.load(io.BytesIO(result.stdout_bytes)), expected)
    assert "6 samples" in result.stderr
    assert "both write" in cli("run", folder / "net.loihi", folder / "x.npy", "-o", "-", "--json").stdout


def test_evaluate_names_its_data(folder):
    own = ("--samples", folder / "x.npy", "--labels", folder / "y.npy", "--steps", 20)
    result = printed("evaluate", folder / "net.loihi", *own)
    expected = ld.load(folder / "net.loihi").evaluate(np.load(folder / "x.npy"), np.arange(6), 20)
    assert result["n_correct"] == expected.n_correct
    assert result["n_total"] == 6
    assert result["accuracy"] == expected.accuracy
    assert result["data"] == {"name": str(folder / "x.npy"), "samples": 6, "of": 6}
    text = cli("evaluate", folder / "net.loihi", *own, "--limit", 3, "--by-step").output
    assert f"of 3) on 3 of 6 samples of {folder / 'x.npy'}, at 20 steps" in text
    assert "10 steps: " in text


def test_bundled_data_only_by_name(folder):
    asked = cli(
        "evaluate", folder / "net.loihi", "--data", "fashion-mnist", "--limit", 5, "--steps", 10
    ).output
    assert "of 5) on 5 of 2,000 samples of the test images of fashion-mnist" in asked
    for command in ("evaluate", "verify"):
        result = cli(command, folder / "net.loihi")
        assert result.exit_code == 2
        assert "no data to run on" in result.stderr
        assert "--data fashion-mnist" not in result.stdout


def test_evaluate_on_one_hot_labels_and_on_values(folder, tmp_path):
    x = np.load(folder / "x.npy")
    np.savez(tmp_path / "set.npz", x=x, y=np.eye(10)[np.arange(6)])
    one_hot = printed("evaluate", folder / "net.loihi", "--data", tmp_path / "set.npz", "--steps", 20)
    assert one_hot["n_correct"] == ld.load(folder / "net.loihi").evaluate(x, np.arange(6), 20).n_correct
    outputs = ld.load(folder / "net.loihi").run(x, 20).outputs
    np.save(tmp_path / "values.npy", outputs + 0.5)
    own = ("--samples", folder / "x.npy", "--labels", tmp_path / "values.npy", "--steps", 20)
    values = printed("evaluate", folder / "net.loihi", *own)
    assert values["mean_absolute_error"] == pytest.approx(0.5)
    assert "Mean absolute error 0.5" in cli("evaluate", folder / "net.loihi", *own).output
    for option in ("--by-step", "--by-frame", "--energy"):
        refused = cli("evaluate", folder / "net.loihi", *own, option)
        assert refused.exit_code == 2
        assert "go with classes" in refused.stderr


def test_verify_names_its_data_and_needs_no_labels(folder):
    own = ("--samples", folder / "x.npy", "--steps", 10, "--reference-samples", 0)
    assert f"On 6 samples of {folder / 'x.npy'}" in cli("verify", folder / "net.loihi", *own).output
    values = printed("verify", folder / "net.loihi", *own)
    assert values["data"]["samples"] == 6
    assert values["stages"][0]["accuracy"] is None
    labelled = printed("verify", folder / "net.loihi", *own, "--labels", folder / "y.npy")
    assert labelled["stages"][0]["accuracy"] is not None


@pytest.mark.parametrize("ending", ["html", "txt", "json"])
def test_report(folder, tmp_path, ending):
    path = tmp_path / f"report.{ending}"
    assert cli("report", folder / "net.loihi", "-o", path).exit_code == 0
    assert "dense" in path.read_text()


def test_a_rule_that_is_only_warned_of_can_be_avoided():
    plain, avoiding = (
        printed("compile", "recurrent-lif", *more) for more in ((), ("--avoid", "probed_senders"))
    )
    assert "the host reads" in " ".join(plain["mapping"]["warnings"])
    assert avoiding["mapping"]["warnings"] == []
    assert f"on {avoiding['n_cores']} cores instead of {plain['n_cores']}" in plain["mapping"]["warnings"][0]


@pytest.mark.follows("…, or the name of a benchmark network.…")
def test_compile_a_benchmark_network(tmp_path):
    assert cli("compile", "mnist").exit_code == 2
    values = printed("compile", "mnist-convnet", "-o", tmp_path / "b.loihi")
    loaded = ld.load(tmp_path / "b.loihi")
    assert values["n_cores"] == loaded.mapping.n_cores
    assert [layer["place"] for layer in values["layers"]].count("host") == 1
    assert values["options"]["normalization"] == "none"
    assert values["mapping"] == json.loads(json.dumps(loaded.mapping.values()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("boards", "nahuku"), "nahuku32"),
        (("evaluate", "missing.loihi", "--data", "fashion-mnist"), "no such file"),
        (("run", "{net}", "missing.npy"), "no such file or folder"),
        (("run", "{net}", "{y}"), "wrong shape"),
        (("run", "{net}", "{x}", "-o", "{folder}/missing/out.npy"), "cannot be written"),
        (("run", "{net}", "{x}", "--steps", "0"), "--steps"),
        (("evaluate", "{net}", "--samples", "{x}"), "--samples and --labels go together"),
        (("evaluate", "{net}", "--samples", "{x}", "--labels", "{x}"), "neither classes nor"),
        (("evaluate", "{net}", "--data", "{folder}"), "holds no data that is known"),
        (("evaluate", "{x}"), "is not a deployment"),
        (("compile", "missing.h5"), "no such file"),
        (("compile", "mnist-convnet", "--board", "nahuku"), "nahuku32"),
        (("compile", "mnist-convnet", "--percentile", "101"), "percentile"),
        (("compile", "mnist-convnet", "-o", "{folder}/missing/net.loihi"), "cannot be written"),
        (("report", "{net}", "-o", "{folder}/report.pdf"), ".html, .json, .txt"),
        (("complie",), "Did you mean 'compile'?"),
        (("compile", "mnist-convnt"), "Did you mean 'mnist-convnet'?"),
        (("compile", "{model}", "--calibration", "{folder}/nothing"), "no such file or folder"),
        (("compile", "{net}"), "a deployment, which is compiled already"),
        (("compile", "{x}"), "an array of numbers, not a network"),
        (("compile", "{model}"), "--calibration DATA"),
        (("compile", "mnist-convnet", "--fix", "dense=²"), "NAME=CORES"),
        (("compile", "mnist-convnet", "--fix", "dense"), "NAME=CORES"),
        (("compile", "mnist-convnet", "--layer-synapses", "dense=x"), "NAME=VALUE"),
        (("evaluate", "{net}", "--data", "{x}"), "has no labels"),
        (("run", "{net}", "{scalar}"), "a single number"),
        (("run", "{net}", "{folder}/two.npz"), "Say which: {folder}/two.npz:a"),
        (("run", "{net}", "{folder}/two.npz:c"), "no array of that name (found c, allowed a, b)"),
    ],
)
def test_bad_input_is_one_clear_error_with_status_2(folder, arguments, message):
    names = {"folder": folder, "net": folder / "net.loihi", "model": folder / "model.h5"}
    names |= {name: folder / f"{name}.npy" for name in ("x", "y", "scalar")}
    before = sorted(folder.iterdir())
    result = cli(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2
    assert message.format(**names) in result.stderr
    assert "Traceback" not in result.stderr
    as_json = cli(*(argument.format(**names) for argument in arguments), "--json")
    assert as_json.exit_code == 2
    assert message.format(**names) in json.loads(as_json.stdout)["error"]["message"]
    assert sorted(folder.iterdir()) == before


def test_the_list_of_commands_cuts_no_sentence():
    listed = " ".join(cli("--help").output.split())
    for name, command in commands.commands.items():
        sentence = re.split(r"\.(?= |$)", " ".join(command.help.split()))[0]
        assert f"{name} {sentence}" in listed


def test_a_bundled_set_that_is_spelt_wrongly(folder):
    result = cli("evaluate", folder / "net.loihi", "--data", "fashion-mnits")
    assert result.stderr.endswith("Did you mean 'fashion-mnist'?\n")


def test_every_deploy_option_is_an_option_of_compile():
    known = {param.name: param for param in commands.commands["compile"].params}
    for field in fields(ld.DeployOptions):
        assert known[field.name].help
    assert known["bias_correction_steps"].opts == [
        "--bias-correction-steps",
        "--balance-steps",
    ]  # and its former name


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with a model of the user's own and data for it."""
    from loihi_deploy.frontends import import_tensorflow

    keras = import_tensorflow().keras
    path = tmp_path_factory.mktemp("own")
    keras.utils.set_random_seed(0)  # any order of tests gives this model, and these samples
    layers = [keras.layers.Dense(12, activation="relu", name="dense"), keras.layers.Dense(3, name="scores")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.save(path / "model.keras")
    x = np.random.default_rng(0).uniform(0, 1, (40, 4)).astype(np.float32)
    np.savez(path / "set.npz", x=x, y=model(x).numpy().argmax(1))
    return path


def test_from_an_own_model_to_its_accuracy_in_two_commands(own, tmp_path):
    net = tmp_path / "net.loihi"
    result = cli("compile", own / "model.keras", "--data", own / "set.npz", "-o", net)
    assert result.exit_code == 0, result.stderr
    assert f"Calibrated on 40 samples of {own / 'set.npz'}:x" in result.output
    result = cli("evaluate", net, "--data", own / "set.npz")
    assert result.exit_code == 0
    assert re.search(rf"Accuracy [\d.]+ % \(\d+ of 40\) on 40 samples of {own / 'set.npz'}:x", result.output)


@pytest.mark.parametrize("form", ["brought along", "given", "given one-hot", "none"])
def test_labels_choose_the_presentation_as_those_of_deploy_do(own, tmp_path, form):
    content = np.load(own / "set.npz")
    labels = (content["y"] + (np.arange(40) % 4 == 0)) % 3  # a quarter of them wrong
    np.savez(tmp_path / "set.npz", x=content["x"], y=labels)
    np.save(tmp_path / "y.npy", np.eye(3)[labels] if "hot" in form else labels)
    told = ("--calibration", tmp_path / "set.npz" if form == "brought along" else own / "set.npz:x")
    told += ("--labels", tmp_path / "y.npy") if "given" in form else ()
    result = cli(
        "compile",
        own / "model.keras",
        *told,
        "--steps",
        "auto",
        "--max-drop",
        "0.1",
        "-o",
        tmp_path / "net.loihi",
    )
    assert result.exit_code == 0, result.stderr
    assert ("with their labels" in result.output) == (form != "none")
    made = ld.load(tmp_path / "net.loihi")
    options = ld.DeployOptions(steps="auto", max_drop=0.1)  # four of so few samples
    y = None if form == "none" else labels
    wanted = ld.deploy(
        own / "model.keras", calibration=content["x"].astype(np.float32), options=options, labels=y
    )
    assert (made.program, made.options) == (wanted.program, wanted.options)


@pytest.mark.parametrize("told", [(), ("--synapse", "0.003")])
def test_what_is_given_stays_also_where_it_is_the_default(own, tmp_path, told):
    data = ("--calibration", own / "set.npz:x")
    result = cli("compile", own / "model.keras", *data, "--steps", "20", *told, "-o", tmp_path / "net.loihi")
    assert result.exit_code == 0, result.stderr
    made = ld.load(tmp_path / "net.loihi").options
    assert made.synapse == (0.003 if told else 0.001)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("--labels", "{y}"), "give --calibration, too"),
        (("--calibration", "{x}", "--labels", "{y}"), "decide nothing without --steps"),
        (("--calibration", "{x}", "--labels", "{x}", "--steps", "auto"), "labels must be integers"),
        (("--calibration", "{x}", "--labels", "{y}", "--steps", "auto"), "labels differ in number"),
        (("--calibration", "{x}", "--labels", "none.npy", "--steps", "auto"), "no such file"),
    ],
)
def test_labels_that_decide_nothing_are_refused(own, tmp_path, told, message):
    np.save(tmp_path / "y.npy", np.zeros(7, int))
    names = {"x": own / "set.npz:x", "y": tmp_path / "y.npy"}
    result = cli("compile", own / "model.keras", *(text.format(**names) for text in told))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    with pytest.raises(ld.errors.InputError, match="steps='auto'"):  # nor without the command line
        ld.deploy(own / "model.keras", calibration=np.zeros((7, 4)), labels=np.zeros(7, int))


def test_the_options_file_makes_the_deployment_again(own, tmp_path):
    told = ("--calibration", own / "set.npz:x", "--calibration-samples", 20, "--board", "loihi", "--equalize")
    more = ("--layer-synapses", "dense=0.01", "--fix", "dense=1", "--target-rate", 300, "--max-cores", 5)
    first, again, changed = (tmp_path / f"{name}.loihi" for name in ("first", "again", "changed"))
    toml = tmp_path / "net.toml"
    values = printed("compile", own / "model.keras", *told, *more, "-o", first, "--write-options", toml)
    assert values["options"]["layer_synapses"] == {"dense": 0.01}
    assert values["calibration"] == {
        "name": f"{own / 'set.npz'}:x",
        "samples": 20,
        "of": 40,
        "labels": False,
    }
    assert cli("compile", "--options", toml, "-o", again).exit_code == 0
    assert ld.load(first).digest == ld.load(again).digest
    assert cli("compile", "--options", toml, "--synapse", 0.005, "-o", changed).exit_code == 0
    assert ld.load(changed).options.synapse == 0.005
    assert ld.load(changed).options.target_rate == 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("targt_rate = 3", "unknown option. Did you mean 'target_rate'?\n"),
        ("target_rate = 'x'", "not a valid float"),
        ("target_rate = [1]", "not a value that this option takes"),
        ("neuron = 3", "'if', 'lif'"),
        ("fix = {dense = {a = 1}}", "not a value"),
        ("fix = 3", "NAME=CORES"),
        ("board = ", "cannot be read"),
        ("layer_synapses = {dense = -1}", "out of range"),
        ("scale_firing_rates = ['2', 'dense=3']", "not both"),
    ],
)
def test_options_files_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "net.toml").write_text(content)
    result = cli("compile", "mnist-convnet", "--options", tmp_path / "net.toml")
    assert result.exit_code == 2
    assert message in result.stderr


def test_options_files_hold_tables_and_single_values(tmp_path):
    (tmp_path / "net.toml").write_text(
        'model = "mnist-convnet"\nscale_firing_rates = 2.0\nnormalization = "scale_firing_rates"\n'
        "equalize = false\n[layer_synapses]\ndense = 0.01\n"
    )
    options = printed("compile", "--options", tmp_path / "net.toml")["options"]
    assert options["scale_firing_rates"] == 2.0
    assert options["normalization"] == "scale_firing_rates"
    assert options["layer_synapses"] == {"dense": 0.01}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (("--fix", "dense=1", "--fix", "dense=2"), 'fix = {"dense" = 2}'),
        (("--scale-firing-rates", "2", "--scale-firing-rates", "3"), "scale_firing_rates = 3.0"),
    ],
)
def test_of_a_name_that_is_given_twice_the_last_counts_in_the_file_too(tmp_path, given, written):
    toml, first, again = (tmp_path / name for name in ("net.toml", "first.loihi", "again.loihi"))
    assert cli("compile", "mnist-convnet", *given, "--write-options", toml, "-o", first).exit_code == 0
    assert written in toml.read_text()
    assert cli("compile", "--options", toml, "-o", again).exit_code == 0
    assert ld.load(first) == ld.load(again)


def test_module_and_closed_and_full_standard_output():
    def run(redirection):
        command = f"{sys.executable} -m loihi_deploy boards {redirection}"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)

    plain = run("")
    assert plain.returncode == 0
    assert "nahuku32" in plain.stdout
    gone = run("--json > >(exec true); sleep 0.2; exit $?")
    assert gone.returncode in (0, 141)  # whether `true` has ended before the first line
    assert gone.stderr == ""
    full = run("> /dev/full")
    assert full.returncode == 2
    assert full.stderr == "Error: standard output: cannot be written: No space left on device.\n"
    closed = run(">&-")
    assert closed.returncode == 0
    assert closed.stderr == ""


def test_warnings_come_once_and_grouped(tmp_path, capsys):
    from loihi_deploy.cli.terminal import Terminal
    from loihi_deploy.errors import LoihiDeployWarning

    def work(terminal):
        with terminal():
            for name in ("a", "a", "b"):
                warnings.warn(LoihiDeployWarning(Problem("lost", name, remedy="Try it")), stacklevel=2)
            warnings.warn("of another library", UserWarning, stacklevel=2)
            terminal.figures({"warnings": ["b: lost. Try it.", "c"]}, lambda: None)

    work(Terminal("compile"))
    expected = ["  - a: lost. Try it.", "  - b: lost. Try it.", "  - c"]
    assert capsys.readouterr().err.splitlines() == ["3 warnings:", *expected]
    work(Terminal("compile", as_json=True))
    out, err = capsys.readouterr()
    assert json.loads(out)["warnings"] == [line[4:] for line in expected]
    assert err == ""

    def fails():
        with Terminal("compile", as_json=True)():
            warnings.warn(LoihiDeployWarning(Problem("lost", "a", remedy="Try it")), stacklevel=2)
            raise InputError("No figures")

    with pytest.raises(InputError):
        fails()
    assert capsys.readouterr().err.splitlines() == ["Warning:", "  - a: lost. Try it."]
    work(Terminal("compile", verbose=True))
    assert "of another library" in capsys.readouterr().err


def test_interrupts_end_quietly(folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ld.Deployment, "run", interrupt)
    result = cli("run", folder / "net.loihi", folder / "x.npy")
    assert result.exit_code == 130
    assert result.stderr.strip() == "Interrupted."


def test_energy(folder):
    own = ("--samples", folder / "x.npy", "--steps", 20)
    values = printed("energy", folder / "net.loihi", *own)
    assert values["coefficients"] == "sanafe2025"
    deployment = ld.load(folder / "net.loihi")
    expected = deployment.energy(np.load(folder / "x.npy"), 20).values()
    assert {name: values[name] for name in expected} == json.loads(json.dumps(expected))
    text = cli("energy", folder / "net.loihi", *own, "--coefficients", "davies2018").output
    assert "coefficients 'davies2018'" in text
    both = printed("evaluate", folder / "net.loihi", *own, "--labels", folder / "y.npy", "--energy")
    assert both["energy"] == json.loads(json.dumps(expected))
    assert "energy" not in printed("evaluate", folder / "net.loihi", *own, "--labels", folder / "y.npy")
    wrong = cli("energy", folder / "net.loihi", *own, "--coefficients", "loihi2")
    assert wrong.exit_code == 2
    assert "davies2018, sanafe2025" in wrong.stderr
