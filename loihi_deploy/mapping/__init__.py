"""Cores, chips and boards: how a program is cut into slices and where they lie."""

from loihi_deploy.mapping.figures import Mapping
from loihi_deploy.mapping.mapper import map_to_cores
from loihi_deploy.mapping.plan import Core, PopulationPlan, Slice, Wiring
from loihi_deploy.mapping.rules import RULES, Rule

SAVED_TYPES = (Core, Mapping, PopulationPlan, Slice, Wiring)
"""What a saved mapping consists of."""

__all__ = [
    "RULES",
    "SAVED_TYPES",
    "Core",
    "Mapping",
    "PopulationPlan",
    "Rule",
    "Slice",
    "Wiring",
    "map_to_cores",
]
