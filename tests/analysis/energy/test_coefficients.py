"""Files of coefficients: what comes with the package, and what is refused."""

import re

import pytest

from loihi_deploy.analysis.energy import coefficient_sets, load_coefficients
from loihi_deploy.analysis.energy.measured import measured
from loihi_deploy.chip.boards import board_names, config_folder
from loihi_deploy.errors import EnergyConfigError

FOLDER = config_folder() / "energy"


def test_sets_that_come_with_the_package():
    assert coefficient_sets() == ("davies2018", "sanafe2025")
    assert not set(coefficient_sets()) & set(board_names())
    for name in coefficient_sets():
        assert load_coefficients(name) == load_coefficients(FOLDER / f"{name}.toml")


def test_published_numbers_are_those_of_the_sources():
    davies, sanafe = load_coefficients("davies2018"), load_coefficients("sanafe2025")
    assert (davies.access_pj, davies.access_pj + davies.update_pj) == (52.0, 81.0)
    assert (davies.access_ns, round(davies.access_ns + davies.update_ns, 1)) == (5.3, 8.4)
    assert davies.synapse_pj == (23.6,) * 3
    assert [davies.barrier_ns(tiles) for tiles in (1, 32)] == [113.0, 465.0]
    assert davies.barrier_ns(2) == pytest.approx(113 + (465 - 113) / 31)
    assert sanafe.synapse_pj == (24.0, 35.5, 33.6)
    assert sanafe.synapse_ns == (3.1, 3.8, 4.7)
    found = [sanafe.barrier_ns(tiles) for tiles in (1, 2, 3, 4, 28, 29, 32)]
    assert found == [600, 1000, 1000, 1400, 1400, 1800, 1800]


def changed(tmp_path, pattern, replacement):
    text = (FOLDER / "sanafe2025.toml").read_text()
    new, n = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    assert n == 1
    path = tmp_path / "own.toml"
    path.write_text(new)
    return path


@pytest.mark.parametrize(
    ("pattern", "replacement", "what", "where"),
    [
        (r"^spike_pj = .*$", "", "missing", "spike_pj"),
        (r"^spike_pj = \{ value = 69.3", "spike_pj = { value = -69.3", "not a cost", "spike_pj"),
        (r"^spike_pj = \{ value = 69.3", "spike_pj = { value = inf", "not a cost", "spike_pj"),
        (
            r"^spike_pj = \{ value = 69.3",
            'spike_pj = { value = "much"',
            "value of the wrong type",
            "spike_pj",
        ),
        (r"^spike_pj = \{ value = 69.3", "spike_pj = { value = true", "value of the wrong type", "spike_pj"),
        (r"^spike_pj =", "spike_pJ =", "unknown key", "spike_pJ"),
        (
            r"^spike_pj = \{ value = 69.3, source",
            "spike_pj = { value = 69.3, sauce",
            "wrong entry",
            "spike_pj",
        ),
        (r'^(spike_pj = .*trust = ").*"', r'\1"', "no trust", "spike_pj"),
        (
            r"^barrier_tiles = \{ value = \[1, 2",
            "barrier_tiles = { value = [2, 1",
            "not rising",
            "barrier_tiles",
        ),
        (
            r"^barrier_us = \{ value = \[0.6, ",
            "barrier_us = { value = [",
            "not a time for each number of tiles",
            "barrier_us",
        ),
        (
            r"^energy_high = \{ value = 1",
            "energy_high = { value = 0",
            "the estimate is out of",
            "energy_high",
        ),
        (
            r"^chip_barrier_low_us = \{ value = 14",
            "chip_barrier_low_us = { value = 17",
            "range is empty",
            "chip_",
        ),
        (r"^description = .*$", "", "missing", "description"),
    ],
)
def test_bad_entries_are_named(tmp_path, pattern, replacement, what, where):
    with pytest.raises(EnergyConfigError) as caught:
        load_coefficients(changed(tmp_path, pattern, replacement))
    assert any(what in p.what and where in p.where for p in caught.value.problems)


def test_all_bad_entries_at_once_and_what_helps(tmp_path):
    path = changed(tmp_path, r"^spike_pj =", "spike_pJ =")
    with pytest.raises(EnergyConfigError) as caught:
        load_coefficients(path)
    assert {p.what for p in caught.value.problems} == {"unknown key", "missing"}
    assert any("Did you mean 'spike_pj'?" in p.remedy for p in caught.value.problems)
    path.write_text(path.read_text().replace("spike_pJ", "spike_pj"))
    assert load_coefficients(path).spike_pj == 69.3


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(EnergyConfigError, match="no such set") as caught:
        load_coefficients("loihi2")
    assert "davies2018, sanafe2025" in str(caught.value)
    with pytest.raises(EnergyConfigError, match="cannot be read"):
        load_coefficients(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 1")
    with pytest.raises(EnergyConfigError, match="not a TOML file"):
        load_coefficients(str(tmp_path / "bad.toml"))


def test_measurements_on_hardware():
    rows = measured("loihi1")
    assert {row.mj for row in rows} == {0.27, 0.66, 102.0}
    assert all(row.source and row.trust for row in rows)
    assert measured("no such chip") == ()
