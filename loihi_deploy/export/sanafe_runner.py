"""Run what `loihi_deploy.export.to_sanafe` wrote on SANA-FE: copied beside it as ``run.py``, it stands alone.

Needs SANA-FE and numpy. Writes ``result.json`` and ``spikes.npy`` (rows: step, neuron); with ``--potentials`` also
``potentials.npy``, (steps, neurons): the voltage of every compartment after each step, in SANA-FE's unit.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import sanafe

KEPT = ("neurons_updated", "neurons_fired", "packets_sent", "spikes", "sim_time", "energy")


def main() -> None:
    """Build, run, write."""
    folder = Path(__file__).resolve().parent
    network = np.load(folder / "network.npz", allow_pickle=False)
    arch = sanafe.load_arch(str(folder / "architecture.yaml"))
    net = sanafe.Network()
    potentials = "--potentials" in sys.argv[1:]
    groups = _groups(net, network, potentials)
    cores_of_the_host = _place(arch, network, groups)
    tiles = {int(tile) for tile in network["tile"]}
    per_tile = int(network["cores_per_tile"])
    _connect(network, groups)
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    steps = int(network["steps"])
    found = chip.sim(
        steps,
        timing_model="simple",
        spike_trace=True,
        perf_trace=True,
        message_trace=True,
        potential_trace=True if potentials else None,
    )
    result = {name: found[name] for name in KEPT}
    result["steps"] = {name: list(values) for name, values in dict(found["perf_trace"]).items()}
    sent = Counter[str]()
    for message in (m for of_step in found["message_trace"] for m in of_step):
        if not message["placeholder"]:
            who = "host" if message["src_core_id"] in cores_of_the_host else "chip"
            sent[f"{who}_messages"] += 1
            sent[f"{who}_hops_east_west"] += abs(message["src_x"] - message["dest_x"])
            sent[f"{who}_hops_north_south"] += abs(message["src_y"] - message["dest_y"])
    hops = network["hop_pj"] * [sent["host_hops_east_west"], sent["host_hops_north_south"]]
    result["sent"] = dict(sent)
    result["tiles"] = len(tiles)
    result["tiles_with_host"] = len(tiles | {core // per_tile for core in cores_of_the_host})
    result["host_network_energy"] = 1e-12 * float(hops.sum() + network["message_pj"] * sent["host_messages"])
    (folder / "result.json").write_text(json.dumps(result))
    np.save(folder / "spikes.npy", _spikes(network, found["spike_trace"]))
    if potentials:
        np.save(folder / "potentials.npy", np.array(found["potential_trace"], dtype=np.float64))


def _groups(net: Any, network: Any, potentials: bool) -> list[Any]:
    """A group for each population, margin and source."""
    first = network["first"]
    groups: list[Any] = []
    for k in range(len(first) - 1):
        on_chip = k < int(network["n_populations"]) and not bool(network["replay"])
        attributes: dict[str, Any] = {}
        if on_chip:
            threshold, v_min, leak, decay, refractory = network["settings"][k].tolist()
            attributes = {
                "threshold": threshold,
                "reverse_threshold": v_min,
                "reverse_reset_mode": "saturate",
                "reset_mode": "hard",
                "reset": 0.0,
                "leak_decay": leak,
                "input_decay": decay,
                "refractory_delay": int(refractory),
            }
        size = int(first[k + 1] - first[k])
        unit = "loihi_lif" if attributes else ""
        group = net.create_neuron_group(
            f"g{k}",
            size,
            attributes,
            soma_hw_name=unit,
            log_spikes=True,
            log_potential=potentials and on_chip,
        )
        if on_chip:
            for i in range(size):
                own = {"bias": float(network["bias"][first[k] + i])}
                if network["start"][first[k] + i] != 0:
                    own["potential"] = float(network["start"][first[k] + i])
                group.neurons[i].set_attributes(model_attributes=own)
        groups.append(group)
    return groups


def _place(arch: Any, network: Any, groups: list[Any]) -> set[int]:
    """Map every neuron to its core; the host's to free ones. Returns the numbers of these."""
    first, core_of = network["first"], network["core_of"]
    tiles, offsets, per_tile = network["tile"], network["offset"], int(network["cores_per_tile"])
    n_units, replay = int(network["units"]), bool(network["replay"])
    taken = set(zip(tiles.tolist(), offsets.tolist(), strict=True))
    free = [
        (tile, core)
        for tile in range(int(network["n_tiles"]) - 1, -1, -1)
        for core in range(per_tile - 1, -1, -1)
        if (tile, core) not in taken
    ]
    trains: dict[int, Any] = {}
    for step, neuron in network["spikes"].tolist():
        trains.setdefault(neuron, np.zeros(int(network["steps"]), bool))[step] = True
    units = Counter[tuple[int, int]]()
    used: set[tuple[int, int]] = set()
    n_populations = int(network["n_populations"])
    for k, group in enumerate(groups):
        on_host = k >= n_populations
        for i in range(int(first[k + 1] - first[k])):
            neuron = int(first[k]) + i
            if on_host:
                place = next(p for p in free if units[p] < n_units)
                used.add(place)
            else:
                place = int(tiles[core_of[neuron]]), int(offsets[core_of[neuron]])
            if on_host or replay:
                kind = "loihi_inputs" if on_host else "loihi_replay"
                train = trains.get(neuron, np.zeros(1, bool)).tolist()
                group.neurons[i].set_attributes(
                    soma_hw_name=f"{kind}[{units[place]}]", model_attributes={"spikes": train}
                )
                units[place] += 1
            group.neurons[i].map_to_core(arch.tiles[place[0]].cores[place[1]])
    return {tile * per_tile + core for tile, core in used}


def _connect(network: Any, groups: list[Any]) -> None:
    """Connect neurons, kind of synapse by kind of synapse: a target says which one it has."""
    edges, weight, first = network["edges"], network["weight"], network["first"]
    pre_group = np.searchsorted(first, edges[:, 0], side="right") - 1
    post_group = np.searchsorted(first, edges[:, 1], side="right") - 1
    together, member = np.unique(
        np.stack([pre_group, post_group, edges[:, 2]], axis=1), axis=0, return_inverse=True
    )
    for k, (pre, post, kind) in enumerate(together.tolist()):
        mine = np.flatnonzero(member.reshape(-1) == k)
        targets = edges[mine, 1] - first[post]
        for i in np.unique(targets).tolist():
            groups[post].neurons[i].set_attributes(default_synapse_hw_name=str(network["synapses"][kind]))
        pairs = list(zip((edges[mine, 0] - first[pre]).tolist(), targets.tolist(), strict=True))
        groups[pre].connect_neurons_sparse(groups[post], {"weight": weight[mine].tolist()}, pairs)


def _spikes(network: Any, trace: Any) -> Any:
    """Rows (step, neuron), steps from 0; SANA-FE's trace has a list of addresses for each step."""
    first = network["first"]
    rows = []
    for step, addresses in enumerate(trace):
        for address in addresses:
            group, _, neuron = str(address).partition(".")
            rows.append((step, int(first[int(group.lstrip("g"))]) + int(neuron)))
    return np.array(rows, np.int64).reshape(-1, 2)


if __name__ == "__main__":
    main()
