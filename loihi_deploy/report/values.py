"""Figures of a deployment as plain values: what JSON holds and tables print."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Any

import numpy as np

from loihi_deploy.engines.chip.overflow import accumulator_bounds
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping
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


def encoder_values(program: Program, counters: Counters | None = None) -> dict[str, Any]:
    """What the host computes to encode a sample, counted in the program, and what it sends, counted in a run.

    The weighted sum of a frame is computed once: a multiply for each weight that is not 1 or -1 and one for each
    neuron, by gain and step, an addition for each weight and each bias. Neurons whose gain is in their threshold
    multiply nothing (`Population.adds_only`). In every step each host neuron adds to its state; leaky ones multiply
    too, those that spike at random draw a number, and a filter takes two multiplies and two additions. A bias for the
    chip is one multiply by its scale.

    Parameters
    ----------
    program : Program
    counters : Counters, optional
        Of a run: adds the mean number of spikes sent for a sample.

    Returns
    -------
    dict
        'neurons' (the kinds of neurons, or 'bias'), 'multiplies_per_frame', 'additions_per_frame',
        'multiplies_per_step', 'additions_per_step', 'random_numbers_per_step'; with `counters` 'spikes_per_sample'.
    """
    host = program.encoder.populations
    weights = [np.abs(projection.transform.csr().data) for projection in program.encoder.projections]
    weights = [magnitudes[magnitudes != 0] for magnitudes in weights]
    driven = sum(program.nodes[bias_input.population].size for bias_input in program.bias_inputs)
    scaled = sum(p.size for p in host if not p.adds_only and (p.neuron.kind != "lif" or (p.gain != 1).any()))
    filtered = sum(p.transform.out_size for p in program.encoder.projections if p.tau > 0)
    values: dict[str, Any] = {
        "neurons": sorted({p.neuron.kind for p in host} | ({"bias"} if driven else set())),
        "multiplies_per_frame": sum(int((w != 1).sum()) for w in weights) + scaled + driven,
        "additions_per_frame": sum(w.size for w in weights) + sum(p.size for p in host if p.bias.any()),
        "multiplies_per_step": sum(p.size for p in host if p.neuron.kind == "lif") + 2 * filtered,
        "additions_per_step": sum(p.size for p in host) + 2 * filtered,
        "random_numbers_per_step": sum(p.size for p in host if p.neuron.kind == "poisson"),
    }
    if counters is not None:
        values["spikes_per_sample"] = (
            sum(counters.populations[p.name].spikes for p in host) / counters.samples
        )
    return values


def summary(program: Program, mapping: Mapping) -> dict[str, Any]:
    """The deployment in figures: board, cores, chips, layers, what is proven not to overflow, warnings."""
    return {
        "board": mapping.board.name,
        "n_cores": mapping.n_cores,
        "n_chips": mapping.n_chips,
        "n_neurons": program.n_compartments,
        "layers": layer_values(program, mapping),
        "encoder": encoder_values(program),
        "never_wraps": [name for name, bound in accumulator_bounds(program).items() if bound.never_wraps],
        "warnings": [*program.notes, *mapping.warnings],
    }


def counters_values(counters: Counters, dt: float) -> dict[str, Any]:
    """Counts of a run, and the firing rates that follow from them; None for what nobody could count."""
    populations: MappingOf[str, Any] = {
        name: {
            "firing_rate": None if "spikes" in counts.unknown else counters.firing_rate(name, dt),
            "spikes": None if "spikes" in counts.unknown else counts.spikes,
            "synaptic_events": None if "synaptic_events" in counts.unknown else counts.synaptic_events,
            "overflows": None if "overflows_q" in counts.unknown else counts.overflows_q + counts.overflows_u,
            "lost_spikes": counts.lost_spikes,
            "clipped_biases": counts.clipped_biases,
        }
        for name, counts in counters.populations.items()
    }
    return {"samples": counters.samples, "sample_steps": counters.sample_steps, "populations": populations}
