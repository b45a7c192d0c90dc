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

import io
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.energy.coefficients import Coefficients, load_coefficients
from loihi_deploy.analysis.energy.wiring import synapse_kind
from loihi_deploy.deployment import Deployment
from loihi_deploy.engines.chip.plain import arrival_delays
from loihi_deploy.errors import InputError, OutputError, Problem
from loihi_deploy.files import write_file
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.usage import slice_bundles

UNIT = 64
"""What SANA-FE's compartments round to is one part in so many; our integers are so many times its numbers."""
RUNNER = "sanafe_runner.py"
SYNAPSES = ("loihi_conv_synapse", "loihi_dense_synapse", "loihi_sparse_synapse")
"""SANA-FE's names of the kinds of synapses."""


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
    program, mapping = deployment.program, deployment.mapping
    costs = load_coefficients(coefficients)
    names = [*(p.name for p in program.populations), *(s.name for s in program.sources)]
    result = deployment.run(x, steps, record=dict.fromkeys(names, ("events",)), progress=False, threads=1)
    _check(deployment, len(result.outputs), neurons)
    first = dict(zip(names, np.cumsum([0, *(program.nodes[n].size for n in names)]).tolist(), strict=False))
    n_neurons = sum(program.nodes[name].size for name in names)

    limits, shapes = mapping.board.chip.core, grids(program)
    margins: list[int] = []
    core_of = np.full(n_neurons, -1, np.int64)
    edges: list[NDArray[np.int64]] = [np.zeros((0, 4), np.int64)]
    for number, core in enumerate(mapping.cores):
        ids = np.full(max(piece.offset + piece.n_compartments for piece in core.slices), -1, np.int64)
        for piece in core.slices:
            mine = first[piece.population] + piece.neurons(shapes[piece.population])
            ids[piece.compartments()] = mine
            core_of[mine] = number
            inside = np.arange(piece.offset, piece.offset + piece.n_compartments)
            empty = inside[ids[inside] < 0]
            ids[empty] = n_neurons + len(margins) + np.arange(len(empty))
            margins += [number] * len(empty)
        for piece in core.slices:
            for bundle in slice_bundles(program, piece, limits):
                synapses = program.synapses[bundle.projection]
                kind = synapse_kind(piece, bundle)
                weights, indices = bundle.make_sets()
                for k, (values, index) in enumerate(zip(weights, indices, strict=True)):
                    axons = np.flatnonzero(bundle.set_of == k)
                    pre = first[synapses.pre] + bundle.neurons[axons]
                    post = ids[bundle.base_of[axons][:, None, None] + index]
                    rows = np.empty((*post.shape, 4), np.int64)
                    rows[..., 0], rows[..., 1] = pre[:, :, None], post
                    rows[..., 2], rows[..., 3] = values.astype(np.int64) << synapses.shift, kind
                    edges.append(rows.reshape(-1, 4))
    table = np.concatenate(edges)
    if neurons == "replay":
        table[:, 2] = 0
    arithmetic = program.arithmetic
    full = 1 << arithmetic.decay_bits
    settings = [
        (
            p.threshold / UNIT,
            p.v_min / UNIT,
            (full - p.decay_v - arithmetic.voltage_decay_offset) / full,
            (full - p.decay_u - arithmetic.current_decay_offset) / full,
            p.refractory,
        )
        for p in program.populations
    ]
    spikes = np.concatenate(
        [result.recorded[name]["events"][:, 1:] + np.array([0, first[name]]) for name in names]
    )
    tile = np.array([core.number for core in mapping.cores], np.int64) // mapping.board.chip.cores_per_tile
    offset = np.array([core.number for core in mapping.cores], np.int64) % mapping.board.chip.cores_per_tile
    chip = mapping.board.chip
    arrays = {
        "names": np.array([*names, "margins"]),
        "first": np.array([*first.values(), n_neurons, n_neurons + len(margins)]),
        "n_populations": np.array(len(program.populations)),
        "settings": np.array(settings).reshape(-1, 5),
        "bias": np.concatenate([_bias(deployment, p, x) for p in program.populations]) / UNIT,
        "start": np.concatenate(
            [
                np.zeros(p.size) if p.initial_voltage is None else p.initial_voltage
                for p in program.populations
            ]
        )
        / UNIT,
        "core_of": np.concatenate([core_of, np.array(margins, np.int64)]),
        "tile": (tile % chip.mesh_columns) * chip.mesh_rows + tile // chip.mesh_columns,
        "offset": offset,
        "n_tiles": np.array(chip.n_tiles),
        "cores_per_tile": np.array(chip.cores_per_tile),
        "units": np.array(limits.max_compartments),
        "edges": table[:, [0, 1, 3]].astype(np.int32),
        "weight": table[:, 2] / UNIT,
        "spikes": spikes,
        "steps": np.array(steps),
        "replay": np.array(neurons == "replay"),
        "hop_pj": np.array([costs.hop_east_west_pj, costs.hop_north_south_pj]),
        "message_pj": np.array(costs.message_out_pj),
        "synapses": np.array(SYNAPSES),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    where = Path(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
        raise OutputError.single(f"cannot be made: {error}", str(where)) from error
    write_file(where / "architecture.yaml", _architecture(deployment, costs).encode())
    write_file(where / "network.npz", stream.getvalue())
    write_file(where / "run.py", Path(__file__).with_name(RUNNER).read_bytes())
    return where


def _bias(deployment: Deployment, population: Any, x: Any) -> NDArray[np.float64]:
    """Biases of a population; those taken from the input for this sample."""
    from loihi_deploy.engines.host.biases import biases
    from loihi_deploy.ir import samples_for

    taken, _ = biases(deployment.program, samples_for(deployment.graph, x).arrays)
    found = taken[population.name][0, 0] if population.name in taken else population.bias
    return np.asarray(found, np.float64)


def _check(deployment: Deployment, n: int, neurons: str) -> None:
    """Raise an error that names everything that SANA-FE cannot express."""
    program, mapping = deployment.program, deployment.mapping
    problems = []
    if neurons not in ("lif", "replay"):
        problems.append(Problem("unknown choice", "neurons", neurons, "'lif' or 'replay'"))
    if n != 1:
        problems.append(Problem("not one sample", "x", f"{n} samples", 1, "Give one: x[:1]"))
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
