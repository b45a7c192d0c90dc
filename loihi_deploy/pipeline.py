"""The pipeline: from a trained network to a deployment.

``source → convert → normalize → partition → correct_biases → quantize → map_to_cores``: each a function from one frozen
value to the next, and `Deployment.from_parts` puts together what they gave.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Any

from loihi_deploy.analysis.calibrate import balance_thresholds, correct_biases, mean_rates, search_rates
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import InputError
from loihi_deploy.frontends import check_conversion, convert, opened
from loihi_deploy.ir import Graph, Samples, samples_for
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import DeployOptions
from loihi_deploy.stages.equalize import equalize
from loihi_deploy.stages.normalize import normalize, scale_firing_rates, with_leaky_neurons, with_synapses
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize


def deploy(
    source: Any,
    board: BoardLike = "nahuku32",
    calibration: Any = None,
    options: DeployOptions | None = None,
    *,
    fix: MappingOf[str, Any] | None = None,
    max_cores: int | None = None,
    downgrade: Iterable[str] = (),
    trust: bool = False,
) -> Deployment:
    """Make a trained network ready to run on a board.

    Parameters
    ----------
    source : Keras model, nengo_dl.Converter, nengo.Network, Graph or path
        The trained network; a path is that of a saved Keras model: .keras, .h5, or a SavedModel folder.
    board : str, path, Board or Chip
        Name of a board, path of a board file, a board, or a single chip.
    calibration : array or mapping of arrays
        Samples, (n, *input_shape), that firing rates are set from; some hundred are enough. Not needed where
        ``options.normalization`` is 'none'.
    options : DeployOptions, optional
    fix, max_cores, downgrade
        As for `map_to_cores`.
    trust : bool
        Whether code in a model file (``Lambda`` layers and the like) may run.

    Returns
    -------
    Deployment

    Raises
    ------
    LoihiDeployError
        One of its kinds for each stage, each with every problem of that stage.
    """
    options = options or DeployOptions()
    board = as_board(board)
    source = opened(source, trust)
    graph = convert(source, options)
    samples = None if calibration is None else samples_for(graph, calibration)
    if samples is not None:
        check_conversion(source, graph, samples)
    graph = with_synapses(graph, options.layer_synapses)
    graph = _with_firing_rates(graph, samples, options, board)
    if options.equalize:
        graph = equalize(graph, options.encoder)
    if options.neuron == "lif":
        graph = with_leaky_neurons(graph, options.encoder)
    partitioned = partition(graph, options.encoder, options.encoder_rate)
    if samples is not None and options.bias_correction_steps:
        steps, window = options.bias_correction_steps, options.readout_window
        partitioned = correct_biases(partitioned, samples, steps, window, board)
    means = None
    if options.rounding == "mean" and samples is not None:
        means = mean_rates(quantize(partitioned, board), samples)
    program = quantize(partitioned, board, options.weight_percentile, means)
    rates = None if samples is None else mean_rates(program, samples)
    mapping = map_to_cores(program, board, fix=fix, max_cores=max_cores, downgrade=downgrade, rates=rates)
    return Deployment.from_parts(graph, program, mapping, options, samples)


def _with_firing_rates(
    graph: Graph, calibration: Samples | None, options: DeployOptions, board: Board
) -> Graph:
    """Set firing rates as ``options.normalization`` says."""
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
        graph, calibration, options.target_rate, percentile, options.encoder, options.encoder_rate
    )
    if options.normalization == "thresholds":
        return balance_thresholds(graph, calibration, options, board)
    if options.normalization == "search":
        return search_rates(graph, calibration, options, board)
    return graph
