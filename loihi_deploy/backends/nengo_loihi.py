"""A mapped program as nengo-loihi blocks, and a run on its emulator.

Each core becomes one block that holds the program's own integers: nengo-loihi's discretization is left out. The import
of nengo-loihi takes seconds, so it waits until a function is called.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.engines.chip.plain import Biases, arrival_delays, fan_out, n_samples
from loihi_deploy.errors import BackendError, missing_extra
from loihi_deploy.frontends.compat import refuse_numpy_2
from loihi_deploy.ir.program import Compartments, Program
from loihi_deploy.mapping import Mapping as CoreMapping
from loihi_deploy.mapping.layout import Bundle, grids
from loihi_deploy.mapping.memory import index_bits, synapse_bits
from loihi_deploy.mapping.plan import POP16, Core
from loihi_deploy.mapping.usage import slice_bundles
from loihi_deploy.results import PopulationCounts, Simulation

_PROBED = {"spikes": "spiked", "u": "current", "v": "voltage"}
_Accumulator = Literal["q", "u"]
SILENT_EXPONENT = 7
"""Exponent of noise that no compartment has: for nengo-loihi's 0 its hardware builder would write -1."""


@dataclass(frozen=True)
class BlockModel:
    """A program in nengo-loihi's terms.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
        One block per core, in the order of the mapping's cores, with inputs and probes.
    inputs : dict
        nengo-loihi's SpikeInput by spike source.
    probes : dict
        nengo-loihi's probe by (population, variable).
    places : dict of `_Places`
        Where each population lies, by name.
    """

    model: Any
    inputs: Mapping[str, Any]
    probes: Mapping[tuple[str, str], Any]
    places: Mapping[str, _Places]


@dataclass(frozen=True)
class _Places:
    """Where the neurons of a population lie.

    Parameters
    ----------
    cores : tuple of int
        Cores that hold some of it.
    compartments : tuple of int arrays
        The compartments on each of these cores.
    neurons : tuple of int arrays
        The neurons that these compartments are.
    """

    cores: tuple[int, ...]
    compartments: tuple[NDArray[np.int64], ...]
    neurons: tuple[NDArray[np.int64], ...]


def build_model(
    program: Program, mapping: CoreMapping, record: Mapping[str, Iterable[str]] | None = None
) -> BlockModel:
    """Make nengo-loihi's blocks, inputs and probes.

    Parameters
    ----------
    program : Program
    mapping : Mapping
        Of this program.
    record : dict of iterables of {'spikes', 'u', 'v'}
        Variables to be probed, by population.

    Raises
    ------
    MissingExtraError
        If nengo-loihi is not installed.
    BackendError
        If the mapping is one of another program, or the chip computes with numbers that nengo-loihi does not.
    """
    nl = import_nengo_loihi()
    if mapping.program_digest != program.digest:
        raise BackendError.single(
            "the mapping was made for another program", "mapping", remedy="Map this program with map_to_cores"
        )
    foreign = nengo_loihi_problems(program.arithmetic)
    if foreign:
        raise BackendError("nengo-loihi computes with other numbers than this chip", foreign)
    limits = mapping.board.chip.core
    places = {p.name: _places(program, mapping, p.name) for p in program.populations}
    model = nl.builder.Model(dt=program.dt)
    blocks = [_block(nl, program, core, f"core {number}") for number, core in enumerate(mapping.cores)]
    for block in blocks:
        model.add_block(block)
    inputs = {s.name: nl.inputs.SpikeInput(s.size, label=s.name) for s in program.sources}

    for core, block in zip(mapping.cores, blocks, strict=True):
        bundles = [bundle for piece in core.slices for bundle in slice_bundles(program, piece, limits)]
        bundles.sort(key=lambda bundle: bundle.axon != POP16)  # pop16 spikes reach low axon numbers only
        unstored = [bundle.max_index for bundle in bundles if bundle.compressed]
        unstored_bits = int(index_bits(max(unstored, default=0), limits))  # the same for all: one format
        for bundle in bundles:
            stored_bits = synapse_bits(bundle, limits) - bundle.weight_bits
            synapse = _synapse(nl, program, bundle, unstored_bits if bundle.compressed else stored_bits)
            block.add_synapse(synapse)
            pre = program.synapses[bundle.projection].pre
            axon_of, atom_of = _axons_of_neurons(bundle, program.nodes[pre].size)
            if pre in inputs:
                _add_axon(nl, inputs[pre], synapse, axon_of, atom_of)
                continue
            where = places[pre]
            for number, compartments, neurons in zip(
                where.cores, where.compartments, where.neurons, strict=True
            ):
                axons = np.full(blocks[number].n_neurons, -1)
                atoms = np.zeros(blocks[number].n_neurons, int)
                axons[compartments], atoms[compartments] = axon_of[neurons], atom_of[neurons]
                _add_axon(nl, blocks[number], synapse, axons, atoms)
    for spike_input in inputs.values():
        if spike_input.axons:  # the hardware builder takes no input without axons
            model.add_input(spike_input)

    probes = {}
    for name, variables in (record or {}).items():
        for variable in variables:
            probes[name, variable] = nl.probe.LoihiProbe(
                target=[blocks[number] for number in places[name].cores],
                key=_PROBED[variable],
                slice=list(places[name].compartments),
            )
            model.add_probe(probes[name, variable])
    nl.builder.validate.validate_model(model)
    return BlockModel(model, inputs, probes, places)


def simulate(
    program: Program,
    mapping: CoreMapping,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    record: Mapping[str, Iterable[str]] | None = None,
    *,
    seed: int = 0,
    seconds: list[float] | None = None,
    biases: Biases | None = None,
) -> Simulation:
    """Run the chip part on nengo-loihi's emulator, each sample from rest.

    Parameters
    ----------
    program : Program
    mapping : Mapping
    spikes : dict of (n, steps, size) bool arrays
        What the host emits at each step, by source.
    steps : int
    record : dict of iterables of {'spikes', 'u', 'v', 'events'}, optional
        What to record, by population.
    seed : int
        Of the noise, which nengo-loihi draws in the order of compartments on cores: other values than those of the
        other engines.
    seconds : list of float, optional
        What the steps of each sample took, without building, is appended.
    biases : dict of (n, n_frames, size) int32 arrays, optional
        Biases of the populations that take them from the input, each for ``steps / n_frames`` steps.

    Returns
    -------
    Simulation
        Wrapped accumulators are counted, as by the other engines; nengo-loihi would only warn of them.
    """
    nl = import_nengo_loihi()
    made = build_model(program, mapping, _probed_variables(program, record))
    biases = biases or {}
    n = n_samples(spikes, biases)
    n_frames = next((array.shape[1] for array in biases.values()), 1)
    samples: dict[tuple[str, str], list[NDArray[Any]]] = {key: [] for key in made.probes}
    kinds: tuple[_Accumulator, ...] = ("q", "u")
    overflows = {(p.name, kind): 0 for p in program.populations for kind in kinds}
    for sample in range(n):
        send(program, made, {name: array[sample] for name, array in spikes.items()}, steps)
        with np.errstate(invalid="ignore"):  # it fills int arrays with NaN before it sets them
            emulator = nl.emulator.interface.EmulatorInterface(made.model, seed=seed)
        slices = [emulator.block_info.slices[block] for block in made.model.blocks]
        initial = {p.name: p.initial_voltage for p in program.populations if p.initial_voltage is not None}
        _put(initial, made.places, slices, emulator.compartment.voltage)
        wraps = _count_wraps(nl, emulator.compartment)
        start = time.perf_counter()
        for frame in range(n_frames):
            now = {name: array[sample, frame] for name, array in biases.items()}
            _put(now, made.places, slices, emulator.compartment.bias)
            emulator.run_steps(steps // n_frames)
        if seconds is not None:
            seconds.append(time.perf_counter() - start)
        for key, probe in made.probes.items():
            samples[key].append(in_order(made.places[key[0]], emulator.collect_probe_output(probe)))
        for name, kind in overflows:
            where = made.places[name]
            overflows[name, kind] += sum(
                int(wraps[kind][slices[number]][compartments].sum())
                for number, compartments in zip(where.cores, where.compartments, strict=True)
            )
        emulator.close()
    probed = {key: np.stack(values) for key, values in samples.items()}
    return simulation_of(program, probed, record or {}, overflows, spikes)


def import_nengo_loihi() -> Any:
    """nengo-loihi with all of its modules that are used here; raises MissingExtraError without it."""
    try:
        with warnings.catch_warnings():
            # it names Nengo 3.2 as the newest version that it was tested with; its own tests pass with 4.1
            warnings.filterwarnings("ignore", ".*has not been tested", UserWarning)
            import nengo_loihi
            import nengo_loihi.builder.discretize
            import nengo_loihi.builder.validate
            import nengo_loihi.emulator.interface
            import nengo_loihi.hardware.interface
            import nengo_loihi.inputs
            import nengo_loihi.probe
    except ImportError as error:
        raise missing_extra("nengo-loihi", "Running on nengo-loihi") from error
    refuse_numpy_2("Running on nengo-loihi")
    return nengo_loihi


def _places(program: Program, mapping: CoreMapping, name: str) -> _Places:
    cores, compartments, neurons = [], [], []
    grid = grids(program)[name]
    for number, core in enumerate(mapping.cores):
        pieces = [piece for piece in core.slices if piece.population == name]
        if pieces:
            cores.append(number)
            compartments.append(np.concatenate([piece.compartments() for piece in pieces]))
            neurons.append(np.concatenate([piece.neurons(grid) for piece in pieces]))
    return _Places(tuple(cores), tuple(compartments), tuple(neurons))


def _block(nl: Any, program: Program, core: Core, label: str) -> Any:
    block = nl.block.LoihiBlock(core.n_compartments, label=label)
    compartment = block.compartment
    for name in ("decay_u", "decay_v", "vth", "bias", "refract_delay"):
        setattr(compartment, name, np.zeros(core.n_compartments, np.int32))
    compartment.scale_u = compartment.scale_v = False
    compartment.noise_exp = SILENT_EXPONENT
    for piece in core.slices:
        population = program.nodes[piece.population]
        assert isinstance(population, Compartments)
        part = slice(piece.offset, piece.offset + piece.n_compartments)
        compartment.decay_u[part] = population.decay_u
        compartment.decay_v[part] = population.decay_v
        compartment.vth[part] = population.threshold
        own = piece.neurons(grids(program)[piece.population])
        compartment.bias[piece.compartments()] = population.bias[own]
        compartment.refract_delay[part] = population.refractory
        compartment.vmin, compartment.vmax = population.v_min, population.v_max
        if population.noise is not None:
            compartment.enable_noise[part] = True
            compartment.noise_exp = population.noise.exponent
            compartment.noise_offset = population.noise.offset
            compartment.noise_at_membrane = int(population.noise.at_membrane)
    return block


def _synapse(nl: Any, program: Program, bundle: Bundle, n_index_bits: int) -> Any:
    """A nengo-loihi Synapse, with weights as they are added to the accumulator."""
    synapses = program.synapses[bundle.projection]
    synapse = nl.block.Synapse(bundle.n_axons, label=synapses.name)
    synapse.pop_type = bundle.axon
    synapse.axon_compartment_bases = bundle.base_of
    synapse.axon_to_weight_map = bundle.set_of
    weights, indices = bundle.make_sets()
    synapse._set_weights_indices(
        [values.astype(np.int32) << synapses.shift for values in weights],
        indices=indices,
        weight_dtype=np.int32,
        compression=3 if bundle.compressed else 0,
    )
    synapse.format(weight_exp=program.weight_exponent(synapses))
    if synapses.weight_bits is not None:
        synapse.format(weight_bits=synapse.synapse_cfg.WEIGHT_BITS_MAP.index(synapses.weight_bits))
    synapse.format(idx_bits=synapse.synapse_cfg.INDEX_BITS_MAP.index(n_index_bits))
    return synapse


def _axons_of_neurons(bundle: Bundle, n_neurons: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each neuron of the sender its axon, -1 for none, and its atom."""
    axon_of, atom_of = np.full(n_neurons, -1), np.zeros(n_neurons, int)
    axon_of[bundle.neurons] = np.arange(bundle.n_axons)[:, None]
    atom_of[bundle.neurons] = np.arange(bundle.n_atoms)
    return axon_of, atom_of


def _add_axon(
    nl: Any, sender: Any, synapse: Any, axon_of: NDArray[np.int64], atom_of: NDArray[np.int64]
) -> None:
    used = np.unique(axon_of[axon_of >= 0])
    if used.size:
        axon = nl.block.Axon(len(used), label=synapse.label)
        axon.target = synapse
        axon.set_compartment_axon_map(axon_of, atom_of if synapse.pop_type else None)
        sender.add_axon(axon)


def send(
    program: Program,
    made: BlockModel,
    spikes: Mapping[str, NDArray[np.bool_]],
    steps: int,
    permanent: bool = False,
) -> None:
    """Queue the spikes of one sample: those stamped t arrive at step t + 1, the first step being 1."""
    for name, delay in arrival_delays(program).items():
        queue = made.inputs[name]
        queue.spikes.clear()
        for step in range(max(steps - delay, 0)):
            queue.add_spikes(step + delay, np.flatnonzero(spikes[name][step]), permanent=permanent)


def _put(
    values: Mapping[str, NDArray[np.int32]],
    places: Mapping[str, _Places],
    slices: Sequence[slice],
    compartments_of_all: NDArray[np.int32],
) -> None:
    """Put values, one for each neuron of some populations, in an array of the emulator."""
    for name, array in values.items():
        where = places[name]
        for number, compartments, neurons in zip(where.cores, where.compartments, where.neurons, strict=True):
            compartments_of_all[slices[number]][compartments] = array[neurons]


def _count_wraps(nl: Any, compartment: Any) -> dict[_Accumulator, NDArray[np.int64]]:
    """Let the emulator count, for each compartment, what it would warn of without saying where."""
    wraps: dict[_Accumulator, NDArray[np.int64]] = {
        "q": np.zeros(compartment.n_compartments, np.int64),
        "u": np.zeros(compartment.n_compartments, np.int64),
    }

    def overflow(x: NDArray[np.int32], bits: int, name: str) -> None:
        _, wrapped = nl.builder.discretize.overflow_signed(x, bits=bits, out=x)
        wraps["q" if name == "q0" else "u"] += wrapped

    compartment._overflow = overflow
    return wraps


def in_order(where: _Places, output: Any) -> NDArray[Any]:
    """What a probe gave, (steps, size), in the order of the population's neurons."""
    output = np.asarray(output)
    ordered: NDArray[Any] = np.empty_like(output)
    ordered[:, np.concatenate(where.neurons)] = output
    return ordered


def _probed_variables(
    program: Program, record: Mapping[str, Iterable[str]] | None
) -> dict[str, tuple[str, ...]]:
    """Spikes of every population, which the counts need, and what is to be recorded."""
    record = record or {}
    return {
        p.name: tuple(sorted({"spikes", *record.get(p.name, ())} - {"events"})) for p in program.populations
    }


def simulation_of(
    program: Program,
    probed: Mapping[tuple[str, str], NDArray[Any]],
    record: Mapping[str, Iterable[str]],
    overflows: Mapping[tuple[str, _Accumulator], int] | None,
    spikes: Mapping[str, NDArray[np.bool_]],
) -> Simulation:
    """What was recorded, and the counts that follow from it; without `overflows` nobody knows them."""
    emitted = {name: array.astype(bool) for (name, variable), array in probed.items() if variable == "spikes"}
    delays = {**{p.name: 1 for p in program.populations}, **arrival_delays(program)}
    known = {**spikes, **emitted}
    counts = {}
    for p in program.populations:
        unknown = [] if overflows is not None else ["overflows_q", "overflows_u"]
        if p.name not in emitted:
            unknown.append("spikes")
        events = 0
        into = program.into(p.name)
        if all(synapses.pre in known for synapses in into):
            for synapses in into:
                source = known[synapses.pre]
                arrived = source[:, : max(source.shape[1] - delays[synapses.pre], 0)]
                events += int(arrived.sum(axis=(0, 1)) @ fan_out(synapses.transform))
        else:
            unknown.append("synaptic_events")
        counts[p.name] = PopulationCounts(
            p.size,
            int(emitted[p.name].sum()) if p.name in emitted else 0,
            events,
            (overflows or {}).get((p.name, "q"), 0),
            (overflows or {}).get((p.name, "u"), 0),
            unknown=tuple(unknown),
        )
    recorded: dict[str, dict[str, NDArray[Any]]] = {}
    for name, variables in record.items():
        values = {key: array for (owner, key), array in probed.items() if owner == name}
        if name in emitted:
            values |= {"spikes": emitted[name], "events": np.argwhere(emitted[name])}
        recorded[name] = {variable: values[variable] for variable in variables}
    return Simulation(recorded, counts)
