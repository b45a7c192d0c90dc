"""From what a run made the cores do to counts and costs, by cause, population, core and chip."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.analysis.energy.coefficients import KINDS, Coefficients
from loihi_deploy.analysis.energy.wiring import Wiring
from loihi_deploy.engines.activity import Meter, Work
from loihi_deploy.results import Activity

Ints = NDArray[np.int64]

CAUSES = (
    "idle compartments",
    "updated compartments",
    "spikes",
    "messages out",
    "messages in",
    *(f"{kind} synapses" for kind in KINDS),
    "hops east-west",
    "hops north-south",
    "learning",
)
"""What energy goes into, one line of a result each."""


def meter(wires: Wiring, costs: Coefficients) -> Meter:
    """What counts a run of a program on its cores, with times from a set of coefficients."""
    n_messages = np.bincount(wires.messages[:, 0], minlength=len(wires.sender))
    n_cores = len(wires.chip)
    key, position = np.unique(wires.reads[:, 0] * max(n_cores, 1) + wires.reads[:, 1], return_inverse=True)
    reading = wires.reads[:, 4] * np.array(costs.synapse_ns)[wires.reads[:, 2]]
    message_ns = costs.message_in_ns + np.bincount(position.reshape(-1), reading, len(key))
    work = Work(
        wires.class_of,
        np.where(wires.sender >= 0, wires.sender, n_cores).astype(np.uint64),
        costs.spike_ns + n_messages * costs.message_out_ns,
        np.concatenate([[0], np.cumsum(n_messages)]).astype(np.uint64),
        wires.messages[:, 1].astype(np.uint64),
        message_ns,
        wires.compartments.sum(axis=1) * costs.access_ns + wires.biased.sum(axis=1) * costs.update_ns,
        costs.update_ns,
    )
    return Meter(work, wires.followed)


@dataclass(frozen=True)
class Counts:
    """What happened in a run, summed over its samples and steps.

    Parameters
    ----------
    samples, sample_steps : int
    by_cause : dict of (n_cores, n_populations) int arrays
        By `CAUSES`: on which core and for which population. Work of a compartment or synapse belongs to the population
        that holds it, spikes, messages out and hops to the one that sends; messages in are those of each sender.
    messages : (n_cores + 1, n_cores) int array
        From core to core; the last row is the host's.
    axon_messages : int
        Messages out if each output axon sent one: what Loihi does, where SANA-FE counts one for each core reached.
    between_chips : int
        Messages that leave their chip.
    host_spikes : int
        Spikes that the host sends.
    """

    samples: int
    sample_steps: int
    by_cause: MappingOf[str, Ints]
    messages: Ints
    axon_messages: int
    between_chips: int
    host_spikes: int

    def total(self, cause: str) -> int:
        """Count of a cause."""
        return int(self.by_cause[cause].sum())

    def picojoules(self, costs: Coefficients) -> dict[str, NDArray[np.float64]]:
        """Energy of each cause, by core and population."""
        prices = (
            costs.access_pj,
            costs.access_pj + costs.update_pj,
            costs.spike_pj,
            costs.message_out_pj,
            costs.message_in_pj,
            *costs.synapse_pj,
            costs.hop_east_west_pj,
            costs.hop_north_south_pj,
            costs.learning_pj,
        )
        return {cause: price * self.by_cause[cause] for cause, price in zip(CAUSES, prices, strict=True)}


def counts_of(wires: Wiring, activity: Activity) -> Counts:
    """Everything that follows from the spikes of each class."""
    n_cores, n_populations = wires.compartments.shape
    n_senders = len(wires.names)
    spikes, sender, population = activity.spikes, wires.sender, wires.population

    def table(cores: Ints, populations: Ints, amounts: Ints, columns: int = n_senders) -> Ints:
        counted = np.zeros((n_cores, columns), np.int64)
        np.add.at(counted, (cores, populations), amounts)
        return counted

    on_chip = sender >= 0
    from_core = sender[wires.messages[:, 0]]
    inside = from_core >= 0
    sent, reached = wires.messages[inside, 0], wires.messages[inside, 1]
    source, amount = from_core[inside], spikes[wires.messages[inside, 0]]
    chip = wires.chip
    same = chip[source] == chip[reached]
    east_west = np.where(same, np.abs(wires.column[source] - wires.column[reached]), 0)
    north_south = np.where(same, np.abs(wires.row[source] - wires.row[reached]), 0)
    updates = wires.biased * activity.sample_steps
    for name, followed in activity.updates.items():
        updates[:, wires.number(name)] += followed
    reads = wires.reads
    by_cause = {
        "idle compartments": wires.compartments * activity.sample_steps - updates,
        "updated compartments": updates,
        "spikes": table(sender[on_chip], population[on_chip], spikes[on_chip], n_populations),
        "messages out": table(source, population[sent], amount, n_populations),
        "messages in": table(
            wires.messages[:, 1], population[wires.messages[:, 0]], spikes[wires.messages[:, 0]]
        ),
        **{
            f"{kind} synapses": table(
                *(reads[reads[:, 2] == k, 1], reads[reads[:, 2] == k, 3]),
                (spikes[reads[:, 0]] * reads[:, 4])[reads[:, 2] == k],
                n_populations,
            )
            for k, kind in enumerate(KINDS)
        },
        "hops east-west": table(source, population[sent], amount * east_west, n_populations),
        "hops north-south": table(source, population[sent], amount * north_south, n_populations),
        "learning": np.zeros((n_cores, n_populations), np.int64),  # a deployed program does not learn
    }
    messages = np.zeros((n_cores + 1, n_cores), np.int64)
    np.add.at(messages, (from_core, wires.messages[:, 1]), spikes[wires.messages[:, 0]])
    from_chip = sender[reads[:, 0]] >= 0
    return Counts(
        activity.samples,
        activity.sample_steps,
        by_cause,
        messages,
        int((spikes[reads[:, 0]] * reads[:, 5])[from_chip].sum()),
        int(amount[~same].sum()),
        int(spikes[(sender < 0) & (population >= 0)].sum()),
    )
