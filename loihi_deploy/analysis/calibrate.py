"""Settings found by running the integer network on calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy import backends
from loihi_deploy.analysis.frames import (
    are_sequences,
    correction_steps,
    frame_weights,
    has_memory,
    measuring_steps,
    read_rates,
    read_window,
    reading,
)
from loihi_deploy.analysis.latency import transport_delays
from loihi_deploy.backends import RunOptions
from loihi_deploy.checked import Range, checked
from loihi_deploy.chip.boards import BoardLike
from loihi_deploy.encoders import encoder_populations
from loihi_deploy.ir import Graph, PartitionedGraph, Samples, samples_for
from loihi_deploy.ir.program import Program
from loihi_deploy.options import READOUT_WINDOW, DeployOptions, Window
from loihi_deploy.stages.bias_correction import correct
from loihi_deploy.stages.normalize import scale_firing_rates
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize

CORRECTION_SAMPLES = 100
"""Calibration samples that the integer network is corrected on."""
CORRECTION_ROUNDS = 2
"""More change nothing that matters."""
TRAFFIC_SAMPLES, TRAFFIC_STEPS = 20, 50
"""Samples and steps (for each frame) that spikes between cores are counted on."""
THRESHOLD_ROUNDS = 3
"""How often thresholds are balanced: each round changes the rates that the next one measures."""
SEARCH_FACTORS = (0.5, 0.7, 1.4, 2.0)
"""What the search multiplies a layer's rates by, one after the other."""
SEARCH_SAMPLES = 200
"""Calibration samples that a search is judged by."""


@checked
def correct_biases(
    partitioned: PartitionedGraph,
    calibration: Any,
    steps: Annotated[int, Range(1, 10_000)] = 100,
    readout_window: Window | None = READOUT_WINDOW,
    board: BoardLike = "loihi",
    weight_bits: int = 8,
    intended: Mapping[str, Any] | None = None,
    flush: int | None = 0,
) -> PartitionedGraph:
    """Correct a network, on calibration data, for what the chip's neurons do differently: bias correction.

    See `loihi_deploy.stages.bias_correction` for what is corrected, and how.

    Parameters
    ----------
    partitioned : PartitionedGraph
    calibration : array, mapping of arrays or Samples
        (n, *input_shape); the first hundred are run.
    steps : int
        Presentation time; of sequences rounded up to whole steps for each frame.
    readout_window : float or None
        The last part of the presentation that rates are measured in, 0..1; None is the last frame.
    board : str, path, Board or Chip
        As for `quantize`.
    weight_bits : int
        As for `quantize`.
    intended : dict of (n, size) arrays, optional
        Rates in Hz that populations should have in the window, of the samples that are run: for sequences, whose mean
        rate is not the rate of the mean frame. `deploy` gives those of the rate network over all frames that are read.
    flush : int, optional
        0 measures every population in the window itself; None as much later as it hears of the frames in it.

    Returns
    -------
    PartitionedGraph
    """
    samples = samples_for(partitioned.encoder, calibration).take(slice(CORRECTION_SAMPLES))
    weights = frame_weights(samples, readout_window, partitioned.readout.first_frame)
    values = {name: np.einsum("nf,nfk->nk", weights, x) for name, x in samples.arrays.items()}
    steps = samples.n_frames * -(-steps // samples.n_frames)
    kept = [p.name for p in partitioned.encoder.populations if p.neuron.kind == "ttfs"]
    current = partitioned
    # held against rates that do not depend on what is measured, a round puts one more layer right
    rounds = (
        CORRECTION_ROUNDS if intended is None else max(CORRECTION_ROUNDS, len(partitioned.chip.populations))
    )
    for _ in range(rounds):
        program = quantize(current, board, weight_bits=weight_bits)
        delays = transport_delays(program) if flush is None else None
        rates = backends.firing_rates(program, samples, steps, readout_window, kept, delays)
        current = correct(partitioned, current, {**values, **rates}, intended)
    return current


def corrected(
    partitioned: PartitionedGraph,
    graph: Graph,
    calibration: Samples,
    options: DeployOptions,
    board: BoardLike,
) -> PartitionedGraph:
    """Correct a network as `deploy` does with these options; see `correct_biases`.

    Parameters
    ----------
    partitioned : PartitionedGraph
    graph : Graph
        That it was cut from, with its firing rates set.
    calibration : Samples
    options : DeployOptions
    board : str, path, Board or Chip
    """
    steps = correction_steps(options, calibration)
    # a presentation time has its window chosen for a program as it is: it must not change with the window
    window = READOUT_WINDOW if options.steps is not None else read_window(graph, options, calibration)
    intended = None
    first = calibration.take(slice(CORRECTION_SAMPLES))
    if graph.holds_frames:  # all frames count, where the last one hears of them
        window = 1.0
        intended = read_rates(graph, first, window, options)
    elif calibration.n_frames > 1 and not has_memory(graph, options):
        intended = read_rates(graph, first, window)
    late = are_sequences(graph, options, calibration) and options.flush != 0
    return correct_biases(
        partitioned,
        calibration,
        *(steps, window, board, options.weight_bits, intended),
        flush=None if late else 0,
    )


@checked
def mean_rates(program: Program, calibration: Any) -> dict[str, NDArray[np.float64]]:
    """Measure how fast the neurons of a program fire, on a few calibration samples.

    Parameters
    ----------
    program : Program
    calibration : array, mapping of arrays or Samples
        (n, *input_shape); the first twenty are run.

    Returns
    -------
    dict of (size,) arrays
        Mean firing rate in Hz of each neuron, by population, encoders included: what `map_to_cores` weighs traffic by,
        and `quantize` rounds weights for.
    """
    samples = samples_for(program.encoder, calibration).take(slice(TRAFFIC_SAMPLES))
    events = any(node.events for node in program.encoder.inputs)
    per_frame = 1 if events else program.frame_steps or TRAFFIC_STEPS
    rates = backends.firing_rates(program, samples, per_frame * samples.n_frames, 1.0)
    return {name: values.mean(axis=0, dtype=np.float64) for name, values in rates.items()}


def balance_thresholds(
    graph: Graph, calibration: Samples, options: DeployOptions, board: BoardLike = "loihi"
) -> Graph:
    """Scale firing rates so that a percentile of those of the *integer* network is the target.

    The thresholds of the chip's neurons are balanced on the integers that it runs, as NxTF does (Rueckauer et al. 2021,
    arXiv 2101.04261), not on the rate network.

    Parameters
    ----------
    graph : Graph
        Normalized on the rate network: that is where it starts.
    calibration : Samples
    options : DeployOptions
        `target_rate`, `percentile`, `bias_correction_steps`, `readout_window` and those of weights and the encoder are
        used.
    board : str, path, Board or Chip
        As for `quantize`.
    """
    steps = measuring_steps(options, calibration)
    host = encoder_populations(graph, options.encoder)
    for _ in range(THRESHOLD_ROUNDS):
        parts = partition(graph, options.encoder, options.encoder_rate)
        program = quantize(parts, board, options.weight_percentile, weight_bits=options.weight_bits)
        samples = calibration.take(slice(CORRECTION_SAMPLES))
        rates = backends.firing_rates(program, samples, steps, read_window(graph, options, samples))
        factors = {}
        for population in graph.populations:
            active = rates[population.name][rates[population.name] > 0]
            if population.name not in host and population.neuron.scales and len(active):
                factors[population.name] = options.target_rate / float(
                    np.percentile(active, options.percentile)
                )
        graph = scale_firing_rates(graph, factors)
    return graph


def search_rates(
    graph: Graph, calibration: Samples, options: DeployOptions, board: BoardLike = "loihi"
) -> Graph:
    """Find a scale for each layer's firing rates at which the integer network agrees best with the rate network.

    One layer after the other, from the first to the last, is tried at `SEARCH_FACTORS` of its rates; what comes closest
    to the rate network's outputs on calibration samples, at ``options.bias_correction_steps`` steps, is kept.

    Parameters
    ----------
    graph : Graph
        Normalized: that is where it starts.
    calibration : Samples
    options : DeployOptions
    board : str, path, Board or Chip
        As for `quantize`.
    """
    steps = measuring_steps(options, calibration)
    samples = calibration.take(slice(SEARCH_SAMPLES))
    readout = graph.readouts[0]
    window = read_window(graph, options, samples)
    ideal = readout.activated(read_rates(graph, samples, window, options)[readout.name])
    ideal = ideal.reshape(len(ideal), -1)
    run_options = RunOptions(steps, progress=False)

    def error(candidate: Graph) -> tuple[float, float]:
        parts = partition(candidate, options.encoder, options.encoder_rate)
        if options.bias_correction_steps:
            parts = corrected(parts, candidate, samples, options, board)
        program = quantize(parts, board, options.weight_percentile, weight_bits=options.weight_bits)
        how = reading(program, options, samples).of(run_options)
        outputs = backends.run(program, samples, how).outputs.reshape(len(ideal), -1)
        wrong = float((outputs.argmax(axis=1) != ideal.argmax(axis=1)).mean())
        return wrong, float(np.square(outputs - ideal).mean())

    best, least = graph, error(graph)
    host = encoder_populations(graph, options.encoder)
    for population in graph.populations:
        if population.name in host or not population.neuron.scales:
            continue
        start = best
        for factor in SEARCH_FACTORS:
            candidate = scale_firing_rates(start, {population.name: factor})
            found = error(candidate)
            if found < least:
                best, least = candidate, found
    return best
