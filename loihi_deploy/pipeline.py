"""The pipeline: from a trained network to a deployment.

``source → convert → normalize → partition → correct_biases → quantize → map_to_cores``: each a function from one frozen
value to the next, and `Deployment.from_parts` puts together what they gave. Those in the middle are called in
`loihi_deploy.analysis.lowering`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Any

from loihi_deploy.analysis.calibration_checks import input_problems
from loihi_deploy.analysis.frames import synapse_problems
from loihi_deploy.analysis.host_link import encoder_rate, fewer_messages, with_limit
from loihi_deploy.analysis.latency import SHORT_SYNAPSE
from loihi_deploy.analysis.lowering import lower
from loihi_deploy.analysis.presentation import for_presentation
from loihi_deploy.checked import checked
from loihi_deploy.chip.boards import BoardLike, as_board
from loihi_deploy.chip.hardware import Board
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import InputError, LoihiDeployWarning, Problem
from loihi_deploy.frontends import (
    check_conversion,
    convert,
    opened,
    rescaling,
    sets_firing_rates,
    takes_spikes,
)
from loihi_deploy.ir import Graph, collected, samples_for
from loihi_deploy.ir.labels import class_labels
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping, map_to_cores
from loihi_deploy.options import ENCODER_RATE, DeployOptions
from loihi_deploy.stages.frame_delays import with_frame_delays
from loihi_deploy.stages.normalize import with_synapses

logger = logging.getLogger(__name__)

OF_PROGRAMS = ("steps", "steps_per_frame", "readout", "readout_window", "normalization", "flush")
"""Options that say something where integers are given."""


@checked
def deploy(
    source: Any,
    board: BoardLike = "nahuku32",
    calibration: Any = None,
    options: DeployOptions | None = None,
    *,
    labels: Any = None,
    fix: MappingOf[str, Any] | None = None,
    max_cores: int | None = None,
    downgrade: Collection[str] = (),
    avoid: Collection[str] = (),
    trust: bool = False,
) -> Deployment:
    """Make a trained network ready to run on a board.

    Parameters
    ----------
    source : Keras model, nengo_dl.Converter, nengo.Network, Graph, Program or path
        The trained network; a path is that of a saved Keras model: .keras, .h5, or a SavedModel folder; of an ONNX
        model; or of a network that lava-dl exported (netx, .net). Its integers are taken as they are, as those of a
        program: without calibration, and of the options only those of the presentation and the readout say anything
        (``steps``, ``steps_per_frame``, ``readout``, ``readout_window``, ``flush``).
        Frames of these, and of a NIR graph, are spikes of a step each: the last one is held no longer (``flush=0``)
        unless something else is said.
    board : str, path, Board or Chip
        Name of a board, path of a board file, a board, or a single chip.
    calibration : array, mapping of arrays or data set
        Samples, (n, *input_shape), that firing rates are set from; some hundred are enough. Not needed where
        ``options.normalization`` is 'none'.
    options : DeployOptions, optional
    labels : (n,) int array, optional
        Classes of the calibration samples, which ``options.steps`` is chosen with; else those that a data set brings
        along, or the source's decisions.
    fix, max_cores, downgrade, avoid
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
    given = options.given
    board = as_board(board)
    logger.info("reading the network")
    if labels is not None and options.steps is None:
        raise InputError.single(
            "decide nothing where no presentation time is chosen",
            "labels",
            remedy="Leave them out, or let them choose: options=DeployOptions(steps='auto')",
        )
    source = opened(source, trust)
    plan: dict[str, Any] = {"fix": fix, "max_cores": max_cores, "downgrade": downgrade, "avoid": avoid}
    if options.flush is None and (isinstance(source, Program) or takes_spikes(source)):
        options = replace(options, flush=0)  # a frame is a step's spikes, and the last one came once
    if takes_spikes(source) and "encoder_rate" not in options.given:
        # a value of 1 is a spike in every step
        options = replace(options, encoder_rate=max(ENCODER_RATE, 1 / options.dt))
    if isinstance(source, Program):
        return _deploy_program(source, board, calibration, options, plan)
    if options.steps is not None and "synapse" not in options.given:
        options = replace(options, synapse=SHORT_SYNAPSE)
    graph = convert(source, options)
    calibration, brought = collected(calibration, graph.origins)
    if labels is None and brought is not None and options.steps is not None and graph.readouts:
        labels = class_labels(brought, graph.readouts[0])
    samples = None if calibration is None else samples_for(graph, calibration)
    if samples is not None:
        logger.info("comparing the conversion with its source")
        check_conversion(source, graph, samples)
    converted = with_synapses(graph, options.layer_synapses)
    converted = with_frame_delays(converted, options.steps_per_frame)
    problems = list(synapse_problems(graph, options))
    if samples is not None:
        problems += input_problems(rescaling(source), samples)
    for problem in problems:
        warnings.warn(LoihiDeployWarning(problem), stacklevel=3)
        converted = replace(converted, notes=(*converted.notes, str(problem)))
    chosen = options
    if options.normalization == "auto" and sets_firing_rates(source):
        chosen = replace(options, normalization="none")
    if options.steps is not None:
        logger.info("choosing what the presentation time decides")
        chosen = for_presentation(converted, samples, labels, chosen, board, given)
        options = replace(chosen, normalization=options.normalization)
    made = lower(converted, samples, chosen, board)
    logger.info("planning cores")
    mapping = map_to_cores(made.program, board, **plan, rates=made.rates)
    if options.max_host_spikes is None or not made.program.encoder.populations:
        return Deployment.from_parts(made.graph, made.program, mapping, options, samples, converted)

    logger.info("holding the host to %d spikes a step", options.max_host_spikes)

    def map_again(rows: MappingOf[str, Any]) -> Mapping:
        return map_to_cores(made.program, board, **{**plan, "fix": {**rows, **(fix or {})}}, rates=made.rates)

    mapping = fewer_messages(made.program, mapping, map_again)
    if samples is not None:
        rate = encoder_rate(made.program, mapping, samples, options)
        if rate < options.encoder_rate:
            made = lower(converted, samples, replace(chosen, encoder_rate=rate), board, rate)
            mapping = map_to_cores(made.program, board, **plan, rates=made.rates)
            mapping = fewer_messages(made.program, mapping, map_again)
    program, mapping = with_limit(made.program, mapping, options.max_host_spikes)
    return Deployment.from_parts(made.graph, program, mapping, options, samples, converted)


def _deploy_program(
    program: Program, board: Board, calibration: Any, options: DeployOptions, plan: MappingOf[str, Any]
) -> Deployment:
    """Deploy integers as they are: only the mapping is left to be made."""
    usual = DeployOptions().as_dict()
    said = [
        name for name, value in options.as_dict().items() if value != usual[name] and name not in OF_PROGRAMS
    ]
    problems = [Problem("decides nothing where the integers are given", name) for name in said]
    if calibration is not None:
        problems.append(Problem("integers are given, so nothing is set from samples", "calibration"))
    if options.steps == "auto":
        problems.append(Problem("needs the source in floats", "steps", "auto", "a number of steps"))
    if problems:
        raise InputError("The network is given in integers, which stay as they are", problems)
    logger.info("planning cores")
    mapping = map_to_cores(program, board, **plan)
    graph = Graph(program.encoder.inputs, (), (), program.readout.readouts, program.dt, program.notes)
    return Deployment.from_parts(graph, program, mapping, options)
