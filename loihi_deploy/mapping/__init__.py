"""Cores, chips and boards: how a program is cut into slices and where they lie."""

from loihi_deploy.mapping.mapper import map_to_cores
from loihi_deploy.mapping.plan import Core, Mapping, Slice, Wiring

SAVED_TYPES = (Core, Mapping, Slice, Wiring)
"""What a saved mapping consists of."""

__all__ = ["SAVED_TYPES", "Core", "Mapping", "Slice", "Wiring", "map_to_cores"]
