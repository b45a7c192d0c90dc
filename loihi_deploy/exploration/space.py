"""What is tried: values of deploy options, as ranges and choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from loihi_deploy.encoders import encoder_populations
from loihi_deploy.errors import InputError, LoihiDeployError, Problem
from loihi_deploy.ir import Graph, Samples
from loihi_deploy.options import DeployOptions

CORRECTION_STEPS = 50
"""Steps of the bias correction, where nothing is said: as `DeployOptions(steps=...)` takes them."""
SYNAPSES = (0.0, 0.0005, 0.001, 0.002)
"""Time constants in seconds: short ones, for short presentations."""
MOST_STEPS = 100
"""Of a presentation, where no shorter one is known to do."""
RATES = (0.25, 1.6)
"""Target rates, in spikes per step."""
ENCODER_PERCENTILES = (98.0, 99.99)
"""Of the rates of the network's own first layer, where it is the encoder; not 100, which a trial would choose anew."""
LOGARITHMIC = 8.0
"""A range whose upper end is so many times its lower one is searched by orders of magnitude."""


@dataclass(frozen=True)
class Between:
    """A range of numbers, both ends included."""

    low: float
    high: float
    whole: bool

    @property
    def logarithmic(self) -> bool:
        """Whether it is searched by orders of magnitude."""
        return self.low > 0 and self.high >= LOGARITHMIC * self.low


Choices = tuple[Any, ...]
Space = Mapping[str, Between | Choices]


def default_space(
    converted: Graph, samples: Samples, options: DeployOptions, most_steps: int
) -> dict[str, Any]:
    """What is searched where nothing is said.

    Parameters
    ----------
    converted : Graph
    samples : Samples
    options : DeployOptions
        What the trials have in common.
    most_steps : int
        Of a presentation of samples that stand still.
    """
    space: dict[str, Any] = {}
    if samples.static:
        space["steps"] = (4, max(5, most_steps))
    else:
        space["steps_per_frame"] = (1, max(2, -(-MOST_STEPS // samples.n_frames)))
    if options.normalization in ("auto", "percentile", "maximum", "thresholds"):
        space["target_rate"] = tuple(rate / converted.dt for rate in RATES)
        space["percentile"] = (99.0, 100.0)
        if encoder_populations(converted, options.encoder):
            space["encoder_percentile"] = ENCODER_PERCENTILES
    inputs = {node.name for node in converted.inputs}
    if any(projection.pre not in inputs for projection in converted.projections):
        space["synapse"] = list(SYNAPSES)
    if options.encoder == DeployOptions.encoder:
        space["encoder"] = ["auto", "on_off"]
    space["weight_bits"] = [8, 6, 5, 4]
    space["readout_window"] = (0.3, 0.95)
    return space


def checked_space(space: Mapping[str, Any], options: DeployOptions) -> dict[str, Between | Choices]:
    """A space in its own words: ``(low, high)`` is a range, a list or set holds choices, anything else is one value.

    Raises
    ------
    InputError
        Listing every name that is no option, and every value that the option cannot have.
    """
    known = [item.name for item in fields(DeployOptions)]
    problems: list[Problem] = []
    found: dict[str, Between | Choices] = {}
    for name, given in space.items():
        if name not in known:
            near = get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
            problems.append(Problem("no option", f"space[{name!r}]", remedy=f"The nearest is {near!r}"))
            continue
        if isinstance(given, tuple):
            if len(given) != 2 or not all(_is_number(end) for end in given) or not given[0] < given[1]:
                remedy = "Give (low, high) for a range, or a list of choices"
                problems.append(Problem("not a range", f"space[{name!r}]", given, remedy=remedy))
                continue
            whole = all(isinstance(end, int) for end in given)
            found[name] = Between(float(given[0]), float(given[1]), whole)
            ends: Any = given
        else:
            ends = sorted(given, key=repr) if isinstance(given, (set, frozenset)) else given
            ends = ends if isinstance(ends, list) else [given]
            if not ends:
                problems.append(Problem("no choice", f"space[{name!r}]", remedy="Give at least one value"))
            found[name] = tuple(ends)
        for value in ends:
            try:
                options_with(options, {name: value})
            except LoihiDeployError as error:
                problems += error.problems
    if problems:
        raise InputError("Nothing can be explored in this space", problems)
    return found


def options_with(options: DeployOptions, values: Mapping[str, Any]) -> DeployOptions:
    """Options with some of them changed: `steps` and `steps_per_frame` take each other's place."""
    changed = {**options.as_dict(), **values}
    if values.get("steps") is not None:
        changed["steps_per_frame"] = None
    elif values.get("steps_per_frame") is not None:
        changed["steps"] = None
    return DeployOptions(**changed)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
