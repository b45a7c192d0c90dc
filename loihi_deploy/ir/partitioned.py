"""A network cut into the parts of host and chip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from loihi_deploy.ir.content import Content
from loihi_deploy.ir.graph import Graph


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
