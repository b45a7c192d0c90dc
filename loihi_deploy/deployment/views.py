"""A deployment as a page, as a report and as figures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from loihi_deploy.deployment.parts import Parts
from loihi_deploy.errors import InputError
from loihi_deploy.options import DeployOptions
from loihi_deploy.tables import Page, warned

if TYPE_CHECKING:
    from loihi_deploy.analysis.plots import Plots
    from loihi_deploy.analysis.reporting import Reported


class Showing(Parts):
    """A deployment's parts that can be looked at."""

    def report(
        self,
        path: str | os.PathLike[str],
        x: Any = None,
        y: Any = None,
        steps: int | None = None,
        *,
        command: str = "deployment.report(path, x, y)",
    ) -> None:
        """Write a report: ``.html``, ``.txt`` or ``.json``, by the ending.

        Parameters
        ----------
        path : path
            One file; HTML needs nothing beside it, and the packages of the extra 'report' to be made.
        x : array or mapping of arrays, optional
            Samples; without them the report has what needs none.
        y : (n,) array, optional
            Labels; without them it has no accuracy.
        steps : int, optional
            As for `run`.
        command : str
            What makes the report again, to be named in it.

        Raises
        ------
        InputError
            If samples or labels do not fit.
        OutputError
            If the ending is another, or the path cannot be written; an existing file is left as it was.
        MissingExtraError
            If HTML is asked for and the packages are not there.
        """
        from loihi_deploy.report import check_report, write_reports

        check_report(path)
        write_reports(path, {"deployment": self.report_values(x, y, steps, command=command)})

    def report_values(
        self, x: Any = None, y: Any = None, steps: int | None = None, *, command: str = ""
    ) -> dict[str, Any]:
        """Everything that `report` writes as plain values; the arguments are the same."""
        from loihi_deploy.analysis.reporting import report_values

        if y is not None and x is None:
            raise InputError.single("labels without samples", "y", remedy="Give samples, too")
        if x is None:
            return report_values(self._reported(), self.provenance, command)
        given = self._asked("Cannot report on the deployment", x, y)
        chosen: Any = given.run_options(steps=steps).steps
        self._check_recording(given.samples, chosen)
        return report_values(self._reported(), self.provenance, command, given.samples, given.labels, chosen)

    def _reported(self) -> Reported:
        from loihi_deploy.analysis.reporting import Reported

        return Reported(self.graph, self.source or self.graph, self.program, self.mapping, self.options)

    @property
    def plot(self) -> Plots:
        """Figures, drawn with matplotlib: ``deployment.plot.cores()``; see `Plots`."""
        from loihi_deploy.analysis.plots import Plots

        return Plots(self._reported(), self._asked)

    def page(self) -> Page:
        """Layers, cores, the options that differ from their defaults, what took part, and every warning."""
        from loihi_deploy.report import layers_page, summary

        figures = summary(self.program, self.mapping)
        usual = DeployOptions().as_dict()
        chosen = [
            f"{name}={value!r}" for name, value in self.options.as_dict().items() if value != usual[name]
        ]
        made_with = [
            f"{name} {number}" for name, number in self.provenance.items() if number and name != "calibration"
        ]
        texts = (
            f"Options: {', '.join(chosen) or 'the defaults'}",
            f"Made with {', '.join(made_with)}" if made_with else "",
        )
        page = layers_page({**figures, "warnings": []})
        return page + Page((*filter(None, texts), *warned(figures["warnings"])))
