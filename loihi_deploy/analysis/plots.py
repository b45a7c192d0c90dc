"""Single figures of a report: ``deployment.plot``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from loihi_deploy.analysis.asking import Asked
from loihi_deploy.analysis.reporting import Reported, accuracy_values, rate_values, sample_values
from loihi_deploy.backends import RunOptions, check
from loihi_deploy.backends.argument_problems import whole_number_problems
from loihi_deploy.errors import InputError
from loihi_deploy.report import pictures
from loihi_deploy.report.drawing import drawn

KINDS = ("population", "compartments", "synapse_words", "in_axons")


@dataclass(frozen=True)
class Plots:
    """Figures of a deployment; each method returns a ``matplotlib.figure.Figure``, which notebooks show.

    Every method raises `MissingExtraError` where matplotlib is not installed, and `InputError` where samples or labels
    do not fit.

    Parameters
    ----------
    parts : Reported
    asked : callable
        Checks what a call is given: `loihi_deploy.analysis.asking.asked` for this deployment.
    """

    parts: Reported
    asked: Callable[..., Asked]

    def cores(
        self, kind: Literal["population", "compartments", "synapse_words", "in_axons"] = "population"
    ) -> Any:
        """Cores in use by chip, coloured by population or by how full they are.

        Parameters
        ----------
        kind : {'population', 'compartments', 'synapse_words', 'in_axons'}
        """
        if not isinstance(kind, str) or kind not in KINDS:
            raise InputError.single("unknown choice", "kind", kind, " or ".join(KINDS))
        with drawn():
            return pictures.cores(self.parts.mapping.values(), kind=kind)

    def rates(self, x: Any, steps: int | None = None) -> Any:
        """The distribution of firing rates of each layer on samples, as for `Deployment.run`."""
        given, n_steps = self._presented(x, steps)
        values = rate_values(self.parts, given.samples, n_steps)
        with drawn():
            return pictures.rates(values["layers"])

    def accuracy_by_step(self, x: Any, y: Any, steps: int | None = None) -> Any:
        """Accuracy against presentation time, the rate network's as a line; arguments as for `Deployment.evaluate`."""
        given, n_steps = self._presented(x, steps, y, labelled=True)
        values, _ = accuracy_values(self.parts, given.samples, given.classes, n_steps)
        with drawn():
            return pictures.accuracy_by_step(values)

    def raster(self, x: Any, steps: int | None = None, sample: int = 0) -> Any:
        """Spikes of one of the samples, a band for each layer."""
        given, n_steps = self._presented(x, steps)
        samples = given.samples
        problems = list(whole_number_problems("sample", sample, 0))
        if problems or sample >= len(samples):
            raise InputError.single("no such sample", "sample", sample, f"0 to {len(samples) - 1}")
        values = sample_values(self.parts, samples, None, n_steps, sample)
        with drawn():
            return pictures.raster(values)

    def _presented(self, x: Any, steps: Any, y: Any = None, labelled: bool = False) -> tuple[Asked, int]:
        given = self.asked("Cannot draw the figure", x, y, labelled=labelled)
        n_steps: Any = given.run_options(steps=steps).steps
        check(self.parts.program, given.samples, RunOptions(n_steps))
        return given, n_steps
