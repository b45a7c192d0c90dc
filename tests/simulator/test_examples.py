"""The examples for Nengo run and say what they should."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("nef_oscillator.py", ["--neurons", "200", "--seconds", "0.5"], "Turns per second"),
        ("backend_choice.py", ["--neurons", "40", "--seconds", "0.1"], "loihi_deploy"),
    ],
)
def test_example(name, arguments, said):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    result = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert said in result.stdout
