"""Measured figures beside limits, and beside a baseline: what holds, and by how much."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loihi_deploy.analysis.gate.baseline import Baseline, changes, check_same
from loihi_deploy.analysis.gate.criteria import FIGURES, LIMITS, Criteria
from loihi_deploy.analysis.gate.measuring import Measured
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.files import PathOrStream, write_file
from loihi_deploy.ir.content import OneLine
from loihi_deploy.tables import Page, Shown, Table

if TYPE_CHECKING:
    from loihi_deploy.backends.preflight import Preflight

ROUNDING = 1e-12
"""What sums of floats may be off by without failing a limit that they meet."""
REMEDIES = {
    "samples": "Give samples",
    "labels": "Give samples with a class label for each",
    "rates": "Give samples with a class label for each. The rate network has to be known: it is not for networks that "
    "are recurrent or were given in integers, and for sequences the source, or DeployOptions(readout=...), has to say "
    "how they are read",
    "values": "Give samples with the values that the outputs should have, for a network that decides between no "
    "classes",
}


@dataclass(frozen=True)
class Verdict:
    """One criterion, judged.

    Parameters
    ----------
    name : str
        The limit's name, as in `Criteria`; 'baseline <figure>' for a figure of a baseline.
    figure : str
        Name of what was measured.
    value, limit : float
    margin : float
        How far the value is on the right side of the limit; negative where it is not.
    passed : bool
    """

    name: str
    figure: str
    value: float
    limit: float
    margin: float
    passed: bool

    @property
    def row(self) -> tuple[str, ...]:
        """The verdict as texts: verdict, criterion, value, limit, margin."""
        figure = FIGURES[self.figure]
        text = f"{figure.text}, baseline" if self.name.startswith("baseline ") else figure.text
        sign = "≥" if figure.higher else "≤"
        return (
            "holds" if self.passed else "FAILS",
            text,
            figure.shown(self.value),
            f"{sign} {figure.shown(self.limit)}",
            figure.shown(self.margin, "+"),
        )


@dataclass(frozen=True, repr=False)
class Check(Shown, OneLine):
    """The outcome of `Deployment.check`; print it for tables.

    Parameters
    ----------
    verdicts : tuple of Verdict
        One for each criterion, those of the baseline last.
    changes : tuple of tuples of str
        What differs from the baseline: where, what, then, now.
    measured : Measured
        Everything that was measured, limited or not.
    made_with : dict of str
        Versions and options of the deployment.
    preflight : Preflight, optional
        What would fail on a board, where that was asked for.
    """

    verdicts: tuple[Verdict, ...]
    changes: tuple[tuple[str, str, str, str], ...]
    measured: Measured
    made_with: dict[str, str]
    preflight: Preflight | None = None

    @property
    def passed(self) -> bool:
        """Whether every criterion holds, and nothing is known to fail on a board, where that was asked for."""
        ready = self.preflight is None or self.preflight.ready
        return ready and all(verdict.passed for verdict in self.verdicts)

    def page(self) -> Page:
        """A row for each criterion; where one fails, what changed since the baseline; what a board would refuse."""
        after = Page(()) if self.preflight is None else self.preflight.page()
        if not self.verdicts:
            return after
        data = self.measured.data
        on = f", {data['samples']:,} samples, {data['steps']} steps" if data else ""
        columns = ("", "criterion", "value", "limit", "margin")
        parts: list[Table | str] = [
            Table(f"Criteria{on}", columns, tuple(verdict.row for verdict in self.verdicts), names=2)
        ]
        if self.changes and not self.passed:
            title = "What changed since the baseline"
            parts.append(Table(title, ("where", "what", "then", "now"), self.changes, names=2))
        failed = sum(not verdict.passed for verdict in self.verdicts)
        n = len(self.verdicts)
        parts.append(f"{failed} of {n} criteria FAIL" if failed else f"{n} of {n} criteria hold")
        return Page(tuple(parts)) + after

    def values(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "passed": self.passed,
            "criteria": [asdict(verdict) for verdict in self.verdicts],
            "changes": [
                dict(zip(("where", "what", "then", "now"), row, strict=True)) for row in self.changes
            ],
            "hardware": self.preflight and self.preflight.values(),
            **asdict(self.measured),
        }

    def write_junit(self, target: PathOrStream, name: str = "deployment") -> None:
        """Write the verdicts as a JUnit file, which CI services show: a test for each criterion.

        Parameters
        ----------
        target : path or binary stream
        name : str
            Of the network.

        Raises
        ------
        OutputError
            If it cannot be written; an existing file is left as it was.
        """
        name = re.sub(r"[^\w .:/-]", "?", name)
        suite = ET.Element("testsuite", name="loihi-deploy check")
        for verdict in self.verdicts:
            case = ET.SubElement(suite, "testcase", classname=name, name=verdict.name)
            _, _, value, limit, margin = verdict.row
            if not verdict.passed:
                failure = ET.SubElement(case, "failure", message=f"{value}, allowed {limit}")
                failure.text = "\n".join(
                    [f"margin {margin}", *(f"{a}: {b} was {c}, is {d}" for a, b, c, d in self.changes)]
                )
        if self.preflight is not None:
            case = ET.SubElement(suite, "testcase", classname=name, name="hardware")
            if not self.preflight.ready:
                problems = [*self.preflight.machine, *self.preflight.program]
                failure = ET.SubElement(case, "failure", message=f"{len(problems)} would fail on a board")
                failure.text = "\n".join(map(str, problems))
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        ET.indent(suite)
        write_file(target, ET.tostring(suite, encoding="utf-8", xml_declaration=True) + b"\n")

    def write_baseline(self, target: PathOrStream) -> None:
        """Keep what was measured in a file, for later checks to be compared with.

        Raises
        ------
        InputError
            If nothing was run.
        OutputError
            If it cannot be written; an existing file is left as it was.
        """
        if self.measured.data is None:
            raise InputError.single("a baseline is made on samples", "x", remedy=REMEDIES["samples"])
        Baseline(self.measured, self.made_with).write(target)


def judge(
    measured: Measured, made_with: dict[str, str], criteria: Criteria, baseline: Baseline | None = None
) -> Check:
    """Hold what was measured against criteria and, where there is one, a baseline.

    Raises
    ------
    InputError
        Listing every criterion that nothing was measured for, or what the baseline has in another way.
    """
    limits = [(name, figure) for name, figure in LIMITS.items() if figure in criteria.limits]
    problems = [
        Problem(f"no {figure} was measured", name, remedy=REMEDIES[FIGURES[figure].needs])
        for name, figure in limits
        if figure not in measured.figures
    ]
    compared = {} if baseline is None else baseline.measured.figures
    problems += [
        Problem("the baseline has no such figure", f"tolerance {name!r}", remedy=", ".join(compared))
        for name in criteria.tolerance
        if baseline is not None and name not in compared
    ]
    problems += [
        Problem(
            f"the baseline has {name}, and none was measured",
            "baseline",
            remedy=REMEDIES[FIGURES[name].needs],
        )
        for name in compared
        if name not in measured.figures
    ]
    if baseline is None and criteria.tolerance:
        problems.append(Problem("a tolerance is for a baseline, and there is none", "tolerance"))
    if problems:
        raise InputError("Not every criterion can be judged", problems)
    verdicts = [_verdict(name, figure, measured, criteria.limits[figure]) for name, figure in limits]
    if baseline is None:
        return Check(tuple(verdicts), (), measured, made_with)
    check_same(baseline.measured, measured)
    for figure in FIGURES:
        if figure in compared:
            slack = criteria.tolerance.get(figure, 0.0)
            limit = compared[figure] + (-slack if FIGURES[figure].higher else slack)
            verdicts.append(_verdict(f"baseline {figure}", figure, measured, limit))
    found = tuple(changes(baseline, Baseline(measured, made_with)))
    return Check(tuple(verdicts), found, measured, made_with)


def _verdict(name: str, figure: str, measured: Measured, limit: float) -> Verdict:
    value = measured.figures[figure]
    margin = value - limit if FIGURES[figure].higher else limit - value
    return Verdict(name, figure, value, limit, margin, margin >= -ROUNDING * max(1.0, abs(limit)))
