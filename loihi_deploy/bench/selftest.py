"""A self-test of a backend: small networks that ask for everything the chip does, compared spike by spike."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.backends.preflight import machine_problems
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import BackendError
from loihi_deploy.export import board_tester, to_board_runner
from loihi_deploy.export.board_tester import VARIABLES, differences
from loihi_deploy.files import PathOrStream, write_file, written
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Transform,
)
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import Backend
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from loihi_deploy.tables import Page, Shown, Table

STEPS = 40
SAMPLES = 3
PACKAGES = ("loihi-deploy", "nengo-loihi", "nengo", "numpy", "nxsdk")
SEND = (
    "Please send us this report (-o FILE writes it), what the command printed, the output of pip list, and which board "
    "it was."
)


@dataclass(frozen=True)
class Outcome:
    """What one run of a network gave.

    Parameters
    ----------
    network : str
    run : str
        How it was run.
    spikes : int
        Of the emulator, of what was recorded.
    different : int or None
        Places of these, sample by step by neuron, where there is a spike in one of the two runs only; None where the
        run failed.
    first : str
        Where the first difference is; or what failed.
    """

    network: str
    run: str
    spikes: int
    different: int | None
    first: str = ""

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return self.different == 0


@dataclass(frozen=True)
class SelfTest(Shown):
    """What a self-test found.

    Parameters
    ----------
    backend : str
    outcomes : tuple of Outcome
    about : dict of str
        Versions, platform, and what chooses a board.
    """

    backend: str
    outcomes: tuple[Outcome, ...]
    about: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether every run gave the emulator's spikes."""
        return all(outcome.equal for outcome in self.outcomes)

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "backend": self.backend,
            "passed": self.passed,
            "about": dict(self.about),
            "runs": [vars(outcome) | {"equal": outcome.equal} for outcome in self.outcomes],
        }

    def save(self, path: PathOrStream) -> None:
        """Write the report as JSON."""
        write_file(path, (json.dumps(self.values(), indent=2) + "\n").encode())

    def page(self) -> Page:
        """A line for each run, and the verdict."""
        rows = tuple(
            (
                o.network,
                o.run,
                f"{o.spikes:,}",
                "failed" if o.different is None else f"{o.different:,}",
                o.first,
            )
            for o in self.outcomes
        )
        header = ("network", "run", "spikes", "different", "first difference")
        verdict = f"Every spike is that of the emulator (backend '{self.backend}')."
        if not self.passed:
            n = sum(not outcome.equal for outcome in self.outcomes)
            about = ", ".join(f"{name} {value}" for name, value in self.about.items())
            verdict = f"{n} of {len(rows)} runs differ from the emulator. {SEND}\n{about}"
        return Page((Table("", header, rows), verdict))


def selftest(backend: Backend = "emulator", board: BoardLike = "kapoho_bay") -> SelfTest:
    """Run small networks on a backend and compare every spike with the emulator's.

    Dense and convolutional layers, discrete axons and population axons of both kinds, loops, leaky neurons, biases from
    samples and, on hardware, one load for several samples; several cores, and two chips where the board has them.

    Parameters
    ----------
    backend : {'emulator', 'numpy', 'nengo_loihi', 'hardware'}
    board : str, path, Board or Chip
        The one that is attached.

    Returns
    -------
    SelfTest
        ``passed``, and what differs; print it.

    Raises
    ------
    BackendError
        If the backend cannot run here at all.
    """
    onto = as_board(board)
    made = dict(_deployments(onto))
    if backend == "hardware":
        problems = [problem for each in made.values() for problem in machine_problems(each.mapping)]
        if problems:
            raise BackendError("Cannot run on a Loihi board", list(dict.fromkeys(problems)))
    outcomes = []
    for name, deployment in made.items():
        x = _samples(deployment)
        for run, how, everything in _runs(backend, deployment):
            outcomes.append(_compared(name, run, deployment, x, backend, how, everything))
    return SelfTest(backend, tuple(outcomes), _about())


def to_selftest_folder(folder: str | os.PathLike[str], board: BoardLike = "kapoho_bay") -> Path:
    """Write the self-test as a folder that runs where NxSDK does, on Python 3.6 to 3.8 and without this package.

    Parameters
    ----------
    folder : path
        Made where it is not there; gets ``selftest.py``, ``runs.json`` and a folder for each network.
    board : str, path, Board or Chip
        The one that is attached there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    networks = []
    for number, (name, deployment) in enumerate(_deployments(as_board(board))):
        own = to_board_runner(deployment, folder / f"network_{number}")
        x = _samples(deployment)
        write_file(own / "samples.npy", written(np.save, x))
        runs = []
        for k, (run, how, everything) in enumerate(_runs("hardware", deployment)):
            spikes = f"spikes_{k}.npz"
            write_file(
                own / spikes, written(np.savez_compressed, **_expected(deployment, x, how, everything))
            )
            reset = how.get("reset")
            runs.append({"run": run, "reset": reset, "gap": how.get("gap", 0), "spikes": spikes})
        networks.append({"name": name, "folder": own.name, "runs": runs})
    plan = {"steps": STEPS, "made_with": _about()["loihi-deploy"], "networks": networks}
    write_file(folder / "runs.json", json.dumps(plan, indent=1).encode())
    write_file(folder / "selftest.py", Path(board_tester.__file__).read_bytes())
    return folder


def _samples(deployment: Deployment) -> NDArray[Any]:
    return np.random.default_rng(1).uniform(0, 1, (SAMPLES, *deployment.graph.inputs[0].shape))


def _expected(
    deployment: Deployment, x: NDArray[Any], how: dict[str, Any], everything: bool
) -> dict[str, NDArray[np.bool_]]:
    """The emulator's spikes of what is recorded."""
    read = {p.pre for p in deployment.program.readout.projections}
    record = [p.name for p in deployment.program.populations if everything or p.name in read]
    ours = deployment.run(x, STEPS, record=record, progress=False, **how).recorded
    return {population: ours[population]["spikes"] for population in record}


def _runs(backend: str, deployment: Deployment) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """How a network is run: what it is called, arguments, and whether every population is recorded."""
    starts = any(p.initial_voltage is not None for p in deployment.program.populations)
    if not starts:
        yield "the readout probed", {}, False
        yield "everything probed", {}, True
    if backend == "hardware" and not deployment.program.bias_inputs:
        yield "reset by a snip", {"reset": "snip"}, False
        if not starts:
            yield "gaps of 5 steps", {"reset": "gap", "gap": 5}, False
    elif starts:
        yield "voltages at the start", {}, True


def _compared(
    name: str,
    run: str,
    deployment: Deployment,
    x: NDArray[Any],
    backend: Backend,
    how: dict[str, Any],
    everything: bool,
) -> Outcome:
    expected = _expected(deployment, x, how, everything)
    n_spikes = sum(int(spikes.sum()) for spikes in expected.values())
    try:
        found = deployment.run(x, STEPS, backend=backend, record=[*expected], progress=False, **how).recorded
    except BackendError as error:
        return Outcome(name, run, n_spikes, None, "; ".join(map(str, error.problems)))
    theirs = {population: found[population]["spikes"] for population in expected}
    n_different, first = differences(expected, theirs)
    return Outcome(name, run, n_spikes, n_different, first)


def _about() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": sys.platform}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found | {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _deployments(board: Board) -> Iterator[tuple[str, Deployment]]:
    """The networks, by name."""
    rng = np.random.default_rng(0)
    rectified, leaky = NeuronModel(), NeuronModel("lif", 0.02, 0.002)

    def dense(n_out: int, n_in: int) -> Dense:
        return Dense(rng.normal(1.0 / n_in, 2.0 / np.sqrt(n_in), (n_out, n_in)))

    layers = [("first", (20,), dense(20, 8)), ("last", (10,), dense(10, 20))]
    plain = _chain((8,), layers, rectified)
    yield "dense", _deployed(plain, board, {"first": 2})
    yield "values as biases", _deployed(plain, board, None, encoder="bias")
    program = quantize(partition(plain), board)
    start = tuple(
        replace(p, initial_voltage=rng.integers(0, p.threshold, p.size).astype(np.int32))
        for p in program.populations
    )
    yield (
        "voltages at the start",
        _from_program(plain, replace(program, populations=start), board, {"first": 2}),
    )
    few = np.where(rng.random((20, 8)) < 0.4, rng.normal(0.4, 0.6, (20, 8)), 0)
    between = np.where(rng.random((10, 20)) < 0.3, rng.normal(0.4, 0.6, (10, 20)), 0)
    scattered = [("first", (20,), Dense(few).csr()), ("last", (10,), Dense(between).csr())]
    yield "matrices of few weights", _deployed(_chain((8,), scattered, rectified), board, {"first": 2})
    leaking = _chain((8,), layers, leaky)
    loop = Projection("first", "first", Dense(rng.normal(-0.5, 1.0, (20, 20)) / 20), 0.003)
    yield (
        "leaky neurons in a loop",
        _deployed(replace(leaking, projections=(*leaking.projections, loop)), board, None),
    )
    for name, channels in (("convolutions, few channels", 16), ("convolutions, many channels", 40)):
        kernels = [rng.normal(0.1, 0.4, (3, 3, a, b)) for a, b in ((1, channels), (channels, 6))]
        convolutions: list[tuple[str, tuple[int, ...], Transform]] = [
            ("first", (4, 4, channels), Conv2D(kernels[0], (1, 1), (0, 0), (6, 6, 1), (4, 4, channels))),
            ("second", (2, 2, 6), Conv2D(kernels[1], (1, 1), (0, 0), (4, 4, channels), (2, 2, 6))),
            ("last", (8,), dense(8, 24)),
        ]
        # less than there is, so that axons of both kinds are worth it
        core = replace(board.chip.core, synapse_memory_words=150, max_out_axon_slots=40)
        tight = replace(board, chip=replace(board.chip, core=core))
        yield name, _deployed(_chain((6, 6, 1), convolutions, rectified), tight, None)
    per_chip = board.chip.n_cores
    if board.n_chips > 1:
        wide = [("first", (per_chip + 2,), dense(per_chip + 2, 8)), ("last", (10,), dense(10, per_chip + 2))]
        yield "two chips", _deployed(_chain((8,), wide, rectified), board, {"first": per_chip + 2})


def _chain(
    shape: tuple[int, ...], layers: Sequence[tuple[str, tuple[int, ...], Transform]], neuron: NeuronModel
) -> Graph:
    """Layers one behind the other, at rates at which all of them spike."""
    rates = 0.5 if neuron.kind == "lif" else 100.0
    gain, amplitude = (2.0, 0.02) if neuron.kind == "lif" else (rates, 1 / rates)
    populations, projections, pre = [], [], "x"
    for name, size, transform in layers:
        n = int(np.prod(size))
        populations.append(
            Population(
                name,
                size,
                neuron,
                np.array(gain),
                np.full(n, 1.0 if neuron.kind == "lif" else 30.0),
                amplitude,
            )
        )
        projections.append(Projection(pre, name, transform, 0.003))
        pre = name
    last = int(np.prod(layers[-1][1]))
    readout = Dense(np.random.default_rng(2).normal(0, 1, (3, last)))
    return Graph(
        (Input("x", shape, signed=False),),
        tuple(populations),
        (*projections, Projection(pre, "y", readout, 0.005)),
        (Readout("y", (3,), np.zeros(3)),),
    )


def _deployed(
    graph: Graph, board: Board, fix: Mapping[str, Any] | None, encoder: Literal["on_off", "bias"] = "on_off"
) -> Deployment:
    return _from_program(graph, quantize(partition(graph, encoder), board), board, fix)


def _from_program(graph: Graph, program: Any, board: Board, fix: Mapping[str, Any] | None) -> Deployment:
    return Deployment.from_parts(graph, program, map_to_cores(program, board, fix=fix))
