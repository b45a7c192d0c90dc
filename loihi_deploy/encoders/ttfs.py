"""Time to first spike: as 'auto', with neurons that spike once, the earlier the larger the value.

A value x in 0..1 sends its one spike in step (1 - x) T of T. What it drives keeps every arriving weight as a current to
the end (a synapse without decay), so that the mean current over the presentation is the weighted sum of values, and has
voltages below 0, so that early inhibition is not lost. Before the late spikes are there the sum is not complete, so a
layer may fire where it should be silent: fewer spikes cross to the chip, by a factor of tens, and networks that depend
on shades of grey lose accuracy. It encodes static samples from rest only, no frames, no stream, and nothing but
encoders may drive a population that an encoder drives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_on_and_off_neurons
from loihi_deploy.errors import Problem
from loihi_deploy.ir import Graph, NeuronModel
from loihi_deploy.ir.edges import rectified_first_layer_suits_the_host


def refused(graph: Graph, first: Collection[str]) -> Iterable[Problem]:
    """What cannot be had where spikes of the populations `first` stand for values by their time."""
    readouts = {readout.name for readout in graph.readouts}
    targets = {projection.post for name in first for projection in graph.out_of(name)}
    for name in sorted(targets & readouts):
        yield Problem("decodes the encoder's single spikes", name, remedy="Use another encoder")
    for name in sorted(targets - readouts):
        if any(projection.pre not in first for projection in graph.into(name)):
            yield Problem(
                "takes spikes of the encoder, whose currents stay, and of other layers, whose currents decay",
                name,
                remedy="Use another encoder",
            )


TTFS = Encoder(
    "ttfs",
    lambda graph: not rectified_first_layer_suits_the_host(graph),
    with_on_and_off_neurons,
    NeuronModel("ttfs"),
    keeps_currents=True,
    refused=refused,
)
