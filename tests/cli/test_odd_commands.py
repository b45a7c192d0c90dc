"""Every parameter of every command takes odd texts, one at a time; what comes back is a result or one paragraph."""

import json
from itertools import islice
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy import bench, demo
from loihi_deploy.bench import networks, selftest
from loihi_deploy.cli import commands
from loihi_deploy.data.named import BUNDLED
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "command_line.schema.json").read_text("utf-8"))
RNG = np.random.default_rng(0)
GRAPH = Graph(
    (Input("image", (4, 4, 1)),),
    (
        Population("[/x]", (4, 4, 1), NeuronModel(), 1.0, 0.0),
        Population("[bold]", (6,), NeuronModel(), 1.0, 0.1),
    ),
    (
        Projection("image", "[/x]", Conv2D(np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (4, 4, 1), (4, 4, 1))),
        Projection("[/x]", "[bold]", Dense(RNG.normal(size=(6, 16))), 0.005),
        Projection("[bold]", "classes", Dense(RNG.normal(size=(3, 6))), 0.005),
    ),
    (Readout("classes", (3,), np.zeros(3)),),
)
ODD = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "2.5",
        "1e400",
        "nan",
        "inf",
        "9" * 40,
        "²",
        "True",
        "=",
        "=1",
        "a=",
        "a=b",
    ),
    *(
        "[/x]",
        "[bold]",
        "[/x]=1",
        "[/x]=2x2x1",
        "[bold]=-1",
        "[bold]=9999999999",
        "x" * 300,
        "nul\0",
        "..",
        "a/",
        "a b",
    ),
    *(
        "missing",
        "missing.npy",
        "missing.npz:x",
        "folder",
        "scalar.npy",
        "empty.npy",
        "text.npy",
        "set.npz",
        "set.npz:",
    ),
    *(
        "set.npz:x",
        "x.npy",
        "y.npy",
        "broken.npy",
        "net.loihi",
        "out/of/here.loihi",
        "a.csv",
        "broken.toml",
        "fashion-mnist",
    ),
)
IMAGES = ld.data.fashion_mnist(10, 10)
NUMBERS = ODD[:18]
# Commands with arguments that are right, and that are not replaced.
RIGHT = {
    "boards": ([], {}),
    "report": (["net.loihi"], {"samples": "x.npy", "labels": "y.npy", "steps": "3"}),
    "run": (["net.loihi", "x.npy"], {"steps": "3"}),
    "evaluate": (["net.loihi"], {"samples": "x.npy", "labels": "y.npy", "steps": "3"}),
    "verify": (["net.loihi"], {"samples": "x.npy", "steps": "3", "reference_samples": "0"}),
    "check": (["net.loihi"], {"max_chips": "1", "samples": "x.npy", "labels": "y.npy", "steps": "3"}),
    "energy": (["net.loihi"], {"samples": "x.npy", "steps": "3"}),
    "export": (["net.loihi"], {"output": "exported", "form": "sanafe", "samples": "x.npy", "steps": "3"}),
    "preflight": (["net.loihi"], {}),
    "selftest": ([], {"board": "loihi", "backend": "numpy"}),
    "compile": (["tiny"], {"calibration": "x.npy", "bias_correction_steps": "3"}),
    "explore": (["tiny"], {"samples": "x.npy", "trials": "1", "space": "target_rate=500", "max_drop": "1"}),
    "bench": ([], {}),
    "demo": ([], {}),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(networks.NETWORKS, "tiny", lambda: GRAPH)
    monkeypatch.setitem(BUNDLED, "fashion-mnist", lambda: IMAGES)
    monkeypatch.setattr(bench, "bench", lambda *_, **__: [])
    monkeypatch.setattr(selftest, "_deployments", lambda board: [])
    values = {"reference_spikes_equal": True, "data": "d", "n_test": 1, "comparison": [], "steps": 1}
    figures = {"reference_samples": 1, "layers": [], "n_cores": 1, "n_chips": 1, "n_neurons": 1, "board": "b"}
    kinds = [f"{what}_per_{when}" for what in ("multiplies", "additions") for when in ("frame", "step")]
    figures |= {"never_wraps": [], "warnings": [], "encoder": {"neurons": [], **dict.fromkeys(kinds, 0)}}
    monkeypatch.setattr(demo, "run_demo", lambda *_: {**values, **figures})
    x = RNG.uniform(0, 1, (3, 4, 4, 1))
    ld.deploy(GRAPH, "loihi", x).save("net.loihi")
    np.save("x.npy", x)
    np.save("y.npy", np.arange(3))
    np.savez("set.npz", x=x, y=np.arange(3))
    np.save("scalar.npy", 3.0)
    np.save("empty.npy", np.zeros((0, 4, 4, 1)))
    np.save("text.npy", np.array(["a"]))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.toml").write_bytes(b"=\xff")
    (tmp_path / "a.csv").write_text("a,label\n1,x\n")
    (tmp_path / "folder").mkdir()
    return tmp_path


def outcome(arguments):
    """None where a command ends as it should; otherwise what was wrong."""
    result = CliRunner().invoke(commands, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {result.exception}"
    if result.exit_code not in (0, 1, 2):
        return f"exit status {result.exit_code}"
    if result.exit_code == 2 and "Error: " not in result.stderr and "--json" not in arguments:
        return f"no error is shown: {result.output}"
    return None


EVERY = {"explore": 4, "verify": 2}
"""Commands that compute for long are given only every so many of the texts."""


def with_odd_parameters(name):
    """Arguments of a command with an odd text for each of its parameters in turn."""
    yield from islice(_with_odd_parameters(name), None, None, EVERY.get(name, 1))


def _with_odd_parameters(name):
    positional, named = RIGHT[name]
    for param in commands.commands[name].params:
        others = {key: value for key, value in named.items() if key != param.name}
        flags = {p.name: p.opts[0] for p in commands.commands[name].params}
        given = [text for key, value in others.items() for text in (flags[key], value)]
        if param.param_type_name == "option" and not param.is_flag:
            is_text = param.type.name in ("text", "Path")
            yield from ([*positional, *given, param.opts[0], odd] for odd in (ODD if is_text else NUMBERS))
        elif param.param_type_name == "option":
            yield from ([*positional, *given, flag] for flag in (*param.opts, *param.secondary_opts))
        else:
            k = list(flags).index(param.name)
            yield from ([*positional[:k], odd, *positional[k + 1 :], *given] for odd in ODD)


@pytest.mark.parametrize("name", RIGHT)
def test_odd_texts_give_a_result_or_one_paragraph(folder, name):
    positional, named = RIGHT[name]
    flags = {param.name: param.opts[0] for param in commands.commands[name].params}
    right = [*positional, *(text for key, value in named.items() for text in (flags[key], value))]
    result = CliRunner().invoke(commands, [name, *right])
    assert result.exit_code in ((0, 1) if name == "preflight" else (0,)), result.output  # 1: no board is here
    printed = json.loads(CliRunner().invoke(commands, [name, *right, "--json"]).stdout)
    assert printed["command"] == ("loihi-deploy report" if name == "report" else name)
    jsonschema.validate(printed, SCHEMA)
    raw = {}
    for arguments in with_odd_parameters(name):
        if (found := outcome([name, *arguments])) is not None:
            raw[" ".join(arguments)] = found
    assert raw == {}


def test_what_is_printed_of_errors_and_of_values_fits_the_schema(folder):
    np.save("wanted.npy", RNG.normal(size=(3, 3)))
    for arguments in (
        ["evaluate", "missing.loihi", "--samples", "x.npy"],
        ["evaluate", "net.loihi", "--samples", "x.npy", "--labels", "wanted.npy", "--steps", "3"],
        ["evaluate", "net.loihi", "--data", "set.npz", "--steps", "3", "--energy", "--by-step"],
        ["report", "net.loihi", "net.loihi"],
        ["report", "net.loihi", "-o", "report.txt"],
        ["selftest", "--export", "tests", "--board", "loihi"],
    ):
        jsonschema.validate(json.loads(CliRunner().invoke(commands, [*arguments, "--json"]).stdout), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 1, "command": "run", "warnings": []}, SCHEMA)


def test_every_command_is_tried_with_many_texts():
    assert set(RIGHT) == set(commands.commands)
    assert sum(len(list(with_odd_parameters(name))) for name in RIGHT) > 1000
