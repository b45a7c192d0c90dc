"""nengo-loihi's blocks as a program, so that they can be mapped, counted and reported like any deployment."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import numpy as np

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.chip.hardware import Board
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import Problem, QuantizationError
from loihi_deploy.ir import Graph, Sparse
from loihi_deploy.ir.program import Compartments, Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.options import DeployOptions
from loihi_deploy.simulator.block_layout import reached_axons


def deployment_of(model: Any, board: Board) -> Deployment:
    """Map the blocks of a built model to a board."""
    program = program_of(model)
    nothing = Graph((), (), (), dt=model.dt)
    options = DeployOptions(dt=model.dt, normalization="none")
    provenance: dict[str, str | None] = {"python": platform.python_version()}
    return Deployment(nothing, program, map_to_cores(program, board), options, provenance)


def program_of(model: Any) -> Program:
    """Blocks as populations, inputs as spike sources, axons and synapses as sparse projections.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
        With discretized blocks.

    Raises
    ------
    QuantizationError
        If synapses learn.
    """
    names = {
        obj: f"{number}: {obj.label or 'input'}" for number, obj in enumerate([*model.inputs, *model.blocks])
    }
    learning = [
        Problem("synapses that learn are not part of a program", names[block])
        for block in model.blocks
        if any(synapse.learning for synapse in block.synapses)
    ]
    if learning:
        raise QuantizationError("The network on chip cannot be written as a program", learning)
    nothing = Graph((), (), (), dt=model.dt)
    return Program(
        encoder=nothing,
        sources=tuple(SpikeSource(names[source], (source.n_neurons,)) for source in model.inputs),
        populations=tuple(_compartments(names[block], block.compartment) for block in model.blocks),
        synapses=tuple(_synapses(model, names)),
        readout=nothing,
        dt=model.dt,
    )


def _compartments(name: str, block: Any) -> Compartments:
    noise = Noise(block.noise_exp, block.noise_offset, bool(block.noise_at_membrane))
    return Compartments(
        name,
        (block.n_compartments,),
        decay_u=int(block.decay_u[0]),
        decay_v=int(block.decay_v[0]),
        threshold=int(block.vth[0]),
        bias=block.bias,
        refractory=int(block.refract_delay[0]),
        v_min=int(block.vmin),
        v_max=int(block.vmax),
        noise=noise if block.enable_noise.any() else None,
    )


def _synapses(model: Any, names: dict[Any, str]) -> Iterator[Synapses]:
    fine = loihi_arithmetic().weight_shifts[0]
    block_of = {synapse: block for block in model.blocks for synapse in block.synapses}
    for sender in (*model.inputs, *model.blocks):
        for axon in sender.axons:
            synapse, post = axon.target, block_of[axon.target]
            neurons, reached = reached_axons(axon, sender.n_neurons)
            atoms = axon.map_atoms(neurons)
            entries = [np.zeros((3, 0), np.int64)]
            for neuron, reaches, atom in zip(neurons, reached, atoms, strict=True):
                base = synapse.axon_compartment_base(reaches)
                if base is not None:
                    weights, indices = synapse.axon_weights_indices(reaches, atom=atom)
                    entries.append(np.stack([base + indices, np.full(len(indices), neuron), weights]))
            rows, columns, weights = np.concatenate(entries, axis=1)
            shift = fine + (not (weights % (2 << fine)).any())
            shape = (post.n_neurons, sender.n_neurons)
            matrix = Sparse.from_entries(rows, columns, (weights >> shift).astype(np.int8), shape)
            yield Synapses(names[sender], names[post], matrix, int(shift))
