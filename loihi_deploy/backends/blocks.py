"""A mapped program as plain numbers and arrays, of which `board_driver` makes nengo-loihi's blocks.

Each core becomes one block that holds the program's own integers. The tree has dicts with names as keys, lists,
numbers, strings and arrays only, so that it can be written to files and read where this package is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.errors import BackendError
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.mapping.layout import Bundle, grids
from loihi_deploy.mapping.memory import index_bits, synapse_bits
from loihi_deploy.mapping.plan import POP16, Core
from loihi_deploy.mapping.usage import slice_bundles

Tree = dict[str, Any]
SILENT_EXPONENT = 7
"""Exponent of noise that no compartment has: for nengo-loihi's 0 its hardware builder would write -1."""


def describe(program: Program, mapping: CoreMapping) -> Tree:
    """The blocks, inputs and places of a program on its cores.

    Parameters
    ----------
    program : Program
    mapping : Mapping
        Of this program.

    Returns
    -------
    dict
        ``dt`` in seconds; ``n_chips``; ``chip_of``, the chip of each block; ``blocks``; ``inputs``, by name with their
        ``size``, ``delay`` in steps and ``axons``; ``places``, by population with its ``size`` and, for each block that
        holds some of it, ``cores``, ``compartments`` and ``neurons``.

    Raises
    ------
    BackendError
        If the mapping is one of another program, or the chip computes with numbers that nengo-loihi does not.
    """
    if mapping.program_digest != program.digest:
        raise BackendError.single(
            "the mapping was made for another program", "mapping", remedy="Map this program with map_to_cores"
        )
    limits = mapping.board.chip.core
    foreign = nengo_loihi_problems(program.arithmetic, limits)
    if foreign:
        raise BackendError("nengo-loihi computes with other numbers than this chip", foreign)
    if held_back := list(program.delay_problems("nengo-loihi")):
        raise BackendError("nengo-loihi cannot run this network", held_back)
    delays = arrival_delays(program)
    places = {p.name: _places(program, mapping, p.name) for p in program.populations}
    blocks = [_block(program, core, f"core {number}") for number, core in enumerate(mapping.cores)]
    inputs: Tree = {s.name: {"size": s.size, "delay": delays[s.name], "axons": []} for s in program.sources}

    for here, core in enumerate(mapping.cores):
        bundles = [bundle for piece in core.slices for bundle in slice_bundles(program, piece, limits)]
        bundles.sort(key=lambda bundle: bundle.axon != POP16)  # pop16 spikes reach low axon numbers only
        unstored = [bundle.max_index for bundle in bundles if bundle.compressed]
        unstored_bits = int(index_bits(max(unstored, default=0), limits))  # the same for all: one format
        for bundle in bundles:
            stored_bits = synapse_bits(bundle, limits) - bundle.weight_bits
            target = here, len(blocks[here]["synapses"])
            blocks[here]["synapses"].append(
                _synapse(program, bundle, unstored_bits if bundle.compressed else stored_bits)
            )
            pre = program.synapses[bundle.projection].pre
            axon_of, atom_of = _axons_of_neurons(bundle, program.nodes[pre].size)
            if pre in inputs:
                _add_axon(inputs[pre]["axons"], target, axon_of, atom_of)
                continue
            where = places[pre]
            for number, compartments, neurons in zip(
                where["cores"], where["compartments"], where["neurons"], strict=True
            ):
                n = blocks[number]["n"]
                axons, atoms = np.full(n, -1), np.zeros(n, int)
                axons[compartments], atoms[compartments] = axon_of[neurons], atom_of[neurons]
                _add_axon(blocks[number]["axons"], target, axons, atoms)
    return {
        "dt": program.dt,
        "n_chips": mapping.n_chips,
        "chip_of": [core.chip for core in mapping.cores],
        "blocks": blocks,
        "inputs": inputs,
        "places": places,
    }


def _places(program: Program, mapping: CoreMapping, name: str) -> Tree:
    cores, compartments, neurons = [], [], []
    grid = grids(program)[name]
    for number, core in enumerate(mapping.cores):
        pieces = [piece for piece in core.slices if piece.population == name]
        if pieces:
            cores.append(number)
            compartments.append(np.concatenate([piece.compartments() for piece in pieces]))
            neurons.append(np.concatenate([piece.neurons(grid) for piece in pieces]))
    size = program.nodes[name].size
    return {"size": size, "cores": cores, "compartments": compartments, "neurons": neurons}


def _block(program: Program, core: Core, label: str) -> Tree:
    n = core.n_compartments
    names = ("decay_u", "decay_v", "vth", "bias", "refract_delay", "initial_voltage")
    block: Tree = {name: np.zeros(n, np.int32) for name in names}
    block |= {"label": label, "n": n, "noisy": np.zeros(n, bool), "v_min": 0, "v_max": 0}
    block |= {"noise": [SILENT_EXPONENT, 0, 0], "synapses": [], "axons": []}
    for piece in core.slices:
        population = program.nodes[piece.population]
        assert isinstance(population, Compartments)
        part = slice(piece.offset, piece.offset + piece.n_compartments)
        block["decay_u"][part] = population.decay_u
        block["decay_v"][part] = population.decay_v
        block["vth"][part] = population.threshold
        own = piece.neurons(grids(program)[piece.population])
        block["bias"][piece.compartments()] = population.bias[own]
        block["refract_delay"][part] = population.refractory
        block["v_min"], block["v_max"] = population.v_min, population.v_max
        if population.initial_voltage is not None:
            block["initial_voltage"][piece.compartments()] = population.initial_voltage[own]
        if population.noise is not None:
            block["noisy"][part] = True
            noise = population.noise
            block["noise"] = [noise.exponent, noise.offset, int(noise.at_membrane)]
    return block


def _synapse(program: Program, bundle: Bundle, n_index_bits: int) -> Tree:
    """A synapse, with weights as they are added to the accumulator."""
    synapses = program.synapses[bundle.projection]
    weights, indices = bundle.make_sets()
    return {
        "label": synapses.name,
        "n_axons": bundle.n_axons,
        "pop_type": bundle.axon,
        "bases": np.asarray(bundle.base_of),
        "sets": np.asarray(bundle.set_of),
        "weights": [values.astype(np.int32) << synapses.shift for values in weights],
        "indices": [np.asarray(places, np.int32) for places in indices],
        "compression": 3 if bundle.compressed else 0,
        "weight_exp": program.weight_exponent(synapses),
        "weight_bits": synapses.weight_bits,
        "index_bits": n_index_bits,
    }


def _axons_of_neurons(bundle: Bundle, n_neurons: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each neuron of the sender its axon, -1 for none, and its atom."""
    axon_of, atom_of = np.full(n_neurons, -1), np.zeros(n_neurons, int)
    axon_of[bundle.neurons] = np.arange(bundle.n_axons)[:, None]
    atom_of[bundle.neurons] = np.arange(bundle.n_atoms)
    return axon_of, atom_of


def _add_axon(
    axons: list[Tree], target: tuple[int, int], axon_of: NDArray[np.int64], atom_of: NDArray[np.int64]
) -> None:
    used = np.unique(axon_of[axon_of >= 0])
    if used.size:
        axons.append({"target": list(target), "n": len(used), "axon_of": axon_of, "atom_of": atom_of})
