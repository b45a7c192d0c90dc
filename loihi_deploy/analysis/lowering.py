"""The stages in order, from a converted network to its program."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from loihi_deploy.analysis.calibrate import balance_thresholds, corrected, mean_rates, search_rates
from loihi_deploy.analysis.calibration_checks import function_problems, rate_problems
from loihi_deploy.analysis.frames import measuring_steps
from loihi_deploy.analysis.host_link import with_slower_synapses
from loihi_deploy.chip.hardware import Board
from loihi_deploy.errors import InputError, LoihiDeployWarning
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.ir.program import Program
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.charge import with_initial_voltages
from loihi_deploy.stages.equalize import equalize
from loihi_deploy.stages.normalize import (
    normalize,
    scale_firing_rates,
    with_input_ranges,
    with_leaky_neurons,
)
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lowered:
    """What `lower` makes.

    Parameters
    ----------
    graph : Graph
        Normalized, before it was cut.
    program : Program
    calibration : Samples or None
    """

    graph: Graph
    program: Program
    calibration: Samples | None

    @cached_property
    def rates(self) -> Mapping[str, NDArray[Any]] | None:
        """Mean firing rates of the program's neurons, for the mapper, measured when asked for; None without samples."""
        return None if self.calibration is None else mean_rates(self.program, self.calibration)


def lower(
    converted: Graph,
    calibration: Samples | None,
    options: DeployOptions,
    board: Board,
    slow_rate: float | None = None,
) -> Lowered:
    """Set firing rates, cut, correct and quantize a converted network.

    Parameters
    ----------
    converted : Graph
        With the synapses that it is to have.
    calibration : Samples or None
    options : DeployOptions
        Normalization 'auto' is 'percentile' here.
    board : Board
    slow_rate : float, optional
        Highest rate in Hz of the host's neurons where it is so low that their spikes are to be filtered longer.
    """
    logger.info("setting firing rates")
    graph = _with_firing_rates(converted, calibration, options, board)
    if options.equalize:
        graph = equalize(graph, options.encoder)
    if options.neuron == "lif":
        graph = with_leaky_neurons(graph, options.encoder)
    if calibration is not None:
        logger.info("checking firing rates")
        graph = _checked(converted, graph, calibration, options)
    partitioned = partition(graph, options.encoder, options.encoder_rate)
    if slow_rate is not None:
        partitioned = with_slower_synapses(partitioned, slow_rate)
    if options.steps is not None:
        partitioned = with_initial_voltages(partitioned)
    if calibration is not None and options.bias_correction_steps:
        logger.info("correcting biases on the integer network")
        partitioned = corrected(partitioned, graph, calibration, options, board)
    means = None
    if options.rounding == "mean" and calibration is not None:
        trial = quantize(partitioned, board, options.weight_percentile, weight_bits=options.weight_bits)
        means = mean_rates(trial, calibration)
    logger.info("quantizing")
    program = quantize(partitioned, board, options.weight_percentile, means, options.weight_bits)
    return Lowered(graph, program, calibration)


def _with_firing_rates(
    graph: Graph, calibration: Samples | None, options: DeployOptions, board: Board
) -> Graph:
    """Set firing rates as ``options.normalization`` says."""
    if calibration is not None:
        graph = with_input_ranges(graph, calibration)
    if options.normalization == "none":
        return graph
    if options.normalization == "scale_firing_rates":
        return scale_firing_rates(graph, options.scale_firing_rates)
    if calibration is None:
        raise InputError.single(
            "firing rates cannot be set without calibration data",
            "calibration",
            remedy="Give some hundred samples as calibration=..., or keep the source's own gains with "
            "DeployOptions(normalization='none')",
        )
    percentile = 100.0 if options.normalization == "maximum" else options.percentile
    graph = normalize(
        *(graph, calibration, options.target_rate, percentile),
        *(options.encoder, options.encoder_rate, options.encoder_percentile),
    )
    if options.normalization == "thresholds":
        return balance_thresholds(graph, calibration, options, board)
    if options.normalization == "search":
        return search_rates(graph, calibration, options, board)
    return graph


def _checked(converted: Graph, graph: Graph, calibration: Samples, options: DeployOptions) -> Graph:
    """The graph with notes on what its firing rates do, each of them a warning, too."""
    steps = options.steps if isinstance(options.steps, int) else measuring_steps(options, calibration)
    problems = [
        *function_problems(converted, graph, calibration, options),
        *rate_problems(graph, calibration, options, steps),
    ]
    for problem in problems:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=4)
    return replace(graph, notes=(*graph.notes, *map(str, problems)))
