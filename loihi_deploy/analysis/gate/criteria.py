"""What a deployment has to hold: one type, wherever limits are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from loihi_deploy.checked import fits, misfits
from loihi_deploy.errors import InputError, Problem, gathered


@dataclass(frozen=True)
class Figure:
    """Something that is measured and limited.

    Parameters
    ----------
    text : str
        What it is called for people.
    unit : str
        '%' for fractions that are shown in per cent; '' for counts.
    higher : bool
        Whether more of it is better.
    needs : str
        'samples', 'labels' (classes), 'values' (that the outputs should have) or '' for nothing but the deployment.
    """

    text: str
    unit: str = ""
    higher: bool = False
    needs: str = "samples"

    def shown(self, value: float, sign: str = "") -> str:
        """A value of it as text."""
        if self.unit == "%":
            return f"{100 * value:{sign}.2f} %"
        return (
            f"{value:{sign}.4g} {self.unit}".strip()
            if value % 1
            else f"{value:{sign},.0f} {self.unit}".strip()
        )


FIGURES: Mapping[str, Figure] = {
    "accuracy": Figure("accuracy", "%", True, "labels"),
    "drop": Figure("below the rate network", "%", needs="rates"),
    "rmse": Figure("root mean square error", needs="values"),
    "cores": Figure("cores", needs=""),
    "chips": Figure("chips", needs=""),
    "energy_mj": Figure("energy, high end", "mJ"),
    "latency_ms": Figure("time on chip, high end", "ms"),
    "host_spikes": Figure("host spikes to a chip in a step, at most"),
    "overflows": Figure("overflows"),
}
"""By name, in the order in which they are shown."""
LIMITS: Mapping[str, str] = {
    "min_accuracy": "accuracy",
    "max_drop": "drop",
    "max_rmse": "rmse",
    "max_cores": "cores",
    "max_chips": "chips",
    "max_energy_mj": "energy_mj",
    "max_latency_ms": "latency_ms",
    "max_host_spikes": "host_spikes",
    "no_overflow": "overflows",
}
"""The figure that each limit is for."""


@dataclass(frozen=True)
class Criteria:
    """Limits for a deployment; None where there is none.

    Parameters
    ----------
    min_accuracy : float, optional
        Fraction of samples whose class is right, 0..1.
    max_drop : float, optional
        How far accuracy may be below the rate network's, as a fraction, 0..1.
    max_rmse : float, optional
        Root mean square error of outputs, for networks that decide between no classes.
    max_cores, max_chips : int, optional
    max_energy_mj : float, optional
        Energy per sample in millijoules, the high end of the estimate, on `ENERGY_SAMPLES` samples.
    max_latency_ms : float, optional
        Time of a sample on the chip in milliseconds, the high end of the estimate.
    max_host_spikes : float, optional
        Messages that the host sends to a chip in any step: one for each core that a spike goes to.
    no_overflow : bool
        Whether no accumulator may wrap around.
    tolerance : dict of float
        How much worse than in the baseline a figure may be, by its name: 'accuracy', 'drop', 'rmse', 'cores', 'chips',
        'energy_mj', 'latency_ms', 'host_spikes', 'overflows'; others may not be worse at all.

    Raises
    ------
    InputError
        Listing every limit that cannot be one.
    """

    min_accuracy: float | None = None
    max_drop: float | None = None
    max_rmse: float | None = None
    max_cores: int | None = None
    max_chips: int | None = None
    max_energy_mj: float | None = None
    max_latency_ms: float | None = None
    max_host_spikes: float | None = None
    no_overflow: bool = False
    tolerance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        problems = misfits(vars(self), kinds)
        for name, value in vars(self).items():
            if name in ("tolerance", "no_overflow") or value is None or not fits(value, kinds[name]):
                continue
            most = 1.0 if name in ("min_accuracy", "max_drop") else float("inf")
            if not 0 <= value <= most:
                problems.append(Problem("out of range", name, value, f"0 to {most:g}"))
        for name, value in self.tolerance.items() if fits(self.tolerance, kinds["tolerance"]) else ():
            if name not in FIGURES:
                problems.append(_unknown(f"tolerance {name!r}", name, FIGURES))
            elif not 0 <= value < float("inf"):
                problems.append(Problem("out of range", f"tolerance[{name!r}]", value, "0 or more"))
        if problems:
            raise InputError("The criteria cannot be used", problems)

    @classmethod
    def from_names(cls, values: Mapping[str, Any], where: str = "criteria") -> Criteria:
        """Criteria from names and values, as a file holds them; '-' in a name stands for '_'.

        Parameters
        ----------
        values : dict
        where : str
            Where they stand, for messages.

        Raises
        ------
        InputError
            Listing every unknown name with the nearest known one, and every limit that cannot be one.
        """
        known = [item.name for item in fields(cls)]
        given = {str(name).replace("-", "_"): value for name, value in values.items()}
        problems = [_unknown(f"{where}: {name}", name, known) for name in given if name not in known]
        with gathered(problems):
            criteria = cls(**{name: value for name, value in given.items() if name in known})
        if problems:
            raise InputError("The criteria cannot be used", problems)
        return criteria

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of their figure."""
        found = {figure: getattr(self, name) for name, figure in LIMITS.items() if name != "no_overflow"}
        set_ones = {figure: float(limit) for figure, limit in found.items() if limit is not None}
        return {**set_ones, "overflows": 0.0} if self.no_overflow else set_ones


def _unknown(where: str, name: str, known: Iterable[str]) -> Problem:
    near = get_close_matches(name, list(known), n=1, cutoff=0.0)[0]
    return Problem("unknown criterion", where, None, ", ".join(known), f"The nearest is {near!r}")
