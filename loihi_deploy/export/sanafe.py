"""Write a deployment and one sample for SANA-FE, a simulator of energy and time: to check estimates from outside.

SANA-FE (PyPI ``sanafe``, GPL) is a program of its own: nothing here imports it. A folder is written that holds the
architecture, the mapped network and a script that runs both where SANA-FE is installed.

What SANA-FE 2.2.9 does otherwise than the chip, and how that is met:

- its compartments compute in floating point, in units of 64 of ours; their current is never cut to whole numbers. With
  decaying currents a few spikes may so differ from ours: ``neurons='replay'`` lets ours spike instead
- its tiles are numbered down the columns
- what spikes by a list is a unit of its own for each neuron, so there are 1,024 of them on each core
- a synapse has the kind that its target has when they are connected, so targets are told before
- the host's neurons need cores: they lie on free ones, from the last tile on. Their messages go some hops and cost what
  any message costs; the script tells their share, which our estimate does not have
"""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.energy.coefficients import Coefficients, load_coefficients
from loihi_deploy.analysis.energy.margins import WithMargins, with_margins
from loihi_deploy.analysis.energy.wiring import synapse_kind
from loihi_deploy.backends import RunOptions, run
from loihi_deploy.checked import checked
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.deployment import Deployment
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.engines.host.biases import biases
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.files import make_folder, write_file, written
from loihi_deploy.ir import Samples, samples_for
from loihi_deploy.ir.program import Compartments
from loihi_deploy.mapping import Mapping
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.usage import slice_bundles

UNIT = 64
"""What SANA-FE's compartments round to is one part in so many; our integers are so many times its numbers."""
RUNNER = "sanafe_runner.py"
SYNAPSES = ("loihi_conv_synapse", "loihi_dense_synapse", "loihi_sparse_synapse")
"""SANA-FE's names of the kinds of synapses."""


@checked
def to_sanafe(
    deployment: Deployment,
    x: Any,
    folder: str | os.PathLike[str],
    steps: int = 100,
    *,
    neurons: Literal["lif", "replay"] = "lif",
    coefficients: str | os.PathLike[str] = "sanafe2025",
) -> Path:
    """Write a deployment, mapped to its cores, and the spikes of one sample.

    Parameters
    ----------
    deployment : Deployment
        On one chip.
    x : array or mapping of arrays
        One sample, as for `Deployment.run`.
    folder : path
        Made where it is not there; gets ``architecture.yaml``, ``network.npz`` and ``run.py``.
    steps : int
        Of presentation.
    neurons : {'lif', 'replay'}
        SANA-FE's own compartments, or ones that spike when ours do (then it counts no updates but those of spikes).
    coefficients : str or Path
        Costs that the architecture has.

    Returns
    -------
    Path
        The folder. ``python run.py`` there, with SANA-FE and numpy installed, writes ``result.json`` and
        ``spikes.npy``: rows (step, neuron), numbered as in ``network.npz``.

    Raises
    ------
    InputError
        If there is not one sample, or if SANA-FE cannot express the network: several chips, noise, biases that change
        with frames, a link to the chip that takes more than a step.
    OutputError
        If the folder cannot be written.
    """
    costs = load_coefficients(coefficients)
    samples = samples_for(deployment.graph, x)
    _check(deployment, samples, neurons)
    full = with_margins(deployment.program, deployment.mapping, inf)
    arrays = {
        **_network(deployment, full, samples, steps, neurons == "replay"),
        **_places(deployment.mapping),
        "hop_pj": np.array([costs.hop_east_west_pj, costs.hop_north_south_pj]),
        "message_pj": np.array(costs.message_out_pj),
        "synapses": np.array(SYNAPSES),
    }
    where = make_folder(folder)
    write_file(where / "architecture.yaml", _architecture(deployment, costs).encode())
    write_file(where / "network.npz", written(np.savez_compressed, **arrays))
    write_file(where / "run.py", Path(__file__).with_name(RUNNER).read_bytes())
    return where


def _network(
    deployment: Deployment, full: WithMargins, samples: Samples, steps: int, replay: bool
) -> dict[str, NDArray[Any]]:
    """Neurons with their settings, synapses, and spikes of a run; populations, then margins, then the host's."""
    program = full.program
    names = [*(p.name for p in program.populations), *(source.name for source in program.sources)]
    sizes = [program.nodes[name].size for name in names]
    first = dict(zip(names, np.cumsum([0, *sizes]).tolist(), strict=False))
    record = dict.fromkeys(names, ("events",))
    result = run(program, samples, RunOptions(steps, record=record, progress=False, threads=1))
    spikes = [result.recorded[name]["events"][:, 1:] + np.array([0, first[name]]) for name in names]
    core_of, table = _edges(deployment, full, first)
    taken, _ = biases(program, samples.arrays)
    bias: list[NDArray[Any]] = [
        taken[p.name][0, 0] if p.name in taken else p.bias for p in program.populations
    ]
    at_rest = [np.zeros(p.size, np.int32) for p in program.populations]
    start = [
        z if p.initial_voltage is None else p.initial_voltage
        for z, p in zip(at_rest, program.populations, strict=True)
    ]
    return {
        "names": np.array(names),
        "first": np.array([*first.values(), len(core_of)]),
        "n_populations": np.array(len(program.populations)),
        "settings": np.array([_settings(p, program.arithmetic) for p in program.populations]).reshape(-1, 5),
        "bias": np.concatenate(bias).astype(np.float64) / UNIT,
        "start": np.concatenate(start) / UNIT,
        "core_of": core_of,
        "edges": table[:, [0, 1, 3]].astype(np.int32),
        "weight": np.zeros(len(table)) if replay else table[:, 2] / UNIT,
        "spikes": np.concatenate(spikes),
        "steps": np.array(steps),
        "replay": np.array(replay),
    }


def _settings(p: Compartments, arithmetic: Arithmetic) -> tuple[float, ...]:
    """Threshold, least voltage, what remains of voltage and current after a step, and refractory steps."""
    whole = 1 << arithmetic.decay_bits
    return (
        p.threshold / UNIT,
        p.v_min / UNIT,
        (whole - p.decay_v - arithmetic.voltage_decay_offset) / whole,
        (whole - p.decay_u - arithmetic.current_decay_offset) / whole,
        p.refractory,
    )


def _places(mapping: Mapping) -> dict[str, NDArray[Any]]:
    """Where each core lies, tiles numbered down the columns."""
    chip = mapping.board.chip
    numbers = np.array([core.number for core in mapping.cores], np.int64)
    tile = numbers // chip.cores_per_tile
    return {
        "tile": (tile % chip.mesh_columns) * chip.mesh_rows + tile // chip.mesh_columns,
        "offset": numbers % chip.cores_per_tile,
        "n_tiles": np.array(chip.n_tiles),
        "cores_per_tile": np.array(chip.cores_per_tile),
        "units": np.array(chip.core.max_compartments),
    }


def _edges(
    deployment: Deployment, full: WithMargins, first: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Core of each neuron, -1 for the host's, and rows (sender, target, weight, kind) of all stored synapses."""
    program, mapping = deployment.program, deployment.mapping
    limits, shapes = mapping.board.chip.core, grids(program)
    core_of = np.full(sum(node.size for node in full.program.all_nodes), -1, np.int64)
    edges: list[NDArray[np.int64]] = [np.zeros((0, 4), np.int64)]
    for name, margin in full.margins.items():
        core_of[first[name] : first[name] + len(margin.core)] = margin.core
    margin_of = {margin.population: first[name] for name, margin in full.margins.items()}
    for number, core in enumerate(mapping.cores):
        ids = np.full(max(piece.offset + piece.n_compartments for piece in core.slices), -1, np.int64)
        for piece in core.slices:
            mine = first[piece.population] + piece.neurons(shapes[piece.population])
            ids[piece.compartments()] = mine
            core_of[mine] = number
            margins = piece.margins()
            if len(margins):
                ids[margins] = margin_of[piece.population] + np.arange(len(margins))
                margin_of[piece.population] += len(margins)
        for piece in core.slices:
            for bundle in slice_bundles(program, piece, limits):
                synapses = program.synapses[bundle.projection]
                kind = synapse_kind(piece, bundle)
                for pre, compartment, mantissa in bundle.synapses():
                    post = ids[compartment]
                    rows = np.empty((*post.shape, 4), np.int64)
                    rows[..., 0], rows[..., 1] = first[synapses.pre] + pre, post
                    rows[..., 2], rows[..., 3] = mantissa.astype(np.int64) << synapses.shift, kind
                    edges.append(rows.reshape(-1, 4))
    return core_of, np.concatenate(edges)


def _check(deployment: Deployment, samples: Samples, neurons: str) -> None:
    """Raise an error that names everything that SANA-FE cannot express."""
    program, mapping = deployment.program, deployment.mapping
    problems = []
    if neurons not in ("lif", "replay"):
        problems.append(Problem("unknown choice", "neurons", neurons, "'lif' or 'replay'"))
    if len(samples) != 1:
        problems.append(Problem("not one sample", "x", f"{len(samples)} samples", 1, "Give one: x[:1]"))
    if program.bias_inputs and samples.n_frames > 1:
        problems.append(
            Problem("biases that change with frames", "x", f"{samples.n_frames} frames", 1, "Give one frame")
        )
    if mapping.n_chips > 1:
        problems.append(
            Problem(
                "more than one chip", "mapping", mapping.n_chips, 1, "Map a smaller network, or other layers"
            )
        )
    problems += [
        Problem("noise", f"layer '{p.name}'", remedy="Leave it out")
        for p in program.populations
        if p.noise is not None
    ]
    problems += [
        Problem("spikes of the host arrive late", f"source '{name}'", delay, 1)
        for name, delay in arrival_delays(program).items()
        if delay != 1
    ]
    problems += program.delay_problems("SANA-FE's Loihi")
    if problems:
        raise InputError("Cannot write the deployment for SANA-FE", problems)


def _architecture(deployment: Deployment, costs: Coefficients) -> str:
    """SANA-FE's description of the chip, with our costs."""
    chip = deployment.board.chip
    steps = ", ".join(
        f"{int(tiles)}: {us}e-6" for tiles, us in zip(costs.barrier_tiles, costs.barrier_us, strict=True)
    )
    if costs.barrier_is_line:
        steps = ", ".join(f"{tiles}: {costs.barrier_ns(tiles)}e-9" for tiles in range(1, chip.n_tiles + 1))
    soma = _attributes(
        14,
        energy_access_neuron=f"{costs.access_pj}e-12",
        latency_access_neuron=f"{costs.access_ns}e-9",
        energy_update_neuron=f"{costs.update_pj}e-12",
        latency_update_neuron=f"{costs.update_ns}e-9",
        energy_spike_out=f"{costs.spike_pj}e-12",
        latency_spike_out=f"{costs.spike_ns}e-9",
    )
    free = _attributes(
        14,
        **{
            f"{what}_{when}": "0.0"
            for what in ("energy", "latency")
            for when in ("access_neuron", "update_neuron", "spike_out")
        },
    )
    hops = _attributes(
        8,
        **{
            f"energy_{way}_hop": f"{pj}e-12"
            for way, pj in (
                ("north", costs.hop_north_south_pj),
                ("south", costs.hop_north_south_pj),
                ("east", costs.hop_east_west_pj),
                ("west", costs.hop_east_west_pj),
            )
        },
        **{f"latency_{way}_hop": "0.0" for way in ("north", "south", "east", "west")},
    )
    synapses = "".join(
        f"            - name: {name}\n              attributes:\n"
        + _attributes(
            14, model="current_based", energy_process_spike=f"{pj}e-12", latency_process_spike=f"{ns}e-9"
        )
        for name, pj, ns in zip(SYNAPSES, costs.synapse_pj, costs.synapse_ns, strict=True)
    )
    last = chip.core.max_compartments - 1
    return f"""architecture:
  name: loihi
  attributes:
    topology: mesh
    width: {chip.mesh_columns}
    height: {chip.mesh_rows}
    link_buffer_size: 16
    sync_model: table
    latency_sync: {{ {steps} }}
  tile:
    - name: tile[0..{chip.n_tiles - 1}]
      attributes:
{hops}      core:
        - name: core[0..{chip.cores_per_tile - 1}]
          attributes:
            buffer_position: soma
            buffer_inside_unit: false
            max_neurons_supported: {chip.core.max_compartments}
          axon_in:
            - name: loihi_in
              attributes:
{_attributes(14, energy_message_in=f"{costs.message_in_pj}e-12", latency_message_in=f"{costs.message_in_ns}e-9")}\
          soma:
            - name: loihi_lif
              attributes:
                model: leaky_integrate_fire
{soma}            - name: loihi_inputs[0..{last}]
              attributes:
                model: input
{free}            - name: loihi_replay[0..{last}]
              attributes:
                model: input
{soma}          dendrite:
            - name: loihi_dendrites
              attributes:
                model: accumulator
                energy_update: 0.0
                latency_update: 0.0
          synapse:
{synapses}          axon_out:
            - name: loihi_out
              attributes:
{_attributes(14, energy_message_out=f"{costs.message_out_pj}e-12", latency_message_out=f"{costs.message_out_ns}e-9")}"""


def _attributes(indent: int, **values: str) -> str:
    """Lines of YAML."""
    return "".join(f"{' ' * (indent + 2)}{name}: {value}\n" for name, value in values.items())
