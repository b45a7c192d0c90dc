"""The first run on a machine: two processes compile, and give what one gives."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from loihi_deploy.backends import RunOptions, first_run
from loihi_deploy.backends.job import checked_job
from loihi_deploy.backends.line import line
from loihi_deploy.backends.running import run
from loihi_deploy.engines.host import kernels as host
from loihi_deploy.errors import LoihiDeployWarning
from loihi_deploy.ir.program import HostLimit, Noise
from tests.backends.test_halves import program, samples

SCRIPT = """
import sys
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.line import line
from loihi_deploy.backends.running import run
from loihi_deploy.engines.host.kernels import decode
from tests.backends.test_halves import program, samples
made = program()
result = run(made, samples(2), RunOptions(steps=50, threads=2))
kernels = line(made).encoder.kernel, line(made).chip.kernel, decode
print([sum(kernel.stats.cache_misses.values()) for kernel in kernels], [len(kernel.signatures) for kernel in kernels])
print(result.outputs.tolist())
"""


def in_new_process(folder):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    compiled, outputs = done.stdout.splitlines()
    return compiled, outputs


def test_the_kernels_of_the_host_come_from_another_process(tmp_path):
    expected = run(program(), samples(2), RunOptions(steps=50)).outputs.tolist()
    assert in_new_process(tmp_path) == ("[0, 1, 0] [1, 1, 1]", str(expected))
    assert in_new_process(tmp_path) == ("[0, 0, 0] [1, 1, 1]", str(expected))


@pytest.mark.parametrize(
    "made",
    [
        program(),
        program(biased=("b",)),
        program(noise=Noise(10, 1, False)),
        program(hosts=("a", "d"), decoded=("b", "d")),
    ],
)
def test_runs_need_just_what_was_compiled(made):
    """One sample of no steps has the types of any."""
    job = checked_job(made, samples(3), RunOptions(steps=20, seed=3))
    list(job.chunks())
    kernels = job.line.encoder.kernel, job.line.chip.kernel, host.decode
    known = [list(kernel.signatures) for kernel in kernels]
    first_run._run_chip(job.line)
    first_run.compile_host(io.BytesIO(pickle.dumps(made)))
    assert [kernel.signatures for kernel in kernels] == known


def test_a_limit_of_the_host_is_compiled_beside(monkeypatch):
    calls = []
    monkeypatch.setattr("loihi_deploy.engines.host.holding_back._hold_back", lambda *_: calls.append(1))
    made = program()
    limited = type(made)(
        made.encoder,
        made.sources,
        made.populations,
        made.synapses,
        made.readout,
        made.links,
        host_limit=HostLimit(3, np.ones((1, 50), np.int64)),
    )
    first_run.compile_host(io.BytesIO(pickle.dumps(limited)))
    assert calls == [1]


@pytest.fixture
def started(monkeypatch):
    """Processes that are started, where no kernel is kept."""
    commands = []
    start = subprocess.Popen

    def popen(command, **options):
        commands.append(command)
        return start(command, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(first_run, "is_missing", lambda _: True)
    monkeypatch.setattr(first_run, "BESIDE", "pass")
    return commands


def test_a_second_process_is_started_for_two_threads(started):
    first_run.compile_missing(line(program()), 2)
    assert started == [[sys.executable, "-c", "pass"]]


@pytest.mark.follows("To do without a second process, set the environment variable LOIHI_DEPLOY_THREADS to 1")
def test_what_keeps_the_second_process_from_compiling_is_told(started, monkeypatch):
    expected = run(program(), samples(), RunOptions(steps=30, threads=1)).outputs
    assert not started
    monkeypatch.setattr(first_run, "BESIDE", "import sys; sys.exit('no room')")
    monkeypatch.setenv("LOIHI_DEPLOY_THREADS", "2")
    with pytest.warns(LoihiDeployWarning, match="could not be compiled by a process beside") as told:
        result = run(program(), samples(), RunOptions(steps=30))
    assert told[0].message.problem.value == "no room"
    assert told[0].message.problem.where == sys.executable
    assert (result.outputs == expected).all()
    monkeypatch.setattr(first_run, "BESIDE", "import sys; sys.exit(3)")
    with pytest.warns(LoihiDeployWarning, match="exit status 3"):
        run(program(), samples(), RunOptions(steps=30))
    assert len(started) == 2
    # the advice
    monkeypatch.setenv("LOIHI_DEPLOY_THREADS", "1")
    assert (run(program(), samples(), RunOptions(steps=30)).outputs == expected).all()
    assert len(started) == 2


def test_no_second_process_where_one_cannot_help(started, monkeypatch):
    made = line(program())
    kernels = made.encoder.kernel, made.chip.kernel
    first_run.compile_missing(made, 1)
    for kept in kernels:
        monkeypatch.setattr(first_run, "is_missing", lambda kernel, kept=kept: kernel is not kept)
        first_run.compile_missing(made, 2)
    monkeypatch.setattr(first_run, "is_missing", lambda _: True)
    for name, value in (("executable", ""), ("executable", None)):
        with monkeypatch.context() as without:
            without.setattr(sys, name, value)
            first_run.compile_missing(made, 2)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    first_run.compile_missing(made, 2)
    assert not started
