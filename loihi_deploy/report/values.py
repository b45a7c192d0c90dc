"""Figures of a deployment as plain values: what JSON holds and tables print."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Any

from loihi_deploy.mapping import Mapping
from loihi_deploy.program import Program
from loihi_deploy.results import Counters


def layer_values(program: Program, mapping: Mapping) -> list[dict[str, Any]]:
    """One entry for each population: name, place, shape, neurons, cores, weights, rounding errors.

    Host encoders come first, with 0 cores.
    """
    layers = [
        {
            "name": population.name,
            "place": "host",
            "shape": list(population.shape),
            "neurons": population.size,
            "neuron": population.neuron.kind,
            "cores": 0,
        }
        for population in program.encoder.populations
    ]
    groups = {group.population: group for group in program.scale_groups}
    for compartments in program.populations:
        group = groups.get(compartments.name)
        layers.append(
            {
                "name": compartments.name,
                "place": "chip",
                "shape": list(compartments.shape),
                "neurons": compartments.size,
                "neuron": "lif" if compartments.decay_v else "if",
                "cores": sum(
                    any(piece.population == compartments.name for piece in core.slices)
                    for core in mapping.cores
                ),
                "weights": sum(
                    synapses.transform.values.size for synapses in program.into(compartments.name)
                ),
                "threshold": compartments.threshold,
                "weight_rms_error": None if group is None else group.weight_rms_error,
                "saturated_weights": None if group is None else group.saturated_weights,
                "zeroed_weights": None if group is None else group.zeroed_weights,
                "bias_rms_error": None if group is None else group.bias_rms_error,
            }
        )
    return layers


def summary(program: Program, mapping: Mapping) -> dict[str, Any]:
    """The deployment in figures: board, cores, chips, layers, warnings."""
    return {
        "board": mapping.board.name,
        "n_cores": mapping.n_cores,
        "n_chips": mapping.n_chips,
        "n_neurons": program.n_compartments,
        "layers": layer_values(program, mapping),
        "warnings": [*program.notes, *mapping.warnings],
    }


def counters_values(counters: Counters, dt: float) -> dict[str, Any]:
    """Counts of a run, and the firing rates that follow from them."""
    populations: MappingOf[str, Any] = {
        name: {
            "firing_rate": counters.firing_rate(name, dt),
            "spikes": counts.spikes,
            "synaptic_events": counts.synaptic_events,
            "overflows": counts.overflows_q + counts.overflows_u,
            "lost_spikes": counts.lost_spikes,
        }
        for name, counts in counters.populations.items()
    }
    return {"samples": counters.samples, "sample_steps": counters.sample_steps, "populations": populations}
