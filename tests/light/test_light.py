"""The checks of a light installation, beside everything else and with numpy 1.26."""

import subprocess
import sys

import pytest

from tests.light import check


def test_deploying_and_running_give_the_stored_integers():
    check.check_integers()


def test_the_integers_do_not_depend_on_how_the_machine_adds_up():
    code = "from tests.light import check; check.check_integers()"
    environment = {"OPENBLAS_CORETYPE": "Nehalem", "PYTHONPATH": str(check.EXPECTED.parents[2])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_other_integers_are_noticed(monkeypatch):
    monkeypatch.setitem(check.OPTIONS, "defaults", {"target_rate": 300.0})
    with pytest.raises(AssertionError, match="defaults: populations"):
        check.check_integers()


def test_files_reports_and_commands(tmp_path):
    check.check_files_and_reports(tmp_path)
    check.check_commands(tmp_path)
