"""A network cut into the parts of host and chip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from loihi_deploy.errors import Problem
from loihi_deploy.ir.checks import check_fields
from loihi_deploy.ir.content import Content
from loihi_deploy.ir.graph import Graph

MAX_DELAY = 1023
"""Longest delay of a link in steps: what is under way is kept in memory, a byte for each neuron and step."""


@dataclass(frozen=True, eq=False)
class Link(Content):
    """Spikes that cross between host and chip.

    Parameters
    ----------
    population : str
        Whose spikes cross.
    kind : {'to_chip', 'from_chip'}
    delay : int
        Steps from the spike to its arrival: a spike that the host makes at step t is processed on chip at t + delay.
    """

    population: str
    kind: Literal["to_chip", "from_chip"]
    delay: int

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        if not 0 <= self.delay <= MAX_DELAY:
            yield Problem("not a delay in steps", self.population, self.delay, f"0 to {MAX_DELAY}")


@dataclass(frozen=True, eq=False)
class PartitionedGraph(Content):
    """A network cut at the two edges of the chip. Spikes cross the edges: a spike stands for 1 / dt.

    Parameters
    ----------
    encoder : Graph
        Inputs and the spiking populations of the host. A readout of it is the input current of the population on chip
        that has its name.
    chip : Graph
        Its inputs are the encoder's populations; amplitudes are folded into the projections, so all are 1.
    readout : Graph
        Its inputs are the populations that it decodes; its projections end in readouts.
    links : tuple of Link
    notes : tuple of str
        Warnings collected on the way; not compared.
    """

    encoder: Graph
    chip: Graph
    readout: Graph
    links: tuple[Link, ...]
    notes: tuple[str, ...] = field(default=(), metadata={"compare": False})

    def __post_init__(self) -> None:
        check_fields(self, self._problems)

    def _problems(self) -> Iterable[Problem]:
        encoders = {node.name: node.size for node in self.encoder.populations}
        on_chip = {node.name: node.size for node in self.chip.populations}
        for part, inputs, senders in (
            ("chip", self.chip.inputs, encoders),
            ("readout", self.readout.inputs, encoders | on_chip),
            ("chip", self.encoder.readouts, on_chip),
        ):
            for node in inputs:
                if senders.get(node.name) != node.size:
                    yield Problem(
                        f"the {part} takes what is not there", node.name, node.size, senders.get(node.name)
                    )
        for link in self.links:
            if link.population not in encoders | on_chip:
                yield Problem("a link without its population", link.population)
