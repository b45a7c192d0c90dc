"""What each stage of a network gives for samples: measured here, or part by part on the workers of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.frames import Reading, read_rates
from loihi_deploy.analysis.latency import transport_delays
from loihi_deploy.backends import RunOptions
from loihi_deploy.backends.job import progress_bar
from loihi_deploy.backends.losses import Ranges, input_ranges, joined_ranges
from loihi_deploy.engines.spiking_network import spiking_outputs, spiking_rates
from loihi_deploy.engines.threads import parts_of
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions
from loihi_deploy.results import Counters

Rates = Mapping[str, NDArray[Any]]
"""Firing rates in Hz, (n_samples, size), by population."""
PART = 100
"""Samples of a part: as many as a rate network is evaluated on at a time, so that its sums are the same ones."""

RATE = "rate network, floats"
SPIKING = "spiking network, floats"
QUANTIZED = "rate network, quantized"
INTEGER = "integer program"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageValues:
    """What the stages give for samples.

    Parameters
    ----------
    outputs : dict of (n, size) arrays
        The first readout, by stage.
    rates : dict of dict of (n, size) arrays
        Firing rates in Hz, by stage and population.
    counters : Counters
        Of the integer program.
    ranges : dict of (float, float)
        Of the samples, by input.
    """

    outputs: Mapping[str, NDArray[Any]]
    rates: Mapping[str, Rates]
    counters: Counters
    ranges: Ranges


@dataclass(frozen=True)
class StageRuns:
    """Runs samples through a network as it is after each stage.

    Parameters
    ----------
    graph : Graph
        Normalized, in floats.
    quantized : Graph
        The rate network of its quantized weights.
    program : Program
    steps : int
        Of a presentation.
    how : Reading
        What outputs are averaged over.
    options : DeployOptions
        That it was deployed with.
    """

    graph: Graph
    quantized: Graph
    program: Program
    steps: int
    how: Reading
    options: DeployOptions

    def __call__(self, samples: Samples, first: int = 0) -> StageValues:
        """The values for samples of which the first has this number."""
        window, hold, n = self.how.window, self.steps // samples.n_frames, len(samples)
        expected = read_rates(self.graph, samples, window, self.options, hold)
        logger.info(SPIKING)
        spiking, spiking_by_name = self._spiking(samples, hold)
        logger.info(QUANTIZED)
        quantized = read_rates(self.quantized, samples, window, self.options, hold)
        logger.info(INTEGER)
        result = backends.run(
            self.program,
            samples,
            self.how.of(RunOptions(self.steps, progress=False, first_sample=first)),
        )
        return StageValues(
            {
                RATE: expected[self.graph.readouts[0].name],
                SPIKING: spiking.reshape(n, -1),
                QUANTIZED: quantized[self.quantized.readouts[0].name],
                INTEGER: result.outputs.reshape(n, -1),
            },
            {
                RATE: {p.name: expected[p.name] for p in self.graph.populations},
                SPIKING: spiking_by_name,
                QUANTIZED: {p.name: quantized[p.name] for p in self.quantized.populations},
                INTEGER: backends.firing_rates(
                    *(self.program, samples, self.steps, window),
                    delays=transport_delays(self.program) if self.how.flush else None,
                    first_sample=first,
                ),
            },
            result.counters,
            input_ranges(samples),
        )

    def _spiking(
        self, samples: Samples, hold: int
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Outputs and rates of the spiking network in floats."""
        outputs: NDArray[np.float64] | None = None
        rates: dict[str, NDArray[np.float64]] = {}
        for which, part in samples.of_equal_length():
            given = (self.graph, part.arrays, hold * part.n_frames, self.how.window)
            found = spiking_outputs(*given, flush=self.how.flush)
            outputs = np.zeros((len(samples), *found.shape[1:])) if outputs is None else outputs
            outputs[which] = found
            for name, values in spiking_rates(*given, flush=self.how.flush).items():
                rates.setdefault(name, np.zeros((len(samples), values.shape[1])))[which] = values
        assert outputs is not None
        return outputs, rates


def stage_values(runs: StageRuns, samples: Samples, client: Any = None) -> StageValues:
    """The values for all samples: on the workers of a cluster, if there is a client."""
    if client is None:
        return runs(samples)
    from loihi_deploy.backends.cluster import results

    calls = ((samples.take(part), part.start) for part in parts_of(len(samples), PART))
    found = []
    with progress_bar(None, len(samples)) as advance:
        for part in results(client, runs, calls):
            found.append(part)
            advance(len(part.outputs[INTEGER]))
    return _joined(found)


def _joined(found: Sequence[StageValues]) -> StageValues:
    """The values of consecutive samples as one."""
    counters, ranges = found[0].counters, found[0].ranges
    for part in found[1:]:
        counters, ranges = counters + part.counters, joined_ranges(ranges, part.ranges)
    return StageValues(
        {name: np.concatenate([part.outputs[name] for part in found]) for name in found[0].outputs},
        {
            stage: {name: np.concatenate([part.rates[stage][name] for part in found]) for name in rates}
            for stage, rates in found[0].rates.items()
        },
        counters,
        ranges,
    )
