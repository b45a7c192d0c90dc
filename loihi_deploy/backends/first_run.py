"""The first run on a machine: the kernels of the host are compiled by a second process beside those of the chip.

Threads would not help, as a compiler written in Python holds the interpreter's lock.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from loihi_deploy.backends.line import Line
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.engines.kept_code import is_missing
from loihi_deploy.engines.threads import VARIABLE
from loihi_deploy.errors import LoihiDeployWarning, Problem
from loihi_deploy.ir.program import Program

BESIDE = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from loihi_deploy.backends.first_run import compile_host; compile_host(sys.stdin.buffer)"
)
"""What the second process runs: the package that this one has imported."""


def compile_missing(line: Line, threads: int) -> None:
    """Compile what a line runs, by two processes, where neither the kernels of the host nor the chip's are kept.

    If the second process fails, which is warned of, this one compiles all.

    Parameters
    ----------
    line : Line
    threads : int
        That the run may use: with one, no second process is started.
    """
    if threads == 1 or not (is_missing(line.encoder.kernel) and is_missing(line.chip.kernel)):
        return
    if not sys.executable or hasattr(sys, "frozen"):
        return
    with TemporaryFile() as file:
        pickle.dump(sys.path, file)
        pickle.dump(line.program, file)
        file.seek(0)
        with subprocess.Popen(
            [sys.executable, "-c", BESIDE],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, VARIABLE: "1"},
        ) as process:
            _run_chip(line)
            told = process.communicate()[1].decode(errors="replace").splitlines()
    if process.returncode != 0:
        problem = Problem(
            "the host's kernels could not be compiled by a process beside this one, which compiles them now",
            sys.executable,
            told[-1] if told else f"exit status {process.returncode}",
            remedy="To do without a second process, set the environment variable LOIHI_DEPLOY_THREADS to 1",
        )
        warnings.warn(LoihiDeployWarning(problem), stacklevel=2)


def _run_chip(line: Line) -> None:
    """Run the chip part with one sample, for no steps."""
    chip, program = line.chip, line.program
    chip.run(
        Events.empty(line.encoder.sizes, 1, 0),
        chip.start(1),
        0,
        0,
        chip.noise_values(None, 0),
        {},
        chip.recording({}),
        (np.zeros((1, 0, 0), bool), np.zeros((1, 0, 0), np.int32)),
        chip.empty_counts(1),
        {b.population: np.zeros((1, 1, line.on_chip[b.population]), np.int32) for b in program.bias_inputs},
    )


def compile_host(stream: IO[bytes]) -> None:
    """Compile the kernels that the host part of a program, pickled, runs: present one sample, for no steps."""
    program: Program = pickle.load(stream)
    encoder = Encoder(program.encoder, program.host_limit)
    frames = encoder.together({node.name: np.zeros((1, 1, node.size)) for node in program.encoder.inputs})
    encoder.run(frames, 0, 0, 1, encoder.start(1), encoder.none(), None, encoder.none())
    sizes = {p.name: p.size for p in program.populations}
    decoder = Decoder(program, sizes)
    n_outputs = sum(node.size for node in program.readout.readouts)
    decoder.run(Events.empty(sizes, 1, 0), decoder.start(1), np.zeros((1, 0, n_outputs)))
