"""What the command line does to its own process."""

import os
import subprocess
import sys

import pytest

CODE = r"""
import os, sys
from loihi_deploy.cli.process import quiet_errors, without
with quiet_errors():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
    os.write(2, b"I0000 00:00:1795637307.775921    4212 port.cc:153] oneDNN custom operations are on.\n")
    os.write(2, b"E0000 00:00:1795637796.301880   10941 cuda_platform.cc:52] failed call to cuInit\n")
    os.write(2, b"2024-01-02 03:04:05.678: I tensorflow/core/util/port.cc:1] oneDNN\n")
    os.write(2, b"F0000 00:00:1795637796.301880   10941 x.cc:52] the process ends\n")
    os.write(2, b"Info that is no log line\n")
    print("Info from Python", file=sys.stderr)
    sys.stdout.write("out")
os.write(2, b"I0000 00:00:1795637307.775921    4212 port.cc:153] afterwards\n")
without("nengo_dl", "json")
import json
try:
    import nengo_dl
except ImportError:
    print(" no nengo_dl")
"""


@pytest.fixture(scope="module")
def result():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, check=True
    )


def test_log_lines_of_compiled_libraries_stay_out(result):
    lines = result.stderr.splitlines()
    assert sorted(lines[:-1]) == [  # in two streams, which need not keep their order
        "F0000 00:00:1795637796.301880   10941 x.cc:52] the process ends",
        "Info from Python",
        "Info that is no log line",
    ]
    assert lines[-1].endswith("afterwards")


def test_what_is_not_needed_is_not_imported(result):
    assert result.stdout == "out no nengo_dl\n"


def test_a_process_that_leaves_says_everything_and_keeps_its_status():
    code = (
        "import atexit, sys; from loihi_deploy.cli.process import leave; "
        "atexit.register(print, 'at the end'); print('said'); print('told', file=sys.stderr); leave(3)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (3, "said\nat the end\n", "told\n")
