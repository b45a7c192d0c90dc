"""How input values reach the chip, one file for each way; a new one is one more name in `ENCODERS`."""

from __future__ import annotations

from difflib import get_close_matches

from loihi_deploy.encoders.auto import AUTO
from loihi_deploy.encoders.bias import BIAS
from loihi_deploy.encoders.first_layer import FIRST_LAYER
from loihi_deploy.encoders.given_spikes import EVENTS
from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import ON_OFF
from loihi_deploy.encoders.poisson import POISSON
from loihi_deploy.encoders.ttfs import TTFS
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Graph
from loihi_deploy.ir.edges import first_layer

__all__ = ["ENCODERS", "Encoder", "encoder_named", "encoder_populations"]

ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder for encoder in (AUTO, FIRST_LAYER, ON_OFF, BIAS, POISSON, TTFS, EVENTS)
}
"""Every encoder by its name."""


def encoder_named(name: str) -> Encoder:
    """The encoder of that name; InputError where there is none."""
    if name not in ENCODERS:
        near = get_close_matches(str(name), ENCODERS, n=1, cutoff=0.0)[0]
        raise InputError.single("no such encoder", "encoder", name, ", ".join(ENCODERS), f"Try {near!r}")
    return ENCODERS[name]


def encoder_populations(graph: Graph, encoder: str = "auto") -> tuple[str, ...]:
    """The populations that `partition` lets run on the host; none where the encoder puts neurons in front."""
    return () if encoder_named(encoder).stands_in_front(graph) else tuple(first_layer(graph))
