"""``loihi-deploy run --stream``: frames from standard input, answers on standard output."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (2, 7, 4))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    graph = Graph(
        (Input("frame", (4,)),),
        (Population("hidden", (12,), NeuronModel(), 1.0, np.zeros(12)),),
        (
            Projection("frame", "hidden", Dense(RNG.normal(size=(12, 4)))),
            Projection("hidden", "classes", Dense(RNG.normal(size=(3, 12))), 0.003),
        ),
        (Readout("classes", (3,), np.zeros(3), over_frames="mean"),),
    )
    deployment = ld.deploy(graph, calibration=X, options=ld.DeployOptions(steps_per_frame=3))
    path = tmp_path_factory.mktemp("deployed") / "net.loihi"
    deployment.save(path)
    return deployment, path


def stream(path, text, *arguments):
    return CliRunner().invoke(commands, ["run", str(path), "--stream", *arguments], input=text)


def answers(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def as_lines(frames, write):
    return "".join(f"{write(frame)}\n" for frame in frames)


@pytest.mark.parametrize(
    "write",
    [
        lambda frame: ",".join(map(repr, map(float, frame))),
        lambda frame: " ".join(map(repr, map(float, frame))),
        lambda frame: json.dumps(frame.tolist()),
        lambda frame: json.dumps({"frame": frame.tolist()}),
    ],
    ids=["commas", "blanks", "array", "object"],
)
def test_answers_are_those_of_a_run_of_each_sequence(deployed, write):
    deployment, path = deployed
    found = answers(stream(path, "\n" + as_lines(X[0], write) + "\n\n" + as_lines(X[1], write)))
    assert len(found) == 2 * (7 + 1)
    whole = deployment.run(X, by_frame=True).by_frame["classes"]
    for sequence in range(2):
        of_it = found[8 * sequence : 8 * sequence + 8]
        frames = [answer["frame"] for answer in of_it if answer["frame"] is not None]
        assert frames == [*range(len(frames) - 1), 6]
        assert len(frames) > 4
        for answer in of_it:
            if answer["frame"] is not None:
                assert answer["outputs"] == whole[sequence, answer["frame"]].tolist()
                assert answer["decision"] == whole[sequence, answer["frame"]].argmax()
        assert of_it[-1]["frame"] == 6
        assert of_it[-1]["real_time_factor"] > 0


@pytest.mark.follows("Give numbers with commas, or JSON")
@pytest.mark.parametrize(
    "text", ["a,b\n", "[1, [2]]\n", '[1, {"a": 2}]\n', "[" * 100_000 + "\n", b"\xff\xfe\n"]
)
def test_what_is_no_frame_is_said_with_what_is(deployed, text):
    refused = stream(deployed[1], text)
    assert refused.exit_code == 2
    assert "Give numbers with commas, or JSON" in refused.stderr
    answers(stream(deployed[1], "1,2,3,4\n"))
    answers(stream(deployed[1], "[1, 2, 3, 4]\n"))


def test_steps_of_a_frame_are_given(deployed):
    deployment, path = deployed
    found = answers(
        stream(path, as_lines(X[0], lambda frame: json.dumps(frame.tolist())), "--steps-per-frame", "9")
    )
    assert (
        found[-1]["outputs"]
        == deployment.run(X[:1], steps_per_frame=9, by_frame=True).by_frame["classes"][0, -1].tolist()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n", "wrong shape"),
        ("1,2,x,4\n", "line 1"),
        ("[1,2\n", "line 1"),
        ('{"other": [1,2,3,4]}\n', "inputs"),
    ],
)
def test_lines_that_are_no_frames_are_refused(deployed, text, said):
    result = stream(deployed[1], text)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.follows("Give numbers with commas, or JSON")
def test_lines_of_numbers_and_of_json_are_frames(deployed):
    assert stream(deployed[1], "1,2,x,4\n").exit_code == 2
    assert len(answers(stream(deployed[1], "1,2,3,4\n[1,2,3,4]\n"))) == 3


def test_options_of_other_runs_are_refused(deployed, tmp_path):
    np.save(tmp_path / "x.npy", X)
    for arguments in ([str(tmp_path / "x.npy")], ["--steps", "10"], ["-o", str(tmp_path / "y.npy")]):
        assert stream(deployed[1], "", *arguments).exit_code == 2
    result = CliRunner().invoke(commands, ["run", str(deployed[1])])
    assert result.exit_code == 2
    assert "SAMPLES" in result.output


def test_every_frame_is_answered_written_and_counted(deployed, tmp_path):
    """As predict and evaluate have it; the first frame has no answer here."""
    readout = replace(deployed[0].graph.readouts[0], over_frames="each", first_frame=1)
    source = replace(deployed[0].source, readouts=(readout,))
    deployment = ld.deploy(source, calibration=X, options=ld.DeployOptions(steps_per_frame=3))
    deployment.save(tmp_path / "net.loihi")
    y, out = RNG.integers(0, 3, (2, 6)), tmp_path / "out.npy"
    np.savez(tmp_path / "set.npz", x=X, y=y)
    np.savez(tmp_path / "values.npz", x=X, y=deployment.predict(X) + 0.5)

    def printed(*arguments):
        result = CliRunner().invoke(commands, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "(2, 6, 3) written" in printed(
        "run", tmp_path / "net.loihi", f"{tmp_path / 'set.npz'}:x", "-o", out
    )
    assert (np.load(out) == deployment.predict(X)).all()
    evaluate = ("evaluate", tmp_path / "net.loihi", "--data", tmp_path / "set.npz", "--by-frame")
    found, figures = deployment.evaluate(X, y), json.loads(printed(*evaluate, "--json"))
    assert (figures["n_correct"], figures["n_total"]) == (found.n_correct, 12)
    assert figures["accuracy_by_frame"] == found.accuracy_by_frame.tolist()
    text = printed(*evaluate)
    assert "of 12 frames) on 2 samples" in text
    assert f"frame    2: {100 * found.accuracy_by_frame[0]:.2f} %" in text
    values = json.loads(printed(*evaluate[:3], tmp_path / "values.npz", "--json"))
    assert values["mean_absolute_error"] == pytest.approx(0.5)
