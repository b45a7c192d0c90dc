"""What the command line advises is followed, and the command does its work."""

import sys

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import LoihiDeployWarning
from tests.cli.test_commands import cli
from tests.frontends.keras_models import chain, dense, layer
from tests.remedies import follows
from tests.test_remedies import DEPLOYMENT, X, Y


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a deployment, samples and labels."""
    path = tmp_path_factory.mktemp("remedies")
    DEPLOYMENT.save(path / "net.loihi")
    np.save(path / "x.npy", X)
    np.save(path / "y.npy", Y)
    np.save(path / "values.npy", np.zeros((len(X), 3)))
    np.save(path / "pairs.npy", np.full((len(X), 2), 0.5))
    np.save(path / "train.npy", np.random.default_rng(0).random((20, 5)))
    chain(dense(4, activation="relu"), dense(3), shape=(5,))().save(path / "model.keras")
    (path / "bad.toml").write_text("steps = ", encoding="utf-8")
    assert cli("compile", "nxtf-mnist", "--write-options", path / "good.toml").exit_code == 0
    return path


EVALUATE = ("evaluate", "net.loihi", "--steps", "4", "--samples", "x.npy", "--labels")


@pytest.mark.parametrize(
    ("broken", "advised"),
    [
        follows(
            "Give --to",
            ("export", "net.loihi", "-o", "out.v1", "--samples", "x.npy"),
            ("export", "net.loihi", "-o", "out.v1", "--samples", "x.npy", "--to", "sanafe"),
        ),
        follows(
            "Give --samples DATA",
            ("export", "net.loihi", "-o", "out", "--to", "sanafe"),
            ("export", "net.loihi", "-o", "out", "--to", "sanafe", "--samples", "x.npy"),
        ),
        follows(
            "Give one, such as --max-chips 1, or --baseline FILE; see --help",
            ("check", "net.loihi"),
            ("check", "net.loihi", "--max-chips", "1"),
        ),
        follows(
            "Give class numbers as integers, or the values that the network shall give",
            (*EVALUATE, "pairs.npy"),
            (*EVALUATE, "y.npy"),
            id="class numbers",
        ),
        follows(
            "Give class numbers as integers, or the values that the network shall give",
            (*EVALUATE, "pairs.npy"),
            (*EVALUATE, "values.npy"),
            id="values",
        ),
        follows(
            "Give --data DATA (a folder of images by class, IDX files, .npz with x and y, .csv with a column 'label'…",
            ("verify", "net.loihi", "--steps", "4", "--reference-samples", "0"),
            ("verify", "net.loihi", "--steps", "4", "--reference-samples", "0", "--samples", "x.npy"),
        ),
        follows(
            "Give some hundred training samples, --calibration DATA with one of: …; or keep…",
            ("compile", "model.keras"),
            ("compile", "model.keras", "--calibration", "train.npy"),
            id="calibration samples",
        ),
        follows(
            "Give some hundred training samples, --calibration DATA with one of: …; or keep…",
            ("compile", "model.keras"),
            ("compile", "model.keras", "--normalization", "none"),
            id="the model's own gains",
        ),
        follows(
            "Give a TOML file such as --write-options makes",
            ("compile", "nxtf-mnist", "--options", "bad.toml"),
            ("compile", "nxtf-mnist", "--options", "good.toml"),
        ),
    ],
)
def test_what_is_advised_works(broken, advised, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli(*broken).exit_code == 2
    result = cli(*advised)
    assert result.exit_code == 0, result.stderr


PIXELS = "for pictures values of 0 to 255 (on the command line --pixels 0..255)"


@pytest.mark.follows(
    "Give what the model was trained on, for pictures values of 0 to 255 (on the command line --pixels 0..255), here "
    "and in runs"
)
def test_pictures_for_a_model_that_scales_them_by_itself(tmp_path):
    images = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    for k, each in enumerate(pixels):
        (tmp_path / "pictures" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        images.fromarray(each).save(tmp_path / "pictures" / "ab"[k % 2] / f"{k}.png")
    made = chain(
        *(layer("Rescaling", 1 / 255), layer("Flatten"), dense(6, activation="relu")),
        *(dense(5, activation="relu"), dense(2)),
        shape=(8, 8, 1),
    )()
    made.save(tmp_path / "model.keras")
    command = ("compile", tmp_path / "model.keras", "--calibration", tmp_path / "pictures")
    assert PIXELS in " ".join(cli(*command).stderr.split())
    assert PIXELS not in " ".join(cli(*command, "--pixels", "0..255").stderr.split())
    x = pixels[..., None].astype(np.float32)
    with pytest.warns(LoihiDeployWarning, match="values up to 1, times 0.0039"):
        deployment = ld.deploy(made, calibration=x / 255)
    assert any(PIXELS in note for note in deployment.notes)
    assert not any(PIXELS in note for note in ld.deploy(made, calibration=x).notes)


@pytest.mark.follows("Give a path")
def test_a_path_where_standard_output_is_closed(folder, monkeypatch):
    from loihi_deploy.cli.outputs import STANDARD_OUTPUT, write_output
    from loihi_deploy.errors import OutputError

    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError):
        write_output(STANDARD_OUTPUT, DEPLOYMENT.save)
    write_output(folder / "again.loihi", DEPLOYMENT.save)
    assert ld.load(folder / "again.loihi") == DEPLOYMENT
