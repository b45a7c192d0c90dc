"""The whole of a built network, kept with the host's part of it so that pickling ``sim.model`` loses nothing."""

from __future__ import annotations

from typing import Any

import nengo
from nengo_loihi.builder import Model


class Whole:
    """A built model of nengo-loihi's, which refuses to be pickled by itself.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        model.host.whole = self

    def __getstate__(self) -> dict[str, Any]:
        """What the model holds."""
        return dict(vars(self.model))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the model anew."""
        self.model = object.__new__(Model)
        self.model.__dict__.update(state)


def whole_of(model: Any) -> Model | None:
    """Give the model that a host's part belongs to, None for another model."""
    whole = getattr(model, "whole", None)
    return whole.model if isinstance(model, nengo.builder.Model) and isinstance(whole, Whole) else None
