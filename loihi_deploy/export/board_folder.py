"""Write a deployment and a script that runs it where NxSDK does: on Python 3.6 to 3.8, without this package."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from loihi_deploy.analysis.frames import reading_of
from loihi_deploy.analysis.latency import answer_delay
from loihi_deploy.backends import board_driver
from loihi_deploy.backends.blocks import Tree, describe
from loihi_deploy.backends.preflight import OnBoard, program_problems
from loihi_deploy.checked import checked
from loihi_deploy.deployment import Deployment
from loihi_deploy.engines.host.neurons import (
    effective_taus,
    initial_voltage,
    lowpass_factor,
    summed_threshold,
)
from loihi_deploy.errors import BackendError, Problem
from loihi_deploy.files import make_folder, write_file, written
from loihi_deploy.ir import Graph, Population, Projection, Transform
from loihi_deploy.ir.program import Program

RUNNER = "board_runner.py"
ABOUT = """A network for a Loihi board, written by loihi-deploy.

    python run.py samples.npy -o outputs.npy

runs it, on Python 3.6 to 3.8 with numpy, nengo-loihi 1.1 and NxSDK 0.9 to 1.0. Choose the board as NxSDK wants it, for
example SLURM=1 PARTITION=nahuku32, or KAPOHOBAY=1. The network takes {chips}, with these cores on each: {cores}.
{start}
python run.py --help tells what else can be chosen; loihi_deploy's docs/hardware.md what a board may do otherwise.
"""


@checked
def to_board_runner(deployment: Deployment, folder: str | os.PathLike[str]) -> Path:
    """Write a folder that runs a deployment on a board.

    Parameters
    ----------
    deployment : Deployment
    folder : path
        Made where it is not there; gets ``run.py``, ``board_driver.py``, ``network.json``, ``network.npz`` and
        ``README.txt``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BackendError
        If the chip, nengo-loihi or NxSDK refuses the network, or the host computes something of the samples first.
    OutputError
        If the folder cannot be written.
    """
    program = deployment.program
    starts = any(p.initial_voltage is not None for p in program.populations)
    how = OnBoard("snip") if starts else OnBoard()
    problems = [*program_problems(program, deployment.mapping, how=how), *_sample_problems(deployment.graph)]
    if problems:
        raise BackendError("Cannot write a runner for a board", problems)
    tree = describe(program, deployment.mapping) | describe_host(program) | _presentation(deployment)
    arrays: dict[str, Any] = {}
    plain = _stored(tree, arrays)
    folder = make_folder(folder)
    chip_of = tree["chip_of"]
    about = ABOUT.format(
        chips="one chip" if tree["n_chips"] == 1 else f"{tree['n_chips']} chips",
        cores=", ".join(str(chip_of.count(chip)) for chip in range(tree["n_chips"])),
        start="Its voltages at the start are written by a snip." if starts else "",
    )
    driver = Path(board_driver.__file__)
    for name, data in (
        ("network.json", json.dumps(plain).encode()),
        ("network.npz", written(np.savez_compressed, **arrays)),
        (driver.name, driver.read_bytes()),
        ("run.py", Path(__file__).with_name(RUNNER).read_bytes()),
        ("README.txt", about.encode()),
    ):
        write_file(folder / name, data)
    return folder


def _sample_problems(graph: Graph) -> Iterable[Problem]:
    for node in graph.inputs:
        if node.before:
            yield Problem(
                "the host computes something of the samples before the network sees them",
                f"input '{node.name}'",
                remedy="Deploy the network from behind it, or run it with this package: backend='hardware'",
            )


def describe_host(program: Program) -> Tree:
    """The encoder and the readout of a program, as plain numbers and arrays."""
    encoder, readout = program.encoder, program.readout
    hosts = {p.name for p in encoder.populations}
    delays = {link.population: link.delay for link in program.links if link.kind == "from_chip"}
    of_host = [p for p in readout.projections if p.pre in hosts]
    of_chip = [p for p in readout.projections if p.pre not in hosts]
    return {
        "encoder": {
            "inputs": [
                {
                    "name": node.name,
                    "shape": list(node.shape),
                    "size": node.size,
                    "channels_first": node.channels_first,
                }
                for node in encoder.inputs
            ],
            "populations": [_neurons(p, program.dt) for p in encoder.populations],
            "projections": [_projection(p, program.dt) for p in encoder.projections if p.post in hosts],
            "limit": program.host_limit
            and {"spikes": program.host_limit.spikes, "messages": program.host_limit.messages},
            "biases": [
                {
                    "population": b.population,
                    "size": program.nodes[b.population].size,
                    "scale": b.scale,
                    "mantissa_max": b.mantissa_max,
                    "exponent_max": b.exponent_max,
                    "projections": [_projection(p, program.dt) for p in encoder.into(b.population)],
                }
                for b in program.bias_inputs
            ],
        },
        "readout": {
            "projections": [
                _projection(p, program.dt) | {"delay": delays.get(p.pre, 0) + p.most_delay}
                for p in (*of_host, *of_chip)
            ],
            "readouts": [
                {
                    "name": node.name,
                    "shape": list(node.shape),
                    "size": node.size,
                    "bias": node.bias,
                    "activation": node.activation,
                    "dtype": node.dtype,
                }
                for node in readout.readouts
            ],
        },
    }


def _presentation(deployment: Deployment) -> Tree:
    """How long a sample is shown, how it is read, and what the host can send."""
    options = deployment.options
    return {
        "window": options.readout_window,
        "reading": reading_of(deployment.program.readout, options),
        "first_frame": deployment.program.readout.first_frame,
        "steps": options.steps if isinstance(options.steps, int) else None,
        "steps_per_frame": options.steps_per_frame,
        "flush": answer_delay(deployment.program) if options.flush is None else options.flush,
        "max_spikes": deployment.board.chip.host_spikes_per_step,
    }


def _neurons(population: Population, dt: float) -> Tree:
    neuron = population.neuron
    kind = (
        "if_adding" if population.adds_only else neuron.kind + ("_discretized" if neuron.discretized else "")
    )
    tau_rc, tau_ref = effective_taus(neuron, dt) if neuron.kind == "lif" else (0.0, 0.0)
    bias = population.bias / population.gain if population.adds_only else population.bias
    return {
        "name": population.name,
        "size": population.size,
        "kind": kind,
        "gain": np.asarray(population.gain),
        "bias": np.asarray(bias),
        "threshold": summed_threshold(population, dt) if population.adds_only else 1.0,
        "tau_rc": tau_rc,
        "tau_ref": tau_ref,
        "voltage": initial_voltage(population, dt),
    }


def _projection(projection: Projection, dt: float) -> Tree:
    return {
        "pre": projection.pre,
        "post": projection.post,
        "tau": min(projection.tau, np.finfo(float).max),
        "factor": lowpass_factor(projection.tau, dt),
        "matrix": _matrix(projection.transform),
    }


def _matrix(transform: Transform) -> Tree:
    """Weights by input, in the order of outputs."""
    matrix = transform.csr()
    rows = np.repeat(np.arange(matrix.out_size), np.diff(matrix.indptr))
    order = np.argsort(matrix.indices, kind="stable")
    counts = np.bincount(matrix.indices, minlength=matrix.in_size)
    return {
        "size": matrix.out_size,
        "starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "rows": rows[order].astype(np.int32),
        "values": matrix.data[order].astype(np.float64),
    }


def _stored(value: Any, arrays: dict[str, Any]) -> Any:
    """The tree with the names of its arrays in their places; a list of arrays is one."""
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {name: _stored(item, arrays) for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, np.ndarray) for item in value):
        name = f"a{len(arrays)}"
        arrays[name] = np.concatenate([item.ravel() for item in value])
        arrays[f"{name}_shapes"] = np.array([item.shape for item in value])
        return {"arrays": name}
    if isinstance(value, (list, tuple)):
        return [_stored(item, arrays) for item in value]
    return value.item() if isinstance(value, np.generic) else value
