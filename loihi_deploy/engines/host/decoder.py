"""From spikes to filtered, decoded values: the readout behind the chip."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines import aligned
from loihi_deploy.engines.delivery import block_marks, layout
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host import kernels
from loihi_deploy.engines.host.neurons import lowpass_factor, numbered, starts
from loihi_deploy.ir.program import Program
from loihi_deploy.results import HostState


class Decoder:
    """The part of a program's readout that decodes certain populations, laid out for the compiled loop.

    Parameters
    ----------
    program : Program
    columns : sequence of str
        Populations whose spikes are given, in their order in the `Events`.
    """

    def __init__(self, program: Program, columns: Mapping[str, int]) -> None:
        readout = program.readout
        delays = {link.population: link.delay for link in program.links if link.kind == "from_chip"}
        order = list(columns)
        self._projections = {key: p for key, p in numbered(readout).items() if p.pre in columns}
        self._parts: dict[str, slice] = {}
        self._lines: dict[str, tuple[slice, int]] = {}
        first_trace = dict(
            zip((n.name for n in readout.readouts), starts(n.size for n in readout.readouts), strict=True)
        )
        rows = []
        n_filtered = n_delayed = 0
        for key, p in self._projections.items():
            size, delay = p.transform.out_size, delays.get(p.pre, 0) + p.most_delay
            self._parts[key] = slice(n_filtered, n_filtered + size)
            self._lines[key] = slice(n_delayed, n_delayed + size * delay), delay
            rows.append((order.index(p.pre), n_filtered, size, first_trace[p.post], delay, n_delayed))
            n_filtered += aligned.filled(size, np.float64)  # room for the zeros behind rows of weights, too
            n_delayed += size * delay
        self._n_filtered, self._n_delayed = n_filtered, n_delayed
        laid_out = layout([p.transform for p in self._projections.values()], np.float64)
        self._threads = threading.local()
        self._constants = (
            *(laid_out.table, laid_out.geometry, laid_out.weights),
            np.array(rows, np.int64).reshape(-1, 6),
            np.array([lowpass_factor(p.tau, readout.dt) for p in self._projections.values()]),
            readout.dt,
        )

    def start(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Filtered and delayed values of `n` samples at rest."""
        return np.zeros((n, self._n_filtered)), np.zeros((n, self._n_delayed))

    def load(self, state: HostState, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The arrays of `start` from a state."""
        filtered, delayed = self.start(n)
        for name, part in self._parts.items():
            filtered[:, part] = state.arrays[f"{name}/filtered"]
            line, _ = self._lines[name]
            delayed[:, line] = state.arrays[f"{name}/delayed"].reshape(n, -1)
        return filtered, delayed

    def save(self, arrays: tuple[NDArray[np.float64], NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """The arrays of a `HostState` from those of `start`."""
        filtered, delayed = arrays
        saved = {f"{name}/filtered": filtered[:, part].copy() for name, part in self._parts.items()}
        for name, (line, delay) in self._lines.items():
            size = self._parts[name].stop - self._parts[name].start
            saved[f"{name}/delayed"] = delayed[:, line].reshape(len(delayed), delay, size).copy()
        return saved

    def run(
        self,
        events: Events,
        arrays: tuple[NDArray[np.float64], NDArray[np.float64]],
        trace: NDArray[np.float64],
        first_step: int = 0,
    ) -> None:
        """Add what the spikes decode to, to `trace` (n, all steps, total size), changing `arrays` in place."""
        if self._projections:
            kernels.decode(
                *self._constants,
                events.counts,
                events.indices,
                *arrays,
                trace,
                first_step,
                *self._memory(),
            )

    def _memory(self) -> tuple[NDArray[Any], ...]:
        """The thread's own working memory, used for run after run."""
        made: tuple[NDArray[Any], ...] | None = getattr(self._threads, "memory", None)
        if made is None:
            made = self._threads.memory = (
                aligned.zeros(self._n_filtered, np.float64),
                block_marks(self._n_filtered),
            )
        return made
