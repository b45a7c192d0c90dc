"""Files of every version of the format load, and give the spikes that they gave when they were written."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.artifact import VERSION

FILES = sorted((Path(__file__).parent / "files").glob("version_*/*.loihi"))
STEPS = 30


def test_there_are_files_of_every_version():
    assert {path.parent.name for path in FILES} == {f"version_{n}" for n in range(1, VERSION + 1)}
    kinds = [
        {path.name for path in FILES if path.parent.name == f"version_{n}"} for n in range(1, VERSION + 1)
    ]
    assert all(later >= earlier for earlier, later in itertools.pairwise(kinds))
    assert len(kinds[0]) == 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_gives_the_spikes_that_it_gave(path):
    deployment = ld.load(path)
    with np.load(path.with_suffix(".npz")) as stored:
        wanted = dict(stored)
    names = [p.name for p in deployment.program.populations]
    result = deployment.run(wanted["x"], steps=STEPS, record=names, seed=3)
    for name in names:
        spikes = result.recorded[name]["spikes"]
        assert (np.packbits(spikes, axis=-1) == wanted[f"spikes_{name}"]).all(), name
    assert any(result.recorded[name]["spikes"].any() for name in names)
    np.testing.assert_allclose(result.outputs, wanted["outputs"], rtol=1e-12, atol=1e-12)
    assert deployment.mapping.program_digest == deployment.program.digest


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_saved_again_is_one_of_today(path, tmp_path):
    deployment = ld.load(path)
    deployment.save(tmp_path / "again.loihi")
    again = ld.load(tmp_path / "again.loihi")
    assert again == deployment


def test_an_own_chip_of_version_1_keeps_the_arithmetic_that_it_ran_with():
    """Version 1 read 18 accumulator bits from the chip's file, and computed with 21."""
    (path,) = (path for path in FILES if path.parent.name == "version_1" and path.stem == "own_chip")
    deployment = ld.load(path)
    assert deployment.board.chip.arithmetic.accumulator_bits == 18
    assert deployment.program.arithmetic.accumulator_bits == 21
    assert deployment.program.arithmetic.threshold_mantissa_max == 5000
