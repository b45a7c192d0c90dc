"""What a deployment costs: energy by cause and time, with published coefficients. See ``docs/energy.md``."""

from loihi_deploy.analysis.energy.coefficients import Coefficients, coefficient_sets, load_coefficients
from loihi_deploy.analysis.energy.estimate import Energy, Estimator, Range, estimate

__all__ = [
    "Coefficients",
    "Energy",
    "Estimator",
    "Range",
    "coefficient_sets",
    "estimate",
    "load_coefficients",
]
